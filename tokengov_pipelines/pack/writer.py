"""The bytes of the pack's data files: the same rows give the same bytes, on any machine, at any time (rules 2.6, 11.1).

Belongs here: how a cell, a row and a file are written, and the defence against CSV injection (rule 12.3). Does not
belong here: which columns a file has (`chargeback_csv` and its siblings) and where files are put (`seal`).

UTF-8, LF, RFC 4180, a header, ISO dates, plain decimals with a dot, sorted by primary key, no timestamp.
"""

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Any

TRIGGERS = frozenset("=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20")
"""First characters that make a spreadsheet run a text cell, with their full-width twins (rule 12.3)."""

PREFIX = "'"
TEXT_LIMIT = 1024
"""Characters kept of a text cell."""

_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"  # not blanks to Python, and skipped or dropped by spreadsheets


class PackError(ValueError):
    """A row or file that may not go into a pack; the text says which."""


class Kind(Enum):
    """What a column holds, which decides how its cells are written."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"


@dataclass(frozen=True)
class Column:
    """A column of a data file. `scale`: decimals of a DECIMAL column; None writes the digits that are there."""

    name: str
    kind: Kind = Kind.TEXT
    scale: int | None = None


def neutralised(text: str) -> str:
    """Text that no spreadsheet runs: control characters out, length capped, `'` before a trigger (rule 12.3).

    Blanks in front of a trigger do not hide it. Numbers never come here: -80.00 has to stay a number.
    """
    printable = "".join(character for character in text if ord(character) >= 0x20 and ord(character) != 0x7F)
    visible = next((each for each in printable if not each.isspace() and each not in _INVISIBLE), "")
    triggered = text[:1] in TRIGGERS or visible in TRIGGERS
    return (PREFIX + printable if triggered else printable)[:TEXT_LIMIT]


def csv_bytes(columns: Sequence[Column], rows: Iterable[Sequence[object]], primary_key: Sequence[str]) -> bytes:
    """A data file: header and rows, sorted by the primary key. Each row has its values in column order.

    Raises `PackError` when two rows share the key, or a value does not fit its column (a float never fits).
    """
    names = [column.name for column in columns]
    positions = [names.index(name) for name in primary_key]
    ordered = sorted(rows, key=lambda row: tuple(row[position] for position in positions))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    previous: list[str] = []
    for row in ordered:
        cells = [_cell(column, value) for column, value in zip(columns, row, strict=True)]
        key = [cells[position] for position in positions]
        if key == previous:
            message = f"two rows have the same {', '.join(primary_key)}: {', '.join(key)}."
            raise PackError(message)
        previous = key
        writer.writerow(cells)
    return buffer.getvalue().encode("utf-8", "replace")


def json_bytes(value: Any) -> bytes:
    """A JSON file for people and programs: two blanks of indent, keys in the order given, LF at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def sha256_of(content: bytes) -> str:
    """The hash that ledger, control totals and manifest name a file by."""
    return hashlib.sha256(content).hexdigest()


def _cell(column: Column, value: object) -> str:
    if value is None:
        return ""
    if column.kind is Kind.TEXT and isinstance(value, str):
        return neutralised(value)
    if column.kind is Kind.INTEGER and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if column.kind is Kind.DATE and type(value) is dt.date:
        return value.isoformat()
    if column.kind is Kind.DECIMAL and isinstance(value, Decimal) and value.is_finite():
        return _plain(column, value)
    message = f"{column.name} is a {column.kind.value} column and cannot hold {type(value).__name__} {value!r}."
    raise PackError(message)


def _plain(column: Column, value: Decimal) -> str:
    exact = value if column.scale is None else value.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_UP)
    if exact != value:
        message = f"{column.name} has {column.scale} decimals and cannot hold {value}: round it once, in the rule."
        raise PackError(message)
    return format(exact if exact else exact.copy_abs(), "f")
