"""A ledger of the release before is upgraded with everything in it, and keeps it as it was."""

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.unit.ledger.closing import AUGUST
from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.ledger.connection import write_transaction
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.schema import _config
from tokengov_pipelines.ledger.tables import metadata


@pytest.fixture
def old(url, clock, tmp_path):
    """A ledger at revision 0003 with a closed August."""
    ledger = Ledger(url, clock)
    config = _config()
    with write_transaction(ledger._engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute(
            "INSERT INTO period_versions VALUES ('2026-08', 1, 'closed', 'ab', 'packs/2026-08/v1', '{}', "
            "'2026-09-05T09:00:00.000000Z', 'run-1', 'Ada', 'Grace')"
        )
        for center, amount in (("CC-100", "404.33"), ("CC-200", "-0.10")):
            connection.execute(
                "INSERT INTO postings VALUES ('2026-08', 1, 'anthropic', 'INV-19', ?, 'direct', ?, 'USD')",
                (center, amount),
            )
    return ledger


def test_what_was_posted_belongs_to_the_month_it_was_posted_in(old, tmp_path):
    old.upgrade()
    assert old.postings(AUGUST, 1) == [
        Posting("anthropic", "INV-19", "CC-100", "direct", Decimal("404.33"), "USD"),
        Posting("anthropic", "INV-19", "CC-200", "direct", Decimal("-0.10"), "USD"),
    ]
    (version,) = old.versions(AUGUST)
    assert (version.close_content_sha256, version.manifest_sha256) == (None, None)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT DISTINCT month, original_month FROM postings").fetchall() == [
            ("2026-08", "2026-08")
        ]


def test_an_upgraded_ledger_has_exactly_the_tables_of_the_code(old):
    old.upgrade()
    with old._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE postings SET amount = '0'", "DELETE FROM postings", "UPDATE period_versions SET manifest_sha256 = ''"],
)
def test_an_upgraded_ledger_still_refuses_to_rewrite(old, tmp_path, statement):
    old.upgrade()
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="are not rewritten"),
    ):
        connection.execute(statement)
