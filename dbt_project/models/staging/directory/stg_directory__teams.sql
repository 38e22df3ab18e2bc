select
    {{ blank_to_null('team_id') }} as team_id,
    team_name,
    {{ blank_to_null('cost_center') }} as cost_center,
    -- Only a stated date may re-date a change that the proxy's snapshots saw (rule 3.4).
    valid_from is not null as has_explicit_start,
    coalesce(valid_from, {{ beginning_of_time() }}) as valid_from,
    coalesce(valid_to, {{ end_of_time() }}) as valid_to,
    source_row
from {{ source('raw', 'directory_teams') }}
