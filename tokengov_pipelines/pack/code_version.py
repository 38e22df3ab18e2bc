"""Which code made a pack: the commit of a checkout, else the release (Rule 2.7).

Belongs here: finding that out. Does not belong here: where it is written (`manifest`).
"""

import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CODE_VERSION_VARIABLE = "TOKENGOV_CODE_VERSION"


@cache
def code_version() -> str:
    """What a build stated in the environment, else `git:<sha>` (with `+changes`), else the package's version."""
    stated = os.environ.get(CODE_VERSION_VARIABLE)
    if stated:
        return stated
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        sha = _git(root, "rev-parse", "HEAD")
        if sha:
            return f"git:{sha}" + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    try:
        return version("tokengov-pipelines")
    except PackageNotFoundError:
        return "unknown"


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
