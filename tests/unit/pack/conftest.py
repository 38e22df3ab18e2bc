"""A home with a ledger, and the closing run as functions and as a program."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokengov_pipelines.ledger.ledger import Ledger

PROGRAM = Path(__file__).with_name("closing_run.py")


@pytest.fixture(scope="session")
def closing_run() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(PROGRAM)))


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def url(home) -> str:
    home.mkdir()
    return f"sqlite:///{home / 'ledger.db'}"


@pytest.fixture
def ledger(url, closing_run) -> Ledger:
    ledger = Ledger(url, closing_run.clock, lock_seconds=5)
    ledger.upgrade()
    return ledger


@pytest.fixture
def start_run(url, home):
    """Start the program; returns the process, whose standard output says what the run came to."""

    def start(deed: str, central: str = "0.00", die_at: str = "-") -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), url, str(home), deed, central, die_at]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start
