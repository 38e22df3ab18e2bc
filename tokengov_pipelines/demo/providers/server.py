"""The local provider server: Anthropic, OpenAI and whatever routes are added, on a free port of this machine.

Belongs here: starting and stopping it, and what it is put together from. Does not belong here: answers (`anthropic`,
`openai`), faults (`faults`), the demo's books and keys (`demo`).

It listens on 127.0.0.1 only, writes no log of requests, and keeps no header's value.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import Scope

from tokengov_pipelines.demo.providers.answers import ApiError, ErrorShape
from tokengov_pipelines.demo.providers.anthropic import anthropic_routes, anthropic_shape
from tokengov_pipelines.demo.providers.books import ProviderBooks
from tokengov_pipelines.demo.providers.claude_code import claude_code_routes
from tokengov_pipelines.demo.providers.faults import Fault, FaultyApp, LoggedRequest
from tokengov_pipelines.demo.providers.openai import Amounts, openai_routes, openai_shape

ANTHROPIC_PREFIX: Final = "/anthropic"
OPENAI_PREFIX: Final = "/openai/v1"
START_SECONDS: Final = 20
STOP_SECONDS: Final = 10


class ProviderServerError(RuntimeError):
    """The server does not start; the text says why."""


class ProviderServer:
    """A context manager: the server runs in a thread of its own between enter and exit.

    `page_limit` is the largest page that is given, whatever a request asks for: the same answer comes in pages of 1 or
    of 1000. `amounts` is how OpenAI writes money. `anthropic_token` is an OAuth token with the scope org:admin, which
    the list of service accounts asks for. `routes` are added behind the providers' own.
    """

    def __init__(
        self,
        books: ProviderBooks,
        *,
        faults: Sequence[Fault] = (),
        amounts: Amounts = "number",
        page_limit: int | None = None,
        anthropic_key: str = "sk-ant-admin01-test",
        anthropic_token: str | None = None,
        openai_key: str = "sk-admin-test",
        routes: Sequence[BaseRoute] = (),
        port: int = 0,
    ) -> None:
        anthropic, openai = anthropic_shape(), openai_shape()
        self._shapes = {ANTHROPIC_PREFIX: anthropic, OPENAI_PREFIX: openai}
        own = [
            *claude_code_routes(ANTHROPIC_PREFIX, anthropic, admin_key=anthropic_key, page_limit=page_limit),
            *anthropic_routes(ANTHROPIC_PREFIX, anthropic, admin_key=anthropic_key, oauth_token=anthropic_token,
                              page_limit=page_limit),
            *openai_routes(OPENAI_PREFIX, openai, admin_key=openai_key, amounts=amounts, page_limit=page_limit),
        ]  # fmt: skip
        self._other = ErrorShape("x-request-id", "request-", _plain_error)
        self._app = FaultyApp(Starlette(routes=[*own, *routes]), books, self._shape_of, self._transport_of)
        for fault in faults:
            self._app.plant(fault)
        self._port = port
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "ProviderServer":
        """Start it and wait until it answers.

        Raises:
            ProviderServerError: the port is taken, or the server is not up after 20 s.
        """
        listening = self._listen()
        self._port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app, http="h11", ws="none", lifespan="off", access_log=False, log_config=None, log_level="error",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [listening]}, name="provider server", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                message = f"The local provider server did not start on port {self._port}. Fix: see the log above."
                raise ProviderServerError(message)
            time.sleep(0.01)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop it: answers under way get a second, then every connection is closed."""
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.should_exit = True
            self._thread.join(STOP_SECONDS)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def anthropic_url(self) -> str:
        """Base URL in place of https://api.anthropic.com."""
        return self.url + ANTHROPIC_PREFIX

    @property
    def openai_url(self) -> str:
        """Base URL in place of https://api.openai.com/v1."""
        return self.url + OPENAI_PREFIX

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """All requests so far, in the order in which they came."""
        return tuple(self._app.requests)

    def requests_to(self, path: str) -> tuple[LoggedRequest, ...]:
        """The requests under a path, such as '/openai/v1/organization/costs'."""
        return tuple(request for request in self.requests if request.path.startswith(path))

    @property
    def books(self) -> ProviderBooks:
        """What it answers from; may be set to other books while it runs."""
        return self._app.books

    @books.setter
    def books(self, books: ProviderBooks) -> None:
        self._app.books = books

    def plant(self, fault: Fault) -> None:
        """Add a fault while it runs; its requests are counted from now."""
        self._app.plant(fault)

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", self._port))
        except OSError as error:
            listening.close()
            message = f"Port {self._port} of 127.0.0.1 cannot be used ({error.strerror}). Fix: leave the port out."
            raise ProviderServerError(message) from error
        return listening

    def _shape_of(self, path: str) -> ErrorShape:
        return next((shape for prefix, shape in self._shapes.items() if path.startswith(prefix)), self._other)

    def _transport_of(self, scope: Scope) -> asyncio.Transport | None:
        """The connection of a request: ASGI has no way to close one without an answer."""
        connections = self._uvicorn.server_state.connections if self._uvicorn else ()
        found: Any = next((known for known in connections if getattr(known, "client", None) == scope["client"]), None)
        return found.transport if found else None


def _plain_error(error: ApiError, _request_id: str) -> dict[str, Any]:
    """An error of other providers' paths, in GitHub's shape."""
    return {"message": error.message, "documentation_url": None, "status": str(error.status)}
