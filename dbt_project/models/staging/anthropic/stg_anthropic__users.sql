select
    observed_date,
    id as owner_id,
    {{ blank_to_null('name') }} as person_name,
    lower({{ blank_to_null('email') }}) as email,
    {{ blank_to_null('role') }} as organization_role
from {{ source('raw', 'anthropic_users') }}
