"""The provider server of a demo home: its books from the file that seeding wrote, its keys plainly invented.

Belongs here: starting the server for a home, and the base URLs and keys to use. Does not belong here: the server
(`server`), making the books (`demo.provider_books`), settings and environment of a run (`demo.run`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute

from tokengov_pipelines.demo.provider_books import PROVIDER_BOOKS_FILE
from tokengov_pipelines.demo.providers.books_file import books_from_json
from tokengov_pipelines.demo.providers.server import ProviderServer

ANTHROPIC_ADMIN_KEY: Final = "sk-ant-admin01-demo-opens-nothing"
OPENAI_ADMIN_KEY: Final = "sk-admin-demo-opens-nothing"


@dataclass(frozen=True)
class DemoProviders:
    """Where the demo's providers answer while the server runs, and the keys that they accept."""

    anthropic_base_url: str
    openai_base_url: str
    github_base_url: str
    anthropic_admin_key: str = ANTHROPIC_ADMIN_KEY
    openai_admin_key: str = OPENAI_ADMIN_KEY


@contextmanager
def demo_providers(home: Path, *, routes: Sequence[BaseRoute] = (), port: int = 0) -> Iterator[DemoProviders | None]:
    """Serve the books of a demo home; yields None where the home is not a seeded demo.

    `routes` are served beside the providers' (GitHub's under /github/api/v3). Without `port` a free one is taken, so
    every run has other URLs.

    Raises:
        BooksFileError: the books are of another version.
        ProviderServerError: the server does not start.
    """
    file = home / PROVIDER_BOOKS_FILE
    if not file.exists():
        yield None
        return
    books = books_from_json(file.read_text(encoding="utf-8"))
    with ProviderServer(
        books, anthropic_key=ANTHROPIC_ADMIN_KEY, openai_key=OPENAI_ADMIN_KEY, routes=routes, port=port
    ) as server:
        yield DemoProviders(server.anthropic_url, server.openai_url, f"{server.url}/github/api/v3")
