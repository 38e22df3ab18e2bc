"""Claude Code analytics as evidence: likely bypass, seats, and that nobody is named (Rules 5.1, 12.7)."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.claude_code import (
    FEWEST_PEOPLE,
    OTHER,
    UNKNOWN,
    BypassTolerance,
    ClaudeCodeDay,
    ClaudeCodeEvidence,
    CustomerType,
    LikelyBypass,
    UngovernedSeats,
    claude_code_days,
    claude_code_evidence,
    hashed_email,
    suspected_unit,
)
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.match_result import ErrorCode
from tokengov_pipelines.domain.pricing import Alias, PriceBook, PriceRow, price_book

DAY = dt.date(2026, 10, 7)
ROW = {
    "usage_date": DAY,
    "account": "acme",
    "actor_type": "user",
    "actor_sha256": "ana",
    "api_key_name": None,
    "customer_type": "api",
    "terminal_type": "vscode",
    "is_remote": None,
    "record_sha256": "r1",
    "model": "claude-opus-5",
    "input_tokens": 100_000,
    "output_tokens": 35_000,
    "cache_read_tokens": 10_000,
    "cache_creation_tokens": 5_000,
    "estimated_cost_text": "141",
    "source_unit": "usd_cents",
}


def used(
    person: str | None, estimated: str, *, day: dt.date = DAY, customer: str = "api", key: str | None = None
) -> ClaudeCodeDay:
    usd = Decimal(estimated)
    return ClaudeCodeDay(day, "acme", CustomerType(customer), person, key, "claude-opus-5", 100, 20, 3, 4, usd)


def evidence(
    days: list[ClaudeCodeDay],
    proxied: dict[tuple[str, dt.date], Decimal] | None = None,
    centers: dict[str, str] | None = None,
) -> ClaudeCodeEvidence:
    known = centers if centers is not None else {}
    return claude_code_evidence(days, proxied or {}, lambda person, _: known.get(person), BypassTolerance())


# --- rows of the lake ------------------------------------------------------------------------------------------------


def test_cents_become_exact_dollars():
    (whole,) = claude_code_days([ROW])
    assert whole.estimated_usd == Decimal("1.41")
    assert whole.tokens == 150_000
    (tiny,) = claude_code_days([ROW | {"estimated_cost_text": "0.000000000000000000000000000000012345"}])
    assert tiny.estimated_usd == Decimal("0.00000000000000000000000000000000012345")


def test_another_unit_is_refused():
    with pytest.raises(ValueError, match=r"2026-10-07: source_unit is 'usd' and should be 'usd_cents'. Fix: load"):
        list(claude_code_days([ROW | {"source_unit": "usd"}]))


def test_an_address_has_one_hash_however_it_is_written():
    assert hashed_email(" Ana@Acme.Example ") == hashed_email("ana@acme.example")
    assert hashed_email("ana@acme.example")[:16] == "bb03ba1becc02416"


# --- E3 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimated", "proxied", "is_evidence"),
    [
        ("1.00", "0", False),  # one dollar is just within
        ("1.01", "0", True),
        ("5.00", "4.00", False),
        ("5.00", "3.99", True),
        ("100.00", "90.00", False),  # ten percent of the estimate is just within
        ("100.00", "89.99", True),
        ("100.00", "250.00", False),  # more in the log than the tool says is no bypass
    ],
)
def test_a_user_day_is_evidence_beyond_the_larger_of_a_dollar_and_ten_percent(estimated, proxied, is_evidence):
    found = evidence([used("ana", estimated)], {("ana", DAY): Decimal(proxied)})
    assert bool(found.likely_bypass) is is_evidence


def test_the_models_and_terminals_of_a_day_are_one_estimate():
    parts = [used("ana", "0.60"), used("ana", "0.60")]
    (row,) = evidence(parts).likely_bypass
    assert (row.user_days, row.people, row.notional_usd) == (1, 1, Decimal("1.20"))
    assert evidence([used("ana", "0.60"), used("ana", "0.60", day=DAY + dt.timedelta(days=1))]).likely_bypass == ()


def test_another_days_spend_matches_nothing():
    assert evidence([used("ana", "5.00")], {("ana", DAY + dt.timedelta(days=1)): Decimal("5.00")}).likely_bypass


def test_groups_of_three_are_named_and_smaller_ones_are_one_group():
    days = [used(f"pay-{number}", "10.00") for number in range(3)]
    days += [used(f"risk-{number}", "20.00") for number in range(2)] + [used("hr-0", "4.00")]
    centers = {day.person: f"CC-{(day.person or '').split('-')[0].upper()}" for day in days}
    found = evidence(days, {("pay-0", DAY): Decimal("6.50")}, centers).likely_bypass
    assert found == (
        LikelyBypass(OTHER, 3, 3, Decimal("44.00"), Decimal(0)),
        LikelyBypass("CC-PAY", 3, 3, Decimal("30.00"), Decimal("6.50")),
    )
    assert [row.notional_usd for row in found] == [Decimal("44.00"), Decimal("23.50")]


def test_a_small_rest_takes_in_the_smallest_named_group():
    """One person of CC-HR alone in 'other' would be nameless in name only."""
    days = [used(f"a-{n}", "10.00") for n in range(5)] + [used(f"b-{n}", "10.00") for n in range(3)]
    days.append(used("hr-0", "7.00"))
    centers = {day.person: f"CC-{(day.person or '').split('-')[0].upper()}" for day in days}
    found = evidence(days, centers=centers).likely_bypass
    assert [(row.cost_center, row.people, row.notional_usd) for row in found] == [
        ("CC-A", 5, Decimal("50.00")),
        (OTHER, 4, Decimal("37.00")),
    ]


def test_two_people_in_all_are_other_and_not_counted_in_words():
    (row,) = evidence([used("a", "9"), used("b", "9")], centers={"a": "CC-1", "b": "CC-1"}).likely_bypass
    assert (row.cost_center, row.people_shown) == (OTHER, "fewer than 3")
    assert evidence([used(name, "9") for name in "abc"]).likely_bypass[0].people_shown == "3"


def test_people_whom_the_directory_does_not_know_are_a_group():
    (row,) = evidence([used(name, "9") for name in "abc"]).likely_bypass
    assert row.cost_center == UNKNOWN


def test_a_key_is_not_judged_here():
    """The analytics name a key, and bypass by key has its dollars (E1, E2)."""
    found = evidence([used(None, "50.00", key="ci-runner")])
    assert found == ClaudeCodeEvidence(by_key_usd=Decimal("50.00"))


# --- E5 --------------------------------------------------------------------------------------------------------------


def test_subscriptions_are_seats_and_no_bypass():
    tomorrow = DAY + dt.timedelta(days=1)
    days = [
        used("ana", "30.00", customer="subscription"),
        used("ana", "10.00", customer="subscription"),
        used("ana", "5.00", customer="subscription", day=tomorrow),
        used("ben", "1.00", customer="subscription"),
    ]
    assert evidence(days) == ClaudeCodeEvidence(seats=UngovernedSeats(2, 3, 4 * 127, Decimal("46.00")))


def test_nothing_is_nothing():
    assert evidence([]) == ClaudeCodeEvidence()


# --- privacy ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 3), st.decimals("0", "50", places=2), st.integers(0, 4)),
        max_size=40,
    )
)
def test_no_named_group_is_small_and_no_dollar_is_lost(rows):
    days = [used(f"p{person}", str(cost), day=DAY + dt.timedelta(days=day)) for person, _, cost, day in rows]
    centers = {f"p{person}": f"CC-{person % 4}" for person in range(13)}
    found = evidence(days, centers=centers).likely_bypass
    assert all(row.people >= FEWEST_PEOPLE for row in found if row.cost_center != OTHER)
    if any(row.people < FEWEST_PEOPLE for row in found):
        assert len(found) == 1
    sums: dict[tuple[str | None, dt.date], Decimal] = {}
    for each in days:
        sums[each.person, each.day] = sums.get((each.person, each.day), Decimal(0)) + each.estimated_usd
    over = [value for value in sums.values() if value > max(Decimal(1), value / 10)]
    assert sum((row.notional_usd for row in found), Decimal(0)) == sum(over, Decimal(0))
    assert sum(row.user_days for row in found) == len(over)


# --- unit ------------------------------------------------------------------------------------------------------------


def _book() -> PriceBook:
    prices = {"uncached_input": "5", "output": "25", "cache_read": "0.50", "cache_write_5m": "6.25"}
    rows = [
        PriceRow("anthropic", "claude-opus-5", kind, "standard", "all", 0, Decimal(price),
                 Interval(dt.date(2026, 1, 1)), "list", "1")
        for kind, price in prices.items()
    ]  # fmt: skip
    book, problems = price_book(rows, [Alias("claude-opus-5", "anthropic", "claude-opus-5")], {})
    assert problems == []
    return book


def estimate(cents: str, model: str = "claude-opus-5") -> ClaudeCodeDay:
    (day,) = claude_code_days([ROW | {"estimated_cost_text": cents, "model": model}])
    return day


@pytest.mark.parametrize("cents", ["141", "14.2", "1400"])
def test_an_estimate_near_list_price_is_in_its_unit(cents):
    """100k input, 35k output, 10k read and 5k written are 1.41125 USD at list price."""
    assert suspected_unit([estimate(cents)], _book()) is None


@pytest.mark.parametrize("cents", ["1.41", "14.1125", "1411.25", "14112.5", "0"])
def test_a_factor_of_ten_and_more_names_the_unit(cents):
    error = suspected_unit([estimate(cents)], _book())
    assert error is not None
    assert (error.code, error.amount) == (ErrorCode.UNIT_SUSPECTED, estimate(cents).estimated_usd)
    assert str(error).startswith("Claude Code analytics: the estimates are ")
    assert "their tokens at list price 1.41125" in str(error)


def test_neither_pennies_nor_seats_prove_a_unit():
    (pennies,) = claude_code_days([ROW | {"output_tokens": 10, "input_tokens": 10, "estimated_cost_text": "0"}])
    (seat,) = claude_code_days([ROW | {"customer_type": "subscription", "estimated_cost_text": "0"}])
    assert suspected_unit([pennies, seat], _book()) is None


def test_models_without_a_price_prove_no_unit():
    assert suspected_unit([estimate("14112.5", "claude-next")], _book()) is None
    assert suspected_unit([], _book()) is None
