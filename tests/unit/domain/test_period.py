"""Rules 2.1 and 2.2: months, days and the accrual of an invoice over months."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.money import MoneyError, ZeroWeights
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod, PeriodError, accounting_day

D = Decimal
OCTOBER = BillingMonth(2026, 10)
NOVEMBER = BillingMonth(2026, 11)


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


class TestAccountingDay:
    def test_a_call_over_midnight_belongs_to_the_day_it_started(self):
        """Rule 2.1: 23:58Z on 31 Oct to 00:03Z on 1 Nov is October under startTime, November under endTime."""
        started = dt.datetime(2026, 10, 31, 23, 58, tzinfo=dt.UTC)
        ended = dt.datetime(2026, 11, 1, 0, 3, tzinfo=dt.UTC)
        assert BillingMonth.of(accounting_day(started)) == OCTOBER
        assert BillingMonth.of(accounting_day(ended)) == NOVEMBER

    def test_a_naive_timestamp_is_utc(self):
        naive = dt.datetime(2026, 10, 31, 23, 59, 59, 999_000)
        assert accounting_day(naive) == day("2026-10-31")

    def test_other_zones_are_turned_into_utc(self):
        new_york = dt.timezone(dt.timedelta(hours=-4))
        assert accounting_day(dt.datetime(2026, 10, 31, 20, 0, tzinfo=new_york)) == day("2026-11-01")


class TestBillingMonth:
    @pytest.mark.parametrize("text", ["2026-10", "1999-01", "9998-12"])
    def test_reads_what_it_writes(self, text):
        assert str(BillingMonth.parse(text)) == text

    @pytest.mark.parametrize(
        "text",
        ["2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "2026/10", " 2026-10", "2026-10\n", "", "٢٠٢٦-10"],
    )
    def test_refuses_everything_else(self, text):
        with pytest.raises(PeriodError, match="YYYY-MM"):
            BillingMonth.parse(text)

    def test_refuses_months_that_are_none(self):
        with pytest.raises(PeriodError):
            BillingMonth(2026, 13)
        with pytest.raises(PeriodError):
            BillingMonth.parse("0000-01")

    def test_is_half_open(self):
        assert OCTOBER.utc_bounds() == (
            dt.datetime(2026, 10, 1, tzinfo=dt.UTC),
            dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        )
        assert OCTOBER.contains(day("2026-10-01"))
        assert OCTOBER.contains(day("2026-10-31"))
        assert not OCTOBER.contains(day("2026-11-01"))
        assert not OCTOBER.contains(day("2025-10-15"))

    def test_days(self):
        assert [len(BillingMonth(2028, month).days()) for month in (1, 2, 4, 12)] == [31, 29, 30, 31]
        assert (OCTOBER.first_day, OCTOBER.last_day) == (day("2026-10-01"), day("2026-10-31"))
        assert OCTOBER.days()[-1] == OCTOBER.last_day

    def test_neighbours_cross_the_year(self):
        assert str(BillingMonth.parse("2026-12").next()) == "2027-01"
        assert str(BillingMonth.parse("2026-01").previous()) == "2025-12"

    @given(st.integers(1971, 9997), st.integers(1, 12))
    def test_next_and_previous_undo_each_other_and_sort(self, year, month):
        here = BillingMonth(year, month)
        assert here.next().previous() == here == here.previous().next()
        assert here.previous() < here < here.next()
        assert str(here.previous()) < str(here) < str(here.next())


class TestInvoicePeriod:
    def test_a_printed_end_is_inclusive(self):
        """Rule 2.2: '15 Oct-14 Nov' is [15 Oct, 15 Nov)."""
        period = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))
        assert (period.start, period.end, period.last_day) == (day("2026-10-15"), day("2026-11-15"), day("2026-11-14"))
        assert period.contains(day("2026-11-14"))
        assert not period.contains(day("2026-11-15"))
        assert period.months() == [OCTOBER, NOVEMBER]
        assert len(period.days()) == 31
        assert period.utc_bounds()[1] == dt.datetime(2026, 11, 15, tzinfo=dt.UTC)

    def test_one_day_is_a_period_and_no_day_is_not(self):
        assert InvoicePeriod.from_printed(day("2026-10-31"), day("2026-10-31")).months() == [OCTOBER]
        with pytest.raises(PeriodError, match="before its first day"):
            InvoicePeriod.from_printed(day("2026-10-31"), day("2026-10-30"))
        with pytest.raises(PeriodError, match="no day"):
            InvoicePeriod(day("2026-10-31"), day("2026-10-31"))

    def test_a_month_to_its_last_day_is_one_month(self):
        assert InvoicePeriod.from_printed(day("2026-10-01"), day("2026-10-31")).months() == [OCTOBER]

    def test_splits_by_the_cost_report(self):
        """Rule 2.2: 300.00 with a report of 170 in October and 140 in November is 164.52 / 135.48."""
        period = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))
        report = {
            day("2026-10-15"): D(100),
            day("2026-10-31"): D(70),
            day("2026-11-01"): D("139.5"),
            day("2026-11-14"): D("0.5"),
        }
        assert period.split_over_months(D("300.00"), report) == {OCTOBER: D("164.52"), NOVEMBER: D("135.48")}

    def test_days_outside_the_period_have_no_weight(self):
        period = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))
        report = {
            day("2026-10-14"): D(1000),
            day("2026-10-15"): D(170),
            day("2026-11-01"): D(140),
            day("2026-11-15"): D(999),
        }
        assert period.split_over_months(D("300.00"), report) == {OCTOBER: D("164.52"), NOVEMBER: D("135.48")}

    def test_without_a_report_calendar_days_weigh(self):
        period = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))
        assert period.split_over_months(D("31.00")) == {OCTOBER: D("17.00"), NOVEMBER: D("14.00")}

    def test_a_quarter_gives_three_accruals_that_add_up(self):
        period = InvoicePeriod.from_printed(day("2026-07-01"), day("2026-09-30"))
        parts = period.split_over_months(D("-100.00"))
        assert [str(month) for month in parts] == ["2026-07", "2026-08", "2026-09"]
        assert sum(parts.values()) == D("-100.00")

    def test_a_month_without_weight_gets_zero_and_a_period_without_any_is_told(self):
        period = InvoicePeriod.from_printed(day("2026-10-15"), day("2026-11-14"))
        assert period.split_over_months(D(1), {day("2026-11-02"): 5}) == {OCTOBER: D(0), NOVEMBER: D(1)}
        with pytest.raises(ZeroWeights):
            period.split_over_months(D(1), {day("2026-12-01"): 5})
        with pytest.raises(MoneyError, match="-5"):
            period.split_over_months(D(1), {day("2026-10-20"): D(-5), day("2026-11-02"): 6})
