"""How far a UTC day is known: partial while it runs, complete when it was read after its end, settled in the end.

Belongs here: Rule 2.3's states. Does not belong here: when a source was read (`resources.lake`).
"""

import datetime as dt
from collections.abc import Iterable
from enum import StrEnum


class DayState(StrEnum):
    """The states of a day, from the least to the most known."""

    MISSING = "missing"
    PARTIAL = "partial"
    COMPLETE = "complete"
    SETTLED = "settled"


_ORDER = list(DayState)


def end_of(day: dt.date) -> dt.datetime:
    """The first moment after a UTC day."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)


def day_state(day: dt.date, known_until: dt.datetime | None, watermark_days: int, *, is_confirmed: bool) -> DayState:
    """The state of a day at one source (Rule 2.3).

    `known_until` is the moment up to which the source's figures were read, None when never. A day is settled when it
    was read at least `watermark_days` after its end and that reading confirmed the figures (`is_confirmed`): for the
    proxy's log any reading does, for a provider's report one that found the figures unchanged.
    """
    if known_until is None:
        return DayState.MISSING
    if known_until < end_of(day):
        return DayState.PARTIAL
    if is_confirmed and known_until >= end_of(day) + dt.timedelta(days=watermark_days):
        return DayState.SETTLED
    return DayState.COMPLETE


def final_from(day: dt.date, provisional_days: int) -> dt.date:
    """The first day on which a provider's figures of a day are no longer provisional (Rule 2.3)."""
    return day + dt.timedelta(days=provisional_days + 1)


def least(states: Iterable[DayState]) -> DayState:
    """The state of a day over all its sources: that of the least known one; missing where there is no source."""
    return min(states, key=_ORDER.index, default=DayState.MISSING)
