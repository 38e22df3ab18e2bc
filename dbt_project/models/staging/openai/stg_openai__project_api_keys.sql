-- Keys by observed day. The listing has no status: what it lists is enabled. It names an owner and no creator.
select
    observed_date,
    'openai' as provider,
    {{ blank_to_null('account') }} as account,
    id as provider_key_id,
    {{ blank_to_null('name') }} as key_name,
    {{ blank_to_null('redacted_value') }} as key_hint,
    {{ blank_to_null('project_id') }} as workspace_id,
    {{ blank_to_null('owner_id') }} as owner_id,
    {{ blank_to_null('owner_type') }} as owner_type,
    {{ blank_to_null('owner_id') }} as created_by_id,
    {{ rfc3339_to_utc('created_at') }} as created_at,
    cast(null as string) as status
from {{ source('raw', 'openai_project_api_keys') }}
