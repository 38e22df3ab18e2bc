"""When the jobs run: daily for the log, monthly for the books. Off unless tokengov.yaml turns them on.

Belongs here: cadence and the partitions of a tick. Does not belong here: what a job does (`jobs`).
"""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from tokengov_pipelines.jobs import LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.settings import Settings


def partition_range_tags(first: str, last: str) -> dict[str, str]:
    """Run tags that make one run cover the partitions `first` to `last`, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def trailing_days(today: dt.date, reread_days: int, log_start: dt.date) -> tuple[str, str]:
    """First and last of the complete days that a daily run reads again (Rule 2.3)."""
    last = today - dt.timedelta(days=1)
    first = max(last - dt.timedelta(days=reread_days - 1), log_start)
    return first.isoformat(), last.isoformat()


def all_schedules(settings: Settings, jobs: list[UnresolvedAssetJobDefinition]) -> list[dg.ScheduleDefinition]:
    """The schedules of this product."""
    by_name = {job.name: job for job in jobs}
    status = dg.DefaultScheduleStatus.RUNNING if settings.schedules.enabled else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name=f"{LOAD_DAYS}_daily",
        job=by_name[LOAD_DAYS],
        cron_schedule=f"0 {settings.schedules.daily_hour_utc} * * *",
        execution_timezone="UTC",
        default_status=status,
        description=f"Reads the last {settings.litellm.reread_days} complete days whole, in one run.",
    )
    def load_days_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = settings.as_of or context.scheduled_execution_time.date()
        first, last = trailing_days(today, settings.litellm.reread_days, settings.log_start)
        return dg.RunRequest(run_key=f"{first}:{last}:{today}", tags=partition_range_tags(first, last))

    @dg.schedule(
        name=f"{PREPARE_MONTH}_monthly",
        job=by_name[PREPARE_MONTH],
        cron_schedule=f"0 {settings.schedules.daily_hour_utc + 1} {settings.schedules.monthly_day} * *",
        execution_timezone="UTC",
        default_status=status,
        description="Prepares the month that has ended, when its last day has settled.",
    )
    def prepare_month_monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = settings.as_of or context.scheduled_execution_time.date()
        month = (today.replace(day=1) - dt.timedelta(days=1)).strftime("%Y-%m")
        return dg.RunRequest(run_key=f"{month}:{today}", partition_key=month)

    return [load_days_daily, prepare_month_monthly]
