"""Dagster's instance of an installation: its folder, its `dagster.yaml` and the runs that a killed process left.

Belongs here: SQLite or Postgres storage, telemetry off, run monitoring, clearing dead runs.
Does not belong here: definitions, and starting servers (`cli`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import filelock
import psutil
import yaml
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunsFilter

from tokengov_pipelines.settings import DAGSTER_POSTGRES_URL_VARIABLE, Installation

PROCESS_TAG = "tokengov/process"


def write_dagster_home(installation: Installation) -> Path:
    """Write `dagster.yaml` for SQLite, or for Postgres where its URL is set, and export DAGSTER_HOME.

    The URL itself stays in the environment. SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, which
    dagster-postgres does not use, so the driver is named.
    """
    folder = installation.dagster_home
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, object] = {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 10, "start_timeout_seconds": 180},
        "concurrency": {"runs": {"max_concurrent_runs": 2}},
    }
    url = os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE)
    if url:
        os.environ[DAGSTER_POSTGRES_URL_VARIABLE] = _with_driver(url)
        content["storage"] = {"postgres": {"postgres_url": {"env": DAGSTER_POSTGRES_URL_VARIABLE}}}
    target = folder / "dagster.yaml"
    text = "# Written by tokengov at every start; settings belong in tokengov.yaml.\n" + yaml.safe_dump(content)
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        temporary = folder / f"dagster.yaml.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def _with_driver(url: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg2://{rest}" if scheme in {"postgres", "postgresql"} else f"{scheme}://{rest}"


@contextmanager
def open_instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    """The installation's Dagster instance, created once even when several processes start together."""
    folder = write_dagster_home(installation)
    with filelock.FileLock(folder / "create.lock"):
        instance = dg.DagsterInstance.from_config(str(folder))
        instance.get_runs(limit=1)
    with instance:
        yield instance


def process_tag() -> dict[str, str]:
    """A run tag that identifies this process beyond the reuse of its number."""
    return {PROCESS_TAG: f"{os.getpid()}@{psutil.Process().create_time():.2f}"}


def clear_dead_runs(instance: dg.DagsterInstance, *, include_servers: bool) -> list[str]:
    """Mark as failed the runs that look alive but whose process is gone; returns their ids.

    Args:
        instance: the Dagster instance.
        include_servers: also clear runs that a webserver or daemon had started; only right while none is running.
    """
    cleared = []
    for run in instance.get_runs(filters=RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))):
        tag = run.tags.get(PROCESS_TAG)
        if tag is None and not include_servers:
            continue
        if tag is not None and _is_alive(tag):
            continue
        instance.report_run_failed(
            run, "The process of this run is gone (killed or the machine stopped). Run it again."
        )
        cleared.append(run.run_id)
    return cleared


def _is_alive(tag: str) -> bool:
    number, _, started = tag.partition("@")
    try:
        process = psutil.Process(int(number))
        return f"{process.create_time():.2f}" == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
