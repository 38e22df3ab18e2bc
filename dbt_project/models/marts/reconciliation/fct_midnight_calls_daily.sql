{{ config(
    materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail', tags=['daily'],
    post_hook={'sql': "{{ export_partitions('usage_date') }}", 'transaction': false}
) }}

-- Accepted calls that start on the day and end after it: what would change its day if the days were those of the end
-- (rule 2.1). Evidence for timing, nothing else.
with

groups as (

    select * from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and is_across_midnight
        and {{ in_build_window('usage_date') }}

),

billed as (

    select
        groups.usage_date,
        coalesce(providers.provider, groups.provider_slug, 'unknown') as provider,
        groups.calls,
        -- The provider's days hold no tokens of the proxy's own answers and of failures.
        case
            when groups.call_class not in ({{ undelivered_classes() }}) then groups.prompt_tokens + groups.output_tokens
            else 0
        end as tokens,
        groups.spend_usd
    from groups
    left join {{ ref('provider_aliases') }} as providers
        on groups.provider_slug = providers.provider_slug

)

select
    usage_date,
    provider,
    cast(sum(calls) as bigint) as calls,
    cast(sum(tokens) as bigint) as tokens,
    cast(sum(spend_usd) as decimal(38, 12)) as logged_spend_usd
from billed
group by usage_date, provider
