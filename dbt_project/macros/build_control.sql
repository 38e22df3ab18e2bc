{#
  The hand-over of one build: which days and months it covers, which lake files hold them, where tables are exported, and the
  policy. It is a JSON file named by TOKENGOV_DBT_CONTROL and read only while executing: an env var or `--vars` seen at parse
  time would force a full parse of the project on every run.
  Not here: what is done with the window (replace_window, export_partitions, raw_views).
#}

{% macro build_control() %}
  {#- none = no build is under way: parsing, a unit test (hermetic on purpose), or a command run by hand. -#}
  {%- if not execute or model.resource_type == 'unit_test' -%}
    {{ return(none) }}
  {%- endif -%}
  {%- set path = env_var('TOKENGOV_DBT_CONTROL', '') -%}
  {%- if path == '' -%}
    {{ return(none) }}
  {%- endif -%}
  {%- set found = run_query("select content from read_text(" ~ sql_string(path) ~ ")") -%}
  {%- if found.rows | length != 1 -%}
    {% do exceptions.raise_compiler_error("TOKENGOV_DBT_CONTROL names " ~ path ~ ", which cannot be read. Start dbt through tokengov-dbt, which writes it.") %}
  {%- endif -%}
  {%- set control = fromjson(found.rows[0][0]) -%}
  {%- if control is not mapping -%}
    {% do exceptions.raise_compiler_error("The control file " ~ path ~ " is not a JSON object.") %}
  {%- endif -%}
  {%- for key in ['days', 'months', 'files', 'tables_dir', 'policy'] if key not in control -%}
    {% do exceptions.raise_compiler_error("The control file " ~ path ~ " lacks '" ~ key ~ "'.") %}
  {%- endfor -%}
  {{ return(control) }}
{% endmacro %}


{% macro policy(key) %}
  {%- set defaults = var('policy', {}) -%}
  {%- if execute and key not in defaults -%}
    {% do exceptions.raise_compiler_error("policy('" ~ key ~ "') is not among vars.policy of dbt_project.yml.") %}
  {%- endif -%}
  {%- set control = build_control() -%}
  {{ return(defaults.get(key, '') if control is none else control['policy'].get(key, defaults[key])) }}
{% endmacro %}


{#- The values of the window for one grain: 'usage_date' -> days, 'billing_month' -> months; none = no window is known. -#}
{% macro build_window(column) %}
  {%- set control = build_control() -%}
  {{ return(none if control is none else (control['months'] if column == 'billing_month' else control['days'])) }}
{% endmacro %}


{#- Without a window (unit tests, ad-hoc compile) every row qualifies: the fixture is the window. -#}
{% macro in_build_window(column) %}
  {%- set window = build_window(column) -%}
  {%- if window is none -%}
    true
  {%- elif window | length == 0 -%}
    false
  {%- else -%}
    {#- The range lets the engine skip row groups; the list is what counts, as a window may have holes. -#}
    {%- set kind = '' if column == 'billing_month' else 'date ' -%}
    ({{ column }} between {{ kind }}'{{ window | min }}' and {{ kind }}'{{ window | max }}'
      and {{ column }} in ({% for value in window %}{{ kind }}'{{ value }}'{{ ', ' if not loop.last }}{% endfor %}))
  {%- endif -%}
{% endmacro %}


{% macro sql_string(value) -%}
  '{{ value | string | replace("'", "''") }}'
{%- endmacro %}


{#- For `in (...)`. No values become the blank, which matches nothing after staging; `in ()` would not parse. -#}
{% macro sql_strings(values) -%}
  {% for value in values or [''] %}{{ sql_string(value) }}{{ ', ' if not loop.last }}{% endfor %}
{%- endmacro %}
