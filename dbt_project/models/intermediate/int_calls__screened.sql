{{ config(materialized='view') }}

{%- set content_columns = call_content_columns() %}

-- Every logged row of the window with what became of it (rules 12.1, 12.2) and its context band (rule 4.2); none is
-- dropped. A view, because the lake holds the calls already: a reader scans the columns that it names, and the last
-- join falls away where nobody needs it (that needs steps with one reader each; a step with two is computed always). A
-- reader that joins something to this view loses that: five times the processor time for ten million calls.
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

-- The band of a call is the highest threshold of its model that its input tokens are above.
banded as (

    select
        decided.*,
        coalesce(
            case
                when decided.prompt_tokens > names.third_over_tokens then names.third_over_tokens
                when decided.prompt_tokens > names.second_over_tokens then names.second_over_tokens
                when decided.prompt_tokens > names.first_over_tokens then names.first_over_tokens
            end,
            0
        ) as context_over_tokens
    from decided
    left join {{ ref('int_model_names__matched') }} as names
        on
            decided.provider_slug = names.provider_slug
            and lower(decided.model) = names.model_name

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
    banded.usage_date,
    banded.request_id,
    banded.disposition,
    banded.reason,
    banded.has_content_conflict,
    banded.disposition = 'accepted' and double_logs.usage_date is not null as is_suspected_double_log,
    coalesce(banded.ended_at < banded.started_at, false) as has_clock_skew,
    banded.{{ content_columns | join(',\n    banded.') }},
    banded.context_over_tokens,
    banded.created_at,
    banded.updated_at,
    banded.lake_load
from banded
left join double_logs
    on
        banded.usage_date = double_logs.usage_date
        and banded.request_id = double_logs.request_id
