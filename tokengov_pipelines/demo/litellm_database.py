"""The demo's LiteLLM database: its tables and the bulk load of spend rows.

Belongs here: connections, LiteLLM's DDL, COPY. Does not belong here: what the rows say (`spend_logs`), LiteLLM's daily
sums (`daily_sums`), teams and keys (`entities`), running a server (`postgres`), deciding whether to seed (`seed`).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that psycopg2 names in lower case
from psycopg2.extras import execute_values

from tokengov_pipelines.demo.spend_logs import COLUMNS, Rows, copy_lines

TABLES: Final = (
    "LiteLLM_BudgetTable", "LiteLLM_OrganizationTable", "LiteLLM_TeamTable", "LiteLLM_DeletedTeamTable",
    "LiteLLM_ProjectTable", "LiteLLM_UserTable", "LiteLLM_VerificationToken", "LiteLLM_DeletedVerificationToken",
    "LiteLLM_DeprecatedVerificationToken", "LiteLLM_SpendLogs", "LiteLLM_DailyTeamSpend", "LiteLLM_DailyUserSpend",
)  # fmt: skip

_INDICES: Final = "-- Indices"
_CHUNK: Final = 1 << 20


def schema_sql() -> tuple[str, str]:
    """LiteLLM's DDL: (tables and primary keys, indices)."""
    text = files("tokengov_pipelines.demo").joinpath("litellm_schema.sql").read_text(encoding="utf-8")
    tables, _, indices = text.partition(_INDICES)
    return tables, _INDICES + indices


def connect(url: str) -> Connection:
    """A connection in UTC, which is what LiteLLM's naive timestamps hold."""
    return psycopg2.connect(url, options="-c timezone=UTC")


class _Stream(io.RawIOBase):
    """Lines as the file that COPY reads, a megabyte at a time."""

    def __init__(self, lines: Iterator[str]) -> None:
        super().__init__()
        self._lines = lines

    def read(self, size: int = -1) -> bytes:
        """About `size` bytes, in whole lines; empty at the end."""
        parts: list[str] = []
        length = 0
        for line in self._lines:
            parts.append(line)
            length += len(line)
            if 0 <= size <= length:
                break
        return "".join(parts).encode()


def copy_into(connection: Connection, table: str, columns: Sequence[str], lines: Iterator[str]) -> None:
    """COPY tab-separated lines into a table."""
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.copy_expert(f'copy public."{table}" ({names}) from stdin', _Stream(lines), _CHUNK)


def insert_rows(connection: Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert a few rows that all have the same columns."""
    names = ", ".join(f'"{column}"' for column in rows[0])
    with connection.cursor() as cursor:
        execute_values(
            cursor, f'insert into public."{table}" ({names}) values %s', [tuple(row.values()) for row in rows]
        )


def create_tables(connection: Connection) -> None:
    """LiteLLM's tables, empty and without indices; the demo's tables of an earlier attempt are dropped."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f'drop table if exists public."{table}"')
        cursor.execute(schema_sql()[0])


def create_indices(connection: Connection) -> None:
    """LiteLLM's indices, once the rows are in."""
    with connection.cursor() as cursor:
        cursor.execute(schema_sql()[1])


def copy_spend_logs(connection: Connection, days: Iterable[Rows]) -> None:
    """Stream the rows of many days into LiteLLM_SpendLogs in one COPY."""
    copy_into(connection, "LiteLLM_SpendLogs", COLUMNS, (line for rows in days for line in copy_lines(rows)))
