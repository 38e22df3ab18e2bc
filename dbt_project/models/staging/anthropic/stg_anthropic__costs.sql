-- The cost report in dollars, converted here and nowhere else (fact F1: cents in, as text). An amount that is no number
-- is null and fails this view's test; its row stays.
select
    usage_date,
    'anthropic' as provider,
    account,
    report,
    {{ blank_to_null('api_key_id') }} as provider_key_id,
    {{ blank_to_null('workspace_id') }} as workspace_id,
    {{ blank_to_null('model') }} as model,
    {{ provider_tier('service_tier') }} as service_tier,
    {{ blank_to_null('context_window') }} as context_window,
    {{ blank_to_null('inference_geo') }} as inference_geo,
    {{ blank_to_null('speed') }} as speed,
    coalesce(lower({{ blank_to_null('cost_type') }}), 'unmapped') as cost_type,
    -- The words of the price book; a word that is new passes through and warns.
    case lower({{ blank_to_null('token_type') }})
        when 'uncached_input_tokens' then 'uncached_input'
        when 'cache_read_input_tokens' then 'cache_read'
        when 'cache_creation.ephemeral_5m_input_tokens' then 'cache_write_5m'
        when 'cache_creation.ephemeral_1h_input_tokens' then 'cache_write_1h'
        when 'output_tokens' then 'output'
        else lower({{ blank_to_null('token_type') }})
    end as token_type,
    {{ blank_to_null('description') }} as line_item,
    amount_text,
    list_amount_text,
    {{ cents_text_to_usd('amount_text') }} as amount_usd,
    {{ cents_text_to_usd('list_amount_text') }} as list_amount_usd,
    source_unit,
    upper({{ blank_to_null('currency') }}) as currency
from {{ source('raw', 'anthropic_cost') }}
