"""`tokengov doctor` on what keeps the books: the lake, the ledger and Dagster's storage, and whether they fit together.

Belongs here: whether each of them can be reached and written (architecture 4). Does not belong here: making or
repairing anything (what is not there yet is made by the first command that needs it), the rest of the home
(`resources.home_probe`).
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import fsspec
import psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from resources.drop_folder import without_password
from resources.source_error import SourceError
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok
from tokengov_pipelines.ledger.connection import open_engine
from tokengov_pipelines.ledger.errors import LedgerError, LedgerTooNewError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.schema import require_current
from tokengov_pipelines.settings import DAGSTER_POSTGRES_URL_VARIABLE, LEDGER_URL_VARIABLE, Installation

_LEDGER_SECONDS: Final = 5
_CONNECT_SECONDS: Final = 10


def probe_stores(installation: Installation) -> Iterator[Finding]:
    """Every finding about lake, ledger and Dagster's storage."""
    yield from _lake(installation)
    yield from _ledger(installation)
    yield from _dagster(installation)


# --- lake ------------------------------------------------------------------------------------------------------------


def is_remote(url: str) -> bool:
    """Whether a lake is on another file system than this machine's."""
    return "://" in url and not url.startswith(("file://", "local://"))


def _lake(installation: Installation) -> Iterator[Finding]:
    url = installation.lake_url
    kind = "remote" if is_remote(url) else "local"
    try:
        _write_and_read(url)
    except SourceError as failed:
        yield from_error("lake", "writable", str(failed))
        return
    yield ok("lake", "writable", f"{without_password(url)} ({kind}) can be written and read.")


def _write_and_read(url: str) -> None:
    """Put a small file, read it and take it away again.

    Raises:
        SourceError: whatever the file system says to that.
    """
    content = uuid.uuid4().bytes
    try:
        fs, base = fsspec.core.url_to_fs(url)
        root = str(base).rstrip("/")
        path = f"{root}/doctor-{uuid.uuid4().hex}"
        if not is_remote(url):  # there it would make a bucket
            fs.makedirs(root, exist_ok=True)
        try:
            fs.pipe_file(path, content)
            read = fs.cat_file(path)
        finally:
            if fs.exists(path):
                fs.rm_file(path)
    except Exception as failed:  # each file system raises its own: missing credentials are no OSError on S3
        reason = (failed.strerror if isinstance(failed, OSError) else None) or type(failed).__name__
        message = (
            f"{without_password(url)} cannot be written and read ({reason}). Fix: check lake_url in tokengov.yaml, and "
            "the folder's permissions or the credentials of the object store."
        )
        raise SourceError(message) from failed
    if read != content:
        message = f"{without_password(url)} gave back other bytes than were written. Fix: check lake_url."
        raise SourceError(message)


# --- ledger and Dagster ----------------------------------------------------------------------------------------------


def _ledger(installation: Installation) -> Iterator[Finding]:
    url = installation.ledger_url
    yield from _one_host(installation)
    file = _sqlite_file(url)
    if file is not None and not file.exists():
        yield writable_folder("ledger", "reachable", file.parent, f"{file} is made by the first command that needs it")
        return
    try:
        ledger = Ledger(url, installation.settings.now, lock_seconds=_LEDGER_SECONDS)
        if not _is_current(url):
            text = f"{ledger.shown_url} has no tables of this version yet; the next command that writes makes them."
            yield ok("ledger", "reachable", text)
            return
        chain = ledger.verify_chain()
    except LedgerError as failed:
        yield from_error("ledger", "reachable", str(failed))
        return
    if file is not None and not os.access(file, os.W_OK):
        yield error("ledger", "writable", f"{file} is read-only.", "make the file and its folder writable.")
    yield ok("ledger", "reachable", f"{ledger.shown_url} has the tables of this version.")
    if chain.intact:
        yield ok("ledger", "audit trail", f"the hash chain of {chain.events} events is intact.")
    else:
        text = f"the hash chain of events breaks at {chain.broken_seq}: {chain.problem}"
        fix = "restore the ledger from a backup, and find out who changed it: only this product writes there."
        yield error("ledger", "audit trail", text, fix)


def _is_current(url: str) -> bool:
    """Whether the ledger's tables are there and of this version; an older one is upgraded by the next command."""
    try:
        require_current(open_engine(url, _LEDGER_SECONDS))
    except LedgerTooNewError:
        raise
    except LedgerError as failed:
        if "has tables of revision" in str(failed):
            return False
        raise
    return True


def _one_host(installation: Installation) -> Iterator[Finding]:
    """SQLite is for one host: not beside a lake or a Dagster storage that several hosts share (architecture 4)."""
    if not installation.ledger_url.startswith("sqlite"):
        return
    shared = []
    if is_remote(installation.lake_url):
        shared.append(f"the lake is remote ({without_password(installation.lake_url)})")
    if os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE):
        shared.append("Dagster's storage is Postgres")
    if shared:
        yield error(
            "ledger",
            "one host",
            f"the ledger is SQLite, and {' and '.join(shared)}: another host would keep other books of the same month.",
            f"set {LEDGER_URL_VARIABLE} to a Postgres database of its own.",
        )


def _sqlite_file(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    return Path(parsed.database) if parsed.drivername.startswith("sqlite") and parsed.database else None


def _dagster(installation: Installation) -> Iterator[Finding]:
    yield writable_folder("Dagster", "home", installation.dagster_home, f"{installation.dagster_home} can be written")
    url = os.environ.get(DAGSTER_POSTGRES_URL_VARIABLE)
    if not url:
        return
    scheme, _, rest = url.partition("://")
    fix = f"check {DAGSTER_POSTGRES_URL_VARIABLE} (postgresql://user:password@host:port/database) and the server."
    if scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        yield error("Dagster", "storage", f"{DAGSTER_POSTGRES_URL_VARIABLE} is no Postgres URL.", fix)
        return
    try:
        psycopg2.connect(f"postgresql://{rest}", connect_timeout=_CONNECT_SECONDS).close()
    except psycopg2.Error as failed:
        words = " ".join(str(failed).split())
        yield error("Dagster", "storage", f"its Postgres at {_host(url)} cannot be opened: {words}", fix)
        return
    yield ok("Dagster", "storage", f"its Postgres at {_host(url)} can be opened.")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'the local socket'}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "an unreadable host"


def writable_folder(source: str, check: str, folder: Path, said: str) -> Finding:
    """Whether a folder can be written, or made: an absent one belongs to its nearest ancestor that is there."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return ok(source, check, f"{said}.")
    fix = f"make {existing} writable for this user, or choose another home."
    return error(source, check, f"{folder} cannot be written.", fix)
