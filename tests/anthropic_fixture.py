"""Anthropic's answers over three days of October 2026, for a scripted server: valid bodies, whole or in pages.

The second day has no use. What both generations report comes from the same rows.
"""

import copy
import datetime as dt
from typing import Any

from tests.provider_fixture import Answer, Request, Step

ADMIN_KEY = "sk-ant-admin01-PLANTED_secret-0123456789"
DAYS = [dt.date(2026, 10, 1), dt.date(2026, 10, 2), dt.date(2026, 10, 3)]
EXTRACTED_AT = dt.datetime(2026, 11, 5, 3, 7, tzinfo=dt.UTC)
REFRESHED_AT = "2026-11-05T00:00:00Z"

USAGE, COST = "/v1/organizations/analytics/usage", "/v1/organizations/analytics/cost"
LEGACY_USAGE, LEGACY_COST = "/v1/organizations/usage_report/messages", "/v1/organizations/cost_report"
API_KEYS, WORKSPACES = "/v1/organizations/api_keys", "/v1/organizations/workspaces"
USERS, SERVICE_ACCOUNTS = "/v1/organizations/users", "/v1/organizations/service_accounts"

# day, key, workspace, model, tier, context window, uncached, read, 5m, 1h, output
_USED: list[tuple[Any, ...]] = [
    ("2026-10-01", "apikey_01", "wrkspc_01", "claude-sonnet-5", "standard", "0-200k", 1000, 200, 30, 4, 500),
    ("2026-10-01", None, "wrkspc_default", "claude-sonnet-5", "standard", "0-200k", 10, 0, 0, 0, 7),
    ("2026-10-01", "apikey_02", "wrkspc_01", None, None, None, 0, 0, 0, 0, 0),
    ("2026-10-03", "apikey_01", "wrkspc_01", "claude-sonnet-5", "batch", "200k-1M", 9_000_000_000, 1, 0, 0, 3),
]
TOKENS = [9_000_001_010, 201, 30, 4, 510]
CENTS = "41280.123456", "-0.500000", "12.000000", "7.654321"


def _bounds(day: str) -> dict[str, str]:
    end = dt.date.fromisoformat(day) + dt.timedelta(days=1)
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{end}T00:00:00Z"}


def _tokens(used: tuple[Any, ...]) -> dict[str, Any]:
    uncached, read, five, hour, output = used[6:]
    return {
        "uncached_input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": 2},
    }


def _group(used: tuple[Any, ...]) -> dict[str, Any]:
    names = ("api_key_id", "workspace_id", "model", "service_tier", "context_window")
    return dict(zip(names, used[1:6], strict=True))


def items(path: str) -> list[dict[str, Any]]:
    """What a path answers with, as rows (analytics) or daily buckets (legacy)."""
    if path == USAGE:
        return [
            {**_bounds(used[0]), "group": _group(used), "usage": {**_tokens(used), "requests": 3}} for used in _USED
        ]
    if path == COST:
        return [
            {
                **_bounds(used[0]),
                "group": {**_group(used), "cost_type": kind, "token_type": token},
                "cost": {"amount": amount, "list_amount": "99.000000", "currency": "USD", "requests": None},
            }
            for used, amount, (kind, token) in zip(
                _USED,
                CENTS,
                [("tokens", "output_tokens"), ("tokens", "uncached_input_tokens"), ("web_search", None),
                 ("tokens", "output_tokens")],
                strict=True,
            )
        ]  # fmt: skip
    return [{**_bounds(str(day)), "results": _results(path, str(day))} for day in DAYS]


def _results(path: str, day: str) -> list[dict[str, Any]]:
    used = [(row, amount) for row, amount in zip(_USED, CENTS, strict=True) if row[0] == day]
    named = [({**_group(row), "inference_geo": "global"}, row, amount) for row, amount in used]
    for group, _, _ in named:
        group["workspace_id"] = None if group["workspace_id"] == "wrkspc_default" else group["workspace_id"]
    if path == LEGACY_USAGE:
        return [{**group, **_tokens(row), "account_id": None} for group, row, _ in named]
    return [
        {
            **{name: value for name, value in group.items() if name != "api_key_id"},
            "amount": amount,
            "currency": "USD",
            "cost_type": "tokens",
            "token_type": "output_tokens",
            "description": f"Claude Usage {number}",
        }
        for number, (group, _, amount) in enumerate(named)
    ]


def body(path: str) -> dict[str, Any]:
    """The one page of a path, whole."""
    whole = {"data": copy.deepcopy(items(path)), "has_more": False, "next_page": None}
    return whole | ({"data_refreshed_at": REFRESHED_AT} if path in {USAGE, COST} else {})


class Paged:
    """A provider that gives `size` rows or buckets a page, and lets the cursor expire once where it is told to."""

    def __init__(self, size: int, expires_at_page: int = 0) -> None:
        self._size = size
        self._expires_at_page = expires_at_page

    def __call__(self, request: Request) -> Step:
        """Answer a request of a report."""
        number = int((request.param("page") or "page_0").removeprefix("page_"))
        if number and number == self._expires_at_page:
            self._expires_at_page = 0
            return Answer({"type": "error", "error": {"type": "gone", "message": "expired"}}, status=410)
        rows, whole = items(request.path), body(request.path)
        first = number * self._size
        more = first + self._size < len(rows)
        return whole | {
            "data": rows[first : first + self._size],
            "has_more": more,
            "next_page": f"page_{number + 1}" if more else None,
        }


def lists() -> dict[str, list[dict[str, Any]]]:
    """Entries of the four lists."""
    created = {"created_at": "2026-01-01T00:00:00Z"}
    return {
        API_KEYS: [
            {
                "type": "api_key",
                "id": f"apikey_0{number}",
                "name": f"key {number}",
                "partial_key_hint": "sk-ant-api03-R2D...igAA",
                "status": "active",
                "scope": {"type": "workspace", "workspace_id": "wrkspc_01"},
                **created,
            }
            for number in (1, 2, 3)
        ],
        WORKSPACES: [
            {"type": "workspace", "id": "wrkspc_01", "name": "research", "archived_at": None, **created},
            {"type": "workspace", "id": "wrkspc_default", "name": "Default", "archived_at": None, **created},
        ],
        USERS: [{"type": "user", "id": "user_01", "email": "ada@example.com", "name": "Ada", "role": "admin"}],
        SERVICE_ACCOUNTS: [{"type": "service_account", "id": "svac_01", "name": "ci", **created}],
    }


def listed(request: Request, size: int = 1000) -> Step:
    """Answer a request of a list, `size` entries a page: service accounts by token, the others by id."""
    entries = lists()[request.path]
    ids = [entry["id"] for entry in entries]
    if request.path == SERVICE_ACCOUNTS:
        return {"data": entries, "next_page": None}
    after = request.param("after_id")
    first = ids.index(after) + 1 if after else 0
    shown = entries[first : first + size]
    return {
        "data": shown,
        "has_more": first + size < len(entries),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }
