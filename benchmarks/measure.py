"""What every benchmark prints and how it measures: the machine, versions, child processes with their peak memory.

Belongs here: clocks, memory, processes. Does not belong here: what is measured (`benchmarks.tasks`), what it is
compared with (the scripts).
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.markup import escape

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("dagster", "dbt-core", "dbt-duckdb", "duckdb", "pyarrow", "adbc-driver-postgresql", "pandas")
_SECONDS_BETWEEN_LOOKS = 0.5  # a look costs 10 ms of processor time, which the measured process may need


class BenchmarkError(RuntimeError):
    """A measured process failed, or two results that must agree do not; the text says which."""


@dataclass(frozen=True)
class Measurement:
    """One finished child process.

    `cpu_seconds` are those of the task and of the processes that it started and waited for. `peak_mb` is the peak
    resident memory of its largest process; `tree_peak_mb` is the largest sum over it and all its descendants at one
    moment, shared pages counted in each. `result` is what the task returned.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    tree_peak_mb: float
    result: Any


def describe_machine(console: Console) -> None:
    """Print what the numbers depend on: processors, memory, and the versions of the engines."""
    memory = psutil.virtual_memory().total / 1024**3
    console.print(f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()}")
    names = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    console.print(f"Python {platform.python_version()}, {names}", highlight=False, soft_wrap=True)


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    """The folder to work in: the given one, kept, or a temporary one that Postgres's own account may enter."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="tokengov-benchmark-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def errors_in_words(console: Console) -> Iterator[None]:
    """A failed comparison as a message and exit code 1 instead of a stack trace."""
    try:
        yield
    except BenchmarkError as error:
        console.print(f"[red]{escape(str(error))}[/red]", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


def run_task(task: str, **arguments: object) -> Measurement:
    """Run a function of `benchmarks.tasks` in a process of its own.

    Raises:
        BenchmarkError: it failed; the text is the end of what it wrote.
    """
    command = [sys.executable, "-m", "benchmarks.tasks", task, json.dumps(arguments, default=str)]
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watch = _Watch(process.pid)
        watch.start()
        out, err = process.communicate()
        seconds = time.perf_counter() - started
        watch.stop()
    if process.returncode:
        message = f"the task {task} failed:\n{err[-4000:]}"
        raise BenchmarkError(message)
    result = json.loads(out.splitlines()[-1])
    peak = max(watch.peak, result.pop("peak_bytes"))
    cpu_seconds = result.pop("cpu_seconds")
    return Measurement(seconds, cpu_seconds, peak / 1024**2, max(watch.tree_peak, peak) / 1024**2, result)


class _Watch(threading.Thread):
    """Looks at a process and its descendants until the process has ended.

    The kernel keeps each process's own peak, so looking now and then loses only what happens after the last look; a
    task tells its own peak itself.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self.peak = 0
        self.tree_peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while self._look() and not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            pass

    def stop(self) -> None:
        """The process has ended."""
        self._ended.set()
        self.join()

    def _look(self) -> bool:
        try:
            family = [self._root, *self._root.children(recursive=True)]
            alive = self._root.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        now = 0
        for process in family:
            peak, resident = memory_of(process.pid)
            self.peak = max(self.peak, peak)
            now += resident
        self.tree_peak = max(self.tree_peak, now)
        return alive


def memory_of(pid: int) -> tuple[int, int]:
    """(peak, present) resident bytes of a process; zeros when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM:", "VmRSS:"))}
    return int(values.get("VmHWM", 0)) * 1024, int(values.get("VmRSS", 0)) * 1024
