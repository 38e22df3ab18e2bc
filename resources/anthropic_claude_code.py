"""Anthropic's Claude Code analytics: what each actor used on a UTC day, as evidence and never as money (Rule 5.1).

Belongs here: the request, the fields of a record, and the columns of `raw/anthropic_claude_code`. Does not belong here:
transport and paging (`resources.http_source`), what the evidence says (`domain.claude_code`), the reports that carry
dollars (`resources.anthropic`).

These answers name people and count their sessions, lines and commits. So they are not archived, unlike the others: what
is kept is what the rule needs, with the SHA-256 of the e-mail in its place (Rules 12.7, 12.8). The hash is a pseudonym
and no secret: who knows an address can compute it.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from resources.anthropic import LEGACY_DELAY, MOST_ROWS, NAME, VERSION, AnthropicReports
from resources.anthropic_answers import CURRENCY
from resources.anthropic_tables import COUNT, DAY, TEXT
from resources.http_source import HttpSource, Patience, next_page
from resources.json_fields import JsonObject
from resources.lake import Lake, LakeTable, LoadOutcome
from resources.provider_days import ReportDays, Row
from tokengov_pipelines.domain.claude_code import SOURCE_UNIT, hashed_email
from tokengov_pipelines.settings import ANTHROPIC_KEY_VARIABLE

PATH: Final = "/v1/organizations/usage_report/claude_code"

_TOKENS: Final = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_creation_tokens": "cache_creation",
}
"""Columns, and what the API calls them."""

CLAUDE_CODE = LakeTable(
    name="anthropic_claude_code",
    schema=pa.schema(
        [
            ("usage_date", DAY),
            ("account", TEXT),
            ("actor_type", TEXT),
            ("actor_sha256", TEXT),
            ("api_key_name", TEXT),
            ("customer_type", TEXT),
            ("terminal_type", TEXT),
            ("is_remote", pa.bool_()),
            # Two records of one actor may differ in nothing that is kept; a record that comes twice has one digest.
            ("record_sha256", TEXT),
            # Null: sessions without a call of a model.
            ("model", TEXT),
            *((name, COUNT) for name in _TOKENS),
            # Text, because the provider's digits are the evidence; the unit is applied once, in domain.claude_code.
            ("estimated_cost_text", TEXT),
            ("source_unit", TEXT),
        ]
    ),
    sums={
        **{name: f"sum({name})::decimal(38, 0)" for name in _TOKENS},
        "estimated_usd_cents": "sum(try_cast(estimated_cost_text as decimal(38, 12)))",
    },
    may_vanish=False,
)
_UNIQUE: Final = ("record_sha256", "model")
_ACTORS: Final = {"user_actor": "user", "api_actor": "api"}
_CUSTOMERS: Final = ("api", "subscription")


def load_claude_code(
    reports: AnthropicReports, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
) -> Iterator[tuple[dt.date, LoadOutcome]]:
    """Read the analytics into one load a UTC day, in day order; one request asks for one day.

    The API shows what is older than an hour: a day that ends later is provisional, and no proof of nothing.

    Raises:
        SourceError: an answer is refused, incomplete or not as expected (Rule 12.5). Nothing is written of its day.
    """
    source = _source(reports)
    with source.connected() as connection:
        for day in sorted(set(days)):
            what = f"Claude Code analytics of {day}"
            found = ReportDays(CLAUDE_CODE, _UNIQUE, [day], f"{NAME} at {source.place}: {what}")
            found.cover(day)
            params = [("starting_at", day.isoformat()), ("limit", str(MOST_ROWS))]
            for page in connection.pages(PATH, params, what, next_page).pages:
                for record in page.objects("data"):
                    for row in record_rows(record, day, reports.account):
                        found.add(day, row)
            yield from found.commit(lake, extracted_at, known_until=extracted_at - LEGACY_DELAY)


def _source(reports: AnthropicReports) -> HttpSource:
    """The same organisation and key, without the archive of answers."""
    return HttpSource(
        name=NAME,
        base_url=reports.base_url,
        headers={"x-api-key": reports.admin_key, "anthropic-version": VERSION},
        secrets=[reports.admin_key],
        key_variable=ANTHROPIC_KEY_VARIABLE,
        patience=Patience(
            attempts=reports.attempts,
            first_pause_seconds=reports.first_pause_seconds,
            longest_pause_seconds=reports.longest_pause_seconds,
            read_timeout_seconds=reports.read_timeout_seconds,
        ),
    )


def record_rows(record: JsonObject, day: dt.date, account: str) -> Iterator[Row]:
    """A row for each model of a record; one without a model where it has none.

    Raises:
        SourceError: a field is missing, of another type or unit, negative, or of another day.
    """
    whose: dict[str, Any] = {
        "usage_date": record.day("date", [day]),
        "account": account,
        **_actor(record.object("actor")),
        "customer_type": _one_of(record, "customer_type", _CUSTOMERS),
        "terminal_type": record.nullable_text("terminal_type"),
        "is_remote": record.optional_flag("is_remote"),
        "record_sha256": _digest(record),
        "source_unit": SOURCE_UNIT,
    }
    models = record.objects("model_breakdown")
    if not models:
        yield {**whose, "model": None, **dict.fromkeys(_TOKENS, 0), "estimated_cost_text": "0"}
    for model in models:
        tokens = model.object("tokens")
        yield {
            **whose,
            "model": model.text("model"),
            **{column: tokens.count(name) for column, name in _TOKENS.items()},
            "estimated_cost_text": _cents(model.object("estimated_cost")),
        }


def _actor(actor: JsonObject) -> Row:
    """Who it was: a person as the hash of the address, or a key by its name (the API gives no id)."""
    kind = _ACTORS[_one_of(actor, "type", tuple(_ACTORS))]
    if kind == "api":
        return {"actor_type": kind, "actor_sha256": None, "api_key_name": actor.text("api_key_name")}
    email = actor.text("email_address")
    if not email.strip():
        actor.refuse("email_address", "is empty")
    return {"actor_type": kind, "actor_sha256": hashed_email(email), "api_key_name": None}


def _cents(cost: JsonObject) -> str:
    """An estimate in cents. The API gives a number: text would be another unit, as the other reports have it."""
    currency = cost.text("currency")
    if currency != CURRENCY:
        cost.refuse("currency", f"is {currency[:20]!r}, and only {CURRENCY} can be compared")
    amount = cost.amount("amount")
    if isinstance(cost.values["amount"], str):
        cost.refuse("amount", "should be a number of cents and is text, so its unit is not known")
    if amount.startswith("-"):
        cost.refuse("amount", f"is negative: {amount[:20]}")
    return amount


def _one_of(values: JsonObject, name: str, known: Sequence[str]) -> str:
    found = values.text(name)
    if found not in known:
        values.refuse(name, f"is {found[:40]!r} and should be one of {', '.join(known)}")
    return found


def _digest(record: JsonObject) -> str:
    """What tells a record from every other one of its day, whatever the order of its fields."""
    text = json.dumps(record.values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
