"""When an alert opens, is told again and is over: what was observed, and the rules that compare it with before.

Belongs here: severities, conditions, the rule of transitions, when an open alert is told again, staleness, how long a
failed delivery waits. Does not belong here: the words of a message (`alert_messages`), the conditions of the
reconciliation (`reconciliation_alerts`), where observations come from (`tokengov_pipelines.alerting`), how they are
kept (`ledger.alerts`), how a message travels (`resources.notifier`).

A condition has parts (the days or months that a check looked at; one part, `WHOLE`, where there is nothing to divide).
It is bad while any of its parts is: October's green says nothing about September. An alert opens with the first bad
part and closes with the last good one; a part that nobody looked at stays as it was.

An open alert is not told again, with three exceptions (in the spirit of rule 8.7): its amount has at least doubled
since it was last told, its severity rose, or it is a page that nobody has acknowledged for 24 hours.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

WHOLE = ""
"""The one part of a condition that has no days or months."""

REMIND_AFTER: Final = dt.timedelta(hours=24)
"""How long after it was last told a page that is open and not acknowledged is told again."""

_LONGEST_TEXT = 3000
_LONGEST_WAIT = dt.timedelta(minutes=60)
_SPAN = re.compile(r"(\d{4}-\d{2}(?:-\d{2})?)(?: to (\d{4}-\d{2}(?:-\d{2})?))?")
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@]*:[^\s/]*@")


class Severity(StrEnum):
    """How bad it is, the least first.

    Operation has two words: an error stopped something or makes a figure wrong; a warning is to be looked at. The gap
    between proxy and invoice has four, those of rule 4.7.
    """

    INFO = "info"
    WARNING = "warning"
    MEDIUM = "medium"
    HIGH = "high"
    ERROR = "error"
    PAGE = "page"

    def is_above(self, other: "Severity") -> bool:
        """Whether it is worse than another."""
        order = list(Severity)
        return order.index(self) > order.index(other)


@dataclass(frozen=True)
class Condition:
    """Something that may be wrong, as it was observed at one moment.

    `key` names it for ever (`run:load_days_job`, `stale:litellm`). `looked_at` are the parts that were looked at and
    `bad` those found bad; every other part looked at was good. `title` and `text` (what, where, fix) speak of the bad.
    `owner` says in words whose it is ('controller + data owner'), `amount` how large in USD, never negative; both are
    empty where there is nothing to say.
    """

    key: str
    at: dt.datetime
    severity: Severity
    title: str
    text: str
    looked_at: frozenset[str] = frozenset({WHOLE})
    bad: frozenset[str] = frozenset()
    run_id: str | None = None
    owner: str = ""
    amount: Decimal | None = None


@dataclass(frozen=True)
class PartState:
    """The newest observation of one part of a condition."""

    bad: bool
    at: dt.datetime


class Step(StrEnum):
    """What an observation means for the alert of its condition."""

    OPENED = "opened"
    REPEATED = "repeated"  # still bad, and not told again
    RAISED = "raised"  # still bad, and told again: it has grown
    CLOSED = "closed"


class Event(StrEnum):
    """What a message tells of an alert."""

    OPENED = "opened"
    RAISED = "raised"
    REMINDED = "reminded"
    CLOSED = "closed"


@dataclass(frozen=True)
class Transition:
    """One step of an alert and the observation that caused it."""

    step: Step
    condition: Condition


@dataclass(frozen=True)
class Transitions:
    """What a row of observations changes: the steps in order, and the new state of every part that moved."""

    steps: tuple[Transition, ...] = ()
    states: Mapping[str, Mapping[str, PartState]] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What was last told of an open alert, and when; the amount is None where there was none to tell."""

    severity: Severity
    amount: Decimal | None
    at: dt.datetime


@dataclass(frozen=True)
class Alert:
    """An alert as the ledger holds it; `closed_by` is set when a person closed it instead of a good observation.

    `told` counts what was told of it so far, the opening included and the end not; `last_told` is the newest of these.
    `acknowledged_by` is set from an acknowledgement until it is raised.
    """

    id: int
    key: str
    severity: Severity
    title: str
    text: str
    opened_at: dt.datetime
    last_seen_at: dt.datetime
    closed_at: dt.datetime | None = None
    closed_by: str | None = None
    run_id: str | None = None
    owner: str = ""
    amount: Decimal | None = None
    told: int = 1
    last_told: Told | None = None
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None


def transitions(known: Mapping[str, Mapping[str, PartState]], observed: Iterable[Condition]) -> Transitions:
    """Compare observations with what is known; the rule of opening once and closing by itself.

    Args:
        known: the newest observation of each part, by key and part; nothing for a key means never observed.
        observed: what was seen, in any order. An observation that is not newer than the known one of a part says
            nothing about it, so that seeing the same run twice, or two runs in the wrong order, changes nothing.
    """
    now = {key: dict(parts) for key, parts in known.items()}
    moved: dict[str, dict[str, PartState]] = {}
    steps = []
    for condition in sorted(observed, key=lambda each: each.at):
        parts = now.setdefault(condition.key, {})
        was_bad = any(state.bad for state in parts.values())
        fresh = frozenset(part for part in condition.looked_at if part not in parts or parts[part].at < condition.at)
        for part in fresh:
            parts[part] = moved.setdefault(condition.key, {})[part] = PartState(part in condition.bad, condition.at)
        is_bad = any(state.bad for state in parts.values())
        if fresh and (was_bad or is_bad):
            step = Step.CLOSED if not is_bad else Step.REPEATED if was_bad else Step.OPENED
            steps.append(Transition(step, replace(condition, looked_at=fresh, bad=condition.bad & fresh)))
    return Transitions(tuple(steps), moved)


def is_raised(told: Told, severity: Severity, amount: Decimal | None) -> bool:
    """Whether an open alert is worth telling again, given what was last told of it (in the spirit of rule 8.7).

    It is when its severity rose, or its amount has at least doubled: 100.00 that was told and 199.99 is not, 200.00 is.
    A first amount where none was told is no growth, and zero is never worth telling.
    """
    if severity.is_above(told.severity):
        return True
    return told.amount is not None and amount is not None and amount > 0 and amount >= 2 * told.amount


def is_due_again(alert: Alert, now: dt.datetime) -> bool:
    """Whether an open page that nobody has acknowledged is to be told once more: 24 hours after it was last told."""
    if alert.severity is not Severity.PAGE or alert.closed_at or alert.acknowledged_by or alert.last_told is None:
        return False
    return now - alert.last_told.at >= REMIND_AFTER


def split_span(text: str) -> list[str]:
    """The days or months of a span as checks write it: '2026-10-30 to 2026-11-01', '2026-10'; none if it is no span."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        return []
    first, last = found[1], found[2] or found[1]
    if len(first) != len(last) or first > last:
        return []
    return _days(first, last) if len(first) == len("2026-10-30") else _months(first, last)


def _days(first: str, last: str) -> list[str]:
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [(start + dt.timedelta(days=n)).isoformat() for n in range((end - start).days + 1)]


def _months(first: str, last: str) -> list[str]:
    count = [12 * int(text[:4]) + int(text[5:]) - 1 for text in (first, last)]
    return [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(count[0], count[1] + 1)]


def stale_conditions(
    newest: Mapping[str, dt.datetime | None], *, now: dt.datetime, stale_after_hours: int, at: dt.datetime
) -> list[Condition]:
    """Whether each source was read lately; a source that was never read is stale.

    Args:
        newest: by source, when its newest successful extraction was made; None for never.
        now: the present moment of the installation, which its ages are measured against.
        stale_after_hours: an age above this many hours is stale.
        at: the clock's time of this look.
    """
    found = []
    for source, moment in sorted(newest.items()):
        stale = moment is None or now - moment > dt.timedelta(hours=stale_after_hours)
        if moment is None:
            what = f"{source} has never been read."
        else:
            what = f"{source} was last read at {minute_text(moment)}, {duration(now - moment)} ago; the limit is "
            what += f"{stale_after_hours} h."
        fix = "look at the newest load run and its error; if there is none, check that schedules or cron run."
        condition = Condition(
            key=f"stale:{source}",
            at=at,
            severity=Severity.ERROR,
            title=f"source {source} is stale",
            text=f"{what} Fix: {fix}",
            bad=frozenset({WHOLE}) if stale else frozenset(),
        )
        found.append(condition)
    return found


def retry_after(failures: int) -> dt.timedelta:
    """How long a delivery that has failed so many times (at least once) waits: 1, 2, 4 ... 60 minutes, for ever."""
    return min(dt.timedelta(minutes=2 ** min(failures - 1, 10)), _LONGEST_WAIT)


def safe_text(text: str) -> str:
    """A text fit to be kept and sent: of bounded length, and without user and password of any URL in it."""
    clean = _URL_PASSWORD.sub("***@", text.strip())
    return clean if len(clean) <= _LONGEST_TEXT else f"{clean[:_LONGEST_TEXT]} ... (cut)"


def duration(length: dt.timedelta) -> str:
    """A length of time for people: '12 min', '3 h 5 min', '2 d 4 h'."""
    minutes = max(int(length.total_seconds() // 60), 0)
    hours, days = minutes // 60, minutes // (24 * 60)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def minute_text(at: dt.datetime) -> str:
    """A moment for people: '2026-11-05 03:00 UTC'."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
