"""Bypass, lost logs, mispricing and a leaked proxy key are four different findings (rules 4.4, 4.5, 5.1)."""

import datetime as dt
import random
from decimal import Decimal

import pytest

from tests.unit.domain.bypass_month import (
    CI_KEY,
    CI_WORKSPACE,
    HAIKU,
    OPUS,
    PER_MTOK,
    PROXY_KEY,
    SONNET,
    Month,
    oct_,
    proxy_key,
)
from tests.unit.domain.planted import invoice_of
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass_exception import BypassException
from tokengov_pipelines.domain.bypass_findings import no_proxy_route, ungoverned_seats
from tokengov_pipelines.domain.invoice import InvoiceLine
from tokengov_pipelines.domain.legs import KeyRegistry
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import InvoicePeriod

CALL = {"uncached_input": 1_000_000, "output": 200_000}
ALL_THREE = (OPUS, SONNET, HAIKU)
EXCLUDED = "a leaked proxy key cannot be excluded"


def kinds(month: Month) -> list[str]:
    return [each.kind for each in month.found()]


def quantity(month: Month) -> Decimal:
    components = month.match().components
    return components[Component.VOLUME] + components[Component.MIX]


def test_a_clean_month_has_no_findings():
    assert Month().busy().found() == []


# --- lost logs ---------------------------------------------------------------------------------------------------


def test_rows_lost_of_every_model_are_lost_logs_and_never_bypass():
    month = Month().busy(lost={day: {OPUS: 30, SONNET: 28, HAIKU: 35} for day in (3, 4)})
    (found,) = month.found()
    assert (found.kind, found.first_day, found.last_day, found.models) == (
        "lost_logs",
        oct_(3),
        oct_(4),
        (HAIKU, OPUS, SONNET),
    )
    # 30 % of 10.00, 28 % of 6.00 and 35 % of 2.00, on two days
    assert found.amount == quantity(month) == Decimal("10.76")
    assert found.tokens == 2 * 12_000 * (30 + 28 + 35)
    assert EXCLUDED not in found.words
    assert "2,232,000 tokens more" in found.words
    assert "10.76 USD" in found.words
    assert "tokengov load" in found.next_step


def test_a_day_of_which_everything_is_lost_is_lost_logs():
    month = Month().busy(lost={3: dict.fromkeys(ALL_THREE, 100)})
    (found,) = month.found()
    assert (found.kind, found.amount) == ("lost_logs", Decimal(18))
    assert EXCLUDED not in found.words


def test_a_missing_extract_is_neither_lost_nor_leaked():
    month = Month(missing_log_days=frozenset({oct_(3)})).busy(lost={3: dict.fromkeys(ALL_THREE, 100)})
    assert month.found() == []
    assert [error.code for error in month.match().errors] == ["missing_extract"]


def test_an_empty_log_is_a_missing_extract_of_every_day():
    month = Month().busy(lost={day: dict.fromkeys(ALL_THREE, 100) for day in range(1, 32)})
    assert month.found() == []
    assert [error.code for error in month.match().errors] == ["missing_extract"]


def test_output_that_is_short_alone_is_rows_cut_short():
    month = Month().busy()
    for day in range(5, 12):
        month.used(oct_(day), SONNET, {"uncached_input": 50_000, "output": 100_000})
        month.log(
            oct_(day), SONNET, {"uncached_input": 50_000, "output": 20_000}, calls=5, call_class=CallClass.PARTIAL
        )
    (found,) = month.found()
    assert (found.kind, found.models, found.tokens) == ("lost_logs", (SONNET,), 7 * 80_000)
    assert found.amount == Decimal("8.40")
    assert "only output is short" in found.words
    assert EXCLUDED not in found.words


def test_rows_lost_here_and_there_are_not_called_a_leak():
    """Two calls in a hundred, of another model each day: no model is confined to."""
    lost = {day: {ALL_THREE[day % 3]: 2} for day in range(1, 32)}
    (found,) = Month().busy(lost=lost).found()
    assert found.kind == "lost_logs"
    assert EXCLUDED in found.words


def test_rows_lost_of_a_busy_model_beside_a_rare_one_are_not_called_a_leak():
    """A rare model whose log is complete proves nothing: at that rate it would hardly have lost a call."""
    month = Month()
    for day in range(1, 32):
        month.used(oct_(day), SONNET, CALL)
        month.log(oct_(day), SONNET, {"uncached_input": 980_000, "output": 196_000}, calls=98)
        month.used(oct_(day), OPUS, {"uncached_input": 10_000, "output": 2_000})
        month.log(oct_(day), OPUS, {"uncached_input": 10_000, "output": 2_000}, calls=1)
    (found,) = month.found()
    assert found.kind == "lost_logs"
    assert EXCLUDED in found.words


def test_the_only_model_that_is_served_leaves_it_undecided_and_says_so():
    month = Month()
    for day in range(1, 32):
        month.used(oct_(day), SONNET, CALL)
        month.log(oct_(day), SONNET, {"uncached_input": 600_000, "output": 120_000}, calls=60)
    (found,) = month.found()
    assert (found.kind, found.evidence) == ("lost_logs", None)
    assert EXCLUDED in found.words
    assert "rotate" in found.next_step


def test_a_surplus_of_two_days_is_not_enough():
    month = Month().busy(lost={3: {OPUS: 60}, 4: {OPUS: 60}})
    (found,) = month.found()
    assert found.kind == "lost_logs"
    assert EXCLUDED in found.words


def test_two_models_that_lack_alike_leave_it_undecided():
    month = Month()
    for day in range(1, 11):
        for model in (OPUS, SONNET):
            month.used(oct_(day), model, CALL)
            month.log(oct_(day), model, {"uncached_input": 700_000, "output": 140_000}, calls=70)
    (found,) = month.found()
    assert found.kind == "lost_logs"
    assert EXCLUDED in found.words


# --- a leaked key ------------------------------------------------------------------------------------------------


def leaking(month: Month, model: str, days: range, tokens: dict[str, int] | None = None) -> Month:
    """The proxy's key used elsewhere: the provider counts it, the proxy does not."""
    for day in days:
        month.used(oct_(day), model, tokens or {"uncached_input": 400_000, "output": 50_000})
    return month


def test_a_model_whose_log_lacks_for_days_while_all_others_are_complete_is_a_leaked_key():
    month = leaking(Month().busy(), OPUS, range(10, 15))
    (found,) = month.found()
    assert (found.kind, found.evidence, found.models) == ("leaked_key", "E4", (OPUS,))
    assert (found.first_day, found.last_day, found.tokens) == (oct_(10), oct_(14), 5 * 450_000)
    assert found.amount == quantity(month) == Decimal("16.25")
    assert found.keys == ("anthropic, workspace wrkspc-proxy, key ...0001",)
    assert "the log of the period lacks 6.06 % of it" in found.words
    assert f"{HAIKU}, {SONNET} lack 0.00 %" in found.words
    assert "about 375 calls" in found.words
    assert "rotate anthropic, workspace wrkspc-proxy, key ...0001" in found.next_step
    assert month.key_rows() == []


def test_a_model_that_the_proxy_never_logged_is_a_leaked_key_on_one_day():
    month = Month()
    for day in range(1, 32):
        for model in (SONNET, HAIKU):
            month.used(oct_(day), model, CALL)
            month.log(oct_(day), model, CALL)
    leaking(month, OPUS, range(20, 21))
    (found,) = month.found()
    assert (found.kind, found.models, found.first_day) == ("leaked_key", (OPUS,), oct_(20))
    assert f"the proxy never logged model {OPUS}" in found.words


def test_the_key_that_was_used_is_named():
    month = Month(registered=[proxy_key(), proxy_key("apikey-proxy-0002")]).busy()
    for day in range(10, 15):
        month.used(oct_(day), "claude-opus-4-5", {"uncached_input": 900_000}, key_id="apikey-proxy-0002")
    (found,) = month.found()
    assert found.kind == "leaked_key"
    assert "anthropic, workspace wrkspc-proxy, key ...0002" in found.keys


def test_a_tier_that_the_proxy_never_logged_is_a_leaked_key():
    month = Month().busy()
    month.used(oct_(12), SONNET, {"uncached_input": 4_000_000}, tier="batch")
    (found,) = month.found()
    assert (found.kind, found.tokens) == ("leaked_key", 4_000_000)
    assert f"the proxy never logged {SONNET}, tier batch" in found.words


def test_a_tier_that_the_proxy_does_not_know_is_no_leak():
    """The proxy logs a batch as standard: the tokens agree, and only the price differs (tier_discount)."""
    month = Month().busy()
    month.used(oct_(12), SONNET, {"uncached_input": 4_000_000}, tier="batch")
    month.log(oct_(12), SONNET, {"uncached_input": 4_000_000})
    assert month.found() == []
    assert month.match().components[Component.TIER_DISCOUNT] == Decimal(-6)


def test_calls_over_midnight_are_no_finding():
    month = Month().busy()
    month.used(oct_(4), SONNET, {"uncached_input": 900_000})
    month.log(oct_(3), SONNET, {"uncached_input": 900_000}, calls=3)
    assert month.found() == []


def test_a_leak_shows_beside_days_of_lost_rows():
    lost = {day: {OPUS: 40, SONNET: 35, HAIKU: 38} for day in (3, 4)}
    month = leaking(Month().busy(lost=lost), OPUS, range(10, 20))
    leaked, lost_logs = month.found()
    assert (leaked.kind, leaked.first_day, leaked.last_day) == ("leaked_key", oct_(10), oct_(19))
    assert (lost_logs.kind, lost_logs.first_day, lost_logs.last_day) == ("lost_logs", oct_(3), oct_(4))
    assert leaked.amount == Decimal("32.50")
    assert leaked.amount + lost_logs.amount == quantity(month)


def randomly_lost(seed: int) -> Month:
    """Rows lost at one rate, whatever the model; models of different traffic, calls of very different sizes."""
    rng = random.Random(seed)
    month = Month()
    models = rng.sample(ALL_THREE, rng.choice([1, 2, 3]))
    calls_a_day = {model: rng.choice([1, 10, 40, 100]) for model in models}
    rate = rng.choice([0.005, 0.03, 0.1, 0.3])
    for day in range(1, 32):
        for model in models:
            sizes = [int(rng.lognormvariate(8, 1.2)) for _ in range(calls_a_day[model])]
            kept = [size for size in sizes if rng.random() >= rate]
            month.used(oct_(day), model, {"uncached_input": sum(sizes), "output": 10 * len(sizes)})
            if kept:
                tokens = {"uncached_input": sum(kept), "output": 10 * len(kept)}
                month.log(oct_(day), model, tokens, calls=len(kept))
    return month


@pytest.mark.parametrize("seed", range(25))
def test_rows_lost_at_random_are_never_bypass_and_never_a_leak(seed):
    assert {each.kind for each in randomly_lost(seed).found()} <= {"lost_logs"}


def test_two_leaking_models_are_two_findings():
    month = leaking(leaking(Month().busy(), OPUS, range(10, 15)), HAIKU, range(12, 18))
    assert [(each.kind, each.models) for each in month.found()] == [
        ("leaked_key", (OPUS,)),
        ("leaked_key", (HAIKU,)),
    ]


def test_names_that_no_alias_maps_make_it_undecided():
    """The proxy logs a model under an unknown name: the provider's surplus may be the same calls."""
    month = Month()
    for day in range(1, 32):
        for model in (SONNET, HAIKU):
            month.used(oct_(day), model, CALL)
            month.log(oct_(day), model, CALL)
        month.used(oct_(day), OPUS, CALL)
        month.log(oct_(day), "opus-experimental", CALL, spend=Decimal(10))
    (found,) = [each for each in month.found() if each.kind in ("leaked_key", "lost_logs")]
    assert found.kind == "lost_logs"
    assert EXCLUDED in found.words
    assert "On 31 days the proxy logged names that no alias maps" in found.words


# --- too much in the log, or another token type ------------------------------------------------------------------


def test_rows_logged_twice_are_over_logged_and_not_lost():
    month = Month().busy()
    month.log(oct_(8), SONNET, CALL)
    (found,) = month.found()
    assert (found.kind, found.amount, found.tokens) == ("over_logged", Decimal(-6), -1_200_000)
    assert "1,200,000 tokens fewer" in found.words


def test_cached_tokens_logged_as_uncached_are_mispricing():
    month = Month().busy()
    month.used(oct_(8), SONNET, {"cache_read": 900_000})
    month.log(oct_(8), SONNET, {"uncached_input": 900_000}, calls=4)
    (found,) = month.found()
    assert (found.kind, found.amount, found.tokens) == ("mispricing", Decimal("-2.43"), 0)
    assert "under other token types" in found.words


# --- bypass ------------------------------------------------------------------------------------------------------


def test_a_foreign_key_is_bypass_and_nothing_else():
    month = Month().busy()
    month.used(
        oct_(3), SONNET, {"uncached_input": 2_000_000, "output": 500_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE
    )
    (found,) = month.found()
    assert (found.kind, found.evidence, found.amount) == ("bypass", "E1", Decimal("13.5"))
    assert (found.first_day, found.last_day, found.models) == (oct_(3), oct_(3), (SONNET,))
    assert found.keys == ("anthropic, workspace wrkspc-ci, key ...nner",)
    assert found.words == (
        "anthropic, workspace wrkspc-ci, key ...nner: used outside the proxy on 1 day, 2,500,000 tokens of "
        "claude-sonnet-4-6, 13.50 USD at list and 13.50 USD with the provider's rates. Evidence E1: it is not "
        "registered as the proxy's. Owner CC-990-CENTRAL (by central)."
    )
    assert found.next_step == "move its use to the proxy by 2026-10-17, then revoke it at anthropic"
    assert found.raises_alert
    assert month.match().components[Component.UNPROXIED] == found.amount


def test_console_use_is_stopped_or_registered():
    month = Month().busy()
    month.used(oct_(3), SONNET, {"output": 100_000}, key_id=None, workspace_id=None)
    (found,) = month.found()
    assert (found.kind, found.evidence) == ("bypass", "E2")
    assert "tokengov unproxied except anthropic workspace:default" in found.next_step


def test_a_proxy_key_that_nobody_registered_is_recognised():
    """From the 16th on the proxy uses a new key: the provider's use moves to it, the log goes on."""
    month = Month()
    for day in range(1, 32):
        for model in PER_MTOK:
            key_id = PROXY_KEY if day < 16 else "apikey-proxy-new"
            month.used(oct_(day), model, CALL, key_id=key_id)
            month.log(oct_(day), model, CALL)
    bypass, over_logged = month.found()
    assert (bypass.kind, over_logged.kind) == ("bypass", "over_logged")
    assert bypass.amount == -over_logged.amount == Decimal(288)
    assert "check whether key apikey-proxy-new is the proxy's own" in bypass.next_step
    month.registered.append(proxy_key("apikey-proxy-new", since=oct_(16)))
    assert month.found() == []


# --- mispricing --------------------------------------------------------------------------------------------------


def test_unpriced_rows_are_mispricing_and_not_lost():
    month = Month().busy()
    month.used(oct_(6), OPUS, CALL)
    month.log(oct_(6), OPUS, CALL, calls=7, call_class=CallClass.UNPRICED, spend=Decimal(0))
    (found,) = month.found()
    assert (found.kind, found.amount, found.models) == ("mispricing", Decimal(10), (OPUS,))
    assert found.words.startswith(f"7 calls of anthropic {OPUS}: logged without any spend")
    assert "10.00 USD too little" in found.words


def test_rows_logged_too_high_and_too_low_are_never_netted():
    month = Month().busy()
    for day, spend in ((6, Decimal(4)), (7, Decimal(8))):
        month.used(oct_(day), OPUS, {"uncached_input": 1_200_000})
        month.log(oct_(day), OPUS, {"uncached_input": 1_200_000}, tier="standard", calls=2, spend=spend)
    # each day is one group with the busy month's 10.00, which was logged right
    assert [(each.kind, each.first_day, each.amount) for each in month.found()] == [
        ("mispricing", oct_(6), Decimal(2)),
        ("mispricing", oct_(7), Decimal(-2)),
    ]


def test_a_failure_logged_with_spend_is_mispricing():
    month = Month().busy()
    month.log(
        oct_(6), OPUS, {"uncached_input": 500_000}, calls=3, call_class=CallClass.FAILED_SPEND, spend=Decimal("2.50")
    )
    (found,) = month.found()
    assert (found.kind, found.amount) == ("mispricing", Decimal("-2.50"))
    assert "which the provider does not bill" in found.words


def test_another_rate_of_the_provider_is_mispricing_of_that_model():
    month = Month().busy(range(1, 2))
    month.rates = {(oct_(1), OPUS): Decimal("1.2"), (oct_(1), SONNET): Decimal("0.5")}
    found = month.found()
    assert [(each.kind, each.models, each.amount) for each in found] == [
        ("mispricing", (SONNET,), Decimal(-3)),
        ("mispricing", (OPUS,), Decimal(2)),
    ]
    assert "3.00 USD cheaper than list" in found[0].words


def test_a_model_without_a_price_is_named_apart():
    month = Month().busy(range(1, 2))
    month.used(oct_(1), "claude-new", {"uncached_input": 1_000_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE)
    (bypass, rate) = month.found()
    assert (bypass.kind, bypass.amount) == ("bypass", Decimal(0))
    assert "1,000,000 of the tokens have no price yet" in bypass.words
    assert (rate.kind, rate.amount) == ("mispricing", Decimal(5))
    assert "the price book has no price" in rate.words


def test_small_differences_are_left_out():
    month = Month().busy()
    month.log(
        oct_(6), HAIKU, {"uncached_input": 900_000}, calls=3, call_class=CallClass.FAILED_SPEND, spend=Decimal("0.90")
    )
    assert month.found() == []


# --- all together ------------------------------------------------------------------------------------------------


def test_all_causes_together_are_told_apart_to_the_dollar():
    lost = {day: {OPUS: 40, SONNET: 35, HAIKU: 38} for day in (3, 4)}
    month = leaking(Month().busy(lost=lost), OPUS, range(10, 20))
    month.used(oct_(6), SONNET, CALL)
    month.log(oct_(6), SONNET, CALL, calls=7, call_class=CallClass.UNPRICED, spend=Decimal(0))
    month.used(
        oct_(25), SONNET, {"uncached_input": 2_000_000, "output": 500_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE
    )
    month.used(oct_(26), HAIKU, {"output": 300_000}, key_id=None, workspace_id=None)
    month.log(oct_(28), HAIKU, CALL)
    found = month.found()
    # 40 % of 10.00, 35 % of 6.00 and 38 % of 2.00 on two days are 13.72 lost
    assert [(each.kind, each.amount) for each in found] == [
        ("leaked_key", Decimal("32.50")),
        ("bypass", Decimal("13.5")),
        ("bypass", Decimal("1.5")),
        ("lost_logs", Decimal("13.72")),
        ("over_logged", Decimal(-2)),
        ("mispricing", Decimal(6)),
    ]
    components = month.match().components
    of_kind = {kind: exact_sum(each.amount for each in found if each.kind == kind) for kind in kinds(month)}
    assert of_kind["bypass"] == components[Component.UNPROXIED]
    assert of_kind["mispricing"] == components[Component.PROXY_PRICING]
    assert exact_sum([of_kind["leaked_key"], of_kind["lost_logs"], of_kind["over_logged"]]) == quantity(month)
    assert all(each.words and each.next_step for each in found)
    assert not any("@" in each.words + each.next_step for each in found)


def test_the_same_month_always_has_the_same_findings():
    month = leaking(Month().busy(lost={3: dict.fromkeys(ALL_THREE, 30)}), OPUS, range(10, 15))
    shuffled = Month()
    shuffled.logged, shuffled.usage = month.logged[::-1], month.usage[::-1]
    assert shuffled.found() == month.found()


# --- evidence beside the dollars ---------------------------------------------------------------------------------

PERIOD = InvoicePeriod(oct_(1), oct_(31))


def billed(*lines: tuple[str, str]):
    return invoice_of(
        tuple(InvoiceLine(number, kind, Decimal(amount)) for number, (kind, amount) in enumerate(lines, 1)), PERIOD
    )


def test_an_invoice_of_a_provider_without_a_proxy_key_is_evidence_e4():
    invoice = billed(("usage", "80.00"), ("non_token", "4.50"), ("tax", "10.00"))
    found = no_proxy_route(invoice, KeyRegistry([]))
    assert found is not None
    assert (found.level, found.notional_usd, found.first_day, found.last_day) == (
        "E4",
        Decimal("84.50"),
        oct_(1),
        oct_(30),
    )
    assert "all of it went past the proxy" in found.words
    assert no_proxy_route(invoice, Month().registry()) is None
    later = KeyRegistry([proxy_key(since=oct_(31))])
    assert no_proxy_route(invoice, later) == found
    assert no_proxy_route(billed(("tax", "10.00")), KeyRegistry([])) is None


def test_seats_are_evidence_e5():
    found = ungoverned_seats(billed(("usage", "80.00"), ("seat", "150.00"), ("seat", "30.00")))
    assert found is not None
    assert (found.level, found.notional_usd) == ("E5", Decimal("180.00"))
    assert "180.00 USD of seats in 2 lines" in found.words
    assert ungoverned_seats(billed(("usage", "80.00"))) is None


def test_an_exception_keeps_the_finding_and_stops_the_alert():
    month = Month().busy()
    month.used(oct_(3), SONNET, {"output": 1_000_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE)
    (key,) = month.key_rows()
    granted = BypassException(7, key.identity, "vendor SDK", "Ada", "Grace", oct_(5), dt.date(2026, 11, 30))
    (plain,), (excepted,) = month.found(), month.found(exceptions=[granted])
    assert (plain.raises_alert, excepted.raises_alert) == (True, False)
    assert plain.amount == excepted.amount == Decimal(15)
    assert "An exception holds until 2026-11-30: it is charged all the same." in excepted.words
