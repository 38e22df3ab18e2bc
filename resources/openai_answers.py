"""OpenAI's answers: what a page, a bucket and a row have to look like, and the rows of our tables that they become.

Belongs here: pure functions over one answer. Does not belong here: requests (`resources.openai`), the tables' columns
(`resources.openai_tables`), what an amount means for money (`dbt_project`).
"""

import datetime as dt
from collections.abc import Sequence

from resources.http_source import Params
from resources.json_fields import JsonObject
from resources.openai_tables import COST_GROUP, DIMENSIONS, USAGE, UsageKind
from resources.provider_days import Row
from tokengov_pipelines.domain.day_state import end_of


def next_after(page: JsonObject) -> Params | None:
    """Paging of the lists: `has_more`, and the page's last id sent back as `after`."""
    return [("after", page.text("last_id"))] if page.flag("has_more") else None


def daily_results(
    pages: Sequence[JsonObject], window: Sequence[dt.date]
) -> tuple[list[tuple[dt.date, JsonObject]], dt.datetime | None]:
    """The rows of a report's pages with their UTC day, and the moment that the figures end at before the window does.

    A bucket without rows is a proven zero; a day without a bucket is an error. OpenAI cuts the bucket of a running day
    off at the present: only the last day may end early.

    Raises:
        SourceError: a bucket is missing, lies outside the window, or is not a whole day.
    """
    rows: list[tuple[dt.date, JsonObject]] = []
    covered: set[dt.date] = set()
    until: dt.datetime | None = None
    for page in pages:
        for bucket in page.objects("data"):
            day, end = bucket.epoch_day("start_time", window), bucket.epoch("end_time")
            if end != end_of(day):
                if day != window[-1] or not end_of(day) - dt.timedelta(days=1) < end < end_of(day):
                    bucket.refuse("end_time", f"should end the UTC day {day} and is {end.isoformat()}")
                until = end
            covered.add(day)
            rows += [(day, result) for result in bucket.objects("results")]
    missing = [str(day) for day in window if day not in covered]
    if missing:
        pages[-1].refuse("data", f"holds no bucket for {', '.join(missing[:5])}{' and more' if missing[5:] else ''}")
    return rows, until


def usage_row(kind: UsageKind, result: JsonObject, day: dt.date, account: str) -> Row:
    """A row of `openai_usage`. Counts that older rows lack stay null; so do dimensions that the kind has not."""
    _is_a(result, *(f"organization.usage.{name}.result" for name in kind.results))
    row: Row = dict.fromkeys(USAGE.schema.names)
    row |= {"kind": kind.name, "usage_date": day, "account": account}
    for name in kind.group_by:
        row[DIMENSIONS[name]] = result.optional_flag(name) if name == "batch" else result.optional_text(name)
    row |= {column: result.count(name) for column, name in kind.required.items()}
    row |= {column: result.optional_count(name) for column, name in kind.optional.items()}
    return row


def cost_row(result: JsonObject, day: dt.date, account: str) -> Row:
    """A row of `openai_cost`: the amount in dollars, digit for digit, whether it came as a number or as text."""
    _is_a(result, "organization.costs.result")
    amount = result.object("amount")
    value, currency = amount.amount("value"), amount.text("currency")
    if currency.upper() != "USD":
        amount.refuse("currency", f"should be usd and is {currency[:20]!r}")
    return {
        "usage_date": day,
        "account": account,
        **{name: result.optional_text(name) for name in COST_GROUP},
        "amount_text": value,
        "source_unit": "usd",
        "currency": "USD",
        "quantity_text": result.optional_amount("quantity"),
        "quantity_unit": result.optional_text("quantity_unit"),
    }


def project_row(project: JsonObject) -> Row:
    """A row of `openai_projects`."""
    return {
        "id": project.text("id"),
        "name": project.optional_text("name"),
        "status": project.optional_text("status"),
        "created_at": _when(project, "created_at"),
        "archived_at": _when(project, "archived_at"),
    }


def api_key_row(key: JsonObject, project_id: str) -> Row:
    """A row of `openai_project_api_keys`; the owner is a user, a service account, or gone."""
    owner = key.optional_object("owner")
    user = owner.optional_object("user") if owner else None
    holder = user or (owner.optional_object("service_account") if owner else None)
    return {
        "project_id": project_id,
        "id": key.text("id"),
        "name": key.optional_text("name"),
        "redacted_value": key.text("redacted_value"),
        "owner_type": owner.optional_text("type") if owner else None,
        "owner_id": holder.text("id") if holder else None,
        "owner_email": user.optional_text("email") if user else None,
        "created_at": _when(key, "created_at"),
        "last_used_at": _when(key, "last_used_at"),
    }


def user_row(user: JsonObject) -> Row:
    """A row of `openai_users`."""
    return {"id": user.text("id"), **{name: user.optional_text(name) for name in ("email", "name", "role")}}


def service_account_row(account: JsonObject, project_id: str) -> Row:
    """A row of `openai_service_accounts`."""
    return {
        "project_id": project_id,
        "id": account.text("id"),
        "name": account.optional_text("name"),
        "role": account.optional_text("role"),
        "created_at": _when(account, "created_at"),
    }


def _is_a(result: JsonObject, *names: str) -> None:
    if result.has("object") and result.text("object") not in names:
        result.refuse("object", f"should be {names[0]} and is {result.text('object')[:80]!r}")


def _when(entry: JsonObject, name: str) -> str | None:
    """Unix seconds as RFC 3339 text."""
    return entry.epoch(name).strftime("%Y-%m-%dT%H:%M:%SZ") if entry.has(name) else None
