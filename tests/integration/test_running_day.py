"""The running UTC day: read every hour, seen in usage at once, and never taken for a whole day (Rule 2.3)."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import yaml

from resources.lake import Lake
from resources.readings import PROXY_LOG, state_at
from tests.conftest import REPOSITORY, execute, run_sql_file
from tests.installation import TestHome, insert_call, insert_three_calls_a_day
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.jobs import LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.runner import RunRefusedError

MONTH, LAST_DAY, NEXT_DAY = "2026-09", "2026-09-30", "2026-10-01"


def at(home: TestHome, moment: str) -> TestHome:
    """The same home at another moment."""
    path = home.folder / "tokengov.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "as_of": moment}))
    return home


def state(home: TestHome, day: str) -> DayState:
    installation = home.installation
    lake = Lake(root=installation.lake_url, cache_dir=str(home.folder / "cache"))
    return state_at(lake, PROXY_LOG, dt.date.fromisoformat(day), 3)


def usage(home: TestHome, day: str) -> Decimal:
    path = home.folder / f"tables/fct_usage_daily/usage_date={day}.parquet"
    (row,) = duckdb.sql(f"select sum(logged_spend_usd) from read_parquet('{path}')").fetchall()
    return row[0]


@pytest.fixture
def home(new_database: Callable[[], str], tmp_path: Path) -> TestHome:
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    insert_three_calls_a_day(url, "2026-09-01", LAST_DAY)
    execute(url, """delete from "LiteLLM_SpendLogs" where "startTime" > timestamp '2026-09-30 16:00'""")
    home = TestHome(tmp_path, url, log_start="2026-09-01", books_start=MONTH, as_of="2026-09-30T16:05:00Z")
    home.invoice("openai", MONTH, "24.00", LAST_DAY)
    home.invoice("anthropic", MONTH, "15.00", LAST_DAY)
    return home


def test_a_day_grows_by_the_hour_and_holds_the_month_until_it_was_read_to_its_end(home: TestHome) -> None:
    loaded = home.run(LOAD_DAYS, "2026-09-01", LAST_DAY)
    assert loaded.succeeded, loaded
    assert state(home, LAST_DAY) is DayState.PARTIAL
    assert state(home, "2026-09-29") is DayState.COMPLETE
    assert state(home, "2026-09-01") is DayState.SETTLED
    assert usage(home, LAST_DAY) == Decimal("0.7")

    insert_call(home.url, "evening", "2026-09-30 17:00", 0.6, custom_llm_provider="openai")
    assert at(home, "2026-09-30T18:05:00Z").run(LOAD_DAYS, LAST_DAY).succeeded
    assert usage(home, LAST_DAY) == Decimal("1.3")

    held = at(home, "2026-10-05T00:00:00Z").run(PREPARE_MONTH, MONTH)
    assert not held.succeeded
    (reason,) = [text for text in held.failures if "2026-09-30" in text]
    assert "every_day_extracted" in reason

    assert home.run(LOAD_DAYS, LAST_DAY).succeeded
    assert state(home, LAST_DAY) is DayState.SETTLED
    assert home.run(PREPARE_MONTH, MONTH).succeeded


def test_a_running_day_without_calls_is_not_a_zero(home: TestHome) -> None:
    assert home.run(LOAD_DAYS, "2026-09-29", LAST_DAY).succeeded
    # A clock that runs ahead has put a call after the running day, so the log seems to bracket it.
    insert_call(home.url, "ahead", "2026-10-02 00:01", 0.1)
    at(home, "2026-10-01T09:05:00Z").run(LOAD_DAYS, NEXT_DAY)
    assert state(home, NEXT_DAY) is DayState.MISSING
    at(home, "2026-10-02T09:05:00Z").run(LOAD_DAYS, NEXT_DAY)
    assert state(home, NEXT_DAY) is DayState.COMPLETE


def test_tomorrow_cannot_be_read(home: TestHome) -> None:
    with pytest.raises(RunRefusedError, match="2026-10-01 cannot be run: load_days_job takes 2026-09-01 to 2026-09-30"):
        home.run(LOAD_DAYS, NEXT_DAY)
