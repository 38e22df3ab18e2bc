"""The Postgres that belongs to a demo home: started with the demo, stopped with it.

Belongs here: telling a demo home from another, and its database's life. Does not belong here: the server itself
(`demo.postgres`) and what is in it (`demo.seed`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokengov_pipelines.demo.postgres import EmbeddedPostgres, create_reader

DATA_FOLDER = "postgres"
READER_PASSWORD = "demo"  # noqa: S105 - the demo's server trusts its socket; nothing outside this machine reaches it


@contextmanager
def running_postgres(home: Path) -> Iterator[str]:
    """Start (and make, the first time) the Postgres of a demo home; yields the owner's URL, stops it at the end."""
    server = EmbeddedPostgres(home / DATA_FOLDER)
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def demo_database(home: Path) -> Iterator[str | None]:
    """Start a demo home's Postgres; yields the read-only URL, or None where the home is not a demo."""
    if not (home / DATA_FOLDER).exists():
        yield None
        return
    with running_postgres(home) as owner_url:
        yield create_reader(owner_url, READER_PASSWORD)
