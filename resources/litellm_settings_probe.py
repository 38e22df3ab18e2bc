"""`tokengov doctor` on the proxy's own settings: how long it keeps its log, its time zone, the age of its price map.

Belongs here: reading the few settings that matter, and telling from the data what cannot be read. Does not belong here:
the database and the log itself (`resources.litellm_probe`).

Most proxies keep these settings in a config file that nobody shows us. A proxy that keeps them in its database has them
in `LiteLLM_Config`, beside secrets, so that the role of `deploy/litellm/grants.sql` may not read it; the view
`tokengov_litellm_config` (docs/connect-litellm.md) shows these settings alone. Without either, the data speaks: rows
that LiteLLM's daily tables count and the log lacks were purged, and budgets that reset at another hour than midnight
UTC betray the zone.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Final

from resources.litellm import LiteLLMPostgres
from resources.litellm_probe import (
    DAYS_LOOKED_AT,
    SOURCE,
    answered,
    ask,
    columns_of,
    daily_bounds,
    daily_tables,
    log_bounds,
    newest_rows,
)
from resources.litellm_tables import SPEND_LOGS
from resources.source_error import SourceError
from tokengov_pipelines.domain.alert import duration
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning

LEAST_RETENTION_DAYS: Final = 60
OLDEST_PRICE_MAP_DAYS: Final = 30

RETENTION: Final = "maximum_spend_logs_retention_period"
CONFIG_RELATIONS: Final = ("tokengov_litellm_config", "LiteLLM_Config")

_PATHS: Final = {
    "retention": ("general_settings", RETENTION),
    "timezone": ("litellm_settings", "timezone"),
    "map_read_at": ("model_cost_map_reload_config", "last_run"),
}
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 30 * 86_400}
_UTC_NAMES: Final = frozenset({"utc", "etc/utc", "gmt", "etc/gmt", "zulu", "uct"})
_MAP_SAMPLE: Final = 300

_KEEP = (
    f"set {RETENTION} to {LEAST_RETENTION_DAYS}d or more, or unset it, in general_settings and in the log settings of "
    "the proxy's admin UI, which override the file."
)


def probe_proxy_settings(source: LiteLLMPostgres, now: dt.datetime) -> Iterator[Finding]:
    """Retention, time zone and price map of a proxy whose database can be reached."""
    try:
        settings = _settings(source)
    except SourceError as failed:
        yield from_error(SOURCE, "settings", str(failed))
        return
    yield from answered("retention", lambda: _retention(source, settings, now))
    yield from answered("time zone", lambda: _time_zone(source, settings))
    yield from answered("price map", lambda: _price_map(source, settings, now))


def _settings(source: LiteLLMPostgres) -> Mapping[str, str | None] | None:
    """The settings that matter as the database has them, or None where this role may not see them."""
    for relation in CONFIG_RELATIONS:
        readable = {name for name, may in columns_of(source, relation).items() if may}
        if {"param_name", "param_value"} <= readable:
            values = [f"param_value ->> '{path}'" for _, path in _PATHS.values()]
            if "last_run_at" in readable:  # newer versions keep it in a column of its own
                values[-1] = f"coalesce(last_run_at::text, {values[-1]})"
            params = ", ".join(f"'{param}'" for param, _ in _PATHS.values())
            query = f'select param_name, {", ".join(values)} from public."{relation}" where param_name in ({params})'
            rows = ask(source, query, relation)
            found = {row[0]: dict(zip(_PATHS, row[1:], strict=True)) for row in rows}
            return {name: found.get(param, {}).get(name) for name, (param, _) in _PATHS.items()}
    return None


def _retention(
    source: LiteLLMPostgres, settings: Mapping[str, str | None] | None, now: dt.datetime
) -> Iterator[Finding]:
    """At least 60 days are kept: by the setting where it shows, else by what the log still has (Rule 12.9)."""
    set_to = (settings or {}).get("retention")
    days = _days_of(set_to)
    if days is not None and days < LEAST_RETENTION_DAYS:
        yield error(
            SOURCE, "retention", f"the proxy deletes rows of its log after {days} days ({RETENTION}: {set_to}).", _KEEP
        )
        return
    oldest = log_bounds(source)[0]
    if oldest is None:
        yield warning(
            SOURCE, "retention", "the log is empty, so that nothing shows how long it is kept.", f"{_KEEP} Look again."
        )
        return
    held = (now - oldest).days
    said = f"; {RETENTION} is {set_to}" if set_to else ""
    counted = daily_bounds(source)[0]
    begins = f"the log begins on {oldest:%Y-%m-%d}, {held} days ago"
    if held >= LEAST_RETENTION_DAYS:
        yield ok(SOURCE, "retention", f"{begins}{said}.")
    elif counted is not None and counted < oldest.date():
        yield error(
            SOURCE,
            "retention",
            f"{begins}, and LiteLLM's daily tables count calls from {counted} on: what lies between was deleted, or "
            "never logged.",
            f"{_KEEP} Load what is left now: tokengov load {oldest:%Y-%m-%d} ...",
        )
    elif days is not None:
        yield ok(SOURCE, "retention", f"{begins}{said}.")
    else:
        why = "and so do LiteLLM's daily tables" if daily_tables(source) else "and no daily table shows an earlier call"
        yield warning(
            SOURCE,
            "retention",
            f"{begins}, {why}; whether older rows will be kept cannot be seen from here.",
            f"{_KEEP} This line is green once the log is {LEAST_RETENTION_DAYS} days old, or the view of "
            "docs/connect-litellm.md shows the setting.",
        )


def _days_of(period: str | None) -> int | None:
    """Whole days of a period such as 60d, 1440h, 2mo; None where LiteLLM would not delete by it."""
    found = re.fullmatch(r"(\d{1,9})(s|m|h|d|w|mo)", period or "")
    return int(found[1]) * _UNITS[found[2]] // 86_400 if found else None


def _time_zone(source: LiteLLMPostgres, settings: Mapping[str, str | None] | None) -> Iterator[Finding]:
    """Budgets of the proxy reset at midnight UTC, so that its month is the books' month (Rules 7.2, 12.9)."""
    fix = "set litellm_settings.timezone to UTC in the proxy's config and restart it."
    zone = (settings or {}).get("timezone")
    if zone is not None and zone.lower() not in _UTC_NAMES:
        text = (
            f"litellm_settings.timezone is {zone}: budgets of the proxy reset at midnight there, not at midnight UTC."
        )
        yield warning(SOURCE, "time zone", text, fix)
        return
    resets = [time for table in ("LiteLLM_TeamTable", "LiteLLM_BudgetTable") for time in _resets(source, table)]
    other = sorted({time for time in resets if time != "00:00"})
    if other:
        yield warning(
            SOURCE,
            "time zone",
            f"{sum(time != '00:00' for time in resets)} of {len(resets)} budgets of whole days reset at "
            f"{', '.join(other[:3])} UTC and not at midnight, so litellm_settings.timezone is not UTC.",
            f"{fix} Resets already planned keep their hour until they have passed.",
        )
    elif zone is not None:
        yield ok(SOURCE, "time zone", f"litellm_settings.timezone is {zone}.")
    elif resets:
        yield ok(SOURCE, "time zone", f"{len(resets)} budgets of whole days reset at midnight UTC.")
    else:
        yield ok(SOURCE, "time zone", "no budget of the proxy shows its time zone; LiteLLM's default is UTC.")


def _resets(source: LiteLLMPostgres, table: str) -> list[str]:
    """At which time of day (UTC) the budgets of a table reset that LiteLLM resets at its midnight."""
    readable = {name for name, may in columns_of(source, table).items() if may}
    if not {"budget_reset_at", "budget_duration"} <= readable:
        return []
    rows = ask(
        source,
        f"select to_char(budget_reset_at, 'HH24:MI') from public.\"{table}\" where budget_reset_at is not null "
        "and budget_duration in ('1d', '7d', '1w', '30d', '1mo')",
        table,
    )
    return [row[0] for row in rows]


def _price_map(
    source: LiteLLMPostgres, settings: Mapping[str, str | None] | None, now: dt.datetime
) -> Iterator[Finding]:
    """How old the prices are that the proxy logs spend at, as far as it says (Rule 12.4)."""
    read_at = _moment((settings or {}).get("map_read_at"))
    if read_at is not None:
        age = now - read_at
        text = f"the proxy last reloaded its price map {duration(age)} ago ({read_at:%Y-%m-%d %H:%M} UTC)."
        if age > dt.timedelta(days=OLDEST_PRICE_MAP_DAYS):
            fix = "reload it (POST /reload/model_cost_map), or plan it (POST /schedule/model_cost_map_reload?hours=24)."
            yield warning(SOURCE, "price map", text, fix)
        else:
            yield ok(SOURCE, "price map", text)
        return
    since = now - dt.timedelta(days=DAYS_LOOKED_AT)
    ((rows, priced),) = ask(
        source,
        "select count(*), count(*) filter (where metadata #> '{model_map_information,model_map_value}' is not null "
        "and jsonb_typeof(metadata #> '{model_map_information,model_map_value}') = 'object') from "
        f"{newest_rows('metadata', since, _MAP_SAMPLE)}",
        SPEND_LOGS.source,
    )
    shown = f" {priced} of the newest {rows} calls carry the price they were logged at." if rows else ""
    yield ok(
        SOURCE,
        "price map",
        "its age is not known: LiteLLM reads it at every start and keeps no date, unless a reload is scheduled."
        f"{shown} Price differences show in the daily price tables.",
    )


def _moment(text: str | None) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
