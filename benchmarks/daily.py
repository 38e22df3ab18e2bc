"""A day's build after one and after ten million calls of history: the same rows and the same bytes are read.

`python -m benchmarks.daily` fills two installations with days of equal size, fifteen in one and 149 in the other,
builds them, and then builds the next day, which is the same file in both. Read are the bytes that the dbt process asked
of the kernel; rows are those that screening counted.
"""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.counted_dbt import NOTE_VARIABLE, bytes_read, executable
from benchmarks.generated_calls import write_days
from benchmarks.home import running_home
from benchmarks.measure import BenchmarkError, describe_machine, errors_in_words, folder_of, run_task
from resources.tables import Tables
from tokengov_pipelines.demo.incidents import LOG_END

DAY = LOG_END - dt.timedelta(days=1)
"""The day that is measured; history is the days before it."""

TOLERANCE = 0.02
"""Bytes may differ by this much: DuckDB's directory of its tables grows with history, measured at 8 kB a day."""


@dataclass(frozen=True)
class DayRun:
    """The build of one day after `history` rows."""

    history: int
    rows: int
    file_bytes: int
    bytes_read: int
    seconds: float


def measure(folder: Path, calls: int, histories: Sequence[int], console: Console) -> list[DayRun]:
    """Build the day after histories of so many days of `calls` each.

    Raises:
        BenchmarkError: the day's build read other rows after a longer history, or more bytes than `TOLERANCE` allows.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        runs = [_measure(folder / f"history-{days}", calls, days, progress) for days in histories]
    if len({(run.rows, run.file_bytes) for run in runs}) != 1:
        message = f"the day has other rows after another history: {runs}"
        raise BenchmarkError(message)
    most, least = max(run.bytes_read for run in runs), min(run.bytes_read for run in runs)
    if most > least * (1 + TOLERANCE):
        message = f"the day's build read {least:,} bytes after one history and {most:,} after another: {runs}"
        raise BenchmarkError(message)
    return runs


def _measure(folder: Path, calls: int, days: int, progress: Progress) -> DayRun:
    note = folder / "read"
    with running_home(folder) as home:
        past = [DAY - dt.timedelta(days=days - number) for number in range(days)]
        task = progress.add_task(f"{days} days: writing", total=3)
        held = [home.lake.current("litellm_spend_logs", f"day={day}") for day in (*past, DAY)]
        if not all(held):
            now = home.installation.settings.now()
            write_days(
                home.lake,
                dict.fromkeys((*past, DAY), calls),
                now,
                lambda share: progress.update(task, completed=share),
            )
        place = str(home.installation.home)
        progress.update(task, completed=1, description=f"{days} days: building history")
        run_task("build_days", home=place, first=str(past[0]), last=str(past[-1]))
        progress.update(task, completed=2, description=f"{days} days: building {DAY}")
        os.environ[NOTE_VARIABLE] = str(note)
        program = str(executable(folder))
        done = run_task("build_days", home=place, first=str(DAY), last=str(DAY), dbt=program)
        progress.update(task, completed=3)
        records = [home.lake.current("litellm_spend_logs", f"day={day}") for day in past]
        screened = Tables(root=str(home.installation.tables_dir)).rows("fct_screening_daily", [f"usage_date={DAY}"])
        files = home.lake.current_files("litellm_spend_logs", [f"day={DAY}"])
        return DayRun(
            history=sum(record.rows for record in records if record),
            rows=sum(row["calls"] for row in screened),
            file_bytes=sum(Path(path).stat().st_size for path in files),
            bytes_read=bytes_read(note),
            seconds=float(done.result["seconds"]),
        )


def main(
    calls: Annotated[int, typer.Option(help="Different calls of each day.")] = 67_000,
    histories: Annotated[list[int] | None, typer.Option(help="Days of history, one option each.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the homes here; default: a temporary folder.")] = None,
) -> None:
    """Measure what a day's build reads after a short and after a long history."""
    console = Console()
    describe_machine(console)
    with folder_of(folder) as place, errors_in_words(console):
        runs = measure(place, calls, histories or [15, 149], console)
    for run in runs:
        console.print(
            f"after {run.history:,} rows of history: {run.rows:,} rows screened (a file of {run.file_bytes:,} bytes), "
            f"{run.bytes_read:,} bytes read by dbt, {run.seconds:.1f} s",
            highlight=False,
            soft_wrap=True,
        )
    most, least = max(run.bytes_read for run in runs), min(run.bytes_read for run in runs)
    console.print(f"ratio {most / least:.3f} (goal: at most {1 + TOLERANCE})", highlight=False)


if __name__ == "__main__":
    typer.run(main)
