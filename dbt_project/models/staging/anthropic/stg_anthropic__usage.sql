-- One row per reported row. A null key, workspace or model is the provider's own answer and stays one (fact F3).
select
    usage_date,
    'anthropic' as provider,
    account,
    report,
    {{ blank_to_null('api_key_id') }} as provider_key_id,
    {{ blank_to_null('workspace_id') }} as workspace_id,
    {{ blank_to_null('model') }} as model,
    -- What names no tier was priced as standard (rule 4.2).
    coalesce({{ provider_tier('service_tier') }}, 'standard') as service_tier,
    {{ blank_to_null('context_window') }} as context_window,
    {{ blank_to_null('inference_geo') }} as inference_geo,
    {{ blank_to_null('speed') }} as speed,
    coalesce(uncached_input_tokens, 0) as uncached_input_tokens,
    coalesce(cache_read_tokens, 0) as cache_read_tokens,
    coalesce(cache_write_5m_tokens, 0) as cache_write_5m_tokens,
    coalesce(cache_write_1h_tokens, 0) as cache_write_1h_tokens,
    coalesce(output_tokens, 0) as output_tokens,
    coalesce(web_search_requests, 0) as web_search_requests,
    coalesce(requests, 0) as requests
from {{ source('raw', 'anthropic_usage') }}
