{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

{%- set keys = [
    'usage_date', 'provider', 'model', 'service_tier', 'context_over_tokens', 'call_class', 'cost_center', 'rung'
] %}

-- The proxy's side of the three-way match (rule 4.1): usage without keys, people and use cases, by what prices depend
-- on and by who pays. Tokens of a row times their prices are the prices of its calls, as a row holds one context band.
select
    {{ keys | join(',\n    ') }},
    cast(sum(calls) as bigint) as calls,
    cast(sum(calls_without_usage) as bigint) as calls_without_usage,
    cast(sum(uncached_input_tokens) as bigint) as uncached_input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_5m_tokens) as bigint) as cache_write_5m_tokens,
    cast(sum(cache_write_1h_tokens) as bigint) as cache_write_1h_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(logged_spend_usd) as decimal(38, 12)) as logged_spend_usd
from {{ ref('fct_usage_daily') }}
where {{ in_build_window('usage_date') }}
group by
    {{ keys | join(',\n    ') }}
