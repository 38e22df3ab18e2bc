"""When the jobs run: hourly and daily for the sources, monthly for the books. Off unless tokengov.yaml turns them on.

Belongs here: cadence and the partitions of a tick. Does not belong here: what a job does (`jobs`).

Nothing that was missed needs a person: Dagster launches the latest tick that passed while it was down, and every tick
starts at the earliest day that is not read to its end.
"""

import datetime as dt
from collections.abc import Callable, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from resources.lake import Lake
from resources.readings import PROXY_LOG, configured_reports, first_incomplete
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.jobs import LOAD_CLOUD_BILLS, LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS, PREPARE_MONTH
from tokengov_pipelines.settings import Settings

ONE_DAY = dt.timedelta(days=1)

_Tick = Callable[[dg.ScheduleEvaluationContext], dg.RunRequest | dg.SkipReason]


def partition_range_tags(first: str, last: str) -> dict[str, str]:
    """Run tags that make one run cover the partitions `first` to `last`, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def trailing_days(today: dt.date, reread_days: int, log_start: dt.date) -> tuple[dt.date, dt.date]:
    """First and last of the complete days that a daily run reads again (Rule 2.3)."""
    last = today - ONE_DAY
    return max(last - (reread_days - 1) * ONE_DAY, log_start), last


def final_reading_day(month: BillingMonth) -> dt.date:
    """When a month is read whole for the last time before its close: the later of BD4 and day 4 (Rule 2.3).

    Business days are Monday to Friday; a public holiday makes the reading early by a day, never late.
    """
    first = month.next().first_day
    weekdays = [day for day in (first + number * ONE_DAY for number in range(7)) if day.weekday() < 5]
    return max(weekdays[3], first.replace(day=4))


def all_schedules(
    settings: Settings, lake: Lake, jobs: list[UnresolvedAssetJobDefinition]
) -> list[dg.ScheduleDefinition]:
    """The schedules of this product."""
    by_name = {job.name: job for job in jobs}
    status = dg.DefaultScheduleStatus.RUNNING if settings.schedules.enabled else dg.DefaultScheduleStatus.STOPPED
    hour, minute = settings.schedules.daily_hour_utc, settings.schedules.hourly_minute

    def schedule(job: str, cadence: str, cron: str, description: str, tick: _Tick) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=f"{job}_{cadence}",
            job=by_name[job],
            cron_schedule=cron,
            execution_timezone="UTC",
            default_status=status,
            description=description,
            execution_fn=tick,
        )

    def today_of(context: dg.ScheduleEvaluationContext) -> dt.date:
        return settings.today() if settings.as_of else context.scheduled_execution_time.date()

    def days(first: dt.date, last: dt.date, tick: str) -> dg.RunRequest:
        tags = partition_range_tags(first.isoformat(), last.isoformat())
        return dg.RunRequest(run_key=f"{tick}:{first}:{last}", tags=tags)

    def again(today: dt.date, reread_days: int, tables: Sequence[str]) -> tuple[dt.date, dt.date]:
        """The trailing days, and every day before them that was missed."""
        first, last = trailing_days(today, reread_days, settings.log_start)
        return min(first, first_incomplete(lake, tables, settings.log_start, last) or first), last

    def running_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = today_of(context)
        if settings.as_of and settings.now().time() == dt.time():
            return dg.SkipReason(f"as_of {settings.as_of} is a midnight: no day is running")
        first = first_incomplete(lake, [PROXY_LOG], settings.log_start, today - ONE_DAY) or today
        return days(first, today, f"hourly:{context.scheduled_execution_time:%Y-%m-%dT%H}")

    def trailing_log(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = today_of(context)
        return days(*again(today, settings.litellm.reread_days, [PROXY_LOG]), f"daily:{today}")

    def whole_month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = today_of(context)
        month = BillingMonth.of(today).previous()
        first, final = max(month.first_day, settings.log_start), final_reading_day(month)
        if today < final or month.next().first_day <= settings.log_start:
            return dg.SkipReason(f"{month} is read whole on {final}")
        seen = lake.last_seen(PROXY_LOG, f"day={first}")
        if seen and dt.datetime.fromisoformat(seen["extracted_at"]).date() >= final:
            return dg.SkipReason(f"{month} was read whole at {seen['extracted_at']}")
        return days(first, today - ONE_DAY, f"month:{month}:{today}")

    def trailing_reports(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        configured = [each for each in (settings.anthropic, settings.openai) if each is not None]
        if not configured:
            return dg.SkipReason("no provider is configured in tokengov.yaml")
        today, reread = today_of(context), max(each.reread_days for each in configured)
        return days(*again(today, reread, configured_reports(settings)), f"providers:{today}")

    def pull_requests(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.github is None:
            return dg.SkipReason("no GitHub is configured in tokengov.yaml")
        return dg.RunRequest(run_key=f"pull_requests:{today_of(context)}")

    def cloud_bills(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.cloud_bills is None:
            return dg.SkipReason("no cloud bills are configured in tokengov.yaml")
        return dg.RunRequest(run_key=f"cloud_bills:{today_of(context)}")

    def ended_month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = today_of(context)
        month = str(BillingMonth.of(today).previous())
        return dg.RunRequest(run_key=f"{month}:{today}", partition_key=month)

    return [
        schedule(
            LOAD_DAYS,
            "hourly",
            f"{minute} * * * *",
            "Reads the running UTC day, and every ended day that was not read to its end.",
            running_day,
        ),
        schedule(
            LOAD_DAYS,
            "daily",
            f"0 {hour} * * *",
            f"Reads the last {settings.litellm.reread_days} complete days whole, and missed ones, in one run.",
            trailing_log,
        ),
        schedule(
            LOAD_DAYS,
            "monthly",
            f"15 {hour} 4-31 * *",
            "Reads the month that has ended whole, once: on the later of its fourth business day and day 4.",
            whole_month,
        ),
        schedule(
            LOAD_PROVIDERS,
            "daily",
            f"30 {hour} * * *",
            "Reads the providers' last days again, which may still move, and missed ones (Rule 2.3).",
            trailing_reports,
        ),
        schedule(
            LOAD_PULL_REQUESTS,
            "daily",
            f"45 {hour} * * *",
            "Reads the pull requests that changed since the last reading.",
            pull_requests,
        ),
        schedule(
            LOAD_CLOUD_BILLS,
            "daily",
            f"50 {hour} * * *",
            "Reads the clouds' bills, which are written anew until their period is final.",
            cloud_bills,
        ),
        schedule(
            PREPARE_MONTH,
            "monthly",
            f"0 {hour + 1} {settings.schedules.monthly_day} * *",
            "Prepares the month that has ended, when its last day has settled.",
            ended_month,
        ),
    ]
