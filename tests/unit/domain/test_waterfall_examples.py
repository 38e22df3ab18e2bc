"""The worked examples of the rule book, sections 1.4b, 2.2, 4.2 to 4.7, 5.2, 5.4, with inputs that give them."""

import dataclasses
import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import pytest

from tests.unit.domain.planted import (
    ACCOUNT,
    ALWAYS,
    CI_KEY,
    CI_WORKSPACE,
    DAY,
    HAIKU,
    LONG,
    MTOK,
    OCTOBER,
    OWN_KEY,
    OWN_WORKSPACE,
    PROVIDER,
    SONNET,
    STRAY_KEY,
    ZERO,
    Month,
    Prices,
    Use,
    line,
    list_prices,
    match,
    misses,
    new_month,
    non_token,
    other,
    parts,
    registry,
    total,
)
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass import EvidenceLevel, OwnerBasis, UnproxiedKey, coverage
from tokengov_pipelines.domain.bypass_keys import OwnerSources, UnproxiedRules, unproxied_keys
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import KeyDecides, KeyRegistry, KeyRole, RegisteredKey
from tokengov_pipelines.domain.match_result import Component, LineOutcome, MatchMode, PricingCause
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation

D = Decimal


def example_of_4_4() -> Month:
    """October logged 105.00, the days of the invoice of [2 Oct, 2 Nov) 108.00, and the invoice is 181.53."""
    month = new_month()
    month.period = InvoicePeriod(dt.date(2026, 10, 2), dt.date(2026, 11, 2))
    month.call(dt.date(2026, 10, 1), HAIKU, {"output": 400_000})  # 2.00: in October, not in the invoice
    month.call(dt.date(2026, 11, 1), HAIKU, {"uncached_input": 5 * MTOK})  # 5.00: in the invoice, not in October
    month.uses[-1].tier = "batch"
    month.call(DAY, HAIKU, {"uncached_input": 3 * MTOK})
    month.uses[-1].tier = "batch"  # eight million tokens at 0.50 less than the proxy believed
    month.call(DAY, HAIKU, {"uncached_input": MTOK})
    month.call(DAY, SONNET, {"uncached_input": 24_700_000, "cache_read": 8 * MTOK, "output": 1_500_000})
    unpriced = month.call(DAY, SONNET, {"uncached_input": 2 * MTOK})
    unpriced.logged, unpriced.call_class = ZERO, CallClass.UNPRICED
    month.uses.append(other(OWN_KEY, OWN_WORKSPACE, uncached_input=1_000_001, output=100_000))  # no row: 4.500003
    month.uses.append(other(CI_KEY, uncached_input=MTOK, output=600_000))
    month.rates.append((month.uses[4], "output", D("1.35")))
    month.non_token.append(non_token("10.00"))
    month.extra_lines = [
        line("non_token", "10.00", "web search"),
        line("commitment", "50.00", "monthly minimum"),
        line("credit", "-20.00", "promotional credit"),
        line("tax", "13.43", "sales tax"),
    ]
    month.increases[SONNET, "cache_read", "standard", OWN_WORKSPACE] = D("0.25")
    month.to_cents = True
    return month


class TestWorkedExample:
    """Rule 4.4, and its footing in rule 11.4."""

    def test_every_component(self):
        assert parts(match(example_of_4_4())) == {
            "timing": D(3),
            "proxy_pricing": D(6),
            "volume": D("2.774338805310"),
            "mix": D("1.725664194690"),
            "tier_discount": D(-4),
            "unproxied": D(12),
            "provider_rate": D("1.35"),
            "non_token": D(10),
            "commitment": D(50),
            "credits_discounts": D(-20),
            "tax": D("13.43"),
            "rounding": D("-0.000003"),
            "unexplained": D("0.25"),
        }

    def test_every_state(self):
        found = match(example_of_4_4())
        assert {name: str(amount.normalize()) for name, amount in found.states.items()} == {
            "W0": "105",
            "W1": "108",
            "W2": "114",
            "W3a": "116.77433880531",
            "W3": "118.500003",
            "W4": "114.500003",
            "W5": "126.500003",
            "W6": "127.850003",
            "W7": "137.850003",
            "W8": "187.850003",
            "W9": "167.850003",
            "W10": "181.280003",
            "W11": "181.28",
            "W12": "181.53",
        }
        assert (found.logged, found.total, found.gap) == (D("105.00"), D("181.53"), D("76.53"))
        assert total(found.components.values()) == D("76.53")
        assert (found.status, found.tolerance, found.mode) == ("within_tolerance", D("1.00"), MatchMode.THREE_WAY)
        assert found.errors == ()

    def test_the_footing_to_cents(self):
        """Floors toward minus infinity add up to 76.51; the two cents go to rounding and mix."""
        footed = dict(match(example_of_4_4()).footed)
        assert {component.value: str(amount) for component, amount in footed.items()} == {
            "timing": "3.00",
            "proxy_pricing": "6.00",
            "volume": "2.77",
            "mix": "1.73",
            "tier_discount": "-4.00",
            "unproxied": "12.00",
            "provider_rate": "1.35",
            "non_token": "10.00",
            "commitment": "50.00",
            "credits_discounts": "-20.00",
            "tax": "13.43",
            "rounding": "0.00",
            "unexplained": "0.25",
        }
        assert sum(footed.values()) == D("76.53")
        assert list(footed) == list(Component)

    def test_the_evidence_under_it(self):
        found = match(example_of_4_4())
        (gap,) = found.pricing_gaps
        assert (gap.cause, gap.tokens, gap.logged, gap.amount) == (PricingCause.UNPRICED, 2 * MTOK, 0, D(6))
        differing = {each.outcome: each.amount for each in found.line_differences if each.amount}
        assert differing == {LineOutcome.ROUNDING: D("-0.000003"), LineOutcome.UNEXPLAINED: D("0.25")}
        assert found.evidence.proxy_tokens == 45_200_000
        assert found.evidence.own_tokens == 45_200_000 + 1_100_001
        # A cell of rule 4.2 has no tier: the batch is a discount, and no token of it was lost or logged twice.
        assert (found.evidence.lost_usd, found.evidence.surplus_usd) == (D("4.500003"), D(0))


class TestVolumeAndMix:
    """Rule 4.2: W3a and W3."""

    def test_the_average_price_is_never_rounded(self):
        """33.00 over 7,000,000 tokens: rounded to twelve decimals, a lost twin would be worth 33.000002."""
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 6 * MTOK, "output": MTOK})
        month.uses.append(other(OWN_KEY, OWN_WORKSPACE, uncached_input=6 * MTOK, output=MTOK))
        assert parts(match(month)) == {"volume": D(33)}
        assert 7 * MTOK * D("0.000004714286") == D("33.000002")

    def test_only_the_state_is_rounded_to_twelve_decimals(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 6 * MTOK, "output": MTOK})
        month.uses.append(other(OWN_KEY, OWN_WORKSPACE, uncached_input=1))
        assert parts(match(month)) == {"volume": D("0.000004714286"), "mix": D("0.000003") - D("0.000004714286")}

    def test_a_state_between_two_digits_is_rounded_away_from_zero(self):
        """W3a is the rounded one: 0.0000000000015 becomes 0.000000000002, so the volume of -1.5 picodollars is -1."""
        prices = Prices(
            {
                (SONNET, token_type, tier, 0): ((ALWAYS.valid_from, D(price)),)
                for token_type, price in (("uncached_input", "0.000001"), ("output", "0.000002"))
                for tier in ("standard", "batch")
            },
            {SONNET: (SONNET, SONNET, SONNET)},
        )
        month = Month(prices)
        month.call(DAY, SONNET, {"uncached_input": 1, "output": 1})
        month.uses = [Use(DAY, SONNET, "standard", 0, {"output": 1})]
        found = match(month)
        assert (found.states["W2"], found.states["W3a"], found.states["W3"]) == (D("3e-12"), D("2e-12"), D("2e-12"))
        assert parts(found) == {"volume": D("-1e-12")}

    def test_without_proxy_tokens_all_of_it_is_volume(self):
        """The log holds a cache hit and a failure only: Q^P is 0."""
        month = new_month()
        row = month.call(DAY, SONNET, {"uncached_input": MTOK, "output": 100_000})
        month.rows = [
            dataclasses.replace(row, logged=ZERO, call_class=call_class)
            for call_class in (CallClass.CACHE_HIT, CallClass.FAILURE)
        ]
        found = match(month)
        assert parts(found) == {"volume": D("4.5")}
        assert found.components[Component.MIX] == 0

    def test_a_batch_that_both_know_is_no_tier_discount(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 2 * MTOK}, tier="batch")
        assert parts(match(month)) == {}

    def test_a_lost_batch_is_quantity_at_standard_price_and_a_discount(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 2 * MTOK})
        month.uses.append(Use(DAY, SONNET, "batch", 0, {"uncached_input": 2 * MTOK}))
        assert parts(match(month)) == {"volume": D(6), "tier_discount": D(-3)}

    def test_calls_over_midnight_are_tagged_and_net_to_zero(self):
        """Rule 4.3."""
        month = new_month()
        moved = month.call(DAY, SONNET, {"uncached_input": 3 * MTOK})
        month.call(DAY, SONNET, {"uncached_input": 5 * MTOK})
        month.call(DAY + dt.timedelta(days=1), SONNET, {"uncached_input": 7 * MTOK})
        month.uses[month.rows.index(moved)].day = DAY + dt.timedelta(days=1)
        found = match(month)
        assert parts(found) == {}
        assert [cell.cutoff_shift_tokens for cell in found.cells] == [-3 * MTOK, 3 * MTOK]
        assert found.evidence.cutoff_shift_usd == D(18)


class TestWhichTokens:
    """Rules 4.2 and 4.4: bands, days, tiers, keys."""

    def test_each_band_has_its_own_price(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 100_000})
        month.call(DAY, SONNET, {"uncached_input": 250_000}, over=LONG)
        found = match(month)
        assert parts(found) == {}
        assert [(cell.over_tokens, cell.usd_per_token) for cell in found.cells] == [
            (0, D("0.000003")),
            (LONG, D("0.000006")),
        ]
        assert [cell.band_inferred for cell in found.cells] == [False, False]

    def test_a_report_without_bands_takes_the_proxys_mix_and_says_so(self):
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 100_000})
        month.call(DAY, SONNET, {"uncached_input": 300_000}, over=LONG)
        legs = month.legs()
        usage = [dataclasses.replace(each, context_window=None) for each in legs.usage]
        found = match(month, legs=dataclasses.replace(legs, usage=usage))
        assert parts(found) == {}
        assert {cell.band_inferred for cell in found.cells} == {True}
        assert found.evidence.band_inferred_tokens == 400_000

    def test_the_wrong_band_stands_in_provider_rate_only_where_it_is_inferred(self):
        """400,000 lost tokens in the long band: inferred by a mix of one to three, billed at the long price."""
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 100_000})
        month.call(DAY, SONNET, {"uncached_input": 300_000}, over=LONG)
        month.uses.append(Use(DAY, SONNET, "standard", LONG, {"uncached_input": 400_000}))
        found = match(month)
        assert parts(found) == {"volume": D("2.1"), "mix": D("0.3")}
        legs = month.legs()
        usage = [dataclasses.replace(each, context_window=None) for each in legs.usage]
        found = match(month, legs=dataclasses.replace(legs, usage=usage))
        assert parts(found) == {"volume": D("2.1"), "provider_rate": D("0.3")}

    def test_a_model_without_bands_is_one_cell_whatever_the_window(self):
        month = new_month()
        month.call(DAY, HAIKU, {"uncached_input": MTOK})
        legs = month.legs()
        usage = [dataclasses.replace(each, context_window="200k-1M") for each in legs.usage]
        assert parts(match(month, legs=dataclasses.replace(legs, usage=usage))) == {}

    def test_a_price_changes_on_its_utc_day(self):
        prices = list_prices()
        key = (SONNET, "output", "standard", 0)
        changed = {**prices.dated, key: (*prices.dated[key], (DAY, D("12")))}
        month = Month(Prices(changed, prices.names))
        month.call(DAY - dt.timedelta(days=1), SONNET, {"output": MTOK})
        month.call(DAY, SONNET, {"output": MTOK})
        found = match(month)
        assert [cell.usd_per_token for cell in found.cells] == [D("0.000015"), D("0.000012")]
        assert (found.states["W2"], parts(found)) == (D(27), {})
        month.rows[1].logged = D(15)  # the proxy's map still has yesterday's price
        assert parts(match(month)) == {"proxy_pricing": D(-3)}

    @pytest.mark.parametrize("word", ["standard", "Standard", "default", "auto", "DEFAULT"])
    def test_default_and_auto_are_standard(self, word):
        month = new_month()
        month.call(DAY, SONNET, {"output": MTOK})
        month.rows[0].tier = word
        found = match(month)
        assert parts(found) == {}
        assert [cell.tier for cell in found.cells] == ["standard"]

    @pytest.mark.parametrize(
        ("decides", "key_id", "workspace", "bucket"),
        [
            (KeyDecides.KEY_ID, OWN_KEY, CI_WORKSPACE, "volume"),  # the key decides, wherever it is used
            (KeyDecides.KEY_ID, None, OWN_WORKSPACE, "unproxied"),  # null is the console
            (KeyDecides.KEY_ID, STRAY_KEY, OWN_WORKSPACE, "unproxied"),
            (KeyDecides.KEY_ID_ELSE_PROJECT, None, OWN_WORKSPACE, "volume"),  # the project is registered
            (KeyDecides.KEY_ID_ELSE_PROJECT, None, CI_WORKSPACE, "unproxied"),  # this one is somebody else's
            (KeyDecides.KEY_ID_ELSE_PROJECT, None, None, "unproxied"),
            (KeyDecides.KEY_ID_ELSE_PROJECT, STRAY_KEY, OWN_WORKSPACE, "unproxied"),  # a key that is there decides
        ],
    )
    def test_whose_usage_it_is(self, decides, key_id, workspace, bucket):
        month = new_month()
        month.registry = registry(decides=decides)
        month.call(DAY, SONNET, {"output": 2 * MTOK})
        month.uses.append(other(key_id, workspace, output=MTOK))
        assert parts(match(month)) == {bucket: D(15)}

    def test_a_registration_holds_on_its_days(self):
        month = new_month()
        month.registry = KeyRegistry(
            [RegisteredKey(PROVIDER, ACCOUNT, OWN_KEY, KeyRole.PROXY, Interval(DAY, DAY + dt.timedelta(days=1)))]
        )
        month.call(DAY, SONNET, {"output": MTOK})
        month.uses.append(dataclasses.replace(month.uses[0], day=DAY + dt.timedelta(days=1)))
        assert parts(match(month)) == {"unproxied": D(15)}

    def test_a_provider_without_a_registered_key_is_wholly_unproxied(self):
        month = new_month()
        month.registry = KeyRegistry([])
        month.uses.append(other(STRAY_KEY, output=MTOK))
        found = match(month)
        assert parts(found) == {"unproxied": D(15)}
        assert found.errors == ()


class TestInvoiceLines:
    """Rule 4.2: W8 to W12, and the two-way mode."""

    def month(self) -> Month:
        month = new_month()
        month.call(DAY, HAIKU, {"uncached_input": 100 * MTOK, "output": 10 * MTOK})
        return month

    @pytest.mark.parametrize(
        ("change", "bucket"),
        [
            ("0.005", "rounding"),
            ("-0.005", "rounding"),
            ("0.005000000001", "unexplained"),
            ("-0.01", "unexplained"),
        ],
    )
    def test_a_line_is_rounded_up_to_half_a_cent(self, change, bucket):
        month = self.month()
        month.increases[HAIKU, "output", "standard", OWN_WORKSPACE] = D(change)
        assert parts(match(month)) == {bucket: D(change)}

    def test_two_wrong_lines_do_not_cancel_in_the_differences(self):
        month = self.month()
        month.increases[HAIKU, "output", "standard", OWN_WORKSPACE] = D("2.00")
        month.increases[HAIKU, "uncached_input", "standard", OWN_WORKSPACE] = D("-2.00")
        found = match(month)
        assert parts(found) == {}
        assert sorted(each.amount for each in found.line_differences) == [D("-2.00"), D("2.00")]
        assert {each.outcome for each in found.line_differences} == {LineOutcome.UNEXPLAINED}

    def test_a_line_that_nothing_reports(self):
        month = self.month()
        month.extra_lines.append(dataclasses.replace(line("usage", "7.00", "Opus"), model="claude-opus-4-8"))
        found = match(month)
        assert parts(found) == {"unexplained": D(7)}
        assert {each.outcome for each in found.line_differences if each.amount} == {LineOutcome.NOT_REPORTED}

    def test_a_report_that_no_line_bills(self):
        month = self.month()
        month.missing_lines.add((HAIKU, "output", "standard", OWN_WORKSPACE))
        found = match(month)
        assert parts(found) == {"unexplained": D(-50)}
        assert {each.outcome for each in found.line_differences if each.amount} == {LineOutcome.NOT_INVOICED}

    def test_an_invoice_of_one_line_a_model_bills_all_its_token_types(self):
        month = self.month()
        coarse = [dataclasses.replace(line("usage", "150.00", "Haiku"), model=HAIKU)]
        month.missing_lines = set(month.billed())
        month.extra_lines = coarse
        assert parts(match(month)) == {}

    def test_non_token_charges_are_reported_and_billed(self):
        month = self.month()
        month.non_token = [non_token("1.25"), non_token("3.50", "code_execution")]
        month.extra_lines.append(line("non_token", "4.75", "tools"))
        assert parts(match(month)) == {"non_token": D("4.75")}

    def test_non_token_charges_that_are_billed_and_not_reported(self):
        month = self.month()
        month.extra_lines.append(line("non_token", "4.75", "tools"))
        assert parts(match(month)) == {"unexplained": D("4.75")}

    def test_two_way_a_line_of_the_same_quantity_is_provider_rate(self):
        month = self.month()
        month.increases[HAIKU, "output", "standard", OWN_WORKSPACE] = D("-5.00")  # ten percent off
        found = match(month, legs=dataclasses.replace(month.legs(), costs=None))
        assert parts(found) == {"provider_rate": D(-5)}
        assert (found.mode, found.status) == (MatchMode.TWO_WAY, "matched")
        assert found.states["W6"] == found.states["W5"] - 5

    def test_two_way_a_line_of_another_quantity_is_unexplained(self):
        month = self.month()
        legs = dataclasses.replace(month.legs(), costs=None)
        month.uses.append(other(OWN_KEY, OWN_WORKSPACE, HAIKU, output=MTOK))  # billed, and in no usage report
        found = match(month, legs=legs)
        assert parts(found) == {"unexplained": D(5)}


class TestPeriods:
    """Rule 2.2."""

    def test_an_invoice_over_two_months_is_matched_on_its_days_and_accrued_by_the_report(self):
        """15 Oct-14 Nov, 300.00; the report has 170 in October and 140 in November, a credit of 10."""
        month = new_month()
        month.period = InvoicePeriod.from_printed(dt.date(2026, 10, 15), dt.date(2026, 11, 14))
        for day, dollars in (
            (dt.date(2026, 10, 14), 33),  # before the invoice
            (dt.date(2026, 10, 15), 100),
            (dt.date(2026, 10, 31), 70),
            (dt.date(2026, 11, 1), 90),
            (dt.date(2026, 11, 14), 50),
            (dt.date(2026, 11, 15), 44),  # after it
        ):
            month.call(day, HAIKU, {"uncached_input": dollars * MTOK})
        month.extra_lines.append(line("credit", "-10.00", "goodwill"))
        found = match(month)
        assert found.total == D("300.00")
        # October logged 203; the invoice's days 310.
        assert parts(found) == {"timing": D(107), "credits_discounts": D(-10)}
        daily = {cost.day: cost.amount for cost in month.costs()}
        assert month.period.split_over_months(found.total, daily) == {
            BillingMonth(2026, 10): D("164.52"),
            BillingMonth(2026, 11): D("135.48"),
        }

    def test_calls_over_the_periods_midnights_are_evidence_for_timing(self):
        """Rule 2.1: the last night moves out, the night before the first day moves in."""
        month = new_month()
        month.call(DAY, HAIKU, {"output": MTOK})
        legs = dataclasses.replace(
            month.legs(),
            over_midnight={dt.date(2026, 10, 31): D("0.75"), dt.date(2026, 9, 30): D("0.25"), DAY: D("9.00")},
        )
        found = match(month, legs=legs)
        assert found.evidence.straddling_usd == D("0.50")
        assert parts(found) == {}


class TestStatus:
    """Rule 4.7: the tolerance is for unexplained alone."""

    @pytest.mark.parametrize(
        ("unexplained", "status"),
        [
            ("0.00", "matched"),
            ("0.05", "matched"),
            ("0.06", "within_tolerance"),
            ("5.00", "within_tolerance"),
            ("5.01", "investigate"),
            ("15.00", "investigate"),
            ("15.01", "blocked"),
            ("-5.01", "investigate"),
        ],
    )
    def test_of_an_invoice_of_1000(self, unexplained, status):
        month = new_month()
        month.call(DAY, HAIKU, {"uncached_input": int((1000 - D(unexplained)) * MTOK)})
        month.increases[HAIKU, "uncached_input", "standard", OWN_WORKSPACE] = D(unexplained)
        found = match(month)
        assert (found.total, found.unexplained, found.tolerance) == (D(1000), D(unexplained), D(5))
        assert found.status == status

    def test_explained_causes_need_no_tolerance(self):
        month = new_month()
        month.call(DAY, HAIKU, {"uncached_input": 10 * MTOK})
        month.uses.append(other(STRAY_KEY, model=HAIKU, uncached_input=990 * MTOK))
        found = match(month)
        assert (parts(found), found.status) == ({"unproxied": D(990)}, "matched")

    def test_without_an_invoice_it_ends_at_the_report(self):
        month = new_month()
        month.call(DAY, HAIKU, {"uncached_input": 10 * MTOK})
        month.uses.append(other(STRAY_KEY, model=HAIKU, uncached_input=MTOK))
        found = reconcile(OCTOBER, month.legs(), None, registry=month.registry, book=month.prices.book())
        assert (found.status, found.total, found.gap) == ("missing_invoice", None, D(1))
        assert list(found.states)[-1] == "W7"
        assert parts(found) == {"unproxied": D(1)}
        assert total(amount for _, amount in found.footed) == D("1.00")


def keys_of(month: Month, value: Literal["actual", "list"]) -> list[UnproxiedKey]:
    """The key report of the month."""
    return unproxied_keys(
        OCTOBER,
        [month.legs()],
        match(month).rate_cells,
        registry=month.registry,
        book=month.prices.book(),
        owners=OwnerSources("CC-990-CENTRAL", lambda code, day: code),
        rules=UnproxiedRules(as_of=dt.date(2026, 11, 5), value=value),
    )


class TestBypassValue:
    """Rules 5.2, 5.4."""

    def test_a_cell_billed_below_list_shares_its_discount_by_list_value(self):
        """A cell of list 45.00 (30.00 own, 15.00 of the CI key) billed at 36.00: the CI key is charged 12.00."""
        month = new_month()
        month.call(DAY, SONNET, {"output": 2 * MTOK})
        month.uses.append(other(CI_KEY, OWN_WORKSPACE, output=MTOK))
        month.rates.append((month.uses[0], "output", D("-9.00")))
        found = match(month)
        assert parts(found) == {"unproxied": D(15), "provider_rate": D(-9)}  # the component stays at list
        (cell,) = found.rate_cells
        assert (cell.reported, cell.variance) == (D(36), D(-9))
        ci = (ACCOUNT, CI_KEY, OWN_WORKSPACE)
        assert cell.listed == {ci: D(15), (ACCOUNT, OWN_KEY, OWN_WORKSPACE): D(30)}
        share = Fraction(cell.listed[ci]) / Fraction(total(cell.listed.values()))
        assert Fraction(cell.listed[ci]) + share * Fraction(cell.variance) == 12
        (key,) = keys_of(month, "actual")
        assert (key.key_id, key.list_usd, key.actual_usd, key.cost_usd) == (CI_KEY, D(15), D(12), D(12))
        assert (key.suggested_owner, key.owner_basis) == ("CC-300", OwnerBasis.REGISTRY)
        (key,) = keys_of(month, "list")
        assert key.cost_usd == D(15)

    def test_a_discount_of_one_cell_is_not_shared_with_another(self):
        """The CI key's own workspace is billed at list."""
        month = new_month()
        month.call(DAY, SONNET, {"output": 2 * MTOK})
        month.uses.append(other(CI_KEY, CI_WORKSPACE, output=MTOK))
        month.rates.append((month.uses[0], "output", D("-9.00")))
        variances = {cell.workspace_id: cell.variance for cell in match(month).rate_cells}
        assert variances == {OWN_WORKSPACE: D(-9), CI_WORKSPACE: D(0)}

    def test_coverage_of_84_percent(self):
        """CI 13.50, Workbench 1.50, an unknown key 1.00, of 100.00."""
        month = new_month()
        month.call(DAY, SONNET, {"uncached_input": 8 * MTOK, "output": 4 * MTOK})
        month.uses.append(other(CI_KEY, uncached_input=2 * MTOK, output=500_000))
        month.uses.append(other(None, None, output=100_000))
        month.uses.append(other(STRAY_KEY, model=HAIKU, uncached_input=MTOK))
        found = match(month)
        assert parts(found) == {"unproxied": D("16.00")}
        assert (found.states["W4"], found.states["W5"]) == (D(84), D(100))
        assert found.evidence.own_list_usd == D(84)
        assert found.evidence.other_list_usd == D(16)
        found_coverage = coverage(found.states["W4"], found.states["W5"])
        assert (found_coverage.percentage, found_coverage.meets(D("98.0"))) == (D("84.00"), False)
        keys = {key.key_id: (key.list_usd, key.evidence) for key in keys_of(month, "actual")}
        assert keys == {
            CI_KEY: (D("13.50"), EvidenceLevel.E1),
            None: (D("1.50"), EvidenceLevel.E2),
            STRAY_KEY: (D("1.00"), EvidenceLevel.E1),
        }


class TestGeography:
    """The proxy's log has no geography: its tokens take the provider's mix of that day and model (rule 4.2)."""

    def match(self, month: Month, tier: str, billed: str) -> Reconciliation:
        """The month as reported and billed in the United States, at 1.1 times the price."""
        legs = month.legs()
        legs = dataclasses.replace(
            legs,
            usage=[dataclasses.replace(each, geo="us") for each in legs.usage],
            costs=[dataclasses.replace(each, geo="us", amount=each.amount * D("1.1")) for each in legs.costs],
        )
        month.increases[SONNET, "output", tier, OWN_WORKSPACE] = D(billed)
        book = month.prices.book(geo="us", factor=D("1.1"))
        return reconcile(OCTOBER, legs, month.invoice(), registry=month.registry, book=book)

    def test_the_surcharge_that_the_proxy_missed_is_proxy_pricing(self):
        month = new_month()
        month.call(DAY, SONNET, {"output": MTOK})
        found = self.match(month, "standard", "1.50")
        assert parts(found) == {"proxy_pricing": D("1.50")}
        assert [(cell.geo, cell.usd_per_token) for cell in found.cells] == [("us", D("0.0000165"))]

    def test_so_it_is_when_the_tier_is_another_one(self):
        """A batch, logged as standard: the geography is known of the day and model, whatever the tier."""
        month = new_month()
        month.call(DAY, SONNET, {"output": MTOK})
        month.uses[0].tier = "batch"
        assert parts(self.match(month, "batch", "0.75")) == {"proxy_pricing": D("1.50"), "tier_discount": D("-8.25")}


def test_the_example_is_recovered_by_the_planted_check_too():
    month = example_of_4_4()
    found = match(month)
    assert misses(found, found.components) == []
    assert len(misses(found, {**found.components, Component.VOLUME: D("2.774338805311")})) == 2
