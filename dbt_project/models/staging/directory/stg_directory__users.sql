select
    lower({{ blank_to_null('email') }}) as email,
    {{ blank_to_null('user_id') }} as user_id,
    {{ blank_to_null('team_id') }} as team_id,
    coalesce(valid_from, {{ beginning_of_time() }}) as valid_from,
    coalesce(valid_to, {{ end_of_time() }}) as valid_to,
    source_row
from {{ source('raw', 'directory_users') }}
