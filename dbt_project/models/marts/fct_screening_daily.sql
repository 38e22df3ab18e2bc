{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- The control total of screening: every logged row of the day, by what became of it (rules 12.1, 12.2).
select
    usage_date,
    disposition,
    reason,
    cast(sum(calls) as bigint) as calls,
    cast(sum(spend_usd) as decimal(38, 12)) as spend_usd
from {{ ref('int_calls__grouped') }}
where {{ in_build_window('usage_date') }}
group by usage_date, disposition, reason
