"""`tokengov ui` as a person runs it: it starts, survives what is killed beside it, and stops leaving nothing behind."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.litellm import LiteLLMPostgres
from tests.dagster_server import FINISHED, DagsterServer, small_demo
from tokengov_pipelines.dagster_home import open_instance
from tokengov_pipelines.demo.database import DATA_FOLDER, READER_PASSWORD
from tokengov_pipelines.demo.postgres import EmbeddedPostgres, create_reader
from tokengov_pipelines.jobs import LOAD_DAYS
from tokengov_pipelines.runner import run_job
from tokengov_pipelines.settings import load_installation

pytestmark = pytest.mark.xdist_group("tokengov ui")  # in this order, on one home

DAYS = ("2026-10-20", "2026-10-21")


@pytest.fixture(scope="module")
def server() -> Iterator[DagsterServer]:
    with small_demo(calls=2000) as home:
        served = DagsterServer(home)
        yield served
        served.kill_family()


def exports(home: Path) -> dict[str, bytes]:
    tables = home / "tables"
    return {str(path.relative_to(tables)): path.read_bytes() for path in tables.rglob("*") if path.is_file()}


def status_of(home: Path, run: str) -> str:
    with open_instance(load_installation(home)) as instance:
        found = instance.get_run_by_id(run)
    assert found is not None
    return found.status.value


def test_a_run_follows_one_whose_worker_was_killed_under_dbt(server: DagsterServer, tmp_path: Path) -> None:
    server.start()
    killed = server.launch(LOAD_DAYS, *DAYS)
    worker = server.wait_for_dbt(60).parent()
    assert worker is not None
    worker.kill()
    assert server.wait_for_run(killed, FINISHED, 15) == "FAILURE"

    following = server.launch(LOAD_DAYS, *DAYS)
    server.wait_for_run(following, ("STARTED", *FINISHED), 30)

    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(server.home, undisturbed, ignore=shutil.ignore_patterns(DATA_FOLDER, "dagster", "lake", "tables"))
    shutil.rmtree(undisturbed / "warehouse")
    database = create_reader(EmbeddedPostgres(server.home / DATA_FOLDER).url(), READER_PASSWORD)
    report = run_job(
        load_installation(undisturbed),
        LOAD_DAYS,
        first=DAYS[0],
        last=DAYS[1],
        resource_overrides={"litellm": LiteLLMPostgres(url=database)},
    )
    assert report.succeeded, report
    assert server.wait_for_run(following, FINISHED, 90) == "SUCCESS"
    assert exports(server.home) == exports(undisturbed)
    assert exports(undisturbed)


def test_a_port_in_use_and_a_second_start_are_one_clear_line(server: DagsterServer, tmp_path: Path) -> None:
    other = DagsterServer(tmp_path / "other")
    other.home.mkdir()
    taken = f"Port {server.port} of 127.0.0.1 is in use by another program. Fix: tokengov ui --port "
    assert re.fullmatch(re.escape(taken) + r"\d+\n", other.refused(server.port))
    assert other.family() == []

    assert server.process is not None
    at = f"http://127.0.0.1:{server.port} (process {server.process.pid})"
    running = f"Dagster of {server.home} is running already: {at}. Fix: use that one, or stop it first.\n"
    assert server.refused() == running


def test_what_a_kill_left_is_cleared_by_the_next_start(server: DagsterServer) -> None:
    """The command, Dagster's launcher, the code server and the run are killed; the others live on and hold the port."""
    run = server.launch(LOAD_DAYS, *DAYS)
    server.wait_for_run(run, ("STARTED",), 30)
    spared = {*server.named("dagster_webserver"), *server.named("dagster._daemon"), *server.postgres()}
    server.kill_family(spare=spared)
    assert status_of(server.home, run) == "STARTED"
    assert server.named("dagster_webserver")
    assert server.named("dagster._daemon")
    assert server.postgres()

    server.start()
    assert server.wait_for_run(run, FINISHED, 1) == "FAILURE"
    assert not spared & set(server.family())


def test_when_dagster_dies_the_command_ends_and_names_the_log(server: DagsterServer) -> None:
    for process in server.named("grpc"):
        process.kill()
    assert server.ended(30) == 1, server.said()
    log = server.home / "dagster" / "server.log"
    assert server.said().splitlines()[-1] == f"Dagster ended by itself. See {log}"
    assert "Serving dagster-webserver" in log.read_text(encoding="utf-8")
    assert server.family() == []


def test_started_by_a_script_it_obeys_sigterm_and_stops_the_run_in_it(server: DagsterServer) -> None:
    server.start(in_background=True)
    run = server.launch(LOAD_DAYS, *DAYS)
    server.wait_for_dbt(60)
    assert server.postgres()
    server.stop(signal.SIGTERM)
    assert server.family() == []
    server.wait("the script to go on", lambda: server.said().endswith("stopped\nended with 0\n"), 2)
    assert status_of(server.home, run) == "FAILURE"


def test_ctrl_c_while_it_starts_leaves_nothing(server: DagsterServer) -> None:
    server.start(until=lambda: server.named("dagster"))
    assert server.stop(signal.SIGINT) == 0, server.said()
    assert server.said() == "stopped\n"
    assert server.family() == []
