"""Effective dating: half-open intervals [from, to) at UTC midnight (rule 3.3).

Belongs here: the interval, and what a set of them overlaps, leaves open or fails to cover. Does not belong here: what
is dated (`directory`) and accounting months (`period`).
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """The days from `valid_from` up to and without `valid_to`; None means that it has no end.

    Raises `ValueError` when it would contain no day.
    """

    valid_from: dt.date
    valid_to: dt.date | None = None

    def __post_init__(self) -> None:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            message = (
                f"an interval from {self.valid_from} to {self.valid_to} contains no day; its end is after its start"
            )
            raise ValueError(message)

    def __str__(self) -> str:
        return f"from {self.valid_from} on" if self.valid_to is None else f"from {self.valid_from} to {self.valid_to}"

    def valid_on(self, day: dt.date) -> bool:
        """Whether the day is inside: the first day is, the end is not."""
        return self.valid_from <= day < self._end

    def overlap(self, other: "Interval") -> "Interval | None":
        """The days that both contain, or None."""
        start, end = max(self.valid_from, other.valid_from), min(self._end, other._end)
        return _interval(start, end) if start < end else None

    @property
    def _end(self) -> dt.date:
        return self.valid_to or dt.date.max


def overlaps(dated: Iterable[tuple[Interval, T]]) -> list[tuple[T, T, Interval]]:
    """Pairs of items that share days, the earlier one first, with the days they share (rule 3.3: a load error)."""
    found: list[tuple[T, T, Interval]] = []
    longest: tuple[Interval, T] | None = None
    for interval, item in _by_start(dated):
        if longest is not None:
            shared = longest[0].overlap(interval)
            if shared is not None:
                found.append((longest[1], item, shared))
        if longest is None or interval._end > longest[0]._end:
            longest = (interval, item)
    return found


def gaps(dated: Iterable[tuple[Interval, T]]) -> list[tuple[T, T, Interval]]:
    """Pairs of neighbours with days between them that neither contains, and those days."""
    found: list[tuple[T, T, Interval]] = []
    last: tuple[Interval, T] | None = None
    for interval, item in _by_start(dated):
        if last is not None and last[0]._end < interval.valid_from:
            found.append((last[1], item, Interval(last[0]._end, interval.valid_from)))
        if last is None or interval._end > last[0]._end:
            last = (interval, item)
    return found


def uncovered(wanted: Interval, cover: Iterable[Interval]) -> list[Interval]:
    """The days of `wanted` that no interval of `cover` contains, ascending."""
    left: list[Interval] = []
    start = wanted.valid_from
    for interval in sorted(cover, key=lambda interval: interval.valid_from):
        if interval.valid_from >= wanted._end:
            break
        if start < interval.valid_from:
            left.append(Interval(start, interval.valid_from))
        start = max(start, interval._end)
    if start < wanted._end:
        left.append(_interval(start, wanted._end))
    return left


def _interval(start: dt.date, end: dt.date) -> Interval:
    return Interval(start, None if end == dt.date.max else end)


def _by_start(dated: Iterable[tuple[Interval, T]]) -> list[tuple[Interval, T]]:
    return sorted(dated, key=lambda pair: (pair[0].valid_from, pair[0]._end))
