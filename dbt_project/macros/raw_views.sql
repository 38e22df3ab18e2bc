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
  {%- set needed = sources_of_the_build() -%}
  {%- for source in graph.sources.values() | sort(attribute='name') if source.source_name == 'raw' -%}
    {%- if source.name in control['files'] -%}
      {%- do statements.append(
        'create or replace view raw.' ~ source.name ~ ' as ' ~ raw_view_sql(source, control['files'][source.name])) -%}
    {%- elif source.unique_id in needed -%}
      {#- An empty list says "no rows yet"; silence would turn a forgotten source into missing answers. -#}
      {% do exceptions.raise_compiler_error(
        "The control file has no entry files." ~ source.name ~ ". List its lake files, or [] while it has none.") %}
    {%- endif -%}
  {%- endfor -%}
  {{ return(statements | join(';\n')) }}
{% endmacro %}


{#-
  Ids of the sources that the selected models and tests read, directly or through views. A build of the proxy's usage names no
  provider report and the other way round; what nobody reads keeps the view it has.
-#}
{% macro sources_of_the_build() %}
  {%- set reached = selected_resources | list -%}
  {#- The list grows while it is walked; views pass on what they read, tables hold it already. -#}
  {%- for id in reached -%}
    {%- set node = graph.nodes.get(id, {}) -%}
    {%- if id in selected_resources or node.get('config', {}).get('materialized') in ['view', 'ephemeral'] -%}
      {%- for parent in node.get('depends_on', {}).get('nodes', []) if parent not in reached -%}
        {%- do reached.append(parent) -%}
      {%- endfor -%}
    {%- endif -%}
  {%- endfor -%}
  {{ return(reached | select('in', graph.sources) | list) }}
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


{#- The lake scan holds the window only, so --full-refresh would drop every other day (month) of the tables it recreates. -#}
{% macro refuse_lossy_full_refresh(control) %}
  {%- if not flags.FULL_REFRESH -%}
    {{ return('') }}
  {%- endif -%}
  {%- for column, window in [('usage_date', control['days']), ('billing_month', control['months'])] -%}
    {%- set kept = parts_of_the_build(column) | reject('in', window) | list -%}
    {%- if kept -%}
      {% do exceptions.raise_compiler_error(
        "--full-refresh would lose " ~ kept | length ~ (" days (" if column == 'usage_date' else " months (") ~ kept | first
        ~ " to " ~ kept | last ~ ") that the control file does not list. List all of history, or drop the flag.") %}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}


{#- The days (months) that the selected incremental tables hold, ascending. -#}
{% macro parts_of_the_build(column) %}
  {%- set strategy = 'replace_months' if column == 'billing_month' else 'replace_days' -%}
  {%- set parts = [] -%}
  {%- for id in selected_resources if graph.nodes.get(id, {}).get('config', {}).get('incremental_strategy') == strategy -%}
    {%- set node = graph.nodes[id] -%}
    {%- set relation = adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias) -%}
    {%- if relation is not none -%}
      {%- do parts.extend(run_query("select cast(" ~ column ~ " as varchar) from " ~ relation ~ " group by 1").columns[0].values()) -%}
    {%- endif -%}
  {%- endfor -%}
  {{ return(parts | map('string') | unique | sort | list) }}
{% endmacro %}
