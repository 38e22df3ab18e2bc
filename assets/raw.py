"""Raw evidence: the proxy's spend logs by day, its entities as snapshots, the org directory and the invoices.

Belongs here: thin asset declarations that move one source into the lake.
Does not belong here: how a source is read (`resources`), checks (`assets.checks`), anything that interprets a row.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg

from resources.directory import DIRECTORY_FILES, OrgDirectory
from resources.home import Home
from resources.invoices import InvoiceFolder
from resources.lake import Lake, LoadOutcome
from resources.litellm import LiteLLMPostgres
from resources.litellm_tables import SNAPSHOTS

PLATFORM, FINANCE = "team:platform", "team:finance"


def raw_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets of group `raw`."""

    @dg.asset(
        key=["raw", "litellm_spend_logs"],
        group_name="raw",
        owners=[PLATFORM],
        kinds={"postgres", "parquet"},
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            "LiteLLM spend logs as logged, one immutable Parquet load per UTC day of startTime. "
            "A load that holds less than the one before it is kept beside it and does not become current."
        ),
    )
    def litellm_spend_logs(
        context: dg.AssetExecutionContext, litellm: LiteLLMPostgres, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        now = home.installation.settings.now()
        days = [dt.date.fromisoformat(key) for key in context.partition_keys]
        outcomes: list[LoadOutcome] = []
        for outcome in litellm.load_days(lake, days, now):
            outcomes.append(outcome)
            if len(outcomes) % 25 == 0:
                context.log.info(f"{len(outcomes)} of {len(days)} days read")
        return dg.MaterializeResult(metadata=_describe(outcomes))

    @dg.multi_asset(
        name="litellm_snapshots",
        group_name="raw",
        specs=[
            dg.AssetSpec(
                key=["raw", table.lake],
                owners=[PLATFORM],
                kinds={"postgres", "parquet"},
                description=f"{table.source} as observed on a day; the past cannot be observed: a backfill adds none.",
            )
            for table in SNAPSHOTS
        ],
    )
    def litellm_snapshots(litellm: LiteLLMPostgres, lake: Lake, home: Home) -> Iterator[dg.MaterializeResult]:
        settings = home.installation.settings
        for name, outcome in litellm.load_snapshots(lake, settings.today(), settings.now()).items():
            yield dg.MaterializeResult(asset_key=["raw", name], metadata=_describe([outcome]))

    @dg.multi_asset(
        name="org_directory",
        group_name="raw",
        specs=[
            dg.AssetSpec(
                key=["raw", f"directory_{name}"],
                owners=[FINANCE],
                kinds={"csv", "parquet"},
                description=f"{name}.csv of the org directory, effective-dated; a problem in any file refuses all.",
            )
            for name in DIRECTORY_FILES
        ],
    )
    def org_directory(
        context: dg.AssetExecutionContext, directory: OrgDirectory, lake: Lake, home: Home
    ) -> Iterator[dg.MaterializeResult]:
        loaded = directory.load()
        for warning in loaded.warnings:
            context.log.warning(str(warning))
        for name, table in loaded.tables.items():
            outcome = lake.replace(f"directory_{name}", table, home.installation.settings.now())
            yield dg.MaterializeResult(asset_key=["raw", f"directory_{name}"], metadata=_describe([outcome]))

    @dg.asset(
        key=["raw", "invoices"],
        group_name="raw",
        owners=[FINANCE],
        kinds={"json", "parquet"},
        description="Every invoice of the drop folder, a row per line; identical copies ignored, conflicts refused.",
    )
    def invoices(
        context: dg.AssetExecutionContext, invoice_folder: InvoiceFolder, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        loaded = invoice_folder.load()
        for name in loaded.ignored:
            context.log.info(f"{name} repeats an invoice that is already there; ignored")
        outcome = lake.replace("invoices", loaded.table, home.installation.settings.now())
        return dg.MaterializeResult(metadata={**_describe([outcome]), "invoices": len(loaded.invoices)})

    return [litellm_spend_logs, litellm_snapshots, org_directory, invoices]


def _describe(outcomes: list[LoadOutcome]) -> dict[str, Any]:
    """Counts and control totals of a run's loads, for the asset's page."""
    current = [outcome.current for outcome in outcomes if outcome.current]
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(record.rows for record in current),
        "loads": dg.MetadataValue.json(_count(outcome.verdict for outcome in outcomes)),
    }
    return metadata


def _count(words: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
