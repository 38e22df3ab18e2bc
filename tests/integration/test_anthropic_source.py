"""Anthropic as a source over real HTTP: paging, freshness, moving figures, refusals, secrets."""

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

from resources.anthropic import BETA, AnthropicReports
from resources.body_archive import BodyArchive
from resources.lake import Lake, LoadOutcome
from resources.source_error import SourceError
from tests.anthropic_fixture import (
    ADMIN_KEY,
    API_KEYS,
    COST,
    DAYS,
    EXTRACTED_AT,
    LEGACY_COST,
    LEGACY_USAGE,
    SERVICE_ACCOUNTS,
    TOKENS,
    USAGE,
    WORKSPACES,
    Paged,
    body,
    listed,
)
from tests.provider_fixture import Answer, Request, ScriptedServer, Step, scripted_server
from tokengov_pipelines.demo.providers.books import (
    ANTHROPIC,
    ApiKey,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)
from tokengov_pipelines.demo.providers.server import ProviderServer

Generation = Literal["analytics", "legacy"]
ERROR = {"type": "error", "error": {"type": "some_error", "message": "said by the provider"}, "request_id": "req_1"}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))


def reports(url: str, report: Generation = "analytics", **changes: Any) -> AnthropicReports:
    settings: dict[str, Any] = {
        "admin_key": ADMIN_KEY,
        "account": "acme",
        "base_url": url,
        "report": report,
        "attempts": 3,
        "first_pause_seconds": 0.001,
        "longest_pause_seconds": 2.0,
        "read_timeout_seconds": 0.5,
    }
    return AnthropicReports(**(settings | changes))


def load(
    source: AnthropicReports, lake: Lake, kind: str, days: list[dt.date] = DAYS, at: dt.datetime = EXTRACTED_AT
) -> dict[dt.date, LoadOutcome]:
    return dict((source.load_usage if kind == "usage" else source.load_cost)(lake, days, at))


def verdicts(outcomes: dict[dt.date, LoadOutcome]) -> list[str]:
    return [outcomes[day].verdict for day in sorted(outcomes)]


def hashes(lake: Lake, table: str) -> dict[str, str]:
    return {name: lake.current(table, name).sha256 for name in lake.partitions(table)}  # type: ignore[union-attr]


def select(lake: Lake, table: str, columns: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(
            f"select {columns} from read_parquet($1) order by all", [lake.current_files(table)]
        ).fetchall()


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


def where(server: ScriptedServer, what: str) -> str:
    return f"Anthropic at {server.url.removeprefix('http://')}: {what}"


def emptied(path: str, day: dt.date, refreshed_at: str | None = None) -> dict[str, Any]:
    """The body of a path without the rows of a day."""
    whole = body(path)
    if path in {USAGE, COST}:
        whole["data"] = [item for item in whole["data"] if not item["starting_at"].startswith(str(day))]
        return whole | ({"data_refreshed_at": refreshed_at} if refreshed_at else {})
    for bucket in whole["data"]:
        bucket["results"] = [] if bucket["starting_at"].startswith(str(day)) else bucket["results"]
    return whole


# --- what is asked and what is kept ----------------------------------------------------------------------------------


def test_usage_analytics_is_asked_by_day_and_five_groups(server: ScriptedServer, lake: Lake) -> None:
    server.play(Paged(1000))
    outcomes = load(reports(server.url), lake, "usage")
    assert verdicts(outcomes) == ["first", "zero_proven", "first"]
    (request,) = server.requests
    assert request.path == USAGE
    assert request.params == [
        ("starting_at", "2026-10-01T00:00:00Z"),
        ("ending_at", "2026-10-04T00:00:00Z"),
        ("time_bucket_width", "1d"),
        *(("group_by[]", name) for name in ("api_key_id", "workspace_id", "model", "service_tier", "context_window")),
        ("limit", "1000"),
    ]
    assert [request.headers[name] for name in ("x-api-key", "anthropic-version", "anthropic-beta")] == [
        ADMIN_KEY,
        "2023-06-01",
        BETA,
    ]
    assert select(lake, "anthropic_usage", "usage_date, api_key_id, workspace_id, model, output_tokens, requests") == [
        (DAYS[0], "apikey_01", "wrkspc_01", "claude-sonnet-5", 500, 3),
        (DAYS[0], "apikey_02", "wrkspc_01", None, 0, 3),
        (DAYS[0], None, "wrkspc_default", "claude-sonnet-5", 7, 3),
        (DAYS[2], "apikey_01", "wrkspc_01", "claude-sonnet-5", 3, 3),
    ]
    assert outcomes[DAYS[2]].seen.sums == {
        "uncached_input_tokens": "9000000000",
        "cache_read_tokens": "1",
        "cache_write_5m_tokens": "0",
        "cache_write_1h_tokens": "0",
        "output_tokens": "3",
    }


def test_cost_analytics_adds_the_components_and_keeps_fractional_cents(server: ScriptedServer, lake: Lake) -> None:
    server.play(Paged(1000))
    outcomes = load(reports(server.url), lake, "cost")
    (request,) = server.requests
    assert request.all("group_by[]")[-2:] == ["cost_type", "token_type"]
    assert len(request.all("group_by[]")) == 7
    assert outcomes[DAYS[0]].seen.sums == {"amount_usd_cents": "41291.623456000000"}
    assert select(lake, "anthropic_cost", "amount_text, list_amount_text, source_unit, currency") == [
        ("-0.500000", "99.000000", "usd_cents", "USD"),
        ("12.000000", "99.000000", "usd_cents", "USD"),
        ("41280.123456", "99.000000", "usd_cents", "USD"),
        ("7.654321", "99.000000", "usd_cents", "USD"),
    ]


@pytest.mark.parametrize(
    ("kind", "path", "groups"),
    [
        (
            "usage",
            LEGACY_USAGE,
            ["api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo"],
        ),
        ("cost", LEGACY_COST, ["workspace_id", "description"]),
    ],
)
def test_the_legacy_reports_are_asked_in_buckets(
    server: ScriptedServer, lake: Lake, kind: str, path: str, groups: list[str]
) -> None:
    server.play(Paged(1000))
    assert verdicts(load(reports(server.url, "legacy"), lake, kind)) == ["first", "zero_proven", "first"]
    (request,) = server.requests
    assert (request.path, request.all("group_by[]")) == (path, groups)
    assert [request.param(name) for name in ("bucket_width", "limit", "ending_at")] == [
        "1d",
        "31",
        "2026-10-04T00:00:00Z",
    ]
    assert "anthropic-beta" not in request.headers


def test_both_generations_give_equal_token_sums(server: ScriptedServer, lake: Lake, tmp_path: Path) -> None:
    server.play(Paged(1000))
    older = Lake(root=str(tmp_path / "older"), cache_dir=lake.cache_dir)
    new, old = load(reports(server.url), lake, "usage"), load(reports(server.url, "legacy"), older, "usage")
    assert [new[day].seen.sums for day in DAYS] == [old[day].seen.sums for day in DAYS]
    columns = "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"
    sums = ", ".join(f"sum({name})::bigint" for name in (*columns, "output_tokens"))
    assert select(lake, "anthropic_usage", sums) == select(older, "anthropic_usage", sums) == [tuple(TOKENS)]


@pytest.mark.parametrize("report", ["analytics", "legacy"])
@pytest.mark.parametrize("kind", ["usage", "cost"])
def test_pages_and_expired_cursors_leave_no_trace(
    server: ScriptedServer, tmp_path: Path, report: Generation, kind: str
) -> None:
    found = []
    for number, (size, expires) in enumerate([(1000, 0), (1, 0), (2, 0), (1, 2), (2, 1)]):
        lake = Lake(root=str(tmp_path / str(number)), cache_dir=str(tmp_path / "cache"))
        server.play(Paged(size, expires))
        load(reports(server.url, report), lake, kind)
        found.append(hashes(lake, f"anthropic_{kind}"))
    assert len(found[0]) == 3
    assert all(other == found[0] for other in found)


def test_a_load_can_be_read_again_from_its_archived_bodies(server: ScriptedServer, lake: Lake) -> None:
    server.play(Paged(2))
    outcomes = load(reports(server.url), lake, "cost")
    archive = BodyArchive(lake.root)
    pages = [json.loads(archive.get("anthropic", digest)) for digest in outcomes[DAYS[0]].seen.bodies]
    assert [item for page in pages for item in page["data"]] == body(COST)["data"]


def test_windows_are_at_most_31_days(server: ScriptedServer, lake: Lake) -> None:
    server.play(lambda _: body(USAGE) | {"data": []})
    days = [dt.date(2026, 9, 1) + dt.timedelta(days=number) for number in range(40)]
    assert verdicts(load(reports(server.url), lake, "usage", days)) == ["zero_proven"] * 40
    assert [(request.param("starting_at"), request.param("ending_at")) for request in server.requests] == [
        ("2026-09-01T00:00:00Z", "2026-10-02T00:00:00Z"),
        ("2026-10-02T00:00:00Z", "2026-10-11T00:00:00Z"),
    ]


# --- how far the figures reach ---------------------------------------------------------------------------------------


def test_a_day_beyond_the_refresh_is_provisional_and_never_zero(server: ScriptedServer, lake: Lake) -> None:
    server.play([body(USAGE) | {"data_refreshed_at": "2026-10-02T12:00:00Z"}])
    outcomes = load(reports(server.url), lake, "usage")
    assert verdicts(outcomes) == ["first", "unproven_zero", "first"]
    assert outcomes[DAYS[1]].reason == (
        "the provider's figures reach until 2026-10-02 12:00 UTC and hold nothing of this day"
    )
    assert lake.partitions("anthropic_usage") == ["day=2026-10-01", "day=2026-10-03"]
    assert lake.known_until("anthropic_usage", "day=2026-10-03") == (dt.datetime(2026, 10, 2, 12, tzinfo=dt.UTC), False)


def test_a_provider_that_does_not_say_how_far_proves_nothing(server: ScriptedServer, lake: Lake) -> None:
    server.play([body(USAGE) | {"data_refreshed_at": None}])
    assert verdicts(load(reports(server.url), lake, "usage")) == ["first", "unproven_zero", "first"]
    assert lake.known_until("anthropic_usage", "day=2026-10-01") == (dt.datetime(2026, 10, 1, tzinfo=dt.UTC), False)


def test_the_range_never_ends_in_the_future(server: ScriptedServer, lake: Lake) -> None:
    now = dt.datetime(2026, 10, 3, 15, 40, tzinfo=dt.UTC)
    server.play([body(USAGE) | {"data_refreshed_at": "2026-10-03T15:30:00Z"}])
    outcomes = load(reports(server.url), lake, "usage", at=now)
    assert server.requests[0].param("ending_at") == "2026-10-03T15:00:00Z"
    assert verdicts(outcomes) == ["first", "zero_proven", "first"]
    assert lake.known_until("anthropic_usage", "day=2026-10-03") == (dt.datetime(2026, 10, 3, 15, tzinfo=dt.UTC), False)


def test_a_day_that_has_just_begun_is_not_asked_for(server: ScriptedServer, lake: Lake) -> None:
    server.play([])
    outcomes = load(reports(server.url), lake, "usage", [DAYS[2]], dt.datetime(2026, 10, 3, 0, 59, tzinfo=dt.UTC))
    assert verdicts(outcomes) == ["unproven_zero"]
    assert server.requests == []


def test_the_legacy_reports_are_an_hour_behind(server: ScriptedServer, lake: Lake) -> None:
    server.play([emptied(LEGACY_USAGE, DAYS[2])])
    outcomes = load(reports(server.url, "legacy"), lake, "usage", at=dt.datetime(2026, 10, 4, 0, 30, tzinfo=dt.UTC))
    assert verdicts(outcomes) == ["first", "zero_proven", "unproven_zero"]


def test_pages_of_two_refreshes_are_never_mixed(server: ScriptedServer, lake: Lake) -> None:
    first, second = Paged(2), body(USAGE) | {"data_refreshed_at": "2026-11-05T02:00:00Z"}

    def refreshed_once(request: Request) -> Step:
        page = first(request)
        return page if len(server.requests) == 1 else page | {"data_refreshed_at": second["data_refreshed_at"]}

    server.play(refreshed_once)
    assert verdicts(load(reports(server.url), lake, "usage")) == ["first", "zero_proven", "first"]
    assert len(server.requests) == 4
    assert lake.current("anthropic_usage", "day=2026-10-01").known_until == "2026-11-05T02:00:00+00:00"  # type: ignore[union-attr]
    server.play(lambda request: first(request) | {"data_refreshed_at": f"2026-11-05T02:00:{len(server.requests):02}Z"})
    assert refusal(lambda: load(reports(server.url), lake, "usage")) == where(
        server,
        "usage analytics of 2026-10-01 to 2026-10-03: the data was refreshed while it was read, 4 times. "
        "Fix: run it again later; nothing was kept of it.",
    )


@pytest.mark.parametrize("days", [[dt.date(2025, 12, 31)], [dt.date(2026, 1, 1)]])
def test_days_that_analytics_does_not_reach_are_said(server: ScriptedServer, lake: Lake, days: list[dt.date]) -> None:
    server.play([])
    now = dt.datetime(2027, 1, 2, tzinfo=dt.UTC)
    assert "the analytics endpoints reach back 365 days and not before 2026-01-01. Fix: load later days, or set " in (
        refusal(lambda: load(reports(server.url), lake, "usage", days, now))
    )
    assert server.requests == []


# --- figures that move -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("report", "path"), [("analytics", COST), ("legacy", LEGACY_COST)])
def test_a_changed_value_is_a_new_load_and_an_equal_one_is_none(
    server: ScriptedServer, lake: Lake, report: Generation, path: str
) -> None:
    source = reports(server.url, report)
    server.play([body(path), body(path), json.dumps(body(path)).replace("41280.123456", "41280.123457").encode()])
    first = load(source, lake, "cost")[DAYS[0]]
    later = EXTRACTED_AT + dt.timedelta(days=1)
    again = load(source, lake, "cost", at=later)
    assert verdicts(again) == ["unchanged"] * 3
    until, confirmed = lake.known_until("anthropic_cost", "day=2026-10-01") or (None, None)
    assert confirmed
    assert until == (later - dt.timedelta(hours=1) if report == "legacy" else dt.datetime(2026, 11, 5, tzinfo=dt.UTC))
    moved = load(source, lake, "cost", at=later + dt.timedelta(days=1))
    assert verdicts(moved) == ["grown", "unchanged", "unchanged"]
    (change,) = lake.changes("anthropic_cost", "day=2026-10-01")
    assert (change["before"], change["load"]) == (first.seen.load, moved[DAYS[0]].seen.load)
    assert Decimal(change["sums"]["amount_usd_cents"]) - Decimal(first.seen.sums["amount_usd_cents"]) == Decimal(
        "0.000001"
    )
    assert (Path(lake.root) / "raw/anthropic_cost/day=2026-10-01" / f"load={first.seen.load}.parquet").exists()


@pytest.mark.parametrize(
    ("report", "kind", "path"),
    [("analytics", "usage", USAGE), ("analytics", "cost", COST), ("legacy", "usage", LEGACY_USAGE)],
)
def test_an_empty_reread_after_rows_is_held_back(
    server: ScriptedServer, lake: Lake, report: Generation, kind: str, path: str
) -> None:
    source = reports(server.url, report)
    server.play([body(path), emptied(path, DAYS[2]), body(path)])
    first = load(source, lake, kind)[DAYS[2]]
    emptied_day = load(source, lake, kind)[DAYS[2]]
    assert (emptied_day.verdict, emptied_day.reason) == ("shrunk", "1 rows became 0")
    assert lake.current(f"anthropic_{kind}", "day=2026-10-03") == first.seen
    assert load(source, lake, kind)[DAYS[2]].verdict == "unchanged"


# --- troubles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(ERROR, status=529),
        Answer(ERROR, status=500),
        Answer(ERROR, status=429, headers={"retry-after": "0.2"}),
        Answer(body(USAGE), cut=200),
        Answer(body(USAGE), delay=0.8),
        Answer(json.dumps(body(USAGE)).encode()[:-3]),
    ],
    ids=lambda answer: f"{answer.status}",
)
def test_a_passing_trouble_costs_nothing(server: ScriptedServer, lake: Lake, trouble: Answer) -> None:
    server.play([trouble, body(USAGE)])
    assert verdicts(load(reports(server.url), lake, "usage")) == ["first", "zero_proven", "first"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "refused with 400 some_error: said by the provider. Fix: see the connection guide in docs/."),
        (
            401,
            "refused with 401 some_error: said by the provider. Fix: export a valid admin key in TOKENGOV_ANTHROPIC_",
        ),
        (403, "refused with 403 some_error: said by the provider. Fix: give the key in TOKENGOV_ANTHROPIC_ADMIN_KEY "),
        (
            404,
            "refused with 404 some_error: said by the provider. Fix: check base_url in tokengov.yaml and whether the",
        ),
        (429, "the provider answered 429 some_error: said by the provider; tried 3 times. Fix: run it again later; "),
    ],
)
def test_a_refusal_is_clear_and_names_the_window(server: ScriptedServer, lake: Lake, status: int, words: str) -> None:
    server.play(lambda _: Answer(ERROR, status=status))
    said = refusal(lambda: load(reports(server.url), lake, "cost"))
    assert said.startswith(where(server, f"cost analytics of 2026-10-01 to 2026-10-03, page 1: {words}"))
    assert lake.partitions("anthropic_cost") == []


def test_a_long_pause_that_is_asked_for_names_the_time(server: ScriptedServer, lake: Lake) -> None:
    server.play([Answer(ERROR, status=429, headers={"retry-after": "3600"})])
    assert "the provider asks to wait until 2" in refusal(lambda: load(reports(server.url), lake, "usage"))


def test_a_page_that_comes_twice_is_refused(server: ScriptedServer, lake: Lake) -> None:
    page = body(USAGE) | {"has_more": True, "next_page": "p2"}
    server.play([page, body(USAGE)])
    assert refusal(lambda: load(reports(server.url), lake, "usage")).startswith(
        where(
            server,
            "usage analytics of 2026-10-01 to 2026-10-03: 2026-10-01: the same row came twice (api_key_id apikey_01, "
            "workspace_id wrkspc_01, model claude-sonnet-5, service_tier standard, context_window 0-200k). Fix:",
        )
    )
    server.play(lambda _: body(USAGE) | {"data": [], "has_more": True, "next_page": "p2"})
    assert "page 2: the answer leads back to a page that was read" in refusal(
        lambda: load(reports(server.url), lake, "usage")
    )
    assert lake.seen_partitions("anthropic_usage") == []


def test_a_missing_bucket_is_refused_and_the_windows_before_it_stay(server: ScriptedServer, lake: Lake) -> None:
    days = [dt.date(2026, 9, 1), *DAYS]
    first = {"starting_at": "2026-09-01T00:00:00Z", "ending_at": "2026-09-02T00:00:00Z", "results": []}
    whole = body(LEGACY_USAGE)
    server.play([whole | {"data": [first]}, whole | {"data": whole["data"][:1]}])
    found = []
    said = refusal(lambda: found.extend(reports(server.url, "legacy").load_usage(lake, days, EXTRACTED_AT)))
    assert "the answer holds no bucket for 2026-10-02, 2026-10-03. Fix: run it again; nothing was kept" in said
    assert [day for day, _ in found] == [days[0]]
    assert lake.seen_partitions("anthropic_usage") == ["day=2026-09-01"]


def test_a_key_that_is_not_set_is_named(server: ScriptedServer, lake: Lake) -> None:
    server.play([])
    assert refusal(lambda: load(reports(server.url, admin_key=""), lake, "usage")).endswith(
        "TOKENGOV_ANTHROPIC_ADMIN_KEY is not set. Fix: export an admin key."
    )
    assert server.requests == []


def test_the_admin_key_appears_nowhere(
    server: ScriptedServer,
    lake: Lake,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    source = reports(server.url)
    echoed = body(USAGE) | {"note": f"you sent {ADMIN_KEY}"}
    echoed["data"][0]["group"]["model"] = f"model-{ADMIN_KEY}"
    server.play(
        [Answer({"error": {"type": "e", "message": "x" * 290 + ADMIN_KEY}}, 500, {"request-id": ADMIN_KEY}), echoed]
    )
    load(source, lake, "usage")
    assert ("model-***",) in select(lake, "anthropic_usage", "model")
    said = []
    for status in (400, 401, 403, 500):
        answer = Answer({"error": {"type": ADMIN_KEY, "message": f"bad {ADMIN_KEY}"}}, status, {"x-echo": ADMIN_KEY})
        server.play(lambda _, answer=answer: answer)
        said += [
            refusal(lambda: load(source, lake, "cost")),
            refusal(lambda: source.load_snapshots(lake, EXTRACTED_AT)),
        ]
    broken = body(USAGE) | {"has_more": ADMIN_KEY, "data": [{"starting_at": ADMIN_KEY}]}
    server.play(lambda _: broken)
    said.append(refusal(lambda: load(source, lake, "usage")))
    assert all("***" in text for text in said[:-1])
    shown = capfd.readouterr()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".json.gz") for path in files)
    stored = [BodyArchive(lake.root).get("anthropic", path.name[:64]) for path in files if path.name.endswith(".gz")]
    everything = [*(path.read_bytes() for path in files), *stored, repr(source).encode(), caplog.text.encode()]
    everything += [text.encode() for text in (*said, shown.out, shown.err)]
    assert not [text for text in everything if b"PLANTED" in text]


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 1])
def test_lists_are_snapshots_of_their_day(server: ScriptedServer, lake: Lake, size: int) -> None:
    server.play(lambda request: listed(request, size))
    outcomes = reports(server.url).load_snapshots(lake, EXTRACTED_AT)
    assert {name: (outcome.verdict, outcome.seen.rows) for name, outcome in outcomes.items()} == {
        "anthropic_api_keys": ("first", 3),
        "anthropic_workspaces": ("first", 2),
        "anthropic_users": ("first", 1),
        "anthropic_service_accounts": ("first", 1),
    }
    assert outcomes["anthropic_users"].seen.partition == "observed=2026-11-05"
    assert select(lake, "anthropic_api_keys", "observed_date, id, workspace_id, partial_key_hint")[0] == (
        dt.date(2026, 11, 5),
        "apikey_01",
        "wrkspc_01",
        "sk-ant-api03-R2D...igAA",
    )
    asked = [request for request in server.requests if request.path == WORKSPACES]
    assert (asked[0].param("include_archived"), asked[0].param("include_default")) == ("true", "true")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_service_accounts_that_an_admin_key_may_not_list_are_no_failure(
    server: ScriptedServer, lake: Lake, status: int
) -> None:
    server.play(lambda request: Answer(ERROR, status=status) if request.path == SERVICE_ACCOUNTS else listed(request))
    outcomes = reports(server.url).load_snapshots(lake, EXTRACTED_AT)
    outcome = outcomes["anthropic_service_accounts"]
    assert (outcome.verdict, outcome.current) == ("unproven_zero", None)
    assert outcome.reason.startswith(
        f"not listed for this key: {where(server, f'service accounts, page 1: refused with {status}')}"
    )
    assert outcomes["anthropic_api_keys"].seen.rows == 3
    server.play(listed)
    first = reports(server.url).load_snapshots(lake, EXTRACTED_AT)["anthropic_service_accounts"]
    server.play(lambda request: Answer(ERROR, status=status) if request.path == SERVICE_ACCOUNTS else listed(request))
    refused = reports(server.url).load_snapshots(lake, EXTRACTED_AT)["anthropic_service_accounts"]
    assert (first.verdict, refused.verdict, refused.current) == ("first", "shrunk", first.seen)


def test_a_list_that_fails_leaves_all_lists_as_they_were(server: ScriptedServer, lake: Lake) -> None:
    server.play(lambda request: Answer(ERROR, status=403) if request.path == WORKSPACES else listed(request))
    assert "workspaces, page 1: refused with 403" in refusal(
        lambda: reports(server.url).load_snapshots(lake, EXTRACTED_AT)
    )
    assert lake.seen_partitions("anthropic_api_keys") == []

    def twice(request: Request) -> Step:
        page = listed(request)
        return page | {"data": page["data"] * 2, "last_id": "apikey_03"} if request.path == API_KEYS else page

    server.play(twice)
    assert "API keys, page 1: data[3].id came twice: 'apikey_01'. Fix:" in refusal(
        lambda: reports(server.url).load_snapshots(lake, EXTRACTED_AT)
    )
    assert lake.seen_partitions("anthropic_api_keys") == []


# --- the demo's provider server --------------------------------------------------------------------------------------

MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
BOOKS = ProviderBooks(
    usage=tuple(
        UsageCell(
            day,
            ANTHROPIC,
            "acme",
            key,
            workspace,
            "claude-sonnet-5",
            "standard",
            "0-200k",
            "global",
            uncached_input=1000 + number,
            cache_read=20,
            cache_write_5m=3,
            cache_write_1h=4,
            output=500,
            requests=6,
        )
        for day in (DAYS[0], DAYS[2])
        for number, (key, workspace) in enumerate([("apikey_01", "wrkspc_01"), (None, "wrkspc_default")])
    ),
    costs=tuple(
        CostCell(
            day,
            ANTHROPIC,
            "acme",
            key,
            workspace,
            "claude-sonnet-5",
            "Claude Sonnet 5 Usage - Output Tokens",
            Decimal("1.2345678"),
            Decimal("1.5"),
            token_type="output",
            context_window="0-200k",
            inference_geo="global",
        )
        for day in (DAYS[0], DAYS[2])
        for key, workspace in [("apikey_01", "wrkspc_01"), (None, "wrkspc_default")]
    ),
    keys=(ApiKey(ANTHROPIC, "apikey_01", "proxy", "sk-ant-api03-R2D...igAA", "wrkspc_01", MOMENT),),
    workspaces=(
        Workspace(ANTHROPIC, "wrkspc_01", "research", MOMENT),
        Workspace(ANTHROPIC, "wrkspc_default", "Default", MOMENT, is_default=True),
    ),
    users=(User(ANTHROPIC, "user_01", "ada@example.com", "Ada", "admin", MOMENT),),
    service_accounts=(ServiceAccount(ANTHROPIC, "svac_01", "ci", "developer", MOMENT),),
    refreshed_at=dt.datetime(2026, 11, 5, tzinfo=dt.UTC),
)


def test_the_demo_provider_reads_the_same_in_both_generations(tmp_path: Path) -> None:
    found: dict[tuple[str, int | None], Any] = {}
    for page_limit in (None, 1):
        with ProviderServer(BOOKS, anthropic_key=ADMIN_KEY, page_limit=page_limit) as provider:
            for report in ("analytics", "legacy"):
                lake = Lake(root=str(tmp_path / f"{report}-{page_limit}"), cache_dir=str(tmp_path / "cache"))
                source = reports(provider.anthropic_url, report, read_timeout_seconds=10)
                usage, cost = load(source, lake, "usage"), load(source, lake, "cost")
                assert verdicts(usage) == verdicts(cost) == ["first", "zero_proven", "first"]
                found[report, page_limit] = (
                    hashes(lake, "anthropic_usage"),
                    hashes(lake, "anthropic_cost"),
                    [(usage[day].seen.sums, cost[day].seen.sums) for day in DAYS],
                )
    assert found["analytics", None] == found["analytics", 1]
    assert found["legacy", None] == found["legacy", 1]
    assert found["analytics", None][2] == found["legacy", None][2]
    assert found["legacy", None][2][0][1] == {"amount_usd_cents": "246.913560000000"}


def test_the_demo_provider_lists_and_revises(lake: Lake) -> None:
    with ProviderServer(BOOKS, anthropic_key=ADMIN_KEY) as provider:
        source = reports(provider.anthropic_url, read_timeout_seconds=10)
        outcomes = source.load_snapshots(lake, EXTRACTED_AT)
        assert {name: outcome.seen.rows for name, outcome in outcomes.items()} == {
            "anthropic_api_keys": 1,
            "anthropic_workspaces": 2,
            "anthropic_users": 1,
            "anthropic_service_accounts": 0,
        }
        first = load(source, lake, "usage")[DAYS[0]]
        provider.books = BOOKS.revised(ANTHROPIC, DAYS[0])
        assert verdicts(load(source, lake, "usage")) == ["grown", "unchanged", "unchanged"]
        (change,) = lake.changes("anthropic_usage", "day=2026-10-01")
        assert int(change["sums"]["output_tokens"]) == 2 * int(first.seen.sums["output_tokens"])
        provider.books = replace(BOOKS, refreshed_at=dt.datetime(2026, 10, 2, tzinfo=dt.UTC))
        assert verdicts(load(source, lake, "usage", [DAYS[1]])) == ["unchanged"]
