"""The asset check on prices: every model in use has a price, and the proxy logged one for it.

Belongs here: what the check says and how loud it is. Does not belong here: what counts as unpriced
(`dbt_project/models/marts/prices`), the price list (`dbt_project/seeds`), the other checks (`assets.checks`).

The check warns. A missing price stops no build and no close by itself: the money shows up in reconciliation, where it
has a name and a limit (Rule 4.4).
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import dagster as dg

from assets.checks import partitions_of_the_run, result
from resources.tables import Tables

UNPRICED_USAGE: Final = dg.AssetKey(["marts", "fct_unpriced_usage_daily"])

FIXES: Final = {
    "unknown_model": "list the model and its names in the seeds price_list and model_aliases, with a second reviewer",
    "no_price_on_day": "add the price of this tier and day to the seed price_list, with a second reviewer",
    "logged_without_price": "give the proxy's price map a price; the rows stay as they were logged",
}


def price_checks(days: dg.DailyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks on `marts/fct_unpriced_usage_daily`; like all others it is not partitioned (see `assets.checks`)."""

    @dg.asset_check(
        asset=UNPRICED_USAGE,
        description=(
            "Every model in use has a price on the day, in its tier, and was logged with spend (Rules 4.1, 4.4, 12.4). "
            "Not blocking: what it names is repriced in reconciliation or listed as an error item."
        ),
    )
    def used_models_are_priced(context: dg.AssetCheckExecutionContext, tables: Tables) -> dg.AssetCheckResult:
        table = UNPRICED_USAGE.path[-1]
        looked_at = partitions_of_the_run(context, days) or [
            day for day in days.get_partition_keys() if tables.path(table, f"usage_date={day}").exists()
        ]
        rows = tables.rows(table, [f"usage_date={day}" for day in looked_at]) if looked_at else []
        return result(
            looked_at, "every model in use has a price", problems_of(rows), severity=dg.AssetCheckSeverity.WARN
        )

    return [used_models_are_priced]


def problems_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence a model, tier and reason, for rows of `fct_unpriced_usage_daily`."""
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["reason"], row["provider"], row["model"], row["service_tier"])
        groups.setdefault(key, []).append(row)
    return [_problem(*key, found) for key, found in sorted(groups.items())]


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
