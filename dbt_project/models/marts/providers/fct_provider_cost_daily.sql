{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['provider_daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- What the providers say it cost, in exact dollars (rule 4.2, W6 and W7). Reported, never priced here: usage times list
-- price is another figure. A null key or workspace is a group of its own.
with

anthropic as (

    select
        usage_date,
        provider,
        account,
        provider_key_id,
        workspace_id,
        model,
        cost_type,
        token_type,
        service_tier,
        context_window,
        inference_geo,
        speed,
        line_item,
        amount_usd,
        list_amount_usd,
        source_unit
    from {{ ref('stg_anthropic__costs') }}
    where {{ in_build_window('usage_date') }}

),

openai as (

    select
        usage_date,
        provider,
        account,
        provider_key_id,
        workspace_id,
        model,
        cost_type,
        token_type,
        cast(null as string) as service_tier,
        cast(null as string) as context_window,
        cast(null as string) as inference_geo,
        cast(null as string) as speed,
        line_item,
        amount_usd,
        cast(null as decimal(38, 12)) as list_amount_usd,
        source_unit
    from {{ ref('stg_openai__costs') }}
    where {{ in_build_window('usage_date') }}

),

reported as (

    select * from anthropic
    union all
    select * from openai

)

select
    usage_date,
    provider,
    account,
    provider_key_id,
    workspace_id,
    model,
    cost_type,
    token_type,
    service_tier,
    context_window,
    inference_geo,
    speed,
    line_item,
    cast(sum(amount_usd) as decimal(38, 12)) as amount_usd,
    -- Of a group that has list amounts for some rows only, the list amount is not known.
    case when count(list_amount_usd) = count(*) then cast(sum(list_amount_usd) as decimal(38, 12)) end
        as list_amount_usd,
    'reported' as basis,
    source_unit
from reported
group by
    usage_date,
    provider,
    account,
    provider_key_id,
    workspace_id,
    model,
    cost_type,
    token_type,
    service_tier,
    context_window,
    inference_geo,
    speed,
    line_item,
    source_unit
