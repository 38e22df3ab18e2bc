"""Planted faults: what goes wrong on which request, and the log of the requests that came.

Belongs here: every way in which the server misbehaves on purpose. Does not belong here: right answers (`anthropic`,
`openai`) and running the server (`server`).

A fault is meant for the requests under a path; they are counted from 1, from the moment the fault was planted. An
answer can be hit by several faults, in the order in which they were planted.
"""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokengov_pipelines.demo.providers.answers import (
    BOOKS,
    ApiError,
    ErrorShape,
    exact_json,
    rfc3339,
    unix_seconds,
)
from tokengov_pipelines.demo.providers.books import ProviderBooks


@dataclass(frozen=True)
class Status:
    """An error in the provider's shape, with `retry-after` where it is given (seconds, or an HTTP date)."""

    code: int
    retry_after: str | None = None
    message: str = "planted by the test"


SPEND_CAP: Final = Status(429, message="You have reached your specified API usage limits.")
"""The 429 of a spent budget: no `retry-after`, and waiting does not help."""


@dataclass(frozen=True)
class Delay:
    """The right answer, but only after so many seconds: longer than the client's patience is a time-out."""

    seconds: float


@dataclass(frozen=True)
class Truncated:
    """The right headers and the first half of the body; then the connection is closed."""


@dataclass(frozen=True)
class NotJson:
    """Status 200 with a page of HTML, as a proxy on the way may answer."""

    body: bytes = b"<html><body>Service temporarily unavailable</body></html>"


@dataclass(frozen=True)
class RepeatedPage:
    """The answer to the request before, once more: its rows again, and a cursor that leads back to itself."""


@dataclass(frozen=True)
class MissingBucket:
    """The right answer without a day's bucket (or, in the analytics reports, without its rows)."""

    day: date


@dataclass(frozen=True)
class OtherBooks:
    """The answer of other books: values that changed between two reads."""

    books: ProviderBooks


@dataclass(frozen=True)
class ClosedConnection:
    """The connection is closed without an answer."""


Action = Status | Delay | Truncated | NotJson | RepeatedPage | MissingBucket | OtherBooks | ClosedConnection


@dataclass(frozen=True)
class Fault:
    """What happens to the requests number `first` to `first + times - 1` under `path`; `times` None means for ever."""

    path: str
    action: Action
    first: int = 1
    times: int | None = 1

    def hits(self, number: int) -> bool:
        """Whether the n-th request under the path is hit."""
        return number >= self.first and (self.times is None or number < self.first + self.times)


@dataclass(frozen=True)
class LoggedRequest:
    """A request that came. Of its headers only the names are kept: a value may be a secret."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    header_names: frozenset[str]

    def param(self, name: str) -> str | None:
        """The only or last value of a parameter."""
        return dict(self.params).get(name)


@dataclass
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Transports = Callable[[Scope], asyncio.Transport | None]


class FaultyApp:
    """An ASGI app in front of the right one: logs every request, hands out the books and misbehaves as planted."""

    def __init__(
        self,
        app: ASGIApp,
        books: ProviderBooks,
        shape_of: Callable[[str], ErrorShape],
        transport_of: Transports,
    ) -> None:
        self.books = books
        self.requests: list[LoggedRequest] = []
        self._app, self._shape_of, self._transport_of = app, shape_of, transport_of
        self._planted: list[tuple[Fault, int]] = []
        self._before: dict[str, _Answer] = {}

    def plant(self, fault: Fault) -> None:
        """Add a fault; its requests are counted from now."""
        self._planted.append((fault, self._count(fault.path)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope["path"]
        self.requests.append(_logged(scope))
        question = await _read_body(receive)
        actions = [fault.action for fault, before in self._planted
                   if path.startswith(fault.path) and fault.hits(self._count(fault.path) - before)]  # fmt: skip
        delays = [action.seconds for action in actions if isinstance(action, Delay)]
        if delays and await _gone_within(sum(delays), receive):
            return
        if any(isinstance(action, ClosedConnection) for action in actions):
            await self._close(scope, receive)
            return
        answer = await self._right_answer(scope, question, actions)
        for action in actions:
            answer = await self._altered(action, answer, path)
        if answer.status == 200:
            self._before[path] = answer
        await _start(send, answer)
        if any(isinstance(action, Truncated) for action in actions):
            await _body(send, answer.body[: len(answer.body) // 2], more=True)
            await self._close(scope, receive)
            return
        await _body(send, answer.body, more=False)

    def _count(self, path: str) -> int:
        return sum(request.path.startswith(path) for request in self.requests)

    async def _right_answer(self, scope: Scope, question: bytes, actions: list[Action]) -> _Answer:
        books = next((action.books for action in actions if isinstance(action, OtherBooks)), self.books)
        return await _collected(self._app, {**scope, BOOKS: books}, question)

    async def _altered(self, action: Action, answer: _Answer, path: str) -> _Answer:
        match action:
            case Status(code, retry_after, message):
                headers = {"retry-after": retry_after} if retry_after is not None else {}
                response = self._shape_of(path).error(ApiError(code, message), headers)
                return _Answer(code, response.raw_headers, bytes(response.body))
            case NotJson(body):
                return _Answer(200, _with_length([(b"content-type", b"text/html")], body), body)
            case RepeatedPage():
                return self._before.get(path, answer)
            case MissingBucket(day):
                body = _without_day(answer.body, day)
                return _Answer(answer.status, _with_length(answer.headers, body), body)
            case _:
                return answer

    async def _close(self, scope: Scope, receive: Receive) -> None:
        transport = self._transport_of(scope)
        if transport is not None:
            transport.close()
        await _gone(receive)


def _logged(scope: Scope) -> LoggedRequest:
    params = QueryParams(scope["query_string"]).multi_items()
    names = frozenset(name.decode("latin-1") for name, _ in scope["headers"])
    return LoggedRequest(scope["method"], scope["path"], tuple(params), names)


async def _read_body(receive: Receive) -> bytes:
    """The body of a request, whole: waiting for a client to go away would swallow it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _gone_within(seconds: float, receive: Receive) -> bool:
    """Wait; True where the client lost patience first."""
    try:
        await asyncio.wait_for(_gone(receive), seconds)
    except TimeoutError:
        return False
    return True


async def _collected(app: ASGIApp, scope: MutableMapping[str, Any], question: bytes) -> _Answer:
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    async def ask() -> Message:
        return {"type": "http.request", "body": question, "more_body": False}

    await app(scope, ask, collect)
    body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    start = messages[0]
    return _Answer(start["status"], list(start["headers"]), body)


async def _start(send: Send, answer: _Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})


async def _body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


def _with_length(headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(len(body)).encode())]


def _without_day(body: bytes, day: date) -> bytes:
    """A report without the items that begin on a day."""
    report = json.loads(body, parse_float=Decimal)
    begins = (rfc3339(day), unix_seconds(day))
    kept = [item for item in report["data"] if item.get("starting_at", item.get("start_time")) not in begins]
    return exact_json({**report, "data": kept}).encode()
