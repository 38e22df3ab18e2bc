{#
  What is wrong with a logged row, null for a sound one (rule 12.2). The first reason that applies: identity, then time, then
  money, so that the more basic defect names the row.
  The start is held against the row's own insert time: an old proxy writes none, and a wall clock would make re-runs differ.
#}
{% macro call_defect() -%}
  case
    when request_id is null then 'empty_request_id'
    when started_at is null or ended_at is null then 'missing_time'
    when spend_usd is null then 'unreadable_spend'
    when spend_usd < 0 then 'negative_spend'
    when
      least(
        total_tokens, prompt_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
        reasoning_tokens
      ) < 0 then 'negative_tokens'
    when started_at > created_at + interval '{{ policy("future_skew_max_seconds") | int }}' second
      then 'started_in_the_future'
    when ended_at < started_at - interval '{{ policy("end_before_start_max_seconds") | int }}' second
      then 'ended_before_start'
  end
{%- endmacro %}
