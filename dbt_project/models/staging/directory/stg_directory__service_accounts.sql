select
    {{ blank_to_null('key_hash') }} as key_hash,
    name as service_name,
    {{ blank_to_null('owner_cost_center') }} as cost_center,
    coalesce(valid_from, {{ beginning_of_time() }}) as valid_from,
    coalesce(valid_to, {{ end_of_time() }}) as valid_to,
    source_row
from {{ source('raw', 'directory_service_accounts') }}
