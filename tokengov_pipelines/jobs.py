"""The launchable units of work, each named for what it does.

Belongs here: which assets run together. Does not belong here: when (`schedules`) and how (`assets`).
Jobs run in one process: a small daily run is dominated by process starts, not by SQL (architecture 6).
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from resources.price_book import PRICE_BOOK_SCHEMAS

LOAD_DAYS = "load_days_job"
LOAD_PROVIDERS = "load_providers_job"
LOAD_PULL_REQUESTS = "load_pull_requests_job"
LOAD_CLOUD_BILLS = "load_cloud_bills_job"
PREPARE_MONTH = "prepare_month_job"
CLOSE_MONTH = "close_month_job"
PUBLISH_MONTH = "publish_month_job"
DELIVER_PACKS = "deliver_packs_job"


def all_jobs(
    days: dg.DailyPartitionsDefinition, months: dg.MonthlyPartitionsDefinition
) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of this product."""
    invoices = dg.AssetSelection.assets(["raw", "invoices"])
    directory = dg.AssetSelection.key_prefixes(["raw"]) & dg.AssetSelection.key_substring("directory_")
    proxy = dg.AssetSelection.key_prefixes(["raw"]) & dg.AssetSelection.key_substring("litellm_")
    providers = dg.AssetSelection.key_prefixes(["raw"]) & (
        dg.AssetSelection.key_substring("anthropic_") | dg.AssetSelection.key_substring("openai_")
    )
    pull_requests = dg.AssetSelection.assets(["raw", "github_pull_requests"])
    daily_models = dg.AssetSelection.tag("daily", "")
    provider_models = dg.AssetSelection.tag("provider_daily", "")
    monthly_models = dg.AssetSelection.tag("monthly", "")
    prices = dg.AssetSelection.assets(*(["raw", name] for name in PRICE_BOOK_SCHEMAS))
    reconciled_days = dg.AssetSelection.assets(
        ["marts", "fct_reconciliation_daily"], ["marts", "fct_reconciliation_cells_daily"]
    )
    reconciled_months = dg.AssetSelection.assets(
        ["marts", "fct_reconciliation_monthly"], ["marts", "fct_reconciling_items"], ["marts", "fct_unproxied_keys"]
    )
    finance = reconciled_months | dg.AssetSelection.assets(
        ["marts", "fct_chargeback_monthly"], ["finance", "chargeback_pack"]
    )
    close = dg.AssetSelection.assets(["finance", "closed_month"])
    published = dg.AssetSelection.assets(["finance", "published_tables"])
    delivered = dg.AssetSelection.assets(["finance", "delivered_packs"])
    return [
        dg.define_asset_job(
            LOAD_DAYS,
            selection=proxy | directory | prices | daily_models,
            description="Read the proxy's log and entities and the org directory, and rebuild the days' usage.",
        ),
        dg.define_asset_job(
            LOAD_PROVIDERS,
            selection=providers | prices | provider_models | reconciled_days,
            description=(
                "Read the providers' reports and key lists, rebuild the days' provider facts, and match them with "
                "the log."
            ),
        ),
        dg.define_asset_job(
            LOAD_PULL_REQUESTS,
            selection=pull_requests | directory,
            description="Read the merged pull requests that changed since the last reading, and the org directory.",
        ),
        dg.define_asset_job(
            LOAD_CLOUD_BILLS,
            selection=dg.AssetSelection.assets(["raw", "cloud_charges"], ["raw", "cloud_bill_controls"]),
            description="Read the clouds' bills from their folder; a period that was written anew is replaced.",
        ),
        dg.define_asset_job(
            PREPARE_MONTH,
            selection=invoices | directory | prices | monthly_models | finance,
            description="Read the invoices, reconcile the month, draft its pack; closed months stay closed.",
        ),
        dg.define_asset_job(
            CLOSE_MONTH,
            selection=invoices | directory | prices | monthly_models | finance | close | delivered,
            description=(
                "Prepare the month, test the preconditions of a close, seal it, deliver it. Needs preparer, approver."
            ),
        ),
        dg.define_asset_job(
            PUBLISH_MONTH,
            selection=published,
            description="Put a closed month's tables into the Postgres of TOKENGOV_PUBLISH_URL, once a version.",
        ),
        dg.define_asset_job(
            DELIVER_PACKS,
            selection=delivered,
            description="Deliver a closed month where it has not arrived yet; sends nothing twice.",
        ),
    ]
