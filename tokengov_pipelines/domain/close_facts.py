"""What the decision to close reads: completeness, invoices with their charges and match, suspense, people.

Belongs here: the facts and how an invoice's are made. Does not belong here: the decision (`close`), gathering
(`assets.month`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import BilledMonth, ChargebackLine
from tokengov_pipelines.domain.match_result import Component, MatchError
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.price_review import UnapprovedBook
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus


@dataclass(frozen=True)
class InvoiceFacts:
    """One charged invoice: its total, the sum of its charge lines, the part at the suspense cost center, its match.

    `pricing` and `quantity` (volume + mix) are components of its gap, `direct_logged` the log of its period (W1), and
    `true_up` what usage on the proxy's keys is worth at list beyond that log (W4 - W1).
    """

    provider: str
    invoice_id: str
    currency: str
    total: Decimal
    charged: Decimal
    suspense: Decimal
    unexplained: Decimal
    status: ReconciliationStatus
    pricing: Decimal = Decimal(0)
    quantity: Decimal = Decimal(0)
    true_up: Decimal = Decimal(0)
    direct_logged: Decimal = Decimal(0)
    errors: tuple[MatchError, ...] = ()
    notes: tuple[str, ...] = ()


def invoice_facts(
    billed: BilledMonth, lines: Iterable[ChargebackLine], suspense: str, found: Reconciliation
) -> InvoiceFacts:
    """What the close has to know of a charged invoice: its lines, and what its reconciliation found (Rules 4.2, 4.7).

    `total` is the month's part of it; `suspense` is the policy's cost center.
    """
    invoice = billed.header
    mine = [
        line
        for line in lines
        if (line.provider, line.invoice_id) == (invoice.provider, invoice.invoice_id)
        and line.original_period == line.posting_period
    ]
    parts, states = found.components, found.states
    return InvoiceFacts(
        provider=invoice.provider,
        invoice_id=invoice.invoice_id,
        currency=invoice.currency,
        total=billed.billed,
        charged=sum((line.amount for line in mine), Decimal(0)),
        suspense=sum((line.amount for line in mine if line.cost_center == suspense), Decimal(0)),
        unexplained=found.unexplained,
        # Two people approved the accrual in the place of an invoice (Rule 2.4).
        status=ReconciliationStatus.MATCHED if found.total is None else found.status,
        pricing=parts[Component.PROXY_PRICING],
        quantity=exact_sum([parts[Component.VOLUME], parts[Component.MIX]]),
        true_up=exact_sum([states["W4"], -states["W1"]]),
        direct_logged=states["W1"],
        errors=tuple(found.errors),
        notes=tuple(found.evidence.notes),
    )


@dataclass(frozen=True)
class CloseFacts:
    """Everything the decision reads.

    `missing_days`: by source, days neither extracted nor known to be empty. `empty_days`: by source, days that were
    read and held nothing, where nothing proves that the source covers them (rule 4.5). `shrunk_days`: days whose latest
    load held less than the current one, and what is gone. `logged`: accepted spend by provider. `quarantined_calls`
    with `quarantined_spend` (of those that are readable). `controllers`: names and e-mails of those who may sign a
    waiver for `investigate` (people.csv). `max_suspense_pct` is a percentage of the invoice, 2.0 for 2 %, and
    `true_up_block_pct` one of the logged spend of its period. `unapproved_prices` says why the price book may not be
    used, None when two people approved it (Rule 12.4). `prepaid` are providers whose credits stand for an invoice.
    `journal_problems` say why the journal may not post; `corrections_gross` is what corrections of closed months move,
    and above `materiality` a controller has to approve the close (Rule 2.5).
    """

    month: BillingMonth
    missing_days: Mapping[str, Sequence[dt.date]]
    logged: Mapping[str, Decimal]
    invoices: Sequence[InvoiceFacts]
    quarantined_calls: int
    quarantined_spend: Decimal
    max_suspense_pct: Decimal
    preparer: str
    approver: str
    problems: Sequence[ChargebackProblem] = ()
    controllers: frozenset[str] = field(default_factory=frozenset)
    shrunk_days: Mapping[dt.date, str] = field(default_factory=dict)
    empty_days: Mapping[str, Sequence[dt.date]] = field(default_factory=dict)
    true_up_block_pct: Decimal = Decimal("2.0")
    unapproved_prices: UnapprovedBook | None = None
    prepaid: frozenset[str] = field(default_factory=frozenset)
    journal_problems: tuple[str, ...] = ()
    corrections_gross: Decimal = Decimal(0)
    materiality: Decimal = Decimal("5000.00")
