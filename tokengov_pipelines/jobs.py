"""The launchable units of work, each named for what it does.

Belongs here: which assets run together. Does not belong here: when (`schedules`) and how (`assets`).
Jobs run in one process: a small daily run is dominated by process starts, not by SQL (architecture 6).
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

LOAD_DAYS = "load_days_job"
PREPARE_MONTH = "prepare_month_job"
CLOSE_MONTH = "close_month_job"


def all_jobs(
    days: dg.DailyPartitionsDefinition, months: dg.MonthlyPartitionsDefinition
) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of this product."""
    invoices = dg.AssetSelection.assets(["raw", "invoices"])
    directory = dg.AssetSelection.key_prefixes(["raw"]) & dg.AssetSelection.key_substring("directory_")
    proxy = dg.AssetSelection.key_prefixes(["raw"]) & dg.AssetSelection.key_substring("litellm_")
    daily_models = dg.AssetSelection.tag("daily", "")
    monthly_models = dg.AssetSelection.tag("monthly", "")
    finance = dg.AssetSelection.assets(["marts", "fct_chargeback_monthly"], ["finance", "chargeback_pack"])
    close = dg.AssetSelection.assets(["finance", "closed_month"])
    return [
        dg.define_asset_job(
            LOAD_DAYS,
            selection=proxy | directory | daily_models,
            partitions_def=days,
            description="Read the proxy's log and entities and the org directory, and rebuild the days' usage.",
        ),
        dg.define_asset_job(
            PREPARE_MONTH,
            selection=invoices | directory | monthly_models | finance,
            partitions_def=months,
            description="Read the invoices and prepare the month's chargeback as a draft; closed months stay closed.",
        ),
        dg.define_asset_job(
            CLOSE_MONTH,
            selection=invoices | directory | monthly_models | finance | close,
            partitions_def=months,
            description="Prepare the month, test the preconditions of a close, seal it. Needs preparer and approver.",
        ),
    ]
