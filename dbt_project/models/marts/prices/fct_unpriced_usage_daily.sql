{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

{%- set dimensions = ['usage_date', 'provider', 'model', 'service_tier', 'priced_model'] -%}
{%- set measures = [
    ('uncached_input_tokens', 'uncached_input', 'tokens'),
    ('cache_read_tokens', 'cache_read', 'tokens'),
    ('cache_write_5m_tokens', 'cache_write_5m', 'tokens'),
    ('cache_write_1h_tokens', 'cache_write_1h', 'tokens'),
    ('output_tokens', 'output', 'tokens'),
] %}

-- Usage that the price book cannot price, or that the proxy logged for nothing although it can (rules 4.1, 4.4, 12.4).
-- The proxy's own cache, failed calls and calls on a person's own plan are left out: the provider does not bill them to
-- the organisation. A tier that the policy lets borrow the standard price has that one. A model in a tier is taken
-- whole on a day, so calls counts all of its calls once one token type in use has no price.
with

used as (

    select
        usage_date,
        provider,
        model,
        service_tier,
        call_class = 'unpriced' as is_logged_without_spend,
        sum(calls) as calls,
        sum(uncached_input_tokens) as uncached_input_tokens,
        sum(cache_read_tokens) as cache_read_tokens,
        sum(cache_write_5m_tokens) as cache_write_5m_tokens,
        sum(cache_write_1h_tokens) as cache_write_1h_tokens,
        sum(output_tokens) as output_tokens,
        sum(prompt_tokens + output_tokens) as tokens,
        sum(logged_spend_usd) as logged_spend_usd
    from {{ ref('fct_usage_daily') }}
    where
        {{ in_build_window('usage_date') }}
        and call_class not in ({{ undelivered_classes() }})
        -- A row can total tokens without splitting them; that its spend is zero is then all there is to see.
        and (prompt_tokens + output_tokens > 0 or call_class = 'unpriced')
    group by
        usage_date,
        provider,
        model,
        service_tier,
        call_class = 'unpriced'

),

-- Whole names, lower case, as int_model_names__matched spells them.
names as (

    select distinct
        provider,
        model_name,
        priced_model
    from {{ ref('int_model_names__matched') }}

),

known as (

    select
        used.*,
        names.priced_model
    from used
    left join names
        on
            used.provider = names.provider
            and lower(used.model) = names.model_name

),

priced as (

    select * from known
    where priced_model is not null

),

in_use as (
    {{ measures_of('priced', dimensions, measures) }}
),

lacking as (

    select
        in_use.usage_date,
        in_use.provider,
        in_use.model,
        in_use.service_tier,
        concat_ws(
            ', ',
            max(case when in_use.measure = 'uncached_input' then 'uncached_input' end),
            max(case when in_use.measure = 'cache_read' then 'cache_read' end),
            max(case when in_use.measure = 'cache_write_5m' then 'cache_write_5m' end),
            max(case when in_use.measure = 'cache_write_1h' then 'cache_write_1h' end),
            max(case when in_use.measure = 'output' then 'output' end)
        ) as token_types
    from in_use
    left join {{ ref('stg_prices__prices') }} as prices
        on
            in_use.provider = prices.provider
            and in_use.priced_model = prices.model
            and in_use.measure = prices.token_type
            and (
                in_use.service_tier = prices.service_tier
                or (
                    prices.service_tier = 'standard'
                    and in_use.service_tier in ({{ sql_strings(policy('fallback_tiers')) }})
                )
            )
            -- The bands of a price begin at 0 tokens, which the book is held to: the lowest stands for all of them.
            and prices.context_over_tokens = 0
            and in_use.usage_date >= prices.valid_from
            and in_use.usage_date < prices.valid_to
    where prices.model is null
    group by
        in_use.usage_date,
        in_use.provider,
        in_use.model,
        in_use.service_tier

),

judged as (

    select
        known.*,
        case
            when known.priced_model is null then 'unknown_model'
            when lacking.token_types is not null then 'no_price_on_day'
            when known.is_logged_without_spend then 'logged_without_price'
        end as reason,
        lacking.token_types as token_types_without_price
    from known
    left join lacking
        on
            known.usage_date = lacking.usage_date
            and known.provider = lacking.provider
            and known.model = lacking.model
            and known.service_tier = lacking.service_tier

)

select
    usage_date,
    provider,
    model,
    service_tier,
    reason,
    token_types_without_price,
    cast(sum(calls) as bigint) as calls,
    cast(sum(tokens) as bigint) as tokens,
    cast(sum(logged_spend_usd) as decimal(38, 12)) as logged_spend_usd
from judged
where reason is not null
group by
    usage_date,
    provider,
    model,
    service_tier,
    reason,
    token_types_without_price
