{#- One accepted row per id and day: the point of screening. -#}
{% test unique_accepted_calls(model) %}

select
    usage_date,
    request_id
from {{ model }}
where disposition = 'accepted'
group by usage_date, request_id
having count(*) > 1

{% endtest %}
