{{ config(
    materialized='table', tags=['provider_daily'],
    post_hook={'sql': "{{ export_table() }}", 'transaction': false}
) }}

{%- set description_columns = [
    'key_name', 'key_hint', 'workspace_id', 'owner_id', 'owner_type', 'created_by_id', 'created_at', 'status'
] %}

-- Every key that a provider ever listed, with what was said of it and when: a row holds from the first to the last
-- snapshot in which nothing about the key changed. Built whole from all snapshots; a day without one ends nothing.
with

sightings as (

    select * from {{ ref('stg_anthropic__api_keys') }}
    union all
    select * from {{ ref('stg_openai__project_api_keys') }}

),

described as (

    select
        *,
        {{ content_hash('sightings', description_columns) }}
            as description_hash
    from sightings

),

compared as (

    select
        *,
        lag(description_hash) over (
            partition by provider, account, provider_key_id order by observed_date
        ) as previous_hash
    from described

),

numbered as (

    select
        *,
        sum(case when description_hash is distinct from previous_hash then 1 else 0 end) over (
            partition by provider, account, provider_key_id order by observed_date
            rows between unbounded preceding and current row
        ) as version_number
    from compared

)

select
    provider,
    account,
    provider_key_id,
    key_name,
    key_hint,
    workspace_id,
    owner_id,
    owner_type,
    created_by_id,
    created_at,
    status,
    min(observed_date) as first_observed_date,
    max(observed_date) as last_observed_date
from numbered
group by
    provider,
    account,
    provider_key_id,
    key_name,
    key_hint,
    workspace_id,
    owner_id,
    owner_type,
    created_by_id,
    created_at,
    status,
    version_number
