"""Accruals: what a month cost before its invoice is there, by cost center, with its expected error (Rule 2.2).

Belongs here: the amount and its basis, the split, the document's id. Does not belong here: what follows an
accrual (`accrual_documents`), how far accruals were off (`accrual_backtest`), gathering the evidence (`assets`).

An accrual rests on the best evidence that covers every day: the provider's cost report, else usage at price-book price,
else the proxy's log. It is an estimate of cost and says so: its expected error stands beside it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.accrual_backtest import (
    BACKTEST_MONTHS,
    AccrualBasis,
    BacktestMonth,
    ExpectedError,
    as_percent,
    expected_error,
)
from tokengov_pipelines.domain.money import allocate, exact_sum, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod

LARGEST_REMAINDER: Final = "largest_remainder"
ZERO_DIRECT: Final = "zero_direct_to"
"""The methods of an accrual's split: by the repriced weights, or all to central because there is no weight (6.2)."""

_AMOUNT_BASES: Final = (AccrualBasis.COST_REPORT, AccrualBasis.USAGE, AccrualBasis.LOGGED)
_SPLIT_BASES: Final = (AccrualBasis.COST_REPORT, AccrualBasis.USAGE)
_DAYS_SHOWN: Final = 5

Daily = Mapping[AccrualBasis, Mapping[dt.date, Decimal]]
"""Exact amounts by basis and UTC day. A day that is not there is not known; a day without use is there with 0."""


@dataclass(frozen=True)
class AccrualEvidence:
    """What is known of a provider's month without an invoice.

    `weights` are the repriced values of rule 6.2 by cost center. `days` are the days of the month that no invoice
    bills, None for the whole month; `bill` is the period of the invoice to come where it spans several months.
    """

    provider: str
    month: BillingMonth
    daily: Daily
    weights: Mapping[str, Decimal]
    currency: str = "USD"
    days: InvoicePeriod | None = None
    bill: InvoicePeriod | None = None

    @property
    def accrued_days(self) -> InvoicePeriod:
        """The days that the accrual is for."""
        return self.days or InvoicePeriod(self.month.first_day, self.month.next().first_day)


@dataclass(frozen=True)
class AccrualProblem:
    """Why nothing was accrued: no amount is guessed."""

    code: str
    provider: str
    month: BillingMonth
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


@dataclass(frozen=True)
class Accrual:
    """The accrual of one provider and month; `charges` by cost center add up to `total`, in minor units.

    `exact` is what was rounded once. `expected_error` is None where no closed month tells it. `invoice_id` names the
    invoice that it is a part of, where that is there already.
    """

    provider: str
    month: BillingMonth
    days: InvoicePeriod
    currency: str
    basis: AccrualBasis
    exact: Decimal
    total: Decimal
    charges: Mapping[str, Decimal]
    method: str
    expected_error: ExpectedError | None = None
    bill: InvoicePeriod | None = None
    invoice_id: str | None = None

    @property
    def document_id(self) -> str:
        """`ACCRUAL-ANTHROPIC-2026-10`: the same for the same month, so that a second import is no second entry."""
        return f"ACCRUAL-{self.provider.upper()}-{self.month}"

    @property
    def spans_months(self) -> bool:
        """Whether the bill has days of several months; it decides when the accrual is reversed."""
        return self.bill is not None and len(self.bill.months()) > 1

    @property
    def expected_error_words(self) -> str:
        """'0.63 % (5.86 USD), from 3 closed months', or why it is not known."""
        if self.invoice_id is not None:
            return f"none of the total: it is a part of invoice {self.invoice_id}"
        found = self.expected_error
        if found is None:
            return f"not known: no closed month before {self.month} tests an accrual on {self.basis}"
        months = "1 closed month" if found.months == 1 else f"{found.months} closed months"
        return f"{as_percent(found.share)} ({found.amount} {self.currency}), from {months}"


Outcome = tuple[Accrual | None, tuple[AccrualProblem, ...]]


@dataclass(frozen=True)
class ClosedMonth:
    """A closed month for the back-test: what was known at its end, and what it published by cost center."""

    evidence: AccrualEvidence
    published: Mapping[str, Decimal]


@dataclass(frozen=True)
class AccrualMonths:
    """What the books know: closed months of every provider, and the evidence of months without an invoice.

    `central` is the policy's central cost center, `window` the number of months that an expected error rests on.
    """

    closed: Sequence[ClosedMonth]
    due: Sequence[AccrualEvidence]
    central: str
    window: int = field(default=BACKTEST_MONTHS)


def accrue(
    evidence: AccrualEvidence, central: str, history: Iterable[BacktestMonth] = (), *, window: int = BACKTEST_MONTHS
) -> Outcome:
    """Accrue a provider's month from what is known (Rule 2.2); returns (accrual, problems).

    The basis is the first that knows every day and is not zero; the amount is its sum, rounded once. Cost centers get
    it by largest remainder with the repriced weights; without any weight central bears it (Rule 6.2). Without a basis
    that knows every day nothing is accrued.
    """
    days = evidence.accrued_days
    basis = _basis(evidence.daily, days)
    problems = _problems(evidence, basis)
    if basis is None or problems:
        return None, problems
    exact = exact_sum(evidence.daily[basis][day] for day in days.days())
    total = round_posting(exact, minor_unit_scale(evidence.currency))
    charges, method = _charges(total, evidence.weights, central, evidence.currency)
    likely = expected_error(
        total,
        history,
        provider=evidence.provider,
        month=evidence.month,
        currency=evidence.currency,
        basis=basis,
        window=window,
    )
    accrual = Accrual(
        provider=evidence.provider,
        month=evidence.month,
        days=days,
        currency=evidence.currency,
        basis=basis,
        exact=exact,
        total=total,
        charges=charges,
        method=method,
        expected_error=likely,
        bill=evidence.bill,
    )
    return accrual, ()


def accrue_invoice(
    provider: str,
    invoice_id: str,
    period: InvoicePeriod,
    total: Decimal,
    daily: Daily,
    weights: Mapping[BillingMonth, Mapping[str, Decimal]],
    central: str,
    *,
    currency: str = "USD",
) -> tuple[Accrual, ...]:
    """The accruals of an invoice over the months that it bills, in calendar order; they add up to it (Rule 2.2).

    The days' weights are those of the cost report, else of usage, else every calendar day weighs one; a basis that
    lacks a day, or has no weight, is passed over. 300.00 for 15 Oct to 14 Nov, 170 and 140 in the report, is 164.52 and
    135.48. `weights` are the repriced values by month and cost center.

    Raises:
        MoneyError: the total is no whole number of minor units, or a weight is negative.
    """
    basis, parts = _split(period, total, daily, minor_unit_scale(currency))
    accruals = []
    for month, part in parts.items():
        charges, method = _charges(part, weights.get(month, {}), central, currency)
        start, end = max(period.start, month.first_day), min(period.end, month.next().first_day)
        accruals.append(
            Accrual(
                provider=provider,
                month=month,
                days=InvoicePeriod(start, end),
                currency=currency,
                basis=basis,
                exact=part,
                total=part,
                charges=charges,
                method=method,
                bill=period,
                invoice_id=invoice_id,
            )
        )
    return tuple(accruals)


def backtest_months(
    closed: Iterable[ClosedMonth], central: str
) -> tuple[tuple[BacktestMonth, ...], tuple[AccrualProblem, ...]]:
    """Closed months beside what `accrue` would have accrued for them, for the back-test; and why some cannot be."""
    tested: list[BacktestMonth] = []
    problems: list[AccrualProblem] = []
    for each in closed:
        accrual, found = accrue(each.evidence, central)
        problems += found
        if accrual is not None:
            tested.append(
                BacktestMonth(
                    accrual.provider, accrual.month, accrual.currency, accrual.basis, accrual.charges, each.published
                )
            )
    return tuple(tested), tuple(problems)


def accruals_due(months: AccrualMonths, month: BillingMonth) -> tuple[tuple[Accrual, ...], tuple[AccrualProblem, ...]]:
    """The accruals of a month's providers without an invoice, each with its expected error; by provider."""
    history, _ = backtest_months(months.closed, months.central)
    accruals: list[Accrual] = []
    problems: list[AccrualProblem] = []
    for evidence in sorted(months.due, key=lambda each: each.provider):
        if evidence.month == month:
            accrual, found = accrue(evidence, months.central, history, window=months.window)
            problems += found
            accruals += [] if accrual is None else [accrual]
    return tuple(accruals), tuple(problems)


def _basis(daily: Daily, days: InvoicePeriod) -> AccrualBasis | None:
    """The first basis that knows every day and is not zero; else the first that knows every day."""
    wanted = days.days()
    complete = [basis for basis in _AMOUNT_BASES if all(day in daily.get(basis, {}) for day in wanted)]
    used = (basis for basis in complete if exact_sum(daily[basis][day] for day in wanted))
    return next(used, complete[0] if complete else None)


def _problems(evidence: AccrualEvidence, basis: AccrualBasis | None) -> tuple[AccrualProblem, ...]:
    named = f"{evidence.provider} {evidence.month}"
    found = []
    days = evidence.accrued_days
    if not (evidence.month.first_day <= days.start and days.end <= evidence.month.next().first_day):
        what = f"{named} cannot be accrued over {days.start} to {days.last_day}, which are not days of it"
        fix = "accrue each month of its own days"
        found.append(AccrualProblem("accrual_days", evidence.provider, evidence.month, what, fix))
    elif basis is None:
        wanted = days.days()
        lacking = {each: _lacking(evidence.daily.get(each, {}), wanted) for each in _AMOUNT_BASES}
        fewest = min(_AMOUNT_BASES, key=lambda each: len(lacking[each]))
        listed = ", ".join(map(str, lacking[fewest][:_DAYS_SHOWN])) + (
            ", ..." if len(lacking[fewest]) > _DAYS_SHOWN else ""
        )
        what = f"{named} cannot be accrued: of {len(wanted)} days " + ", ".join(
            f"{each} lacks {len(lacking[each])}" for each in _AMOUNT_BASES
        )
        what += f"; {fewest} lacks {listed}"
        fix = f"tokengov load {lacking[fewest][0]} {lacking[fewest][-1]}"
        found.append(AccrualProblem("accrual_evidence", evidence.provider, evidence.month, what, fix))
    for code in sorted(evidence.weights):
        if evidence.weights[code] < 0:
            what = f"{named} cannot be accrued: the weight of {code} is {evidence.weights[code]}, below zero"
            fix = "find the rows in fct_quarantined_calls and release or correct them"
            found.append(AccrualProblem("accrual_weight", evidence.provider, evidence.month, what, fix))
    return tuple(found)


def _lacking(known: Mapping[dt.date, Decimal], wanted: Iterable[dt.date]) -> list[dt.date]:
    return [day for day in wanted if day not in known]


def _charges(
    total: Decimal, weights: Mapping[str, Decimal], central: str, currency: str
) -> tuple[dict[str, Decimal], str]:
    if any(weights.values()):
        return allocate(total, weights, scale=minor_unit_scale(currency)), LARGEST_REMAINDER
    return {central: total}, ZERO_DIRECT


def _split(
    period: InvoicePeriod, total: Decimal, daily: Daily, scale: int
) -> tuple[AccrualBasis, dict[BillingMonth, Decimal]]:
    """The months' parts on the first basis that knows every day and gives each month a weight that is not negative."""
    wanted = period.days()
    for basis in _SPLIT_BASES:
        known = daily.get(basis, {})
        if not _lacking(known, wanted):
            sums = {month: exact_sum(known[day] for day in wanted if month.contains(day)) for month in period.months()}
            if any(sums.values()) and min(sums.values()) >= 0:
                return basis, period.split_over_months(total, known, scale=scale)
    return AccrualBasis.CALENDAR_DAYS, period.split_over_months(total, scale=scale)
