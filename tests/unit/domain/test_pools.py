"""What of an invoice is billed for which reason: pools that add up, also over several months (Rules 2.2, 6.1, 6.1b)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.money import MoneyError, allocate, exact_sum, from_cents, round_posting
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import BilledParts, Pool, invoice_pools, pools_by_month

D = Decimal
OCTOBER, NOVEMBER, DECEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11), BillingMonth(2026, 12)


def parts(total, unproxied=None, non_token=None, **others):
    own = [{month: D(amount) for month, amount in (by or {}).items()} for by in (unproxied, non_token)]
    return BilledParts(D(total), *own, **{name: D(amount) for name, amount in others.items()})


def shown(pools):
    return {pool.value: f"{amount:f}" for pool, amount in pools.items() if amount}


def test_a_pool_is_rounded_once_and_not_by_its_owners():
    """Rule 6.1: three owners of 0.335 make a pool of 1.005 -> 1.01, split as 0.34/0.34/0.33 and not as 1.02."""
    found = invoice_pools(parts("10.00", {OCTOBER: "1.005"}, {OCTOBER: "0.001"}))
    assert shown(found) == {"direct": "8.99", "unproxied": "1.01"}
    assert allocate(D("1.01"), dict.fromkeys("abc", D("0.335"))) == {"a": D("0.34"), "b": D("0.34"), "c": D("0.33")}


def test_direct_is_what_no_other_pool_takes():
    """Rule 6.1: rounding + unexplained = -0.000003 + 0.25 is rounded once, to 0.25 of central."""
    found = invoice_pools(
        parts(
            "181.53",
            {OCTOBER: "12.80"},
            {OCTOBER: "10.004"},
            commitment="50.00",
            seats="3.00",
            credits="-20.00",
            tax="13.43",
            central="0.249997",
        )
    )
    # 181.53 - 12.80 - 10.00 - 50.00 - 3.00 + 20.00 - 13.43 - 0.25 = 112.05
    assert list(found) == list(Pool)
    assert shown(found) == {
        "direct": "112.05",
        "unproxied": "12.80",
        "non_token": "10.00",
        "commitment": "50.00",
        "seat": "3.00",
        "credits": "-20.00",
        "tax": "13.43",
        "central": "0.25",
    }


def test_credits_beyond_the_rest_make_direct_negative():
    assert shown(invoice_pools(parts("-5.00", {OCTOBER: "20.00"}, credits="-1.00"))) == {
        "direct": "-24.00",
        "unproxied": "20.00",
        "credits": "-1.00",
    }


def test_a_currency_without_cents_has_whole_pools():
    found = invoice_pools(parts("1000", {OCTOBER: "100.5"}, central="-0.4"), scale=0)
    assert shown(found) == {"direct": "899", "unproxied": "101"}


def months_of_the_example():
    """Rule 2.2: 300.00 of 15 Oct to 14 Nov, of which the report has 170 in October and 140 in November."""
    period = InvoicePeriod.from_printed(dt.date(2026, 10, 15), dt.date(2026, 11, 14))
    daily = {dt.date(2026, 10, 20): D(100), dt.date(2026, 10, 31): D(70), dt.date(2026, 11, 1): D(140)}
    return period.split_over_months(D("300.00"), daily)


EXAMPLE = parts(
    "300.00", {OCTOBER: "20.006", NOVEMBER: "4.998"}, credits="-10.00", tax="15.00"
)  # unproxied 25.004 -> a pool of 25.00


def test_an_invoice_over_two_months_is_split_as_the_rule_book_says():
    """Rules 2.2 and 6.1b: every figure of the worked example."""
    months = months_of_the_example()
    assert months == {OCTOBER: D("164.52"), NOVEMBER: D("135.48")}
    found = pools_by_month(EXAMPLE, months)
    assert {str(month): shown(pools) for month, pools in found.items()} == {
        "2026-10": {"direct": "141.76", "unproxied": "20.01", "credits": "-5.48", "tax": "8.23"},
        "2026-11": {"direct": "128.24", "unproxied": "4.99", "credits": "-4.52", "tax": "6.77"},
    }


def test_the_last_month_takes_what_the_others_left_of_every_pool():
    """A quarter, by hand. Shares 0.25, 0.5, 0.25 of 400.00.

    Commitment 0.03: 0.0075 -> 0.01, 0.015 -> 0.02, and 0.00 left. Central 0.01: 0.0025 -> 0.00, 0.005 -> 0.01, 0.00.
    Non-token 1.004 + 1.004 + 1.004 = 3.012 -> 3.01: 1.00, 1.00 and 1.01 left. Direct: 100.00 - 0.01 - 1.00 = 98.99,
    200.00 - 0.02 - 1.00 - 0.01 = 198.97, 100.00 - 1.01 = 98.99.
    """
    months = {OCTOBER: D("100.00"), NOVEMBER: D("200.00"), DECEMBER: D("100.00")}
    given = parts("400.00", None, dict.fromkeys(months, "1.004"), commitment="0.03", central="0.01")
    found = pools_by_month(given, months)
    assert list(found) == [OCTOBER, NOVEMBER, DECEMBER]
    assert [shown(pools) for pools in found.values()] == [
        {"direct": "98.99", "non_token": "1.00", "commitment": "0.01"},
        {"direct": "198.97", "non_token": "1.00", "commitment": "0.02", "central": "0.01"},
        {"direct": "98.99", "non_token": "1.01"},
    ]


def test_months_are_in_calendar_order_whatever_order_they_come_in():
    months = months_of_the_example()
    assert pools_by_month(EXAMPLE, dict(reversed(months.items()))) == pools_by_month(EXAMPLE, months)


def test_an_invoice_of_nothing_in_all_is_shared_by_its_months_alike():
    """Credits eat the whole use: months of 0.00 have no share of the total, and take half of each pool."""
    given = parts("0.00", credits="-10.01", tax="0.01")
    found = pools_by_month(given, {OCTOBER: D("0.00"), NOVEMBER: D("0.00")})
    # -5.005 -> -5.01; 0.005 -> 0.01; direct takes the other side
    assert [shown(pools) for pools in found.values()] == [
        {"direct": "5.00", "credits": "-5.01", "tax": "0.01"},
        {"direct": "5.00", "credits": "-5.00"},
    ]


def test_months_that_are_not_the_invoice_are_refused():
    with pytest.raises(MoneyError, match=r"the months add up to 299\.99, the invoice to 300\.00"):
        pools_by_month(EXAMPLE, {OCTOBER: D("164.52"), NOVEMBER: D("135.47")})


MONTHS = [OCTOBER, NOVEMBER, DECEMBER]
cents = st.integers(-(10**9), 10**9).map(from_cents)
exact = st.decimals(-(10**6), 10**6, places=12, allow_nan=False)
by_month = st.dictionaries(st.sampled_from(MONTHS), exact)


@st.composite
def invoices(draw):
    """Any parts, and the months that their total was split over."""
    total = draw(cents)
    given = BilledParts(
        total,
        draw(by_month),
        draw(by_month),
        **{name: draw(cents) for name in ("commitment", "seats", "credits", "tax")},
        central=draw(exact),
    )
    weights = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=3).filter(any))
    months = dict(zip(map(str, MONTHS), weights, strict=False))
    return given, {BillingMonth.parse(month): part for month, part in allocate(total, months).items()}


@given(invoices())
def test_the_pools_always_add_up_to_the_invoice_and_to_every_month_of_it(invoice):
    given_parts, months = invoice
    whole = invoice_pools(given_parts)
    found = pools_by_month(given_parts, months)
    assert exact_sum(whole.values()) == given_parts.total
    assert {month: exact_sum(pools.values()) for month, pools in found.items()} == months
    for pool in Pool:
        assert exact_sum(pools[pool] for pools in found.values()) == whole[pool]
        assert all(pools[pool] == round_posting(pools[pool]) for pools in found.values())
    if len(months) == 1:
        assert list(found.values()) == [whole]


@given(invoices())
def test_a_negative_invoice_mirrors_the_positive_one_to_the_cent(invoice):
    given_parts, months = invoice

    def negated(by):
        return {key: -amount for key, amount in by.items()}

    mirrored = replace(
        given_parts,
        unproxied=negated(given_parts.unproxied),
        non_token=negated(given_parts.non_token),
        **{name: -getattr(given_parts, name) for name in ("total", "commitment", "seats", "credits", "tax", "central")},
    )
    assert invoice_pools(mirrored) == negated(invoice_pools(given_parts))
    assert pools_by_month(mirrored, negated(months)) == {
        month: negated(pools) for month, pools in pools_by_month(given_parts, months).items()
    }
