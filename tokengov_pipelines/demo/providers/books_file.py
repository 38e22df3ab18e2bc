"""Provider books as one JSON file: columns and rows for each kind of entry, the same bytes for the same books.

Belongs here: writing books to text and reading them back, exactly. Does not belong here: what the entries mean
(`books`) and where the file lies (`demo.seed`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from tokengov_pipelines.demo.providers.books import (
    ApiKey,
    ClaudeCodeCell,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)

FORM: Final = "tokengov-demo-provider-books/2"

_TABLES: Final[dict[str, type]] = {
    "usage": UsageCell,
    "costs": CostCell,
    "keys": ApiKey,
    "workspaces": Workspace,
    "users": User,
    "service_accounts": ServiceAccount,
    "claude_code": ClaudeCodeCell,
}
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "day": date.fromisoformat,
    "amount": Decimal,
    "list_amount": Decimal,
    "quantity": Decimal,
    "estimated_cost": Decimal,
    "created_at": datetime.fromisoformat,
    "archived_at": datetime.fromisoformat,
    "expires_at": datetime.fromisoformat,
    "last_used_at": datetime.fromisoformat,
    "added_at": datetime.fromisoformat,
}
"""Columns that JSON has no type for; every other column is text, a whole number, true/false or null."""


class BooksFileError(ValueError):
    """A file that does not hold provider books; the text says what to do."""


def books_to_json(books: ProviderBooks) -> str:
    """The file's text: one line a row, so that two versions can be compared."""
    refreshed = books.refreshed_at.isoformat() if books.refreshed_at else None
    tables = [f'"{name}": {_table(kind, getattr(books, name))}' for name, kind in _TABLES.items()]
    head = [f'"form": {json.dumps(FORM)}', f'"refreshed_at": {json.dumps(refreshed)}']
    return "{\n" + ",\n".join([*head, *tables]) + "\n}\n"


def books_from_json(text: str) -> ProviderBooks:
    """Read what `books_to_json` wrote.

    Raises:
        BooksFileError: the text has another form, such as that of another version.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("form") != FORM:
        message = f"These are no provider books of the form {FORM}. Fix: run `make demo-clean` and `make demo`."
        raise BooksFileError(message)
    refreshed = data["refreshed_at"]
    return ProviderBooks(
        **{name: _entries(kind, data[name]) for name, kind in _TABLES.items()},
        refreshed_at=datetime.fromisoformat(refreshed) if refreshed else None,
    )


def _table(kind: type, entries: Sequence[object]) -> str:
    columns = [field.name for field in fields(kind)]
    rows = [json.dumps([_plain(getattr(entry, name)) for name in columns], ensure_ascii=False) for entry in entries]
    body = ",\n".join(rows)
    return f'{{"columns": {json.dumps(columns)}, "rows": [\n{body}\n]}}'


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else value


def _entries(kind: type, table: dict[str, Any]) -> tuple[Any, ...]:
    columns: list[str] = table["columns"]
    readers = [_READERS.get(name) for name in columns]
    return tuple(
        kind(
            **{
                name: value if reader is None or value is None else reader(value)
                for name, reader, value in zip(columns, readers, row, strict=True)
            }
        )
        for row in table["rows"]
    )
