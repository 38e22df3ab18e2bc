-- The price book as it is kept, by day, open ends filled in. A price of a token is a price of a million with the point
-- moved: a product of two decimals, exact, where a division would be a float (rule 1.1).
select
    provider,
    model,
    token_type,
    service_tier,
    context_band,
    context_over_tokens,
    usd_per_mtok,
    cast(usd_per_mtok * 0.000001 as decimal(18, 12)) as usd_per_token,
    coalesce(valid_from, {{ beginning_of_time() }}) as valid_from,
    coalesce(valid_to, {{ end_of_time() }}) as valid_to,
    source,
    source_version,
    basis
from {{ source('raw', 'price_book') }}
