"""Prepaid credits: the roll-forward of a month, its status, its chain, and credits about to expire (Rule 4.9)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.csv_rows import read_csv
from tokengov_pipelines.domain.directory import TABLES, read_rows
from tokengov_pipelines.domain.directory_checks import check_days
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.prepaid import (
    ExpiringCredits,
    PrepaidCode,
    PrepaidRollForward,
    PrepaidStatement,
    expiring_credits,
    prepaid_statements,
    roll_forward,
)
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus, Tolerances

OCTOBER, SEPTEMBER, AUGUST = BillingMonth(2026, 10), BillingMonth(2026, 9), BillingMonth(2026, 8)
STATEMENT = PrepaidStatement(
    provider="anthropic",
    account="acme",
    month=OCTOBER,
    currency="USD",
    opening_balance=Decimal("500.00"),
    purchases=Decimal("1000.00"),
    expired=Decimal("20.00"),
    refunds=Decimal(0),
    closing_balance=Decimal("839.75"),
    row=3,
)
BEFORE = replace(STATEMENT, month=SEPTEMBER, closing_balance=Decimal("500.00"), row=2)


def rolled(*statements: PrepaidStatement, usage: str | None = "640.25", currency: str = "USD") -> PrepaidRollForward:
    exact = None if usage is None else Decimal(usage)
    return roll_forward(OCTOBER, "anthropic", "acme", exact, statements, Tolerances(), currency=currency)


def codes(result: PrepaidRollForward) -> list[PrepaidCode]:
    return [problem.code for problem in result.problems]


# --- the roll-forward ------------------------------------------------------------------------------------------------


def test_the_worked_example_of_rule_4_9():
    """500 + 1000 - 640.25 - 20 = 839.75; expense 660.25, not 1000."""
    result = rolled(STATEMENT, BEFORE)
    assert (result.opening, result.purchases, result.usage) == (
        Decimal("500.00"),
        Decimal("1000.00"),
        Decimal("640.25"),
    )
    assert (result.expired, result.refunds) == (Decimal("20.00"), Decimal(0))
    assert result.closing == result.console_balance == Decimal("839.75")
    assert result.difference == 0
    assert result.expense == Decimal("660.25")
    assert result.asset_change == Decimal("339.75")
    assert (result.status, result.problems) == (ReconciliationStatus.MATCHED, ())


def test_a_refund_leaves_the_account_and_is_no_expense():
    result = rolled(replace(STATEMENT, refunds=Decimal("100.00"), closing_balance=Decimal("739.75")))
    assert (result.closing, result.expense, result.difference) == (Decimal("739.75"), Decimal("660.25"), 0)


@pytest.mark.parametrize(
    ("console", "status"),
    [
        ("839.80", "matched"),  # 0.05
        ("839.81", "within_tolerance"),
        ("842.95125", "within_tolerance"),  # 0.5 % of 640.25 is 3.20125
        ("842.95126", "investigate"),
        ("836.54875", "within_tolerance"),
        ("849.35375", "investigate"),  # three times
        ("849.35376", "blocked"),
        ("830.14", "blocked"),
    ],
)
def test_the_tolerance_is_that_of_the_months_usage(console, status):
    result = rolled(replace(STATEMENT, closing_balance=Decimal(console)))
    assert result.tolerance == Decimal("3.20125")
    assert result.status == status


def test_a_full_account_does_not_widen_the_tolerance():
    full = replace(STATEMENT, opening_balance=Decimal("100000.00"), closing_balance=Decimal("100349.75"))
    assert rolled(full).tolerance == Decimal("3.20125")
    assert rolled(full).status == ReconciliationStatus.BLOCKED


# --- what is missing or wrong ----------------------------------------------------------------------------------------


def test_a_month_without_a_statement_is_missing_and_still_has_its_usage():
    result = rolled(BEFORE)
    assert result.status == ReconciliationStatus.MISSING_INVOICE
    assert codes(result) == [PrepaidCode.MISSING_STATEMENT]
    assert (result.opening, result.usage) == (Decimal("500.00"), Decimal("640.25"))
    assert (result.closing, result.difference, result.expense, result.console_balance) == (None, None, None, None)
    assert str(result.problems[0]) == (
        "anthropic acme 2026-10: no statement of the credits. "
        "Fix: add the month to prepaid_statements.csv from the provider's console."
    )
    assert rolled().opening is None
    assert rolled(replace(BEFORE, month=AUGUST)).opening is None
    assert rolled(replace(BEFORE, currency="EUR")).opening is None


def test_statements_of_other_accounts_and_providers_say_nothing():
    others = replace(STATEMENT, account="other"), replace(STATEMENT, provider="openai")
    assert rolled(*others).status == ReconciliationStatus.MISSING_INVOICE
    assert rolled(STATEMENT, *others).status == ReconciliationStatus.MATCHED


def test_an_incomplete_cost_report_blocks_and_guesses_nothing():
    result = rolled(STATEMENT, usage=None)
    assert result.status == ReconciliationStatus.BLOCKED
    assert codes(result) == [PrepaidCode.MISSING_REPORT]
    assert (result.closing, result.difference, result.expense) == (None, None, None)
    assert rolled(usage=None).status == ReconciliationStatus.MISSING_INVOICE


def test_a_broken_chain_is_an_error_whatever_the_difference():
    result = rolled(STATEMENT, replace(BEFORE, closing_balance=Decimal("480.00")))
    assert (result.status, result.difference) == (ReconciliationStatus.BLOCKED, 0)
    (problem,) = result.problems
    assert str(problem) == (
        "prepaid_statements.csv:3: anthropic acme 2026-10: the opening balance is 500.00 USD and 2026-09 closed at "
        "480.00 USD (prepaid_statements.csv:2). Fix: correct the wrong one of the two; what happened in between "
        "belongs to one of the months."
    )


def test_a_month_left_out_breaks_the_chain_and_a_first_month_does_not():
    result = rolled(STATEMENT, replace(BEFORE, month=AUGUST))
    assert (result.status, codes(result)) == (ReconciliationStatus.BLOCKED, [PrepaidCode.BROKEN_CHAIN])
    assert "the statement before is of 2026-08, so the opening is not proven" in str(result.problems[0])
    assert rolled(STATEMENT).status == ReconciliationStatus.MATCHED
    later = replace(STATEMENT, month=OCTOBER.next(), opening_balance=Decimal(1))
    assert rolled(STATEMENT, later).status == ReconciliationStatus.MATCHED


def test_two_statements_of_one_month_block():
    result = rolled(STATEMENT, replace(STATEMENT, row=9))
    assert (result.status, codes(result)) == (ReconciliationStatus.BLOCKED, [PrepaidCode.SECOND_STATEMENT])
    assert "has a second statement in prepaid_statements.csv:9" in str(result.problems[0])


def test_another_currency_is_never_added_up():
    result = rolled(replace(STATEMENT, currency="EUR"))
    assert (result.status, codes(result)) == (ReconciliationStatus.BLOCKED, [PrepaidCode.WRONG_CURRENCY])
    assert (result.opening, result.closing, result.difference) == (None, None, None)
    assert "is in EUR and the cost report in USD. Fix: write the statement in USD" in str(result.problems[0])
    assert rolled(replace(STATEMENT, currency="EUR"), currency="EUR").status == ReconciliationStatus.MATCHED


def test_a_balance_below_zero_is_looked_into_even_where_the_figures_agree():
    result = rolled(replace(STATEMENT, purchases=Decimal(0), closing_balance=Decimal("-160.25")))
    assert (result.closing, result.difference) == (Decimal("-160.25"), 0)
    assert result.status == ReconciliationStatus.INVESTIGATE
    assert codes(result) == [PrepaidCode.NEGATIVE_BALANCE] * 2
    assert "the computed closing is -160.25, and credits cannot be below zero" in str(result.problems[1])


# --- exactness -------------------------------------------------------------------------------------------------------

AMOUNTS = st.decimals("0", "99999999", places=2)


@given(
    opening=AMOUNTS,
    purchases=AMOUNTS,
    usage=st.decimals("-1000", "99999999", places=12),
    expired=AMOUNTS,
    refunds=AMOUNTS,
    console=st.decimals("-1000", "99999999", places=2),
)
def test_the_roll_forward_is_exact(opening, purchases, usage, expired, refunds, console):
    statement = replace(
        STATEMENT,
        opening_balance=opening,
        purchases=purchases,
        expired=expired,
        refunds=refunds,
        closing_balance=console,
    )
    result = rolled(statement, usage=str(usage))
    units = {name: int(value * 10**12) for name, value in vars(result).items() if isinstance(value, Decimal)}
    left = units["opening"] + units["purchases"] - units["usage"] - units["expired"] - units["refunds"]
    assert int((result.closing or 0) * 10**12) == left
    assert int((result.difference or 0) * 10**12) == units["console_balance"] - left
    assert int((result.expense or 0) * 10**12) == units["usage"] + units["expired"]
    assert int((result.asset_change or 0) * 10**12) == left - units["opening"]
    agreed = rolled(replace(statement, closing_balance=result.closing), usage=str(usage))
    assert agreed.difference == 0


# --- credits about to expire -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires", "days_left"), [("2026-11-05", 0), ("2026-12-24", 49), ("2027-01-04", 60), ("2027-01-05", None)]
)
def test_credits_that_expire_within_60_days_are_named(expires, days_left):
    day = dt.date.fromisoformat(expires)
    statement = replace(STATEMENT, expires_next=day, expires_next_amount=Decimal("120.00"))
    found = expiring_credits([statement, BEFORE], dt.date(2026, 11, 5), 60)
    expected = [ExpiringCredits("anthropic", "acme", "USD", day, Decimal("120.00"), days_left or 0)]
    assert found == (expected if days_left is not None else [])


def test_only_the_latest_statement_of_an_account_speaks():
    soon = dt.date(2026, 11, 20)
    stale = replace(BEFORE, expires_next=soon, expires_next_amount=Decimal(5))
    assert expiring_credits([STATEMENT, stale], dt.date(2026, 11, 5), 60) == []
    other = replace(stale, account="lab")
    assert [each.account for each in expiring_credits([STATEMENT, other], dt.date(2026, 11, 5), 60)] == ["lab"]
    past = replace(STATEMENT, expires_next=dt.date(2026, 11, 4), expires_next_amount=Decimal(5))
    nothing = replace(STATEMENT, expires_next=soon, expires_next_amount=Decimal(0))
    assert expiring_credits([past], dt.date(2026, 11, 5), 60) == expiring_credits([nothing], soon, 60) == []


# --- the file --------------------------------------------------------------------------------------------------------

TABLE = TABLES["prepaid_statements"]
HEADER = ",".join(TABLE.header) + "\n"
GOOD = "anthropic,acme,2026-10,USD,500.00,1000.00,20.00,0,839.75,2027-01-02,120.00\n"


def read(*rows: str) -> tuple[list[dict], list[str]]:
    parsed = read_csv((HEADER + "".join(rows)).encode(), TABLE.file)
    records, problems = read_rows(TABLE, parsed.rows)
    problems += [*parsed.problems, *check_days(TABLE, records).errors]
    return [{**record.values, "source_row": record.row} for record in records], [str(problem) for problem in problems]


def test_the_file_is_optional_and_its_rows_are_statements():
    assert TABLE.may_be_absent
    rows, problems = read(GOOD, "anthropic,acme,2026-09,USD,0,500,0,0,500.00,,\n")
    assert problems == []
    second, first = prepaid_statements(rows)[::-1]
    assert second == replace(STATEMENT, expires_next=dt.date(2027, 1, 2), expires_next_amount=Decimal("120.00"), row=2)
    assert (first.month, first.closing_balance, first.expires_next, first.row) == (SEPTEMBER, Decimal(500), None, 3)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("Anthropic,acme,2026-10,USD,1,0,0,0,1,,", "2 provider: 'Anthropic' is not a provider's name."),
        ("anthropic,,2026-10,USD,1,0,0,0,1,,", "2 account: is empty."),
        ("anthropic,acme,10/2026,USD,1,0,0,0,1,,", "2 month: '10/2026' is not a month. Fix: write YYYY-MM, such as"),
        ("anthropic,acme,2026-13,USD,1,0,0,0,1,,", "2 month: '2026-13' is not a month."),
        ("anthropic,acme,2026-10,usd,1,0,0,0,1,,", "2 currency: 'usd' is not an ISO 4217 currency code."),
        ('anthropic,acme,2026-10,USD,"1,00",0,0,0,1,,', "2 opening_balance: '1,00' is not a decimal number."),
        ("anthropic,acme,2026-10,USD,1,,0,0,1,,", "2 purchases: is empty."),
        ("anthropic,acme,2026-10,USD,1,0,-20,0,1,,", "2 expired: '-20' is below zero. Fix: write it without the sign;"),
        ("anthropic,acme,2026-10,USD,1,0,0,-1,1,,", "2 refunds: '-1' is below zero."),
        ("anthropic,acme,2026-10,USD,1,0,0,0,NaN,,", "2 closing_balance: 'NaN' is not a decimal number."),
        ("anthropic,acme,2026-10,USD,1,0,0,0,1,2027-01-02,", "2 expires_next_amount: is empty, and its pair is not."),
        ("anthropic,acme,2026-10,USD,1,0,0,0,1,,1", "2 expires_next: is empty, and its pair is not."),
        ("anthropic,acme,2026-10,USD,1,0,0,0,1,2026-10-31,1", "2 expires_next: 2026-10-31 is not after 2026-10."),
        (
            "anthropic,acme,2026-10,USD,1,0,0,0,1,2026-11-01,1.01",
            "2 expires_next_amount: 1.01 is more than the closing",
        ),
        ("anthropic,acme,2026-10,USD,1,0,0,0,-1,2026-11-01,1", "2 expires_next_amount: 1 is more than the closing"),
    ],
)
def test_a_cell_that_cannot_be_is_named_with_its_fix(row, says):
    _, (problem,) = read(row + "\n")
    assert problem.startswith(f"prepaid_statements.csv:{says}")
    assert ". Fix: " in problem


def test_a_month_is_there_once_an_account():
    _, problems = read(GOOD, GOOD.replace("acme", "lab"), GOOD)
    assert problems == [
        "prepaid_statements.csv:4 month: anthropic acme 2026-10 is already in row 2. Fix: delete one of the two rows."
    ]


def test_a_balance_may_be_below_zero_in_the_file():
    """A provider may let an account run dry by a little: the roll-forward says what to do about it."""
    rows, problems = read("anthropic,acme,2026-10,USD,1,0,0,0,-0.37,,\n")
    assert problems == []
    assert prepaid_statements(rows)[0].closing_balance == Decimal("-0.37")
