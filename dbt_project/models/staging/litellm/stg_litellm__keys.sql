select
    observed_date,
    key_hash,
    {{ blank_to_null('key_alias') }} as key_alias,
    {{ blank_to_null('team_id') }} as team_id,
    {{ blank_to_null('user_id') }} as user_id
from {{ source('raw', 'litellm_keys') }}
where {{ blank_to_null('key_hash') }} is not null
