"""What the seeding refuses before it touches a database."""

import json
from pathlib import Path

import pytest

from tokengov_pipelines.demo.seed import LARGEST_IN_POSTGRES, MARKER_FILE, SMALLEST, SeedError, seed_demo

_NO_DATABASE = "postgresql://nobody@/nothing?host=/nonexistent"


def _silent(_what: str, _fraction: float) -> None:
    return


def test_too_few_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match=f"ask for at least {SMALLEST}"):
        seed_demo(tmp_path, _NO_DATABASE, SMALLEST - 1, 1, _silent)


def test_a_large_run_needs_the_lakes_writer(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="write_day"):
        seed_demo(tmp_path, _NO_DATABASE, LARGEST_IN_POSTGRES + 1, 1, _silent)


def test_other_parameters_are_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / MARKER_FILE).write_text(json.dumps({"version": 2, "calls": 5_000, "seed": 1}), encoding="utf-8")
    with pytest.raises(SeedError, match=r"calls 5000, seed 1; .*make demo-clean"):
        seed_demo(tmp_path, _NO_DATABASE, 5_000, 2, _silent)
