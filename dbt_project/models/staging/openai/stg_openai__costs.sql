-- The cost report in dollars, converted here and nowhere else (fact F5: dollars in, as text). An amount that is no
-- number is null and fails this view's test; its row stays. line_item is free text of the provider: kept, and split
-- where it splits.
with

split as (

    select
        *,
        {{ before_last_comma('line_item') }} as line_item_model,
        lower(trim({{ after_last_comma('line_item') }})) as line_item_kind
    from {{ source('raw', 'openai_cost') }}

)

select
    split.usage_date,
    'openai' as provider,
    split.account,
    {{ blank_to_null('split.api_key_id') }} as provider_key_id,
    {{ blank_to_null('split.project_id') }} as workspace_id,
    split.line_item,
    {{ blank_to_null('split.line_item_model') }} as model,
    split.line_item_kind,
    coalesce(kinds.cost_type, 'unmapped') as cost_type,
    kinds.token_type,
    split.amount_text,
    {{ text_to_usd('trim(split.amount_text)') }} as amount_usd,
    split.source_unit,
    upper({{ blank_to_null('split.currency') }}) as currency,
    split.quantity_text,
    split.quantity_unit
from split
left join {{ ref('openai_line_items') }} as kinds
    on split.line_item_kind = kinds.line_item_kind
