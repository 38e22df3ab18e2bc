"""How people settle open items: by a second person, with evidence, and never by editing an input (rule 4.8).

Belongs here: the words of a resolution, what may not be resolved, and where an item stands after its events. Does not
belong here: finding items (`reconciling_items`), keeping the events (`ledger.resolutions`).

A resolution adds an adjusting line of the opposite sign to what is left of an item. Reopening adds it back.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.money import exact_sum, round_posting
from tokengov_pipelines.domain.open_item import ItemStatus, ReconcilingItem
from tokengov_pipelines.domain.people import same_person

_SETTLED_BELOW: Final = Decimal("0.005")
"""What is left of an item and rounds to nothing is nothing."""


class ResolutionCode(StrEnum):
    """What settles an item (rule 4.8)."""

    VENDOR_CREDIT = "vendor_credit"
    REPRICED = "repriced"
    REATTRIBUTED = "reattributed"
    TIMING_CLEARED = "timing_cleared"
    WRITE_OFF = "write_off"
    DUPLICATE = "duplicate"
    DATA_FIX = "data_fix"


@dataclass(frozen=True)
class Resolution:
    """Two people agree that `amount` of an item is settled; `evidence` says where that can be seen."""

    seq: int
    at: dt.datetime
    item_id: str
    code: ResolutionCode
    amount: Decimal
    currency: str
    evidence: str
    by: str
    approver: str


@dataclass(frozen=True)
class Reopening:
    """A person takes every resolution of an item so far back, for a reason."""

    seq: int
    at: dt.datetime
    item_id: str
    by: str
    reason: str


ItemEvent = Resolution | Reopening


@dataclass(frozen=True)
class AdjustingLine:
    """What an event adds to the reconciliation: `amount` is the opposite of what it settles, or what it brings back."""

    seq: int
    at: dt.datetime
    item_id: str
    code: str
    amount: Decimal
    currency: str


def apply_events(items: Iterable[ReconcilingItem], events: Iterable[ItemEvent]) -> list[ReconcilingItem]:
    """The items as they stand after their events, in the same order; from `starts_as`, so asking twice is asking once.

    An item whose amount has moved since it was resolved is open again with the difference.
    """
    by_item: defaultdict[str, list[ItemEvent]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.seq):
        by_item[event.item_id].append(event)
    return [_after(item, by_item[item.item_id]) for item in items]


def _after(item: ReconcilingItem, events: Sequence[ItemEvent]) -> ReconcilingItem:
    counting: list[Resolution] = []
    was_reopened = False
    for event in events:
        if isinstance(event, Reopening):
            counting, was_reopened = [], True
        else:
            counting.append(event)
    resolved = exact_sum(event.amount for event in counting)
    status = ItemStatus.REOPENED if was_reopened else item.starts_as
    if counting and abs(exact_sum([item.amount, -resolved])) < _SETTLED_BELOW:
        is_write_off = any(event.code is ResolutionCode.WRITE_OFF for event in counting)
        status = ItemStatus.WRITTEN_OFF if is_write_off else ItemStatus.RESOLVED
    return replace(item, status=status, resolved_amount=resolved)


def adjusting_lines(items: Iterable[ReconcilingItem], events: Iterable[ItemEvent]) -> list[AdjustingLine]:
    """The adjusting lines of the events of these items, in the order of the events; a reopening's line may be zero."""
    known = {item.item_id: item for item in items}
    standing: defaultdict[str, Decimal] = defaultdict(Decimal)
    lines = []
    for event in sorted(events, key=lambda event: event.seq):
        item = known.get(event.item_id)
        if item is None:
            continue
        if isinstance(event, Reopening):
            code, amount = "reopened", standing.pop(event.item_id, Decimal(0))
        else:
            code, amount = str(event.code), event.amount.copy_negate()
            standing[event.item_id] = exact_sum([standing[event.item_id], event.amount])
        lines.append(AdjustingLine(event.seq, event.at, event.item_id, code, amount, item.currency))
    return lines


def amount_to_resolve(item: ReconcilingItem, asked: Decimal | None) -> Decimal:
    """The exact amount that a person means: nothing said, or what is left in cents, is all that is left."""
    left = exact_sum([item.amount, -item.resolved_amount])
    return left if asked is None or asked in {left, round_posting(left)} else asked


def resolution_refusal(
    item: ReconcilingItem,
    *,
    code: ResolutionCode,
    amount: Decimal,
    evidence: str,
    by: str,
    approver: str,
    controllers: Collection[str],
    write_off_controller_usd: Decimal,
) -> str | None:
    """Why this may not settle the item, with the fix; None where it may.

    Args:
        item: as it stands now (`apply_events`).
        code: what settles it.
        amount: how much of it, with the item's sign (`amount_to_resolve`).
        evidence: where that can be seen.
        by: who asks; needs another person.
        approver: that other person.
        controllers: names and e-mails of those who may approve a large write-off.
        write_off_controller_usd: a write-off that brings what is settled of the item above this needs one of them.
    """
    left = exact_sum([item.amount, -item.resolved_amount])
    shown = f"item {item.item_id} ({round_posting(item.amount):,.2f} {item.currency})"
    if item.status in {ItemStatus.RESOLVED, ItemStatus.WRITTEN_OFF}:
        return f"{shown} is {_words(item.status)} already. Fix: tokengov recon reopen, if that was wrong."
    if not by.strip() or not approver.strip():
        return f"{shown} is settled by two people. Fix: name --by and --approver."
    if same_person(by, approver):
        return f"{by.strip()} cannot both settle and approve {shown}. Fix: name another person as --approver."
    if not evidence.strip():
        return f"{shown} is settled on evidence. Fix: --evidence says where it can be seen."
    if item.amount and (not amount or (amount < 0) != (left < 0) or abs(amount) > abs(left)):
        return (
            f"{round_posting(amount):,.2f} is no part of what is left of {shown}, {round_posting(left):,.2f}. "
            "Fix: --amount between zero and that, with its sign; or leave --amount out for all of it."
        )
    if not item.amount and amount:
        return f"{shown} has no amount. Fix: leave --amount out."
    at_stake = abs(exact_sum([item.resolved_amount, amount]))
    is_controller = any(same_person(approver, each) for each in controllers)
    if code is ResolutionCode.WRITE_OFF and at_stake > write_off_controller_usd and not is_controller:
        return (
            f"a write-off above {write_off_controller_usd:,.2f} needs a controller, and {approver.strip()} is none "
            f"(directory/people.csv): {shown}. Fix: name a controller as --approver."
        )
    return None


def reopening_refusal(item: ReconcilingItem, *, by: str, reason: str) -> str | None:
    """Why an item may not be reopened, with the fix; None where it may. What was explained may be, too."""
    if item.is_open and not item.resolved_amount:
        return f"item {item.item_id} is open. Fix: nothing; settle it with tokengov recon resolve."
    if not by.strip() or not reason.strip():
        return f"item {item.item_id} is reopened by a person, for a reason. Fix: fill in --by and --reason."
    return None


def _words(status: ItemStatus) -> str:
    return status.replace("_", " ")
