-- Keys by observed day. Who answers for a key is its principal; older answers name only the creator.
select
    observed_date,
    'anthropic' as provider,
    {{ blank_to_null('account') }} as account,
    id as provider_key_id,
    {{ blank_to_null('name') }} as key_name,
    {{ blank_to_null('partial_key_hint') }} as key_hint,
    {{ blank_to_null('workspace_id') }} as workspace_id,
    coalesce({{ blank_to_null('principal_id') }}, {{ blank_to_null('created_by_id') }}) as owner_id,
    case
        when {{ blank_to_null('principal_id') }} is not null then {{ blank_to_null('principal_type') }}
        else {{ blank_to_null('created_by_type') }}
    end as owner_type,
    {{ blank_to_null('created_by_id') }} as created_by_id,
    {{ rfc3339_to_utc('created_at') }} as created_at,
    {{ blank_to_null('status') }} as status
from {{ source('raw', 'anthropic_api_keys') }}
