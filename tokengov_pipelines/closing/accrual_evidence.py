"""What a month's inputs say that a provider's invoice will be: amounts by day, by each basis of rule 2.2.

Belongs here: the evidence of an accrual from a match. Does not belong here: the accrual and its expected error
(`domain.accrual`, `domain.accrual_backtest`), which months are asked (`assets.accruals`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal

from tokengov_pipelines.closing.billed_month import owners_of, repriced_by
from tokengov_pipelines.closing.findings import owned_by
from tokengov_pipelines.closing.inputs import MonthInputs
from tokengov_pipelines.closing.match import MonthMatch
from tokengov_pipelines.domain.accrual import AccrualEvidence
from tokengov_pipelines.domain.accrual_backtest import AccrualBasis
from tokengov_pipelines.domain.money import INTERNAL_SCALE, allocate, exact_sum, quantize_internal
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.reconciliation import Reconciliation


def accrual_evidence(inputs: MonthInputs, match: MonthMatch) -> Iterator[AccrualEvidence]:
    """The evidence of every provider of the month, by provider; a day without use is there with zero."""
    month = match.month
    calendar = InvoicePeriod(month.first_day, month.next().first_day)
    seen: set[str] = set()
    for found in match.reconciliations:
        # An invoice over several months is accrued by its own days, not by an estimate.
        if found.provider in seen or found.period.days() != calendar.days():
            continue
        seen.add(found.provider)
        yield AccrualEvidence(
            provider=found.provider,
            month=month,
            daily=_daily(match, found, calendar),
            weights=_weights(inputs, match, found, calendar),
            currency=found.currency,
        )


def _weights(
    inputs: MonthInputs, match: MonthMatch, found: Reconciliation, calendar: InvoicePeriod
) -> dict[str, Decimal]:
    """What each cost center would be charged: its keys outside the proxy, and the rest by its direct weight."""
    direct = repriced_by(found, calendar)
    owned = owners_of(each for each in owned_by(inputs, match, found) if calendar.contains(each.day))
    base = exact_sum(direct.values())
    if not base or min(owned.values(), default=Decimal(0)) < 0:
        return direct
    rest = max(exact_sum([found.states["W7"], *(-amount for amount in owned.values())]), Decimal(0))
    shared = allocate(quantize_internal(rest), direct, scale=INTERNAL_SCALE)
    return {code: exact_sum([shared.get(code, 0), owned.get(code, 0)]) for code in sorted({*shared, *owned})}


def _daily(
    match: MonthMatch, found: Reconciliation, calendar: InvoicePeriod
) -> dict[AccrualBasis, dict[dt.date, Decimal]]:
    legs = match.inputs.legs[found.provider].cut_to(calendar)
    logged_days = [day for day in calendar.days() if day not in legs.missing_log_days]
    reported_days = [day for day in calendar.days() if day not in legs.missing_report_days]
    daily = {AccrualBasis.LOGGED: _by_day(logged_days, ((each.day, each.logged) for each in legs.logged))}
    if legs.usage is not None:
        used = ((cell.day, exact_sum([_own(cell.own_tokens, cell.usd_per_token), cell.unproxied_amount]))
                for cell in found.cells)  # fmt: skip
        daily[AccrualBasis.USAGE] = _by_day(reported_days, used)
    if legs.costs is not None:
        daily[AccrualBasis.COST_REPORT] = _by_day(reported_days, ((each.day, each.amount) for each in legs.costs))
    return daily


def _own(tokens: int, price: Decimal | None) -> Decimal:
    return tokens * (price or Decimal(0))


def _by_day(days: Iterable[dt.date], amounts: Iterable[tuple[dt.date, Decimal]]) -> dict[dt.date, Decimal]:
    found: dict[dt.date, list[Decimal]] = defaultdict(list)
    for day, amount in amounts:
        found[day].append(amount)
    return {day: exact_sum(found.get(day, ())) for day in days}
