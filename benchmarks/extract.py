"""Extraction against a bare COPY: rows a second from the same Postgres in the same run, and peak memory.

`python -m benchmarks.extract` puts two days of calls with 10 KB of metadata each into an embedded Postgres, one with
four times the rows of the other. The product's extraction of a day (rows into Parquet, the count that verifies them,
hash, control totals, the pointer) takes turns with `COPY (the same query) TO STDOUT (format binary)` into nothing.
"""

import datetime as dt
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import psycopg2
import typer
from rich.console import Console
from rich.progress import Progress, track

from benchmarks.home import running_home
from benchmarks.measure import BenchmarkError, describe_machine, errors_in_words, folder_of, run_task
from resources.litellm import LiteLLMPostgres
from tokengov_pipelines.demo.calls import generate_day
from tokengov_pipelines.demo.litellm_database import connect, copy_into
from tokengov_pipelines.demo.metering import money_of
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.spend_logs import COLUMNS, copy_lines, rows_of
from tokengov_pipelines.demo.traffic import build_plan
from tokengov_pipelines.settings import LITELLM_URL_VARIABLE

GOAL = 0.85
MEMORY_GOAL_MB = 400
DAYS = ("2026-10-13", "2026-10-14")  # Tuesday and Wednesday
METADATA_BYTES = 10_000
_METADATA = COLUMNS.index("metadata")
_PADDINGS = 997


@dataclass(frozen=True)
class Extraction:
    """What was measured of one day: best seconds of both ways, and the product's peak memory."""

    rows: int
    product: float
    bare_copy: float
    peak_mb: float

    @property
    def ratio(self) -> float:
        """The product's rows a second as a share of the bare COPY's."""
        return self.bare_copy / self.product


def measure(folder: Path, rows: int, rounds: int, console: Console) -> list[Extraction]:
    """Fill the database where it is not filled yet, and measure both days.

    Raises:
        BenchmarkError: two extractions of a day gave different bytes, or not every row.
    """
    with running_home(folder) as home:
        counts = (rows, 4 * rows)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("filling LiteLLM_SpendLogs", total=sum(counts))
            for day, count in zip(DAYS, counts, strict=True):
                _fill(home.owner_url, day, count)
                progress.advance(task, count)
        return [_measure_day(folder, day, count, rounds, console) for day, count in zip(DAYS, counts, strict=True)]


def _measure_day(folder: Path, day: str, rows: int, rounds: int, console: Console) -> Extraction:
    url = os.environ[LITELLM_URL_VARIABLE]
    query = LiteLLMPostgres(url=url).day_query(dt.date.fromisoformat(day))
    products, copies, peaks, loads = [], [], [], set()
    for _ in track(range(rounds), f"{rows:,} rows: COPY and extraction in turns", console=console, transient=True):
        copies.append(_bare_copy(url, query))
        done = run_task("extract_by_product", url=url, day=day, folder=str(folder / "measured"))
        products.append(done.result["seconds"])
        peaks.append(done.peak_mb)
        loads.add((done.result["rows"], done.result["load"]))
    if len(loads) != 1 or next(iter(loads))[0] != rows:
        message = f"{day}: {rows} rows were read as {sorted(loads)} (rows, load)"
        raise BenchmarkError(message)
    return Extraction(rows, min(products), min(copies), max(peaks))


class _Nothing(io.RawIOBase):
    """A file that forgets what is written."""

    def write(self, data: object) -> int:
        """Forget it."""
        return len(data)  # type: ignore[arg-type]


def _bare_copy(url: str, query: str) -> float:
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    try:
        with connection.cursor() as cursor:
            started = perf_counter()
            cursor.copy_expert(f"copy ({query}) to stdout (format binary)", _Nothing(), 1 << 20)
            return perf_counter() - started
    finally:
        connection.close()


def _fill(owner_url: str, day: str, rows: int) -> None:
    """Calls of the demo's organisation on a day, with metadata of LiteLLM's size; a filled day is left as it is."""
    connection = connect(owner_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute('select count(*) from "LiteLLM_SpendLogs" where "startTime"::date = %s', (day,))
            held = cursor.fetchone() or (0,)
            if held[0] != rows:
                cursor.execute('delete from "LiteLLM_SpendLogs" where "startTime"::date = %s', (day,))
                copy_into(connection, "LiteLLM_SpendLogs", COLUMNS, _lines(day, rows))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute('vacuum analyze "LiteLLM_SpendLogs"')
    finally:
        connection.close()


def _lines(day: str, rows: int) -> Iterator[str]:
    organisation = build_organisation()
    plan = next(plan for plan in build_plan(organisation, 200_000, seed=1) if plan.day.isoformat() == day)
    calls = generate_day(organisation, replace(plan, calls=rows), seed=1)
    paddings = [_padding(number) for number in range(_PADDINGS)]
    for number, line in enumerate(copy_lines(rows_of(organisation, calls, money_of(calls)))):
        fields = line.split("\t")
        fields[_METADATA] = f"{fields[_METADATA][:-1]},{paddings[number % _PADDINGS]}}}"
        yield "\t".join(fields)


def _padding(number: int) -> str:
    """JSON members that LiteLLM would write and that nobody reads: half of each repeats, half does not."""
    digits = hashlib.sha256(str(number).encode()).hexdigest()
    size = METADATA_BYTES - 1_200
    members = (
        f'"unread_field_{at}":"{digits[at % 32 : at % 32 + 28]}{at * number % 9973:06d}"' for at in range(size // 56)
    )
    return ",".join(members)


def main(
    rows: Annotated[int, typer.Option(help="Rows of the smaller day; the other one has four times as many.")] = 30_000,
    rounds: Annotated[int, typer.Option(help="Turns of which the best counts.")] = 5,
    folder: Annotated[Path | None, typer.Option(help="Keep the database here; default: a temporary folder.")] = None,
) -> None:
    """Measure extraction from LiteLLM's Postgres against a bare COPY of the same query."""
    console = Console()
    describe_machine(console)
    with folder_of(folder) as place, errors_in_words(console):
        results = measure(place, rows, rounds, console)
    for each in results:
        console.print(
            f"{each.rows:,} rows: product {each.rows / each.product:,.0f} rows/s, "
            f"bare COPY {each.rows / each.bare_copy:,.0f} rows/s, ratio {each.ratio:.2f} (goal {GOAL}); "
            f"peak memory {each.peak_mb:.0f} MB (goal {MEMORY_GOAL_MB})",
            highlight=False,
        )


if __name__ == "__main__":
    typer.run(main)
