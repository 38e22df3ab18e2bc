"""Seeding a demo: Postgres, directory, invoices, provider books and the answers, all from (calls, seed).

Belongs here: the order of the steps, and being safe to repeat. Does not belong here: any of the parts.

What tells a finished seeding from a half one is the row in `tokengov_demo.seed` (schema of our own beside LiteLLM's
tables) and the file `demo_seed.json` in the home, both written last. Nothing is taken over from a half seeding.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that psycopg2 names in lower case

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import generate_day
from tokengov_pipelines.demo.daily_sums import DailySums
from tokengov_pipelines.demo.documents import GROUND_TRUTH_FILE, write_documents, write_text
from tokengov_pipelines.demo.entities import insert_entities
from tokengov_pipelines.demo.ground_truth import GroundTruth, build_ground_truth
from tokengov_pipelines.demo.invoices import build_invoices
from tokengov_pipelines.demo.lake_rows import WriteDay, write_lake
from tokengov_pipelines.demo.litellm_database import (
    TABLES,
    connect,
    copy_spend_logs,
    create_indices,
    create_tables,
)
from tokengov_pipelines.demo.metering import money_of
from tokengov_pipelines.demo.organisation import Organisation, build_organisation
from tokengov_pipelines.demo.provider_books import PROVIDER_BOOKS_FILE, build_provider_books
from tokengov_pipelines.demo.providers.books_file import books_to_json
from tokengov_pipelines.demo.spend_logs import Rows, rows_of
from tokengov_pipelines.demo.tally import Tally
from tokengov_pipelines.demo.traffic import DayPlan, build_plan

Progress = Callable[[str, float], None]

LARGEST_IN_POSTGRES: Final = 1_000_000
"""Above this the rows go straight into the lake's Parquet; Postgres keeps the entities and the daily sums."""

SMALLEST: Final = 2_000
MARKER_FILE: Final = "demo_seed.json"

_VERSION: Final = 2
"""Raised whenever the same (calls, seed) would give other data."""


class SeedError(RuntimeError):
    """The demo cannot be seeded here. The text says why and what to do."""


def seed_demo(
    home: Path,
    postgres_url: str,
    calls: int,
    seed: int,
    progress: Progress,
    *,
    write_day: WriteDay | None = None,
    largest_in_postgres: int = LARGEST_IN_POSTGRES,
) -> GroundTruth:
    """Fill LiteLLM's database at `postgres_url` and write the files of the demo's home.

    The files are directory/, invoices/, provider_books.json and ground_truth.json.

    `progress` gets what is being done and the fraction done. A second call with the same (calls, seed) returns at once;
    a half seeding is built anew. For more than `largest_in_postgres` calls the rows of each UTC day go to `write_day`
    as a table of `raw/litellm_spend_logs` instead, and into no SpendLogs table.

    Raises:
        SeedError: other parameters than last time, a database with LiteLLM tables that the demo did not make, too few
            calls, or a large run without `write_day`.
    """
    parameters = {"version": _VERSION, "calls": calls, "seed": seed}
    past_postgres = calls > largest_in_postgres
    _check_parameters(home, parameters)
    if past_postgres and write_day is None:
        message = (
            f"{calls} calls go into the lake, not into Postgres (more than {largest_in_postgres}), and no `write_day` "
            "was given. Fix: pass the lake's writer, or ask for fewer calls."
        )
        raise SeedError(message)
    connection = connect(postgres_url)
    try:
        state = _read_marker(connection, parameters)
        if state == "complete" and all((home / name).exists() for name in (MARKER_FILE, PROVIDER_BOOKS_FILE)):
            progress("the demo is seeded already", 1.0)
            return GroundTruth.from_json((home / GROUND_TRUTH_FILE).read_text(encoding="utf-8"))
        run = _Run(home, connection, parameters, progress, write_day if past_postgres else None)
        return run.documents_only() if state == "complete" and not past_postgres else run.everything()
    finally:
        connection.close()


class _Run:
    """One seeding, from start to end."""

    def __init__(
        self,
        home: Path,
        connection: Connection,
        parameters: dict[str, int],
        progress: Progress,
        write_day: WriteDay | None,
    ) -> None:
        self.home, self.connection, self.parameters, self.progress = home, connection, parameters, progress
        self.write_day = write_day
        self.organisation: Organisation = build_organisation()
        self.plan = build_plan(self.organisation, parameters["calls"], parameters["seed"])
        self.tally = Tally(self.organisation)
        self.daily = DailySums()

    def everything(self) -> GroundTruth:
        """Database and files."""
        _start_marker(self.connection, self.parameters)
        with self.connection:
            create_tables(self.connection)
            insert_entities(self.connection, self.organisation)
            if self.write_day is None:
                copy_spend_logs(self.connection, self._days("writing LiteLLM_SpendLogs"))
            else:
                write_lake(
                    self._days("writing the lake's Parquet directly: too many calls for Postgres"), self.write_day
                )
            self.progress("writing LiteLLM's daily sums and indices", 0.9)
            self.daily.insert(self.connection)
            create_indices(self.connection)
        truth = self._write_files()
        _finish_marker(self.connection)
        return truth

    def documents_only(self) -> GroundTruth:
        """The database is complete and the files are not: count again and write them."""
        for _ in self._days("counting the calls again"):
            pass
        return self._write_files()

    def _days(self, what: str) -> Iterator[Rows]:
        for number, plan in enumerate(self.plan):
            rows = self._day(plan)
            self.tally.add(rows.calls, rows.money)
            self.daily.add(rows)
            self.progress(what, 0.9 * number / len(self.plan))
            yield rows

    def _day(self, plan: DayPlan) -> Rows:
        calls = generate_day(self.organisation, plan, self.parameters["seed"])
        return rows_of(self.organisation, calls, money_of(calls))

    def _write_files(self) -> GroundTruth:
        self.progress("writing directory, invoices, provider books and the answers", 0.98)
        invoices = {month: build_invoices(month, self.tally.months[month]) for month in incidents.INVOICED_MONTHS}
        truth = build_ground_truth(self.tally, invoices, self.parameters["seed"])
        write_documents(self.home, self.organisation, invoices, truth)
        write_text(self.home / PROVIDER_BOOKS_FILE, books_to_json(build_provider_books(self.tally)))
        write_text(self.home / MARKER_FILE, json.dumps(self.parameters) + "\n")
        self.progress("the demo is seeded", 1.0)
        return truth


def _check_parameters(home: Path, parameters: dict[str, int]) -> None:
    calls = parameters["calls"]
    if calls < SMALLEST:
        message = f"{calls} calls are too few to hold every planted incident. Fix: ask for at least {SMALLEST}."
        raise SeedError(message)
    marker = home / MARKER_FILE
    if marker.exists():
        _refuse_other(json.loads(marker.read_text(encoding="utf-8")), parameters, str(home))


def _refuse_other(before: dict[str, Any], parameters: dict[str, int], where: str) -> None:
    if before != parameters:
        was, now = (", ".join(f"{name} {value}" for name, value in p.items()) for p in (before, parameters))
        message = (
            f"{where} holds a demo made with other parameters ({was}; now {now}). Fix: run `make demo-clean` first."
        )
        raise SeedError(message)


def _read_marker(connection: Connection, parameters: dict[str, int]) -> str:
    """absent, started or complete."""
    with connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass('tokengov_demo.seed') is not null")
        if not cursor.fetchone()[0]:  # type: ignore[index]
            cursor.execute("select tablename from pg_tables where schemaname = 'public' and tablename = any(%s)",
                           (list(TABLES),))  # fmt: skip
            foreign = cursor.fetchone()
            if foreign is not None:
                message = (
                    f"The database holds the table {foreign[0]}, which no demo made. The demo would drop it. "
                    "Fix: give the demo a database of its own."
                )
                raise SeedError(message)
            return "absent"
        cursor.execute("select parameters, complete from tokengov_demo.seed")
        row = cursor.fetchone()
    if row is None:
        return "absent"
    before, complete = row
    if complete:
        _refuse_other(before, parameters, "The database")
    return "complete" if complete else "started"


def _start_marker(connection: Connection, parameters: dict[str, int]) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("create schema if not exists tokengov_demo")
        cursor.execute(
            "create table if not exists tokengov_demo.seed (parameters jsonb not null, complete boolean not null)"
        )
        cursor.execute("delete from tokengov_demo.seed")
        cursor.execute("insert into tokengov_demo.seed values (%s, false)", (json.dumps(parameters),))


def _finish_marker(connection: Connection) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("update tokengov_demo.seed set complete = true")
