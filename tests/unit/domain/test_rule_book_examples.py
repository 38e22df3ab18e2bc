"""Worked examples of the rule book, sections 1 to 5, that no other test states, and cases of the same shape by hand.

Where the others are: money 1.2 to 1.6 in `test_money`, periods 2.1 and 2.2 in `test_period`, 2.3 in `test_day_state`,
2.4 in `test_close`, the ladder of 3.1 to 3.7 in the dbt unit tests, 4.2 to 4.7 and 5.2 to 5.4 in
`test_waterfall_examples`, `test_bypass*` and `test_reconciliation`, 4.8 in `test_reconciling_items`, 4.9 in
`test_prepaid`.
"""

import dataclasses
import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.unit.domain.planted import (
    ACCOUNT,
    CI_KEY,
    DAY,
    HAIKU,
    MTOK,
    OWN_WORKSPACE,
    SONNET,
    line,
    match,
    new_month,
    non_token,
    other,
    parts,
)
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.match_result import Component, PricingCause
from tokengov_pipelines.domain.money import allocate, exact_sum, from_cents, usd
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.rate_shares import split_cell

D = Decimal


class TestMoney:
    """Section 1."""

    def test_a_price_in_cents_becomes_dollars_exactly(self):
        """Fact F1: "123.45" of the lowest unit is 1.2345 USD."""
        assert usd("123.45").scaleb(-2) == D("1.2345")
        assert from_cents(12345, 4) == D("1.2345")

    def test_tokens_times_price_needs_no_rounding(self):
        """Rule 1.1: 7,186,114 tokens at 0.30 USD a million are 2.1558342 USD."""
        month = new_month()
        month.call(DAY, SONNET, {"cache_read": 7_186_114})
        assert match(month).states["W2"] == D("2.1558342")

    def test_a_gap_is_negative_where_the_proxy_logged_too_much(self):
        """Rule 1.5: invoice - proxy. 18.00 logged for calls of 15.00."""
        month = new_month()
        month.call(DAY, SONNET, {"output": MTOK})
        month.rows[0].logged = D("18.00")
        found = match(month)
        assert (found.gap, parts(found)) == (D("-3.00"), {"proxy_pricing": D("-3.00")})

    def test_a_credit_note_takes_back_a_split_to_the_cent(self):
        """Rule 1.4: negative totals mirror positive ones: 100.00 over three equals and back is nothing."""
        thirds = {"CC-100": 1, "CC-200": 1, "CC-300": 1}
        charged, credited = allocate(D("100.00"), thirds), allocate(D("-100.00"), thirds)
        assert [str(part) for part in charged.values()] == ["33.34", "33.33", "33.33"]
        assert {code: charged[code] + credited[code] for code in thirds} == dict.fromkeys(thirds, D(0))


class TestPeriods:
    """Section 2."""

    def test_a_quarter_is_matched_on_its_days_and_accrued_in_three_months(self):
        """Rule 2.2: 91.00 by a report of 20 July, 30 August and 41 September; one cent is never lost."""
        month = new_month()
        month.period = InvoicePeriod.from_printed(dt.date(2026, 7, 1), dt.date(2026, 9, 30))
        for day, dollars in (
            (dt.date(2026, 7, 10), 20),
            (dt.date(2026, 8, 31), 30),
            (dt.date(2026, 9, 1), 41),
            (dt.date(2026, 10, 1), 7),  # the next quarter
        ):
            month.call(day, HAIKU, {"uncached_input": dollars * MTOK})
        month.extra_lines.append(line("credit", "-1.00", "goodwill"))
        found = match(month)
        assert (found.total, found.states["W1"]) == (D("90.00"), D("91.00"))
        accrued = month.period.split_over_months(found.total, {cost.day: cost.amount for cost in month.costs()})
        # 90 x 20/91 = 19.7802, 90 x 30/91 = 29.6703, 90 x 41/91 = 40.5494: the missing cent is September's.
        assert accrued == {
            BillingMonth(2026, 7): D("19.78"),
            BillingMonth(2026, 8): D("29.67"),
            BillingMonth(2026, 9): D("40.55"),
        }
        assert exact_sum(accrued.values()) == found.total

    def test_corrected_weights_move_a_closed_invoice_and_make_no_cost(self):
        """Rule 2.5: 162.34 over 100/50, then 12.34 of CC-100 arrives late: +4.11 and -4.11."""
        published = allocate(D("162.34"), {"CC-100": D(100), "CC-200": D(50)})
        again = allocate(D("162.34"), {"CC-100": D("112.34"), "CC-200": D(50)})
        assert published == {"CC-100": D("108.23"), "CC-200": D("54.11")}
        adjustments = {code: again[code] - published[code] for code in published}
        assert adjustments == {"CC-100": D("4.11"), "CC-200": D("-4.11")}
        assert exact_sum(adjustments.values()) == 0


class TestWaterfall:
    """Section 4: a month with one of each, worked out by hand, with round figures."""

    def test_every_state_by_hand(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 2 * MTOK, "output": MTOK})  # 6 + 15
        month.call(DAY, HAIKU, {"uncached_input": 3 * MTOK})  # 3, at the provider a batch: 1.50
        month.uses[1].tier = "batch"
        month.rows[0].logged = D("20.00")  # 1.00 too low
        month.uses.append(dataclasses.replace(month.uses[0], tokens={"cache_read": 4 * MTOK}))  # no row: 1.20
        month.uses.append(other(CI_KEY, output=200_000))  # 3.00
        month.rates.append((month.uses[0], "output", D("-1.50")))  # ten percent off
        month.non_token.append(non_token("0.50"))
        month.extra_lines = [
            line("non_token", "0.50", "web search"),
            line("commitment", "5.00", "minimum"),
            line("credit", "-2.00", "promotion"),
            line("tax", "1.00", "sales tax"),
        ]
        found = match(month)
        # 24.00 over 6 million tokens are 4.00 a million: 4 million more are 16.00, and their own price is 1.20.
        assert found.states == {
            "W0": D("23.00"),
            "W1": D("23.00"),
            "W2": D("24.00"),
            "W3a": D("40.00"),
            "W3": D("25.20"),
            "W4": D("23.70"),
            "W5": D("26.70"),
            "W6": D("25.20"),
            "W7": D("25.70"),
            "W8": D("30.70"),
            "W9": D("28.70"),
            "W10": D("29.70"),
            "W11": D("29.70"),
            "W12": D("29.70"),
        }
        assert parts(found) == {
            "proxy_pricing": D("1.00"),
            "volume": D("16.00"),
            "mix": D("-14.80"),
            "tier_discount": D("-1.50"),
            "unproxied": D("3.00"),
            "provider_rate": D("-1.50"),
            "non_token": D("0.50"),
            "commitment": D("5.00"),
            "credits_discounts": D("-2.00"),
            "tax": D("1.00"),
        }
        assert exact_sum(found.components.values()) == found.gap == D("6.70")
        assert (found.status, found.errors) == ("matched", ())

    @pytest.mark.parametrize(
        ("call_class", "cause"),
        [(CallClass.FAILED_SPEND, PricingCause.FAILED_SPEND), (CallClass.CACHE_HIT, PricingCause.CACHE_HIT_SPEND)],
    )
    def test_rows_that_the_provider_never_billed_leave_with_their_spend(self, call_class, cause):
        """Rule 4.4: W0 includes a failure's spend; it leaves in proxy_pricing and is listed."""
        month = new_month()
        month.call(DAY, SONNET, {"output": MTOK})
        failed = month.call(DAY, SONNET, {"uncached_input": 25})
        failed.logged, failed.call_class = D("0.75"), call_class
        month.uses.pop()
        found = match(month)
        assert (found.logged, parts(found)) == (D("15.75"), {"proxy_pricing": D("-0.75")})
        (gap,) = found.pricing_gaps
        assert (gap.cause, gap.amount) == (cause, D("-0.75"))

    def test_volume_is_exact_where_its_average_price_has_no_end(self):
        """Rule 4.2: pbar is 33/7 USD a million; a million more is 4.714285714286, rounded once in the state."""
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 6 * MTOK, "output": MTOK})
        month.uses.append(dataclasses.replace(month.uses[0], tokens={"output": MTOK}))
        found = match(month)
        exact = Fraction(33, 7)
        assert parts(found) == {"volume": D("4.714285714286"), "mix": D("15") - D("4.714285714286")}
        assert abs(Fraction(found.components[Component.VOLUME]) - exact) < Fraction(1, 10**12)


class TestBypass:
    """Section 5."""

    def test_a_shared_cell_in_thirds_is_charged_to_the_last_digit(self):
        """Rule 5.2's shape: list 45.00 (30 own, 15 of the CI key), billed at 40.00: 13.333333333333 is the CI key's."""
        month = new_month()
        month.call(DAY, SONNET, {"output": 2 * MTOK})
        month.uses.append(other(CI_KEY, OWN_WORKSPACE, output=MTOK))
        month.rates.append((month.uses[0], "output", D("-5.00")))
        (cell,) = match(month).rate_cells
        assert cell.reported == D("40.00")
        shares = split_cell(cell, month.registry)
        assert shares == {
            (ACCOUNT, CI_KEY, OWN_WORKSPACE): D("13.333333333333"),
            None: D("26.666666666667"),  # the proxy's own keys
        }
        assert exact_sum(shares.values()) == cell.reported
