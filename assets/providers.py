"""What the providers say: usage and cost reports by UTC day, and key lists as daily snapshots.

Belongs here: thin asset declarations that move a provider's answers into the lake.
Does not belong here: requests (`resources.anthropic`, `resources.openai`), checks (`assets.provider_checks`), what the
rows mean (`dbt_project`).
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dagster as dg

from assets.loads import describe, whole
from resources.anthropic import AnthropicReports
from resources.anthropic_tables import ANTHROPIC_SNAPSHOTS
from resources.home import Home
from resources.lake import Lake, LoadOutcome
from resources.openai import OpenAIReports
from resources.openai_tables import OPENAI_SNAPSHOTS
from resources.readings import state_at
from tokengov_pipelines.domain.day_state import end_of, final_from

PLATFORM = "team:platform"
NOT_CONFIGURED = {"load": "not configured in tokengov.yaml; nothing was read"}

Loader = Callable[[Lake, list[dt.date], dt.datetime], Iterable[tuple[dt.date, LoadOutcome]]]


def provider_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets of group `raw` that come from providers. A provider that tokengov.yaml leaves out is not read."""

    def report(table: str, description: str) -> Callable[..., dg.AssetsDefinition]:
        return dg.asset(
            key=["raw", table],
            group_name="raw",
            owners=[PLATFORM],
            kinds={"json", "parquet"},
            partitions_def=days,
            backfill_policy=dg.BackfillPolicy.single_run(),
            description=f"{description} A day may move for about 30 days; every change is kept as a load of its own.",
        )

    @report("anthropic_usage", "Anthropic's usage report: tokens by UTC day, key, workspace, model, tier and context.")
    def anthropic_usage(
        context: dg.AssetExecutionContext, anthropic: AnthropicReports, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        return _read_days(context, lake, home, "anthropic", "anthropic_usage", anthropic.load_usage)

    @report("anthropic_cost", "Anthropic's cost report, in fractional cents as reported.")
    def anthropic_cost(
        context: dg.AssetExecutionContext, anthropic: AnthropicReports, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        return _read_days(context, lake, home, "anthropic", "anthropic_cost", anthropic.load_cost)

    @report("openai_usage", "OpenAI's usage reports of every kind: tokens by UTC day, project, key, model and tier.")
    def openai_usage(
        context: dg.AssetExecutionContext, openai: OpenAIReports, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        return _read_days(context, lake, home, "openai", "openai_usage", openai.load_usage)

    @report("openai_cost", "OpenAI's cost report, in dollars as reported.")
    def openai_cost(
        context: dg.AssetExecutionContext, openai: OpenAIReports, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        return _read_days(context, lake, home, "openai", "openai_cost", openai.load_costs)

    @dg.multi_asset(name="anthropic_snapshots", group_name="raw", specs=_snapshot_specs(ANTHROPIC_SNAPSHOTS))
    def anthropic_snapshots(anthropic: AnthropicReports, lake: Lake, home: Home) -> Iterator[dg.MaterializeResult]:
        yield from _read_snapshots(lake, home, "anthropic", ANTHROPIC_SNAPSHOTS, anthropic.load_snapshots)

    @dg.multi_asset(name="openai_snapshots", group_name="raw", specs=_snapshot_specs(OPENAI_SNAPSHOTS))
    def openai_snapshots(openai: OpenAIReports, lake: Lake, home: Home) -> Iterator[dg.MaterializeResult]:
        yield from _read_snapshots(lake, home, "openai", OPENAI_SNAPSHOTS, openai.load_snapshots)

    return [anthropic_usage, anthropic_cost, openai_usage, openai_cost, anthropic_snapshots, openai_snapshots]


def _snapshot_specs(tables: Iterable[str]) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            key=["raw", table],
            owners=[PLATFORM],
            kinds={"json", "parquet"},
            description=f"{table.replace('_', ' ', 1)} as listed on a day; the past cannot be listed.",
        )
        for table in tables
    ]


def _read_days(
    context: dg.AssetExecutionContext, lake: Lake, home: Home, provider: str, table: str, load: Loader
) -> dg.MaterializeResult:
    """Read the run's days that have ended; the running day has no final figure to compare with."""
    settings = home.installation.settings
    days = [dt.date.fromisoformat(key) for key in context.partition_keys]
    if getattr(settings, provider) is None:
        for day in days:
            context.add_asset_metadata(NOT_CONFIGURED, partition_key=day.isoformat())
        return dg.MaterializeResult()
    now, period = settings.now(), home.installation.policy.period
    for day, outcome in load(lake, [day for day in days if end_of(day) <= now], now):
        final = final_from(day, period.provisional_days)
        state = {
            "state": str(state_at(lake, table, day, period.late_log_watermark_days)),
            "figures": f"provisional until {final}" if now.date() < final else "final",
        }
        context.add_asset_metadata(describe(outcome) | state, partition_key=day.isoformat())
    return dg.MaterializeResult()


def _read_snapshots(
    lake: Lake,
    home: Home,
    provider: str,
    tables: Iterable[str],
    load: Callable[[Lake, dt.datetime], dict[str, LoadOutcome]],
) -> Iterator[dg.MaterializeResult]:
    settings = home.installation.settings
    if getattr(settings, provider) is None:
        for table in tables:
            yield dg.MaterializeResult(asset_key=["raw", table], metadata=dict[str, Any](NOT_CONFIGURED))
        return
    for table, outcome in load(lake, settings.now()).items():
        yield whole(["raw", table], outcome)
