"""What a month's match means: keys outside the proxy, findings, open items with what people did about them, coverage.

Belongs here: asking the rules in order, with the ledger's events. Does not belong here: the match itself
(`assets.month_reconciliation`), the rules (`domain`), alerts (`assets.reconciliation_alerts`).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assets.bypass_evidence import gather_evidence
from assets.cycle_search import paused_cycle_search
from assets.month_reconciliation import MonthMatch
from assets.open_items import read_items
from assets.unproxied import gather_unproxied
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.domain.bypass import BypassEvidence, BypassFinding, Coverage, UnproxiedKey, coverage
from tokengov_pipelines.domain.bypass_findings import findings
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.open_item import ReconcilingItem, aging_day, blocks_matched, carry_over
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.domain.resolutions import apply_events
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation


@dataclass(frozen=True)
class MonthFindings:
    """The month's reconciliations with their final status, keys, findings, items (older ones carried over), coverage.

    `evidence` are pointers of level E3 to E5, which carry no dollars (Rule 5.1).
    An item that is open for more than 90 days keeps its provider's invoice from being `matched` (Rule 4.8).
    """

    reconciliations: tuple[Reconciliation, ...]
    keys: tuple[UnproxiedKey, ...]
    findings: tuple[BypassFinding, ...]
    items: tuple[ReconcilingItem, ...]
    coverage: Coverage
    evidence: tuple[BypassEvidence, ...] = ()

    def of_invoice(self, provider: str, invoice_id: str) -> Reconciliation:
        """The reconciliation of an invoice that bills a day of the month."""
        return next(each for each in self.reconciliations if (each.provider, each.invoice_id) == (provider, invoice_id))


def gather_findings(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, match: MonthMatch
) -> MonthFindings:
    """Judge a month's match with what people recorded about it."""
    with paused_cycle_search():
        return _judged(installation, lake, tables, ledger, match)


def _judged(installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, match: MonthMatch) -> MonthFindings:
    keys = gather_unproxied(installation, lake, tables, ledger, match)
    items = _items(installation, tables, ledger, match, keys)
    overdue = {(item.provider, item.account) for item in blocks_matched(items, aging_day(match.month))}
    matched = [each for each in match.reconciliations if each.evidence.own_tokens or each.evidence.other_tokens]
    own = exact_sum(each.evidence.own_list_usd for each in matched)
    other = exact_sum(each.evidence.other_list_usd for each in matched)
    return MonthFindings(
        reconciliations=tuple(
            replace(each, status=ReconciliationStatus.INVESTIGATE)
            if each.status is ReconciliationStatus.MATCHED and (each.provider, each.account) in overdue
            else each
            for each in match.reconciliations
        ),
        keys=tuple(keys),
        findings=tuple(month_findings(installation, match, match.reconciliations, keys)),
        items=tuple(items),
        coverage=coverage(own, exact_sum([own, other])),
        evidence=tuple(gather_evidence(installation, lake, tables, match)),
    )


def month_findings(
    installation: Installation,
    match: MonthMatch,
    reconciliations: Sequence[Reconciliation],
    keys: Sequence[UnproxiedKey],
) -> list[BypassFinding]:
    """Bypass, lost logs, mispricing and leaked keys of the month, told apart and each said once (Rule 5.1)."""
    return list(
        dict.fromkeys(
            finding
            for each in reconciliations
            for finding in findings(
                each,
                keys,
                match.inputs.legs[each.provider],
                registry=match.inputs.registry,
                book=match.inputs.book,
                min_usd=installation.policy.of_provider(each.provider).alerts.item_min_usd,
            )
        )
    )


def _items(
    installation: Installation,
    tables: Tables,
    ledger: Ledger,
    match: MonthMatch,
    keys: Sequence[UnproxiedKey],
) -> list[ReconcilingItem]:
    """The month's items and what earlier months left open, with every resolution applied."""
    own: list[ReconcilingItem] = []
    for each in match.reconciliations:
        own += reconciling_items(
            each,
            opened_on=_opened_on(match, each),
            item_min_usd=installation.policy.of_provider(each.provider).alerts.item_min_usd,
            unproxied=keys,
        )
    events = ledger.items.events()
    return carry_over(apply_events(own, events), apply_events(read_items(tables, match.month.previous()), events))


def _opened_on(match: MonthMatch, each: Reconciliation) -> dt.date:
    """The day on which the difference could be known first: never today, so that a later run finds the same items."""
    for invoice in match.invoices:
        if (invoice.provider, invoice.invoice_id) == (each.provider, each.invoice_id):
            return invoice.invoice_date
    return each.period.end
