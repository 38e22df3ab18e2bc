"""A month from lake to chargeback.csv, against one hand-written DuckDB script and against pandas.

`python -m benchmarks.close` writes a month of 10 million calls into a lake, runs the production jobs on it (dbt's
daily build with its tests, the monthly one, charge, pack) and then `close_by_hand.sql`, which yields the same amounts
and keeps nothing. What the jobs cost whatever the number of calls is measured on a month of few calls and taken off.
pandas does the part that grows with the calls on the first days of the month, and its time is scaled up.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.generated_calls import month_counts, write_days
from benchmarks.home import MONTH, running_home
from benchmarks.measure import BenchmarkError, Measurement, describe_machine, errors_in_words, folder_of, run_task

GOAL = 1.5
MEMORY_GOAL_MB = 2000
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
FEW_CALLS = 3_100
"""The month whose jobs cost what they cost whatever the number of calls."""


@dataclass(frozen=True)
class Result:
    """The runs of a month of `rows` rows; `fixed` is the product on a month of few calls, where that was measured."""

    rows: int
    product: Measurement
    fixed: Measurement | None
    by_hand: Measurement
    pandas: Measurement
    sample_by_hand: Measurement

    @property
    def ratio(self) -> float:
        """The product's seconds beyond its fixed part, in those of the hand-written script."""
        return (self.jobs(self.product) - self.fixed_seconds) / float(self.by_hand.result["seconds"])

    @property
    def fixed_seconds(self) -> float:
        """What the jobs cost whatever the number of calls."""
        return self.jobs(self.fixed) if self.fixed else 0.0

    @property
    def cpu_ratio(self) -> float:
        """The same in seconds of processor time, which depend less on what else the machine does."""
        fixed = self.fixed.cpu_seconds if self.fixed else 0.0
        return (self.product.cpu_seconds - fixed) / self.by_hand.cpu_seconds

    @property
    def pandas_seconds(self) -> float:
        """pandas for the whole month, scaled by rows."""
        return float(self.pandas.result["seconds"]) * self.rows / int(self.pandas.result["rows"])

    @staticmethod
    def jobs(run: Measurement) -> float:
        """Seconds of both jobs."""
        return float(run.result["load_days"]) + float(run.result["prepare_month"])


def measure(
    folder: Path, calls: int, sample_days: int, console: Console, *, rounds: int = 3, with_fixed: bool = True
) -> Result:
    """Make the months where they are not there yet, and run everything on them; the fastest of `rounds` turns counts.

    The ways take turns, so that other work on the machine meets all of them. `with_fixed` measures the fixed part.

    Raises:
        BenchmarkError: the amounts or tokens of the ways differ.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        if with_fixed:
            _month(folder / "few", FEW_CALLS, progress)
        rows = _month(folder / "month", calls, progress)
        task = progress.add_task("measuring", total=2 + rounds * (3 if with_fixed else 2))
        arguments: dict[str, object] = {"home": str(folder / "month"), "month": str(MONTH)}
        fixed_runs, products, hands = [], [], []
        for _ in range(rounds):
            if with_fixed:
                fixed_runs.append(_product(progress, task, folder / "few"))
            # The product's turn also loads the entities that the others read.
            products.append(_product(progress, task, folder / "month"))
            hands.append(_step(progress, task, "by hand", "close_by_hand", arguments))
        fixed = min(fixed_runs, key=Result.jobs, default=None)
        product = min(products, key=Result.jobs)
        by_hand = min(hands, key=lambda run: float(run.result["seconds"]))
        arguments |= {"days": sample_days}
        pandas = _step(progress, task, "pandas", "sums_by_pandas", arguments)
        sample = _step(progress, task, "the same days by hand", "sums_by_hand", arguments)
    _must_agree("chargeback.csv", product.result["lines"], by_hand.result["lines"])
    for key in ("identities", "spend", "tokens"):
        _must_agree(f"pandas: {key}", pandas.result[key], sample.result[key])
    return Result(rows, product, fixed, by_hand, pandas, sample)


def _month(folder: Path, calls: int, progress: Progress) -> int:
    """Write a month of calls unless it is there; returns its rows."""
    with running_home(folder) as home:
        records = [home.lake.current("litellm_spend_logs", f"day={day}") for day in MONTH.days()]
        if all(records):
            return sum(record.rows for record in records if record)
        task = progress.add_task(f"writing {calls:,} calls", total=1)
        now = home.installation.settings.now()
        return write_days(
            home.lake, month_counts(MONTH, calls), now, lambda share: progress.update(task, completed=share)
        )


def _product(progress: Progress, task: Any, folder: Path) -> Measurement:
    """The jobs on a home as if it were new: nothing built, nothing booked."""
    with running_home(folder):
        for name in ("warehouse", "tables", "packs", "dagster"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "ledger.db").unlink(missing_ok=True)
        return _step(
            progress, task, f"jobs ({folder.name})", "close_by_product", {"home": str(folder), "month": str(MONTH)}
        )


def _step(progress: Progress, task: Any, title: str, name: str, arguments: dict[str, object]) -> Measurement:
    progress.update(task, description=f"measuring: {title}")
    done = run_task(name, **arguments)
    progress.advance(task)
    return done


def _must_agree(what: str, one: object, other: object) -> None:
    if one != other:
        message = f"{what} differs:\n{one}\n{other}"
        raise BenchmarkError(message)


def _print(result: Result, console: Console) -> None:
    load, prepare = (float(result.product.result[name]) for name in ("load_days", "prepare_month"))
    hand = float(result.by_hand.result["seconds"])
    sample = int(result.pandas.result["rows"])
    lines = len(result.product.result["lines"])
    console.print(f"{result.rows:,} rows, {lines} lines of chargeback.csv, equal to the cent", **PLAIN)
    console.print(
        f"product  {load + prepare:7.1f} s (days {load:.1f} s, month {prepare:.1f} s), "
        f"of which {result.fixed_seconds:.1f} s whatever the number of calls",
        **PLAIN,
    )
    console.print(f"by hand  {hand:7.1f} s", **PLAIN)
    console.print(
        f"ratio    {result.ratio:7.2f} (goal {GOAL}); of processor time {result.cpu_ratio:.2f}; "
        f"with the fixed part {(load + prepare) / hand:.2f}",
        **PLAIN,
    )
    console.print(
        f"memory   {result.product.peak_mb:7.0f} MB in the largest process (goal {MEMORY_GOAL_MB}), "
        f"{result.product.tree_peak_mb:.0f} MB in all; by hand {result.by_hand.peak_mb:.0f} MB",
        **PLAIN,
    )
    console.print(
        f"pandas   {result.pandas_seconds:7.1f} s (measured on {sample:,} rows and scaled; dedup, quarantine and sums "
        f"alone), {result.pandas.peak_mb:.0f} MB for these rows",
        **PLAIN,
    )


def main(
    calls: Annotated[int, typer.Option(help="Different calls of the month.")] = 10_000_000,
    sample_days: Annotated[
        int, typer.Option(help="Days that pandas gets; 5 hold 1.2 million of 10 million calls.")
    ] = 5,
    rounds: Annotated[int, typer.Option(help="Turns of which the fastest counts.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Keep the months here; default: a temporary folder.")] = None,
) -> None:
    """Measure a month from lake to chargeback.csv against a hand-written script and pandas."""
    console = Console()
    describe_machine(console)
    with folder_of(folder) as place, errors_in_words(console):
        _print(measure(place, calls, sample_days, console, rounds=rounds), console)


if __name__ == "__main__":
    typer.run(main)
