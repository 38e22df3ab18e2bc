"""Two price books compared, and who agreed to one: by example, and by what must always hold."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.price_files import PriceTables
from tokengov_pipelines.domain.price_review import (
    APPROVED,
    OPENED,
    BookEvent,
    PriceApprovalError,
    agreed_sha256,
    book_is_approved,
    book_sha256,
    check_approval,
    diff_books,
    summary,
    unapproved,
)
from tokengov_pipelines.domain.pricing import Alias, Basis, GeoFactor, PriceRow

FIRST = dt.date(2026, 1, 1)
A, B, C = "a" * 64, "b" * 64, "c" * 64


def row(
    day: str = "2026-01-01",
    end: str | None = None,
    usd: str = "2",
    band: tuple[str, int] = ("all", 0),
    basis: Basis = Basis.LIST,
) -> PriceRow:
    valid = Interval(dt.date.fromisoformat(day), dt.date.fromisoformat(end) if end else None)
    return PriceRow("openai", "m", "output", "standard", *band, Decimal(usd), valid, "test", "1", basis=basis)


def book(*rows: PriceRow, aliases: tuple[Alias, ...] = (), factors: tuple[GeoFactor, ...] = ()) -> PriceTables:
    return PriceTables(rows, aliases, factors)


def differences(before: PriceTables, after: PriceTables) -> list[str]:
    changes = diff_books(before, after)
    assert (changes == []) == (book_sha256(before) == book_sha256(after))
    return [f"{change.kind} {change}" for change in changes]


def approval(sha256: str, prepared_by: str = "ana", approved_by: str = "bo") -> BookEvent:
    return BookEvent(APPROVED, sha256, dt.datetime(2026, 1, 2, tzinfo=dt.UTC), prepared_by, approved_by, "contract")


def opening(sha256: str) -> BookEvent:
    return BookEvent(OPENED, sha256, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def test_a_price_that_changes_from_a_day_on_is_one_line_with_both_values():
    assert differences(book(row()), book(row(end="2026-03-01"), row("2026-03-01", usd="1.5"))) == [
        "changed openai m output standard, from 2026-03-01 on: 2 -> 1.5"
    ]
    assert differences(book(row()), book(row(), row("2025-06-01", "2026-01-01", "3"))) == [
        "added openai m output standard, from 2025-06-01 to 2026-01-01: none -> 3"
    ]
    assert differences(book(row()), book(row(end="2026-03-01"))) == [
        "removed openai m output standard, from 2026-03-01 on: 2 -> none"
    ]


def test_how_prices_are_cut_into_rows_and_named_is_no_change():
    cut = book(row(end="2026-03-01"), row("2026-03-01", usd="2.00"))
    assert differences(book(row()), cut) == []
    assert differences(book(row()), book(replace(row(), source="another", source_version="2"))) == []


def test_a_contract_is_a_change_even_at_the_same_price():
    assert differences(book(row()), book(row(basis=Basis.CONTRACT))) == [
        "changed openai m output standard, from 2026-01-01 on: 2 -> 2 (contract)"
    ]


def test_a_contract_over_two_bands_is_told_band_by_band():
    banded = book(row(band=("0-200k", 0)), row(band=("200k+", 200_000), usd="4"))
    flat = book(row(end="2026-02-01", usd="1", basis=Basis.CONTRACT), *_from("2026-02-01", banded.prices))
    assert differences(banded, flat) == [
        "changed openai m output standard 0-200k, from 2026-01-01 to 2026-02-01: 2 -> 1 (contract)",
        "changed openai m output standard 200k+, from 2026-01-01 to 2026-02-01: 4 -> 1 (contract)",
    ]


def _from(day: str, rows: tuple[PriceRow, ...]) -> list[PriceRow]:
    return [replace(each, valid=Interval(dt.date.fromisoformat(day))) for each in rows]


def test_names_and_factors_are_compared_too():
    us = GeoFactor("openai", "m", "us", Decimal("1.1"), Interval(FIRST), "s", "1")
    before = book(row(), aliases=(Alias("m", "openai", "m"), Alias("old", "openai", "m")), factors=(us,))
    after = book(
        row(),
        aliases=(Alias("m", "openai", "n"), Alias("new", "openai", "m")),
        factors=(replace(us, factor=Decimal("1.2")),),
    )
    assert differences(before, after) == [
        "changed openai m us factor, from 2026-01-01 on: 1.1 -> 1.2",
        "changed openai name m: m -> n",
        "added openai name new: none -> m",
        "removed openai name old: m -> none",
    ]
    assert summary(diff_books(before, after)) == "1 added, 1 removed, 2 changed"
    assert summary([]) == "nothing changed"


@st.composite
def _books(draw) -> PriceTables:
    cuts = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=6)))
    days = [FIRST + dt.timedelta(days=cut) for cut in cuts]
    ends = [*days[1:], None]
    return book(
        *(
            replace(row(usd=str(draw(st.integers(1, 3)))), valid=Interval(start, end))
            for start, end in zip(days, ends, strict=True)
        )
    )


@given(before=_books(), after=_books(), asked=st.integers(0, 250))
def test_the_differences_are_the_days_on_which_the_prices_differ(before, after, asked):
    day = FIRST + dt.timedelta(days=asked)

    def price(tables: PriceTables) -> str | None:
        return next((str(each.usd_per_mtok) for each in tables.prices if each.valid.valid_on(day)), None)

    changes = [each for each in diff_books(before, after) if each.valid and each.valid.valid_on(day)]
    told = [(each.before, each.after) for each in changes]
    assert told == ([] if price(before) == price(after) else [(price(before), price(after))])
    assert (diff_books(before, after) == []) == (book_sha256(before) == book_sha256(after))


def test_the_first_book_is_agreed_when_it_is_opened_and_another_one_needs_two_people():
    assert agreed_sha256([]) is None
    assert book_is_approved([opening(A)], A)
    assert not book_is_approved([opening(A)], B)
    assert book_is_approved([opening(A), approval(B)], B)
    one_person = approval(B, "ana", " ANA ")
    assert not book_is_approved([opening(A), one_person], B)
    assert not book_is_approved([opening(A), approval(B, approved_by=" ")], B)


def test_a_book_that_comes_back_is_a_change_like_any_other():
    events = [opening(A), approval(B)]
    assert not book_is_approved(events, A)
    assert book_is_approved([*events, approval(A)], A)


def test_what_holds_the_close_says_which_book_and_how_to_agree():
    assert unapproved([opening(A)], A) is None
    assert str(unapproved([opening(A)], B)) == (
        "the price book bbbbbbbbbbbb is not approved by two people; the last approved one is aaaaaaaaaaaa. Fix: "
        'tokengov prices diff, then tokengov prices approve --prepared-by A --approved-by B --reason "..."'
    )
    assert "the last approved" not in str(unapproved([], C))


@pytest.mark.parametrize(
    ("prepared_by", "approved_by", "reason", "message"),
    [
        ("ana", "bo", " ", "a change of prices needs a reason"),
        ("ana", "", "r", "a change of prices needs two people"),
        ("", "bo", "r", "a change of prices needs two people"),
        ("Ana", "ana ", "r", "Ana cannot both prepare and approve a change of prices"),
    ],
)
def test_an_approval_by_one_person_or_without_a_reason_is_refused(prepared_by, approved_by, reason, message):
    with pytest.raises(PriceApprovalError, match=message) as caught:
        check_approval(prepared_by, approved_by, reason)
    assert "Fix: " in str(caught.value)
    check_approval("ana", "bo", "r")
