"""Starting and stopping the servers of an installation: Dagster's webserver and daemon, and a demo's Postgres.

Belongs here: processes and signals. Does not belong here: definitions and demo data.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import psutil
from rich.console import Console

from tokengov_pipelines.dagster_home import clear_dead_runs, open_instance
from tokengov_pipelines.demo.database import demo_database
from tokengov_pipelines.settings import HOME_VARIABLE, LITELLM_URL_VARIABLE, Installation

WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"
STOP_SECONDS = 20


def serve(installation: Installation, *, port: int, console: Console) -> int:
    """Run Dagster on an installation until SIGINT or SIGTERM; returns the exit code."""
    if _is_taken(port):
        console.print(f"[red]Port {port} of 127.0.0.1 is in use.[/red] Fix: tokengov ui --port {port + 1}")
        return 1
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    with ExitStack() as stack:
        url = stack.enter_context(demo_database(installation.home))
        if url:
            os.environ[LITELLM_URL_VARIABLE] = url
        os.environ[HOME_VARIABLE] = str(installation.home)
        with open_instance(installation) as instance:
            clear_dead_runs(instance, include_servers=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", str(port)],
            cwd=installation.home,
            start_new_session=True,
            preexec_fn=_default_signals,
            stdout=subprocess.DEVNULL,
            stderr=(installation.home / "dagster" / "server.log").open("ab"),
        )
        stack.callback(_stop, server)
        with console.status("starting Dagster"):
            ready = _wait_until_ready(port, server, stopping)
        if ready:
            console.print(f"Dagster: [link]http://127.0.0.1:{port}[/link]   Ctrl-C stops everything.")
        while not stopping.is_set() and server.poll() is None:
            stopping.wait(0.5)
        failed = server.poll() is not None and not stopping.is_set()
        if failed:
            console.print(f"[red]Dagster ended by itself.[/red] See {installation.home / 'dagster' / 'server.log'}")
    console.print("stopped")
    return 1 if failed else 0


def _default_signals() -> None:
    """Dagster treats SIGTERM like SIGINT, which a shell's background job ignores; start it with neither ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_ready(port: int, server: subprocess.Popen[bytes], stopping: threading.Event) -> bool:
    for _ in range(240):
        if server.poll() is not None or stopping.is_set():
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
                return True
        except OSError:
            time.sleep(0.5)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and everything that it started."""
    try:
        family = psutil.Process(server.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
    _, alive = psutil.wait_procs(family, timeout=5)
    for process in alive:
        process.kill()
