"""Running a Dagster job from the command line: the same job as in the UI, in this process, recorded in the instance.

Belongs here: launching, progress, and turning a failed run into words.
Does not belong here: what a job does (`jobs`, `assets`) and printing (`cli`).
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from tokengov_pipelines.build import build_defs
from tokengov_pipelines.dagster_home import clear_dead_runs, open_instance, process_tag
from tokengov_pipelines.schedules import partition_range_tags
from tokengov_pipelines.settings import Installation

Progress = Callable[[str], None]


@dataclass
class RunReport:
    """What a finished run left to say: failures and failed checks in words."""

    run_id: str
    job: str
    succeeded: bool
    failures: list[str] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)


def run_job(
    installation: Installation,
    job: str,
    *,
    first: str,
    last: str | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    without: Sequence[str] = (),
    resource_overrides: Mapping[str, Any] | None = None,
) -> RunReport:
    """Run a job over the partitions `first` to `last` (one run) and wait for it.

    Runs that a killed process left behind are closed first, so that nothing waits for the dead. `without` names assets
    (`layer/table`) of the job that are left as they are.
    """
    definitions = build_defs(installation, resource_overrides)
    run_id = str(uuid.uuid4())
    report = RunReport(run_id=run_id, job=job, succeeded=False)

    def listen(event: dg.EventLogEntry) -> None:
        _collect(event, report, progress)

    with open_instance(installation) as instance:
        clear_dead_runs(instance, include_servers=False)
        instance.add_event_listener(run_id, listen)
        # What dbt prints belongs to people who look for it; the terminal gets the report.
        with (installation.dagster_home / "last_run.log").open("w") as log, redirect_stdout(log):
            definition = definitions.resolve_job_def(job)
            left_out = {dg.AssetKey(name.split("/")) for name in without}
            result = definition.execute_in_process(
                asset_selection=sorted(set(definition.asset_layer.executable_asset_keys) - left_out)
                if left_out
                else None,
                instance=instance,
                run_id=run_id,
                tags={**process_tag(), **partition_range_tags(first, last or first)},
                run_config={**(config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        report.succeeded = result.success
    return report


def _collect(entry: dg.EventLogEntry, report: RunReport, progress: Progress | None) -> None:
    event = entry.dagster_event
    if event is None:
        return
    if event.event_type == DagsterEventType.STEP_START and progress:
        progress(_step_name(event.step_key or ""))
    elif event.event_type == DagsterEventType.STEP_FAILURE:
        error = event.step_failure_data.error
        cause = error.cause if error and error.cause else error
        report.failures.append(f"{_step_name(event.step_key or '')}: {_in_words(cause.message if cause else 'failed')}")
    elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            asset = evaluation.asset_key.to_user_string()
            report.failed_checks.append(f"{asset}: {evaluation.check_name}: {evaluation.description or 'failed'}")


def _in_words(message: str) -> str:
    """The sentence of an error without the class names and command lines in front of it."""
    for lead in ("Errors parsed from dbt logs:", "dagster._core.definitions.events.Failure:"):
        message = message.partition(lead)[2] or message
    first, separator, rest = message.strip().partition(": ")
    return (rest if (separator and first.isidentifier()) or ("." in first and " " not in first) else message).strip()


def _step_name(step: str) -> str:
    return step.replace("__", "/", 1)
