{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail') }}

{%- set keys = [
    'usage_date', 'disposition', 'reason', 'provider_slug', 'model', 'model_group', 'call_type', 'service_tier',
    'context_over_tokens', 'key_hash', 'team_id', 'user_id', 'use_case', 'call_class', 'is_across_midnight',
    'map_model_key', 'map_input_usd_per_token', 'map_output_usd_per_token', 'map_cache_read_usd_per_token',
    'map_cache_write_usd_per_token'
] %}

-- The day's rows by everything that a later model groups by: the one pass over all calls. What follows (identities,
-- usage, screening totals, the proxy's prices) reads these thousands of groups instead of millions of calls. The
-- context band is a key, so prices times the tokens of a group are the prices of its calls (rule 4.2).
with

calls as (

    select
        *,
        case when disposition = 'accepted' then {{ call_class() }} end as call_class,
        coalesce(cast(ended_at as date) > usage_date, false) as is_across_midnight
    from {{ ref('int_calls__screened') }}
    where {{ in_build_window('usage_date') }}

)

select
    {{ keys | join(',\n    ') }},
    count(*) as calls,
    -- Of what the provider should have metered; the proxy's answers and failures never have usage details.
    count(
        case
            when
                not has_usage_object
                and prompt_tokens + output_tokens > 0
                and call_class not in ({{ undelivered_classes() }})
                then 1
        end
    ) as calls_without_usage,
    cast(sum(prompt_tokens) as bigint) as prompt_tokens,
    cast(sum(uncached_input_tokens) as bigint) as uncached_input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_5m_tokens) as bigint) as cache_write_5m_tokens,
    cast(sum(cache_write_1h_tokens) as bigint) as cache_write_1h_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(spend_usd) as decimal(38, 12)) as spend_usd
from calls
group by
    {{ keys | join(',\n    ') }}
