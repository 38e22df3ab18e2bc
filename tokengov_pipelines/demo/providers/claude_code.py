"""Anthropic's Claude Code analytics as the local server answers them: one UTC day a request, a record an actor.

Belongs here: its path, shape and limits. Does not belong here: credentials and errors (`anthropic`), what people used
(`books`).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from tokengov_pipelines.demo.providers.answers import ApiError, ErrorShape, Query, limited, rfc3339, route
from tokengov_pipelines.demo.providers.books import ANTHROPIC, ClaudeCodeCell, ProviderBooks
from tokengov_pipelines.domain.money import exact_product

_ORGANIZATION: Final = "dc9f6c26-b22c-4831-8d01-0446bada88f1"
_KNOWN: Final = ("starting_at", "limit", "page")


def claude_code_routes(prefix: str, shape: ErrorShape, *, admin_key: str, page_limit: int | None) -> list[Route]:
    """The route under `prefix`; it has to stand before the provider's last one, which answers every other path."""

    def with_key(request: Request) -> None:
        if request.headers.get("x-api-key") != admin_key:
            message = "invalid x-api-key"
            raise ApiError(401, message)
        if "anthropic-version" not in request.headers:
            message = "anthropic-version: header is required"
            raise ApiError(400, message)

    def handler(request: Request, books: ProviderBooks) -> dict[str, Any]:
        return claude_code_report(Query(request, _KNOWN), books.of(ANTHROPIC), page_limit)

    return [route(f"{prefix}/v1/organizations/usage_report/claude_code", handler, shape, with_key)]


def claude_code_report(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """`GET /v1/organizations/usage_report/claude_code`."""
    day = _day(query.text("starting_at"))
    size = limited(query.number("limit", 20, 1000), page_limit)
    page = query.text("page")
    if page is not None and not page.removeprefix("page_").isdecimal():
        message = "page: Invalid page token"
        raise ApiError(400, message, parameter="page")
    first = int(page.removeprefix("page_")) if page else 0
    actors: dict[tuple[Any, ...], list[ClaudeCodeCell]] = {}
    for cell in books.claude_code:
        if cell.day == day:
            key = cell.email, cell.api_key_name, cell.terminal_type, cell.is_remote, cell.customer_type
            actors.setdefault(key, []).append(cell)
    records = [_record(day, cells) for cells in actors.values()]
    more = first + size < len(records)
    return {
        "data": records[first : first + size],
        "has_more": more,
        "next_page": f"page_{first + size}" if more else None,
    }


def _day(value: str | None) -> date:
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        message = f"starting_at: Input should be a date such as 2026-10-01, not {value!r}"
        raise ApiError(400, message, parameter="starting_at") from None


def _record(day: date, cells: Sequence[ClaudeCodeCell]) -> dict[str, Any]:
    """One actor's day. Sessions and lines are there because the API has them; nothing reads them."""
    whose = cells[0]
    kind, name, value = (
        ("user_actor", "email_address", whose.email)
        if whose.email
        else ("api_actor", "api_key_name", whose.api_key_name)
    )
    return {
        "date": rfc3339(day),
        "actor": {"type": kind, name: value},
        "organization_id": _ORGANIZATION,
        "customer_type": whose.customer_type,
        "subscription_type": "team" if whose.customer_type == "subscription" else None,
        "terminal_type": whose.terminal_type,
        **({} if whose.is_remote is None else {"is_remote": whose.is_remote}),
        "core_metrics": {
            "num_sessions": len(cells),
            "lines_of_code": {"added": 0, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {"edit_tool": {"accepted": 0, "rejected": 0}},
        "model_breakdown": [
            {
                "model": cell.model,
                "tokens": {
                    "input": cell.input,
                    "output": cell.output,
                    "cache_read": cell.cache_read,
                    "cache_creation": cell.cache_creation,
                },
                "estimated_cost": {"currency": "USD", "amount": exact_product(cell.estimated_cost, 100)},
            }
            for cell in cells
            if cell.model is not None
        ],
    }
