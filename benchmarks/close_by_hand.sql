-- The yardstick of benchmarks/close.py: a month's chargeback in one script, as someone with DuckDB would write it who wants
-- nothing but the amounts: no tables kept, no tests, no evidence, no flags, one snapshot of the entities. It knows the tricks
-- that the models know: few columns are read, and only ids seen twice are compared.
-- It reads the lake's files through variables: calls, teams, keys, users, deleted_keys, cost_centers, directory_teams,
-- directory_users, services, invoices and provider_aliases; the result is the table `chargeback`.

create temp table repeated as
select cast(started_at as date) as day, trim(request_id) as request_id
from read_parquet(getvariable('calls'))
where trim(request_id) <> ''
group by all
having count(*) > 1;

create temp view logged as
select
    cast(started_at as date) as day,
    nullif(trim(request_id), '') as request_id,
    nullif(trim(team_id), '') as team_id,
    nullif(trim(key_hash), '') as key_hash,
    nullif(trim(user_id), '') as user_id,
    lower(nullif(trim(custom_llm_provider), '')) as slug,
    coalesce(  -- the narrow type is read eight times faster; with an exponent it would cut digits off
        case when not contains(lower(spend_text), 'e') then try_cast(spend_text as decimal(18, 12)) end,
        try_cast(spend_text as decimal(38, 12))
    ) as spend,
    coalesce(total_tokens, 0) as total_tokens,
    coalesce(prompt_tokens, 0) as prompt_tokens,
    coalesce(completion_tokens, 0) as output_tokens,
    coalesce(try_cast(cache_read_input_tokens as bigint), try_cast(cached_tokens as bigint), 0) as read_tokens,
    coalesce(try_cast(cache_creation_1h_tokens as bigint), 0) as write_1h_tokens,
    greatest(
        coalesce(try_cast(cache_creation_5m_tokens as bigint), 0),
        coalesce(try_cast(cache_creation_input_tokens as bigint), 0)
        - coalesce(try_cast(cache_creation_1h_tokens as bigint), 0)
    ) as write_5m_tokens,
    coalesce(try_cast(reasoning_tokens as bigint), 0) as reasoning_tokens,
    started_at, ended_at, created_at, coalesce(updated_at, created_at) as stamped_at
from read_parquet(getvariable('calls'));

create temp view sound as
select * from logged
where request_id is not null and started_at is not null and ended_at is not null and spend >= 0
    and least(total_tokens, prompt_tokens, output_tokens, read_tokens, write_5m_tokens, write_1h_tokens, reasoning_tokens) >= 0
    and not coalesce(started_at > created_at + interval 1 hour, false)
    and ended_at >= started_at - interval 5 second;

create temp table identities as
with accepted as (
    select day, team_id, key_hash, user_id, slug, spend, prompt_tokens + output_tokens as tokens
    from sound anti join repeated using (day, request_id)
    union all
    select day, team_id, key_hash, user_id, slug, spend, prompt_tokens + output_tokens as tokens
    from sound semi join repeated using (day, request_id)
    qualify row_number() over (partition by day, request_id order by stamped_at desc nulls last) = 1
),
summed as (
    select day, team_id, key_hash, user_id, slug, sum(spend) as spend, sum(tokens) as tokens from accepted group by all
)
select row_number() over () as id, * from summed;

-- The ladder: the team's metadata, the directory's team, the service registry, the person's team, suspense.
create temp table owners as
with keys as (
    select key_hash, nullif(trim(team_id), '') as team_id, nullif(trim(user_id), '') as user_id
    from (select key_hash, team_id, user_id from read_parquet(getvariable('keys'))
          union all
          select key_hash, team_id, user_id from read_parquet(getvariable('deleted_keys')))
)
select identities.*, coalesce(identities.team_id, keys.team_id) as team,
    coalesce(nullif(identities.user_id, 'default_user_id'), nullif(keys.user_id, 'default_user_id')) as person
from identities left join keys using (key_hash);

create temp view directory_teams as
select team_id, cost_center, valid_from as stated_from, coalesce(valid_from, date '1900-01-01') as valid_from,
    coalesce(valid_to, date '9999-12-31') as valid_to
from read_parquet(getvariable('directory_teams'));

create temp table people as
with directory as (
    select lower(email) as email, user_id, team_id, coalesce(valid_from, date '1900-01-01') as valid_from,
        coalesce(valid_to, date '9999-12-31') as valid_to, source_row
    from read_parquet(getvariable('directory_users'))
),
found as (
    select id, day, directory.team_id, 1 as preference, source_row from owners join directory on person = directory.user_id
        and day >= valid_from and day < valid_to
    union all
    select id, day, directory.team_id, 2, source_row from owners join directory on lower(person) = email
        and day >= valid_from and day < valid_to
    union all
    select id, day, directory.team_id, 3, source_row from owners
    join read_parquet(getvariable('users')) as users on person = users.user_id
    join directory on lower(users.user_email) = email and day >= valid_from and day < valid_to
)
select id, day, team_id from found qualify row_number() over (partition by id order by preference, source_row) = 1;

create temp table charged as
with metadata as (
    select teams.team_id, trim(metadata_cost_center) as cost_center,
        coalesce(max(stated_from), date '1900-01-01') as valid_from  -- a date that the directory states for this change
    from read_parquet(getvariable('teams')) as teams
    left join directory_teams as directory
        on teams.team_id = directory.team_id and trim(metadata_cost_center) = directory.cost_center
    where trim(metadata_cost_center) <> ''
    group by all
),
answers as (
    select id, day, 1 as rung, cost_center from owners join metadata on team = metadata.team_id and day >= valid_from
    union all
    select id, day, 2, cost_center from owners join directory_teams as d on team = d.team_id
        and day >= d.valid_from and day < d.valid_to
    union all
    select id, day, 3, owner_cost_center from owners join read_parquet(getvariable('services')) as s
        on owners.key_hash = s.key_hash and day >= coalesce(s.valid_from, date '1900-01-01')
        and day < coalesce(s.valid_to, date '9999-12-31')
    union all
    select id, day, 4, cost_center from people join directory_teams as d on people.team_id = d.team_id
        and day >= d.valid_from and day < d.valid_to
),
best as (
    select id, cost_center from answers
    semi join read_parquet(getvariable('cost_centers')) as known
        on cost_center = known.code and day >= coalesce(known.valid_from, date '1900-01-01')
        and day < coalesce(known.valid_to, date '9999-12-31')
    qualify row_number() over (partition by id order by rung) = 1
)
select coalesce(aliases.provider, slug, 'unknown') as provider,
    coalesce(best.cost_center, 'CC-900-SUSPENSE') as cost_center,
    sum(spend) as exact, sum(tokens) as tokens
from identities
left join best using (id)
left join read_csv(getvariable('provider_aliases'), all_varchar = true) as aliases on slug = provider_slug
group by all;

-- Largest remainder to the cent, and what the log does not explain of the invoice to the central cost center.
create temp table chargeback as
with pools as (
    select provider, cast(round(sum(exact), 2) * 100 as hugeint) as cents,
        cast(sum(exact) * 1000000000000 as hugeint) as whole
    from charged group by provider
),
shares as (
    select charged.*, cents,
        cents * cast(exact * 1000000000000 as hugeint) // whole as floor_cents,
        cents * cast(exact * 1000000000000 as hugeint) % whole as remainder
    from charged join pools using (provider)
),
direct as (
    select provider, cost_center, tokens,
        floor_cents + case
            when row_number() over (partition by provider order by remainder desc, cost_center)
                <= cents - sum(floor_cents) over (partition by provider) then 1
            else 0
        end as cents
    from shares
)
select provider, cost_center, 'direct' as charge_type, tokens, cast(cents / 100 as decimal(18, 2)) as amount from direct
union all
select invoices.provider, 'CC-990-CENTRAL', 'central', null,
    cast(total_amount - coalesce(sum(cents), 0) / 100 as decimal(18, 2))
from (select distinct provider, invoice_id, total_amount from read_parquet(getvariable('invoices'))) as invoices
left join direct using (provider)
group by invoices.provider, total_amount;
