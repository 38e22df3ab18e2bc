"""Accruals: their basis, split, document, expected error, reversal and true-up (Rule 2.2)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.accrual import (
    AccrualEvidence,
    AccrualMonths,
    ClosedMonth,
    accruals_due,
    accrue,
    accrue_invoice,
    backtest_months,
)
from tokengov_pipelines.domain.accrual_backtest import AccrualBasis, BacktestMonth
from tokengov_pipelines.domain.accrual_documents import is_approved, reversal_of, true_up
from tokengov_pipelines.domain.money import MoneyError, exact_sum, from_cents
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod, PeriodError

D = Decimal
CENTRAL = "CC-990-CENTRAL"
AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
OCTOBER, NOVEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11)
WEIGHTS = {"CC-100": D("404.33"), "CC-200": D("202.165"), "CC-900-SUSPENSE": D("202.165")}


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def every_day(month: BillingMonth, total: str) -> dict[dt.date, Decimal]:
    """A total on the 5th, zero on every other day."""
    return {each: D(total) if each.day == 5 else D(0) for each in month.days()}


def evidence(month: BillingMonth = OCTOBER, **changes: object) -> AccrualEvidence:
    values = {
        "provider": "anthropic",
        "month": month,
        "daily": {
            AccrualBasis.COST_REPORT: every_day(month, "928.075"),
            AccrualBasis.USAGE: every_day(month, "900.00"),
            AccrualBasis.LOGGED: every_day(month, "800.00"),
        },
        "weights": WEIGHTS,
    }
    return AccrualEvidence(**(values | changes))


def accrued(found: AccrualEvidence, *history: BacktestMonth):
    accrual, problems = accrue(found, CENTRAL, history)
    assert problems == ()
    return accrual


# --- the amount and its split ----------------------------------------------------------------------------------------


def test_a_month_is_accrued_from_the_cost_report_and_split_by_repriced_use():
    accrual = accrued(evidence())
    assert accrual.document_id == "ACCRUAL-ANTHROPIC-2026-10"
    assert (accrual.basis, accrual.exact, accrual.total) == (
        "provider_cost_report_by_utc_day",
        D("928.075"),
        D("928.08"),
    )
    assert accrual.charges == {"CC-100": D("464.04"), "CC-200": D("232.02"), "CC-900-SUSPENSE": D("232.02")}
    assert (accrual.method, str(accrual.days.start), str(accrual.days.last_day)) == (
        "largest_remainder",
        "2026-10-01",
        "2026-10-31",
    )


def without(daily, basis, *days):
    return {**daily, basis: {each: amount for each, amount in daily[basis].items() if each.day not in days}}


def test_a_basis_that_lacks_a_day_is_passed_over():
    daily = without(evidence().daily, AccrualBasis.COST_REPORT, 31)
    usage = accrued(evidence(daily=daily))
    assert (usage.basis, usage.total) == ("usage_at_price_book", D("900.00"))
    logged = accrued(evidence(daily=without(daily, AccrualBasis.USAGE, 1)))
    assert (logged.basis, logged.total) == ("logged_spend", D("800.00"))


def test_a_report_of_nothing_is_passed_over_where_others_know_of_use():
    daily = {**evidence().daily, AccrualBasis.COST_REPORT: every_day(OCTOBER, "0")}
    assert accrued(evidence(daily=daily)).basis == AccrualBasis.USAGE
    nothing = accrued(evidence(daily={AccrualBasis.LOGGED: every_day(OCTOBER, "0")}, weights={}))
    assert (nothing.basis, nothing.total, nothing.charges) == (AccrualBasis.LOGGED, 0, {CENTRAL: 0})


def test_nothing_is_accrued_where_no_basis_knows_every_day():
    daily = without(evidence().daily, AccrualBasis.COST_REPORT, 3, 4, 9)
    daily = without(daily, AccrualBasis.USAGE, *range(1, 11))
    daily = {key: daily[key] for key in (AccrualBasis.COST_REPORT, AccrualBasis.USAGE)}
    accrual, problems = accrue(evidence(daily=daily), CENTRAL)
    assert accrual is None
    (problem,) = problems
    assert str(problem) == (
        "anthropic 2026-10 cannot be accrued: of 31 days provider_cost_report_by_utc_day lacks 3, usage_at_price_book "
        "lacks 10, logged_spend lacks 31; provider_cost_report_by_utc_day lacks 2026-10-03, 2026-10-04, 2026-10-09. "
        "Fix: tokengov load 2026-10-03 2026-10-09"
    )
    assert (problem.code, problem.provider, problem.month) == ("accrual_evidence", "anthropic", OCTOBER)


def test_a_weight_below_zero_accrues_nothing():
    accrual, problems = accrue(evidence(weights={"CC-1": D(3), "CC-2": D("-0.01")}), CENTRAL)
    assert accrual is None
    assert [problem.code for problem in problems] == ["accrual_weight"]
    assert "the weight of CC-2 is -0.01, below zero" in problems[0].what


@pytest.mark.parametrize("weights", [{}, {"CC-1": D(0), "CC-2": D(0)}])
def test_without_any_weight_central_bears_it(weights):
    accrual = accrued(evidence(weights=weights))
    assert (accrual.charges, accrual.method) == ({CENTRAL: D("928.08")}, "zero_direct_to")


def test_days_that_an_invoice_bills_already_are_left_out():
    open_days = InvoicePeriod(day("2026-10-15"), day("2026-11-01"))
    daily = {AccrualBasis.COST_REPORT: {each: D("10.00") for each in open_days.days()}}
    accrual = accrued(evidence(daily=daily, days=open_days))
    assert (accrual.total, accrual.days) == (D("170.00"), open_days)
    _, problems = accrue(evidence(days=InvoicePeriod(day("2026-10-15"), day("2026-11-02"))), CENTRAL)
    assert [problem.code for problem in problems] == ["accrual_days"]


def test_in_yen_it_is_in_whole_yen():
    accrual = accrued(evidence(currency="JPY"))
    assert (str(accrual.total), str(accrual.charges["CC-100"])) == ("928", "464")


# --- the expected error ----------------------------------------------------------------------------------------------


def earlier(month: BillingMonth, accrued_total: str, published: str) -> BacktestMonth:
    totals = {"CC-100": D(accrued_total)}, {"CC-100": D(published)}
    return BacktestMonth("anthropic", month, "USD", AccrualBasis.COST_REPORT, *totals)


def test_the_expected_error_is_a_share_and_an_amount():
    accrual = accrued(evidence(), earlier(AUGUST, "101.00", "100.00"), earlier(SEPTEMBER, "99.00", "100.00"))
    assert (accrual.expected_error.share, accrual.expected_error.amount) == (Fraction(1, 100), D("9.28"))
    assert accrual.expected_error_words == "1.00 % (9.28 USD), from 2 closed months"
    one = accrued(evidence(), earlier(SEPTEMBER, "99.00", "100.00"))
    assert one.expected_error_words == "1.00 % (9.28 USD), from 1 closed month"


def test_without_history_it_is_not_known_and_words_say_so():
    accrual = accrued(evidence(), earlier(OCTOBER, "1.00", "2.00"))
    assert accrual.expected_error is None
    assert accrual.expected_error_words == (
        "not known: no closed month before 2026-10 tests an accrual on provider_cost_report_by_utc_day"
    )


def test_the_back_test_accrues_closed_months_as_if_they_were_open():
    published = {"CC-100": D("470.00"), "CC-200": D("235.00"), "CC-900-SUSPENSE": D("235.00")}
    months = AccrualMonths(
        closed=[ClosedMonth(evidence(SEPTEMBER), published), ClosedMonth(evidence(AUGUST, daily={}), {})],
        due=[
            evidence(OCTOBER),
            evidence(OCTOBER, provider="openai"),
            evidence(NOVEMBER),
            evidence(OCTOBER, provider="b", daily={}),
        ],
        central=CENTRAL,
    )
    history, problems = backtest_months(months.closed, CENTRAL)
    assert [(each.month, exact_sum(each.accrued.values()), each.published) for each in history] == [
        (SEPTEMBER, D("928.08"), published)
    ]
    assert [problem.month for problem in problems] == [AUGUST]
    accruals, problems = accruals_due(months, OCTOBER)
    assert [(each.provider, each.expected_error is None) for each in accruals] == [
        ("anthropic", False),
        ("openai", True),
    ]
    assert accruals[0].expected_error.share == Fraction(D("11.92")) / 940
    assert [problem.provider for problem in problems] == ["b"]
    assert accruals_due(replace(months, window=0), OCTOBER)[0][0].expected_error is None


# --- bills over several months ---------------------------------------------------------------------------------------

BILL = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))


def test_the_worked_example_of_rule_2_2():
    """15 Oct to 14 Nov, 300.00, report 170 and 140: 164.52 and 135.48."""
    report = dict.fromkeys(BILL.days(), D(0)) | {day("2026-10-20"): D(170), day("2026-11-02"): D(140)}
    weights = {OCTOBER: {"CC-1": D(1), "CC-2": D(1)}}
    first, second = accrue_invoice(
        "anthropic", "INV-7", BILL, D("300.00"), {AccrualBasis.COST_REPORT: report}, weights, CENTRAL
    )
    assert (first.document_id, first.total, first.charges) == (
        "ACCRUAL-ANTHROPIC-2026-10",
        D("164.52"),
        {"CC-1": D("82.26"), "CC-2": D("82.26")},
    )
    assert (second.document_id, second.total, second.charges) == (
        "ACCRUAL-ANTHROPIC-2026-11",
        D("135.48"),
        {CENTRAL: D("135.48")},
    )
    assert (str(first.days.start), str(first.days.last_day)) == ("2026-10-15", "2026-10-31")
    assert (str(second.days.start), str(second.days.last_day)) == ("2026-11-01", "2026-11-14")
    assert first.basis == second.basis == AccrualBasis.COST_REPORT
    assert first.expected_error_words == "none of the total: it is a part of invoice INV-7"


def test_a_quarterly_invoice_is_three_accruals():
    quarter = InvoicePeriod.from_printed(day("2026-07-01"), day("2026-09-30"))
    parts = accrue_invoice("openai", "Q3", quarter, D("920.00"), {}, {}, CENTRAL)
    assert [(str(each.month), each.total, each.basis) for each in parts] == [
        ("2026-07", D("310.00"), AccrualBasis.CALENDAR_DAYS),
        ("2026-08", D("310.00"), AccrualBasis.CALENDAR_DAYS),
        ("2026-09", D("300.00"), AccrualBasis.CALENDAR_DAYS),
    ]


def test_the_split_falls_to_usage_and_then_to_calendar_days():
    whole = dict.fromkeys(BILL.days(), D(0)) | {day("2026-10-20"): D(170), day("2026-11-02"): D(140)}
    lacking = {each: amount for each, amount in whole.items() if each != day("2026-11-14")}
    free = dict.fromkeys(BILL.days(), D(0))
    credit = whole | {day("2026-11-03"): D("-150")}

    def split(report, usage):
        daily = {AccrualBasis.COST_REPORT: report, AccrualBasis.USAGE: usage}
        first, second = accrue_invoice("anthropic", "INV-7", BILL, D("31.00"), daily, {}, CENTRAL)
        assert first.basis == second.basis
        return first.basis, first.total, second.total

    assert split(lacking, whole) == (AccrualBasis.USAGE, D("17.00"), D("14.00"))
    assert split(free, whole)[0] == AccrualBasis.USAGE
    assert split(credit, free) == (AccrualBasis.CALENDAR_DAYS, D("17.00"), D("14.00"))


def test_a_total_that_is_not_in_cents_is_refused():
    with pytest.raises(MoneyError):
        accrue_invoice("anthropic", "INV-7", BILL, D("31.001"), {}, {}, CENTRAL)


# --- reversal and true-up --------------------------------------------------------------------------------------------


def test_a_bill_of_one_month_is_reversed_on_day_1_of_the_next_month():
    accrual = accrued(evidence())
    reversal = reversal_of(accrual)
    assert (reversal.document_id, reversal.reverses) == ("ACCRUAL-ANTHROPIC-2026-10-REVERSAL", accrual.document_id)
    assert (reversal.on, reversal.total, reversal.currency) == (day("2026-11-01"), D("-928.08"), "USD")
    assert reversal.charges == {"CC-100": D("-464.04"), "CC-200": D("-232.02"), "CC-900-SUSPENSE": D("-232.02")}
    assert str(reversal_of(accrued(evidence(daily={AccrualBasis.LOGGED: every_day(OCTOBER, "0")}))).total) == "0.00"
    december = accrued(evidence(BillingMonth(2026, 12), bill=InvoicePeriod(day("2026-12-01"), day("2027-01-01"))))
    assert reversal_of(december).on == day("2027-01-01")


def test_a_bill_over_several_months_is_reversed_in_the_month_in_which_it_posts():
    quarter = InvoicePeriod(day("2026-10-01"), day("2027-01-01"))
    accrual = accrued(evidence(bill=quarter))
    assert reversal_of(accrual) is None
    assert reversal_of(accrual, BillingMonth(2027, 1)).on == day("2027-01-01")
    with pytest.raises(PeriodError, match="cannot be reversed in 2026-10: a reversal is after the month"):
        reversal_of(accrual, OCTOBER)


def test_the_true_up_is_by_cost_center_and_adds_up():
    accrual = accrued(evidence())
    invoiced = {"CC-100": D("460.00"), "CC-200": D("240.00"), CENTRAL: D("235.00")}
    found = true_up([accrual], invoiced, "USD")
    assert found.by_cost_center == {
        "CC-100": D("-4.04"),
        "CC-200": D("7.98"),
        "CC-900-SUSPENSE": D("-232.02"),
        CENTRAL: D("235.00"),
    }
    assert (found.invoiced, found.accrued, found.total) == (D("935.00"), D("928.08"), D("6.92"))
    assert exact_sum(found.by_cost_center.values()) == found.total


def test_the_accruals_of_a_quarter_are_trued_up_together():
    quarter = InvoicePeriod.from_printed(day("2026-07-01"), day("2026-09-30"))
    parts = accrue_invoice("openai", "Q3", quarter, D("920.00"), {}, {}, CENTRAL)
    assert true_up(parts, {CENTRAL: D("920.00")}, "USD").by_cost_center == {CENTRAL: D("0.00")}


def test_another_currency_has_no_true_up():
    with pytest.raises(MoneyError, match="ACCRUAL-ANTHROPIC-2026-10 is in USD and the invoice in EUR"):
        true_up([accrued(evidence())], {}, "EUR")


def test_an_approval_is_of_a_figure_and_of_what_it_rests_on():
    accrual = accrued(evidence())
    agreed = {"amount": D("928.08"), "currency": "USD", "method": "provider_cost_report_by_utc_day"}
    assert is_approved(accrual, **agreed)
    assert not is_approved(accrual, **(agreed | {"amount": D("928.07")}))
    assert not is_approved(accrual, **(agreed | {"currency": "EUR"}))
    assert not is_approved(accrual, **(agreed | {"method": "logged_spend"}))


# --- sums ------------------------------------------------------------------------------------------------------------

exact = st.decimals(-(10**7), 10**7, places=12)
codes = st.sampled_from([f"CC-{n}" for n in range(9)])
weights = st.dictionaries(codes, st.decimals(0, 10**7, places=12))
charges = st.dictionaries(codes, st.integers(-(10**9), 10**9).map(from_cents))


@given(exact, weights, charges)
def test_charges_add_up_to_the_accrual_and_true_ups_to_the_invoice(total, weighed, invoiced):
    daily = {AccrualBasis.COST_REPORT: every_day(OCTOBER, str(total))}
    accrual = accrued(evidence(daily=daily, weights=weighed))
    assert exact_sum(accrual.charges.values()) == accrual.total
    assert abs(accrual.total - total) <= D("0.005")
    assert exact_sum([accrual.total, reversal_of(accrual).total]) == 0
    found = true_up([accrual], invoiced, "USD")
    assert exact_sum(found.by_cost_center.values()) == found.total == exact_sum([*invoiced.values(), -accrual.total])


@given(st.integers(-(10**9), 10**9).map(from_cents), st.integers(1, 200), weights)
def test_the_accruals_of_an_invoice_add_up_to_it(total, length, weighed):
    period = InvoicePeriod(day("2026-10-15"), day("2026-10-15") + dt.timedelta(days=length))
    parts = accrue_invoice("anthropic", "I", period, total, {}, {OCTOBER: weighed}, CENTRAL)
    assert exact_sum(part.total for part in parts) == total
    assert exact_sum(amount for part in parts for amount in part.charges.values()) == total
    assert [part.days.start for part in parts[1:]] == [part.days.end for part in parts[:-1]]
    assert (parts[0].days.start, parts[-1].days.end) == (period.start, period.end)


def test_a_hundred_thousand_cost_centers():
    many = {f"CC-{number:06d}": D(number) for number in range(100_000)}
    accrual = accrued(evidence(weights=many))
    assert exact_sum(accrual.charges.values()) == D("928.08")
