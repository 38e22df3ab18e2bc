"""From finished runs to alerts, and from alerts to messages: what sensors, command line and cron share.

Belongs here: reading what a run says of its checks and of itself, handing that to the ledger, emptying the outbox.
Does not belong here: the rule of opening and closing (`domain.alert`), words (`domain.alert_messages`), keeping
(`ledger.alerts`), sending (`resources.notifier`), when any of this happens (`sensors`, `runner`).
"""

import datetime as dt
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from resources.notifier import Notifier, NotifierError
from tokengov_pipelines.domain.alert import (
    WHOLE,
    Condition,
    Severity,
    Transition,
    split_span,
    stale_conditions,
)
from tokengov_pipelines.domain.alert_messages import message_of
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation, Settings

MOST_LINES = 30  # of one error; every problem of a directory or an invoice folder is a line

_MONTH = len("2026-10")
_EVENTS = {DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}


@dataclass
class DeliveryReport:
    """What one emptying of the outbox did: messages sent, and for each transport that failed the reason."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)


def record_run(instance: dg.DagsterInstance, run_id: str, ledger: Ledger, notifier: Notifier) -> list[Transition]:
    """Open, repeat and close alerts by what a finished run observed; recording a run again changes nothing.

    A run that is still going, or was deleted, says nothing. Nothing is sent here: `deliver_alerts` does.

    Raises:
        LedgerError: the ledger cannot be written; record the run again later.
    """
    return ledger.alerts.observe(conditions_of_run(instance, run_id), notifier.transports)


def record_staleness(
    newest: Mapping[str, dt.datetime | None], settings: Settings, ledger: Ledger, notifier: Notifier
) -> list[Transition]:
    """Open and close alerts by the age of each source's newest extraction (by source; None: never extracted).

    Raises:
        LedgerError: the ledger cannot be written.
    """
    conditions = stale_conditions(
        newest, now=settings.now(), stale_after_hours=settings.alerts.stale_after_hours, at=_clock()
    )
    return ledger.alerts.observe(conditions, notifier.transports)


def deliver_alerts(
    ledger: Ledger,
    notifier: Notifier,
    home: Path,
    *,
    seconds: float = 30,
    clock: Callable[[], dt.datetime] | None = None,
) -> DeliveryReport:
    """Send every message that is due. A transport that fails is left alone until the next time, the others go on.

    Args:
        ledger: whose outbox is emptied.
        notifier: the transports; without any, nothing is read and nothing happens.
        home: the installation's folder, named in the messages.
        seconds: no sending begins later than this; a Dagster sensor may take 60 s.
        clock: gives the real time (UTC), which the outbox goes by.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    clock = clock or _clock
    report, transports, deadline = DeliveryReport(), list(notifier.transports), time.monotonic() + seconds
    while transports and time.monotonic() < deadline:
        delivery = ledger.alerts.claim(transports, clock())
        if delivery is None:
            break
        message = message_of(delivery.event, delivery.alert, installation_name(home))
        try:
            notifier.send(delivery.transport, message)
        except NotifierError as error:
            ledger.alerts.record_failure(delivery, str(error), clock())
            report.failures.append(str(error))
            transports.remove(delivery.transport)
        else:
            ledger.alerts.record_success(delivery, clock())
            report.sent += 1
    return report


def tell_of_runs(
    instance: dg.DagsterInstance, run_ids: Iterable[str], installation: Installation, notifier: Notifier
) -> list[str]:
    """Record runs and send what is due, where no daemon may be there to do it; returns in words what did not work.

    Whatever goes wrong with alerts, the run that they are about stays as it ended.
    """
    try:
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        for run_id in run_ids:
            record_run(instance, run_id, ledger, notifier)
        report = deliver_alerts(ledger, notifier, installation.home)
    except LedgerError as error:
        return [f"alerts were not recorded: {error}"]
    return [f"an alert was not sent and is retried: {failure}" for failure in report.failures]


def installation_name(home: Path) -> str:
    """How messages name an installation: its host and folder."""
    return f"{socket.gethostname()}:{home}"


def conditions_of_run(instance: dg.DagsterInstance, run_id: str) -> list[Condition]:
    """What a finished run observed: each check that it evaluated, and whether it got through.

    A run that was canceled says nothing about its job, which somebody stopped; its checks count.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None or not record.dagster_run.is_finished:
        return []
    entries = instance.all_logs(run_id, of_type=_EVENTS)
    conditions: list[Condition] = []
    for entry in entries:
        event = entry.dagster_event
        if event and event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            at = dt.datetime.fromtimestamp(entry.timestamp, dt.UTC)
            conditions += _of_check(event.asset_check_evaluation_data, at, run_id)
    if record.dagster_run.status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE):
        conditions += _of_job(record, entries)
    return conditions


def _of_check(evaluation: AssetCheckEvaluation, at: dt.datetime, run_id: str) -> Iterator[Condition]:
    """The check as one condition, or as one for each month that it looked at.

    Our checks say in their metadata at which days or months they looked (`looked_at`) and which of these are `red`.
    """
    name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
    key = f"check:{evaluation.asset_key.to_user_string()}:{evaluation.check_name}"
    warns = evaluation.severity is dg.AssetCheckSeverity.WARN
    severity = Severity.WARNING if warns else Severity.ERROR
    words = _with_fix(evaluation.description or "It failed and says no more.", run_id)

    def condition(month: str, looked_at: Iterable[str], bad: Iterable[str]) -> Condition:
        of_month = (f"{key}:{month}", f"{name} failed ({month})") if month else (key, f"{name} failed")
        return Condition(of_month[0], at, severity, of_month[1], words, frozenset(looked_at), frozenset(bad), run_id)

    looked_at = split_span(_metadata(evaluation, "looked_at"))
    red = [part for text in _metadata(evaluation, "red").split(", ") for part in split_span(text)]
    if not looked_at:
        yield condition("", [WHOLE], [] if evaluation.passed else [WHOLE])
    elif evaluation.passed or red:
        for month in dict.fromkeys(part[:_MONTH] for part in looked_at):
            parts = {part for part in looked_at if part.startswith(month)}
            yield condition(month, {WHOLE, *parts}, () if evaluation.passed else parts.intersection(red))
    else:  # it does not say where: the last month as a whole, until the check is green there
        yield condition(looked_at[-1][:_MONTH], [WHOLE], [WHOLE])


def _metadata(evaluation: AssetCheckEvaluation, name: str) -> str:
    value = evaluation.metadata.get(name)
    return str(value.value) if value is not None else ""


def _of_job(record: RunRecord, entries: Sequence[dg.EventLogEntry]) -> Iterator[Condition]:
    """Whether the job got through: of each month where its partitions are months, else of the job as a whole."""
    run = record.dagster_run
    failed = run.status is DagsterRunStatus.FAILURE
    tags = run.tags
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG, "")
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
    months = [part for part in split_span(f"{first} to {last}") if len(part) == _MONTH]
    ended = record.end_time
    for month in months or [""]:
        yield Condition(
            key=f"run:{run.job_name}:{month}" if month else f"run:{run.job_name}",
            at=dt.datetime.fromtimestamp(ended, dt.UTC) if ended else record.update_timestamp,
            severity=Severity.ERROR,
            title=f"{run.job_name} failed ({month})" if month else f"{run.job_name} failed",
            text=_with_fix(_why_failed(entries), run.run_id) if failed else "",
            bad=frozenset({WHOLE}) if failed else frozenset(),
            run_id=run.run_id,
        )


def _why_failed(entries: Sequence[dg.EventLogEntry]) -> str:
    """Each thing that went wrong once, after the steps that it stopped; else what Dagster says of the run."""
    stopped: dict[str, list[str]] = {}
    last_word = "The run failed."
    for entry in entries:
        event = entry.dagster_event
        if event and event.event_type == DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            checked = cause is not None and cause.cls_name == DagsterAssetCheckFailedError.__name__
            what = "stopped by failed checks" if checked else in_words(cause.message if cause else "failed")
            stopped.setdefault(what, []).append((event.step_key or "").replace("__", "/", 1))
        elif event and event.event_type == DagsterEventType.RUN_FAILURE and event.message:
            last_word = event.message
    return "\n".join(f"{', '.join(steps)}: {what}" for what, steps in stopped.items()) or last_word


def _with_fix(text: str, run_id: str) -> str:
    return text if "Fix: " in text else f"{text}\nFix: look at run {run_id[:8]} in the UI, then run it again."


def in_words(message: str) -> str:
    """The sentence of an error without class names, command lines and stack traces around it."""
    for lead in ("Errors parsed from dbt logs:", "dagster._core.definitions.events.Failure:"):
        message = message.partition(lead)[2] or message
    message = message.partition("Traceback (most recent call last):")[0] or message
    first, _, rest = message.strip().partition(": ")
    is_class = " " not in first and first.replace(".", "").isidentifier()
    words = (rest or first.rpartition(".")[2]) if is_class else message
    lines = list(dict.fromkeys(line.rstrip() for line in words.strip().splitlines()))
    left_out = [f"... and {len(lines) - MOST_LINES} more lines in the run's log"] if len(lines) > MOST_LINES else []
    return "\n".join(lines[:MOST_LINES] + left_out)


def _clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
