"""Raw evidence: the proxy's spend logs by day, its entities as snapshots, the org directory and the invoices.

Belongs here: thin asset declarations that move one source into the lake.
Does not belong here: how a source is read (`resources`), checks (`assets.checks`), anything that interprets a row.
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from assets.loads import describe, whole
from resources.directory import DIRECTORY_FILES, OrgDirectory
from resources.home import Home
from resources.invoices import InvoiceFolder
from resources.lake import Lake
from resources.litellm import LiteLLMPostgres
from resources.litellm_tables import SNAPSHOTS
from resources.readings import PROXY_LOG, state_at

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
        watermark = home.installation.policy.period.late_log_watermark_days
        for number, (day, outcome) in enumerate(zip(days, litellm.load_days(lake, days, now), strict=True), start=1):
            state = {"state": str(state_at(lake, PROXY_LOG, day, watermark))}
            context.add_asset_metadata(describe(outcome) | state, partition_key=day.isoformat())
            if number % 25 == 0:
                context.log.info(f"{number} of {len(days)} days read")
        return dg.MaterializeResult()

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
            yield whole(["raw", name], outcome)

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
            yield whole(["raw", f"directory_{name}"], outcome)

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
        return whole(["raw", "invoices"], outcome, invoices=len(loaded.invoices))

    return [litellm_spend_logs, litellm_snapshots, org_directory, invoices]
