{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['provider_daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

{%- set dimensions = [
    'usage_date', 'provider', 'account', 'provider_key_id', 'workspace_id', 'model', 'service_tier', 'context_window',
    'inference_geo', 'speed'
] -%}
{%- set anthropic_measures = [
    ('uncached_input_tokens', 'uncached_input', 'tokens'),
    ('cache_read_tokens', 'cache_read', 'tokens'),
    ('cache_write_5m_tokens', 'cache_write_5m', 'tokens'),
    ('cache_write_1h_tokens', 'cache_write_1h', 'tokens'),
    ('output_tokens', 'output', 'tokens'),
    ('web_search_requests', 'web_search_requests', 'requests'),
    ('requests', 'requests', 'requests'),
] -%}
{%- set openai_measures = [
    ('uncached_input_tokens', 'uncached_input', 'tokens'),
    ('cache_read_tokens', 'cache_read', 'tokens'),
    ('cache_write_5m_tokens', 'cache_write_5m', 'tokens'),
    ('output_tokens', 'output', 'tokens'),
    ('input_audio_tokens', 'input_audio_within', 'tokens_within'),
    ('output_audio_tokens', 'output_audio_within', 'tokens_within'),
    ('web_search_requests', 'web_search_requests', 'requests'),
    ('file_search_requests', 'file_search_requests', 'requests'),
    ('requests', 'requests', 'requests'),
    ('images', 'images', 'images'),
    ('characters', 'characters', 'characters'),
    ('seconds', 'seconds', 'seconds'),
    ('usage_bytes', 'usage_bytes', 'bytes'),
    ('sessions', 'sessions', 'sessions'),
] %}

-- What the providers metered, by day and everything that reconciliation groups by (rule 4.1). A null key or workspace
-- is a group of its own.
with

anthropic as (

    select * from {{ ref('stg_anthropic__usage') }}
    where {{ in_build_window('usage_date') }}

),

openai as (

    select
        *,
        cast(null as string) as context_window,
        cast(null as string) as inference_geo,
        cast(null as string) as speed
    from {{ ref('stg_openai__usage') }}
    where {{ in_build_window('usage_date') }}

),

measured as (
    {{ measures_of('anthropic', dimensions, anthropic_measures) }}
    union all
    {{ measures_of('openai', dimensions, openai_measures) }}

)

select
    usage_date,
    provider,
    account,
    provider_key_id,
    workspace_id,
    model,
    service_tier,
    context_window,
    inference_geo,
    speed,
    measure,
    unit,
    cast(sum(quantity) as bigint) as quantity
from measured
group by
    usage_date,
    provider,
    account,
    provider_key_id,
    workspace_id,
    model,
    service_tier,
    context_window,
    inference_geo,
    speed,
    measure,
    unit
