with

-- A log of millions knows a few hundred lists of tags, so each list is taken apart once.
tag_lists as (

    select
        request_tags,
        {{ list_unique(list_where(
            list_map(
                list_where(json_string_list('request_tags'), "lower(trim(x)) like 'use\\_case:%' escape '\\'"),
                "trim(substr(lower(trim(x)), 10))"
            ),
            "x <> ''"
        )) }} as tagged_use_cases
    from (select distinct request_tags from {{ source('raw', 'litellm_spend_logs') }}) as tags

),

source as (

    select
        logs.*,
        tag_lists.tagged_use_cases
    from {{ source('raw', 'litellm_spend_logs') }} as logs
    left join tag_lists
        on logs.request_tags = tag_lists.request_tags

),

typed as (

    select
        -- The accounting day is the UTC day of the start (rule 2.1); naive timestamps hold UTC, so no time zone enters.
        -- A row without a start is booked on the day of the file that holds it.
        coalesce(
            cast(started_at as date),
            try_cast(regexp_extract(lake_file, 'day=([0-9-]+)', 1) as date)
        ) as usage_date,
        -- An id is an id as it was logged; only a blank one is none. Joins that the scan can skip rows by need it bare.
        request_id as logged_request_id,
        case when trim(request_id) <> '' then request_id end as request_id,
        {{ blank_to_null('litellm_call_id') }} as litellm_call_id,
        {{ blank_to_null('call_type') }} as call_type,
        {{ blank_to_null('key_hash') }} as key_hash,
        {{ blank_to_null('key_alias') }} as key_alias,
        {{ blank_to_null('team_id') }} as team_id,
        {{ blank_to_null('user_id') }} as user_id,
        {{ blank_to_null('organization_id') }} as organization_id,
        {{ blank_to_null('session_id') }} as session_id,
        started_at,
        ended_at,
        completion_started_at,
        created_at,
        updated_at,
        request_duration_ms,
        {{ blank_to_null('model') }} as model,
        {{ blank_to_null('model_id') }} as model_id,
        {{ blank_to_null('model_group') }} as model_group,
        {{ blank_to_null('original_model_group') }} as original_model_group,
        lower({{ blank_to_null('custom_llm_provider') }}) as provider_slug,
        {{ blank_to_null('mcp_namespaced_tool_name') }} as mcp_tool_name,
        -- Rows older than the status column are successes.
        coalesce(lower({{ blank_to_null('status') }}), 'success') as status,
        {{ blank_to_null('error_code') }} as error_code,
        {{ blank_to_null('error_class') }} as error_class,
        -- The proxy writes 'True', 'False' or 'None' as text.
        coalesce(lower(cache_hit) = 'true', false) as is_cache_hit,
        coalesce(lower(used_client_oauth_token) = 'true', false) as is_subscription_call,
        {{ blank_to_null('internal_call_origin') }} as internal_call_origin,
        coalesce(try_cast(attempted_fallbacks as bigint), 0) as attempted_fallbacks,
        coalesce(try_cast(attempted_retries as bigint), 0) as attempted_retries,
        lower({{ blank_to_null('metadata_use_case') }}) as metadata_use_case,
        tagged_use_cases,
        spend_text,
        {{ text_to_usd('spend_text') }} as spend_usd,
        {{ text_to_usd('original_cost_text') }} as original_cost_usd,
        {{ text_to_usd('discount_amount_text') }} as discount_usd,
        {{ text_to_usd('margin_amount_text') }} as margin_usd,
        {{ text_to_usd('tool_usage_cost_text') }} as tool_usage_cost_usd,
        {{ blank_to_null('map_model_key') }} as map_model_key,
        {{ text_to_usd('map_input_cost_per_token') }} as map_input_usd_per_token,
        {{ text_to_usd('map_output_cost_per_token') }} as map_output_usd_per_token,
        {{ text_to_usd('map_cache_read_cost_per_token') }} as map_cache_read_usd_per_token,
        {{ text_to_usd('map_cache_creation_cost_per_token') }} as map_cache_write_usd_per_token,
        -- What was priced, else what the provider answered (rule 4.2).
        lower(coalesce({{ blank_to_null('cost_service_tier') }}, {{ blank_to_null('usage_service_tier') }}, 'standard'))
            as logged_service_tier,
        coalesce(has_usage_object = 'true', false) as has_usage_object,
        coalesce(total_tokens, 0) as total_tokens,
        coalesce(prompt_tokens, 0) as prompt_tokens,
        coalesce(completion_tokens, 0) as output_tokens,
        -- OpenAI rows carry cached tokens in the usage details and copy them to the other counter only when above zero.
        coalesce(try_cast(cache_read_input_tokens as bigint), try_cast(cached_tokens as bigint), 0)
            as cache_read_tokens,
        coalesce(try_cast(cache_creation_input_tokens as bigint), 0) as cache_creation_tokens,
        try_cast(cache_creation_5m_tokens as bigint) as logged_cache_write_5m_tokens,
        coalesce(try_cast(cache_creation_1h_tokens as bigint), 0) as cache_write_1h_tokens,
        coalesce(try_cast(reasoning_tokens as bigint), 0) as reasoning_tokens,
        coalesce(try_cast(web_search_requests as bigint), 0) as web_search_requests,
        {{ blank_to_null("regexp_extract(lake_file, 'load=([0-9a-f]+)', 1)") }} as lake_load
    from source

),

split as (

    select
        *,
        -- What the provider did not split, or split short, was written with the default lifetime of five minutes.
        greatest(coalesce(logged_cache_write_5m_tokens, 0), cache_creation_tokens - cache_write_1h_tokens)
            as cache_write_5m_tokens
    from typed

)

select
    usage_date,
    logged_request_id,
    request_id,
    litellm_call_id,
    call_type,
    key_hash,
    key_alias,
    team_id,
    user_id,
    organization_id,
    session_id,
    started_at,
    ended_at,
    completion_started_at,
    created_at,
    updated_at,
    request_duration_ms,
    model,
    model_id,
    model_group,
    original_model_group,
    provider_slug,
    mcp_tool_name,
    status,
    error_code,
    error_class,
    is_cache_hit,
    is_subscription_call,
    internal_call_origin,
    attempted_fallbacks,
    attempted_retries,
    -- Rule 3.8: the caller's metadata, then its tags; two different tags say nothing; never guessed from anything else.
    case
        when coalesce(metadata_use_case, {{ list_first('tagged_use_cases') }}) is null then 'untagged'
        when metadata_use_case is null and {{ list_size('tagged_use_cases') }} > 1 then 'ambiguous'
        when
            coalesce(metadata_use_case, {{ list_first('tagged_use_cases') }})
            in ({{ sql_strings(policy('taxonomy')) }})
            then coalesce(metadata_use_case, {{ list_first('tagged_use_cases') }})
        else 'unknown'
    end as use_case,
    case when logged_service_tier in ('default', 'auto') then 'standard' else logged_service_tier end as service_tier,
    spend_text,
    spend_usd,
    original_cost_usd,
    discount_usd,
    margin_usd,
    tool_usage_cost_usd,
    map_model_key,
    map_input_usd_per_token,
    map_output_usd_per_token,
    map_cache_read_usd_per_token,
    map_cache_write_usd_per_token,
    has_usage_object,
    total_tokens,
    prompt_tokens,
    -- prompt_tokens includes cache reads and writes, also for Anthropic (facts F5, F6).
    greatest(prompt_tokens - cache_read_tokens - cache_write_5m_tokens - cache_write_1h_tokens, 0)
        as uncached_input_tokens,
    cache_read_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    output_tokens,
    reasoning_tokens,
    web_search_requests,
    lake_load
from split
