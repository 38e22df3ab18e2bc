{{ config(
    materialized='table', tags=['provider_daily'],
    post_hook={'sql': "{{ export_table() }}", 'transaction': false}
) }}

-- Whom the provider's ids of owners and creators stand for, as they were listed last. Holds personal data.
with

sightings as (

    select
        'anthropic' as provider,
        owner_id as person_id,
        'user' as kind,
        person_name,
        email,
        observed_date
    from {{ ref('stg_anthropic__users') }}
    union all
    select
        'anthropic' as provider,
        owner_id as person_id,
        'service_account' as kind,
        service_account_name as person_name,
        cast(null as string) as email,
        observed_date
    from {{ ref('stg_anthropic__service_accounts') }}
    union all
    select
        'openai' as provider,
        owner_id as person_id,
        'user' as kind,
        person_name,
        email,
        observed_date
    from {{ ref('stg_openai__users') }}
    union all
    select
        'openai' as provider,
        owner_id as person_id,
        'service_account' as kind,
        service_account_name as person_name,
        cast(null as string) as email,
        observed_date
    from {{ ref('stg_openai__service_accounts') }}

),

numbered as (

    select
        *,
        -- A service account can be listed in two projects of one day; its words make the choice the same on every run.
        row_number() over (
            partition by provider, person_id
            order by observed_date desc, kind asc, person_name asc nulls last, email asc nulls last
        ) as choice
    from sightings

)

select
    provider,
    person_id,
    kind,
    person_name,
    email
from numbered
where choice = 1
