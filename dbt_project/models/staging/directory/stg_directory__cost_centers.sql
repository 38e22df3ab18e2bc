select
    {{ blank_to_null('code') }} as cost_center,
    name as cost_center_name,
    legal_entity,
    coalesce(valid_from, {{ beginning_of_time() }}) as valid_from,
    coalesce(valid_to, {{ end_of_time() }}) as valid_to,
    {{ blank_to_null('successor') }} as successor,
    source_row
from {{ source('raw', 'directory_cost_centers') }}
