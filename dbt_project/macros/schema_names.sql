{#- The layer is the schema, without dbt's target prefix: there is one target, and asset keys read [layer, table]. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ target.schema if custom_schema_name is none else custom_schema_name | trim }}
{%- endmacro %}
