"""LiteLLM's Postgres as a source, on a real Postgres: every trap of the facts that touches reading."""

import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import psycopg2
import pytest
from psycopg2.extras import Json

from resources.lake import Lake
from resources.litellm import LiteLLMPostgres
from resources.litellm_tables import SPEND_LOGS
from resources.source_error import SourceError
from tests.conftest import REPOSITORY, execute

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
DAY = dt.date(2026, 11, 23)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))


def insert_call(url: str, request_id: str, started: str, spend: object = 0.5, **columns: object) -> None:
    row: dict[str, object] = {
        "request_id": request_id,
        "call_type": "acompletion",
        "api_key": "k" * 64,
        "spend": spend,
        "startTime": started,
        "endTime": started,
        "model": "openai/gpt-4o",
        "custom_llm_provider": "openai",
        "status": "success",
        **columns,
    }
    names = ", ".join(f'"{name}"' for name in row)
    values = ", ".join(["%s"] * len(row))
    adapted = [Json(value) if isinstance(value, dict | list) else value for value in row.values()]
    execute(url, f'insert into "LiteLLM_SpendLogs" ({names}) values ({values})', *adapted)


def current_rows(lake: Lake, columns: str, day: dt.date = DAY) -> list[tuple[object, ...]]:
    (path,) = lake.current_files("litellm_spend_logs", [f"day={day}"])
    with duckdb.connect() as connection:
        return connection.execute(f"select {columns} from read_parquet('{path}')").fetchall()


def test_the_558_real_rows_load_with_their_exact_total(real_litellm_database: str, lake: Lake) -> None:
    outcome = LiteLLMPostgres(url=real_litellm_database).load_spend_logs(lake, DAY, NOW)
    assert outcome.verdict == "first"
    assert outcome.seen.rows == 558
    total = Decimal(outcome.seen.sums["spend_usd"])
    assert total == Decimal("10.223379310000")
    assert total.quantize(Decimal("0.000001")) == Decimal("10.223379")


def test_entities_are_snapshots_without_secrets(real_litellm_database: str, lake: Lake) -> None:
    outcomes = LiteLLMPostgres(url=real_litellm_database).load_snapshots(lake, DAY, NOW)
    assert {name: outcome.seen.rows for name, outcome in outcomes.items()} == {
        "litellm_teams": 4,
        "litellm_keys": 7,
        "litellm_users": 7,
        "litellm_organizations": 2,
        "litellm_budgets": 1,
        "litellm_deleted_keys": 0,
        "litellm_deleted_teams": 0,
    }
    (teams,) = lake.current_files("litellm_teams")
    with duckdb.connect() as connection:
        columns = {row[0] for row in connection.execute(f"describe select * from '{teams}'").fetchall()}
        centers = connection.execute(f"select metadata_cost_center from '{teams}' order by team_id").fetchall()
    assert "metadata" not in columns
    assert centers == [("CC-1001",), ("CC-1002",), ("CC-2001",), (None,)]


def test_only_the_allow_list_can_be_read(litellm_database: str, lake: Lake) -> None:
    """The least-privilege role loads everything we need and nothing that holds prompts, addresses or passwords."""
    insert_call(litellm_database, "a", "2026-11-23 10:00", messages={"content": "secret prompt"})
    execute(litellm_database, "drop role if exists tokengov_reader")
    execute(litellm_database, "create role tokengov_reader login")
    execute(litellm_database, (REPOSITORY / "deploy" / "litellm" / "grants.sql").read_text())
    reader = litellm_database.replace("postgres:@", "tokengov_reader:@")
    source = LiteLLMPostgres(url=reader)
    assert source.load_spend_logs(lake, DAY, NOW).seen.rows == 1
    assert len(source.load_snapshots(lake, DAY, NOW)) == 7
    forbidden = {"messages", "response", "proxy_server_request", "requester_ip_address", "api_base", "end_user"}
    assert not forbidden & {column.source for column in SPEND_LOGS.columns}
    connection = psycopg2.connect(reader)
    for column in sorted(forbidden):
        with connection, connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(f'select {column} from "LiteLLM_SpendLogs"')
    with connection, connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute('select password from "LiteLLM_UserTable"')
    connection.close()
    execute(litellm_database, "drop owned by tokengov_reader")


def test_the_source_is_read_only(litellm_database: str) -> None:
    source = LiteLLMPostgres(url=litellm_database)
    with source.connection() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select current_setting('transaction_read_only'), current_setting('transaction_isolation'), "
            "current_setting('timezone')"
        )
        assert cursor.fetchone() == ("on", "repeatable read", "UTC")


def test_a_day_is_half_open_in_utc_whatever_the_session_says(litellm_database: str, lake: Lake) -> None:
    execute(
        litellm_database,
        "alter database " + litellm_database.split("/")[3].split("?")[0] + " set timezone to 'Asia/Tokyo'",
    )
    for request_id, started in (
        ("before", "2026-11-22 23:59:59.999"),
        ("first", "2026-11-23 00:00:00"),
        ("last", "2026-11-23 23:59:59.999"),
        ("after", "2026-11-24 00:00:00"),
    ):
        insert_call(litellm_database, request_id, started)
    LiteLLMPostgres(url=litellm_database).load_spend_logs(lake, DAY, NOW)
    assert current_rows(lake, "request_id, started_at::text") == [
        ("first", "2026-11-23 00:00:00"),
        ("last", "2026-11-23 23:59:59.999"),
    ]


def test_spend_keeps_every_digit_of_the_float(litellm_database: str, lake: Lake) -> None:
    for request_id, spend in (("a", 0.1 + 0.2), ("b", 1.5e-07), ("c", float("nan")), ("d", -0.5)):
        insert_call(litellm_database, request_id, "2026-11-23 10:00", spend)
    LiteLLMPostgres(url=litellm_database).load_spend_logs(lake, DAY, NOW)
    assert current_rows(lake, "spend_text") == [
        ("0.30000000000000004",),
        ("1.5e-07",),
        ("NaN",),
        ("-0.5",),
    ]


def test_metadata_paths_survive_null_scalar_and_missing_metadata(litellm_database: str, lake: Lake) -> None:
    insert_call(litellm_database, "a", "2026-11-23 10:00", metadata=None)
    insert_call(litellm_database, "b", "2026-11-23 10:00", metadata={"spend_logs_metadata": None, "usage_object": None})
    insert_call(
        litellm_database,
        "c",
        "2026-11-23 10:00",
        metadata={
            "spend_logs_metadata": {"use_case": "refactor"},
            "usage_object": {"prompt_tokens_details": {"cached_tokens": 7}, "service_tier": "flex"},
            "additional_usage_values": {"cache_creation_input_tokens": 9},
            "error_information": {"error_code": "499", "error_message": "quotes the prompt"},
        },
    )
    execute(litellm_database, "update \"LiteLLM_SpendLogs\" set metadata = '\"text\"' where request_id = 'b'")
    LiteLLMPostgres(url=litellm_database).load_spend_logs(lake, DAY, NOW)
    rows = current_rows(
        lake,
        "request_id, metadata_use_case, cached_tokens, cache_creation_input_tokens, usage_service_tier, error_code, "
        "has_usage_object",
    )
    assert rows == [
        ("a", None, None, None, None, None, "false"),
        ("b", None, None, None, None, None, "false"),
        ("c", "refactor", "7", "9", "flex", "499", "true"),
    ]


def test_optional_columns_of_newer_versions_are_detected(litellm_database: str, lake: Lake) -> None:
    for column in ("created_at", "updated_at", "litellm_call_id", "status", "organization_id", "session_id"):
        execute(litellm_database, f'alter table "LiteLLM_SpendLogs" drop column {column} cascade')
    execute(litellm_database, 'drop table "LiteLLM_DeletedVerificationToken", "LiteLLM_DeletedTeamTable"')
    execute(
        litellm_database,
        'insert into "LiteLLM_SpendLogs" (request_id, call_type, spend, "startTime", "endTime") '
        "values ('old', 'acompletion', 1, '2026-11-23 10:00', '2026-11-23 10:01')",
    )
    source = LiteLLMPostgres(url=litellm_database)
    assert source.load_spend_logs(lake, DAY, NOW).seen.rows == 1
    assert current_rows(lake, "created_at, litellm_call_id, status") == [(None, None, None)]
    assert source.load_snapshots(lake, DAY, NOW)["litellm_deleted_keys"].seen.rows == 0


def test_a_partitioned_table_reads_the_same(litellm_database: str, lake: Lake) -> None:
    plain = LiteLLMPostgres(url=litellm_database)
    assert not plain.is_partitioned()
    execute(litellm_database, 'alter table "LiteLLM_SpendLogs" rename to plain_logs')
    execute(
        litellm_database,
        'create table "LiteLLM_SpendLogs" (like plain_logs including defaults) partition by range ("startTime")',
    )
    execute(
        litellm_database,
        'create table logs_november partition of "LiteLLM_SpendLogs" '
        "for values from ('2026-11-01') to ('2026-12-01')",
    )
    insert_call(litellm_database, "same-id", "2026-11-23 10:00")
    insert_call(litellm_database, "same-id", "2026-11-24 10:00")
    assert plain.is_partitioned()
    assert plain.load_spend_logs(lake, DAY, NOW).seen.rows == 1


def test_a_late_row_and_an_updated_row_replace_the_day(litellm_database: str, lake: Lake) -> None:
    source = LiteLLMPostgres(url=litellm_database)
    insert_call(litellm_database, "batch_1_batch_cost", "2026-11-23 10:00", 0)
    assert source.load_spend_logs(lake, DAY, NOW).verdict == "first"
    execute(litellm_database, "update \"LiteLLM_SpendLogs\" set spend = 3 where request_id = 'batch_1_batch_cost'")
    insert_call(litellm_database, "late", "2026-11-23 00:30")
    outcome = source.load_spend_logs(lake, DAY, NOW)
    assert (outcome.verdict, outcome.seen.rows) == ("grown", 2)
    assert current_rows(lake, "request_id") == [("late",), ("batch_1_batch_cost",)]


def test_evidence_never_shrinks(litellm_database: str, lake: Lake) -> None:
    source = LiteLLMPostgres(url=litellm_database)
    for name in ("a", "b", "c"):
        insert_call(litellm_database, name, "2026-11-23 10:00")
    first = source.load_spend_logs(lake, DAY, NOW)
    execute(litellm_database, "delete from \"LiteLLM_SpendLogs\" where request_id = 'b'")
    insert_call(litellm_database, "d", "2026-11-23 11:00", 10)
    swapped = source.load_spend_logs(lake, DAY, NOW)
    assert (swapped.verdict, swapped.missing_identities) == ("shrunk", 1)
    assert swapped.reason == "1 request_ids are gone"
    execute(litellm_database, 'delete from "LiteLLM_SpendLogs"')
    emptied = source.load_spend_logs(lake, DAY, NOW)
    assert emptied.reason == "3 rows became 0; spend_usd 1.500000000000 became 0.000000000000; 3 request_ids are gone"
    assert lake.current("litellm_spend_logs", f"day={DAY}") == first.seen
    accepted = lake.accept("litellm_spend_logs", f"day={DAY}")
    assert accepted.rows == 0
    assert lake.current("litellm_spend_logs", f"day={DAY}") == accepted


def test_an_empty_day_is_zero_only_with_proof(litellm_database: str, lake: Lake) -> None:
    source = LiteLLMPostgres(url=litellm_database)
    assert source.load_spend_logs(lake, DAY, NOW).verdict == "unproven_zero"
    insert_call(litellm_database, "before", "2026-11-22 10:00")
    assert source.load_spend_logs(lake, DAY, NOW).verdict == "unproven_zero"
    insert_call(litellm_database, "after", "2026-11-24 10:00")
    execute(
        litellm_database,
        'insert into "LiteLLM_DailyUserSpend" (id, date, api_key, api_requests, updated_at) '
        "values ('1', '2026-11-23', 'k', 4, now())",
    )
    purged = source.load_spend_logs(lake, DAY, NOW)
    assert (purged.verdict, purged.current) == ("unproven_zero", None)
    execute(litellm_database, 'delete from "LiteLLM_DailyUserSpend"')
    assert source.load_spend_logs(lake, DAY, NOW).verdict == "zero_proven"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('drop table "LiteLLM_SpendLogs"', ['table "LiteLLM_SpendLogs" does not exist', "TOKENGOV_LITELLM_URL"]),
        ('alter table "LiteLLM_SpendLogs" drop column cache_hit', ["cache_hit", "grants.sql", "upgrade LiteLLM"]),
    ],
)
def test_a_wrong_schema_is_one_clear_message(litellm_database: str, lake: Lake, change: str, words: list[str]) -> None:
    execute(litellm_database, change)
    with pytest.raises(SourceError) as error:
        LiteLLMPostgres(url=litellm_database).load_spend_logs(lake, DAY, NOW)
    assert all(word in str(error.value) for word in words)
    assert lake.partitions("litellm_spend_logs") == []


def test_a_wrong_password_is_one_clear_message_without_the_password(
    postgres_server: object, litellm_database: str, lake: Lake
) -> None:
    folder = Path(litellm_database.split("host=")[1])
    rules = folder / "pg_hba.conf"
    execute(litellm_database, "create role locked login password 'right'")
    original = rules.read_text()
    try:
        rules.write_text("local all locked scram-sha-256\n" + original)
        execute(litellm_database, "select pg_reload_conf()")
        for _ in range(50):
            with pytest.raises(SourceError) as error:
                LiteLLMPostgres(url=litellm_database.replace("postgres:@", "locked:wr0ng-s3cret@")).load_spend_logs(
                    lake, DAY, NOW
                )
            if "refused" in str(error.value):
                break
    finally:
        rules.write_text(original)
        execute(litellm_database, "select pg_reload_conf()")
    assert "user or password in TOKENGOV_LITELLM_URL is refused. Fix:" in str(error.value)
    assert "wr0ng-s3cret" not in str(error.value)


def test_an_unreachable_server_and_an_unset_url_are_named(lake: Lake) -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9/litellm: it cannot be reached\. Fix:"):
        LiteLLMPostgres(url="postgresql://reader:pw@127.0.0.1:9/litellm").load_spend_logs(lake, DAY, NOW)
    with pytest.raises(SourceError, match=r"TOKENGOV_LITELLM_URL is not set\. Fix:"):
        LiteLLMPostgres(url="").load_spend_logs(lake, DAY, NOW)


def test_memory_does_not_grow_with_the_day(litellm_database: str, tmp_path: Path) -> None:
    """60,000 rows of 5 KB metadata stream through less than 400 MB (they are 300 MB as text)."""
    execute(
        litellm_database,
        'insert into "LiteLLM_SpendLogs" (request_id, call_type, spend, "startTime", "endTime", metadata) '
        "select 'r' || n, 'acompletion', 0.1, timestamp '2026-11-23' + n * interval '1 second', "
        "timestamp '2026-11-23' + n * interval '1 second', "
        "jsonb_build_object('model_map_information', repeat(md5(n::text), 160)) from generate_series(1, 60000) n",
    )
    script = (
        "import datetime as dt, pathlib, re, sys\n"
        "from resources.lake import Lake\n"
        "from resources.litellm import LiteLLMPostgres\n"
        "lake = Lake(root=sys.argv[2] + '/lake', cache_dir=sys.argv[2] + '/cache')\n"
        "source = LiteLLMPostgres(url=sys.argv[1])\n"
        "done = source.load_spend_logs(lake, dt.date(2026, 11, 23), dt.datetime.now(dt.UTC))\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())\n"
        "print(done.seen.rows, int(peak[1]) // 1024)  # not ru_maxrss, which a child takes over from its parent\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, litellm_database, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 60_000
    assert megabytes < 400
