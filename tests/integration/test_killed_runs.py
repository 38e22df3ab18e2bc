"""`kill -9` of the command line at every step, two runs at once: the next starts soon, and the files are the same."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterEventType, DagsterRunStatus

from resources.warehouse import PARENT_VARIABLE, held_warehouse
from tests.installation import COMMAND, TestHome
from tokengov_pipelines.dagster_home import open_instance
from tokengov_pipelines.ledger.ledger import Ledger

pytestmark = pytest.mark.xdist_group("loaded month")

START_SECONDS = 30
LOAD = ("load", "2026-09-01", "2026-09-08")
CLOSE = ("close", "2026-09", "--preparer", "pia@example.com", "--approver", "carl@example.com")

Moment = Callable[[psutil.Process], bool]


def dbt_of(process: psutil.Process) -> psutil.Process | None:
    """The dbt that a command has started, if it runs now. Not asked too often: to look costs a core's milliseconds."""
    time.sleep(0.02)
    for child in process.children():
        try:
            if any("tokengov-dbt" in word for word in child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def dbt_runs(process: psutil.Process) -> bool:
    return dbt_of(process) is not None


def dbt_has_ended() -> Moment:
    seen: list[psutil.Process] = []

    def moment(process: psutil.Process) -> bool:
        if not seen:
            seen.extend(filter(None, [dbt_of(process)]))
            return False
        return not seen[0].is_running() or seen[0].status() == psutil.STATUS_ZOMBIE

    return moment


def exists(*paths: Path) -> Moment:
    return lambda _: any(path.exists() for path in paths)


def kill_at(home: TestHome, arguments: tuple[str, ...], moment: Moment) -> float:
    """Start a command, SIGKILL its process and nothing else at the moment; returns when it was started (epoch).

    Its dbt has to notice and end by itself.
    """
    started = time.time()
    process = home.start(*arguments)
    try:
        watched = psutil.Process(process.pid)
        while not moment(watched):
            assert process.poll() is None, process.communicate()
            assert time.time() < started + 120, "the moment never came"
            time.sleep(0.001)
        left = watched.children()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
        _, alive = psutil.wait_procs(left, timeout=3)
        assert alive == [], "dbt outlived the run that started it"
    finally:
        end_session(process)
    return started


def end_session(process: "subprocess.Popen[str]") -> None:
    """Leave nothing of a command behind, also when a test fails."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def run_to_the_end(home: TestHome, arguments: tuple[str, ...]) -> float:
    started = time.time()
    done = home.command(*arguments)
    assert done.returncode == 0, done
    assert done.stderr == ""
    return started


def runs_of(home: TestHome) -> list[tuple[DagsterRunStatus, float]]:
    """Each run's status and when its first step started (epoch), oldest first."""
    with open_instance(home.installation) as instance:
        records = sorted(instance.get_run_records(), key=lambda record: record.create_timestamp)
        return [(record.dagster_run.status, first_step(instance, record.dagster_run.run_id)) for record in records]


def first_step(instance: dg.DagsterInstance, run_id: str) -> float:
    return min(entry.timestamp for entry in instance.all_logs(run_id, of_type=DagsterEventType.STEP_START))


def assert_each_started_soon(home: TestHome, started: list[float], record: Callable[[str, object], None]) -> None:
    """Every run reached its first step soon after its command; all but the last were killed and are known as failed."""
    runs = runs_of(home)
    assert [status for status, _ in runs] == [DagsterRunStatus.FAILURE] * (len(runs) - 1) + [DagsterRunStatus.SUCCESS]
    waits = [round(step - start, 1) for (_, step), start in zip(runs, started, strict=True)]
    record("seconds_to_first_step", waits)
    assert max(waits) < START_SECONDS


def test_a_load_killed_at_every_step(
    loaded_month: TestHome, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    home = TestHome(tmp_path / "home", loaded_month.url, **loaded_month.settings)
    log = home.folder / "lake/raw/litellm_spend_logs"
    tables = home.folder / "tables"
    # What a run that was killed in the middle of a write leaves behind.
    home.write("lake/raw/litellm_spend_logs/day=2026-09-01/current.json.4711.tmp", '{"table": "litel')
    home.write("tables/fct_usage_daily/tmp_usage_date=2026-09-02.parquet", "PAR1 half")

    while_reading = kill_at(home, LOAD, exists(log / "day=2026-09-01/current.json"))
    assert not (log / "day=2026-09-08/current.json").exists()
    amid_the_models = kill_at(home, LOAD, exists(tables / "fct_screening_daily/usage_date=2026-09-01.parquet"))
    after_dbt = kill_at(home, LOAD, dbt_has_ended())
    to_the_end = run_to_the_end(home, LOAD)

    days = [f"usage_date=2026-09-{day:02}.parquet" for day in range(1, 9)]
    undisturbed = {name: content for name, content in loaded_month.exports().items() if name.endswith(tuple(days))}
    assert home.exports() == undisturbed
    started = [while_reading, amid_the_models, after_dbt, to_the_end]
    assert_each_started_soon(home, started, record_property)


def test_a_close_killed_at_every_step(
    loaded_month: TestHome, closed_month: TestHome, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    home = loaded_month.twin(tmp_path / "home")
    (home.folder / "dagster").rename(tmp_path / "history of the load")
    packs = home.folder / "packs/2026-09"
    home.write("packs/2026-09/.v1.partial/chargeback.csv", "period,posting_per")
    as_dbt_starts = kill_at(home, CLOSE, dbt_runs)
    in_the_draft = kill_at(home, CLOSE, exists(packs / ".v0.partial", packs / "v0"))
    in_the_close = kill_at(home, CLOSE, exists(packs / ".v1.partial/control_totals.json", packs / "v1"))
    to_the_end = run_to_the_end(home, CLOSE)

    assert home.exports() == closed_month.exports()
    assert home.exports(without=()).keys() == closed_month.exports(without=()).keys()
    assert_each_started_soon(home, [as_dbt_starts, in_the_draft, in_the_close, to_the_end], record_property)
    ledger = Ledger(home.installation.ledger_url, home.installation.settings.now)
    assert len(ledger.events(kind="period.closed")) == 1
    assert ledger.verify_chain().intact


def test_two_loads_at_once_and_a_warehouse_that_is_never_free(loaded_month: TestHome, tmp_path: Path) -> None:
    home = TestHome(tmp_path / "home", loaded_month.url, **loaded_month.settings, warehouse_lock_seconds=60)
    both = [home.start("load", "2026-09-01") for _ in range(2)]
    try:
        ends = [process.communicate() for process in both]
    finally:
        for process in both:
            end_session(process)
    assert [process.returncode for process in both] == [0, 0], ends
    assert home.exports() == {name: loaded_month.exports()[name] for name in home.exports()}
    assert len(home.exports()) == 7  # the tables of a day

    home.write("tokengov.yaml", (home.folder / "tokengov.yaml").read_text().replace("_seconds: 60", "_seconds: 3"))
    with held_warehouse(home.folder, 1, "a person's query"):
        done = home.command("load", "2026-09-01")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"failed dbt_daily: the warehouse in {home.folder}/warehouse is held by process {os.getpid()} "
        "(a person's query, for "
    )
    assert done.stderr.endswith("s); waited 3 s. Fix: let it finish, or stop that process: the lock ends with it.\n")


def test_dbt_whose_run_was_killed_before_it_could_look_ends_at_once(tmp_path: Path) -> None:
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    started = time.monotonic()
    done = subprocess.run(
        [COMMAND.with_name("tokengov-dbt"), "build"],
        env={**os.environ, "TOKENGOV_HOME": str(tmp_path), PARENT_VARIABLE: str(nobody.pid)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert time.monotonic() - started < 5
