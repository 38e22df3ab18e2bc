"""The dbt project on a small real lake: exact totals, repeatable exports, and a source that changes its mind.

Runs the real dbt in a temporary home, the way `tokengov-dbt` does: working directory = home, window in a control file.
Single rules (each rung, each defect) are dbt unit tests beside the models; here one test runs them all.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

PROJECT = Path(__file__).parents[2] / "dbt_project"
DBT = Path(sys.executable).parent / "dbt"
DAYS = ["2026-10-15", "2026-10-16", "2026-10-17", "2026-10-18"]
SUSPENSE = "CC-900-SUSPENSE"

TEXT, TIME, DAY, COUNT, PRICE = pa.string(), pa.timestamp("us"), pa.date32(), pa.int64(), pa.decimal128(18, 6)


def schema(spec: str, default: pa.DataType = TEXT) -> pa.Schema:
    """'a b:TIME c:COUNT' -> an Arrow schema."""
    types: dict[str, pa.DataType] = {"TIME": TIME, "DAY": DAY, "COUNT": COUNT, "PRICE": PRICE, "BOOL": pa.bool_()}
    pairs = (word.partition(":") for word in spec.split())
    return pa.schema([(name, types[kind] if kind else default) for name, _, kind in pairs])


DATED = "valid_from:DAY valid_to:DAY source_file source_row:COUNT"
SCHEMAS = {
    "litellm_spend_logs": schema(
        "request_id litellm_call_id call_type key_hash spend_text total_tokens:COUNT prompt_tokens:COUNT "
        "completion_tokens:COUNT started_at:TIME ended_at:TIME completion_started_at:TIME model model_id model_group "
        "custom_llm_provider user_id team_id organization_id session_id status cache_hit request_tags "
        "mcp_namespaced_tool_name request_duration_ms:COUNT created_at:TIME updated_at:TIME key_alias key_team_id "
        "key_team_alias key_user_id metadata_use_case cached_tokens cache_read_input_tokens "
        "cache_creation_input_tokens cache_creation_5m_tokens cache_creation_1h_tokens reasoning_tokens "
        "web_search_requests cost_service_tier usage_service_tier has_usage_object original_cost_text "
        "discount_amount_text margin_amount_text tool_usage_cost_text error_code error_class attempted_fallbacks "
        "attempted_retries original_model_group used_client_oauth_token internal_call_origin user_agent map_model_key "
        "map_input_cost_per_token map_output_cost_per_token map_cache_read_cost_per_token "
        "map_cache_creation_cost_per_token"
    ),
    "litellm_teams": schema(
        "observed_date:DAY team_id team_alias organization_id metadata_cost_center max_budget_text soft_budget_text "
        "budget_duration budget_reset_at:TIME blocked:BOOL tpm_limit:COUNT rpm_limit:COUNT created_at:TIME "
        "updated_at:TIME"
    ),
    "litellm_keys": schema(
        "observed_date:DAY key_hash key_alias team_id user_id organization_id project_id metadata_cost_center "
        "max_budget_text soft_budget_cooldown:BOOL blocked:BOOL expires_at:TIME created_at:TIME updated_at:TIME"
    ),
    "litellm_users": schema(
        "observed_date:DAY user_id user_email user_role teams organization_id max_budget_text created_at:TIME "
        "updated_at:TIME"
    ),
    "litellm_deleted_keys": schema(
        "observed_date:DAY id key_hash key_alias team_id user_id organization_id deleted_at:TIME created_at:TIME"
    ),
    "litellm_deleted_teams": schema(
        "observed_date:DAY id team_id team_alias organization_id metadata_cost_center deleted_at:TIME created_at:TIME"
    ),
    "directory_cost_centers": schema(f"code name legal_entity {DATED} successor"),
    "directory_teams": schema(f"team_id team_name cost_center time_zone lead_email owner_contact {DATED}"),
    "directory_users": schema(f"email user_id github_login team_id {DATED}"),
    "directory_service_accounts": schema(f"key_hash name owner_cost_center owner_contact {DATED}"),
    "price_book": schema(
        "provider model token_type service_tier context_band context_over_tokens:COUNT usd_per_mtok:PRICE "
        "valid_from:DAY valid_to:DAY source source_version basis"
    ),
    "price_book_aliases": schema("provider alias model"),
}


# Every raw table that the project names; those of the providers stay without a file here (`test_provider_models`).
SOURCES = [
    table["name"]
    for source in yaml.safe_load((PROJECT / "models/staging/_raw__sources.yml").read_text(encoding="utf-8"))["sources"]
    for table in source["tables"]
]


def call(request_id: str, started: str, spend: str, **columns: Any) -> dict[str, Any]:
    start = dt.datetime.fromisoformat(started)
    row = {
        "request_id": request_id, "litellm_call_id": f"call-of-{request_id}", "call_type": "acompletion",
        "key_hash": "k-checkout", "spend_text": spend, "total_tokens": 150, "prompt_tokens": 100,
        "completion_tokens": 50, "started_at": start, "ended_at": start + dt.timedelta(seconds=2),
        "model": "anthropic/claude-sonnet-4-6", "model_group": "claude-sonnet-4-6", "custom_llm_provider": "anthropic",
        "user_id": "", "team_id": "t-checkout", "organization_id": "", "status": "success", "cache_hit": "None",
        "request_tags": '["use_case:refactor", "User-Agent: claude-cli"]',
        "created_at": start + dt.timedelta(seconds=3), "updated_at": start + dt.timedelta(seconds=3),
    }  # fmt: skip
    return row | columns


def bob(request_id: str, started: str, spend: str) -> dict[str, Any]:
    """A call of Bob's personal key, so that rung 4 has to find him."""
    return call(request_id, started, spend, key_hash="k-bob", team_id="", user_id="bob@example.com")


CALLS = {
    "2026-10-15": [
        call("a1", "2026-10-15T00:00:00", "0.30000000000000004"),
        call("a1", "2026-10-15T00:00:00", "0.30000000000000004"),
        call("a2", "2026-10-15T12:00:00", "1.2345678901234567e-07", custom_llm_provider="acme-llm"),
        call("", "2026-10-15T13:00:00", "5.5"),
        call("a3", "2026-10-15T14:00:00", "NaN"),
        bob("b1", "2026-10-15T23:59:59.999", "10"),
    ],
    "2026-10-16": [
        bob("b2", "2026-10-16T00:00:00", "20"),
        call("a4", "2026-10-16T12:00:00", "-1"),
        call("a5", "2026-10-16T12:00:00", "0.1", key_hash="k-unknown", team_id="", request_tags="[]"),
    ],
    "2026-10-17": [call("a7", "2026-10-17T12:00:00", "0.4")],
    "2026-10-18": [call("a6", "2026-10-18T12:00:00", "0.2", key_hash="k-checkout", team_id="")],
}
ENTITIES: dict[str, list[dict[str, Any]]] = {
    "litellm_teams": [{"team_id": "t-checkout", "metadata_cost_center": "CC-100"}],
    "litellm_keys": [
        {"key_hash": "k-checkout", "team_id": "t-checkout"},
        {"key_hash": "k-bob", "user_id": "bob@example.com"},
    ],
    "litellm_users": [{"user_id": "bob@example.com", "user_email": "bob@example.com"}],
    "directory_cost_centers": [{"code": code} for code in ("CC-100", "CC-200", "CC-300", SUSPENSE)],
    "directory_teams": [
        {"team_id": "t-old", "cost_center": "CC-200", "source_row": 2},
        {"team_id": "t-new", "cost_center": "CC-300", "source_row": 3},
    ],
    "directory_users": [
        {"email": "bob@example.com", "team_id": "t-old", "valid_to": dt.date(2026, 10, 16), "source_row": 2},
        {"email": "bob@example.com", "team_id": "t-new", "valid_from": dt.date(2026, 10, 16), "source_row": 3},
    ],
}


@dataclass
class Home:
    """One installation: a lake to write, a window to build, tables to read."""

    root: Path
    target: Path
    files: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in SOURCES})
    policy: dict[str, Any] = field(default_factory=dict)

    def write(self, table: str, partition: str, rows: Iterable[dict[str, Any]], drop: Iterable[str] = ()) -> None:
        """Write one load and make it the current one of its partition."""
        data = pa.Table.from_pylist(list(rows), schema=SCHEMAS[table]).drop_columns(list(drop))
        folder = self.root / "lake" / "raw" / table / partition
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"load={hashlib.sha256(repr(data.to_pylist()).encode()).hexdigest()[:16]}.parquet"
        pq.write_table(data, path)
        self.files[table][partition] = str(path)

    def write_calls(self, day: str, rows: Iterable[dict[str, Any]], drop: Iterable[str] = ()) -> None:
        self.write("litellm_spend_logs", f"day={day}", rows, drop)

    def dbt(self, *arguments: str, days: list[str] = DAYS, env: dict[str, str] | None = None) -> str:
        """Run dbt over the days and return its output; a failure raises with it."""
        (self.root / "warehouse").mkdir(exist_ok=True)
        wanted = {f"day={day}" for day in days}
        files = {
            table: [path for part, path in found.items() if not part.startswith("day=") or part in wanted]
            for table, found in self.files.items()
        }
        control = self.root / "control.json"
        control.write_text(
            json.dumps(
                {
                    "days": days,
                    "months": sorted({day[:7] for day in days}),
                    "files": files,
                    "tables_dir": str(self.root / "tables"),
                    "policy": self.policy,
                }
            )
        )
        places = {
            "DBT_PROJECT_DIR": str(PROJECT),
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.root / "logs"),
            "TOKENGOV_DBT_CONTROL": str(control),
        }
        done = subprocess.run(
            [str(DBT), *arguments],
            cwd=self.root,
            env=os.environ | places | (env or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout

    def build(self, days: list[str] = DAYS, env: dict[str, str] | None = None) -> str:
        return self.dbt("build", "--exclude-resource-type", "unit_test", days=days, env=env)

    def read(self, table: str, value: str | None = None) -> list[dict[str, Any]]:
        pattern = "*.parquet" if value is None else f"*={value}.parquet"
        paths = sorted((self.root / "tables" / table).glob(pattern))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def hashes(self) -> dict[str, str]:
        tables = self.root / "tables"
        return {
            str(path.relative_to(tables)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(tables.rglob("*"))
            if path.is_file()
        }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.root / "warehouse" / "tokengov.duckdb"), read_only=True) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows


@pytest.fixture(scope="session")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One target folder for all homes, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt") / "target"


def fill(home: Home) -> Home:
    for day, rows in CALLS.items():
        home.write_calls(day, rows)
    for table, rows in ENTITIES.items():
        if table.startswith("directory"):
            home.write(table, "all", rows)
        else:
            home.write(table, "observed=2026-10-01", [{"observed_date": dt.date(2026, 10, 1)} | row for row in rows])
    return home


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, dbt_target: Path) -> Home:
    """A home that is only read."""
    home = fill(Home(tmp_path_factory.mktemp("built"), dbt_target))
    home.build()
    return home


@pytest.fixture
def home(tmp_path: Path, dbt_target: Path) -> Home:
    """A home that the test may change."""
    return fill(Home(tmp_path, dbt_target))


def charged(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], Decimal]:
    return {(str(row["usage_date"]), row["cost_center"], row["evidence"]): row["logged_spend_usd"] for row in rows}


def test_every_call_is_charged_exactly(built: Home) -> None:
    usage = built.read("fct_usage_daily")
    anthropic = [row for row in usage if row["provider"] == "anthropic"]
    assert charged(anthropic) == {
        ("2026-10-15", "CC-100", "team:t-checkout@2026-10-01"): Decimal("0.300000000000"),
        ("2026-10-15", "CC-200", "users.csv:2"): Decimal("10"),
        ("2026-10-16", "CC-300", "users.csv:3"): Decimal("20"),
        ("2026-10-16", SUSPENSE, "key_without_owner"): Decimal("0.1"),
        ("2026-10-17", "CC-100", "team:t-checkout@2026-10-01"): Decimal("0.4"),
        ("2026-10-18", "CC-100", "team:t-checkout@2026-10-01"): Decimal("0.2"),
    }
    assert [row["logged_spend_usd"] for row in usage if row["provider"] == "acme-llm"] == [Decimal("0.000000123457")]
    assert {row["use_case"] for row in usage} == {"refactor", "untagged"}
    assert sum(row["calls"] for row in usage) == 7
    assert sum(row["uncached_input_tokens"] for row in usage) == 700


def test_every_logged_row_is_screened(built: Home) -> None:
    screened = {
        (str(row["usage_date"]), row["disposition"], row["reason"]): (row["calls"], row["spend_usd"])
        for row in built.read("fct_screening_daily")
    }
    assert screened == {
        ("2026-10-15", "accepted", "none"): (3, Decimal("10.300000123457")),
        ("2026-10-15", "duplicate", "identical_copy"): (1, Decimal("0.3")),
        ("2026-10-15", "quarantined", "empty_request_id"): (1, Decimal("5.5")),
        ("2026-10-15", "quarantined", "unreadable_spend"): (1, None),
        ("2026-10-16", "accepted", "none"): (2, Decimal("20.1")),
        ("2026-10-16", "quarantined", "negative_spend"): (1, Decimal("-1")),
        ("2026-10-17", "accepted", "none"): (1, Decimal("0.4")),
        ("2026-10-18", "accepted", "none"): (1, Decimal("0.2")),
    }
    quarantined = {(row["request_id"], row["reason"], row["spend_text"]) for row in built.read("fct_quarantined_calls")}
    assert quarantined == {
        (None, "empty_request_id", "5.5"),
        ("a3", "unreadable_spend", "NaN"),
        ("a4", "negative_spend", "-1"),
    }
    load = Path(built.files["litellm_spend_logs"]["day=2026-10-16"]).stem.removeprefix("load=")
    assert [row["lake_load"] for row in built.read("fct_quarantined_calls", "2026-10-16")] == [load]


def test_month_is_the_sum_of_its_days(built: Home) -> None:
    months = built.read("fct_spend_monthly")
    assert {row["billing_month"] for row in months} == {"2026-10"}
    assert sum(row["logged_spend_usd"] for row in months) == Decimal("31.000000123457")
    assert [row["logged_spend_usd"] for row in months if row["rung"] == "suspense"] == [Decimal("0.1")]


def test_no_float_and_no_personal_evidence_leave_staging(built: Home) -> None:
    columns = built.query(
        "select table_schema, table_name, column_name, data_type from information_schema.columns"
        " where table_schema not in ('raw', 'staging')"
    )
    assert {name for _, name, _, _ in columns} >= {"int_calls__attributed", "fct_usage_daily", "fct_spend_monthly"}
    assert [column for column in columns if column[3] in {"FLOAT", "DOUBLE", "REAL"}] == []
    exported = {path.parent.name: pq.read_schema(path) for path in sorted((built.root / "tables").glob("*/*.parquet"))}
    assert sorted(exported) == [
        "dim_provider_keys_dated",
        "dim_provider_people",
        "dim_provider_workspaces",
        "fct_midnight_calls_daily",
        "fct_provider_cost_daily",
        "fct_provider_usage_daily",
        "fct_proxy_price_map_daily",
        "fct_proxy_usage_daily",
        "fct_quarantined_calls",
        "fct_screening_daily",
        "fct_spend_monthly",
        "fct_unpriced_usage_daily",
        "fct_usage_daily",
    ]
    assert not any(pa.types.is_floating(kind) for found in exported.values() for kind in found.types)
    assert not any("example.com" in row["evidence"] for row in built.read("fct_usage_daily"))


def test_without_a_price_book_nothing_has_a_price_and_everything_says_so(built: Home) -> None:
    """The home has no file of a price book: its views are empty, and the build is green."""
    assert built.query(
        "select price_status, count(*), count(list_cost_usd), max(context_over_tokens)"
        " from intermediate.int_calls__attributed group by 1"
    ) == [("missing", 7, 0, 0)]
    unpriced = built.read("fct_unpriced_usage_daily")
    assert {row["reason"] for row in unpriced} == {"unknown_model"}
    assert sum(row["calls"] for row in unpriced) == 7


def price(over: int, usd_per_mtok: str, **columns: Any) -> dict[str, Any]:
    return {
        "provider": "anthropic", "model": "claude-sonnet", "token_type": "uncached_input", "service_tier": "standard",
        "context_band": "200k+" if over else "0-200k", "context_over_tokens": over, "valid_from": dt.date(1900, 1, 1),
        "usd_per_mtok": Decimal(usd_per_mtok), "source": "test", "source_version": "1", "basis": "list",
    } | columns  # fmt: skip


def sized(request_id: str, started: str, tokens: int, **columns: Any) -> dict[str, Any]:
    """A call of nothing but uncached input."""
    one_type = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens, "has_usage_object": "true"}
    return call(request_id, started, "0.5", **(one_type | columns))


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory, dbt_target: Path) -> Home:
    """A home with a price book of two bands, whose price changes on 16 October; flex may borrow the standard price."""
    home = fill(Home(tmp_path_factory.mktemp("priced"), dbt_target, policy={"fallback_tiers": ["flex"]}))
    cut = dt.date(2026, 10, 16)
    home.write("price_book", "all", [
        price(0, "3", valid_to=cut), price(200_000, "6", valid_to=cut),
        price(0, "2.5", valid_from=cut), price(200_000, "5.000001", valid_from=cut),
        price(0, "1.5", service_tier="batch"),
    ])  # fmt: skip
    home.write("price_book_aliases", "all", [
        {"provider": "anthropic", "alias": "claude-sonnet-4-6", "model": "claude-sonnet"},
    ])  # fmt: skip
    home.write_calls("2026-10-15", [
        *(sized(f"short {n}", "2026-10-15T10:00:00", 100_000) for n in range(10)),
        sized("long", "2026-10-15T10:00:00", 1_000_000, model="Anthropic/Claude-Sonnet-4-6"),
        sized("at the bound", "2026-10-15T23:59:59.999", 200_000, has_usage_object="false"),
        sized("on a person's plan", "2026-10-15T10:00:00", 1_000, used_client_oauth_token="true"),
    ])  # fmt: skip
    home.write_calls("2026-10-16", [
        sized("above the bound", "2026-10-16T00:00:00", 200_001),
        sized("borrowed", "2026-10-16T10:00:00", 1_000, cost_service_tier="Flex"),
        sized("batch", "2026-10-16T10:00:00", 1_000, cost_service_tier="batch"),
        sized("no tier", "2026-10-16T10:00:00", 1_000, cost_service_tier="priority"),
        sized("no price of output", "2026-10-16T10:00:00", 1_000, completion_tokens=1),
        sized("no alias", "2026-10-16T10:00:00", 1_000, model="anthropic/claude-sonnet-4-6-new"),
    ])  # fmt: skip
    home.dbt("build", "--select", "tag:daily", "--exclude-resource-type", "unit_test", days=DAYS[:2])
    return home


def test_each_call_is_priced_in_its_own_band_on_its_own_day(priced: Home) -> None:
    rows = priced.query(
        "select request_id, context_over_tokens, list_cost_usd, price_status from intermediate.int_calls__attributed"
    )
    assert sorted(rows) == sorted([
        *((f"short {n}", 0, Decimal("0.3"), "exact") for n in range(10)),
        ("long", 200_000, Decimal("6"), "exact"),
        ("at the bound", 0, Decimal("0.6"), "exact"),
        ("on a person's plan", 0, None, "not_priced"),
        ("above the bound", 200_000, Decimal("1.000005200001"), "exact"),
        ("borrowed", 0, Decimal("0.0025"), "fallback"),
        ("batch", 0, Decimal("0.0015"), "exact"),
        ("no tier", 0, None, "missing"),
        ("no price of output", 0, None, "missing"),
        ("no alias", 0, None, "missing"),
    ])  # fmt: skip
    assert priced.query("select distinct typeof(usd_per_token) from staging.stg_prices__prices") == [
        ("DECIMAL(18,12)",)
    ]


def test_cells_hold_one_band_so_that_pricing_them_prices_their_calls(priced: Home) -> None:
    """Ten calls of 100,000 tokens and one of a million: 3.00 and 6.00. In one cell they would cost 6.00 or 12.00."""
    rows = [row for row in priced.read("fct_proxy_usage_daily", "2026-10-15") if row["call_class"] == "call"]
    cells = {
        (row["model"], row["context_over_tokens"]): (
            row["calls"],
            row["calls_without_usage"],
            row["uncached_input_tokens"],
        )
        for row in rows
    }
    assert cells == {
        ("anthropic/claude-sonnet-4-6", 0): (11, 1, 1_200_000),
        ("Anthropic/Claude-Sonnet-4-6", 200_000): (1, 0, 1_000_000),
    }
    prices = {0: Decimal("0.000003"), 200_000: Decimal("0.000006")}
    by_cell = sum(prices[over] * tokens for (_, over), (_, _, tokens) in cells.items())
    by_call = priced.query(
        "select sum(list_cost_usd) from intermediate.int_calls__attributed where usage_date = date '2026-10-15'"
    )
    assert [(by_cell,)] == by_call == [(Decimal("9.6"),)]


def test_what_has_no_price_is_listed_and_what_may_borrow_one_is_not(priced: Home) -> None:
    unpriced = {
        (row["model"], row["service_tier"]): (row["reason"], row["token_types_without_price"], row["calls"])
        for row in priced.read("fct_unpriced_usage_daily")
    }
    assert unpriced == {
        ("anthropic/claude-sonnet-4-6", "priority"): ("no_price_on_day", "uncached_input", 1),
        ("anthropic/claude-sonnet-4-6", "standard"): ("no_price_on_day", "output", 2),
        ("anthropic/claude-sonnet-4-6-new", "standard"): ("unknown_model", None, 1),
    }


def test_calls_that_end_on_the_next_day_are_counted_on_their_own(priced: Home) -> None:
    """Each call of these homes takes two seconds, so the one that starts a millisecond before midnight is over it."""
    assert priced.read("fct_midnight_calls_daily") == [
        {
            "usage_date": dt.date(2026, 10, 15),
            "provider": "anthropic",
            "calls": 1,
            "tokens": 200_000,
            "logged_spend_usd": Decimal("0.5"),
        }
    ]


def test_more_bands_than_columns_stop_the_build(home: Home) -> None:
    check = ("test", "--select", "assert_context_bands_fit_their_columns")
    home.write("price_book", "all", [price(over, "1") for over in (0, 100, 200, 300)])
    home.dbt("run", "--select", "stg_prices__prices")
    home.dbt(*check)
    home.write("price_book", "all", [price(over, "1") for over in (0, 100, 200, 300, 400)])
    with pytest.raises(AssertionError, match="FAIL 1 assert_context_bands_fit_their_columns"):
        home.dbt(*check)


def test_rerun_writes_the_same_bytes(built: Home) -> None:
    first = built.hashes()
    assert len(first) == 9 * len(DAYS) + 4
    # What a kill in the middle of an export leaves behind.
    (built.root / "tables" / "fct_usage_daily" / f"tmp_usage_date={DAYS[0]}.parquet").write_bytes(b"half a file")
    assert "full parse" not in built.build()
    assert built.hashes() == first


def test_other_time_zone_and_one_thread_write_the_same_bytes(built: Home, home: Home, tmp_path: Path) -> None:
    profile = (PROJECT / "profiles.yml").read_text()
    single = profile.replace("threads: 2", "threads: 1").replace("TimeZone: UTC", "TimeZone: UTC\n        threads: 1")
    (tmp_path / "profiles.yml").write_text(single)
    home.target = tmp_path / "target"
    home.build(env={"TZ": "Asia/Tokyo", "DBT_PROFILES_DIR": str(tmp_path)})
    assert home.hashes() == built.hashes()


def test_vanished_rows_and_days_are_emptied(home: Home) -> None:
    home.build()
    before = home.hashes()
    home.write_calls("2026-10-15", CALLS["2026-10-15"][:1])  # five rows withdrawn
    home.write_calls("2026-10-16", [])  # a load of no rows
    del home.files["litellm_spend_logs"]["day=2026-10-17"]  # no load at all
    home.build(days=DAYS[:3])
    changed = {name.partition("=")[2] for name, digest in home.hashes().items() if digest != before[name]}
    assert changed == {f"{value}.parquet" for value in [*DAYS[:3], "2026-10"]}
    assert charged(home.read("fct_usage_daily")) == {
        ("2026-10-15", "CC-100", "team:t-checkout@2026-10-01"): Decimal("0.3"),
        ("2026-10-18", "CC-100", "team:t-checkout@2026-10-01"): Decimal("0.2"),
    }
    for day in DAYS[1:3]:
        empty = pq.ParquetFile(home.root / "tables" / "fct_usage_daily" / f"usage_date={day}.parquet")
        assert (empty.metadata.num_rows, empty.schema_arrow.field("logged_spend_usd").type) == (
            0,
            pa.decimal128(38, 12),
        )
    for table in (
        "intermediate.int_calls__grouped",
        "intermediate.int_call_identities__attributed",
        "marts.fct_usage_daily",
        "marts.fct_proxy_usage_daily",
    ):
        left = home.query(f"select distinct usage_date from {table} order by 1")
        assert left == [(dt.date(2026, 10, 15),), (dt.date(2026, 10, 18),)], table
    assert sum(row["logged_spend_usd"] for row in home.read("fct_spend_monthly")) == Decimal("0.5")


def test_row_of_another_day_stops_the_build(home: Home) -> None:
    home.write_calls("2026-10-18", [call("stray", "2026-10-19T00:00:00", "1")])
    with pytest.raises(AssertionError, match="FAIL 1 assert_no_row_is_lost"):
        home.build()


def test_older_loads_may_lack_optional_columns_only(home: Home) -> None:
    home.policy = {"suspense": "CC-901-OTHER"}
    for day, rows in CALLS.items():
        home.write_calls(day, rows, drop=["user_agent"])
    home.write_calls("2026-10-18", CALLS["2026-10-18"], drop=["litellm_call_id", "created_at", "updated_at"])
    home.build()
    assert sum(row["logged_spend_usd"] for row in home.read("fct_usage_daily")) == Decimal("31.000000123457")
    assert "CC-901-OTHER" in {row["cost_center"] for row in home.read("fct_usage_daily")}
    for day, rows in CALLS.items():
        home.write_calls(day, rows, drop=["spend_text"])
    with pytest.raises(AssertionError, match="spend_text"):
        home.dbt("run", "--select", "stg_litellm__spend_logs")


def test_build_without_its_hand_over_is_refused(home: Home) -> None:
    with pytest.raises(AssertionError, match="TOKENGOV_DBT_CONTROL is not set"):
        home.dbt("run", env={"TOKENGOV_DBT_CONTROL": ""})
    del home.files["litellm_users"]
    with pytest.raises(AssertionError, match=r"no entry files\.litellm_users"):
        home.dbt("run")


def test_full_refresh_never_drops_days_outside_the_window(built: Home) -> None:
    before = built.hashes()
    with pytest.raises(AssertionError, match=r"would lose 3 days \(2026-10-15 to 2026-10-17\)"):
        built.dbt("run", "--full-refresh", days=DAYS[3:])
    built.dbt("run", "--full-refresh")
    assert built.hashes() == before


def test_rules_of_the_unit_tests_hold(built: Home) -> None:
    # None of this may reach them.
    built.policy = {"suspense": "CC-901-OTHER", "taxonomy": [], "max_successor_chain": 0, "fallback_tiers": ["flex"]}
    assert "PASS=49 WARN=0 ERROR=0" in built.dbt("test", "--select", "test_type:unit")
