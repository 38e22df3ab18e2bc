"""`tokengov doctor` on LiteLLM's Postgres: reachable, permitted, schema, what the role should not read, age of the log.

Belongs here: questions to the proxy's database and what their answers mean. Does not belong here: what they say of the
proxy's settings (`resources.litellm_settings_probe`), reading for the lake (`resources.litellm`).

Each question is a transaction of its own, so that one that fails does not hide the others. Nothing reads `metadata`
of more than a few hundred rows, and nothing scans the log: what is counted, is counted over its newest rows.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from resources.litellm import LiteLLMPostgres
from resources.litellm_tables import OPTIONAL_TABLES, SNAPSHOTS, SPEND_LOGS, SourceTable
from resources.source_error import SourceError
from tokengov_pipelines.domain.alert import duration
from tokengov_pipelines.domain.directory_gaps import Caller, ProxyEntities
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning
from tokengov_pipelines.settings import LITELLM_URL_VARIABLE

SOURCE: Final = "LiteLLM"
DAYS_LOOKED_AT: Final = 7
ROWS_LOOKED_AT: Final = 200_000
MOST_CLOCK_SKEW_SECONDS: Final = 60
DAILY_TABLES: Final = ("LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend")

FORBIDDEN: Final[Mapping[str, Sequence[str]]] = {
    "LiteLLM_SpendLogs": ("messages", "response", "proxy_server_request", "requester_ip_address", "api_base"),
    "LiteLLM_UserTable": ("password",),
}
"""Columns that `deploy/litellm/grants.sql` keeps out of reach (Rule 12.8)."""

_GRANTS = "run deploy/litellm/grants.sql as the owner of LiteLLM's tables"
_CHECK_URL = f"check {LITELLM_URL_VARIABLE}; docs/connect-litellm.md shows its forms."
_ENCODE = "percent-encode the special characters of its password (@ is %40, / is %2F, % is %25)"
_MOST_NAMED = 5
_UNPRICED_PER_MILLE = 1  # rule book 0.2: alerts.unpriced_rows_pct 0.1


@dataclass
class ProxySight:
    """What the probe saw and others ask for: the newest callers and what the proxy's tables say of them."""

    callers: list[Caller] = field(default_factory=list)
    entities: ProxyEntities = field(default_factory=ProxyEntities)
    since: dt.date | None = None


def probe_litellm(
    source: LiteLLMPostgres, *, now: dt.datetime, is_now_fixed: bool, stale_after_hours: int, skew_seconds: int
) -> Iterator[Finding]:
    """Every finding about the database, its tables and its log; ends after the first where it cannot be reached.

    `now` is the installation's present moment; `is_now_fixed` says that it is not the clock's (`as_of`).
    """
    if not _is_readable(source.url):
        text = f"{LITELLM_URL_VARIABLE} cannot be read as a URL."
        yield error(SOURCE, "reachable", text, f"{_ENCODE}; docs/connect-litellm.md shows its forms.")
        return
    try:
        yield from _reach(source)
    except SourceError as failed:
        yield from_error(SOURCE, "reachable", str(failed), f"{_ENCODE}, if it holds any; check {LITELLM_URL_VARIABLE}.")
        return
    yield from answered("permitted", lambda: _permissions(source))
    yield from answered("privacy", lambda: _privacy(source))
    yield from answered("newest row", lambda: _newest(source, now, stale_after_hours))
    if not is_now_fixed:
        yield from answered("time", lambda: _future(source, now, skew_seconds))
    yield from answered("prices", lambda: _unpriced(source, now))


def answered(check: str, question: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of one question; a database that does not answer it is a finding as well."""
    try:
        return list(question())
    except SourceError as failed:
        if "took longer than" in str(failed):
            text = "the database did not answer this in time."
            return [warning(SOURCE, check, text, "nothing, if loads work (they wait longer); else ask its operator.")]
        return [from_error(SOURCE, check, str(failed), _CHECK_URL)]


def look(source: LiteLLMPostgres, now: dt.datetime, placeholder_users: Iterable[str]) -> ProxySight:
    """Who called lately, and what the proxy's tables say of teams, keys and users now.

    Raises:
        SourceError: the database cannot be read.
    """
    since = now - dt.timedelta(days=DAYS_LOOKED_AT)
    placeholders = set(placeholder_users)
    rows = ask(source, "select distinct * from " + newest_rows('team_id, "user", api_key', since), SPEND_LOGS.source)
    callers = [Caller(team or None, _person(user, placeholders), key or None) for team, user, key in rows]
    teams = ask(source, "select team_id, metadata ->> 'cost_center' from public.\"LiteLLM_TeamTable\"", "TeamTable")
    keys = ask(source, 'select token, team_id, user_id from public."LiteLLM_VerificationToken"', "VerificationToken")
    users = ask(source, 'select user_id, user_email from public."LiteLLM_UserTable"', "UserTable")
    entities = ProxyEntities(
        {team: center for team, center in teams if center},
        {key: (team or None, _person(user, placeholders)) for key, team, user in keys},
        {user: email for user, email in users if email},
    )
    return ProxySight(callers, entities, since.date())


def _person(user: str | None, placeholders: set[str]) -> str | None:
    return user if user and user not in placeholders else None


def _is_readable(url: str) -> bool:
    """False where an unencoded character of the password makes host or port unreadable; its error would quote it."""
    try:
        urlsplit(url).port  # noqa: B018 - asking is what fails
    except ValueError:
        return False
    return True


# --- questions -------------------------------------------------------------------------------------------------------


def _reach(source: LiteLLMPostgres) -> Iterator[Finding]:
    before = dt.datetime.now(dt.UTC)
    query = "select current_user::text, split_part(version(), ' ', 2), extract(epoch from clock_timestamp())::bigint"
    ((role, version, epoch),) = ask(source, query, "it")
    after = dt.datetime.now(dt.UTC)
    yield ok(SOURCE, "reachable", f"{source.place} answers to {role} (Postgres {version}).")
    server = dt.datetime.fromtimestamp(epoch, dt.UTC)
    skew = max((before - server).total_seconds() - 1, (server - after).total_seconds(), 0)
    yield clock_finding(SOURCE, skew, "the database's clock")


def clock_finding(source: str, skew_seconds: float, whose: str) -> Finding:
    """How far another clock is from ours."""
    if skew_seconds <= MOST_CLOCK_SKEW_SECONDS:
        return ok(source, "clock", f"{whose} and this machine's agree within {MOST_CLOCK_SKEW_SECONDS} s.")
    return warning(
        source,
        "clock",
        f"{whose} and this machine's differ by {skew_seconds:.0f} s.",
        "set this machine's clock by NTP (timedatectl); if it is right, tell whoever runs the other one.",
    )


def _permissions(source: LiteLLMPostgres) -> Iterator[Finding]:
    """Every table and column of the allow-list: there, and readable."""
    daily = [(name, ("date", "api_requests"), ("date", "api_requests")) for name in DAILY_TABLES]
    wanted = [*((table.source, _columns(table), _required(table)) for table in (SPEND_LOGS, *SNAPSHOTS)), *daily]
    hidden: list[str] = []
    missing: list[str] = []
    absent: list[str] = []
    older: list[str] = []
    for name, columns, required in wanted:
        present = columns_of(source, name)
        if not present:
            (older if name in OPTIONAL_TABLES or name in DAILY_TABLES else absent).append(name)
            continue
        hidden += [f"{name}.{column}" for column in columns if present.get(column) is False]
        missing += [f"{name}.{column}" for column in required if column not in present]
        older += [f"{name}.{column}" for column in columns if column not in present and column not in required]
    if absent:
        yield error(
            SOURCE,
            "schema",
            f"{source.place} has no table {', '.join(absent)}.",
            f"point {LITELLM_URL_VARIABLE} at the proxy's own database (LiteLLM makes its tables at first start).",
        )
    if missing:
        yield error(SOURCE, "schema", f"these columns do not exist: {_some(missing)}.", "upgrade LiteLLM.")
    if not absent and not missing:
        without = f"; not in this version of LiteLLM, and not needed: {_some(older)}" if older else ""
        yield ok(SOURCE, "schema", f"every table and column that is needed exists{without}.")
    if hidden:
        yield error(
            SOURCE, "permitted", f"the role may not read {_some(hidden)}.", f"{_GRANTS}, and again after each upgrade."
        )
    elif not absent:
        yield ok(SOURCE, "permitted", "the role may read every column of the allow-list.")
    if any(name in older for name in DAILY_TABLES):
        yield warning(
            SOURCE,
            "daily counters",
            f"{_some([name for name in DAILY_TABLES if name in older])} does not exist, so that a day without calls "
            "cannot be proven to be empty.",
            "upgrade LiteLLM; until then such a day stays missing and its month open.",
        )


def _columns(table: SourceTable) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.source for column in table.columns))


def _required(table: SourceTable) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.source for column in table.columns if column.required))


def _privacy(source: LiteLLMPostgres) -> Iterator[Finding]:
    """That the role cannot read prompts and secrets, nor change anything."""
    open_columns = [
        f"{table}.{column}"
        for table, columns in FORBIDDEN.items()
        for column, readable in columns_of(source, table).items()
        if readable and column in columns
    ]
    ((role, may_write),) = ask(
        source,
        "select current_user::text, coalesce(has_table_privilege(to_regclass('public.\"LiteLLM_SpendLogs\"'), "
        "'insert, update, delete, truncate'), false)",
        "it",
    )
    fix = (
        f"log in as tokengov_reader: make that role, {_GRANTS}, and name it in {LITELLM_URL_VARIABLE}. If it is that "
        "role already: revoke all on all tables in schema public from tokengov_reader, then run the script again."
    )
    if open_columns:
        yield warning(SOURCE, "privacy", f"{role} can read {_some(open_columns, 10)}: prompts and secrets.", fix)
    if may_write:
        yield warning(SOURCE, "privacy", f"{role} can change LiteLLM_SpendLogs, which is evidence.", fix)
    if not open_columns and not may_write:
        yield ok(SOURCE, "privacy", f"{role} cannot read prompts, answers, addresses or passwords, and not write.")


def _newest(source: LiteLLMPostgres, now: dt.datetime, stale_after_hours: int) -> Iterator[Finding]:
    """How old the newest row is, and whether LiteLLM's own counters know newer calls than the log."""
    newest = log_bounds(source)[1]
    counted = daily_bounds(source)[1]
    not_logged = "unset disable_spend_logs and disable_spend_updates in the proxy's general_settings, restart it, and "
    not_logged += "look in its log for errors of writing to the database."
    if counted is not None and (newest is None or counted > newest.date()):
        since = f"none since {newest:%Y-%m-%d %H:%M} UTC" if newest else "no row at all"
        text = f"LiteLLM counted calls on {counted} in its daily tables, and the log has {since}."
        yield error(SOURCE, "newest row", text, not_logged)
    elif newest is None:
        yield warning(SOURCE, "newest row", "the log has no row yet.", f"send a call through the proxy; {not_logged}")
    elif now - newest > dt.timedelta(hours=stale_after_hours):
        yield warning(
            SOURCE,
            "newest row",
            f"the newest call is {duration(now - newest)} old ({newest:%Y-%m-%d %H:%M} UTC); the limit is "
            f"{stale_after_hours} h (alerts.stale_after_hours).",
            f"nothing, if nobody called the proxy since; otherwise {not_logged}",
        )
    else:
        age = duration(max(now - newest, dt.timedelta(0)))
        yield ok(SOURCE, "newest row", f"the newest call is {age} old ({newest:%Y-%m-%d %H:%M} UTC).")


def _future(source: LiteLLMPostgres, now: dt.datetime, skew_seconds: int) -> Iterator[Finding]:
    """Rows later than now: the proxy does not write UTC. Earlier ones than they should be cannot be told from idle."""
    newest = log_bounds(source)[1]
    if newest is not None and newest - now > dt.timedelta(seconds=skew_seconds):
        yield error(
            SOURCE,
            "time",
            f"the newest call starts {duration(newest - now)} in the future ({newest:%Y-%m-%d %H:%M} read as UTC).",
            "upgrade LiteLLM (current versions write UTC whatever their zone), and check the clock of its machine.",
        )
    elif newest is not None:
        yield ok(SOURCE, "time", "no call starts in the future, so startTime is UTC as far as can be told.")


def _unpriced(source: LiteLLMPostgres, now: dt.datetime) -> Iterator[Finding]:
    """Successful calls with tokens and without spend: their model has no price in the proxy's map."""
    since = now - dt.timedelta(days=DAYS_LOOKED_AT)
    rows = ask(
        source,
        "select model, count(*), count(*) filter (where spend = 0) from "
        f"{newest_rows('model, spend, status, cache_hit, total_tokens', since)} "
        "where total_tokens > 0 and coalesce(status, 'success') = 'success' and cache_hit is distinct from 'True' "
        "group by model order by 3 desc, 1",
        SPEND_LOGS.source,
    )
    calls, unpriced = sum(row[1] for row in rows), sum(row[2] for row in rows)
    if not calls:
        yield ok(SOURCE, "prices", f"no call with tokens since {since:%Y-%m-%d}, so nothing to say about prices.")
    elif unpriced * 1000 > calls * _UNPRICED_PER_MILLE:
        models = _some([f"{model or 'no model'} ({count})" for model, _, count in rows if count])
        yield warning(
            SOURCE,
            "prices",
            f"{unpriced} of {calls} calls since {since:%Y-%m-%d} have tokens and no spend: {models}.",
            "give these models a price in the proxy (model_info, or a newer price map: POST /reload/model_cost_map); "
            "what is logged already is priced by the price book at reconciliation.",
        )
    else:
        yield ok(SOURCE, "prices", f"{calls - unpriced} of {calls} calls since {since:%Y-%m-%d} have a spend.")


# --- asking ----------------------------------------------------------------------------------------------------------


def log_bounds(source: LiteLLMPostgres) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The oldest and the newest `startTime` of the log, UTC."""
    query = 'select min("startTime"), max("startTime") from public."LiteLLM_SpendLogs"'
    ((oldest, newest),) = ask(source, query, SPEND_LOGS.source)
    return _utc(oldest), _utc(newest)


def daily_bounds(source: LiteLLMPostgres) -> tuple[dt.date | None, dt.date | None]:
    """The first and the last day on which LiteLLM's daily tables count calls; none where they cannot be read."""
    days: list[str] = []
    for table in daily_tables(source):
        query = f'select min(date), max(date) from public."{table}" where api_requests > 0'
        days += [day for row in ask(source, query, table) for day in row if day]
    return (dt.date.fromisoformat(min(days)), dt.date.fromisoformat(max(days))) if days else (None, None)


def daily_tables(source: LiteLLMPostgres) -> list[str]:
    """The daily tables that exist and may be read."""
    return [
        table
        for table in DAILY_TABLES
        if {"date", "api_requests"} <= {name for name, readable in columns_of(source, table).items() if readable}
    ]


def newest_rows(columns: str, since: dt.datetime, most: int = ROWS_LOOKED_AT) -> str:
    """The newest rows of the log as a table expression; columns are named, because the role may not read all."""
    return (
        f'(select {columns} from public."LiteLLM_SpendLogs" '
        f'where "startTime" >= timestamp \'{since:%Y-%m-%d %H:%M:%S}\' order by "startTime" desc limit {most}) newest'
    )


def columns_of(source: LiteLLMPostgres, table: str) -> dict[str, bool]:
    """Columns of a table and whether this role may read each; empty where there is no such table."""
    rows = ask(
        source,
        "select a.attname::text, has_column_privilege(c.oid, a.attnum, 'select') from pg_attribute a "
        "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
        f"where n.nspname = 'public' and c.relname = '{table}' and a.attnum > 0 and not a.attisdropped",
        table,
    )
    return dict(rows)


def ask(source: LiteLLMPostgres, query: str, table: str) -> list[tuple[Any, ...]]:
    """The rows of one query, in a read-only transaction of its own.

    Raises:
        SourceError: the database refuses it or is gone.
    """
    with source.connection(table) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.replace(tzinfo=dt.UTC) if moment else None


def _some(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    more = len(names) - most
    return f"{', '.join(names[:most])}{f' and {more} more' if more > 0 else ''}"
