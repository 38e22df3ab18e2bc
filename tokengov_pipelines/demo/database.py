"""The Postgres that belongs to a demo home: started with the demo, stopped with it.

Belongs here: telling a demo home from another, and its database's life. Does not belong here: the server itself
(`demo.postgres`), what is in it (`demo.seed`) and the environment of a command (`demo.environment`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokengov_pipelines.demo.postgres import EmbeddedPostgres, create_reader

DATA_FOLDER = "postgres"
READER_PASSWORD = "opens-nothing"  # noqa: S105 - the demo's server trusts its socket; nothing outside this machine reaches it


@contextmanager
def running_postgres(home: Path) -> Iterator[str]:
    """The Postgres of a demo home, made the first time; yields the owner's URL.

    It is stopped at the end by whoever started it: `tokengov load` beside an open `tokengov ui` leaves it running.
    """
    with EmbeddedPostgres(home / DATA_FOLDER) as server:
        yield server.url()


@contextmanager
def demo_database(home: Path) -> Iterator[str | None]:
    """Start a demo home's Postgres; yields the read-only URL, or None where the home is not a demo."""
    if not (home / DATA_FOLDER).exists():
        yield None
        return
    with running_postgres(home) as owner_url:
        yield create_reader(owner_url, READER_PASSWORD)
