"""What the check on prices says of usage without a price."""

import datetime as dt
from decimal import Decimal

from assets.price_checks import problems_of


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
        "1,201,000 tokens, logged 10.75 USD. Fix: add the price of this tier and day to the seed price_list, with a "
        "second reviewer."
    )
    assert problems_of([]) == []
