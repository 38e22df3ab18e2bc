{#
  The closed lists of words that reports, checks and people read. The models write them, the `in_vocabulary` test holds each
  column to its list, and nothing else may invent one.
#}

{% macro vocabulary(name) %}
  {%- set words = {
    'disposition': ['accepted', 'duplicate', 'quarantined'],
    'reason': [
      'none',
      'identical_copy', 'superseded_copy',
      'empty_request_id', 'missing_time', 'unreadable_spend', 'negative_spend', 'negative_tokens',
      'started_in_the_future', 'ended_before_start',
    ],
    'call_class': ['call', 'subscription', 'cache_hit', 'failure', 'failed_spend', 'partial', 'unpriced', 'zero'],
    'rung': ['team_metadata', 'directory_team', 'service_registry', 'directory_user', 'suspense'],
    'start_basis': ['snapshot', 'carried_back', 'directory'],
    'unpriced_reason': ['unknown_model', 'no_price_on_day', 'logged_without_price'],
    'price_basis': ['list', 'contract'],
    'price_status': ['exact', 'fallback', 'missing', 'not_priced'],
    'token_type': ['uncached_input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output'],
    'priced_unit': [
      'uncached_input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output', 'web_search_requests',
      'input_audio', 'cache_read_audio', 'output_audio',
    ],
    'person_kind': ['user', 'service_account'],
    'measure': [
      'uncached_input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output',
      'input_audio_within', 'output_audio_within',
      'web_search_requests', 'file_search_requests', 'requests',
      'images', 'characters', 'seconds', 'usage_bytes', 'sessions',
    ],
    'measure_unit': ['tokens', 'tokens_within', 'requests', 'images', 'characters', 'seconds', 'bytes', 'sessions'],
    'openai_usage_kind': [
      'completions', 'embeddings', 'moderations', 'images', 'audio_speeches', 'audio_transcriptions', 'vector_stores',
      'code_interpreter_sessions', 'file_search_calls', 'web_search_calls',
    ],
    'cost_type': ['tokens', 'web_search', 'code_execution', 'session_usage', 'unmapped'],
    'cost_basis': ['reported'],
    'report_currency': ['USD'],
    'report_unit': ['usd', 'usd_cents'],
  } -%}
  {{ return(words[name]) }}
{% endmacro %}
