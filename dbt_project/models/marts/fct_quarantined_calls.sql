{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- The rows that wait for a person to release or reject them, with what is needed to find each at its source.
select
    usage_date,
    request_id,
    litellm_call_id,
    reason,
    spend_text,
    key_hash,
    model,
    started_at,
    ended_at,
    created_at,
    updated_at,
    lake_load
from {{ ref('int_calls__examined') }}
where
    disposition = 'quarantined'
    and {{ in_build_window('usage_date') }}
