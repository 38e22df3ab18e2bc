"""A finished reconciliation with given components, for tests of what is done with one."""

from decimal import Decimal
from itertools import accumulate

from tokengov_pipelines.domain.match_result import STATES, Component, MatchError, MatchMode
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconciliation import (
    Reconciliation,
    ReconciliationStatus,
    Tolerances,
    reconciliation_status,
    tolerance,
)


def reconciled(
    provider: str,
    invoice_id: str,
    month: BillingMonth,
    logged: str,
    errors: tuple[MatchError, ...] = (),
    **components: str,
) -> Reconciliation:
    """`logged` plus the components, by their words, is the invoice; those not named are zero."""
    parts = {component: Decimal(components.get(component.value, "0")) for component in Component}
    states = dict(zip(STATES, accumulate([Decimal(logged), *parts.values()]), strict=True))
    total, limits = states["W12"], Tolerances()
    status = reconciliation_status(parts[Component.UNEXPLAINED], total, limits)
    return Reconciliation(
        month=month,
        provider=provider,
        account="acme-prod",
        invoice_id=invoice_id,
        period=InvoicePeriod(month.first_day, month.next().first_day),
        currency="USD",
        mode=MatchMode.THREE_WAY,
        states=states,
        components=parts,
        status=ReconciliationStatus.BLOCKED if errors else status,
        tolerance=tolerance(total, limits),
        errors=errors,
    )
