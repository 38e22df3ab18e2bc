"""Reading JSON strictly: what is taken, what is refused, and with which words."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.json_fields import JsonObject, NotJsonError, parse_json
from resources.source_error import SourceError

DAYS = [dt.date(2026, 10, 1), dt.date(2026, 10, 2)]


def read(text: str) -> JsonObject:
    """An object as a source would read it."""
    return JsonObject(parse_json(text.encode()), "Provider at host: report of a day")


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON at character 0 of 0: Expecting value"),
        (b'{"a": 1', "not JSON at character 7 of 7: "),
        (b"<html>busy</html>", "not JSON at character 0 of 17: Expecting value"),
        (b'{"a": NaN}', "not JSON: NaN is no number"),
        (b'{"a": -Infinity}', "not JSON: -Infinity is no number"),
        (b'{"a": {"b": 1, "b": 2}}', "not trusted: the name 'b' stands twice in one object"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7 of 10"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON at character 0 of 11: "),
        (b'{"a": 1}{"a": 1}', "not JSON at character 8 of 16: Extra data"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: a number beyond any limit"),
        (b'{"a": 1e' + b"9" * 30 + b"}", "not JSON: a number or a nesting beyond any limit"),
        (b"[" * 200_000, "not JSON: a number or a nesting beyond any limit"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_its_position(body: bytes, words: str) -> None:
    with pytest.raises(NotJsonError) as error:
        parse_json(body)
    assert str(error.value).startswith(words)


def test_numbers_never_pass_through_a_float() -> None:
    values = read('{"a": 0.1, "b": 0.30000000000000004, "c": "41280.000000", "d": 7, "e": 1.5e-7, "f": "-0.50"}')
    assert [values.amount(name) for name in "abcdef"] == [
        "0.1",
        "0.30000000000000004",
        "41280.000000",
        "7",
        "0.00000015",
        "-0.50",
    ]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15))
def test_an_amount_keeps_every_digit(number: Decimal) -> None:
    for text in (json.dumps({"a": format(number, "f")}), f'{{"a": {format(number, "f")}}}'):
        assert Decimal(read(text).amount("a")) == number


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('""', "should be a number and is the text ''"),
        ('"abc"', "should be a number and is the text 'abc'"),
        ('"1_000"', "should be a number and is the text '1_000'"),
        ('" 1"', "should be a number and is the text ' 1'"),
        ('"1\\n"', "should be a number and is the text '1\\n'"),
        ('"\\u0661"', "should be a number and is the text '\u0661'"),
        ('"NaN"', "should be a number and is the text 'NaN'"),
        ('"sNaN"', "should be a number and is the text 'sNaN'"),
        ('"Infinity"', "should be a number and is the text 'Infinity'"),
        ('"0x10"', "should be a number and is the text '0x10'"),
        ('"1,5"', "should be a number and is the text '1,5'"),
        ("true", "should be a number and is true or false"),
        ("[1]", "should be a number and is a list"),
        ("null", "is null"),
        ('"1e20"', "is out of range: 1e20"),
        ("100000000000000000000", "is out of range: 100000000000000000000"),
        ('"1e-39"', "has more than 38 digits"),
        ('"1.00000000000000000000000000000000000001"', "has more than 38 digits"),
    ],
)
def test_an_amount_that_cannot_be_booked_is_refused(value: str, words: str) -> None:
    said = refusal(lambda: read(f'{{"a": {value}}}').amount("a"))
    assert said.startswith(f"Provider at host: report of a day: a {words}. Fix: ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"7"', "should be a whole number and is text"),
        ("true", "should be a whole number and is true or false"),
        ("1.5", "should be a whole number and is 1.5"),
        ("-1", "is out of range: -1"),
        ("9223372036854775808", "is out of range: 9223372036854775808"),
        ("1e300", "is out of range: 1E+300"),
        ("null", "is null"),
    ],
)
def test_a_count_is_a_whole_number_that_is_not_negative(value: str, words: str) -> None:
    assert f": a {words}. Fix: " in refusal(lambda: read(f'{{"a": {value}}}').count("a"))


def test_counts_of_any_notation_are_whole() -> None:
    values = read('{"a": 7, "b": 7.0, "c": 1e3, "d": 9223372036854775807, "e": -0.0}')
    assert [values.count(name) for name in "abcde"] == [7, 7, 1000, 9223372036854775807, 0]


def test_texts_that_no_table_can_hold_are_refused() -> None:
    values = read('{"a": "\\u0000", "b": "\\ud800x", "c": ["ok", "\\udfff"], "d": 5, "e": "\\ud83d\\ude00"}')
    assert ": a holds a NUL character. Fix: " in refusal(lambda: values.text("a"))
    assert ": b holds half of a character (a lone surrogate). Fix: " in refusal(lambda: values.text("b"))
    assert ": c[1] holds half of a character (a lone surrogate). Fix: " in refusal(lambda: values.texts("c"))
    assert ": d should be text and is a number. Fix: " in refusal(lambda: values.text("d"))
    assert values.text("e") == "😀"


def test_a_nullable_field_has_to_be_there_and_an_optional_one_has_not() -> None:
    values = read('{"a": null, "t": "x", "n": "1.50", "c": 3, "m": "2026-10-01T02:00:00+02:00"}')
    assert (values.nullable_text("a"), values.nullable_amount("a")) == (None, None)
    assert (values.nullable_count("a"), values.nullable_moment("a")) == (None, None)
    assert (values.nullable_text("t"), values.nullable_amount("n"), values.nullable_count("c")) == ("x", "1.50", 3)
    assert values.nullable_moment("m") == dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    assert (values.optional_text("gone"), values.optional_amount("gone"), values.optional_count("gone")) == (None,) * 3
    for read_field in (values.nullable_text, values.nullable_amount, values.nullable_count, values.nullable_moment):
        assert ": gone is missing. Fix: " in refusal(lambda read_field=read_field: read_field("gone"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-10-01T00:00:00", "has no time zone: '2026-10-01T00:00:00'"),
        ("2026-10-01", "has no time zone: '2026-10-01'"),
        ("yesterday", "should be a time such as 2026-10-01T00:00:00Z and is 'yesterday'"),
        ("0001-01-01T00:00:00+10:00", "is out of range: '0001-01-01T00:00:00+10:00'"),
        ("9999-12-31T23:00:00-10:00", "is out of range: '9999-12-31T23:00:00-10:00'"),
    ],
)
def test_a_moment_needs_a_time_zone(value: str, words: str) -> None:
    assert f": a {words}. Fix: " in refusal(lambda: read(json.dumps({"a": value})).moment("a"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-10-03T00:00:00Z", "lies outside the window: 2026-10-03"),
        ("2026-10-01T00:00:01Z", "should start a UTC day and is 2026-10-01T00:00:01+00:00"),
        ("2026-10-01T00:00:00+02:00", "should start a UTC day and is 2026-09-30T22:00:00+00:00"),
    ],
)
def test_a_bucket_is_a_day_that_was_asked_for(value: str, words: str) -> None:
    assert f": a {words}. Fix: " in refusal(lambda: read(json.dumps({"a": value})).day("a", DAYS))


def test_buckets_by_text_and_by_unix_seconds_are_the_same_day() -> None:
    values = read(
        '{"a": "2026-10-02T00:00:00Z", "b": 1790899200, "c": 99999999999999, "d": "2026-10-02T02:00:00+02:00"}'
    )
    assert values.day("a", DAYS) == values.day("d", DAYS) == values.epoch_day("b", DAYS) == DAYS[1]
    assert ": c is out of range: 99999999999999. Fix: " in refusal(lambda: values.epoch("c"))


def test_an_error_names_the_place_inside_the_answer() -> None:
    values = read('{"data": [{"group": {"model": "m"}}, {"group": {"model": 5}}], "list": {}, "flag": "yes"}')
    second = values.objects("data")[1].object("group")
    assert refusal(lambda: second.text("model")) == (
        "Provider at host: report of a day: data[1].group.model should be text and is a number. Fix: run it again; if "
        "it stays, the provider changed its answer: report it with the archived body."
    )
    assert ": list should be a list and is an object. Fix: " in refusal(lambda: values.objects("list"))
    assert ": data should be an object and is a list. Fix: " in refusal(lambda: values.object("data"))
    assert ": flag should be true or false and is text. Fix: " in refusal(lambda: values.flag("flag"))
    assert ": flag should be a list of texts and is text. Fix: " in refusal(lambda: values.texts("flag"))
    assert (values.optional_object("gone"), values.optional_flag("gone")) == (None, None)
