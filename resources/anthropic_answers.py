"""Reading Anthropic's answers: rows of both generations of reports, entries of the lists, and how lists are paged.

Belongs here: which field becomes which column, and what makes an answer one that cannot be trusted.
Does not belong here: requests (`resources.anthropic`), columns and groups (`resources.anthropic_tables`), transport.

A field that a report is grouped by has to be there, be it null: null means "no key" or "no model", and a field that was
lost must not pass for that. Fields that are not named here are ignored.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.anthropic_tables import (
    ANALYTICS_GROUPS,
    COST_COMPONENTS,
    LEGACY_COST_GROUPS,
    LEGACY_COST_PARSED,
    LEGACY_USAGE_GROUPS,
)
from resources.http_source import Params
from resources.json_fields import JsonObject

CURRENCY = "USD"
SOURCE_UNIT = "usd_cents"

Row = dict[str, Any]

_NO_GROUP: Mapping[str, None] = dict.fromkeys((*LEGACY_USAGE_GROUPS, "speed"))


@dataclass(frozen=True)
class Asked:
    """What was asked for: the days of a window, the end of the range (exclusive, UTC) and whose report it is."""

    days: Sequence[dt.date]
    ending_at: dt.datetime
    account: str

    def day_of(self, bucket: JsonObject) -> dt.date:
        """The UTC day that a bucket or row covers, whole or up to the end of the range.

        Raises:
            SourceError: it covers something else.
        """
        day = bucket.day("starting_at", self.days)
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
        found = bucket.moment("ending_at")
        if found not in {end, min(end, self.ending_at)}:
            bucket.refuse("ending_at", f"should end the day {day} and is {found.isoformat()}")
        return day


def analytics_usage_rows(page: JsonObject, asked: Asked) -> Iterator[tuple[dt.date, list[Row]]]:
    """Rows of a page of `analytics/usage`, by day; a day without use has no row."""
    for item in page.objects("data"):
        day = asked.day_of(item)
        group = _groups(item.object("group"), ANALYTICS_GROUPS)
        figures = item.object("usage")
        counts = {**_tokens(figures), "requests": figures.nullable_count("requests")}
        yield day, [{**_NO_GROUP, **_whose("analytics", day, asked), **group, **counts}]


def legacy_usage_rows(page: JsonObject, asked: Asked) -> Iterator[tuple[dt.date, list[Row]]]:
    """Rows of a page of `usage_report/messages`, by day; a day without use is an empty bucket."""
    for bucket in page.objects("data"):
        day = asked.day_of(bucket)
        yield (
            day,
            [
                {
                    **_NO_GROUP,
                    **_whose("legacy", day, asked),
                    **_groups(result, LEGACY_USAGE_GROUPS),
                    **_tokens(result),
                    "requests": None,
                }
                for result in bucket.objects("results")
            ],
        )


def analytics_cost_rows(page: JsonObject, asked: Asked) -> Iterator[tuple[dt.date, list[Row]]]:
    """Rows of a page of `analytics/cost`, by day: the components of cost, never their combined total."""
    for item in page.objects("data"):
        day = asked.day_of(item)
        group = item.object("group")
        found = _groups(group, (*ANALYTICS_GROUPS, *COST_COMPONENTS))
        # Without its type a row is the total of the others: counted with them, it doubles the day.
        if group.text("cost_type") == "tokens":
            group.text("token_type")
        cost = item.object("cost")
        money = _money(cost, cost.nullable_amount("list_amount"))
        yield day, [{**_NO_GROUP, **_whose("analytics", day, asked), **found, "description": None, **money}]


def legacy_cost_rows(page: JsonObject, asked: Asked) -> Iterator[tuple[dt.date, list[Row]]]:
    """Rows of a page of `cost_report`, by day. It knows no keys and leaves the Priority Tier out (Rule 0.1 F2, F3)."""
    for bucket in page.objects("data"):
        day = asked.day_of(bucket)
        yield (
            day,
            [
                {
                    **_NO_GROUP,
                    **_whose("legacy", day, asked),
                    **_groups(result, (*LEGACY_COST_GROUPS, *LEGACY_COST_PARSED)),
                    **_money(result, None),
                }
                for result in bucket.objects("results")
            ],
        )


def _whose(report: str, day: dt.date, asked: Asked) -> Row:
    return {"report": report, "usage_date": day, "account": asked.account}


def _groups(values: JsonObject, names: Sequence[str]) -> Row:
    return {name: values.nullable_text(name) for name in names}


def _tokens(values: JsonObject) -> Row:
    creation, tools = values.object("cache_creation"), values.object("server_tool_use")
    return {
        "uncached_input_tokens": values.count("uncached_input_tokens"),
        "cache_read_tokens": values.count("cache_read_input_tokens"),
        "cache_write_5m_tokens": creation.count("ephemeral_5m_input_tokens"),
        "cache_write_1h_tokens": creation.count("ephemeral_1h_input_tokens"),
        "output_tokens": values.count("output_tokens"),
        "web_search_requests": tools.count("web_search_requests"),
    }


def _money(values: JsonObject, list_amount: str | None) -> Row:
    """An amount in fractional cents, as text: "123.45" is 1.2345 USD (Rule 0.1 F1)."""
    currency = values.text("currency")
    if currency != CURRENCY:
        values.refuse("currency", f"is {currency[:20]!r}, and only {CURRENCY} can be booked")
    return {
        "amount_text": values.amount("amount"),
        "list_amount_text": list_amount,
        "source_unit": SOURCE_UNIT,
        "currency": currency,
    }


def api_key_row(entry: JsonObject) -> Row:
    """An API key. Its workspace stands in `workspace_id` or in `scope`, by the version of the endpoint."""
    creator, principal, scope = (entry.optional_object(name) for name in ("created_by", "principal", "scope"))
    own, scoped = entry.optional_text("workspace_id"), scope.optional_text("workspace_id") if scope else None
    if scope is None and "workspace_id" not in entry.values:
        entry.refuse("scope", "is missing, and so is workspace_id")
    if own and scoped and own != scoped:
        entry.refuse("workspace_id", f"is {own[:80]!r} and scope.workspace_id is {scoped[:80]!r}")
    return {
        "id": entry.text("id"),
        "name": entry.text("name"),
        "partial_key_hint": entry.optional_text("partial_key_hint"),
        "status": entry.text("status"),
        # The scope names the default workspace, the older field has null for it.
        "workspace_id": scoped or own,
        "created_by_id": creator.text("id") if creator else None,
        "created_by_type": creator.text("type") if creator else None,
        "principal_id": _principal_id(principal) if principal else None,
        "principal_type": principal.text("type") if principal else None,
        "scope_type": scope.text("type") if scope else None,
        "created_at": entry.text("created_at"),
        "expires_at": entry.optional_text("expires_at"),
    }


def _principal_id(principal: JsonObject) -> str:
    for name in ("user_id", "service_account_id"):
        if principal.has(name):
            return principal.text(name)
    return principal.text("id")


def workspace_row(entry: JsonObject) -> Row:
    """A workspace; archived ones too, because they have a past."""
    return {
        "id": entry.text("id"),
        "name": entry.text("name"),
        "created_at": entry.text("created_at"),
        "archived_at": entry.optional_text("archived_at"),
    }


def user_row(entry: JsonObject) -> Row:
    """A member of the organisation."""
    return {name: entry.text(name) for name in ("id", "email", "name", "role")}


def service_account_row(entry: JsonObject) -> Row:
    """A service account."""
    return {name: entry.text(name) for name in ("id", "name", "created_at")}


def next_in_list(page: JsonObject) -> Params | None:
    """Paging of the lists: by `after_id` and `last_id`; where the list has tokens instead, by `next_page`.

    Raises:
        SourceError: it says neither that it ends nor where it goes on, or would skip entries.
    """
    if "next_page" in page.values and "has_more" not in page.values:
        cursor = page.nullable_text("next_page")
        return [("page", cursor)] if cursor else None
    if not page.flag("has_more"):
        return None
    last, entries = page.text("last_id"), page.objects("data")
    if not entries:
        page.refuse("has_more", "is true on a page without entries")
    if last != entries[-1].text("id"):
        page.refuse("last_id", f"is not the last entry's id: {last[:80]!r}")
    return [("after_id", last)]
