select
    observed_date,
    user_id,
    lower({{ blank_to_null('user_email') }}) as user_email
from {{ source('raw', 'litellm_users') }}
where {{ blank_to_null('user_id') }} is not null
