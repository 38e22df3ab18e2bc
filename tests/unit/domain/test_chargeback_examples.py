"""Worked examples of the rule book, section 6, from an invoice's parts to the lines, every figure of them.

Where the others are: 1.4, 1.4b and 1.6 in `test_money`, 2.2 and 6.1b by pools in `test_pools`, 2.4 in `test_close`, 2.5
in `test_restatement`, 6.2 to 6.4 by allocation alone in `test_allocation`, 6.5 in `test_journal`, 6.6 in `test_seats`,
11.7 in `tests/unit/pack/test_control_totals`.
"""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import (
    CENTERS,
    CENTRAL,
    POLICY,
    SUSPENSE,
    amounts,
    basis,
    billed,
    charged,
    header,
    inv_19,
    shown,
    totals,
)
from tests.reconciliations import reconciled
from tokengov_pipelines.domain.allocation import SharedMethod, SplitMethod
from tokengov_pipelines.domain.chargeback import BilledMonth, charge_month
from tokengov_pipelines.domain.close import close_blockers
from tokengov_pipelines.domain.close_facts import CloseFacts, invoice_facts
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import BilledParts, Pool, pools_by_month

D = Decimal
OCTOBER, NOVEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11)


def test_six_three_the_whole_month():
    """By hand, 928.08 in its order:

    direct 805 x 400/800 = 402.50, 251.5625 -> 251.56, 100.625 -> 100.63, 50.3125 -> 50.31
    non-token 10 by the same weights: 5.00, 3.125 -> 3.13, 1.25, 0.625 -> 0.62 (a tie of the last cent: lower code)
    gross 407.50, 251.56 + 90.00 + 3.13 = 344.69, 101.88, 50.93, central 30.00: in all 935.00
    credit -80 by gross: 34.8663, 29.4923, 8.7170, 4.3576, 2.5668: three cents are missing to the floors, for the last
    three; net 372.64, 315.20, 93.16, 46.57, 27.43: in all 855.00
    tax 72.71 by net: 31.690 -> 31.69, 26.805 -> 26.81, 7.923 -> 7.92, 3.960, 2.333
    """
    lines = charged(inv_19())
    found = shown(lines)
    expected = {
        "true_up": {"CC-100": "2.50", "CC-200": "1.56", "CC-300": "0.63", SUSPENSE: "0.31"},
        "unproxied": {"CC-200": "90.00", CENTRAL: "30.00"},
        "non_token": {"CC-100": "5.00", "CC-200": "3.13", "CC-300": "1.25", SUSPENSE: "0.62"},
        "credit": {"CC-100": "-34.86", "CC-200": "-29.49", "CC-300": "-8.72", SUSPENSE: "-4.36", CENTRAL: "-2.57"},
        "tax": {"CC-100": "31.69", "CC-200": "26.81", "CC-300": "7.92", SUSPENSE: "3.96", CENTRAL: "2.33"},
        "central": {CENTRAL: "0.37"},
    }
    for charge_type, by in expected.items():
        assert {code: amount for (code, kind), amount in found.items() if kind == charge_type} == by
    assert totals(lines) == {
        "CC-100": "404.33",
        "CC-200": "342.01",
        "CC-300": "101.08",
        SUSPENSE: "50.53",
        CENTRAL: "30.13",
    }
    assert exact_sum(line.amount for line in lines) == D("928.08")


def test_two_four_its_suspense_needs_a_waiver():
    """50.53 / 928.08 = 5.44 % of the invoice, over the limit of 2 %."""
    invoice = inv_19()
    found = reconciled("anthropic", "INV-19", OCTOBER, "800.00", unproxied="120", unexplained="8.08")
    facts = CloseFacts(
        month=OCTOBER,
        missing_days={},
        logged={"anthropic": D(800)},
        invoices=[invoice_facts(invoice, charged(invoice), SUSPENSE, found)],
        quarantined_calls=0,
        quarantined_spend=D(0),
        max_suspense_pct=D("2.0"),
        preparer="Ada",
        approver="Grace",
    )
    words = [each.what for each in close_blockers(facts, []) if each.code == "suspense_above_limit"]
    assert words == ["anthropic invoice INV-19: suspense holds 50.53 of 928.08 USD, 5.44 %; the limit is 2.0 %"]


def test_six_one_three_owners_of_a_third_of_a_cent_more():
    """Three owners of 0.335 pay a pool of 1.01 as 0.34/0.34/0.33."""
    owners = dict.fromkeys(("CC-100", "CC-200", "CC-300"), "0.335")
    lines = charged(billed(header("11.01"), basis({"CC-100": "10"}, unproxied=owners), unproxied="1.01"))
    assert [str(line.amount) for line in lines if line.charge_type == "unproxied"] == ["0.34", "0.34", "0.33"]


def test_six_one_the_true_up_is_shown_beside_what_was_logged():
    """805.00 - 800.00 = 5.00, 0.625 % of what was logged: it posts (`test_close` holds the limit)."""
    lines = charged(billed(header("805.00"), basis({"CC-100": "500", "CC-200": "300"})))
    pools_shown = {line.charge_type: line.pool_total for line in lines}
    assert pools_shown == {"direct": D("800.00"), "true_up": D("5.00"), "central": D("0.00")}
    assert totals(lines) == {"CC-100": "503.13", "CC-200": "301.87", CENTRAL: "0.00"}


def test_six_one_b_an_invoice_over_two_months_is_charged_in_each():
    """300.00 of 15 Oct to 14 Nov as 164.52 / 135.48, each month by its own rows; the two add up to the invoice."""
    period = InvoicePeriod.from_printed(dt.date(2026, 10, 15), dt.date(2026, 11, 14))
    of = header("300.00", period=period)
    months = period.split_over_months(of.total, {dt.date(2026, 10, 20): D(170), dt.date(2026, 11, 2): D(140)})
    parts = BilledParts(of.total, {OCTOBER: D("20.006"), NOVEMBER: D("4.998")}, {}, credits=D("-10.00"), tax=D("15.00"))
    use = {
        OCTOBER: basis({"CC-100": "100", "CC-200": "40"}, unproxied={"CC-200": "20.006"}),
        NOVEMBER: basis({"CC-100": "128"}, unproxied={"CC-300": "4.998"}),
    }
    lines = {
        month: charge_month(month, [BilledMonth(of, pools, use[month])], CENTERS, POLICY, 1)
        for month, pools in pools_by_month(parts, months).items()
    }
    october, november = (shown(lines[month]) for month in (OCTOBER, NOVEMBER))
    # October: 141.76 x 100/140 = 101.257 -> 101.26, 40.50; November: 128.24 all of CC-100
    assert (october["CC-100", "true_up"], october["CC-200", "true_up"]) == ("1.26", "0.50")
    assert (october["CC-200", "unproxied"], november["CC-300", "unproxied"]) == ("20.01", "4.99")
    assert november["CC-100", "true_up"] == "0.24"
    sums = {month: exact_sum(line.amount for line in of_month) for month, of_month in lines.items()}
    assert sums == {OCTOBER: D("164.52"), NOVEMBER: D("135.48")}
    by_type = {
        kind: [exact_sum(line.amount for line in lines[month] if line.charge_type == kind) for month in lines]
        for kind in ("credit", "tax")
    }
    assert by_type == {"credit": [D("-5.48"), D("-4.52")], "tax": [D("8.23"), D("6.77")]}


def test_six_two_unpriced_calls_bear_their_part():
    """60/48/0 logged against 60/48/6 repriced, of 114.00: the team with unpriced rows pays its 6.00."""
    by = basis({"CC-100": "60", "CC-200": "48", "CC-300": "0"}, {"CC-100": "60", "CC-200": "48", "CC-300": "6"})
    assert totals(charged(billed(header("114.00"), by))) == {
        "CC-100": "60.00",
        "CC-200": "48.00",
        "CC-300": "6.00",
        CENTRAL: "0.00",
    }


@pytest.mark.parametrize(
    ("logged", "tax", "expected"),
    [
        ("100", "15.00", ("55.00", "110.00")),  # net 50/100: tax 5.00/10.00, not 7.50 each
        ("30", "16.00", ("-20.00", "116.00")),  # net -20/100: tax 0/16.00
    ],
)
def test_six_three_a_directed_credit(logged, tax, expected):
    by = basis({"CC-100": logged, "CC-200": "100"}, directed=[("-50.00", {"CC-100": "1"})])
    total = str(D(logged) + 100 - 50 + D(tax))
    found = totals(charged(billed(header(total), by, credits="-50.00", tax=tax)))
    assert (found["CC-100"], found["CC-200"]) == expected


@pytest.mark.parametrize(
    ("method", "shares", "expected"),
    [
        ("proportional", None, ("77.78", "22.22")),
        ("even", None, ("33.34", "33.33", "33.33")),
        ("fixed", {"CC-100": "0.5", "CC-200": "0.3", "CC-300": "0.2"}, ("50.00", "30.00", "20.00")),
        ("weighted", {"CC-100": "7", "CC-200": "5", "CC-300": "3"}, ("46.67", "33.33", "20.00")),
    ],
)
def test_six_four_the_methods_of_a_shared_pool(method, shares, expected):
    """100.00 at 700/200/0; a charge of 0.00 is no line."""
    by = basis({"CC-100": "700", "CC-200": "200", "CC-300": "0"})
    shared = SharedMethod(SplitMethod(method), amounts(shares))
    policy = replace(POLICY, methods={Pool.NON_TOKEN: shared})
    lines = charged(billed(header("1000.00"), by, non_token="100.00"), policy=policy)
    assert tuple(str(line.amount) for line in lines if line.charge_type == "non_token") == expected
