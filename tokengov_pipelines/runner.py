"""Running a Dagster job from the command line: the same job as in the UI, in this process, recorded in the instance.

Belongs here: launching, progress, and turning a failed run into words.
Does not belong here: what a job does (`jobs`, `assets`) and printing (`cli`).
"""

import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.errors import DagsterAssetCheckFailedError

from resources.notifier import Notifier
from tokengov_pipelines.alerting import in_words, tell_of_runs
from tokengov_pipelines.build import build_defs
from tokengov_pipelines.dagster_home import clear_dead_runs, command_line_tags, open_instance
from tokengov_pipelines.schedules import partition_range_tags
from tokengov_pipelines.settings import Installation

Progress = Callable[[str], None]


class RunRefusedError(ValueError):
    """A run that was not started, because it cannot be what was meant; the text says why and the fix."""


@dataclass
class RunReport:
    """What a finished run left to say, in words.

    `stopped` names, for each thing that went wrong, the steps and blocking checks that it stopped; `failed_checks` are
    those that stopped nothing. `reasons` say why an asset was written or left as it was.
    """

    run_id: str
    job: str
    succeeded: bool
    stopped: dict[str, list[str]] = field(default_factory=dict)
    failed_checks: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    alert_problems: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Each thing that went wrong once, after the names of what it stopped."""
        return [f"{', '.join(names)}: {what}" for what, names in self.stopped.items()]


def run_job(
    installation: Installation,
    job: str,
    *,
    first: str | None = None,
    last: str | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    without: Sequence[str] = (),
    resource_overrides: Mapping[str, Any] | None = None,
) -> RunReport:
    """Run a job over the partitions `first` to `last` (one run), or one without partitions, and wait for it.

    Runs that a killed process left behind are closed first, so that nothing waits for the dead. `without` names assets
    (`layer/table`) of the job that are left as they are.

    Raises:
        RunRefusedError: a partition that the job does not have, or a setting that it needs and that is not there;
            nothing was started.
    """
    definitions = build_defs(installation, resource_overrides)
    definition = definitions.resolve_job_def(job)
    run_id = str(uuid.uuid4())
    report = RunReport(run_id=run_id, job=job, succeeded=False)

    def listen(event: dg.EventLogEntry) -> None:
        _collect(event, report, progress)

    # One planned event per asset and run, not per day: for 150 days of 35 assets those took 57 s before the first step.
    # The report of this command says what failed, so the per-day mark in the UI is not missed.
    os.environ["DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS"] = "true"
    # A fixed `as_of` says which days have ended; without one it is the clock's moment, as everywhere in Dagster.
    with (
        dg.partition_loading_context(effective_dt=installation.settings.now()),
        open_instance(installation) as instance,
    ):
        if first:
            _require_partitions(definition, first, last or first)
        cleared = clear_dead_runs(instance, include_servers=False)
        instance.add_event_listener(run_id, listen)
        # What dbt prints belongs to people who look for it; the terminal gets the report.
        with (installation.dagster_home / "last_run.log").open("w") as log, redirect_stdout(log):
            left_out = {dg.AssetKey(name.split("/")) for name in without}
            try:
                result = definition.execute_in_process(
                    asset_selection=sorted(set(definition.asset_layer.executable_asset_keys) - left_out)
                    if left_out
                    else None,
                    instance=instance,
                    run_id=run_id,
                    tags=command_line_tags() | (partition_range_tags(first, last or first) if first else {}),
                    run_config={**(config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    raise_on_error=False,
                )
            except dg.DagsterInvalidConfigError as error:
                raise _unset_variable(error) from error
        report.succeeded = result.success
        # No daemon may be there to see how these runs ended.
        report.alert_problems = tell_of_runs(instance, [*cleared, run_id], installation, Notifier())
    return report


def _require_partitions(definition: dg.JobDefinition, first: str, last: str) -> None:
    """Refuse a range that the job cannot run; Dagster would run the steps without partitions before it complains."""
    if definition.partitions_def is None:
        return
    known = definition.partitions_def.get_partition_keys()
    if not known:
        message = "no day or month is there yet. Fix: set log_start and books_start in tokengov.yaml to earlier ones."
        raise RunRefusedError(message)
    for key in (first, last):
        if key not in known:
            message = (
                f"{key} cannot be run: {definition.name} takes {known[0]} to {known[-1]} (UTC). "
                "Fix: choose among these; log_start and books_start in tokengov.yaml say where they begin."
            )
            raise RunRefusedError(message)
    if last < first:
        message = f"{first} is after {last}. Fix: name the earlier one first."
        raise RunRefusedError(message)


def _unset_variable(error: dg.DagsterInvalidConfigError) -> RunRefusedError:
    """The environment variable that the configuration of a resource names and the environment lacks."""
    found = re.search(r'environment variable "(\w+)" which is not set', str(error))
    if found is None:
        raise error
    return RunRefusedError(f"{found[1]} is not set; this job needs it. Fix: export it; README.md says what it holds.")


def _collect(entry: dg.EventLogEntry, report: RunReport, progress: Progress | None) -> None:
    event = entry.dagster_event
    if event is None:
        return
    if event.event_type == DagsterEventType.STEP_START and progress:
        progress(_step_name(event.step_key or ""))
    elif event.event_type == DagsterEventType.STEP_FAILURE:
        error = event.step_failure_data.error
        cause = error.cause if error and error.cause else error
        if cause is None or cause.cls_name != DagsterAssetCheckFailedError.__name__:  # the check has said it
            what = in_words(cause.message if cause else "failed")
            report.stopped.setdefault(what, []).append(_step_name(event.step_key or ""))
    elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
            what = evaluation.description or "failed"
            if evaluation.blocking and evaluation.severity is dg.AssetCheckSeverity.ERROR:
                report.stopped.setdefault(what, []).append(name)
            else:
                report.failed_checks.append(f"{name}: {what}")
    elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        if "reason" in materialization.metadata:
            asset = materialization.asset_key.to_user_string()
            report.reasons.append(f"{asset}: {materialization.metadata['reason'].value}")


def _step_name(step: str) -> str:
    return step.replace("__", "/", 1)
