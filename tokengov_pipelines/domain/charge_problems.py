"""What keeps a provider's month from being charged, in words with a fix; nothing is guessed (Rules 1.6, 6.1).

Belongs here: the checks before a charge. Does not belong here: the charge (`chargeback`), the preconditions of a close
(`close`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import ChargebackPolicy, CostCenter, InvoiceHeader
from tokengov_pipelines.domain.money import MoneyError, exact_sum, minor_unit_scale, quantize_internal, round_posting
from tokengov_pipelines.domain.period import BillingMonth

MISSING_INVOICE: Final = "missing_invoice"
UNCOVERED_DAYS: Final = "uncovered_days"
NOT_INVOICED: Final = frozenset({MISSING_INVOICE, UNCOVERED_DAYS})
"""What holds the close of a month and not the draft of the other providers: an invoice is still to come."""


@dataclass(frozen=True)
class LoggedSpend:
    """Accepted calls of a provider by (cost center, rung): USD with up to 12 decimals, and all tokens.

    `uncovered` is the part of it on days that no invoice of the provider bills.
    """

    provider: str
    cost_center: str
    rung: Rung
    logged: Decimal
    tokens: int = 0
    uncovered: Decimal = Decimal(0)


@dataclass(frozen=True)
class ChargebackProblem:
    """Why a provider's month could not be charged. No line of that provider was guessed."""

    code: str
    provider: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


def charge_problems(
    month: BillingMonth,
    invoices: Iterable[InvoiceHeader],
    spend: Iterable[LoggedSpend],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    *,
    rates: Mapping[str, Decimal] | None = None,
    payers: Iterable[tuple[str, str]] = (),
) -> tuple[ChargebackProblem, ...]:
    """Everything that keeps a provider of the month from being charged, by provider.

    Args:
        month: the month.
        invoices: headers of any months; those that bill no day of this one are left alone.
        spend: what was logged in the month.
        cost_centers: those that are valid in the month, by code.
        policy: suspense, central and the functional currency.
        rates: the rate of each invoice that is not in the functional currency, by invoice id (Rule 1.6).
        payers: (provider, cost center) that would be charged beside those of `spend`, as owners of keys are.
    """
    due = [invoice for invoice in invoices if month in invoice.period.months()]
    logged, others = list(spend), list(payers)
    problems: list[ChargebackProblem] = []
    for provider in sorted({invoice.provider for invoice in due} | {row.provider for row in logged}):
        rows = [row for row in logged if row.provider == provider]
        mine = sorted((invoice for invoice in due if invoice.provider == provider), key=lambda each: each.invoice_id)
        problems += _missing(provider, month, mine, rows, policy)
        problems += _overlapping(provider, month, mine)
        for invoice in mine:
            problems += _problems_of_amount(invoice, policy, rates or {})
        problems += _problems_of_rows(provider, month, rows, policy)
        if mine:
            codes = {row.cost_center for row in rows} | {code for who, code in others if who == provider}
            codes |= {code for shared in policy.methods.values() for code in shared.shares}
            problems += _unknown(provider, month, codes | {policy.central}, cost_centers)
    return tuple(problems)


def _missing(
    provider: str,
    month: BillingMonth,
    invoices: Sequence[InvoiceHeader],
    rows: Sequence[LoggedSpend],
    policy: ChargebackPolicy,
) -> list[ChargebackProblem]:
    total = exact_sum(row.logged if not invoices else row.uncovered for row in rows)
    if not total:
        return []
    logged = f"{provider} logged {quantize_internal(total)} {policy.functional_currency} in {month}"
    if invoices:
        fix = f"tokengov invoice new {provider} {month} for these days, or correct the periods of the invoices"
        return [ChargebackProblem(UNCOVERED_DAYS, provider, f"{logged} and has no invoice that bills those days", fix)]
    fix = (
        f"tokengov invoice new {provider} {month}, or approve an accrual: tokengov accruals approve {month} {provider}"
    )
    return [ChargebackProblem(MISSING_INVOICE, provider, f"{logged} and has no invoice", fix)]


def _overlapping(provider: str, month: BillingMonth, invoices: Sequence[InvoiceHeader]) -> list[ChargebackProblem]:
    """Two invoices over the same days: the logged calls of these days cannot be told apart."""
    found = []
    for at, invoice in enumerate(invoices):
        for other in invoices[at + 1 :]:
            if invoice.period.start < other.period.end and other.period.start < invoice.period.end:
                what = (
                    f"{provider} has two invoices over the same days of {month} ({invoice.invoice_id} and "
                    f"{other.invoice_id}): which of them bills a logged call cannot be told"
                )
                fix = "enter them as one invoice, or correct their periods with `tokengov invoice check`"
                found.append(ChargebackProblem("several_invoices", provider, what, fix))
    return found


def _problems_of_amount(
    invoice: InvoiceHeader, policy: ChargebackPolicy, rates: Mapping[str, Decimal]
) -> list[ChargebackProblem]:
    named = f"{invoice.provider} invoice {invoice.invoice_id}"
    try:
        exact = invoice.total == round_posting(invoice.total, minor_unit_scale(invoice.currency))
    except MoneyError as error:
        fix = "correct the currency with `tokengov invoice check`"
        return [ChargebackProblem("invoice_currency", invoice.provider, f"{named}: {error}", fix)]
    if invoice.currency != policy.functional_currency and invoice.invoice_id not in rates:
        what = (
            f"{named} is in {invoice.currency}, the books are in {policy.functional_currency}, and there is no rate of "
            "its invoice date; a rate is never assumed"
        )
        fix = f"add {invoice.currency} to {policy.functional_currency} of that day to directory/fx_rates.csv"
        return [ChargebackProblem("missing_fx_rate", invoice.provider, what, fix)]
    if not exact:
        what = f"{named} has the total {invoice.total}, which is not a whole number of {invoice.currency} minor units"
        fix = "correct the total with `tokengov invoice check`"
        return [ChargebackProblem("invoice_total", invoice.provider, what, fix)]
    return []


def _problems_of_rows(
    provider: str, month: BillingMonth, rows: Sequence[LoggedSpend], policy: ChargebackPolicy
) -> list[ChargebackProblem]:
    problems = []
    for row in rows:
        if row.rung is Rung.SUSPENSE and row.cost_center != policy.suspense:
            what = (
                f"{provider} has calls in suspense at {row.cost_center} in {month}, but policy.yaml names "
                f"{policy.suspense}: the limit on suspense would not see them"
            )
            fix = f"run the attribution of {month} again with today's policy.yaml"
            problems.append(ChargebackProblem("suspense_elsewhere", provider, what, fix))
        if row.logged < 0:
            what = (
                f"{provider} has {row.logged} of logged spend at {row.cost_center} (rung {row.rung}) in {month}: "
                "a negative row cannot weigh in a split and belongs in quarantine"
            )
            fix = "find the rows in fct_quarantined_calls and release or correct them"
            problems.append(ChargebackProblem("negative_logged_spend", provider, what, fix))
    return problems


def _unknown(
    provider: str, month: BillingMonth, codes: Iterable[str], cost_centers: Mapping[str, CostCenter]
) -> list[ChargebackProblem]:
    return [
        ChargebackProblem(
            "unknown_cost_center",
            provider,
            f"{provider} would charge {code} in {month}, which directory/cost_centers.csv does not hold then",
            "add it to directory/cost_centers.csv, or name another in policy.yaml (attribution)",
        )
        for code in sorted(codes)
        if code not in cost_centers
    ]
