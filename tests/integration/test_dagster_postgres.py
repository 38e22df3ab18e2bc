"""Dagster's runs, events and schedules in a real Postgres; and an instance that several processes create at once."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from tests.conftest import execute
from tests.dagster_server import FINISHED, DagsterServer
from tests.installation import TestHome, insert_three_calls_a_day
from tokengov_pipelines.dagster_home import DagsterHomeError, open_instance
from tokengov_pipelines.jobs import LOAD_DAYS
from tokengov_pipelines.settings import DAGSTER_POSTGRES_URL_VARIABLE

PASSWORD = "s3cret/with@signs"

OPEN = """
import sys, time
from pathlib import Path
from tokengov_pipelines.dagster_home import open_instance
from tokengov_pipelines.settings import load_installation
home, ready, start = load_installation(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
ready.touch()
while not start.exists():
    time.sleep(0.001)
with open_instance(home) as instance:
    instance.get_runs(limit=1), instance.all_instigator_state(), instance.get_asset_keys()
"""


@pytest.fixture
def dagster_url(new_database: Callable[[], str]) -> str:
    """An empty database of a user with a password, as an administrator gives it."""
    url = new_database()
    name = url.split("/")[3].split("?")[0]
    execute(url, f"create role {name} login password '{PASSWORD}'")
    execute(url, f"alter database {name} owner to {name}")
    return f"postgresql://{name}:{quote(PASSWORD, safe='')}@/{name}?{url.split('?')[1]}"


def count(url: str, table: str) -> int:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {table}")
            return int(cursor.fetchone()[0])  # type: ignore[index]
    finally:
        connection.close()


def test_webserver_daemon_and_a_run_live_on_postgres(dagster_url: str, litellm_database: str, tmp_path: Path) -> None:
    insert_three_calls_a_day(litellm_database, "2026-09-01", "2026-09-02")
    dates = {"log_start": "2026-09-01", "as_of": "2026-10-05"}
    home = TestHome(tmp_path / "home", litellm_database, **dates, schedules={"enabled": True})
    server = DagsterServer(
        home.folder,
        TOKENGOV_LITELLM_URL=litellm_database,
        **{DAGSTER_POSTGRES_URL_VARIABLE: dagster_url},
    )
    try:
        server.start()
        run = server.launch(LOAD_DAYS, "2026-09-01", "2026-09-02", assets=[("raw", "litellm_spend_logs")])
        assert server.wait_for_run(run, FINISHED, 60) == "SUCCESS"
        server.wait("the daemon to keep 7 schedules and 4 sensors", lambda: count(dagster_url, "instigators") == 11, 60)
        told = [" ".join(process.cmdline()) for process in server.family()]
        assert server.stop() == 0, server.said()
    finally:
        server.kill_family()

    assert count(dagster_url, f"runs where run_id = '{run}' and status = 'SUCCESS'") == 1
    events = "event_logs where run_id = '{}' and dagster_event_type = '{}'"
    assert count(dagster_url, events.format(run, "ASSET_MATERIALIZATION")) == 2
    assert count(dagster_url, events.format(run, "PIPELINE_ENQUEUED")) == 1
    assert count(dagster_url, "daemon_heartbeats") > 0

    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files if path.suffix == ".db"} <= {"ledger.db"}
    forms = (PASSWORD, quote(PASSWORD, safe=""))
    assert [path for path in files if any(form.encode() in path.read_bytes() for form in forms)] == []
    assert not any(form in words for form in forms for words in [*told, server.said()])


@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_processes_that_start_together_create_one_instance(
    storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOKENGOV_", "DAGSTER_"))}
    if storage == "postgres":
        environment[DAGSTER_POSTGRES_URL_VARIABLE] = request.getfixturevalue("dagster_url")
    home, start = tmp_path / "home", tmp_path / "start"
    ready = [tmp_path / f"ready-{number}" for number in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(home), str(path), str(start)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in ready
    ]
    server = DagsterServer(home)
    server.output.touch()
    server.wait("both to be ready", lambda: all(path.exists() for path in ready), 60)
    start.touch()
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert (home / "dagster" / "dagster.yaml").exists()


def test_a_storage_that_cannot_be_reached_is_one_message_without_the_password(
    dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = TestHome(tmp_path, "unused", log_start="2026-09-01")
    gone = dagster_url.replace("?host=", "?host=/nowhere")
    monkeypatch.setenv(DAGSTER_POSTGRES_URL_VARIABLE, gone)
    with pytest.raises(DagsterHomeError) as refused, open_instance(home.installation):
        pass
    said = str(refused.value)
    assert "No such file or directory" in said
    assert f"Fix: check {DAGSTER_POSTGRES_URL_VARIABLE}" in said
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said
