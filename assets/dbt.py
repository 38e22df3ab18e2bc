"""The dbt models as assets: one step per partition grain, the window handed over in a control file.

Belongs here: which models build together, their keys and groups, and the window of a run.
Does not belong here: SQL (`dbt_project`), how dbt is started (`resources.dbt`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets

from resources.dbt import BuildControl, DbtWarehouse
from resources.home import Home
from resources.lake import Lake
from resources.price_book import PRICE_BOOK_SCHEMAS

SNAPSHOT_SOURCES = ("litellm_teams", "litellm_keys", "litellm_users", "litellm_deleted_keys", "litellm_deleted_teams")
DIRECTORY_SOURCES = (
    "directory_cost_centers",
    "directory_teams",
    "directory_users",
    "directory_service_accounts",
)
REPORT_SOURCES = ("anthropic_usage", "anthropic_cost", "openai_usage", "openai_cost")
PROVIDER_SNAPSHOT_SOURCES = (
    "anthropic_api_keys",
    "anthropic_workspaces",
    "anthropic_users",
    "anthropic_service_accounts",
    "openai_project_api_keys",
    "openai_projects",
    "openai_users",
    "openai_service_accounts",
)


class HouseTranslator(DagsterDbtTranslator):
    """Keys are `[layer, table]`; the group is the layer; the owner comes from the model's meta.

    Only models that hold days or months are partitioned. Views and seeds are whole, and a record of each of them for
    each day of a backfill would cost more than the SQL (measured: 150 days, 13 such models, 40 s of event writes).
    """

    def __init__(self, partitions: dg.PartitionsDefinition[str]) -> None:
        super().__init__(settings=DagsterDbtTranslatorSettings(enable_asset_checks=True))
        self._partitions = partitions

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        """The grain's partitions for incremental models, None for the others."""
        incremental = dbt_resource_props.get("config", {}).get("materialized") == "incremental"
        return self._partitions if incremental else None

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`raw/<source table>` for sources, `<layer>/<model>` for models."""
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey(["raw", dbt_resource_props["name"]])
        return dg.AssetKey([_layer(dbt_resource_props), dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The layer."""
        return _layer(dbt_resource_props)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The model's own words. The default adds its SQL, which drowns them in every list; see `get_metadata`."""
        return str(dbt_resource_props.get("description", ""))

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """What dagster-dbt tells, and a model's SQL behind a click."""
        told = super().get_metadata(dbt_resource_props)
        sql = dbt_resource_props.get("raw_code")
        return {**told, "sql": dg.MetadataValue.md(f"```sql\n{sql}\n```")} if sql else told

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The data team, unless the model names another owner."""
        owner = dbt_resource_props.get("config", {}).get("meta", {}).get("owner")
        return [owner or "team:data"]


def _layer(props: Mapping[str, Any]) -> str:
    return "seeds" if props["resource_type"] == "seed" else str(props["fqn"][1])


def dbt_model_assets(
    manifest: Path, days: dg.DailyPartitionsDefinition, months: dg.MonthlyPartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """The assets of groups `staging`, `intermediate` and `marts` that dbt builds."""

    @dbt_assets(
        name="dbt_daily",
        manifest=manifest,
        select="tag:daily",
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=HouseTranslator(days),
    )
    def dbt_daily(context: dg.AssetExecutionContext, dbt: DbtWarehouse, lake: Lake, home: Home) -> Iterator[Any]:
        control = _control(home, lake, days=list(context.partition_keys), months=[])
        yield from dbt.build(context, control).stream()

    @dbt_assets(
        name="dbt_monthly",
        manifest=manifest,
        select="tag:monthly",
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=HouseTranslator(months),
    )
    def dbt_monthly(context: dg.AssetExecutionContext, dbt: DbtWarehouse, lake: Lake, home: Home) -> Iterator[Any]:
        control = _control(home, lake, days=[], months=list(context.partition_keys))
        yield from dbt.build(context, control).stream()

    @dbt_assets(
        name="dbt_providers",
        manifest=manifest,
        select="tag:provider_daily",
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=HouseTranslator(days),
    )
    def dbt_providers(context: dg.AssetExecutionContext, dbt: DbtWarehouse, lake: Lake, home: Home) -> Iterator[Any]:
        control = _provider_control(home, lake, days=list(context.partition_keys))
        yield from dbt.build(context, control).stream()

    return [dbt_daily, dbt_monthly, dbt_providers]


def _control(home: Home, lake: Lake, *, days: list[str], months: list[str]) -> BuildControl:
    """The window of a build, and the files that are current for it: the days' logs, every snapshot, the directory."""
    installation = home.installation
    files = {name: lake.current_files(name) for name in (*SNAPSHOT_SOURCES, *DIRECTORY_SOURCES)}
    files |= {name: lake.current_files(name) for name in PRICE_BOOK_SCHEMAS}
    files["litellm_spend_logs"] = lake.current_files("litellm_spend_logs", [f"day={day}" for day in days])
    return BuildControl(
        days=days,
        months=months,
        files=files,
        tables_dir=str(installation.tables_dir),
        policy=installation.policy.for_dbt(),
    )


def _provider_control(home: Home, lake: Lake, *, days: list[str]) -> BuildControl:
    """The window of a build of the providers' reports: the days' reports, and every snapshot."""
    installation = home.installation
    files = {name: lake.current_files(name) for name in PROVIDER_SNAPSHOT_SOURCES}
    files |= {name: lake.current_files(name, [f"day={day}" for day in days]) for name in REPORT_SOURCES}
    return BuildControl(
        days=days, months=[], files=files, tables_dir=str(installation.tables_dir), policy=installation.policy.for_dbt()
    )
