"""The published tables as SQL: schemas, tables, the triggers that keep what was signed, and the views for BI.

Belongs here: every statement that makes something in the database, and which columns a BI user sees. Does not belong
here: the columns of a file of the pack (its module in `pack` declares them; `assets.publish` hands them over),
connections, and the rows (`resources.publisher`).

Names come from the code and never from data; `quoted` refuses any other.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SCHEMA: Final = "tokengov"
BI_SCHEMA: Final = "tokengov_bi"
BI_READER: Final = "tokengov_bi_reader"
PERIOD_VERSIONS: Final = "period_versions"
AS_RESTATED: Final = "chargeback_as_restated"

LEADING: Final = ("pack_month", "pack_version", "row_no")
"""What every row has before the columns of its file: whose pack it is from, and its place in the file from 1."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

REFUSE_REWRITE: Final = "refuse_rewrite"
REFUSE_LATE_ROWS: Final = "refuse_late_rows"


@dataclass(frozen=True)
class PublishedColumn:
    """A column of a file and its type in Postgres."""

    name: str
    sql_type: str


@dataclass(frozen=True)
class PublishedTable:
    """A table and the file of the pack that fills it.

    `key`: the file's primary key; an empty cell is NULL, in the key it is empty text. `bi_columns`: what the view of
    the same name shows, by name, so that a column that a later release adds is not shown before somebody decides so.

    Raises:
        ValueError: a key or view column that the file does not have.
    """

    name: str
    file: str
    columns: tuple[PublishedColumn, ...]
    key: tuple[str, ...]
    bi_columns: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = {*self.key, *self.bi_columns} - {column.name for column in self.columns}
        if unknown:
            message = (
                f"{self.file} has no column {', '.join(sorted(unknown))}. Fix: correct the published table's list."
            )
            raise ValueError(message)


def sql_type(kind: str, scale: int | None) -> str:
    """The exact type of a pack's column: kind is `text`, `integer`, `decimal` or `date`.

    A decimal with declared decimals is NUMERIC with as many; one without (amounts in the minor unit of their currency,
    which is 2 decimals for USD, 0 for JPY and 3 for KWD) is NUMERIC, which keeps the digits that are there.
    """
    if kind != "decimal":
        return {"text": "text", "integer": "bigint", "date": "date"}[kind]
    if scale is None:
        return "numeric"
    return f"numeric({18 if scale <= 4 else 38},{scale})"


def quoted(name: str) -> str:
    """A name of ours as an identifier.

    Raises:
        ValueError: it has anything but small letters, digits and underscores.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} is not a name for a table or column. Fix: use small letters, digits and underscores."
        raise ValueError(message)
    return f'"{name}"'


def placed(schema: str, name: str) -> str:
    """A table, view or function with its schema."""
    return f"{quoted(schema)}.{quoted(name)}"


PERIOD_VERSION_COLUMNS: Final[Mapping[str, str]] = {
    "month": "text",
    "version": "bigint",
    "content_sha256": "text",
    "closed_at": "timestamp with time zone",
    "preparer": "text",
    "approver": "text",
}


def columns_of(table: PublishedTable) -> dict[str, str]:
    """Every column of a table and its type, as the database has to have them."""
    leading = dict(zip(LEADING, ("text", "bigint", "bigint"), strict=True))
    return leading | {column.name: column.sql_type for column in table.columns}


def create_period_versions() -> str:
    """The table that says which versions are published."""
    columns = ", ".join(f"{quoted(name)} {kind} NOT NULL" for name, kind in PERIOD_VERSION_COLUMNS.items())
    where = placed(SCHEMA, PERIOD_VERSIONS)
    return f"CREATE TABLE {where} ({columns}, PRIMARY KEY (month, version))"


def create_table(table: PublishedTable) -> str:
    """A table of rows; each belongs to a published version."""
    leading = [f"{quoted(name)} {columns_of(table)[name]} NOT NULL" for name in LEADING]
    own = [f"{quoted(column.name)} {column.sql_type}" for column in table.columns]
    return (
        f"CREATE TABLE {placed(SCHEMA, table.name)} ({', '.join(leading + own)}, "
        f"PRIMARY KEY (pack_month, pack_version, row_no), FOREIGN KEY (pack_month, pack_version) "
        f"REFERENCES {placed(SCHEMA, PERIOD_VERSIONS)} (month, version))"
    )


def add_column(table: str, column: str, kind: str) -> str:
    """A column that a newer release writes; versions published before it have NULL there."""
    return f"ALTER TABLE {placed(SCHEMA, table)} ADD COLUMN {quoted(column)} {kind}"


def functions() -> tuple[str, ...]:
    """What the triggers run: no change, no deletion, and no row that comes after its version was published."""
    head = "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS"
    return (
        (
            f"CREATE OR REPLACE FUNCTION {placed(SCHEMA, REFUSE_REWRITE)}() RETURNS trigger {head} "
            "$$BEGIN RAISE EXCEPTION '%.% holds what was signed: its rows are not changed or deleted', "
            "TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation', "
            "HINT = 'Corrections post to the next open period and are published with it.'; END$$"
        ),
        # A version and its rows come in one transaction: who inserted the version's row is who may insert the others.
        (
            f"CREATE OR REPLACE FUNCTION {placed(SCHEMA, REFUSE_LATE_ROWS)}() RETURNS trigger {head} "
            "$$BEGIN IF EXISTS (SELECT FROM (SELECT DISTINCT pack_month, pack_version FROM new_rows) AS n "
            f"WHERE NOT EXISTS (SELECT FROM {placed(SCHEMA, PERIOD_VERSIONS)} AS v WHERE v.month = n.pack_month "
            "AND v.version = n.pack_version AND v.xmin::text::bigint = txid_current() % 4294967296)) THEN "
            "RAISE EXCEPTION '%.% holds what was signed: a published version gets no further rows', "
            "TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END IF; RETURN NULL; END$$"
        ),
    )


def triggers(table: str) -> dict[str, str]:
    """The triggers of a table by name."""
    where, rewrite = placed(SCHEMA, table), f"EXECUTE FUNCTION {placed(SCHEMA, REFUSE_REWRITE)}()"
    found = {
        "refuse_rewrite": f"CREATE TRIGGER refuse_rewrite BEFORE UPDATE OR DELETE ON {where} FOR EACH ROW {rewrite}",
        "refuse_truncate": f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {where} FOR EACH STATEMENT {rewrite}",
    }
    if table != PERIOD_VERSIONS:
        found["refuse_late_rows"] = (
            f"CREATE TRIGGER refuse_late_rows AFTER INSERT ON {where} REFERENCING NEW TABLE AS new_rows "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {placed(SCHEMA, REFUSE_LATE_ROWS)}()"
        )
    return found


def always(table: str, trigger: str) -> str:
    """Fire in every session, also one that replays a replication."""
    return f"ALTER TABLE {placed(SCHEMA, table)} ENABLE ALWAYS TRIGGER {quoted(trigger)}"


def views(tables: Sequence[PublishedTable]) -> dict[str, str]:
    """The queries of the views for BI, by name: the latest version of every month, and the months as restated."""
    versions = placed(SCHEMA, PERIOD_VERSIONS)
    latest = f"(SELECT max(v.version) FROM {versions} AS v WHERE v.month = t.{{month}})"
    found = {
        table.name: (
            f"SELECT {', '.join(f't.{quoted(name)}' for name in (*LEADING, *table.bi_columns))} "
            f"FROM {placed(SCHEMA, table.name)} AS t WHERE t.pack_version = {latest.format(month='pack_month')}"
        )
        for table in tables
    }
    found[PERIOD_VERSIONS] = (
        f"SELECT t.month, t.version, t.content_sha256, t.closed_at, t.version = {latest.format(month='month')} "
        f"AS is_latest FROM {versions} AS t"
    )
    if "chargeback" in found:
        found[AS_RESTATED] = _as_restated()
    return found


def _as_restated() -> str:
    """Closed + adjustments by original period (Rule 2.5).

    Of each month the first close, which is what was posted; a later version shows the same money again and is left out.
    """

    def split(amount: str, suffix: str) -> str:
        prior = "t.charge_type = 'prior_period'"
        return (
            f"coalesce(sum({amount}) FILTER (WHERE NOT {prior}), 0) AS closed{suffix}, "
            f"coalesce(sum({amount}) FILTER (WHERE {prior}), 0) AS adjustments{suffix}, "
            f"sum({amount}) AS as_restated{suffix}"
        )

    grain = "t.original_period, t.legal_entity, t.cost_center, t.provider, t.currency"
    first = f"(SELECT min(v.version) FROM {placed(SCHEMA, PERIOD_VERSIONS)} AS v WHERE v.month = t.pack_month)"
    return (
        f"SELECT 'as restated: closed + adjustments'::text AS basis, {grain}, "
        f"{split('t.amount', '_amount')}, {split('t.amount_functional', '_amount_functional')}, "
        "max(t.posting_period) AS adjusted_through "
        f"FROM {placed(SCHEMA, 'chargeback')} AS t WHERE t.pack_version = {first} GROUP BY {grain}"
    )


def create_view(name: str, query: str) -> tuple[str, str]:
    """A view and the comment that names its definition, so that an unchanged view is not made (and locked) again."""
    where = placed(BI_SCHEMA, name)
    return (
        f"CREATE OR REPLACE VIEW {where} WITH (security_barrier = true) AS {query}",
        f"COMMENT ON VIEW {where} IS '{view_comment(query)}'",
    )


def view_comment(query: str) -> str:
    """The comment of the view with this query."""
    return f"Made by tokengov, definition {hashlib.sha256(query.encode()).hexdigest()[:16]}; do not edit."


def grant_view(name: str) -> str:
    """Let the readers read one view."""
    return f"GRANT SELECT ON {placed(BI_SCHEMA, name)} TO {quoted(BI_READER)}"


GRANT_SCHEMA: Final = f"GRANT USAGE ON SCHEMA {quoted(BI_SCHEMA)} TO {quoted(BI_READER)}"
CREATE_READER: Final = f"CREATE ROLE {quoted(BI_READER)} NOLOGIN"


def admin_sql(writer: str) -> str:
    """What an administrator runs once for a writer that may not make schemas and roles; harmless to repeat."""
    owner = '"' + writer.replace('"', '""') + '"'
    return "\n".join(
        (
            (
                f"DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{BI_READER}') "
                f"THEN {CREATE_READER}; END IF; END$$;"
            ),
            *(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)} AUTHORIZATION {owner};" for name in (SCHEMA, BI_SCHEMA)),
            f"{GRANT_SCHEMA};",
        )
    )


def all_sql(tables: Sequence[PublishedTable], writer: str) -> str:
    """Everything for reading: the administrator's part, then what tokengov makes itself when it publishes."""
    return "\n".join(
        (
            "-- 1. For an administrator, in the database of TOKENGOV_PUBLISH_URL. Needed only where the writer of that",
            "--    URL has no CREATE on the database or no CREATEROLE. Afterwards: tokengov publish MONTH",
            admin_sql(writer),
            f"--    Then, for each login of a BI tool: GRANT {BI_READER} TO that_login;",
            "",
            "-- 2. For reading only: what tokengov makes in these schemas when it publishes.",
            *(f"{statement};" for statement in _made_by_us(tables)),
        )
    )


def _made_by_us(tables: Sequence[PublishedTable]) -> Iterable[str]:
    yield create_period_versions()
    yield from functions()
    for table in tables:
        yield create_table(table)
    for name in (PERIOD_VERSIONS, *(table.name for table in tables)):
        for trigger, statement in triggers(name).items():
            yield statement
            yield always(name, trigger)
    for name, query in views(tables).items():
        yield create_view(name, query)[0]
        yield grant_view(name)
