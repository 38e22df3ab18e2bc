"""LiteLLM's Postgres as a source: spend logs by UTC day and daily snapshots of teams, keys, users and budgets.

Belongs here: the connection, the queries, feature detection, and turning a driver's error into one clear sentence.
Does not belong here: which columns are read (`resources.litellm_tables`), how a load is kept (`resources.lake`) and
what the rows mean (`dbt_project`).

Rows stream over ADBC's binary COPY into Arrow batches, so memory does not grow with the day. Each day is read in one
read-only REPEATABLE READ transaction: the rows and the count that verifies them are of one snapshot. `metadata` is
detoasted once per row (`offset 0` keeps the planner from inlining it away), because it averages 10 KB and every JSON
path would detoast it again.
"""

import datetime as dt
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from resources.lake import Lake, LakeTable, LoadOutcome
from resources.litellm_tables import (
    OPTIONAL_TABLES,
    SNAPSHOT_LAKES,
    SNAPSHOTS,
    SPEND_LOGS,
    SPEND_LOGS_LAKE,
    SourceTable,
)
from resources.source_error import SourceError
from tokengov_pipelines.domain.day_state import end_of
from tokengov_pipelines.domain.finding import without_secrets

BATCH_BYTES = 8 * 1024 * 1024


class LiteLLMPostgres(dg.ConfigurableResource):
    """Read-only access to the proxy's database. `url` is a libpq URL from the environment."""

    url: str
    statement_timeout_seconds: int = 900

    # --- connection ----------------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Where this source is, without the secret: `host/database`."""
        try:
            parts = urllib.parse.urlsplit(self.url)
            port = parts.port
        except ValueError:  # a password that is not percent-encoded: its parts stand where others should
            return "an unreadable URL"
        query = urllib.parse.parse_qs(parts.query)
        host = parts.hostname or query.get("host", ["local socket"])[0]
        return f"{host}{f':{port}' if port else ''}{parts.path}"

    def _error(self, error: Exception, table: str = "") -> SourceError:
        text = without_secrets(str(error), [self.url])
        where = f"LiteLLM Postgres at {self.place}"
        if re.search(r"password authentication failed|no password supplied|role .* does not exist", text):
            what = (
                "the user or password in TOKENGOV_LITELLM_URL is refused. Fix: correct the URL or the role's password."
            )
        elif "permission denied" in text:
            what = f"the role may not read {table or 'a table'}. Fix: run deploy/litellm/grants.sql as the owner."
        elif re.search(
            r"could not (connect|translate)|Connection refused|No such file|timeout expired|no route", text, re.I
        ):
            what = "it cannot be reached. Fix: check host, port and network of TOKENGOV_LITELLM_URL."
        elif "does not exist" in text and "database" in text:
            what = "the database does not exist. Fix: name LiteLLM's database in TOKENGOV_LITELLM_URL."
        elif "statement timeout" in text:
            limit = self.statement_timeout_seconds
            what = f"reading {table} took longer than {limit} s. Fix: raise litellm.statement_timeout_seconds."
        elif re.search(r"percent-encoded|unexpected spaces|invalid port|URI", text):
            what = "TOKENGOV_LITELLM_URL cannot be read. Fix: percent-encode the special characters of its password."
        else:
            what = f"reading {table or 'it'} failed: {_first_line(text)}. Fix: tokengov doctor says what it can see."
        return SourceError(f"{where}: {what}")

    @contextmanager
    def connection(self, table: str = "") -> Iterator[Any]:
        """A read-only connection in UTC; `table` is what will be read, for errors.

        Raises:
            SourceError: the URL is missing or no URL, or the database refuses or breaks off.
        """
        if not self.url:
            message = "LiteLLM Postgres: TOKENGOV_LITELLM_URL is not set. Fix: export it, for example postgresql://tokengov_reader:...@host:5432/litellm"
            raise SourceError(message)
        if not self.url.startswith(("postgresql://", "postgres://")):
            # Not repeated: a connection string of another form may hold a password anywhere.
            message = "LiteLLM Postgres: TOKENGOV_LITELLM_URL is no postgresql:// URL. Fix: write it like postgresql://tokengov_reader:...@host:5432/litellm"
            raise SourceError(message)
        settings = {
            "default_transaction_read_only": "on",
            "default_transaction_isolation": r"repeatable\ read",
            "timezone": "UTC",
            "statement_timeout": str(self.statement_timeout_seconds * 1000),
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        separator = "&" if "?" in self.url else "?"
        query = urllib.parse.urlencode({"options": options, "connect_timeout": "10"}, quote_via=urllib.parse.quote)
        try:
            with dbapi.connect(f"{self.url}{separator}{query}") as connection:
                yield connection
        except dbapi.Error as error:
            raise self._error(error, table) from None

    # --- feature detection ---------------------------------------------------------------------------------------

    def _readable_columns(self, connection: Any, table: str) -> set[str]:
        """Columns of a table that exist and that this role may read."""
        with connection.cursor() as cursor:
            cursor.execute(
                "select a.attname::text from pg_attribute a join pg_class c on c.oid = a.attrelid "
                "join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relname = $1 "
                "and a.attnum > 0 and not a.attisdropped "
                "and has_column_privilege(c.oid, a.attnum, 'select')",
                [table],
            )
            return {row[0] for row in cursor.fetchall()}

    def _exists(self, connection: Any, table: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("select to_regclass($1) is not null", [f'public."{table}"'])
            return bool(cursor.fetchone()[0])

    def _select_list(self, connection: Any, table: SourceTable) -> str:
        if not self._exists(connection, table.source):
            message = (
                f'LiteLLM Postgres at {self.place}: table "{table.source}" does not exist. '
                "Fix: point TOKENGOV_LITELLM_URL at the proxy's own database (LiteLLM makes its tables at first start)."
            )
            raise SourceError(message)
        present = self._readable_columns(connection, table.source)
        missing = sorted({c.source for c in table.columns if c.required} - present)
        if missing:
            message = (
                f'LiteLLM Postgres at {self.place}: "{table.source}" lacks or hides the columns {", ".join(missing)}. '
                "Fix: run deploy/litellm/grants.sql as the owner; where they do not exist, upgrade LiteLLM."
            )
            raise SourceError(message)
        casts = {pa.string(): "text", pa.int64(): "bigint", pa.timestamp("us"): "timestamp", pa.bool_(): "boolean"}
        return ", ".join(
            f"{column.sql if column.source in present else f'null::{casts[column.type]}'} as {column.name}"
            for column in table.columns
        )

    def is_partitioned(self) -> bool:
        """Whether SpendLogs is range-partitioned; its key is then not unique over days."""
        with self.connection(SPEND_LOGS.source) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select relkind::text from pg_class where oid = to_regclass($1)", ['public."LiteLLM_SpendLogs"']
            )
            row = cursor.fetchone()
            return bool(row) and row[0] == "p"

    # --- extraction ----------------------------------------------------------------------------------------------

    def load_spend_logs(self, lake: Lake, day: dt.date, extracted_at: dt.datetime) -> LoadOutcome:
        """Read one UTC day of spend logs whole into the lake (Rule 2.1: the day of `startTime`)."""
        return next(iter(self.load_days(lake, [day], extracted_at)))

    def load_days(self, lake: Lake, days: Iterable[dt.date], extracted_at: dt.datetime) -> Iterator[LoadOutcome]:
        """Read UTC days of spend logs into the lake, one snapshot and one load a day, over one connection.

        Raises:
            SourceError: the database cannot be read as expected; nothing is written of that day.
        """
        with self.connection(SPEND_LOGS.source) as connection:
            columns = self._select_list(connection, SPEND_LOGS)
            for day in days:
                connection.rollback()  # the next day sees what has arrived since the last
                yield self._load_day(connection, columns, lake, day, extracted_at)

    def day_query(self, day: dt.date) -> str:
        """The query by which a day's rows are read here, as the database's columns allow it.

        Raises:
            SourceError: the database cannot be read, or lacks a column that is needed.
        """
        with self.connection(SPEND_LOGS.source) as connection:
            return _rows_query(self._select_list(connection, SPEND_LOGS), _window(*_bounds(day)))

    def _load_day(
        self, connection: Any, columns: str, lake: Lake, day: dt.date, extracted_at: dt.datetime
    ) -> LoadOutcome:
        start, end = _bounds(day)
        window = _window(start, end)
        query = _rows_query(columns, window)
        with lake.writing(SPEND_LOGS_LAKE) as writer:
            rows = self._stream(connection, query, SPEND_LOGS_LAKE, writer)
            counted = self._scalar(connection, f'select count(*) from public."LiteLLM_SpendLogs" where {window}')
            if rows != counted:
                message = (
                    f"LiteLLM Postgres at {self.place}: {day}: {rows} rows arrived of {counted} counted in the "
                    "same snapshot. Fix: run the partition again; nothing was kept of this attempt."
                )
                raise SourceError(message)
            return lake.commit(
                SPEND_LOGS_LAKE,
                f"day={day}",
                writer,
                extracted_at=extracted_at,
                window=(start, end),
                zero_is_proven=rows > 0 or (extracted_at >= end_of(day) and self._covers(connection, day, start, end)),
            )

    def load_snapshots(self, lake: Lake, observed: dt.date, extracted_at: dt.datetime) -> dict[str, LoadOutcome]:
        """Snapshot teams, keys, users, organizations, budgets and deleted keys and teams as they are now (Rule 3.4).

        `observed` is the day the snapshot stands for. A past state cannot be observed, so a backfill adds none.
        """
        outcomes: dict[str, LoadOutcome] = {}
        with self.connection() as connection:
            for table in SNAPSHOTS:
                lake_table = SNAPSHOT_LAKES[table.lake]
                with lake.writing(lake_table) as writer:
                    if table.source not in OPTIONAL_TABLES or self._exists(connection, table.source):
                        columns = self._select_list(connection, table)
                        key = table.columns[0].source
                        query = (
                            f"select date '{observed}' as observed_date, {columns} "
                            f'from public."{table.source}" order by "{key}"'
                        )
                        self._stream(connection, query, lake_table, writer)
                    outcomes[table.lake] = lake.commit(
                        lake_table,
                        f"observed={observed}",
                        writer,
                        extracted_at=extracted_at,
                        window=(observed.isoformat(), observed.isoformat()),
                    )
        return outcomes

    def _stream(self, connection: Any, query: str, table: LakeTable, writer: Any) -> int:
        rows = 0
        with connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(query)
            # Postgres sends the next batch while this one is compressed: one thread writes, one batch behind the other.
            with ThreadPoolExecutor(max_workers=1) as background:
                writing: Future[None] | None = None
                for batch in cursor.fetch_record_batch():
                    if writing is not None:
                        writing.result()
                    writing = background.submit(writer.write, batch.cast(table.schema))
                    rows += batch.num_rows
                if writing is not None:
                    writing.result()
        return rows

    def _scalar(self, connection: Any, query: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row[0] if row else None

    def _covers(self, connection: Any, day: dt.date, start: str, end: str) -> bool:
        """Whether an empty day is a proven zero: the log brackets it and LiteLLM's own daily counters are empty.

        The daily tables outlive the log's retention, so a purged day shows requests there (Rule 4.5).
        """
        bracketed = self._scalar(
            connection,
            'select exists (select 1 from public."LiteLLM_SpendLogs" where "startTime" < timestamp \'' + start + "') "
            'and exists (select 1 from public."LiteLLM_SpendLogs" where "startTime" >= timestamp \'' + end + "')",
        )
        if not bracketed:
            return False
        for daily in ("LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend"):
            if not {"date", "api_requests"} <= self._readable_columns(connection, daily):
                return False
            counted = self._scalar(
                connection, f"select coalesce(sum(api_requests), 0) from public.\"{daily}\" where date = '{day}'"
            )
            if int(counted) > 0:
                return False
        return True


def _bounds(day: dt.date) -> tuple[str, str]:
    return f"{day} 00:00:00", f"{day + dt.timedelta(days=1)} 00:00:00"


def _window(start: str, end: str) -> str:
    return f"\"startTime\" >= timestamp '{start}' and \"startTime\" < timestamp '{end}'"


def _rows_query(columns: str, window: str) -> str:
    return (
        f'select {columns} from public."LiteLLM_SpendLogs" cross join lateral '
        f"(select coalesce(metadata, '{{}}'::jsonb) || '{{}}'::jsonb as m offset 0) as detoasted "
        f'where {window} order by "startTime", request_id'
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "unknown error"
