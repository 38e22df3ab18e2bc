"""Exchange rates: exact days only, never assumed, and the difference at payment (Rule 1.6)."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.fx import FxRate, FxRates, MissingRateError, fx_gain_loss
from tokengov_pipelines.domain.money import MoneyError, convert_lines, exact_sum, from_cents

D = Decimal
INVOICED, PAID = dt.date(2026, 10, 30), dt.date(2026, 11, 27)


def row(day: dt.date, rate: str, pair: str = "EUR USD", source: str | None = "ECB"):
    one, other = pair.split()
    return {"from_currency": one, "to_currency": other, "rate_date": day, "rate": rate, "source": source}


RATES = FxRates([row(INVOICED, "1.0837"), row(PAID, "1.0901"), row(INVOICED, "0.0067", "JPY USD", None)])


# --- the look-up -----------------------------------------------------------------------------------------------------


def test_a_rate_is_that_of_its_day_with_its_source():
    assert RATES.rate_on("EUR", "USD", INVOICED) == FxRate(D("1.0837"), "ECB", INVOICED)
    assert RATES.rate_on("JPY", "USD", INVOICED) == FxRate(D("0.0067"), "", INVOICED)


def test_of_the_same_currency_it_is_one():
    assert RATES.rate_on("KWD", "KWD", INVOICED) == FxRate(D(1), "same currency", INVOICED)
    assert FxRates([]).rate_on("USD", "USD", PAID).rate == 1


def test_the_day_before_is_not_taken_for_a_missing_day():
    with pytest.raises(MissingRateError) as error:
        RATES.rate_on("EUR", "USD", dt.date(2026, 10, 31))
    assert str(error.value) == (
        "directory/fx_rates.csv rate: there is no rate EUR to USD of 2026-10-31 (the nearest: 2026-10-30 and "
        "2026-11-27). Fix: add the row EUR,USD,2026-10-31 with the rate of that day and its source."
    )
    assert error.value.problem.file == "directory/fx_rates.csv"


def test_a_missing_rate_is_never_one_and_never_the_inverse():
    with pytest.raises(MissingRateError) as error:
        RATES.rate_on("USD", "EUR", INVOICED)
    assert "there is no rate USD to EUR of 2026-10-30; EUR to USD is there, and is not inverted. Fix" in str(
        error.value
    )
    with pytest.raises(MissingRateError, match=r"no rate GBP to USD of 2026-10-30\. Fix: add the row GBP,USD"):
        RATES.rate_on("GBP", "USD", INVOICED)
    with pytest.raises(MissingRateError, match=r"\(the nearest: 2026-10-30\)"):
        RATES.rate_on("JPY", "USD", dt.date(2027, 1, 1))


@pytest.mark.parametrize("pair", [("EUR", "USDX"), ("eur", "USD"), ("XXX", "XXX")])
def test_what_is_no_currency_has_no_rate(pair):
    with pytest.raises(MoneyError, match="is not an ISO 4217 currency code"):
        RATES.rate_on(*pair, INVOICED)


def test_a_table_that_contradicts_itself_is_refused():
    assert FxRates([row(PAID, "1.09"), row(PAID, "1.090")]).rate_on("EUR", "USD", PAID).rate == D("1.09")
    with pytest.raises(
        MoneyError, match=r"EUR to USD of 2026-11-27: is there twice, as 1.09 and 1.10. Fix: delete one"
    ):
        FxRates([row(PAID, "1.09"), row(PAID, "1.10")])


@pytest.mark.parametrize("rate", ["0", "-1.08"])
def test_a_rate_is_above_zero(rate):
    with pytest.raises(MoneyError, match="a rate is above zero"):
        FxRates([row(PAID, rate)])


def test_a_float_is_no_rate():
    with pytest.raises(MoneyError, match="is a float"):
        FxRates([row(PAID, 1.0837)])


# --- the worked example of rule 1.6 ----------------------------------------------------------------------------------


def test_the_worked_example_of_rule_1_6():
    """EUR 1234.56 at 1.0837 is 1337.89, split 50/30/20; paid at 1.0901 it is 1345.79, a loss of 7.90."""
    booked_at, paid_at = RATES.rate_on("EUR", "USD", INVOICED), RATES.rate_on("EUR", "USD", PAID)
    lines = {("direct", "CC-1"): D("617.28"), ("direct", "CC-2"): D("370.37"), ("direct", "CC-3"): D("246.91")}
    converted = convert_lines(lines, booked_at.rate, from_currency="EUR", to_currency="USD")
    assert converted.total == D("1337.89")
    assert list(converted.lines.values()) == [D("668.94"), D("401.37"), D("267.58")]
    difference = fx_gain_loss(D("1234.56"), booked_at, paid_at, from_currency="EUR", to_currency="USD")
    assert (difference.booked, difference.paid, difference.currency) == (D("1337.89"), D("1345.79"), "USD")
    assert (difference.loss, difference.kind) == (D("7.90"), "loss")
    assert difference.booked == converted.total


def test_a_payment_at_a_lower_rate_is_a_gain():
    rates = FxRate(D("1.0901"), "", INVOICED), FxRate(D("1.0837"), "", PAID)
    difference = fx_gain_loss(D("1234.56"), *rates, from_currency="EUR", to_currency="USD")
    assert (difference.loss, difference.kind) == (D("-7.90"), "gain")


def test_a_credit_note_that_brings_less_is_a_loss():
    rates = FxRate(D("1.10"), "", INVOICED), FxRate(D("1.00"), "", PAID)
    difference = fx_gain_loss(D("-100.00"), *rates, from_currency="EUR", to_currency="USD")
    assert (difference.booked, difference.paid, difference.loss) == (D("-110.00"), D("-100.00"), D("10.00"))


def test_each_side_is_rounded_to_its_own_currency():
    rates = FxRate(D("149.31"), "", INVOICED), FxRate(D("149.32"), "", PAID)
    difference = fx_gain_loss(D("10.05"), *rates, from_currency="USD", to_currency="JPY")
    assert (str(difference.booked), str(difference.paid), difference.kind) == ("1501", "1501", "none")
    with pytest.raises(MoneyError, match="has more decimals than the currency"):
        fx_gain_loss(D("10.005"), *rates, from_currency="USD", to_currency="JPY")


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=30),
    st.decimals("0.0001", "500", places=6),
    st.decimals("0.0001", "500", places=6),
)
def test_charges_and_the_loss_add_up_to_what_was_paid(cents, booked, paid):
    lines = {("direct", f"CC-{number}"): from_cents(each) for number, each in enumerate(cents)}
    converted = convert_lines(lines, booked, from_currency="EUR", to_currency="USD")
    difference = fx_gain_loss(
        exact_sum(lines.values()),
        FxRate(booked, "", INVOICED),
        FxRate(paid, "", PAID),
        from_currency="EUR",
        to_currency="USD",
    )
    assert exact_sum([*converted.lines.values(), difference.loss]) == difference.paid
