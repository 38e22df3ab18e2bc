"""LiteLLM's own daily tables, DailyTeamSpend and DailyUserSpend, consistent with the rows of the log.

Belongs here: summing rows by UTC date of their start, entity, key, model and endpoint, as the proxy does. Does not
belong here: the rows (`spend_logs`). The rows that the proxy lost are in neither: its cost callback, which writes
both, had raised. So these tables prove that the log covers a day, and say nothing about what never reached the proxy's
books.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that psycopg2 names in lower case
from psycopg2.extras import execute_values

from tokengov_pipelines.demo.calls import FAILED_SPEND, FAILURE, OUTPUT, READ, WRITE_1H, WRITE_5M
from tokengov_pipelines.demo.draws import as_uuid
from tokengov_pipelines.demo.litellm_database import copy_into
from tokengov_pipelines.demo.prices import MODELS
from tokengov_pipelines.demo.spend_logs import ENDPOINTS, Rows

_ADDED: Final = (
    "prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "spend",
    "api_requests", "successful_requests", "failed_requests", "total_response_time_ms", "timed_requests",
)  # fmt: skip
_MEASURES: Final = (
    "date", "api_key", "model", "model_group", "custom_llm_provider", "endpoint", "mcp_namespaced_tool_name", *_ADDED,
    "created_at", "updated_at",
)  # fmt: skip
_KEY: Final = ("date", "api_key", "model", "custom_llm_provider", "mcp_namespaced_tool_name", "endpoint")

_Cell = tuple[str, str, str, str, str, str, str]


@dataclass
class _Sum:
    prompt: int = 0
    output: int = 0
    read: int = 0
    written: int = 0
    spend: float = 0.0
    succeeded: int = 0
    failed: int = 0
    duration_ms: int = 0

    def add(self, tokens: Sequence[int], spend: float, duration_ms: int) -> None:
        """Add a successful call."""
        self.add_failure(tokens, spend)
        self.failed -= 1
        self.succeeded += 1
        self.read += tokens[READ]
        self.written += tokens[WRITE_5M] + tokens[WRITE_1H]
        self.duration_ms += duration_ms

    def add_failure(self, tokens: Sequence[int], spend: float) -> None:
        """Add a failed call: its estimated tokens count, its cache and its time do not."""
        self.prompt += sum(tokens[:OUTPUT])
        self.output += tokens[OUTPUT]
        self.spend += spend
        self.failed += 1


class DailySums:
    """Sums over the days given so far, for both tables."""

    def __init__(self) -> None:
        self._teams: defaultdict[_Cell, _Sum] = defaultdict(_Sum)
        self._users: defaultdict[_Cell, _Sum] = defaultdict(_Sum)

    def add(self, rows: Rows) -> None:
        """Add the logged rows of a day. LiteLLM sums under '' where there is no team or no user."""
        calls = rows.calls
        columns = (calls.key, calls.model, calls.kind, calls.logged, rows.money.spend, calls.end_ms - calls.start_ms)
        facts = list(zip(*(column.tolist() for column in columns), strict=True))
        day = calls.day.isoformat()
        for at, call_type in zip(rows.at, rows.call_type, strict=True):
            key_at, model_at, kind, tokens, spend, duration = facts[at]
            key, model = rows.keys[key_at], MODELS[model_at]
            cell = (day, key.key_hash, model.deployment, model.name, model.litellm_provider, ENDPOINTS[call_type])
            for sums, entity in (
                (self._teams, key.row_team.team_id if key.row_team else ""),
                (self._users, key.row_user),
            ):
                if kind in (FAILURE, FAILED_SPEND):
                    sums[(entity, *cell)].add_failure(tokens, spend)
                else:
                    sums[(entity, *cell)].add(tokens, spend, duration)

    def insert(self, connection: Connection) -> None:
        """Write both tables, which are empty."""
        for table, entity, sums in self._tables():
            lines = ("\t".join(map(str, _values(entity, cell, sums[cell]))) + "\n" for cell in sorted(sums))
            copy_into(connection, table, ("id", entity, *_MEASURES), lines)

    def upsert(self, connection: Connection) -> None:
        """Add to what the tables hold, as the proxy does with every flush."""
        for table, entity, sums in self._tables():
            names = ("id", entity, *_MEASURES)
            key = ", ".join((entity, *_KEY))
            added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _ADDED)
            statement = (
                f'insert into public."{table}" as kept ({", ".join(names)}) values %s '
                f"on conflict ({key}) do update set {added}, updated_at = excluded.updated_at"
            )
            with connection.cursor() as cursor:
                execute_values(cursor, statement, [_values(entity, cell, sums[cell]) for cell in sorted(sums)])

    def _tables(self) -> tuple[tuple[str, str, dict[_Cell, _Sum]], ...]:
        return (
            ("LiteLLM_DailyTeamSpend", "team_id", self._teams),
            ("LiteLLM_DailyUserSpend", "user_id", self._users),
        )


def _values(entity: str, cell: _Cell, sums: _Sum) -> tuple[object, ...]:
    row_id = as_uuid(hashlib.sha256("|".join((entity, *cell)).encode()).hexdigest())
    flushed = (date.fromisoformat(cell[1]) + timedelta(days=1)).isoformat()
    counts = (sums.prompt, sums.output, sums.read, sums.written, repr(sums.spend), sums.succeeded + sums.failed,
              sums.succeeded, sums.failed, sums.duration_ms, sums.succeeded)  # fmt: skip
    return (row_id, *cell, "", *counts, flushed, flushed)
