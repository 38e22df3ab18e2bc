"""What a reconciliation reads: both legs of some days, invoices, provider keys and the price book, as known now.

Belongs here: reading tables and lake into the records of `domain.legs`. Does not belong here: the match
(`domain.reconcile`), the assets (`assets.reconciliation`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from resources.invoices import invoices_of
from resources.lake import Lake
from resources.price_book import stored_book
from resources.readings import PROXY_LOG, REPORTS, state_at
from resources.tables import Tables
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.legs import (
    KeyDecides,
    KeyRegistry,
    KeyRole,
    Legs,
    LoggedUsage,
    ProviderUsage,
    RegisteredKey,
    ReportedCost,
)
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.pricing import TOKEN_TYPES, PriceBook
from tokengov_pipelines.settings import Installation

PROXY_USAGE: Final = "fct_proxy_usage_daily"
MIDNIGHT_CALLS: Final = "fct_midnight_calls_daily"
PROVIDER_USAGE: Final = "fct_provider_usage_daily"
PROVIDER_COST: Final = "fct_provider_cost_daily"
WORKSPACES: Final = "dim_provider_workspaces"

_LOG_GRAIN: Final = [
    "usage_date",
    "provider",
    "model",
    "service_tier",
    "context_over_tokens",
    "call_class",
    "cost_center",
]
_TOKEN_COLUMNS: Final = {token_type: f"{token_type}_tokens" for token_type in TOKEN_TYPES}
_WITHIN: Final = {"input_audio_within": "uncached_input", "output_audio_within": "output"}
"""Audio is counted inside these token types and has prices of its own."""

_WHOLE: Final = frozenset({DayState.COMPLETE, DayState.SETTLED})


class MissingPriceBookError(RuntimeError):
    """No price book was loaded; the text says how to load it."""


@dataclass(frozen=True)
class MatchInputs:
    """Legs by provider over the days of `period`, the invoices that bill any of them, key registry and price book."""

    period: InvoicePeriod
    legs: Mapping[str, Legs]
    invoices: tuple[Invoice, ...]
    registry: KeyRegistry
    book: PriceBook


def gather_inputs(installation: Installation, lake: Lake, tables: Tables, period: InvoicePeriod) -> MatchInputs:
    """Read what is known of the days of a period, and of the invoice periods that touch it."""
    invoices = tuple(
        each for each in read_invoices(lake) if each.period.start < period.end and each.period.end > period.start
    )
    days = InvoicePeriod(
        min([period.start, *(each.period.start for each in invoices)]),
        max([period.end, *(each.period.end for each in invoices)]),
    )
    logged = _logged(tables, days)
    usage = _usage(tables, days)
    costs = _costs(tables, days)
    midnight = _over_midnight(tables, days)
    missing_log = frozenset(day for day in days.days() if not _log_is_whole(lake, tables, day))
    providers = sorted({*logged, *usage, *costs, *(each.provider for each in invoices)})
    reporting = {name for name in REPORTS if getattr(installation.settings, name) is not None}
    legs = {
        provider: Legs(
            provider=provider,
            logged=logged.get(provider, []),
            usage=usage.get(provider, []) if provider in reporting else None,
            costs=costs.get(provider, []) if provider in reporting else None,
            missing_log_days=missing_log,
            missing_report_days=_missing_reports(lake, tables, provider, days)
            if provider in reporting
            else frozenset(),
            over_midnight=midnight.get(provider, {}),
        )
        for provider in providers
    }
    return MatchInputs(days, legs, invoices, read_registry(installation, lake, tables), read_price_book(lake))


def read_invoices(lake: Lake) -> list[Invoice]:
    """Every invoice of the current load of the drop folder."""
    files = lake.current_files("invoices")
    return invoices_of(_concat(pq.read_table(path, partitioning=None) for path in files)) if files else []


def read_price_book(lake: Lake) -> PriceBook:
    """The price book that the lake holds as current: list prices with contract prices over them.

    Raises:
        MissingPriceBookError: none was loaded yet.
    """
    stored = stored_book(lake)
    if stored is None:
        message = (
            "the lake holds no price book. Fix: materialize raw/price_book (every load does), then run this again."
        )
        raise MissingPriceBookError(message)
    return stored.book()


def read_registry(installation: Installation, lake: Lake, tables: Tables) -> KeyRegistry:
    """The provider keys of the directory, and by which word a provider's usage is told apart (Rule 4.2)."""
    rows = [
        row
        for path in lake.current_files("directory_provider_keys")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
    keys = [
        RegisteredKey(
            provider=row["provider"],
            account=row["account"],
            key_id=row["provider_key_id"],
            role=KeyRole(row["role"]),
            valid=Interval(row["valid_from"], row["valid_to"]),
            workspace=row["workspace"] or None,
            owner_cost_center=row["owner_cost_center"] or None,
        )
        for row in rows
    ]
    names: list[dict[str, Any]] = tables.rows(WORKSPACES, ["all"]) if tables.path(WORKSPACES, "all").exists() else []
    return KeyRegistry(
        keys=keys,
        decides={
            provider: KeyDecides(installation.policy.of_provider(provider).unproxied.provider_key_decides)
            for provider in {key.provider for key in keys}
        },
        workspace_ids={
            (row["provider"], row["workspace_name"]): row["workspace_id"]
            for row in sorted(names, key=lambda row: row["last_observed_date"])
            if row["workspace_name"]
        },
    )


def whole_days(lake: Lake, tables: Tables, provider: str | None, days: Iterable[dt.date]) -> list[dt.date]:
    """The days of which the proxy's log, and a provider's reports where it has any, are read to their end and built."""
    found = [day for day in days if _log_is_whole(lake, tables, day)]
    if provider is None:
        return found
    return [day for day in found if _report_is_whole(lake, tables, provider, day)]


def _log_is_whole(lake: Lake, tables: Tables, day: dt.date) -> bool:
    return state_at(lake, PROXY_LOG, day, 0) in _WHOLE and tables.path(PROXY_USAGE, f"usage_date={day}").exists()


def _report_is_whole(lake: Lake, tables: Tables, provider: str, day: dt.date) -> bool:
    built = all(tables.path(name, f"usage_date={day}").exists() for name in (PROVIDER_USAGE, PROVIDER_COST))
    return built and all(state_at(lake, report, day, 0) in _WHOLE for report in REPORTS[provider])


def _missing_reports(lake: Lake, tables: Tables, provider: str, days: InvoicePeriod) -> frozenset[dt.date]:
    return frozenset(day for day in days.days() if not _report_is_whole(lake, tables, provider, day))


def _concat(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(parts), promote_options="default")


def _days_of(tables: Tables, name: str, days: Sequence[dt.date]) -> pa.Table | None:
    partitions = [f"usage_date={day}" for day in days if tables.path(name, f"usage_date={day}").exists()]
    return tables.read(name, partitions) if partitions else None


def _logged(tables: Tables, period: InvoicePeriod) -> dict[str, list[LoggedUsage]]:
    """Leg A: one record a day, model, tier, band, class and cost center, so that too high and too low do not net."""
    content = _days_of(tables, PROXY_USAGE, period.days())
    found: dict[str, list[LoggedUsage]] = defaultdict(list)
    if content is None:
        return found
    sums = ["calls", "calls_without_usage", *_TOKEN_COLUMNS.values(), "logged_spend_usd"]
    rows = content.group_by(_LOG_GRAIN).aggregate([(column, "sum") for column in sums]).to_pylist()
    for row in rows:
        found[row["provider"]].append(
            LoggedUsage(
                day=row["usage_date"],
                provider=row["provider"],
                model=row["model"],
                tier=row["service_tier"],
                over_tokens=row["context_over_tokens"],
                call_class=CallClass(row["call_class"]),
                calls=row["calls_sum"],
                tokens={
                    token_type: row[f"{column}_sum"]
                    for token_type, column in _TOKEN_COLUMNS.items()
                    if row[f"{column}_sum"]
                },
                logged=row["logged_spend_usd_sum"],
                cost_center=row["cost_center"],
                calls_without_usage=row["calls_without_usage_sum"],
            )
        )
    return found


def _over_midnight(tables: Tables, period: InvoicePeriod) -> dict[str, dict[dt.date, Decimal]]:
    before = period.start - dt.timedelta(days=1)
    content = _days_of(tables, MIDNIGHT_CALLS, [before, *period.days()])
    found: dict[str, dict[dt.date, Decimal]] = defaultdict(dict)
    for row in content.to_pylist() if content is not None else ():
        found[row["provider"]][row["usage_date"]] = row["logged_spend_usd"]
    return found


def _usage(tables: Tables, period: InvoicePeriod) -> dict[str, list[ProviderUsage]]:
    """Leg B: tokens by type. Audio tokens are taken out of the type that counts them."""
    content = _days_of(tables, PROVIDER_USAGE, period.days())
    found: dict[str, list[ProviderUsage]] = defaultdict(list)
    if content is None:
        return found
    audio: dict[tuple[Any, ...], int] = {}
    rows = [row for row in content.to_pylist() if row["unit"] in {"tokens", "tokens_within"}]
    for row in rows:
        if row["measure"] in _WITHIN:
            audio[(*_usage_grain(row), _WITHIN[row["measure"]])] = row["quantity"]
    for row in rows:
        token_type = row["measure"].removesuffix("_within")
        tokens = row["quantity"] - audio.get((*_usage_grain(row), row["measure"]), 0)
        found[row["provider"]].append(
            ProviderUsage(
                day=row["usage_date"],
                provider=row["provider"],
                account=row["account"],
                key_id=row["provider_key_id"],
                workspace_id=row["workspace_id"],
                model=row["model"],
                tier=row["service_tier"],
                token_type=token_type,
                tokens=tokens,
                context_window=row["context_window"],
                geo=row["inference_geo"],
                speed=row["speed"],
            )
        )
    return found


def _usage_grain(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("usage_date", "provider", "account", "provider_key_id", "workspace_id", "model", "service_tier",
             "context_window", "inference_geo", "speed")  # fmt: skip
    return tuple(row[name] for name in names)


def _costs(tables: Tables, period: InvoicePeriod) -> dict[str, list[ReportedCost]]:
    content = _days_of(tables, PROVIDER_COST, period.days())
    found: dict[str, list[ReportedCost]] = defaultdict(list)
    for row in content.to_pylist() if content is not None else ():
        found[row["provider"]].append(
            ReportedCost(
                day=row["usage_date"],
                provider=row["provider"],
                account=row["account"],
                key_id=row["provider_key_id"],
                workspace_id=row["workspace_id"],
                model=row["model"],
                cost_type=row["cost_type"],
                token_type=row["token_type"],
                tier=row["service_tier"],
                amount=row["amount_usd"],
                line_item=row["line_item"],
                context_window=row["context_window"],
                geo=row["inference_geo"],
                speed=row["speed"],
                list_amount=row["list_amount_usd"],
            )
        )
    return found
