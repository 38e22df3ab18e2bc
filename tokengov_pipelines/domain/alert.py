"""When an alert opens and when it is over: what was observed, in words, and the rule that compares it with before.

Belongs here: conditions, the rule of transitions, staleness, the texts of a message, how long a failed delivery waits.
Does not belong here: where observations come from (`tokengov_pipelines.alerting`), how they are kept (`ledger.alerts`),
how a message travels (`resources.notifier`).

A condition has parts (the days or months that a check looked at; one part, `WHOLE`, where there is nothing to divide).
It is bad while any of its parts is: October's green says nothing about September. An alert opens with the first bad
part and closes with the last good one; a part that nobody looked at stays as it was.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

WHOLE = ""
"""The one part of a condition that has no days or months."""

_LONGEST_TEXT = 3000
_LONGEST_WAIT = dt.timedelta(minutes=60)
_SPAN = re.compile(r"(\d{4}-\d{2}(?:-\d{2})?)(?: to (\d{4}-\d{2}(?:-\d{2})?))?")
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@]*:[^\s/]*@")


class Severity(StrEnum):
    """How bad it is: an error stopped something or makes a figure wrong; a warning is to be looked at."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Condition:
    """Something that may be wrong, as it was observed at one moment.

    `key` names it for ever (`run:load_days_job`, `stale:litellm`). `looked_at` are the parts that were looked at and
    `bad` those found bad; every other part looked at was good. `title` and `text` (what, where, fix) speak of the bad.
    """

    key: str
    at: dt.datetime
    severity: Severity
    title: str
    text: str
    looked_at: frozenset[str] = frozenset({WHOLE})
    bad: frozenset[str] = frozenset()
    run_id: str | None = None


@dataclass(frozen=True)
class PartState:
    """The newest observation of one part of a condition."""

    bad: bool
    at: dt.datetime


class Step(StrEnum):
    """What an observation means for the alert of its condition."""

    OPENED = "opened"
    REPEATED = "repeated"
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
class Alert:
    """An alert as the ledger holds it; `closed_by` is set when a person closed it instead of a good observation."""

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


@dataclass(frozen=True)
class Message:
    """What is sent: plain text, no markup."""

    title: str
    body: str
    severity: Severity | None
    """None says that something is over."""


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
            what = f"{source} was last read at {_minute(moment)}, {duration(now - moment)} ago; the limit is "
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


def opening_message(alert: Alert, installation: str) -> Message:
    """What is said when an alert opens: what, where, fix."""
    where = [f"Since {_minute(alert.opened_at)}."]
    if alert.run_id:
        where.append(f"Run {alert.run_id[:8]}.")
    return Message(
        title=f"[{alert.severity}] {alert.title}",
        body="\n".join([alert.text, "", " ".join(where), f"From {installation}. All that is open: tokengov alerts"]),
        severity=alert.severity,
    )


def closing_message(alert: Alert, installation: str) -> Message:
    """What is said when an alert is over: that it is, and how long it lasted.

    Raises:
        ValueError: the alert is open.
    """
    if alert.closed_at is None:
        message = f"alert {alert.id} is open."
        raise ValueError(message)
    lasted = duration(alert.closed_at - alert.opened_at)
    how = f"Closed by hand: {alert.closed_by}." if alert.closed_by else "It is fine again; nobody has to do anything."
    return Message(
        title=f"[over] {alert.title}",
        body=f"{how}\n\nFrom {_minute(alert.opened_at)} to {_minute(alert.closed_at)}: {lasted}.\nFrom {installation}.",
        severity=None,
    )


def duration(length: dt.timedelta) -> str:
    """A length of time for people: '12 min', '3 h 5 min', '2 d 4 h'."""
    minutes = max(int(length.total_seconds() // 60), 0)
    hours, days = minutes // 60, minutes // (24 * 60)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _minute(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
