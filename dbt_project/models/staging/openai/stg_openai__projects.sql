select
    observed_date,
    'openai' as provider,
    id as workspace_id,
    {{ blank_to_null('name') }} as workspace_name,
    {{ blank_to_null('status') }} as status,
    {{ blank_to_null('archived_at') }} as archived_at
from {{ source('raw', 'openai_projects') }}
