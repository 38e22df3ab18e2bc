"""Publishing a closed version of a month to Postgres: its files become rows, in one transaction, once.

Belongs here: connecting, copying the rows, reading them back, and words for what goes wrong. Does not belong here:
schemas, tables and views (`resources.published_schema`, `resources.published_setup`), which month may be published and
from which bytes (`assets.publish`, under the ledger's guard).

A version is published under (month, version, content_sha256). The same again writes nothing; other content under the
same version is refused. The URL is a secret: its variable is configuration, its value never is.
"""

import csv
import datetime as dt
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import dagster as dg
import psycopg2
from psycopg2.extensions import connection as PgConnection  # noqa: N812 - psycopg2 writes its classes small
from psycopg2.extensions import cursor as PgCursor  # noqa: N812
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from resources.published_schema import LEADING, PERIOD_VERSIONS, SCHEMA, PublishedTable, placed, quoted
from resources.published_setup import PRINT_SQL, PublishError, set_up
from tokengov_pipelines.ledger.connection import shown_url

PUBLISH_URL_VARIABLE: Final = "TOKENGOV_PUBLISH_URL"

_CONNECT_SECONDS: Final = 10
_STATEMENT_SECONDS: Final = 300
_SECRET_QUERY_KEYS: Final = ("password", "sslpassword", "passfile")
_VERSIONS: Final = placed(SCHEMA, PERIOD_VERSIONS)
_COPY_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Cells = list[str | None]


@dataclass(frozen=True)
class SealedVersion:
    """A closed version as it is published: the ledger's word on it, and the pack's files by name.

    `closed_at` is aware; `preparer` and `approver` are names and hold no e-mail (Rule 12.7).
    """

    month: str
    version: int
    content_sha256: str
    closed_at: dt.datetime
    preparer: str
    approver: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Publication:
    """What publishing came to: rows by table (of the files that the pack has), and whether they are new.

    `notes` are sentences about what an administrator has to do; the rows are published all the same.
    """

    rows: Mapping[str, int]
    is_new: bool
    notes: tuple[str, ...] = ()


class Publisher(dg.ConfigurableResource):
    """The Postgres that an environment variable names; without it nothing is published."""

    variable: str = PUBLISH_URL_VARIABLE
    lock_seconds: float = 20
    """How long to wait for another session's lock: less than the 30 s that others wait for the ledger meanwhile."""

    @property
    def is_configured(self) -> bool:
        """Whether there is a database to publish to."""
        return bool(os.environ.get(self.variable, "").strip())

    @property
    def shown_url(self) -> str:
        """Where that is, without the password.

        Raises:
            PublishError: the variable does not hold a Postgres URL.
        """
        return shown_url(self._url())

    @property
    def writer(self) -> str:
        """The login that publishes, for the SQL that an administrator runs; a placeholder where none is named."""
        return (self._url().username if self.is_configured else None) or "tokengov_publisher"

    def publish(
        self,
        version: SealedVersion,
        tables: Sequence[PublishedTable],
        *,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> Publication:
        """Put every row of a closed version into the tables, in one transaction; nothing where it is there already.

        `on_step` is called where a kill leaves another state behind: `copied` before the commit, `published` after it.

        Raises:
            PublishError: the database cannot be reached or refuses, a file does not fit its table, or the version is
                there with other content.
        """
        with self._transaction() as cursor:
            notes = set_up(cursor, tables, self.writer)
            is_new = not self._is_there(cursor, version.month, version.version, version.content_sha256)
            if is_new:
                _insert(cursor, version, tables)
            rows = {table.name: _count(cursor, version, table) for table in tables if table.file in version.files}
            on_step("copied")
        on_step("published")
        return Publication(rows, is_new, notes)

    def look(
        self, month: str, version: int, content_sha256: str, tables: Sequence[PublishedTable]
    ) -> tuple[bool, tuple[str, ...]]:
        """Whether the database has this version, and what an administrator has to do; makes what is missing, no row.

        Raises:
            PublishError: the database cannot be reached or refuses, or has the version with other content.
        """
        with self._transaction() as cursor:
            notes = set_up(cursor, tables, self.writer)
            return self._is_there(cursor, month, version, content_sha256), notes

    def _is_there(self, cursor: PgCursor, month: str, version: int, content_sha256: str) -> bool:
        cursor.execute(f"SELECT content_sha256 FROM {_VERSIONS} WHERE month = %s AND version = %s", (month, version))
        known = cursor.fetchone()
        if known and known[0] != content_sha256:
            message = (
                f"{SCHEMA}.{PERIOD_VERSIONS} has {month} v{version} with column content_sha256 {known[0][:16]}, the "
                f"ledger says {content_sha256[:16]}: another installation publishes to this database. "
                f"Fix: give each installation a database of its own in {self.variable}."
            )
            raise PublishError(message)
        return known is not None

    def _url(self) -> URL:
        text = os.environ.get(self.variable, "").strip()
        try:
            url = make_url(f"postgresql://{text[11:]}" if text.startswith("postgres://") else text)
        except (ArgumentError, ValueError):  # the latter for a port that is no number
            url = None
        if url is None or url.drivername not in ("postgresql", "postgresql+psycopg2"):
            message = f"{self.variable} is not a URL postgresql://user:password@host:port/database. Fix: correct it."
            raise PublishError(message)
        return url.set(drivername="postgresql")

    @contextmanager
    def _transaction(self) -> Iterator[PgCursor]:
        """A cursor in one transaction: committed when the block ends, rolled back when it raises."""
        url = self._url()
        connection: PgConnection | None = None
        try:
            connection = psycopg2.connect(url.render_as_string(hide_password=False), connect_timeout=_CONNECT_SECONDS)
            connection.set_client_encoding("UTF8")
            with connection, connection.cursor() as cursor:
                cursor.execute("SET LOCAL datestyle = 'ISO, YMD'")
                cursor.execute("SET LOCAL search_path = pg_catalog, pg_temp")
                for name, seconds in (("lock_timeout", self.lock_seconds), ("statement_timeout", _STATEMENT_SECONDS)):
                    cursor.execute(f"SET LOCAL {name} = {int(seconds * 1000)}")
                yield cursor
        except psycopg2.Error as error:
            message = _in_words(error, url, self.variable, is_connected=connection is not None)
            raise PublishError(message) from None  # the driver's own text may hold the password
        finally:
            if connection is not None:
                connection.close()


# --- rows ------------------------------------------------------------------------------------------------------------


def _insert(cursor: PgCursor, version: SealedVersion, tables: Sequence[PublishedTable]) -> None:
    cursor.execute(
        f"INSERT INTO {_VERSIONS} (month, version, content_sha256, closed_at, preparer, approver) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (
            version.month,
            version.version,
            version.content_sha256,
            version.closed_at,
            version.preparer,
            version.approver,
        ),
    )
    for table in tables:
        if table.file in version.files:
            names, rows = file_rows(table, version.files[table.file])
            _copy(cursor, version, table, names, rows)
            _read_back(cursor, version, table, names, rows)


def file_rows(table: PublishedTable, content: bytes) -> tuple[list[str], list[Cells]]:
    """The columns that the file has and its rows as text; an empty cell is None, and empty text in the key.

    Raises:
        PublishError: the file has a column that the table does not know, or lacks one of the key.
    """
    lines = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    names = next(lines, [])
    unknown = [name for name in names if name not in {column.name for column in table.columns}]
    lacking = [name for name in table.key if name not in names]
    if unknown or lacking:
        what = f"has column {unknown[0]!r}, which {SCHEMA}.{table.name} does not have" if unknown else ""
        what = what or f"lacks column {lacking[0]}, which is in the key of {SCHEMA}.{table.name}"
        message = (
            f"{table.file} {what}. Fix: publish with the release of tokengov that closed the month, or a later one."
        )
        raise PublishError(message)
    blank = ["" if name in table.key else None for name in names]
    rows = [[cell or empty for cell, empty in zip(cells, blank, strict=True)] for cells in lines]
    return names, rows


def _copy(
    cursor: PgCursor, version: SealedVersion, table: PublishedTable, names: Sequence[str], rows: Sequence[Cells]
) -> None:
    text = "".join(
        "\t".join((version.month, str(version.version), str(number), *(_copied(cell) for cell in cells))) + "\n"
        for number, cells in enumerate(rows, 1)
    )
    columns = ", ".join(quoted(name) for name in (*LEADING, *names))
    cursor.copy_expert(f"COPY {placed(SCHEMA, table.name)} ({columns}) FROM STDIN", io.StringIO(text))


def _copied(cell: str | None) -> str:
    return "\\N" if cell is None else cell.translate(_COPY_ESCAPES)


def _read_back(
    cursor: PgCursor, version: SealedVersion, table: PublishedTable, names: Sequence[str], rows: Sequence[Cells]
) -> None:
    """What is published is what was signed, digit for digit: compared before the commit, and not assumed."""
    columns = ", ".join(f"{quoted(name)}::text" for name in names)
    cursor.execute(
        f"SELECT {columns} FROM {placed(SCHEMA, table.name)} WHERE pack_month = %s AND pack_version = %s "
        "ORDER BY row_no",
        (version.month, version.version),
    )
    found = cursor.fetchall()
    for number, (stored, signed) in enumerate(zip(found, rows, strict=True), 1):
        for name, has, should in zip(names, stored, signed, strict=True):
            if has != should:
                message = (
                    f"{SCHEMA}.{table.name}, row {number}, column {name}: {table.file} says {should!r} and the "
                    f"database keeps {has!r}. Fix: correct the column's type, or a trigger that somebody put there."
                )
                raise PublishError(message)


def _count(cursor: PgCursor, version: SealedVersion, table: PublishedTable) -> int:
    cursor.execute(
        f"SELECT count(*) FROM {placed(SCHEMA, table.name)} WHERE pack_month = %s AND pack_version = %s",
        (version.month, version.version),
    )
    answer = cursor.fetchone()
    return int(answer[0]) if answer else 0


# --- words -----------------------------------------------------------------------------------------------------------


def _in_words(error: psycopg2.Error, url: URL, variable: str, *, is_connected: bool) -> str:
    diag = error.diag
    said = " ".join(filter(None, (diag.message_primary, diag.message_detail))) or str(error)
    place = ", ".join(filter(None, (diag.table_name, diag.column_name))) or (diag.context or "").split("\n", 1)[0]
    said = " ".join((f"{said} ({place})" if place else said).split())
    secrets = (url.password, *(url.query.get(key) for key in _SECRET_QUERY_KEYS))
    for secret in filter(None, secrets):
        said = said.replace(str(secret), "***")
    where = f"the published tables at {shown_url(url)}"
    code = error.pgcode
    if not is_connected or code is None or code.startswith(("08", "28", "3D", "57P")):
        fix = f"check host, port, database, user and password in {variable}, and that the server runs"
        return f"{where} cannot be reached: {said}. Fix: {fix}."
    fix = _FIXES.get(code) or _FIXES.get(code[:2]) or "correct what it names, then publish again"
    return f"{where} refused: {said}. Nothing was published. Fix: {fix}."


_FIXES: Final = {
    "42501": f"let an administrator run what `{PRINT_SQL}` prints, then publish again",
    "42P16": "a view was changed by somebody: drop it, then publish again; it is made anew",
    "2BP01": "another object depends on it: drop that, then publish again",
    "55P03": "another session holds the table; wait for it to end, then publish again",
    "57014": "the server was too slow or somebody cancelled; publish again",
    "22": "correct the column's type: rename the table, then publish again and it is made anew",
    "23": "take away the constraint that somebody added to the table, then publish again",
    "25": "point the URL at a server that may be written, not at a read-only copy",
    "53": "free space or connections on the server, then publish again",
}
