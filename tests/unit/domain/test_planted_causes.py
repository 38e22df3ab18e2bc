"""Planted causes come back to the dollar: alone, in pairs, all at once, at random; the check notices if not."""

import dataclasses
import datetime as dt
import itertools
import random
import sys
from decimal import Decimal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.unit.domain.planted import (
    CAUSES,
    CI_WORKSPACE,
    DAY,
    LONG,
    OCTOBER,
    OWN_KEY,
    PROVIDER,
    SECOND_OWN_KEY,
    SONNET,
    STRAY_KEY,
    TOKEN_TYPES,
    ZERO,
    Month,
    Use,
    clean_month,
    match,
    misses,
    new_month,
    planted_month,
    quantities,
    some_prices,
    total,
)
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass import FindingKind
from tokengov_pipelines.domain.bypass_findings import findings
from tokengov_pipelines.domain.bypass_keys import OwnerSources, UnproxiedRules, unproxied_keys
from tokengov_pipelines.domain.legs import Legs, LoggedUsage, ProviderUsage, ReportedCost
from tokengov_pipelines.domain.match_result import Component, PricingCause
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation

D = Decimal
MONTHS = settings(max_examples=120, deadline=None, derandomize=True)
FEW_MONTHS = settings(max_examples=25, deadline=None, derandomize=True)
ANY_SEED = st.integers(0, 10**9)
ANY_CAUSES = st.sets(st.sampled_from(sorted(CAUSES)))
ANY_SHAPE = st.fixed_dictionaries(
    {"days": st.integers(1, 6), "models": st.integers(1, 5), "calls": st.integers(36, 60)}
)


class TestRecovery:
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_clean_month_has_no_gap_at_all(self, number):
        month = clean_month(number)
        found = match(month)
        assert misses(found, dict.fromkeys(Component, ZERO)) == []
        assert (found.gap, found.status, found.errors, found.pricing_gaps) == (0, "matched", (), ())
        assert found.logged > 0

    @pytest.mark.parametrize("cause", CAUSES)
    def test_each_cause_alone(self, cause):
        month = planted_month(11, [cause])
        found = match(month)
        assert misses(found, month.expected()) == []
        assert found.gap != 0
        assert found.errors == ()

    @pytest.mark.parametrize("pair", list(itertools.combinations(CAUSES, 2)), ids="-".join)
    def test_every_pair_of_causes(self, pair):
        month = planted_month(12, pair)
        assert misses(match(month), month.expected()) == []

    def test_all_causes_at_once(self):
        month = planted_month(13, CAUSES, calls=40)
        expected = month.expected()
        assert misses(match(month), expected) == []
        assert all(expected.values()), "every bucket holds dollars"
        assert len(set(expected.values())) == len(Component), "and no two the same"

    @seed(20261101)
    @MONTHS
    @given(ANY_SEED, ANY_CAUSES, ANY_SHAPE)
    def test_any_mix_in_any_month(self, number, causes, shape):
        """Random prices that change within the month, context bands, tiers, days, models, keys."""
        month = planted_month(number, causes, **shape)
        found = match(month)
        assert misses(found, month.expected()) == []
        assert found.errors == ()


class TestQuantity:
    """Volume and mix: what the two buckets hold when only one of them may."""

    def test_a_misclassified_cache_read_is_mix_alone(self):
        month = planted_month(21, ["misclassified_cache"])
        found = match(month)
        assert found.components[Component.VOLUME] == 0
        assert found.components[Component.MIX] == month.planted["quantity"] != 0

    def test_a_lost_row_of_the_average_mix_is_volume_alone(self):
        month = Month(some_prices(random.Random(22), 1, change_on=dt.date(2026, 10, 20)))
        for _ in range(4):
            month.call(dt.date(2026, 10, 9), "model-0", {"uncached_input": 3_000_001, "output": 70_003})
        lost = month.rows.pop()
        month.plant("quantity", month.value(lost))
        found = match(month)
        assert misses(found, month.expected()) == []
        assert found.components[Component.VOLUME] == month.value(lost)
        assert found.components[Component.MIX] == 0

    @pytest.mark.parametrize("cause", ["lost_row", "lost_row_at_a_stale_price", "duplicated_row"])
    def test_volume_and_mix_add_up_to_the_rows_at_book_price(self, cause):
        month = planted_month(23, [cause])
        found = match(month)
        quantity = total([found.components[Component.VOLUME], found.components[Component.MIX]])
        assert quantity == month.planted["quantity"]
        assert total(cell.quantity_amount for cell in found.cells) == quantity
        assert total([found.evidence.lost_usd, found.evidence.surplus_usd]) == quantity


class TestTheEvidenceIsTheAmount:
    """What stands under a component adds up to it, whatever was planted."""

    @FEW_MONTHS
    @given(ANY_SEED, ANY_CAUSES)
    def test_cells_gaps_and_lines_foot_to_their_components(self, number, causes):
        found = match(planted_month(number, causes, calls=40))
        parts = found.components
        assert total(gap.amount for gap in found.pricing_gaps) == parts[Component.PROXY_PRICING]
        assert total(cell.proxy_amount for cell in found.cells) == found.states["W2"]
        assert total(cell.quantity_amount for cell in found.cells) == total(
            [parts[Component.VOLUME], parts[Component.MIX]]
        )
        assert total(cell.tier_amount for cell in found.cells) == parts[Component.TIER_DISCOUNT]
        assert total(cell.unproxied_amount for cell in found.cells) == parts[Component.UNPROXIED]
        assert total(cell.variance for cell in found.rate_cells) == parts[Component.PROVIDER_RATE]
        assert total(line.amount for line in found.line_differences) == total(
            [parts[Component.ROUNDING], parts[Component.UNEXPLAINED]]
        )
        assert found.evidence.other_list_usd == parts[Component.UNPROXIED]
        assert found.evidence.own_list_usd == found.states["W4"]

    @pytest.mark.parametrize(
        ("cause", "named"),
        [
            ("stale_price", PricingCause.PRICE_DIFFERS),
            ("margin", PricingCause.PRICE_DIFFERS),
            ("unpriced", PricingCause.UNPRICED),
            ("failed_spend", PricingCause.FAILED_SPEND),
            ("cache_hit_spend", PricingCause.CACHE_HIT_SPEND),
            ("subscription_call", PricingCause.SUBSCRIPTION),
        ],
    )
    def test_a_pricing_gap_is_named_by_its_cause(self, cause, named):
        month = planted_month(31, [cause])
        (gap,) = match(month).pricing_gaps
        assert (gap.cause, gap.amount) == (named, month.planted["proxy_pricing"])

    def test_spend_without_tokens_is_a_gap_of_its_own(self):
        month = clean_month(32)
        like = month.rows[0]
        month.rows.append(
            dataclasses.replace(like, model=like.model, tier="flex", tokens={}, logged=D("0.01"))
        )  # a tier of its own, so that no priced call shares its group
        month.plant("proxy_pricing", D("-0.01"))
        found = match(month)
        assert misses(found, month.expected()) == []
        (gap,) = found.pricing_gaps
        assert (gap.cause, gap.amount, gap.tokens) == (PricingCause.NO_TOKENS, D("-0.01"), 0)
        assert found.errors == ()

    def test_a_row_logged_too_high_and_one_too_low_never_cancel(self):
        """Rule 4.8: items of proxy_pricing are gross."""
        month = clean_month(33)
        high = month.rows[0]
        month.rows.append(dataclasses.replace(high, tokens=dict(high.tokens), logged=high.logged - 7))
        month.uses.append(dataclasses.replace(month.uses[0]))
        high.logged += 7
        legs = month.legs()
        legs.logged[-1] = dataclasses.replace(legs.logged[-1], cost_center="CC-200")  # another cost center's call
        found = match(month, legs=legs)
        assert found.components[Component.PROXY_PRICING] == 0
        assert sorted(gap.amount for gap in found.pricing_gaps) == [D("-7"), D("7")]


class TestTheCheckNotices:
    """A waterfall that put one cause's dollars into another's bucket would not pass."""

    MONTH = planted_month(41, CAUSES, calls=40)
    FOUND = match(MONTH)

    @pytest.mark.parametrize(
        ("one", "other"), list(itertools.combinations(Component, 2)), ids=lambda component: component.value
    )
    def test_two_buckets_swapped(self, one, other):
        parts = dict(self.FOUND.components)
        assert parts[one] != parts[other]
        parts[one], parts[other] = parts[other], parts[one]
        swapped = dataclasses.replace(self.FOUND, components=parts)
        reported = misses(swapped, self.MONTH.expected())
        assert [words.split(":")[0] for words in reported] == [one.value, other.value]

    @pytest.mark.parametrize("component", Component)
    def test_the_last_digit_of_one_bucket(self, component):
        parts = dict(self.FOUND.components)
        parts[component] += D("1e-12")
        reported = misses(dataclasses.replace(self.FOUND, components=parts), self.MONTH.expected())
        assert reported[0].startswith(f"{component.value}: planted ")
        assert reported[1].startswith("the components add up to ")

    def test_the_right_buckets_pass(self):
        assert misses(self.FOUND, self.MONTH.expected()) == []


class TestTheGrainDoesNotMatter:
    """The same usage in more rows, in another order, on more keys of the same kind: the same components."""

    @FEW_MONTHS
    @given(ANY_SEED, ANY_CAUSES, st.randoms(use_true_random=False))
    def test_in_any_order(self, number, causes, order):
        month = planted_month(number, causes, calls=40)
        legs = month.legs()
        mixed = dataclasses.replace(
            legs,
            logged=_shuffled(legs.logged, order),
            usage=_shuffled(legs.usage, order),
            costs=_shuffled(legs.costs, order),
        )
        assert _answer(match(month, legs=mixed)) == _answer(match(month))

    @FEW_MONTHS
    @given(ANY_SEED, ANY_CAUSES, st.integers(2, 4))
    def test_in_more_rows(self, number, causes, parts):
        month = planted_month(number, causes, calls=40)
        legs = month.legs()
        split = Legs(
            PROVIDER,
            [part for row in legs.logged for part in _split_row(row, parts)],
            [part for usage in legs.usage for part in _split_usage(usage, parts)],
            [part for cost in legs.costs for part in _split_cost(cost, parts)],
        )
        again = match(month, legs=split)
        assert misses(again, month.expected()) == []
        assert _answer(again) == _answer(match(month))

    @FEW_MONTHS
    @given(ANY_SEED, ANY_CAUSES)
    def test_on_more_keys_of_the_same_kind(self, number, causes):
        month = planted_month(number, {*causes, "other_key", "null_key"}, calls=40)
        legs = month.legs()
        usage = [part for each in legs.usage for part in _on_two_keys(each)]
        assert len(usage) > len(legs.usage)
        found = match(month, legs=dataclasses.replace(legs, usage=usage))
        assert misses(found, month.expected()) == []

    def test_what_moves_to_another_kind_of_key_moves_to_another_bucket(self):
        month = clean_month(51)
        moved = next(use for use in month.uses if month.period.contains(use.day))
        moved.key_id = STRAY_KEY
        found = match(month)
        quantity = total([found.components[Component.VOLUME], found.components[Component.MIX]])
        at_standard, at_tier = month.value(moved, "standard"), month.value(moved)
        assert quantity == -at_standard
        assert found.components[Component.TIER_DISCOUNT] == at_standard - at_tier
        assert found.components[Component.UNPROXIED] == at_tier
        assert found.gap == 0


class TestInferredMixes:
    """What one side lacks is the other's mix of all its tokens, however many rows they stand in."""

    def test_inferred_bands_do_not_depend_on_the_number_of_keys(self):
        """Two tokens, logged one in each band: one token a key is one token a band as well."""
        month = new_month()
        month.call(DAY, SONNET, {"output": 1})
        month.call(DAY, SONNET, {"output": 1}, over=LONG)
        legs = month.legs()
        once = dataclasses.replace(legs.usage[0], tokens=2, context_window=None)
        one_key = dataclasses.replace(legs, usage=[once])
        two_keys = dataclasses.replace(legs, usage=_on_two_keys(once))
        assert quantities(match(month, legs=one_key)) == {}
        assert quantities(match(month, legs=two_keys)) == {}

    def test_inferred_geographies_do_not_depend_on_the_number_of_rows(self):
        """Two tokens, metered one in each geography, in one logged row or in one a cost center."""
        month = new_month()
        month.call(DAY, SONNET, {"output": 2})
        legs = month.legs()
        usage = [dataclasses.replace(legs.usage[0], tokens=1, geo=geo) for geo in ("us", "global")]
        book = month.prices.book(geo="us", factor=D("1.1"))
        answers = [
            _answer(
                reconcile(
                    OCTOBER,
                    dataclasses.replace(legs, usage=usage, logged=_split_row(legs.logged[0], parts)),
                    month.invoice(),
                    registry=month.registry,
                    book=book,
                )
            )
            for parts in (1, 2)
        ]
        assert answers[0] == answers[1]


class TestScenarios:
    """Four things that happen, and all of them in one month, through the whole rule: found is what was planted."""

    QUIET_DAYS = tuple(dt.date(2026, 10, day) for day in range(5, 17))
    LOSSY_DAYS = QUIET_DAYS[1:3]
    LEAKY_DAYS = QUIET_DAYS[6:10]
    EACH = frozenset({"direct key", "dropped rows", "unpriced model", "leaked key"})

    def month(self, causes: frozenset[str]) -> Month:
        """Four models, five rows of twenty calls each a day and model, with the causes planted."""
        rng = random.Random(71)
        month = Month(some_prices(rng, 4, change_on=dt.date(2026, 10, 12)))
        for day in self.QUIET_DAYS:
            for model in month.prices.names:
                for _ in range(5):
                    tokens = {token_type: rng.randint(10_000, 30_000) for token_type in TOKEN_TYPES}
                    month.call(day, model, tokens).calls = 20
        if "direct key" in causes:
            for day in self.QUIET_DAYS[3:6]:
                month.uses.append(Use(day, "model-1", "standard", 0, {"output": 90_000}, STRAY_KEY, CI_WORKSPACE))
                month.plant("unproxied", month.value(month.uses[-1]))
        if "dropped rows" in causes:
            for row in [row for at, row in enumerate(month.rows) if row.day in self.LOSSY_DAYS and at % 5 == 0]:
                month.rows.remove(row)
                month.plant("quantity", month.value(row))
        if "unpriced model" in causes:
            for row in month.rows:
                if row.model == "model-3":
                    month.plant("proxy_pricing", row.logged)
                    row.logged, row.call_class = ZERO, CallClass.UNPRICED
        if "leaked key" in causes:
            for day in self.LEAKY_DAYS:
                month.uses.append(Use(day, "model-2", "standard", 0, {"uncached_input": 400_000, "output": 50_000}))
                month.plant("quantity", month.value(month.uses[-1]))
        return month

    SCENARIOS = (*(frozenset({cause}) for cause in sorted(EACH)), EACH)

    def test_the_confusion_matrix(self):
        """Run with -s to see it: a row for each scenario, a column for each bucket, recovered dollars in the cells."""
        bucket = {
            "direct key": "unproxied",
            "dropped rows": "quantity",
            "unpriced model": "proxy_pricing",
            "leaked key": "quantity",
        }
        recovered, planted = {}, {}
        for causes in self.SCENARIOS:
            month = self.month(causes)
            name = "all together" if causes == self.EACH else min(causes)
            found = match(month)
            assert misses(found, month.expected()) == []
            recovered[name], planted[name] = quantities(found), dict(month.planted)
        _show(recovered)
        assert recovered == planted
        assert {name: set(row) for name, row in recovered.items()} == {
            **{cause: {bucket[cause]} for cause in self.EACH},
            "all together": set(bucket.values()),
        }

    def test_dropped_rows_are_never_bypass(self):
        found = match(self.month(frozenset({"dropped rows"})))
        assert found.components[Component.UNPROXIED] == 0
        assert (found.states["W4"], found.evidence.other_tokens) == (found.states["W5"], 0)
        assert self.found_in(frozenset({"dropped rows"})).keys() == {FindingKind.LOST_LOGS}

    @pytest.mark.parametrize("causes", SCENARIOS, ids=lambda causes: "-and-".join(sorted(causes)))
    def test_the_findings_tell_them_apart(self, causes):
        kinds = {
            "direct key": FindingKind.BYPASS,
            "dropped rows": FindingKind.LOST_LOGS,
            "unpriced model": FindingKind.MISPRICING,
            "leaked key": FindingKind.LEAKED_KEY,
        }
        alone = {kinds[cause]: total(self.month(frozenset({cause})).planted.values()) for cause in causes}
        if len(causes) > 1:  # a dropped row of the unpriced model is lost, and not unpriced as well
            alone[FindingKind.MISPRICING] = self.month(causes).planted["proxy_pricing"]
        assert self.found_in(causes) == alone

    def found_in(self, causes: frozenset[str]) -> dict[FindingKind, Decimal]:
        """The findings of a scenario by kind, each kind once, with its dollars."""
        month = self.month(causes)
        found, legs, book = match(month), month.legs(), month.prices.book()
        keys = unproxied_keys(
            OCTOBER,
            [legs],
            found.rate_cells,
            registry=month.registry,
            book=book,
            owners=OwnerSources("CC-990-CENTRAL", lambda code, day: code),
            rules=UnproxiedRules(as_of=dt.date(2026, 11, 5)),
        )
        listed = findings(found, keys, legs, registry=month.registry, book=book)
        assert all(each.words and each.next_step for each in listed)
        assert len({each.kind for each in listed}) == len(listed)
        return {each.kind: each.amount for each in listed}


def _show(matrix: dict[str, dict[str, Decimal]]) -> None:
    columns = sorted({bucket for row in matrix.values() for bucket in row})
    lines = [f"\n{'planted / recovered':20}" + "".join(f"{column:>20}" for column in columns)]
    for name, row in matrix.items():
        lines.append(f"{name:20}" + "".join(f"{row.get(column, ZERO):>20.12f}" for column in columns))
    sys.stdout.write("\n".join(lines) + "\n")


def _answer(found: Reconciliation) -> dict[Component, Decimal]:
    return dict(found.components)


def _shuffled(rows, order: random.Random):
    listed = list(rows)
    order.shuffle(listed)
    return listed


def _shares(whole: int, parts: int) -> list[int]:
    return [whole // parts] * (parts - 1) + [whole - whole // parts * (parts - 1)]


def _split_row(row: LoggedUsage, parts: int) -> list[LoggedUsage]:
    pico = int(row.logged.scaleb(12))
    tokens = {token_type: _shares(n, parts) for token_type, n in row.tokens.items()}
    return [
        dataclasses.replace(
            row,
            tokens={token_type: shares[number] for token_type, shares in tokens.items()},
            logged=D(amount).scaleb(-12),
            cost_center=f"CC-{number}",
        )
        for number, amount in enumerate(_shares(pico, parts))
    ]


def _split_usage(usage: ProviderUsage, parts: int) -> list[ProviderUsage]:
    return [dataclasses.replace(usage, tokens=n) for n in _shares(usage.tokens, parts)]


def _split_cost(cost: ReportedCost, parts: int) -> list[ReportedCost]:
    return [dataclasses.replace(cost, amount=D(n).scaleb(-12)) for n in _shares(int(cost.amount.scaleb(12)), parts)]


def _on_two_keys(usage: ProviderUsage) -> list[ProviderUsage]:
    second = {OWN_KEY: SECOND_OWN_KEY, None: None}.get(usage.key_id, "apikey-another-stray")
    first, rest = _shares(usage.tokens, 2)
    return [dataclasses.replace(usage, tokens=first), dataclasses.replace(usage, tokens=rest, key_id=second)]


def test_the_generator_is_seeded():
    one, two = planted_month(61, CAUSES, calls=40), planted_month(61, CAUSES, calls=40)
    assert isinstance(one, Month)
    assert (one.rows, one.uses, one.expected()) == (two.rows, two.uses, two.expected())
    assert one.expected() != planted_month(62, CAUSES, calls=40).expected()
