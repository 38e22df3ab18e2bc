"""One row for each provider key that was used outside the proxy (Rules 5.2, 5.3, 5.5).

Belongs here: what a key used and cost in a month, since when, who should own it, what is to be done. Does not belong
here: the cells and prices (`usage_cells`), the shares of the rate variance (`rate_shares`), who is charged
(`chargeback`), what is told about it (`bypass_findings`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, Literal

from tokengov_pipelines.domain.bypass import (
    EvidenceLevel,
    KeyAction,
    KeyStatus,
    OwnerBasis,
    UnproxiedKey,
    without_email,
)
from tokengov_pipelines.domain.bypass_exception import (
    BypassException,
    ExceptionState,
    KeyIdentity,
    governing_exception,
)
from tokengov_pipelines.domain.legs import KeyDecides, KeyRegistry, Legs
from tokengov_pipelines.domain.match_result import RateCell
from tokengov_pipelines.domain.money import INTERNAL_SCALE, exact_sum, from_cents, quantize_internal
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.rate_shares import split_reported
from tokengov_pipelines.domain.usage_cells import UNMAPPED, CellPrices, usage_cells

WINDOW_DAYS: Final = 30


@dataclass(frozen=True)
class KeyFacts:
    """What the provider's lists say of a key. `created_by` is the name of a person or a service account."""

    key_name: str | None = None
    workspace_id: str | None = None
    created_by: str | None = None
    created_by_id: str | None = None
    created_at: dt.datetime | None = None


@dataclass(frozen=True)
class KeyLists:
    """The providers' lists: keys by (provider, account, key id), workspace names by (provider, workspace id)."""

    keys: Mapping[tuple[str, str, str], KeyFacts] = field(default_factory=dict)
    workspace_names: Mapping[tuple[str, str], str] = field(default_factory=dict)


def _nobody(_provider: str, _id: str | None, _day: dt.date) -> str | None:
    return None


@dataclass(frozen=True)
class OwnerSources:
    """Who may own a key (Rule 5.3); the key registry is asked first, these after it.

    `valid_cost_center` gives the cost center that pays for a code on a day: itself, a successor (at most five steps),
    or None, and then the next basis is asked (Rule 3.2). `of_workspace` maps (provider, workspace id, day) to a code, a
    None workspace like any other; `of_creator` (provider, created_by_id, day), by directory.
    """

    central: str
    valid_cost_center: Callable[[str, dt.date], str | None]
    of_workspace: Callable[[str, str | None, dt.date], str | None] = _nobody
    of_creator: Callable[[str, str | None, dt.date], str | None] = _nobody


@dataclass(frozen=True)
class UnproxiedRules:
    """The policy: `as_of` ends the 30 days, `value` [P: unproxied_value], `fallback_tiers` as in the match.

    `exceptions_on` is the day on which an exception has to hold, None for `as_of`. For a past month it is today: an
    exception is granted after the use was found.
    """

    as_of: dt.date
    exceptions_on: dt.date | None = None
    value: Literal["actual", "list"] = "actual"
    action_due_days: int = 14
    fallback_tiers: tuple[str, ...] = ()


def unproxied_keys(
    month: BillingMonth,
    legs: Iterable[Legs],
    rate_cells: Iterable[RateCell] = (),
    *,
    registry: KeyRegistry,
    book: PriceBook,
    owners: OwnerSources,
    rules: UnproxiedRules,
    lists: KeyLists | None = None,
    known_since: Mapping[KeyIdentity, dt.date] | None = None,
    exceptions: Sequence[BypassException] = (),
) -> list[UnproxiedKey]:
    """Every key that was used in the month and is not the proxy's own on the day of use, the most expensive first.

    Args:
        month: the calendar month of the report.
        legs: one a provider, with the days of the month and of the 30 days up to `rules.as_of`.
        rate_cells: of every match of these days; a day without any is valued at list (two-way, no report yet).
        registry: whose keys are the proxy's own. A key that becomes the proxy's during the month is listed with the
            days before.
        book: the price book.
        owners: who pays.
        rules: the policy.
        lists: what the provider's lists say of keys and workspaces.
        known_since: `first_seen` of the earlier months' tables, so that no history is read.
        exceptions: the register of rule 5.5.
    """
    uses = _uses(legs, list(rate_cells), registry, book, rules)
    rows = [
        _row(identity, mine, month, registry, owners, rules, lists or KeyLists(), known_since or {}, exceptions)
        for identity, mine in uses.items()
        if any(month.contains(use.day) for use in mine)
    ]
    return sorted(rows, key=lambda row: (-row.cost_usd, row.provider, row.account, row.identity.word))


@dataclass(frozen=True)
class OwnedUse:
    """What one day's use of a key outside the proxy costs, and who owns the key that day (Rules 5.2, 5.3)."""

    day: dt.date
    provider: str
    account: str
    cost_center: str
    cost_usd: Decimal


def owned_uses(
    legs: Iterable[Legs],
    rate_cells: Iterable[RateCell] = (),
    *,
    registry: KeyRegistry,
    book: PriceBook,
    owners: OwnerSources,
    rules: UnproxiedRules,
    lists: KeyLists | None = None,
) -> list[OwnedUse]:
    """Every day's use of every key outside the proxy with its owner: what the pool `unproxied` is charged by.

    The arguments are those of `unproxied_keys`; the days are all that `legs` hold.
    """
    known = lists or KeyLists()
    found = []
    for identity, uses in _uses(legs, list(rate_cells), registry, book, rules).items():
        for use in uses:
            facts = _facts(identity, known)
            owner, _ = _owner(identity, use, facts, registry, owners)
            found.append(OwnedUse(use.day, identity.provider, identity.account, owner, use.cost(rules)))
    return found


@dataclass
class _Use:
    """A key's use of one day."""

    day: dt.date
    workspace_id: str | None
    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    models: set[str] = field(default_factory=set)
    unpriced_tokens: int = 0
    list_pico: int = 0
    actual: Decimal | None = None

    @property
    def list_usd(self) -> Decimal:
        return from_cents(self.list_pico, INTERNAL_SCALE)

    def cost(self, rules: UnproxiedRules) -> Decimal:
        return self.list_usd if rules.value == "list" or self.actual is None else self.actual


def _uses(
    legs: Iterable[Legs], rate_cells: Sequence[RateCell], registry: KeyRegistry, book: PriceBook, rules: UnproxiedRules
) -> dict[KeyIdentity, list[_Use]]:
    by_day: dict[tuple[KeyIdentity, dt.date], _Use] = {}
    for leg in legs:
        if leg.usage is None:
            continue
        prices = CellPrices(leg.provider, book, rules.fallback_tiers)
        foreign = [each for each in leg.usage if not registry.is_own(each)]
        # The log tells the context bands of the days and models of such use, and nothing else here.
        used = {(each.day, prices.model(each.model)) for each in foreign}
        logged = [each for each in leg.logged if (each.day, prices.model(each.model)) in used]
        for cell, keys in usage_cells(replace(leg, usage=foreign, logged=logged), registry, prices).by_key.items():
            price = prices.of(cell)
            for (account, key_id, workspace_id), tokens in keys.items():
                identity = KeyIdentity.of(leg.provider, account, key_id, workspace_id)
                use = by_day.setdefault((identity, cell.day), _Use(cell.day, workspace_id))
                use.workspace_id = use.workspace_id or workspace_id
                use.tokens[cell.token_type] += tokens
                use.models.add(cell.model.removeprefix(UNMAPPED))
                use.list_pico += tokens * price.pico
                use.unpriced_tokens += tokens if price.usd_per_token is None else 0
    for (provider, day, (account, key_id, workspace_id)), amount in split_reported(rate_cells, registry).items():
        found = by_day.get((KeyIdentity.of(provider, account, key_id, workspace_id), day))
        if found is not None:
            found.actual = exact_sum([found.actual or Decimal(0), amount])
    uses: dict[KeyIdentity, list[_Use]] = defaultdict(list)
    for (identity, _), use in sorted(by_day.items(), key=lambda item: item[0][1]):
        uses[identity].append(use)
    return uses


def _row(
    identity: KeyIdentity,
    uses: Sequence[_Use],
    month: BillingMonth,
    registry: KeyRegistry,
    owners: OwnerSources,
    rules: UnproxiedRules,
    lists: KeyLists,
    known_since: Mapping[KeyIdentity, dt.date],
    exceptions: Sequence[BypassException],
) -> UnproxiedKey:
    mine = [use for use in uses if month.contains(use.day)]
    last = mine[-1]
    key_id = identity.key_id
    facts = _facts(identity, lists)
    workspace_id = last.workspace_id if key_id is None else last.workspace_id or facts.workspace_id
    first_seen = min([uses[0].day, known_since.get(identity, uses[0].day)])
    owner, basis = _owner(identity, last, facts, registry, owners)
    owned: dict[str, list[Decimal]] = defaultdict(list)
    for use in mine:
        owned[_owner(identity, use, facts, registry, owners)[0]].append(use.cost(rules))
    exception = governing_exception(exceptions, identity, rules.exceptions_on or rules.as_of)
    window_start = rules.as_of - dt.timedelta(days=WINDOW_DAYS - 1)
    tokens: dict[str, int] = defaultdict(int)
    for use in mine:
        for token_type, count in use.tokens.items():
            tokens[token_type] += count
    return UnproxiedKey(
        provider=identity.provider,
        account=identity.account,
        workspace_id=workspace_id,
        workspace_name=without_email(lists.workspace_names.get((identity.provider, workspace_id or ""))),
        key_id=key_id,
        key_name=without_email(facts.key_name),
        created_by=_creator(facts),
        created_at=facts.created_at,
        first_seen=first_seen,
        last_seen=last.day,
        days_active=len(mine),
        models=tuple(sorted(set().union(*(use.models for use in mine)))),
        tokens=dict(sorted(tokens.items())),
        list_usd=_total(use.list_usd for use in mine),
        actual_usd=_total(use.list_usd if use.actual is None else use.actual for use in mine),
        cost_usd=_total(use.cost(rules) for use in mine),
        cost_last_30d_usd=_total(use.cost(rules) for use in uses if window_start <= use.day <= rules.as_of),
        largest_day_usd=_total([max(use.cost(rules) for use in mine)]),
        evidence=_evidence(identity, registry),
        suggested_owner=owner,
        owner_basis=basis,
        action=_action(identity, workspace_id, last.day, registry, exception is not None),
        due_date=exception[0].last_day if exception else first_seen + dt.timedelta(days=rules.action_due_days),
        status=_status(first_seen, month, exception[1] if exception else None),
        owned_usd={code: _total(amounts) for code, amounts in sorted(owned.items())},
        unpriced_tokens=sum(use.unpriced_tokens for use in mine),
    )


def _facts(identity: KeyIdentity, lists: KeyLists) -> KeyFacts:
    if identity.key_id is None:
        return KeyFacts()
    return lists.keys.get((identity.provider, identity.account, identity.key_id), KeyFacts())


def _evidence(identity: KeyIdentity, registry: KeyRegistry) -> EvidenceLevel:
    """E1 where what decides is there and is not the proxy's; else E2. A key in a foreign workspace is both: E1 wins."""
    by_project = registry.decides.get(identity.provider) is KeyDecides.KEY_ID_ELSE_PROJECT
    if identity.key_id is not None or (by_project and identity.workspace_id is not None):
        return EvidenceLevel.E1
    return EvidenceLevel.E2


def _owner(
    identity: KeyIdentity, use: _Use, facts: KeyFacts, registry: KeyRegistry, owners: OwnerSources
) -> tuple[str, OwnerBasis]:
    """Who owns the key on a day of use: the first basis whose cost center is valid then (Rules 3.2, 5.3)."""
    provider, key_id = identity.provider, identity.key_id
    registered = None if key_id is None else registry.find(provider, identity.account, key_id, use.day)
    workspace = use.workspace_id or (facts.workspace_id if key_id is not None else None)
    named = (
        (OwnerBasis.REGISTRY, registered.owner_cost_center if registered else None),
        (OwnerBasis.WORKSPACE, owners.of_workspace(provider, workspace, use.day)),
        (
            OwnerBasis.CREATED_BY,
            owners.of_creator(provider, facts.created_by_id, use.day) if facts.created_by_id else None,
        ),
    )
    for basis, code in named:
        valid = owners.valid_cost_center(code, use.day) if code else None
        if valid:
            return valid, basis
    return owners.central, OwnerBasis.CENTRAL


def _action(
    identity: KeyIdentity, workspace_id: str | None, day: dt.date, registry: KeyRegistry, is_excepted: bool
) -> KeyAction:
    """What to do. A key beside the proxy's own, or one that was the proxy's, is in wrong hands: rotate it.

    Any other key moves to the proxy. Use without a key is somebody at the provider's console, which no proxy can carry:
    it is stopped, or registered; where the provider merely does not report keys it is a key that moves. What had an
    exception moves before, or because, that ends; a second one is asked for only where it cannot.
    """
    provider, account, key_id = identity.provider, identity.account, identity.key_id
    if key_id is None:
        by_project = registry.decides.get(provider) is KeyDecides.KEY_ID_ELSE_PROJECT
        return KeyAction.MOVE_TO_PROXY if by_project or is_excepted else KeyAction.REGISTER_EXCEPTION
    ours = [key for key in registry.proxy_keys(provider) if key.account == account]
    was_ours = any(key.key_id == key_id for key in ours)
    beside_ours = workspace_id is not None and any(
        registry.workspace_id(provider, key.workspace) == workspace_id for key in ours if key.valid.valid_on(day)
    )
    return KeyAction.ROTATE if was_ours or beside_ours else KeyAction.MOVE_TO_PROXY


def _status(first_seen: dt.date, month: BillingMonth, exception: ExceptionState | None) -> KeyStatus:
    if exception is ExceptionState.IN_FORCE:
        return KeyStatus.EXCEPTED
    if exception is ExceptionState.EXPIRED:
        return KeyStatus.EXCEPTION_EXPIRED
    return KeyStatus.NEW if month.contains(first_seen) else KeyStatus.OPEN


def _creator(facts: KeyFacts) -> str | None:
    """The creator's name; his id where the name is an e-mail or absent; nothing where both are e-mails."""
    words = (each for each in (facts.created_by, facts.created_by_id) if each and "@" not in each)
    return next(words, None)


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return quantize_internal(exact_sum(amounts))
