"""What both providers' routes share: exact JSON, errors, strict query parameters, sums by group, cursors.

Belongs here: parts that no provider does differently. Does not belong here: shapes of answers (`anthropic`, `openai`)
and planted faults (`faults`).
"""

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokengov_pipelines.demo.providers.books import ProviderBooks

Cell = TypeVar("Cell")
Group = tuple[Any, ...]
Handler = Callable[[Request, ProviderBooks], Any]

DAY: Final = timedelta(days=1)
BOOKS: Final = "tokengov.books"
"""Where the server puts the books that answer this request, in the ASGI scope."""


class ApiError(Exception):
    """An answer that is an error, before it gets its provider's shape."""

    def __init__(self, status: int, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.parameter = status, message, parameter


class ErrorShape:
    """How a provider dresses answers and errors: header names, error names, request ids."""

    def __init__(self, header: str, prefix: str, body: Callable[[ApiError, str], dict[str, Any]]) -> None:
        self.header, self._prefix, self._body = header, prefix, body
        self._numbers = itertools.count(1)

    def response(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """A JSON answer with a request id."""
        return self._dressed(exact_json(value), status, self._next_id(), headers)

    def error(self, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
        """An error in the provider's shape."""
        request_id = self._next_id()
        return self._dressed(exact_json(self._body(error, request_id)), error.status, request_id, headers)

    def _next_id(self) -> str:
        return f"{self._prefix}{next(self._numbers):012d}"

    def _dressed(self, text: str, status: int, request_id: str, headers: Mapping[str, str] | None) -> Response:
        own = {self.header: request_id, **(headers or {})}
        return Response(text, status, own, media_type="application/json")


def route(path: str, handler: Handler, shape: ErrorShape, authorise: Callable[[Request], None]) -> Route:
    """A GET route: check the credentials, answer from the books of the request, dress answer or error."""

    async def endpoint(request: Request) -> Response:
        try:
            authorise(request)
            return shape.response(handler(request, request.scope[BOOKS]))
        except ApiError as error:
            return shape.error(error)

    return Route(path, endpoint, methods=["GET"])


def not_found(request: Request, _books: ProviderBooks) -> Any:
    """The handler of every path that the provider does not have.

    Raises:
        ApiError: always, 404.
    """
    message = f"Not found: {request.url.path}"
    raise ApiError(404, message)


def betas_of(request: Request) -> frozenset[str]:
    """The beta versions that a request asks for."""
    return frozenset(beta.strip() for beta in request.headers.get("anthropic-beta", "").split(","))


def exact_json(value: Any) -> str:
    """JSON text in which a Decimal is a number with every digit; `json.dumps` would go through float."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{exact_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(exact_json(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


class Query:
    """Query parameters, read strictly: an unknown one is an error, so that a typing mistake cannot widen a report."""

    def __init__(self, request: Request, known: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        self.betas = betas_of(request)
        allowed = set(known)
        for written, value in request.query_params.multi_items():
            name = written.removesuffix("[]")
            if name not in allowed:
                message = f"{written}: Extra inputs are not permitted"
                raise ApiError(400, message, parameter=name)
            self._values.setdefault(name, []).append(value)

    def many(self, name: str, allowed: Iterable[str]) -> tuple[str, ...]:
        """All values of a list parameter, each of them one of `allowed`."""
        values, known = tuple(self._values.get(name, ())), list(allowed)
        for value in values:
            if value not in known:
                message = f"{name}: Input should be one of {', '.join(known)}, not {value!r}"
                raise ApiError(400, message, parameter=name)
        return values

    def text(self, name: str) -> str | None:
        """The only value of a parameter; None where it is absent."""
        values = self._values.get(name, [])
        if len(values) > 1:
            message = f"{name}: given {len(values)} times"
            raise ApiError(400, message, parameter=name)
        return values[0] if values else None

    def flag(self, name: str) -> bool:
        """True or false; false where it is absent."""
        return self.many(name, ("true", "false"))[-1:] == ("true",)

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self.text(name)
        if value is None:
            return default
        if not value.isdecimal() or not 1 <= int(value) <= most:
            message = f"{name}: Input should be a whole number from 1 to {most}, not {value!r}"
            raise ApiError(400, message, parameter=name)
        return int(value)

    def moment(self, name: str) -> datetime | None:
        """An RFC 3339 time with its zone, in UTC."""
        value = self.text(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            message = f"{name}: Input should be an RFC 3339 time with a zone, not {value!r}"
            raise ApiError(400, message, parameter=name)
        return moment.astimezone(UTC)

    def unix(self, name: str) -> datetime | None:
        """A time in unix seconds."""
        value = self.text(name)
        if value is None:
            return None
        if not value.isdecimal() or len(value) > 10:
            message = f"{name}: Input should be unix seconds, not {value!r}"
            raise ApiError(400, message, parameter=name)
        return datetime.fromtimestamp(int(value), UTC)

    def identity(self) -> str:
        """The query as text, without its cursor: what a cursor can be bound to."""
        return repr(sorted((name, values) for name, values in self._values.items() if name != "page"))


def grouped(
    cells: Iterable[Cell], dimensions: Mapping[str, Callable[[Cell], Any]], group_by: Sequence[str]
) -> list[tuple[dict[str, Any], list[Cell]]]:
    """Cells by the dimensions of `group_by`, in a stable order, null first; every other dimension is null."""
    groups: dict[Group, list[Cell]] = {}
    asked = [name for name in dimensions if name in group_by]
    for cell in cells:
        groups.setdefault(tuple(dimensions[name](cell) for name in asked), []).append(cell)
    nothing = dict.fromkeys(dimensions)
    ordered = sorted(groups.items(), key=lambda item: [(value is not None, str(value)) for value in item[0]])
    return [({**nothing, **dict(zip(asked, key, strict=True))}, members) for key, members in ordered]


def total(cells: Iterable[object], name: str) -> int:
    """Sum of a count over cells."""
    return sum(getattr(cell, name) for cell in cells)


def days_between(start: datetime, end: datetime) -> list[date]:
    """The UTC days that begin before `end`, from the day of `start` on."""
    first = start.date()
    count = (end.date() - first).days + (end.time() > time())
    return [first + offset * DAY for offset in range(max(count, 0))]


def page_of_days(days: Sequence[date], page: str | None, size: int) -> tuple[Sequence[date], str | None]:
    """A page of daily buckets and the cursor of the next: 'page_' and the day it begins with, as Anthropic has it."""
    first = 0
    if page is not None:
        begin = _day_of_cursor(page)
        if begin not in days:
            message = "page: Invalid page token"
            raise ApiError(400, message, parameter="page")
        first = days.index(begin)
    rest = days[first + size :]
    return days[first : first + size], day_cursor(rest[0]) if rest else None


def day_cursor(day: date) -> str:
    """The cursor of the page that begins with a day."""
    return "page_" + base64.urlsafe_b64encode(f"{day.isoformat()}T00:00:00Z".encode()).decode()


def _day_of_cursor(page: str) -> date | None:
    try:
        return date.fromisoformat(base64.urlsafe_b64decode(page.removeprefix("page_")).decode()[:10])
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def page_of_entries(
    entries: Sequence[Cell], after: str | None, size: int, *, after_name: str
) -> tuple[list[Cell], bool]:
    """A page of a directory list that is paged by id, and whether there are more."""
    ids = [getattr(entry, "id", None) for entry in entries]
    if after is not None and after not in ids:
        message = f"{after_name}: no such id"
        raise ApiError(400, message, parameter=after_name)
    first = 0 if after is None else ids.index(after) + 1
    return list(entries[first : first + size]), first + size < len(entries)


def limited(limit: int, page_limit: int | None) -> int:
    """The page size: what was asked for, but no more than the server gives."""
    return limit if page_limit is None else min(limit, page_limit)


def rfc3339(moment: datetime | date | None) -> str | None:
    """A time or the midnight of a day as Anthropic writes it."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        return f"{moment.isoformat()}T00:00:00Z"
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def unix_seconds(moment: datetime | date | None) -> int | None:
    """A time or the midnight of a day as OpenAI writes it."""
    if moment is None:
        return None
    whole = moment if isinstance(moment, datetime) else datetime.combine(moment, time(), UTC)
    return int(whole.timestamp())
