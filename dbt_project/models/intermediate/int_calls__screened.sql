{{ config(materialized='view') }}

{%- set content_columns = call_content_columns() %}

-- Every logged row of the window with what became of it (rules 12.1, 12.2); none is dropped. A view, because the lake
-- holds the calls already: a reader scans the columns that it names, and a join that it does not need falls away (that
-- needs steps with one reader each; a step with two is computed always).
with

examined_ids as (

    select distinct logged_request_id
    from {{ ref('int_calls__examined') }}
    where {{ in_build_window('usage_date') }}

),

decided as (

    select
        usage_date,
        request_id,
        disposition,
        reason,
        has_content_conflict,
        {{ content_columns | join(',\n        ') }},
        created_at,
        updated_at,
        lake_load
    from {{ ref('int_calls__examined') }}
    where {{ in_build_window('usage_date') }}

    union all

    select
        calls.usage_date,
        calls.request_id,
        'accepted' as disposition,
        'none' as reason,
        false as has_content_conflict,
        calls.{{ content_columns | join(',\n        calls.') }},
        calls.created_at,
        calls.updated_at,
        calls.lake_load
    from {{ ref('stg_litellm__spend_logs') }} as calls
    left join examined_ids
        on calls.logged_request_id = examined_ids.logged_request_id
    where
        {{ in_build_window('calls.usage_date') }}
        and calls.logged_request_id is not null
        and examined_ids.logged_request_id is null

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
        usage_date,
        request_id
    from (
        select
            usage_date,
            request_id,
            min(request_id) over (
                partition by usage_date, litellm_call_id, prompt_tokens, output_tokens
                order by started_at
                range between interval '5' second preceding and interval '5' second following
            ) as first_request_id,
            max(request_id) over (
                partition by usage_date, litellm_call_id, prompt_tokens, output_tokens
                order by started_at
                range between interval '5' second preceding and interval '5' second following
            ) as last_request_id
        from shared_calls
        where
            request_id is not null
            and started_at is not null
    ) as neighbours
    where first_request_id <> last_request_id

)

select
    decided.usage_date,
    decided.request_id,
    decided.disposition,
    decided.reason,
    decided.has_content_conflict,
    decided.disposition = 'accepted' and double_logs.usage_date is not null as is_suspected_double_log,
    coalesce(decided.ended_at < decided.started_at, false) as has_clock_skew,
    decided.{{ content_columns | join(',\n    decided.') }},
    decided.created_at,
    decided.updated_at,
    decided.lake_load
from decided
left join double_logs
    on
        decided.usage_date = double_logs.usage_date
        and decided.request_id = double_logs.request_id
