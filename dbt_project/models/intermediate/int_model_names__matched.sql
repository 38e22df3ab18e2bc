{{ config(materialized='table') }}

-- Every name that a call can carry for a model of the price book, and where the context bands of that model begin (rule
-- 4.2). Made from the book, not from calls: so it is small, and a call finds its bands with one look-up.
with

slugs as (

    select
        provider_slug,
        provider
    from {{ ref('provider_aliases') }}

),

-- What a call may name as its provider: a slug of the list, or one that the list does not know, which bills itself.
logged_slugs as (

    select * from slugs

    union all

    select distinct
        aliases.provider as provider_slug,
        aliases.provider
    from {{ ref('stg_prices__aliases') }} as aliases
    left join slugs
        on aliases.provider = slugs.provider_slug
    where slugs.provider_slug is null

),

-- Names match whole, lower case, alone or behind a slug of the same provider, as domain/pricing.py compares them.
names as (

    select
        provider,
        alias as model_name,
        model as priced_model
    from {{ ref('stg_prices__aliases') }}

    union all

    select
        aliases.provider,
        slugs.provider_slug || '/' || aliases.alias as model_name,
        aliases.model as priced_model
    from {{ ref('stg_prices__aliases') }} as aliases
    inner join slugs
        on aliases.provider = slugs.provider

),

-- Of any token type, tier and day: a call has one band, whatever of it is priced.
numbered_thresholds as (

    select
        provider,
        model,
        context_over_tokens,
        row_number() over (partition by provider, model order by context_over_tokens) as position
    from (
        select distinct
            provider,
            model,
            context_over_tokens
        from {{ ref('stg_prices__prices') }}
        where context_over_tokens > 0
    ) as thresholds

),

bands as (

    select
        provider,
        model,
        max(case when position = 1 then context_over_tokens end) as first_over_tokens,
        max(case when position = 2 then context_over_tokens end) as second_over_tokens,
        max(case when position = 3 then context_over_tokens end) as third_over_tokens
    from numbered_thresholds
    group by provider, model

)

select
    logged_slugs.provider_slug,
    names.model_name,
    names.provider,
    names.priced_model,
    bands.first_over_tokens,
    bands.second_over_tokens,
    bands.third_over_tokens
from names
inner join logged_slugs
    on names.provider = logged_slugs.provider
left join bands
    on
        names.provider = bands.provider
        and names.priced_model = bands.model
