"""A reconciliation as a statement: one row a line, from what was logged to what was invoiced (rules 4.2, 11.4).

Belongs here: the rows of fct_reconciliation_monthly and fct_reconciling_items as plain values, and each line's evidence
in words. Does not belong here: their types in Parquet (`assets`) and in CSV (`reconciliation_csv`, `recon_items_csv`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tokengov_pipelines.domain.match_result import Component, LineOutcome
from tokengov_pipelines.domain.money import exact_sum, quantize_internal, round_posting
from tokengov_pipelines.domain.open_item import QUANTITY, ItemStatus, ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation

LOGGED: Final = "logged"
INVOICE: Final = "invoice"
LAST_STATE_NO: Final = len(Component) + 1
"""The number of the invoice's line: 0 is the log, 1 to 13 are the causes in waterfall order."""

_BY_MONTH: Final = (Component.TIMING, Component.UNPROXIED)
_PERCENT_SCALE: Final = 4
_SHOWN: Final = 3


def monthly_rows(rec: Reconciliation, items: Iterable[ReconcilingItem] = ()) -> list[dict[str, Any]]:
    """The statement of one reconciliation: the log, each cause, and (where there is one) the invoice.

    `amount_exact` has 12 decimals, `amount` is in cents and foots: log + causes = invoice, in both. `pct_of_invoice` is
    a percentage with 4 decimals, None without an invoice or with one of zero. `period_end` is exclusive. `items` are
    the month's items; `items_open` counts this reconciliation's open ones, those of quantity at volume, and at the
    invoice's line all of them with the errors.
    """
    counts = Counter(item.component for item in items if item.is_open and _is_of(item, rec))
    gap = exact_sum(amount for _, amount in rec.footed)
    # The log in cents is the rest, so that the statement foots when the log ends on half a cent.
    logged = round_posting(rec.logged) if rec.total is None else exact_sum([round_posting(rec.total), -gap])
    lines: list[tuple[int, str, str, Decimal, Decimal, int | None]]
    lines = [(0, "W0", LOGGED, rec.logged, logged, None)]
    for (component, amount), exact in zip(rec.footed, rec.components.values(), strict=True):
        number = list(Component).index(component) + 1
        word = QUANTITY if component is Component.VOLUME else str(component)
        lines.append((number, component.state, str(component), exact, amount, counts[word]))
    if rec.total is not None:
        lines.append((LAST_STATE_NO, "W12", INVOICE, rec.total, round_posting(rec.total), counts.total()))
    return [
        {
            "billing_month": str(rec.month),
            "provider": rec.provider,
            "account": rec.account,
            "invoice_id": rec.invoice_id,
            "period_start": rec.period.start,
            "period_end": rec.period.end,
            "mode": str(rec.mode),
            "state_no": number,
            "state": state,
            "component": component,
            "amount_exact": quantize_internal(exact),
            "amount": amount,
            "currency": rec.currency,
            "pct_of_invoice": _percent(exact, rec.total),
            "status": str(rec.status),
            "tolerance": quantize_internal(rec.tolerance),
            "evidence": _evidence(rec, component),
            "items_open": open_items,
        }
        for number, state, component, exact, amount, open_items in lines
    ]


def item_rows(items: Iterable[ReconcilingItem]) -> list[dict[str, Any]]:
    """The items as rows: every field by its name, words as text. Ages are not in them: they depend on the day."""
    return [
        {
            field.name: str(value)
            if isinstance(value := getattr(item, field.name), (BillingMonth, ItemStatus))
            else value
            for field in fields(item)
        }
        for item in items
    ]


def items_from_rows(rows: Iterable[Mapping[str, Any]]) -> list[ReconcilingItem]:
    """The items that such rows were made of; columns that no item has are passed over."""
    names = [field.name for field in fields(ReconcilingItem)]
    found = []
    for row in rows:
        values = {name: row[name] for name in names}
        values["billing_month"] = BillingMonth.parse(values["billing_month"])
        values["starts_as"] = ItemStatus(values["starts_as"])
        values["status"] = ItemStatus(values["status"])
        found.append(ReconcilingItem(**values))
    return found


def _is_of(item: ReconcilingItem, rec: Reconciliation) -> bool:
    """Whether an item is of this reconciliation, and not carried over from an earlier one or of another invoice."""
    mine = (rec.provider, rec.account, rec.invoice_id, rec.period.start)
    same = (item.provider, item.account, item.invoice_id, item.period_start) == mine
    return same and (item.component not in _BY_MONTH or item.billing_month == rec.month)


def _percent(part: Decimal, whole: Decimal | None) -> Decimal | None:
    """part / whole in percent, rounded once from the exact fraction; for people, it decides nothing (rule 1.3)."""
    if not whole:
        return None
    scaled = Fraction(part) / Fraction(whole) * 100 * 10**_PERCENT_SCALE
    size = (2 * abs(scaled.numerator) + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(size if scaled >= 0 else -size).scaleb(-_PERCENT_SCALE)


def _evidence(rec: Reconciliation, component: str) -> str:
    """What a line rests on, in words with figures."""
    found, days = rec.evidence, f"{rec.period.start} to {rec.period.last_day}"
    gaps = [gap.amount for gap in rec.pricing_gaps]
    texts = {
        LOGGED: f"{found.calls:,} calls of {rec.month}; {found.calls_without_usage:,} without usage figures",
        Component.TIMING: f"log of {days} less log of {rec.month}; calls over midnight {_usd(found.straddling_usd)}",
        Component.PROXY_PRICING: f"logged too low {_usd(_only(gaps, 1))}, too high {_usd(_only(gaps, -1))}; "
        f"{found.unpriced_calls:,} unpriced calls worth {_usd(found.unpriced_usd)}",
        Component.VOLUME: f"{found.own_tokens:,} tokens reported on the proxy's keys, {found.proxy_tokens:,} logged; "
        f"with mix {_usd(_quantity(rec))}: lost {_usd(found.lost_usd)}, surplus {_usd(found.surplus_usd)}, of which "
        f"{_usd(found.cutoff_shift_usd)} shifted between neighbouring days",
        Component.MIX: f"volume and mix together are {_usd(_quantity(rec))}; by cell in recon_items.csv",
        Component.TIER_DISCOUNT: "tokens that were billed in another tier than logged, at the difference of the prices",
        Component.UNPROXIED: f"{found.other_tokens:,} tokens on other keys, at list {_usd(found.other_list_usd)}",
        Component.PROVIDER_RATE: f"list value {_usd(exact_sum([found.own_list_usd, found.other_list_usd]))}; "
        f"{found.band_inferred_tokens:,} tokens in a context band that was inferred",
        Component.NON_TOKEN: "reported cost that is not of tokens",
        Component.COMMITMENT: "invoice lines that no report carries",
        Component.CREDITS_DISCOUNTS: "credit lines of the invoice",
        Component.TAX: "tax lines of the invoice",
        Component.ROUNDING: _lines(rec, [LineOutcome.ROUNDING]),
        Component.UNEXPLAINED: _lines(
            rec, [LineOutcome.UNEXPLAINED, LineOutcome.NOT_REPORTED, LineOutcome.NOT_INVOICED]
        ),
        INVOICE: "; ".join([f"{len(rec.errors)} errors" if rec.errors else "no errors", *found.notes]),
    }
    return texts[component]


def _quantity(rec: Reconciliation) -> Decimal:
    return exact_sum(rec.components[each] for each in (Component.VOLUME, Component.MIX))


def _only(amounts: Iterable[Decimal], sign: int) -> Decimal:
    return exact_sum(amount for amount in amounts if amount * sign > 0)


def _lines(rec: Reconciliation, outcomes: Sequence[LineOutcome]) -> str:
    """'2 lines: claude-opus output +1.20, ...', the largest first."""
    mine = sorted(
        (each for each in rec.line_differences if each.outcome in outcomes), key=lambda each: -abs(each.amount)
    )
    if not mine:
        return "no line differs"
    shown = ", ".join(f"{each.label} {_usd(each.amount, signed=True)}" for each in mine[:_SHOWN])
    return f"{len(mine)} lines: {shown}{', ...' if len(mine) > _SHOWN else ''}"


def _usd(amount: Decimal, *, signed: bool = False) -> str:
    """An amount in words: in cents, and with its digits where cents would show nothing."""
    cents = round_posting(amount)
    shown = amount.normalize() if amount and not cents else cents
    return f"{shown:+,f}" if signed else f"{shown:,f}"
