-- Every observed day lists all deletions so far: one row per deletion is enough, the latest sight of it.
with

ranked as (

    select
        *,
        row_number() over (partition by id order by observed_date desc) as sight
    from {{ source('raw', 'litellm_deleted_keys') }}

)

select
    id,
    key_hash,
    {{ blank_to_null('key_alias') }} as key_alias,
    {{ blank_to_null('team_id') }} as team_id,
    {{ blank_to_null('user_id') }} as user_id,
    cast(deleted_at as date) as deleted_date,
    deleted_at
from ranked
where
    sight = 1
    and deleted_at is not null
    and {{ blank_to_null('key_hash') }} is not null
