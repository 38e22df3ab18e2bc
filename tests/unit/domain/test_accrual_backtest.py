"""The back-test of accruals: errors by month and cost center, and the error to expect of a new one (Rule 2.2)."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.accrual_backtest import (
    AccrualBasis,
    BacktestMonth,
    as_percent,
    backtest,
    expected_error,
    share_of,
)
from tokengov_pipelines.domain.money import MoneyError, exact_sum, from_cents
from tokengov_pipelines.domain.period import BillingMonth

D = Decimal
AUGUST, SEPTEMBER, OCTOBER = BillingMonth(2026, 8), BillingMonth(2026, 9), BillingMonth(2026, 10)


def closed(month: BillingMonth, accrued: dict[str, str], published: dict[str, str], **changes: object) -> BacktestMonth:
    values = {
        "provider": "anthropic",
        "month": month,
        "currency": "USD",
        "basis": AccrualBasis.COST_REPORT,
        "accrued": {code: D(amount) for code, amount in accrued.items()},
        "published": {code: D(amount) for code, amount in published.items()},
    }
    return BacktestMonth(**(values | changes))


ONE = closed(AUGUST, {"CC-1": "100.00", "CC-2": "50.00"}, {"CC-1": "110.00", "CC-2": "45.00", "CC-9": "5.00"})
TWO = closed(SEPTEMBER, {"CC-1": "200.00", "CC-2": "60.00"}, {"CC-1": "190.00", "CC-2": "50.00"})


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_by_month_are_published_less_accrued():
    found = backtest([TWO, ONE])
    first, second = found.months
    assert (first.month, first.accrued, first.published, first.error, first.moved) == (
        AUGUST,
        D("150.00"),
        D("160.00"),
        D("10.00"),
        D("20.00"),
    )
    assert first.share == Fraction(1, 16)
    assert (second.error, second.moved, second.share) == (D("-20.00"), D("20.00"), Fraction(1, 12))


def test_errors_by_cost_center_do_not_cancel_over_months():
    one, two, nine = backtest([ONE, TWO]).centers
    assert (one.cost_center, one.months, one.accrued, one.published) == ("CC-1", 2, D("300.00"), D("300.00"))
    assert (one.error, one.absolute, one.share) == (D("0.00"), D("20.00"), Fraction(1, 15))
    assert one.mean_share == (Fraction(10, 110) + Fraction(10, 190)) / 2
    assert (one.worst_month, one.worst_error) == (AUGUST, D("10.00"))  # of equals the earlier
    assert (two.error, two.absolute, two.worst_month, two.worst_error) == (
        D("-15.00"),
        D("15.00"),
        SEPTEMBER,
        D("-10.00"),
    )
    assert (nine.months, nine.accrued, nine.error, nine.share, nine.mean_share) == (1, 0, D("5.00"), 1, 1)


def test_totals_weigh_by_size_and_by_month():
    found = backtest([ONE, TWO])
    assert (found.accrued, found.published, found.error) == (D("410.00"), D("400.00"), D("-10.00"))
    assert (found.absolute, found.share) == (D("30.00"), Fraction(3, 40))
    assert (found.moved, found.moved_share) == (D("40.00"), Fraction(1, 10))
    assert found.mean_share == (Fraction(1, 16) + Fraction(1, 12)) / 2
    assert found.worst.cost_center == "CC-1"


def test_the_worst_cost_center_is_the_one_with_the_most_dollars_and_of_equals_the_lowest_code():
    tie = closed(AUGUST, {"CC-2": "1.00", "CC-1": "100.00"}, {"CC-2": "2.00", "CC-1": "101.00"})
    assert backtest([tie]).worst.cost_center == "CC-1"
    assert backtest([closed(AUGUST, {"CC-1": "7.00"}, {"CC-1": "7.00"})]).worst is None


def test_providers_of_one_month_are_added_up_by_cost_center():
    other = closed(AUGUST, {"CC-1": "20.00"}, {"CC-1": "10.00"}, provider="openai")
    found = backtest([ONE, other])
    assert [(each.provider, each.error) for each in found.months] == [
        ("anthropic", D("10.00")),
        ("openai", D("-10.00")),
    ]
    assert (found.centers[0].months, found.centers[0].absolute) == (1, D("0.00"))
    assert (found.absolute, found.moved) == (D("20.00"), D("30.00"))


def test_without_months_there_is_no_back_test():
    assert backtest([]) is None


def test_currencies_have_no_sum_and_a_month_is_tested_once():
    with pytest.raises(MoneyError, match=r"errors in EUR and USD have no sum\. Fix: "):
        backtest([ONE, replace(TWO, currency="EUR")])
    with pytest.raises(MoneyError, match="stands twice"):
        backtest([ONE, ONE])


def test_a_share_of_nothing():
    assert share_of(D(0), D(0)) == 0
    assert share_of(D(1), D(0)) is None
    assert share_of(D("-1"), D("-4")) == Fraction(1, 4)
    free = backtest([closed(AUGUST, {"CC-1": "5.00"}, {})])
    assert (free.share, free.mean_share, free.centers[0].share, free.centers[0].mean_share) == (None, None, None, None)


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (Fraction(1, 160), "0.63 %"),  # 0.625: half away from zero
        (Fraction(-1, 160), "-0.63 %"),
        (Fraction(1, 3), "33.33 %"),
        (Fraction(0), "0.00 %"),
        (Fraction(3), "300.00 %"),
        (None, "none"),
    ],
)
def test_a_share_for_people(share, shown):
    assert as_percent(share) == shown


# --- the expected error ----------------------------------------------------------------------------------------------


def expected(history, total="1000.00", **changes):
    asked = {"provider": "anthropic", "month": OCTOBER, "currency": "USD", "basis": AccrualBasis.COST_REPORT}
    return expected_error(D(total), history, **(asked | changes))


def test_an_expected_error_is_the_share_of_earlier_months_and_an_amount():
    found = expected([ONE, TWO])
    assert (found.months, found.share, found.amount) == (2, Fraction(3, 40), D("75.00"))
    assert (found.center_share, found.center_amount) == (Fraction(1, 10), D("100.00"))
    assert found.bias == Fraction(-1, 40)
    assert expected([ONE, TWO], total="-1000.00").amount == D("75.00")
    assert str(expected([ONE, TWO], total="0.06").amount) == "0.00"
    assert str(expected([ONE, TWO], total="0.20").amount) == "0.02"  # 0.015


def test_only_earlier_months_of_the_same_kind_tell_it():
    history = [ONE, TWO]
    assert expected(history, month=SEPTEMBER).months == 1
    assert expected(history, month=AUGUST) is None
    assert expected(history, provider="openai") is None
    assert expected(history, basis=AccrualBasis.LOGGED) is None
    assert expected(history, currency="EUR") is None
    assert expected([]) is None
    assert expected([closed(AUGUST, {"CC-1": "5.00"}, {})]) is None


def test_the_latest_months_tell_it():
    assert expected([TWO, ONE], window=1).share == Fraction(1, 12)
    assert expected([TWO, ONE], window=0) is None


def test_in_yen_it_is_in_yen():
    yen = replace(TWO, currency="JPY")
    assert str(expected([yen], total="1000", currency="JPY").amount) == "83"


# --- sums ------------------------------------------------------------------------------------------------------------

amounts = st.dictionaries(st.sampled_from([f"CC-{n}" for n in range(8)]), st.integers(-(10**7), 10**7).map(from_cents))


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=8))
def test_errors_add_up_over_months_and_over_cost_centers(pairs):
    month, months = AUGUST, []
    for accrued, published in pairs:
        months.append(replace(ONE, month=month, accrued=accrued, published=published))
        month = month.next()
    found = backtest(months)
    assert exact_sum(each.error for each in found.centers) == found.error
    assert exact_sum(each.error for each in found.months) == found.error
    assert exact_sum(each.absolute for each in found.centers) == found.moved >= found.absolute >= abs(found.error)
    assert backtest(reversed(months)) == found


def test_twenty_thousand_cost_centers():
    published = {f"CC-{number:06d}": from_cents(number) for number in range(20_000)}
    found = backtest([replace(ONE, accrued=dict.fromkeys(published, D("1.00")), published=published)])
    assert len(found.centers) == 20_000
    assert found.error == D("1999900.00") - D("20000.00")
