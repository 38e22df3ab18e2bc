"""How the ledger's tables come to be and stay in step with the code: Alembic, run from here and never by hand.

Belongs here: upgrading, and refusing tables of another version. Does not belong here: the tables themselves
(`tables`; each change is one file in `migrations/versions`, shipped as package data).
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from tokengov_pipelines.ledger.connection import lock_globally, shown_url, write_transaction
from tokengov_pipelines.ledger.errors import LedgerTooNewError, LedgerUnavailableError

_UPGRADE_LOCK = 0x746B6701  # 'tkg' 1: Postgres advisory lock of the upgrade
_ALEMBIC_IS_GLOBAL = threading.Lock()  # alembic.context is one module-level proxy per process


def upgrade(engine: Engine) -> None:
    """Bring the tables to this version (alembic upgrade head), in one transaction; does nothing where they are there.

    Two processes may start at once: the second waits and then finds the work done. Raises `LedgerTooNewError` when a
    newer version of the product has been here.
    """
    config = _config()
    with engine.connect() as connection:
        if _revision(connection, config) == _head(config):
            return
    with _ALEMBIC_IS_GLOBAL, write_transaction(engine) as connection:
        lock_globally(connection, _UPGRADE_LOCK)
        if _revision(connection, config) != _head(config):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """Raise `LedgerTooNewError` or `LedgerUnavailableError` unless the tables are exactly those this version knows."""
    config = _config()
    with engine.connect() as connection:
        revision = _revision(connection, config)
    if revision != _head(config):
        message = (
            f"the ledger at {shown_url(engine.url)} has tables of revision {revision or 'none'}, this version needs "
            f" revision {_head(config)}. Fix: call Ledger.upgrade() first."
        )
        raise LedgerUnavailableError(message)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _head(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _revision(connection: Connection, config: Config) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        message = (
            f"the ledger at {shown_url(connection.engine.url)} has tables of revision {found}, which this version of "
            f"tokengov-pipelines does not know (it knows up to {_head(config)}): a newer version wrote it. "
            "Fix: install that version, or point TOKENGOV_LEDGER_URL at another ledger."
        )
        raise LedgerTooNewError(message)
    return found
