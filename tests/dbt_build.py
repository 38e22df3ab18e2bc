"""`make dbt-build`: build every model, data test and unit test of the project on an empty installation."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import yaml

from resources.dbt import CONTROL_VARIABLE, PROJECT_DIR, BuildControl
from tokengov_pipelines.settings import Policy


def raw_tables() -> list[str]:
    """Every source table that the project declares."""
    declared = yaml.safe_load((PROJECT_DIR / "models" / "staging" / "_raw__sources.yml").read_text(encoding="utf-8"))
    return [table["name"] for table in declared["sources"][0]["tables"]]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        control = BuildControl(
            days=["2026-10-01", "2026-10-02"],
            months=["2026-10"],
            files={name: [] for name in raw_tables()},
            tables_dir=str(home / "tables"),
            policy=Policy().for_dbt(),
        )
        (home / "control.json").write_text(json.dumps(asdict(control)), encoding="utf-8")
        environment = {
            **os.environ,
            "TOKENGOV_HOME": folder,
            CONTROL_VARIABLE: str(home / "control.json"),
            "DBT_PROJECT_DIR": str(PROJECT_DIR),
            "DBT_PROFILES_DIR": str(PROJECT_DIR),
            "DBT_TARGET_PATH": str(home / "target"),
            "DBT_LOG_PATH": str(home / "target"),
        }
        dbt = Path(sys.executable).parent / "tokengov-dbt"
        return subprocess.run([dbt, "build", "--quiet"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
