"""OpenAI's answers, read without a network: what is taken, what stays null, and what is refused."""

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.json_fields import JsonObject, parse_json
from resources.openai_answers import (
    api_key_row,
    cost_row,
    daily_results,
    next_after,
    project_row,
    service_account_row,
    usage_row,
    user_row,
)
from resources.openai_tables import DIMENSIONS, OPENAI_SNAPSHOTS, REQUIRED_KIND, USAGE, USAGE_GROUP, USAGE_KINDS
from resources.source_error import SourceError

DAY = dt.date(2026, 10, 5)
NEXT = dt.date(2026, 10, 6)
WHERE = "OpenAI at api.openai.com: completions usage of 2026-10-05 to 2026-10-06, page 1"
KINDS = {kind.name: kind for kind in USAGE_KINDS}


def read(text: str) -> JsonObject:
    return JsonObject(parse_json(text.encode()), WHERE)


def bucket(day: dt.date, results: Sequence[Any] = (), *, start: int = 0, end: int = 0) -> dict[str, Any]:
    midnight = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())
    return {
        "object": "bucket",
        "start_time": midnight + start,
        "end_time": midnight + 86_400 + end,
        "results": list(results),
    }


def page(*buckets: dict[str, Any]) -> JsonObject:
    return read(json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None}))


def completions(**fields: Any) -> JsonObject:
    required = {"input_tokens": 10, "output_tokens": 2, "num_model_requests": 1}
    return read(json.dumps({"object": "organization.usage.completions.result", **required, **fields}))


def cost(amount: str, **fields: Any) -> JsonObject:
    others = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return read(f'{{"object": "organization.costs.result", "amount": {amount}{others}}}')


def test_cached_counts_that_are_absent_or_null_stay_null() -> None:
    absent = usage_row(KINDS["completions"], completions(input_audio_tokens=None), DAY, "acme")
    assert (absent["input_cached_tokens"], absent["input_audio_tokens"]) == (None, None)
    zero = usage_row(KINDS["completions"], completions(input_cached_tokens=0), DAY, "acme")
    assert zero["input_cached_tokens"] == 0


def test_a_null_dimension_is_a_value_and_an_ungrouped_one_is_null() -> None:
    row = usage_row(KINDS["completions"], completions(project_id=None, api_key_id="key_1", batch=False), DAY, "acme")
    shown = {name: row[name] for name in ("kind", "usage_date", "account", "project_id", "api_key_id", "batch")}
    assert shown == {
        "kind": "completions",
        "usage_date": DAY,
        "account": "acme",
        "project_id": None,
        "api_key_id": "key_1",
        "batch": False,
    }


@pytest.mark.parametrize(
    ("kind", "fields", "filled"),
    [
        ("embeddings", {"input_tokens": 7, "num_model_requests": 2}, {"input_tokens": 7, "requests": 2}),
        ("moderations", {"input_tokens": 7, "num_model_requests": 2}, {"input_tokens": 7, "requests": 2}),
        (
            "images",
            {"images": 3, "num_model_requests": 2, "size": "1024x1024", "source": "image.edit"},
            {"images": 3, "requests": 2, "image_size": "1024x1024", "image_source": "image.edit"},
        ),
        ("audio_speeches", {"characters": 9, "num_model_requests": 1}, {"characters": 9, "requests": 1}),
        ("audio_transcriptions", {"seconds": 60, "num_model_requests": 1}, {"seconds": 60, "requests": 1}),
        ("vector_stores", {"usage_bytes": 5}, {"usage_bytes": 5}),
        ("code_interpreter_sessions", {"num_sessions": 4}, {"sessions": 4}),
        (
            "file_search_calls",
            {"num_requests": 6, "object": "organization.usage.file_searches.result"},
            {"requests": 6},
        ),
        # the calls of the search tool, not the model requests they were part of
        ("web_search_calls", {"num_requests": 6, "num_model_requests": 2}, {"requests": 6}),
    ],
)
def test_every_kind_fills_its_own_columns(kind: str, fields: dict[str, Any], filled: dict[str, Any]) -> None:
    row = usage_row(KINDS[kind], read(json.dumps(fields)), DAY, "acme")
    assert list(row) == USAGE.schema.names
    given = {name: value for name, value in row.items() if value is not None}
    assert given == {"kind": kind, "usage_date": DAY, "account": "acme", **filled}


def test_the_table_and_the_kinds_name_the_same_columns() -> None:
    assert KINDS[REQUIRED_KIND] is USAGE_KINDS[0]
    assert set(USAGE_GROUP) <= set(USAGE.schema.names)
    for kind in USAGE_KINDS:
        assert set(kind.group_by) <= set(DIMENSIONS)
        assert {*kind.required, *kind.optional} <= set(USAGE.schema.names) - set(USAGE_GROUP)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('"0.34090000000000000"', "0.34090000000000000"),
        ('"0.8958740000000000"', "0.8958740000000000"),
        ("0.06", "0.06"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("12", "12"),
        ("1e-7", "0.0000001"),
        ("-0.5", "-0.5"),
        ("0", "0"),
    ],
)
def test_an_amount_keeps_its_digits_whether_number_or_text(value: str, kept: str) -> None:
    row = cost_row(cost(f'{{"value": {value}, "currency": "usd"}}'), DAY, "acme")
    assert (row["amount_text"], row["source_unit"], row["currency"]) == (kept, "usd", "USD")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=16), st.booleans())
def test_no_amount_goes_through_a_float(amount: Decimal, is_text: bool) -> None:
    written = format(amount, "f")
    value = json.dumps(written) if is_text else written
    row = cost_row(cost(f'{{"value": {value}, "currency": "usd"}}'), DAY, "acme")
    assert row["amount_text"] == written


def test_a_cost_of_no_project_key_or_line_item_is_kept() -> None:
    row = cost_row(
        cost('{"value": 1, "currency": "usd"}', line_item=None, quantity=2.5, quantity_unit="1000_tokens"), DAY, "a"
    )
    assert (row["project_id"], row["api_key_id"], row["line_item"]) == (None, None, None)
    assert (row["quantity_text"], row["quantity_unit"]) == ("2.5", "1000_tokens")


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("null", "amount is null"),
        ("0.5", "amount should be an object and is a number"),
        ('{"currency": "usd"}', "amount.value is missing"),
        ('{"value": null, "currency": "usd"}', "amount.value is null"),
        ('{"value": true, "currency": "usd"}', "amount.value should be a number and is true or false"),
        ('{"value": "twelve", "currency": "usd"}', "amount.value should be a number and is the text 'twelve'"),
        ('{"value": "NaN", "currency": "usd"}', "amount.value should be a number and is the text 'NaN'"),
        ('{"value": "-Infinity", "currency": "usd"}', "amount.value should be a number and is the text '-Infinity'"),
        ('{"value": "1e999", "currency": "usd"}', "amount.value is out of range: 1e999"),
        ('{"value": 100000000000000000000, "currency": "usd"}', "amount.value is out of range: 1000"),
        ('{"value": 1, "currency": "eur"}', "amount.currency should be usd and is 'eur'"),
        ('{"value": 1, "currency": null}', "amount.currency is null"),
        ('{"value": 1}', "amount.currency is missing"),
    ],
)
def test_an_amount_that_is_no_dollars_is_refused(amount: str, words: str) -> None:
    with pytest.raises(SourceError) as error:
        cost_row(cost(amount), DAY, "acme")
    assert str(error.value).startswith(f"{WHERE}: {words}")
    assert "Fix: " in str(error.value)


def test_a_row_of_another_endpoint_is_refused() -> None:
    with pytest.raises(SourceError, match=r"object should be organization\.usage\.embeddings\.result and is 'organi"):
        usage_row(KINDS["embeddings"], completions(), DAY, "acme")
    with pytest.raises(SourceError, match=r"object should be organization\.costs\.result and is"):
        cost_row(completions(), DAY, "acme")


def test_a_bucket_without_rows_is_a_proven_zero() -> None:
    rows, until = daily_results([page(bucket(DAY), bucket(NEXT))], [DAY, NEXT])
    assert (rows, until) == ([], None)


def test_rows_keep_the_day_of_their_bucket_over_pages() -> None:
    pages = [page(bucket(DAY, [{"a": 1}, {"a": 2}])), page(bucket(NEXT, [{"a": 3}]))]
    rows, _ = daily_results(pages, [DAY, NEXT])
    assert [(day, row.values["a"]) for day, row in rows] == [(DAY, 1), (DAY, 2), (NEXT, 3)]


def test_only_the_last_day_may_end_early_and_says_until_when() -> None:
    rows, until = daily_results([page(bucket(DAY, [{}]), bucket(NEXT, [{}], end=-43_200))], [DAY, NEXT])
    assert (len(rows), until) == (2, dt.datetime(2026, 10, 6, 12, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("buckets", "words"),
    [
        ([bucket(DAY)], "data holds no bucket for 2026-10-06"),
        ([], "data holds no bucket for 2026-10-05, 2026-10-06"),
        ([bucket(DAY, start=60), bucket(NEXT)], "data[0].start_time should start a UTC day and is 2026-10-05T00:01"),
        ([bucket(DAY), bucket(dt.date(2026, 10, 7))], "data[1].start_time lies outside the window: 2026-10-07"),
        (
            [bucket(DAY, end=-1), bucket(NEXT)],
            "data[0].end_time should end the UTC day 2026-10-05 and is 2026-10-05T23",
        ),
        ([bucket(DAY, end=86_400), bucket(NEXT)], "data[0].end_time should end the UTC day 2026-10-05 and is"),
        ([bucket(DAY), bucket(NEXT, end=1)], "data[1].end_time should end the UTC day 2026-10-06 and is"),
        ([bucket(DAY), bucket(NEXT, end=-86_400)], "data[1].end_time should end the UTC day 2026-10-06 and is"),
    ],
)
def test_a_day_that_is_missing_or_no_whole_day_is_refused(buckets: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(SourceError) as error:
        daily_results([page(*buckets)], [DAY, NEXT])
    assert str(error.value).startswith(f"{WHERE}: {words}")


def test_many_missing_days_are_named_shortly() -> None:
    days = [dt.date(2026, 10, 1) + dt.timedelta(days=number) for number in range(31)]
    with pytest.raises(SourceError, match=r"for 2026-10-02, 2026-10-03, 2026-10-04, 2026-10-05, 2026-10-06 and more\."):
        daily_results([page(bucket(days[0]))], days)


def test_lists_are_paged_by_their_last_id() -> None:
    assert next_after(read('{"has_more": true, "last_id": "user_9"}')) == [("after", "user_9")]
    assert next_after(read('{"has_more": false, "last_id": "user_9"}')) is None
    with pytest.raises(SourceError, match="last_id is null"):
        next_after(read('{"has_more": true, "last_id": null}'))


def test_a_key_keeps_its_owner_be_it_a_person_a_service_account_or_nobody() -> None:
    base = {"id": "key_1", "name": None, "redacted_value": "sk-abc...xyz", "created_at": 1_759_622_400}
    person = {"type": "user", "user": {"id": "user_1", "email": "ada@example.com", "name": "Ada", "role": "member"}}
    service = {"type": "service_account", "service_account": {"id": "svc_1", "name": "ci", "role": "member"}}

    def row(**fields: Any) -> dict[str, Any]:
        return api_key_row(read(json.dumps({**base, **fields})), "proj_1")

    assert row(owner=person, last_used_at=1_759_708_800) == {
        "project_id": "proj_1",
        "id": "key_1",
        "name": None,
        "redacted_value": "sk-abc...xyz",
        "owner_type": "user",
        "owner_id": "user_1",
        "owner_email": "ada@example.com",
        "created_at": "2025-10-05T00:00:00Z",
        "last_used_at": "2025-10-06T00:00:00Z",
    }
    owned = row(owner=service)
    assert (owned["owner_type"], owned["owner_id"], owned["owner_email"]) == ("service_account", "svc_1", None)
    gone = row(owner=None)
    assert (gone["owner_type"], gone["owner_id"], gone["last_used_at"]) == (None, None, None)


def test_every_list_row_names_the_columns_of_its_table() -> None:
    entry = read('{"id": "x", "redacted_value": "sk-...", "created_at": 0}')
    rows = {
        "openai_projects": project_row(entry),
        "openai_project_api_keys": api_key_row(entry, "proj_1"),
        "openai_users": user_row(entry),
        "openai_service_accounts": service_account_row(entry, "proj_1"),
    }
    for name, row in rows.items():
        assert ["observed_date", "account", *row] == OPENAI_SNAPSHOTS[name].schema.names
