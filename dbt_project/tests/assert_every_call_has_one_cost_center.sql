{{ config(tags=['daily'], meta={'dagster': {'ref': {'name': 'int_calls__attributed'}}}) }}

-- The bug: an identity that answers twice (overlapping directory rows, a null that does not join) charges a call to
-- two cost centers or to none. Every accepted call of the window appears once, with a cost center and a rung.
-- Not this test: whether it is the right cost center (the ladder's unit tests), or how much is in suspense (a control
-- of the close).
with

accepted as (

    select
        usage_date,
        request_id
    from {{ ref('int_calls__screened') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}

),

attributed as (

    select
        usage_date,
        request_id,
        count(*) as rows_found,
        count(cost_center) as cost_centers_found,
        count(rung) as rungs_found
    from {{ ref('int_calls__attributed') }}
    where {{ in_build_window('usage_date') }}
    group by usage_date, request_id

)

select
    coalesce(accepted.usage_date, attributed.usage_date) as usage_date,
    coalesce(accepted.request_id, attributed.request_id) as request_id,
    attributed.rows_found,
    attributed.cost_centers_found,
    attributed.rungs_found
from accepted
full outer join attributed
    on
        accepted.usage_date = attributed.usage_date
        and accepted.request_id = attributed.request_id
where
    accepted.request_id is null
    or attributed.rows_found is distinct from 1
    or attributed.cost_centers_found is distinct from 1
    or attributed.rungs_found is distinct from 1
