"""Where LiteLLM's log is known to leave the bill, by issue: what it logs, what is metered, what the match says.

Each case states both sides as rows, the exact components (volume and mix together as quantity) and the pricing gaps by
name. A case whose log is right is here too: it must not be reported.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.unit.domain.planted import (
    ACCOUNT,
    CI_WORKSPACE,
    DAY,
    HAIKU,
    LONG,
    MTOK,
    OWN_KEY,
    OWN_WORKSPACE,
    PROVIDER,
    SONNET,
    ZERO,
    Month,
    Row,
    Use,
    line,
    match,
    new_month,
    non_token,
    other,
    quantities,
    total,
)
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.legs import ReportedCost
from tokengov_pipelines.domain.match_result import MatchMode, PricingCause

D = Decimal
NEXT_DAY = DAY + dt.timedelta(days=1)
USUAL = {"uncached_input": 100_000, "cache_read": 400_000, "output": 20_000}  # 0.72 of Sonnet


@dataclasses.dataclass(frozen=True)
class Case:
    """What a case has to give: components, and pricing gaps as (cause, amount)."""

    components: dict[str, str]
    gaps: tuple[tuple[PricingCause, str], ...] = ()


def october() -> Month:
    """A month that was logged: one clean call, on a day of its own."""
    month = new_month()
    month.call(dt.date(2026, 10, 2), SONNET, USUAL)
    return month


CASES: dict[str, tuple[Callable[[Month], None], Case]] = {}


def case(name: str, *gaps: tuple[PricingCause, str], **components: str):
    """Register a fixture under its issue numbers."""

    def register(build: Callable[[Month], None]) -> Callable[[Month], None]:
        CASES[name] = (build, Case(components, gaps))
        return build

    return register


def logged(month: Month, tokens: dict[str, int], spend: str, **fields: object) -> Row:
    """A row of the log alone."""
    row = Row(DAY, SONNET, "standard", 0, dict(tokens), D(spend))
    month.rows.append(dataclasses.replace(row, **fields))
    return month.rows[-1]


def metered(month: Month, tokens: dict[str, int], **fields: object) -> Use:
    """Usage of the provider alone, on the proxy's key."""
    use = Use(DAY, SONNET, "standard", 0, dict(tokens))
    month.uses.append(dataclasses.replace(use, **fields))
    return month.uses[-1]


# --- no price, or the wrong price ------------------------------------------------------------------------------------


@case("unpriced-model-37923-40100", (PricingCause.UNPRICED, "0.72"), proxy_pricing="0.72")
def streamed_call_without_spend(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0", call_class=CallClass.UNPRICED)


@case("custom-pricing-logged-as-zero-21023", (PricingCause.UNPRICED, "0.72"), proxy_pricing="0.72")
def custom_price_is_ignored(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0", call_class=CallClass.UNPRICED)


@case("custom-pricing-bills-cache-reads-twice-40006", (PricingCause.PRICE_DIFFERS, "-0.12"), proxy_pricing="-0.12")
def cache_reads_are_priced_twice(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.84")


@case("long-context-at-the-base-price-30135", (PricingCause.PRICE_DIFFERS, "0.75"), proxy_pricing="0.75")
def long_context_is_logged_at_the_base_price(month: Month) -> None:
    """A call of 250,000 input tokens where the map has no price above 200k."""
    metered(month, {"uncached_input": 250_000}, over=LONG)
    logged(month, {"uncached_input": 250_000}, "0.75", over=LONG)


@case("cost-discount-config", (PricingCause.PRICE_DIFFERS, "0.036"), proxy_pricing="0.036")
def discount_setting_changes_spend(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.684")  # five percent off


@case("cost-margin-config", (PricingCause.PRICE_DIFFERS, "-0.072"), proxy_pricing="-0.072")
def margin_setting_changes_spend(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.792")  # ten percent on top


@case("bedrock-three-times-the-bill-12313", (PricingCause.PRICE_DIFFERS, "-1.44"), proxy_pricing="-1.44")
def bedrock_logs_three_times_the_bill(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "2.16")


@case(
    "web-search-in-the-spend-of-a-call",
    (PricingCause.PRICE_DIFFERS, "-0.01"),
    proxy_pricing="-0.01",
    non_token="0.01",
)
def web_search_is_a_line_of_its_own(month: Month) -> None:
    """The proxy adds 0.01 to the call; the provider reports and bills the search by itself. Nothing is missing."""
    metered(month, USUAL)
    logged(month, USUAL, "0.73")
    month.non_token.append(non_token("0.01"))
    month.extra_lines.append(line("non_token", "0.01", "web search"))


# --- spend that is on no invoice -------------------------------------------------------------------------------------


@case("client-oauth-token", (PricingCause.SUBSCRIPTION, "-0.72"), proxy_pricing="-0.72")
def subscription_call(month: Month) -> None:
    logged(month, USUAL, "0.72", call_class=CallClass.SUBSCRIPTION)


@case("guardrail-and-mcp-cost", (PricingCause.NO_TOKENS, "-0.03"), proxy_pricing="-0.03")
def guardrail_and_mcp_cost(month: Month) -> None:
    logged(month, {}, "0.02")
    logged(month, {}, "0.01")


# --- rows that are not there -----------------------------------------------------------------------------------------


@case("no-row-when-pricing-fails-36426", quantity="0.72")
def pricing_error_writes_no_row(month: Month) -> None:
    metered(month, USUAL)


@case("missing-rows-13280", quantity="1.44")
def rows_are_missing(month: Month) -> None:
    metered(month, USUAL)
    metered(month, USUAL)


@case("messages-stream-of-another-backend-28943", quantity="0.72")
def stream_of_another_backend_is_lost(month: Month) -> None:
    metered(month, USUAL)


@case("silent-batch-35358", quantity="0.72", tier_discount="-0.36")
def batch_without_a_row(month: Month) -> None:
    """Its tokens at the standard price, and what a batch is cheaper."""
    metered(month, USUAL, tier="batch")


@case("pass-through-without-tokens-36523-10238-30725-37105-25705", quantity="2.16")
def pass_through_behind_another_host(month: Month) -> None:
    """Success, no tokens, no spend."""
    for _ in range(3):
        metered(month, USUAL)
        logged(month, {}, "0", call_class=CallClass.ZERO)


# --- rows that are there twice ---------------------------------------------------------------------------------------


@case("responses-bridge-logs-twice-15740", quantity="-0.72")
def responses_bridge(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    logged(month, USUAL, "0.72")


@case("responses-retrieve-bills-again-17814", quantity="-0.72")
def responses_retrieve(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    logged(month, USUAL, "0.72", day=NEXT_DAY)


@case("batch-charged-per-retrieve-12084", quantity="-1.44", tier_discount="0.72")
def batch_is_charged_per_retrieve(month: Month) -> None:
    """Three rows of one batch: the surplus at the standard price, and the discount that it was logged with."""
    metered(month, USUAL, tier="batch")
    for _ in range(3):
        logged(month, USUAL, "0.36", tier="batch")


# --- rows with other tokens than the provider's ----------------------------------------------------------------------


@case("client-hangs-up-14457-13245-openai-wire", quantity="0.020823")
def client_hangs_up_on_the_openai_wire(month: Month) -> None:
    """Success with error code 499: 34 in and 5 out counted by the proxy, 2,500 and 900 billed."""
    metered(month, {"uncached_input": 2_500, "output": 900})
    logged(month, {"uncached_input": 34, "output": 5}, "0.000177", call_class=CallClass.PARTIAL)


@case("client-hangs-up-14457-anthropic", quantity="0.013395")
def client_hangs_up_on_the_anthropic_wire(month: Month) -> None:
    """The input is exact, 7 output tokens of 900 are there."""
    metered(month, {"uncached_input": 2_500, "output": 900})
    logged(month, {"uncached_input": 2_500, "output": 7}, "0.007605", call_class=CallClass.PARTIAL)


@case("usage-explicitly-zero-37992", quantity="-0.000177")
def usage_of_zero_is_counted_locally(month: Month) -> None:
    logged(month, {"uncached_input": 34, "output": 5}, "0.000177")


@case(
    "upstream-dies-mid-stream-openai-wire",
    (PricingCause.FAILED_SPEND, "-0.000162"),
    proxy_pricing="-0.000162",
    quantity="0.015",
)
def upstream_dies_on_the_openai_wire(month: Month) -> None:
    """A failure with spend: its estimate of 29 and 5 tokens leaves, the 3,000 and 400 that are billed come in."""
    metered(month, {"uncached_input": 3_000, "output": 400})
    logged(month, {"uncached_input": 29, "output": 5}, "0.000162", call_class=CallClass.FAILED_SPEND)


@case(
    "upstream-dies-mid-stream-anthropic",
    (PricingCause.FAILED_SPEND, "-0.009075"),
    proxy_pricing="-0.009075",
    quantity="0.021",
)
def upstream_dies_on_the_anthropic_wire(month: Month) -> None:
    """message_start's usage is kept: the input is exact, 5 output tokens of 800 are there."""
    metered(month, {"uncached_input": 3_000, "output": 800})
    logged(month, {"uncached_input": 3_000, "output": 5}, "0.009075", call_class=CallClass.FAILED_SPEND)


@case(
    "retry-that-the-provider-billed",
    (PricingCause.FAILED_SPEND, "-0.72"),
    proxy_pricing="-0.72",
    quantity="0.72",
)
def billed_retry(month: Month) -> None:
    """The row `<id>-attempt-1` is a failure with spend, and it was billed: both causes are shown, the gap is zero."""
    metered(month, USUAL)
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    logged(month, USUAL, "0.72", call_class=CallClass.FAILED_SPEND)


@case("cache-tokens-counted-twice-9812-11364-11789", quantity="-1.20")
def cache_reads_are_input_as_well(month: Month) -> None:
    """The prompt with its 400,000 cached tokens is logged as uncached input, and the cached ones again."""
    metered(month, USUAL)
    logged(month, USUAL | {"uncached_input": 500_000}, "1.92")


@case("server-tool-stream-loses-cache-writes-42663", quantity="0.225")
def later_cache_writes_are_not_logged(month: Month) -> None:
    """Only message_start's cache writes are there: 20,000 of 80,000."""
    metered(month, USUAL | {"cache_write_5m": 80_000})
    logged(month, USUAL | {"cache_write_5m": 20_000}, "0.795")


@case("usage-object-is-missing", quantity="-1.08")
def no_usage_object(month: Month) -> None:
    """All prompt tokens are uncached input (rule 4.4); the error is in mix, its total of tokens is right."""
    metered(month, USUAL)
    logged(month, {"uncached_input": 500_000, "output": 20_000}, "1.80")


@case("bedrock-26-dollars-of-770-8514", quantity="743.26")
def bedrock_logs_a_part_of_the_bill(month: Month) -> None:
    metered(month, {"uncached_input": 770 * MTOK}, model=HAIKU)
    logged(month, {"uncached_input": 26_740_000}, "26.74", model=HAIKU)


# --- tiers and days --------------------------------------------------------------------------------------------------


@case("service-tier-of-the-answer-is-lost-13810", tier_discount="-0.36")
def cheaper_tier_is_logged_at_the_standard_price(month: Month) -> None:
    metered(month, USUAL, tier="batch")
    logged(month, USUAL, "0.72")


@case("asked-for-a-tier-and-served-standard", tier_discount="0.36")
def cheaper_tier_was_asked_and_not_served(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.36", tier="batch")


@case("batch-logged-on-the-day-of-its-retrieval-39980")
def batch_is_logged_a_day_later(month: Month) -> None:
    """It nets to zero within the month; a create row without tokens stands on the first day."""
    metered(month, USUAL, tier="batch")
    logged(month, {}, "0", call_class=CallClass.ZERO)
    logged(month, USUAL, "0.36", tier="batch", day=NEXT_DAY)


# --- rows that look wrong and are right ------------------------------------------------------------------------------


@case("cache-hit-of-the-proxy")
def proxy_cache_hit(month: Month) -> None:
    """Full tokens, no spend; the provider never saw it."""
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    logged(month, USUAL, "0", call_class=CallClass.CACHE_HIT)


@case("failed-calls-carry-estimates-37365-39455")
def failures_with_estimated_tokens(month: Month) -> None:
    for _ in range(3):
        logged(month, {"uncached_input": 25}, "0", call_class=CallClass.FAILURE)


@case("fallback-to-another-model")
def fallback(month: Month) -> None:
    """One row under the model that answered."""
    metered(month, USUAL, model=HAIKU)
    logged(month, USUAL, "0.24", model=HAIKU)


@case("stream-without-include-usage")
def stream_without_include_usage(month: Month) -> None:
    metered(month, USUAL)
    logged(month, USUAL, "0.72")


@case("one-hour-cache-writes")
def cache_writes_at_their_own_price(month: Month) -> None:
    metered(month, USUAL | {"cache_write_5m": 40_000})
    logged(month, USUAL | {"cache_write_5m": 40_000}, "0.87")


@case(
    "never-in-the-log",
    unproxied="0.72",
    provider_rate="-0.05",
    non_token="1.25",
    commitment="312.00",
    credits_discounts="-20.00",
    tax="3.43",
)
def what_no_log_can_hold(month: Month) -> None:
    """Console traffic, a contract price, file storage, reserved throughput and seats, credits, tax."""
    month.uses.append(other(None, CI_WORKSPACE, **USUAL))
    month.rates.append((month.uses[-1], "output", D("-0.05")))
    month.non_token.append(non_token("1.25", "code_execution"))
    month.extra_lines += [
        line("non_token", "1.25", "containers and vector stores"),
        line("commitment", "300.00", "provisioned throughput"),
        line("seat", "12.00", "seats"),
        line("credit", "-20.00", "promotional credit"),
        line("tax", "3.43", "sales tax"),
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_match_names_the_cause_and_its_dollars(name: str) -> None:
    build, wanted = CASES[name]
    month = october()
    build(month)
    found = match(month)
    assert quantities(found) == {component: D(amount) for component, amount in wanted.components.items()}
    assert {(gap.cause, gap.amount) for gap in found.pricing_gaps} == {
        (cause, D(amount)) for cause, amount in wanted.gaps
    }
    assert total(found.components.values()) == found.gap
    assert (found.errors, found.status) == ((), "matched")


@pytest.mark.parametrize("name", ["bedrock-three-times-the-bill-12313", "bedrock-26-dollars-of-770-8514"])
def test_bedrock_has_no_cost_report_and_gives_the_same_two_way(name: str) -> None:
    build, wanted = CASES[name]
    month = october()
    build(month)
    found = match(month, legs=dataclasses.replace(month.legs(), costs=None))
    assert quantities(found) == {component: D(amount) for component, amount in wanted.components.items()}
    assert found.mode is MatchMode.TWO_WAY


def test_a_late_batch_of_the_last_day_is_not_bypass() -> None:
    """Retrieved on 1 November: October's invoice has it, its row is November's (PR 39980)."""
    month = new_month()
    metered(month, USUAL, tier="batch", day=dt.date(2026, 10, 31))
    logged(month, USUAL, "0.36", tier="batch", day=dt.date(2026, 11, 1))
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    assert quantities(match(month)) == {"quantity": D("0.72"), "tier_discount": D("-0.36")}


def test_a_self_hosted_model_with_a_price_of_its_own_is_not_guessed() -> None:
    """Logged under the provider's name at a custom price: no alias, so an error item, and no dollars are made up."""
    month = new_month()
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    logged(month, {"uncached_input": MTOK}, "0.50", name="my-llama")
    found = match(month)
    assert quantities(found) == {"proxy_pricing": D("-0.50")}
    (error,) = found.errors
    assert (error.code, error.key, error.tokens) == ("unmapped_model", "my-llama", MTOK)
    assert found.status == "blocked"


def test_every_case_at_once() -> None:
    """The bugs do not disturb each other: the components of all are the sums of each."""
    month = october()
    expected: dict[str, Decimal] = {}
    for build, wanted in CASES.values():
        build(month)
        for component, amount in wanted.components.items():
            expected[component] = expected.get(component, ZERO) + D(amount)
    found = match(month)
    assert quantities(found) == {component: amount for component, amount in expected.items() if amount}
    assert found.errors == ()


def test_cost_lines_are_never_attributed_to_the_log() -> None:
    """A cost report by key changes nothing: W6 is the report's total."""
    month = new_month()
    metered(month, USUAL)
    logged(month, USUAL, "0.72")
    legs = month.legs()
    keyed: list[ReportedCost] = [dataclasses.replace(cost, key_id=OWN_KEY) for cost in legs.costs or ()]
    assert all((cost.account, cost.provider, cost.workspace_id) == (ACCOUNT, PROVIDER, OWN_WORKSPACE) for cost in keyed)
    assert quantities(match(month, legs=dataclasses.replace(legs, costs=keyed))) == {}
