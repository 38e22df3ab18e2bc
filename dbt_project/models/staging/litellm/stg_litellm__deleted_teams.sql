-- Every observed day lists all deletions so far: one row per deletion is enough, the latest sight of it.
with

ranked as (

    select
        *,
        row_number() over (partition by id order by observed_date desc) as sight
    from {{ source('raw', 'litellm_deleted_teams') }}

)

select
    id,
    team_id,
    {{ blank_to_null('team_alias') }} as team_alias,
    {{ blank_to_null('metadata_cost_center') }} as cost_center,
    cast(deleted_at as date) as deleted_date,
    deleted_at
from ranked
where
    sight = 1
    and deleted_at is not null
    and {{ blank_to_null('team_id') }} is not null
