"""Seats: one price a seat, split by the days on which cost centers had it; what nobody had is waste (Rule 6.6)."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.money import allocate, exact_sum, from_cents
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.seats import (
    SeatAssignment,
    SeatBill,
    SeatPart,
    WastedSeat,
    charge_seats,
    seat_assignments,
    seat_id,
)

D = Decimal
CENTRAL = "CC-990-CENTRAL"
OCTOBER = InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1))


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def had(seat: str, cost_center: str | None, start: str = "2026-01-01", end: str | None = None, row: int | None = None):
    valid = Interval(day(start), day(end) if end else None)
    return SeatAssignment("anthropic", seat, cost_center, valid, row)


def bill(total: str, seats: int | None = None, currency: str = "USD") -> SeatBill:
    return SeatBill("anthropic", "INV-SEATS", OCTOBER, currency, D(total), seats)


def whats(charged) -> list[str]:
    return [str(problem) for problem in charged.problems]


# --- the split -------------------------------------------------------------------------------------------------------


def test_the_worked_example_of_rule_6_6():
    """A mover: 15 and 16 days of 30.00 are 14.52 and 15.48."""
    charged = charge_seats(
        bill("30.00"), [had("s-1", "CC-100", end="2026-10-16"), had("s-1", "CC-200", "2026-10-16")], CENTRAL
    )
    assert charged.parts == (SeatPart("s-1", "CC-100", 15, D("14.52")), SeatPart("s-1", "CC-200", 16, D("15.48")))
    assert charged.by_cost_center == {"CC-100": D("14.52"), "CC-200": D("15.48")}
    assert (charged.waste, charged.wasted, charged.problems) == ((), 0, ())


def test_the_odd_cents_go_to_the_lowest_seat_ids():
    charged = charge_seats(bill("100.00"), [had("b", "CC-2"), had("c", "CC-3"), had("a", "CC-1")], CENTRAL)
    assert charged.by_cost_center == {"CC-1": D("33.34"), "CC-2": D("33.33"), "CC-3": D("33.33")}


def test_a_seat_is_charged_in_full_over_the_days_on_which_it_was_assigned():
    charged = charge_seats(bill("60.00"), [had("a", "CC-1", "2026-10-30"), had("b", "CC-2")], CENTRAL)
    assert charged.parts == (SeatPart("a", "CC-1", 2, D("30.00")), SeatPart("b", "CC-2", 31, D("30.00")))
    with_a_gap = [had("a", "CC-1", end="2026-10-03"), had("a", "CC-2", "2026-10-30")]
    assert charge_seats(bill("30.00"), with_a_gap, CENTRAL).by_cost_center == {"CC-1": D("15.00"), "CC-2": D("15.00")}


def test_days_of_one_cost_center_are_added_up():
    rows = [
        had("a", "CC-1", end="2026-10-02"),
        had("a", "CC-2", "2026-10-02", "2026-10-03"),
        had("a", "CC-1", "2026-10-31"),
    ]
    charged = charge_seats(bill("9.00"), rows, CENTRAL)
    assert charged.parts == (SeatPart("a", "CC-1", 2, D("6.00")), SeatPart("a", "CC-2", 1, D("3.00")))


def test_the_days_before_a_seat_found_somebody_are_not_waste():
    charged = charge_seats(bill("30.00"), [had("a", None, end="2026-10-20"), had("a", "CC-1", "2026-10-20")], CENTRAL)
    assert charged.by_cost_center == {"CC-1": D("30.00")}
    assert charged.waste == ()


def test_seats_that_nobody_had_go_to_central_and_are_listed():
    charged = charge_seats(bill("100.01"), [had("b", None), had("a", "CC-1"), had("c", None)], CENTRAL)
    assert charged.by_cost_center == {"CC-1": D("33.34"), CENTRAL: D("66.67")}
    assert charged.waste == (WastedSeat("b", D("33.34")), WastedSeat("c", D("33.33")))
    assert charged.wasted == D("66.67")


def test_seats_that_the_invoice_has_and_the_file_lacks_are_waste():
    charged = charge_seats(bill("50.00", seats=5), [had("a", "CC-1"), had("b", "CC-1"), had("c", None)], CENTRAL)
    assert charged.by_cost_center == {"CC-1": D("20.00"), CENTRAL: D("30.00")}
    assert charged.waste == (
        WastedSeat("(not listed 1)", D("10.00"), is_listed=False),
        WastedSeat("(not listed 2)", D("10.00"), is_listed=False),
        WastedSeat("c", D("10.00")),
    )
    assert charge_seats(bill("50.00", seats=5), [], CENTRAL).by_cost_center == {CENTRAL: D("50.00")}


def test_other_providers_and_other_months_do_not_count():
    other = SeatAssignment("openai", "z", "CC-9", Interval(day("2026-01-01")))
    rows = [had("a", "CC-1"), other, had("b", "CC-2", end="2026-10-01"), had("c", "CC-3", "2026-11-01")]
    assert charge_seats(bill("30.00"), rows, CENTRAL).by_cost_center == {"CC-1": D("30.00")}


def test_an_invoice_period_inside_a_month_counts_its_own_days():
    period = InvoicePeriod(day("2026-10-15"), day("2026-11-01"))
    rows = [had("a", "CC-1", end="2026-10-16"), had("a", "CC-2", "2026-10-16")]
    charged = charge_seats(SeatBill("anthropic", "I", period, "USD", D("17.00")), rows, CENTRAL)
    assert charged.by_cost_center == {"CC-1": D("1.00"), "CC-2": D("16.00")}


def test_a_credit_mirrors_the_charge_and_a_yen_has_no_cents():
    rows = [had("s-1", "CC-100", end="2026-10-16"), had("s-1", "CC-200", "2026-10-16")]
    assert charge_seats(bill("-30.00"), rows, CENTRAL).by_cost_center == {"CC-100": D("-14.52"), "CC-200": D("-15.48")}
    assert charge_seats(bill("31", currency="JPY"), rows, CENTRAL).by_cost_center == {"CC-100": D(15), "CC-200": D(16)}


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_two_assignments_of_one_seat_on_one_day_charge_nothing():
    rows = [had("a", "CC-1", end="2026-10-11", row=2), had("a", "CC-2", "2026-10-10", row=3), had("b", "CC-3", row=4)]
    charged = charge_seats(bill("60.00"), rows, CENTRAL)
    (found,) = whats(charged)
    assert found == (
        "directory/seat_assignments.csv:3 valid_from: seat a is also assigned in row 2: both are valid from 2026-10-10 "
        "to 2026-10-11. Fix: end one row where the other begins."
    )
    assert (charged.by_cost_center, charged.parts, charged.waste) == ({}, (), ())


def test_more_seats_in_the_file_than_on_the_invoice_charge_nothing():
    charged = charge_seats(bill("60.00", seats=1), [had("a", "CC-1"), had("b", "CC-2")], CENTRAL)
    (found,) = whats(charged)
    assert found == (
        "directory/seat_assignments.csv seat_id: 2 seats of anthropic stand in the file between 2026-10-01 and "
        "2026-10-31, and invoice INV-SEATS bills 1: which of them is not told. Fix: end the rows of the seats that "
        "were given back."
    )


def test_a_bill_without_any_known_seat_charges_nothing():
    charged = charge_seats(bill("60.00"), [], CENTRAL)
    assert charged.by_cost_center == {}
    assert "no seat of anthropic is in the file, and anthropic invoice INV-SEATS bills 60.00 USD" in whats(charged)[0]


@pytest.mark.parametrize(("total", "currency"), [("60.005", "USD"), ("0.5", "JPY"), ("1", "XYZ")])
def test_a_total_that_is_not_in_minor_units_charges_nothing(total, currency):
    charged = charge_seats(bill(total, currency=currency), [had("a", "CC-1")], CENTRAL)
    assert charged.by_cost_center == {}
    assert "tokengov invoice check" in whats(charged)[0]


@pytest.mark.parametrize("value", ["s-1", "user_01AbC", "seat-0042", "org:7/12", "A.b#3", "9"])
def test_a_seats_id_is_a_number_of_the_vendor(value):
    assert seat_id(value) == value


@pytest.mark.parametrize("value", ["ana@acme.example", "ana＠acme.example", "ana%40acme.example", "ana﹫acme"])
def test_an_e_mail_is_no_seats_id(value):
    with pytest.raises(CellError, match="looks like an e-mail address") as error:
        seat_id(value)
    assert "ana" not in str(error.value)


@pytest.mark.parametrize("value", ["Ana Sousa", "", "-1", "=1+1", "a\nb", "x" * 81, "sk-ant-0123456789abcdefgh", "ä"])
def test_neither_is_a_name_a_formula_or_a_key(value):
    with pytest.raises(CellError):
        seat_id(value)
    with pytest.raises(CellError):
        had(value, "CC-1")


def test_rows_of_the_directory_become_assignments():
    rows = [
        {
            "provider": "openai",
            "seat_id": "b",
            "cost_center": "CC-1",
            "valid_from": day("2026-02-01"),
            "valid_to": None,
        },
        {
            "provider": "openai",
            "seat_id": "a",
            "cost_center": None,
            "valid_from": day("2026-01-01"),
            "valid_to": day("2026-02-01"),
            "source_row": 7,
        },
    ]
    first, second = seat_assignments(rows)
    assert first == SeatAssignment("openai", "a", None, Interval(day("2026-01-01"), day("2026-02-01")), 7)
    assert (second.seat_id, second.cost_center, second.row) == ("b", "CC-1", None)


# --- sums ------------------------------------------------------------------------------------------------------------

cost_center = st.sampled_from([None, "CC-1", "CC-2", "CC-3"])
stays = st.lists(st.tuples(st.integers(1, 40), cost_center), max_size=5)


@given(st.integers(-(10**8), 10**8), st.lists(stays, min_size=1, max_size=12), st.integers(0, 4))
def test_charges_add_up_to_the_bill_whoever_had_the_seats(cents, seats, unlisted):
    rows = []
    for number, held in enumerate(seats):
        start = dt.date(2026, 9, 20)
        for length, code in held:
            end = start + dt.timedelta(days=length)
            rows.append(SeatAssignment("anthropic", f"s-{number}", code, Interval(start, end)))
            start = end
    known = {each.seat_id for each in rows if each.valid.overlap(Interval(OCTOBER.start, OCTOBER.end))}
    total = from_cents(cents)
    count = len(known) + unlisted
    charged = charge_seats(SeatBill("anthropic", "I", OCTOBER, "USD", total, count), rows, CENTRAL)
    if not count:
        assert charged.problems
        return
    assert charged.problems == ()
    assert exact_sum(charged.by_cost_center.values()) == total
    assert exact_sum([*(part.amount for part in charged.parts), charged.wasted]) == total
    assert {*(part.seat_id for part in charged.parts), *(w.seat_id for w in charged.waste if w.is_listed)} == known
    assert charged == charge_seats(charged.bill, reversed(rows), CENTRAL)
    if any(charged.by_cost_center.values()) and cents > 0:  # what the allocation of pools does with them again
        assert allocate(total, charged.by_cost_center) == charged.by_cost_center


def test_a_hundred_thousand_seats():
    always = Interval(day("2026-01-01"))
    rows = [SeatAssignment("anthropic", f"s-{n:06d}", f"CC-{n % 300}", always) for n in range(100_000)]
    charged = charge_seats(bill("2000000.07"), rows, CENTRAL)
    assert exact_sum(charged.by_cost_center.values()) == D("2000000.07")
    assert (len(charged.parts), len(charged.by_cost_center)) == (100_000, 300)
    assert charged.parts[6].amount == D("20.01")
    assert charged.parts[7].amount == D("20.00")
