"""The tables: made by Alembic, equal to the code, refused when another version made them."""

import multiprocessing
import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.errors import LedgerTooNewError, LedgerUnavailableError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.tables import metadata

AUGUST = BillingMonth(2026, 8)


def upgrade_in_a_process(url, start, failures):
    import datetime as dt

    start.wait()
    try:
        ledger = Ledger(url, lambda: dt.datetime(2026, 11, 5, tzinfo=dt.UTC))
        ledger.upgrade()
        ledger.record_event("started", "service", {})
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
        failures.put(repr(error))


def test_migrations_make_exactly_the_tables_of_the_code(ledger):
    with ledger._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_upgrading_again_changes_nothing(ledger, tmp_path):
    ledger.record_event("note", "Ada", {})
    before = (tmp_path / "ledger.db").read_bytes()
    ledger.upgrade()
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_processes_that_start_at_once_upgrade_once(url):
    context = multiprocessing.get_context("spawn")
    start, failures = context.Event(), context.Queue()
    processes = [context.Process(target=upgrade_in_a_process, args=(url, start, failures)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert failures.empty(), failures.get()
    ledger = Ledger(url, None)
    assert len(ledger.events()) == 4
    assert ledger.verify_chain().intact


def test_a_ledger_of_a_newer_version_is_refused_before_anything_is_read_or_written(url, ledger, tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    before = (tmp_path / "ledger.db").read_bytes()
    for call in (lambda new: new.upgrade(), lambda new: new.period(AUGUST), lambda new: new.events()):
        with pytest.raises(LedgerTooNewError, match=r"revision 0999, which this version .* newer version wrote it"):
            call(Ledger(url, None))
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_a_ledger_without_tables_says_so(url):
    with pytest.raises(LedgerUnavailableError, match=r"tables of revision none.*Fix: call Ledger\.upgrade\(\)"):
        Ledger(url, None).period(AUGUST)
