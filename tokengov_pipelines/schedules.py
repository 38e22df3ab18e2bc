"""When the jobs run: hourly and daily for the sources, monthly for the books. Off unless tokengov.yaml turns them on.

Belongs here: cadence and the partitions of a tick. Does not belong here: what a job does (`jobs`).

Nothing that was missed needs a person: Dagster launches the latest tick that passed while it was down, and every tick
starts at the earliest day that is not read to its end.
"""

import datetime as dt
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from resources.lake import Lake
from resources.readings import PROXY_LOG, configured_reports, first_incomplete
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.jobs import LOAD_CLOUD_BILLS, LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS, PREPARE_MONTH
from tokengov_pipelines.settings import Settings

ONE_DAY = dt.timedelta(days=1)


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

    def today_of(context: dg.ScheduleEvaluationContext) -> dt.date:
        return settings.today() if settings.as_of else context.scheduled_execution_time.date()

    def days(first: dt.date, last: dt.date, tick: str) -> dg.RunRequest:
        tags = partition_range_tags(first.isoformat(), last.isoformat())
        return dg.RunRequest(run_key=f"{tick}:{first}:{last}", tags=tags)

    def again(today: dt.date, reread_days: int, tables: Sequence[str]) -> tuple[dt.date, dt.date]:
        """The trailing days, and every day before them that was missed."""
        first, last = trailing_days(today, reread_days, settings.log_start)
        return min(first, first_incomplete(lake, tables, settings.log_start, last) or first), last

    @dg.schedule(
        name=f"{LOAD_DAYS}_hourly",
        job=by_name[LOAD_DAYS],
        cron_schedule=f"{minute} * * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Reads the running UTC day, and every ended day that was not read to its end.",
    )
    def load_days_hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = today_of(context)
        if settings.as_of and settings.now().time() == dt.time():
            return dg.SkipReason(f"as_of {settings.as_of} is a midnight: no day is running")
        first = first_incomplete(lake, [PROXY_LOG], settings.log_start, today - ONE_DAY) or today
        return days(first, today, f"hourly:{context.scheduled_execution_time:%Y-%m-%dT%H}")

    @dg.schedule(
        name=f"{LOAD_DAYS}_daily",
        job=by_name[LOAD_DAYS],
        cron_schedule=f"0 {hour} * * *",
        execution_timezone="UTC",
        default_status=status,
        description=f"Reads the last {settings.litellm.reread_days} complete days whole, and missed ones, in one run.",
    )
    def load_days_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = today_of(context)
        return days(*again(today, settings.litellm.reread_days, [PROXY_LOG]), f"daily:{today}")

    @dg.schedule(
        name=f"{LOAD_DAYS}_monthly",
        job=by_name[LOAD_DAYS],
        cron_schedule=f"15 {hour} 4-31 * *",
        execution_timezone="UTC",
        default_status=status,
        description="Reads the month that has ended whole, once: on the later of its fourth business day and day 4.",
    )
    def load_days_monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = today_of(context)
        month = BillingMonth.of(today).previous()
        first, final = max(month.first_day, settings.log_start), final_reading_day(month)
        if today < final or month.next().first_day <= settings.log_start:
            return dg.SkipReason(f"{month} is read whole on {final}")
        seen = lake.last_seen(PROXY_LOG, f"day={first}")
        if seen and dt.datetime.fromisoformat(seen["extracted_at"]).date() >= final:
            return dg.SkipReason(f"{month} was read whole at {seen['extracted_at']}")
        return days(first, today - ONE_DAY, f"month:{month}:{today}")

    @dg.schedule(
        name=f"{LOAD_PROVIDERS}_daily",
        job=by_name[LOAD_PROVIDERS],
        cron_schedule=f"30 {hour} * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Reads the providers' last days again, which may still move, and missed ones (Rule 2.3).",
    )
    def load_providers_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        configured = [each for each in (settings.anthropic, settings.openai) if each is not None]
        if not configured:
            return dg.SkipReason("no provider is configured in tokengov.yaml")
        today, reread = today_of(context), max(each.reread_days for each in configured)
        return days(*again(today, reread, configured_reports(settings)), f"providers:{today}")

    @dg.schedule(
        name=f"{LOAD_PULL_REQUESTS}_daily",
        job=by_name[LOAD_PULL_REQUESTS],
        cron_schedule=f"45 {hour} * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Reads the pull requests that changed since the last reading.",
    )
    def load_pull_requests_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.github is None:
            return dg.SkipReason("no GitHub is configured in tokengov.yaml")
        return dg.RunRequest(run_key=f"pull_requests:{today_of(context)}")

    @dg.schedule(
        name=f"{LOAD_CLOUD_BILLS}_daily",
        job=by_name[LOAD_CLOUD_BILLS],
        cron_schedule=f"50 {hour} * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Reads the clouds' bills, which are written anew until their period is final.",
    )
    def load_cloud_bills_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.cloud_bills is None:
            return dg.SkipReason("no cloud bills are configured in tokengov.yaml")
        return dg.RunRequest(run_key=f"cloud_bills:{today_of(context)}")

    @dg.schedule(
        name=f"{PREPARE_MONTH}_monthly",
        job=by_name[PREPARE_MONTH],
        cron_schedule=f"0 {hour + 1} {settings.schedules.monthly_day} * *",
        execution_timezone="UTC",
        default_status=status,
        description="Prepares the month that has ended, when its last day has settled.",
    )
    def prepare_month_monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = today_of(context)
        month = str(BillingMonth.of(today).previous())
        return dg.RunRequest(run_key=f"{month}:{today}", partition_key=month)

    return [
        load_days_hourly,
        load_days_daily,
        load_days_monthly,
        load_providers_daily,
        load_pull_requests_daily,
        load_cloud_bills_daily,
        prepare_month_monthly,
    ]
