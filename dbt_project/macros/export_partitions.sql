{#
  One Parquet file per day (month) of the window, for everyone who is not dbt: nobody else opens the warehouse file.
  Runs after the commit. DuckDB writes tmp_<name> beside the target and renames it over the old file, so a reader or a kill
  sees the old file or the new one. All columns are sorted by, and row groups have a fixed size: same rows, same bytes.
  try() keeps every column optional in the file: DuckDB writes one as required while the whole table happens to hold no null in
  it, so a day's bytes, and whether days can be read together, would depend on other days.
#}

{% macro export_partitions(column) %}
  {%- set control = build_control() -%}
  {%- if control is none -%}
    {{ return('') }}
  {%- endif -%}
  {%- set folder = control['tables_dir'] ~ '/' ~ this.identifier -%}
  {%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list -%}
  {%- set order_by = columns | join(', ') -%}
  {%- set select_list = [] -%}
  {%- for name in columns -%}
    {%- do select_list.append('try(' ~ name ~ ') as ' ~ name) -%}
  {%- endfor -%}
  {%- set kind = '' if column == 'billing_month' else 'date ' -%}
  {%- set statements = [make_folder_sql(control['tables_dir']), make_folder_sql(folder)] -%}
  {%- for value in build_window(column) -%}
    {%- do statements.append(
      'copy (select ' ~ select_list | join(', ') ~ ' from ' ~ this ~ ' where ' ~ column ~ ' = ' ~ kind ~ sql_string(value) ~ ' order by ' ~ order_by ~ ') to '
      ~ sql_string(folder ~ '/' ~ column ~ '=' ~ value ~ '.parquet')
      ~ ' (format parquet, compression zstd, row_group_size 122880, use_tmp_file true)') -%}
  {%- endfor -%}
  {{ return(statements | join(';\n')) }}
{% endmacro %}


{#- SQL has no mkdir; a partitioned COPY of no rows makes the folder and nothing else, and leaves existing files alone. -#}
{% macro make_folder_sql(folder) -%}
  copy (select 1 as a, 1 as b where false) to {{ sql_string(folder) }} (format parquet, partition_by (a), overwrite_or_ignore true)
{%- endmacro %}
