{#
  What the price book says that an accepted call costs (rules 4.1, 4.2): the status of its price, and the amount. Both read
  the call's tokens and the unit prices of its cell (int_usage_cells__priced). Not here: which price holds.
  exact       every token type in use has a price of the call's tier and band on its UTC day
  fallback    a tier that the policy names borrows the standard price of at least one token type in use
  missing     no alias leads to the model, or a token type in use has no price: there is no amount, which is not zero
  not_priced  the provider did not bill its tokens to the organisation (undelivered_classes), or it has none
#}
{% macro price_status() -%}
  case
    when {{ call_class() }} in ({{ undelivered_classes() }}) then 'not_priced'
    {#- A row can total tokens without splitting them: then there is nothing to price them by. #}
    when {{ vocabulary('token_type') | join('_tokens + ') }}_tokens = 0
      then case when total_tokens > 0 then 'missing' else 'not_priced' end
    {%- for token_type in vocabulary('token_type') %}
    when {{ token_type }}_tokens > 0 and {{ token_type }}_usd_per_token is null then 'missing'
    {%- endfor %}
    {%- for token_type in vocabulary('token_type') %}
    when {{ token_type }}_tokens > 0 and is_{{ token_type }}_fallback then 'fallback'
    {%- endfor %}
    else 'exact'
  end
{%- endmacro %}


{#- bigint times decimal(18, 12) is exact, and so is the sum: nothing is rounded. -#}
{% macro list_cost_usd() -%}
  case
    when {{ price_status() }} in ('exact', 'fallback')
      then cast(
        {%- for token_type in vocabulary('token_type') %}
        {{ '+ ' if not loop.first }}coalesce({{ token_type }}_tokens * {{ token_type }}_usd_per_token, 0)
        {%- endfor %}
        as decimal(38, 12)
      )
  end
{%- endmacro %}
