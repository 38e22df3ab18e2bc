{{ config(materialized='view') }}

{%- set cell = ['usage_date', 'provider_slug', 'model', 'service_tier', 'context_over_tokens'] %}

-- The price of one token of each type for every day, model, tier and context band that has calls (rules 4.1, 4.2): the
-- price that holds on the calls' own UTC day, or null. Only a tier that the policy names may borrow the standard price,
-- and then it says so.
with

cells as (

    select distinct {{ cell | join(', ') }}
    from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}

),

matched as (

    select
        cells.*,
        names.provider,
        names.priced_model
    from cells
    left join {{ ref('int_model_names__matched') }} as names
        on
            cells.provider_slug = names.provider_slug
            and lower(cells.model) = names.model_name

),

-- A book may band some token types or tiers only; what has no price for the call's band has one for a lower band.
ranked as (

    select
        matched.*,
        prices.token_type,
        prices.usd_per_token,
        prices.service_tier <> matched.service_tier as is_fallback,
        row_number() over (
            partition by
                matched.usage_date, matched.provider_slug, matched.model, matched.service_tier,
                matched.context_over_tokens, prices.token_type
            order by
                case when prices.service_tier = matched.service_tier then 1 else 2 end,
                prices.context_over_tokens desc
        ) as choice
    from matched
    left join {{ ref('stg_prices__prices') }} as prices
        on
            matched.provider = prices.provider
            and matched.priced_model = prices.model
            and (
                matched.service_tier = prices.service_tier
                or (
                    prices.service_tier = 'standard'
                    and matched.service_tier in ({{ sql_strings(policy('fallback_tiers')) }})
                )
            )
            and matched.context_over_tokens >= prices.context_over_tokens
            and matched.usage_date >= prices.valid_from
            and matched.usage_date < prices.valid_to

)

select
    {{ cell | join(',\n    ') }},
    priced_model,
    max(case when token_type = 'uncached_input' then usd_per_token end) as uncached_input_usd_per_token,
    coalesce(bool_or(token_type = 'uncached_input' and is_fallback), false) as is_uncached_input_fallback,
    max(case when token_type = 'cache_read' then usd_per_token end) as cache_read_usd_per_token,
    coalesce(bool_or(token_type = 'cache_read' and is_fallback), false) as is_cache_read_fallback,
    max(case when token_type = 'cache_write_5m' then usd_per_token end) as cache_write_5m_usd_per_token,
    coalesce(bool_or(token_type = 'cache_write_5m' and is_fallback), false) as is_cache_write_5m_fallback,
    max(case when token_type = 'cache_write_1h' then usd_per_token end) as cache_write_1h_usd_per_token,
    coalesce(bool_or(token_type = 'cache_write_1h' and is_fallback), false) as is_cache_write_1h_fallback,
    max(case when token_type = 'output' then usd_per_token end) as output_usd_per_token,
    coalesce(bool_or(token_type = 'output' and is_fallback), false) as is_output_fallback
from ranked
where choice = 1
group by
    {{ cell | join(',\n    ') }},
    priced_model
