"""A real `tokengov ui` process for tests, asked over GraphQL as the browser asks it, and the small demo it serves."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tokengov_pipelines.demo.database import running_postgres
from tokengov_pipelines.demo.run import SETTINGS
from tokengov_pipelines.demo.seed import seed_demo

COMMAND = Path(sys.executable).parent / "tokengov"
FINISHED = ("SUCCESS", "FAILURE", "CANCELED")

LAUNCH = """mutation($params: ExecutionParams!) {launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
RUN = "query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}"


@contextmanager
def small_demo(calls: int) -> Iterator[Path]:
    """A demo home with its Postgres, which is stopped again; nothing is loaded.

    Outside pytest's own folder, which the system user of Postgres may not enter.
    """
    with tempfile.TemporaryDirectory(prefix="tokengov-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "tokengov.yaml").write_text(SETTINGS, encoding="utf-8")
        with running_postgres(home) as url:
            seed_demo(home, url, calls=calls, seed=20261105, progress=lambda *_: None)
        yield home


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DagsterServer:
    """`tokengov ui` on a home. Times are limits in seconds; what takes longer fails the test."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home, self.port = home, free_port()
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOKENGOV_", "DAGSTER_"))}
        self.environment = plain | {"TOKENGOV_HOME": str(home), **variables}
        self.output = home.with_name(f"{home.name}.ui.txt")
        self.process: psutil.Popen | None = None

    def command(self, port: int | None = None) -> list[str]:
        """The command line as a person types it."""
        return [str(COMMAND), "ui", "--port", str(port or self.port)]

    def start(self, *, in_background: bool = False, until: Callable[[], object] | None = None) -> None:
        """Start the command and wait for its URL, or `until` something is true.

        `in_background` starts it as a script does with &: the shell has SIGINT ignored in it.
        """
        command = self.command()
        if in_background:
            command = ["sh", "-c", '"$@" & echo $!; wait $!; echo ended with $?', "sh", *command]
        with self.output.open("w") as output:
            started = psutil.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.home
            )
        self.process = started
        ready = until or (lambda: "Dagster: http" in self.said())
        self.wait("the start", lambda: ready() or started.poll() is not None, 90)
        assert started.poll() is None, self.said()
        if in_background:
            self.process = psutil.Process(int(self.said().split()[0]))

    def said(self) -> str:
        """What the command has printed."""
        return self.output.read_text(encoding="utf-8")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal and wait until the command has ended; returns its exit code where it is our child."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.ended(20)

    def ended(self, seconds: float) -> int | None:
        """Wait until the command has ended by itself; returns its exit code where it is our child."""
        assert self.process is not None
        return self.process.wait(seconds)

    def refused(self, port: int | None = None) -> str:
        """Start it once more, which must fail at once; returns what it says."""
        done = subprocess.run(
            self.command(port), env=self.environment, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done
        return done.stdout + done.stderr

    def family(self) -> list[psutil.Process]:
        """Every living process that works for this home: told by its environment, its command line or its folder."""
        ours = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), *process.environ().values(), process.cwd()]
                if (
                    process.pid != os.getpid()
                    and process.status() != psutil.STATUS_ZOMBIE
                    and any(str(self.home) in word for word in words)
                ):
                    ours.append(process)
            except psutil.Error:
                continue
        return ours

    def named(self, word: str) -> list[psutil.Process]:
        """Those of the family whose command line has this word."""
        found = []
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended since it was listed
                if word in process.cmdline():
                    found.append(process)
        return found

    def postgres(self) -> list[psutil.Process]:
        """The processes of the demo's Postgres."""
        return [process for process in self.family() if process.name() == "postgres"]

    def kill_family(self, spare: Collection[psutil.Process] = ()) -> None:
        """Kill all of them at once, except those named."""
        for process in self.family():
            if process not in spare:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def graphql(self, query: str, **variables: Any) -> Any:
        """Ask as the browser does; returns the data."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/graphql",
            json={"query": query, "variables": variables},
            timeout=60,
            trust_env=False,
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, job: str, first: str, last: str, assets: Collection[tuple[str, str]] = ()) -> str:
        """Launch a run over a range of partitions, of all or some assets of a job; returns its id."""
        selector: dict[str, Any] = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "tokengov",
            "jobName": job,
        }
        if assets:
            selector |= {"assetSelection": [{"path": list(key)} for key in assets], "assetCheckSelection": []}
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        params = {
            "selector": selector,
            "runConfigData": "{}",
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.graphql(LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def wait_for_run(self, run: str, statuses: Collection[str], seconds: float) -> str:
        """Wait until a run has one of these statuses; returns it."""

        def status() -> str:
            found = str(self.graphql(RUN, run=run)["runOrError"]["status"])
            return found if found in statuses else ""

        return str(self.wait(f"run {run} to be one of {statuses}", status, seconds))

    def wait_for_dbt(self, seconds: float) -> psutil.Process:
        """Wait until dbt has the warehouse open; returns its process."""
        database = self.home / "warehouse" / "tokengov.duckdb"

        def holder() -> psutil.Process | None:
            for process in self.family():
                try:
                    if any(Path(opened.path) == database for opened in process.open_files()):
                        return process
                except psutil.Error:
                    continue
            return None

        found = self.wait("dbt to open the warehouse", holder, seconds)
        assert isinstance(found, psutil.Process)
        return found

    def wait(self, what: str, happened: Callable[[], Any], seconds: float) -> Any:
        """Ask `happened` until its answer is true; returns the answer."""
        deadline = time.monotonic() + seconds
        while not (answer := happened()):
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}\n{self.said()}"
            time.sleep(0.2)
        return answer
