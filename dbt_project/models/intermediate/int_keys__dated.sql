{{ config(materialized='table') }}

-- Whose key it was, by day [valid_from, valid_to): daily snapshots, and the deletion record for what no snapshot saw.
-- The first sight of a key is carried back and the last one onwards: a call that names the key proves that it existed.
with

sightings as (

    select
        key_hash,
        observed_date,
        team_id,
        user_id,
        1 as preference
    from {{ ref('stg_litellm__keys') }}

    union all

    select
        key_hash,
        deleted_date as observed_date,
        team_id,
        user_id,
        2 as preference
    from {{ ref('stg_litellm__deleted_keys') }}

),

daily as (

    select
        *,
        -- Several deletions of one day look alike; team and user make the choice the same on every run.
        row_number() over (
            partition by key_hash, observed_date
            order by preference, team_id nulls last, user_id nulls last
        ) as choice
    from sightings

),

compared as (

    select
        key_hash,
        observed_date,
        team_id,
        user_id,
        lag(observed_date) over (partition by key_hash order by observed_date) as previous_date,
        lag(team_id) over (partition by key_hash order by observed_date) as previous_team_id,
        lag(user_id) over (partition by key_hash order by observed_date) as previous_user_id
    from daily
    where choice = 1

),

changes as (

    select *
    from compared
    where
        previous_date is null
        or team_id is distinct from previous_team_id
        or user_id is distinct from previous_user_id

)

select
    key_hash,
    team_id,
    user_id,
    case when previous_date is null then {{ beginning_of_time() }} else observed_date end as valid_from,
    coalesce(lead(observed_date) over (partition by key_hash order by observed_date), {{ end_of_time() }}) as valid_to
from changes
