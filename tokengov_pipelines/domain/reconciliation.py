"""The three-way match's answer for one invoice: states, components, status (Rules 4.2, 4.7).

Belongs here: tolerance and status, and the finished reconciliation of one provider's invoice. Does not belong here: how
the states are computed (`waterfall`, `invoice_match`), who is charged (`chargeback`), what a status means for the close
(`close`), open items (`reconciling_items`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tokengov_pipelines.domain.legs import LoggedUsage
from tokengov_pipelines.domain.match_result import (
    CellMatch,
    Component,
    Evidence,
    LineDifference,
    MatchError,
    MatchMode,
    PricingGap,
    RateCell,
)
from tokengov_pipelines.domain.money import exact_sum, foot, round_posting, usd
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod


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


@dataclass(frozen=True)
class Reconciliation:
    """One provider's invoice, or month without one, with every cent of its gap by cause.

    `states` maps 'W0' to 'W12' to exact USD with 12 decimals; without an invoice they end at W7 and `components` at
    non_token. The components add up to W12 - W0 exactly (asserted where it is made). `month` is the calendar month of
    W0; `period` the days of every other state. `repriced` are the logged rows of the period, each with its part of W2.
    """

    month: BillingMonth
    provider: str
    account: str
    invoice_id: str | None
    period: InvoicePeriod
    currency: str
    mode: MatchMode
    states: Mapping[str, Decimal]
    components: Mapping[Component, Decimal]
    status: ReconciliationStatus
    tolerance: Decimal
    errors: Sequence[MatchError] = ()
    cells: Sequence[CellMatch] = ()
    pricing_gaps: Sequence[PricingGap] = ()
    rate_cells: Sequence[RateCell] = ()
    line_differences: Sequence[LineDifference] = ()
    evidence: Evidence = field(default_factory=Evidence)
    repriced: Sequence[tuple[LoggedUsage, Decimal]] = ()

    @property
    def logged(self) -> Decimal:
        """A: what the proxy logged in the calendar month."""
        return self.states["W0"]

    @property
    def total(self) -> Decimal | None:
        """C: the invoice total, None without one."""
        return self.states.get("W12")

    @property
    def gap(self) -> Decimal:
        """C - A; without an invoice, what is explained so far (W7 - A)."""
        return exact_sum([self.total if self.total is not None else self.states["W7"], -self.logged])

    @property
    def footed(self) -> list[tuple[Component, Decimal]]:
        """The components in cents, adding up to the gap in cents (Rules 1.4b, 11.4)."""
        exacts = list(self.components.items())
        return foot(exacts, round_posting(exact_sum(exact for _, exact in exacts)))

    @property
    def unexplained(self) -> Decimal:
        """What no cause explains; zero without an invoice."""
        return self.components.get(Component.UNEXPLAINED, Decimal(0))
