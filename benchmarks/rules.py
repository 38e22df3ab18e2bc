"""The rules after dbt: a month of three providers with forty models each, matched, and a day after any history.

`python -m benchmarks.rules` writes what dbt would have exported and what the lake would hold into a home
(`benchmarks.generated_month`), and measures what an installation does with them: reading the month's inputs, the match
of each invoice, keys, findings and open items. The seconds are those of this process, its imports done, the best of
several runs. With `--built HOME` they are divided by the seconds that dbt took for the days of that home (one that
`python -m benchmarks.close --folder` left). Then one day is matched after a short and after a long history: the same
rows, the same bytes.
"""

import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from assets.cycle_search import paused_cycle_search
from assets.known_month import month_to_date
from assets.month_inputs import gather_month_inputs
from benchmarks.generated_month import MONTH, REPORTING, TIERS, home_of
from benchmarks.measure import BenchmarkError, describe_machine, errors_in_words, folder_of
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.findings import judge
from tokengov_pipelines.closing.inputs import MonthInputs
from tokengov_pipelines.closing.match import MatchInputs, match_month_inputs
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.pricing import TOKEN_TYPES
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation

GOAL_SECONDS = 3.0
TOLERANCE = 0.02
"""Bytes that a day reads may differ by this much: Parquet of another day compresses differently."""

PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}


@dataclass(frozen=True)
class MonthRun:
    """The rules of one month: what they read and made, and the seconds of their parts."""

    cells: int
    rows: int
    reconciliations: int
    keys: int
    items: int
    reading: float
    matching: float
    judging: float

    @property
    def seconds(self) -> float:
        """All of it: reading, matching, judging."""
        return self.reading + self.matching + self.judging


@dataclass(frozen=True)
class DayRun:
    """The match of one day after `history` days."""

    history: int
    cells: int
    rows: int
    bytes_read: int
    seconds: float


def measure_month(folder: Path, models: int, repeats: int) -> MonthRun:
    """Write the month where it is not there yet, and run the rules on it; the fastest of so many runs.

    Raises:
        BenchmarkError: the match is not what was written: a gap beside rounding and the foreign key.
    """
    installation, lake, tables = home_of(folder, models, MONTH.days(), invoiced=True)
    ledger = _opened(installation)
    runs = [_measure_month(installation, lake, tables, ledger, models) for _ in range(repeats)]
    return min(runs, key=lambda run: run.seconds)


def _measure_month(installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, models: int) -> MonthRun:
    with paused_cycle_search():  # as the assets do
        started = time.perf_counter()
        inputs: MonthInputs = gather_month_inputs(installation, lake, tables, ledger, MONTH)
        read = time.perf_counter()
        match = match_month_inputs(inputs)
        matched = time.perf_counter()
        found = judge(inputs, match)
        judged = time.perf_counter()
    _must_be_clean(match.reconciliations, models)
    return MonthRun(
        cells=sum(len(each.cells) for each in match.reconciliations),
        rows=_rows(match.inputs),
        reconciliations=len(match.reconciliations),
        keys=len(found.keys),
        items=len(found.items),
        reading=read - started,
        matching=matched - read,
        judging=judged - matched,
    )


def measure_days(folder: Path, models: int, histories: Sequence[int]) -> list[DayRun]:
    """Match the day after so many days of history, in homes of their own.

    Raises:
        BenchmarkError: the day read other rows after another history, or more bytes than `TOLERANCE` allows.
    """
    runs = [_measure_day(folder / f"history-{days}", models, days) for days in histories]
    if len({(run.cells, run.rows) for run in runs}) != 1:
        message = f"the day has other rows after another history: {runs}"
        raise BenchmarkError(message)
    most, least = max(run.bytes_read for run in runs), min(run.bytes_read for run in runs)
    if most > least * (1 + TOLERANCE):
        message = f"the day read {least:,} bytes after one history and {most:,} after another: {runs}"
        raise BenchmarkError(message)
    return runs


def _measure_day(folder: Path, models: int, history: int) -> DayRun:
    """The first day of a month: what a daily run looks at is the month so far, which is this day alone."""
    days = [MONTH.first_day - dt.timedelta(days=back) for back in range(history, -1, -1)]
    installation, lake, tables = home_of(folder, models, days, invoiced=False)
    ledger = _opened(installation)
    process = psutil.Process()
    with paused_cycle_search():
        before, started = process.io_counters().read_chars, time.perf_counter()
        found = month_to_date(installation, lake, tables, ledger, MONTH)
        seconds, after = time.perf_counter() - started, process.io_counters().read_chars
    cells = sum(len(each.cells) for each in found.match.reconciliations)
    return DayRun(history, cells, _rows(found.match.inputs), after - before, seconds)


def _opened(installation: Installation) -> Ledger:
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    return ledger


def _rows(inputs: MatchInputs) -> int:
    return sum(len(legs.logged) + len(legs.usage or ()) + len(legs.costs or ()) for legs in inputs.legs.values())


def _must_be_clean(reconciliations: Sequence[Reconciliation], models: int) -> None:
    """Every leg was written from one table: what is left is the foreign key and the cents of the lines."""
    allowed = {Component.UNPROXIED, Component.ROUNDING}
    for each in reconciliations:
        found = {component for component, amount in each.components.items() if amount}
        expected = len(MONTH.days()) * models * len(TOKEN_TYPES) * len(TIERS)
        own = sum(1 for cell in each.cells if cell.proxy_tokens)
        if found - allowed or each.errors or own != expected or each.status != "matched":
            message = f"{each.provider}: {own} cells, {sorted(found)}, {[str(error) for error in each.errors]}"
            raise BenchmarkError(message)
        if (each.provider in REPORTING) != (Component.UNPROXIED in found):
            message = f"{each.provider}: the foreign key is not where it was written"
            raise BenchmarkError(message)


def _dbt_seconds(home: Path) -> float:
    """What dbt took for the builds that a home remembers."""
    results = sorted((home / "warehouse" / "runs").glob("*/dbt/run_results.json"))
    if not results:
        message = f"{home} remembers no build of dbt. Fix: name a folder of python -m benchmarks.close --folder."
        raise BenchmarkError(message)
    return sum(float(json.loads(path.read_text(encoding="utf-8"))["elapsed_time"]) for path in results)


def main(
    models: Annotated[int, typer.Option(help="Models of each provider.")] = 40,
    histories: Annotated[list[int] | None, typer.Option(help="Days of history, one option each.")] = None,
    repeats: Annotated[int, typer.Option(help="Runs of the month; the fastest is shown.")] = 3,
    built: Annotated[Path | None, typer.Option(help="A home that dbt built, to compare with its time.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the homes here; default: a temporary folder.")] = None,
) -> None:
    """Measure the rules after dbt on a month, and on a day after a short and after a long history."""
    console = Console()
    describe_machine(console)
    with folder_of(folder) as place, errors_in_words(console):
        month = measure_month(place / "month", models, repeats)
        console.print(
            f"{month.cells:,} cells of {month.rows:,} rows, {month.reconciliations} invoices, {month.keys} keys, "
            f"{month.items} items",
            **PLAIN,
        )
        console.print(
            f"rules    {month.seconds:7.2f} s (goal {GOAL_SECONDS}): reading {month.reading:.2f} s, matching "
            f"{month.matching:.2f} s, keys, findings and items {month.judging:.2f} s",
            **PLAIN,
        )
        if built:
            dbt = _dbt_seconds(built)
            console.print(f"dbt      {dbt:7.1f} s; the rules take {month.seconds / dbt:.3f} of it", **PLAIN)
        days = measure_days(place, models, histories or [7, 60])
        for run in days:
            console.print(
                f"a day after {run.history:,} days of history: {run.cells:,} cells of {run.rows:,} rows, "
                f"{run.bytes_read:,} bytes read, {run.seconds:.2f} s",
                **PLAIN,
            )


if __name__ == "__main__":
    typer.run(main)
