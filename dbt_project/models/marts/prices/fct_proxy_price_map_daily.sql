{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

{%- set keys = [
    'usage_date', 'provider', 'model', 'service_tier', 'map_model_key', 'map_input_usd_per_token',
    'map_output_usd_per_token', 'map_cache_read_usd_per_token', 'map_cache_write_usd_per_token'
] %}

-- The prices that the proxy had in its map when it logged calls (rule 4.4: the map is compared with the book daily). A
-- map that changes during a day has two rows. Accepted calls of any class that name an entry; others say nothing of it.
with

groups as (

    select * from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and map_model_key is not null
        and {{ in_build_window('usage_date') }}

),

billed as (

    select
        groups.usage_date,
        coalesce(providers.provider, groups.provider_slug, 'unknown') as provider,
        coalesce(groups.model, 'unknown') as model,
        groups.service_tier,
        groups.map_model_key,
        groups.map_input_usd_per_token,
        groups.map_output_usd_per_token,
        groups.map_cache_read_usd_per_token,
        groups.map_cache_write_usd_per_token,
        groups.calls,
        groups.prompt_tokens + groups.output_tokens as tokens
    from groups
    left join {{ ref('provider_aliases') }} as providers
        on groups.provider_slug = providers.provider_slug

)

select
    {{ keys | join(',\n    ') }},
    cast(sum(calls) as bigint) as calls,
    cast(sum(tokens) as bigint) as tokens
from billed
group by
    {{ keys | join(',\n    ') }}
