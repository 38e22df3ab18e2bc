"""The 558 rows that LiteLLM's own spend pipeline wrote, through the production load: money, classes, tokens, owners.

Every expected figure is counted by hand from the rows (psql on the dump) with the facts on LiteLLM beside it; none is
taken from what the product said.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from tests.conftest import need_real_data, run_sql_file
from tests.installation import TestHome
from tests.integration.postgres_client import query
from tokengov_pipelines.jobs import LOAD_DAYS

DAY = "2026-11-23"
COST_CENTERS = """code,name,legal_entity,valid_from,valid_to,successor
CC-1001,Checkout,ACME-US,2020-01-01,,
CC-1002,Search,ACME-US,2020-01-01,,
CC-2001,Developer productivity,ACME-US,2020-01-01,,
CC-900-SUSPENSE,Suspense,ACME-US,2020-01-01,,
CC-990-CENTRAL,Central,ACME-US,2020-01-01,,
"""
TEAMS = """team_id,team_name,cost_center,time_zone,lead_email,owner_contact,valid_from,valid_to
team-of-dan,Search,CC-1002,UTC,lead@example.com,#search,2020-01-01,
"""
USERS = """email,user_id,github_login,team_id,valid_from,valid_to
dan@example.com,dan@example.com,dan,team-of-dan,2020-01-01,
"""

pytestmark = pytest.mark.xdist_group("real rows")

Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def home(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    """The real rows, loaded; the proxy knows the cost centers of three teams, the directory one person more."""
    folder, url = need_real_data("litellm"), new_database()
    for name in ("schema.sql", "entities.sql", "spendlogs.sql.gz", "daily.sql"):
        run_sql_file(url, folder / name)
    home = TestHome(tmp_path_factory.mktemp("real_rows"), url, log_start=DAY, books_start="2026-11", as_of="2026-11-24")
    home.write("directory/cost_centers.csv", COST_CENTERS)
    home.write("directory/teams.csv", TEAMS)
    home.write("directory/users.csv", USERS)
    loaded = home.run(LOAD_DAYS, DAY)
    assert loaded.succeeded, loaded
    unpriced, map_differs = sorted(loaded.failed_checks, reverse=True)
    assert unpriced.startswith("marts/fct_unpriced_usage_daily: used_models_are_priced: 2026-11-23: deepseek ")
    # The rig's deployment of gpt-4o has prices of its own.
    assert map_differs.startswith("marts/fct_proxy_price_map_daily: the_proxys_prices_agree_with_the_book: ")
    return home


@pytest.fixture
def ask(home: TestHome) -> Iterator[Ask]:
    """Questions to the exported tables, as anyone with DuckDB may ask them."""
    with duckdb.connect() as connection:
        for table in ("fct_usage_daily", "fct_screening_daily", "fct_quarantined_calls"):
            connection.execute(f"create view {table} as from '{home.folder}/tables/{table}/usage_date={DAY}.parquet'")
        yield lambda sql: connection.execute(sql).fetchall()


def test_the_total_is_exact_and_every_call_counts_once(home: TestHome, ask: Ask) -> None:
    ((total, calls),) = ask("select sum(logged_spend_usd), sum(calls) from fct_usage_daily")
    assert (str(total), calls) == ("10.223379310000", 558)
    assert str(total.quantize(Decimal("0.000001"))) == "10.223379"
    assert ask("select disposition, reason, calls, spend_usd from fct_screening_daily") == [
        ("accepted", "none", 558, Decimal("10.223379310000"))
    ]
    assert ask("select * from fct_quarantined_calls") == []
    # Up to five tags a row, most of them automatic: a sum over tags would count a call up to five times.
    ((tagged,),) = query(home.url, 'select sum(spend)::numeric(12, 2) from "LiteLLM_DailyTagSpend"')
    assert str(tagged) == "23.81"


def test_litellms_own_daily_sums_hold_the_two_calls_whose_ids_it_dropped(home: TestHome, ask: Ask) -> None:
    """A provider id that came three times (`chatcmpl-fixedDuplicateId`, 0.0035 USD a call) is one row of the log.

    LiteLLM inserts with `skip_duplicates` and adds all three to its Daily tables.
    """
    ((daily, requests),) = query(
        home.url, 'select sum(spend)::numeric(38, 12), sum(api_requests) from "LiteLLM_DailyUserSpend"'
    )
    ((logged, calls),) = ask("select sum(logged_spend_usd), sum(calls) from fct_usage_daily")
    assert str(daily.quantize(Decimal("0.000001"))) == "10.230379"
    assert (daily - logged, requests - calls) == (2 * Decimal("0.0035"), 2)
    kept = query(
        home.url, "select spend::text from \"LiteLLM_SpendLogs\" where request_id = 'chatcmpl-fixedDuplicateId'"
    )
    assert kept == [("0.0035",)]


def test_every_row_has_the_class_that_the_facts_give_it(ask: Ask) -> None:
    classes = {
        name: (calls, format(spend, "f"))
        for name, calls, spend in ask(
            "select call_class, sum(calls), sum(logged_spend_usd) from fct_usage_daily group by all"
        )
    }
    assert classes == {
        # cache_hit 'True': spend 0 with full tokens.
        "cache_hit": (4, "0.000000000000"),
        # 6 x 400, 3 x 401, 6 x 429 and 8 x 500 without spend.
        "failure": (23, "0.000000000000"),
        # Upstream died in mid-stream: one on OpenAI's wire (0.0001225), three on Anthropic's (0.007575 each).
        "failed_spend": (4, "0.022847500000"),
        # The client hung up: status success with code 499, 0.000135 each.
        "partial": (3, "0.000405000000"),
        # acme-internal-9b has no price: tokens and no spend.
        "unpriced": (3, "0.000000000000"),
        # Pass-through, 3 streams to Anthropic and 3 calls to OpenAI, behind a host LiteLLM does not know: 0 tokens.
        "zero": (6, "0.000000000000"),
        # The other 515: 10.223379310 - 0.022847500 - 0.000405000.
        "call": (515, "10.200126810000"),
    }
    assert ask("select model, sum(calls) from fct_usage_daily where call_class = 'unpriced' group by all") == [
        ("openai/acme-internal-9b", 3)
    ]
    nothing = ask(
        "select provider, call_type, sum(prompt_tokens + output_tokens), sum(calls) from fct_usage_daily "
        "where call_class = 'zero' group by all order by all"
    )
    assert nothing == [("anthropic", "pass_through_endpoint", 0, 3), ("openai", "pass_through_endpoint", 0, 3)]


def test_provider_tokens_are_split_out_of_the_inclusive_prompt_tokens(home: TestHome, ask: Ask) -> None:
    tokens = ask(
        "select provider, sum(prompt_tokens), sum(uncached_input_tokens), sum(cache_read_tokens), "
        "sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(output_tokens) "
        "from fct_usage_daily group by all order by all"
    )
    assert tokens == [
        ("anthropic", 7_186_114, 7_186_114 - 6_374_000 - 274_800 - 9_000, 6_374_000, 274_800, 9_000, 216_534),
        ("deepseek", 3_000, 3_000, 0, 0, 0, 300),
        ("mistral", 3_000, 3_000, 0, 0, 0, 300),
        ("openai", 1_066_681, 1_066_681 - 129_280, 129_280, 0, 0, 123_329),
        # Two streams that died and three calls of unknown models name no provider.
        ("unknown", 41_000, 41_000 - 40_000, 40_000, 0, 0, 10),
    ]
    # One call of them: 10 + 5,000 read + 1,000 for 5 minutes + 3,000 for an hour, and 100 out, at list price
    # 10 x 3.00 + 5,000 x 0.30 + 1,000 x 3.75 + 3,000 x 6.00 + 100 x 15.00 = 24,780 micro-dollars.
    with duckdb.connect(str(home.folder / "warehouse/tokengov.duckdb"), read_only=True) as warehouse:
        call = warehouse.execute(
            "select prompt_tokens, uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, "
            "cache_write_1h_tokens, output_tokens, logged_spend_usd from intermediate.int_calls__attributed "
            "where request_id = 'msg_46f3a4bf61384bfd8c1ed32f'"
        ).fetchall()
    assert call == [(9010, 10, 5000, 1000, 3000, 100, Decimal("0.024780000000"))]


def test_the_ladder_finds_an_owner_for_all_but_one_team(ask: Ask) -> None:
    owners = {
        (cost_center, rung): (calls, format(spend, "f"))
        for cost_center, rung, calls, spend in ask(
            "select cost_center, rung, sum(calls), sum(logged_spend_usd) from fct_usage_daily group by all"
        )
    }
    assert owners == {
        ("CC-1001", "team_metadata"): (47 + 110, "1.180248100000"),  # ana 0.469824150, svc-checkout 0.710423950
        ("CC-1002", "team_metadata"): (111, "0.665275210000"),  # svc-search
        ("CC-2001", "team_metadata"): (110 + 106, "7.845242000000"),  # bob 3.695781, cyd 4.149461
        ("CC-1002", "directory_user"): (3, "0.010500000000"),  # dan: no team at the proxy, users.csv knows him
        ("CC-900-SUSPENSE", "suspense"): (68 + 3, "0.522114000000"),  # eve's team has none; 3 calls with a wrong key
    }
    assert ask("select distinct evidence from fct_usage_daily where rung = 'suspense' order by all") == [
        ("key_without_owner",),
        ("team_without_cost_center",),
    ]


def test_a_use_case_is_what_the_caller_said_in_metadata_or_tags(ask: Ask) -> None:
    """222 calls named one, 15 of them in metadata (6 of these in tags too); none is a word of the policy's taxonomy."""
    said = dict(ask("select use_case, sum(calls) from fct_usage_daily group by all"))
    assert said == {"untagged": 336, "unknown": 222}
