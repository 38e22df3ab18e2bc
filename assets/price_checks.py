"""The asset checks on prices: models in use have one, two people agreed to them, the proxy's map says the same.

Belongs here: what the checks say and how loud they are. Does not belong here: what counts as unpriced
(`dbt_project/models/marts/prices`), the comparisons (`domain.price_review`, `domain.price_watch`), the other checks
(`assets.checks`).

None blocks what is downstream. A missing price shows up in reconciliation, where it has a name and a limit (Rule 4.4);
a book that is not agreed holds the close.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import dagster as dg

from assets.checks import partitions_of_the_run, result
from assets.ledger import open_ledger
from resources.home import Home
from resources.lake import Lake
from resources.price_approvals import price_book_blocker
from resources.price_book import PRICE_BOOK, StoredBook, stored_book
from resources.tables import Tables
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.money import usd
from tokengov_pipelines.domain.price_review import APPROVE_COMMAND
from tokengov_pipelines.domain.price_watch import (
    LOOK_BACK_DAYS,
    Disagreement,
    MapRow,
    UsedTokens,
    book_price_changes,
    disagreements,
    map_changes,
)
from tokengov_pipelines.domain.pricing import STANDARD, TOKEN_TYPES

UNPRICED_USAGE: Final = dg.AssetKey(["marts", "fct_unpriced_usage_daily"])
PRICE_MAP: Final = dg.AssetKey(["marts", "fct_proxy_price_map_daily"])
BOOK: Final = dg.AssetKey(["raw", PRICE_BOOK])
PROXY_USAGE: Final = "fct_proxy_usage_daily"

FIXES: Final = {
    "unknown_model": (
        "add its names to prices/model_aliases.csv and its prices to prices/contract_prices.csv, "
        f"then {APPROVE_COMMAND}"
    ),
    "no_price_on_day": f"add the price of this tier and day to prices/contract_prices.csv, then {APPROVE_COMMAND}",
    "logged_without_price": "give the proxy's price map a price; the rows stay as they were logged",
}
_PRICED_BY_THE_MAP: Final = frozenset({CallClass.CALL, CallClass.PARTIAL})
_NO_BOOK: Final = "the lake holds no price book. Fix: materialize raw/price_book."


def price_checks(days: dg.DailyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks on prices; like all others they are not partitioned (see `assets.checks`)."""

    @dg.asset_check(
        asset=UNPRICED_USAGE,
        description=(
            "Every model in use has a price on the day, in its tier, and was logged with spend (Rules 4.1, 4.4, 12.4). "
            "Not blocking: what it names is repriced in reconciliation or listed as an error item."
        ),
    )
    def used_models_are_priced(context: dg.AssetCheckExecutionContext, tables: Tables) -> dg.AssetCheckResult:
        looked_at = _days_of(context, days, tables, UNPRICED_USAGE)
        rows = _rows(tables, UNPRICED_USAGE.path[-1], looked_at)
        return result(
            looked_at, "every model in use has a price", problems_of(rows), severity=dg.AssetCheckSeverity.WARN
        )

    @dg.asset_check(
        asset=BOOK,
        description="Two people agreed to the prices in use (Rule 12.4); until then the close is held. Not blocking.",
    )
    def price_book_is_approved(home: Home, lake: Lake) -> dg.AssetCheckResult:
        blocker = price_book_blocker(open_ledger(home.installation), lake)
        return result([], "the price book is approved", [str(blocker)] if blocker else [])

    @dg.asset_check(
        asset=PRICE_MAP,
        description=(
            "The proxy's price map says what the price book says of every model in use, at standard prices (Rule "
            "12.4). Not blocking: the difference is proxy_pricing in reconciliation."
        ),
    )
    def the_proxys_prices_agree_with_the_book(
        context: dg.AssetCheckExecutionContext, lake: Lake, tables: Tables
    ) -> dg.AssetCheckResult:
        looked_at = _days_of(context, days, tables, PRICE_MAP)
        book = stored_book(lake)
        found = _disagreements(tables, book, looked_at) if book else []
        return result(
            looked_at,
            "the proxy's price map agrees with the price book",
            map(str, found) if book else [_NO_BOOK],
            f"load the right price map into the proxy, or correct the book: {APPROVE_COMMAND}",
            severity=dg.AssetCheckSeverity.WARN,
            red={str(day) for each in found for day in each.days},
        )

    @dg.asset_check(
        asset=PRICE_MAP,
        description=(
            "No price of a model in use changed, in the proxy's price map or in the price book (Rule 12.4). Not "
            "blocking: it tells which price is another one from which day on."
        ),
    )
    def prices_did_not_change(
        context: dg.AssetCheckExecutionContext, lake: Lake, tables: Tables
    ) -> dg.AssetCheckResult:
        looked_at = _days_of(context, days, tables, PRICE_MAP)
        book = stored_book(lake)
        return result(
            looked_at,
            "no price changed",
            _changes(tables, book, looked_at) if book else [_NO_BOOK],
            "compare with the provider's announcement; a change of the map alone is a stale or wrong map",
            severity=dg.AssetCheckSeverity.WARN,
        )

    return [
        used_models_are_priced,
        price_book_is_approved,
        the_proxys_prices_agree_with_the_book,
        prices_did_not_change,
    ]


def problems_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence a model, tier and reason, for rows of `fct_unpriced_usage_daily`."""
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["reason"], row["provider"], row["model"], row["service_tier"])
        groups.setdefault(key, []).append(row)
    return [_problem(*key, found) for key, found in sorted(groups.items())]


def map_rows(rows: Iterable[Mapping[str, Any]]) -> list[MapRow]:
    """Rows of `fct_proxy_price_map_daily` for the comparisons; calls without an entry show 0, which is no price."""
    names = ("input", "output", "cache_read", "cache_write")
    return [
        MapRow(
            day=row["usage_date"],
            provider=row["provider"],
            model=row["model"],
            tier=row["service_tier"],
            map_key=row["map_model_key"] or "",
            prices=tuple(_price(row[f"map_{name}_usd_per_token"]) if row["map_model_key"] else None for name in names),
            calls=row["calls"],
            tokens=row["tokens"],
        )
        for row in rows
    ]


def used_tokens(rows: Iterable[Mapping[str, Any]]) -> list[UsedTokens]:
    """Tokens of the standard tier and lowest band that the proxy priced, of rows of `fct_proxy_usage_daily`."""
    found: dict[tuple[dt.date, str, str], dict[str, int]] = {}
    for row in rows:
        is_standard = row["service_tier"] == STANDARD and row["context_over_tokens"] == 0
        if is_standard and row["call_class"] in _PRICED_BY_THE_MAP:
            tokens = found.setdefault((row["usage_date"], row["provider"], row["model"]), dict.fromkeys(TOKEN_TYPES, 0))
            for token_type in TOKEN_TYPES:
                tokens[token_type] += row[f"{token_type}_tokens"]
    return [UsedTokens(*key, tokens) for key, tokens in found.items()]


def _disagreements(tables: Tables, book: StoredBook, looked_at: Sequence[str]) -> list[Disagreement]:
    usage = used_tokens(_rows(tables, PROXY_USAGE, looked_at))
    rows = map_rows(_rows(tables, PRICE_MAP.path[-1], looked_at))
    return disagreements(rows, usage, book.book(), set(map(dt.date.fromisoformat, looked_at)))


def _changes(tables: Tables, book: StoredBook, looked_at: Sequence[str]) -> list[str]:
    """Sentences that begin with their day, of the map and then of the book."""
    if not looked_at:
        return []
    asked = set(map(dt.date.fromisoformat, looked_at))
    before = [min(asked) - dt.timedelta(days=back) for back in range(LOOK_BACK_DAYS, 0, -1)]
    rows = map_rows(_rows(tables, PRICE_MAP.path[-1], [*map(str, before), *looked_at]))
    used = {(row.provider, row.model) for row in rows}
    return [*map(str, map_changes(rows, asked)), *map(str, book_price_changes(book.book(), used, asked))]


def _days_of(
    context: dg.AssetCheckExecutionContext, days: dg.DailyPartitionsDefinition, tables: Tables, asset: dg.AssetKey
) -> list[str]:
    return partitions_of_the_run(context, days) or [
        day for day in days.get_partition_keys() if tables.path(asset.path[-1], f"usage_date={day}").exists()
    ]


def _rows(tables: Tables, table: str, days: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of the days that are built; a day without a file had none to build from."""
    built = [part for day in days if tables.path(table, part := f"usage_date={day}").exists()]
    return tables.rows(table, built) if built else []


def _price(value: Any) -> Decimal | None:
    return None if value is None else usd(value)


def _problem(reason: str, provider: str, model: str, tier: str, rows: Sequence[Mapping[str, Any]]) -> str:
    first, last = min(row["usage_date"] for row in rows), max(row["usage_date"] for row in rows)
    span = f"{first}" if first == last else f"{first} to {last}"
    calls, tokens = sum(row["calls"] for row in rows), sum(row["tokens"] for row in rows)
    spend = sum((row["logged_spend_usd"] for row in rows), Decimal(0))
    lacking = sorted({word for row in rows for word in (row["token_types_without_price"] or "").split(", ") if word})
    which = f" ({', '.join(lacking)})" if lacking else ""
    return (
        f"{span}: {provider} {model}, tier {tier}: {reason.replace('_', ' ')}{which}; {calls:,} calls, "
        f"{tokens:,} tokens, logged {spend:,.2f} USD. Fix: {FIXES[reason]}."
    )
