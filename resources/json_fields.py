"""Reading JSON strictly: every value is taken by name and type, or refused with the place where it stands.

Belongs here: parsing without floats, and typed access that names source, window and field in its error.
Does not belong here: what a field means (the resource that reads it), transport (`resources.http_source`).
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from resources.source_error import SourceError

MOST_DIGITS = 38
"""Of an amount, before and after the point together: what DECIMAL(38, s) holds."""
MOST_WHOLE_DIGITS = 20
"""Of an amount, before the point, so that sums of amounts fit DECIMAL(38, 12) as well."""
_LARGEST = 2**63 - 1
_SHOWN = 80
# Decimal() takes more: underscores, blanks, digits of any script.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class NotJsonError(ValueError):
    """The body is no JSON that can be trusted: cut off, not JSON, a name twice in one object, NaN."""


def parse_json(body: bytes) -> Any:
    """A body as Python values; numbers with a point are `Decimal`.

    Raises:
        NotJsonError: the text says what is wrong and where, without repeating the body.
    """
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_repeated_name
        )
    except UnicodeDecodeError as error:
        message = f"not UTF-8 at byte {error.start} of {len(body)}"
    except json.JSONDecodeError as error:
        message = f"not JSON at character {error.pos} of {len(body)}: {error.msg}"
    except (InvalidOperation, RecursionError):
        message = "not JSON: a number or a nesting beyond any limit"
    except ValueError as error:  # an integer of thousands of digits, or one of ours
        message = str(error) if isinstance(error, NotJsonError) else "not JSON: a number beyond any limit"
    raise NotJsonError(message)


def _no_constant(name: str) -> NoReturn:
    message = f"not JSON: {name} is no number"
    raise NotJsonError(message)


def _no_repeated_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = f"not trusted: the name {twice[:_SHOWN]!r} stands twice in one object"
        raise NotJsonError(message)
    return found


@dataclass(frozen=True)
class JsonObject:
    """An object of an answer with the place where it stands: `source` (who and which window) and `path`."""

    values: Mapping[str, Any]
    source: str
    path: str = ""

    def refuse(self, name: str, what: str) -> NoReturn:
        """Raise the error of a field; `what` completes '<field> ...'."""
        field = ".".join(filter(None, (self.path, name)))
        message = (
            f"{self.source}: {field or 'the answer'} {what}. "
            "Fix: run it again; if it stays, the provider changed its answer: report it with the archived body."
        )
        raise SourceError(message)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def _required(self, name: str) -> Any:
        if name not in self.values:
            self.refuse(name, "is missing")
        value = self.values[name]
        if value is None:
            self.refuse(name, "is null")
        return value

    def text(self, name: str) -> str:
        """A string."""
        value = self._required(name)
        if not isinstance(value, str):
            self.refuse(name, f"should be text and is {_kind(value)}")
        return self._storable(name, value)

    def _storable(self, name: str, value: str) -> str:
        """A string that Parquet, Postgres and a terminal can hold."""
        if "\x00" in value:
            self.refuse(name, "holds a NUL character")
        if any("\ud800" <= mark <= "\udfff" for mark in value):
            self.refuse(name, "holds half of a character (a lone surrogate)")
        return value

    def nullable_text(self, name: str) -> str | None:
        """A string or null; the field itself has to be there, so that its loss does not pass for null."""
        return self.text(name) if self._present(name) else None

    def _present(self, name: str) -> bool:
        """Whether a field that has to be there is not null."""
        if name not in self.values:
            self.refuse(name, "is missing")
        return self.has(name)

    def optional_text(self, name: str) -> str | None:
        """A string, or None where it is null or absent."""
        return self.text(name) if self.has(name) else None

    def count(self, name: str) -> int:
        """A whole number of tokens, requests or seconds, not negative."""
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            self.refuse(name, f"should be a whole number and is {_kind(value)}")
        if not 0 <= value <= _LARGEST:
            self.refuse(name, f"is out of range: {str(value)[:_SHOWN]}")
        if value != int(value):
            self.refuse(name, f"should be a whole number and is {str(value)[:_SHOWN]}")
        return int(value)

    def optional_count(self, name: str) -> int | None:
        """The same, or None where it is null or absent."""
        return self.count(name) if self.has(name) else None

    def nullable_count(self, name: str) -> int | None:
        """A whole number or null; the field itself has to be there."""
        return self.count(name) if self._present(name) else None

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self._required(name)
        if not isinstance(value, bool):
            self.refuse(name, f"should be true or false and is {_kind(value)}")
        return value

    def optional_flag(self, name: str) -> bool | None:
        """The same, or None where it is null or absent."""
        return self.flag(name) if self.has(name) else None

    def amount(self, name: str) -> str:
        """A decimal number as plain text, whether the provider sends a JSON number or a string; may be negative.

        Text, because the unit differs by provider and is applied once, in staging.
        """
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
            self.refuse(name, f"should be a number and is {_kind(value)}")
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            self.refuse(name, f"should be a number and is the text {value[:_SHOWN]!r}")
        try:
            number = Decimal(value)
        except InvalidOperation:
            self.refuse(name, f"is no number that can be computed with: {str(value)[:_SHOWN]!r}")
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):
            self.refuse(name, f"is no finite number: {str(value)[:_SHOWN]!r}")
        if number.adjusted() >= MOST_WHOLE_DIGITS:
            self.refuse(name, f"is out of range: {str(value)[:_SHOWN]}")
        if len(number.as_tuple().digits) > MOST_DIGITS or exponent < -MOST_DIGITS:
            self.refuse(name, f"has more than {MOST_DIGITS} digits")
        return format(number, "f")

    def optional_amount(self, name: str) -> str | None:
        """The same, or None where it is null or absent."""
        return self.amount(name) if self.has(name) else None

    def nullable_amount(self, name: str) -> str | None:
        """A decimal number or null; the field itself has to be there."""
        return self.amount(name) if self._present(name) else None

    def moment(self, name: str) -> dt.datetime:
        """A moment with a time zone (RFC 3339), in UTC."""
        value = self.text(name)
        try:
            found = dt.datetime.fromisoformat(value)
        except ValueError:
            self.refuse(name, f"should be a time such as 2026-10-01T00:00:00Z and is {value[:_SHOWN]!r}")
        if found.tzinfo is None:
            self.refuse(name, f"has no time zone: {value[:_SHOWN]!r}")
        try:
            return found.astimezone(dt.UTC)
        except OverflowError:
            self.refuse(name, f"is out of range: {value[:_SHOWN]!r}")

    def nullable_moment(self, name: str) -> dt.datetime | None:
        """The same or null; the field itself has to be there."""
        return self.moment(name) if self._present(name) else None

    def epoch(self, name: str) -> dt.datetime:
        """A moment given as Unix seconds, in UTC."""
        seconds = self.count(name)
        try:
            return dt.datetime.fromtimestamp(seconds, dt.UTC)
        except (OverflowError, ValueError, OSError):
            self.refuse(name, f"is out of range: {seconds}")

    def object(self, name: str) -> "JsonObject":
        """An object."""
        return self._wrap(self._required(name), name)

    def optional_object(self, name: str) -> "JsonObject | None":
        """The same, or None where it is null or absent."""
        return self.object(name) if self.has(name) else None

    def objects(self, name: str) -> "list[JsonObject]":
        """A list of objects."""
        value = self._required(name)
        if not isinstance(value, list):
            self.refuse(name, f"should be a list and is {_kind(value)}")
        return [self._wrap(item, f"{name}[{index}]") for index, item in enumerate(value)]

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = self._required(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(name, f"should be a list of texts and is {_kind(value)}")
        return [self._storable(f"{name}[{index}]", item) for index, item in enumerate(value)]

    def day(self, name: str, days: Sequence[dt.date]) -> dt.date:
        """The UTC day that a bucket starts at (RFC 3339); it must be one of the days asked for, at midnight."""
        return self._bucket(name, self.moment(name), days)

    def epoch_day(self, name: str, days: Sequence[dt.date]) -> dt.date:
        """The same for Unix seconds."""
        return self._bucket(name, self.epoch(name), days)

    def _bucket(self, name: str, start: dt.datetime, days: Sequence[dt.date]) -> dt.date:
        if start.time() != dt.time():
            self.refuse(name, f"should start a UTC day and is {start.isoformat()}")
        if start.date() not in days:
            self.refuse(name, f"lies outside the window: {start.date()}")
        return start.date()

    def _wrap(self, value: Any, name: str) -> "JsonObject":
        if not isinstance(value, dict):
            self.refuse(name, f"should be an object and is {_kind(value)}")
        return JsonObject(value, self.source, ".".join(filter(None, (self.path, name))))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        str: "text",
        int: "a number",
        Decimal: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "of another kind")
