"""One invoice's part of a month: its pools, and what each is split by (Rules 2.2, 6.1 to 6.3).

Belongs here: the weights and pools of an invoice from its match. Does not belong here: the charge lines (`charges`),
how a pool is split (`domain.allocation`), the value of a row (`usage_values`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from tokengov_pipelines.closing.findings import owned_by, owner_sources
from tokengov_pipelines.closing.inputs import SEAT_ASSIGNMENTS, USAGE_CELLS, MonthInputs
from tokengov_pipelines.closing.match import MonthMatch
from tokengov_pipelines.closing.usage_values import UsageValues, usage_values
from tokengov_pipelines.domain.allocation import AllocationBasis, DirectedCredit
from tokengov_pipelines.domain.bypass_keys import OwnedUse
from tokengov_pipelines.domain.charge_detail import UsedBy
from tokengov_pipelines.domain.chargeback import (
    BilledMonth,
    InvoiceHeader,
)
from tokengov_pipelines.domain.invoice import InvoiceLine
from tokengov_pipelines.domain.match_result import Component, MatchMode
from tokengov_pipelines.domain.money import (
    INTERNAL_SCALE,
    ZeroWeights,
    allocate,
    exact_sum,
    from_cents,
    minor_unit_scale,
    quantize_internal,
    to_cents,
)
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import BilledParts, Pool, pools_by_month
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.seats import SeatBill, SeatCharges, SeatRow, charge_seats, seat_assignments

_CENTRAL = (Component.ROUNDING, Component.UNEXPLAINED)


def billed_month(
    inputs: MonthInputs, match: MonthMatch, header: InvoiceHeader, reconciliation: Reconciliation
) -> tuple[BilledMonth, UsageValues, list[SeatCharges]]:
    """The month's part of an invoice, the drill rows behind it, and its seats where the directory assigns them."""
    month, scale = inputs.month, minor_unit_scale(header.currency)
    rate = match.rates.get(header.invoice_id, Decimal(1))
    invoice = next((each for each in match.invoices if each.invoice_id == header.invoice_id), None)
    lines = invoice.lines if invoice and invoice.provider == header.provider else ()
    owned = owned_by(inputs, match, reconciliation)
    total = exact_sum([header.total, -header.recoverable_tax])
    months = header.period.split_over_months(total, _daily(match, header, reconciliation), scale=scale)
    # Credits that lapsed were used by nobody (Rule 4.9).
    expired = total_of(lines, "commitment") if header.provider in match.prepaid else Decimal(0)
    parts = BilledParts(
        total=total,
        unproxied=_by_month((each.day, each.cost_usd) for each in owned),
        non_token=_non_token(match, header, reconciliation, months),
        commitment=Decimal(0) if expired else total_of(lines, "commitment"),
        seats=total_of(lines, "seat"),
        credits=total_of(lines, "credit"),
        tax=exact_sum([total_of(lines, "tax"), -header.recoverable_tax]),
        central=exact_sum(
            [
                expired,
                *(
                    reconciliation.components.get(each, Decimal(0))
                    for each in (Component.ROUNDING, Component.UNEXPLAINED)
                ),
            ]
        ),
    )
    parts = _in_currency_of(parts, rate)
    pools = pools_by_month(parts, months, scale=scale)[month]
    days = _within(header.period, month)
    fallback = inputs.policy.of_provider(header.provider).pricing.fallback_tiers
    values = usage_values(inputs.tables[USAGE_CELLS], header.provider, days, match.inputs.book, fallback)
    of_seats = _seats(inputs, header, days, pools[Pool.SEAT])
    basis = AllocationBasis(
        repriced=_divided(repriced_by(reconciliation, days), rate),
        logged=_divided(_logged(values), rate),
        unproxied=_divided(owners_of(each for each in owned if days.contains(each.day)), rate),
        priority_tokens=values.priority_tokens,
        seats=of_seats[0].by_cost_center if of_seats else {},
        directed_credits=_directed(inputs, match, lines, values, months, days, header),
    )
    return BilledMonth(header, pools, basis, values.tokens, values.rungs, rate), values, of_seats


def total_of(lines: Sequence[InvoiceLine], kind: str) -> Decimal:
    """The sum of an invoice's lines of one kind."""
    return exact_sum(line.amount for line in lines if line.kind == kind)


def _within(period: InvoicePeriod, month: BillingMonth) -> InvoicePeriod:
    return InvoicePeriod(max(period.start, month.first_day), min(period.end, month.next().first_day))


def _by_month(dated: Iterable[tuple[dt.date, Decimal]]) -> dict[BillingMonth, Decimal]:
    found: dict[BillingMonth, list[Decimal]] = defaultdict(list)
    for day, amount in dated:
        found[BillingMonth.of(day)].append(amount)
    return {month: exact_sum(found[month]) for month in sorted(found)}


def _daily(match: MonthMatch, header: InvoiceHeader, found: Reconciliation) -> dict[dt.date, Decimal] | None:
    """The weights of rule 2.2: the cost report by UTC day, else usage at list price, else (None) calendar days."""
    if len(header.period.months()) == 1:
        return None
    costs = _costs_of(match, header)
    reported = _by_day((each.day, each.amount) for each in costs)
    if any(reported.values()) and min(reported.values()) >= 0:
        return reported
    used = _by_day((cell.day, exact_sum([cell.proxy_amount, cell.unproxied_amount])) for cell in found.cells)
    return used if any(used.values()) else None


def _costs_of(match: MonthMatch, header: InvoiceHeader) -> list[Any]:
    legs = match.inputs.legs.get(header.provider)
    costs = [each for each in (legs.costs if legs else None) or () if header.period.contains(each.day)]
    named = {each.account for each in costs}
    return [each for each in costs if header.account not in named or each.account == header.account]


def _by_day(dated: Iterable[tuple[dt.date, Decimal]]) -> dict[dt.date, Decimal]:
    found: dict[dt.date, list[Decimal]] = defaultdict(list)
    for day, amount in dated:
        found[day].append(amount)
    return {day: exact_sum(found[day]) for day in sorted(found)}


def _non_token(
    match: MonthMatch, header: InvoiceHeader, found: Reconciliation, months: Mapping[BillingMonth, Decimal]
) -> dict[BillingMonth, Decimal]:
    """By the report's days; two-way the invoice alone knows of it, so it follows the months' shares."""
    if found.mode is MatchMode.THREE_WAY:
        return _by_month((each.day, each.amount) for each in _costs_of(match, header) if each.cost_type != "tokens")
    amount = found.components.get(Component.NON_TOKEN, Decimal(0))
    weights = {str(month): abs(share) for month, share in months.items()}
    try:
        parts = allocate(amount, weights, scale=INTERNAL_SCALE)
    except ZeroWeights:
        parts = allocate(amount, dict.fromkeys(weights, Decimal(1)), scale=INTERNAL_SCALE)
    return {BillingMonth.parse(month): part for month, part in parts.items()}


def _in_currency_of(parts: BilledParts, rate: Decimal) -> BilledParts:
    """What the match knows in the functional currency, in the invoice's; its own lines are in it already."""
    if rate == 1:
        return parts
    return replace(
        parts,
        unproxied={month: _quotient(amount, rate) for month, amount in parts.unproxied.items()},
        non_token={month: _quotient(amount, rate) for month, amount in parts.non_token.items()},
        central=_quotient(parts.central, rate),
    )


def in_currency(rows: list[UsedBy], rate: Decimal) -> list[UsedBy]:
    """Drill rows with what was logged in the invoice's currency; their repriced value is a weight and stays."""
    return rows if rate == 1 else [replace(row, logged=_quotient(row.logged, rate)) for row in rows]


def _divided(amounts: Mapping[str, Decimal], rate: Decimal) -> dict[str, Decimal]:
    return dict(amounts) if rate == 1 else {code: _quotient(amount, rate) for code, amount in amounts.items()}


def _quotient(amount: Decimal, rate: Decimal) -> Decimal:
    """Amount / rate to 12 decimals, half away from zero; the one division that a foreign invoice needs."""
    exact = Fraction(amount) / Fraction(rate) * 10**INTERNAL_SCALE
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return from_cents(rounded if exact >= 0 else -rounded, INTERNAL_SCALE)


def repriced_by(found: Reconciliation, days: InvoicePeriod) -> dict[str, Decimal]:
    """Each cost center's part of W2 on the days (Rule 6.2)."""
    values: dict[str, int] = defaultdict(int)
    for row, value in found.repriced:
        if days.contains(row.day):
            values[row.cost_center] += to_cents(value, INTERNAL_SCALE)
    return {code: from_cents(value, INTERNAL_SCALE) for code, value in sorted(values.items())}


def _logged(values: UsageValues) -> dict[str, Decimal]:
    return {code: exact_sum(each.logged for each in rows) for code, rows in sorted(values.used.items())}


def owners_of(owned: Iterable[OwnedUse]) -> dict[str, Decimal]:
    """What keys outside the proxy cost each owner."""
    found: dict[str, list[Decimal]] = defaultdict(list)
    for each in owned:
        found[each.cost_center].append(each.cost_usd)
    return {code: quantize_internal(exact_sum(found[code])) for code in sorted(found)}


def _seats(inputs: MonthInputs, header: InvoiceHeader, days: InvoicePeriod, pool: Decimal) -> list[SeatCharges]:
    """Seats by assigned days, where the directory says who has them (Rule 6.6); else they follow direct use."""
    assignments = seat_assignments(cast("list[SeatRow]", inputs.rows(SEAT_ASSIGNMENTS)))
    if not pool or not any(each.provider == header.provider for each in assignments):
        return []
    bill = SeatBill(header.provider, header.invoice_id, days, header.currency, pool)
    return [charge_seats(bill, assignments, inputs.policy.attribution.central)]


def _directed(
    inputs: MonthInputs,
    match: MonthMatch,
    lines: Sequence[InvoiceLine],
    values: UsageValues,
    months: Mapping[BillingMonth, Decimal],
    days: InvoicePeriod,
    header: InvoiceHeader,
) -> list[DirectedCredit]:
    """Credits that name a workspace with an owner, a model, or an older invoice (Rule 6.3)."""
    owners = owner_sources(inputs, match.inputs.registry)
    found = []
    for line in lines:
        if line.kind != "credit":
            continue
        weights: Mapping[str, Decimal] = {}
        named = ""
        if line.original_invoice_id:
            weights, named = charged_by(inputs, header.provider, line.original_invoice_id), line.original_invoice_id
        elif line.workspace:
            workspace_id = match.inputs.registry.workspace_id(header.provider, line.workspace)
            code = owners.of_workspace(header.provider, workspace_id, days.last_day)
            valid = owners.valid_cost_center(code, days.last_day) if code else None
            weights, named = ({valid: Decimal(1)} if valid else {}), line.workspace
        elif line.model:
            book_model = match.inputs.book.model_of(header.provider, line.model)
            weights, named = values.by_model.get(book_model or "", {}), line.model
        if any(weights.values()):
            found.append(DirectedCredit(_month_share(line.amount, months, inputs.month, header), weights, named))
    return found


def _month_share(
    amount: Decimal, months: Mapping[BillingMonth, Decimal], month: BillingMonth, header: InvoiceHeader
) -> Decimal:
    if len(months) == 1:
        return amount
    weights = {str(each): abs(share) for each, share in months.items()}
    return allocate(amount, weights, scale=minor_unit_scale(header.currency))[str(month)]


def charged_by(inputs: MonthInputs, provider: str, invoice_id: str) -> dict[str, Decimal]:
    """What an older invoice charged each cost center that paid for it."""
    mine = [each for each in inputs.facts.published if (each.provider, each.invoice_id) == (provider, invoice_id)]
    codes = sorted({each.cost_center for each in mine})
    charged = {code: exact_sum(each.amount for each in mine if each.cost_center == code) for code in codes}
    return {code: amount for code, amount in charged.items() if amount > 0}
