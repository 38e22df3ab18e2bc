{#
  What the providers' reports need beyond sql_dialect: cents, line items, and one row a measure. Not here: which measure a
  column is (the marts say it).
#}

{#-
  Text of fractional US cents to exact US dollars. The point moves in the text, so one rounding is left, half away from zero at
  12 decimals; a decimal divided by 100 would be a float. Null for anything that is no plain decimal number.
-#}
{% macro cents_text_to_usd(text) -%}
  try_cast(trim({{ text }}) || 'e-2' as decimal(38, 12))
{%- endmacro %}


{#- 'gpt-5.4-2026-03-05, cached input' is a model and a kind: what stands before and after the last comma and blank. -#}
{% macro before_last_comma(text) -%}
  nullif(regexp_extract({{ text }}, '^(.+), (.+)$', 1), '')
{%- endmacro %}

{% macro after_last_comma(text) -%}
  coalesce(nullif(regexp_extract({{ text }}, '^(.+), (.+)$', 2), ''), {{ text }})
{%- endmacro %}


{#-
  Long form of a usage report: one select for each (column, measure, unit), of the rows in which the column is not zero. A
  measure that was not metered has no row; which days were read is the lake's business.
-#}
{% macro measures_of(relation, dimensions, measures) -%}
  {%- for column, measure, unit in measures %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        {{ dimensions | join(',\n        ') }},
        '{{ measure }}' as measure,
        '{{ unit }}' as unit,
        {{ column }} as quantity
    from {{ relation }}
    where {{ column }} <> 0
  {%- endfor %}
{%- endmacro %}


{#- Tiers as the price book spells them: lower case; default and auto are standard (rule 4.2). Null stays null. -#}
{% macro provider_tier(text) -%}
  case
    when lower({{ blank_to_null(text) }}) in ('default', 'auto') then 'standard'
    else lower({{ blank_to_null(text) }})
  end
{%- endmacro %}
