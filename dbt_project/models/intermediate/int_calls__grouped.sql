{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail') }}

-- The day's rows by everything that a later model groups by: the one pass over all calls. What follows (identities,
-- usage, screening totals) reads these thousands of groups instead of millions of calls.
select
    usage_date,
    disposition,
    reason,
    provider_slug,
    model,
    model_group,
    call_type,
    service_tier,
    key_hash,
    team_id,
    user_id,
    use_case,
    case when disposition = 'accepted' then {{ call_class() }} end as call_class,
    count(*) as calls,
    cast(sum(prompt_tokens) as bigint) as prompt_tokens,
    cast(sum(uncached_input_tokens) as bigint) as uncached_input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_5m_tokens) as bigint) as cache_write_5m_tokens,
    cast(sum(cache_write_1h_tokens) as bigint) as cache_write_1h_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(spend_usd) as decimal(38, 12)) as spend_usd
from {{ ref('int_calls__screened') }}
where {{ in_build_window('usage_date') }}
group by
    usage_date,
    disposition,
    reason,
    provider_slug,
    model,
    model_group,
    call_type,
    service_tier,
    key_hash,
    team_id,
    user_id,
    use_case,
    case when disposition = 'accepted' then {{ call_class() }} end
