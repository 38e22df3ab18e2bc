{#
  The lake as relations: on-run-start points one view per source table at the files the control file lists, so models read
  source() like any table, a selection of models never sees last run's files, and unit tests can replace a source.
  Column types are declared once, in models/staging/_raw__sources.yml.
#}

{% macro register_raw_views() %}
  {%- if not execute -%}
    {{ return('') }}
  {%- endif -%}
  {%- set control = build_control() -%}
  {%- if control is none -%}
    {%- if flags.WHICH in ['run', 'build'] and builds_a_model() == 'yes' -%}
      {% do exceptions.raise_compiler_error(
        "TOKENGOV_DBT_CONTROL is not set, so this build knows neither its days nor its lake files. "
        ~ "Start dbt through tokengov-dbt, or point the variable at a control file.") %}
    {%- endif -%}
    {{ return('') }}
  {%- endif -%}
  {%- do refuse_lossy_full_refresh(control) -%}
  {%- set statements = ['create schema if not exists raw'] -%}
  {%- for source in graph.sources.values() | sort(attribute='name') if source.source_name == 'raw' -%}
    {#- An empty list says "no rows yet"; silence would turn a forgotten source into missing answers. -#}
    {%- if source.name not in control['files'] -%}
      {% do exceptions.raise_compiler_error(
        "The control file has no entry files." ~ source.name ~ ". List its lake files, or [] while it has none.") %}
    {%- endif -%}
    {%- do statements.append(
      'create or replace view raw.' ~ source.name ~ ' as ' ~ raw_view_sql(source, control['files'][source.name])) -%}
  {%- endfor -%}
  {{ return(statements | join(';\n')) }}
{% endmacro %}


{% macro builds_a_model() %}
  {%- for selected in selected_resources if selected.startswith('model.') -%}
    {{ return('yes') }}
  {%- endfor -%}
  {{ return('no') }}
{% endmacro %}


{% macro raw_view_sql(source, files) %}
  {%- set select_list = [] -%}
  {%- set empty_list = [] -%}
  {%- set optional_list = [] -%}
  {%- for column in source.columns.values() -%}
    {%- set null_column = 'cast(null as ' ~ column.data_type ~ ') as ' ~ column.name -%}
    {%- do select_list.append('cast(' ~ column.name ~ ' as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
    {%- do empty_list.append(null_column) -%}
    {%- if column.get('config', {}).get('meta', {}).get('optional') or column.meta.get('optional') -%}
      {%- do optional_list.append(null_column) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if files | length == 0 -%}
    {{ return('select ' ~ empty_list | join(', ') ~ ' where false') }}
  {%- endif -%}
  {#- Files of different ages differ in columns: by name, and what no file has comes from the typed empty branch. -#}
  {%- set scan = 'select *, filename as lake_file from read_parquet([' ~ sql_strings(files) ~ '], union_by_name = true, hive_partitioning = false, filename = true)' -%}
  {%- if optional_list -%}
    {%- set scan = 'select ' ~ optional_list | join(', ') ~ ' where false union all by name ' ~ scan -%}
  {%- endif -%}
  {{ return('select ' ~ select_list | join(', ') ~ ' from (' ~ scan ~ ')') }}
{% endmacro %}


{#- The lake scan holds the window's days only, so --full-refresh would drop every other day of history. -#}
{% macro refuse_lossy_full_refresh(control) %}
  {%- if not flags.FULL_REFRESH -%}
    {{ return('') }}
  {%- endif -%}
  {%- set known = run_query("select table_schema from information_schema.tables where table_schema = 'marts' and table_name = 'fct_screening_daily'") -%}
  {%- if known.rows | length == 0 -%}
    {{ return('') }}
  {%- endif -%}
  {%- set kept = run_query("select cast(usage_date as varchar) as usage_date from marts.fct_screening_daily group by 1 order by 1").columns[0].values() | map('string') | reject('in', control['days']) | list -%}
  {%- if kept -%}
    {% do exceptions.raise_compiler_error(
      "--full-refresh would lose " ~ kept | length ~ " days (" ~ kept | first ~ " to " ~ kept | last
      ~ ") that the control file does not list. List every day of history, or drop the flag.") %}
  {%- endif -%}
{% endmacro %}
