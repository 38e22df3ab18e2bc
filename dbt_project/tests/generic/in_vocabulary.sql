{#- A column holds only words of its closed list (macros/vocabulary.sql). Nulls are the business of not_null. -#}
{% test in_vocabulary(model, column_name, words) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} not in ({{ sql_strings(vocabulary(words)) }})
group by {{ column_name }}

{% endtest %}
