select
    observed_date,
    team_id,
    {{ blank_to_null('team_alias') }} as team_alias,
    {{ blank_to_null('organization_id') }} as organization_id,
    {{ blank_to_null('metadata_cost_center') }} as cost_center
from {{ source('raw', 'litellm_teams') }}
where {{ blank_to_null('team_id') }} is not null
