{{ config(tags=['provider_daily'], meta={'dagster': {'ref': {'name': 'fct_provider_cost_daily'}}}) }}

-- The bug: a join that drops or multiplies rows, a filter on a null key, a row filed under a day other than its file's.
-- Of each day of the window the facts hold the dollars and the tokens of the reports, to the last digit.
-- Not this test: whether the lake holds all that the provider reports (the raw assets' own checks).
with

reported as (

    select
        usage_date,
        provider,
        sum(amount_usd) as amount_usd,
        sum(tokens) as tokens
    from (
        select
            usage_date,
            provider,
            amount_usd,
            0 as tokens
        from {{ ref('stg_anthropic__costs') }}
        union all
        select
            usage_date,
            provider,
            amount_usd,
            0 as tokens
        from {{ ref('stg_openai__costs') }}
        union all
        select
            usage_date,
            provider,
            0 as amount_usd,
            uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens
                as tokens
        from {{ ref('stg_anthropic__usage') }}
        union all
        select
            usage_date,
            provider,
            0 as amount_usd,
            uncached_input_tokens + cache_read_tokens + cache_write_5m_tokens + output_tokens as tokens
        from {{ ref('stg_openai__usage') }}
    ) as report_rows
    group by usage_date, provider

),

kept as (

    select
        usage_date,
        provider,
        sum(amount_usd) as amount_usd,
        sum(tokens) as tokens
    from (
        select
            usage_date,
            provider,
            amount_usd,
            0 as tokens
        from {{ ref('fct_provider_cost_daily') }}
        union all
        select
            usage_date,
            provider,
            0 as amount_usd,
            quantity as tokens
        from {{ ref('fct_provider_usage_daily') }}
        where unit = 'tokens'
    ) as fact_rows
    where {{ in_build_window('usage_date') }}
    group by usage_date, provider

)

select
    coalesce(reported.usage_date, kept.usage_date) as usage_date,
    coalesce(reported.provider, kept.provider) as provider,
    reported.amount_usd as reported_usd,
    kept.amount_usd as kept_usd,
    reported.tokens as reported_tokens,
    kept.tokens as kept_tokens
from reported
full outer join kept
    on
        reported.usage_date = kept.usage_date
        and reported.provider = kept.provider
where
    coalesce(reported.amount_usd, 0) <> coalesce(kept.amount_usd, 0)
    or coalesce(reported.tokens, 0) <> coalesce(kept.tokens, 0)
