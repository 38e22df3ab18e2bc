"""Anthropic's admin endpoints as the local server answers them: all paths, and the lists of keys and people.

Belongs here: paths, credentials and errors of all of them, shapes and limits of `api_keys`, `workspaces`, `users` and
`service_accounts`. Does not belong here: the reports (`anthropic_analytics`, `anthropic_legacy`), the data (`books`).

The list of service accounts refuses admin keys, as Anthropic does: it takes an OAuth token with the scope org:admin.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from tokengov_pipelines.demo.providers import anthropic_analytics, anthropic_legacy
from tokengov_pipelines.demo.providers.answers import (
    ApiError,
    ErrorShape,
    Handler,
    Query,
    betas_of,
    limited,
    not_found,
    page_of_entries,
    rfc3339,
    route,
)
from tokengov_pipelines.demo.providers.books import (
    ANTHROPIC,
    ApiKey,
    ProviderBooks,
    ServiceAccount,
    User,
    Workspace,
)

BETA: Final = "analytics-usage-cost-2026-08-24"

_ERRORS: Final = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error",
                  403: "permission_error", 404: "not_found_error", 410: "invalid_request_error",
                  429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error"}  # fmt: skip


def error_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """An error in Anthropic's shape."""
    kind = _ERRORS.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


def anthropic_shape() -> ErrorShape:
    """How Anthropic dresses its answers; request ids are counted from one."""
    return ErrorShape("request-id", "req_01Demo", error_body)


def anthropic_routes(
    prefix: str, shape: ErrorShape, *, admin_key: str, oauth_token: str | None, page_limit: int | None
) -> list[Route]:
    """All routes under `prefix`. `page_limit` is the largest page that is given, whatever `limit` asks for."""
    base = f"{prefix}/v1/organizations"

    def with_key(request: Request) -> None:
        if request.headers.get("x-api-key") != admin_key and not _has_token(request, oauth_token):
            message = "invalid x-api-key"
            raise ApiError(401, message)
        if "anthropic-version" not in request.headers:
            message = "anthropic-version: header is required"
            raise ApiError(400, message)

    def with_beta(request: Request) -> None:
        with_key(request)
        if BETA not in betas_of(request):
            not_found(request, ProviderBooks())

    def with_token(request: Request) -> None:
        with_key(request)
        if not _has_token(request, oauth_token):
            message = "This endpoint requires an OAuth access token with the org:admin scope"
            raise ApiError(403, message)

    def own(handler: Callable[[Query, ProviderBooks, int | None], Any], *known: str) -> Handler:
        return lambda request, books: handler(Query(request, known), books.of(ANTHROPIC), page_limit)

    report = ("starting_at", "ending_at", "time_bucket_width", "group_by", "limit", "page", "order_by", "order")
    legacy = ("starting_at", "ending_at", "bucket_width", "group_by", "limit", "page")
    listing = ("limit", "after_id", "before_id")
    return [
        route(f"{base}/analytics/usage", own(anthropic_analytics.usage_report, *report), shape, with_beta),
        route(f"{base}/analytics/cost", own(anthropic_analytics.cost_report, *report), shape, with_beta),
        route(f"{base}/usage_report/messages", own(anthropic_legacy.messages_report, *legacy), shape, with_key),
        route(f"{base}/cost_report", own(anthropic_legacy.cost_report, *legacy), shape, with_key),
        route(f"{base}/api_keys", own(_api_keys, *listing, "status"), shape, with_key),
        route(f"{base}/workspaces", own(_workspaces, *listing, "include_archived", "include_default"), shape, with_key),
        route(f"{base}/users", own(_users, *listing), shape, with_key),
        route(
            f"{base}/service_accounts", own(_service_accounts, "limit", "page", "include_archived"), shape, with_token
        ),
        route(f"{prefix}/{{rest:path}}", not_found, shape, with_key),
    ]


def _has_token(request: Request, oauth_token: str | None) -> bool:
    return oauth_token is not None and request.headers.get("authorization") == f"Bearer {oauth_token}"


def _listed(
    query: Query, entries: Sequence[Any], shown: Callable[[Any], dict[str, Any]], page_limit: int | None
) -> dict[str, Any]:
    size = limited(query.number("limit", 20, 1000), page_limit)
    if query.text("before_id") is not None:
        message = "before_id: this server goes forward only"
        raise ApiError(400, message, parameter="before_id")
    page, more = page_of_entries(entries, query.text("after_id"), size, after_name="after_id")
    return {
        "data": [shown(entry) for entry in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _api_keys(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    default = [workspace.id for workspace in books.workspaces if workspace.is_default]
    status = query.text("status")

    def shown(key: ApiKey) -> dict[str, Any]:
        scope = {"type": "workspace", "workspace_id": key.workspace_id} if key.workspace_id else {
            "type": "organization"}  # fmt: skip
        return {
            "type": "api_key",
            "id": key.id,
            "name": key.name,
            "partial_key_hint": key.hint,
            "status": key.status,
            "created_at": rfc3339(key.created_at),
            "expires_at": rfc3339(key.expires_at),
            "created_by": {"id": key.created_by, "type": "user"} if key.created_by else None,
            "principal": {"id": key.owner_id, "type": key.owner_type} if key.owner_id else None,
            "scope": scope,
            "workspace_id": None if key.workspace_id in default else key.workspace_id,
        }

    return _listed(query, [key for key in books.keys if status in (None, key.status)], shown, page_limit)


def _workspaces(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """The default workspace and archived ones only where they are asked for."""
    archived, default = query.flag("include_archived"), query.flag("include_default")

    def shown(workspace: Workspace) -> dict[str, Any]:
        return {
            "type": "workspace",
            "id": workspace.id,
            "name": workspace.name,
            "created_at": rfc3339(workspace.created_at),
            "archived_at": rfc3339(workspace.archived_at),
            "display_color": "#6C5BB9",
        }

    listed = [w for w in books.workspaces if (default or not w.is_default) and (archived or w.archived_at is None)]
    return _listed(query, listed, shown, page_limit)


def _users(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    def shown(user: User) -> dict[str, Any]:
        return {
            "type": "user",
            "id": user.id,
            "email": user.email,
            "name": user.name,
            "role": user.role,
            "added_at": rfc3339(user.added_at),
        }

    return _listed(query, books.users, shown, page_limit)


def _service_accounts(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """Newest first, paged by cursor: the one list that is not paged by id."""
    size = limited(query.number("limit", 20, 100), page_limit)
    query.flag("include_archived")  # none of the books' is
    page = query.text("page")
    if page is not None and not page.removeprefix("page_").isdecimal():
        message = "page: Invalid page token"
        raise ApiError(400, message, parameter="page")
    first = int(page.removeprefix("page_")) if page else 0
    newest = sorted(books.service_accounts, key=lambda account: (account.created_at, account.id), reverse=True)

    def shown(account: ServiceAccount) -> dict[str, Any]:
        return {
            "type": "service_account",
            "id": account.id,
            "name": account.name,
            "description": None,
            "organization_role": account.role,
            "created_at": rfc3339(account.created_at),
            "updated_at": rfc3339(account.created_at),
            "archived_at": None,
            "created_by_actor_id": None,
        }

    last = first + size
    return {
        "data": [shown(account) for account in newest[first:last]],
        "next_page": f"page_{last}" if last < len(newest) else None,
    }
