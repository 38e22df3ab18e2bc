{{ config(
    materialized='incremental', incremental_strategy='replace_months', on_schema_change='fail', tags=['monthly'],
    post_hook={'sql': "{{ export_partitions('billing_month') }}", 'transaction': false}
) }}

-- Logged spend by month, cost center and rung: the size of suspense, and a first look at a month not yet reconciled.
with

usage as (

    select
        {{ month_text('usage_date') }} as billing_month,
        *
    from {{ ref('fct_usage_daily') }}

)

select
    billing_month,
    provider,
    cost_center,
    rung,
    cast(sum(calls) as bigint) as calls,
    cast(sum(prompt_tokens) + sum(output_tokens) as bigint) as total_tokens,
    cast(sum(logged_spend_usd) as decimal(38, 12)) as logged_spend_usd
from usage
where {{ in_build_window('billing_month') }}
group by
    billing_month,
    provider,
    cost_center,
    rung
