"""The DuckDB warehouse: one writer across processes, held by an operating-system lock that dies with its process.

Belongs here: the lock, who holds it, and `tokengov-dbt`, the only command that opens the warehouse file.
Does not belong here: SQL (`dbt_project`) and how Dagster calls dbt (`resources.dbt`).

DuckDB itself refuses a second writer at once. The lock turns that into waiting with a time limit and an error that
names the holder. It is held by the dbt process, not by its caller, so it lasts exactly as long as the file is open.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

LOCK_SECONDS_VARIABLE = "TOKENGOV_WAREHOUSE_LOCK_SECONDS"
WORKED_FOR_VARIABLE = "TOKENGOV_RUN"
PARENT_VARIABLE = "TOKENGOV_RUN_PROCESS"


class WarehouseBusyError(RuntimeError):
    """Another process holds the warehouse; the text names it."""


@contextmanager
def held_warehouse(home: Path, timeout_seconds: float, worked_for: str) -> Iterator[Path]:
    """Hold the warehouse of a home for writing; yields the path of the DuckDB file.

    Args:
        home: the installation's folder.
        timeout_seconds: how long to wait for another writer.
        worked_for: what the holder works for (a run id), shown to those who wait.

    Raises:
        WarehouseBusyError: the limit passed; the text names the holder's process, work and start.
    """
    folder = home / "warehouse"
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "holder.json"
    lock = filelock.FileLock(folder / "writer.lock")
    try:
        lock.acquire(timeout=timeout_seconds)
    except filelock.Timeout as error:
        message = (
            f"the warehouse in {folder} is held by {_describe(holder)}; waited {timeout_seconds:g} s. "
            "Fix: let it finish, or stop that process: the lock ends with it."
        )
        raise WarehouseBusyError(message) from error
    try:
        # Process id and start are for people; the lock alone decides.
        holder.write_text(json.dumps({"pid": os.getpid(), "for": worked_for, "since": int(time.time())}))
        yield folder / "tokengov.duckdb"
    finally:
        lock.release()


def _describe(holder: Path) -> str:
    try:
        content = json.loads(holder.read_text())
        seconds = int(time.time()) - int(content["since"])
    except (OSError, ValueError, KeyError):
        return "an unknown process"
    return f"process {content['pid']} ({content['for']}, for {seconds} s)"


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run must not keep the warehouse.

    DuckDB's write-ahead log makes an abrupt end safe: the open transaction never happened.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def run_dbt_under_lock() -> None:
    """Entry point `tokengov-dbt`: run dbt with this command line in `$TOKENGOV_HOME`, holding the warehouse."""
    home = Path(os.environ["TOKENGOV_HOME"])
    timeout = float(os.environ.get(LOCK_SECONDS_VARIABLE, "600"))
    # Told, not looked up: a parent that was killed before this line has already been replaced by another one.
    parent = int(os.environ.get(PARENT_VARIABLE, os.getppid()))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        with held_warehouse(home, timeout, os.environ.get(WORKED_FOR_VARIABLE, "a person")):
            os.chdir(home)  # the profile's path is relative, so that no environment variable forces a full parse
            from dbt.cli.main import cli

            cli()
    except WarehouseBusyError as error:
        sys.stderr.write(f"{error}\n")
        sys.stdout.write(
            json.dumps({"info": {"level": "error", "msg": str(error), "name": "WarehouseBusy"}, "data": {}}) + "\n"
        )
        sys.exit(2)
