-- One row per reported row. input_tokens includes what was read from and written to the cache (fact F5), so uncached
-- input is what is left. It is not held above zero: counters that contradict each other warn, and stay as reported.
select
    usage_date,
    'openai' as provider,
    account,
    lower(kind) as usage_kind,
    {{ blank_to_null('api_key_id') }} as provider_key_id,
    {{ blank_to_null('project_id') }} as workspace_id,
    {{ blank_to_null('user_id') }} as user_id,
    {{ blank_to_null('model') }} as model,
    -- The report tells batches apart by a flag of their own; what names no tier was priced as standard.
    case when batch then 'batch' else coalesce({{ provider_tier('service_tier') }}, 'standard') end as service_tier,
    coalesce(input_tokens, 0) - coalesce(input_cached_tokens, 0) - coalesce(input_cache_write_tokens, 0)
        as uncached_input_tokens,
    coalesce(input_cached_tokens, 0) as cache_read_tokens,
    -- Not split by lifetime, so filed as the usage of the proxy files such writes.
    coalesce(input_cache_write_tokens, 0) as cache_write_5m_tokens,
    coalesce(output_tokens, 0) as output_tokens,
    coalesce(input_audio_tokens, 0) as input_audio_tokens,
    coalesce(output_audio_tokens, 0) as output_audio_tokens,
    case when lower(kind) = 'web_search_calls' then coalesce(requests, 0) else 0 end as web_search_requests,
    case when lower(kind) = 'file_search_calls' then coalesce(requests, 0) else 0 end as file_search_requests,
    case when lower(kind) in ('web_search_calls', 'file_search_calls') then 0 else coalesce(requests, 0) end
        as requests,
    coalesce(images, 0) as images,
    coalesce(characters, 0) as characters,
    coalesce(seconds, 0) as seconds,
    coalesce(usage_bytes, 0) as usage_bytes,
    coalesce(sessions, 0) as sessions
from {{ source('raw', 'openai_usage') }}
