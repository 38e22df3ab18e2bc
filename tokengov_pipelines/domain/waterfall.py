"""From what the proxy logged to what the provider reports: the states W1 to W7 of rule 4.2.

Belongs here: the comparison of legs A and B, cell by cell, with its evidence. Does not belong here: how cells are made
(`usage_cells`), error items (`match_errors`), invoice lines (`invoice_match`), the finished answer (`reconcile`).

Amounts are whole picodollars (1e-12 USD) inside, because a price per token has 12 decimals: every product and sum is
exact and fast. The only rounding is that of W3a, to 12 decimals.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.legs import KeyRegistry, Legs, LoggedUsage, ReportedCost
from tokengov_pipelines.domain.match_errors import match_errors
from tokengov_pipelines.domain.match_result import (
    CellMatch,
    Evidence,
    KeyOf,
    MatchError,
    MatchMode,
    PricingCause,
    PricingGap,
    RateCell,
)
from tokengov_pipelines.domain.money import from_cents
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.usage_cells import Cell, CellPrice, CellPrices, UsageCells, pico, usage_cells

PICO_PLACES: Final = 12

_CAUSES: Final[Mapping[CallClass, PricingCause]] = {
    CallClass.UNPRICED: PricingCause.UNPRICED,
    CallClass.FAILED_SPEND: PricingCause.FAILED_SPEND,
    CallClass.CACHE_HIT: PricingCause.CACHE_HIT_SPEND,
    CallClass.SUBSCRIPTION: PricingCause.SUBSCRIPTION,
}


@dataclass(frozen=True)
class UsageMatch:
    """States W1 to W7 in exact USD, the cells under them, and everything that a reviewer may ask for.

    `repriced` is each logged row's part of W2, in the order of the rows.
    """

    mode: MatchMode
    states: Mapping[str, Decimal]
    cells: tuple[CellMatch, ...]
    pricing_gaps: tuple[PricingGap, ...]
    rate_cells: tuple[RateCell, ...]
    errors: tuple[MatchError, ...]
    evidence: Evidence
    repriced: tuple[Decimal, ...] = ()


def match_usage(
    legs: Legs, registry: KeyRegistry, book: PriceBook, *, fallback_tiers: Sequence[str] = ()
) -> UsageMatch:
    """Compare legs A and B, which are already cut to the days that the match is about (Rules 4.2, 4.4, 4.5).

    Without a usage report the provider's quantities are the proxy's; without a cost report W6 is W5 (two-way). What
    has no price counts as zero in every state and is an error, so that a match with it is never trusted.
    """
    prices = CellPrices(legs.provider, book, tuple(fallback_tiers))
    found = usage_cells(legs, registry, prices)
    counted = _counted(found, prices)
    logged = [pico(each.logged) for each in legs.logged]
    costs = [(each, pico(each.amount)) for each in legs.costs or ()]
    token_costs = [(line, amount) for line, amount in costs if line.cost_type == "tokens"]
    w2, w3a, w3, w4, w5 = _quantity_states(counted)
    w6 = w5 if legs.costs is None else sum(amount for _, amount in token_costs)
    w7 = w6 + sum(amount for line, amount in costs if line.cost_type != "tokens")
    states = {"W1": sum(logged), "W2": w2, "W3a": w3a, "W3": w3, "W4": w4, "W5": w5, "W6": w6, "W7": w7}
    shifts = _cutoff_shifts(counted)
    cells = _cell_matches(legs.provider, counted, shifts, found.inferred)
    gaps = tuple(_pricing_gaps(legs.logged, logged, found.repriced))
    return UsageMatch(
        mode=MatchMode.TWO_WAY if legs.costs is None else MatchMode.THREE_WAY,
        states={name: from_cents(amount, PICO_PLACES) for name, amount in states.items()},
        cells=cells,
        pricing_gaps=gaps,
        rate_cells=_rate_cells(legs.provider, token_costs, found, prices) if legs.costs is not None else (),
        errors=tuple(match_errors(legs, registry, cells, prices, found.contradictions)),
        evidence=_evidence(legs, counted, shifts, found.inferred, gaps),
        repriced=tuple(from_cents(value, PICO_PLACES) for value in found.repriced),
    )


class _Counted(NamedTuple):
    """A cell with its price and everybody's tokens: looked up once, for every figure that is made of them."""

    cell: Cell
    price: CellPrice
    proxy: int
    own: int
    other: int


def _counted(found: UsageCells, prices: CellPrices) -> list[_Counted]:
    """Every cell in which anybody counted, by day first."""
    return [
        _Counted(cell, prices.of(cell), found.proxy.get(cell, 0), found.own.get(cell, 0), found.other.get(cell, 0))
        for cell in sorted(found.all())
    ]


def _quantity_states(counted: Sequence[_Counted]) -> tuple[int, int, int, int, int]:
    """W2, W3a, W3, W4, W5 in picodollars."""
    w2 = w4 = unproxied = proxy_at_standard = quantity = 0
    proxy_tokens = own_tokens = 0
    for _, price, proxy, own, other in counted:
        w2 += proxy * price.pico
        w4 += own * price.pico
        unproxied += other * price.pico
        proxy_at_standard += proxy * price.standard_pico
        quantity += (own - proxy) * price.standard_pico
        proxy_tokens += proxy
        own_tokens += own
    w3a = w2 + quantity  # with nothing to take an average of, volume is the whole quantity variance (Rule 4.2)
    if proxy_tokens:
        w3a = _half_away(w2 + Fraction((own_tokens - proxy_tokens) * proxy_at_standard, proxy_tokens))
    return w2, w3a, w2 + quantity, w4, w4 + unproxied


def _half_away(exact: Fraction) -> int:
    """Half away from zero, to a whole picodollar (Rule 1.3)."""
    whole, rest = divmod(abs(exact.numerator), exact.denominator)
    rounded = whole + (2 * rest >= exact.denominator)
    return rounded if exact >= 0 else -rounded


def _cell_matches(
    provider: str, counted: Iterable[_Counted], shifts: Mapping[Cell, int], inferred: Set[Cell]
) -> tuple[CellMatch, ...]:
    return tuple(
        CellMatch(
            day=cell.day,
            provider=provider,
            model=cell.model,
            token_type=cell.token_type,
            tier=cell.tier,
            over_tokens=cell.over_tokens,
            geo=cell.geo,
            speed=cell.speed,
            proxy_tokens=proxy,
            own_tokens=own,
            other_tokens=other,
            usd_per_token=price.usd_per_token,
            standard_usd_per_token=price.standard_usd_per_token,
            price_status=price.status,
            band_inferred=cell in inferred,
            cutoff_shift_tokens=shifts.get(cell, 0),
        )
        for cell, price, proxy, own, other in counted
    )


def _cutoff_shifts(counted: Iterable[_Counted]) -> dict[Cell, int]:
    """The part of each cell's variance that the next day offsets: calls over midnight, late buckets (Rule 4.3)."""
    left = {cell: own - proxy for cell, _, proxy, own, _ in counted if own != proxy}
    shifts: dict[Cell, int] = {}
    for cell in list(left):  # by day, as they were counted
        after = cell._replace(day=cell.day + dt.timedelta(days=1))
        here, there = left[cell], left.get(after, 0)
        if here * there >= 0:
            continue
        size = min(abs(here), abs(there))
        for moved, value in ((cell, here), (after, there)):
            part = size if value > 0 else -size
            shifts[moved] = shifts.get(moved, 0) + part
            left[moved] = value - part
    return shifts


def _pricing_gaps(logged: Iterable[LoggedUsage], spend: Iterable[int], repriced: Iterable[int]) -> list[PricingGap]:
    """Rows that were logged at another amount than the book's, too low and too high apart (Rules 4.4, 4.8)."""
    groups: dict[tuple[dt.date, str, str, int, CallClass, bool], list[tuple[LoggedUsage, int, int]]] = defaultdict(list)
    for row, spent, at_book in zip(logged, spend, repriced, strict=True):
        if spent != at_book:
            group = (row.day, row.model, row.tier, row.over_tokens, row.call_class, spent > at_book)
            groups[group].append((row, spent, at_book))
    gaps = []
    for (day, model, tier, over_tokens, call_class, _), rows in sorted(groups.items()):
        tokens = sum(sum(row.tokens.values()) for row, _, _ in rows)
        gaps.append(
            PricingGap(
                day=day,
                provider=rows[0][0].provider,
                model=model,
                tier=tier,
                over_tokens=over_tokens,
                call_class=call_class,
                cause=_CAUSES.get(call_class, PricingCause.PRICE_DIFFERS if tokens else PricingCause.NO_TOKENS),
                calls=sum(row.calls for row, _, _ in rows),
                tokens=tokens,
                logged=from_cents(sum(spent for _, spent, _ in rows), PICO_PLACES),
                repriced=from_cents(sum(at_book for _, _, at_book in rows), PICO_PLACES),
            )
        )
    return gaps


_ReportCell = tuple[dt.date, str, str, str | None, str | None]


def _rate_cells(
    provider: str, token_costs: Sequence[tuple[ReportedCost, int]], found: UsageCells, prices: CellPrices
) -> tuple[RateCell, ...]:
    """The cost report against usage at list, at the report's own grain (Rule 5.2)."""
    has_tier = any(line.tier is not None for line, _ in token_costs)
    reported: dict[_ReportCell, int] = defaultdict(int)
    for line, amount in token_costs:
        tier = line.tier if has_tier else None
        reported[line.day, prices.model(line.model), line.token_type or "", tier, line.workspace_id] += amount
    listed: dict[_ReportCell, dict[KeyOf, int]] = defaultdict(lambda: defaultdict(int))
    for cell, keys in found.by_key.items():
        pico_per_token, tier = prices.of(cell).pico, cell.tier if has_tier else None
        for key, tokens in keys.items():
            listed[cell.day, cell.model, cell.token_type, tier, key[2]][key] += tokens * pico_per_token
    cells = sorted(set(reported) | set(listed), key=lambda at: (at[0], at[1], at[2], at[3] or "", at[4] or ""))
    return tuple(
        RateCell(
            day=at[0],
            provider=provider,
            model=at[1],
            token_type=at[2],
            tier=at[3],
            workspace_id=at[4],
            reported=from_cents(reported.get(at, 0), PICO_PLACES),
            listed={key: from_cents(amount, PICO_PLACES) for key, amount in listed.get(at, {}).items()},
        )
        for at in cells
    )


def _evidence(
    legs: Legs,
    counted: Sequence[_Counted],
    shifts: Mapping[Cell, int],
    inferred: Set[Cell],
    gaps: Sequence[PricingGap],
) -> Evidence:
    own_list = other_list = inferred_tokens = cutoff_shift = 0
    # own - proxy tokens at the standard price, by cell of rule 4.2: a tier that the proxy did not know is no loss.
    over_tiers: dict[Cell, int] = defaultdict(int)
    for cell, price, proxy, own, other in counted:
        own_list += own * price.pico
        other_list += other * price.pico
        if own != proxy:
            over_tiers[cell._replace(tier="")] += (own - proxy) * price.standard_pico
        if cell in inferred:
            inferred_tokens += own + other
        if cell in shifts:
            cutoff_shift += abs(shifts[cell]) * price.standard_pico
    unpriced = [gap for gap in gaps if gap.cause is PricingCause.UNPRICED]
    return Evidence(
        own_tokens=sum(each.own for each in counted),
        proxy_tokens=sum(each.proxy for each in counted),
        other_tokens=sum(each.other for each in counted),
        own_list_usd=from_cents(own_list, PICO_PLACES),
        other_list_usd=from_cents(other_list, PICO_PLACES),
        lost_usd=from_cents(sum(amount for amount in over_tiers.values() if amount > 0), PICO_PLACES),
        surplus_usd=from_cents(sum(amount for amount in over_tiers.values() if amount < 0), PICO_PLACES),
        cutoff_shift_usd=from_cents(cutoff_shift, PICO_PLACES),
        band_inferred_tokens=inferred_tokens,
        unpriced_calls=sum(gap.calls for gap in unpriced),
        unpriced_usd=from_cents(sum(pico(gap.amount) for gap in unpriced), PICO_PLACES),
        calls=sum(each.calls for each in legs.logged),
        calls_without_usage=sum(each.calls_without_usage for each in legs.logged),
    )
