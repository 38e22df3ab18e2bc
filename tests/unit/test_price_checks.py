"""What the check on prices says of usage without a price."""

import datetime as dt
from decimal import Decimal

from assets.price_checks import map_rows, problems_of, used_tokens


def usage(day: int, reason: str, calls: int, spend: str, lacking: str | None = None) -> dict[str, object]:
    return {
        "usage_date": dt.date(2026, 10, day), "provider": "openai", "model": "gpt-x", "service_tier": "flex",
        "reason": reason, "token_types_without_price": lacking, "calls": calls, "tokens": calls * 1000,
        "logged_spend_usd": Decimal(spend),
    }  # fmt: skip


def test_usage_without_a_price_is_one_sentence_a_model_tier_and_reason():
    rows = [
        usage(3, "no_price_on_day", 1, "0.5", "output"),
        usage(1, "no_price_on_day", 1200, "10.25", "cache_read, output"),
        usage(2, "logged_without_price", 2, "0"),
    ]
    logged, missing = problems_of(rows)
    assert logged == (
        "2026-10-02: openai gpt-x, tier flex: logged without price; 2 calls, 2,000 tokens, logged 0.00 USD. "
        "Fix: give the proxy's price map a price; the rows stay as they were logged."
    )
    assert missing == (
        "2026-10-01 to 2026-10-03: openai gpt-x, tier flex: no price on day (cache_read, output); 1,201 calls, "
        "1,201,000 tokens, logged 10.75 USD. Fix: add the price of this tier and day to prices/contract_prices.csv, "
        'then tokengov prices approve --prepared-by A --approved-by B --reason "...".'
    )
    assert problems_of([]) == []


def test_a_call_without_an_entry_in_the_map_has_no_map_price():
    row = {
        "usage_date": dt.date(2026, 10, 1), "provider": "openai", "model": "gpt-x", "service_tier": "standard",
        "map_model_key": "", "calls": 2, "tokens": 10,
        **{f"map_{name}_usd_per_token": Decimal(0) for name in ("input", "output", "cache_read", "cache_write")},
    }  # fmt: skip
    assert map_rows([row])[0].prices == (None,) * 4
    free = map_rows([row | {"map_model_key": "gpt-x", "map_cache_write_usd_per_token": None}])
    assert free[0].prices == (Decimal(0), Decimal(0), Decimal(0), None)


def test_tokens_count_where_the_map_priced_them_in_the_standard_tier_and_lowest_band():
    names = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    one = {
        "usage_date": dt.date(2026, 10, 1), "provider": "openai", "model": "gpt-x", "service_tier": "standard",
        "context_over_tokens": 0, "call_class": "call", **{f"{name}_tokens": 1 for name in names},
    }  # fmt: skip
    others = [{"call_class": "unpriced"}, {"call_class": "cache_hit"}, {"service_tier": "batch"}]
    others.append({"context_over_tokens": 200_000})
    (found,) = used_tokens([one, one | {"call_class": "partial"}, *(one | other for other in others)])
    assert found.tokens == dict.fromkeys(names, 2)
