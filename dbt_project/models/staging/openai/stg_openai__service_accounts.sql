select
    observed_date,
    id as owner_id,
    {{ blank_to_null('project_id') }} as workspace_id,
    {{ blank_to_null('name') }} as service_account_name
from {{ source('raw', 'openai_service_accounts') }}
