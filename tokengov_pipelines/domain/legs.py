"""The legs of the match: what the proxy logged (A), what the provider delivered (B), what it billed (C) (Rule 4.1).

Belongs here: the records that a match reads, at the grain of rule 4.1, and which keys are the proxy's own. Does not
belong here: reading tables (`assets.reconciliation_inputs`), prices (`pricing`), the comparison (`waterfall`,
`invoice_match`). Leg C is `invoice.Invoice`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import InvoicePeriod

NOT_DELIVERED: Final = frozenset(
    {CallClass.CACHE_HIT, CallClass.FAILURE, CallClass.FAILED_SPEND, CallClass.SUBSCRIPTION, CallClass.ZERO}
)
"""Classes whose tokens are not proxy tokens (Rule 4.4): the proxy's own cache, failures, calls on a person's plan."""


@dataclass(frozen=True, slots=True)
class LoggedUsage:
    """Leg A: accepted calls of a UTC day with one model, tier, context band and class.

    `model` is the name as logged; `over_tokens` the lower bound of the calls' context band in the price book (0: the
    lowest); `tokens` counts by token type (the words of `pricing.TOKEN_TYPES`); `logged` is the proxy's own spend.
    `geo` and `speed` are None where the log does not tell (LiteLLM's does not): then the provider's mix is used.
    """

    day: dt.date
    provider: str
    model: str
    tier: str
    over_tokens: int
    call_class: CallClass
    calls: int
    tokens: Mapping[str, int]
    logged: Decimal
    geo: str | None = None
    speed: str | None = None
    cost_center: str = ""
    calls_without_usage: int = 0

    @property
    def is_delivered(self) -> bool:
        """Whether the provider should have metered these tokens."""
        return self.call_class not in NOT_DELIVERED


@dataclass(frozen=True, slots=True)
class ProviderUsage:
    """Leg B, usage report: tokens of one type that a provider metered on a UTC day for a key; None is a value (F3).

    `context_window` is the provider's own word ('0-200k', '200k-1M'); None where its report has none. `geo` and `speed`
    as reported, None where not.
    """

    day: dt.date
    provider: str
    account: str
    key_id: str | None
    workspace_id: str | None
    model: str | None
    tier: str | None
    token_type: str
    tokens: int
    context_window: str | None = None
    geo: str | None = None
    speed: str | None = None


@dataclass(frozen=True, slots=True)
class ReportedCost:
    """Leg B, cost report: exact dollars of one line of a UTC day. `cost_type` 'tokens' is W6, all others W7."""

    day: dt.date
    provider: str
    account: str
    key_id: str | None
    workspace_id: str | None
    model: str | None
    cost_type: str
    token_type: str | None
    tier: str | None
    amount: Decimal
    line_item: str | None = None
    context_window: str | None = None
    geo: str | None = None
    speed: str | None = None
    list_amount: Decimal | None = None


class KeyRole(StrEnum):
    """Whose calls a provider key makes (directory/provider_keys.csv)."""

    PROXY = "proxy"
    OTHER = "other"


class KeyDecides(StrEnum):
    """What tells the proxy's usage from other usage [P: provider_key_decides] (Rule 4.2)."""

    KEY_ID = "key_id"
    KEY_ID_ELSE_PROJECT = "key_id_else_project"


@dataclass(frozen=True)
class RegisteredKey:
    """A row of provider_keys.csv: `workspace` is the workspace's or project's id or name, as the file states it."""

    provider: str
    account: str
    key_id: str
    role: KeyRole
    valid: Interval
    workspace: str | None = None
    owner_cost_center: str | None = None


@dataclass(frozen=True)
class KeyRegistry:
    """Which provider keys are the proxy's own. `workspace_ids` maps (provider, name) to the id that reports show."""

    keys: Sequence[RegisteredKey]
    decides: Mapping[str, KeyDecides] = field(default_factory=dict)
    workspace_ids: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _own: dict[tuple[str, str, str | None, str | None, dt.date], bool] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def is_own(self, usage: ProviderUsage | ReportedCost) -> bool:
        """Whether the usage is on one of the proxy's own keys on its day (Rule 4.2).

        A key id decides when it is there. A null key is console use, whatever the workspace, except where the policy
        lets the project decide (OpenAI's report may not carry keys).
        """
        return self.is_own_key(usage.provider, usage.account, usage.key_id, usage.workspace_id, usage.day)

    def is_own_key(
        self, provider: str, account: str, key_id: str | None, workspace_id: str | None, day: dt.date
    ) -> bool:
        """The same for a key by its words."""
        # A report has hundreds of rows of a key and day; each of them is decided once.
        asked = (provider, account, key_id, workspace_id, day)
        known = self._own.get(asked)
        if known is None:
            known = self._own[asked] = self._decide(*asked)
        return known

    def _decide(self, provider: str, account: str, key_id: str | None, workspace_id: str | None, day: dt.date) -> bool:
        mine = [
            key
            for key in self.keys
            if key.role is KeyRole.PROXY
            and key.provider == provider
            and key.account == account
            and (key_id is None or key.key_id == key_id)
            and key.valid.valid_on(day)
        ]
        if key_id is not None:
            return bool(mine)
        if self.decides.get(provider) is not KeyDecides.KEY_ID_ELSE_PROJECT or workspace_id is None:
            return False
        return any(self.workspace_id(provider, key.workspace) == workspace_id for key in mine)

    def proxy_keys(self, provider: str) -> list[RegisteredKey]:
        """The proxy's keys at a provider, of all days."""
        return [key for key in self.keys if (key.provider, key.role) == (provider, KeyRole.PROXY)]

    def find(self, provider: str, account: str, key_id: str, day: dt.date) -> RegisteredKey | None:
        """The registration of a key that holds on a day, whatever its role."""
        found = (
            key
            for key in self.keys
            if (key.provider, key.account, key.key_id) == (provider, account, key_id) and key.valid.valid_on(day)
        )
        return next(found, None)

    def workspace_id(self, provider: str, workspace: str | None) -> str | None:
        """A workspace's id, from its name where the provider's lists know it, else the word as it is."""
        return None if workspace is None else self.workspace_ids.get((provider, workspace), workspace)


@dataclass(frozen=True)
class Legs:
    """Everything that one provider's match reads, for any days; the match cuts it to the days it is about.

    `usage` and `costs` are None where the provider has no such report, which is the two-way mode. `missing_log_days`
    are days without a complete proxy extract, `missing_report_days` days without a complete usage or cost report.
    `over_midnight` is the logged spend of calls that began on a day and ended after it.
    """

    provider: str
    logged: Sequence[LoggedUsage]
    usage: Sequence[ProviderUsage] | None
    costs: Sequence[ReportedCost] | None
    missing_log_days: frozenset[dt.date] = frozenset()
    missing_report_days: frozenset[dt.date] = frozenset()
    over_midnight: Mapping[dt.date, Decimal] = field(default_factory=dict)

    def cut_to(self, period: InvoicePeriod) -> "Legs":
        """The same legs, of the days of a period alone (Rule 4.2: all legs are cut to the invoice period)."""
        start, end = period.start, period.end
        return Legs(
            self.provider,
            [each for each in self.logged if start <= each.day < end],
            None if self.usage is None else [each for each in self.usage if start <= each.day < end],
            None if self.costs is None else [each for each in self.costs if start <= each.day < end],
            _within(self.missing_log_days, period),
            _within(self.missing_report_days, period),
            self.over_midnight,
        )


def _within(days: Iterable[dt.date], period: InvoicePeriod) -> frozenset[dt.date]:
    return frozenset(day for day in days if period.contains(day))
