{#-
  A whole table as one Parquet file, for everyone who is not dbt: as export_partitions, for tables that have no window.
  try() keeps a column optional in the file: DuckDB writes it as required while its rows happen to hold no null, and the file's
  schema would change from one build to the next.
-#}
{% macro export_table() %}
  {%- set control = build_control() -%}
  {%- if control is none -%}
    {{ return('') }}
  {%- endif -%}
  {%- set folder = control['tables_dir'] ~ '/' ~ this.identifier -%}
  {%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list -%}
  {%- set select_list = [] -%}
  {%- for column in columns -%}
    {%- do select_list.append('try(' ~ column ~ ') as ' ~ column) -%}
  {%- endfor -%}
  {{ return([
    make_folder_sql(control['tables_dir']),
    make_folder_sql(folder),
    'copy (select ' ~ select_list | join(', ') ~ ' from ' ~ this ~ ' order by ' ~ columns | join(', ') ~ ') to ' ~ sql_string(folder ~ '/all.parquet')
    ~ ' (format parquet, compression zstd, row_group_size 122880, use_tmp_file true)',
  ] | join(';\n')) }}
{% endmacro %}
