"""One invoice, or a month without one, reconciled: every state, every cause, one status (Rules 4.2, 4.7).

Belongs here: putting the two matches together and the proof that the parts are the gap. Does not belong here: the
matches (`waterfall`, `invoice_match`), reading (`assets.reconciliation_inputs`), open items (`reconciling_items`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise

from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.invoice_match import InvoiceMatch, match_invoice
from tokengov_pipelines.domain.legs import KeyRegistry, Legs
from tokengov_pipelines.domain.match_errors import several_accounts
from tokengov_pipelines.domain.match_result import STATES, Component, MatchMode
from tokengov_pipelines.domain.money import exact_sum, quantize_internal
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.reconciliation import (
    Reconciliation,
    ReconciliationStatus,
    Tolerances,
    reconciliation_status,
    tolerance,
)
from tokengov_pipelines.domain.waterfall import UsageMatch, match_usage

_ONLY_REPORTED = STATES[: STATES.index("W7") + 1]


class ReconciliationError(RuntimeError):
    """The parts of a gap do not add up to it: a defect of the product, and nothing may be published."""


@dataclass(frozen=True)
class MatchRules:
    """The policy of a match: tolerances (Rule 4.7), rounding of a line, tiers that may be priced as standard."""

    tolerances: Tolerances = field(default_factory=Tolerances)
    rounding_tol_per_line: Decimal = Decimal("0.005")
    fallback_tiers: tuple[str, ...] = ()


def reconcile(
    month: BillingMonth,
    legs: Legs,
    invoice: Invoice | None,
    *,
    registry: KeyRegistry,
    book: PriceBook,
    rules: MatchRules | None = None,
    so_far: InvoicePeriod | None = None,
) -> Reconciliation:
    """Reconcile one provider's invoice, or its month without an invoice.

    Args:
        month: the calendar month of W0.
        legs: both legs of any days that contain the month and the invoice period; they are cut here.
        invoice: leg C, checked; None ends the waterfall at W7 with the status missing_invoice.
        registry: whose provider keys are the proxy's own.
        book: the price book.
        rules: tolerances and policy.
        so_far: without an invoice, the days of the month that are known; None is the whole month.

    Raises:
        ReconciliationError: the components do not add up to invoice - log at 12 decimals.
    """
    rules = rules or MatchRules()
    calendar = InvoicePeriod(month.first_day, month.next().first_day)
    period = invoice.period if invoice else so_far or calendar
    theirs = legs.cut_to(period)
    mine = _of_account(theirs, invoice)
    usage = match_usage(mine, registry, book, fallback_tiers=rules.fallback_tiers)
    logged = quantize_internal(exact_sum(each.logged for each in legs.logged if month.contains(each.day)))
    errors = (*several_accounts(theirs, registry), *usage.errors)
    states = {"W0": logged, **usage.states}
    billed = None
    if invoice:
        billed = match_invoice(
            invoice,
            mine.costs,
            usage.cells,
            registry=registry,
            book=book,
            rounding_tol_per_line=rules.rounding_tol_per_line,
        )
        states |= _invoice_states(usage, billed)
    components = _components(states)
    _prove(states, components, invoice, billed)
    unexplained = components.get(Component.UNEXPLAINED, Decimal(0))
    status = reconciliation_status(unexplained, invoice.total if invoice else None, rules.tolerances)
    evidence = replace(
        usage.evidence,
        straddling_usd=_straddling(legs, period),
        notes=billed.notes if billed else (),
    )
    return Reconciliation(
        month=month,
        provider=legs.provider,
        account=invoice.account if invoice else min(_accounts(mine), default=""),
        invoice_id=invoice.invoice_id if invoice else None,
        period=period,
        currency=invoice.currency if invoice else "USD",
        mode=usage.mode,
        states=states,
        components=components,
        # An error item makes the parts untrustworthy, however small the rest.
        status=ReconciliationStatus.BLOCKED if errors and invoice else status,
        tolerance=tolerance(invoice.total, rules.tolerances) if invoice else Decimal(0),
        errors=errors,
        cells=usage.cells,
        pricing_gaps=usage.pricing_gaps,
        rate_cells=usage.rate_cells,
        line_differences=billed.differences if billed else (),
        evidence=evidence,
        repriced=tuple(zip(mine.logged, usage.repriced, strict=True)),
    )


def _of_account(legs: Legs, invoice: Invoice | None) -> Legs:
    """The reports of the invoice's account, where they name it; else all (an account's two names are one account)."""
    if invoice is None or invoice.account not in _accounts(legs):
        return legs
    return replace(
        legs,
        usage=None if legs.usage is None else [each for each in legs.usage if each.account == invoice.account],
        costs=None if legs.costs is None else [each for each in legs.costs if each.account == invoice.account],
    )


def _accounts(legs: Legs) -> set[str]:
    return {each.account for each in legs.usage or ()} | {each.account for each in legs.costs or ()}


def _invoice_states(usage: UsageMatch, billed: InvoiceMatch) -> dict[str, Decimal]:
    """W6 to W12 (three-way: W8 to W12), each the one before plus its component."""
    parts = billed.components
    states = {}
    at = usage.states["W7"]
    if usage.mode is MatchMode.TWO_WAY:
        states["W6"] = exact_sum([usage.states["W5"], parts[Component.PROVIDER_RATE]])
        at = states["W7"] = exact_sum([states["W6"], parts[Component.NON_TOKEN]])
    for component in list(Component)[list(Component).index(Component.COMMITMENT) :]:
        at = states[component.state] = exact_sum([at, parts[component]])
    return states


def _components(states: Mapping[str, Decimal]) -> dict[Component, Decimal]:
    """Each state less the one before, as far as the states go."""
    names = [name for name in STATES if name in states]
    return {
        component: quantize_internal(exact_sum([states[after], -states[before]]))
        for component, (before, after) in zip(Component, pairwise(names), strict=False)
    }


def _prove(
    states: Mapping[str, Decimal],
    components: Mapping[Component, Decimal],
    invoice: Invoice | None,
    billed: InvoiceMatch | None,
) -> None:
    """The parts are the gap, exactly; and unexplained is the same from the lines and as the residual (Rule 4.2)."""
    expected = STATES if invoice else _ONLY_REPORTED
    if tuple(name for name in STATES if name in states) != tuple(expected):
        message = f"the waterfall has the states {', '.join(states)}, not {', '.join(expected)}. Report it: a defect."
        raise ReconciliationError(message)
    last = invoice.total if invoice else states["W7"]
    gap = exact_sum([last, -states["W0"]])
    if exact_sum(components.values()) != gap:
        message = f"the causes add up to {exact_sum(components.values())}, the gap is {gap}. Report it: a defect."
        raise ReconciliationError(message)
    if invoice and billed:
        residual = exact_sum([invoice.total, -states["W11"]])
        if residual != billed.components[Component.UNEXPLAINED]:
            message = (
                f"{invoice.provider} invoice {invoice.invoice_id}: {residual} is left over and the lines say "
                f"{billed.components[Component.UNEXPLAINED]}. Fix: tokengov invoice check; else report it: a defect."
            )
            raise ReconciliationError(message)


def _straddling(legs: Legs, period: InvoicePeriod) -> Decimal:
    """What another cut-off would move: spend of calls over the last midnight less that of the first (Rule 2.1)."""
    before = period.start.fromordinal(period.start.toordinal() - 1)
    return exact_sum([legs.over_midnight.get(period.last_day, 0), -Decimal(legs.over_midnight.get(before, 0))])
