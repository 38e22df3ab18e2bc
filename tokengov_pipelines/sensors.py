"""What Dagster's daemon looks at by itself: runs that finished, sources that grew stale, messages that are due.

Belongs here: cadence, cursors and what a tick reports. Does not belong here: the work of a tick
(`tokengov_pipelines.alerting`). On and off with the schedules.

Runs are found by their time of change and not with Dagster's run-status sensors: these move on when recording a run
fails (the ledger was busy), so its alert would be lost, and read successes and failures in no common order. Here a tick
that fails is repeated from where it was. Runs of the command line are in the same instance and found like any other.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES, DagsterRunStatus, RunRecord, RunsFilter

from resources.home import Home
from resources.lake import Lake
from resources.notifier import Notifier
from tokengov_pipelines.alerting import deliver_alerts, record_run, record_staleness
from tokengov_pipelines.jobs import DELIVER_PACKS
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation, Settings

NewestExtractions = Callable[[Installation, Lake], Mapping[str, dt.datetime | None]]
"""By configured source, when its newest successful extraction was made; None for never."""

_OVERLAP = dt.timedelta(minutes=5)  # a change is dated by its writer and seen when it commits, a little later
_FIRST_LOOK = dt.timedelta(days=1)
_UNFINISHED = [each for each in DagsterRunStatus if each not in FINISHED_STATUSES]


def all_sensors(
    settings: Settings, newest_extractions: NewestExtractions, *, runs_a_tick: int = 50
) -> list[dg.SensorDefinition]:
    """The sensors of this product; a tick, which may take 60 s, records at most `runs_a_tick` runs."""
    status = dg.DefaultSensorStatus.RUNNING if settings.schedules.enabled else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        minimum_interval_seconds=30,
        default_status=status,
        description="Opens and closes alerts by the checks and the end of every run that finished, however started.",
    )
    def run_finished_sensor(context: dg.SensorEvaluationContext, home: Home, notifier: Notifier) -> dg.SkipReason:
        ledger = _ledger(home)
        since, known = _read_cursor(context.cursor)
        new = _finished_runs(context.instance, since - _OVERLAP, known)[:runs_a_tick]
        steps = []
        for record in new:
            run_id = record.dagster_run.run_id
            steps += record_run(context.instance, run_id, ledger, notifier)
            since = max(since, record.update_timestamp)
            known[run_id] = record.update_timestamp
            context.update_cursor(_write_cursor(since, known))
        return dg.SkipReason(f"{len(new)} runs finished; alerts: {_counted([step.step for step in steps])}")

    @dg.sensor(
        minimum_interval_seconds=600,
        default_status=status,
        description=f"Opens an alert for a source that was not read for {settings.alerts.stale_after_hours} hours.",
    )
    def stale_sources_sensor(
        context: dg.SensorEvaluationContext, home: Home, lake: Lake, notifier: Notifier
    ) -> dg.SkipReason:
        newest = newest_extractions(home.installation, lake)
        steps = record_staleness(newest, home.installation.settings, _ledger(home), notifier)
        return dg.SkipReason(f"{len(newest)} sources looked at; alerts: {_counted([step.step for step in steps])}")

    @dg.sensor(
        minimum_interval_seconds=60,
        default_status=status,
        description="Sends the messages of alerts that are due; those of a failing transport are tried again later.",
    )
    def deliver_alerts_sensor(context: dg.SensorEvaluationContext, home: Home, notifier: Notifier) -> dg.SkipReason:
        report = deliver_alerts(_ledger(home), notifier, home.installation.home)
        for failure in report.failures:
            context.log.warning(failure)
        return dg.SkipReason("; ".join([f"{report.sent} messages sent", *report.failures]))

    @dg.sensor(
        job_name=DELIVER_PACKS,
        minimum_interval_seconds=60,
        default_status=status,
        description="Delivers again what failed a while ago, and finds deliveries whose run died.",
    )
    def due_deliveries_sensor(context: dg.SensorEvaluationContext, home: Home) -> dg.SensorResult | dg.SkipReason:
        if context.instance.get_runs_count(RunsFilter(job_name=DELIVER_PACKS, statuses=_UNFINISHED)):
            return dg.SkipReason("a delivery is running")
        now, names = dt.datetime.now(dt.UTC), {each.name for each in home.installation.settings.deliveries}
        months = _ledger(home).deliveries.due_months(names, now) if names else []
        requests = [
            dg.RunRequest(run_key=f"{month} {now:%Y-%m-%dT%H:%M}", partition_key=str(month)) for month in months
        ]
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("nothing is due")

    return [run_finished_sensor, stale_sources_sensor, deliver_alerts_sensor, due_deliveries_sensor]


def _ledger(home: Home) -> Ledger:
    ledger = Ledger(home.installation.ledger_url, home.installation.settings.now)
    ledger.upgrade()
    return ledger


def _finished_runs(
    instance: dg.DagsterInstance, since: dt.datetime, known: Mapping[str, dt.datetime]
) -> list[RunRecord]:
    """The finished runs that changed after a moment and are not known, in the order of their change."""
    filters = RunsFilter(statuses=list(FINISHED_STATUSES), updated_after=since)
    records = instance.get_run_records(filters=filters, order_by="update_timestamp", ascending=True)
    return [record for record in records if record.dagster_run.run_id not in known]


def _read_cursor(text: str | None) -> tuple[dt.datetime, dict[str, dt.datetime]]:
    """Up to which change runs were recorded, and which runs changed shortly before that."""
    if not text:
        return dt.datetime.now(dt.UTC) - _FIRST_LOOK, {}
    content = json.loads(text)
    known = {run_id: dt.datetime.fromisoformat(at) for run_id, at in content["known"].items()}
    return dt.datetime.fromisoformat(content["since"]), known


def _write_cursor(since: dt.datetime, known: Mapping[str, dt.datetime]) -> str:
    recent = {run_id: at.isoformat() for run_id, at in known.items() if at >= since - _OVERLAP}
    return json.dumps({"since": since.isoformat(), "known": recent})


def _counted(steps: list[str]) -> str:
    return ", ".join(f"{steps.count(step)} {step}" for step in dict.fromkeys(steps)) or "none"
