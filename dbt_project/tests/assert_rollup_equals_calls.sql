{{ config(tags=['daily'], meta={'dagster': {'ref': {'name': 'fct_usage_daily'}}}) }}

-- The bug: a rollup that groups by a column with nulls and joins it back, or that still holds a day since rebuilt. The
-- rollups of each day of the window, usage and the proxy's side of the match, have the calls, tokens and spend of its
-- calls, exactly.
-- Not this test: whether the groups hold every call (assert_no_row_is_lost), or whether prompt_tokens equals its parts;
-- a row whose usage details contradict it does not split.
with

calls as (

    select
        usage_date,
        sum(calls) as calls,
        sum(prompt_tokens) as prompt_tokens,
        sum(uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(spend_usd) as logged_spend_usd
    from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}
    group by usage_date

),

rollup_rows as (

    select
        usage_date,
        sum(calls) as calls,
        sum(prompt_tokens) as prompt_tokens,
        sum(uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(logged_spend_usd) as logged_spend_usd
    from {{ ref('fct_usage_daily') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date

),

match_rows as (

    select
        usage_date,
        sum(calls) as calls,
        sum(uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(logged_spend_usd) as logged_spend_usd
    from {{ ref('fct_proxy_usage_daily') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date

)

select
    coalesce(calls.usage_date, rollup_rows.usage_date, match_rows.usage_date) as usage_date,
    calls.calls,
    rollup_rows.calls as rollup_calls,
    match_rows.calls as match_calls,
    calls.logged_spend_usd,
    rollup_rows.logged_spend_usd as rollup_spend_usd,
    match_rows.logged_spend_usd as match_spend_usd
from calls
full outer join rollup_rows
    on calls.usage_date = rollup_rows.usage_date
full outer join match_rows
    on coalesce(calls.usage_date, rollup_rows.usage_date) = match_rows.usage_date
where
    calls.calls is distinct from rollup_rows.calls
    or calls.prompt_tokens is distinct from rollup_rows.prompt_tokens
    or calls.input_tokens is distinct from rollup_rows.input_tokens
    or calls.output_tokens is distinct from rollup_rows.output_tokens
    or calls.logged_spend_usd is distinct from rollup_rows.logged_spend_usd
    or calls.calls is distinct from match_rows.calls
    or calls.input_tokens is distinct from match_rows.input_tokens
    or calls.output_tokens is distinct from match_rows.output_tokens
    or calls.logged_spend_usd is distinct from match_rows.logged_spend_usd
