"""What a cost center's weight in a pool is of: cells of use, keys, seats, the charges so far (Rules 6.2, 6.3).

Belongs here: a weight as a sum of what it was taken from. Does not belong here: the pool (`explained_pools`), the tree
above (`explanation`), how weights are chosen (`domain.allocation`).

A cell is a UTC day, model and tier. Prices are those of the cells of the match, per million tokens.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow.compute as pc

from tokengov_pipelines.closing.closed_month import ClosedMonth
from tokengov_pipelines.closing.explanation import Node, Share, largest, quotient, sum_node
from tokengov_pipelines.closing.findings import owned_by
from tokengov_pipelines.closing.inputs import USAGE_CELLS
from tokengov_pipelines.closing.leg_tables import TOKEN_COLUMNS
from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.usage_cells import CellPrices, normal_tier

_MILLION = 1_000_000

Cells = dict[tuple[str, str, str], "_Cell"]


@dataclass
class _Cell:
    """What one cost center did in a cell: amounts, and tokens by type."""

    amounts: list[Decimal] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True)
class WeightNodes:
    """Answers what weights are of; `calls` may say what calls are behind what the proxy logged for a provider.

    `calls` maps a provider to a tree of calls, which is shown beside the cells.
    """

    calls: Mapping[str, Node] = field(default_factory=dict)

    def __call__(self, share: Share) -> Node | None:
        """The cost center's weight in the share's pool, None where nothing was weighed."""
        split, basis = share.split, share.billed.basis
        if split.weights is None:
            return None
        if split.weights is basis.logged:
            return self._logged(share)
        if split.weights is basis.repriced:
            return _repriced(share)
        if split.weights is basis.unproxied:
            return _unproxied(share)
        if split.weights is basis.priority_tokens:
            return _weight(share, "weight: tokens of the priority tier", "tokens")
        if split.weights is basis.seats:
            return _weight(share, "weight: seats by assigned days", share.unit)
        if split.charge_type is ChargeType.TAX or split.method == "gross_charges_so_far":
            return _charges_so_far(share)
        if split.charge_type is ChargeType.CREDIT:
            return _weight(share, "weight: what the credit names", "")
        return _weight(share, f"weight: {split.method} share of policy.yaml", "")

    def _logged(self, share: Share) -> Node:
        cells = _logged_cells(share)
        nodes = [_cell_node(key, cell, share, {}) for key, cell in cells.items()]
        provider = share.billed.header.provider
        calls = [self.calls[provider]] if provider in self.calls else []
        return _of_cells(share, "weight: what the proxy logged", nodes, calls)


def _weight(share: Share, label: str, unit: str) -> Node:
    weights = share.split.weights or {}
    return Node(label, weights.get(share.cost_center, Decimal(0)), unit)


def _of_cells(share: Share, label: str, nodes: list[Node], basis: Iterable[Node] = ()) -> Node:
    """A weight in the invoice's currency; the cells behind it are in the currency of the log."""
    weight = (share.split.weights or {}).get(share.cost_center, Decimal(0))
    children = largest(nodes, share.top, share.unit)
    return sum_node(label, weight, share.unit, children, basis=tuple(basis))


def _days(share: Share) -> InvoicePeriod:
    """The days of the month that the invoice bills."""
    period, month = share.billed.header.period, share.closed.month
    return InvoicePeriod(max(period.start, month.first_day), min(period.end, month.next().first_day))


def _logged_cells(share: Share) -> Cells:
    cells = Cells()
    for row in _usage_rows(share.closed, share.billed.header.provider, share.cost_center, _days(share)):
        key = (str(row["usage_date"]), row["model"], normal_tier(row["service_tier"]))
        cell = cells.setdefault(key, _Cell())
        cell.amounts.append(row["logged_spend_usd"])
        for token_type, column in TOKEN_COLUMNS.items():
            cell.tokens[token_type] += row[column] or 0
    return cells


def _usage_rows(closed: ClosedMonth, provider: str, cost_center: str, days: InvoicePeriod) -> list[dict[str, Any]]:
    mine = (pc.field("provider") == provider) & (pc.field("cost_center") == cost_center)
    within = (pc.field("usage_date") >= days.start) & (pc.field("usage_date") < days.end)
    rows: list[dict[str, Any]] = closed.inputs.tables[USAGE_CELLS].filter(mine & within).to_pylist()
    return rows


def _repriced(share: Share) -> Node:
    """The proxy's rows at price-book price: the cost center's part of W2."""
    label = "weight: what the proxy logged, at price-book price"
    if share.split.charge_type is not ChargeType.TRUE_UP and _has_true_up(share):
        return replace(_weight(share, label, share.unit), note="its cells are those under true_up")
    found = share.closed.reconciliation_of(share.billed.header)
    days, cells = _days(share), Cells()
    for row, value in found.repriced if found else ():
        if row.cost_center == share.cost_center and days.contains(row.day):
            cell = cells.setdefault((str(row.day), row.model, normal_tier(row.tier)), _Cell())
            cell.amounts.append(value)
            for token_type, tokens in row.tokens.items():
                cell.tokens[token_type] += tokens
    prices = _Prices(share, found).by_cell if found else {}
    nodes = [_cell_node(key, cell, share, prices.get(key, {})) for key, cell in cells.items()]
    return _of_cells(share, label, nodes)


def _has_true_up(share: Share) -> bool:
    """Whether the tree shows the cost center's true-up, which has the same weight; a line of zero is none."""
    true_up = (each for each in share.splits if each.charge_type is ChargeType.TRUE_UP)
    return any(each.parts.get(share.cost_center) for each in true_up)


@dataclass
class _Prices:
    """The prices per million tokens of a match's cells, by the words of the log."""

    share: Share
    found: Reconciliation

    @cached_property
    def by_cell(self) -> dict[tuple[str, str, str], dict[str, set[Decimal]]]:
        """Prices by day, logged model and tier, then by token type; several where bands or geographies differ."""
        provider, closed = self.share.billed.header.provider, self.share.closed
        fallback = closed.inputs.policy.of_provider(provider).pricing.fallback_tiers
        book = CellPrices(provider, closed.match.inputs.book, fallback)
        by_book: dict[tuple[str, str, str], dict[str, set[Decimal]]] = defaultdict(lambda: defaultdict(set))
        for each in self.found.cells:
            if each.usd_per_token is not None:
                price = exact_product(each.usd_per_token, _MILLION)
                by_book[str(each.day), each.model, each.tier][each.token_type].add(price)
        names = {(str(row.day), row.model, normal_tier(row.tier)) for row, _ in self.found.repriced}
        return {(day, model, tier): by_book.get((day, book.model(model), tier), {}) for day, model, tier in names}


def _cell_node(key: tuple[str, str, str], cell: _Cell, share: Share, prices: Mapping[str, set[Decimal]]) -> Node:
    words = []
    for token_type, tokens in cell.tokens.items():
        if tokens:
            at = " to ".join(f"{price.normalize():f}" for price in _range(prices.get(token_type, set())))
            words.append(f"{tokens:,} {token_type}" + (f" at {at}" if at else ""))
    amount, rate = exact_sum(cell.amounts), share.billed.fx_rate
    return Node(" ".join(key), amount if rate == 1 else quotient(amount, rate), share.unit, note=", ".join(words))


def _range(prices: set[Decimal]) -> list[Decimal]:
    return sorted({min(prices), max(prices)}) if prices else []


def _unproxied(share: Share) -> Node:
    """The days on which keys that the cost center owns were used outside the proxy."""
    found = share.closed.reconciliation_of(share.billed.header)
    days, rate = _days(share), share.billed.fx_rate
    by_day: dict[str, list[Decimal]] = defaultdict(list)
    for each in owned_by(share.closed.inputs, share.closed.match, found) if found else ():
        if each.cost_center == share.cost_center and days.contains(each.day):
            by_day[str(each.day)].append(each.cost_usd)
    nodes = [
        Node(day, exact_sum(mine) if rate == 1 else quotient(exact_sum(mine), rate), share.unit)
        for day, mine in by_day.items()
    ]
    return _of_cells(share, "weight: keys that it owns, by day", nodes)


def _charges_so_far(share: Share) -> Node:
    """The charges before the pool, by type: for credits without the credits, for tax with them (Rule 6.3)."""
    types = list(ChargeType)
    before = [each for each in share.splits if types.index(each.charge_type) < types.index(share.split.charge_type)]
    nodes = [
        Node(str(each.charge_type), each.parts[share.cost_center], share.unit)
        for each in before
        if each.parts.get(share.cost_center)
    ]
    weight = (share.split.weights or {}).get(share.cost_center, Decimal(0))
    rest = "nothing below zero" if weight == 0 else "rounding"
    return sum_node("weight: its charges so far", weight, share.unit, nodes, rest=rest)


def logged_calls(closed: ClosedMonth, provider: str, cost_center: str, days: InvoicePeriod) -> tuple[Decimal, int]:
    """What the proxy logged for a cost center on the days, and how many calls that is of."""
    rows = _usage_rows(closed, provider, cost_center, days)
    return exact_sum(row["logged_spend_usd"] for row in rows), sum(row["calls"] for row in rows)


def calls_node(share_of: tuple[Decimal, int], calls: Iterable[tuple[str, Decimal]], unit: str) -> Node:
    """Single calls under what the proxy logged: `share_of` is that amount and how many calls it is of.

    `calls` are label and logged spend of the largest ones; a leaf holds all the others.
    """
    total, count = share_of
    nodes = [Node(label, amount, unit) for label, amount in calls]
    label, rest = "the largest calls, as the lake holds them now", f"and {max(0, count - len(nodes)):,} more"
    return sum_node(label, total, unit, nodes, rest=rest)
