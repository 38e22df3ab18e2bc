{#- use_case is a word of the policy's taxonomy or one of the three that stand for "not one of them" (rule 3.8). -#}
{% test known_use_case(model, column_name) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} not in ({{ sql_strings(policy('taxonomy') + ['untagged', 'unknown', 'ambiguous']) }})
group by {{ column_name }}

{% endtest %}
