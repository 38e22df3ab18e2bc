"""What the proxy's rows are worth, by who pays and by what they were used for (Rules 6.2, 6.9).

Belongs here: the rows of the usage table on some days, valued at price-book price. Does not belong here: the cells of a
match (`domain.usage_cells`), the split of money (`domain.allocation`, `domain.charge_detail`).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tokengov_pipelines.closing.leg_tables import TOKEN_COLUMNS
from tokengov_pipelines.domain.attribution import CallClass, Rung
from tokengov_pipelines.domain.charge_detail import UsedBy
from tokengov_pipelines.domain.legs import NOT_DELIVERED
from tokengov_pipelines.domain.money import from_cents
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.usage_cells import GLOBAL, STANDARD, Cell, CellPrices, normal_tier, pico

PRIORITY = "priority"
_PLACES = 12


@dataclass
class _Sum:
    logged: int = 0
    repriced: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class UsageValues:
    """What one provider's rows of some days came to, by cost center.

    `used` are the drill rows of each cost center; `tokens` and `rungs` stand beside a direct charge; `priority_tokens`
    are those of the priority tier; `by_model` the repriced value of each model of the price book.
    """

    used: Mapping[str, list[UsedBy]] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    rungs: Mapping[str, frozenset[Rung]] = field(default_factory=dict)
    priority_tokens: Mapping[str, Decimal] = field(default_factory=dict)
    by_model: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)


def usage_values(
    content: pa.Table, provider: str, days: InvoicePeriod, book: PriceBook, fallback_tiers: tuple[str, ...]
) -> UsageValues:
    """Value a provider's rows of the days; a row that the provider never saw is worth nothing (Rule 4.4).

    The geography that prices depend on is not in the log, so a drill row has the global price: it is a weight inside
    its cost center, whose own weight is its part of W2.
    """
    within = (pc.field("provider") == provider) & (pc.field("usage_date") >= days.start)
    rows: list[dict[str, Any]] = content.filter(within & (pc.field("usage_date") < days.end)).to_pylist()
    prices = CellPrices(provider, book, fallback_tiers)
    drill: dict[tuple[str, str | None, str, str, str], _Sum] = defaultdict(_Sum)
    by_model: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    priority: dict[str, int] = defaultdict(int)
    for row in rows:
        code, model, tier = row["cost_center"], prices.model(row["model"]), normal_tier(row["service_tier"])
        counts = {token_type: row[column] for token_type, column in TOKEN_COLUMNS.items() if row[column]}
        value = 0
        if CallClass(row["call_class"]) not in NOT_DELIVERED:
            for token_type, tokens in counts.items():
                cell = Cell(row["usage_date"], model, token_type, tier, row["context_over_tokens"], GLOBAL, STANDARD)
                value += max(tokens, 0) * prices.of(cell).pico
        total = drill[code, row["team_id"], row["model"], row["use_case"] or "", row["rung"]]
        total.logged += pico(row["logged_spend_usd"])
        total.repriced += value
        total.tokens += sum(counts.values())
        by_model[model][code] += value
        priority[code] += sum(counts.values()) if tier == PRIORITY else 0
    return _gathered(drill, by_model, priority)


def _gathered(
    drill: Mapping[tuple[str, str | None, str, str, str], _Sum],
    by_model: Mapping[str, Mapping[str, int]],
    priority: Mapping[str, int],
) -> UsageValues:
    used: dict[str, list[UsedBy]] = defaultdict(list)
    tokens: dict[str, int] = defaultdict(int)
    rungs: dict[str, set[Rung]] = defaultdict(set)
    for (code, team, model, use_case, rung), total in sorted(drill.items(), key=str):
        found = Rung[rung.upper()]
        logged, repriced = from_cents(total.logged, _PLACES), from_cents(total.repriced, _PLACES)
        used[code].append(UsedBy(team, model, use_case, found, logged, repriced, total.tokens))
        tokens[code] += total.tokens
        rungs[code].add(found)
    return UsageValues(
        used=dict(used),
        tokens=dict(tokens),
        rungs={code: frozenset(found) for code, found in rungs.items()},
        priority_tokens={code: Decimal(count) for code, count in priority.items() if count},
        by_model={
            model: {code: from_cents(value, _PLACES) for code, value in codes.items()}
            for model, codes in by_model.items()
        },
    )
