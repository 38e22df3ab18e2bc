"""A closed month never changes: what it would be charged now, less what was published, is posted later (Rule 2.5)."""

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.charges import CENTERS, CENTRAL, CODES, OCTOBER, POLICY, basis, billed, charged, header, totals
from tokengov_pipelines.domain.chargeback import charge_month
from tokengov_pipelines.domain.money import exact_sum, from_cents
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.restatement import Adjustment, CorrectionReason, Restatement, gross_of, restate

D = Decimal
AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
LATE = str(CorrectionReason.LATE_OR_CORRECTED_USAGE)
INVOICE = ("anthropic", "INV-19", "USD")
OTHER = ("openai", "OAI-1", "USD")


def charges(by_center, invoice=INVOICE):
    return {(invoice, code): D(amount) for code, amount in by_center.items()}


def restated(published, current, minimum="0.00", reasons=None):
    known = {invoice: LATE for invoice, _ in {**published, **current}}
    return restate(
        SEPTEMBER,
        published=published,
        current=current,
        reasons=known | (reasons or {}),
        ref="2026-09/v1",
        min_adjustment=D(minimum),
    )


def by_center(adjustments):
    return {each.cost_center: str(each.amount) for each in adjustments}


class TestTheWorkedExample:
    """162.34 billed, logged 100/50, published 108.23/54.11; 12.34 of CC-100 arrives late."""

    def lines(self, first):
        """162.34 x 100/150 = 108.2267, 54.1133; with 112.34: 162.34 x 112.34/162.34 = 112.34, 50.00."""
        return charged(billed(header("162.34"), basis({"CC-100": first, "CC-200": "50"})))

    def test_the_pools_stay_and_the_weights_are_corrected(self):
        assert totals(self.lines("100")) == {"CC-100": "108.23", "CC-200": "54.11", CENTRAL: "0.00"}
        assert totals(self.lines("112.34")) == {"CC-100": "112.34", "CC-200": "50.00", CENTRAL: "0.00"}

    def test_the_cost_moves_and_central_is_untouched(self):
        published, current = (charges(totals(self.lines(first))) for first in ("100", "112.34"))
        found = restated(published, current, minimum="1.00")
        assert by_center(found.posted) == {"CC-100": "4.11", "CC-200": "-4.11"}
        assert (found.gross, exact_sum(each.amount for each in found.posted)) == (D("4.11"), D(0))
        assert found.listed == ()
        assert {(each.reason, each.ref, each.original_month) for each in found.posted} == {
            (LATE, "2026-09/v1", SEPTEMBER)
        }

    def test_what_was_posted_already_is_not_posted_again(self):
        current = charges(totals(self.lines("112.34")))
        assert restated(current, current) == Restatement(SEPTEMBER, ())

    def test_a_correction_is_a_charge_of_the_month_that_posts_it(self):
        published, current = (charges(totals(self.lines(first))) for first in ("100", "112.34"))
        corrections = [each.charge() for each in restated(published, current).posted]
        one, two = charge_month(OCTOBER, [], CENTERS, POLICY, 1, corrections)
        assert (one.cost_center, one.amount, one.original_period) == ("CC-100", D("4.11"), SEPTEMBER)
        assert (two.cost_center, two.amount, two.posting_period) == ("CC-200", D("-4.11"), OCTOBER)


@pytest.mark.parametrize(
    ("moved", "minimum", "is_posted"),
    [
        ("1.00", "1.00", True),  # the limit itself is posted
        ("0.99", "1.00", False),
        ("0.01", "0.01", True),
        ("0.01", "0.00", True),
    ],
)
def test_below_the_smallest_amount_a_correction_is_listed_and_not_posted(moved, minimum, is_posted):
    current = charges({"CC-100": D("10.00") + D(moved), "CC-200": D("10.00") - D(moved)})
    found = restated(charges({"CC-100": "10.00", "CC-200": "10.00"}), current, minimum)
    assert (len(found.posted), len(found.listed)) == ((2, 0) if is_posted else (0, 2))


def test_the_size_is_that_of_the_invoice_and_not_of_a_line():
    """0.60 + 0.60 above zero is 1.20; of the other invoice 0.40 is too little."""
    published = charges({"CC-100": "1.00", "CC-200": "1.00", "CC-300": "3.00"}) | charges({"CC-100": "1.00"}, OTHER)
    current = charges({"CC-100": "1.60", "CC-200": "1.60", "CC-300": "1.80"}) | charges({"CC-100": "1.40"}, OTHER)
    found = restated(published, current, "1.00")
    assert by_center(found.posted) == {"CC-100": "0.60", "CC-200": "0.60", "CC-300": "-1.20"}
    assert [(each.invoice_id, each.amount) for each in found.listed] == [("OAI-1", D("0.40"))]
    assert found.gross == gross_of(found.posted) == D("1.20")


def test_an_invoice_that_only_falls_is_posted_by_what_it_falls():
    found = restated(charges({"CC-100": "8.00"}), charges({"CC-100": "2.00"}), "1.00")
    assert (by_center(found.posted), found.gross) == ({"CC-100": "-6.00"}, D(0))


def test_an_invoice_that_came_or_went_is_corrected_whole():
    """An accrual of 90.00 is taken back, its invoice of 95.00 comes."""
    accrual = ("openai", "ACCRUAL-OPENAI-2026-09", "USD")
    reasons = dict.fromkeys((accrual, OTHER), str(CorrectionReason.ACCRUAL_TRUE_UP))
    found = restated(
        charges({"CC-100": "60.00", "CC-200": "30.00"}, accrual),
        charges({"CC-100": "63.33", "CC-200": "31.67"}, OTHER),
        "1.00",
        reasons,
    )
    assert [(each.invoice_id, each.cost_center, str(each.amount)) for each in found.posted] == [
        ("ACCRUAL-OPENAI-2026-09", "CC-100", "-60.00"),
        ("ACCRUAL-OPENAI-2026-09", "CC-200", "-30.00"),
        ("OAI-1", "CC-100", "63.33"),
        ("OAI-1", "CC-200", "31.67"),
    ]
    assert {each.reason for each in found.posted} == {"accrual_true_up"}
    assert exact_sum(each.amount for each in found.posted) == D("5.00")


def test_currencies_are_never_added():
    euros = ("anthropic", "INV-19", "EUR")
    found = restated(charges({"CC-100": "5.00"}), charges({"CC-100": "5.00"}, euros), "1.00")
    assert sorted((each.currency, each.amount) for each in found.posted) == [("EUR", D("5.00")), ("USD", D("-5.00"))]


def test_a_correction_in_another_currency_keeps_its_rate():
    adjustment = Adjustment(SEPTEMBER, "anthropic", "INV-19", "CC-100", D("4.11"), "EUR", LATE, "2026-09/v1")
    charge = adjustment.charge(D("1.0837"))
    assert (charge.fx_rate, charge.amount, charge.currency, charge.ref) == (D("1.0837"), D("4.11"), "EUR", "2026-09/v1")


def test_a_correction_of_an_invoice_in_euros_posts_dollars():
    """Rules 1.6, 2.5: 4.11 x 1.0837 = 4.454007 -> 4.45, and -4.45 of the other side; in all 0.00."""
    pair = [
        Adjustment(SEPTEMBER, "anthropic", "INV-19", code, D(amount), "EUR", LATE, "2026-09/v1").charge(D("1.0837"))
        for code, amount in (("CC-100", "4.11"), ("CC-200", "-4.11"))
    ]
    one, two = charge_month(OCTOBER, [], CENTERS, POLICY, 1, pair)
    assert (one.amount_functional, two.amount_functional) == (D("4.45"), D("-4.45"))


weights = st.dictionaries(st.sampled_from(CODES), st.integers(0, 10**7).map(lambda n: from_cents(n, 4)))


@settings(max_examples=60)
@given(
    total=st.integers(-(10**7), 10**7).map(from_cents),
    tax=st.integers(0, 10**5).map(from_cents),
    log=st.lists(weights, min_size=1, max_size=6),
    minimum=st.sampled_from(["0.00", "1.00"]),
)
def test_corrections_replayed_end_where_a_computation_from_scratch_ends(total, tax, log, minimum):
    """A closed month, then a sequence of corrected weights, each restated from everything published so far.

    Below the smallest amount nothing is posted: then the books are behind by less than it, and never by more.
    """

    def computed(logged):
        lines = charged(billed(header(total), basis(logged), tax=str(tax)))
        return {code: amount for code, amount in charges(totals(lines)).items() if amount}

    published = defaultdict(D, computed(log[0]))
    for logged in log[1:]:
        found = restated(dict(published), computed(logged), minimum)
        assert exact_sum(each.amount for each in [*found.posted, *found.listed]) == 0  # the invoice did not move
        for each in found.posted:
            published[INVOICE, each.cost_center] = exact_sum([published[INVOICE, each.cost_center], each.amount])
        assert exact_sum(published.values()) == total
    left = restated(dict(published), computed(log[-1]))
    assert left.gross == 0 or left.gross < D(minimum)
    if minimum == "0.00":
        assert {key: amount for key, amount in published.items() if amount} == computed(log[-1])
