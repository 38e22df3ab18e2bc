{{ config(tags=['daily'], meta={'dagster': {'ref': {'name': 'int_call_identities__attributed'}}}) }}

-- The bug: an identity that answers twice (overlapping directory rows, a null that does not join) charges a call to
-- two cost centers or to none. Every identity that an accepted call of the window names stands there once, with a cost
-- center and a rung.
-- Not this test: whether it is the right cost center (the ladder's unit tests), whether usage joins it without loss
-- (assert_no_row_is_lost), or how much is in suspense (a control of the close).
with

accepted as (

    select distinct
        usage_date,
        coalesce(team_id, '') as team_id,
        coalesce(key_hash, '') as key_hash,
        coalesce(user_id, '') as user_id
    from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}

),

attributed as (

    select
        usage_date,
        coalesce(logged_team_id, '') as team_id,
        coalesce(key_hash, '') as key_hash,
        coalesce(logged_user_id, '') as user_id,
        count(*) as rows_found,
        count(cost_center) as cost_centers_found,
        count(rung) as rungs_found
    from {{ ref('int_call_identities__attributed') }}
    where {{ in_build_window('usage_date') }}
    group by
        usage_date,
        coalesce(logged_team_id, ''),
        coalesce(key_hash, ''),
        coalesce(logged_user_id, '')

)

select
    coalesce(accepted.usage_date, attributed.usage_date) as usage_date,
    coalesce(accepted.team_id, attributed.team_id) as team_id,
    coalesce(accepted.key_hash, attributed.key_hash) as key_hash,
    attributed.rows_found,
    attributed.cost_centers_found,
    attributed.rungs_found
from accepted
full outer join attributed
    on
        accepted.usage_date = attributed.usage_date
        and accepted.team_id = attributed.team_id
        and accepted.key_hash = attributed.key_hash
        and accepted.user_id = attributed.user_id
where
    accepted.usage_date is null
    or attributed.rows_found is distinct from 1
    or attributed.cost_centers_found is distinct from 1
    or attributed.rungs_found is distinct from 1
