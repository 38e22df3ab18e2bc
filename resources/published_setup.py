"""Making what the published tables need and the database lacks: schemas, tables, triggers, views, the readers' role.

Belongs here: looking at the catalogs and running the statements that are missing. Does not belong here: the statements
(`resources.published_schema`), the rows, connections and the words for a refusal (`resources.publisher`).

What is there is left alone, so that a view that somebody reads is not locked without need.
"""

from collections.abc import Sequence
from typing import Final

from psycopg2.extensions import cursor as PgCursor  # noqa: N812 - psycopg2 writes its class small

from resources import published_schema as schema
from resources.published_schema import BI_READER, BI_SCHEMA, PERIOD_VERSIONS, SCHEMA, PublishedTable, placed, quoted

PRINT_SQL: Final = "tokengov publish MONTH --print-sql"

_LOCK: Final = 7_309_941_020_211_108
"""One publisher at a time in a database; any number that nobody else uses would do."""

_TYPES: Final = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
_TRIGGERS: Final = """
    SELECT c.relname, t.tgname, t.tgenabled = 'A'
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND NOT t.tgisinternal
"""
_VIEWS: Final = """
    SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), '')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'v'
"""


class PublishError(RuntimeError):
    """The tables could not be published, and nothing was; the text names table, column and fix, and no password."""


def set_up(cursor: PgCursor, tables: Sequence[PublishedTable], writer: str) -> tuple[str, ...]:
    """Make everything that is missing, in the cursor's transaction; returns what an administrator has to do, in words.

    Raises:
        PublishError: the writer may not make the schemas, or a table has a column of another type.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    _make_schemas(cursor, writer)
    _make_tables(cursor, tables)
    _make_triggers(cursor, [PERIOD_VERSIONS, *(table.name for table in tables)])
    views = schema.views(tables)
    cursor.execute(_VIEWS, (BI_SCHEMA,))
    known = dict(cursor.fetchall())
    for name, query in views.items():
        if known.get(name) != schema.view_comment(query):
            for statement in schema.create_view(name, query):
                cursor.execute(statement)
    if not _has_reader(cursor):
        note = (
            f"the role {BI_READER} is not there and {writer} may not create roles, so nobody can read the views yet. "
            f"Fix: let an administrator run what `{PRINT_SQL}` prints, then publish again."
        )
        return (note,)
    return _grant(cursor, list(views), [PERIOD_VERSIONS, *(table.name for table in tables)])


def _make_schemas(cursor: PgCursor, writer: str) -> None:
    wanted = [SCHEMA, BI_SCHEMA]
    cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", (wanted,))
    known = {name for (name,) in cursor.fetchall()}
    missing = [name for name in wanted if name not in known]
    if missing and not _is_true(cursor, "SELECT has_database_privilege(current_database(), 'CREATE')"):
        message = (
            f"the schema {' and '.join(missing)} is not there and {writer} has no CREATE on the database. "
            f"Fix: let an administrator run what `{PRINT_SQL}` prints, then publish again."
        )
        raise PublishError(message)
    for name in missing:
        cursor.execute(f"CREATE SCHEMA {quoted(name)}")


def _make_tables(cursor: PgCursor, tables: Sequence[PublishedTable]) -> None:
    cursor.execute(_TYPES, (SCHEMA,))
    known: dict[str, dict[str, str]] = {}
    for table, column, kind in cursor.fetchall():
        known.setdefault(table, {})[column] = kind
    declared = {PERIOD_VERSIONS: dict(schema.PERIOD_VERSION_COLUMNS)}
    declared |= {table.name: schema.columns_of(table) for table in tables}
    creations = {PERIOD_VERSIONS: schema.create_period_versions()}
    creations |= {table.name: schema.create_table(table) for table in tables}
    for name, columns in declared.items():
        if name not in known:
            cursor.execute(creations[name])
            continue
        for column, kind in columns.items():
            found = known[name].get(column)
            if found is None:
                cursor.execute(schema.add_column(name, column, kind))
            elif found != kind:
                message = (
                    f"{SCHEMA}.{name}: column {column} is {found} and has to be {kind}. Fix: rename the table "
                    "(ALTER TABLE ... RENAME TO ...) and publish again; a new one is made, the old rows stay."
                )
                raise PublishError(message)


def _make_triggers(cursor: PgCursor, names: Sequence[str]) -> None:
    for statement in schema.functions():
        cursor.execute(statement)
    cursor.execute(_TRIGGERS, (SCHEMA,))
    known = {(table, trigger): fires_always for table, trigger, fires_always in cursor.fetchall()}
    for name in names:
        for trigger, statement in schema.triggers(name).items():
            if (name, trigger) not in known:
                cursor.execute(statement)
            if not known.get((name, trigger), False):
                cursor.execute(schema.always(name, trigger))


def _has_reader(cursor: PgCursor) -> bool:
    """Whether the readers' role is there, or could be made."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (BI_READER,))
    if cursor.fetchone():
        return True
    if _is_true(cursor, "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"):
        cursor.execute(schema.CREATE_READER)
        return True
    return False


def _grant(cursor: PgCursor, views: Sequence[str], tables: Sequence[str]) -> tuple[str, ...]:
    """Give the readers every view and take every table from them; returns what could not be done."""
    may_enter = "SELECT has_schema_privilege(%s, %s, 'USAGE')"
    if not _is_true(cursor, may_enter, BI_READER, BI_SCHEMA):
        cursor.execute(schema.GRANT_SCHEMA)
    for name in views:
        if not _may_read(cursor, BI_SCHEMA, name):
            cursor.execute(schema.grant_view(name))
    for name in tables:
        if _may_read(cursor, SCHEMA, name):
            cursor.execute(f"REVOKE ALL ON {placed(SCHEMA, name)} FROM {quoted(BI_READER)}, PUBLIC")
    notes = []
    if not _is_true(cursor, may_enter, BI_READER, BI_SCHEMA):
        notes.append(f"{BI_READER} may not enter the schema {BI_SCHEMA}. Fix: its owner runs {schema.GRANT_SCHEMA}")
    notes += [
        f"{BI_READER} can read {SCHEMA}.{name} past the views. Fix: an administrator takes the right, or the role that "
        "it comes from, away."
        for name in tables
        if _may_read(cursor, SCHEMA, name)
    ]
    return tuple(notes)


def _may_read(cursor: PgCursor, where: str, name: str) -> bool:
    return _is_true(cursor, "SELECT has_table_privilege(%s, %s, 'SELECT')", BI_READER, placed(where, name))


def _is_true(cursor: PgCursor, question: str, *parameters: object) -> bool:
    cursor.execute(question, parameters or None)
    answer = cursor.fetchone()
    return bool(answer and answer[0])
