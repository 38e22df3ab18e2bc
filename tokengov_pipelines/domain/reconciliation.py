"""The three-way match's answer: how much of an invoice may stay unexplained, and what its status is (rule 4.7).

Belongs here: tolerance and status of one provider's invoice. Does not belong here: who is charged (`chargeback`), what
a status means for the close (`close`), and the per-call classes (dbt).

First cut: `unexplained` is the invoice total less the logged spend that is posted. The waterfall of rule 4.2 explains
more of that difference once provider usage and price book are there; tolerance and status do not change with it.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tokengov_pipelines.domain.money import usd


class ReconciliationStatus(StrEnum):
    """What a reviewer has to do about one provider and month, from nothing to everything."""

    MATCHED = "matched"
    WITHIN_TOLERANCE = "within_tolerance"
    INVESTIGATE = "investigate"
    BLOCKED = "blocked"
    MISSING_INVOICE = "missing_invoice"


@dataclass(frozen=True)
class Tolerances:
    """The limits of rule 4.7 in the invoice's currency; `rel` is a ratio of the invoice, 0.005 is half a percent."""

    rounding_abs: Decimal = Decimal("0.05")
    abs_floor: Decimal = Decimal("1.00")
    rel: Decimal = Decimal("0.005")
    cap: Decimal = Decimal("100.00")
    block_multiple: int = 3


def tolerance(invoice_total: Decimal, limits: Tolerances) -> Decimal:
    """min(cap, max(abs_floor, rel x |invoice|)), exact and not rounded: 5.000 for an invoice of 1000.00 (rule 4.7)."""
    return min(usd(limits.cap), max(usd(limits.abs_floor), usd(limits.rel) * abs(usd(invoice_total))))


def reconciliation_status(
    unexplained: Decimal, invoice_total: Decimal | None, limits: Tolerances
) -> ReconciliationStatus:
    """The status of an invoice by the size of what is unexplained; a limit that is just reached still holds (rule 4.7).

    `invoice_total` is None where logged spend has no invoice. 1000.00 with 5.00 unexplained is within tolerance, with
    5.01 to be investigated, with 15.01 blocked.
    """
    if invoice_total is None:
        return ReconciliationStatus.MISSING_INVOICE
    size, allowed = abs(usd(unexplained)), tolerance(invoice_total, limits)
    if size <= limits.rounding_abs:
        return ReconciliationStatus.MATCHED
    if size <= allowed:
        return ReconciliationStatus.WITHIN_TOLERANCE
    if size <= limits.block_multiple * allowed:
        return ReconciliationStatus.INVESTIGATE
    return ReconciliationStatus.BLOCKED
