"""Money comes back from SQLite digit for digit, and time without a doubt."""

import datetime as dt
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.columns import canonical_json, utc_text

AUGUST = BillingMonth(2026, 8)
EXACT = [
    "0.10",
    "-0.10",
    "123456789012345678901234.567890123456",
    "0.000000000001",
    "2.50",
    "9007199254740993.01",  # one more than a float can count
    "-0.00",
    "1E+3",
]


def publish(ledger, *amounts):
    lines = [Posting("anthropic", "INV-19", f"CC-{n:03d}", "direct", amount, "USD") for n, amount in enumerate(amounts)]
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1, content_sha256="ab" * 32, pack_path="p", totals={}, lines=lines, preparer="Ada", approver="Grace"
        )


def test_amounts_come_back_digit_for_digit(ledger, url):
    amounts = [Decimal(text) for text in EXACT]
    publish(ledger, *amounts)
    read = [posting.amount for posting in ledger.postings(AUGUST, 1)]
    assert read == amounts
    assert [f"{amount:f}" for amount in read] == [*EXACT[:6], "0.00", "1000"]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("SELECT DISTINCT typeof(amount) FROM postings").fetchall() == [("text",)]


@pytest.mark.parametrize("amount", [1.1, 1, "1.10", Decimal("NaN"), Decimal("Infinity")])
def test_what_is_not_a_finite_decimal_is_refused(ledger, amount):
    with pytest.raises(Exception, match="not an amount for the ledger"):
        publish(ledger, amount)
    assert ledger.period(AUGUST).state == "open"


def test_instants_are_utc_text_that_sorts():
    plus_two = dt.timezone(dt.timedelta(hours=2))
    assert utc_text(dt.datetime(2026, 11, 5, 1, 30, tzinfo=plus_two)) == "2026-11-04T23:30:00.000000Z"
    with pytest.raises(ValueError, match="no time zone"):
        utc_text(dt.datetime(2026, 11, 5))


def test_equal_json_has_one_text():
    assert canonical_json({"b": [1, None, True], "a": "ü"}) == '{"a":"ü","b":[1,null,true]}'
    assert canonical_json({"a": "ü", "b": (1, None, True)}) == '{"a":"ü","b":[1,null,true]}'
