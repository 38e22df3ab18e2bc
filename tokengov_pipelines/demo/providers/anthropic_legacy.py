"""Anthropic's older reports: usage_report/messages and cost_report, in daily buckets.

Belongs here: their shapes and limits. Does not belong here: authorisation and paths (`anthropic`), what is reported
(`books`). They name no default workspace; the cost report knows no keys and leaves the Priority Tier out.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from tokengov_pipelines.demo.providers.answers import (
    DAY,
    ApiError,
    Query,
    days_between,
    grouped,
    limited,
    page_of_days,
    rfc3339,
    total,
)
from tokengov_pipelines.demo.providers.anthropic_analytics import TOKEN_TYPES
from tokengov_pipelines.demo.providers.books import CostCell, ProviderBooks, UsageCell
from tokengov_pipelines.domain.money import exact_sum

_PARSED: Final = ("model", "service_tier", "context_window", "inference_geo", "cost_type", "token_type")
_FAST_MODE: Final = "fast-mode-2026-02-01"


def messages_report(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """`GET /v1/organizations/usage_report/messages`."""
    default = _default_workspace(books)
    dimensions: dict[str, Callable[[UsageCell], Any]] = {
        "account_id": lambda _cell: None,
        "api_key_id": lambda cell: cell.key_id,
        "context_window": lambda cell: cell.context_window,
        "inference_geo": lambda cell: cell.inference_geo,
        "model": lambda cell: cell.model,
        "service_account_id": lambda _cell: None,
        "service_tier": lambda cell: cell.service_tier,
        "workspace_id": lambda cell: None if cell.workspace_id == default else cell.workspace_id,
    }
    if _FAST_MODE in query.betas:
        dimensions["speed"] = lambda cell: cell.speed
    group_by = query.many("group_by", dimensions)

    def results(day: date) -> list[dict[str, Any]]:
        cells = [cell for cell in books.usage if cell.day == day]
        return [{**group, **_usage(members)} for group, members in grouped(cells, dimensions, group_by)]

    return _buckets(query, books, results, page_limit)


def cost_report(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """`GET /v1/organizations/cost_report`."""
    default = _default_workspace(books)
    dimensions: dict[str, Callable[[CostCell], Any]] = {
        "workspace_id": lambda cell: None if cell.workspace_id == default else cell.workspace_id,
        "description": lambda cell: cell.line_item,
        "model": lambda cell: cell.model,
        "service_tier": lambda cell: cell.service_tier,
        "context_window": lambda cell: cell.context_window,
        "inference_geo": lambda cell: cell.inference_geo,
        "cost_type": lambda cell: cell.cost_type,
        "token_type": lambda cell: TOKEN_TYPES[cell.token_type] if cell.token_type else None,
    }
    asked = query.many("group_by", ("workspace_id", "description"))
    group_by = (*asked, *_PARSED) if "description" in asked else asked

    def results(day: date) -> list[dict[str, Any]]:
        cells = [cell for cell in books.costs if cell.day == day and "priority" not in (cell.service_tier or "")]
        return [{"currency": "USD", "amount": _cents(members), **group}
                for group, members in grouped(cells, dimensions, group_by)]  # fmt: skip

    return _buckets(query, books, results, page_limit)


def _default_workspace(books: ProviderBooks) -> str | None:
    return next((workspace.id for workspace in books.workspaces if workspace.is_default), None)


def _usage(cells: Sequence[UsageCell]) -> dict[str, Any]:
    return {
        "uncached_input_tokens": total(cells, "uncached_input"),
        "cache_creation": {
            "ephemeral_5m_input_tokens": total(cells, "cache_write_5m"),
            "ephemeral_1h_input_tokens": total(cells, "cache_write_1h"),
        },
        "cache_read_input_tokens": total(cells, "cache_read"),
        "output_tokens": total(cells, "output"),
        "server_tool_use": {"web_search_requests": total(cells, "web_searches")},
    }


def _cents(cells: Sequence[CostCell]) -> str:
    """Cents as text, without zeros at the end of the decimals."""
    text = format(exact_sum([cell.amount for cell in cells]).scaleb(2), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _buckets(
    query: Query, books: ProviderBooks, results: Callable[[date], list[dict[str, Any]]], page_limit: int | None
) -> dict[str, Any]:
    """Days with their results; a day without usage is a bucket without results."""
    start, end = query.moment("starting_at"), query.moment("ending_at")
    query.many("bucket_width", ["1d"])
    if start is None:
        message = "starting_at: Field required"
        raise ApiError(400, message, parameter="starting_at")
    end = end or _end_of_day(books.refreshed_at or start)
    if not start < end:
        message = "ending_at: must be after starting_at"
        raise ApiError(400, message, parameter="ending_at")
    size = limited(query.number("limit", 7, 31), page_limit)
    days, next_page = page_of_days(days_between(start, end), query.text("page"), size)
    return {
        "data": [
            {"starting_at": rfc3339(day), "ending_at": rfc3339(day + DAY), "results": results(day)} for day in days
        ],
        "has_more": next_page is not None,
        "next_page": next_page,
    }


def _end_of_day(moment: datetime) -> datetime:
    return datetime.combine(moment.date() + timedelta(days=1), time(), moment.tzinfo)
