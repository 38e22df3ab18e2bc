"""What a reconciliation reads: both legs of some days, invoices, provider keys and the price book, as known now.

Belongs here: reading tables and lake into the records of `domain.legs`. Does not belong here: the match
(`domain.reconcile`), the assets (`assets.reconciliation`).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from resources.directory import DIRECTORY_SCHEMAS
from resources.invoices import invoices_of
from resources.lake import Lake
from resources.price_book import stored_book
from resources.readings import PROXY_LOG, REPORTS, state_at
from resources.tables import Tables
from tokengov_pipelines.closing.leg_tables import (
    costs_of,
    logged_of,
    over_midnight_of,
    registry_of,
    usage_of,
)
from tokengov_pipelines.closing.match import MatchInputs
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.legs import (
    KeyRegistry,
    Legs,
)
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.prepaid import PrepaidStatement, prepaid_statements
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.settings import Installation

PROXY_USAGE: Final = "fct_proxy_usage_daily"
MIDNIGHT_CALLS: Final = "fct_midnight_calls_daily"
PROVIDER_USAGE: Final = "fct_provider_usage_daily"
PROVIDER_COST: Final = "fct_provider_cost_daily"
WORKSPACES: Final = "dim_provider_workspaces"

_WHOLE: Final = frozenset({DayState.COMPLETE, DayState.SETTLED})


class MissingPriceBookError(RuntimeError):
    """No price book was loaded; the text says how to load it."""


def gather_inputs(installation: Installation, lake: Lake, tables: Tables, period: InvoicePeriod) -> MatchInputs:
    """Read what is known of the days of a period, and of the invoice periods that touch it."""
    invoices = tuple(
        each for each in read_invoices(lake) if each.period.start < period.end and each.period.end > period.start
    )
    days = InvoicePeriod(
        min([period.start, *(each.period.start for each in invoices)]),
        max([period.end, *(each.period.end for each in invoices)]),
    )
    logged = logged_of(_days_of(tables, PROXY_USAGE, days.days()))
    usage = usage_of(_days_of(tables, PROVIDER_USAGE, days.days()))
    costs = costs_of(_days_of(tables, PROVIDER_COST, days.days()))
    before = days.start - dt.timedelta(days=1)
    midnight = over_midnight_of(_days_of(tables, MIDNIGHT_CALLS, [before, *days.days()]))
    missing_log = frozenset(day for day in days.days() if not log_is_whole(lake, tables, day))
    providers = sorted({*logged, *usage, *costs, *(each.provider for each in invoices)})
    reporting = {name for name in REPORTS if getattr(installation.settings, name) is not None}
    legs = {
        provider: Legs(
            provider=provider,
            logged=logged.get(provider, []),
            usage=usage.get(provider, []) if provider in reporting else None,
            costs=costs.get(provider, []) if provider in reporting else None,
            missing_log_days=missing_log,
            missing_report_days=frozenset(missing_reports(lake, tables, provider, days))
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


def read_statements(lake: Lake) -> list[PrepaidStatement]:
    """Every statement of prepaid_statements.csv, as the directory's current load holds it."""
    rows: list[Any] = [
        row
        for path in lake.current_files("directory_prepaid_statements")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
    return prepaid_statements(rows)


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
    keys = _concat(
        [DIRECTORY_SCHEMAS["provider_keys"].empty_table()]
        + [pq.read_table(path, partitioning=None) for path in lake.current_files("directory_provider_keys")]
    )
    workspaces = None
    if tables.path(WORKSPACES, "all").exists():
        workspaces = tables.read(WORKSPACES, ["all"]).sort_by([("last_observed_date", "ascending")])
    return registry_of(keys, workspaces, installation.policy)


def whole_days(lake: Lake, tables: Tables, provider: str | None, days: Iterable[dt.date]) -> list[dt.date]:
    """The days of which the proxy's log, and a provider's reports where it has any, are read to their end and built."""
    found = [day for day in days if log_is_whole(lake, tables, day)]
    if provider is None:
        return found
    return [day for day in found if _report_is_whole(lake, tables, provider, day)]


def log_is_whole(lake: Lake, tables: Tables, day: dt.date) -> bool:
    """Whether the proxy's log of a day was read to its end, and built."""
    return state_at(lake, PROXY_LOG, day, 0) in _WHOLE and tables.path(PROXY_USAGE, f"usage_date={day}").exists()


def missing_reports(lake: Lake, tables: Tables, provider: str, days: InvoicePeriod) -> tuple[dt.date, ...]:
    """The days of which a provider's reports were not read to their end, or not built."""
    return tuple(day for day in days.days() if not _report_is_whole(lake, tables, provider, day))


def _report_is_whole(lake: Lake, tables: Tables, provider: str, day: dt.date) -> bool:
    built = all(tables.path(name, f"usage_date={day}").exists() for name in (PROVIDER_USAGE, PROVIDER_COST))
    return built and all(state_at(lake, report, day, 0) in _WHOLE for report in REPORTS[provider])


def _concat(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(parts), promote_options="default")


def _days_of(tables: Tables, name: str, days: Sequence[dt.date]) -> pa.Table | None:
    partitions = [f"usage_date={day}" for day in days if tables.path(name, f"usage_date={day}").exists()]
    return tables.read(name, partitions) if partitions else None
