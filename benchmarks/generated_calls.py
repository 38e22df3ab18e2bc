"""Days of any number of calls in the lake, made from a template of the demo's calls.

Belongs here: multiplying rows, and planting what screening has to find. Does not belong here: what a call looks like
(`tokengov_pipelines.demo`), the installation around the rows (`benchmarks.home`).

The demo draws the calls of each day once; DuckDB then repeats them with ids, times, tokens and amounts of their own, so
ten million rows take minutes instead of an hour. Same arguments, same bytes.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

import duckdb
import numpy as np
import pyarrow as pa

from resources.lake import Lake
from resources.litellm_tables import SPEND_LOGS_LAKE
from tokengov_pipelines.demo.calls import generate_day
from tokengov_pipelines.demo.draws import shares
from tokengov_pipelines.demo.lake_rows import day_table
from tokengov_pipelines.demo.metering import money_of
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.spend_logs import rows_of
from tokengov_pipelines.demo.traffic import DayPlan, build_plan
from tokengov_pipelines.domain.period import BillingMonth

TEMPLATE_CALLS = 200_000
"""Calls of the whole demo behind the template: about 1,500 different ones a day."""

SEED = 7

# `number` counts the calls of the day. What screening must find is planted by remainders of it, so that every defect,
# every kind of copy and every double log occurs in each day of some size.
_TEMPLATE = """
create table template as select row_number() over () - 1 as position, *,
    regexp_extract(request_id, '^(msgbatch_01|msg_01|resp_|batch_|chatcmpl-)?') as id_starts,
    regexp_extract(request_id, '(_batch_cost|_cache_hit[0-9.]+)?$') as id_ends
from rows
"""

_CALLS = """
with numbered as (
    select template.*, number, md5('{day}:' || number) as digits,
        (epoch_ms(started_at) + hash(number) % 600000) // 86400000 > epoch_ms(started_at) // 86400000 as wraps,
        to_milliseconds(cast(hash(number) % 600000 as bigint)
            - case when wraps then 86400000 else 0 end) as moved
    from range({count}) as numbers(number)
    join template on template.position = number % {kinds}
),
calls as materialized (
    select * replace (
        case when number % 5003 = 11 then ''
            else id_starts || left(digits, 24) || id_ends end as request_id,
        cast(cast(digits as uuid) as varchar) as litellm_call_id,
        cast(cast(md5('{day}:session:' || number // 8) as uuid) as varchar) as session_id,
        case number % 5003 when 12 then 'NaN' when 13 then '-0.25'
            else cast(cast(spend_text as double) * (500 + number % 1000) / 1000 as varchar) end as spend_text,
        case number % 5003 when 14 then -5 else prompt_tokens + number % 97 end as prompt_tokens,
        total_tokens + number % 97 as total_tokens,
        started_at + moved as started_at,
        case number % 5003 when 15 then null when 16 then started_at + moved - interval 10 second
            else ended_at + moved end as ended_at,
        completion_started_at + moved as completion_started_at,
        case number % 5003 when 17 then started_at + moved - interval 2 hour else created_at + moved end as created_at,
        updated_at + moved as updated_at
    )
    from numbered
),
logged as (
    select * from calls
    union all
    select * from calls where number % 997 = 5                                             -- an identical copy
    union all
    select * replace (cast(coalesce(try_cast(spend_text as double), 0) + 0.01 as varchar) as spend_text,
        updated_at + interval 1 minute as updated_at) from calls where number % 1999 = 6   -- a later version
    union all
    select * replace ('resp_' || right(digits, 20) as request_id,
        started_at + interval 2 second as started_at) from calls
    where number % 7001 = 8 and hour(started_at) < 23                                      -- one call under two ids
)
select {columns} from logged order by started_at, request_id, updated_at, spend_text
"""


def month_counts(month: BillingMonth, calls: int) -> dict[dt.date, int]:
    """`calls` over the days of a month, as the demo's organisation works."""
    plans = [plan for plan in _plans().values() if plan.day in month.days()]
    counts = shares(calls, np.array([plan.calls for plan in plans], dtype=np.int64))
    return {plan.day: int(count) for plan, count in zip(plans, counts, strict=True)}


def write_days(
    lake: Lake, counts: Mapping[dt.date, int], extracted_at: dt.datetime, progress: Callable[[float], None]
) -> int:
    """Write so many different calls for each day into the lake, as an extraction would; returns the rows written.

    Copies, later versions and double logs make it about 0.2 % more rows. A day depends on nothing but itself.
    """
    rows = 0
    plans = _plans()
    for number, (day, count) in enumerate(counts.items(), start=1):
        with lake.writing(SPEND_LOGS_LAKE) as writer:
            for batch in _calls(plans[day], count):
                writer.write(batch.cast(SPEND_LOGS_LAKE.schema))
            bounds = (f"{day} 00:00:00", f"{day + dt.timedelta(days=1)} 00:00:00")
            outcome = lake.commit(SPEND_LOGS_LAKE, f"day={day}", writer, extracted_at=extracted_at, window=bounds)
        rows += outcome.seen.rows
        progress(number / len(counts))
    return rows


def _plans() -> dict[dt.date, DayPlan]:
    return {plan.day: plan for plan in build_plan(build_organisation(), TEMPLATE_CALLS, SEED)}


def _calls(plan: DayPlan, count: int) -> Iterator[pa.RecordBatch]:
    organisation = build_organisation()
    drawn = generate_day(organisation, plan, SEED)
    template = day_table(rows_of(organisation, drawn, money_of(drawn)))
    columns = ", ".join(SPEND_LOGS_LAKE.schema.names)
    with duckdb.connect() as connection:
        connection.register("rows", template)
        connection.execute(_TEMPLATE)
        query = _CALLS.format(day=plan.day, count=count, kinds=template.num_rows, columns=columns)
        yield from connection.sql(query).to_arrow_reader(20_000)
