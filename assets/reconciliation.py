"""The reconciliation tables: each day as soon as log and reports are there, each month with its invoices.

Belongs here: thin assets, read → rule → write → metadata. Does not belong here: what is read
(`assets.known_month`), the rules (`domain`), columns and rows
(`assets.reconciliation_tables`), alerts (`assets.reconciliation_alerts`).
"""

import base64
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.cycle_search import paused_cycle_search
from assets.known_month import known_month
from assets.ledger import open_ledger
from assets.reconciliation_alerts import observe_day, observe_month
from assets.reconciliation_inputs import gather_inputs
from assets.reconciliation_tables import (
    CELLS_DAILY,
    DAILY,
    ITEMS,
    MONTHLY,
    UNPROXIED,
    cell_row,
    daily_rows,
    one_day,
    unproxied_row,
)
from resources.home import Home
from resources.lake import Lake
from resources.notifier import Notifier
from resources.tables import Tables
from tokengov_pipelines.closing.findings import MonthFindings
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.waterfall import match_usage
from tokengov_pipelines.pack.reconciliation_rows import item_rows, monthly_rows
from tokengov_pipelines.pack.waterfall_chart import waterfall_png

FINANCE = "team:finance"
PLATFORM = "team:platform"

_LEGS = [
    ["marts", "fct_proxy_usage_daily"],
    ["marts", "fct_midnight_calls_daily"],
    ["marts", "fct_provider_usage_daily"],
    ["marts", "fct_provider_cost_daily"],
    ["marts", "dim_provider_workspaces"],
    ["raw", "directory_provider_keys"],
    ["raw", "price_book"],
    ["raw", "price_book_aliases"],
    ["raw", "price_book_geo_factors"],
]
_DAILY_SPECS = {
    "fct_reconciliation_daily": (
        "What the proxy logged on a day against what the providers report for it, state by state, without invoices "
        "(Rule 4.2, W1 to W7)."
    ),
    "fct_reconciliation_cells_daily": (
        "The cells under it: tokens on the proxy, on its own provider keys and on others, with their prices."
    ),
}
_MONTHLY_SPECS = {
    "fct_reconciliation_monthly": (
        "Every invoice of the month as a statement: logged, each cause of the gap, invoiced; exact and footed to cents "
        "(Rules 4.2, 11.4)."
    ),
    "fct_reconciling_items": "Every item of the month, open or explained, with owner and what people did (Rule 4.8).",
    "fct_unproxied_keys": "Provider keys used outside the proxy: dollars, owner, action, due date (Rules 5.2 to 5.5).",
}


def reconciliation_assets(
    days: dg.DailyPartitionsDefinition, months: dg.MonthlyPartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """The rules' tables between the marts and the pack."""

    @dg.multi_asset(
        name="reconcile_days",
        group_name="marts",
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=[
            dg.AssetSpec(
                key=["marts", name], owners=[PLATFORM], kinds={"python", "parquet"}, deps=_LEGS, description=words
            )
            for name, words in _DAILY_SPECS.items()
        ],
    )
    def reconcile_days(
        context: dg.AssetExecutionContext, home: Home, lake: Lake, tables: Tables, notifier: Notifier
    ) -> Iterator[dg.MaterializeResult]:
        wanted = [dt.date.fromisoformat(key) for key in context.partition_keys]
        with paused_cycle_search():
            _write_days(home, lake, tables, wanted)
        told = observe_day(home.installation, lake, tables, wanted, notifier, context.run.run_id)
        context.log.info(f"{told} alerts opened, raised or closed")
        for name in _DAILY_SPECS:
            yield dg.MaterializeResult(asset_key=["marts", name], metadata={"days": len(wanted)})

    @dg.multi_asset(
        name="reconcile_months",
        group_name="marts",
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=[
            dg.AssetSpec(
                key=["marts", name],
                owners=[FINANCE],
                kinds={"python", "parquet"},
                deps=[
                    *_LEGS,
                    ["marts", "dim_provider_keys_dated"],
                    ["marts", "dim_provider_people"],
                    ["raw", "invoices"],
                    ["raw", "directory_users"],
                ],
                description=words,
            )
            for name, words in _MONTHLY_SPECS.items()
        ],
    )
    def reconcile_months(
        context: dg.AssetExecutionContext, home: Home, lake: Lake, tables: Tables, notifier: Notifier
    ) -> Iterator[dg.MaterializeResult]:
        ledger = open_ledger(home.installation)
        for key in context.partition_keys:
            month = BillingMonth.parse(key)
            known = known_month(home.installation, lake, tables, ledger, month)
            found = known.findings
            _write_month(tables, month, found)
            told = observe_month(home.installation, lake, ledger, known, notifier, context.run.run_id)
            context.log.info(f"{key}: {told} alerts opened, raised or closed")
            for name, metadata in _month_metadata(found).items():
                context.add_asset_metadata(metadata, asset_key=["marts", name], partition_key=key)
        for name in _MONTHLY_SPECS:
            yield dg.MaterializeResult(asset_key=["marts", name])

    return [reconcile_days, reconcile_months]


def _write_days(home: Home, lake: Lake, tables: Tables, wanted: Sequence[dt.date]) -> None:
    """Each day by itself: what a day costs does not depend on how many there are."""
    policy = home.installation.policy
    inputs = gather_inputs(home.installation, lake, tables, InvoicePeriod(wanted[0], wanted[-1] + dt.timedelta(days=1)))
    for day in wanted:
        rows: list[dict[str, Any]] = []
        cells: list[dict[str, Any]] = []
        for provider, legs in inputs.legs.items():
            mine = legs.cut_to(one_day(day))
            if mine.logged or mine.usage or mine.costs:
                tiers = policy.of_provider(provider).pricing.fallback_tiers
                match = match_usage(mine, inputs.registry, inputs.book, fallback_tiers=tiers)
                rows += daily_rows(day, provider, match)
                cells += [cell_row(cell) for cell in match.cells]
        partition = f"usage_date={day}"
        tables.write("fct_reconciliation_daily", partition, pa.Table.from_pylist(rows, schema=DAILY))
        tables.write("fct_reconciliation_cells_daily", partition, pa.Table.from_pylist(cells, schema=CELLS_DAILY))


def _write_month(tables: Tables, month: BillingMonth, found: MonthFindings) -> None:
    partition = f"billing_month={month}"
    statement = [row for each in found.reconciliations for row in monthly_rows(each, found.items)]
    tables.write("fct_reconciliation_monthly", partition, pa.Table.from_pylist(statement, schema=MONTHLY))
    tables.write("fct_reconciling_items", partition, pa.Table.from_pylist(item_rows(found.items), schema=ITEMS))
    keys = [unproxied_row(month, key) for key in found.keys]
    tables.write("fct_unproxied_keys", partition, pa.Table.from_pylist(keys, schema=UNPROXIED))


def _month_metadata(found: MonthFindings) -> dict[str, dict[str, Any]]:
    """What the pages of the three tables show: the picture of each invoice, the items, the keys."""
    pictures = {
        f"waterfall {each.provider} {each.invoice_id}": dg.MetadataValue.md(_picture(each))
        for each in found.reconciliations
        if each.invoice_id
    }
    statuses = [
        dg.TableRecord(
            {
                "provider": each.provider,
                "invoice": each.invoice_id or "none",
                "logged": f"{each.logged:,.2f}",
                "invoiced": f"{each.total:,.2f}" if each.total is not None else "",
                "unexplained": f"{each.unexplained:,.2f}",
                "status": str(each.status),
                "errors": len(each.errors),
            }
        )
        for each in found.reconciliations
    ]
    evidence = "\n".join(f"- **{each.level}** {each.words} Next: {each.next_step}" for each in found.evidence)
    findings = "\n".join(f"- **{each.kind}**: {each.words} Next: {each.next_step}" for each in found.findings)
    return {
        "fct_reconciliation_monthly": {
            "invoices": dg.MetadataValue.table(statuses) if statuses else "none",
            "findings": dg.MetadataValue.md(findings) if findings else "none",
            "coverage": str(found.coverage),
            **pictures,
        },
        "fct_reconciling_items": {
            "items": len(found.items),
            "open": sum(item.is_open for item in found.items),
        },
        "fct_unproxied_keys": {
            "keys": len(found.keys),
            "cost_usd": f"{sum(key.cost_usd for key in found.keys):,.2f}",
            "coverage": str(found.coverage),
            "evidence": dg.MetadataValue.md(evidence) if evidence else "none",
        },
    }


def _picture(each: Reconciliation) -> str:
    return f"![waterfall](data:image/png;base64,{base64.b64encode(waterfall_png(each)).decode()})"
