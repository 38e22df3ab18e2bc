{#
  Generic tests look at the window only, so a daily run's tests do not grow with history. The window follows from the tested
  model's incremental strategy: no test has to remember it. Days outside the window were tested when they were built.
#}
{% macro get_where_subquery(relation) -%}
  {%- set conditions = [] -%}
  {%- if config.get('where') -%}
    {%- do conditions.append('(' ~ config.get('where') ~ ')') -%}
  {%- endif -%}
  {%- set tested = graph.nodes.get(model.attached_node) if execute else none -%}
  {%- set strategy = tested.config.get('incremental_strategy') if tested else none -%}
  {%- if strategy == 'replace_days' and relation.identifier == tested.alias -%}
    {%- do conditions.append(in_build_window('usage_date')) -%}
  {%- elif strategy == 'replace_months' and relation.identifier == tested.alias -%}
    {%- do conditions.append(in_build_window('billing_month')) -%}
  {%- endif -%}
  {%- if conditions -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') as dbt_subquery') }}
  {%- else -%}
    {{ return(relation) }}
  {%- endif -%}
{%- endmacro %}
