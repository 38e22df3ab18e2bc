"""What seats cost whom: each seat's price over the cost centers that had it, by days (Rule 6.6).

Belongs here: the price of a seat, its split, seats that nobody had, and what a seat's id may look like. Does not belong
here: the file that people keep (`directory`), how large the seat pool is (`pools`), charge lines (`chargeback`).

A seat that anybody had is charged in full over the days on which it was assigned; a seat that nobody had goes to the
central cost center and is listed as waste. Seats never enter coverage, budgets or anomalies.
"""

import datetime as dt
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NotRequired, TypedDict

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.intervals import Interval, overlaps
from tokengov_pipelines.domain.money import MoneyError, allocate, exact_sum, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.problem import Problem

SEATS_FILE: Final = "directory/seat_assignments.csv"

_SEAT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,79}", re.ASCII)


class SeatRow(TypedDict):
    """A row of `raw/directory_seat_assignments`; without a cost center nobody has the seat."""

    provider: str
    seat_id: str
    cost_center: str | None
    valid_from: dt.date
    valid_to: dt.date | None
    source_row: NotRequired[int]


@dataclass(frozen=True)
class SeatAssignment:
    """Who has a seat on which days. `cost_center` None: the seat is paid for, and nobody has it.

    `row` is the line in the file. Raises `cells.CellError` for an id that could name a person.
    """

    provider: str
    seat_id: str
    cost_center: str | None
    valid: Interval
    row: int | None = None

    def __post_init__(self) -> None:
        seat_id(self.seat_id)


@dataclass(frozen=True)
class SeatBill:
    """The seat total of one invoice for the days of `period` (a month, or an invoice's days in it).

    `seats` is the number that the invoice prints; None where it prints none, and then the file's seats are billed.
    """

    provider: str
    invoice_id: str
    period: InvoicePeriod
    currency: str
    total: Decimal
    seats: int | None = None


@dataclass(frozen=True)
class SeatPart:
    """What one cost center pays of one seat, and for how many days it had it."""

    seat_id: str
    cost_center: str
    days: int
    amount: Decimal


@dataclass(frozen=True)
class WastedSeat:
    """A seat that was paid for and that nobody had on any day; `is_listed` is false where the file does not name it."""

    seat_id: str
    price: Decimal
    is_listed: bool = True


@dataclass(frozen=True)
class SeatCharges:
    """The seat pool by cost center in cents; it adds up to the bill's total. With problems nothing is charged."""

    bill: SeatBill
    by_cost_center: Mapping[str, Decimal] = field(default_factory=dict)
    parts: tuple[SeatPart, ...] = ()
    waste: tuple[WastedSeat, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def wasted(self) -> Decimal:
        """What seats cost that nobody had; it is inside the central cost center's charge."""
        return exact_sum(each.price for each in self.waste)


def seat_id(value: str) -> str:
    """A seat's id as the vendor numbers it, never an e-mail or a name: it goes into packs (Rules 12.7, 12.8).

    The reader of the column `seat_id`.

    Raises:
        CellError: it holds an @ (in any width), a blank, a secret, or anything but letters, digits and ._:/#-
    """
    cells.text(value)
    if _SEAT_ID.fullmatch(value):
        return value
    if "@" in unicodedata.normalize("NFKC", value) or "%40" in value:
        what = "looks like an e-mail address, and a seat's id goes into files that hold none"
        raise CellError(what, "write the vendor's number of the seat, or a number of your own such as seat-0042")
    what = f"{cells.shown(value)} is not a seat's id"
    raise CellError(what, "write up to 80 letters, digits and ._:/#- without blanks, such as seat-0042")


def seat_assignments(rows: Iterable[SeatRow]) -> list[SeatAssignment]:
    """Rows of `raw/directory_seat_assignments`, by provider, seat and first day. The directory's checks have passed."""
    found = [
        SeatAssignment(
            provider=row["provider"],
            seat_id=row["seat_id"],
            cost_center=row["cost_center"] or None,
            valid=Interval(row["valid_from"], row["valid_to"]),
            row=row.get("source_row"),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.provider, each.seat_id, each.valid.valid_from))


def charge_seats(bill: SeatBill, assignments: Iterable[SeatAssignment], central: str) -> SeatCharges:
    """Split a bill's seat total over cost centers (Rule 6.6); returns charges, waste and problems.

    The price of a seat is the largest remainder of the total over all seats, equal weights, by ascending id: what the
    vendor pro-rated or taxed is in it. Assignments of other providers and days may be passed. 30.00 for 15 and 16 days
    is 14.52 and 15.48. Problems: two assignments of one seat on one day, more seats in the file than the bill has, no
    seat at all, a total that is not in cents.
    """
    by_seat: defaultdict[str, list[tuple[SeatAssignment, int]]] = defaultdict(list)
    for each in assignments:
        days = _days_in(each.valid, bill.period) if each.provider == bill.provider else 0
        if days:
            by_seat[each.seat_id].append((each, days))
    problems = [*_problems_of_bill(bill, len(by_seat)), *_overlapping(by_seat)]
    if problems:
        return SeatCharges(bill, problems=tuple(problems))
    scale = minor_unit_scale(bill.currency)
    prices = _prices(bill, by_seat, scale)
    parts: list[SeatPart] = []
    waste: list[WastedSeat] = []
    for seat, price in prices.items():
        held = _days_by_cost_center(by_seat.get(seat, ()))
        if held:
            parts += _parts_of_seat(seat, price, held, scale)
        else:
            waste.append(WastedSeat(seat, price, seat in by_seat))
    amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for part in parts:
        amounts[part.cost_center].append(part.amount)
    for wasted in waste:
        amounts[central].append(wasted.price)
    charged = {code: exact_sum(amounts[code]) for code in sorted(amounts, key=_bytewise)}
    return SeatCharges(bill, charged, tuple(parts), tuple(waste))


def _problems_of_bill(bill: SeatBill, known: int) -> Iterable[Problem]:
    named = f"{bill.provider} invoice {bill.invoice_id}"
    try:
        whole = round_posting(bill.total, minor_unit_scale(bill.currency)) == bill.total
    except MoneyError as error:
        yield Problem("invoices", None, "currency", f"{named}: {error}", "correct it with `tokengov invoice check`")
        return
    if not whole:
        what = f"{named} bills {bill.total} {bill.currency} for seats, which is not a whole number of minor units"
        yield Problem("invoices", None, "amount", what, "correct the line with `tokengov invoice check`")
    if bill.seats is not None and known > bill.seats:
        what = (
            f"{known} seats of {bill.provider} stand in the file between {bill.period.start} and "
            f"{bill.period.last_day}, and invoice {bill.invoice_id} bills {bill.seats}: which of them is not told"
        )
        yield Problem(SEATS_FILE, None, "seat_id", what, "end the rows of the seats that were given back")
    if not (known or bill.seats):
        what = f"no seat of {bill.provider} is in the file, and {named} bills {bill.total} {bill.currency} for seats"
        yield Problem(SEATS_FILE, None, "seat_id", what, "add a row a seat, without a cost center where nobody has it")


def _overlapping(by_seat: Mapping[str, Sequence[tuple[SeatAssignment, int]]]) -> Iterable[Problem]:
    for seat in sorted(by_seat, key=_bytewise):
        if len(by_seat[seat]) < 2:
            continue
        for first, second, shared in overlaps((each.valid, each) for each, _ in by_seat[seat]):
            beside = "another row" if first.row is None else f"row {first.row}"
            what = f"seat {seat} is also assigned in {beside}: both are valid {shared}"
            yield Problem(SEATS_FILE, second.row, "valid_from", what, "end one row where the other begins")


def _prices(bill: SeatBill, by_seat: Iterable[str], scale: int) -> dict[str, Decimal]:
    """The price of every seat that is billed, by ascending id; seats that the file does not name are wasted ones."""
    listed = list(by_seat)
    missing = max((bill.seats or 0) - len(listed), 0)
    width = len(str(missing))
    unlisted = [f"(not listed {number:0{width}d})" for number in range(1, missing + 1)]  # no id begins with a bracket
    return allocate(bill.total, dict.fromkeys([*listed, *unlisted], 1), scale=scale)


def _days_in(valid: Interval, period: InvoicePeriod) -> int:
    end = period.end if valid.valid_to is None else min(valid.valid_to, period.end)
    return max((end - max(valid.valid_from, period.start)).days, 0)


def _days_by_cost_center(assigned: Iterable[tuple[SeatAssignment, int]]) -> dict[str, int]:
    by_center: dict[str, int] = {}
    for each, days in assigned:
        if each.cost_center is not None:
            by_center[each.cost_center] = by_center.get(each.cost_center, 0) + days
    return by_center


def _parts_of_seat(seat: str, price: Decimal, days: Mapping[str, int], scale: int) -> list[SeatPart]:
    if len(days) == 1:  # nearly every seat; the only share of a price is the price
        return [SeatPart(seat, code, count, price) for code, count in days.items()]
    return [SeatPart(seat, code, days[code], amount) for code, amount in allocate(price, days, scale=scale).items()]


def _bytewise(code: str) -> bytes:
    return code.encode("utf-8", "surrogatepass")
