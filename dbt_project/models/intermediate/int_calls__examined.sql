{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail') }}

{%- set content_columns = call_content_columns() %}

-- Rules 12.1 and 12.2 for the few rows that need a look: those whose id occurs more than once, or with a defect in one
-- of them. Every other row of the window is accepted as it is (int_calls__screened). So only these few are read with
-- all their columns, and only they are kept.
with

-- A call in two days of the window is listed too; the rows of each day are then compared by themselves.
suspects as (

    select logged_request_id
    from (
        select
            logged_request_id,
            case when {{ call_defect() }} is null then 0 else 1 end as is_defective
        from {{ ref('stg_litellm__spend_logs') }}
        where {{ in_build_window('usage_date') }}
    ) as looked_at
    group by logged_request_id
    having
        count(*) > 1
        or max(is_defective) = 1

),

calls as (

    select calls.*
    from {{ ref('stg_litellm__spend_logs') }} as calls
    inner join suspects
        on calls.logged_request_id = suspects.logged_request_id
    where {{ in_build_window('calls.usage_date') }}

    union all

    -- A row without any id joins nothing.
    select *
    from {{ ref('stg_litellm__spend_logs') }}
    where
        logged_request_id is null
        and {{ in_build_window('usage_date') }}

),

checked as (

    select
        calls.*,
        {{ call_defect() }} as defect,
        {{ content_hash('calls', content_columns) }} as content_hash,
        coalesce(calls.updated_at, calls.created_at) as stamped_at
    from calls

),

-- Repeats are looked for within a day; rows without an id repeat nothing.
numbered_copies as (

    select
        *,
        case
            when request_id is null then 1
            else row_number() over (
                partition by usage_date, request_id, content_hash
                order by stamped_at desc nulls last, lake_load desc nulls last
            )
        end as copy_number,
        request_id is not null
        and min(content_hash) over (partition by usage_date, request_id)
        <> max(content_hash) over (partition by usage_date, request_id) as has_content_conflict
    from checked

),

numbered_versions as (

    select
        *,
        -- Only sound rows compete: a defective latest version must not hide a good earlier one.
        row_number() over (
            partition by usage_date, request_id, (copy_number = 1 and defect is null)
            order by stamped_at desc nulls last, content_hash desc
        ) as version_number
    from numbered_copies

)

select
    usage_date,
    logged_request_id,
    request_id,
    case
        when copy_number > 1 then 'duplicate'
        when defect is not null then 'quarantined'
        when version_number > 1 then 'duplicate'
        else 'accepted'
    end as disposition,
    case
        when copy_number > 1 then 'identical_copy'
        when defect is not null then defect
        when version_number > 1 then 'superseded_copy'
        else 'none'
    end as reason,
    has_content_conflict,
    {{ content_columns | join(',\n    ') }},
    created_at,
    updated_at,
    lake_load
from numbered_versions
