{#- Dated rows [valid_from, valid_to) of one key never overlap and are never empty: a day has one answer at most. -#}
{% test intervals_do_not_overlap(model, key) %}

select
    {{ key }},
    valid_from,
    valid_to
from (
    select
        {{ key }},
        valid_from,
        valid_to,
        lead(valid_from) over (partition by {{ key }} order by valid_from, valid_to) as next_valid_from
    from {{ model }}
) as dated
where
    valid_from >= valid_to
    or next_valid_from < valid_to

{% endtest %}
