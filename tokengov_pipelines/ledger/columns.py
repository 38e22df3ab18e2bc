"""Column types that keep money exact and time unambiguous on SQLite and on Postgres alike.

Belongs here: how one value is stored and read back. Does not belong here: which tables have it (`tables`).
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import Dialect, Numeric, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | bool | None"
"""What an event payload or a set of totals may hold. No float: amounts are plain decimal text."""


def canonical_json(value: Json) -> str:
    """The one text of a JSON value: sorted keys, no blanks, no escapes but the required ones; hashes are taken of it.

    Raises `TypeError` for a float, a Decimal or anything else that is not text, integer, bool, None, list or mapping.
    """
    _refuse_inexact(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_inexact(value: object) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                message = f"the JSON key {key!r} is {type(key).__name__}; keys are text."
                raise TypeError(message)
            _refuse_inexact(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_inexact(item)
    elif value is not None and not isinstance(value, (str, int)):
        message = f"{type(value).__name__} {value!r} has no place in the ledger's JSON. Write an amount as plain text."
        raise TypeError(message)


def utc_text(at: dt.datetime) -> str:
    """An instant as text that sorts by time: 2026-11-05T09:30:00.000000Z. Raises `ValueError` for a naive one."""
    if at.utcoffset() is None:
        message = f"{at!r} has no time zone. The ledger stores instants: pass an aware UTC datetime."
        raise ValueError(message)
    return at.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class ExactDecimal(TypeDecorator[Decimal]):
    """Money: NUMERIC on Postgres, TEXT on SQLite, where a NUMERIC column would pass through a float.

    Every digit comes back as it went in, trailing zeros too. Add up in Python: SQLite's sum() over text is a float.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, an unconstrained NUMERIC elsewhere (a scale would pad or round)."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | Decimal | None:
        """Refuse everything that is not a finite Decimal, before it can be stored."""
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            message = f"{value!r} is not an amount for the ledger. Pass a finite Decimal (domain.money.usd)."
            raise TypeError(message)
        exact = value if value else value.copy_abs()
        return format(exact, "f") if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        """The Decimal that was stored."""
        return None if value is None else Decimal(value)


class UtcInstant(TypeDecorator[dt.datetime]):
    """An instant: TIMESTAMPTZ on Postgres, sortable ISO text ending in Z on SQLite. Always aware, always UTC."""

    impl = TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, which has no type for an instant."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else TIMESTAMP(timezone=True))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> str | dt.datetime | None:
        """Refuse naive datetimes: nobody could tell later what they meant."""
        if value is None:
            return None
        text = utc_text(value)
        return text if dialect.name == "sqlite" else value.astimezone(dt.UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dt.datetime | None:
        """An aware UTC datetime."""
        if value is None:
            return None
        instant = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant.astimezone(dt.UTC)


class CanonicalJson(TypeDecorator[Any]):
    """JSON kept as its canonical text on both databases, because the hash chain is taken over that text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """The canonical text."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """The parsed value."""
        return None if value is None else json.loads(value)
