"""What keeps a provider from being charged: named with its fix, and nothing is guessed (Rules 1.6, 6.1)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTERS, CENTRAL, OCTOBER, POLICY, SUSPENSE, header
from tokengov_pipelines.domain.allocation import SharedMethod, SplitMethod
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_problems import LoggedSpend, charge_problems
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.pools import Pool

D = Decimal


def logged(cost_center, amount, rung=Rung.TEAM_METADATA, provider="anthropic", uncovered="0"):
    return LoggedSpend(provider, cost_center, rung, D(amount), 0, D(uncovered))


def problems(invoices, spend, policy=POLICY, **more):
    return charge_problems(OCTOBER, invoices, spend, CENTERS, policy, **more)


def codes(*given, **more):
    return [problem.code for problem in problems(*given, **more)]


FIRST_HALF = InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 10, 16))
SECOND_HALF = InvoicePeriod(dt.date(2026, 10, 16), dt.date(2026, 11, 1))
CROSSING = InvoicePeriod(dt.date(2026, 10, 15), dt.date(2026, 11, 15))


@pytest.mark.parametrize(
    ("invoices", "spend", "code", "says"),
    [
        ([], [logged("CC-100", "7.5")], "missing_invoice", "logged 7.500000000000 USD in 2026-10 and has no invoice"),
        (
            [header("1.00", period=SECOND_HALF)],
            [logged("CC-100", "7.5", uncovered="2.5")],
            "uncovered_days",
            "logged 2.500000000000 USD in 2026-10 and has no invoice that bills those days",
        ),
        (
            [header("1.00"), header("2.00", invoice_id="INV-20", period=CROSSING)],
            [],
            "several_invoices",
            "two invoices over the same days of 2026-10 (INV-19 and INV-20)",
        ),
        ([header("1.00", currency="EUR")], [], "missing_fx_rate", "a rate is never assumed. Fix: add EUR to USD"),
        ([header("1.00", currency="eur")], [], "invoice_currency", "is not an ISO 4217 currency code"),
        ([header("1.005")], [], "invoice_total", "has the total 1.005, which is not a whole number of USD minor units"),
        ([header("1.00")], [logged("CC-100", "-1")], "negative_logged_spend", "belongs in quarantine"),
        ([header("1.00")], [logged("CC-777", "1")], "unknown_cost_center", "would charge CC-777 in 2026-10"),
        ([header("1.00")], [logged("CC-100", "1", Rung.SUSPENSE)], "suspense_elsewhere", f"names {SUSPENSE}"),
    ],
)
def test_what_cannot_be_charged_honestly_is_named_with_its_fix(invoices, spend, code, says):
    (problem,) = problems(invoices, spend)
    assert (problem.code, problem.provider) == (code, "anthropic")
    assert says in str(problem)
    assert ". Fix: " in str(problem)


def test_a_clean_month_has_no_problem():
    assert problems([header("1.00")], [logged("CC-100", "1"), logged(SUSPENSE, "1", Rung.SUSPENSE)]) == ()


def test_the_words_for_a_missing_invoice_name_both_ways_out():
    (problem,) = problems([], [logged("CC-100", "7.5")])
    assert problem.fix == (
        "tokengov invoice new anthropic 2026-10, or approve an accrual: tokengov accruals approve 2026-10 anthropic"
    )


def test_invoices_that_follow_each_other_are_no_overlap():
    halves = [header("1.00", period=FIRST_HALF), header("2.00", invoice_id="INV-20", period=SECOND_HALF)]
    assert problems(halves, [logged("CC-100", "1")]) == ()


def test_an_invoice_of_other_months_is_not_this_months():
    september = InvoicePeriod(dt.date(2026, 9, 1), dt.date(2026, 10, 1))
    assert problems([header("1.005", period=september)], []) == ()
    assert codes([header("1.00", period=september)], [logged("CC-100", "1")]) == ["missing_invoice"]


def test_a_rate_of_the_invoice_is_all_that_another_currency_needs():
    assert codes([header("1.00", currency="EUR")], [], rates={"INV-19": D("1.0837")}) == []
    assert codes([header("1.00", currency="EUR")], [], rates={"INV-20": D("1.0837")}) == ["missing_fx_rate"]
    assert codes([header("100.5", currency="JPY")], [], rates={"INV-19": D("0.0067")}) == ["invoice_total"]


def test_owners_of_keys_have_to_be_cost_centers_of_the_month():
    assert codes([header("1.00")], [], payers=[("anthropic", "CC-100"), ("openai", "CC-777")]) == []
    assert codes([header("1.00")], [], payers=[("anthropic", "CC-777")]) == ["unknown_cost_center"]


def test_shares_of_a_shared_pool_are_of_cost_centers_of_the_month():
    """Rule 6.4: a method that names a code which is not there is told before anything is charged."""
    shares = {"CC-100": D("0.5"), "CC-777": D("0.5")}
    fixed = replace(POLICY, methods={Pool.NON_TOKEN: SharedMethod(SplitMethod.FIXED, shares)})
    (problem,) = problems([header("1.00")], [], fixed)
    assert problem.code == "unknown_cost_center"
    assert "CC-777" in str(problem)


def test_a_policy_that_names_an_unknown_central_cost_center_stops_the_charge():
    assert codes([header("1.00")], [], replace(POLICY, central="CC-NEW")) == ["unknown_cost_center"]
    assert CENTRAL in CENTERS


def test_a_provider_that_logged_nothing_of_worth_needs_no_invoice():
    assert problems([], [logged("CC-100", "0")]) == ()


def test_one_providers_problem_is_not_anothers():
    found = problems([header("4.00", provider="google")], [logged("CC-100", "1", provider="openai")])
    assert [(problem.code, problem.provider) for problem in found] == [("missing_invoice", "openai")]


def test_everything_is_told_at_once_by_provider():
    invoices = [header("1.005", provider="google"), header("1.00", currency="EUR")]
    spend = [logged("CC-777", "-1"), logged("CC-100", "2", provider="openai")]
    assert codes(invoices, spend) == [
        "missing_fx_rate",
        "negative_logged_spend",
        "unknown_cost_center",
        "invoice_total",
        "missing_invoice",
    ]
