"""Starting and stopping the servers of an installation: Dagster's webserver and daemon, and a demo's Postgres.

Belongs here: processes and signals. Does not belong here: definitions, demo data, the instance (`dagster_home`).

Everything that is started here inherits a mark in its environment. Dagster's processes outlive their parents (a run
worker is told to finish, a killed launcher tells nobody anything), so the mark and not the family tree says what has to
be stopped, now or, after a `kill -9` of the command itself, at its next start.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock
import httpx
import psutil
from rich.console import Console

from tokengov_pipelines.dagster_home import DagsterHomeError, clear_dead_runs, open_instance
from tokengov_pipelines.demo.environment import demo_environment
from tokengov_pipelines.demo.postgres import EmbeddedPostgresError
from tokengov_pipelines.settings import HOME_VARIABLE, Installation

WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"
MARK = "TOKENGOV_SERVED_HOME"
START_SECONDS = 180
STOP_SECONDS = 12  # a run that is told to stop ends its dbt first; what is left after this is killed
WATCH_SECONDS = 5

_LOCATIONS = """{workspaceOrError {... on Workspace {locationEntries {locationOrLoadError {
  __typename ... on PythonError {message causes {message}}}}}}}"""


class ServeError(RuntimeError):
    """The servers cannot run; the text says why and what to do."""


def serve(installation: Installation, *, port: int, console: Console) -> int:
    """Run Dagster on an installation until SIGINT, SIGTERM or SIGHUP; returns the exit code.

    Nothing that was started is left at the end, however it ends: servers, run workers, dbt, a demo's Postgres. Runs
    that this cuts short are marked as failed.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Set, not inherited: a shell that starts a job with `&` has SIGINT ignored in it.
        signal.signal(number, lambda *_: stopping.set())
    try:
        with _sole_server(installation, port):
            _serve(installation, port, stopping, console)
    except (ServeError, DagsterHomeError, EmbeddedPostgresError) as error:
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        return 1
    console.print("stopped")
    return 0


def _serve(installation: Installation, port: int, stopping: threading.Event, console: Console) -> None:
    os.environ[HOME_VARIABLE] = os.environ[MARK] = str(installation.home)
    log = installation.dagster_home / "server.log"
    with ExitStack() as stack:
        stack.enter_context(demo_environment(installation.home))
        instance = stack.enter_context(open_instance(installation))
        clear_dead_runs(instance, include_servers=True)
        stack.callback(clear_dead_runs, instance, include_servers=True)
        stack.callback(_stop_marked, installation.home, spare="postgres")
        server = _start_dagster(installation, port, log)
        with console.status("starting Dagster"):
            _wait_until_loaded(port, server, stopping, log)
        if not stopping.is_set():
            console.print(f"Dagster: [link]http://127.0.0.1:{port}[/link]   Ctrl-C stops everything.")
        while not stopping.wait(WATCH_SECONDS if server.poll() is None else 0):
            if server.poll() is not None or not _has_code_server(installation.home):
                message = f"Dagster ended by itself. See {log}"
                raise ServeError(message)
            # A `tokengov` command that was killed must not hold one of the few places for runs.
            clear_dead_runs(instance, include_servers=False)


@contextmanager
def _sole_server(installation: Installation, port: int) -> Iterator[None]:
    """Hold the right to serve a home, with the port free and nothing left of an earlier server, nor later of this one.

    Raises:
        ServeError: another process serves the home, or the port is in use.
    """
    folder = installation.dagster_home
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "ui.json"
    lock = filelock.FileLock(folder / "ui.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        held = holder.read_text(encoding="utf-8") if holder.exists() else "{}"
        other = {"pid": "?", "port": "?", **json.loads(held or "{}")}
        message = (
            f"Dagster of {installation.home} is running already: http://127.0.0.1:{other['port']} "
            f"(process {other['pid']}). Fix: use that one, or stop it first."
        )
        raise ServeError(message) from error
    try:
        _stop_marked(installation.home)
        if _is_taken(port):
            free = next(number for number in range(port + 1, 65536) if not _is_taken(number))
            message = f"Port {port} of 127.0.0.1 is in use by another program. Fix: tokengov ui --port {free}"
            raise ServeError(message)
        holder.write_text(json.dumps({"pid": os.getpid(), "port": port}), encoding="utf-8")
        yield
    finally:
        _stop_marked(installation.home)
        lock.release()


def _start_dagster(installation: Installation, port: int, log: Path) -> subprocess.Popen[bytes]:
    """`dagster dev`: code server, webserver and daemon; their words go to a log that starts anew."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", str(port)],
            cwd=installation.home,
            start_new_session=True,
            preexec_fn=_default_signals,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _default_signals() -> None:
    """Dagster does on SIGTERM what it does on SIGINT, which may be ignored here; it starts with neither ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_loaded(port: int, server: subprocess.Popen[bytes], stopping: threading.Event, log: Path) -> None:
    """Until the webserver answers and has loaded our definitions, or somebody stops us.

    Raises:
        ServeError: Dagster ended, cannot load the definitions, or says nothing for too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while not stopping.wait(0.5):
        if server.poll() is not None:
            message = f"Dagster did not start. See {log}"
            raise ServeError(message)
        if time.monotonic() > deadline:
            message = f"Dagster did not answer for {START_SECONDS} s. See {log}"
            raise ServeError(message)
        try:
            url = f"http://127.0.0.1:{port}/graphql"
            answer = httpx.post(url, json={"query": _LOCATIONS}, timeout=30, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            continue
        found = answer["data"]["workspaceOrError"].get("locationEntries", [])
        loaded = [entry["locationOrLoadError"] for entry in found]
        if not loaded or None in loaded:
            continue
        for location in loaded:
            if location["__typename"] == "PythonError":
                cause = (location["causes"] or [location])[-1]["message"].strip()
                message = f"Dagster cannot load the definitions: {cause}\nThe whole story is in {log}"
                raise ServeError(message)
        return


def _marked(home: Path, spare: str = "") -> list[psutil.Process]:
    """The living processes that were started for a home, without this one and those named `spare`."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.environ().get(MARK) == str(home)
                and process.status() != psutil.STATUS_ZOMBIE
                and process.name() != spare
            ):
                found.append(process)
        except psutil.Error:  # ended meanwhile, or belongs to somebody else
            continue
    return found


def _has_code_server(home: Path) -> bool:
    """Whether definitions are served. `dagster dev` watches its webserver and daemon, not what it loads code with."""
    for process in _marked(home):
        with suppress(psutil.Error):
            if "grpc" in process.cmdline():
                return True
    return False


def _stop_marked(home: Path, spare: str = "") -> None:
    """Ask every process of a home to end, kill what does not, and look again until none is left."""
    asked: set[int] = set()
    deadline = time.monotonic() + STOP_SECONDS
    while processes := _marked(home, spare):
        for process in processes:
            try:
                if time.monotonic() > deadline:
                    process.kill()
                elif process.pid not in asked:
                    process.terminate()
            except psutil.NoSuchProcess:
                continue
            asked.add(process.pid)
        time.sleep(0.2)
