{#
  What kind of row an accepted call is (facts: "failure means spend 0" and "success means complete" are both false).
  cache_hit     answered by the proxy's own cache: full tokens, which the provider never saw
  subscription  made with a person's own plan (OAuth token): on no API invoice of the organisation
  failure       failed without spend: its tokens are a local estimate
  failed_spend  failed and yet logged with spend, e.g. an upstream that died mid-stream
  unpriced      succeeded with tokens and no spend (rule 4.4), hung up or not: the proxy had no price
  partial       the client hung up (499): tokens re-counted locally, usually short
  zero          succeeded with neither
  call          everything else
#}
{% macro call_class() -%}
  case
    when is_cache_hit then 'cache_hit'
    when is_subscription_call then 'subscription'
    when status = 'failure' and spend_usd = 0 then 'failure'
    when status = 'failure' then 'failed_spend'
    when spend_usd = 0 and total_tokens > 0 then 'unpriced'
    when error_code = '499' then 'partial'
    when spend_usd = 0 then 'zero'
    else 'call'
  end
{%- endmacro %}


{#- Classes whose tokens the provider did not meter, or not on the organisation's invoice (rule 4.4). For `in (...)`. -#}
{% macro undelivered_classes() -%}
  'cache_hit', 'subscription', 'failure', 'failed_spend', 'zero'
{%- endmacro %}
