{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- What was used and what the proxy logged for it, by day and everything a later rule groups by.
with

groups as (

    select * from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}

),

identities as (

    select * from {{ ref('int_call_identities__attributed') }}
    where {{ in_build_window('usage_date') }}

),

attributed as (

    select
        groups.usage_date,
        -- Who bills: read from the reviewed alias list, never guessed from a model's name (rule 4.1).
        coalesce(providers.provider, groups.provider_slug, 'unknown') as provider,
        coalesce(groups.model, 'unknown') as model,
        groups.model_group,
        groups.call_type,
        groups.service_tier,
        groups.context_over_tokens,
        groups.key_hash,
        identities.team_id,
        identities.user_id,
        identities.cost_center,
        identities.rung,
        identities.evidence,
        groups.use_case,
        groups.call_class,
        groups.calls,
        groups.calls_without_usage,
        groups.prompt_tokens,
        groups.uncached_input_tokens,
        groups.cache_read_tokens,
        groups.cache_write_5m_tokens,
        groups.cache_write_1h_tokens,
        groups.output_tokens,
        groups.spend_usd
    from groups
    left join {{ ref('provider_aliases') }} as providers
        on groups.provider_slug = providers.provider_slug
    left join identities
        on
            groups.usage_date = identities.usage_date
            and groups.team_id is not distinct from identities.logged_team_id
            and groups.key_hash is not distinct from identities.key_hash
            and groups.user_id is not distinct from identities.logged_user_id

)

select
    usage_date,
    provider,
    model,
    model_group,
    call_type,
    service_tier,
    context_over_tokens,
    key_hash,
    team_id,
    user_id,
    cost_center,
    rung,
    evidence,
    use_case,
    call_class,
    cast(sum(calls) as bigint) as calls,
    cast(sum(calls_without_usage) as bigint) as calls_without_usage,
    cast(sum(prompt_tokens) as bigint) as prompt_tokens,
    cast(sum(uncached_input_tokens) as bigint) as uncached_input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_5m_tokens) as bigint) as cache_write_5m_tokens,
    cast(sum(cache_write_1h_tokens) as bigint) as cache_write_1h_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(spend_usd) as decimal(38, 12)) as logged_spend_usd
from attributed
group by
    usage_date,
    provider,
    model,
    model_group,
    call_type,
    service_tier,
    context_over_tokens,
    key_hash,
    team_id,
    user_id,
    cost_center,
    rung,
    evidence,
    use_case,
    call_class
