"""Checks of what the providers reported: statements that are true when green.

Belongs here: checks of the report tables. Does not belong here: reading them (`assets.providers`), the proxy's log and
the month (`assets.checks`).
"""

import datetime as dt
from typing import Any

import dagster as dg

from assets.checks import partitions_of_the_run, result
from resources.home import Home
from resources.lake import Lake
from resources.readings import REPORTS, state_at
from tokengov_pipelines.domain.day_state import DayState


def provider_checks(days: dg.DailyPartitionsDefinition) -> list[Any]:
    """Two checks of every report table. Neither blocks: what is wrong is said, and nothing wrong becomes current."""

    def checks_of(provider: str, table: str) -> list[dg.AssetChecksDefinition]:
        asset = dg.AssetKey(["raw", table])

        @dg.asset_check(
            asset=asset,
            name="source_still_holds_the_day",
            description="The provider still reports every day that it reported figures for; the earlier load stays.",
        )
        def source_still_holds_the_day(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
            looked_at = _days_of(context, days, lake, table)
            seen = {day: lake.last_seen(table, f"day={day}") for day in looked_at}
            return result(
                looked_at,
                "every earlier figure is still there",
                [f"{day}: {last['reason']}" for day, last in seen.items() if last and last["verdict"] == "shrunk"],
                "is the key of another organisation in the environment? Read the days again when it is right",
            )

        @dg.asset_check(
            asset=asset,
            name="every_day_is_read_to_its_end",
            description="Every day of the run was reported up to its end; the provider may be hours behind (WARN).",
        )
        def every_day_is_read_to_its_end(
            context: dg.AssetCheckExecutionContext, home: Home, lake: Lake
        ) -> dg.AssetCheckResult:
            settings = home.installation.settings
            if getattr(settings, provider) is None:
                return result([], f"{provider} is not configured", [])
            today = settings.today().isoformat()
            looked_at = [day for day in _days_of(context, days, lake, table) if day < today]
            states = {day: state_at(lake, table, dt.date.fromisoformat(day), 0) for day in looked_at}
            behind = {DayState.MISSING, DayState.PARTIAL}
            return result(
                looked_at,
                "every day is read to its end",
                [f"{day}: {state}" for day, state in states.items() if state in behind],
                "none needed when the provider is late: the next daily run reads these days again",
                severity=dg.AssetCheckSeverity.WARN,
            )

        return [source_still_holds_the_day, every_day_is_read_to_its_end]

    return [check for provider, tables in REPORTS.items() for table in tables for check in checks_of(provider, table)]


def _days_of(
    context: dg.AssetCheckExecutionContext, days: dg.DailyPartitionsDefinition, lake: Lake, table: str
) -> list[str]:
    known = [name.removeprefix("day=") for name in lake.seen_partitions(table)]
    return partitions_of_the_run(context, days) or known
