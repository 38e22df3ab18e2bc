{{ config(tags=['daily'], meta={'dagster': {'ref': {'name': 'fct_screening_daily'}}}) }}

-- The bug: a join that drops or multiplies rows, a filter on a null, a row filed under a day other than its file's.
-- Money would leave the books without a trace. Of each day of the window, every row of the lake is screened once, and
-- the accepted spend is the spend of usage, to the last digit; the groups that usage is made of hold every token.
-- Not this test: whether the lake holds all rows of the proxy (the raw asset's own checks), or whether the verdicts are
-- right (the screening unit tests).
with

logged as (

    select
        usage_date,
        count(*) as calls,
        sum(uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens)
            as tokens,
        coalesce(sum(spend_usd), 0) as spend_usd
    from {{ ref('stg_litellm__spend_logs') }}
    group by usage_date

),

grouped as (

    select
        usage_date,
        sum(calls) as calls,
        sum(uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens)
            as tokens,
        coalesce(sum(spend_usd), 0) as spend_usd
    from {{ ref('int_calls__grouped') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date

),

screened as (

    select
        usage_date,
        sum(calls) as calls,
        coalesce(sum(spend_usd), 0) as spend_usd,
        coalesce(sum(case when disposition = 'accepted' then calls end), 0) as accepted_calls,
        coalesce(sum(case when disposition = 'accepted' then spend_usd end), 0) as accepted_spend_usd
    from {{ ref('fct_screening_daily') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date

),

used as (

    select
        usage_date,
        sum(calls) as calls,
        sum(logged_spend_usd) as spend_usd
    from {{ ref('fct_usage_daily') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date

)

select
    coalesce(logged.usage_date, grouped.usage_date, screened.usage_date, used.usage_date) as usage_date,
    logged.calls as logged_calls,
    grouped.calls as grouped_calls,
    screened.calls as screened_calls,
    screened.accepted_calls,
    used.calls as used_calls,
    logged.tokens as logged_tokens,
    grouped.tokens as grouped_tokens,
    logged.spend_usd as logged_spend_usd,
    grouped.spend_usd as grouped_spend_usd,
    screened.spend_usd as screened_spend_usd,
    screened.accepted_spend_usd,
    used.spend_usd as used_spend_usd
from logged
full outer join grouped
    on logged.usage_date = grouped.usage_date
full outer join screened
    on coalesce(logged.usage_date, grouped.usage_date) = screened.usage_date
full outer join used
    on coalesce(logged.usage_date, grouped.usage_date, screened.usage_date) = used.usage_date
where
    logged.calls is distinct from grouped.calls
    or logged.tokens is distinct from grouped.tokens
    or logged.spend_usd is distinct from grouped.spend_usd
    or logged.calls is distinct from screened.calls
    or logged.spend_usd is distinct from screened.spend_usd
    or coalesce(screened.accepted_calls, 0) <> coalesce(used.calls, 0)
    or coalesce(screened.accepted_spend_usd, 0) <> coalesce(used.spend_usd, 0)
