"""From what the proxy logged to what the provider reports: the states W1 to W7 of rule 4.2.

Belongs here: the comparison of legs A and B, cell by cell, with its evidence. Does not belong here: how cells are made
(`usage_cells`), error items (`match_errors`), invoice lines (`invoice_match`), the finished answer (`reconcile`).

Amounts are whole picodollars (1e-12 USD) inside, because a price per token has 12 decimals: every product and sum is
exact and fast. The only rounding is that of W3a, to 12 decimals.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.legs import KeyRegistry, Legs, LoggedUsage
from tokengov_pipelines.domain.match_errors import match_errors
from tokengov_pipelines.domain.match_result import (
    CellMatch,
    Evidence,
    MatchError,
    MatchMode,
    PricingCause,
    PricingGap,
    RateCell,
)
from tokengov_pipelines.domain.money import from_cents
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.usage_cells import Cell, CellPrices, UsageCells, pico, usage_cells

PICO_PLACES: Final = 12

_CAUSES: Final[Mapping[CallClass, PricingCause]] = {
    CallClass.UNPRICED: PricingCause.UNPRICED,
    CallClass.FAILED_SPEND: PricingCause.FAILED_SPEND,
    CallClass.CACHE_HIT: PricingCause.CACHE_HIT_SPEND,
    CallClass.SUBSCRIPTION: PricingCause.SUBSCRIPTION,
}


@dataclass(frozen=True)
class UsageMatch:
    """States W1 to W7 in exact USD, the cells under them, and everything that a reviewer may ask for."""

    mode: MatchMode
    states: Mapping[str, Decimal]
    cells: tuple[CellMatch, ...]
    pricing_gaps: tuple[PricingGap, ...]
    rate_cells: tuple[RateCell, ...]
    errors: tuple[MatchError, ...]
    evidence: Evidence


def match_usage(
    legs: Legs, registry: KeyRegistry, book: PriceBook, *, fallback_tiers: Sequence[str] = ()
) -> UsageMatch:
    """Compare legs A and B, which are already cut to the days that the match is about (Rules 4.2, 4.4, 4.5).

    Without a usage report the provider's quantities are the proxy's; without a cost report W6 is W5 (two-way). What
    has no price counts as zero in every state and is an error, so that a match with it is never trusted.
    """
    prices = CellPrices(legs.provider, book, tuple(fallback_tiers))
    found = usage_cells(legs, registry, prices)
    w1 = sum(pico(each.logged) for each in legs.logged)
    w2, w3a, w3, w4, w5 = _quantity_states(found, prices)
    token_costs = [each for each in legs.costs or () if each.cost_type == "tokens"]
    w6 = w5 if legs.costs is None else sum(pico(each.amount) for each in token_costs)
    w7 = w6 + sum(pico(each.amount) for each in legs.costs or () if each.cost_type != "tokens")
    states = {"W1": w1, "W2": w2, "W3a": w3a, "W3": w3, "W4": w4, "W5": w5, "W6": w6, "W7": w7}
    cells = _cell_matches(legs.provider, found, prices)
    gaps = tuple(_pricing_gaps(legs.logged, prices, found))
    return UsageMatch(
        mode=MatchMode.TWO_WAY if legs.costs is None else MatchMode.THREE_WAY,
        states={name: from_cents(amount, PICO_PLACES) for name, amount in states.items()},
        cells=cells,
        pricing_gaps=gaps,
        rate_cells=_rate_cells(legs, found, prices) if legs.costs is not None else (),
        errors=tuple(match_errors(legs, registry, cells, prices, found.contradictions)),
        evidence=_evidence(legs, cells, gaps),
    )


def _quantity_states(found: UsageCells, prices: CellPrices) -> tuple[int, int, int, int, int]:
    """W2, W3a, W3, W4, W5 in picodollars."""
    w2 = w4 = unproxied = proxy_at_standard = quantity = 0
    proxy_tokens = own_tokens = 0
    for cell in found.all():
        price = prices.of(cell)
        q_proxy, q_own, q_other = found.proxy.get(cell, 0), found.own.get(cell, 0), found.other.get(cell, 0)
        w2 += q_proxy * price.pico
        w4 += q_own * price.pico
        unproxied += q_other * price.pico
        proxy_at_standard += q_proxy * price.standard_pico
        quantity += (q_own - q_proxy) * price.standard_pico
        proxy_tokens += q_proxy
        own_tokens += q_own
    w3a = w2 + quantity  # with nothing to take an average of, volume is the whole quantity variance (Rule 4.2)
    if proxy_tokens:
        w3a = _half_away(w2 + Fraction((own_tokens - proxy_tokens) * proxy_at_standard, proxy_tokens))
    return w2, w3a, w2 + quantity, w4, w4 + unproxied


def _half_away(exact: Fraction) -> int:
    """Half away from zero, to a whole picodollar (Rule 1.3)."""
    whole, rest = divmod(abs(exact.numerator), exact.denominator)
    rounded = whole + (2 * rest >= exact.denominator)
    return rounded if exact >= 0 else -rounded


def _cell_matches(provider: str, found: UsageCells, prices: CellPrices) -> tuple[CellMatch, ...]:
    shifts = _cutoff_shifts(found)
    matches = []
    for cell in sorted(found.all()):
        price = prices.of(cell)
        matches.append(
            CellMatch(
                day=cell.day,
                provider=provider,
                model=cell.model,
                token_type=cell.token_type,
                tier=cell.tier,
                over_tokens=cell.over_tokens,
                geo=cell.geo,
                speed=cell.speed,
                proxy_tokens=found.proxy.get(cell, 0),
                own_tokens=found.own.get(cell, 0),
                other_tokens=found.other.get(cell, 0),
                usd_per_token=price.usd_per_token,
                standard_usd_per_token=price.standard_usd_per_token,
                price_status=price.status,
                band_inferred=cell in found.inferred,
                cutoff_shift_tokens=shifts.get(cell, 0),
            )
        )
    return tuple(matches)


def _cutoff_shifts(found: UsageCells) -> dict[Cell, int]:
    """The part of each cell's variance that the next day offsets: calls over midnight, late buckets (Rule 4.3)."""
    left = {cell: found.own.get(cell, 0) - found.proxy.get(cell, 0) for cell in found.all()}
    shifts: dict[Cell, int] = {}
    for cell in sorted(left):
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


def _pricing_gaps(logged: Sequence[LoggedUsage], prices: CellPrices, found: UsageCells) -> list[PricingGap]:
    """Rows that were logged at another amount than the book's, too low and too high apart (Rules 4.4, 4.8)."""
    groups: dict[tuple[dt.date, str, str, int, CallClass, bool], list[tuple[LoggedUsage, int, int]]] = defaultdict(list)
    for row, cells in zip(logged, found.by_row, strict=True):
        spent = pico(row.logged)
        at_book = sum(tokens * prices.of(cell).pico for cell, tokens in cells)
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


def _rate_cells(legs: Legs, found: UsageCells, prices: CellPrices) -> tuple[RateCell, ...]:
    """The cost report against usage at list, at the report's own grain (Rule 5.2)."""
    lines = [each for each in legs.costs or () if each.cost_type == "tokens"]
    has_tier = any(each.tier is not None for each in lines)
    reported: dict[_ReportCell, int] = defaultdict(int)
    for line in lines:
        model = prices.model(line.model)
        reported[line.day, model, line.token_type or "", line.tier if has_tier else None, line.workspace_id] += pico(
            line.amount
        )
    listed: dict[_ReportCell, dict[tuple[str, str | None, str | None], int]] = defaultdict(lambda: defaultdict(int))
    for (cell, account, key_id, workspace_id), tokens in found.by_key.items():
        at = (cell.day, cell.model, cell.token_type, cell.tier if has_tier else None, workspace_id)
        listed[at][account, key_id, workspace_id] += tokens * prices.of(cell).pico
    cells = sorted(set(reported) | set(listed), key=lambda at: (at[0], at[1], at[2], at[3] or "", at[4] or ""))
    return tuple(
        RateCell(
            day=at[0],
            provider=legs.provider,
            model=at[1],
            token_type=at[2],
            tier=at[3],
            workspace_id=at[4],
            reported=from_cents(reported.get(at, 0), PICO_PLACES),
            listed={key: from_cents(amount, PICO_PLACES) for key, amount in listed.get(at, {}).items()},
        )
        for at in cells
    )


def _evidence(legs: Legs, cells: Sequence[CellMatch], gaps: Sequence[PricingGap]) -> Evidence:
    def total(amounts: Iterable[Decimal]) -> Decimal:
        return from_cents(sum(pico(amount) for amount in amounts), PICO_PLACES)

    quantity = _quantity_over_tiers(cells)
    unpriced = [gap for gap in gaps if gap.cause is PricingCause.UNPRICED]
    shifted = [
        abs(cell.cutoff_shift_tokens) * (cell.standard_usd_per_token or Decimal(0))
        for cell in cells
        if cell.cutoff_shift_tokens
    ]
    return Evidence(
        own_tokens=sum(cell.own_tokens for cell in cells),
        proxy_tokens=sum(cell.proxy_tokens for cell in cells),
        other_tokens=sum(cell.other_tokens for cell in cells),
        own_list_usd=total(cell.own_tokens * (cell.usd_per_token or Decimal(0)) for cell in cells),
        other_list_usd=total(cell.unproxied_amount for cell in cells),
        lost_usd=total(amount for amount in quantity if amount > 0),
        surplus_usd=total(amount for amount in quantity if amount < 0),
        cutoff_shift_usd=total(shifted),
        band_inferred_tokens=sum(cell.own_tokens + cell.other_tokens for cell in cells if cell.band_inferred),
        unpriced_calls=sum(gap.calls for gap in unpriced),
        unpriced_usd=total(gap.amount for gap in unpriced),
        calls=sum(each.calls for each in legs.logged),
        calls_without_usage=sum(each.calls_without_usage for each in legs.logged),
    )


def _quantity_over_tiers(cells: Sequence[CellMatch]) -> list[Decimal]:
    """own - proxy tokens at the standard price, by cell of rule 4.2: a tier that the proxy did not know is no loss."""
    found: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    for cell in cells:
        at = (cell.day, cell.model, cell.token_type, cell.over_tokens, cell.geo, cell.speed)
        found[at] += cell.quantity_amount
    return list(found.values())
