select
    observed_date,
    id as owner_id,
    {{ blank_to_null('name') }} as service_account_name
from {{ source('raw', 'anthropic_service_accounts') }}
