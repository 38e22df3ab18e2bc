"""Reading Anthropic's answers: the documented bodies, null as a value, and what cannot be trusted."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from resources.anthropic_answers import (
    Asked,
    analytics_cost_rows,
    analytics_usage_rows,
    api_key_row,
    legacy_cost_rows,
    legacy_usage_rows,
    next_in_list,
    service_account_row,
    user_row,
    workspace_row,
)
from resources.anthropic_tables import ANTHROPIC_SNAPSHOTS, COST, USAGE
from resources.json_fields import JsonObject, parse_json
from resources.source_error import SourceError

ANALYTICS_DAY = dt.date(2026, 10, 1)
LEGACY_DAY = dt.date(2025, 8, 1)

# The bodies of the documentation. The legacy one names a model that its description contradicts; both are kept.
ANALYTICS_COST = """{"data":[{"starting_at":"2026-10-01T00:00:00Z","ending_at":"2026-10-02T00:00:00Z",
 "group":{"workspace_id":"wrkspc_01","api_key_id":"apikey_01","model":"claude-sonnet-5","service_tier":"standard",
 "context_window":"0-200k","cost_type":"tokens","token_type":"output_tokens","actor":null,"speed":null},
 "cost":{"amount":"41280.000000","list_amount":"51600.000000","currency":"USD","requests":null}}],
 "has_more":false,"next_page":null,"data_refreshed_at":"2026-11-23T00:00:00Z"}"""
ANALYTICS_USAGE = """{"data":[{"starting_at":"2026-10-01T00:00:00Z","ending_at":"2026-10-02T00:00:00Z",
 "group":{"workspace_id":"wrkspc_01","api_key_id":null,"model":null,"service_tier":null,"context_window":null},
 "usage":{"uncached_input_tokens":1500,"cache_read_input_tokens":200,"cache_creation":{"ephemeral_1h_input_tokens":1000,
 "ephemeral_5m_input_tokens":500},"output_tokens":500,"server_tool_use":{"web_search_requests":10},"total_tokens":3700,
 "requests":128}}],"has_more":false,"next_page":null,"data_refreshed_at":null}"""
LEGACY_COST = """{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[
 {"amount":"123.78912","context_window":"0-200k","cost_type":"tokens","currency":"USD",
 "description":"Claude Sonnet 4 Usage - Input Tokens","inference_geo":"global","model":"claude-opus-4-6",
 "service_tier":"standard","token_type":"uncached_input_tokens","workspace_id":"wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ"}]}],
 "has_more":true,"next_page":"page_MjAyNS0wNS0xNFQwMDowMDowMFo="}"""
LEGACY_USAGE = """{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[
 {"account_id":"user_01WCz1FkmYMm4gnmykNKUu3Q","api_key_id":"apikey_01Rj2N8SVvo6BePZj99NhmiT",
 "cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,
 "context_window":"0-200k","inference_geo":"global","model":"claude-opus-4-6","output_tokens":500,
 "server_tool_use":{"web_search_requests":10},"service_account_id":"svac_01Hk3R9TWxq7CfQak00OiVw4",
 "service_tier":"standard","uncached_input_tokens":1500,"workspace_id":"wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ"}]}],
 "has_more":true,"next_page":"page_MjAyNS0wNS0xNFQwMDowMDowMFo="}"""


def asked(day: dt.date, ending_at: dt.datetime | None = None) -> Asked:
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    return Asked([day], ending_at or end, "acme")


def page(text: str) -> JsonObject:
    return JsonObject(parse_json(text.encode()), "Anthropic at host: report")


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


def changed(text: str, old: str, new: str) -> JsonObject:
    assert text.count(old) == 1, old
    return page(text.replace(old, new))


def test_the_documented_cost_analytics_body() -> None:
    ((day, (row,)),) = analytics_cost_rows(page(ANALYTICS_COST), asked(ANALYTICS_DAY))
    assert day == ANALYTICS_DAY
    assert row == {
        "report": "analytics",
        "usage_date": ANALYTICS_DAY,
        "account": "acme",
        "api_key_id": "apikey_01",
        "workspace_id": "wrkspc_01",
        "model": "claude-sonnet-5",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": None,
        "speed": None,
        "cost_type": "tokens",
        "token_type": "output_tokens",
        "description": None,
        "amount_text": "41280.000000",
        "list_amount_text": "51600.000000",
        "source_unit": "usd_cents",
        "currency": "USD",
    }


def test_the_documented_usage_analytics_body_with_null_as_a_value() -> None:
    ((_, (row,)),) = analytics_usage_rows(page(ANALYTICS_USAGE), asked(ANALYTICS_DAY))
    assert (row["workspace_id"], row["api_key_id"], row["model"], row["service_tier"]) == (
        "wrkspc_01",
        None,
        None,
        None,
    )
    assert [row[name] for name in USAGE.schema.names[-7:]] == [1500, 200, 500, 1000, 500, 10, 128]


def test_the_documented_legacy_bodies() -> None:
    ((_, (cost,)),) = legacy_cost_rows(page(LEGACY_COST), asked(LEGACY_DAY))
    assert (cost["amount_text"], cost["list_amount_text"], cost["source_unit"]) == ("123.78912", None, "usd_cents")
    assert (cost["description"], cost["api_key_id"]) == ("Claude Sonnet 4 Usage - Input Tokens", None)
    ((_, (usage,)),) = legacy_usage_rows(page(LEGACY_USAGE), asked(LEGACY_DAY))
    assert usage["api_key_id"] == "apikey_01Rj2N8SVvo6BePZj99NhmiT"
    assert [usage[name] for name in USAGE.schema.names[-7:]] == [1500, 200, 500, 1000, 500, 10, None]
    assert set(cost) == set(COST.schema.names)
    assert set(usage) == set(USAGE.schema.names)


def test_a_day_without_use_is_an_empty_bucket_of_the_legacy_reports() -> None:
    empty = '{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[]}]}'
    assert list(legacy_usage_rows(page(empty), asked(LEGACY_DAY))) == [(LEGACY_DAY, [])]
    assert list(legacy_cost_rows(page(empty), asked(LEGACY_DAY))) == [(LEGACY_DAY, [])]


def test_fields_that_nobody_asked_for_are_passed_over() -> None:
    more = changed(ANALYTICS_COST, '"actor":null', '"actor":{"type":"user_actor"},"new_dimension":7')
    assert list(analytics_cost_rows(more, asked(ANALYTICS_DAY))) == list(
        analytics_cost_rows(page(ANALYTICS_COST), asked(ANALYTICS_DAY))
    )


@pytest.mark.parametrize("end", ["2026-10-02T00:00:00Z", "2026-10-01T15:00:00Z"])
def test_the_running_day_ends_with_itself_or_with_the_range(end: str) -> None:
    ending_at = dt.datetime(2026, 10, 1, 15, tzinfo=dt.UTC)
    body = changed(ANALYTICS_COST, '"ending_at":"2026-10-02T00:00:00Z"', f'"ending_at":"{end}"')
    assert len(list(analytics_cost_rows(body, asked(ANALYTICS_DAY, ending_at)))) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"api_key_id":"apikey_01",', "", "data[0].group.api_key_id is missing"),
        ('"cost_type":"tokens"', '"cost_type":null', "data[0].group.cost_type is null"),
        ('"token_type":"output_tokens"', '"token_type":null', "data[0].group.token_type is null"),
        ('"currency":"USD"', '"currency":"EUR"', "data[0].cost.currency is 'EUR', and only USD can be booked"),
        ('"amount":"41280.000000"', '"amount":null', "data[0].cost.amount is null"),
        ('"list_amount":"51600.000000",', "", "data[0].cost.list_amount is missing"),
        (
            '"ending_at":"2026-10-02T00:00:00Z"',
            '"ending_at":"2026-10-03T00:00:00Z"',
            "data[0].ending_at should end the day 2026-10-01 and is 2026-10-03T00:00:00+00:00",
        ),
        (
            '"starting_at":"2026-10-01T00:00:00Z"',
            '"starting_at":"2026-10-02T00:00:00Z"',
            "data[0].starting_at lies outside the window: 2026-10-02",
        ),
    ],
)
def test_a_cost_that_cannot_be_booked_is_refused(old: str, new: str, words: str) -> None:
    body = changed(ANALYTICS_COST, old, new)
    said = refusal(lambda: list(analytics_cost_rows(body, asked(ANALYTICS_DAY))))
    assert said.startswith(f"Anthropic at host: report: {words}. Fix: ")


def test_no_rows_come_without_a_token_type_of_tokens_only() -> None:
    search = changed(ANALYTICS_COST, '"cost_type":"tokens","token_type":"output_tokens"',
                     '"cost_type":"web_search","token_type":null')  # fmt: skip
    ((_, (row,)),) = analytics_cost_rows(search, asked(ANALYTICS_DAY))
    assert (row["cost_type"], row["token_type"]) == ("web_search", None)


# --- lists -----------------------------------------------------------------------------------------------------------

KEY = {
    "id": "apikey_01",
    "type": "api_key",
    "name": "proxy",
    "partial_key_hint": "sk-ant-api03-R2D...igAA",
    "status": "active",
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": None,
    "created_by": {"id": "user_01", "type": "user"},
    "principal": {"type": "service_account_actor", "service_account_id": "svac_01"},
    "scope": {"type": "workspace", "workspace_id": "wrkspc_01"},
}


def entry(**changes: Any) -> JsonObject:
    """A key with other fields; `...` takes a field away."""
    values = {name: value for name, value in (KEY | changes).items() if value is not ...}
    return page(json.dumps(values))


def test_a_key_of_today() -> None:
    assert api_key_row(entry()) == {
        "id": "apikey_01",
        "name": "proxy",
        "partial_key_hint": "sk-ant-api03-R2D...igAA",
        "status": "active",
        "workspace_id": "wrkspc_01",
        "created_by_id": "user_01",
        "created_by_type": "user",
        "principal_id": "svac_01",
        "principal_type": "service_account_actor",
        "scope_type": "workspace",
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": None,
    }


@pytest.mark.parametrize(
    ("changes", "workspace", "scope_type"),
    [
        ({"scope": ..., "workspace_id": "wrkspc_02", "principal": ..., "expires_at": ...}, "wrkspc_02", None),
        ({"scope": ..., "workspace_id": None}, None, None),
        ({"workspace_id": None}, "wrkspc_01", "workspace"),
        ({"workspace_id": "wrkspc_01"}, "wrkspc_01", "workspace"),
        ({"scope": {"type": "organization"}}, None, "organization"),
    ],
)
def test_the_workspace_of_a_key_stands_in_either_place(
    changes: dict[str, Any], workspace: str | None, scope_type: str | None
) -> None:
    row = api_key_row(entry(**changes))
    assert (row["workspace_id"], row["scope_type"]) == (workspace, scope_type)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scope": ...}, "scope is missing, and so is workspace_id"),
        ({"workspace_id": "wrkspc_02"}, "workspace_id is 'wrkspc_02' and scope.workspace_id is 'wrkspc_01'"),
        ({"id": ...}, "id is missing"),
        ({"status": None}, "status is null"),
        ({"created_by": {"type": "user"}}, "created_by.id is missing"),
        ({"principal": {"type": "user_actor"}}, "principal.id is missing"),
        ({"principal": "user_01"}, "principal should be an object and is text"),
    ],
)
def test_a_key_that_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    assert f": report: {words}. Fix: " in refusal(lambda: api_key_row(entry(**changes)))


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ({"type": "user_actor", "user_id": "user_01"}, "user_01"),
        ({"type": "user", "id": "user_02"}, "user_02"),
        (None, None),
    ],
)
def test_the_principal_of_a_key(principal: dict[str, str] | None, expected: str | None) -> None:
    assert api_key_row(entry(principal=principal, created_by=None))["principal_id"] == expected


def test_the_other_lists() -> None:
    created = "2026-01-01T00:00:00Z"
    rows = {
        "anthropic_workspaces": workspace_row(entry(archived_at="2026-05-01T00:00:00Z")),
        "anthropic_users": user_row(entry(email="ada@example.com", role="developer")),
        "anthropic_service_accounts": service_account_row(entry()),
        "anthropic_api_keys": api_key_row(entry()),
    }
    assert rows["anthropic_workspaces"]["archived_at"] == "2026-05-01T00:00:00Z"
    assert rows["anthropic_users"]["email"] == "ada@example.com"
    assert rows["anthropic_service_accounts"] == {"id": "apikey_01", "name": "proxy", "created_at": created}
    assert {name: {"observed_date", "account", *row} for name, row in rows.items()} == {
        name: set(table.schema.names) for name, table in ANTHROPIC_SNAPSHOTS.items()
    }


@pytest.mark.parametrize(
    ("body", "following"),
    [
        ('{"data":[{"id":"a"},{"id":"b"}],"has_more":true,"first_id":"a","last_id":"b"}', [("after_id", "b")]),
        ('{"data":[{"id":"a"}],"has_more":false,"first_id":"a","last_id":"a"}', None),
        ('{"data":[],"has_more":false,"first_id":null,"last_id":null}', None),
        ('{"data":[{"id":"a"}],"next_page":"page_2"}', [("page", "page_2")]),
        ('{"data":[{"id":"a"}],"next_page":null}', None),
    ],
)
def test_lists_go_on_by_id_or_by_token(body: str, following: list[tuple[str, str]] | None) -> None:
    assert next_in_list(page(body)) == following


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"data":[{"id":"a"}]}', "has_more is missing"),
        ('{"data":[{"id":"a"}],"has_more":true,"last_id":null}', "last_id is null"),
        ('{"data":[],"has_more":true,"last_id":"a"}', "has_more is true on a page without entries"),
        ('{"data":[{"id":"a"}],"has_more":true,"last_id":"z"}', "last_id is not the last entry's id: 'z'"),
    ],
)
def test_a_list_that_may_lack_entries_is_refused(body: str, words: str) -> None:
    assert f": report: {words}. Fix: " in refusal(lambda: next_in_list(page(body)))
