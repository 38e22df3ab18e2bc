"""The Postgres that belongs to a demo home: started with the demo, stopped with it.

Belongs here: telling a demo home from another, and its database's life. Does not belong here: the server itself
(`demo.postgres`) and what is in it (`demo.seed`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokengov_pipelines.demo.postgres import EmbeddedPostgres, create_reader
from tokengov_pipelines.settings import LITELLM_URL_VARIABLE

DATA_FOLDER = "postgres"
READER_PASSWORD = "demo"  # noqa: S105 - the demo's server trusts its socket; nothing outside this machine reaches it


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


@contextmanager
def demo_environment(home: Path) -> Iterator[None]:
    """For a demo home, its Postgres with the URL in the environment; for any other home, nothing."""
    with demo_database(home) as url:
        if url:
            os.environ[LITELLM_URL_VARIABLE] = url
        yield
