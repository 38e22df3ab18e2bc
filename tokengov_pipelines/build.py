"""The assembly: assets, checks, jobs, schedules and resources of one installation as Dagster definitions.

Belongs here: wiring, once; tests swap real parts through `resource_overrides`.
Does not belong here: declarations of assets or jobs, and anything that reads data.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checks import all_checks
from assets.claude_code import claude_code_assets
from assets.cloud_bills import cloud_bill_assets, cloud_bill_checks
from assets.dbt import dbt_model_assets
from assets.delivery import delivery_assets
from assets.finance import finance_assets
from assets.price_book import price_book_assets
from assets.price_checks import price_checks
from assets.provider_checks import provider_checks
from assets.providers import provider_assets
from assets.publish import publish_assets
from assets.pull_requests import pull_request_assets
from assets.raw import raw_assets
from assets.reconciliation import reconciliation_assets
from resources.anthropic import AnthropicReports
from resources.cloud_bills import CloudBillFolder
from resources.dbt import DbtWarehouse, manifest_path
from resources.directory import OrgDirectory
from resources.github import GitHubPullRequests
from resources.home import Home
from resources.invoices import InvoiceFolder
from resources.lake import Lake
from resources.litellm import LiteLLMPostgres
from resources.notifier import Notifier
from resources.openai import OpenAIReports
from resources.price_book import PriceBookFiles
from resources.publisher import Publisher
from resources.readings import newest_readings
from resources.tables import Tables
from tokengov_pipelines.jobs import all_jobs
from tokengov_pipelines.partitions import daily_partitions, monthly_partitions
from tokengov_pipelines.schedules import all_schedules
from tokengov_pipelines.sensors import all_sensors
from tokengov_pipelines.settings import (
    ANTHROPIC_KEY_VARIABLE,
    LITELLM_URL_VARIABLE,
    OPENAI_KEY_VARIABLE,
    AnthropicSettings,
    GitHubSettings,
    Installation,
    OpenAISettings,
    load_installation,
)

# Backfill policies are marked beta in Dagster 1.13; it is pinned, and they are tested here.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def default_resources(installation: Installation) -> dict[str, Any]:
    """The resources of production; secrets by EnvVar, read when a run starts and not before."""
    settings, policy = installation.settings, installation.policy
    # A source that is not configured is not read; its resource stands there unused, with no key.
    anthropic, openai = settings.anthropic or AnthropicSettings(), settings.openai or OpenAISettings()
    github = settings.github or GitHubSettings()
    return {
        "home": Home(path=str(installation.home)),
        "lake": Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache")),
        "tables": Tables(root=str(installation.tables_dir)),
        "litellm": LiteLLMPostgres(
            url=dg.EnvVar(LITELLM_URL_VARIABLE),
            statement_timeout_seconds=settings.litellm.statement_timeout_seconds,
        ),
        "anthropic": AnthropicReports(
            admin_key=dg.EnvVar(ANTHROPIC_KEY_VARIABLE) if settings.anthropic else "",
            account=anthropic.account,
            base_url=anthropic.base_url,
            report=anthropic.report,
        ),
        "openai": OpenAIReports(
            admin_key=dg.EnvVar(OPENAI_KEY_VARIABLE) if settings.openai else "",
            account=openai.account,
            base_url=openai.base_url,
        ),
        "github": GitHubPullRequests(**github.model_dump(mode="json")),
        "directory": OrgDirectory(
            url=installation.resolve(settings.directory.url),
            schema_version=settings.directory.schema_version,
            suspense=policy.attribution.suspense,
            central=policy.attribution.central,
            max_successor_chain=policy.attribution.max_successor_chain,
        ),
        "invoice_folder": InvoiceFolder(url=installation.resolve(settings.invoices.url)),
        "cloud_bill_folder": CloudBillFolder(
            url=installation.resolve(settings.cloud_bills.url) if settings.cloud_bills else "",
            token_units=settings.cloud_bills.token_units if settings.cloud_bills else {},
        ),
        "price_files": PriceBookFiles(
            url=installation.resolve(settings.prices.url), may_be_absent="prices" not in settings.model_fields_set
        ),
        "dbt": DbtWarehouse.at(installation.home, settings.warehouse_lock_seconds),
        "notifier": Notifier(),
        "publisher": Publisher(),
    }


def build_defs(
    installation: Installation | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """All definitions of one installation (default: the one that the environment names)."""
    installation = installation or load_installation()
    days, months = daily_partitions(installation.settings), monthly_partitions(installation.settings)
    jobs = all_jobs(days, months)
    resources = {**default_resources(installation), **(resource_overrides or {})}
    return dg.Definitions(
        assets=[
            *raw_assets(days),
            *provider_assets(days),
            *claude_code_assets(days),
            *cloud_bill_assets(),
            *price_book_assets(),
            *pull_request_assets(),
            *dbt_model_assets(manifest_path(), days, months),
            *reconciliation_assets(days, months),
            *finance_assets(months, has_pull_requests=installation.settings.github is not None),
            *publish_assets(months),
            *delivery_assets(months),
        ],
        asset_checks=[*all_checks(days, months), *provider_checks(days), *price_checks(days), *cloud_bill_checks()],
        jobs=jobs,
        schedules=all_schedules(installation.settings, resources["lake"], jobs),
        sensors=all_sensors(installation.settings, newest_readings),
        resources=resources,
        executor=dg.in_process_executor,
    )
