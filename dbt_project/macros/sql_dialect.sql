{#
  What DuckDB and Spark spell differently, one macro each, so that the models read the same on both. DuckDB is the engine that
  runs today. Not here: business rules.
#}

{% macro on_spark() -%}
  {{ 'yes' if target is defined and target.type == 'spark' else '' }}
{%- endmacro %}


{#- A list of strings from JSON text; null when the text is no JSON list. -#}
{% macro json_string_list(text) -%}
  {%- if on_spark() -%} from_json({{ text }}, 'array<string>')
  {%- else -%} from_json(try_cast({{ text }} as json), '["varchar"]')
  {%- endif -%}
{%- endmacro %}


{#- condition and expression are written over the element name `x`. -#}
{% macro list_where(list, condition) -%}
  {%- if on_spark() -%} filter({{ list }}, x -> {{ condition }})
  {%- else -%} list_filter({{ list }}, lambda x : {{ condition }})
  {%- endif -%}
{%- endmacro %}


{% macro list_map(list, expression) -%}
  {%- if on_spark() -%} transform({{ list }}, x -> {{ expression }})
  {%- else -%} list_transform({{ list }}, lambda x : {{ expression }})
  {%- endif -%}
{%- endmacro %}


{% macro list_unique(list) -%}
  {%- if on_spark() -%} array_distinct({{ list }}) {%- else -%} list_distinct({{ list }}) {%- endif -%}
{%- endmacro %}


{#- 0 for a null list, on both engines. -#}
{% macro list_size(list) -%}
  {%- if on_spark() -%} coalesce(nullif(size({{ list }}), -1), 0) {%- else -%} coalesce(len({{ list }}), 0) {%- endif -%}
{%- endmacro %}


{% macro list_first(list) -%}
  {%- if on_spark() -%} element_at({{ list }}, 1) {%- else -%} {{ list }}[1] {%- endif -%}
{%- endmacro %}


{% macro days_between(first, last) -%}
  {%- if on_spark() -%} datediff({{ last }}, {{ first }}) {%- else -%} ({{ last }} - {{ first }}) {%- endif -%}
{%- endmacro %}


{% macro month_text(day) -%}
  {%- if on_spark() -%} date_format({{ day }}, 'yyyy-MM') {%- else -%} strftime({{ day }}, '%Y-%m') {%- endif -%}
{%- endmacro %}


{#- Text to an exact amount: half away from zero at 12 decimals, null for anything that is no number. -#}
{% macro text_to_usd(text) -%}
  {%- if on_spark() -%} try_cast({{ text }} as decimal(38, 12))
  {#- DuckDB reads the narrow type eight times faster; with an exponent it would cut digits off, so those are read wide. -#}
  {%- else -%} coalesce(
    case when not contains(lower({{ text }}), 'e') then try_cast({{ text }} as decimal(18, 12)) end,
    try_cast({{ text }} as decimal(38, 12))
  )
  {%- endif -%}
{%- endmacro %}


{#- One fingerprint of several columns; the separator is a control character that no log text holds, null is a tilde. -#}
{% macro content_hash(relation, columns) -%}
  md5(concat_ws(chr(31)
  {%- for column in columns %}, coalesce(cast({{ relation }}.{{ column }} as string), '~'){% endfor %}))
{%- endmacro %}


{#- Blank text means "none" in the proxy's tables. -#}
{% macro blank_to_null(text) -%}
  nullif(trim({{ text }}), '')
{%- endmacro %}


{#- Open ends of dated rows, so that intervals compare without nulls: [from, to). -#}
{% macro beginning_of_time() -%} date '1900-01-01' {%- endmacro %}

{% macro end_of_time() -%} date '9999-12-31' {%- endmacro %}


{#- 2026-10-01T12:00:00Z or another offset to UTC without a zone; null for anything that is no time. -#}
{% macro rfc3339_to_utc(text) -%}
  {%- if on_spark() -%} to_utc_timestamp(try_cast({{ text }} as timestamp), current_timezone())
  {#- A cast to a timestamp without zone would drop the offset; the session's zone is UTC (profiles.yml). -#}
  {%- else -%} cast(try_cast({{ text }} as timestamptz) as timestamp)
  {%- endif -%}
{%- endmacro %}
