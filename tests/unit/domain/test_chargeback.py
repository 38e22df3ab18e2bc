"""Charge lines at finance grain: the columns of rule 6.9, to the cent, in both currencies (Rules 6.1, 6.9, 1.6)."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.charges import (
    CENTERS,
    CENTRAL,
    CODES,
    OCTOBER,
    POLICY,
    SUSPENSE,
    basis,
    billed,
    charged,
    header,
    shown,
    totals,
)
from tokengov_pipelines.domain.allocation import AllocationBasis
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import ChargebackLine, Posting, PriorPeriodCharge, charge_month, postings
from tokengov_pipelines.domain.money import exact_product, exact_sum, from_cents, round_posting
from tokengov_pipelines.domain.period import BillingMonth

D = Decimal
SEPTEMBER = BillingMonth(2026, 9)


def test_the_columns_are_those_of_the_rule_book_in_its_order():
    assert ",".join(field.name for field in fields(ChargebackLine)) == (
        "period,posting_period,original_period,provider,invoice_id,version,mode,legal_entity,cost_center,"
        "cost_center_name,team_id,team_alias,charge_type,model,use_case,quantity_tokens,direct_logged_exact,amount,"
        "currency,fx_rate,amount_functional,allocation_method,allocation_weight,allocation_base,rung,pool_total,"
        "policy_sha256"
    )


def test_a_direct_line_says_what_was_logged_and_the_true_up_what_it_was_split_by():
    by = basis({"CC-100": "404.331234567891", "CC-200": "342.005"}, {"CC-100": "410", "CC-200": "340"})
    lines = charged(billed(header("750.01"), by, tokens={"CC-100": 100}, central="0.01"))
    direct, true_up, *_ = lines
    assert [(line.cost_center, line.charge_type) for line in lines] == [
        ("CC-100", "direct"),
        ("CC-100", "true_up"),
        ("CC-200", "direct"),
        ("CC-200", "true_up"),
        (CENTRAL, "central"),
    ]
    # 746.336234567891 -> 746.34: 404.33 + 342.01; 750.00 x 410/750 = 410.00
    assert (direct.amount, direct.direct_logged_exact) == (D("404.33"), D("404.331234567891"))
    assert (direct.allocation_weight, direct.allocation_base) == (D("404.331234567891"), D("746.336234567891"))
    assert (direct.quantity_tokens, direct.rung, direct.pool_total) == (100, "team_metadata", D("746.34"))
    assert (true_up.amount, true_up.allocation_weight, true_up.allocation_base) == (D("5.67"), D(410), D(750))
    assert (true_up.allocation_method, true_up.pool_total) == ("repriced_proxy_spend", D("3.66"))
    assert (true_up.quantity_tokens, true_up.direct_logged_exact, true_up.rung) == (None, None, "")
    assert {(line.team_id, line.model, line.use_case) for line in lines} == {(None, None, None)}
    assert {(line.period, line.posting_period, line.original_period) for line in lines} == {(OCTOBER,) * 3}
    assert {(line.legal_entity, line.mode, line.version) for line in lines} == {("ACME-US", "showback", 1)}


def test_rungs_of_one_cost_center_are_one_line_that_names_them_in_ladder_order():
    rungs = {"CC-100": frozenset({Rung.DIRECTORY_USER, Rung.TEAM_METADATA})}
    direct, central = charged(billed(header("3.00"), basis({"CC-100": "3"}), tokens={"CC-100": 3}, rungs=rungs))
    assert (direct.rung, direct.quantity_tokens, direct.amount) == ("team_metadata;directory_user", 3, D("3.00"))
    assert (central.charge_type, central.rung, central.amount) == ("central", "", D("0.00"))


def test_charges_of_nothing_are_no_lines_but_logged_use_and_central_are():
    lines = charged(billed(header("5.00"), basis({"CC-100": "5", "CC-200": "0"}), tokens={"CC-200": 5000}))
    assert shown(lines) == {
        ("CC-100", "direct"): "5.00",
        ("CC-200", "direct"): "0.00",  # calls without a price stay visible
        (CENTRAL, "central"): "0.00",
    }
    assert lines[1].quantity_tokens == 5000


def test_an_invoice_without_logged_calls_goes_to_central():
    found = charged(billed(header("412.50", provider="google"), basis({}), tax="12.50"))
    assert shown(found) == {
        (CENTRAL, "true_up"): "400.00",
        (CENTRAL, "tax"): "12.50",
        (CENTRAL, "central"): "0.00",
    }


def test_more_logged_than_billed_is_a_true_up_below_zero():
    assert shown(charged(billed(header("90.00"), basis({"CC-100": "60", "CC-200": "40"})))) == {
        ("CC-100", "direct"): "60.00",
        ("CC-100", "true_up"): "-6.00",
        ("CC-200", "direct"): "40.00",
        ("CC-200", "true_up"): "-4.00",
        (CENTRAL, "central"): "0.00",
    }


def test_two_credits_of_one_cost_center_are_one_line_in_the_words_of_the_larger():
    by = basis({"CC-100": "100"}, directed=[("-3.00", {"CC-100": "1"})])
    lines = charged(billed(header("90.00"), by, credits="-10.00"))
    (credit,) = [line for line in lines if line.charge_type == "credit"]
    assert (credit.amount, credit.allocation_method, credit.pool_total) == (
        D("-10.00"),
        "gross_charges_so_far",
        D("-10.00"),
    )


def test_recoverable_tax_is_no_charge():
    """Rule 1.7: 120.00 payable, 20.00 of it a claim on the tax office."""
    lines = charged(billed(header("120.00", recoverable_tax=D("20.00")), basis({"CC-100": "100"})))
    assert totals(lines) == {"CC-100": "100.00", CENTRAL: "0.00"}


def test_every_invoice_is_charged_by_itself_in_the_order_of_the_file():
    first = billed(header("10.00", provider="openai", invoice_id="OAI"), basis({"CC-100": "1"}))
    second = billed(header("6.00", invoice_id="INV-20"), basis({"CC-200": "1"}))
    third = billed(header("4.00"), basis({"CC-100": "1"}))
    lines = charged(first, second, third)
    assert [(line.provider, line.invoice_id) for line in lines if line.charge_type == "true_up"] == [
        ("anthropic", "INV-19"),
        ("anthropic", "INV-20"),
        ("openai", "OAI"),
    ]
    assert lines == charged(third, first, second)


def test_an_invoice_in_another_currency_is_allocated_in_it_and_converted_once():
    """Rule 1.6: EUR 1234.56 x 1.0837 = 1337.892672 -> 1337.89; 50/30/20 is 668.94/401.37/267.58.

    In euros 617.28/370.37/246.91; central's 0.00 is converted too.
    """
    invoice = billed(
        header("1234.56", currency="EUR"),
        basis({"CC-100": "0", "CC-200": "0", "CC-300": "0"}, {"CC-100": "50", "CC-200": "30", "CC-300": "20"}),
        fx_rate="1.0837",
    )
    lines = [line for line in charged(invoice) if line.amount]
    assert [(str(line.amount), str(line.amount_functional)) for line in lines] == [
        ("617.28", "668.94"),
        ("370.37", "401.37"),
        ("246.91", "267.58"),
    ]
    assert {(line.currency, line.fx_rate) for line in lines} == {("EUR", D("1.0837"))}


def test_yen_have_no_cents_and_dollars_have():
    by = basis({"CC-100": "1", "CC-200": "1"})
    lines = charged(billed(header("1001", currency="JPY"), by, fx_rate="0.0067", central="0"))
    # 1001 x 0.0067 = 6.7067 -> 6.71
    assert totals(lines) == {"CC-100": "501", "CC-200": "500", CENTRAL: "0"}
    assert exact_sum(line.amount_functional for line in lines) == D("6.71")


def test_postings_say_what_the_lines_published_and_for_which_month():
    late = PriorPeriodCharge(SEPTEMBER, "anthropic", "INV-18", "CC-100", D("4.11"), "USD", "late_rows")
    lines = charge_month(OCTOBER, [billed(header("2.00"), basis({"CC-100": "2"}))], CENTERS, POLICY, 1, [late])
    assert postings(lines) == (
        Posting("anthropic", "INV-18", "CC-100", "prior_period", D("4.11"), "USD", "2026-09"),
        Posting("anthropic", "INV-19", "CC-100", "direct", D("2.00"), "USD"),
        Posting("anthropic", "INV-19", CENTRAL, "central", D("0.00"), "USD"),
    )


class TestCorrections:
    """Rule 2.5: a closed month is corrected in the open one, by lines that say which month they are of."""

    LATE = PriorPeriodCharge(SEPTEMBER, "anthropic", "INV-18", "CC-100", D("4.11"), "USD", "late_or_corrected_usage")

    def corrected(self, *corrections):
        return charge_month(OCTOBER, [], CENTERS, POLICY, 1, corrections)

    def test_a_correction_is_a_line_of_its_month_and_invoice(self):
        other = replace(self.LATE, cost_center="CC-200", amount=D("-4.11"))
        one, two = self.corrected(self.LATE, other)
        assert (one.period, one.posting_period, one.original_period) == (OCTOBER, OCTOBER, SEPTEMBER)
        assert (one.charge_type, one.amount, one.amount_functional) == ("prior_period", D("4.11"), D("4.11"))
        assert (one.allocation_method, one.pool_total, two.pool_total) == ("late_or_corrected_usage", D(0), D(0))
        assert (one.allocation_weight, one.rung, one.quantity_tokens) == (None, "", None)

    def test_several_reasons_of_one_cost_center_are_one_line(self):
        dispute = replace(self.LATE, reason="dispute", amount=D("-1.00"))
        (line,) = self.corrected(self.LATE, dispute)
        assert (line.amount, line.allocation_method) == (D("3.11"), "dispute; late_or_corrected_usage")

    def test_what_adds_up_to_nothing_is_no_line(self):
        assert self.corrected(self.LATE, replace(self.LATE, reason="dispute", amount=D("-4.11"))) == ()

    def test_months_and_invoices_stand_apart(self):
        august = replace(self.LATE, original_month=BillingMonth(2026, 8))
        memo = replace(self.LATE, invoice_id="CM-1", amount=D("-2.00"))
        lines = self.corrected(self.LATE, memo, august)
        assert [(line.invoice_id, str(line.original_period), line.pool_total) for line in lines] == [
            ("CM-1", "2026-09", D("-2.00")),
            ("INV-18", "2026-08", D("4.11")),
            ("INV-18", "2026-09", D("4.11")),
        ]

    def test_corrections_of_an_invoice_in_another_currency_are_converted_together(self):
        """EUR 3 x 0.50 at 1.0837 = 1.62555 -> 1.63: 0.54185 each, and the odd cent to the lowest code."""
        codes = ("CC-100", "CC-200", "CC-300")
        euros = [
            replace(self.LATE, cost_center=code, amount=D("0.50"), currency="EUR", fx_rate=D("1.0837"))
            for code in codes
        ]
        lines = self.corrected(*euros)
        assert [str(line.amount_functional) for line in lines] == ["0.55", "0.54", "0.54"]
        assert {(line.amount, line.currency, line.fx_rate) for line in lines} == {(D("0.50"), "EUR", D("1.0837"))}

    def test_an_invoice_that_was_entered_in_the_wrong_currency_is_corrected_in_both(self):
        """Rule 1.6: 5.00 of each currency are two charges, never 0.00 of one."""
        wrong = replace(self.LATE, amount=D("-5.00"))
        right = replace(self.LATE, amount=D("5.00"), currency="EUR", fx_rate=D("1.0837"))
        lines = self.corrected(wrong, right)
        assert sorted((line.currency, str(line.amount), str(line.amount_functional)) for line in lines) == [
            ("EUR", "5.00", "5.42"),
            ("USD", "-5.00", "-5.00"),
        ]


cents = st.integers(-10_000_000, 10_000_000).map(from_cents)
weights = st.dictionaries(st.sampled_from(CODES), st.integers(0, 10**16).map(lambda n: from_cents(n, 12)))


@settings(max_examples=60)
@given(
    total=cents,
    others=st.fixed_dictionaries(dict.fromkeys(("unproxied", "non_token", "credits", "tax", "central"), cents)),
    by=st.builds(AllocationBasis, repriced=weights, logged=weights, unproxied=weights),
    rate=st.sampled_from(["1", "1.0837", "0.0123"]),
)
def test_the_lines_always_add_up_to_the_invoice_in_both_currencies(total, others, by, rate):
    currency = "USD" if rate == "1" else "EUR"
    lines = charged(billed(header(total, currency=currency), by, fx_rate=rate, **others))
    assert exact_sum(line.amount for line in lines) == total
    converted = round_posting(exact_product(total, D(rate)))
    assert exact_sum(line.amount_functional for line in lines) == converted
    assert len({(line.cost_center, line.charge_type) for line in lines}) == len(lines)
    direct = [line for line in lines if line.charge_type == "direct"]
    assert exact_sum(line.direct_logged_exact for line in direct) == exact_sum(by.logged.values())
    assert all(abs(line.amount - line.direct_logged_exact) < D("0.02") for line in direct)
    (central,) = [line for line in lines if line.charge_type == "central"]
    assert central.amount == others["central"]


def test_a_line_of_suspense_is_charged_to_its_cost_center():
    (line, *_) = charged(billed(header("5.00"), basis({SUSPENSE: "5"})))
    assert (line.cost_center, line.rung, line.amount) == (SUSPENSE, "suspense", D("5.00"))


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_rows_changes_nothing(order):
    logged = {"CC-300": "0.335", "CC-100": "0.335", "CC-200": "0.335"}
    lines = charged(billed(header("100.00"), basis(dict(list(logged.items())[::order]))))
    assert totals(lines) == {"CC-100": "33.34", "CC-200": "33.33", "CC-300": "33.33", CENTRAL: "0.00"}
