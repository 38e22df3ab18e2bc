"""What a month's match means: keys outside the proxy, findings, open items with what people did, coverage.

Belongs here: asking the rules in order. Does not belong here: the match (`match`), the rules (`domain`), evidence about
persons' tools, which is never sealed (`assets.bypass_evidence`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokengov_pipelines.closing.inputs import COST_CENTERS, KEY_CREATORS, KEY_LISTS, WORKSPACES, MonthInputs
from tokengov_pipelines.closing.match import MonthMatch
from tokengov_pipelines.domain.bypass import BypassEvidence, BypassFinding, Coverage, UnproxiedKey, coverage
from tokengov_pipelines.domain.bypass_findings import findings
from tokengov_pipelines.domain.bypass_keys import (
    KeyFacts,
    KeyLists,
    OwnedUse,
    OwnerSources,
    UnproxiedRules,
    owned_uses,
    unproxied_keys,
)
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import KeyRegistry, KeyRole
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.open_item import ReconcilingItem, aging_day, blocks_matched, carry_over
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.domain.resolutions import ItemEvent, apply_events


@dataclass(frozen=True)
class MonthFindings:
    """The month's reconciliations with their final status, keys, findings, items (older ones carried over), coverage.

    `evidence` are pointers of level E3 to E5, which carry no dollars (Rule 5.1) and are not sealed. An item that is
    open for more than 90 days keeps its provider's invoice from being `matched` (Rule 4.8).
    """

    reconciliations: tuple[Reconciliation, ...]
    keys: tuple[UnproxiedKey, ...]
    findings: tuple[BypassFinding, ...]
    items: tuple[ReconcilingItem, ...]
    coverage: Coverage
    evidence: tuple[BypassEvidence, ...] = ()

    def of_invoice(self, provider: str, invoice_id: str) -> Reconciliation | None:
        """The reconciliation of an invoice that bills a day of the month; None where it could not be matched."""
        found = (each for each in self.reconciliations if (each.provider, each.invoice_id) == (provider, invoice_id))
        return next(found, None)


def judge(inputs: MonthInputs, match: MonthMatch) -> MonthFindings:
    """Judge a month's match with what people recorded about it."""
    keys = keys_of(inputs, match)
    items = _items(inputs, match, keys)
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
        findings=tuple(month_findings(inputs, match, match.reconciliations, keys)),
        items=tuple(items),
        coverage=coverage(own, exact_sum([own, other])),
    )


def month_findings(
    inputs: MonthInputs,
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
                min_usd=inputs.policy.of_provider(each.provider).alerts.item_min_usd,
            )
        )
    )


def keys_of(inputs: MonthInputs, match: MonthMatch) -> list[UnproxiedKey]:
    """Every key used outside the proxy in the month, with owner, action and status, the most expensive first."""
    facts = inputs.facts
    owners, lists = owner_sources(inputs, match.inputs.registry), key_lists(inputs)
    found: list[UnproxiedKey] = []
    for provider, legs in match.inputs.legs.items():
        found += unproxied_keys(
            match.month,
            [legs],
            [cell for each in match.reconciliations if each.provider == provider for cell in each.rate_cells],
            registry=match.inputs.registry,
            book=match.inputs.book,
            owners=owners,
            rules=_rules(inputs, provider),
            lists=lists,
            known_since={each.key: each.first_seen for each in facts.known_since},
            exceptions=facts.exceptions,
        )
    return sorted(found, key=lambda key: (-key.cost_usd, key.provider, key.account, key.identity.word))


def owned_by(inputs: MonthInputs, match: MonthMatch, reconciliation: Reconciliation) -> list[OwnedUse]:
    """Use outside the proxy on the days of one reconciliation, with its owner and its share of the rate variance."""
    legs = match.inputs.legs[reconciliation.provider].cut_to(reconciliation.period)
    usage = legs.usage
    if usage is not None and any(each.account == reconciliation.account for each in usage):
        legs = replace(legs, usage=[each for each in usage if each.account == reconciliation.account])
    return owned_uses(
        [legs],
        reconciliation.rate_cells,
        registry=match.inputs.registry,
        book=match.inputs.book,
        owners=owner_sources(inputs, match.inputs.registry),
        rules=_rules(inputs, reconciliation.provider),
        lists=key_lists(inputs),
    )


def key_lists(inputs: MonthInputs) -> KeyLists:
    """What the providers' newest lists say of keys and workspaces."""
    rows: list[dict[str, Any]] = inputs.rows(KEY_LISTS)
    workspaces: list[dict[str, Any]] = inputs.rows(WORKSPACES)
    return KeyLists(
        keys={
            (row["provider"], row["account"], row["provider_key_id"]): KeyFacts(
                key_name=row["key_name"],
                workspace_id=row["workspace_id"],
                created_by_id=row["created_by_id"],
                created_at=row["created_at"],
            )
            for row in rows
        },
        workspace_names={
            (row["provider"], row["workspace_id"]): row["workspace_name"] for row in workspaces if row["workspace_name"]
        },
    )


def owner_sources(inputs: MonthInputs, registry: KeyRegistry) -> OwnerSources:
    """Who may own a key: valid cost centers with successors, the registry's workspaces, creators (Rules 3.2, 5.3)."""
    policy = inputs.policy.attribution
    centers = _dated(inputs.rows(COST_CENTERS), "code")
    creators: dict[tuple[str, str], list[tuple[Interval, dict[str, Any]]]] = defaultdict(list)
    creator_rows: list[dict[str, Any]] = inputs.rows(KEY_CREATORS)
    for row in creator_rows:
        interval = Interval(row["valid_from"], row["valid_to"])
        creators[row["provider"], row["person_id"]].append((interval, row))

    def valid_cost_center(code: str, day: dt.date) -> str | None:
        for _ in range(policy.max_successor_chain + 1):
            if _on(centers.get(code, ()), day):
                return code
            successors = [row["successor"] for _, row in centers.get(code, ()) if row["successor"]]
            if not successors:
                return None
            code = successors[-1]
        return None

    def of_workspace(provider: str, workspace_id: str | None, day: dt.date) -> str | None:
        """The owner that the registry names for any key of the workspace, where it names one and only one."""
        owners = {
            key.owner_cost_center
            for key in registry.keys
            if key.provider == provider
            and key.role is KeyRole.OTHER
            and key.workspace is not None
            and registry.workspace_id(provider, key.workspace) == workspace_id
            and key.valid.valid_on(day)
            and key.owner_cost_center
        }
        return next(iter(owners)) if len(owners) == 1 else None

    def of_creator(provider: str, person_id: str | None, day: dt.date) -> str | None:
        row = _on(creators.get((provider, person_id or ""), ()), day)
        return str(row["cost_center"]) if row else None

    return OwnerSources(policy.central, valid_cost_center, of_workspace, of_creator)


def _rules(inputs: MonthInputs, provider: str) -> UnproxiedRules:
    policy = inputs.policy.of_provider(provider)
    return UnproxiedRules(
        as_of=inputs.facts.as_of,
        exceptions_on=inputs.facts.exceptions_on,
        value=policy.unproxied.unproxied_value,
        action_due_days=policy.unproxied.action_due_days,
        fallback_tiers=policy.pricing.fallback_tiers,
    )


def _items(inputs: MonthInputs, match: MonthMatch, keys: Sequence[UnproxiedKey]) -> list[ReconcilingItem]:
    """The month's items and what earlier months left open, with every resolution applied."""
    own: list[ReconcilingItem] = []
    for each in match.reconciliations:
        own += reconciling_items(
            each,
            opened_on=_opened_on(match, each),
            item_min_usd=inputs.policy.of_provider(each.provider).alerts.item_min_usd,
            unproxied=keys,
        )
    events: list[ItemEvent] = [*inputs.facts.resolutions, *inputs.facts.reopenings]
    return carry_over(apply_events(own, events), apply_events(inputs.facts.carried_items, events))


def _opened_on(match: MonthMatch, each: Reconciliation) -> dt.date:
    """The day on which the difference could be known first: never today, so that a later run finds the same items."""
    for invoice in match.invoices:
        if (invoice.provider, invoice.invoice_id) == (each.provider, each.invoice_id):
            return invoice.invoice_date
    return each.period.end


_Dated = Mapping[str, list[tuple[Interval, dict[str, Any]]]]


def _dated(rows: Iterable[dict[str, Any]], key: str) -> _Dated:
    found: dict[str, list[tuple[Interval, dict[str, Any]]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["valid_from"]):
        found[row[key]].append((Interval(row["valid_from"], row["valid_to"]), row))
    return found


def _on(rows: Iterable[tuple[Interval, dict[str, Any]]], day: dt.date) -> dict[str, Any] | None:
    return next((row for interval, row in rows if interval.valid_on(day)), None)
