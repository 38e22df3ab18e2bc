"""The largest calls of a cost center are found in the log by who was charged for their key, team and person."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from assets.charged_calls import ChargedCall, largest_calls
from resources.lake import Lake
from resources.litellm_tables import SPEND_LOGS_LAKE
from resources.tables import Tables
from tokengov_pipelines.domain.period import InvoicePeriod

DAY = dt.date(2026, 10, 5)
DAYS = InvoicePeriod(DAY, dt.date(2026, 10, 8))
LOADED = dt.datetime(2026, 10, 6, tzinfo=dt.UTC)


def call(request_id, spend, *, key="shop", team="team-shop", user="ana", minute=0):
    return {
        "request_id": request_id,
        "spend_text": spend,
        "total_tokens": 1200,
        "started_at": dt.datetime(2026, 10, 5, 9, minute),
        "model": "claude-x",
        "key_hash": key,
        "team_id": team,
        "user_id": user,
    }


def charged(cost_center, *, key="shop", team="team-shop", user="ana", provider="anthropic"):
    return {
        "provider": provider,
        "model": "claude-x",
        "key_hash": key,
        "team_id": team,
        "user_id": user,
        "cost_center": cost_center,
    }


CALLS = [
    call("msg_1", "0.50"),
    call("msg_2", "2.9947315000000003", minute=1),
    call("msg_3", "0.75", key="shared", team=None, user="bob"),
    call("msg_4", "9.00", key="shared", team=None, user="eve"),
    call("msg_5", "8.00", key="unsure", team=None, user="ana"),
    call("msg_6", "7.00", key="search"),
    call("msg_7", "NaN"),
    call("msg_8", "6.00"),
]
USAGE = [
    charged("CC-100"),
    charged("CC-100", key="shared", team=None, user="bob"),
    charged("CC-200", key="shared", team=None, user="eve"),
    charged("CC-100", key="unsure", team="team-a", user="ana"),
    charged("CC-200", key="unsure", team="team-b", user="ana"),
    charged("CC-200", key="search"),
]


@pytest.fixture
def stores(tmp_path):
    """A lake and tables with one day, of which one call is in quarantine."""
    lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    with lake.writing(SPEND_LOGS_LAKE) as writer:
        for batch in pa.Table.from_pylist(CALLS, schema=SPEND_LOGS_LAKE.schema).to_batches():
            writer.write(batch)
        window = ("2026-10-05", "2026-10-06")
        lake.commit(SPEND_LOGS_LAKE, f"day={DAY}", writer, extracted_at=LOADED, window=window)
    tables = Tables(root=str(tmp_path / "tables"))
    tables.write("fct_usage_daily", f"usage_date={DAY}", pa.Table.from_pylist(USAGE))
    held = pa.table({"request_id": ["msg_8"]})
    tables.write("fct_quarantined_calls", f"usage_date={DAY}", held)
    return lake, tables


def largest(stores, count, cost_center="CC-100", provider="anthropic"):
    lake, tables = stores
    return largest_calls(lake, tables, provider=provider, cost_center=cost_center, days=DAYS, count=count)


def test_the_most_expensive_calls_come_first_with_what_may_be_shown_of_them(stores):
    assert largest(stores, 2) == [
        ChargedCall("msg_2", dt.datetime(2026, 10, 5, 9, 1), "claude-x", 1200, Decimal("2.994731500000")),
        ChargedCall("msg_3", dt.datetime(2026, 10, 5, 9, 0), "claude-x", 1200, Decimal("0.750000000000")),
    ]


def test_calls_of_others_in_quarantine_or_of_an_unsure_owner_are_left_out(stores):
    assert [each.request_id for each in largest(stores, 10)] == ["msg_2", "msg_3", "msg_1"]
    assert [each.request_id for each in largest(stores, 10, "CC-200")] == ["msg_4", "msg_6"]
    assert largest(stores, 10, provider="openai") == []
