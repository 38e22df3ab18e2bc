"""Disputes: a cost center says that a charge is somebody else's; what may be decided, when, and what it moves (6.8).

Belongs here: the record, its rules, the calendar of business days, the moves. Does not belong here: keeping disputes
(`ledger.disputes`), posting a move into charges or adjustments (who makes the lines does that).

A dispute moves its stated amount from one cost center to another and nothing else: the total of the invoice stays.
One that is accepted by the end of BD4 changes the month itself; a later one is a `prior_period` line of the next close.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.money import MoneyError, exact_sum, minor_unit_scale, usd
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth, accounting_day

DISPUTE_BUSINESS_DAY: Final = 4
"""The business day of the following month until whose end (UTC) disputes change the month itself (rules 2.4, 6.8)."""

CLOSE_BUSINESS_DAY: Final = 5
_SATURDAY: Final = 5
_LONGEST_TEXT: Final = 500


class Decision(StrEnum):
    """How a dispute ended; None while it is undecided."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class ConsentKind(StrEnum):
    """Who agreed that the receiving cost center bears the amount: its owner, or the VP over both (Rule 6.8)."""

    RECEIVING_OWNER = "receiving_owner"
    VP = "vp"


class Route(StrEnum):
    """Where an accepted dispute posts: in the month itself, or in the next open month by rule 2.5."""

    THIS_CLOSE = "this_close"
    PRIOR_PERIOD = "prior_period"


@dataclass(frozen=True)
class DisputedLine:
    """One charge line of the disputing cost center, and how much of it is disputed, with the line's sign."""

    provider: str
    invoice_id: str
    charge_type: str
    amount: Decimal

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the line within its month and cost center."""
        return self.provider, self.invoice_id, self.charge_type

    @classmethod
    def parse(cls, text: str) -> "DisputedLine":
        """Read PROVIDER:INVOICE:CHARGE_TYPE:AMOUNT, such as anthropic:INV-19:direct:12.50.

        Raises:
            ValueError: a part is missing, or the amount is none.
        """
        provider, _, rest = text.strip().partition(":")
        parts = rest.rsplit(":", 2)
        try:
            if len(parts) == 3 and all(part.strip() for part in (provider, *parts)):
                return cls(provider.strip(), parts[0].strip(), parts[1].strip(), usd(parts[2].strip()))
        except MoneyError:
            pass
        message = (
            f"{text[:80]!r} is no disputed line. Fix: write PROVIDER:INVOICE:CHARGE_TYPE:AMOUNT as chargeback.csv has "
            "them, such as anthropic:INV-19:direct:12.50."
        )
        raise ValueError(message)


@dataclass(frozen=True)
class Dispute:
    """One dispute of one cost center about lines of one month. Moments are aware UTC datetimes.

    `posting_ref` names the close that posted it ('2026-11/v1'); None until then, and of one that moves nothing.
    """

    dispute_id: str
    month: BillingMonth
    cost_center: str
    lines: tuple[DisputedLine, ...]
    currency: str
    reason: str
    claimed_owner: str
    evidence: str
    raised_by: str
    raised_at: dt.datetime
    decision: Decision | None = None
    decision_reason: str | None = None
    decided_by: str | None = None
    decided_at: dt.datetime | None = None
    consent_by: str | None = None
    consent_kind: ConsentKind | None = None
    posting_ref: str | None = None

    @property
    def amount(self) -> Decimal:
        """What is disputed in all."""
        return exact_sum(line.amount for line in self.lines)

    @property
    def awaits_posting(self) -> bool:
        """Whether it was accepted and no close has posted it."""
        return self.decision is Decision.ACCEPTED and self.posting_ref is None


@dataclass(frozen=True)
class DisputeMove:
    """`amount` of a charge that leaves one cost center for another; in what it moves the total does not change."""

    dispute_id: str
    month: BillingMonth
    provider: str
    invoice_id: str
    charge_type: str
    from_cost_center: str
    to_cost_center: str
    amount: Decimal
    currency: str


def business_day_after(month: BillingMonth, number: int, holidays: Collection[dt.date] = frozenset()) -> dt.date:
    """The n-th business day (Monday to Friday, no holiday) of the month after: BD4 of October 2026 is 5 November.

    Raises:
        ValueError: that month has fewer business days.
    """
    days = [day for day in month.next().days() if day.weekday() < _SATURDAY and day not in holidays]
    if not 1 <= number <= len(days):
        message = f"{month.next()} has {len(days)} business days, not {number}. Fix: check the list of holidays."
        raise ValueError(message)
    return days[number - 1]


def last_day_to_raise(
    month: BillingMonth, closed_on: dt.date | None, days_after_close: int, holidays: Collection[dt.date] = frozenset()
) -> dt.date:
    """The last day on which a dispute of the month may be raised: [P: dispute_days_after_close] after its close.

    A month that is not closed has not begun to count; before its calendar close nothing is late.
    """
    calendar_close = business_day_after(month, CLOSE_BUSINESS_DAY, holidays)
    return (closed_on or calendar_close) + dt.timedelta(days=days_after_close)


def route_of(dispute: Dispute, closed_at: dt.datetime | None, holidays: Collection[dt.date] = frozenset()) -> Route:
    """Where a dispute posts if accepted: in its month only when decided by the end of BD4 and before the close.

    An undecided one is judged by the moment it was raised, as the best that can still happen to it.
    """
    moment = dispute.decided_at or dispute.raised_at
    in_time = accounting_day(moment) <= business_day_after(dispute.month, DISPUTE_BUSINESS_DAY, holidays)
    return Route.THIS_CLOSE if in_time and (closed_at is None or moment < closed_at) else Route.PRIOR_PERIOD


def raising_refusal(
    dispute: Dispute,
    *,
    charged: Mapping[tuple[str, str, str], Decimal],
    others: Iterable[Dispute],
    closed_on: dt.date | None,
    days_after_close: int,
    holidays: Collection[dt.date] = frozenset(),
) -> str | None:
    """Why a dispute may not be raised, ending with the fix; None where it may.

    `charged` holds the charges of the disputing cost center in the month, by (provider, invoice, charge type). `others`
    are the disputes of the month so far: no cent is disputed twice.
    """
    words = (dispute.cost_center, dispute.claimed_owner, dispute.reason, dispute.evidence, dispute.raised_by)
    if not all(word.strip() for word in words):
        return "a dispute names cost center, claimed owner, reason, evidence and who raises it. Fix: fill in all five."
    if any(len(word) > _LONGEST_TEXT or not word.isprintable() for word in words):
        return f"the words of a dispute are single lines of at most {_LONGEST_TEXT} characters. Fix: shorten them."
    if dispute.claimed_owner == dispute.cost_center:
        return f"{dispute.cost_center} disputes in favour of itself. Fix: name whose charge it is as --owner."
    last = last_day_to_raise(dispute.month, closed_on, days_after_close, holidays)
    if accounting_day(dispute.raised_at) > last:
        return (
            f"disputes of {dispute.month} were taken until {last} (policy.yaml, chargeback.dispute_days_after_close). "
            "Fix: agree on a manual journal outside this product."
        )
    return _lines_refusal(dispute, charged, [each for each in others if each.cost_center == dispute.cost_center])


def decision_refusal(
    dispute: Dispute,
    *,
    decision: Decision,
    reason: str,
    by: str,
    consent_by: str | None,
    consent_kind: ConsentKind | None,
) -> str | None:
    """Why a dispute may not be decided so, ending with the fix; None where it may.

    Accepting takes the consent of the receiving cost center's owner or the VP's decision, and nobody who raised a
    dispute decides it or consents to it. Withdrawing is for the one who raised it.
    """
    if dispute.decision is not None:
        return f"{dispute.dispute_id} was {dispute.decision} by {dispute.decided_by} already. Fix: raise another one."
    if not by.strip() or not reason.strip():
        return "a decision names who takes it and why. Fix: fill in --by and --reason."
    if decision is Decision.WITHDRAWN:
        if same_person(by, dispute.raised_by):
            return None
        return f"{dispute.dispute_id} is withdrawn by {dispute.raised_by}, who raised it. Fix: reject it instead."
    if same_person(by, dispute.raised_by):
        return f"{by.strip()} raised {dispute.dispute_id} and cannot decide it. Fix: somebody else decides."
    if decision is Decision.REJECTED:
        return None
    if not (consent_by or "").strip() or consent_kind is None:
        return (
            f"{dispute.dispute_id} moves {dispute.amount} {dispute.currency} to {dispute.claimed_owner}: that needs "
            "the consent of its owner or the VP's decision. Fix: fill in --consent-by and --consent-kind."
        )
    if same_person(str(consent_by), dispute.raised_by):
        return f"{dispute.raised_by} raised {dispute.dispute_id} and cannot consent to it. Fix: the owner consents."
    return None


def dispute_moves(disputes: Iterable[Dispute]) -> tuple[DisputeMove, ...]:
    """What the accepted disputes among these move, line by line, in the order of their ids. The others move nothing."""
    return tuple(
        DisputeMove(
            dispute_id=each.dispute_id,
            month=each.month,
            provider=line.provider,
            invoice_id=line.invoice_id,
            charge_type=line.charge_type,
            from_cost_center=each.cost_center,
            to_cost_center=each.claimed_owner,
            amount=line.amount,
            currency=each.currency,
        )
        for each in sorted(disputes, key=lambda each: each.dispute_id)
        if each.decision is Decision.ACCEPTED
        for line in sorted(each.lines, key=lambda line: line.key)
    )


def _lines_refusal(
    dispute: Dispute, charged: Mapping[tuple[str, str, str], Decimal], others: Sequence[Dispute]
) -> str | None:
    keys = [line.key for line in dispute.lines]
    if not keys or len(set(keys)) < len(keys):
        return "a dispute names one line or more, each once. Fix: --line PROVIDER:INVOICE:CHARGE_TYPE:AMOUNT."
    for line in dispute.lines:
        named = f"{line.provider} invoice {line.invoice_id}, {line.charge_type}"
        charge = charged.get(line.key, Decimal(0))
        if charge == 0:
            return (
                f"{dispute.cost_center} was not charged for {named} in {dispute.month}. "
                "Fix: take the line from chargeback.csv."
            )
        taken = exact_sum(
            each.amount
            for other in others
            if other.decision in (None, Decision.ACCEPTED)
            for each in other.lines
            if each.key == line.key
        )
        left = charge - taken
        scale = minor_unit_scale(dispute.currency)
        if line.amount != line.amount.quantize(Decimal(1).scaleb(-scale)):
            return f"{line.amount} of {named} has parts of a cent. Fix: write {scale} decimals ({dispute.currency})."
        if line.amount == 0 or line.amount * charge < 0 or abs(line.amount) > abs(left):
            return (
                f"{line.amount} of {named} cannot be disputed: {dispute.cost_center} was charged {charge}, of which "
                f"{taken} are in dispute already. Fix: state an amount up to {left}."
            )
    return None
