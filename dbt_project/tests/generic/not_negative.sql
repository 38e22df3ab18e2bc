{#- A count or quantity below zero: counters that contradict each other. Nulls are the business of not_null. -#}
{% test not_negative(model, column_name) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} < 0
group by {{ column_name }}

{% endtest %}
