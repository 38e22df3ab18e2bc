"""How the ledger's database is opened, locked and spoken about when it fails.

Belongs here: engines, transactions, locks, and the one translation of driver errors into words. Does not belong here:
what is written under a lock (`book`, `events`, `ledger`) and how the tables come to be (`schema`).

Reads run in a plain transaction. Every write runs in `write_transaction`: BEGIN IMMEDIATE on SQLite (one writer at a
time, the others wait), a transaction with a lock timeout on Postgres, where the caller then locks a row. Both locks die
with their process, so a killed run never blocks the next one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from tokengov_pipelines.ledger.errors import LedgerBusyError, LedgerError, LedgerUnavailableError

_CONNECT_SECONDS = 10
_SECRET_QUERY_KEYS = ("password", "sslpassword", "passfile")
_BEGIN = "tokengov_begin"


def ledger_url(text_url: str) -> URL:
    """The URL as SQLAlchemy has to see it: SQLite, or Postgres through psycopg2 whatever driver the URL leaves out.

    Raises `LedgerUnavailableError` for anything else, without repeating the text: it may hold a password.
    """
    try:
        url = make_url(f"postgresql://{text_url[11:]}" if text_url.startswith("postgres://") else text_url)
    except ArgumentError:
        url = None
    if (
        url is not None
        and url.drivername in ("sqlite", "sqlite+pysqlite")
        and url.database not in (None, "", ":memory:")
    ):
        return url
    if url is not None and url.drivername in ("postgresql", "postgresql+psycopg2"):
        return url.set(drivername="postgresql+psycopg2")
    message = (
        "the ledger's URL is neither sqlite:////absolute/path/ledger.db nor "
        "postgresql+psycopg2://user:password@host:port/database. Fix: correct TOKENGOV_LEDGER_URL."
    )
    raise LedgerUnavailableError(message)


def shown_url(url: URL) -> str:
    """The URL without any password, for messages."""
    return url.difference_update_query(_SECRET_QUERY_KEYS).render_as_string(hide_password=True)


def open_engine(text_url: str, lock_seconds: float) -> Engine:
    """An engine that keeps no connection open between transactions and raises `LedgerError` instead of driver errors.

    `lock_seconds` is how long a transaction waits for another process before it gives up with `LedgerBusyError`.
    """
    url = ledger_url(text_url)
    sqlite = url.drivername.startswith("sqlite")
    arguments: dict[str, Any] = {"timeout": lock_seconds} if sqlite else {"connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    if sqlite:
        event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin_with(lock_seconds))
    event.listen(engine, "handle_error", _translation(url, lock_seconds))
    return engine


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the sqlite3 module would otherwise begin late, and not IMMEDIATE


def _begin_with(lock_seconds: float) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
        else:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(lock_seconds * 1000)}")

    return begin


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a writing transaction: committed when the block ends, rolled back when it raises."""
    with engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection, connection.begin():
        yield connection


def lock_globally(connection: Connection, key: int) -> None:
    """Serialise all transactions that pass here with this key, until they end (SQLite: BEGIN IMMEDIATE did it)."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _translation(url: URL, lock_seconds: float) -> Callable[[ExceptionContext], LedgerError | None]:
    where = f"the ledger at {shown_url(url)}"
    secrets = [secret for secret in (url.password, *(url.query.get(key) for key in _SECRET_QUERY_KEYS)) if secret]

    def translate(context: ExceptionContext) -> LedgerError | None:
        said = " ".join(str(context.original_exception).split())
        for secret in secrets:
            said = said.replace(str(secret), "***")
        code = getattr(context.original_exception, "pgcode", None)
        if "database is locked" in said or code == "55P03":
            return LedgerBusyError(
                f"{where} is being written by another process, and {lock_seconds:g} s of waiting were not enough. "
                "Fix: wait for that run to end, then run this again."
            )
        if "readonly database" in said or code == "25006":
            return LedgerUnavailableError(
                f"{where} is read-only. Fix: make the file and its folder writable for this user."
            )
        if "unable to open database file" in said:
            return LedgerUnavailableError(
                f"{where} cannot be opened. Fix: create its folder and make it readable and writable for this user."
            )
        if "file is not a database" in said or "disk image is malformed" in said:
            return LedgerUnavailableError(
                f"{where} is not a SQLite database, or is damaged ({said}). Fix: restore it from a backup."
            )
        if "disk is full" in said or "disk I/O error" in said or code == "53100":
            return LedgerUnavailableError(f"{where} cannot be written: {said}. Fix: free space on its disk.")
        if code == "42501":
            return LedgerUnavailableError(f"{where} refuses this user ({said}). Fix: grant it the ledger's schema.")
        if context.connection is None or context.is_disconnect:
            return LedgerUnavailableError(
                f"{where} cannot be reached: {said}. Fix: check host, port, database, user and password in "
                "TOKENGOV_LEDGER_URL, and that the server runs."
            )
        return None

    return translate
