{#
  Incremental strategies: the window is replaced whole. Every day (month) of the window is deleted, also one whose rows
  vanished from the source, and the new rows come in within dbt's transaction. Deleting only the days present in the new batch
  would keep a withdrawn day for ever.
#}

{% macro get_incremental_replace_days_sql(arg_dict) %}
  {{ return(replace_window_sql(arg_dict, 'usage_date')) }}
{% endmacro %}


{% macro get_incremental_replace_months_sql(arg_dict) %}
  {{ return(replace_window_sql(arg_dict, 'billing_month')) }}
{% endmacro %}


{% macro replace_window_sql(arg_dict, column) %}
  {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | join(', ') -%}
  delete from {{ arg_dict['target_relation'] }} where {{ in_build_window(column) }};
  insert into {{ arg_dict['target_relation'] }} ({{ columns }})
  select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}
