{#- Text that could not be read into its value: the row is there, its amount is not. -#}
{% test text_is_read(model, column_name, text) %}

select {{ text }}
from {{ model }}
where
    {{ text }} is not null
    and {{ column_name }} is null
group by {{ text }}

{% endtest %}
