"""An invoice over cost centers, to the cent, with nothing hidden (rules 6.1, 6.2, 6.9)."""

import datetime as dt
from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import (
    NOT_LOGGED,
    ChargebackLine,
    ChargebackPolicy,
    CostCenter,
    InvoiceHeader,
    LoggedSpend,
    charge_month,
    postings,
)
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod

OCTOBER = BillingMonth(2026, 10)
CODES = ("CC-100", "CC-200", "CC-300", "CC-900-SUSPENSE", "CC-990-CENTRAL")
CENTERS = {code: CostCenter(code, f"Name of {code}", "ACME-US") for code in CODES}
POLICY = ChargebackPolicy("CC-900-SUSPENSE", "CC-990-CENTRAL", "showback", "USD", "0" * 64)


def invoice(total, provider="anthropic", invoice_id="INV-19", currency="USD", period=None):
    whole_month = InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1))
    return InvoiceHeader(provider, invoice_id, Decimal(total), currency, period or whole_month)


def logged(cost_center, amount, rung=Rung.TEAM_METADATA, provider="anthropic", tokens=0):
    return LoggedSpend(provider, cost_center, rung, Decimal(amount), tokens)


def charge(invoices, spend, policy=POLICY):
    return charge_month(OCTOBER, invoices, spend, CENTERS, policy, 1)


def amounts(lines):
    return {(line.cost_center, line.charge_type): str(line.amount) for line in lines}


def test_cost_centers_pay_what_they_logged_and_central_holds_the_named_rest():
    spend = [
        logged("CC-100", "404.331234567891", tokens=100),
        logged("CC-200", "342.005000000000", tokens=50),
        logged("CC-900-SUSPENSE", "50.530000000000", Rung.SUSPENSE, tokens=7),
    ]
    lines, problems = charge([invoice("928.08")], spend)
    assert problems == ()
    # 796.866234567891 rounds once to 796.87; the odd cent goes to the largest fraction
    assert amounts(lines) == {
        ("CC-100", "direct"): "404.33",
        ("CC-200", "direct"): "342.01",
        ("CC-900-SUSPENSE", "direct"): "50.53",
        ("CC-990-CENTRAL", "central"): "131.21",
    }
    central = lines[-1]
    assert central.allocation_method == NOT_LOGGED
    assert (central.rung, central.direct_logged_exact, central.quantity_tokens) == ("", None, None)
    assert lines[0].direct_logged_exact == Decimal("404.331234567891")
    assert lines[0].allocation_base == Decimal("796.866234567891")
    assert lines[0].pool_total == Decimal("796.87")
    assert lines[0].quantity_tokens == 100


def test_the_columns_are_those_of_the_rule_book_in_its_order():
    assert ",".join(field.name for field in fields(ChargebackLine)) == (
        "period,posting_period,original_period,provider,invoice_id,version,mode,legal_entity,cost_center,"
        "cost_center_name,team_id,team_alias,charge_type,model,use_case,quantity_tokens,direct_logged_exact,amount,"
        "currency,fx_rate,amount_functional,allocation_method,allocation_weight,allocation_base,rung,pool_total,"
        "policy_sha256"
    )


def test_rungs_of_one_cost_center_are_one_line_that_names_them_in_ladder_order():
    spend = [logged("CC-100", "1", Rung.DIRECTORY_USER, tokens=1), logged("CC-100", "2", Rung.TEAM_METADATA, tokens=2)]
    lines, _ = charge([invoice("3.00")], spend)
    assert [(line.cost_center, line.rung, line.quantity_tokens, line.amount) for line in lines] == [
        ("CC-100", "team_metadata;directory_user", 3, Decimal("3.00")),
        ("CC-990-CENTRAL", "", None, Decimal("0.00")),
    ]


def test_an_invoice_without_logged_calls_goes_to_central_whole():
    lines, problems = charge([invoice("412.50", provider="google")], [])
    assert problems == ()
    assert amounts(lines) == {("CC-990-CENTRAL", "central"): "412.50"}


def test_calls_without_a_price_stay_visible_and_central_bears_the_invoice():
    lines, _ = charge([invoice("10.00")], [logged("CC-100", "0", tokens=5000)])
    assert amounts(lines) == {("CC-100", "direct"): "0.00", ("CC-990-CENTRAL", "central"): "10.00"}
    assert lines[0].quantity_tokens == 5000


def test_more_logged_than_billed_gives_central_the_difference_as_a_credit():
    lines, _ = charge([invoice("90.00")], [logged("CC-100", "100")])
    assert amounts(lines) == {("CC-100", "direct"): "100.00", ("CC-990-CENTRAL", "central"): "-10.00"}


def test_calls_attributed_to_central_keep_their_own_line():
    lines, _ = charge([invoice("5.00")], [logged("CC-990-CENTRAL", "2")])
    assert amounts(lines) == {("CC-990-CENTRAL", "direct"): "2.00", ("CC-990-CENTRAL", "central"): "3.00"}


def test_invoices_of_other_months_are_left_alone():
    september = InvoicePeriod(dt.date(2026, 9, 1), dt.date(2026, 10, 1))
    lines, problems = charge([invoice("1.00"), invoice("9.00", invoice_id="INV-18", period=september)], [])
    assert ([line.invoice_id for line in lines], problems) == (["INV-19"], ())


def test_postings_say_what_the_lines_published():
    lines, _ = charge([invoice("5.00")], [logged("CC-100", "2")])
    assert [(p.cost_center, p.charge_type, p.amount, p.currency) for p in postings(lines)] == [
        ("CC-100", "direct", Decimal("2.00"), "USD"),
        ("CC-990-CENTRAL", "central", Decimal("3.00"), "USD"),
    ]


CROSSING = InvoicePeriod(dt.date(2026, 10, 2), dt.date(2026, 11, 2))


@pytest.mark.parametrize(
    ("invoices", "spend", "code", "says"),
    [
        ([], [logged("CC-100", "7.5")], "missing_invoice", "tokengov invoice new anthropic 2026-10"),
        ([invoice("1.00"), invoice("2.00", invoice_id="INV-20")], [], "several_invoices", "INV-19, INV-20"),
        ([invoice("1.00", period=CROSSING)], [], "invoice_period", "2026-10-02 to 2026-11-01"),
        ([invoice("1.00", currency="EUR")], [], "invoice_currency", "a rate is never assumed"),
        ([invoice("1.005")], [], "invoice_total", "1.005"),
        ([invoice("1.00")], [logged("CC-100", "-1")], "negative_logged_spend", "quarantine"),
        ([invoice("1.00")], [logged("CC-777", "1")], "unknown_cost_center", "CC-777"),
        ([invoice("1.00")], [logged("CC-100", "1", Rung.SUSPENSE)], "suspense_elsewhere", "CC-900-SUSPENSE"),
    ],
)
def test_what_cannot_be_charged_honestly_is_a_problem_and_no_line(invoices, spend, code, says):
    lines, problems = charge(invoices, spend)
    assert lines == ()
    assert [problem.code for problem in problems] == [code]
    assert says in str(problems[0])
    assert problems[0].provider == "anthropic"


def test_one_providers_problem_does_not_hold_back_another():
    lines, problems = charge([invoice("4.00", provider="google")], [logged("CC-100", "1", provider="openai")])
    assert {line.provider for line in lines} == {"google"}
    assert [(problem.code, problem.provider) for problem in problems] == [("missing_invoice", "openai")]


def test_a_provider_that_logged_nothing_of_worth_needs_no_invoice():
    assert charge([], [logged("CC-100", "0", tokens=12)]) == ((), ())


def test_a_policy_that_names_an_unknown_central_cost_center_stops_the_charge():
    _, problems = charge([invoice("1.00")], [], replace(POLICY, central="CC-NEW"))
    assert [problem.code for problem in problems] == ["unknown_cost_center"]


cents = st.integers(-10_000_000, 10_000_000).map(lambda n: Decimal(n).scaleb(-2))
weights = st.one_of(st.just(Decimal(0)), st.integers(0, 10**16).map(lambda n: Decimal(n).scaleb(-12)))


@given(total=cents, spends=st.lists(st.tuples(st.sampled_from(CODES), weights), max_size=12))
def test_the_lines_always_add_up_to_the_invoice(total, spends):
    spend = [
        logged(code, amount, Rung.SUSPENSE if code == "CC-900-SUSPENSE" else Rung.TEAM_METADATA)
        for code, amount in spends
    ]
    lines, problems = charge([invoice(total)], spend)
    assert problems == ()
    assert sum(line.amount for line in lines) == total
    direct = [line for line in lines if line.charge_type == "direct"]
    assert all(abs(line.amount - line.direct_logged_exact) < Decimal("0.02") for line in direct)
    assert sum(line.direct_logged_exact for line in direct) == sum(amount for _, amount in spends)
    assert len([line for line in lines if line.charge_type == "central"]) == 1
    assert len({(line.cost_center, line.charge_type) for line in lines}) == len(lines)


@given(spends=st.lists(st.tuples(st.sampled_from(CODES[:3]), weights), min_size=1, max_size=8), data=st.data())
def test_the_order_of_the_rows_changes_nothing(spends, data):
    spend = [logged(code, amount) for code, amount in spends]
    shuffled = data.draw(st.permutations(spend))
    assert charge([invoice("100.00")], spend) == charge([invoice("100.00")], shuffled)
