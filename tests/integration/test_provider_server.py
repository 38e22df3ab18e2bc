"""The local provider server over HTTP: pages, both generations of reports, credentials, limits, every planted fault."""

import json
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tokengov_pipelines.demo.provider_books import PROVIDER_BOOKS_FILE
from tokengov_pipelines.demo.providers.books import (
    ApiKey,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)
from tokengov_pipelines.demo.providers.demo import demo_providers
from tokengov_pipelines.demo.providers.faults import (
    SPEND_CAP,
    ClosedConnection,
    Delay,
    Fault,
    MissingBucket,
    NotJson,
    OtherBooks,
    RepeatedPage,
    Status,
    Truncated,
)
from tokengov_pipelines.demo.providers.server import ProviderServer, ProviderServerError
from tokengov_pipelines.demo.seed import seed_demo

ANTHROPIC_KEY, OAUTH_TOKEN, OPENAI_KEY = "sk-ant-admin01-test", "oauth-test", "sk-admin-test"
BETA = "analytics-usage-cost-2026-08-24"
A_HEADERS = {"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01", "anthropic-beta": BETA}
O_HEADERS = {"authorization": f"Bearer {OPENAI_KEY}"}

USAGE, COST = "/anthropic/v1/organizations/analytics/usage", "/anthropic/v1/organizations/analytics/cost"
MESSAGES = "/anthropic/v1/organizations/usage_report/messages"
COST_REPORT = "/anthropic/v1/organizations/cost_report"
COSTS, COMPLETIONS = "/openai/v1/organization/costs", "/openai/v1/organization/usage/completions"

FIRST, DAYS = date(2026, 10, 1), 10
REFRESHED = datetime(2026, 10, 12, 4, tzinfo=UTC)
OCTOBER = {"starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-10-11T00:00:00Z"}
ANALYTICS = {**OCTOBER, "time_bucket_width": "1d"}
UNIX = {"start_time": 1790812800, "end_time": 1791676800}
ALL_USAGE = ["api_key_id", "workspace_id", "model", "service_tier", "inference_geo"]

Params = dict[str, Any]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _anthropic_cells(day: date, number: int) -> tuple[list[UsageCell], list[CostCell]]:
    usage, costs = [], []
    band = {"context_window": "0-200k", "inference_geo": "global", "speed": "standard"}
    for at, (key, workspace) in enumerate((("apikey_01A", "wrkspc_01P"), ("apikey_01B", "wrkspc_default"),
                                           (None, "wrkspc_default"))):  # fmt: skip
        for model, tier in (("claude-sonnet-5", "standard"), ("claude-haiku-4-5", "batch")):
            n = 1000 * number + 100 * at + (7 if tier == "batch" else 3)
            cell = UsageCell(day, "anthropic", "acme", key, workspace, model, tier, **band, uncached_input=n,
                             cache_read=2 * n, cache_write_5m=n // 2, cache_write_1h=n // 3, output=5 * n,
                             requests=at + 1, web_searches=at)  # fmt: skip
            usage.append(cell)
            for token_type in ("uncached_input", "cache_read", "output"):
                amount = Decimal(getattr(cell, token_type)) * Decimal("0.00000333")
                costs.append(CostCell(day, "anthropic", "acme", key, workspace, model, f"{model} {token_type}", amount,
                                      amount * 2, token_type=token_type, service_tier=tier, **band))  # fmt: skip
        search = Decimal(at) / 100
        costs.append(CostCell(day, "anthropic", "acme", key, workspace, None, "Web Search Usage", search, search,
                              cost_type="web_search", service_tier=None))  # fmt: skip
    costs.append(CostCell(day, "anthropic", "acme", "apikey_01A", "wrkspc_01P", "claude-sonnet-5", "Priority Tier",
                          Decimal(1), Decimal(1), token_type="output", service_tier="priority", **band))  # fmt: skip
    return usage, costs


def _openai_cells(day: date, number: int) -> tuple[list[UsageCell], list[CostCell]]:
    usage, costs = [], []
    for key, project in (("key_a", "proj_a"), (None, "proj_b")):
        for tier in ("standard", "batch"):
            cell = UsageCell(day, "openai", "acme", key, project, "gpt-5.5", tier, uncached_input=100 * number + 1,
                             cache_read=40, output=7, requests=2)  # fmt: skip
            usage.append(cell)
            amount = Decimal(cell.uncached_input) * Decimal("0.00000512345678")
            costs.append(CostCell(day, "openai", "acme", key, project, "gpt-5.5", "gpt-5.5, input", amount, amount,
                                  token_type="uncached_input", service_tier=tier, quantity=Decimal(cell.uncached_input),
                                  quantity_unit="tokens"))  # fmt: skip
    usage.append(UsageCell(day, "openai", "acme", "key_a", "proj_a", "text-embedding-4", kind="embeddings",
                           uncached_input=11, requests=1))  # fmt: skip
    return usage, costs


@pytest.fixture(scope="module")
def books() -> ProviderBooks:
    usage: list[UsageCell] = []
    costs: list[CostCell] = []
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        if number == 4:
            continue  # a day without any use
        for cells in (_anthropic_cells, _openai_cells):
            more_usage, more_costs = cells(day, number)
            usage += more_usage
            costs += more_costs
    created = _midnight(date(2026, 1, 1))
    keys = [ApiKey("anthropic", f"apikey_01{n}", f"key {n}", "sk-ant-...AA", "wrkspc_01P" if n == "A" else
                   "wrkspc_default", created, created_by="user_01X") for n in "ABCDE"]  # fmt: skip
    keys += [
        ApiKey("openai", "key_a", "a", "sk-...aa", "proj_a", created, owner_type="user", owner_id="user-x"),
        ApiKey("openai", "key_left", "b", "sk-...bb", "proj_a", created, owner_type="user", owner_id="user-x",
               owner_has_access=False),
        ApiKey("openai", "key_svc", "c", "sk-...cc", "proj_a", created, owner_type="service_account", owner_id="sa_1",
               last_used_at=REFRESHED),
    ]  # fmt: skip
    return ProviderBooks(
        usage=tuple(usage),
        costs=tuple(costs),
        keys=tuple(keys),
        workspaces=(
            Workspace("anthropic", "wrkspc_default", "Default", created, is_default=True),
            Workspace("anthropic", "wrkspc_01P", "proxy", created),
            Workspace("anthropic", "wrkspc_01Old", "old", created, archived_at=REFRESHED),
            Workspace("openai", "proj_a", "a", created),
            Workspace("openai", "proj_b", "b", created),
        ),
        users=(
            User("anthropic", "user_01X", "x@example.com", "X", "admin", created),
            User("openai", "user-x", "x@example.com", "X", "owner", created),
        ),
        service_accounts=(
            ServiceAccount("anthropic", "svac_01", "old", "developer", created),
            ServiceAccount("anthropic", "svac_02", "new", "developer", REFRESHED),
            ServiceAccount("openai", "sa_1", "bot", "member", created, "proj_a"),
        ),
        refreshed_at=REFRESHED,
    )


@contextmanager
def serving(books: ProviderBooks, **options: Any) -> Iterator[tuple[ProviderServer, httpx.Client]]:
    with (
        ProviderServer(books, anthropic_token=OAUTH_TOKEN, **options) as server,
        httpx.Client(base_url=server.url, timeout=10) as client,
    ):
        yield server, client


@pytest.fixture(scope="module")
def client(books: ProviderBooks) -> Iterator[httpx.Client]:
    with serving(books) as (_, client):
        yield client


def get(client: httpx.Client, path: str, params: Params, headers: dict[str, str] | None = None) -> httpx.Response:
    return client.get(path, params=params, headers=headers or (A_HEADERS if "/anthropic/" in path else O_HEADERS))


def read(client: httpx.Client, path: str, params: Params, headers: dict[str, str] | None = None) -> Any:
    response = get(client, path, params, headers)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


def pages(client: httpx.Client, path: str, params: Params) -> Iterator[Any]:
    """All pages of a report."""
    answer = read(client, path, params)
    yield answer
    while answer["next_page"] is not None:
        answer = read(client, path, {**params, "page": answer["next_page"]})
        yield answer


def rows(client: httpx.Client, path: str, params: Params) -> list[Any]:
    return [row for page in pages(client, path, params) for row in page["data"]]


def results(buckets: list[Any]) -> list[Any]:
    return [result for bucket in buckets for result in bucket["results"]]


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "params", "most"),
    [
        (USAGE, {**ANALYTICS, "group_by[]": ALL_USAGE}, 1000),
        (COST, {**ANALYTICS, "group_by[]": [*ALL_USAGE, "cost_type", "token_type"]}, 1000),
        (MESSAGES, {**OCTOBER, "bucket_width": "1d", "group_by[]": ["api_key_id", "model"]}, 31),
        (COST_REPORT, {**OCTOBER, "group_by[]": ["workspace_id", "description"]}, 31),
        (COSTS, {**UNIX, "group_by": ["project_id", "api_key_id", "line_item"]}, 180),
        (COMPLETIONS, {**UNIX, "group_by": ["project_id", "api_key_id", "model", "batch"]}, 31),
    ],
)
def test_pages_of_one_and_of_a_thousand_hold_the_same_rows(
    books: ProviderBooks, client: httpx.Client, path: str, params: Params, most: int
) -> None:
    whole = list(pages(client, path, {**params, "limit": most}))
    assert len(whole) == 1
    small = list(pages(client, path, {**params, "limit": 1}))
    assert len(small) >= DAYS
    assert [row for page in small for row in page["data"]] == whole[0]["data"]
    assert [page["has_more"] for page in small] == [True] * (len(small) - 1) + [False]
    with serving(books, page_limit=1) as (_, other):
        assert rows(other, path, {**params, "limit": most}) == whole[0]["data"]


def test_rows_of_one_group_stay_together_and_count_as_one(client: httpx.Client) -> None:
    params = {**ANALYTICS, "group_by[]": ["model", "cost_type", "token_type"], "limit": 1}
    first = read(client, COST, params)["data"]
    assert [row["group"]["cost_type"] for row in first] == ["web_search"]
    second = next(page for number, page in enumerate(pages(client, COST, params)) if number == 1)["data"]
    assert {row["group"]["model"] for row in second} == {"claude-haiku-4-5"}
    assert len(second) == 3


def test_lists_are_paged_by_id(books: ProviderBooks) -> None:
    for limit, page_limit in ((2, None), (100, 2)):
        with serving(books, page_limit=page_limit) as (_, client):
            path, found, after = "/anthropic/v1/organizations/api_keys", [], {}
            while True:
                page = read(client, path, {"limit": limit, **after})
                found += [key["id"] for key in page["data"]]
                assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
                if not page["has_more"]:
                    break
                after = {"after_id": page["last_id"]}
            assert found == ["apikey_01A", "apikey_01B", "apikey_01C", "apikey_01D", "apikey_01E"]


# --- what the reports say ----------------------------------------------------------------------------


def test_both_generations_agree_on_every_token_and_cent(books: ProviderBooks, client: httpx.Client) -> None:
    def tokens(figures: Any) -> Counter[str]:
        return Counter(
            uncached=figures["uncached_input_tokens"],
            read=figures["cache_read_input_tokens"],
            w5=figures["cache_creation"]["ephemeral_5m_input_tokens"],
            w1=figures["cache_creation"]["ephemeral_1h_input_tokens"],
            output=figures["output_tokens"],
            searches=figures["server_tool_use"]["web_search_requests"],
        )

    new: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rows(client, USAGE, {**ANALYTICS, "group_by[]": ["api_key_id", "model"]}):
        new[row["starting_at"], row["group"]["api_key_id"], row["group"]["model"]] = tokens(row["usage"])
    old: dict[tuple[Any, ...], Counter[str]] = {}
    for bucket in rows(client, MESSAGES, {**OCTOBER, "group_by[]": ["api_key_id", "model"]}):
        for result in bucket["results"]:
            old[bucket["starting_at"], result["api_key_id"], result["model"]] = tokens(result)
    assert new == old
    total = sum(new.values(), Counter())
    anthropic = books.of("anthropic")
    assert total["output"] == sum(cell.output for cell in anthropic.usage)

    cents = sum(Decimal(row["cost"]["amount"]) for row in rows(client, COST, ANALYTICS))
    assert cents == sum(cell.amount for cell in anthropic.costs) * 100
    legacy = sum(Decimal(row["amount"]) for row in results(rows(client, COST_REPORT, OCTOBER)))
    assert legacy == cents - (DAYS - 1) * 100  # the older report leaves the Priority Tier out: 1.00 a day


def test_the_analytics_shapes(client: httpx.Client) -> None:
    page = read(client, USAGE, {**ANALYTICS, "group_by[]": ["api_key_id", "workspace_id", "model"], "limit": 2})
    assert (page["has_more"], page["data_refreshed_at"]) == (True, "2026-10-12T04:00:00Z")
    row = page["data"][1]
    assert (row["starting_at"], row["ending_at"]) == ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z")
    assert {name: value for name, value in row["group"].items() if value is not None} == {
        "workspace_id": "wrkspc_default",  # the real id, and no key: used in the Console
        "model": "claude-sonnet-5",
    }
    assert {"actor", "product", "service_tier", "speed"} <= set(row["group"])
    assert row["usage"] == {
        "uncached_input_tokens": 203,
        "cache_read_input_tokens": 406,
        "cache_creation": {"ephemeral_5m_input_tokens": 101, "ephemeral_1h_input_tokens": 67},
        "output_tokens": 1015,
        "server_tool_use": {"web_search_requests": 2},
        "total_tokens": 1792,
        "requests": 3,
    }
    costs = rows(client, COST, {**ANALYTICS, "group_by[]": ["api_key_id", "model", "cost_type", "token_type"]})
    amounts = {(row["group"]["api_key_id"], row["group"]["token_type"]): row["cost"] for row in costs[:9]}
    assert amounts[None, "output_tokens"] == {
        "amount": "0.337995",
        "list_amount": "0.675990",
        "currency": "USD",
        "requests": None,
    }
    assert amounts[None, None]["amount"] == "2.000000"
    assert read(client, COST, {**ANALYTICS, "group_by[]": "api_key_id"})["data"][0]["cost"]["requests"] == 6


def test_without_a_bucket_width_a_row_covers_the_whole_range(client: httpx.Client) -> None:
    (row,) = rows(client, USAGE, OCTOBER)
    assert (row["starting_at"], row["ending_at"]) == (OCTOBER["starting_at"], OCTOBER["ending_at"])
    daily = rows(client, USAGE, ANALYTICS)
    assert row["usage"]["total_tokens"] == sum(day["usage"]["total_tokens"] for day in daily)
    assert len(daily) == DAYS - 1


def test_the_older_reports_have_empty_buckets_and_no_default_workspace(client: httpx.Client) -> None:
    buckets = rows(client, COST_REPORT, {**OCTOBER, "group_by[]": ["workspace_id", "description"]})
    assert [bucket["starting_at"][:10] for bucket in buckets] == [f"2026-10-{day:02}" for day in range(1, 11)]
    assert buckets[4]["results"] == []
    assert {result["workspace_id"] for result in results(buckets)} == {None, "wrkspc_01P"}
    token = next(result for result in buckets[0]["results"] if result["token_type"] == "output_tokens")
    assert set(token) == {"currency", "amount", "workspace_id", "description", "model", "service_tier",
                          "context_window", "inference_geo", "cost_type", "token_type"}  # fmt: skip
    assert "api_key_id" not in token
    first = read(client, MESSAGES, OCTOBER)
    assert (len(first["data"]), first["next_page"]) == (7, "page_MjAyNi0xMC0wOFQwMDowMDowMFo=")
    assert get(client, COST_REPORT, {**OCTOBER, "group_by[]": "api_key_id"}).status_code == 400


def test_openais_amounts_are_exact_as_number_and_as_text(books: ProviderBooks, client: httpx.Client) -> None:
    params = {**UNIX, "group_by": ["project_id", "api_key_id", "line_item"], "limit": 180}
    (page,) = pages(client, COSTS, params)
    exact = sum(cell.amount for cell in books.of("openai").costs)
    assert sum(result["amount"]["value"] for result in results(page["data"])) == exact
    first = page["data"][0]
    assert (page["object"], first["object"], first["start_time"], first["end_time"]) == (
        "page", "bucket", 1790812800, 1790899200)  # fmt: skip
    assert first["results"][0] == {
        "object": "organization.costs.result",
        "amount": {"value": Decimal("0.00001024691356"), "currency": "usd"},
        "line_item": "gpt-5.5, input",
        "project_id": "proj_a",
        "api_key_id": "key_a",
        "quantity": 2,
        "quantity_unit": "tokens",
    }
    with serving(books, amounts="string") as (_, other):
        texts = [result["amount"]["value"] for result in results(rows(other, COSTS, params))]
    assert sum(map(Decimal, texts)) == exact
    assert {type(text) for text in texts} == {str}
    ungrouped = read(client, COSTS, UNIX)["data"]
    assert len(ungrouped) == 7
    assert (ungrouped[0]["results"][0]["line_item"], ungrouped[0]["results"][0]["quantity"]) == (None, None)


def test_openais_usage_counts_what_the_cache_served_as_input(books: ProviderBooks, client: httpx.Client) -> None:
    found = results(rows(client, COMPLETIONS, {**UNIX, "group_by[]": ["api_key_id", "batch", "service_tier"]}))
    assert {(row["api_key_id"], row["batch"], row["service_tier"]) for row in found} == {
        (key, batch, "default") for key in (None, "key_a") for batch in (True, False)
    }
    first = found[0]
    assert (first["input_tokens"], first["input_cached_tokens"], first["output_tokens"]) == (41, 40, 7)
    assert (first["input_uncached_tokens"], first["num_model_requests"], first["model"]) == (1, 2, None)
    (page,) = pages(client, COMPLETIONS, {**UNIX, "limit": 31})
    assert [len(bucket["results"]) for bucket in page["data"]] == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]


def test_every_other_kind_of_usage_is_there_and_mostly_empty(client: httpx.Client) -> None:
    base = "/openai/v1/organization/usage"
    for kind in ("moderations", "images", "audio_speeches", "audio_transcriptions", "vector_stores",
                 "code_interpreter_sessions", "file_search_calls", "web_search_calls"):  # fmt: skip
        buckets = rows(client, f"{base}/{kind}", {**UNIX, "group_by": "project_id"})
        assert [bucket["results"] for bucket in buckets] == [[]] * DAYS
    embeddings = results(rows(client, f"{base}/embeddings", {**UNIX, "group_by": ["model", "project_id"]}))
    assert len(embeddings) == DAYS - 1
    assert (embeddings[0]["input_tokens"], embeddings[0]["model"]) == (11, "text-embedding-4")
    assert get(client, f"{base}/telepathy", UNIX).status_code == 404


def test_a_count_that_is_no_token_has_its_own_name() -> None:
    day = UsageCell(FIRST, "openai", "acme", "key_a", "proj_a", None, kind="vector_stores", units=2**30)
    images = UsageCell(FIRST, "openai", "acme", "key_a", "proj_a", "gpt-image-2", kind="images", units=3, requests=2,
                       image_size="1024x1024", image_source="image.generation")  # fmt: skip
    with serving(ProviderBooks(usage=(day, images))) as (_, client):
        base = "/openai/v1/organization/usage"
        (stored,) = results(rows(client, f"{base}/vector_stores", UNIX))
        assert stored["usage_bytes"] == 2**30
        (made,) = results(rows(client, f"{base}/images", {**UNIX, "group_by": ["size", "source"]}))
        assert (made["images"], made["num_model_requests"], made["size"]) == (3, 2, "1024x1024")


def test_anthropics_lists(client: httpx.Client) -> None:
    base = "/anthropic/v1/organizations"
    key = read(client, f"{base}/api_keys", {})["data"]
    assert (key[0]["scope"], key[0]["workspace_id"]) == ({"type": "workspace", "workspace_id": "wrkspc_01P"},
                                                         "wrkspc_01P")  # fmt: skip
    assert (key[1]["scope"]["workspace_id"], key[1]["workspace_id"]) == ("wrkspc_default", None)
    assert key[0]["created_by"] == {"id": "user_01X", "type": "user"}
    assert read(client, f"{base}/api_keys", {"status": "archived"})["data"] == []
    assert [w["name"] for w in read(client, f"{base}/workspaces", {})["data"]] == ["proxy"]
    assert [w["name"] for w in read(client, f"{base}/workspaces", {"include_default": "true"})["data"]] == [
        "Default", "proxy"]  # fmt: skip
    everything = read(client, f"{base}/workspaces", {"include_archived": "true"})["data"]
    assert [(w["name"], w["archived_at"]) for w in everything] == [("proxy", None), ("old", "2026-10-12T04:00:00Z")]
    assert read(client, f"{base}/users", {})["data"][0]["email"] == "x@example.com"


def test_service_accounts_refuse_an_admin_key_and_are_paged_by_cursor(client: httpx.Client) -> None:
    path = "/anthropic/v1/organizations/service_accounts"
    refused = get(client, path, {})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    oauth = {"authorization": f"Bearer {OAUTH_TOKEN}", "anthropic-version": "2023-06-01"}
    first = read(client, path, {"limit": 1}, oauth)
    assert set(first) == {"data", "next_page"}
    second = read(client, path, {"limit": 1, "page": first["next_page"]}, oauth)
    assert [first["data"][0]["name"], second["data"][0]["name"], second["next_page"]] == ["new", "old", None]


def test_openais_lists(client: httpx.Client) -> None:
    base = "/openai/v1/organization"
    first = read(client, f"{base}/projects", {"limit": 1})
    assert (first["object"], first["has_more"], first["last_id"]) == ("list", True, "proj_a")
    assert read(client, f"{base}/projects", {"limit": 1, "after": "proj_a"})["data"][0]["id"] == "proj_b"
    keys = f"{base}/projects/proj_a/api_keys"
    assert [key["id"] for key in read(client, keys, {})["data"]] == ["key_a", "key_svc"]
    everything = read(client, keys, {"owner_project_access": "any"})["data"]
    assert [key["id"] for key in everything] == ["key_a", "key_left", "key_svc"]
    assert everything[0]["owner"]["user"]["email"] == "x@example.com"
    assert everything[2]["owner"] == {"type": "service_account", "service_account": {
        "id": "sa_1", "name": "bot", "role": "member", "created_at": 1767225600}}  # fmt: skip
    assert (everything[0]["last_used_at"], everything[2]["last_used_at"]) == (None, 1791777600)
    assert read(client, f"{base}/projects/proj_b/api_keys", {})["data"] == []
    assert read(client, f"{base}/projects/proj_a/service_accounts", {})["data"][0]["id"] == "sa_1"
    assert read(client, f"{base}/users", {})["data"][0]["email"] == "x@example.com"
    assert get(client, f"{base}/projects/proj_other/api_keys", {}).status_code == 404


# --- credentials, limits, cursors --------------------------------------------------------------------


def test_a_wrong_key_is_refused_in_each_providers_shape(client: httpx.Client) -> None:
    refused = get(client, USAGE, ANALYTICS, {**A_HEADERS, "x-api-key": "sk-ant-admin01-other"})
    assert (refused.status_code, refused.headers["request-id"]) == (401, refused.json()["request_id"])
    assert refused.json()["type"] == "error"
    assert refused.json()["error"] == {"type": "authentication_error", "message": "invalid x-api-key"}
    refused = get(client, COSTS, UNIX, {"authorization": "Bearer sk-admin-other"})
    assert refused.status_code == 401
    assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert "x-request-id" in refused.headers
    for path in (COSTS, COMPLETIONS, "/openai/v1/organization/users", "/anthropic/v1/organizations/users"):
        assert "other" not in client.get(path, headers={"x-api-key": "other", "authorization": "other"}).text


def test_the_analytics_reports_need_their_beta_header_and_every_request_its_version(client: httpx.Client) -> None:
    without = {name: value for name, value in A_HEADERS.items() if name != "anthropic-beta"}
    assert get(client, USAGE, ANALYTICS, without).status_code == 404
    assert get(client, COST_REPORT, OCTOBER, without).status_code == 200
    assert get(client, COST, ANALYTICS, {**A_HEADERS, "anthropic-beta": f"other, {BETA}"}).status_code == 200
    unversioned = get(client, COST_REPORT, OCTOBER, {"x-api-key": ANTHROPIC_KEY})
    assert (unversioned.status_code, "anthropic-version" in unversioned.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        (USAGE, {**ANALYTICS, "ending_at": "2026-11-02T00:00:00Z"}, "31 days"),
        (COST, {**ANALYTICS, "starting_at": "2025-12-31T00:00:00Z", "ending_at": "2026-01-02T00:00:00Z"}, "2026-01-01"),
        (USAGE, {**ANALYTICS, "starting_at": "2026-10-01T00:00:00"}, "zone"),
        (USAGE, {**ANALYTICS, "limit": 1001}, "1000"),
        (USAGE, {**ANALYTICS, "group_by[]": [*ALL_USAGE, "speed"]}, "at most 5"),
        (USAGE, {**ANALYTICS, "group_by[]": "moon"}, "group_by"),
        (USAGE, {"starting_at": OCTOBER["starting_at"], "time_bucket_width": "1d"}, "ending_at"),
        (USAGE, {**ANALYTICS, "bucket_width": "1d"}, "bucket_width"),
        (MESSAGES, {**OCTOBER, "limit": 32}, "31"),
        (COSTS, {**UNIX, "limit": 181}, "180"),
        (COMPLETIONS, {**UNIX, "limit": 32}, "31"),
        (COSTS, {**UNIX, "group_by": "user_id"}, "group_by"),
        (COSTS, {"end_time": 1}, "start_time"),
        (COSTS, {**UNIX, "page": "page_x"}, "page"),
        ("/openai/v1/organization/projects", {"limit": 101}, "100"),
    ],
)
def test_what_the_providers_refuse_is_a_400_that_says_why(
    client: httpx.Client, path: str, params: Params, said: str
) -> None:
    refused = get(client, path, params)
    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_a_month_of_31_days_is_one_request(client: httpx.Client) -> None:
    assert get(client, USAGE, {**ANALYTICS, "ending_at": "2026-11-01T00:00:00Z"}).status_code == 200


def test_an_analytics_cursor_is_bound_to_its_query(client: httpx.Client) -> None:
    cursor = read(client, USAGE, {**ANALYTICS, "limit": 1})["next_page"]
    assert get(client, USAGE, {**ANALYTICS, "limit": 1, "page": cursor}).status_code == 200
    for other in ({**ANALYTICS, "limit": 2}, {**ANALYTICS, "limit": 1, "group_by[]": "model"}):
        assert get(client, USAGE, {**other, "page": cursor}).status_code == 400
    assert get(client, USAGE, {**ANALYTICS, "limit": 1, "page": "page_nonsense"}).status_code == 400


def test_a_cursor_expires_when_the_data_is_refreshed(books: ProviderBooks) -> None:
    with serving(books) as (server, client):
        params = {**ANALYTICS, "limit": 1}
        cursor = read(client, USAGE, params)["next_page"]
        server.books = books.revised("anthropic", FIRST, refreshed_at=REFRESHED + timedelta(hours=4))
        expired = get(client, USAGE, {**params, "page": cursor})
        assert expired.status_code == 410
        again = read(client, USAGE, params)
        assert again["data_refreshed_at"] == "2026-10-12T08:00:00Z"
        assert get(client, USAGE, {**params, "page": again["next_page"]}).status_code == 200


# --- planted faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403, 404, 410, 429, 500, 529])
@pytest.mark.parametrize(("path", "params"), [(USAGE, ANALYTICS), (COSTS, UNIX)])
def test_a_planted_status_hits_the_request_it_was_meant_for(
    books: ProviderBooks, path: str, params: Params, code: int
) -> None:
    with serving(books, faults=[Fault(path, Status(code), first=2, times=2)]) as (_, client):
        answers = [get(client, path, params) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, code, code, 200]
        assert answers[1].json()["error"]["message"] == "planted by the test"
        assert "retry-after" not in answers[1].headers
        names = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
                 500: "api_error", 529: "overloaded_error"}  # fmt: skip
        if path == USAGE and code in names:
            assert answers[1].json()["error"]["type"] == names[code]


def test_a_429_may_say_when_to_come_back_and_a_spend_cap_does_not(books: ProviderBooks) -> None:
    faults = [Fault(COSTS, Status(429, retry_after="3")), Fault(USAGE, SPEND_CAP, times=None)]
    with serving(books, faults=faults) as (_, client):
        assert get(client, COSTS, UNIX).headers["retry-after"] == "3"
        assert get(client, COSTS, UNIX).status_code == 200
        capped = [get(client, USAGE, ANALYTICS) for _ in range(3)]
        assert [(answer.status_code, "retry-after" in answer.headers) for answer in capped] == [(429, False)] * 3


def test_a_delay_outlasts_an_impatient_client_only(books: ProviderBooks) -> None:
    with serving(books, faults=[Fault(COSTS, Delay(0.5), times=2)]) as (_, client):
        with pytest.raises(httpx.ReadTimeout):
            client.get(COSTS, params=UNIX, headers=O_HEADERS, timeout=0.1)
        assert get(client, COSTS, UNIX).status_code == 200


@pytest.mark.parametrize("action", [Truncated(), ClosedConnection()])
def test_a_broken_connection_is_one(books: ProviderBooks, action: Truncated | ClosedConnection) -> None:
    with serving(books, faults=[Fault(COSTS, action)]) as (_, client):
        with pytest.raises(httpx.RemoteProtocolError):
            get(client, COSTS, UNIX)
        assert get(client, COSTS, UNIX).status_code == 200


def test_a_truncated_body_comes_after_sound_headers(books: ProviderBooks) -> None:
    with serving(books, faults=[Fault(COSTS, Truncated())]) as (_, client):
        with client.stream("GET", COSTS, params=UNIX, headers=O_HEADERS) as answer:
            assert answer.status_code == 200
            chunks = answer.iter_raw()
            got = next(chunks)
            with pytest.raises(httpx.RemoteProtocolError):
                next(chunks)
        assert len(got) == int(answer.headers["content-length"]) // 2
        assert got.startswith(b'{"object":"page"')


def test_a_body_that_is_no_json(books: ProviderBooks) -> None:
    with serving(books, faults=[Fault("/anthropic", NotJson())]) as (_, client):
        answer = get(client, COST_REPORT, OCTOBER)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
        assert answer.text.startswith("<html>")


@pytest.mark.parametrize(("path", "params"), [(USAGE, ANALYTICS), (COST_REPORT, OCTOBER), (COMPLETIONS, UNIX)])
def test_a_repeated_page_leads_back_to_itself(books: ProviderBooks, path: str, params: Params) -> None:
    with serving(books, faults=[Fault(path, RepeatedPage(), first=2)]) as (_, client):
        first = read(client, path, {**params, "limit": 1})
        second = read(client, path, {**params, "limit": 1, "page": first["next_page"]})
        assert second == first
        third = read(client, path, {**params, "limit": 1, "page": second["next_page"]})
        assert third["data"] != first["data"]


@pytest.mark.parametrize(("path", "params"), [(USAGE, ANALYTICS), (COST_REPORT, OCTOBER), (COSTS, UNIX)])
def test_a_bucket_can_be_missing(books: ProviderBooks, path: str, params: Params) -> None:
    with serving(books, faults=[Fault(path, MissingBucket(FIRST))]) as (_, client):
        without, whole = read(client, path, params), read(client, path, params)
        assert without["data"] == whole["data"][1:]
        assert without["next_page"] == whole["next_page"]


def test_values_that_changed_between_two_reads(books: ProviderBooks) -> None:
    revised = books.revised("openai", FIRST, factor=3)
    with serving(books, faults=[Fault(COSTS, OtherBooks(revised), first=2, times=None)]) as (_, client):
        before, after = (read(client, COSTS, UNIX)["data"] for _ in range(2))
        assert after[0]["results"][0]["amount"]["value"] == before[0]["results"][0]["amount"]["value"] * 3
        assert after[1:] == before[1:]


def test_a_fault_planted_later_counts_from_then(books: ProviderBooks) -> None:
    with serving(books) as (server, client):
        assert get(client, COSTS, UNIX).status_code == 200
        server.plant(Fault("/openai", Status(500), first=2))
        assert [get(client, COSTS, UNIX).status_code for _ in range(3)] == [200, 500, 200]


# --- the server itself -------------------------------------------------------------------------------


def test_the_log_has_paths_and_params_but_no_secret(books: ProviderBooks) -> None:
    with serving(books) as (server, client):
        get(client, USAGE, {**ANALYTICS, "group_by[]": ["model", "api_key_id"]})
        get(client, COSTS, UNIX)
        first, second = server.requests
        assert (first.method, first.path, first.param("starting_at")) == ("GET", USAGE, "2026-10-01T00:00:00Z")
        assert [value for name, value in first.params if name == "group_by[]"] == ["model", "api_key_id"]
        assert {"x-api-key", "anthropic-version", "anthropic-beta"} <= first.header_names
        assert server.requests_to("/openai") == (second,)
        assert ANTHROPIC_KEY not in repr(server.requests)
        assert OPENAI_KEY not in repr(server.requests)


def test_other_routes_are_served_beside_and_get_faults_too(books: ProviderBooks) -> None:
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    path = "/github/api/graphql"
    faults = [Fault("/github", Status(403)), Fault("/github", Delay(0.1), first=2)]
    with serving(books, routes=[Route(path, echo, methods=["POST"])], faults=faults) as (_, client):
        assert client.post(path, json={"query": "{}"}).json()["message"] == "planted by the test"
        assert client.post(path, json={"query": "{}"}).json() == {"query": "{}"}


def test_it_listens_on_this_machine_only_and_leaves_nothing_behind(books: ProviderBooks) -> None:
    threads = threading.active_count()
    with serving(books, faults=[Fault(COSTS, Delay(30))]) as (server, client):
        host, port = server.url.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
        with pytest.raises(httpx.ReadTimeout):
            client.get(COSTS, params=UNIX, headers=O_HEADERS, timeout=0.2)
        with pytest.raises(ProviderServerError, match="leave the port out"), ProviderServer(books, port=int(port)):
            pass
    assert threading.active_count() == threads
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_two_servers_run_side_by_side(books: ProviderBooks) -> None:
    with serving(books) as (one, first), serving(ProviderBooks()) as (two, second):
        assert one.url != two.url
        assert rows(first, COSTS, UNIX) != rows(second, COSTS, UNIX)
        assert results(rows(second, COSTS, UNIX)) == []


# --- the demo's --------------------------------------------------------------------------------------


def test_a_seeded_home_serves_its_books_and_a_lost_file_comes_back(new_database: Callable[[], str]) -> None:
    url = new_database()
    with tempfile.TemporaryDirectory(prefix="tokengov-") as name:
        home = Path(name)
        with demo_providers(home) as nothing:
            assert nothing is None
        truth = seed_demo(home, url, 2_000, 5, lambda *_: None)
        before = (home / PROVIDER_BOOKS_FILE).read_bytes()
        (home / PROVIDER_BOOKS_FILE).unlink()
        assert seed_demo(home, url, 2_000, 5, lambda *_: None) == truth
        assert (home / PROVIDER_BOOKS_FILE).read_bytes() == before
        with demo_providers(home) as providers, httpx.Client(timeout=10) as client:
            assert providers is not None
            headers = {**A_HEADERS, "x-api-key": providers.anthropic_admin_key}
            month = {"starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-11-01T00:00:00Z"}
            params = {**month, "time_bucket_width": "1d", "group_by[]": ["api_key_id", "cost_type"], "limit": 1000}
            url = f"{providers.anthropic_base_url}/v1/organizations/analytics/cost"
            found = client.get(url, params=params, headers=headers).json()
            by_key: Counter[tuple[str, str]] = Counter()
            for row in found["data"]:
                by_key[row["group"]["api_key_id"], row["group"]["cost_type"]] += Decimal(row["cost"]["amount"]) / 100
            expected = [row for row in truth.reported["2026-10"] if row["provider"] == "anthropic"]
            assert len(expected) == 2
            for row in expected:
                assert by_key[row["provider_key_id"], "tokens"] == Decimal(row["token_cost_usd"])
                assert by_key[row["provider_key_id"], "web_search"] == Decimal(row["web_search_cost_usd"])
            assert found["data_refreshed_at"] == "2026-11-05T00:00:00Z"
            bearer = {"authorization": f"Bearer {providers.openai_admin_key}"}
            projects = client.get(f"{providers.openai_base_url}/organization/projects", headers=bearer).json()
            assert [project["name"] for project in projects["data"]] == ["proxy"]
