{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- What was used and what the proxy logged for it, by day and everything a later rule groups by.
select
    usage_date,
    provider,
    model,
    model_group,
    call_type,
    service_tier,
    key_hash,
    team_id,
    user_id,
    cost_center,
    rung,
    evidence,
    use_case,
    call_class,
    count(*) as calls,
    cast(sum(prompt_tokens) as bigint) as prompt_tokens,
    cast(sum(uncached_input_tokens) as bigint) as uncached_input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_5m_tokens) as bigint) as cache_write_5m_tokens,
    cast(sum(cache_write_1h_tokens) as bigint) as cache_write_1h_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(logged_spend_usd) as decimal(38, 12)) as logged_spend_usd
from {{ ref('int_calls__attributed') }}
where {{ in_build_window('usage_date') }}
group by
    usage_date,
    provider,
    model,
    model_group,
    call_type,
    service_tier,
    key_hash,
    team_id,
    user_id,
    cost_center,
    rung,
    evidence,
    use_case,
    call_class
