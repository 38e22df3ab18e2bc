{{ config(materialized='incremental', incremental_strategy='replace_days', on_schema_change='fail') }}

-- Rules 3.1 to 3.7: the attribution ladder, once per day and (team, key, user) of the log instead of once per call.
with recursive

identities as (

    select
        usage_date,
        team_id as logged_team_id,
        key_hash,
        user_id as logged_user_id,
        cast(sum(calls) as bigint) as calls,
        sum(spend_usd) as logged_spend_usd
    from {{ ref('int_calls__grouped') }}
    where
        disposition = 'accepted'
        and {{ in_build_window('usage_date') }}
    group by usage_date, team_id, key_hash, user_id

),

-- The team and the person of a call: the row's own, else the key's as of the day (rules 3.1, 3.5). One team is tried.
owners as (

    select
        identities.*,
        row_number() over (
            order by
                identities.usage_date, identities.logged_team_id, identities.key_hash, identities.logged_user_id
        ) as identity_number,
        coalesce(identities.logged_team_id, keys.team_id) as team_id,
        case
            when identities.logged_user_id not in ({{ sql_strings(policy('placeholder_users')) }})
                then identities.logged_user_id
            when keys.user_id not in ({{ sql_strings(policy('placeholder_users')) }}) then keys.user_id
        end as user_id
    from identities
    left join {{ ref('int_keys__dated') }} as keys
        on
            identities.key_hash = keys.key_hash
            and identities.usage_date >= keys.valid_from
            and identities.usage_date < keys.valid_to

),

-- The proxy may know a person by an id that only its own user table ties to the directory's e-mail.
latest_users as (

    select
        user_id,
        user_email,
        row_number() over (partition by user_id order by observed_date desc) as sight
    from {{ ref('stg_litellm__users') }}

),

-- Three plain joins: one join over `or` would compare every identity with every person.
matches as (

    select
        owners.identity_number,
        directory.team_id,
        directory.source_row,
        1 as preference
    from owners
    inner join {{ ref('stg_directory__users') }} as directory
        on
            owners.user_id = directory.user_id
            and owners.usage_date >= directory.valid_from
            and owners.usage_date < directory.valid_to

    union all

    select
        owners.identity_number,
        directory.team_id,
        directory.source_row,
        2 as preference
    from owners
    inner join {{ ref('stg_directory__users') }} as directory
        on
            lower(owners.user_id) = directory.email
            and owners.usage_date >= directory.valid_from
            and owners.usage_date < directory.valid_to

    union all

    select
        owners.identity_number,
        directory.team_id,
        directory.source_row,
        3 as preference
    from owners
    inner join latest_users
        on
            owners.user_id = latest_users.user_id
            and latest_users.sight = 1
    inner join {{ ref('stg_directory__users') }} as directory
        on
            latest_users.user_email = directory.email
            and owners.usage_date >= directory.valid_from
            and owners.usage_date < directory.valid_to

),

people as (

    select
        identity_number,
        team_id,
        source_row,
        row_number() over (partition by identity_number order by preference, source_row) as choice
    from matches

),

answers as (

    select
        owners.identity_number,
        owners.usage_date,
        1 as rung_number,
        'team_metadata' as rung,
        team.cost_center as named_cost_center,
        'team:' || team.team_id || '@' || cast(
            case when team.start_basis = 'carried_back' then team.observed_date else team.valid_from end as string
        ) || case
            when team.start_basis = 'carried_back' and owners.usage_date < team.observed_date then ':carried_back'
            else ''
        end as evidence
    from owners
    inner join {{ ref('int_team_cost_centers__dated') }} as team
        on
            owners.team_id = team.team_id
            and owners.usage_date >= team.valid_from
            and owners.usage_date < team.valid_to

    union all

    select
        owners.identity_number,
        owners.usage_date,
        2 as rung_number,
        'directory_team' as rung,
        directory.cost_center as named_cost_center,
        'teams.csv:' || cast(directory.source_row as string) as evidence
    from owners
    inner join {{ ref('stg_directory__teams') }} as directory
        on
            owners.team_id = directory.team_id
            and owners.usage_date >= directory.valid_from
            and owners.usage_date < directory.valid_to

    union all

    select
        owners.identity_number,
        owners.usage_date,
        3 as rung_number,
        'service_registry' as rung,
        service.cost_center as named_cost_center,
        'key:' || substr(owners.key_hash, 1, 12) as evidence
    from owners
    inner join {{ ref('stg_directory__service_accounts') }} as service
        on
            owners.key_hash = service.key_hash
            and owners.usage_date >= service.valid_from
            and owners.usage_date < service.valid_to

    union all

    -- Evidence names the directory's line, never the person.
    select
        owners.identity_number,
        owners.usage_date,
        4 as rung_number,
        'directory_user' as rung,
        team.cost_center as named_cost_center,
        'users.csv:' || cast(people.source_row as string) as evidence
    from owners
    inner join people
        on
            owners.identity_number = people.identity_number
            and people.choice = 1
    inner join {{ ref('stg_directory__teams') }} as team
        on
            people.team_id = team.team_id
            and owners.usage_date >= team.valid_from
            and owners.usage_date < team.valid_to

),

-- Rule 3.2: a named cost center that is closed on the day hands over to its successor, at most so many times; one that
-- is unknown, not open yet, or closed without successor gives no answer.
cost_centers as (

    select
        cost_center,
        valid_from,
        valid_to,
        successor,
        -- Closed from valid_to until it is opened again, if ever.
        coalesce(lead(valid_from) over (partition by cost_center order by valid_from), {{ end_of_time() }})
            as closed_until
    from {{ ref('stg_directory__cost_centers') }}

),

walk as (

    select distinct
        usage_date,
        named_cost_center,
        named_cost_center as cost_center,
        0 as hops
    from answers
    where named_cost_center is not null

    union all

    select
        walk.usage_date,
        walk.named_cost_center,
        cost_centers.successor as cost_center,
        walk.hops + 1 as hops
    from walk
    inner join cost_centers
        on
            walk.cost_center = cost_centers.cost_center
            and walk.usage_date >= cost_centers.valid_to
            and walk.usage_date < cost_centers.closed_until
    where
        cost_centers.successor is not null
        and walk.hops < {{ policy('max_successor_chain') | int }}

),

resolved as (

    select
        walk.usage_date,
        walk.named_cost_center,
        walk.cost_center
    from walk
    inner join cost_centers
        on
            walk.cost_center = cost_centers.cost_center
            and walk.usage_date >= cost_centers.valid_from
            and walk.usage_date < cost_centers.valid_to

),

valid_answers as (

    select
        answers.identity_number,
        answers.rung_number,
        answers.rung,
        resolved.cost_center,
        answers.evidence || case
            when resolved.cost_center <> answers.named_cost_center then ':successor_of:' || answers.named_cost_center
            else ''
        end as evidence,
        row_number() over (
            partition by answers.identity_number
            order by answers.rung_number, answers.evidence
        ) as choice
    from answers
    inner join resolved
        on
            answers.usage_date = resolved.usage_date
            and answers.named_cost_center = resolved.named_cost_center

),

-- Why suspense: the first cost center that was named in vain. A code that the master does not know is free text, which
-- may hold anything, so evidence names the rung that holds it instead.
refused_answers as (

    select
        answers.identity_number,
        case
            when known.cost_center is not null then 'closed_cost_center:' || known.cost_center
            else 'unknown_cost_center:' || answers.rung
        end as evidence,
        row_number() over (
            partition by answers.identity_number
            order by answers.rung_number, answers.evidence
        ) as choice
    from answers
    left join (select distinct cost_center from cost_centers) as known
        on answers.named_cost_center = known.cost_center
    where answers.named_cost_center is not null

),

snapshot_days as (

    select distinct observed_date from {{ ref('stg_litellm__teams') }}

)

select
    owners.usage_date,
    owners.logged_team_id,
    owners.key_hash,
    owners.logged_user_id,
    owners.team_id,
    owners.user_id,
    coalesce(answer.cost_center, {{ sql_string(policy('suspense')) }}) as cost_center,
    coalesce(answer.rung, 'suspense') as rung,
    coalesce(
        answer.evidence,
        refused.evidence,
        case
            when owners.team_id is not null then 'team_without_cost_center'
            when owners.user_id is not null then 'person_not_in_directory'
            when owners.key_hash is not null then 'key_without_owner'
            else 'no_identity'
        end
    ) as evidence,
    person.cost_center as person_cost_center,
    -- Rule 3.7: the key's team pays; both owners see the row in the conflict list.
    coalesce(answer.rung_number <= 2 and answer.cost_center <> person.cost_center, false) as attribution_conflict,
    snapshot_days.observed_date is null as is_team_snapshot_missing,
    owners.calls,
    cast(owners.logged_spend_usd as decimal(38, 12)) as logged_spend_usd
from owners
left join valid_answers as answer
    on
        owners.identity_number = answer.identity_number
        and answer.choice = 1
left join valid_answers as person
    on
        owners.identity_number = person.identity_number
        and person.rung_number = 4
left join refused_answers as refused
    on
        owners.identity_number = refused.identity_number
        and refused.choice = 1
left join snapshot_days
    on owners.usage_date = snapshot_days.observed_date
