"""The month for finance: the chargeback as known now, the draft pack, and the close.

Belongs here: thin assets, read → rule → write → metadata. Does not belong here: the rules (`domain`), what is read
(`assets.month`), how a pack is sealed (`pack.seal`).
"""

from dataclasses import fields
from decimal import Decimal
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.lake_partitions import lake_partitions
from assets.ledger import open_ledger
from assets.month import MonthView, gather_month, people_of
from assets.unit_cost import count_pull_requests, unit_cost_metadata
from resources.home import Home
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.closed_month import close_month
from tokengov_pipelines.closing.input_files import input_files
from tokengov_pipelines.closing.pack_files import approved_content, pack_of
from tokengov_pipelines.closing.reperformance import performed_again, require_same
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.pack.code_version import code_version
from tokengov_pipelines.pack.seal import SealedBy, SealResult, seal_close, write_draft
from tokengov_pipelines.settings import Installation

FINANCE = "team:finance"
DETAIL = "fct_chargeback_detail_monthly"
_LINES_SHOWN = 200

_TYPES: dict[str, pa.DataType] = {
    "version": pa.int64(),
    "quantity_tokens": pa.int64(),
    "direct_logged_exact": pa.decimal128(38, 12),
    "amount": pa.decimal128(18, 2),
    "fx_rate": pa.decimal128(18, 12),
    "amount_functional": pa.decimal128(18, 2),
    "allocation_weight": pa.decimal128(38, 12),
    "allocation_base": pa.decimal128(38, 12),
    "pool_total": pa.decimal128(18, 2),
}
CHARGEBACK_SCHEMA = pa.schema([(field.name, _TYPES.get(field.name, pa.string())) for field in fields(ChargebackLine)])


class Signatures(dg.Config):
    """Who signs a close: two different people (Rule 2.4)."""

    preparer: str
    approver: str


def finance_assets(
    months: dg.MonthlyPartitionsDefinition, *, has_pull_requests: bool = True
) -> list[dg.AssetsDefinition]:
    """The assets of group `finance` and the chargeback mart.

    Without a configured GitHub nothing reads pull requests, and the UI would warn of an upstream that never comes.
    """
    pull_requests = [dg.AssetDep(["raw", "github_pull_requests"])] if has_pull_requests else []

    @dg.asset(
        key=["marts", "fct_chargeback_monthly"],
        group_name="marts",
        owners=[FINANCE],
        kinds={"python", "parquet"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            ["marts", "fct_spend_monthly"],
            ["marts", "fct_reconciliation_monthly"],
            ["raw", "invoices"],
            ["raw", "directory_cost_centers"],
        ],
        description=(
            "Every invoice of the month over cost centers by its pools, to the cent, as known now, with the drill "
            "table and the corrections of closed months (Rules 6.1 to 6.9, 2.5)."
        ),
    )
    def fct_chargeback_monthly(
        context: dg.AssetExecutionContext, home: Home, lake: Lake, tables: Tables
    ) -> dg.MaterializeResult:
        for key in context.partition_keys:
            view = gather_month(home.installation, lake, tables, key)
            for table, lines in (("fct_chargeback_monthly", view.lines), (DETAIL, view.closed.charges.detail)):
                content = pa.Table.from_pylist([_as_row(line) for line in lines], schema=CHARGEBACK_SCHEMA)
                tables.write(table, f"billing_month={view.month}", content)
            context.add_asset_metadata(_charge_metadata(view), partition_key=key)
        return dg.MaterializeResult()

    @dg.asset(
        key=["finance", "chargeback_pack"],
        group_name="finance",
        owners=[FINANCE],
        kinds={"csv"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            ["marts", "fct_chargeback_monthly"],
            ["marts", "fct_usage_daily"],
            ["marts", "fct_reconciling_items"],
            ["marts", "fct_unproxied_keys"],
            ["raw", "directory_teams"],
            ["raw", "directory_users"],
            *pull_requests,
        ],
        description=(
            "The finance pack as a draft (v0): charges, journal, reconciliation, FOCUS, workbook, one-page report and "
            "the inputs to re-perform them (Rule 11). A closed month is never rewritten."
        ),
    )
    def chargeback_pack(
        context: dg.AssetExecutionContext, home: Home, lake: Lake, tables: Tables
    ) -> dg.MaterializeResult:
        installation = home.installation
        ledger = open_ledger(installation)
        for key in context.partition_keys:
            view = gather_month(installation, lake, tables, key)
            content = pack_of(view.closed)
            result = write_draft(
                ledger,
                installation.home,
                content,
                _sealed_by(installation, lake, tables, ledger, view, context.run.run_id),
                actor="dagster",
                close_content_sha256=_approved_content(ledger, view),
            )
            context.log.info(f"{key}: {result.reason}")
            counted = count_pull_requests(installation, lake, view.month)
            metadata = {**_pack_metadata(result), **unit_cost_metadata(view.closed.unit_cost, counted)}
            context.add_asset_metadata(metadata, partition_key=key)
        return dg.MaterializeResult()

    @dg.asset(
        key=["finance", "closed_month"],
        group_name="finance",
        owners=[FINANCE],
        kinds={"csv"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[["finance", "chargeback_pack"]],
        description="The month as closed: sealed once, never rewritten. Materializing it closes the month (Rule 2.4).",
    )
    def closed_month(
        context: dg.AssetExecutionContext, config: Signatures, home: Home, lake: Lake, tables: Tables
    ) -> dg.MaterializeResult:
        installation = home.installation
        ledger = open_ledger(installation)
        for key in context.partition_keys:
            version = ledger.period(BillingMonth.parse(key)).version + 1
            view = gather_month(
                installation, lake, tables, key, version=version, preparer=config.preparer, approver=config.approver
            )
            content = pack_of(view.closed)
            require_same(content.files, performed_again(content.files))
            by = _sealed_by(installation, lake, tables, ledger, view, context.run.run_id)
            result = seal_close(ledger, installation.home, content, view.facts, by)
            if result.blockers:
                points = "\n".join(f"- {blocker}" for blocker in result.blockers)
                held = f"{key} is held, nothing was closed:\n{points}"
                raise dg.Failure(held, allow_retries=False)
            context.log.info(f"{key}: {result.reason}")
            for warning in result.warnings:
                context.log.warning(warning)
            context.add_asset_metadata(_pack_metadata(result), partition_key=key)
        return dg.MaterializeResult()

    return [fct_chargeback_monthly, chargeback_pack, closed_month]


def _sealed_by(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, view: MonthView, run_id: str
) -> SealedBy:
    return SealedBy(
        run_id=run_id,
        code_version=code_version(),
        policy_sha256=installation.policy.sha256(),
        lake_partitions=lake_partitions(lake, tables, view.closed.inputs.facts.days, view.closed.match.invoices),
        people=people_of(lake),
        adjustments_known=ledger.adjustments_known() if view.closed.charges.corrections else None,
    )


def _approved_content(ledger: Ledger, view: MonthView) -> str | None:
    """The content hash of a close of the same inputs now: what people sign. None of a month that is closed."""
    period = ledger.period(view.month)
    if period.state is PeriodState.CLOSED:
        return None
    closing = close_month(view.closed.inputs, period.version + 1, match=view.closed.match)
    return approved_content(closing, input_files(closing.inputs))


def _as_row(line: ChargebackLine) -> dict[str, Any]:
    values = {field.name: getattr(line, field.name) for field in fields(line)}
    return {name: str(value) if isinstance(value, BillingMonth) else value for name, value in values.items()}


def _charge_metadata(view: MonthView) -> dict[str, Any]:
    """Totals and the lines of a month as a table, for its page."""
    shown = [
        dg.TableRecord(
            {
                "provider": line.provider,
                "cost center": f"{line.cost_center} {line.cost_center_name}",
                "charge": line.charge_type,
                "amount USD": f"{line.amount:,.2f}",
            }
        )
        for line in view.lines[:_LINES_SHOWN]
    ]
    metadata: dict[str, Any] = {
        "dagster/row_count": len(view.lines),
        "charged_usd": f"{sum((line.amount for line in view.lines), Decimal(0)):.2f}",
        "charges": dg.MetadataValue.table(shown) if shown else "none",
    }
    if view.problems:
        metadata["problems"] = dg.MetadataValue.md("\n".join(f"- {problem}" for problem in view.problems))
    return metadata


def _pack_metadata(result: SealResult) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "reason": result.reason,
        "written": result.written,
        "version": f"v{result.version}",
        "content_sha256": result.content_sha256 or "",
    }
    if result.path:
        metadata["path"] = dg.MetadataValue.path(str(result.path))
    return metadata
