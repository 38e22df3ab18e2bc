{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail') }}

{#- What a call says about itself. Two rows with one id are one call told twice when all of these agree; the proxy's row
    stamps and the load that brought them are not part of it. -#}
{%- set content_columns = [
    'litellm_call_id', 'call_type', 'key_hash', 'key_alias', 'team_id', 'user_id', 'organization_id', 'session_id',
    'started_at', 'ended_at', 'completion_started_at', 'request_duration_ms', 'model', 'model_id', 'model_group',
    'original_model_group', 'provider_slug', 'mcp_tool_name', 'status', 'error_code', 'error_class', 'is_cache_hit',
    'is_subscription_call', 'internal_call_origin', 'attempted_fallbacks', 'attempted_retries', 'use_case', 'service_tier',
    'spend_text', 'spend_usd', 'original_cost_usd', 'discount_usd', 'margin_usd', 'tool_usage_cost_usd', 'map_model_key',
    'map_input_usd_per_token', 'map_output_usd_per_token', 'map_cache_read_usd_per_token', 'map_cache_write_usd_per_token',
    'has_usage_object', 'total_tokens', 'prompt_tokens', 'uncached_input_tokens', 'cache_read_tokens',
    'cache_write_5m_tokens', 'cache_write_1h_tokens', 'output_tokens', 'reasoning_tokens', 'web_search_requests',
] -%}

-- Rules 12.1 and 12.2: every logged row gets one disposition, and none is dropped. Repeats are looked for within a day.
-- Staging is named again wherever it is read: one wide step with several readers would be held in memory whole.
with

-- Only the few ids seen twice are compared by content.
repeated_ids as (

    select
        usage_date,
        request_id
    from {{ ref('stg_litellm__spend_logs') }}
    where
        request_id is not null
        and {{ in_build_window('usage_date') }}
    group by usage_date, request_id
    having count(*) > 1

),

copies as (

    select
        calls.*,
        {{ content_hash('calls', content_columns) }} as content_hash,
        coalesce(calls.updated_at, calls.created_at) as stamped_at
    from {{ ref('stg_litellm__spend_logs') }} as calls
    inner join repeated_ids
        on
            calls.usage_date = repeated_ids.usage_date
            and calls.request_id = repeated_ids.request_id

),

numbered_copies as (

    select
        *,
        row_number() over (
            partition by usage_date, request_id, content_hash
            order by stamped_at desc nulls last, lake_load desc nulls last
        ) as copy_number,
        min(content_hash) over (partition by usage_date, request_id)
        <> max(content_hash) over (partition by usage_date, request_id) as has_content_conflict
    from copies

),

numbered_versions as (

    select
        *,
        -- Only sound rows compete: a defective latest version must not hide a good earlier one.
        row_number() over (
            partition by usage_date, request_id, (copy_number = 1 and {{ call_defect() }} is null)
            order by stamped_at desc nulls last, content_hash desc
        ) as version_number
    from numbered_copies

),

numbered as (

    select
        usage_date,
        request_id,
        {{ content_columns | join(',\n        ') }},
        created_at,
        updated_at,
        lake_load,
        copy_number,
        version_number,
        has_content_conflict
    from numbered_versions

    union all

    select
        calls.usage_date,
        calls.request_id,
        calls.{{ content_columns | join(',\n        calls.') }},
        calls.created_at,
        calls.updated_at,
        calls.lake_load,
        1 as copy_number,
        1 as version_number,
        false as has_content_conflict
    from {{ ref('stg_litellm__spend_logs') }} as calls
    left join repeated_ids
        on
            calls.usage_date = repeated_ids.usage_date
            and calls.request_id = repeated_ids.request_id
    where
        repeated_ids.usage_date is null
        and {{ in_build_window('calls.usage_date') }}

),

checked as (

    select
        *,
        {{ call_defect() }} as defect
    from numbered

),

decided as (

    select
        *,
        case
            when copy_number > 1 then 'duplicate'
            when defect is not null then 'quarantined'
            when version_number > 1 then 'duplicate'
            else 'accepted'
        end as disposition,
        case
            when copy_number > 1 then 'identical_copy'
            when defect is not null then defect
            when version_number > 1 then 'superseded_copy'
            else 'none'
        end as reason
    from checked

),

shared_call_ids as (

    select
        usage_date,
        litellm_call_id
    from {{ ref('stg_litellm__spend_logs') }}
    where
        litellm_call_id is not null
        and {{ in_build_window('usage_date') }}
    group by usage_date, litellm_call_id
    having count(distinct request_id) > 1

),

shared_calls as (

    select
        calls.usage_date,
        calls.litellm_call_id,
        calls.request_id,
        calls.started_at,
        calls.prompt_tokens,
        calls.output_tokens
    from {{ ref('stg_litellm__spend_logs') }} as calls
    inner join shared_call_ids
        on
            calls.usage_date = shared_call_ids.usage_date
            and calls.litellm_call_id = shared_call_ids.litellm_call_id

),

-- The /v1/responses bridge has logged one call under two ids (LiteLLM 15740). Only a person can tell it from a retry.
double_logs as (

    select distinct
        this_call.usage_date,
        this_call.request_id
    from shared_calls as this_call
    inner join shared_calls as other_call
        on
            this_call.usage_date = other_call.usage_date
            and this_call.litellm_call_id = other_call.litellm_call_id
            and this_call.request_id <> other_call.request_id
            and this_call.prompt_tokens = other_call.prompt_tokens
            and this_call.output_tokens = other_call.output_tokens
            and this_call.started_at <= other_call.started_at + interval '5' second
            and other_call.started_at <= this_call.started_at + interval '5' second

)

select
    decided.usage_date,
    decided.request_id,
    decided.disposition,
    decided.reason,
    decided.has_content_conflict,
    double_logs.usage_date is not null as is_suspected_double_log,
    coalesce(decided.ended_at < decided.started_at, false) as has_clock_skew,
    decided.{{ content_columns | join(',\n    decided.') }},
    decided.created_at,
    decided.updated_at,
    decided.lake_load
from decided
left join double_logs
    on
        decided.disposition = 'accepted'
        and decided.usage_date = double_logs.usage_date
        and decided.request_id = double_logs.request_id
