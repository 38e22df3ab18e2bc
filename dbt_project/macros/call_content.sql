{#-
  What a call says about itself. Two rows with one id are one call told twice when all of these agree; the proxy's row stamps
  and the load that brought them are not part of it.
-#}
{% macro call_content_columns() %}
  {{ return([
    'litellm_call_id', 'call_type', 'key_hash', 'key_alias', 'team_id', 'user_id', 'organization_id', 'session_id',
    'started_at', 'ended_at', 'completion_started_at', 'request_duration_ms', 'model', 'model_id', 'model_group',
    'original_model_group', 'provider_slug', 'mcp_tool_name', 'status', 'error_code', 'error_class', 'is_cache_hit',
    'is_subscription_call', 'internal_call_origin', 'attempted_fallbacks', 'attempted_retries', 'use_case', 'service_tier',
    'spend_text', 'spend_usd', 'original_cost_usd', 'discount_usd', 'margin_usd', 'tool_usage_cost_usd', 'map_model_key',
    'map_input_usd_per_token', 'map_output_usd_per_token', 'map_cache_read_usd_per_token', 'map_cache_write_usd_per_token',
    'has_usage_object', 'total_tokens', 'prompt_tokens', 'uncached_input_tokens', 'cache_read_tokens',
    'cache_write_5m_tokens', 'cache_write_1h_tokens', 'output_tokens', 'reasoning_tokens', 'web_search_requests',
  ]) }}
{% endmacro %}
