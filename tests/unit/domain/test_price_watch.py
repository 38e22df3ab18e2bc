"""The proxy's price map by example and by its real history: what changed, and where it differs from the book."""

import csv
import datetime as dt
import json
from decimal import Decimal

from tests.conftest import need_real_data
from tests.unit.domain.test_pricing import BOOK
from tokengov_pipelines.domain.price_watch import (
    LOOK_BACK_DAYS,
    MapRow,
    UsedTokens,
    book_price_changes,
    disagreements,
    map_changes,
)

D = Decimal
O3_BEFORE, O3_AFTER = ("0.00001", "0.00004", "0.0000025", None), ("0.000002", "0.000008", "0.0000005", None)
FIELDS = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def used(on: str, prices=O3_AFTER, model: str = "openai/o3", tier: str = "standard", calls: int = 3) -> MapRow:
    told = tuple(None if price is None else D(price) for price in prices)
    return MapRow(day(on), "openai", model, tier, "o3", told, calls, calls * 1000)


def test_a_changed_map_price_is_told_against_the_last_day_of_use():
    rows = [used("2025-06-08", O3_BEFORE), used("2025-06-11"), used("2025-06-12")]
    found = map_changes(rows, {day("2025-06-11"), day("2025-06-12")})
    assert [(change.token_type, change.day, change.day_before) for change in found] == [
        (kind, day("2025-06-11"), day("2025-06-08")) for kind in ("uncached_input", "output", "cache_read")
    ]
    assert str(found[0]) == (
        "2025-06-11: openai openai/o3 uncached_input: the proxy's price map says 2 USD per million tokens, and said 10 "
        "on 2025-06-08; 3 calls"
    )
    assert map_changes(rows, {day("2025-06-12")}) == []


def test_a_model_that_was_not_used_for_long_is_not_compared():
    first = day("2025-06-11") - dt.timedelta(days=LOOK_BACK_DAYS)
    assert map_changes([used(str(first), O3_BEFORE), used("2025-06-11")], {day("2025-06-11")}) != []
    too_early = first - dt.timedelta(days=1)
    assert map_changes([used(str(too_early), O3_BEFORE), used("2025-06-11")], {day("2025-06-11")}) == []
    assert map_changes([used("2025-06-11")], {day("2025-06-11")}) == []


def test_two_prices_on_one_day_and_a_price_that_went_away_are_told():
    rows = [used("2025-06-10", O3_BEFORE), used("2025-06-11", O3_BEFORE, calls=1), used("2025-06-11", calls=2)]
    (told, *_) = map_changes(rows, {day("2025-06-11")})
    assert "says 2 or 10 USD per million tokens, and said 10 on 2025-06-10; 3 calls" in str(told)
    gone = map_changes([used("2025-06-11"), used("2025-06-12", (None,) * 4)], {day("2025-06-12")})
    assert "says no price USD per million tokens, and said 2 on 2025-06-11" in str(gone[0])
    # Both prices again the next day: two deployments with prices of their own, and no change.
    again = [used("2025-06-12", O3_BEFORE), used("2025-06-12")]
    assert map_changes([*rows, *again], {day("2025-06-12")}) == []


def test_a_disagreement_names_both_prices_the_source_and_the_dollars():
    days = {day("2025-06-10"), day("2025-06-11"), day("2025-06-12")}
    rows = [used("2025-06-10", O3_BEFORE), used("2025-06-11", O3_BEFORE), used("2025-06-12")]
    usage = [
        UsedTokens(day("2025-06-10"), "openai", "openai/o3", {"uncached_input": 1_000_000, "output": 100}),
        UsedTokens(day("2025-06-11"), "openai", "openai/o3", {"uncached_input": 500_000, "output": 0}),
    ]
    found = {each.token_type: each for each in disagreements(rows, usage, BOOK, days)}
    assert found.keys() == {"uncached_input", "output", "cache_read"}
    assert found["uncached_input"].logged_too_much == D("12")  # 1.5 million tokens, 10 less 2 USD per million
    assert found["output"].logged_too_much == D("0.0032")
    assert str(found["uncached_input"]) == (
        "2025-06-10 to 2025-06-11: openai openai/o3 uncached_input: the proxy's price map says 10 USD per million "
        "tokens, the price book 2 (list, genai-prices); 6 calls of 6,000 tokens, logged 12.00 USD more at standard "
        "prices"
    )
    assert "none of them at standard prices" in str(found["cache_read"])
    assert disagreements(rows, usage, BOOK, {day("2025-06-12")}) == []


def test_the_dollars_of_a_day_with_two_map_prices_are_not_guessed():
    rows = [used("2025-06-11", O3_BEFORE), used("2025-06-11")]
    usage = [UsedTokens(day("2025-06-11"), "openai", "openai/o3", {"uncached_input": 1_000_000, "output": 100})]
    found = disagreements(rows, usage, BOOK, {day("2025-06-11")})
    assert {each.logged_too_much for each in found} == {None}
    assert "what that makes is not known, because a day had two prices" in str(found[0])


def test_calls_without_an_entry_do_not_hide_what_the_others_were_logged_at():
    rows = [used("2025-06-11", (None,) * 4, calls=1), used("2025-06-11", O3_BEFORE)]
    usage = [UsedTokens(day("2025-06-11"), "openai", "openai/o3", {"uncached_input": 1_000_000})]
    (found,) = [each for each in disagreements(rows, usage, BOOK, {day("2025-06-11")}) if "input" in each.token_type]
    assert (found.calls, found.logged_too_much) == (3, D("8"))


def test_a_price_that_only_one_side_names_is_no_disagreement():
    nobody = used("2025-06-11", model="openai/acme-internal-9b")
    unpriced = used("2025-06-11", (None,) * 4)
    assert disagreements([nobody, unpriced], [], BOOK, {day("2025-06-11")}) == []
    zero = used("2025-06-11", ("0", "0", "0", None))
    assert len(disagreements([zero], [], BOOK, {day("2025-06-11")})) == 3


def test_the_books_own_changes_are_told_for_models_in_use():
    in_use = {("openai", "gpt-5.6-sol"), ("openai", "nobody-knows-it")}
    found = book_price_changes(BOOK, in_use, {day("2026-08-20"), day("2026-08-21"), day("2026-08-22")})
    standard = [str(each) for each in found if (each.tier, each.token_type) == ("standard", "output")]
    assert standard[0].startswith("2026-08-21: openai gpt-5.6-sol output standard")
    assert "says 20 USD per million tokens from this day on, and 30 before (genai-prices)" in standard[0]
    assert {each.day for each in found} == {day("2026-08-21")}
    assert book_price_changes(BOOK, {("openai", "gpt-5.4-mini")}, {day("2026-08-21")}) == []


def test_the_maps_real_history_lags_a_day_behind_the_price_cut_of_o3():
    """The public copy of LiteLLM's map: o3 was cut on 2025-06-10, and the copy says so on the 11th."""
    rows = [
        MapRow(at, "openai", "o3", "standard", "o3", _prices_on("o3", at), 1, 1)
        for at in (day("2025-06-01") + dt.timedelta(days=n) for n in range(20))
    ]
    days = {row.day for row in rows}
    found = disagreements(rows, [], BOOK, days)
    assert [(each.days, each.token_type, str(each.of_map)) for each in found] == [
        ((day("2025-06-10"),), "cache_read", "0.0000025"),
        ((day("2025-06-10"),), "output", "0.00004"),
        ((day("2025-06-10"),), "uncached_input", "0.00001"),
    ]
    assert {(each.day, each.day_before) for each in map_changes(rows, days)} == {(day("2025-06-11"), day("2025-06-10"))}
    assert {each.day for each in book_price_changes(BOOK, {("openai", "o3")}, days)} == {day("2025-06-10")}


def test_where_the_maps_real_history_and_the_book_disagree_is_known():
    """All of them are prices that the book has no start of: today's price, and the map's of September 2025."""
    last = day("2025-09-01")
    rows = [MapRow(last, *name, "standard", name[1], _prices_on(name[1], last), 1, 1) for name in sorted(_history())]
    named = [row for row in rows if BOOK.model_of(row.provider, row.model) and any(row.prices)]
    assert len(named) > 140
    found = disagreements(rows, [], BOOK, {last})
    assert {each.of_book.source for each in found} == {"genai-prices:start-not-stated"}
    models: dict[str, set[str]] = {}
    for each in found:
        models.setdefault(each.of_book.model, set()).add(each.token_type)
    text = {"uncached_input", "output"}
    assert models == {
        "claude-3-5-haiku-latest": {*text, "cache_read", "cache_write_5m"},  # the map kept its first price
        "gemini-flash-1.5-8b": text,  # free in the map
        "gemini-1.5-pro": text,  # the map kept the price before October 2024
        "gemini-2.5-flash": {"cache_read"},
        "gemini-2.5-flash-lite": {"cache_read"},
        "gemini-2.5-flash-preview": text,  # two previews at different prices under one name
        "gemini-2.5-pro": {"cache_read"},
        "o1-mini": {*text, "cache_read"},  # the dated name kept its first price
        "gpt-3.5-turbo": text,
    }
    agreeing = {row.model for row in named} - {each.model for each in found}
    assert {"openai/o3", "claude-sonnet-4-20250514", "openai/gpt-4.1"} & agreeing


_EVENTS: list[dict[str, str]] = []


def _events() -> list[dict[str, str]]:
    if not _EVENTS:
        path = need_real_data("price_history", "tokencost_litellm_mirror.csv")
        _EVENTS.extend(csv.DictReader(path.open(encoding="utf-8")))
    return _EVENTS


def _history() -> set[tuple[str, str]]:
    """Provider and model of every entry that OpenAI, Anthropic or Google bill themselves."""
    named = {"openai": "openai", "text-completion-openai": "openai", "anthropic": "anthropic", "gemini": "google"}
    found = set()
    for line in _events():
        if line["event"] == "added":
            slug = json.loads(line["new"]).get("litellm_provider")
            if slug in named:
                found.add((named[slug], line["model"]))
    return found


def _prices_on(model: str, at: dt.date) -> tuple[Decimal | None, ...]:
    """The map's prices at the end of the day before, which is what a day's first calls are priced with."""
    prices: dict[str, Decimal | None] = {}
    for line in _events():
        if line["model"] != model or dt.datetime.fromisoformat(line["committed_at"]).date() > at:
            continue
        if line["event"] == "added":
            prices = dict(json.loads(line["new"], parse_float=Decimal, parse_int=Decimal))
        elif line["event"] == "removed":
            prices = {}
        else:
            prices[line["field"]] = D(line["new"]) if line["new"] and line["field"] in FIELDS else None
    return tuple(None if prices.get(name) is None else D(prices[name]) for name in FIELDS)
