{{ config(materialized='table') }}

-- Rule 3.4: the cost center of a team's metadata by day [valid_from, valid_to). The proxy keeps no history, so it is
-- read from daily snapshots; a change holds from the first snapshot that shows it, or from the date the directory
-- states for it.
with

deletions as (

    select
        team_id,
        deleted_date,
        -- Two records of one day name the same team; the code makes the choice the same on every run.
        max(cost_center) as cost_center
    from {{ ref('stg_litellm__deleted_teams') }}
    group by team_id, deleted_date

),

sightings as (

    select
        team_id,
        observed_date,
        cost_center
    from {{ ref('stg_litellm__teams') }}

    union all

    -- The deletion record shows the team once more, as it was at its end.
    select
        deletions.team_id,
        deletions.deleted_date as observed_date,
        deletions.cost_center
    from deletions
    left join {{ ref('stg_litellm__teams') }} as seen
        on
            deletions.team_id = seen.team_id
            and deletions.deleted_date = seen.observed_date
    where seen.team_id is null

),

-- A team restored after its deletion begins a new life, so that the time between stays without an answer.
lives as (

    select
        sightings.team_id,
        sightings.observed_date,
        sightings.cost_center,
        count(deletions.team_id) as life_number
    from sightings
    left join deletions
        on
            sightings.team_id = deletions.team_id
            and sightings.observed_date > deletions.deleted_date
    group by sightings.team_id, sightings.observed_date, sightings.cost_center

),

compared as (

    select
        *,
        lag(observed_date) over (partition by team_id, life_number order by observed_date) as previous_date,
        lag(cost_center) over (partition by team_id, life_number order by observed_date) as previous_cost_center
    from lives

),

changes as (

    select
        team_id,
        life_number,
        observed_date,
        cost_center,
        previous_date is null and life_number = 0 as is_first_sight
    from compared
    where
        previous_date is null
        or cost_center is distinct from previous_cost_center

),

-- The directory's interval for this very change: the one that holds on the snapshot day, else the nearest in time.
directory_dates as (

    select
        changes.team_id,
        changes.observed_date,
        directory.valid_from as stated_from,
        row_number() over (
            partition by changes.team_id, changes.observed_date
            order by
                case
                    when
                        changes.observed_date >= directory.valid_from
                        and changes.observed_date < directory.valid_to then 1
                    else 2
                end,
                abs({{ days_between('directory.valid_from', 'changes.observed_date') }}),
                directory.valid_from
        ) as choice
    from changes
    inner join {{ ref('stg_directory__teams') }} as directory
        on
            changes.team_id = directory.team_id
            and changes.cost_center = directory.cost_center
            and directory.has_explicit_start

),

-- One stated date dates one change: metadata that leaves a cost center and returns is not moved back to the first time.
stated_dates as (

    select
        team_id,
        observed_date,
        stated_from,
        row_number() over (partition by team_id, stated_from order by observed_date) as use_number
    from directory_dates
    where choice = 1

),

effective as (

    select
        changes.team_id,
        changes.life_number,
        changes.observed_date,
        changes.cost_center,
        case
            when stated_dates.stated_from is not null then stated_dates.stated_from
            when changes.is_first_sight then {{ beginning_of_time() }}
            else changes.observed_date
        end as valid_from,
        case
            when stated_dates.stated_from is not null then 'directory'
            when changes.is_first_sight then 'carried_back'
            else 'snapshot'
        end as start_basis
    from changes
    left join stated_dates
        on
            changes.team_id = stated_dates.team_id
            and changes.observed_date = stated_dates.observed_date
            and stated_dates.use_number = 1

),

life_ends as (

    select
        effective.team_id,
        effective.observed_date,
        min(deletions.deleted_date) as deleted_date
    from effective
    inner join deletions
        on
            effective.team_id = deletions.team_id
            and effective.observed_date <= deletions.deleted_date
    group by effective.team_id, effective.observed_date

),

ends as (

    select
        effective.*,
        -- Stated dates may reach behind earlier sightings; what was seen later wins from its date on.
        min(effective.valid_from) over (
            partition by effective.team_id
            order by effective.observed_date
            rows between 1 following and unbounded following
        ) as next_valid_from,
        life_ends.deleted_date
    from effective
    left join life_ends
        on
            effective.team_id = life_ends.team_id
            and effective.observed_date = life_ends.observed_date

),

intervals as (

    select
        team_id,
        cost_center,
        valid_from,
        -- Up to its deletion, day included: calls of that morning are still the team's.
        least(
            coalesce(next_valid_from, {{ end_of_time() }}),
            coalesce(deleted_date + 1, {{ end_of_time() }})
        ) as valid_to,
        observed_date,
        start_basis
    from ends

)

select *
from intervals
where
    cost_center is not null
    and valid_from < valid_to
