"""The rules after dbt: a month of three providers with forty models each, matched, and a day after any history.

`python -m benchmarks.rules` writes what dbt would have exported (Parquet), the lake's price book, invoices and load
records into a home, and measures what an installation does with them: reading, the match of each invoice, keys,
findings and open items. The seconds are those of this process, its imports done. With `--built HOME` they are divided
by the seconds that dbt took for the days of that home (one that `python -m benchmarks.close --folder` left). Then one
day is matched after a short and after a long history: the same rows, the same bytes.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import psutil
import pyarrow as pa
import typer
from rich.console import Console

from assets.month_findings import gather_findings
from assets.month_reconciliation import match_month
from assets.reconciliation_inputs import gather_inputs
from benchmarks.measure import BenchmarkError, describe_machine, errors_in_words, folder_of
from resources import anthropic_tables, openai_tables
from resources.invoices import InvoiceFolder
from resources.lake import Lake, LakeTable
from resources.litellm_tables import SPEND_LOGS_LAKE
from resources.price_book import provider_slugs, shipped_files, tables_of
from resources.tables import Tables
from tokengov_pipelines.demo.invoices import invoice_json
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.money import exact_product, exact_sum, round_posting
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.price_files import read_book
from tokengov_pipelines.domain.price_review import book_sha256
from tokengov_pipelines.domain.pricing import TOKEN_TYPES, Alias, PriceRow
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.waterfall import match_usage
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation, load_installation

GOAL_SECONDS = 3.0
MONTH = BillingMonth(2026, 10)
NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
REPORTING, COARSE = ("anthropic", "openai"), "google"
"""Two providers with reports; the third has none and is matched two-way."""

TIERS = ("standard", "batch")
ACCOUNT, OWN_KEY, OTHER_KEY = "bench-prod", "key-proxy", "key-elsewhere"
COST_CENTERS = ("CC-100", "CC-200", "CC-300", "CC-400")
TOLERANCE = 0.02
"""Bytes that a day reads may differ by this much: Parquet of another day compresses differently."""

PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
_SETTINGS = f"as_of: {NOW.date()}\nlog_start: 2026-01-01\nbooks_start: 2026-01\nanthropic: {{}}\nopenai: {{}}\n"
_SOURCES = (SPEND_LOGS_LAKE, anthropic_tables.USAGE, anthropic_tables.COST, openai_tables.USAGE, openai_tables.COST)
_TEXT, _DATE, _COUNT, _USD = pa.string(), pa.date32(), pa.int64(), pa.decimal128(38, 12)
_LOG_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("usage_date", _DATE),
    *((name, _TEXT) for name in ("provider", "model", "service_tier", "call_class", "cost_center", "rung")),
    *((name, _COUNT) for name in ("context_over_tokens", "calls", "calls_without_usage")),
    *((f"{token_type}_tokens", _COUNT) for token_type in TOKEN_TYPES),
    ("logged_spend_usd", _USD),
]
_REPORT_WORDS = (
    "provider",
    "account",
    "provider_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
)
_REPORT_COLUMNS: list[tuple[str, pa.DataType]] = [("usage_date", _DATE), *((name, _TEXT) for name in _REPORT_WORDS)]
_LOG = pa.schema(_LOG_COLUMNS)
_USAGE = pa.schema([*_REPORT_COLUMNS, ("measure", _TEXT), ("unit", _TEXT), ("quantity", _COUNT)])
_COST = pa.schema(
    [
        *_REPORT_COLUMNS,
        *((name, _TEXT) for name in ("cost_type", "token_type", "line_item")),
        *((name, _USD) for name in ("amount_usd", "list_amount_usd")),
    ]
)


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
    dbt: float | None

    @property
    def seconds(self) -> float:
        """All of it: reading, matching, judging."""
        return self.matching + self.judging


@dataclass(frozen=True)
class DayRun:
    """The match of one day after `history` days."""

    history: int
    cells: int
    rows: int
    bytes_read: int
    seconds: float


def measure_month(folder: Path, models: int, *, built: Path | None = None) -> MonthRun:
    """Write the month where it is not there yet, and run the rules on it.

    Raises:
        BenchmarkError: the match is not what was written: a gap beside rounding and the foreign key.
    """
    installation, lake, tables = _home(folder, models, MONTH.days(), invoiced=True)
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    started = time.perf_counter()
    inputs = gather_inputs(installation, lake, tables, InvoicePeriod(MONTH.first_day, MONTH.next().first_day))
    read = time.perf_counter()
    match = match_month(installation, lake, tables, MONTH)
    matched = time.perf_counter()
    found = gather_findings(installation, lake, tables, ledger, match)
    judged = time.perf_counter()
    _must_be_clean(match.reconciliations, models)
    return MonthRun(
        cells=sum(len(each.cells) for each in match.reconciliations),
        rows=sum(len(legs.logged) + len(legs.usage or ()) + len(legs.costs or ()) for legs in inputs.legs.values()),
        reconciliations=len(match.reconciliations),
        keys=len(found.keys),
        items=len(found.items),
        reading=read - started,
        matching=matched - read,
        judging=judged - matched,
        dbt=_dbt_seconds(built) if built else None,
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
    day = MONTH.last_day
    days = [day - dt.timedelta(days=back) for back in range(history, -1, -1)]
    installation, lake, tables = _home(folder, models, days, invoiced=False)
    process = psutil.Process()
    before, started = process.io_counters().read_chars, time.perf_counter()
    inputs = gather_inputs(installation, lake, tables, InvoicePeriod(day, day + dt.timedelta(days=1)))
    matches = [match_usage(legs, inputs.registry, inputs.book) for legs in inputs.legs.values()]
    seconds, after = time.perf_counter() - started, process.io_counters().read_chars
    rows = sum(len(legs.logged) + len(legs.usage or ()) + len(legs.costs or ()) for legs in inputs.legs.values())
    return DayRun(history, sum(len(match.cells) for match in matches), rows, after - before, seconds)


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


# --- the home --------------------------------------------------------------------------------------------------------


def _home(folder: Path, models: int, days: Sequence[dt.date], *, invoiced: bool) -> tuple[Installation, Lake, Tables]:
    """An installation whose days are loaded and built, made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = load_installation(folder)
    lake = Lake(root=paths.lake_url, cache_dir=str(folder / "cache"))
    tables = Tables(root=str(paths.tables_dir))
    if not (folder / "tokengov.yaml").exists():
        _write_lake(lake, models, days)
        for day in days:
            _write_day(tables, models, day)
        if invoiced:
            _write_invoices(folder, lake, models, days)
        (folder / "tokengov.yaml").write_text(_SETTINGS, encoding="utf-8")  # last: it says that the rest is there
    return load_installation(folder), lake, tables


def _write_lake(lake: Lake, models: int, days: Sequence[dt.date]) -> None:
    content, _, problems = read_book(shipped_files(), {}, provider_slugs())
    if problems:
        message = f"the shipped price book has problems: {problems[0]}"
        raise BenchmarkError(message)
    content = replace(
        content,
        prices=(*content.prices, *_price_rows(models)),
        aliases=(*content.aliases, *(Alias(name, provider, name) for provider, name in _all_models(models))),
    )
    for name, table in tables_of(content, book_sha256(content)).items():
        lake.replace(name, table, NOW)
    lake.replace("directory_provider_keys", pa.Table.from_pylist([_key_row(each) for each in REPORTING]), NOW)
    for day in days:
        for source in _SOURCES:
            _write_load(lake, source, day)


def _write_load(lake: Lake, table: LakeTable, day: dt.date) -> None:
    """The record that a day was read to its end; its rows are in the tables already."""
    with lake.writing(table) as writer:
        lake.commit(table, f"day={day}", writer, extracted_at=NOW, window=(str(day), str(day)))


def _key_row(provider: str) -> dict[str, Any]:
    return {
        "provider": provider,
        "account": ACCOUNT,
        "workspace": "main",
        "provider_key_id": OWN_KEY,
        "role": "proxy",
        "owner_cost_center": "",
        "valid_from": dt.date(2026, 1, 1),
        "valid_to": None,
    }


def _all_models(models: int) -> Iterator[tuple[str, str]]:
    for provider in (*REPORTING, COARSE):
        for number in range(models):
            yield provider, f"bench-{number}"


def _usd_per_mtok(model: str, token_type: str, tier: str) -> Decimal:
    number = int(model.partition("-")[2]) + 1
    price = Decimal(number * (TOKEN_TYPES.index(token_type) + 1) * 250_000).scaleb(-6)
    return price / 2 if tier == "batch" else price


def _price_rows(models: int) -> Iterator[PriceRow]:
    for provider, model in _all_models(models):
        for token_type in TOKEN_TYPES:
            for tier in TIERS:
                yield PriceRow(
                    provider=provider,
                    model=model,
                    token_type=token_type,
                    service_tier=tier,
                    context_band="all",
                    context_over_tokens=0,
                    usd_per_mtok=_usd_per_mtok(model, token_type, tier),
                    valid=Interval(dt.date(2026, 1, 1)),
                    source="benchmark",
                    source_version="1",
                )


def _tokens(model: str, token_type: str, tier: str, day: dt.date) -> int:
    """What all cost centers used together; four times a whole number."""
    number = int(model.partition("-")[2])
    return 40_000 * (1 + (number * 7 + TOKEN_TYPES.index(token_type) * 11 + TIERS.index(tier) * 5 + day.day) % 500)


def _usd(tokens: int, model: str, token_type: str, tier: str) -> Decimal:
    return exact_product(tokens, _usd_per_mtok(model, token_type, tier)).scaleb(-6)


def _write_day(tables: Tables, models: int, day: dt.date) -> None:
    """What dbt exports of a day: the log by cost center, the reports by key, all from one table of tokens."""
    partition = f"usage_date={day}"
    logged = [row for provider, model in _all_models(models) for row in _log_rows(provider, model, day)]
    usage, costs = [], []
    for provider, model in _all_models(models):
        if provider in REPORTING:
            usage += list(_usage_rows(provider, model, day))
            costs += list(_cost_rows(provider, model, day))
    tables.write("fct_proxy_usage_daily", partition, pa.Table.from_pylist(logged, schema=_LOG))
    tables.write("fct_provider_usage_daily", partition, pa.Table.from_pylist(usage, schema=_USAGE))
    tables.write("fct_provider_cost_daily", partition, pa.Table.from_pylist(costs, schema=_COST))


def _log_rows(provider: str, model: str, day: dt.date) -> Iterator[dict[str, Any]]:
    for tier in TIERS:
        parts = {each: _tokens(model, each, tier, day) // len(COST_CENTERS) for each in TOKEN_TYPES}
        for cost_center in COST_CENTERS:
            yield {
                "usage_date": day,
                "provider": provider,
                "model": model,
                "service_tier": tier,
                "call_class": "call",
                "context_over_tokens": 0,
                "cost_center": cost_center,
                "rung": "team_metadata",
                "calls": 10,
                "calls_without_usage": 0,
                **{f"{each}_tokens": tokens for each, tokens in parts.items()},
                "logged_spend_usd": exact_sum(_usd(tokens, model, each, tier) for each, tokens in parts.items()),
            }


def _grain(provider: str, model: str, tier: str, day: dt.date, key_id: str | None) -> dict[str, Any]:
    return {
        "usage_date": day,
        "provider": provider,
        "account": ACCOUNT,
        "provider_key_id": key_id,
        "workspace_id": "main",
        "model": model,
        "service_tier": tier,
    }


def _usage_rows(provider: str, model: str, day: dt.date) -> Iterator[dict[str, Any]]:
    for tier in TIERS:
        for token_type in TOKEN_TYPES:
            measured = {"measure": token_type, "unit": "tokens"}
            tokens = _tokens(model, token_type, tier, day)
            yield {**_grain(provider, model, tier, day, OWN_KEY), **measured, "quantity": tokens}
            if model == "bench-0":
                yield {**_grain(provider, model, tier, day, OTHER_KEY), **measured, "quantity": tokens // 4}


def _cost_rows(provider: str, model: str, day: dt.date) -> Iterator[dict[str, Any]]:
    for tier in TIERS:
        for token_type in TOKEN_TYPES:
            yield {
                **_grain(provider, model, tier, day, None),
                "cost_type": "tokens",
                "token_type": token_type,
                "amount_usd": _billed(provider, model, token_type, tier, day),
            }


def _billed(provider: str, model: str, token_type: str, tier: str, day: dt.date) -> Decimal:
    tokens = _tokens(model, token_type, tier, day)
    foreign = tokens // 4 if model == "bench-0" and provider in REPORTING else 0
    return _usd(tokens + foreign, model, token_type, tier)


def _write_invoices(folder: Path, lake: Lake, models: int, days: Sequence[dt.date]) -> None:
    (folder / "invoices").mkdir(exist_ok=True)
    for provider in (*REPORTING, COARSE):
        lines = [
            InvoiceLine(
                line_no=0,
                kind="usage",
                amount=round_posting(exact_sum(_billed(provider, model, each, tier, day) for day in days)),
                model=model,
                token_type=each,
                service_tier=tier,
            )
            for of, model in _all_models(models)
            for tier in TIERS
            for each in TOKEN_TYPES
            if of == provider
        ]
        content = json.dumps(invoice_json(_invoice(provider, lines)))
        (folder / "invoices" / f"{provider}-{MONTH}.json").write_text(content, encoding="utf-8")
    lake.replace("invoices", InvoiceFolder(url=str(folder / "invoices")).load().table, NOW)


def _invoice(provider: str, lines: Sequence[InvoiceLine]) -> Invoice:
    total = exact_sum([Decimal("0.00"), *(line.amount for line in lines)])
    return Invoice(
        source_file=f"{provider}-{MONTH}.json",
        provider=provider,
        account=ACCOUNT,
        invoice_id=f"{provider.upper()}-{MONTH}",
        invoice_date=MONTH.last_day + dt.timedelta(days=1),
        period_start=MONTH.first_day,
        period_last_day=MONTH.last_day,
        currency="USD",
        lines=tuple(replace(line, line_no=number) for number, line in enumerate(lines, 1)),
        lines_total=total,
        credits_total=Decimal("0.00"),
        tax_total=Decimal("0.00"),
        total=total,
    )


# --- the command -----------------------------------------------------------------------------------------------------


def main(
    models: Annotated[int, typer.Option(help="Models of each provider.")] = 40,
    histories: Annotated[list[int] | None, typer.Option(help="Days of history, one option each.")] = None,
    built: Annotated[Path | None, typer.Option(help="A home that dbt built, to compare with its time.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the homes here; default: a temporary folder.")] = None,
) -> None:
    """Measure the rules after dbt on a month, and on a day after a short and after a long history."""
    console = Console()
    describe_machine(console)
    with folder_of(folder) as place, errors_in_words(console):
        month = measure_month(place / "month", models, built=built)
        console.print(
            f"{month.cells:,} cells of {month.rows:,} rows, {month.reconciliations} invoices, {month.keys} keys, "
            f"{month.items} items",
            **PLAIN,
        )
        console.print(
            f"rules    {month.seconds:7.2f} s (goal {GOAL_SECONDS}): reading and matching {month.matching:.2f} s "
            f"(reading alone {month.reading:.2f} s), keys, findings and items {month.judging:.2f} s",
            **PLAIN,
        )
        if month.dbt:
            console.print(f"dbt      {month.dbt:7.1f} s; the rules take {month.seconds / month.dbt:.3f} of it", **PLAIN)
        days = measure_days(place, models, histories or [7, 60])
        for run in days:
            console.print(
                f"a day after {run.history:,} days of history: {run.cells:,} cells of {run.rows:,} rows, "
                f"{run.bytes_read:,} bytes read, {run.seconds:.2f} s",
                **PLAIN,
            )


if __name__ == "__main__":
    typer.run(main)
