"""suspense.csv: rows that are carried until they are cleared, their control figures, and nothing personal."""

import csv
import datetime as dt
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import exact_sum, from_cents
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.chargeback_csv import chargeback_csv
from tokengov_pipelines.pack.suspense_csv import (
    COLUMNS,
    SuspenseCalls,
    SuspensePolicy,
    SuspenseTotals,
    suspense_csv,
    suspense_ties,
    suspense_totals,
)
from tokengov_pipelines.pack.writer import PackError

D = Decimal
OCTOBER, NOVEMBER, DECEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11), BillingMonth(2026, 12)
POLICY = SuspensePolicy("CC-900-SUSPENSE", "platform")
CLOSED_ON = {OCTOBER: dt.date(2026, 11, 6), NOVEMBER: dt.date(2026, 12, 7), DECEMBER: dt.date(2027, 1, 7)}
HASH = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"

LINE = ChargebackLine(
    period=OCTOBER,
    posting_period=OCTOBER,
    original_period=OCTOBER,
    provider="anthropic",
    invoice_id="INV-19",
    version=1,
    mode="showback",
    legal_entity="Acme Inc",
    cost_center="CC-900-SUSPENSE",
    cost_center_name="Suspense",
    team_id="t-42",
    team_alias="Ana's team",
    charge_type="direct",
    model="claude-sonnet-4-6",
    use_case="refactor",
    quantity_tokens=1000,
    direct_logged_exact=D("40.000000000000"),
    amount=D("40.00"),
    currency="USD",
    fx_rate=D(1),
    amount_functional=D("40.00"),
    allocation_method="largest_remainder",
    allocation_weight=None,
    allocation_base=None,
    rung="suspense",
    pool_total=D("40.00"),
    policy_sha256="0" * 64,
)


def line(amount: str, **changes: object) -> ChargebackLine:
    return replace(LINE, amount=D(amount), **changes)


def cleared(amount: str, month: BillingMonth = NOVEMBER, **changes: object) -> ChargebackLine:
    """A prior-period line of October."""
    values = {"posting_period": month, "charge_type": "prior_period", "team_id": None, "rung": ""}
    return line(amount, **(values | changes))


def made(month: BillingMonth, lines, previous: bytes | None = None, calls=(), policy=POLICY) -> bytes:
    return suspense_csv(month, lines, previous, policy, CLOSED_ON[month], calls)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def figures(content: bytes) -> list[tuple[str, ...]]:
    names = ("charge_type", "team_id", "opening", "new", "cleared", "amount")
    return [tuple(row[name] for name in names) for row in rows_of(content)]


# --- a month ---------------------------------------------------------------------------------------------------------


def test_a_row_says_what_stands_there_whose_it_is_and_by_when():
    calls = [
        SuspenseCalls(
            "anthropic", "t-42", "team_without_cost_center", dt.date(2026, 10, 4), dt.date(2026, 10, 9), [HASH]
        ),
        SuspenseCalls("anthropic", "t-42", "closed_cost_center:CC-7", dt.date(2026, 10, 2), dt.date(2026, 10, 5)),
        SuspenseCalls("openai", "t-42", "no_identity", dt.date(2026, 10, 1), dt.date(2026, 10, 31), ["b" * 64]),
    ]
    lines = [line("40.00"), line("10.53", model="claude-haiku-4-5"), line("900.00", cost_center="CC-100")]
    assert rows_of(made(OCTOBER, lines, calls=calls)) == [
        {
            "period": "2026-10",
            "posting_period": "2026-10",
            "provider": "anthropic",
            "invoice_id": "INV-19",
            "charge_type": "direct",
            "team_id": "t-42",
            "rung": "suspense",
            "evidence": "closed_cost_center:CC-7; team_without_cost_center",
            "keys": "88dc28d0f030",
            "opening": "0.00",
            "new": "50.53",
            "cleared": "0.00",
            "amount": "50.53",
            "currency": "USD",
            "first_seen": "2026-10-02",
            "last_seen": "2026-10-09",
            "owner": "platform",
            "clear_by": "2026-11-30",
            "age_days": "6",
            "age_bucket": "0-30",
        }
    ]


def test_each_charge_type_and_team_is_a_row_and_calls_without_a_team_are_one():
    lines = [
        line("1.00", team_id=None),
        line("2.00", charge_type="tax", rung=""),
        line("-3.00", charge_type="credit"),
        line("4"),
    ]
    assert figures(made(OCTOBER, lines)) == [
        ("credit", "t-42", "0.00", "-3.00", "0.00", "-3.00"),
        ("direct", "", "0.00", "1.00", "0.00", "1.00"),
        ("direct", "t-42", "0.00", "4.00", "0.00", "4.00"),
        ("tax", "t-42", "0.00", "2.00", "0.00", "2.00"),
    ]


def test_without_anything_in_suspense_it_is_the_header():
    content = made(OCTOBER, [line("5.00", cost_center="CC-100"), line("0.00")])
    assert content.decode() == ",".join(column.name for column in COLUMNS) + "\n"
    assert suspense_totals(content) == []


# --- over months -----------------------------------------------------------------------------------------------------


def test_what_is_not_cleared_is_carried_and_grows_old():
    first = made(OCTOBER, [line("40.00")])
    second = made(NOVEMBER, [line("7.00", period=NOVEMBER, posting_period=NOVEMBER, original_period=NOVEMBER)], first)
    assert figures(second) == [
        ("direct", "t-42", "40.00", "0.00", "0.00", "40.00"),
        ("direct", "t-42", "0.00", "7.00", "0.00", "7.00"),
    ]
    old, new = rows_of(second)
    assert (old["period"], old["clear_by"], old["age_days"], old["age_bucket"]) == (
        "2026-10",
        "2026-11-30",
        "37",
        "31-60",
    )
    assert (new["period"], new["clear_by"], new["age_days"], new["age_bucket"]) == (
        "2026-11",
        "2026-12-30",
        "7",
        "0-30",
    )
    third = made(DECEMBER, [], second)
    assert [row["age_bucket"] for row in rows_of(third)] == ["61-90", "31-60"]
    assert suspense_totals(third) == [SuspenseTotals("USD", 2, D("47.00"), D("0.00"), D("0.00"), D("47.00"))]


def test_what_is_cleared_is_shown_once_more_and_then_gone():
    first = made(
        OCTOBER, [line("40.00"), line("2.00", charge_type="tax", rung=""), line("-0.50", charge_type="credit")]
    )
    second = made(NOVEMBER, [cleared("-41.50")], first)
    assert figures(second) == [
        ("credit", "t-42", "-0.50", "0.00", "-0.50", "0.00"),
        ("direct", "t-42", "40.00", "0.00", "40.00", "0.00"),
        ("tax", "t-42", "2.00", "0.00", "2.00", "0.00"),
    ]
    assert suspense_totals(second) == [SuspenseTotals("USD", 3, D("41.50"), D("0.00"), D("41.50"), D("0.00"))]
    assert rows_of(made(DECEMBER, [], second)) == []


def test_a_part_is_cleared_by_largest_remainder_of_what_is_left():
    first = made(OCTOBER, [line("10.00", team_id="a"), line("20.00", team_id="b"), line("-1.00", charge_type="credit")])
    assert figures(made(NOVEMBER, [cleared("-10.00")], first)) == [
        ("credit", "t-42", "-1.00", "0.00", "0.00", "-1.00"),
        ("direct", "a", "10.00", "0.00", "3.33", "6.67"),
        ("direct", "b", "20.00", "0.00", "6.67", "13.33"),
    ]


def test_a_correction_of_a_team_clears_its_own_rows_first():
    first = made(OCTOBER, [line("10.00", team_id="a"), line("20.00", team_id="b")])
    both = [cleared("-5.00"), cleared("-10.00", team_id="a")]
    assert figures(made(NOVEMBER, both, first)) == [
        ("direct", "a", "10.00", "0.00", "10.00", "0.00"),
        ("direct", "b", "20.00", "0.00", "5.00", "15.00"),
    ]


def test_a_correction_of_another_invoice_or_month_clears_nothing_here():
    first = made(OCTOBER, [line("10.00")])
    others = [cleared("-1.00", invoice_id="INV-18"), cleared("-2.00", original_period=BillingMonth(2026, 9))]
    assert figures(made(NOVEMBER, others, first)) == [
        ("prior_period", "", "0.00", "0.00", "2.00", "-2.00"),
        ("direct", "t-42", "10.00", "0.00", "0.00", "10.00"),
        ("prior_period", "", "0.00", "0.00", "1.00", "-1.00"),
    ]


def test_what_is_cleared_beyond_what_is_there_stays_below_zero_until_somebody_finds_why():
    first = made(OCTOBER, [line("10.00")])
    second = made(NOVEMBER, [cleared("-12.00", team_id="t-42")], first)
    assert figures(second) == [
        ("direct", "t-42", "10.00", "0.00", "10.00", "0.00"),
        ("prior_period", "t-42", "0.00", "0.00", "2.00", "-2.00"),
    ]
    assert figures(made(DECEMBER, [], second)) == [("prior_period", "t-42", "-2.00", "0.00", "0.00", "-2.00")]
    back = made(DECEMBER, [cleared("2.00", DECEMBER)], second)
    assert exact_sum(D(row["amount"]) for row in rows_of(back)) == 0


def test_a_correction_into_suspense_is_new():
    second = made(NOVEMBER, [cleared("3.00", team_id="t-7")], made(OCTOBER, [line("10.00")]))
    assert figures(second) == [
        ("direct", "t-42", "10.00", "0.00", "0.00", "10.00"),
        ("prior_period", "t-7", "0.00", "3.00", "0.00", "3.00"),
    ]
    assert [(row["period"], row["posting_period"]) for row in rows_of(second)][1] == ("2026-10", "2026-11")


def test_currencies_are_kept_apart():
    yen = {"invoice_id": "INV-JP", "currency": "JPY"}
    first = made(OCTOBER, [line("10.00"), line("900", **yen)])
    second = made(NOVEMBER, [cleared("-100", **yen)], first)
    assert [(each.currency, str(each.opening), str(each.closing)) for each in suspense_totals(second)] == [
        ("JPY", "900", "800"),
        ("USD", "10.00", "10.00"),
    ]


# --- ties ------------------------------------------------------------------------------------------------------------


def posted(*lines: ChargebackLine) -> bytes:
    """chargeback.csv at finance grain."""
    return chargeback_csv([replace(each, team_id=None, team_alias=None, model=None, use_case=None) for each in lines])


def test_the_ties_of_rule_11_7():
    first_lines, second_lines = [line("40.00"), line("9.00", cost_center="CC-100")], [cleared("-15.50")]
    first = made(OCTOBER, first_lines)
    assert suspense_ties(first, None, posted(*first_lines), "CC-900-SUSPENSE") == [
        {
            "tie": "suspense: opening + new - cleared = closing",
            "currency": "USD",
            "opening": "0.00",
            "new": "40.00",
            "cleared": "0.00",
            "closing": "40.00",
        }
    ]
    second = made(NOVEMBER, second_lines, first)
    (tie,) = suspense_ties(second, first, posted(*second_lines), "CC-900-SUSPENSE")
    assert (tie["opening"], tie["new"], tie["cleared"], tie["closing"]) == ("40.00", "0.00", "15.50", "24.50")
    assert suspense_ties(made(OCTOBER, []), None, posted(), "CC-900-SUSPENSE") == []


def test_a_file_that_does_not_tie_is_refused():
    first = made(OCTOBER, [line("40.00")])
    with pytest.raises(PackError, match=r"new - cleared = its charges, in USD: 41.00 and 40.00"):
        suspense_ties(first, None, posted(line("41.00")), "CC-900-SUSPENSE")
    with pytest.raises(PackError, match=r"opening = closing of the month before, in USD: 40.00 and 0"):
        suspense_ties(made(NOVEMBER, []), first, posted(), "CC-900-SUSPENSE")
    with pytest.raises(PackError, match="does not foot"):
        suspense_totals(first.replace(b"40.00,USD", b"41.00,USD"))


def test_other_lines_and_other_files_are_refused():
    first = made(OCTOBER, [line("40.00")])
    with pytest.raises(PackError, match="a line posted in 2026-10 stands among those of 2026-11"):
        made(NOVEMBER, [line("1.00")])
    with pytest.raises(PackError, match="a row that came to suspense in 2026-10"):
        made(OCTOBER, [line("40.00")], first)
    with pytest.raises(PackError, match="the columns are not those of this release"):
        made(NOVEMBER, [], b"period,amount\n2026-10,1.00\n")


# --- privacy ---------------------------------------------------------------------------------------------------------


def test_no_e_mail_no_key_and_no_name_of_a_team_is_in_it():
    calls = [
        SuspenseCalls(
            "anthropic", "ana@acme.example", "key:ana@acme.example", dt.date(2026, 10, 1), dt.date(2026, 10, 1), [HASH]
        )
    ]
    content = made(
        OCTOBER,
        [line("1.00", team_id="ana@acme.example")],
        calls=calls,
        policy=replace(POLICY, owner="bo@acme.example"),
    )
    assert b"@" not in content
    assert b"Ana" not in content
    assert HASH.encode() not in content
    with pytest.raises(PackError, match="a proxy key stands where its hash belongs") as error:
        made(OCTOBER, [LINE], calls=[replace(calls[0], team_id="t-42", key_hashes=["sk-1234567890"])])
    assert "1234" not in str(error.value)


def test_many_keys_are_counted():
    hashes = [f"{number:064x}"[::-1] for number in range(8)]
    calls = [SuspenseCalls("anthropic", "t-42", "e", dt.date(2026, 10, 1), dt.date(2026, 10, 1), hashes)]
    (row,) = rows_of(made(OCTOBER, [LINE], calls=calls))
    assert row["keys"] == " ".join([*(f"{number}00000000000" for number in range(5)), "and 3 more"])


def test_a_team_that_a_spreadsheet_would_run_is_cleared_under_its_own_name():
    first = made(OCTOBER, [line("5.00", team_id="=1+1"), line("6.00", team_id="b")])
    second = made(NOVEMBER, [cleared("-5.00", team_id="=1+1")], first)
    assert figures(second) == [
        ("direct", "'=1+1", "5.00", "0.00", "5.00", "0.00"),
        ("direct", "b", "6.00", "0.00", "0.00", "6.00"),
    ]


# --- sums ------------------------------------------------------------------------------------------------------------

cents = st.integers(-(10**7), 10**7).map(from_cents)
new_lines = st.lists(
    st.tuples(cents, st.sampled_from([None, "a", "b"]), st.sampled_from(["direct", "tax", "credit"])), max_size=9
)
corrections = st.lists(st.tuples(cents, st.sampled_from([None, "a", "b"])), max_size=5)


@given(new_lines, corrections, corrections)
def test_opening_new_and_cleared_make_the_closing_in_every_month(first, second, third):
    previous, left = None, D(0)
    for month, lines in (
        (OCTOBER, [replace(LINE, amount=a, team_id=team, charge_type=kind) for a, team, kind in first]),
        (NOVEMBER, [cleared(str(a), team_id=team) for a, team in second]),
        (DECEMBER, [cleared(str(a), DECEMBER, team_id=team) for a, team in third]),
    ):
        content = made(month, lines, previous)
        assert content == made(month, reversed(lines), previous)
        at_suspense = exact_sum(each.amount for each in lines)
        left = exact_sum([left, at_suspense])
        assert exact_sum(each.closing for each in suspense_totals(content)) == left
        total = replace(LINE, amount=at_suspense, posting_period=month)
        suspense_ties(content, previous, posted(total), "CC-900-SUSPENSE")
        previous = content


def test_a_hundred_thousand_lines():
    lines = [replace(LINE, amount=D("0.01"), team_id=f"t-{number % 500}") for number in range(100_000)]
    content = made(OCTOBER, lines)
    assert len(rows_of(content)) == 500
    assert suspense_totals(content)[0].closing == D("1000.00")
    assert suspense_totals(made(NOVEMBER, [cleared("-333.33")], content))[0].closing == D("666.67")
