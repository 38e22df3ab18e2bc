select
    observed_date,
    id as owner_id,
    lower({{ blank_to_null('email') }}) as email,
    {{ blank_to_null('role') }} as organization_role
from {{ source('raw', 'openai_users') }}
