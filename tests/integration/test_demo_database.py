"""The demo's database on the embedded Postgres: the server itself, LiteLLM's schema, a seeding of 5,000 calls."""

import csv
import datetime as dt
import json
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake import Lake
from resources.litellm import LiteLLMPostgres
from tests.conftest import REPOSITORY, need_real_data, run_sql_file
from tests.integration.postgres_client import query, wait_for
from tokengov_pipelines.demo.calls import generate_day
from tokengov_pipelines.demo.database import demo_database, running_postgres
from tokengov_pipelines.demo.ground_truth import GroundTruth
from tokengov_pipelines.demo.lake_rows import day_table
from tokengov_pipelines.demo.late_call import insert_late_call
from tokengov_pipelines.demo.litellm_database import TABLES
from tokengov_pipelines.demo.metering import money_of
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.postgres import create_reader
from tokengov_pipelines.demo.seed import MARKER_FILE, SeedError, seed_demo
from tokengov_pipelines.demo.spend_logs import rows_of
from tokengov_pipelines.demo.traffic import build_plan

CALLS, SEED = 5_000, 11


_HALF_SEEDING = """
import pathlib, sys, time
from tokengov_pipelines.demo.seed import seed_demo

url, home, calls, seed = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def progress(what, done):
    if done > 0.3:
        (home / "half-way").touch()
        time.sleep(60)

seed_demo(home, url, calls, seed, progress)
"""


@dataclass(frozen=True)
class Demo:
    home: Path
    url: str
    truth: GroundTruth
    steps: list[tuple[str, float]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach: pytest closes its own to others whenever a session starts."""
    with tempfile.TemporaryDirectory(prefix="tokengov-") as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="tokengov-") as name:
        yield from _seeded(Path(name).resolve())


def _seeded(home: Path) -> Iterator[Demo]:
    steps: list[tuple[str, float]] = []
    with running_postgres(home) as url:
        truth = seed_demo(home, url, CALLS, SEED, lambda what, done: steps.append((what, done)))
        yield Demo(home, url, truth, steps)


def test_the_tables_are_litellms_own(new_database: Callable[[], str], litellm_database: str) -> None:
    """Column by column: name, type, nullability and default; then primary keys and indices."""
    real = new_database()
    run_sql_file(real, need_real_data("litellm", "schema.sql"))
    names = ", ".join(f"'{table}'" for table in TABLES)
    columns = (
        "select table_name, ordinal_position, column_name, data_type, udt_name, is_nullable, column_default, "
        "datetime_precision from information_schema.columns "
        f"where table_schema = 'public' and table_name in ({names}) order by 1, 2"
    )
    indices = f"select indexdef from pg_indexes where schemaname = 'public' and tablename in ({names}) order by 1"
    assert query(litellm_database, columns) == query(real, columns)
    assert query(litellm_database, indices) == query(real, indices)
    assert len(query(litellm_database, columns)) > 300


def test_counts_and_sums_are_the_ground_truths(demo: Demo) -> None:
    ((rows, spend),) = query(demo.url, 'select count(*), sum(spend::text::numeric(38, 12)) from "LiteLLM_SpendLogs"')
    assert (rows, spend) == (demo.truth.logged_rows, demo.truth.logged_spend)
    assert demo.truth.calls == CALLS
    assert rows == CALLS - demo.truth.incident("lost_rows")["calls"]
    assert demo.steps[-1] == ("the demo is seeded", 1.0)
    assert [done for _, done in demo.steps] == sorted(done for _, done in demo.steps)


def test_every_provider_month_in_postgres_is_the_ground_truths(demo: Demo) -> None:
    found = query(
        demo.url,
        "select to_char(\"startTime\", 'YYYY-MM'), replace(custom_llm_provider, 'gemini', 'google'), count(*), "
        'sum(spend::text::numeric(38, 12)) from "LiteLLM_SpendLogs" group by 1, 2',
    )
    logged = {(month, provider): (rows, spend) for month, provider, rows, spend in found}
    for month, providers in demo.truth.months.items():
        for provider, values in providers.items():
            assert logged[month, provider] == (values.logged_rows, values.logged_spend)
            invoice = json.loads((demo.home / "invoices" / f"{provider}-{month}.json").read_text(encoding="utf-8"))
            gap = Decimal(invoice["total"]) - values.logged_spend
            assert gap == sum(values.causes.values()) + values.rounding


@pytest.mark.parametrize(
    ("table", "entity", "column"),
    [("LiteLLM_DailyTeamSpend", "team_id", "team_id"), ("LiteLLM_DailyUserSpend", "user_id", '"user"')],
)
def test_the_daily_tables_agree_with_the_log(demo: Demo, table: str, entity: str, column: str) -> None:
    tokens = "sum(prompt_tokens), sum(completion_tokens)"
    daily = query(
        demo.url, f'select date, {entity}, sum(api_requests), {tokens}, sum(spend) from "{table}" group by 1, 2'
    )
    log = query(
        demo.url,
        f"select to_char(\"startTime\", 'YYYY-MM-DD'), {column}, count(*), {tokens}, sum(spend) "
        'from "LiteLLM_SpendLogs" group by 1, 2',
    )
    assert {row[:5] for row in daily} == {row[:5] for row in log}
    spend = {row[:2]: row[5] for row in log}
    assert all(abs(row[5] - spend[row[:2]]) < 1e-9 for row in daily)
    assert len(query(demo.url, f'select distinct date from "{table}"')) == 150


def test_the_entities_are_there(demo: Demo) -> None:
    counts = {table: query(demo.url, f'select count(*) from "{table}"')[0][0] for table in TABLES}
    assert counts["LiteLLM_TeamTable"] == 8
    assert counts["LiteLLM_UserTable"] == 60
    assert counts["LiteLLM_VerificationToken"] == len(build_organisation().keys) - 2
    assert counts["LiteLLM_DeletedVerificationToken"] == 1
    teams = dict(query(demo.url, "select team_alias, metadata ->> 'cost_center' from \"LiteLLM_TeamTable\""))
    assert (teams["mobile"], teams["support-tools"]) == ("CC-310", None)
    orphans = query(
        demo.url,
        'select distinct api_key from "LiteLLM_SpendLogs" where api_key not in (select token from '
        '"LiteLLM_VerificationToken") and api_key not in (select token from "LiteLLM_DeletedVerificationToken")',
    )
    assert len(orphans) == 1


def test_the_ladder_over_rows_and_files_gives_the_expected_attribution(demo: Demo) -> None:
    """Rules 3.1 to 3.6, written down once more from what a reader has: the log, LiteLLM's tables and the CSVs."""

    def read(name: str) -> list[dict[str, str]]:
        with (demo.home / "directory" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def valid(rows: list[dict[str, str]], column: str, value: str, day: str) -> dict[str, str] | None:
        found = [r for r in rows if r[column] == value and r["valid_from"] <= day < (r["valid_to"] or "9999")]
        assert len(found) <= 1
        return found[0] if found else None

    teams, users, services = read("teams"), read("users"), read("service_accounts")
    metadata = dict(query(demo.url, "select team_id, metadata ->> 'cost_center' from \"LiteLLM_TeamTable\""))
    key_rows = query(demo.url, 'select token, team_id, user_id from "LiteLLM_VerificationToken"')
    key_rows += query(demo.url, 'select token, team_id, user_id from "LiteLLM_DeletedVerificationToken"')
    keys = {token: (team, user) for token, team, user in key_rows}
    found: dict[tuple[str, str, str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for day, provider, row_team, key, row_user, calls, spend in query(
        demo.url,
        "select to_char(\"startTime\", 'YYYY-MM-DD'), replace(custom_llm_provider, 'gemini', 'google'), team_id, "
        'api_key, "user", count(*), sum(spend::text::numeric(38, 12)) from "LiteLLM_SpendLogs" group by 1, 2, 3, 4, 5',
    ):
        key_team, key_user = keys.get(key, (None, None))
        team, user = row_team or key_team, row_user or key_user
        in_directory, service = valid(teams, "team_id", team or "", day), valid(services, "key_hash", key, day)
        person = valid(users, "user_id", user or "", day)
        if in_directory and metadata[team] == in_directory["cost_center"]:
            answer = (metadata[team], "team_metadata")
        elif in_directory:
            answer = (in_directory["cost_center"], "directory_team")
        elif service:
            answer = (service["owner_cost_center"], "service_registry")
        elif person:
            home_team = valid(teams, "team_id", person["team_id"], day)
            assert home_team is not None
            answer = (home_team["cost_center"], "directory_user")
        else:
            answer = ("CC-900-SUSPENSE", "suspense")
        cell = found[day[:7], provider, *answer]
        cell[0] += calls
        cell[1] += spend
    expected = {
        (month, line["provider"], line["cost_center"], line["rung"]): [line["calls"], Decimal(line["logged_spend_usd"])]
        for month, lines in demo.truth.attribution.items()
        for line in lines
    }
    assert found == expected


def test_metadata_is_of_a_realistic_size(demo: Demo) -> None:
    ((average,),) = query(demo.url, 'select avg(length(metadata::text)) from "LiteLLM_SpendLogs"')
    assert 1_000 < average < 2_500


def test_extraction_and_the_lake_writer_give_the_same_rows(demo: Demo, tmp_path: Path) -> None:
    """What the product reads from Postgres is, column by column, what a large demo writes into the lake."""
    lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    source = LiteLLMPostgres(url=create_reader(demo.url, "a-password"))
    organisation = build_organisation()
    plans = {plan.day: plan for plan in build_plan(organisation, CALLS, SEED)}
    for day in (dt.date(2026, 8, 12), dt.date(2026, 10, 14), dt.date(2026, 10, 21), dt.date(2026, 10, 28)):
        source.load_spend_logs(lake, day, dt.datetime(2026, 11, 5, tzinfo=dt.UTC))
        (path,) = lake.current_files("litellm_spend_logs", [f"day={day}"])
        calls = generate_day(organisation, plans[day], SEED)
        written = day_table(rows_of(organisation, calls, money_of(calls)))
        extracted = pq.read_table(path, partitioning=None)
        assert extracted.column_names == written.column_names
        assert written.num_rows > 20
        for name in written.column_names:
            assert extracted[name].to_pylist() == written[name].to_pylist(), (day, name)


def test_the_reader_reads_what_it_needs_and_no_more(demo: Demo) -> None:
    url = create_reader(demo.url, "one")
    assert create_reader(demo.url, "two") == url.replace("one", "two")
    assert query(url, 'select count(spend) from "LiteLLM_SpendLogs"')[0][0] == demo.truth.logged_rows
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(url, 'select messages from "LiteLLM_SpendLogs"')
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(url, 'delete from "LiteLLM_SpendLogs"')


def test_seeding_again_changes_nothing(demo: Demo) -> None:
    before = snapshot(demo.home)
    oid = query(demo.url, "select 'public.\"LiteLLM_SpendLogs\"'::regclass::oid")
    assert seed_demo(demo.home, demo.url, CALLS, SEED, lambda *_: None) == demo.truth
    assert snapshot(demo.home) == before
    assert query(demo.url, "select 'public.\"LiteLLM_SpendLogs\"'::regclass::oid") == oid


def snapshot(home: Path) -> dict[str, bytes]:
    files = [path for folder in ("directory", "invoices") for path in (home / folder).iterdir()]
    return {path.name: path.read_bytes() for path in [*files, home / "ground_truth.json", home / MARKER_FILE]}


def test_lost_files_are_written_again_without_touching_the_database(demo: Demo) -> None:
    before = snapshot(demo.home)
    (demo.home / MARKER_FILE).unlink()
    (demo.home / "invoices" / "openai-2026-10.json").unlink()
    assert seed_demo(demo.home, demo.url, CALLS, SEED, lambda *_: None) == demo.truth
    assert snapshot(demo.home) == before


def test_other_parameters_are_refused(demo: Demo, tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="make demo-clean"):
        seed_demo(demo.home, demo.url, CALLS, SEED + 1, lambda *_: None)
    with pytest.raises(SeedError, match="make demo-clean"):  # another home, the same database
        seed_demo(tmp_path, demo.url, CALLS, SEED + 1, lambda *_: None)


def test_a_database_that_is_not_the_demos_is_left_alone(litellm_database: str, tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="a database of its own"):
        seed_demo(tmp_path, litellm_database, CALLS, SEED, lambda *_: None)
    assert query(litellm_database, 'select count(*) from "LiteLLM_SpendLogs"') == [(0,)]


def test_a_killed_seeding_is_built_anew(demo: Demo, new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    arguments = [sys.executable, "-c", _HALF_SEEDING, url, str(tmp_path), str(CALLS), str(SEED)]
    seeding = subprocess.Popen(arguments, cwd=REPOSITORY)
    try:
        wait_for(lambda: (tmp_path / "half-way").exists() or seeding.poll() is not None)
        seeding.send_signal(signal.SIGKILL)
        seeding.wait(30)
        assert not (tmp_path / "ground_truth.json").exists()
        assert seed_demo(tmp_path, url, CALLS, SEED, lambda *_: None) == demo.truth
        assert query(url, 'select count(*) from "LiteLLM_SpendLogs"') == [(demo.truth.logged_rows,)]
    finally:
        seeding.kill()


def test_a_late_call_lands_in_a_closed_month_once(new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    truth = seed_demo(tmp_path, url, 2_000, SEED, lambda *_: None)
    late = {
        "started_at": dt.datetime(2026, 8, 27, 14, 3, 12, tzinfo=dt.UTC),
        "arrived_at": dt.datetime(2026, 11, 5, 8, 0, tzinfo=dt.UTC),
    }
    call = insert_late_call(url, **late)
    assert insert_late_call(url, **late) == call
    assert (call.cost_center, call.provider) == ("CC-120", "anthropic")
    total = 'select count(*), sum(spend::text::numeric(38, 12)) from "LiteLLM_SpendLogs"'
    assert query(url, total) == [(truth.logged_rows + 1, truth.logged_spend + call.spend)]
    for table in ("LiteLLM_DailyTeamSpend", "LiteLLM_DailyUserSpend"):
        ((requests, spend),) = query(url, f'select sum(api_requests), sum(spend) from "{table}"')
        assert requests == truth.logged_rows + 1
        assert abs(Decimal(spend) - truth.logged_spend - call.spend) < Decimal("1e-9")


def test_more_calls_than_postgres_should_hold_go_to_the_lake(new_database: Callable[[], str], tmp_path: Path) -> None:
    """With a smaller limit, so that it takes seconds."""
    url = new_database()
    tables: dict[dt.date, pa.Table] = {}
    steps: list[str] = []
    truth = seed_demo(
        tmp_path,
        url,
        2_500,
        SEED,
        lambda what, _: steps.append(what),
        write_day=tables.__setitem__,
        largest_in_postgres=2_000,
    )
    assert len(tables) == 150
    assert sum(table.num_rows for table in tables.values()) == truth.logged_rows
    texts = [text for table in tables.values() for text in table["spend_text"].to_pylist()]
    assert sum(Decimal(text).quantize(Decimal("1e-12")) for text in texts) == truth.logged_spend
    assert query(url, 'select count(*) from "LiteLLM_SpendLogs"') == [(0,)]
    assert query(url, 'select sum(api_requests) from "LiteLLM_DailyTeamSpend"')[0][0] == truth.logged_rows
    assert any("lake" in step for step in steps)


def test_a_home_that_is_no_demo_has_no_database(tmp_path: Path) -> None:
    with demo_database(tmp_path) as url:
        assert url is None


def test_the_demos_server_comes_back_for_the_ui(folder: Path) -> None:
    with running_postgres(folder) as owner_url:
        seed_demo(folder, owner_url, 2_000, SEED, lambda *_: None)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(folder / "postgres") in (p.info["cmdline"] or [])]
    with demo_database(folder) as url:
        assert url is not None
        assert query(url, 'select count(spend) > 1000 from "LiteLLM_SpendLogs"') == [(True,)]
