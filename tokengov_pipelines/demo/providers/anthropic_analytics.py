"""Anthropic's usage and cost analytics reports: a row per day and group, under a cursor that is bound to its query.

Belongs here: shapes, limits and cursors of `analytics/usage` and `analytics/cost`. Does not belong here: authorisation
and paths (`anthropic`), what is reported (`books`). Only daily buckets and the whole range are served.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tokengov_pipelines.demo.providers.answers import (
    ApiError,
    Query,
    days_between,
    grouped,
    limited,
    rfc3339,
    total,
)
from tokengov_pipelines.demo.providers.books import CostCell, ProviderBooks, UsageCell
from tokengov_pipelines.domain.money import exact_sum

EARLIEST: Final = date(2026, 1, 1)
LONGEST: Final = timedelta(days=31)
MOST_DIMENSIONS: Final = 5

TOKEN_TYPES: Final = {
    "uncached_input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}
_USAGE_DIMENSIONS: Final[dict[str, Callable[[UsageCell], Any]]] = {
    "api_key_id": lambda cell: cell.key_id,
    "workspace_id": lambda cell: cell.workspace_id,
    "model": lambda cell: cell.model,
    "service_tier": lambda cell: cell.service_tier,
    "context_window": lambda cell: cell.context_window,
    "inference_geo": lambda cell: cell.inference_geo,
    "speed": lambda cell: cell.speed,
}
_COMPONENTS: Final[dict[str, Callable[[CostCell], Any]]] = {
    "cost_type": lambda cell: cell.cost_type,
    "token_type": lambda cell: TOKEN_TYPES[cell.token_type] if cell.token_type else None,
}
_COST_DIMENSIONS: Final[dict[str, Callable[[CostCell], Any]]] = {
    "api_key_id": lambda cell: cell.key_id,
    "workspace_id": lambda cell: cell.workspace_id,
    "model": lambda cell: cell.model,
    "service_tier": lambda cell: cell.service_tier,
    "context_window": lambda cell: cell.context_window,
    "inference_geo": lambda cell: cell.inference_geo,
    "speed": lambda cell: cell.speed,
    **_COMPONENTS,
}
_ALWAYS_NULL: Final = ("actor", "actor_type", "agent_id", "claude_tag_category", "claude_tag_user_id", "deployment_id",
                       "environment_id", "organization_id", "product", "rbac_group_id", "session_id",
                       "slack_channel_id", "user_profile_id")  # fmt: skip
"""Dimensions that Anthropic has and this server does not serve: null in every row, refused in `group_by[]`."""

_Row = tuple[date, Mapping[str, Any], dict[str, Any]]


def usage_report(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """`GET /v1/organizations/analytics/usage`."""
    group_by = _dimensions(query, tuple(_USAGE_DIMENSIONS))
    start, end, daily = _range(query, books)
    rows: list[_Row] = []
    for day, cells in _by_bucket(books.usage, start, end, daily=daily):
        rows += [(day, group, {"usage": _usage(members)}) for group, members in
                 grouped(cells, _USAGE_DIMENSIONS, group_by)]  # fmt: skip
    return _page(query, books, rows, (start, end, daily), page_limit)


def cost_report(query: Query, books: ProviderBooks, page_limit: int | None) -> dict[str, Any]:
    """`GET /v1/organizations/analytics/cost`."""
    group_by = _dimensions(query, tuple(_COST_DIMENSIONS))
    by_component = any(name in _COMPONENTS for name in group_by)
    start, end, daily = _range(query, books)
    rows: list[_Row] = []
    usage = dict(_by_bucket(books.usage, start, end, daily=daily))
    for day, cells in _by_bucket(books.costs, start, end, daily=daily):
        requests = [] if by_component else grouped(usage.get(day, []), _USAGE_DIMENSIONS, group_by)
        for group, members in grouped(cells, _COST_DIMENSIONS, group_by):
            same = [part for other, part in requests if all(group[name] == other[name] for name in group_by)]
            count = None if by_component else sum(total(part, "requests") for part in same)
            rows.append((day, group, {"cost": _cost(members, count)}))
    return _page(query, books, rows, (start, end, daily), page_limit)


def _dimensions(query: Query, served: Sequence[str]) -> tuple[str, ...]:
    group_by = query.many("group_by", served)
    if sum(name not in _COMPONENTS for name in set(group_by)) > MOST_DIMENSIONS:
        message = f"group_by: at most {MOST_DIMENSIONS} dimensions besides cost_type and token_type"
        raise ApiError(400, message, parameter="group_by")
    return group_by


def _range(query: Query, books: ProviderBooks) -> tuple[datetime, datetime, bool]:
    """Start, end and whether each day is a bucket of its own."""
    start, end = query.moment("starting_at"), query.moment("ending_at")
    daily = bool(query.many("time_bucket_width", ["1d"]))
    query.many("order_by", ["time"])
    query.many("order", ["asc"])
    if start is None or (end is None and daily):
        name = "starting_at" if start is None else "ending_at"
        message = f"{name}: Field required"
        raise ApiError(400, message, parameter=name)
    end = end or min(start + LONGEST, books.refreshed_at or start + LONGEST)
    oldest = books.refreshed_at - timedelta(days=365) if books.refreshed_at else None
    if start.date() < EARLIEST or (oldest and start < oldest):
        message = "starting_at: must not be before 2026-01-01 or more than 365 days ago"
        raise ApiError(400, message, parameter="starting_at")
    if not start < end or end - start > LONGEST:
        message = "ending_at: the range must be longer than nothing and no longer than 31 days"
        raise ApiError(400, message, parameter="ending_at")
    return start, end, daily


def _by_bucket(cells: Sequence[Any], start: datetime, end: datetime, *, daily: bool) -> list[tuple[date, list[Any]]]:
    days = days_between(start, end)
    if not daily:
        return [(days[0], [cell for cell in cells if cell.day in days])]
    by_day: dict[date, list[Any]] = {day: [] for day in days}
    for cell in cells:
        if cell.day in by_day:
            by_day[cell.day].append(cell)
    return [(day, found) for day, found in by_day.items() if found]


def _usage(cells: Sequence[UsageCell]) -> dict[str, Any]:
    counts = {name: total(cells, name) for name in TOKEN_TYPES}
    return {
        "uncached_input_tokens": counts["uncached_input"],
        "cache_read_input_tokens": counts["cache_read"],
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts["cache_write_5m"],
            "ephemeral_1h_input_tokens": counts["cache_write_1h"],
        },
        "output_tokens": counts["output"],
        "server_tool_use": {"web_search_requests": total(cells, "web_searches")},
        "total_tokens": sum(counts.values()),
        "requests": total(cells, "requests"),
    }


def _cost(cells: Sequence[CostCell], requests: int | None) -> dict[str, Any]:
    return {
        "amount": fractional_cents(exact_sum([cell.amount for cell in cells])),
        "list_amount": fractional_cents(exact_sum([cell.list_amount for cell in cells])),
        "currency": "USD",
        "requests": requests,
    }


def fractional_cents(usd: Decimal) -> str:
    """USD as text in cents with six decimals, or more where the exact amount has them."""
    text = format(usd.scaleb(2), "f")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(6, '0')}"


def _page(
    query: Query, books: ProviderBooks, rows: Sequence[_Row], window: tuple[datetime, datetime, bool],
    page_limit: int | None,
) -> dict[str, Any]:  # fmt: skip
    """A page of rows. Rows of one group that differ by cost and token type only count as one and stay together."""
    start, end, daily = window
    size = limited(query.number("limit", 20, 1000), page_limit)
    starts = [at for at, row in enumerate(rows) if at == 0 or _base(rows[at - 1]) != _base(row)]
    first = _read_cursor(query, books)
    last = first + size
    shown = rows[starts[first] if first < len(starts) else len(rows) : starts[last] if last < len(starts) else None]
    data = [
        {
            "starting_at": rfc3339(day if daily else start),
            "ending_at": rfc3339(day + timedelta(days=1) if daily else end),
            "group": {**dict.fromkeys(_ALWAYS_NULL), **group},
            **figures,
        }
        for day, group, figures in shown
    ]
    more = last < len(starts)
    return {
        "data": data,
        "has_more": more,
        "next_page": _cursor(query, books, last) if more else None,
        "data_refreshed_at": rfc3339(books.refreshed_at),
    }


def _base(row: _Row) -> tuple[Any, ...]:
    day, group, _ = row
    return day, *(value for name, value in group.items() if name not in _COMPONENTS)


def _cursor(query: Query, books: ProviderBooks, position: int) -> str:
    bound = hashlib.sha256(query.identity().encode()).hexdigest()[:16]
    text = json.dumps([bound, rfc3339(books.refreshed_at), position])
    return "page_" + base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(query: Query, books: ProviderBooks) -> int:
    """The position that the cursor of a query stands for; 0 without one."""
    page = query.text("page")
    if page is None:
        return 0
    try:
        _, refreshed_at, position = json.loads(base64.urlsafe_b64decode(page.removeprefix("page_")))
    except (binascii.Error, ValueError):
        refreshed_at, position = None, -1
    if not isinstance(position, int) or position < 0:
        message = "page: Invalid page token"
        raise ApiError(400, message, parameter="page")
    if refreshed_at != rfc3339(books.refreshed_at):
        message = "page: the data was refreshed and this cursor has expired; start again with the first page"
        raise ApiError(410, message, parameter="page")
    if page != _cursor(query, books, position):
        message = "page: this cursor belongs to another query"
        raise ApiError(400, message, parameter="page")
    return position
