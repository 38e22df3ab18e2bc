"""OpenAI's organization endpoints as the local server answers them: costs, usage by kind, projects, keys and people.

Belongs here: shapes, limits and errors. Does not belong here: what is reported (`books`).

Only daily buckets are served; a day without use is a bucket without results. `amount.value` is documented as a number,
and the live API has answered with text: both can be had. Input tokens include what the cache served and stored.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.routing import Route

from tokengov_pipelines.demo.providers.answers import (
    DAY,
    ApiError,
    ErrorShape,
    Handler,
    Query,
    days_between,
    grouped,
    limited,
    not_found,
    page_of_days,
    page_of_entries,
    route,
    total,
    unix_seconds,
)
from tokengov_pipelines.demo.providers.books import (
    OPENAI,
    ApiKey,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)
from tokengov_pipelines.domain.money import exact_sum

Amounts = Literal["number", "string"]

_ERRORS: Final = {400: "invalid_request_error", 401: "invalid_request_error", 403: "invalid_request_error",
                  404: "invalid_request_error", 429: "requests"}  # fmt: skip
_CODES: Final = {401: "invalid_api_key", 403: "insufficient_permissions", 404: "not_found", 429: "rate_limit_exceeded"}

_COST_DIMENSIONS: Final[dict[str, Callable[[CostCell], Any]]] = {
    "project_id": lambda cell: cell.workspace_id,
    "api_key_id": lambda cell: cell.key_id,
    "line_item": lambda cell: cell.line_item,
}
_DIMENSIONS: Final[dict[str, Callable[[UsageCell], Any]]] = {
    "project_id": lambda cell: cell.workspace_id,
    "user_id": lambda cell: cell.user_id,
    "api_key_id": lambda cell: cell.key_id,
    "model": lambda cell: cell.model,
    "batch": lambda cell: cell.service_tier == "batch",
    "service_tier": lambda cell: "default" if cell.service_tier in ("standard", "batch") else cell.service_tier,
    "size": lambda cell: cell.image_size,
    "source": lambda cell: cell.image_source,
}
_USUAL: Final = ("project_id", "user_id", "api_key_id", "model")

# Kind: (name of its results, dimensions, what it counts besides tokens).
KINDS: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "completions": ("completions", (*_USUAL, "batch", "service_tier"), ("num_model_requests",)),
    "embeddings": ("embeddings", _USUAL, ("input_tokens", "num_model_requests")),
    "moderations": ("moderations", _USUAL, ("input_tokens", "num_model_requests")),
    "images": ("images", (*_USUAL, "size", "source"), ("images", "num_model_requests")),
    "audio_speeches": ("audio_speeches", _USUAL, ("characters", "num_model_requests")),
    "audio_transcriptions": ("audio_transcriptions", _USUAL, ("seconds", "num_model_requests")),
    "vector_stores": ("vector_stores", ("project_id",), ("usage_bytes",)),
    "code_interpreter_sessions": ("code_interpreter_sessions", ("project_id",), ("num_sessions",)),
    "file_search_calls": ("file_searches", ("project_id", "user_id", "api_key_id"), ("num_requests",)),
    "web_search_calls": ("web_searches", _USUAL, ("num_requests", "num_model_requests")),
}


def error_body(error: ApiError, _request_id: str) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = _ERRORS.get(error.status, "server_error")
    return {"error": {"message": error.message, "type": kind, "param": error.parameter,
                      "code": _CODES.get(error.status)}}  # fmt: skip


def openai_shape() -> ErrorShape:
    """How OpenAI dresses its answers; request ids are counted from one."""
    return ErrorShape("x-request-id", "req_demo", error_body)


def openai_routes(
    prefix: str, shape: ErrorShape, *, admin_key: str, amounts: Amounts, page_limit: int | None
) -> list[Route]:
    """All routes under `prefix`. `page_limit` is the largest page that is given, whatever `limit` asks for."""
    base = f"{prefix}/organization"

    def with_key(request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {admin_key}":
            message = "Incorrect API key provided."
            raise ApiError(401, message)

    def own(handler: Callable[[Query, ProviderBooks, int | None], Any], *known: str) -> Handler:
        return lambda request, books: handler(Query(request, known), books.of(OPENAI), page_limit)

    def of_project(handler: Callable[[str, Query, ProviderBooks, int | None], Any], *known: str) -> Handler:
        def answer(request: Request, books: ProviderBooks) -> Any:
            project = request.path_params["project"]
            if project not in [workspace.id for workspace in books.of(OPENAI).workspaces]:
                not_found(request, books)
            return handler(project, Query(request, known), books.of(OPENAI), page_limit)

        return answer

    report = ("start_time", "end_time", "bucket_width", "group_by", "limit", "page")
    return [
        route(f"{base}/costs", own(partial(_costs, amounts), *report), shape, with_key),
        *(route(f"{base}/usage/{kind}", own(partial(_usage_of, kind), *report), shape, with_key) for kind in KINDS),
        route(f"{base}/projects", own(_projects, "limit", "after", "include_archived"), shape, with_key),
        route(f"{base}/projects/{{project}}/api_keys", of_project(_api_keys, "limit", "after", "owner_project_access"),
              shape, with_key),
        route(f"{base}/projects/{{project}}/service_accounts", of_project(_service_accounts, "limit", "after"),
              shape, with_key),
        route(f"{base}/users", own(_users, "limit", "after"), shape, with_key),
        route(f"{prefix}/{{rest:path}}", not_found, shape, with_key),
    ]  # fmt: skip


# --- reports -----------------------------------------------------------------------------------------


def _costs(amounts: Amounts, query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    group_by = query.many("group_by", _COST_DIMENSIONS)
    by_line = "line_item" in group_by

    def result(group: Mapping[str, Any], cells: Sequence[CostCell]) -> dict[str, Any]:
        exact = exact_sum([cell.amount for cell in cells])
        quantity, unit = _quantity(cells) if by_line else (None, None)
        return {
            "object": "organization.costs.result",
            "amount": {"value": exact if amounts == "number" else format(exact, "f"), "currency": "usd"},
            "line_item": group["line_item"],
            "project_id": group["project_id"],
            "api_key_id": group["api_key_id"],
            "quantity": quantity,
            "quantity_unit": unit,
        }

    def results(day: date) -> list[dict[str, Any]]:
        cells = [cell for cell in books.costs if cell.day == day]
        return [result(group, members) for group, members in grouped(cells, _COST_DIMENSIONS, group_by)]

    return _buckets(query, books, results, limited(query.number("limit", 7, 180), page_limit))


def _quantity(cells: Sequence[CostCell]) -> tuple[Decimal | None, str | None]:
    """The quantity where all cells count the same unit."""
    units = {cell.quantity_unit for cell in cells}
    if len(units) != 1 or None in units:
        return None, None
    return exact_sum([cell.quantity or 0 for cell in cells]), units.pop()


def _usage_of(kind: str, query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    name, names, measures = KINDS[kind]
    dimensions = {dimension: _DIMENSIONS[dimension] for dimension in names}
    group_by = query.many("group_by", dimensions)

    def results(day: date) -> list[dict[str, Any]]:
        cells = [cell for cell in books.usage if cell.day == day and cell.kind == kind]
        return [
            {
                "object": f"organization.usage.{name}.result",
                **{measure: _measure(measure, members) for measure in measures},
                **(_tokens(members) if kind == "completions" else {}),
                **group,
            }
            for group, members in grouped(cells, dimensions, group_by)
        ]

    return _buckets(query, books, results, limited(query.number("limit", 7, 31), page_limit))


def _measure(name: str, cells: Sequence[UsageCell]) -> int:
    """A count of a kind: tokens and requests have fields of their own, everything else is `units`."""
    return total(cells, {"input_tokens": "uncached_input", "num_model_requests": "requests"}.get(name, "units"))


def _tokens(cells: Sequence[UsageCell]) -> dict[str, int]:
    uncached, cached = total(cells, "uncached_input"), total(cells, "cache_read")
    written = total(cells, "cache_write_5m") + total(cells, "cache_write_1h")
    output = total(cells, "output")
    return {
        "input_tokens": uncached + cached + written,
        "input_cached_tokens": cached,
        "input_uncached_tokens": uncached,
        "input_cache_write_tokens": written,
        "input_text_tokens": uncached,
        "input_cached_text_tokens": cached,
        "input_audio_tokens": 0,
        "input_cached_audio_tokens": 0,
        "input_image_tokens": 0,
        "input_cached_image_tokens": 0,
        "output_tokens": output,
        "output_text_tokens": output,
        "output_audio_tokens": 0,
        "output_image_tokens": 0,
    }


def _buckets(
    query: Query, books: ProviderBooks, results: Callable[[date], list[dict[str, Any]]], size: int
) -> dict[str, Any]:
    start, end = query.unix("start_time"), query.unix("end_time")
    query.many("bucket_width", ["1d"])
    if start is None:
        message = "Missing required parameter: 'start_time'."
        raise ApiError(400, message, parameter="start_time")
    end = end or _end_of_day(books.refreshed_at or start)
    if not start < end:
        message = "'end_time' must be after 'start_time'."
        raise ApiError(400, message, parameter="end_time")
    days, next_page = page_of_days(days_between(start, end), query.text("page"), size)
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": unix_seconds(day),
                "end_time": unix_seconds(day + DAY),
                "results": results(day),
            }
            for day in days
        ],
        "has_more": next_page is not None,
        "next_page": next_page,
    }


def _end_of_day(moment: datetime) -> datetime:
    return datetime.combine(moment.date() + timedelta(days=1), time(), moment.tzinfo)


# --- lists -------------------------------------------------------------------------------------------


def _listed(
    query: Query, entries: Sequence[Any], shown: Callable[[Any], dict[str, Any]], page_limit: int | None
) -> dict[str, Any]:
    size = limited(query.number("limit", 20, 100), page_limit)
    page, more = page_of_entries(entries, query.text("after"), size, after_name="after")
    return {
        "object": "list",
        "data": [shown(entry) for entry in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": more,
    }


def _projects(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    archived = query.flag("include_archived")

    def shown(project: Workspace) -> dict[str, Any]:
        return {
            "id": project.id,
            "object": "organization.project",
            "name": project.name,
            "created_at": unix_seconds(project.created_at),
            "archived_at": unix_seconds(project.archived_at),
            "status": "archived" if project.archived_at else "active",
        }

    listed = [project for project in books.workspaces if archived or project.archived_at is None]
    return _listed(query, listed, shown, page_limit)


def _api_keys(project: str, query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """Without `owner_project_access=any` the keys of owners who have left the project are missing."""
    access = query.many("owner_project_access", ["any", "active", "inactive"]) or ("active",)
    users = {user.id: user for user in books.users}
    accounts = {account.id: account for account in books.service_accounts}

    def owner(key: ApiKey) -> dict[str, Any]:
        if key.owner_type == "user" and key.owner_id in users:
            return {"type": "user", "user": _person(users[key.owner_id])}
        if key.owner_type == "service_account" and key.owner_id in accounts:
            return {"type": "service_account", "service_account": _account(accounts[key.owner_id])}
        return {"type": key.owner_type}

    def shown(key: ApiKey) -> dict[str, Any]:
        return {
            "object": "organization.project.api_key",
            "id": key.id,
            "name": key.name,
            "redacted_value": key.hint,
            "created_at": unix_seconds(key.created_at),
            "last_used_at": unix_seconds(key.last_used_at),
            "expires_at": unix_seconds(key.expires_at),
            "owner": owner(key),
            "owner_project_access": "active" if key.owner_has_access else "inactive",
        }

    wanted = {"any": (True, False), "active": (True,), "inactive": (False,)}[access[0]]
    listed = [key for key in books.keys if key.workspace_id == project and key.owner_has_access in wanted]
    return _listed(query, listed, shown, page_limit)


def _person(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "created_at": unix_seconds(user.added_at),
    }


def _account(account: ServiceAccount) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "created_at": unix_seconds(account.created_at),
    }


def _service_accounts(project: str, query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    def shown(account: ServiceAccount) -> dict[str, Any]:
        return {"object": "organization.project.service_account", **_account(account)}

    listed = [account for account in books.service_accounts if account.workspace_id == project]
    return _listed(query, listed, shown, page_limit)


def _users(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    def shown(user: User) -> dict[str, Any]:
        return {
            "object": "organization.user",
            "id": user.id,
            "email": user.email,
            "name": user.name,
            "role": user.role,
            "added_at": unix_seconds(user.added_at),
        }

    return _listed(query, books.users, shown, page_limit)
