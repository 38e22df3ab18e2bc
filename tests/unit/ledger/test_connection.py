"""What goes wrong at the door of the ledger is said in words, without a secret."""

import multiprocessing
import os
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.connection import ledger_url, shown_url
from tokengov_pipelines.ledger.errors import LedgerError, LedgerUnavailableError
from tokengov_pipelines.ledger.ledger import Ledger

AUGUST = BillingMonth(2026, 8)
NOBODY = 65534


def read_then_write(url, clock, told):
    if os.geteuid() == 0:
        os.seteuid(NOBODY)  # root may write everywhere
    ledger = Ledger(url, clock, lock_seconds=1)
    try:
        told.put(f"read {ledger.period(AUGUST).state}")
        ledger.record_event("note", "Ada", {})
    except LedgerError as error:
        told.put(str(error))


def make(url, clock, told):
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        Ledger(url, clock, lock_seconds=1).upgrade()
    except LedgerError as error:
        told.put(str(error))


def as_another_user(work, url, clock, tmp_path) -> list[str]:
    """What an unprivileged user gets to read; forked, because its own Python may not be allowed to read ours."""
    Ledger(f"sqlite:///{tmp_path / 'any.db'}", clock).upgrade()  # everything is imported before the fork
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    process = context.Process(target=work, args=(url, clock, told))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    lines = []
    while not told.empty():
        lines.append(told.get())
    return lines


@pytest.fixture
def readable_folder():
    """A folder that another user may enter but not write, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="tokengov-test-"))
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_ledger_in_a_read_only_folder_is_read_and_not_written(readable_folder, clock, tmp_path):
    url = f"sqlite:///{readable_folder / 'ledger.db'}"
    ledger = Ledger(url, clock)
    ledger.upgrade()
    (readable_folder / "ledger.db").chmod(0o444)
    readable_folder.chmod(0o555)
    read, refused = as_another_user(read_then_write, url, clock, tmp_path)
    assert read == "read open"
    assert "is read-only. Fix: make the file and its folder writable" in refused
    assert ledger.events() == []


def test_a_ledger_cannot_be_made_in_a_read_only_folder(readable_folder, clock, tmp_path):
    readable_folder.chmod(0o555)
    (refused,) = as_another_user(make, f"sqlite:///{readable_folder / 'ledger.db'}", clock, tmp_path)
    assert "cannot be opened. Fix: create its folder" in refused


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LedgerUnavailableError, match=r"no-such/ledger\.db cannot be opened\. Fix: create its folder"):
        Ledger(f"sqlite:///{tmp_path}/no-such/ledger.db", None).upgrade()


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "ledger.db").write_text("this is a letter, not a ledger " * 100)
    with pytest.raises(LedgerUnavailableError, match="is not a SQLite database, or is damaged"):
        Ledger(f"sqlite:///{tmp_path}/ledger.db", None).upgrade()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cr3t-word@127.0.0.1:1/books",
        "postgres://ada:s3cr3t-word@127.0.0.1:1/books",
        "postgresql+psycopg2://ada@127.0.0.1:1/books?password=s3cr3t-word",
        "postgresql+psycopg2://ada:s3cr3t-word@host.invalid/books",
    ],
)
def test_a_postgres_that_does_not_answer_is_named_without_the_password(url):
    with pytest.raises(LedgerUnavailableError, match=r"cannot be reached: .*Fix: check host, port") as caught:
        Ledger(url, None).period(AUGUST)
    told = "".join(traceback.format_exception(caught.value)) + repr(Ledger(url, None))
    assert "books" in told
    assert "s3cr3t-word" not in told


@pytest.mark.parametrize(
    "url",
    ["", "mysql://ada:s3cr3t-word@h/db", "s3cr3t-word", "sqlite://", "sqlite:///:memory:", "postgresql+psycopg://h/d"],
)
def test_a_url_of_another_kind_is_refused_without_repeating_it(url):
    with pytest.raises(LedgerUnavailableError, match="neither sqlite:////absolute") as caught:
        Ledger(url, None)
    assert "s3cr3t-word" not in "".join(traceback.format_exception(caught.value))


def test_postgres_is_reached_through_psycopg2_whatever_the_url_leaves_out():
    for text in ("postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"):
        url = ledger_url(text)
        assert url.drivername == "postgresql+psycopg2"
        assert shown_url(url) == "postgresql+psycopg2://u:***@h/d"
