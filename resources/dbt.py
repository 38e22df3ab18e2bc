"""dbt as Dagster calls it: the project, its manifest, the build window handed over, and the `tokengov-dbt` command.

Belongs here: how dbt is started and told which days and files to build.
Does not belong here: the warehouse lock (`resources.warehouse`), SQL (`dbt_project`), the assets (`assets.dbt`).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
from dagster_dbt import DbtCliInvocation, DbtCliResource
from packaging import version

from resources.warehouse import LOCK_SECONDS_VARIABLE, PARENT_VARIABLE, WORKED_FOR_VARIABLE

PROJECT_DIR = Path(__file__).resolve().parent.parent / "dbt_project"
CONTROL_VARIABLE = "TOKENGOV_DBT_CONTROL"
RUNS_KEPT = 50


@dataclass(frozen=True)
class BuildControl:
    """What one dbt build is told: the window, the files that hold it, and the policy leaves that SQL reads."""

    days: Sequence[str]
    months: Sequence[str]
    files: Mapping[str, Sequence[str]]
    tables_dir: str
    policy: Mapping[str, Any]


def manifest_path() -> Path:
    """The project's manifest; parsed here when it is missing or older than the project (about 5 s)."""
    target = PROJECT_DIR / "target"
    manifest = target / "manifest.json"
    if _is_fresh(manifest):
        return manifest
    target.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target / "parse.lock"):
        if not _is_fresh(manifest):
            _parse_into(manifest)
    return manifest


def _parse_into(manifest: Path) -> None:
    """Put a whole manifest in place at once: dbt writes it piece by piece, and another process may be reading it.

    It is dated back to the start of the parse, so that a model that changes meanwhile makes it old.
    """
    started = time.time()
    draft = manifest.parent / "parse"
    done = subprocess.run(
        [_beside_python("dbt"), "parse", "--project-dir", PROJECT_DIR, "--profiles-dir", PROJECT_DIR],
        env={**os.environ, "DBT_TARGET_PATH": str(draft), "DBT_LOG_PATH": str(draft)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"dbt cannot parse {PROJECT_DIR.name}/:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
        raise RuntimeError(message)
    os.utime(draft / manifest.name, (started, started))
    # dagster-dbt hands the parser's own cache to every build, which otherwise parses everything again.
    for name in ("partial_parse.msgpack", manifest.name):
        shutil.copy2(draft / name, draft / f"{name}.new")
        (draft / f"{name}.new").replace(manifest.with_name(name))


def _is_fresh(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    built = manifest.stat().st_mtime
    sources = (
        path for path in PROJECT_DIR.rglob("*") if path.is_file() and path.relative_to(PROJECT_DIR).parts[0] != "target"
    )
    return all(path.stat().st_mtime <= built for path in sources)


def _beside_python(command: str) -> str:
    return str(Path(sys.executable).parent / command)


class DbtWarehouse(DbtCliResource):
    """dbt under the warehouse lock, in the installation's home.

    Two private methods of dagster-dbt 0.29 are overridden (pinned): the version look-up starts dbt a second time and
    asks the package index, and the in-process adapter imports dbt into every run; neither is needed here.
    """

    home: str
    lock_seconds: int = 600

    @property
    def _cli_version(self) -> version.Version:
        from dbt.version import __version__

        return version.parse(__version__)

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None

    @classmethod
    def at(cls, home: Path, lock_seconds: int) -> "DbtWarehouse":
        """The resource of one installation."""
        return cls(
            project_dir=str(PROJECT_DIR),
            profiles_dir=str(PROJECT_DIR),
            dbt_executable=_beside_python("tokengov-dbt"),
            home=str(home),
            lock_seconds=lock_seconds,
        )

    def build(self, context: Any, control: BuildControl) -> DbtCliInvocation:
        """Start `dbt build` for the selected assets and the given window."""
        run = context.run.run_id
        folder = Path(self.home) / "warehouse" / "runs" / run
        _forget_old_runs(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        control_file = folder / "control.json"
        control_file.write_text(json.dumps(asdict(control), indent=1), encoding="utf-8")
        variables = {
            "TOKENGOV_HOME": self.home,
            CONTROL_VARIABLE: str(control_file),
            LOCK_SECONDS_VARIABLE: str(self.lock_seconds),
            WORKED_FOR_VARIABLE: f"run {run}",
            PARENT_VARIABLE: str(os.getpid()),
        }
        with _environment(variables):
            return self.cli(
                ["build", "--exclude-resource-type", "unit_test"], context=context, target_path=folder / "dbt"
            )


def _forget_old_runs(folder: Path) -> None:
    """Keep what dbt wrote about the newest runs only; the run itself stays in Dagster."""
    runs = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in runs[RUNS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a child is started: the resource has no argument for them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
