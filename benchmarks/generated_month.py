"""A month as dbt exports it and as the lake holds it, made of one table of tokens: what the rules are measured on.

Belongs here: tables, price book, invoices and load records of made-up models of three providers. Does not belong here:
what is measured (`benchmarks.rules`). Every leg is written from the same tokens, so that a match of them leaves
nothing but one foreign key and the rounding of the invoice lines.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measure import BenchmarkError
from resources import anthropic_tables, openai_tables
from resources.invoices import InvoiceFolder
from resources.lake import Lake, LakeTable
from resources.litellm_tables import SPEND_LOGS_LAKE
from resources.price_book import provider_slugs, shipped_files, tables_of
from resources.tables import Tables
from tokengov_pipelines.demo.invoices import invoice_json
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.money import exact_product, exact_sum, round_posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.price_files import read_book
from tokengov_pipelines.domain.price_review import book_sha256
from tokengov_pipelines.domain.pricing import TOKEN_TYPES, Alias, PriceRow
from tokengov_pipelines.settings import Installation, load_installation

MONTH = BillingMonth(2026, 10)
NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
REPORTING, COARSE = ("anthropic", "openai"), "google"
"""Two providers with reports; the third has none and is matched two-way."""

TIERS = ("standard", "batch")
ACCOUNT, OWN_KEY, OTHER_KEY = "bench-prod", "key-proxy", "key-elsewhere"
COST_CENTERS = ("CC-100", "CC-200", "CC-300", "CC-400")

_SETTINGS = f"as_of: {NOW.date()}\nlog_start: 2026-01-01\nbooks_start: 2026-01\nanthropic: {{}}\nopenai: {{}}\n"
_SOURCES = (SPEND_LOGS_LAKE, anthropic_tables.USAGE, anthropic_tables.COST, openai_tables.USAGE, openai_tables.COST)
_TEXT, _DATE, _COUNT, _USD = pa.string(), pa.date32(), pa.int64(), pa.decimal128(38, 12)
_LOG_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("usage_date", _DATE),
    *((name, _TEXT) for name in ("provider", "model", "service_tier", "call_class")),
    *((name, _TEXT) for name in ("cost_center", "rung", "team_id", "use_case")),
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


def home_of(folder: Path, models: int, days: Sequence[dt.date], *, invoiced: bool) -> tuple[Installation, Lake, Tables]:
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
    log = pa.Table.from_pylist(logged, schema=_LOG)
    tables.write("fct_usage_daily", partition, log)
    tables.write("fct_proxy_usage_daily", partition, log.drop_columns(["team_id", "use_case"]))
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
                "team_id": f"team-{cost_center}",
                "use_case": "review",
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
