"""Changes of the price book and who agreed to them: the book's hash, what differs, the two people (rule 12.4).

Belongs here: comparing two books price by price and day by day, and deciding whether a book is approved. Does not
belong here: what the proxy's price map does meanwhile (`price_watch`), storing books (`resources.price_book`), storing
events (`ledger`).

Two books are the same when they say the same: a price that is cut into consecutive rows, and what is said of its
source, is no change.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.price_files import PriceTables
from tokengov_pipelines.domain.pricing import GeoFactor, PriceRow, band_label

K = TypeVar("K")
V = TypeVar("V")

OPENED: Final = "price_book.opened"
APPROVED: Final = "price_book.approved"
APPROVE_COMMAND: Final = 'tokengov prices approve --prepared-by A --approved-by B --reason "..."'

_NO_VALUE: Final = "none"


class PriceApprovalError(ValueError):
    """An approval that rule 12.4 does not allow; the text says why and what to do."""


@dataclass(frozen=True)
class BookChange:
    """One price, name or factor that differs between two books on the days of `valid` (None: names have no days).

    `before` and `after` are values as text; None where the book has none.
    """

    what: str
    valid: Interval | None
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    def __str__(self) -> str:
        days = f", {self.valid}" if self.valid else ""
        return f"{self.what}{days}: {self.before or _NO_VALUE} -> {self.after or _NO_VALUE}"


@dataclass(frozen=True)
class BookEvent:
    """What the ledger holds about one book: `kind` is `price_book.opened` or `price_book.approved`."""

    kind: str
    sha256: str
    at: dt.datetime
    prepared_by: str = ""
    approved_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class UnapprovedBook:
    """Why the prices in use are not agreed, and the command that agrees to them: a blocker of the close."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


def book_sha256(tables: PriceTables) -> str:
    """SHA-256 of what the book says: prices, names and factors with their days; not of what is said of their source."""
    said = _by(
        tables.prices, lambda row: (*row.cell, row.context_over_tokens, _plain(row.usd_per_mtok), str(row.basis))
    )
    lines: list[list[object]] = [
        ["price", *price, *_days(valid)] for price, rows in said.items() for valid in _joined(row.valid for row in rows)
    ]
    lines += [["alias", alias.provider, alias.alias, alias.model] for alias in tables.aliases]
    lines += [
        ["geo", each.provider, each.model, each.inference_geo, _plain(each.factor), *_days(each.valid)]
        for each in tables.geo_factors
    ]
    return hashlib.sha256("\n".join(sorted(map(json.dumps, lines))).encode()).hexdigest()


def diff_books(before: PriceTables, after: PriceTables) -> list[BookChange]:
    """Every price, name and factor of which the two books say different things, with both values and the days."""
    return [*_price_changes(before.prices, after.prices), *_factor_changes(before, after), *_aliases(before, after)]


def summary(changes: Sequence[BookChange]) -> str:
    """The number of changes in words: '2 added, 1 changed', or 'nothing changed'."""
    counts = [(kind, sum(1 for change in changes if change.kind == kind)) for kind in ("added", "removed", "changed")]
    return ", ".join(f"{count} {kind}" for kind, count in counts if count) or "nothing changed"


def agreed_sha256(events: Iterable[BookEvent]) -> str | None:
    """The hash of the book that was agreed last (or opened, where none was since); None before the first book."""
    valid = [event for event in events if event.kind == OPENED or _has_two_people(event)]
    return valid[-1].sha256 if valid else None


def book_is_approved(events: Iterable[BookEvent], sha256: str) -> bool:
    """Whether the book with this hash is the one that was agreed last (Rule 12.4).

    An installation's first book counts as agreed when it is opened. A book that was agreed earlier and comes back is a
    change like any other.
    """
    return agreed_sha256(events) == sha256


def unapproved(events: Iterable[BookEvent], sha256: str) -> UnapprovedBook | None:
    """Why the month may not close on the book with this hash, or None: two people agreed to it (Rules 2.4, 12.4)."""
    listed = list(events)
    if book_is_approved(listed, sha256):
        return None
    agreed = agreed_sha256(listed)
    what = f"the price book {sha256[:12]} is not approved by two people"
    if agreed is not None:
        what += f"; the last approved one is {agreed[:12]}"
    return UnapprovedBook(what, f"tokengov prices diff, then {APPROVE_COMMAND}")


def check_approval(prepared_by: str, approved_by: str, reason: str) -> None:
    """Refuse an approval that is not by two people, or says nothing.

    Raises:
        PriceApprovalError: a name or the reason is missing, or the two are one person.
    """
    if not reason.strip():
        message = "a change of prices needs a reason. Fix: --reason says which contract or announcement it follows."
        raise PriceApprovalError(message)
    if not prepared_by.strip() or not approved_by.strip():
        message = "a change of prices needs two people (Rule 12.4). Fix: name --prepared-by and --approved-by."
        raise PriceApprovalError(message)
    if same_person(prepared_by, approved_by):
        message = (
            f"{prepared_by.strip()} cannot both prepare and approve a change of prices. "
            "Fix: name another person as --approved-by."
        )
        raise PriceApprovalError(message)


def _has_two_people(event: BookEvent) -> bool:
    return (
        event.kind == APPROVED
        and bool(event.prepared_by.strip() and event.approved_by.strip())
        and not same_person(event.prepared_by, event.approved_by)
    )


def _price_changes(before: Sequence[PriceRow], after: Sequence[PriceRow]) -> list[BookChange]:
    old, new = _by(before, lambda row: row.cell), _by(after, lambda row: row.cell)
    changes: list[BookChange] = []
    for cell in sorted(old.keys() | new.keys()):
        then, now = old.get(cell, []), new.get(cell, [])
        if _said(then) == _said(now):
            continue
        bounds = sorted({row.context_over_tokens for row in (*then, *now)})
        days = [row.valid for row in (*then, *now)]
        in_bands: dict[BookChange, list[int]] = {}
        for at, bound in enumerate(bounds):
            asked = (partial(_price_on, then, bound), partial(_price_on, now, bound))
            for change in _dated_changes(" ".join(cell), days, *asked):
                in_bands.setdefault(change, []).append(at)
        for change, places in in_bands.items():
            # What is the same in every band is one change.
            bands = ["all"] if len(places) == len(bounds) else [band_label(*_range(bounds, at)) for at in places]
            changes += [change if band == "all" else replace(change, what=f"{change.what} {band}") for band in bands]
    return changes


def _factor_changes(before: PriceTables, after: PriceTables) -> list[BookChange]:
    old = _by(before.geo_factors, lambda each: (each.provider, each.model, each.inference_geo))
    new = _by(after.geo_factors, lambda each: (each.provider, each.model, each.inference_geo))
    changes: list[BookChange] = []
    for place in sorted(old.keys() | new.keys()):
        then, now = old.get(place, []), new.get(place, [])
        days = [each.valid for each in (*then, *now)]
        changes += _dated_changes(
            f"{' '.join(place)} factor", days, partial(_factor_on, then), partial(_factor_on, now)
        )
    return changes


def _aliases(before: PriceTables, after: PriceTables) -> list[BookChange]:
    old = {(alias.provider, alias.alias): alias.model for alias in before.aliases}
    new = {(alias.provider, alias.alias): alias.model for alias in after.aliases}
    return [
        BookChange(f"{provider} name {name}", None, old.get((provider, name)), new.get((provider, name)))
        for provider, name in sorted(old.keys() | new.keys())
        if old.get((provider, name)) != new.get((provider, name))
    ]


def _dated_changes(
    name: str,
    days: Iterable[Interval],
    before: Callable[[dt.date], str | None],
    after: Callable[[dt.date], str | None],
) -> list[BookChange]:
    """The longest stretches of days on which the two answers differ in the same way."""
    listed = list(days)
    starts = sorted({each.valid_from for each in listed} | {each.valid_to for each in listed if each.valid_to})
    found: list[tuple[dt.date, str | None, str | None]] = []
    for day in starts:
        answers = (before(day), after(day))
        if not found or found[-1][1:] != answers:
            found.append((day, *answers))
    ends = [start for start, _, _ in found[1:]]
    return [
        BookChange(name, Interval(start, end), then, now)
        for (start, then, now), end in zip(found, [*ends, None], strict=True)
        if then != now
    ]


def _price_on(rows: Iterable[PriceRow], over_tokens: int, day: dt.date) -> str | None:
    """What a request of the band that begins above `over_tokens` pays: USD per million, and 'contract' where it is."""
    fitting = [row for row in rows if row.valid.valid_on(day) and row.context_over_tokens <= over_tokens]
    if not fitting:
        return None
    row = max(fitting, key=lambda each: each.context_over_tokens)
    return f"{_plain(row.usd_per_mtok)}{' (contract)' if row.basis == 'contract' else ''}"


def _factor_on(rows: Iterable[GeoFactor], day: dt.date) -> str | None:
    return next((_plain(each.factor) for each in rows if each.valid.valid_on(day)), None)


def _range(bounds: Sequence[int], at: int) -> tuple[int, int | None]:
    return bounds[at], bounds[at + 1] if at + 1 < len(bounds) else None


def _said(rows: Iterable[PriceRow]) -> set[tuple[int, Decimal, Interval, str]]:
    return {(row.context_over_tokens, row.usd_per_mtok, row.valid, row.basis) for row in rows}


def _by(items: Iterable[V], key: Callable[[V], K]) -> Mapping[K, list[V]]:
    groups: dict[K, list[V]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _joined(days: Iterable[Interval]) -> list[Interval]:
    """Intervals that follow upon each other as one."""
    joined: list[Interval] = []
    for each in sorted(days, key=lambda interval: interval.valid_from):
        if joined and joined[-1].valid_to == each.valid_from:
            joined[-1] = Interval(joined[-1].valid_from, each.valid_to)
        else:
            joined.append(each)
    return joined


def _days(valid: Interval) -> list[str]:
    return [str(valid.valid_from), str(valid.valid_to or "")]


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
