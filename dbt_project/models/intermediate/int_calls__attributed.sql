{{ config(materialized='view') }}

-- Every accepted call of the window with its provider, its class, the cost center that pays for it, and what the price
-- book says that it costs. A view, as int_calls__screened is: no mart reads calls one by one.
with

calls as (

    select * from {{ ref('int_calls__screened') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}

),

identities as (

    select * from {{ ref('int_call_identities__attributed') }}
    where {{ in_build_window('usage_date') }}

)

select
    calls.usage_date,
    calls.request_id,
    calls.litellm_call_id,
    calls.session_id,
    calls.call_type,
    calls.started_at,
    calls.ended_at,
    calls.completion_started_at,
    calls.request_duration_ms,
    -- Who bills: read from the reviewed alias list, never guessed from a model's name (rule 4.1).
    coalesce(providers.provider, calls.provider_slug, 'unknown') as provider,
    providers.provider is not null as is_provider_mapped,
    calls.provider_slug,
    coalesce(calls.model, 'unknown') as model,
    calls.model_id,
    calls.model_group,
    calls.original_model_group,
    calls.service_tier,
    calls.context_over_tokens,
    cells.priced_model,
    calls.mcp_tool_name,
    {{ call_class() }} as call_class,
    calls.use_case,
    calls.key_hash,
    calls.key_alias,
    identities.team_id,
    identities.user_id,
    calls.organization_id,
    identities.cost_center,
    identities.rung,
    identities.evidence,
    identities.person_cost_center,
    identities.attribution_conflict,
    identities.is_team_snapshot_missing,
    calls.has_content_conflict,
    calls.is_suspected_double_log,
    calls.has_clock_skew,
    calls.is_subscription_call,
    calls.internal_call_origin,
    calls.attempted_fallbacks,
    calls.attempted_retries,
    calls.error_code,
    calls.error_class,
    calls.has_usage_object,
    calls.total_tokens,
    calls.prompt_tokens,
    calls.uncached_input_tokens,
    calls.cache_read_tokens,
    calls.cache_write_5m_tokens,
    calls.cache_write_1h_tokens,
    calls.output_tokens,
    calls.reasoning_tokens,
    calls.web_search_requests,
    calls.spend_usd as logged_spend_usd,
    {{ list_cost_usd() }} as list_cost_usd,
    {{ price_status() }} as price_status,
    calls.original_cost_usd,
    calls.discount_usd,
    calls.margin_usd,
    calls.tool_usage_cost_usd,
    calls.map_model_key,
    calls.map_input_usd_per_token,
    calls.map_output_usd_per_token,
    calls.map_cache_read_usd_per_token,
    calls.map_cache_write_usd_per_token
from calls
left join {{ ref('provider_aliases') }} as providers
    on calls.provider_slug = providers.provider_slug
left join identities
    on
        calls.usage_date = identities.usage_date
        and calls.team_id is not distinct from identities.logged_team_id
        and calls.key_hash is not distinct from identities.key_hash
        and calls.user_id is not distinct from identities.logged_user_id
left join {{ ref('int_usage_cells__priced') }} as cells
    on
        calls.usage_date = cells.usage_date
        and calls.provider_slug is not distinct from cells.provider_slug
        and calls.model is not distinct from cells.model
        and calls.service_tier = cells.service_tier
        and calls.context_over_tokens = cells.context_over_tokens
