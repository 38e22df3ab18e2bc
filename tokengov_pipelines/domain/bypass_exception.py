"""The exceptions register: keys that may, for a while, be used outside the proxy (Rule 5.5).

Belongs here: which key an exception is for, whether it holds on a day, what refuses one. Does not belong here: where
exceptions are kept (`ledger.bypass_exceptions`), what a key costs (`bypass`).

An exception changes an alert, never a figure: the key stays charged and stays in the coverage denominator as unproxied.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.people import same_person

NO_KEY_PREFIX: Final = "workspace:"
DEFAULT_WORKSPACE: Final = "default"
"""What people write for usage without a key: `workspace:wrkspc_01`, `workspace:default`."""


@dataclass(frozen=True)
class KeyIdentity:
    """What makes one row of the report: a provider key, or usage without a key of one workspace (None: the default).

    `workspace_id` is None wherever there is a key id, because a key is one key wherever it is seen. Make it with `of`.
    """

    provider: str
    account: str
    key_id: str | None
    workspace_id: str | None = None

    @classmethod
    def of(cls, provider: str, account: str, key_id: str | None, workspace_id: str | None) -> "KeyIdentity":
        """The identity of usage as reports state it."""
        return cls(provider, account, key_id, workspace_id if key_id is None else None)

    @classmethod
    def parse(cls, provider: str, account: str, word: str) -> "KeyIdentity":
        """The identity that `word` is the text of.

        Raises:
            ValueError: the word names nothing.
        """
        name = word.strip()
        if name in ("", NO_KEY_PREFIX):
            message = (
                f"{word!r} names no key. Fix: write the key's id as `tokengov unproxied list` shows it, or "
                f"{NO_KEY_PREFIX}WORKSPACE ({NO_KEY_PREFIX}{DEFAULT_WORKSPACE}) for usage without a key."
            )
            raise ValueError(message)
        if not name.startswith(NO_KEY_PREFIX):
            return cls(provider, account, name)
        workspace = name.removeprefix(NO_KEY_PREFIX)
        return cls(provider, account, None, None if workspace == DEFAULT_WORKSPACE else workspace)

    @property
    def word(self) -> str:
        """The key's id, or 'workspace:...' for usage without a key; `parse` reads it back."""
        return self.key_id if self.key_id is not None else f"{NO_KEY_PREFIX}{self.workspace_id or DEFAULT_WORKSPACE}"


class ExceptionState(StrEnum):
    """Whether an exception holds."""

    IN_FORCE = "in_force"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class BypassException:
    """One approved exception. It holds on both `granted_on` and `last_day`, and not from `withdrawn_on` on.

    `number` is the number of its event in the audit trail.
    """

    number: int
    key: KeyIdentity
    reason: str
    requested_by: str
    approved_by: str
    granted_on: dt.date
    last_day: dt.date
    withdrawn_on: dt.date | None = None

    def state_on(self, day: dt.date) -> ExceptionState | None:
        """Its state on a UTC day; None before it was granted."""
        if day < self.granted_on:
            return None
        if self.withdrawn_on is not None and self.withdrawn_on <= day:
            return ExceptionState.WITHDRAWN
        return ExceptionState.IN_FORCE if day <= self.last_day else ExceptionState.EXPIRED


def governing_exception(
    exceptions: Iterable[BypassException], key: KeyIdentity, day: dt.date
) -> tuple[BypassException, ExceptionState] | None:
    """The exception that speaks for a key on a day, and its state; None where there is none or all were withdrawn.

    One in force goes before one that has expired, and the one that ends last before the others. One that was granted
    after the day counts from its first day on: use is found first, and allowed then.
    """
    found = [(each, each.state_on(max(day, each.granted_on))) for each in exceptions if each.key == key]
    for wanted in (ExceptionState.IN_FORCE, ExceptionState.EXPIRED):
        fitting = [each for each, state in found if state is wanted]
        if fitting:
            return max(fitting, key=lambda each: (each.last_day, each.number)), wanted
    return None


def exception_refusal(
    *, reason: str, requested_by: str, approved_by: str, granted_on: dt.date, last_day: dt.date, max_days: int
) -> str | None:
    """Why an exception may not be granted, ending with the fix; None where it may.

    `max_days` is [P: exception_max_days]: an exception granted on 1 November may hold until 30 January at the latest.
    """
    if not reason.strip():
        return "an exception needs a reason. Fix: --reason says why this key cannot go through the proxy yet."
    if not requested_by.strip() or not approved_by.strip():
        return "an exception needs two people. Fix: name --requested-by and --approved-by."
    if same_person(requested_by, approved_by):
        return (
            f"{requested_by.strip()} cannot both request and approve an exception. "
            "Fix: name another person as --approved-by."
        )
    latest = granted_on + dt.timedelta(days=max_days)
    if last_day < granted_on:
        return f"an exception until {last_day} is over on {granted_on} already. Fix: --until {latest} or earlier."
    if last_day > latest:
        days = (last_day - granted_on).days
        return (
            f"an exception until {last_day} would hold for {days} days; policy.yaml allows {max_days} "
            f"(unproxied.exception_max_days). Fix: --until {latest} or earlier, and ask again then."
        )
    return None
