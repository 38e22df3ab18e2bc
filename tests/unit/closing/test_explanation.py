"""A charge is taken apart down to the cells of use, and every node is the sum of its parts."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.closing.small_month import FIRST, OCTOBER, PROVIDER, SECOND, USED, closed, small_month
from tokengov_pipelines.closing.explained_pools import pool_node
from tokengov_pipelines.closing.explained_weights import WeightNodes, calls_node, logged_calls
from tokengov_pipelines.closing.explanation import (
    ExplanationError,
    Node,
    explained,
    largest,
    require_sealed_charges,
    sum_node,
)
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.dispute import DisputeMove
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.policy import Policy

INVOICE = "ANT-2026-10"


def tree(cost_center, inputs=None, **options):
    return explained(closed(inputs), cost_center, pool=pool_node, weight=WeightNodes(), **options)


def under(node, *labels):
    """The node below by the beginnings of labels, children and basis alike."""
    for label in labels:
        node = next(each for each in (*node.children, *node.basis) if each.label.startswith(label))
    return node


def amounts(node):
    return {each.label: each.amount for each in node.children}


def every(node):
    yield node
    for each in (*node.children, *node.basis):
        yield from every(each)


def test_the_total_is_the_sum_of_its_invoices_and_their_charges():
    root = tree("CC-200")
    assert (root.label, root.amount, root.unit) == ("CC-200 Search, 2026-10 v1", Decimal("11.83"), "USD")
    invoice = under(root, f"anthropic {INVOICE}")
    assert invoice.note == "the month's part of the invoice is 16.20 of 16.20 USD"
    assert amounts(invoice) == {
        "direct": Decimal("10.50"),
        "true_up": Decimal("0.50"),
        "unproxied": Decimal("1.20"),
        "non_token": Decimal("0.21"),
        "credit": Decimal("-1.46"),
        "tax": Decimal("0.88"),
    }


def test_a_charge_is_its_exact_share_and_the_rounding():
    credit = under(tree("CC-200"), f"anthropic {INVOICE}", "credit")
    assert credit.note == "gross_charges_so_far: -2.00 x 12.41 / 17.00"
    assert amounts(credit) == {"exact share": Decimal("-1.46")}
    assert amounts(under(credit, "pool", "credits of")) == {"line 4 Service credit": Decimal("-2.00")}
    assert amounts(under(credit, "weight: its charges so far")) == {
        "direct": Decimal("10.50"),
        "true_up": Decimal("0.50"),
        "unproxied": Decimal("1.20"),
        "non_token": Decimal("0.21"),
    }
    tax = under(tree("CC-100"), f"anthropic {INVOICE}", "tax")
    assert tax.note == "net_charges_floored_at_zero: 1.20 x 4.05 / 15.00"
    assert amounts(tax) == {"exact share": Decimal("0.324"), "rounding": Decimal("-0.004")}


def test_the_direct_pool_is_told_by_the_waterfall_and_by_what_is_left_of_the_invoice():
    true_up = under(tree("CC-200"), f"anthropic {INVOICE}", "true_up")
    assert amounts(true_up) == {
        "exact share": Decimal("10.999998548387"),
        "less what is charged as logged": Decimal("-10.50"),
        "rounding": Decimal("0.000001451613"),
    }
    pool = under(true_up, "pool: direct")
    assert amounts(pool) == {
        "logged by the proxy (W0)": Decimal("14.999995"),
        "proxy_pricing": Decimal("0.50"),
        "rounding of the other pools": Decimal("0.000005"),
    }
    assert amounts(under(pool, "what is left of the invoice")) == {
        "the month's part": Decimal("16.20"),
        "less unproxied": Decimal("-1.20"),
        "less non_token": Decimal("-0.30"),
        "less credits": Decimal("2.00"),
        "less tax": Decimal("-1.20"),
    }


def test_a_weight_goes_down_to_day_model_and_tier_with_tokens_and_prices():
    invoice = under(tree("CC-200"), f"anthropic {INVOICE}")
    (logged,) = under(invoice, "direct", "weight").children
    assert (logged.label, logged.amount) == ("2026-10-20 claude-x standard", Decimal("10.499995"))
    assert logged.note == "2,000,000 uncached_input, 333,333 output"
    (repriced,) = under(invoice, "true_up", "weight").children
    assert (repriced.amount, repriced.note) == (
        Decimal("10.999995"),
        "2,000,000 uncached_input at 3, 333,333 output at 15",
    )
    again = under(invoice, "non_token", "weight")
    assert (again.children, again.note) == ((), "its cells are those under true_up")
    assert under(tree("CC-100"), f"anthropic {INVOICE}", "non_token", "weight").children != ()


def test_keys_outside_the_proxy_and_searches_are_named():
    invoice = under(tree("CC-200"), f"anthropic {INVOICE}")
    (key,) = under(invoice, "unproxied", "pool").children
    assert (key.amount, key.note) == (Decimal("1.20"), "list price 1.200000000000; owner CC-200")
    assert amounts(under(invoice, "unproxied", "weight")) == {"2026-10-20": Decimal("1.20")}
    assert amounts(under(invoice, "non_token", "pool")) == {"cost report: web_search": Decimal("0.30")}


def test_the_central_cost_center_bears_what_nobody_causes():
    central = under(tree("CC-990-CENTRAL"), f"anthropic {INVOICE}", "central")
    assert (central.amount, central.note) == (Decimal("0.00"), "central: nobody else bears it")


def test_of_a_long_list_the_largest_are_shown_and_the_others_summed():
    used = [(dt.date(2026, 10, day), "CC-100", "team-shop", 1000 * day, 0, f"0.{day:02}") for day in range(1, 29)]
    weight = under(tree("CC-100", small_month(used=used), top=2), f"anthropic {INVOICE}", "direct", "weight")
    assert amounts(weight) == {
        "2026-10-28 claude-x standard": Decimal("0.28"),
        "2026-10-27 claude-x standard": Decimal("0.27"),
        "and 26 more": Decimal("3.51"),
    }
    assert [each.label for each in largest([Node("a", Decimal(1), "USD")], 1, "USD")] == ["a"]


def test_an_invoice_in_another_currency_is_converted_and_footed():
    root = tree("CC-200", small_month(currency="EUR"))
    invoice = under(root, f"anthropic {INVOICE}")
    assert root.unit == "USD"
    direct = under(invoice, "direct")
    assert direct.note.endswith("EUR at 1.25")
    assert under(direct, "converted").amount == under(direct, "converted").basis[0].amount * Decimal("1.25")
    assert under(direct, "converted", "direct").unit == "EUR"
    whole = exact_sum(tree(code, small_month(currency="EUR")).amount for code in ("CC-100", "CC-200", "CC-990-CENTRAL"))
    assert whole == Decimal("20.25")


def test_of_an_invoice_over_two_months_the_pools_are_the_months_part():
    inputs = small_month(first_day=dt.date(2026, 9, 20))
    tax = under(tree("CC-200", inputs), f"anthropic {INVOICE}", "tax")
    lines = under(tax, "pool: tax of the invoice")
    assert lines.children[0].amount == Decimal("1.20")
    assert [each.label for each in lines.children[1:]] in ([], ["of other months or at another rate, and rounding"])


def test_a_pool_with_shares_of_the_policy_says_so():
    policy = Policy.model_validate(
        {
            "chargeback": {
                "shared_pools": {"non_token": {"method": "fixed", "shares": {"CC-100": "0.5", "CC-200": "0.5"}}}
            }
        }
    )
    charge = under(tree("CC-100", small_month(policy=policy)), f"anthropic {INVOICE}", "non_token")
    assert (charge.amount, charge.note) == (Decimal("0.15"), "fixed: 0.30 x 0.5 / 1.0")
    assert under(charge, "weight: fixed share of policy.yaml").amount == Decimal("0.5")


def test_disputes_and_corrections_are_leaves():
    move = DisputeMove("DSP-1", OCTOBER, PROVIDER, INVOICE, "direct", "CC-200", "CC-100", Decimal("2.00"), "USD")
    charge = PriorPeriodCharge(
        BillingMonth(2026, 9), PROVIDER, "ANT-2026-09", "CC-200", Decimal("-3.25"), "USD", "provider_report", "v1"
    )
    inputs = small_month(facts={"disputes": (move,), "corrections": (charge,)})
    root = tree("CC-200", inputs)
    direct = under(root, f"anthropic {INVOICE}", "direct")
    assert (direct.amount, amounts(direct)["dispute DSP-1"]) == (Decimal("8.50"), Decimal("-2.00"))
    assert under(tree("CC-100", inputs), f"anthropic {INVOICE}", "direct", "dispute").note == "moved from CC-200"
    assert under(tree("CC-100", inputs), f"anthropic {INVOICE}", "direct", "largest").amount == Decimal("4.50")
    correction = under(root, "anthropic ANT-2026-09", "prior_period of 2026-09")
    assert amounts(correction) == {"provider_report v1": Decimal("-3.25")}


def test_calls_are_shown_under_what_the_proxy_logged():
    month = closed()
    days = InvoicePeriod(OCTOBER.first_day, OCTOBER.next().first_day)
    logged = logged_calls(month, PROVIDER, "CC-100", days)
    assert logged == (Decimal("4.50"), 10)
    calls = calls_node(logged, [("2026-10-05 07:40:07Z msg_1", Decimal("3.00"))], "USD")
    assert amounts(calls) == {"2026-10-05 07:40:07Z msg_1": Decimal("3.00"), "and 9 more": Decimal("1.50")}
    root = explained(month, "CC-100", pool=pool_node, weight=WeightNodes({PROVIDER: calls}))
    assert under(root, f"anthropic {INVOICE}", "direct", "weight", "the largest calls") is calls


def test_a_sum_that_is_none_is_refused():
    parts = (Node("a", Decimal("1.00"), "USD"), Node("b", Decimal("2.00"), "USD"))
    assert [each.label for each in Node("sum", Decimal("3.00"), "USD", parts).leaves()] == ["a", "b"]
    with pytest.raises(ExplanationError, match=r"sum is 3.01 USD and its parts add up to 3\.00"):
        Node("sum", Decimal("3.01"), "USD", parts)
    assert sum_node("sum", Decimal("3.01"), "USD", parts).children[-1] == Node("rounding", Decimal("0.01"), "USD")


def test_who_is_charged_nothing_is_told_with_those_who_are():
    with pytest.raises(
        ExplanationError, match=r"charges CC-7 nothing\. Fix: name one of CC-100, CC-200, CC-990-CENTRAL"
    ):
        tree("CC-7")
    with pytest.raises(ExplanationError, match="charges CC-100 nothing of openai"):
        tree("CC-100", provider="openai")


def test_charges_that_the_inputs_do_not_make_are_not_explained(sealed):
    require_sealed_charges(closed(), sealed)
    with pytest.raises(ExplanationError, match=r"chargeback\.csv says -0\.54 for .* run tokengov verify"):
        require_sealed_charges(closed(small_month(lab_owner="CC-100")), sealed)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([FIRST, SECOND]),
            st.sampled_from(["CC-100", "CC-200", "CC-900-SUSPENSE"]),
            st.integers(0, 3_000_000),
            st.integers(0, 400_000),
            st.decimals(0, 20, places=12),
        ),
        max_size=5,
    ),
    st.sampled_from(["USD", "EUR"]),
)
def test_whatever_was_used_every_node_adds_up_and_the_roots_are_the_invoice(rows, currency):
    used = [(day, code, "team-shop", one, two, f"{logged:f}") for day, code, one, two, logged in rows]
    inputs = small_month(used=used or USED, currency=currency)
    month = closed(inputs)
    codes = {line.cost_center for line in month.charges.lines}
    roots = [explained(month, code, pool=pool_node, weight=WeightNodes(), top=1) for code in sorted(codes)]
    assert exact_sum(each.amount for each in roots) == (Decimal("16.20") if currency == "USD" else Decimal("20.25"))
    for root in roots:
        for node in every(root):
            assert exact_sum(each.amount for each in node.leaves()) == node.amount
