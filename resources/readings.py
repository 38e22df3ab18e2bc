"""How well each source is read: the state of a UTC day, the days still to read, the age of the newest reading.

Belongs here: questions to the lake's load records. Does not belong here: the states themselves (`domain.day_state`),
what is done about them (`tokengov_pipelines.schedules`, `tokengov_pipelines.sensors`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from resources.lake import Lake
from tokengov_pipelines.domain.day_state import DayState, day_state, least
from tokengov_pipelines.settings import Installation, Settings

PROXY_LOG: Final = "litellm_spend_logs"
REPORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic_usage", "anthropic_cost"),
    "openai": ("openai_usage", "openai_cost"),
}
"""The daily report tables of each provider."""

_NEWEST = 5
"""Partitions looked at, from the last one back, for the newest reading; a daily run reads more than that."""


def configured_reports(settings: Settings) -> tuple[str, ...]:
    """The report tables of the providers that tokengov.yaml configures."""
    return tuple(
        table for provider, tables in REPORTS.items() if getattr(settings, provider) is not None for table in tables
    )


def state_at(lake: Lake, table: str, day: dt.date, watermark_days: int) -> DayState:
    """The state of a day at one source (Rule 2.3); a provider's figures settle only when a re-read confirms them."""
    known = lake.known_until(table, f"day={day}")
    if known is None:
        return DayState.MISSING
    until, confirmed = known
    return day_state(day, until, watermark_days, is_confirmed=confirmed or table == PROXY_LOG)


def state_of(lake: Lake, settings: Settings, day: dt.date, watermark_days: int) -> DayState:
    """The state of a day over the proxy's log and every configured provider: that of the least known source."""
    return least(state_at(lake, table, day, watermark_days) for table in (PROXY_LOG, *configured_reports(settings)))


def first_incomplete(lake: Lake, tables: Sequence[str], first: dt.date, last: dt.date) -> dt.date | None:
    """The earliest day from `first` to `last` that a source was not read to its end; None when there is none.

    Looks back from `last` and stops at the first day that all tables hold, so that a long history costs nothing: days
    are read in order, and a hole further back is for a person to see (`every_day_extracted`).
    """
    found, day = None, last
    while day >= first:
        states = [state_at(lake, table, day, 0) for table in tables]
        if least(states) in {DayState.COMPLETE, DayState.SETTLED}:
            break
        found, day = day, day - dt.timedelta(days=1)
    return found


def newest_readings(installation: Installation, lake: Lake) -> dict[str, dt.datetime | None]:
    """When each configured source was last read with success, by its name; None = never."""
    settings = installation.settings
    tables = {"litellm": (PROXY_LOG,), **{name: tables for name, tables in REPORTS.items() if getattr(settings, name)}}
    if settings.github is not None:
        tables["github"] = ("github_repositories",)  # written once every repository was read
    return {name: _earliest([_newest(lake, table) for table in of]) for name, of in tables.items()}


def _earliest(moments: Sequence[dt.datetime | None]) -> dt.datetime | None:
    """The earliest of moments, None where one of them is missing."""
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None


def _newest(lake: Lake, table: str) -> dt.datetime | None:
    seen = [lake.last_seen(table, partition) for partition in lake.seen_partitions(table)[-_NEWEST:]]
    return max((dt.datetime.fromisoformat(record["extracted_at"]) for record in seen if record), default=None)
