"""The price book by example: what a look-up answers, what it refuses to answer, and what makes a book unsound."""

import csv
import datetime as dt
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import REPOSITORY, need_real_data
from tokengov_pipelines.demo.prices import MODELS, PICO, TIERS, pico_per_token, price_per_mtok
from tokengov_pipelines.demo.prices import TOKEN_TYPES as DEMO_TOKEN_TYPES
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.price_files import GEO_COLUMNS, PRICE_COLUMNS, SLUG_FILE, load_book
from tokengov_pipelines.domain.pricing import (
    ALIAS_FILE,
    GEO_FILE,
    PRICE_FILE,
    PRICED_UNITS,
    TOKEN_TYPES,
    GeoFactor,
    PriceBook,
    PriceRow,
    PriceStatus,
    band_label,
    normalised_name,
    price_book,
)

PRICES = REPOSITORY / "tokengov_pipelines" / "prices"
SLUG_LIST = REPOSITORY / "dbt_project" / "seeds" / SLUG_FILE
SLUGS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google", "vertex_ai": "google"}
ALIASES = b"alias,provider,model\n"
SLUG_TEXT = b"provider_slug,provider\nopenai,openai\n"
DAY = dt.date(2026, 10, 1)


def seeded() -> PriceBook:
    prices, aliases, factors = ((PRICES / name).read_bytes() for name in (PRICE_FILE, ALIAS_FILE, GEO_FILE))
    book, problems = load_book(prices, aliases, SLUG_LIST.read_bytes(), factors)
    assert [str(problem) for problem in problems] == []
    return book


BOOK = seeded()


def price(provider: str, model: str, token_type: str, day: str, tier: str = "standard", tokens: int = 1) -> str | None:
    found = BOOK.unit_price(provider, model, token_type, tier, tokens, dt.date.fromisoformat(day))
    assert (found.status == PriceStatus.EXACT) == (found.usd_per_token is not None)
    return None if found.row is None else str(found.row.usd_per_mtok)


def row(
    day: str = "2026-01-01", end: str | None = None, usd: str = "2", band: tuple[str, int] = ("all", 0), line: int = 2
) -> PriceRow:
    valid = Interval(dt.date.fromisoformat(day), dt.date.fromisoformat(end) if end else None)
    return PriceRow("openai", "m", "output", "standard", *band, Decimal(usd), valid, "test", "1", line)


def factor(value: str, day: str = "2026-01-01", end: str | None = None, model: str = "m", line: int = 2) -> GeoFactor:
    valid = Interval(dt.date.fromisoformat(day), dt.date.fromisoformat(end) if end else None)
    return GeoFactor("openai", model, "eu", Decimal(value), valid, "test", "1", line)


def problems_of(*lines: str) -> list[str]:
    text = "\n".join([",".join(PRICE_COLUMNS), *lines])
    return [str(problem) for problem in load_book(text.encode(), ALIASES, SLUG_TEXT)[1]]


def test_prices_change_on_the_day_that_the_provider_changed_them():
    assert [price("openai", "o3", kind, "2025-06-09") for kind in ("uncached_input", "cache_read", "output")] == [
        "10",
        "2.5",
        "40",
    ]
    assert [price("openai", "o3", kind, "2025-06-10") for kind in ("uncached_input", "cache_read", "output")] == [
        "2",
        "0.5",
        "8",
    ]
    for model, before, after in (
        ("gpt-5.6-luna", ("1", "6"), ("0.2", "1.2")),
        ("gpt-5.6-terra", ("2.5", "15"), ("2", "12")),
    ):
        kinds = ("uncached_input", "output")
        assert tuple(price("openai", model, kind, "2026-07-29") for kind in kinds) == before
        assert tuple(price("openai", model, kind, "2026-07-30") for kind in kinds) == after
    assert price("openai", "gpt-5.6-sol", "output", "2026-08-20") == "30"
    assert price("openai", "gpt-5.6-sol", "output", "2026-08-21") == "20"


def test_the_september_rise_of_sonnet_5_was_announced_and_cancelled():
    """genai-prices of August carried 3/15 from 2026-09-01; the release of November says that it never came."""
    for day in ("2026-08-31", "2026-09-01", "2026-11-04"):
        assert [price("anthropic", "claude-sonnet-5", kind, day) for kind in ("uncached_input", "output")] == [
            "2",
            "10",
        ]


@pytest.mark.parametrize(("model", "base", "long"), [("claude-opus-4-6", "5", "10"), ("claude-sonnet-4-6", "3", "6")])
def test_the_long_context_surcharge_of_the_4_6_models_ended_on_a_day(model, base, long):
    assert price("anthropic", model, "uncached_input", "2026-03-12", tokens=200_000) == base
    assert price("anthropic", model, "uncached_input", "2026-03-12", tokens=200_001) == long
    assert price("anthropic", model, "uncached_input", "2026-03-13", tokens=200_001) == base
    assert price("anthropic", model, "uncached_input", "2026-03-12", "batch", 200_001) == str(Decimal(long) / 2)


def test_a_batch_costs_half_before_the_source_recorded_batches_and_after():
    for day in ("2026-06-08", "2026-10-13", "2026-10-14"):
        assert price("anthropic", "claude-sonnet-4-6", "uncached_input", day, "batch") == "1.5"
        assert price("openai", "gpt-5.4-mini", "cache_read", day, "batch") == "0.0375"
        assert price("anthropic", "claude-sonnet-4-6", "web_search_requests", day, "batch") == "10000"
    # The provider lists no cached price for these batches: the row says so, it is not an omission.
    answer = BOOK.unit_price("openai", "gpt-4o", "cache_read", "batch", 1, dt.date(2026, 10, 14))
    assert answer.row is not None
    assert (str(answer.row.usd_per_mtok), answer.row.source) == ("1.25", "genai-prices:same-as-standard")


def test_nothing_stands_in_for_a_price_that_is_not_there():
    assert price("openai", "gpt-5", "output", "2026-10-11", "flex") is None  # recorded since 2026-10-12
    assert price("openai", "gpt-5", "output", "2026-10-12", "flex") == "5"
    assert price("google", "gemini-3.5-flash", "output", "2026-10-20", "batch") is None
    assert price("openai", "gpt-5", "output", "2026-10-12", "scale") is None
    assert price("openai", "gpt-5", "cache_write_1h", "2026-10-12") is None
    assert price("openai", "gpt-4o-2024-08-06", "output", "2026-10-12") is None  # a name, not a model of the list
    assert price("azure", "gpt-4o", "output", "2026-10-12") is None


def test_a_price_per_token_is_exact():
    answer = BOOK.unit_price("openai", "gpt-5.4-mini", "cache_read", "batch", 1, DAY)
    assert answer.usd_per_token == Decimal("0.0000000375")
    assert BOOK.unit_price("openai", "gpt-5", "output", "scale", 1, DAY).usd_per_token is None


def test_a_tier_takes_the_standard_price_only_where_the_policy_names_it_and_the_answer_says_so():
    day = dt.date(2026, 10, 11)
    asked = ("openai", "gpt-5", "output", "flex", 1, day)
    assert BOOK.unit_price(*asked).status is PriceStatus.MISSING
    assert BOOK.unit_price(*asked, fallback_tiers=("priority",)).status is PriceStatus.MISSING
    answer = BOOK.unit_price(*asked, fallback_tiers=("flex",))
    assert (answer.status, answer.usd_per_token) == (PriceStatus.FALLBACK, Decimal("0.00001"))
    assert answer.row is not None
    assert answer.row.service_tier == "standard"
    # Where the tier has a price of its own it is that one, and a model without any price stays without.
    later = BOOK.unit_price("openai", "gpt-5", "output", "flex", 1, dt.date(2026, 10, 12), fallback_tiers=("flex",))
    assert (later.status, later.usd_per_token) == (PriceStatus.EXACT, Decimal("0.000005"))
    none = BOOK.unit_price("openai", "nothing", "output", "flex", 1, day, fallback_tiers=("flex",))
    assert (none.status, none.usd_per_token, none.pico_per_token) == (PriceStatus.MISSING, None, None)


@given(
    tier=st.sampled_from(["standard", "batch", "flex", "priority", "fast", "scale"]),
    day=st.dates(DAY, DAY.replace(year=2027)),
)
def test_a_price_is_never_another_tiers_without_saying_so(tier, day):
    for cell in list(BOOK.prices)[::37]:
        answer = BOOK.unit_price(cell[0], cell[1], cell[2], tier, 1, day, fallback_tiers=("scale", "flex"))
        if answer.row is None:
            assert answer.status is PriceStatus.MISSING
        elif answer.row.service_tier != tier:
            assert (answer.status, answer.row.service_tier) == (PriceStatus.FALLBACK, "standard")
            assert tier in {"scale", "flex"}
        else:
            assert answer.status is PriceStatus.EXACT


def test_a_fast_call_has_the_fast_price_and_no_other():
    asked = ("anthropic", "claude-opus-4-8", "output")
    assert BOOK.unit_price(*asked, "standard", 1, DAY, speed="fast").usd_per_token == Decimal("0.00005")
    assert BOOK.unit_price(*asked, "standard", 1, DAY).usd_per_token == Decimal("0.000025")
    assert BOOK.unit_price(*asked, "batch", 1, DAY, speed="fast").status is PriceStatus.MISSING
    assert BOOK.unit_price(*asked, "standard", 1, DAY, speed="slow").status is PriceStatus.MISSING
    sonnet = ("anthropic", "claude-sonnet-4-6", "output", "standard", 1, DAY)
    assert BOOK.unit_price(*sonnet, speed="fast").status is PriceStatus.MISSING
    assert BOOK.unit_price(*sonnet, speed="fast", fallback_tiers=("fast",)).status is PriceStatus.FALLBACK


def test_a_geography_multiplies_every_token_price_exactly():
    asked = ("anthropic", "claude-sonnet-4-6")
    told = {
        kind: BOOK.unit_price(*asked, kind, "standard", 1, DAY, geo="us").usd_per_token
        for kind in ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    }
    assert {kind: str(price) for kind, price in told.items()} == {
        "uncached_input": "0.000003300000",
        "cache_read": "3.30000E-7",
        "cache_write_5m": "0.000004125000",
        "cache_write_1h": "0.000006600000",
        "output": "0.000016500000",
    }
    batch = BOOK.unit_price(*asked, "uncached_input", "batch", 1, DAY, geo="us")
    assert (batch.usd_per_token, batch.pico_per_token) == (Decimal("0.00000165"), 1_650_000)
    fast = BOOK.unit_price("anthropic", "claude-opus-4-8", "output", "standard", 1, DAY, geo="us", speed="fast")
    assert fast.usd_per_token == Decimal("0.000055")
    search = BOOK.unit_price(*asked, "web_search_requests", "standard", 1, DAY, geo="us")
    assert search.usd_per_token == Decimal("0.01")


def test_a_geography_without_a_factor_has_no_price():
    for geo in ("", "global", "not_available"):
        assert BOOK.unit_price("openai", "gpt-5", "output", "standard", 1, DAY, geo=geo).status is PriceStatus.EXACT
    for provider, model, geo in (
        ("anthropic", "claude-sonnet-4-6", "eu"),
        ("anthropic", "claude-sonnet-4-5", "us"),  # older than the parameter
        ("openai", "gpt-5", "us"),
        ("google", "claude-sonnet-4-6", "us"),  # Vertex AI has regions and prices of its own
    ):
        assert BOOK.unit_price(provider, model, "output", "standard", 1, DAY, geo=geo).status is PriceStatus.MISSING
    assert {each.inference_geo for each in BOOK.geo_factors} == {"us"}
    assert {each.factor for each in BOOK.geo_factors} == {Decimal("1.1")}
    assert {each.provider for each in BOOK.geo_factors} == {"anthropic"}


def test_a_factor_that_is_not_exact_or_not_unique_is_a_problem():
    fine = [row(usd="0.0001")]
    assert price_book(fine, [], SLUGS, [factor("1.1"), factor("1.2", end="2026-01-02", line=3)])[1][0].what == (
        "there is a second factor from 2026-01-01 to 2026-01-02, beside line 3"
    )
    assert price_book(fine, [], SLUGS, [factor("1.01")])[1] == []
    (problem,) = price_book(fine, [], SLUGS, [factor("1.001")])[1]
    assert str(problem) == (
        f"{GEO_FILE}:2 factor: 0.0001 (openai m output standard all from 2026-01-01 on) times 1.001 has more than 12 "
        "decimals per token. Fix: correct the factor or that price."
    )
    assert price_book([row(usd="0.0001", end="2026-01-05")], [], SLUGS, [factor("1.001", "2026-01-05")])[1] == []
    (problem,) = price_book(fine, [], SLUGS, [factor("1.1", model="other")])[1]
    assert problem.what == "openai other has no price to multiply"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("openai,m,us,0,2026-01-01,,s,1", "factor 0 is none"),
        ("openai,m,us,-1.1,2026-01-01,,s,1", "factor -1.1 is none"),
        ("openai,m,us,1.0000000001,2026-01-01,,s,1", "factor 1.0000000001 is none"),
        ("openai,m,US,1.1,2026-01-01,,s,1", "inference_geo 'US' takes no factor"),
        ("openai,m,global,1.1,2026-01-01,,s,1", "inference_geo 'global' takes no factor"),
        ("openai,m,,1.1,2026-01-01,,s,1", "inference_geo is empty"),
    ],
)
def test_a_row_that_is_no_factor_is_named(line, message):
    prices = f"{','.join(PRICE_COLUMNS)}\nopenai,m,output,standard,all,0,1,2026-01-01,,s,1\n"
    factors = f"{','.join(GEO_COLUMNS)}\n{line}\n"
    (problem,) = load_book(prices.encode(), ALIASES, SLUG_TEXT, factors.encode())[1]
    assert str(problem).startswith(f"{GEO_FILE}:2: {message}. Fix: ")


def test_audio_of_openai_has_prices_of_its_own():
    assert [price("openai", "gpt-audio", kind, "2026-10-01") for kind in ("uncached_input", "input_audio")] == [
        "2.5",
        "32",
    ]
    assert [price("openai", "gpt-audio", kind, "2026-10-01") for kind in ("output", "output_audio")] == ["10", "64"]
    assert price("openai", "gpt-4o-realtime-preview", "cache_read_audio", "2026-10-01") == "2.5"
    assert BOOK.model_of("openai", "gpt-realtime-2025-08-28") is None  # takes images too, at a third price
    assert price("google", "gemini-2.5-flash", "input_audio", "2026-10-01") is None


def test_the_band_is_that_of_the_request():
    assert price("google", "gemini-2.5-pro", "output", "2026-10-01", tokens=0) == "10"
    assert price("google", "gemini-2.5-pro", "output", "2026-10-01", tokens=200_000) == "10"
    assert price("google", "gemini-2.5-pro", "output", "2026-10-01", tokens=200_001) == "15"
    assert [band_label(0, None), band_label(0, 200_000), band_label(200_000, None), band_label(128_000, 256_500)] == [
        "all",
        "0-200k",
        "200k+",
        "128k-256500",
    ]


def test_a_call_is_put_in_the_highest_band_that_it_is_above():
    assert BOOK.thresholds("google", "gemini-2.5-pro") == (0, 200_000)
    assert [BOOK.band_of("google", "gemini-2.5-pro", tokens) for tokens in (0, 200_000, 200_001)] == [0, 0, 200_000]
    # The bands of all days and tiers: the surcharge ended in March, and its bound still cuts.
    assert BOOK.band_of("anthropic", "claude-sonnet-4-6", 200_001) == 200_000
    assert BOOK.thresholds("anthropic", "claude-haiku-5-5") == (0, 100_000)
    assert BOOK.thresholds("openai", "gpt-4o") == (0,)
    assert BOOK.band_of("openai", "no such model", 10**9) == 0


@given(tokens=st.integers(0, 2_000_000))
def test_every_call_of_a_band_has_the_price_of_its_band(tokens):
    for provider, model in {cell[:2] for cell in BOOK.prices}:
        band = BOOK.band_of(provider, model, tokens)
        if band or len(BOOK.thresholds(provider, model)) > 1:
            asked = (provider, model, "uncached_input", "standard")
            assert BOOK.unit_price(*asked, tokens, DAY) == BOOK.unit_price(*asked, band + 1, DAY)


def test_names_match_whole_or_not_at_all():
    assert BOOK.model_of("anthropic", "anthropic/claude-sonnet-4-5-20250929") == "claude-sonnet-4-5"
    assert BOOK.model_of("anthropic", " Claude-Sonnet-4-5 ") == "claude-sonnet-4-5"
    assert BOOK.model_of("openai", "gpt-4o-2024-08-06") == "gpt-4o"
    assert BOOK.model_of("openai", "gpt-4o-2024-05-13") == "gpt-4o-2024-05-13"
    assert BOOK.model_of("google", "gemini/gemini-2.5-pro") == "gemini-2.5-pro"
    assert BOOK.model_of("google", "vertex_ai/claude-sonnet-4-5@20250929") == "claude-sonnet-4-5"
    assert BOOK.model_of("google", "gemini/gemini-1.5-flash-8b") == "gemini-flash-1.5-8b"
    for provider, name in (
        ("openai", "gpt-4o-2024-08-07"),
        ("openai", "openai/acme-internal-9b"),
        ("openai", "anthropic/claude-sonnet-4-5"),
        ("openrouter", "openrouter/openai/gpt-4o"),
        ("google", "gemini/gemini-pro-latest"),
        ("azure", "azure/gpt-4o"),
        ("openai", "unknown"),
    ):
        assert BOOK.model_of(provider, name) is None, name


def test_only_the_slug_of_the_billing_provider_is_cut_off_a_name():
    assert normalised_name("google", "Vertex_AI/Gemini-2.5-Pro", SLUGS) == "gemini-2.5-pro"
    assert normalised_name("openrouter", "openai/gpt-4o", SLUGS) == "openai/gpt-4o"
    assert normalised_name("openai", "openai/openai/gpt-4o", SLUGS) == "openai/gpt-4o"
    assert normalised_name("openai", "gpt-4o", SLUGS) == "gpt-4o"


def test_two_prices_on_one_day_are_a_problem():
    _, problems = price_book([row(end="2026-03-02", line=2), row("2026-03-01", line=3)], [], SLUGS)
    (problem,) = problems
    assert str(problem) == (
        f"{PRICE_FILE}:3 valid_from: openai m output standard all from 2026-03-01 on has a second price from "
        "2026-03-01 to 2026-03-02, beside line 2. Fix: end the earlier price on the day the later one starts."
    )
    assert price_book([row(end="2026-03-01"), row("2026-03-01", line=3)], [], SLUGS)[1] == []


def test_bands_of_a_cell_leave_no_gap_and_say_their_range():
    low, high = row(band=("0-200k", 0)), row(band=("200k+", 200_000), usd="4", line=3)
    assert price_book([low, high], [], SLUGS)[1] == []
    assert [problem.field for problem in price_book([high], [], SLUGS)[1]] == ["context_over_tokens"]
    assert [problem.field for problem in price_book([row(), high], [], SLUGS)[1]] == ["context_band"]
    late = row("2026-02-01", band=("200k+", 200_000), usd="4", line=3)
    _, problems = price_book([low, late], [], SLUGS)
    assert [problem.what for problem in problems] == [
        "openai m output standard 0-200k from 2026-01-01 on is the band all on 2026-01-01"
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("openai,m,output,standard,all,0,-1,2026-01-01,,s,1", "usd_per_mtok -1 is below zero"),
        ("openai,m,output,standard,all,0,0.0000001,2026-01-01,,s,1", "has more than 12 decimals per token"),
        ("openai,m,output,standard,all,0,free,2026-01-01,,s,1", "'free' is not a decimal number"),
        (
            "openai,m,output,standard,all,0,1,2026-02-01,2026-02-01,s,1",
            "from 2026-02-01 to 2026-02-01, which is no day",
        ),
        ("openai,m,output,standard,all,0,1,,,s,1", "valid_from is empty"),
        ("openai,m,output,standard,all,-5,1,2026-01-01,,s,1", "context_over_tokens '-5' is not a number of tokens"),
        ("openai,m,input,standard,all,0,1,2026-01-01,,s,1", "'input' is not one of uncached_input"),
        ("openai,m,output,Batch,all,0,1,2026-01-01,,s,1", "service_tier 'Batch' can never match"),
        ("openai,m,output,standard,all,0,1,01/02/2026,,s,1", "'01/02/2026' is not a date"),
    ],
)
def test_a_row_that_is_no_price_is_named(line, message):
    (problem,) = problems_of(line)
    assert problem.startswith(f"{PRICE_FILE}:2: ")
    assert message in problem
    assert "Fix: " in problem


def test_zero_and_twelve_decimals_are_prices():
    assert problems_of("openai,m,output,standard,all,0,0,2026-01-01,,s,1") == []
    assert problems_of("openai,m,output,standard,all,0,0.000001,2026-01-01,,s,1") == []


def test_aliases_are_unique_and_name_a_priced_model():
    prices = f"{','.join(PRICE_COLUMNS)}\nopenai,m,output,standard,all,0,1,2026-01-01,,s,1\n".encode()
    aliases = ALIASES + b"m,openai,m\nm,openai,m\nopenai/m2,openai,m\nm3,openai,other\nm,google,m\nm4,,m\n"
    _, problems = load_book(prices, aliases, SLUG_TEXT)
    assert sorted((problem.row, problem.what) for problem in problems) == [
        (2, "openai m is there 2 times"),
        (3, "openai m is there 2 times"),
        (4, "'openai/m2' can never match: names are compared as 'm2'"),
        (5, "openai other has no price"),
        (6, "google m has no price"),
        (7, "a cell is empty"),
    ]
    assert load_book(b"a,b\n", ALIASES, SLUG_TEXT)[1][0].what == "the columns are not those of a price file"


def test_the_demo_costs_what_the_price_list_says():
    days = [dt.date(2026, 6, 8) + dt.timedelta(days=n) for n in range(150)]
    assert days[-1] == dt.date(2026, 11, 4)
    used = {("batch", name) for name in ("claude-sonnet-4-6", "claude-sonnet-5", "gpt-5.4-mini")}
    differing: dict[tuple[str, str], set[dt.date]] = {}
    for model in MODELS:
        for tier in TIERS:
            if tier == "batch" and (tier, model.name) not in used:
                continue  # the demo's nightly jobs send no batches to these
            for token_type in DEMO_TOKEN_TYPES:
                for day in days:
                    told = price_per_mtok(model, day, token_type, tier)
                    answer = BOOK.unit_price(model.provider, model.name, token_type, tier, model.context_limit, day)
                    if told is not None and (answer.row is None or answer.row.usd_per_mtok != told):
                        differing.setdefault((model.name, tier), set()).add(day)
    assert differing == {}
    assert pico_per_token(MODELS[0], DAY, "standard")[0] == Decimal(PICO) * Decimal("0.000005")


def test_the_list_agrees_with_the_dated_history_of_the_source():
    """Where both speak: the source's own file of August 2026, before two of its prices were corrected."""
    kinds = {
        "input_mtok": "uncached_input",
        "cache_read_mtok": "cache_read",
        "cache_write_mtok": "cache_write_5m",
        "cache_write_1h_mtok": "cache_write_1h",
        "output_mtok": "output",
    }
    compared = 0
    differing = set()
    rows = list(csv.DictReader(need_real_data("price_history", "genai_prices_effective.csv").open(encoding="utf-8")))
    starts: dict[tuple[str, str], set[str]] = {}
    for line in rows:
        starts.setdefault((line["provider"], line["model"]), set()).add(line["start_date"])
    for line in rows:
        kind = kinds.get(line["unit"])
        if (
            kind is None
            or line["time_of_day_start"]
            or (line["provider"], line["model"], kind, "standard") not in BOOK.prices
        ):
            continue
        later = sorted(start for start in starts[line["provider"], line["model"]] if start > line["start_date"])
        last = dt.date.fromisoformat(later[0]) - dt.timedelta(days=1) if later else dt.date(2026, 8, 13)
        day = dt.date.fromisoformat(line["start_date"]) if line["start_date"] else last
        bands = [(1, line["usd_per_mtok"])] + [
            (tier["start"] + 1, str(tier["price"])) for tier in json.loads(line["tiers"] or "[]")
        ]
        for tokens, usd in bands:
            compared += 1
            told = price(line["provider"], line["model"], kind, str(day), tokens=tokens)
            if told is None or Decimal(told) != Decimal(usd):
                differing.add((line["provider"], line["model"], str(day), kind, told))
    assert compared > 250
    assert {found[:3] for found in differing} == {
        ("anthropic", "claude-sonnet-5", "2026-09-01"),  # the rise that was cancelled
        ("google", "claude-opus-4-6", "2026-08-13"),  # the surcharge ended on Vertex AI too, on 2026-03-13
        ("openai", "o3", "2025-06-09"),  # cached input was 2.50 before the cut
    }
    assert {kind for _, model, _, kind, _ in differing if model == "o3"} == {"cache_read"}


def test_the_models_of_real_logs_are_known_or_rightly_unknown():
    folder = need_real_data("real_months")
    pq = pytest.importorskip("pyarrow.parquet")
    names: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*/spendlogs.parquet")):
        table = pq.read_table(path, columns=["custom_llm_provider", "model"]).to_pylist()
        names |= {(BOOK.slugs.get(line["custom_llm_provider"], ""), line["model"]) for line in table}
    asked = {(provider, name) for provider, name in names if provider in {"anthropic", "openai", "google"}}
    unknown = {name for provider, name in asked if BOOK.model_of(provider, name) is None}
    assert {name for name in unknown if "REDACTED" not in name and "-exp" not in name} == {
        "None",
        "gemini-1.5-flash",  # logged as a model of openai
        "gemini/gemini-gemma-2-27b-it",
        "gemini/gemini-gemma-2-9b-it",
        "gemini/gemini-pro",
        "gemini/gemini-pro-vision",
    }
    assert len(asked - {(p, n) for p, n in asked if n in unknown}) > 30


def test_dbt_and_python_count_the_same_token_types():
    words = (REPOSITORY / "dbt_project" / "macros" / "vocabulary.sql").read_text(encoding="utf-8")
    for name, expected in (("token_type", TOKEN_TYPES), ("priced_unit", PRICED_UNITS)):
        listed = re.search(rf"'{name}': \[(.*?)\]", words, re.DOTALL)
        assert listed is not None
        assert tuple(re.findall(r"'(\w+)'", listed[1])) == expected
