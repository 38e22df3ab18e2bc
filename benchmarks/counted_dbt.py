"""`tokengov-dbt`, and at its end a note of what its process has read: the daily benchmark starts it in dbt's place.

Belongs here: counting. Does not belong here: running dbt under the lock (`resources.warehouse`).

The kernel counts the bytes that a process asked for (`rchar`), from cache or disk, which neither DuckDB nor a warm
cache can hide. It includes dbt's own code and manifest, the same in every run.
"""

import atexit
import os
import stat
import sys
from pathlib import Path

from resources.warehouse import run_dbt_under_lock

NOTE_VARIABLE = "TOKENGOV_BENCHMARK_NOTE"


def executable(folder: Path) -> Path:
    """A program in the folder that runs this module with the present interpreter and packages."""
    path = folder / "counted-dbt"
    root = Path(__file__).resolve().parent.parent
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m benchmarks.counted_dbt "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def bytes_read(note: Path) -> int:
    """The bytes that the noted process asked for."""
    fields = dict(line.split(": ") for line in note.read_text(encoding="ascii").splitlines())
    return int(fields["rchar"])


def _note() -> None:
    Path(os.environ[NOTE_VARIABLE]).write_text(Path("/proc/self/io").read_text(encoding="ascii"), encoding="ascii")


if __name__ == "__main__":
    atexit.register(_note)
    run_dbt_under_lock()
