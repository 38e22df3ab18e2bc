"""Corrections of a closed month: what it would be charged now, less what was published for it (Rule 2.5).

Belongs here: the difference by cost center, which differences are posted, and how large a batch is. Does not belong
here: charging the month again (`closing.restate`), the lines they become (`chargeback`), who approves them (`ledger`).

Adjustments = charged again - published - already posted. The sum of everything published and posted for a month is
therefore always what a computation from scratch charges.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth


class CorrectionReason(StrEnum):
    """Why a closed month is corrected."""

    LATE_OR_CORRECTED_USAGE = "late_or_corrected_usage"  # the log or its attribution moved; the invoice did not
    PROVIDER_REPORT = "provider_report"  # usage or cost report moved
    CORRECTED_INVOICE = "corrected_invoice"
    ACCRUAL_TRUE_UP = "accrual_true_up"  # the invoice came after the accrual
    CREDIT_MEMO = "credit_memo"
    DISPUTE = "dispute"


InvoiceKey = tuple[str, str, str]
"""Provider, invoice id, currency."""

Charges = Mapping[tuple[InvoiceKey, str], Decimal]
"""What each cost center bears of each invoice, all charge types together."""


@dataclass(frozen=True)
class Adjustment:
    """One cost center's correction of one invoice of a closed month; `ref` names what it rests on."""

    original_month: BillingMonth
    provider: str
    invoice_id: str
    cost_center: str
    amount: Decimal
    currency: str
    reason: str
    ref: str

    def charge(self, fx_rate: Decimal = Decimal(1)) -> PriorPeriodCharge:
        """The correction as a charge of the month that it is posted in."""
        return PriorPeriodCharge(
            self.original_month,
            self.provider,
            self.invoice_id,
            self.cost_center,
            self.amount,
            self.currency,
            self.reason,
            self.ref,
            fx_rate,
        )


@dataclass(frozen=True)
class Restatement:
    """The corrections of one closed month: those that are posted, and those that are too small and only listed."""

    month: BillingMonth
    posted: tuple[Adjustment, ...]
    listed: tuple[Adjustment, ...] = ()

    @property
    def gross(self) -> Decimal:
        """The sum of what is posted above zero: how large the batch is (Rule 2.5)."""
        return gross_of(self.posted)


def restate(
    month: BillingMonth,
    *,
    published: Charges,
    current: Charges,
    reasons: Mapping[InvoiceKey, str],
    ref: str,
    min_adjustment: Decimal,
) -> Restatement:
    """The corrections of a closed month.

    Args:
        month: the closed month.
        published: what its packs and the corrections since have charged.
        current: what a computation with today's inputs charges.
        reasons: why, by invoice.
        ref: what it rests on, such as the version and hash of the closed pack.
        min_adjustment: below it, the positive lines of an invoice together, a correction is listed and not posted.
    """
    by_invoice: dict[InvoiceKey, list[Adjustment]] = defaultdict(list)
    for invoice, code in sorted({*published, *current}):
        amount = exact_sum([current.get((invoice, code), 0), -Decimal(published.get((invoice, code), 0))])
        if amount:
            provider, invoice_id, currency = invoice
            by_invoice[invoice].append(
                Adjustment(month, provider, invoice_id, code, amount, currency, reasons[invoice], ref)
            )
    posted: list[Adjustment] = []
    listed: list[Adjustment] = []
    for mine in by_invoice.values():
        size = max(gross_of(mine), abs(exact_sum(each.amount for each in mine)))
        (posted if size >= min_adjustment else listed).extend(mine)
    return Restatement(month, tuple(posted), tuple(listed))


def gross_of(adjustments: Iterable[Adjustment]) -> Decimal:
    """The sum of the positive lines: what moved, whoever it moved to."""
    return exact_sum(max(each.amount, Decimal(0)) for each in adjustments)
