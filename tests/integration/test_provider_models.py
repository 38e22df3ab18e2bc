"""The dbt models of the providers' reports on a small hand-written lake: exact sums, whole days, loud defects.

Runs the real dbt in a temporary home, as `test_dbt_models` does, with the builds that production runs: one selected by
the tag provider_daily, one by the tag daily. Single rules are dbt unit tests beside the models.
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
DAYS = ["2026-10-01", "2026-10-02", "2026-10-03"]
TYPES = {"string": pa.string(), "bigint": pa.int64(), "boolean": pa.bool_(), "date": pa.date32()}
PROVIDER_TABLES = (
    "anthropic_usage", "anthropic_cost", "anthropic_api_keys", "anthropic_workspaces", "anthropic_users",
    "anthropic_service_accounts", "openai_usage", "openai_cost", "openai_project_api_keys", "openai_projects",
    "openai_users", "openai_service_accounts",
)  # fmt: skip


def declared_schemas() -> dict[str, pa.Schema]:
    sources = yaml.safe_load((PROJECT / "models" / "staging" / "_raw__sources.yml").read_text(encoding="utf-8"))
    return {
        table["name"]: pa.schema([(column["name"], TYPES[column["data_type"]]) for column in table["columns"]])
        for table in sources["sources"][0]["tables"]
        if table["name"] in PROVIDER_TABLES
    }


SCHEMAS = declared_schemas()


@dataclass
class Home:
    """One installation: a lake of reports, a window to build, tables to read."""

    root: Path
    target: Path
    files: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in PROVIDER_TABLES})

    def write(self, table: str, part: str, rows: Iterable[dict[str, Any]], drop: Iterable[str] = ()) -> None:
        """Write one load of a day (day=...) or snapshot (observed=...) and make it the current one."""
        kind, _, value = part.partition("=")
        stamp = {"day": "usage_date", "observed": "observed_date"}[kind]
        day = {stamp: dt.date.fromisoformat(value)}
        data = pa.Table.from_pylist([day | row for row in rows], schema=SCHEMAS[table]).drop_columns(list(drop))
        folder = self.root / "lake" / "raw" / table / part
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"load={hashlib.sha256(repr(data.to_pylist()).encode()).hexdigest()[:16]}.parquet"
        pq.write_table(data, path)
        self.files[table][part] = str(path)

    def build(self, days: list[str], select: str = "tag:provider_daily", names: Iterable[str] = PROVIDER_TABLES) -> str:
        """Run dbt over the days and return its output; a failure raises with it."""
        (self.root / "warehouse").mkdir(exist_ok=True)
        wanted = {f"day={day}" for day in days}
        control = {
            "days": days,
            "months": [],
            "files": {
                name: [path for part, path in self.files.get(name, {}).items() if part[:3] != "day" or part in wanted]
                for name in names
            },
            "tables_dir": str(self.root / "tables"),
            "policy": {},
        }
        (self.root / "control.json").write_text(json.dumps(control), encoding="utf-8")
        places = {
            "DBT_PROJECT_DIR": str(PROJECT),
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.root / "logs"),
            "TOKENGOV_DBT_CONTROL": str(self.root / "control.json"),
        }
        done = subprocess.run(
            [str(DBT), "build", "--select", select, "--exclude-resource-type", "unit_test"],
            cwd=self.root, env=os.environ | places, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout

    def read(self, table: str, name: str = "*") -> list[dict[str, Any]]:
        paths = sorted((self.root / "tables" / table).glob(f"{name}.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of every exported file."""
        tables = self.root / "tables"
        files = sorted(path for path in tables.rglob("*") if path.is_file())
        return {str(path.relative_to(tables)): pq.ParquetFile(path).read().to_pylist() for path in files}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.root / "warehouse" / "tokengov.duckdb"), read_only=True) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows


def anthropic_cost(amount: str | None, **columns: Any) -> dict[str, Any]:
    return {
        "report": "analytics", "account": "main", "api_key_id": "apikey_1", "workspace_id": "wrkspc_1",
        "model": "claude-sonnet-5", "service_tier": "standard", "cost_type": "tokens", "token_type": "output_tokens",
        "amount_text": amount, "list_amount_text": amount, "source_unit": "usd_cents", "currency": "USD",
    } | columns  # fmt: skip


def anthropic_usage(**columns: Any) -> dict[str, Any]:
    return {
        "report": "analytics", "account": "main", "api_key_id": "apikey_1", "workspace_id": "wrkspc_1",
        "model": "claude-sonnet-5", "service_tier": "standard", "uncached_input_tokens": 100, "cache_read_tokens": 20,
        "cache_write_5m_tokens": 3, "cache_write_1h_tokens": 4, "output_tokens": 5, "requests": 1,
    } | columns  # fmt: skip


def openai_cost(line_item: str | None, amount: str, **columns: Any) -> dict[str, Any]:
    return {
        "account": "main", "project_id": "proj_1", "api_key_id": "key_1", "line_item": line_item,
        "amount_text": amount, "source_unit": "usd", "currency": "usd",
    } | columns  # fmt: skip


def openai_usage(**columns: Any) -> dict[str, Any]:
    return {
        "kind": "completions", "account": "main", "project_id": "proj_1", "api_key_id": "key_1", "batch": False,
        "model": "gpt-5.4-2026-03-05", "service_tier": "default", "input_tokens": 1000, "input_cached_tokens": 600,
        "output_tokens": 50, "requests": 2,
    } | columns  # fmt: skip


def fill(home: Home) -> Home:
    first, second, third = (f"day={day}" for day in DAYS)
    home.write("anthropic_cost", first, [
        anthropic_cost("41280.000000", list_amount_text="51600.000000"),
        anthropic_cost("0.123456789012345678", api_key_id=None),
        anthropic_cost("0.1", api_key_id=None, workspace_id=None, token_type=None, cost_type="web_search"),
        anthropic_cost("0.2", api_key_id=None, workspace_id=None, token_type=None, cost_type="web_search"),
    ])  # fmt: skip
    home.write("anthropic_cost", second, [anthropic_cost("1")])
    home.write("anthropic_cost", third, [anthropic_cost("33.333333333333333333")])
    home.write("anthropic_usage", first, [
        anthropic_usage(), anthropic_usage(), anthropic_usage(api_key_id=None, web_search_requests=2),
        anthropic_usage(workspace_id=None, service_tier="batch", speed="fast"),
    ])  # fmt: skip
    home.write("anthropic_usage", third, [anthropic_usage(requests=None)])
    home.write("openai_cost", first, [
        openai_cost("gpt-5.4-2026-03-05, cached input", "0.8958740000000000"),
        openai_cost("gpt-5.4-2026-03-05, input", "0.30000000000000004"),
        openai_cost("web search tool calls", "0.06", project_id=None, api_key_id=None),
        openai_cost("sora-2, seconds", "-1.5"),
    ])  # fmt: skip
    home.write("openai_cost", third, [openai_cost(None, "0.34090000000000000")])
    home.write("openai_usage", first, [
        openai_usage(), openai_usage(user_id="user-2", input_cache_write_tokens=100), openai_usage(api_key_id=None),
        openai_usage(batch=True), openai_usage(kind="web_search_calls", input_tokens=None, input_cached_tokens=None,
                                               output_tokens=None, batch=None, service_tier=None, requests=9),
    ])  # fmt: skip
    key = {"id": "apikey_1", "name": "ci", "partial_key_hint": "sk-ant-api03-R2D...igAA", "workspace_id": "wrkspc_1",
           "created_by_id": "user_1", "principal_id": "svac_1", "created_at": "2026-09-01T12:30:00Z"}  # fmt: skip
    for day, status in zip(DAYS, ("active", "active", "archived"), strict=True):
        home.write("anthropic_api_keys", f"observed={day}", [key | {"status": status}], drop=["account"])
    home.write("openai_project_api_keys", "observed=2026-10-02", [
        {"id": "key_1", "project_id": "proj_1", "owner_id": "user-2", "created_at": "2026-09-02T00:00:00Z"},
    ])  # fmt: skip
    home.write("anthropic_workspaces", "observed=2026-10-01", [{"id": "wrkspc_1", "name": "prod"}])
    home.write("anthropic_workspaces", "observed=2026-10-02", [{"id": "wrkspc_1", "name": "production"}])
    home.write("openai_projects", "observed=2026-10-02", [{"id": "proj_1", "name": "ci"}])
    home.write("anthropic_users", "observed=2026-10-01", [{"id": "user_1", "name": "Ana", "email": "Ana@example.com"}])
    home.write("anthropic_service_accounts", "observed=2026-10-01", [{"id": "svac_1", "name": "runner"}])
    home.write("openai_users", "observed=2026-10-01", [{"id": "user-2", "name": " ", "email": "bo@example.com"}])
    return home


@pytest.fixture(scope="module")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One target folder for all homes, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt") / "target"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, dbt_target: Path) -> Home:
    """A home that is only read. No proxy has been loaded: the reports build without it."""
    home = fill(Home(tmp_path_factory.mktemp("built"), dbt_target))
    home.build(DAYS)
    return home


@pytest.fixture
def home(tmp_path: Path, dbt_target: Path) -> Home:
    """A home that the test may change."""
    return fill(Home(tmp_path, dbt_target))


def costs(home: Home, day: str) -> dict[tuple[Any, ...], Decimal]:
    rows = home.read("fct_provider_cost_daily", f"usage_date={day}")
    names = ("provider", "provider_key_id", "workspace_id", "cost_type", "token_type", "model")
    return {tuple(row[name] for name in names): row["amount_usd"] for row in rows}


def test_costs_are_exact_and_nothing_without_a_key_is_lost(built: Home) -> None:
    assert costs(built, DAYS[0]) == {
        ("anthropic", "apikey_1", "wrkspc_1", "tokens", "output", "claude-sonnet-5"): Decimal("412.80"),
        ("anthropic", None, "wrkspc_1", "tokens", "output", "claude-sonnet-5"): Decimal("0.001234567890"),
        ("anthropic", None, None, "web_search", None, "claude-sonnet-5"): Decimal("0.003"),
        ("openai", "key_1", "proj_1", "tokens", "cache_read", "gpt-5.4-2026-03-05"): Decimal("0.895874"),
        ("openai", "key_1", "proj_1", "tokens", "uncached_input", "gpt-5.4-2026-03-05"): Decimal("0.3"),
        ("openai", None, None, "web_search", None, None): Decimal("0.06"),
        ("openai", "key_1", "proj_1", "unmapped", None, "sora-2"): Decimal("-1.5"),
    }
    assert list(costs(built, DAYS[2]).values()) == [Decimal("0.333333333333"), Decimal("0.3409")]
    first = built.read("fct_provider_cost_daily", f"usage_date={DAYS[0]}")
    assert sum(row["amount_usd"] for row in first) == Decimal("412.560108567890")
    assert {row["list_amount_usd"] for row in first if row["provider"] == "openai"} == {None}
    assert [row["list_amount_usd"] for row in first if row["amount_usd"] == Decimal("412.80")] == [Decimal("516")]
    assert {(row["provider"], row["source_unit"], row["basis"]) for row in first} == {
        ("anthropic", "usd_cents", "reported"),
        ("openai", "usd", "reported"),
    }


def test_usage_adds_up_by_measure(built: Home) -> None:
    rows = built.read("fct_provider_usage_daily", f"usage_date={DAYS[0]}")
    found = {
        (row["provider"], row["provider_key_id"], row["workspace_id"], row["service_tier"], row["measure"]): row[
            "quantity"
        ]
        for row in rows
    }
    assert len(found) == len(rows)
    assert {key[4]: n for key, n in found.items() if key[:4] == ("anthropic", "apikey_1", "wrkspc_1", "standard")} == {
        "uncached_input": 200,
        "cache_read": 40,
        "cache_write_5m": 6,
        "cache_write_1h": 8,
        "output": 10,
        "requests": 2,
    }
    assert found["anthropic", None, "wrkspc_1", "standard", "web_search_requests"] == 2
    assert found["anthropic", "apikey_1", None, "batch", "output"] == 5
    assert {key[4]: n for key, n in found.items() if key[:4] == ("openai", "key_1", "proj_1", "standard")} == {
        "uncached_input": 400 + 300,
        "cache_read": 1200,
        "cache_write_5m": 100,
        "output": 100,
        "requests": 4,
        "web_search_requests": 9,
    }
    assert found["openai", None, "proj_1", "standard", "uncached_input"] == 400
    assert found["openai", "key_1", "proj_1", "batch", "cache_read"] == 600
    assert sum(row["quantity"] for row in rows if row["unit"] == "tokens") == 4 * 132 + 4 * 1050


def test_keys_are_dated_by_their_snapshots(built: Home) -> None:
    first, second, third = (dt.date.fromisoformat(day) for day in DAYS)
    keys = {
        (row["provider_key_id"], row["status"]): (
            row["first_observed_date"],
            row["last_observed_date"],
            row["workspace_id"],
        )
        for row in built.read("dim_provider_keys_dated", "all")
    }
    assert keys == {
        ("apikey_1", "active"): (first, second, "wrkspc_1"),
        ("apikey_1", "archived"): (third, third, "wrkspc_1"),
        ("key_1", None): (second, second, "proj_1"),
    }


def test_keys_lead_to_who_created_them_and_to_their_workspace(built: Home) -> None:
    keys = {
        row["provider_key_id"]: (row["owner_id"], row["created_by_id"], row["created_at"])
        for row in built.read("dim_provider_keys_dated", "all")
    }
    assert keys == {
        "apikey_1": ("svac_1", "user_1", dt.datetime(2026, 9, 1, 12, 30)),
        "key_1": ("user-2", "user-2", dt.datetime(2026, 9, 2)),
    }
    people = [tuple(row.values()) for row in built.read("dim_provider_people", "all")]
    assert people == [
        ("anthropic", "svac_1", "service_account", "runner", None),
        ("anthropic", "user_1", "user", "Ana", "ana@example.com"),
        ("openai", "user-2", "user", None, "bo@example.com"),
    ]
    first, second = (dt.date.fromisoformat(day) for day in DAYS[:2])
    workspaces = [tuple(row.values()) for row in built.read("dim_provider_workspaces", "all")]
    assert workspaces == [
        ("anthropic", "wrkspc_1", "prod", first, first),
        ("anthropic", "wrkspc_1", "production", second, second),
        ("openai", "proj_1", "ci", second, second),
    ]


def test_a_day_that_is_read_again_is_replaced_whole_and_no_other(home: Home) -> None:
    home.build(DAYS)
    before = home.contents()
    home.write("anthropic_cost", f"day={DAYS[0]}", [anthropic_cost("5")])
    home.write("anthropic_usage", f"day={DAYS[0]}", [])
    del home.files["openai_cost"][f"day={DAYS[0]}"]
    home.write("openai_cost", f"day={DAYS[2]}", [openai_cost(None, "99")])  # not in the window: not read
    home.build(DAYS[:2])
    changed = {name for name, rows in home.contents().items() if before[name] != rows}
    assert changed == {f"fct_provider_{kind}_daily/usage_date={DAYS[0]}.parquet" for kind in ("cost", "usage")}
    assert list(costs(home, DAYS[0]).values()) == [Decimal("0.05")]
    assert {row["provider"] for row in home.read("fct_provider_usage_daily", f"usage_date={DAYS[0]}")} == {"openai"}
    assert home.query("select sum(amount_usd) from marts.fct_provider_cost_daily") == [(Decimal("0.734233333333"),)]
    again = home.contents()
    home.build(DAYS[:2])
    assert home.contents() == again


@pytest.mark.parametrize(
    ("table", "row", "test"),
    [
        ("anthropic_cost", anthropic_cost("n/a"), "amount_usd_is_read_in_stg_anthropic__costs"),
        ("anthropic_cost", anthropic_cost(None), "amount_usd_is_read_in_stg_anthropic__costs"),
        (
            "anthropic_cost",
            anthropic_cost("1", list_amount_text="1e"),
            "list_amount_usd_is_read_in_stg_anthropic__costs",
        ),
        ("anthropic_cost", anthropic_cost("1", currency="EUR"), "currency_is_usd_in_stg_anthropic__costs"),
        ("openai_cost", openai_cost("x, input", "1,5"), "amount_usd_is_read_in_stg_openai__costs"),
        (
            "openai_cost",
            openai_cost("x, input", "1", usage_date=dt.date(2026, 10, 9)),
            "assert_no_provider_row_is_lost",
        ),
    ],
)
def test_what_cannot_be_read_stops_the_build(home: Home, table: str, row: dict[str, Any], test: str) -> None:
    home.write(table, f"day={DAYS[1]}", [row])
    with pytest.raises(AssertionError, match=rf"FAIL 1 {test}"):
        home.build(DAYS)
    if "lost" not in test:
        assert not (home.root / "tables" / "fct_provider_cost_daily").exists()


def test_words_that_are_new_warn_and_pass(home: Home) -> None:
    home.write(
        "anthropic_cost", f"day={DAYS[1]}", [anthropic_cost("1", cost_type="memory_storage", token_type="x_tokens")]
    )
    told = home.build(DAYS)
    assert "WARN 1 cost_type_is_known_in_fct_provider_cost_daily" in told
    assert "WARN 1 line_items_are_mapped_in_stg_openai__costs" in told  # sora-2, seconds
    assert ("anthropic", "apikey_1", "wrkspc_1", "memory_storage", "x_tokens", "claude-sonnet-5") in costs(
        home, DAYS[1]
    )


def test_each_build_needs_its_own_sources_only(home: Home) -> None:
    with pytest.raises(AssertionError, match=r"no entry files\.openai_cost"):
        home.build(DAYS, names=[name for name in PROVIDER_TABLES if name != "openai_cost"])
    with pytest.raises(AssertionError, match=r"no entry files\.litellm_spend_logs"):
        home.build(DAYS, select="stg_litellm__spend_logs")
    sources = yaml.safe_load((PROJECT / "models" / "staging" / "_raw__sources.yml").read_text(encoding="utf-8"))
    others = [table["name"] for table in sources["sources"][0]["tables"] if table["name"] not in PROVIDER_TABLES]
    home.build(DAYS, select="tag:daily", names=others)
    assert home.read("fct_unpriced_usage_daily") == []
    assert not (home.root / "tables" / "fct_provider_cost_daily").exists()
