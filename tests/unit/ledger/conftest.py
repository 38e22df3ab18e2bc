"""A ledger on a fresh SQLite file, and a clock that ticks one second a look."""

import datetime as dt
import itertools
from pathlib import Path

import pytest

from tokengov_pipelines.ledger.ledger import Ledger


@pytest.fixture
def clock():
    seconds = itertools.count()
    start = dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)
    return lambda: start + dt.timedelta(seconds=next(seconds))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url, clock) -> Ledger:
    ledger = Ledger(url, clock, lock_seconds=5)
    ledger.upgrade()
    return ledger
