"""The 558 real rows against what the provider metered for the same calls: every difference has a name and a cause.

Leg A goes the product's way: Postgres, lake, dbt, `assets.reconciliation_inputs`. The provider's side is the meter of
the same rig: one line a call, with what was used. Expected figures are worked out by hand from rows and meter; where a
figure belongs to a few calls, the test finds these calls by their ids. `-s` shows the tables.
"""

import dataclasses
import datetime as dt
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from assets.reconciliation_inputs import MatchInputs, gather_inputs
from resources.lake import Lake
from resources.price_book import PriceBookFiles
from resources.tables import Tables
from tests.conftest import need_real_data, run_sql_file
from tests.installation import TestHome
from tests.rig_meter import (
    ALIASES,
    DAY,
    DEEPSEEK,
    EMBEDDING,
    HAIKU,
    MISTRAL,
    PRICES,
    REGISTRY,
    SONNET,
    TYPES,
    UNPRICED,
    USD_OF_A_SEARCH,
    Metered,
    Row,
    cost_report,
    joined,
    logged_tokens,
    meter,
    plain,
    usage_report,
)
from tokengov_pipelines.domain.bypass import FindingKind
from tokengov_pipelines.domain.bypass_findings import findings
from tokengov_pipelines.domain.legs import Legs
from tokengov_pipelines.domain.match_result import Component, ErrorCode
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.usage_cells import UNMAPPED
from tokengov_pipelines.jobs import LOAD_DAYS

D = Decimal
MONTH = BillingMonth(2026, 11)

pytestmark = pytest.mark.xdist_group("real rows")


@pytest.fixture(scope="module")
def home(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    folder, url = need_real_data("litellm"), new_database()
    for name in ("schema.sql", "entities.sql", "spendlogs.sql.gz", "daily.sql"):
        run_sql_file(url, folder / name)
    home = TestHome(
        tmp_path_factory.mktemp("reconciled"), url, log_start=str(DAY), books_start="2026-11", as_of="2026-11-24"
    )
    home.write("directory/provider_keys.csv", REGISTRY)
    home.write("prices/contract_prices.csv", PRICES)
    home.write("prices/model_aliases.csv", ALIASES)
    loaded = home.run(LOAD_DAYS, str(DAY))
    assert loaded.succeeded, loaded
    # What the daily checks say of these rows: the model without a price, and the deployment with a price of its own.
    assert [check.split(": ")[1] for check in sorted(loaded.failed_checks)] == [
        "the_proxys_prices_agree_with_the_book",
        "used_models_are_priced",
    ]
    return home


@pytest.fixture(scope="module")
def inputs(home: TestHome) -> MatchInputs:
    """What the product reads of the day, with the meter in place of a provider's reports, which the rig has not got."""
    installation = home.installation
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    day = InvoicePeriod(DAY, DAY + dt.timedelta(days=1))
    read = gather_inputs(installation, lake, Tables(root=str(installation.tables_dir)), day)
    assert {provider: legs.usage for provider, legs in read.legs.items()} == dict.fromkeys(
        ("anthropic", "deepseek", "mistral", "openai", "unknown")
    )
    usage, costs = usage_report(meter()), cost_report(meter())
    legs = {
        provider: dataclasses.replace(
            legs,
            usage=[each for each in usage if each.provider == provider],
            costs=[each for each in costs if each.provider == provider],
        )
        for provider, legs in read.legs.items()
    }
    return dataclasses.replace(read, legs=legs)


@pytest.fixture(scope="module")
def matches(inputs: MatchInputs) -> dict[str, Reconciliation]:
    return matched(inputs, inputs.book)


def matched(inputs: MatchInputs, book: PriceBook) -> dict[str, Reconciliation]:
    return {
        provider: reconcile(MONTH, legs, None, registry=inputs.registry, book=book, so_far=inputs.period)
        for provider, legs in inputs.legs.items()
    }


def captured_by_model(all_legs: Iterable[Legs]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for legs in all_legs:
        for row in legs.logged:
            found[plain(row.model)] += row.logged
    return found


def metered_by_model() -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for call in meter():
        found[call.model] += call.total
    return found


def show(title: str, rows: Iterable[tuple[object, ...]]) -> None:
    lines = ["  ".join(f"{cell!s:>26}" for cell in row) for row in rows]
    sys.stdout.write("\n".join(["", title, *lines, ""]))


def test_captured_against_metered_by_model(inputs: MatchInputs) -> None:
    captured, metered = captured_by_model(inputs.legs.values()), metered_by_model()
    table = [
        (model, captured[model], metered[model], metered[model] - captured[model])
        for model in sorted({*captured, *metered}, key=lambda model: -metered[model])
    ]
    show("USD by model", [("model", "captured", "metered", "difference"), *table])
    assert [(model, *map(str, map(Decimal.normalize, amounts))) for model, *amounts in table if amounts[1]] == [
        (SONNET, "7.836525", "7.937862", "0.101337"),
        ("gpt-4o", "1.527985", "1.6217875", "0.0938025"),
        ("gpt-5", "0.77274", "0.77274", "0"),
        ("gpt-4o-mini", "0.05036805", "0.05036805", "0"),
        (HAIKU, "0.032627", "0.032627", "0"),
        (EMBEDDING, "0.00147316", "0.00147316", "0"),
        (DEEPSEEK, "0.0010626", "0.000966", "-0.0000966"),
        (MISTRAL, "0.0005985", "0.00063", "0.0000315"),
    ]
    # A model without a price, and three calls that LiteLLM refused: nothing on either side.
    assert {model: difference for model, _, metered, difference in table if not metered} == {
        UNPRICED: 0,
        "unknown-model": 0,
    }
    assert str(exact_sum(captured.values())) == "10.223379310000"
    assert exact_sum(metered.values()) == D("10.418453710000")
    assert str(exact_sum(metered.values()).quantize(D("0.00001"))) == "10.41845"


def explained(inputs: MatchInputs, matches: dict[str, Reconciliation]) -> dict[tuple[str, str], Decimal]:
    """Every difference as the product explains it: by model, and by cause or component."""
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    names = {inputs.book.model_of(call.provider, call.model): call.model for call in meter()}
    for provider, match in matches.items():
        for gap in match.pricing_gaps:
            found[plain(gap.model), gap.cause.value] += gap.amount
        for cell in match.cells:
            found[names.get(cell.model, plain(cell.model)), "volume + mix"] += cell.quantity_amount
            found[names.get(cell.model, plain(cell.model)), "tier_discount"] += cell.tier_amount
            found[names.get(cell.model, plain(cell.model)), "unproxied"] += cell.unproxied_amount
        for rate in match.rate_cells:
            found[names.get(rate.model, plain(rate.model)), "provider_rate"] += rate.variance
        for line in inputs.legs[provider].costs or ():
            if line.cost_type != "tokens":
                found[str(line.model), "non_token"] += line.amount
    return {key: amount for key, amount in found.items() if amount}


def test_every_difference_is_explained_and_the_parts_are_the_gap(
    inputs: MatchInputs, matches: dict[str, Reconciliation]
) -> None:
    found = explained(inputs, matches)
    show("Causes", [(model, cause, amount) for (model, cause), amount in sorted(found.items())])
    assert found == {
        # Six streams that died were logged with what had come until then; that spend leaves, and the calls are volume.
        (SONNET, "failed_spend"): -3 * D("0.007575"),
        ("gpt-4o", "failed_spend"): -D("0.0001225"),
        # LiteLLM puts nine web searches into the spend of three calls; the provider bills them on a line of their own.
        (SONNET, "price_differs"): -9 * USD_OF_A_SEARCH,
        (SONNET, "non_token"): 9 * USD_OF_A_SEARCH,
        # Three calls of a deployment with its own price (2 and 8 for 2.50 and 10), a discount of 5 %, a margin of 10 %.
        ("gpt-4o", "price_differs"): 3 * D("0.0007"),
        (MISTRAL, "price_differs"): 3 * D("0.00021") * D("0.05"),
        (DEEPSEEK, "price_differs"): -3 * D("0.000322") * D("0.10"),
        # Tokens that the provider metered and the log does not have; by call in the test below.
        (SONNET, "volume + mix"): D("0.124062"),
        ("gpt-4o", "volume + mix"): D("0.091825"),
    }
    by_model: dict[str, Decimal] = defaultdict(Decimal)
    for (model, _), amount in found.items():
        by_model[model] += amount
    captured, metered = captured_by_model(inputs.legs.values()), metered_by_model()
    assert by_model == {model: metered[model] - captured[model] for model in by_model}
    assert exact_sum(by_model.values()) == D("0.195074400000")

    components: dict[Component, Decimal] = defaultdict(Decimal)
    for match in matches.values():
        for component, amount in match.components.items():
            components[component] += amount
    assert components[Component.PROXY_PRICING] == D("-0.1108126")
    assert components[Component.VOLUME] + components[Component.MIX] == D("0.215887")
    assert components[Component.NON_TOKEN] == D("0.09")
    for none in (Component.TIMING, Component.TIER_DISCOUNT, Component.UNPROXIED, Component.PROVIDER_RATE):
        assert components[none] == 0
    assert exact_sum(match.logged for match in matches.values()) == D("10.22337931")
    assert exact_sum(match.states["W7"] for match in matches.values()) == D("10.41845371")
    assert exact_sum(components.values()) == D("0.195074400000")


def test_what_stays_open_is_named_with_its_tokens_and_no_amount(matches: dict[str, Reconciliation]) -> None:
    """The model that has no price anywhere: an open item, and never a zero that looks like an answer."""
    errors = {provider: match.errors for provider, match in matches.items() if match.errors}
    assert list(errors) == ["openai"]
    # The provider and the proxy's log may spell it in two ways, and each is said.
    assert {(error.code, plain(error.key), error.tokens, error.amount) for error in errors["openai"]} == {
        (ErrorCode.UNMAPPED_MODEL, UNPRICED, 3 * 1_100, 0)
    }
    for error in errors["openai"]:
        assert f"{error.key!r} is in no alias list; it was used on {DAY}. Fix: add its name to" in str(error)


def test_findings_name_lost_and_mispriced_rows_and_accuse_nobody(
    inputs: MatchInputs, matches: dict[str, Reconciliation]
) -> None:
    found = [
        finding
        for provider, match in matches.items()
        for finding in findings(
            match, [], inputs.legs[provider], registry=inputs.registry, book=inputs.book, min_usd=D("0.00001")
        )
    ]
    show("Findings", [(each.kind, each.provider, each.models, each.amount) for each in found])
    amounts: dict[tuple[FindingKind, str], Decimal] = defaultdict(Decimal)
    for finding in found:
        amounts[finding.kind, finding.provider] += finding.amount
    assert amounts == {
        (FindingKind.LOST_LOGS, "anthropic"): D("0.124062"),
        (FindingKind.LOST_LOGS, "openai"): D("0.091825"),
        (FindingKind.MISPRICING, "anthropic"): D("-0.097575"),  # nine searches 0.09, a failure 0.007575
        (FindingKind.MISPRICING, "openai"): D("0.0019775"),
        (FindingKind.MISPRICING, "deepseek"): D("-0.0000966"),
        (FindingKind.MISPRICING, "mistral"): D("0.0000315"),
        # Two failures that LiteLLM wrote without a provider.
        (FindingKind.MISPRICING, "unknown"): D("-0.01515"),
    }
    assert exact_sum([*amounts.values(), 9 * USD_OF_A_SEARCH]) == D("0.1950744")
    # One day is too little to tell lost rows from a leaked key, and that is what is said.
    for finding in found:
        if finding.kind is FindingKind.LOST_LOGS:
            assert "a leaked proxy key cannot be excluded" in finding.words


def test_with_the_shipped_list_the_long_calls_are_priced_apart_and_never_netted(
    inputs: MatchInputs, tmp_path: Path
) -> None:
    """Three calls with 250,000 tokens of input: the list has a higher price above 200,000, the rig's provider has not.

    W2 is at the list, so log and provider differ from it by the same amount, and both differences are shown.
    """
    listed = PriceBookFiles(url=str(tmp_path / "prices")).load().book
    match = matched(inputs, listed)["anthropic"]
    assert {component.value: amount for component, amount in match.components.items() if amount} == {
        "proxy_pricing": D("1.4625") - D("0.09") - D("0.007575"),
        "volume": D("0.114905474033"),
        "mix": D("0.124062") - D("0.114905474033"),
        "provider_rate": D("-1.4625"),
        "non_token": D("0.09"),
    }
    assert match.gap == D("0.101337") + D("0.01515")  # the two failures without a provider are not in this log
    (long,) = [gap for gap in match.pricing_gaps if gap.over_tokens == 200_000]
    assert (long.calls, long.logged, long.repriced) == (3, D("1.485"), D("2.9475"))
    variances = {rate.token_type: rate.variance for rate in match.rate_cells if rate.variance}
    assert variances == {"uncached_input": D("-1.35"), "cache_read": D("-0.09"), "output": D("-0.0225")}
    assert not any(cell.band_inferred for cell in match.cells)


# --- by call ---------------------------------------------------------------------------------------------------------


def cause_of(row: Row, calls: list[Metered]) -> str:
    """Why a logged call differs from its meter, from LiteLLM's own words about it."""
    if row.request_id == "chatcmpl-fixedDuplicateId":
        return "rows dropped for a duplicate id"
    if row.status == "failure":
        return "stream died upstream"
    if row.code == "499":
        return "client hung up"
    if [call.tokens["output"] for call in calls] == [900]:
        return "cut short and not said"  # LiteLLM writes no 499 on Anthropic's wire
    if row.call_type == "pass_through_endpoint":
        return "pass-through without usage"
    if row.group == "gpt-4o-negotiated":
        return "price of the deployment"
    if float(row.discount or 0):
        return "discount"
    return "margin" if float(row.margin or 0) else "open"


def test_every_difference_belongs_to_calls_and_the_calls_are_the_cells(
    home: TestHome, matches: dict[str, Reconciliation], inputs: MatchInputs
) -> None:
    found: dict[tuple[str, str], list[tuple[int, int, Decimal]]] = defaultdict(list)
    everything = joined(home.url)
    for row, calls in everything:
        difference = exact_sum([*(call.total for call in calls), -row.spend])
        if difference:
            found[cause_of(row, calls), plain(row.model)].append((1, len(calls), difference))
    causes = {
        key: (
            sum(rows for rows, _, _ in each),
            sum(calls for _, calls, _ in each),
            exact_sum(usd for _, _, usd in each),
        )
        for key, each in found.items()
    }
    show("Calls", [(cause, model, *sizes) for (cause, model), sizes in sorted(causes.items())])
    assert causes == {
        ("client hung up", "gpt-4o"): (3, 3, 3 * (D("0.01525") - D("0.000135"))),
        ("cut short and not said", SONNET): (3, 3, 3 * (D("0.021") - D("0.007605"))),
        ("stream died upstream", "gpt-4o"): (3, 3, 3 * D("0.0115") - D("0.0001225")),
        # One of the three rows was asked twice: the provider metered the retry too, and the log has no row of it.
        ("stream died upstream", SONNET): (3, 4, 4 * D("0.0195") - 3 * D("0.007575")),
        ("pass-through without usage", "gpt-4o"): (3, 3, 3 * D("0.00166")),
        ("pass-through without usage", SONNET): (3, 3, 3 * D("0.001959")),
        ("rows dropped for a duplicate id", "gpt-4o"): (1, 3, 2 * D("0.0035")),
        ("price of the deployment", "gpt-4o"): (3, 3, 3 * D("0.0007")),
        ("discount", MISTRAL): (3, 3, 3 * D("0.0000105")),
        ("margin", DEEPSEEK): (3, 3, -3 * D("0.0000322")),
    }
    assert exact_sum(usd for _, _, usd in causes.values()) == D("0.195074400000")
    assert sum(len(calls) for _, calls in everything) == len(meter()) == 536
    nothing_metered = Counter(row.status for row, calls in everything if not calls)
    assert nothing_metered == {"failure": 21}  # refused before a token was made, and logged without spend

    lacking: Counter[tuple[str, str]] = Counter()
    delivered = {row.request_id: row for row, _ in everything if row.status == "success"}
    logged = logged_tokens(home.url, delivered)
    for row, calls in everything:
        for token_type in TYPES:
            metered = sum(call.tokens[token_type] for call in calls)
            lacking[plain(row.model), token_type] += metered - logged[row.request_id].get(token_type, 0)
    by_cell: Counter[tuple[str, str]] = Counter()
    names = {inputs.book.model_of(call.provider, call.model): call.model for call in meter()}
    for match in matches.values():
        for cell in match.cells:
            by_cell[names.get(cell.model, plain(cell.model).lstrip(UNMAPPED)), cell.token_type] += (
                cell.own_tokens - cell.proxy_tokens
            )
    assert {key: tokens for key, tokens in by_cell.items() if tokens} == {
        key: tokens for key, tokens in lacking.items() if tokens
    }
