"""OpenAI as a source, over HTTP: real recordings, every way in which an answer can be wrong, and what is kept."""

import copy
import csv
import datetime as dt
import gzip
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.body_archive import BodyArchive
from resources.lake import Lake
from resources.openai import OpenAIReports
from resources.openai_tables import COST, USAGE, USAGE_KINDS
from resources.source_error import SourceError
from tests.conftest import need_real_data
from tests.provider_fixture import Answer, Request, ScriptedServer, scripted_server
from tokengov_pipelines.demo.providers.books import (
    OPENAI,
    ApiKey,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)
from tokengov_pipelines.demo.providers.server import ProviderServer

KEY = "sk-admin-7PLANTED7secret"
NOW = dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC)
FIRST = dt.date(2026, 10, 5)
DAYS = [FIRST + dt.timedelta(days=number) for number in range(3)]
WINDOW = "2026-10-05 to 2026-10-07"

Row = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path)


def new_lake(folder: Path) -> Lake:
    return Lake(root=str(folder / "lake"), cache_dir=str(folder / "cache"))


def reports(url: str, **fields: Any) -> OpenAIReports:
    patience = {"attempts": 2, "first_pause_seconds": 0.001, "longest_pause_seconds": 5.0, "read_timeout_seconds": 10.0}
    return OpenAIReports(**{"admin_key": KEY, "account": "acme", "base_url": f"{url}/v1", **patience, **fields})


def seconds(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def completions(**fields: Any) -> Row:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 100,
        "output_tokens": 20,
        "num_model_requests": 3,
        "project_id": "proj_1",
        "user_id": "user_1",
        "api_key_id": "key_1",
        "model": "gpt-5-mini-2025-08-07",
        "batch": False,
        "service_tier": "default",
        "input_cached_tokens": 40,
        "input_cache_write_tokens": 5,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
    } | fields


def cost(value: Any = "0.5", **fields: Any) -> Row:
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": "usd"},
        "line_item": "gpt-5-mini-2025-08-07, input",
        "project_id": "proj_1",
        "api_key_id": "key_1",
        "quantity": 2.5,
        "quantity_unit": "1000_tokens",
    } | fields


class Organisation:
    """An organisation as its endpoints report it: rows by report and day, `page_size` buckets a page.

    `expires_once` makes the first request with a cursor fail with 410; `instead` answers a path in another way.
    """

    def __init__(self, page_size: int = 31, *, expires_once: bool = False, rows_backwards: bool = False) -> None:
        self.rows: dict[str, dict[dt.date, list[Row]]] = {}
        self.lists: dict[str, list[Row]] = {}
        self.instead: dict[str, Any] = {}
        self.page_size, self.rows_backwards = page_size, rows_backwards
        self._still_to_expire = expires_once

    def report(self, report: str, day: dt.date, *rows: Row) -> "Organisation":
        self.rows.setdefault(report, {})[day] = list(rows)
        return self

    def __call__(self, request: Request) -> Any:
        path = request.path.removeprefix("/v1/organization/")
        if path in self.instead:
            answer = self.instead[path]
            return answer(request) if callable(answer) else answer
        if path.startswith(("projects", "users")):
            return self._list(request, self.lists.get(path, []))
        return self._report(request, self.rows.get(path.removeprefix("usage/"), {}))

    def _report(self, request: Request, rows: dict[dt.date, list[Row]]) -> Any:
        start, end = (int(request.param(name) or 0) for name in ("start_time", "end_time"))
        cursor = int((request.param("page") or "page_0").removeprefix("page_"))
        if cursor and self._still_to_expire:
            self._still_to_expire = False
            return Answer({"error": {"message": "the cursor has expired", "type": "gone"}}, status=410)
        starts = range(start, end, 86_400)
        buckets = []
        for begin in starts[cursor : cursor + self.page_size]:
            found = rows.get(dt.datetime.fromtimestamp(begin, dt.UTC).date(), [])
            results = found[::-1] if self.rows_backwards else found
            buckets.append({"object": "bucket", "start_time": begin, "end_time": begin + 86_400, "results": results})
        more = cursor + self.page_size < len(starts)
        next_page = f"page_{cursor + self.page_size}" if more else None
        return {"object": "page", "data": buckets, "has_more": more, "next_page": next_page}

    def _list(self, request: Request, entries: list[Row]) -> Any:
        ids = [entry["id"] for entry in entries]
        after = request.param("after")
        first = ids.index(after) + 1 if after else 0
        shown = entries[first : first + self.page_size]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": first + self.page_size < len(entries),
        }


def rows_of(lake: Lake, table: str, columns: str, order: str = "all") -> list[tuple[Any, ...]]:
    files = lake.current_files(table)
    return duckdb.sql(f"select {columns} from read_parquet({files}) order by {order}").fetchall()


def loads_of(lake: Lake, table: str) -> dict[str, str]:
    found = {partition: lake.current(table, partition) for partition in lake.partitions(table)}
    return {partition: record.sha256 for partition, record in found.items() if record}


def busy_month() -> Organisation:
    """31 days, some of them empty, with several kinds, rows that differ in one dimension only, and nulls."""
    organisation = Organisation()
    for number in range(0, 31, 2):
        day = FIRST + dt.timedelta(days=number)
        organisation.report(
            "completions",
            day,
            completions(input_tokens=number + 1),
            completions(batch=True),
            completions(api_key_id=None, project_id=None, user_id=None),
            completions(service_tier="flex", input_cached_tokens=None),
            completions(model="gpt-5-2025-08-07"),
        )
        organisation.report("costs", day, cost(f"{number}.0625000000000000"), cost(0.06, api_key_id=None))
    organisation.report("images", FIRST, {"images": 4, "num_model_requests": 2, "size": "1024x1024", "model": "dall-e"})
    organisation.report("web_search_calls", FIRST, {"num_requests": 9, "num_model_requests": 3, "model": "gpt-5"})
    return organisation


# --- real recordings -------------------------------------------------------------------------------------------------


def cells(path: Path) -> list[dict[str, str]]:
    """A TSV's rows by column; empty days are rows of empty cells, and some rows have cells that no column has."""
    header, *lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    assert {len(line) for line in lines} != {len(header)}, "the recording is ragged; that is what is tried here"
    assert not any(cell for line in lines for cell in line[len(header) :])
    return [dict(zip(header, [*line, *[""] * len(header)], strict=False)) for line in lines]


def recorded() -> Organisation:
    """The organisation of the TSV exports: numbers as they were exported ('10.0', amounts as text)."""
    folder = need_real_data("openai_admin_recordings")
    organisation = Organisation()
    used: dict[tuple[str, str, str], int] = {}
    for row in cells(folder / "usage_by_model_2025-10-05_2025-10-11.tsv"):
        if not row["model"]:
            continue
        # The export puts one constant in place of every key: the second row of a day and model gets its own back.
        group = (row["start_time"], row["model"], row["api_key_example"])
        used[group] = used.get(group, 0) + 1
        result: Row = {"object": "organization.usage.completions.result"}
        result |= {name: float(cell) for name, cell in row.items() if name.endswith(("_tokens", "_requests"))}
        result |= {name: row[name] for name in ("project_id", "user_id", "model", "service_tier")}
        result |= {"api_key_id": f"{row['api_key_example']}_{used[group]}", "batch": row["batch"] == "TRUE"}
        day = dt.datetime.fromtimestamp(int(row["start_time"]), dt.UTC).date()
        organisation.rows.setdefault("completions", {}).setdefault(day, []).append(result)
    for row in cells(folder / "costs_daily_2025-10-05_2025-10-12.tsv"):
        day = dt.datetime.fromtimestamp(int(row["start_time"]), dt.UTC).date()
        amount = {"value": row["amount_value"], "currency": row["amount_currency"]}
        named = {name: row[name] or None for name in ("line_item", "project_id")}
        organisation.report("costs", day, *([{"amount": amount, **named}] if row["amount_value"] else []))
    return organisation


# Facts of those days (OpenAI's price list of October 2025), USD for a million tokens: input, cached input, output.
PRICES = {
    "gpt-4o-2024-08-06": (Decimal("2.50"), Decimal("1.25"), Decimal("10.00")),
    "gpt-5-2025-08-07": (Decimal("1.25"), Decimal("0.125"), Decimal("10.00")),
    "gpt-5-mini-2025-08-07": (Decimal("0.25"), Decimal("0.025"), Decimal("2.00")),
}


def test_the_recorded_days_reconcile_to_the_last_digit_where_they_did(server: ScriptedServer, lake: Lake) -> None:
    days = [dt.date(2025, 10, 5) + dt.timedelta(days=number) for number in range(8)]
    server.play(recorded())
    source = reports(server.url)
    usage = dict(source.load_usage(lake, days, NOW))
    costs = dict(source.load_costs(lake, days, NOW))

    priced: dict[int, Decimal] = {}
    for day, model, tokens, cached, output in rows_of(
        lake, "openai_usage", "usage_date, model, input_tokens, input_cached_tokens, output_tokens"
    ):
        full, reduced, generated = PRICES[model]
        amount = ((tokens - cached) * full + cached * reduced + output * generated) / 1_000_000
        priced[day.day] = priced.get(day.day, Decimal(0)) + amount
    reported = {day.day: text for day, text in rows_of(lake, "openai_cost", "usage_date, amount_text")}

    assert reported == {
        5: "0.8958740000000000",
        6: "0.5617712500000000",
        7: "0.569788",
        8: "0.5455665000000000",
        10: "0.34090000000000000",
        11: "0.072054",
    }
    assert priced == {
        5: Decimal("0.24726"),
        6: Decimal("0.81584275"),
        7: Decimal("0.569788"),
        10: Decimal("0.3409"),
        11: Decimal("0.072054"),
    }
    assert [day for day in priced if priced[day] == Decimal(reported[day])] == [7, 10, 11]
    assert (usage[days[3]].verdict, costs[days[3]].verdict) == ("zero_proven", "first")
    assert (costs[days[4]].verdict, costs[days[7]].verdict) == ("zero_proven", "zero_proven")
    assert costs[days[0]].seen.sums == {"amount_usd": "0.895874000000"}
    assert usage[days[1]].seen.sums["input_tokens"] == "52047"
    assert rows_of(
        lake, "openai_cost", "distinct account, project_id, api_key_id, line_item, source_unit, currency"
    ) == [("acme", None, None, None, "usd", "USD")]


def test_the_recorded_month_loads_and_its_half_first_day_does_not(server: ScriptedServer, lake: Lake) -> None:
    path = need_real_data("openai_admin_recordings", "usage_completions_2025-01-11_2025-02-10.buckets.json")
    buckets = json.loads(path.read_text(encoding="utf-8"))
    days = [dt.date(2025, 1, 11) + dt.timedelta(days=number) for number in range(31)]
    organisation = Organisation()
    server.play(organisation)
    source = reports(server.url)

    def recorded_page() -> dict[str, Any]:
        return {"object": "page", "data": buckets, "has_more": False, "next_page": None}

    organisation.instead["usage/completions"] = recorded_page()
    with pytest.raises(SourceError, match=r"2025-02-10, page 1: data\[0\]\.start_time should start a UTC day and is"):
        list(source.load_usage(lake, days, NOW))
    assert lake.partitions("openai_usage") == []

    # The notebook asked from 17:31 on, and OpenAI cut the first bucket to that; asked from midnight it begins there.
    buckets[0]["start_time"] = seconds(days[0])
    organisation.instead["usage/completions"] = recorded_page()
    outcomes = dict(source.load_usage(lake, days, NOW))
    results = [result for bucket in buckets for result in bucket["results"]]
    assert len(results) == 26
    assert [day for day, outcome in outcomes.items() if outcome.verdict == "zero_proven"] == [
        days[number] for number, bucket in enumerate(buckets) if not bucket["results"]
    ]
    totals = ("input_tokens", "input_cached_tokens", "input_audio_tokens", "output_tokens", "output_audio_tokens")
    expected = tuple(sum(result[name] for result in results) for name in totals)
    sums = ", ".join(f"sum({name})" for name in totals)
    files = lake.current_files("openai_usage")
    assert duckdb.sql(f"select {sums} from read_parquet({files})").fetchall() == [expected]
    assert rows_of(lake, "openai_usage", "distinct project_id, model, batch, input_cache_write_tokens") == [(None,) * 4]
    # The last bucket ends when it was asked for: that day is known until then and not to its end.
    assert lake.known_until("openai_usage", "day=2025-02-10") == (
        dt.datetime.fromtimestamp(buckets[-1]["end_time"], dt.UTC),
        False,
    )


# --- requests --------------------------------------------------------------------------------------------------------


def test_each_report_is_asked_for_as_documented(server: ScriptedServer, lake: Lake) -> None:
    server.play(Organisation())
    source = reports(server.url)
    list(source.load_usage(lake, DAYS, NOW))
    list(source.load_costs(lake, DAYS, NOW))
    asked = {request.path.removeprefix("/v1/organization/"): request for request in server.requests}
    assert list(asked) == [*(f"usage/{kind.name}" for kind in USAGE_KINDS), "costs"]
    assert asked["usage/completions"].params == [
        ("start_time", str(seconds(FIRST))),
        ("end_time", str(seconds(dt.date(2026, 10, 8)))),
        ("bucket_width", "1d"),
        ("limit", "31"),
        *(("group_by[]", name) for name in ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")),
    ]
    groups = {path: request.all("group_by[]") for path, request in asked.items()}
    assert groups["usage/images"] == ["project_id", "user_id", "api_key_id", "model", "size", "source"]
    assert groups["usage/vector_stores"] == ["project_id"]
    assert groups["usage/file_search_calls"] == ["project_id", "user_id", "api_key_id"]
    assert groups["costs"] == ["project_id", "api_key_id", "line_item"]
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)


def test_no_window_is_longer_than_31_days(server: ScriptedServer, lake: Lake) -> None:
    server.play(Organisation())
    days = [FIRST + dt.timedelta(days=number) for number in (*range(33), 40)]
    outcomes = list(reports(server.url).load_costs(lake, days, NOW))
    assert [day for day, _ in outcomes] == days
    assert {outcome.verdict for _, outcome in outcomes} == {"zero_proven"}
    spans = [
        (int(request.param("end_time") or 0) - int(request.param("start_time") or 0)) // 86_400
        for request in server.requests
    ]
    assert spans == [31, 2, 1]


def test_pages_windows_and_an_expired_cursor_do_not_change_a_byte(server: ScriptedServer, tmp_path: Path) -> None:
    days = [FIRST + dt.timedelta(days=number) for number in range(31)]

    def loads(folder: str, organisation: Organisation, window: int = 31) -> dict[str, dict[str, str]]:
        lake, source = new_lake(tmp_path / folder), reports(server.url)
        organisation.rows = busy_month().rows
        server.play(organisation)
        for first in range(0, 31, window):
            list(source.load_usage(lake, days[first : first + window], NOW))
            list(source.load_costs(lake, days[first : first + window], NOW))
        return {table: loads_of(lake, table) for table in ("openai_usage", "openai_cost")}

    whole = loads("whole", Organisation(31))
    assert [len(partitions) for partitions in whole.values()] == [31, 31]
    assert (
        loads("a bucket a page, the cursor expires", Organisation(1, expires_once=True, rows_backwards=True)) == whole
    )
    assert loads("a week a page", Organisation(7, rows_backwards=True)) == whole
    assert loads("as many as costs allow", Organisation(180), window=30) == whole
    assert loads("a few days a call", Organisation(), window=4) == whole


def test_a_cursor_that_always_expires_is_one_clear_message(server: ScriptedServer, lake: Lake) -> None:
    organisation = Organisation(1)
    server.play(lambda request: Answer({}, status=410) if request.param("page") else organisation(request))
    with pytest.raises(SourceError, match=rf"OpenAI at .*: costs of {WINDOW}: the cursor expired 4 times\. Fix:"):
        list(reports(server.url).load_costs(lake, DAYS, NOW))
    assert lake.partitions("openai_cost") == []


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_changed_value_is_a_new_load_and_the_earlier_one_is_kept(server: ScriptedServer, lake: Lake) -> None:
    organisation = busy_month()
    server.play(organisation)
    source = reports(server.url)
    first = dict(source.load_costs(lake, DAYS, NOW))
    later = NOW + dt.timedelta(days=1)
    assert {outcome.verdict for _, outcome in source.load_costs(lake, DAYS, later)} == {"unchanged"}
    organisation.report("costs", FIRST, cost("0.0625000000000001"), cost(0.06, api_key_id=None))
    second = dict(source.load_costs(lake, DAYS, later))
    assert [outcome.verdict for outcome in second.values()] == ["grown", "unchanged", "unchanged"]
    partition = f"day={FIRST}"
    earlier = Path(lake.root) / "raw" / "openai_cost" / partition / f"load={first[FIRST].seen.load}.parquet"
    assert pq.read_table(earlier)["amount_text"].to_pylist() == ["0.06", "0.0625000000000000"]
    (change,) = lake.changes("openai_cost", partition)
    assert (change["before"], change["load"]) == (first[FIRST].seen.load, second[FIRST].seen.load)


def test_a_smaller_figure_is_taken_and_an_empty_day_after_rows_is_held_back(server: ScriptedServer, lake: Lake) -> None:
    organisation = busy_month()
    server.play(organisation)
    source = reports(server.url)
    list(source.load_costs(lake, DAYS, NOW))
    organisation.report("costs", FIRST, cost("0.01"))
    assert dict(source.load_costs(lake, [FIRST], NOW))[FIRST].verdict == "grown"
    organisation.report("costs", FIRST)
    emptied = dict(source.load_costs(lake, [FIRST], NOW))[FIRST]
    assert (emptied.verdict, emptied.reason) == ("shrunk", "1 rows became 0")
    assert rows_of(lake, "openai_cost", "amount_text, usage_date", "usage_date")[0] == ("0.01", FIRST)


def test_the_archived_bodies_of_a_load_are_what_was_sent(server: ScriptedServer, lake: Lake) -> None:
    organisation = Organisation(2)
    organisation.report("costs", FIRST, cost("0.0625000000000000"))
    server.play(organisation)
    record = dict(reports(server.url).load_costs(lake, DAYS, NOW))[FIRST].seen
    bodies = [json.loads(BodyArchive(lake.root).get("openai", digest)) for digest in record.bodies]
    assert [len(body["data"]) for body in bodies] == [2, 1]
    assert bodies[0]["data"][0]["results"][0]["amount"]["value"] == "0.0625000000000000"


def test_a_day_that_was_read_before_its_end_is_known_until_then(server: ScriptedServer, lake: Lake) -> None:
    organisation = Organisation()
    noon = seconds(DAYS[2]) + 43_200

    def cut_off(request: Request) -> Any:
        answer = organisation._report(request, {DAYS[2]: [completions()]})
        answer["data"][-1]["end_time"] = noon
        return answer

    organisation.instead["usage/completions"] = cut_off
    server.play(organisation)
    list(reports(server.url).load_usage(lake, DAYS, NOW))
    moment = dt.datetime.fromtimestamp(noon, dt.UTC)
    assert lake.known_until("openai_usage", f"day={DAYS[2]}") == (moment, False)
    assert lake.known_until("openai_usage", f"day={DAYS[0]}") == (moment, False)


# --- what an account has not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        Answer({"error": {"message": "Invalid URL (GET /v1/organization/usage/images)", "type": "x"}}, status=404),
        Answer({"error": {"message": "This endpoint is not available for your organization."}}, status=403),
        Answer({"error": {"message": "Usage of images is not supported."}}, status=400),
    ],
    ids=["404", "403", "400"],
)
def test_a_kind_that_the_account_has_not_is_said_and_the_others_are_read(
    server: ScriptedServer, lake: Lake, caplog: pytest.LogCaptureFixture, refusal: Answer
) -> None:
    organisation = busy_month()
    organisation.instead["usage/images"] = refusal
    server.play(organisation)
    outcomes = dict(reports(server.url).load_usage(lake, DAYS, NOW))
    said = f"images usage of {WINDOW} is not read: the account has not got it ({refusal.status} "
    assert all(outcome.reason.startswith(said) for outcome in outcomes.values())
    assert f"OpenAI at {server.url.removeprefix('http://')}: {said}" in caplog.text
    assert rows_of(lake, "openai_usage", "distinct kind") == [("completions",), ("web_search_calls",)]


def test_a_right_that_the_key_lacks_is_an_error_for_every_kind(server: ScriptedServer, lake: Lake) -> None:
    organisation = busy_month()
    missing = "You have insufficient permissions for this operation. Missing scopes: api.usage.read."
    organisation.instead["usage/images"] = Answer({"error": {"message": missing}}, status=403)
    server.play(organisation)
    with pytest.raises(
        SourceError, match=rf"images usage of {WINDOW}, page 1: refused with 403 .*Missing scopes"
    ) as error:
        list(reports(server.url).load_usage(lake, DAYS, NOW))
    assert "Fix: give the key in TOKENGOV_OPENAI_ADMIN_KEY the right to read this." in str(error.value)
    assert lake.partitions("openai_usage") == []


def test_completions_are_required(server: ScriptedServer, lake: Lake) -> None:
    organisation = busy_month()
    organisation.instead["usage/completions"] = Answer({"error": {"message": "not found"}}, status=404)
    server.play(organisation)
    with pytest.raises(SourceError, match=rf"completions usage of {WINDOW}, page 1: refused with 404 not found\. Fix:"):
        list(reports(server.url).load_usage(lake, DAYS, NOW))


def test_a_kind_that_earlier_loads_hold_cannot_go_away_unseen(server: ScriptedServer, lake: Lake) -> None:
    organisation = busy_month()
    server.play(organisation)
    source = reports(server.url)
    before = dict(source.load_usage(lake, DAYS, NOW))[FIRST].seen
    organisation.instead["usage/images"] = Answer({"error": {"message": "not found"}}, status=404)
    with pytest.raises(SourceError, match=r"404 not found, but earlier loads of these days hold this kind\. Fix:"):
        list(source.load_usage(lake, DAYS, NOW))
    assert lake.current("openai_usage", f"day={FIRST}") == before


def refusing(*groups: str) -> Callable[[Request], Any]:
    organisation = Organisation()

    def answer(request: Request) -> Any:
        wrong = [name for name in request.all("group_by[]") if name in groups]
        if wrong:
            message = f"Invalid value: '{wrong[0]}' is not supported. Supported values are: 'project_id', 'api_key_id'."
            return Answer({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
        return organisation._report(request, {FIRST: [completions(user_id=None, service_tier=None)]})

    return answer


def test_a_grouping_that_is_refused_is_left_out_aloud(
    server: ScriptedServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    organisation = Organisation()
    organisation.instead["usage/completions"] = refusing("user_id", "service_tier")
    server.play(organisation)
    outcome = dict(reports(server.url).load_usage(lake, [FIRST], NOW))[FIRST]
    for group in ("user_id", "service_tier"):
        said = f"completions usage of {FIRST} is read without {group}: OpenAI refuses it (invalid_request_error: Inv"
        assert said in outcome.reason
        assert said in caplog.text
    assert rows_of(lake, "openai_usage", "project_id, user_id, api_key_id, service_tier") == [
        ("proj_1", None, "key_1", None)
    ]


@pytest.mark.parametrize("kind", ["completions", "embeddings"])
@pytest.mark.parametrize("group", ["project_id", "api_key_id", "model"])
def test_usage_is_not_read_without_project_key_or_model(
    server: ScriptedServer, lake: Lake, kind: str, group: str
) -> None:
    organisation = Organisation()
    organisation.instead[f"usage/{kind}"] = refusing(group)
    server.play(organisation)
    with pytest.raises(SourceError, match=rf"refused with 400 invalid_request_error: Invalid value: '{group}'"):
        list(reports(server.url).load_usage(lake, [FIRST], NOW))


def test_costs_are_not_read_without_their_groups(server: ScriptedServer, lake: Lake) -> None:
    refused = Answer({"error": {"message": "group_by api_key_id is not supported for this organization"}}, status=400)
    server.play([refused])
    with pytest.raises(SourceError, match=rf"costs of {WINDOW}, page 1: refused with 400 group_by api_key_id"):
        list(reports(server.url).load_costs(lake, DAYS, NOW))


# --- lists -----------------------------------------------------------------------------------------------------------


def listed_organisation(page_size: int = 100) -> Organisation:
    organisation = Organisation(page_size)
    moment = seconds(FIRST)
    person = {"type": "user", "user": {"id": "user_1", "email": "ada@example.com", "name": "Ada", "role": "member"}}
    robot = {"type": "service_account", "service_account": {"id": "svc_1", "name": "ci", "role": "member"}}
    organisation.lists = {
        "projects": [
            {"id": "proj_1", "name": "Search", "status": "active", "created_at": moment, "archived_at": None},
            {"id": "proj_2", "name": "Old", "status": "archived", "created_at": moment, "archived_at": moment + 60},
            {"id": "proj_3", "name": "Chat", "status": "active", "created_at": moment},
        ],
        "projects/proj_1/api_keys": [
            {"id": "key_1", "name": "a", "redacted_value": "sk-a...z", "created_at": moment, "owner": person},
            {"id": "key_2", "name": "b", "redacted_value": "sk-b...z", "created_at": moment, "owner": robot,
             "last_used_at": moment},
            {"id": "key_3", "name": "c", "redacted_value": "sk-c...z", "created_at": moment, "owner": None},
        ],
        "projects/proj_1/service_accounts": [{"id": "svc_1", "name": "ci", "role": "member", "created_at": moment}],
        "users": [{"id": f"user_{number}", "email": f"{number}@example.com", "role": "reader"} for number in (1, 2, 3)],
    }  # fmt: skip
    return organisation


@pytest.mark.parametrize("page_size", [1, 100])
def test_lists_are_snapshots_of_their_day(server: ScriptedServer, lake: Lake, page_size: int) -> None:
    server.play(listed_organisation(page_size))
    outcomes = reports(server.url).load_snapshots(lake, NOW)
    assert {name: outcome.seen.rows for name, outcome in outcomes.items()} == {
        "openai_projects": 3,
        "openai_project_api_keys": 3,
        "openai_users": 3,
        "openai_service_accounts": 1,
    }
    assert lake.partitions("openai_projects") == ["observed=2026-11-24"]
    assert rows_of(lake, "openai_projects", "id, status, created_at, archived_at", "id")[1] == (
        "proj_2",
        "archived",
        "2026-10-05T00:00:00Z",
        "2026-10-05T00:01:00Z",
    )
    assert rows_of(lake, "openai_project_api_keys", "project_id, id, owner_type, owner_id, owner_email", "id") == [
        ("proj_1", "key_1", "user", "user_1", "ada@example.com"),
        ("proj_1", "key_2", "service_account", "svc_1", None),
        ("proj_1", "key_3", None, None, None),
    ]
    by_path = {request.path.removeprefix("/v1/organization/"): request for request in server.requests}
    assert by_path["projects"].param("include_archived") == "true"
    assert by_path["projects/proj_2/api_keys"].param("owner_project_access") == "any"
    assert by_path["users"].param("limit") == "100"
    assert {outcome.verdict for outcome in reports(server.url).load_snapshots(lake, NOW).values()} == {"unchanged"}


def test_an_archived_project_may_refuse_its_lists_and_an_active_one_may_not(
    server: ScriptedServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    refused = Answer({"error": {"message": "Project is archived"}}, status=404)
    organisation = listed_organisation()
    organisation.instead["projects/proj_2/api_keys"] = refused
    server.play(organisation)
    outcomes = reports(server.url).load_snapshots(lake, NOW)
    said = (
        "api_keys of project proj_2 are not listed: the project is archived and the list refused "
        "(404 Project is archived)"
    )
    assert outcomes["openai_project_api_keys"].reason == said
    assert said in caplog.text
    assert outcomes["openai_service_accounts"].reason == ""
    organisation.instead["projects/proj_1/api_keys"] = refused
    with pytest.raises(
        SourceError, match=r"api_keys of project proj_1, page 1: refused with 404 Project is archived\. Fix:"
    ):
        reports(server.url).load_snapshots(new_lake(Path(lake.root) / "other"), NOW)


BROKEN_LISTS: list[tuple[str, Any, str]] = [
    ("projects", {"has_more": False}, "projects, page 1: data is missing"),
    ("projects", {"data": [{}], "has_more": False}, r"projects, page 1: data\[0\]\.id is missing"),
    ("projects", {"data": [{"id": "../users"}], "has_more": False}, r"projects, page 1: data\[0\]\.id is no id"),
    ("projects", {"data": [], "has_more": True, "last_id": None}, "projects, page 1: last_id is null"),
    ("projects", {"data": [], "has_more": "no"}, "projects, page 1: has_more should be true or false and is text"),
    ("users", {"data": [{"id": "u"}, {"id": "u"}], "has_more": False}, r"users, page 1: data\[1\]\.id came twice"),
    ("users", {"data": [{"id": "u"}], "has_more": True, "last_id": "u"}, "users, page 2: .*leads back to a page"),
    (
        "users",
        {"data": [{"id": "u", "email": 5}], "has_more": False},
        r"users, page 1: data\[0\]\.email should be text",
    ),
    ("users", {"data": ["u"], "has_more": False}, r"users, page 1: data\[0\] should be an object and is text"),
    ("users", ["u"], r"users, page 1: the answer is no JSON object"),
    (
        "projects/proj_1/api_keys",
        {"data": [{"id": "k", "redacted_value": "s", "created_at": "soon"}], "has_more": False},
        r"api_keys of project proj_1, page 1: data\[0\]\.created_at should be a whole number and is text",
    ),
    (
        "projects/proj_1/api_keys",
        {"data": [{"id": "k", "created_at": 1}], "has_more": False},
        r"api_keys of project proj_1, page 1: data\[0\]\.redacted_value is missing",
    ),
    (
        "projects/proj_1/api_keys",
        {"data": [{"id": "k", "redacted_value": "s", "owner": {"user": {"name": "x"}}}], "has_more": False},
        r"api_keys of project proj_1, page 1: data\[0\]\.owner\.user\.id is missing",
    ),
]


@pytest.mark.parametrize(("path", "answer", "words"), BROKEN_LISTS)
def test_a_broken_list_is_refused_whole(server: ScriptedServer, lake: Lake, path: str, answer: Any, words: str) -> None:
    organisation = listed_organisation()
    organisation.instead[path] = answer
    server.play(organisation)
    with pytest.raises(SourceError, match=rf"^OpenAI at 127\.0\.0\.1:\d+: {words}"):
        reports(server.url).load_snapshots(lake, NOW)
    assert [lake.partitions(name) for name in ("openai_projects", "openai_project_api_keys", "openai_users")] == [
        []
    ] * 3


# --- broken answers --------------------------------------------------------------------------------------------------

ABSENT = object()
NO_TEXT = (1, 1.5, True, [], {}, "a\x00b")
NO_COUNT = (ABSENT, None, "5", "", True, [], {}, -1, 1.5, 2**63, 1e300)
USAGE_FAULTS: list[tuple[str, Sequence[Any]]] = [
    *((name, NO_COUNT) for name in ("input_tokens", "output_tokens", "num_model_requests")),
    *((name, NO_COUNT[2:]) for name in ("input_cached_tokens", "input_cache_write_tokens", "input_audio_tokens")),
    *((name, NO_TEXT) for name in ("project_id", "user_id", "api_key_id", "model", "service_tier")),
    ("batch", ("false", 0, [], {})),
    ("object", (1, "organization.costs.result", [], {})),
]
COST_FAULTS: list[tuple[str, Sequence[Any]]] = [
    ("amount", (ABSENT, None, 5, "0.5", [], True)),
    ("amount.value", (ABSENT, None, "", "twelve", "1,5", "NaN", "1_0", " 1", True, [], {}, "9" * 30, "0." + "1" * 40)),
    ("amount.currency", (ABSENT, None, "eur", "", 5, [])),
    *((name, NO_TEXT) for name in ("project_id", "api_key_id", "line_item", "quantity_unit")),
    ("quantity", ("many", True, [], {})),
    ("object", (1, "organization.usage.completions.result")),
]
BUCKET_FAULTS: list[tuple[str, Sequence[Any]]] = [
    ("start_time", (ABSENT, None, "1", -1, 1.5, 0, seconds(FIRST) + 1, seconds(FIRST) - 86_400, 10**18, [])),
    ("end_time", (ABSENT, None, "1", -1, 0, seconds(FIRST) + 1, seconds(FIRST) + 172_800, 10**18, {})),
    ("results", (ABSENT, None, {}, "none", 0, [None], ["row"], [[]])),
]
PAGE_FAULTS: list[tuple[str, Sequence[Any]]] = [
    ("data", (ABSENT, None, {}, "none", [], [None], ["bucket"])),
    ("has_more", (ABSENT, None, "false", 0, True)),
]


def put(target: Any, path: Sequence[Any], value: Any) -> None:
    *way, last = path
    for step in way:
        target = target[step]
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value


def good_page(row: Callable[[], Row]) -> dict[str, Any]:
    buckets = [
        {"object": "bucket", "start_time": seconds(day), "end_time": seconds(day) + 86_400, "results": [row()]}
        for day in DAYS
    ]
    return {"object": "page", "data": buckets, "has_more": False, "next_page": None}


def broken_pages(row: Callable[[], Row], faults: Sequence[tuple[str, Sequence[Any]]]) -> Iterator[tuple[Any, str]]:
    """Pages with one fault each, and the field that the error has to name."""
    places: list[tuple[list[Any], str, Sequence[Any]]] = []
    for name, values in faults:
        places.append((["data", 1, "results", 0, *name.split(".")], f"data[1].results[0].{name}", values))
    for name, values in BUCKET_FAULTS:
        places.append((["data", 0, name], f"data[0].{name}" if name != "results" else "data[0].results", values))
    for name, values in PAGE_FAULTS:
        places.append(([name], name, values))
    for path, field, values in places:
        for value in values:
            page = good_page(row)
            put(page, path, value)
            yield page, field
    without_a_day = good_page(row)
    del without_a_day["data"][1]
    yield without_a_day, "data holds no bucket for 2026-10-06"
    row_twice = good_page(row)
    row_twice["data"][0]["results"] *= 2
    yield row_twice, "the same row came twice"
    bucket_twice = good_page(row)
    bucket_twice["data"].append(bucket_twice["data"][0])
    yield bucket_twice, "the same row came twice"
    named_twice = json.dumps(good_page(row)).replace('"end_time"', '"start_time": 1, "end_time"', 1).encode()
    yield named_twice, "the name 'start_time' stands twice"
    for bad in (b"NaN", b"Infinity", b"1e99999999", b"9" * 5000):
        yield (
            json.dumps(good_page(row))
            .replace("1.0", "1")
            .encode()
            .replace(b'"has_more": false', b'"has_more": ' + bad),
            "",
        )
    for body in (b"", b"null", b"[]", b'"page"', b"5", b"<html>busy</html>", b"\xff\xfe", b"[" * 100_000, b"{}"):
        yield body, ""


CASES = [
    *(("usage", page, field) for page, field in broken_pages(completions, USAGE_FAULTS)),
    *(("costs", page, field) for page, field in broken_pages(cost, COST_FAULTS)),
]


def load(source: OpenAIReports, report: str, lake: Lake) -> list[Any]:
    return list((source.load_usage if report == "usage" else source.load_costs)(lake, DAYS, NOW))


def test_no_broken_body_is_swallowed_or_half_loaded(server: ScriptedServer, lake: Lake) -> None:
    assert len(CASES) >= 200
    source = reports(server.url)
    what = {"usage": f"completions usage of {WINDOW}", "costs": f"costs of {WINDOW}"}
    for report, page, field in CASES:
        server.play(lambda _request, page=page: page if isinstance(page, bytes) else copy.deepcopy(page))
        with pytest.raises(SourceError) as error:
            load(source, report, lake)
        text = str(error.value)
        assert text.startswith("OpenAI at 127.0.0.1:"), text
        assert what[report] in text or f"usage of {WINDOW}" in text, text
        assert field in text, (field, text)
        assert "Fix: " in text, text
    assert lake.partitions("openai_usage") == lake.partitions("openai_cost") == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(place=st.sampled_from(["input_tokens", "data", "results", "start_time", "has_more"]), value=JSON_VALUES)
def test_any_other_value_is_refused_or_is_a_value(
    server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory, place: str, value: Any
) -> None:
    page = good_page(completions)
    paths = {"input_tokens": ["data", 0, "results", 0], "results": ["data", 0], "start_time": ["data", 0]}
    put(page, [*paths.get(place, []), place], value)
    organisation = Organisation()
    organisation.instead["usage/completions"] = page
    server.play(organisation)
    lake = new_lake(tmp_path_factory.mktemp("fuzz"))
    is_count = type(value) in (int, float) and 0 <= value < 2**63 and value == int(value)
    harmless = {"input_tokens": is_count, "has_more": value is False, "results": value == []}.get(place, False)
    if harmless:
        assert [day for day, _ in load(reports(server.url), "usage", lake)] == DAYS
        return
    with pytest.raises(SourceError, match=rf"^OpenAI at .*: completions usage of {WINDOW}, page 1: (data.*)?{place}"):
        load(reports(server.url), "usage", lake)
    assert lake.partitions("openai_usage") == []


@FUZZ
@given(cut=st.integers(min_value=0, max_value=len(json.dumps(good_page(cost))) - 1), hangs_up=st.booleans())
def test_a_body_that_is_cut_off_anywhere_is_refused(
    server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory, cut: int, hangs_up: bool
) -> None:
    body = json.dumps(good_page(cost)).encode()
    server.play(lambda _request: Answer(body, cut=cut) if hangs_up else body[:cut])
    lake = new_lake(tmp_path_factory.mktemp("cut"))
    with pytest.raises(SourceError, match=rf"^OpenAI at .*: costs of {WINDOW}, page 1: .*; tried 2 times\. Fix:"):
        load(reports(server.url), "costs", lake)
    assert lake.partitions("openai_cost") == []


def said(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(said("Incorrect API key provided"), 401), "refused with 401 invalid_request_error: Incorrect API key"),
        (Answer(said("Missing scopes: api.usage.read"), 403), "refused with 403 .*Missing scopes: api.usage.read"),
        (
            Answer({"error": "Missing scopes: api.usage.read"}, 403),
            "refused with 403.*Fix: give the key in TOKENGOV_OPENAI",
        ),
        (Answer(said("Invalid URL"), 404), r"refused with 404 .*Fix: check base_url in tokengov\.yaml"),
        (
            Answer(said("start_time is too early"), 400),
            "refused with 400 invalid_request_error: start_time is too early",
        ),
        (Answer(said("Rate limit reached"), 429, {"retry-after": "0"}), "answered 429 .*Rate limit.*; tried 2 times"),
        (Answer(said("Rate limit reached"), 429, {"retry-after": "9999"}), "asks to wait until 20.* UTC .429"),
        (Answer(said("The server had an error"), 500), "answered 500 .*The server had an error; tried 2 times"),
        (Answer(b"<html>bad gateway</html>", 502), "answered 502; tried 2 times"),
        (Answer(b"", 302, {"location": "http://elsewhere.example/"}), "refused with 302"),
        (Answer(good_page(cost), delay=1.0), "no answer within 0.2 s; tried 2 times"),
        (Answer(good_page(cost), cut=50), "the connection failed or was cut off .*; tried 2 times"),
    ],
)
def test_an_error_status_a_time_out_and_a_cut_connection_are_one_clear_message(
    server: ScriptedServer, lake: Lake, answer: Answer, words: str
) -> None:
    server.play(lambda _request: answer)
    with pytest.raises(
        SourceError, match=rf"^OpenAI at 127\.0\.0\.1:\d+: costs of {WINDOW}, page 1: .*{words}"
    ) as error:
        load(reports(server.url, read_timeout_seconds=0.2), "costs", lake)
    assert "Fix: " in str(error.value)
    assert lake.partitions("openai_cost") == []


def test_a_passing_fault_leaves_no_trace(server: ScriptedServer, lake: Lake) -> None:
    page = good_page(cost)
    server.play([Answer(said("slow down"), 429, {"retry-after": "0"}), Answer(b"", 503), Answer(page, cut=9), page])
    outcomes = load(reports(server.url, attempts=4), "costs", lake)
    assert [outcome.verdict for _, outcome in outcomes] == ["first"] * 3
    assert len(outcomes[0][1].seen.bodies) == 1


@pytest.mark.parametrize("cursor", ["page_1", "page_2"])
def test_a_page_that_comes_again_is_no_second_day(server: ScriptedServer, lake: Lake, cursor: str) -> None:
    first = good_page(cost) | {"has_more": True, "next_page": "page_1"}
    server.play([first, first | {"next_page": cursor}, good_page(cost)])
    words = {"page_1": "leads back to a page that was read", "page_2": "2026-10-05: the same row came twice"}
    with pytest.raises(SourceError, match=words[cursor]):
        load(reports(server.url), "costs", lake)
    assert lake.partitions("openai_cost") == []


def test_a_listing_that_ends_too_early_lacks_days(server: ScriptedServer, lake: Lake) -> None:
    page = good_page(cost)
    server.play([page | {"data": page["data"][:2]}])
    with pytest.raises(SourceError, match=rf"costs of {WINDOW}, page 1: data holds no bucket for 2026-10-07\. Fix:"):
        load(reports(server.url), "costs", lake)


def test_a_second_window_that_fails_leaves_the_first_one_and_nothing_of_its_own(
    server: ScriptedServer, lake: Lake
) -> None:
    organisation = Organisation()
    days = [FIRST + dt.timedelta(days=number) for number in range(40)]
    border = seconds(days[31])

    def answer(request: Request) -> Any:
        is_second = int(request.param("start_time") or 0) >= border
        return Answer(b"", 500) if is_second and request.path.endswith("web_search_calls") else organisation(request)

    server.play(answer)
    with pytest.raises(SourceError, match=rf"web_search_calls usage of {days[31]} to {days[39]}"):
        list(reports(server.url).load_usage(lake, days, NOW))
    assert lake.partitions("openai_usage") == [f"day={day}" for day in days[:31]]


def test_a_key_that_is_not_set_is_one_clear_message(server: ScriptedServer, lake: Lake) -> None:
    with pytest.raises(SourceError, match=r"^OpenAI at .*: TOKENGOV_OPENAI_ADMIN_KEY is not set\. Fix:"):
        load(reports(server.url, admin_key=""), "costs", lake)
    with pytest.raises(SourceError, match=r"TOKENGOV_OPENAI_ADMIN_KEY holds characters that no key has") as error:
        load(reports(server.url, admin_key=f"{KEY}\n"), "costs", lake)
    assert KEY not in str(error.value)


# --- secrets ---------------------------------------------------------------------------------------------------------


def everything_kept(lake: Lake) -> str:
    """Every file under the lake as text: archived bodies unpacked, Parquet as its values."""
    texts = []
    for path in sorted(Path(lake.root).rglob("*")):
        if path.suffix == ".gz":
            texts.append(gzip.decompress(path.read_bytes()).decode())
        elif path.suffix == ".parquet":
            texts.append(str(pq.read_table(path).to_pylist()))
        elif path.is_file():
            texts.append(path.read_text(encoding="utf-8"))
    return "\n".join(texts)


def test_an_echoed_key_is_kept_nowhere(
    server: ScriptedServer, lake: Lake, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"you sent Authorization: Bearer {KEY} and sk-proj-somebodyelses123"
    organisation = listed_organisation()
    organisation.lists["users"][0]["name"] = f"Bearer {KEY}"
    organisation.report("completions", FIRST, completions(model=KEY))
    organisation.report("costs", FIRST, cost(line_item=f"{KEY}, input"))
    organisation.instead["usage/images"] = Answer(said(f"not found: {echo}"), 404)
    organisation.instead["projects/proj_2/api_keys"] = Answer(said(echo), 403)
    server.play(organisation)
    source = reports(server.url)
    outcomes = [*source.load_usage(lake, DAYS, NOW), *source.load_costs(lake, DAYS, NOW)]
    outcomes += source.load_snapshots(lake, NOW).items()
    shown = [str(outcomes)]
    for status in (400, 401, 403, 404, 429, 500):
        server.play(lambda _request, status=status: Answer(said(echo), status, {"x-request-id": KEY}))
        for failing in (source.load_usage, source.load_costs):
            with pytest.raises(SourceError) as error:
                list(failing(lake, DAYS, NOW))
            shown.append(str(error.value))
        with pytest.raises(SourceError) as error:
            source.load_snapshots(lake, NOW)
        shown.append(str(error.value))
    kept = everything_kept(lake)
    assert "***, input" in kept
    for text in (*shown, caplog.text, *capfd.readouterr(), kept):
        assert KEY not in text
    assert all("somebodyelses" not in text for text in (*shown, caplog.text))


# --- the demo's provider server --------------------------------------------------------------------------------------


def test_the_demo_server_gives_the_same_loads_whatever_its_pages_and_numbers(tmp_path: Path) -> None:
    made = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    books = ProviderBooks(
        usage=(
            UsageCell(FIRST, OPENAI, "acme", "key_1", "proj_1", "gpt-5", user_id="user_1", uncached_input=10, output=3,
                      cache_read=5, requests=2),
            UsageCell(DAYS[2], OPENAI, "acme", None, "proj_2", "gpt-5", service_tier="batch", output=1, requests=1),
            UsageCell(FIRST, OPENAI, "acme", "key_1", "proj_1", "gpt-5", kind="web_search_calls", units=4),
        ),
        costs=(
            CostCell(FIRST, OPENAI, "acme", "key_1", "proj_1", "gpt-5", "gpt-5, input", Decimal("0.12345678901"),
                     Decimal("0.12345678901")),
            CostCell(FIRST, OPENAI, "acme", None, "proj_1", "gpt-5", "gpt-5, output", Decimal("3"), Decimal("3")),
        ),
        keys=tuple(
            ApiKey(OPENAI, f"key_{number}", "k", "sk-...x", "proj_1", made, owner_type="user", owner_id="user_1",
                   owner_has_access=number == 1)
            for number in (1, 2)
        ),
        workspaces=(
            Workspace(OPENAI, "proj_1", "Search", made),
            Workspace(OPENAI, "proj_2", "Old", made, archived_at=made),
        ),
        users=(User(OPENAI, "user_1", "ada@example.com", "Ada", "owner", made),),
        service_accounts=(ServiceAccount(OPENAI, "svc_1", "ci", "member", made, "proj_1"),),
    )  # fmt: skip
    loads = []
    for number, (amounts, page_limit) in enumerate((("number", None), ("string", 1))):
        with ProviderServer(books, amounts=amounts, page_limit=page_limit, openai_key=KEY) as running:
            lake = new_lake(tmp_path / str(number))
            source = reports(running.url, base_url=running.openai_url)
            list(source.load_usage(lake, DAYS, NOW))
            list(source.load_costs(lake, DAYS, NOW))
            snapshots = source.load_snapshots(lake, NOW)
            loads.append({table: loads_of(lake, table) for table in (USAGE.name, COST.name, *snapshots)})
    assert loads[0] == loads[1]
    assert snapshots["openai_project_api_keys"].seen.rows == 2
    assert rows_of(lake, "openai_usage", "kind, usage_date, input_tokens, input_cached_tokens, batch, requests") == [
        ("completions", FIRST, 15, 5, False, 2),
        ("completions", DAYS[2], 0, 0, True, 1),
        ("web_search_calls", FIRST, None, None, None, 4),
    ]
    assert rows_of(lake, "openai_cost", "api_key_id, amount_text", "amount_text") == [
        ("key_1", "0.12345678901"),
        (None, "3"),
    ]
