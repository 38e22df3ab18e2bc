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
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunsFilter
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX, REPOSITORY_LABEL_TAG
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tokengov_pipelines.settings import DAGSTER_POSTGRES_URL_VARIABLE, Installation

PROCESS_TAG = f"{HIDDEN_TAG_PREFIX}tokengov_process"  # hidden in the UI's lists of runs
LOCATION = "tokengov"  # as workspace.yaml names it

_INSTANCE = """\
# Written by tokengov at every start; settings belong in tokengov.yaml.

telemetry: {enabled: false}
nux: {enabled: false}          # no form that asks for an e-mail address at the first visit

# One process writes the warehouse. A second run reads its sources meanwhile and waits for the warehouse's own lock,
# which ends with its holder. A Dagster pool would not (after a kill its slot stays claimed), so there is none.
concurrency:
  runs: {max_concurrent_runs: 2}

# A run worker that dies is seen by the code server that started it, within a second, and its run is marked as failed;
# `tokengov ui` ends, and clears all runs, when the code server dies. What is left for monitoring is a run that
# never starts, or never obeys when it is told to stop (its dbt has 25 s to do so). With this launcher Dagster can
# neither ask a worker for its health nor resume a run, so no setting for that would have an effect.
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
"""
_POSTGRES = f"""
# Runs, events and schedules; the URL with its password stays in the environment.
storage:
  postgres:
    postgres_url: {{env: {DAGSTER_POSTGRES_URL_VARIABLE}}}
"""


class DagsterHomeError(RuntimeError):
    """Dagster's storage cannot be opened; the text says which, why and what to do, without a password."""


def write_dagster_home(installation: Installation) -> Path:
    """Write `dagster.yaml` for SQLite, or for Postgres where its URL is set, and export DAGSTER_HOME.

    The URL itself stays in the environment. SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, which
    dagster-postgres does not use, so the driver is named.
    """
    folder = installation.dagster_home
    folder.mkdir(parents=True, exist_ok=True)
    url = os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE)
    if url:
        os.environ[DAGSTER_POSTGRES_URL_VARIABLE] = _with_driver(url)
    text = _INSTANCE + (_POSTGRES if url else "")
    target = folder / "dagster.yaml"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        temporary = folder / f"dagster.yaml.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def _with_driver(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg2://{rest}" if scheme in {"postgres", "postgresql"} else url


@contextmanager
def open_instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    """The installation's Dagster instance, created once even when several processes start together.

    Raises:
        DagsterHomeError: its storage cannot be reached or opened.
    """
    folder = write_dagster_home(installation)
    with filelock.FileLock(folder / "create.lock"):
        try:
            instance = dg.DagsterInstance.from_config(str(folder))
            instance.get_runs(limit=1)
        except _storage_errors() as error:
            raise DagsterHomeError(_why_closed(folder, error)) from error
    with instance:
        yield instance


def _storage_errors() -> tuple[type[Exception], ...]:
    """Looked up when something failed: the import takes seconds, and only a home on Postgres has paid for it."""
    if os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE):
        from dagster_postgres.utils import DagsterPostgresException

        return SQLAlchemyError, DagsterPostgresException
    return (SQLAlchemyError,)


def _why_closed(folder: Path, error: Exception) -> str:
    cause = error.__cause__ if error.__cause__ and not isinstance(error, SQLAlchemyError) else error
    words = str(getattr(cause, "orig", None) or cause).strip()
    url = os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE)
    if not url:
        return f"Dagster's storage in {folder} cannot be opened: {words}. Fix: check the folder's disk and permissions."
    try:
        where = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        where, words = "its URL", "this is no database URL"
    return (
        f"Dagster's Postgres at {where} cannot be opened: {words}. "
        f"Fix: check {DAGSTER_POSTGRES_URL_VARIABLE} (postgresql://user:password@host:port/database) and the server."
    )


def command_line_tags() -> dict[str, str]:
    """Tags of a run in this process: the process, beyond the reuse of its number, and the home of its job in the UI."""
    return {
        PROCESS_TAG: f"{os.getpid()}@{psutil.Process().create_time():.2f}",
        REPOSITORY_LABEL_TAG: f"{SINGLETON_REPOSITORY_NAME}@{LOCATION}",
    }


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
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:  # it ended, and its process with it, since it was listed
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
