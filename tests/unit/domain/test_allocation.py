"""Who pays each pool: by use, by owner, by a named method, and to the cent (Rules 6.2, 6.3, 6.4)."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.charges import CENTRAL, amounts, basis, pools
from tokengov_pipelines.domain.allocation import (
    AllocationBasis,
    AllocationRules,
    ChargeType,
    DirectedCredit,
    SharedMethod,
    SplitMethod,
    allocate_pools,
    spread,
)
from tokengov_pipelines.domain.money import MoneyError, ZeroWeights, exact_sum, from_cents, round_posting
from tokengov_pipelines.domain.pools import Pool

D = Decimal
RULES = AllocationRules(CENTRAL)
POOL_OF = {
    "direct": Pool.DIRECT,
    "true_up": Pool.DIRECT,
    "unproxied": Pool.UNPROXIED,
    "non_token": Pool.NON_TOKEN,
    "commitment": Pool.COMMITMENT,
    "seat": Pool.SEAT,
    "credit": Pool.CREDITS,
    "tax": Pool.TAX,
    "central": Pool.CENTRAL,
}


def split(of, by, rules=RULES):
    """Each charge type over its payers, as text; parts of zero are left out."""
    found = {}
    for each in allocate_pools(of, by, rules):
        for code, amount in each.parts.items():
            if amount:
                found.setdefault(str(each.charge_type), {})[code] = f"{amount:f}"
    return found


def with_method(pool, method, shares=None):
    return replace(RULES, methods={pool: SharedMethod(SplitMethod(method), amounts(shares))})


class TestDirect:
    """Rule 6.2."""

    def test_unpriced_calls_have_a_share_where_the_weights_are_repriced(self):
        """114.00 over 60/48/0 logged against 60/48/6 repriced.

        Repriced: 114 x 60/114, 48/114, 6/114. Logged: 114 x 60/108 = 63.333, 114 x 48/108 = 50.667.
        """
        by = basis({"CC-100": "60", "CC-200": "48", "CC-300": "0"}, {"CC-100": "60", "CC-200": "48", "CC-300": "6"})
        assert split(pools("114.00"), by) == {
            "direct": {"CC-100": "60.00", "CC-200": "48.00"},
            "true_up": {"CC-300": "6.00"},
        }
        by_log = replace(RULES, direct_weights="logged_proxy_spend")
        assert split(pools("114.00"), by, by_log) == {
            "direct": {"CC-100": "60.00", "CC-200": "48.00"},
            "true_up": {"CC-100": "3.33", "CC-200": "2.67"},
        }

    def test_what_was_logged_and_the_true_up_are_told_apart(self):
        """Rule 6.1: 805.00 billed and 800.00 logged is a true-up of 5.00."""
        direct, true_up, *_ = allocate_pools(pools("805.00"), basis({"CC-100": "500", "CC-200": "300"}), RULES)
        assert (direct.charge_type, direct.total) == (ChargeType.DIRECT, D("800.00"))
        assert (true_up.charge_type, true_up.total) == (ChargeType.TRUE_UP, D("5.00"))
        # 805 x 500/800 = 503.125 and 301.875: the odd cent goes to the lower code of equal fractions
        assert dict(true_up.parts) == {"CC-100": D("3.13"), "CC-200": D("1.87")}

    def test_the_logged_amounts_are_rounded_once_together(self):
        """3 x 0.335 is 1.005, posted as 1.01; each by itself would be 0.34."""
        direct, *_ = allocate_pools(pools("1.01"), basis(dict.fromkeys("abc", "0.335")), RULES)
        assert dict(direct.parts) == {"a": D("0.34"), "b": D("0.34"), "c": D("0.33")}

    @pytest.mark.parametrize("by", [basis({}), basis({"CC-100": "0"}), basis({"CC-100": "7.00"}, {"CC-100": "0"})])
    def test_without_any_weight_the_pool_is_centrals_and_never_all_alike(self, by):
        _, true_up, *_ = allocate_pools(pools("10.00"), by, RULES)
        assert (true_up.method, true_up.parts[CENTRAL]) == ("zero_direct_to", D("10.00"))
        assert true_up.parts.get("CC-100", D(0)) == -exact_sum(by.logged.values())

    def test_a_cost_center_without_weight_pays_nothing(self):
        by = basis({"CC-100": "5", "CC-200": "0"})
        assert split(pools("9.00"), by) == {"direct": {"CC-100": "5.00"}, "true_up": {"CC-100": "4.00"}}

    def test_a_negative_weight_is_refused(self):
        with pytest.raises(MoneyError, match="the weight of 'CC-200' is -1"):
            allocate_pools(pools("9.00"), basis({"CC-100": "5"}, {"CC-100": "5", "CC-200": "-1"}), RULES)


class TestUnproxied:
    """Rule 6.3: the owner pays, else central."""

    USE = basis({"CC-100": "1"})

    def test_owners_pay_what_their_keys_cost(self):
        by = replace(self.USE, unproxied=amounts(dict.fromkeys(("CC-100", "CC-200", "CC-300"), "0.335")))
        assert split(pools("1.00", unproxied="1.01"), by)["unproxied"] == {
            "CC-100": "0.34",
            "CC-200": "0.34",
            "CC-300": "0.33",
        }

    def test_what_nobody_owns_is_centrals(self):
        found = allocate_pools(pools("1.00", unproxied="6.20"), self.USE, RULES)
        (unproxied,) = [each for each in found if each.charge_type is ChargeType.UNPROXIED]
        assert (dict(unproxied.parts), unproxied.method) == ({CENTRAL: D("6.20")}, "no_weight_to_central")

    def test_a_key_that_was_corrected_below_zero_is_footed(self):
        """A weight below zero cannot split; 5.005 - 1.001 = 4.004 -> 4.00. Floors 5.00 and -1.01, a cent to the
        larger fraction: 0.009 of -1.001 against 0.005."""
        by = replace(self.USE, unproxied=amounts({"CC-100": "5.005", "CC-200": "-1.001"}))
        assert split(pools("1.00", unproxied="4.00"), by)["unproxied"] == {"CC-100": "5.00", "CC-200": "-1.00"}

    def test_a_key_below_zero_in_the_last_month_of_an_invoice_is_charged_too(self):
        """Rule 6.1b: the last month takes the residue of the pool, here 4.99 of 5.100 - 0.102 = 4.998."""
        by = replace(self.USE, unproxied=amounts({"CC-100": "5.100", "CC-200": "-0.102"}))
        found = allocate_pools(pools("1.00", unproxied="4.99"), by, RULES)
        assert exact_sum(each.total for each in found if each.charge_type is ChargeType.UNPROXIED) == D("4.99")


class TestSharedPools:
    """Rule 6.4: the four methods, and who bears a pool that has no weight."""

    DIRECT = amounts({"CC-100": "700", "CC-200": "200", "CC-300": "0"})

    @pytest.mark.parametrize(
        ("method", "shares", "parts"),
        [
            ("proportional", None, ("77.78", "22.22", "0.00")),
            ("even", None, ("33.34", "33.33", "33.33")),
            ("fixed", ("0.5", "0.3", "0.2"), ("50.00", "30.00", "20.00")),
            ("weighted", ("7", "5", "3"), ("46.67", "33.33", "20.00")),  # headcount
        ],
    )
    def test_the_worked_examples(self, method, shares, parts):
        codes = list(self.DIRECT)
        given_shares = amounts(dict(zip(codes, shares, strict=True))) if shares else {}
        found = spread(D("100.00"), SharedMethod(SplitMethod(method), given_shares), self.DIRECT)
        assert found == dict(zip(codes, map(D, parts), strict=True))
        rules = replace(RULES, methods={Pool.NON_TOKEN: SharedMethod(SplitMethod(method), given_shares)})
        of = pools("0.00", non_token="100.00")
        assert split(of, AllocationBasis(self.DIRECT, {}), rules)["non_token"] == {
            code: part for code, part in zip(codes, parts, strict=True) if part != "0.00"
        }

    @pytest.mark.parametrize("shares", [("0.5", "0.3", "0.19"), ("50", "30", "20"), ()])
    def test_fixed_shares_add_up_to_exactly_one(self, shares):
        fixed = with_method(Pool.COMMITMENT, "fixed", dict(zip(self.DIRECT, shares, strict=False)))
        of = pools("0.00", commitment="100.00")
        if not shares:
            assert split(of, basis({"CC-100": "1"}), fixed)["commitment"] == {CENTRAL: "100.00"}
            return
        with pytest.raises(MoneyError, match=r"the fixed shares add up to .*, not to 1\. Fix: correct them"):
            allocate_pools(of, basis({"CC-100": "1"}), fixed)

    def test_weights_that_are_all_zero_are_no_method(self):
        weighted = with_method(Pool.NON_TOKEN, "weighted", {"CC-100": "0"})
        with pytest.raises(ZeroWeights):
            allocate_pools(pools("0.00", non_token="1.00"), basis({"CC-100": "1"}), weighted)

    def test_a_commitment_follows_priority_tokens_and_else_direct_use(self):
        use = basis({"CC-100": "3", "CC-200": "1"})
        of = pools("4.00", commitment="50.00")
        assert split(of, use)["commitment"] == {"CC-100": "37.50", "CC-200": "12.50"}
        priority = replace(use, priority_tokens=amounts({"CC-200": "900000", "CC-300": "100000"}))
        assert split(of, priority)["commitment"] == {"CC-200": "45.00", "CC-300": "5.00"}

    def test_seats_are_whose_they_are_and_else_follow_direct_use(self):
        use = basis({"CC-100": "3", "CC-200": "1"})
        of = pools("4.00", seat="30.00")
        assert split(of, use)["seat"] == {"CC-100": "22.50", "CC-200": "7.50"}
        assigned = replace(use, seats=amounts({"CC-200": "14.52", "CC-300": "15.48"}))
        assert split(of, assigned)["seat"] == {"CC-200": "14.52", "CC-300": "15.48"}

    def test_without_any_use_every_shared_pool_is_centrals(self):
        of = pools("0.00", non_token="1.00", commitment="2.00", seat="3.00", credits="-0.50", tax="0.10")
        found = split(of, basis({}))
        assert {charge_type: by for charge_type, by in found.items() if charge_type != "true_up"} == {
            "non_token": {CENTRAL: "1.00"},
            "commitment": {CENTRAL: "2.00"},
            "seat": {CENTRAL: "3.00"},
            "credit": {CENTRAL: "-0.50"},
            "tax": {CENTRAL: "0.10"},
        }


class TestCreditsAndTax:
    """Rule 6.3."""

    def test_a_directed_credit_lowers_its_owners_tax(self):
        """100/100 direct, -50 for CC-100's workspace, tax 15.00 over 50:100, not 7.50 each."""
        by = basis({"CC-100": "100", "CC-200": "100"}, directed=[("-50.00", {"CC-100": "1"})])
        assert split(pools("200.00", credits="-50.00", tax="15.00"), by) == {
            "direct": {"CC-100": "100.00", "CC-200": "100.00"},
            "credit": {"CC-100": "-50.00"},
            "tax": {"CC-100": "5.00", "CC-200": "10.00"},
        }

    def test_a_credit_beyond_its_owners_charges_leaves_the_owner_without_tax(self):
        """30/100 direct, -50 for the first: net -20/100, tax 16.00 all to the second."""
        by = basis({"CC-100": "30", "CC-200": "100"}, directed=[("-50.00", {"CC-100": "1"})])
        assert split(pools("130.00", credits="-50.00", tax="16.00"), by) == {
            "direct": {"CC-100": "30.00", "CC-200": "100.00"},
            "credit": {"CC-100": "-50.00"},
            "tax": {"CC-200": "16.00"},
        }

    def test_the_rest_of_the_credits_goes_by_the_gross_charges_so_far(self):
        """-60.00, of which -20.00 names CC-300, which used nothing: -40.00 over gross 100 + 20 unproxied and 80."""
        by = basis(
            {"CC-100": "100", "CC-200": "80"}, unproxied={"CC-100": "20"}, directed=[("-20.00", {"CC-300": "1"})]
        )
        found = allocate_pools(pools("180.00", unproxied="20.00", credits="-60.00"), by, RULES)
        credits_found = [(each.method, dict(each.parts)) for each in found if each.charge_type is ChargeType.CREDIT]
        assert credits_found == [
            ("directed: named", {"CC-300": D("-20.00")}),
            ("gross_charges_so_far", {"CC-100": D("-24.00"), "CC-200": D("-16.00")}),
        ]

    def test_a_credit_over_an_older_invoice_goes_by_what_that_invoice_charged(self):
        """Rule 1.7: -10.00 by 108.23/54.11 -> 6.6668/3.3331."""
        by = basis({"CC-300": "1"}, directed=[("-10.00", {"CC-100": "108.23", "CC-200": "54.11"})])
        assert split(pools("1.00", credits="-10.00"), by)["credit"] == {"CC-100": "-6.67", "CC-200": "-3.33"}

    def test_tax_is_not_on_what_central_bears_as_unexplained_but_on_its_unproxied(self):
        """Net 90.00 of CC-100 and 10.00 of keys that nobody owns; 50.00 unexplained weighs nothing."""
        of = pools("90.00", unproxied="10.00", tax="10.00", central="50.00")
        found = split(of, basis({"CC-100": "90"}))
        assert found["tax"] == {"CC-100": "9.00", CENTRAL: "1.00"}
        assert found["central"] == {CENTRAL: "50.00"}

    def test_tax_on_nothing_but_credits_is_centrals(self):
        of = pools("-5.00", credits="-1.00", tax="0.30")
        assert split(of, basis({"CC-100": "1"}))["tax"] == {CENTRAL: "0.30"}


CODES = ["CC-100", "CC-200", "CC-300", CENTRAL]
cents = st.integers(-(10**9), 10**9).map(from_cents)
weight = st.one_of(st.just(D(0)), st.integers(0, 10**16).map(lambda n: from_cents(n, 12)))
weights = st.dictionaries(st.sampled_from(CODES), weight)
methods = st.sampled_from(
    [
        SharedMethod(),
        SharedMethod(SplitMethod.EVEN),
        SharedMethod(SplitMethod.FIXED, {"CC-100": D("0.999"), "CC-300": D("0.001")}),
        SharedMethod(SplitMethod.WEIGHTED, {"CC-100": D(7), "CC-200": D(5)}),
    ]
)
bases = st.builds(
    AllocationBasis,
    repriced=weights,
    logged=weights,
    unproxied=weights,
    priority_tokens=weights,
    seats=weights,
    directed_credits=st.lists(st.builds(DirectedCredit, cents, weights, st.just("a workspace")), max_size=2),
)
rules = st.builds(
    AllocationRules,
    st.just(CENTRAL),
    st.sampled_from(["repriced_proxy_spend", "logged_proxy_spend"]),
    st.dictionaries(st.sampled_from([Pool.NON_TOKEN, Pool.COMMITMENT]), methods),
)
any_pools = st.fixed_dictionaries(dict.fromkeys(Pool, cents))


@given(any_pools, bases, rules)
def test_the_parts_always_add_up_to_the_pools_whatever_they_are_split_by(of, by, policy):
    found = allocate_pools(of, by, policy)
    billed = dict.fromkeys(Pool, D(0))
    for each in found:
        billed[POOL_OF[each.charge_type]] = exact_sum([billed[POOL_OF[each.charge_type]], each.total])
        assert all(amount == round_posting(amount) for amount in each.parts.values())
    assert billed == of
    assert exact_sum(each.total for each in found if each.charge_type is ChargeType.DIRECT) == round_posting(
        exact_sum(by.logged.values())
    )


@given(any_pools, st.sampled_from(CODES), st.integers(1, 10**14))
def test_one_cost_center_pays_everything_that_is_not_centrals(of, code, used):
    by = AllocationBasis({code: from_cents(used, 12)}, {code: from_cents(used, 12)})
    paid = {}
    for each in allocate_pools(of, by, RULES):
        for payer, amount in each.parts.items():
            paid[payer] = exact_sum([paid.get(payer, D(0)), amount])
    assert set(paid) <= {code, CENTRAL}
    assert exact_sum(paid.values()) == exact_sum(of.values())


@given(any_pools, bases, rules)
def test_a_credit_note_mirrors_the_charge_to_the_cent(of, by, policy):
    """All pools but credits and tax: these two are weighed by charges above zero, which a credit note has none of."""
    of = {**of, Pool.CREDITS: D(0), Pool.TAX: D(0)}
    by = replace(by, directed_credits=())

    def paid(sign):
        """By pool and payer: what was logged is the same either way, and the true-up takes the difference."""
        found = {}
        for each in allocate_pools({pool: sign * amount for pool, amount in of.items()}, by, policy):
            for code, amount in each.parts.items():
                key = POOL_OF[each.charge_type], code
                found[key] = exact_sum([found.get(key, D(0)), amount])
        return {key: amount for key, amount in found.items() if amount}

    assert paid(-1) == {key: -amount for key, amount in paid(1).items()}
