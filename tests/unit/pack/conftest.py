"""A home with a ledger, and the closing run as functions and as processes of their own."""

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.pack import closing_run as program
from tokengov_pipelines.ledger.ledger import Ledger


class Run:
    """A run that was started; `finished` waits for it."""

    def __init__(self, process: BaseProcess, said: Path) -> None:
        self._process = process
        self._said = said

    def finished(self) -> tuple[int | None, str]:
        """Its exit code (below zero: the signal that killed it), and what it came to; a run that hangs is an error."""
        self._process.join(timeout=60)
        assert self._process.exitcode is not None, "the run hangs"
        return self._process.exitcode, self._said.read_text(encoding="utf-8") if self._said.exists() else ""


@pytest.fixture(scope="session")
def closing_run() -> ModuleType:
    return program


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def url(home) -> str:
    home.mkdir()
    return f"sqlite:///{home / 'ledger.db'}"


@pytest.fixture
def ledger(url) -> Ledger:
    ledger = Ledger(url, program.clock, lock_seconds=5)
    ledger.upgrade()
    return ledger


@pytest.fixture(scope="session")
def processes():
    """Processes that are forked from a server which has imported the product already: a run starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([program.__name__])
    return context


@pytest.fixture
def start_run(url, home, processes, tmp_path):
    """Start a run; several may run at once."""
    started = []

    def start(deed: str, central: str = "0.00", die_at: str = "-") -> Run:
        gathered = program.gathered(0 if deed == "draft" else 1, central)
        said = tmp_path / f"said-{len(started)}"
        process = processes.Process(target=program.run_and_tell, args=(url, home, deed, gathered, die_at, said))
        process.start()
        started.append(process)
        return Run(process, said)

    return start
