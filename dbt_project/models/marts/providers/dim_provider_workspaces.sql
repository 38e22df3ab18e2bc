{{ config(
    materialized='table', tags=['provider_daily'],
    post_hook={'sql': "{{ export_table() }}", 'transaction': false}
) }}

-- Every workspace (project) that a provider ever listed, by each name that it went by: a list of keys may still use a
-- name from before. The name of a workspace is the one seen last.
with

sightings as (

    select
        provider,
        workspace_id,
        workspace_name,
        observed_date
    from {{ ref('stg_anthropic__workspaces') }}
    union all
    select
        provider,
        workspace_id,
        workspace_name,
        observed_date
    from {{ ref('stg_openai__projects') }}

)

select
    provider,
    workspace_id,
    workspace_name,
    min(observed_date) as first_observed_date,
    max(observed_date) as last_observed_date
from sightings
group by
    provider,
    workspace_id,
    workspace_name
