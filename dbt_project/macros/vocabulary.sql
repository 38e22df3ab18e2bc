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
    'call_class': ['call', 'cache_hit', 'failure', 'failed_spend', 'partial', 'unpriced', 'zero'],
    'rung': ['team_metadata', 'directory_team', 'service_registry', 'directory_user', 'suspense'],
    'start_basis': ['snapshot', 'carried_back', 'directory'],
  } -%}
  {{ return(words[name]) }}
{% endmacro %}
