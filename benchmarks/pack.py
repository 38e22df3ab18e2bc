"""The whole pack from a month's rollups: close, data files, XLSX, HTML and PDF, with 20,000 lines of detail.

`python -m benchmarks.pack` makes the inputs of a month in memory (teams x models x use cases, an invoice with credit
and tax), closes it and makes its pack, step by step, and prints the seconds of each step and its share. The yardstick
in the same run is writing the same detail rows with Python's csv module and nothing else.
"""

import csv
import datetime as dt
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import typer
from rich.console import Console

from benchmarks.measure import BenchmarkError, describe_machine, errors_in_words
from resources.directory import DIRECTORY_SCHEMAS
from resources.invoices import INVOICES_SCHEMA, invoice_rows
from resources.price_book import provider_slugs, shipped_files, tables_of
from tokengov_pipelines.closing import inputs as names
from tokengov_pipelines.closing.closed_month import close_month
from tokengov_pipelines.closing.input_files import input_files, read_input_files
from tokengov_pipelines.closing.inputs import MonthFacts, MonthInputs
from tokengov_pipelines.closing.leg_tables import DRILL_GRAIN, LOG_GRAIN, LOG_SUMS
from tokengov_pipelines.closing.pack_files import pack_of
from tokengov_pipelines.closing.reperformance import differing, performed_again
from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.price_files import read_book
from tokengov_pipelines.domain.price_review import book_sha256
from tokengov_pipelines.policy import Policy

GOAL_SECONDS = 20.0
MODELS = 10
MONTH = BillingMonth(2026, 10)
PROVIDER = "anthropic"
COST_CENTERS, USE_CASES = 20, ("autocomplete", "code-review", "refactor", "autonomous-agent", "untagged")
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
T = TypeVar("T")


@dataclass
class Steps:
    """The seconds of each step, in order."""

    seconds: dict[str, float]

    def measure(self, name: str, work: Callable[[], T]) -> T:
        """Do a step and keep its seconds."""
        started = time.perf_counter()
        done = work()
        self.seconds[name] = time.perf_counter() - started
        return done


def month_inputs(lines: int) -> MonthInputs:
    """The inputs of a month whose drill table has about `lines` lines: a direct one and a true-up for each use."""
    content, _, _ = read_book(shipped_files(), {}, provider_slugs())
    prices = tables_of(content, book_sha256(content))
    models = sorted({each.model for each in content.aliases if each.provider == PROVIDER})[:MODELS]
    teams = max(1, lines // (2 * len(models) * len(USE_CASES)))
    rows = [
        {
            "usage_date": MONTH.first_day + dt.timedelta(days=(team + at) % 31),
            "provider": PROVIDER,
            "model": model,
            "service_tier": "standard",
            "context_over_tokens": 0,
            "call_class": "call",
            "cost_center": f"CC-{100 + team % COST_CENTERS}",
            "rung": "team_metadata",
            "team_id": f"team-{team:04d}",
            "use_case": use_case,
            "calls": 10,
            "calls_without_usage": 0,
            "uncached_input_tokens": 10_000 + 7 * team + at,
            "cache_read_tokens": 5_000,
            "cache_write_5m_tokens": 0,
            "cache_write_1h_tokens": 0,
            "output_tokens": 3_000 + team,
            "logged_spend_usd": Decimal(f"0.{1000 + team + at:06d}"),
        }
        for team in range(teams)
        for at, model in enumerate(models)
        for use_case in USE_CASES
    ]
    usage = pa.Table.from_pylist(rows, schema=_usage_schema())
    codes = [*(f"CC-{100 + at}" for at in range(COST_CENTERS)), "CC-900-SUSPENSE", "CC-990-CENTRAL"]
    centers = [
        {"code": code, "name": code, "legal_entity": "Acme" if at % 3 else "Acme GmbH", "successor": None,
         "valid_from": dt.date(2020, 1, 1), "valid_to": None}
        for at, code in enumerate(codes)
    ]  # fmt: skip
    names_of_teams = [
        {"team_id": f"team-{at:04d}", "team_name": f"Team {at}", "cost_center": f"CC-{100 + at % COST_CENTERS}",
         "valid_from": dt.date(2020, 1, 1), "valid_to": None}
        for at in range(teams)
    ]  # fmt: skip
    dated = {"valid_from": pa.date32(), "valid_to": pa.date32()}
    logged = sum((Decimal(str(row["logged_spend_usd"])) for row in rows), Decimal(0))
    tables = {
        names.USAGE_CELLS: usage,
        names.INVOICES: pa.Table.from_pylist(invoice_rows(_invoice(logged)), schema=INVOICES_SCHEMA),
        **prices,
        names.COST_CENTERS: _table(names.COST_CENTERS, centers, dated),
        names.TEAMS: _table(names.TEAMS, names_of_teams, dated),
        names.PROVIDER_KEYS: DIRECTORY_SCHEMAS["provider_keys"].empty_table(),
    }
    facts = MonthFacts(
        month=MONTH,
        days=InvoicePeriod(MONTH.first_day, MONTH.next().first_day),
        as_of=MONTH.next().first_day,
        exceptions_on=MONTH.next().first_day,
        reporting=(),
        missing_log_days=(),
        missing_report_days={},
        over_midnight=(),
    )
    return MonthInputs(facts, Policy(), tables, provider_slugs())


def _usage_schema() -> pa.Schema:
    types: dict[str, pa.DataType] = {"usage_date": pa.date32(), "context_over_tokens": pa.int64()}
    grain = [(name, types.get(name, pa.string())) for name in (*LOG_GRAIN, *DRILL_GRAIN)]
    sums = [(name, pa.decimal128(38, 12) if name == "logged_spend_usd" else pa.int64()) for name in LOG_SUMS]
    return pa.schema([*grain, *sums])


def _table(name: str, rows: list[dict[str, Any]], types: Mapping[str, pa.DataType]) -> pa.Table:
    schema = pa.schema([(column, types.get(column, pa.string())) for column in names.TABLE_COLUMNS[name]])
    return pa.Table.from_pylist(rows, schema=schema)


def _invoice(logged: Decimal) -> Invoice:
    usage = logged.quantize(Decimal("0.01")) + Decimal("1.00")
    lines = (
        InvoiceLine(1, "usage", usage, description="API usage"),
        InvoiceLine(2, "credit", Decimal("-10.00"), description="credit"),
        InvoiceLine(3, "tax", Decimal("20.00"), description="tax"),
    )
    return Invoice(
        source_file="bench.json",
        provider=PROVIDER,
        account="bench",
        invoice_id="BENCH-2026-10",
        invoice_date=MONTH.next().first_day,
        period_start=MONTH.first_day,
        period_last_day=MONTH.last_day,
        currency="USD",
        lines=lines,
        lines_total=usage,
        credits_total=Decimal("-10.00"),
        tax_total=Decimal("20.00"),
        total=usage + Decimal("10.00"),
    )


def _bare_csv(rows: list[list[object]]) -> int:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return len(buffer.getvalue())


def main(
    lines: Annotated[int, typer.Option(help="Lines of the drill table.")] = 20_000,
) -> None:
    """Measure a month from its inputs to the finished pack."""
    console = Console()
    describe_machine(console)
    with errors_in_words(console):
        _measure(lines, console)


def _measure(lines: int, console: Console) -> None:
    inputs = month_inputs(lines)
    steps = Steps({})
    closed = steps.measure("close (match, charges, journal)", lambda: close_month(inputs, 1))
    if closed.charges.problems:
        message = f"the month cannot be charged: {closed.charges.problems[0]}"
        raise BenchmarkError(message)
    sealed = steps.measure("inputs/ as Parquet and JSON", lambda: input_files(inputs))
    content = steps.measure("files, XLSX, HTML, PDF", lambda: pack_of(closed, sealed))
    again = steps.measure("performed again from inputs/", lambda: performed_again(content.files))
    if differing(content.files, again):
        message = f"the pack is not what its inputs make: {', '.join(differing(content.files, again))}"
        raise BenchmarkError(message)
    detail = [list(vars(line).values()) for line in closed.charges.detail]
    bare = Steps({})
    bare.measure("csv", lambda: _bare_csv(detail))
    total = sum(steps.seconds.values()) - steps.seconds["performed again from inputs/"]
    console.print(f"\n{len(detail):,} lines of detail, {len(content.files)} files", **PLAIN)
    for name, seconds in steps.seconds.items():
        console.print(f"{name:<34}{seconds:7.2f} s", **PLAIN)
    console.print(f"{'together, without the last':<34}{total:7.2f} s (goal {GOAL_SECONDS:.0f})", **PLAIN)
    console.print(f"{'the detail with the csv module':<34}{bare.seconds['csv']:7.2f} s", **PLAIN)
    console.print(f"ratio {total / bare.seconds['csv']:.0f}", **PLAIN)
    read = replace(read_input_files(sealed), slugs=inputs.slugs)
    if read.facts != inputs.facts:
        message = "the inputs are not read back as they were written"
        raise BenchmarkError(message)


if __name__ == "__main__":
    typer.run(main)
