"""Spend that bypassed the proxy: the row of a provider key, the coverage, evidence without dollars (Rule 5).

Belongs here: the words and records of the report. Does not belong here: how the rows are made (`bypass_keys`), which of
several causes a difference has (`bypass_findings`), the register of exceptions (`bypass_exception`).

Only the evidence levels E1 and E2 carry dollars, and only `UnproxiedKey` has a cost. What E3 to E5 point to is already
inside some key's usage or on a vendor's own invoice: `BypassEvidence` has a notional value and nothing to add up.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.bypass_exception import DEFAULT_WORKSPACE, KeyIdentity
from tokengov_pipelines.domain.money import exact_product, exact_sum, ratio_at_least, round_posting

_EMAIL: Final = re.compile(r"[^\s@<>(),;]+@[^\s@<>(),;]+")
_HIDDEN: Final = "(e-mail)"
_NAMES_SHOWN: Final = 5


class EvidenceLevel(StrEnum):
    """How sure it is that the proxy was bypassed (Rule 5.1)."""

    E1 = "E1"  # certain: a key, or where the project decides a project, that is not registered as the proxy's
    E2 = "E2"  # strong: no key (console), or a workspace without a proxy key
    E3 = "E3"  # likely: a user-day of Claude Code on the API without matching proxy spend
    E4 = "E4"  # indirect: a proxy key used outside the proxy, or a provider that the proxy has no route to
    E5 = "E5"  # seat tools: no API bypass, but ungoverned

    @property
    def carries_dollars(self) -> bool:
        """Whether its amount is part of the waterfall; the others are never added to anything."""
        return self in (EvidenceLevel.E1, EvidenceLevel.E2)


class OwnerBasis(StrEnum):
    """What named the owner, in the order in which it is asked (Rule 5.3)."""

    REGISTRY = "registry"
    WORKSPACE = "workspace"
    CREATED_BY = "created_by"
    CENTRAL = "central"


class KeyAction(StrEnum):
    """What is to be done about a key."""

    ROTATE = "rotate"
    MOVE_TO_PROXY = "move_to_proxy"
    REGISTER_EXCEPTION = "register_exception"


class KeyStatus(StrEnum):
    """How far it is: `new` is first seen in this month, `excepted` has an exception in force and raises no alert."""

    NEW = "new"
    OPEN = "open"
    EXCEPTED = "excepted"
    EXCEPTION_EXPIRED = "exception_expired"


@dataclass(frozen=True)
class BypassEvidence:
    """A pointer of level E3 to E5: what was seen, and what it would be worth. It is never added to anything.

    `subject` is a name or an id, never an e-mail. Raises `ValueError` for a level that carries dollars.
    """

    level: EvidenceLevel
    provider: str
    subject: str
    first_day: dt.date
    last_day: dt.date
    words: str
    next_step: str
    notional_usd: Decimal | None = None

    def __post_init__(self) -> None:
        if self.level.carries_dollars:
            message = (
                f"{self.level} carries dollars and is a row of the key report (UnproxiedKey), not evidence beside it"
            )
            raise ValueError(message)


@dataclass(frozen=True)
class UnproxiedKey:
    """One row of the report of rule 5.5: a key's use in one month. Amounts are exact USD with 12 decimals.

    `list_usd` is at price-book price (its part of the component unproxied), `actual_usd` with its share of the rate
    variance, `cost_usd` the one of the two that the policy charges; `owned_usd` splits it over the cost centers that
    owned the key on its days. `unpriced_tokens` are those that the price book has no price for; they cost 0 here and
    are an error item of the match. `suggested_owner` is the owner on `last_seen`. No field holds an e-mail.
    """

    provider: str
    account: str
    workspace_id: str | None
    workspace_name: str | None
    key_id: str | None
    key_name: str | None
    created_by: str | None
    created_at: dt.datetime | None
    first_seen: dt.date
    last_seen: dt.date
    days_active: int
    models: tuple[str, ...]
    tokens: Mapping[str, int]
    list_usd: Decimal
    actual_usd: Decimal
    cost_usd: Decimal
    cost_last_30d_usd: Decimal
    largest_day_usd: Decimal
    evidence: EvidenceLevel
    suggested_owner: str
    owner_basis: OwnerBasis
    action: KeyAction
    due_date: dt.date
    status: KeyStatus
    owned_usd: Mapping[str, Decimal] = field(default_factory=dict)
    unpriced_tokens: int = 0

    @property
    def identity(self) -> KeyIdentity:
        """What makes it one row, and what an exception names."""
        return KeyIdentity.of(self.provider, self.account, self.key_id, self.workspace_id)

    @property
    def key_label(self) -> str:
        """The key for people: provider, workspace, and the last four characters of its name, else of its id."""
        return key_label(self.provider, self.workspace_name or self.workspace_id, self.key_id, self.key_name)

    @property
    def raises_alert(self) -> bool:
        """Whether somebody is to be told; an exception in force changes this and no figure."""
        return self.status is not KeyStatus.EXCEPTED


class FindingKind(StrEnum):
    """What happened. `over_logged` is the opposite of lost logs: duplicated rows, or estimates of failed calls."""

    BYPASS = "bypass"
    LEAKED_KEY = "leaked_key"
    LOST_LOGS = "lost_logs"
    OVER_LOGGED = "over_logged"
    MISPRICING = "mispricing"


@dataclass(frozen=True)
class BypassFinding:
    """One finding. `amount` is exact USD and its sign is that of the component that it is part of.

    bypass is part of unproxied, leaked_key, lost_logs and over_logged of volume + mix, mispricing of proxy_pricing,
    provider_rate or mix: nothing is in two findings, and a finding is never added to a component. `raises_alert` is
    false for a key with an exception in force.
    """

    kind: FindingKind
    provider: str
    first_day: dt.date
    last_day: dt.date
    models: tuple[str, ...]
    keys: tuple[str, ...]
    amount: Decimal
    tokens: int
    words: str
    next_step: str
    evidence: EvidenceLevel | None = None
    raises_alert: bool = True


@dataclass(frozen=True)
class Coverage:
    """Proxy coverage: usage on the proxy's own keys of usage on all keys, both at price-book price (Rule 5.4)."""

    numerator: Decimal
    denominator: Decimal

    @property
    def percentage(self) -> Decimal | None:
        """For people, with two decimals; None where nothing was used at all, which is not 100 %."""
        if self.denominator == 0:
            return None
        return round_posting(self.numerator * 100 / self.denominator)

    def meets(self, target_pct: Decimal) -> bool | None:
        """Whether it reaches the target, by cross multiplication: 97.996 % does not reach 98. None without any use."""
        if self.denominator == 0:
            return None
        return ratio_at_least(self.numerator, self.denominator, exact_product(target_pct, Decimal("0.01")))

    def __str__(self) -> str:
        if self.percentage is None:
            return "nothing was used on any key"
        return f"{self.percentage} % ({self.numerator:f} of {self.denominator:f} USD at price-book price)"


def coverage(own_list: Decimal, all_list: Decimal) -> Coverage:
    """The metric of rule 5.4: `coverage(84, 100)` is 84.00 %. Keys with an exception stay in `all_list`, unproxied.

    Raises:
        ValueError: the own part is negative or larger than the whole.
    """
    if not 0 <= own_list <= all_list:
        message = f"{own_list} on the proxy's keys cannot be a part of {all_list} on all keys. Fix: pass W4, and W5."
        raise ValueError(message)
    return Coverage(own_list, all_list)


def charged_total(keys: Iterable[UnproxiedKey]) -> Decimal:
    """What the keys cost together: the pool of rule 6.1 before rounding. Evidence has no cost and cannot be passed."""
    return exact_sum(key.cost_usd for key in keys)


def key_label(provider: str, workspace: str | None, key_id: str | None, key_name: str | None) -> str:
    """'anthropic, workspace ci-lab, key ...er-1'; 'anthropic, workspace default, no key' for console use."""
    where = f"{provider}, workspace {without_email(workspace) or DEFAULT_WORKSPACE}"
    if key_id is None:
        return f"{where}, no key"
    name = without_email(key_name)
    return f"{where}, key ...{(key_id if not name or _HIDDEN in name else name)[-4:]}"


def without_email(text: str | None) -> str | None:
    """A name as the provider lists it, with anything that looks like an e-mail taken out (Rule 12.7)."""
    return None if text is None else _EMAIL.sub(_HIDDEN, text)


def in_usd(amount: Decimal) -> str:
    """An amount for a sentence, with two decimals."""
    return f"{round_posting(amount):,} USD"


def counted(number: int, word: str) -> str:
    """'1 day', '2 days'."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def named(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
