{{ config(tags=['daily'], meta={'dagster': {'ref': {'name': 'int_model_names__matched'}}}) }}

-- The bug: a model of the price book with more context bands than int_model_names__matched has columns for. Its calls
-- would be put in a lower band, and charged its price.
-- Not this test: whether the bands of a price leave a gap (refused when the book is loaded).
select
    provider,
    model,
    count(distinct context_over_tokens) as thresholds
from {{ ref('stg_prices__prices') }}
where context_over_tokens > 0
group by provider, model
having count(distinct context_over_tokens) > 3
