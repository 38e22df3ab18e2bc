"""The published tables: a closed month's files as rows in Postgres, under the ledger's guard, once a version.

Belongs here: which file fills which table, the order of check, rows and record, and the asset. Does not belong here:
SQL and connections (`resources.publisher`), the guard (`ledger.book`), the files and their columns (`pack`).

Two databases cannot commit at once. The rows are committed first, under (month, version, content_sha256); then the
ledger records it. A run killed in between leaves rows that the next run finds, and it only records them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import dagster as dg

from assets.ledger import open_ledger
from resources.home import Home
from resources.published_schema import PublishedColumn, PublishedTable, sql_type
from resources.published_setup import PublishError
from resources.publisher import Publication, Publisher, SealedVersion
from tokengov_pipelines.domain.approval import Approval
from tokengov_pipelines.domain.bypass import without_email
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.book import BookPage
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState, PeriodVersion
from tokengov_pipelines.pack import (
    adjustments_csv,
    chargeback_csv,
    chargeback_detail_csv,
    cost_per_pr_csv,
    journal_csv,
    recon_items_csv,
    reconciliation_csv,
    unproxied_csv,
)
from tokengov_pipelines.pack.folders import read_folder_files
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.writer import Column

FINANCE: Final = "team:finance"

_CHARGE = (
    "period posting_period original_period provider invoice_id version mode legal_entity cost_center cost_center_name "
    "team_id team_alias charge_type model use_case quantity_tokens direct_logged_exact amount currency fx_rate "
    "amount_functional allocation_method allocation_weight allocation_base rung pool_total"
)
_JOURNAL = (
    "external_id line_no posting_date period legal_entity account cost_center debit credit currency memo provider "
    "invoice_id version"
)
_RECONCILIATION = (
    "provider account invoice_id period_start period_end state_no component amount_exact amount currency "
    "pct_of_invoice status tolerance evidence items_open"
)
# Without cell, what and evidence_link: words that people and keys left there.
_RECON_ITEMS = (
    "item_id billing_month provider account invoice_id period_start period_end component opened_on as_of age_days "
    "bucket amount_exact resolved_exact open_exact currency is_error owner status expected_clear_by"
)
# Without api_key, key_name, created_by and created_at: a key is often one engineer's.
_UNPROXIED = (
    "rank provider account workspace first_seen last_seen days_active models list_usd actual_usd cost_usd "
    "cost_last_30d_usd evidence_level suggested_owner owner_basis action due_date status"
)
# Without approved_by: a signer is a person, and stands in signoff.csv.
_ADJUSTMENTS = "posting_period original_period provider invoice_id cost_center amount currency reason ref is_posted"
_COST_PER_PR = "period level team_id team_name merged_prs excluded_prs cost_usd cost_per_pr_usd status"


def _table(name: str, file: str, module: ModuleType, bi_columns: str) -> PublishedTable:
    """A table by the module of `pack` that declares its file's columns and key."""
    columns: Sequence[Column] = module.COLUMNS
    typed = tuple(PublishedColumn(column.name, sql_type(column.kind.value, column.scale)) for column in columns)
    return PublishedTable(name, file, typed, tuple(module.PRIMARY_KEY), tuple(bi_columns.split()))


PUBLISHED_TABLES: Final = (
    _table("chargeback", chargeback_csv.CHARGEBACK_CSV, chargeback_csv, _CHARGE),
    _table("chargeback_detail", chargeback_detail_csv.CHARGEBACK_DETAIL_CSV, chargeback_detail_csv, _CHARGE),
    _table("journal", journal_csv.JOURNAL_CSV, journal_csv, _JOURNAL),
    _table("reconciliation", reconciliation_csv.RECONCILIATION_CSV, reconciliation_csv, _RECONCILIATION),
    _table("recon_items", recon_items_csv.RECON_ITEMS_CSV, recon_items_csv, _RECON_ITEMS),
    _table("unproxied_keys", unproxied_csv.UNPROXIED_CSV, unproxied_csv, _UNPROXIED),
    _table("adjustments", adjustments_csv.ADJUSTMENTS_CSV, adjustments_csv, _ADJUSTMENTS),
    _table("cost_per_pr", cost_per_pr_csv.COST_PER_PR_CSV, cost_per_pr_csv, _COST_PER_PR),
)
"""Each table with the columns that the pack declares for its file, and those that the view for BI shows."""


@dataclass(frozen=True)
class PublishResult:
    """What publishing a month came to: `version` is 0 where none is closed, `reason` says why rows are new or not."""

    month: BillingMonth
    version: int
    reason: str
    publication: Publication | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether rows were written."""
        return self.publication is not None and self.publication.is_new


def publish_month(
    ledger: Ledger,
    home: Path,
    publisher: Publisher,
    month: BillingMonth,
    *,
    actor: str,
    run_id: str,
    restore: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> PublishResult:
    """Publish the month's closed version, once; `restore` puts the same bytes into a database that lost them.

    A month that is not closed, or is published already, is no error: nothing is written, and the result says why.
    `on_step` is called where a kill leaves another state behind.

    Raises:
        PublishError: the pack on disk is not what was closed, the database refuses, or it lost a published version.
        LedgerError: the ledger refuses.
    """
    if not publisher.is_configured:
        reason = f"{publisher.variable} is not set: nothing is published (docs/published-tables.md)"
        return PublishResult(month, 0, reason)
    with ledger.closed_book(month, "publish", actor, run_id) as page:
        closed = page.recorded(page.period.version) if page.period.state is PeriodState.CLOSED else None
        if closed is None:
            return PublishResult(month, 0, page.reason)
        on_step("locked")
        if not page.writable:
            is_there, notes = publisher.look(str(month), closed.version, closed.content_sha256, PUBLISHED_TABLES)
            if is_there:
                return PublishResult(month, closed.version, page.reason, notes=notes)
            if not restore:
                message = (
                    f"the ledger says that {month} v{closed.version} is published, and {publisher.shown_url} does not "
                    f"have it. Fix: correct {publisher.variable}, or after the loss of that database run "
                    f"`tokengov publish {month} --restore`."
                )
                raise PublishError(message)
        sealed = _sealed(home, page, closed)
        publication = publisher.publish(sealed, PUBLISHED_TABLES, on_step=on_step)
        rows = ", ".join(f"{count} of {name}" for name, count in publication.rows.items())
        if page.writable:
            page.record_release(content_sha256=closed.content_sha256)
            reason = f"published {month} v{closed.version}: {rows}"
            if not publication.is_new:
                reason = f"{month} v{closed.version} was published by a run that ended before it said so; recorded now"
        else:
            page.record_event("publish.restored", {"version": closed.version, "content_sha256": closed.content_sha256})
            reason = f"restored {month} v{closed.version} from its pack: {rows}"
        on_step("recorded")
    on_step("committed")
    return PublishResult(month, closed.version, reason, publication, publication.notes)


def publish_assets(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The asset of the published tables."""

    @dg.asset(
        key=["finance", "published_tables"],
        group_name="finance",
        owners=[FINANCE],
        kinds={"postgres"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[["finance", "closed_month"]],
        description=(
            "The closed month in Postgres for BI and SQL users: one transaction a version, never changed. Nothing is "
            "published without TOKENGOV_PUBLISH_URL, or before the month is closed."
        ),
    )
    def published_tables(context: dg.AssetExecutionContext, home: Home, publisher: Publisher) -> dg.MaterializeResult:
        installation = home.installation
        ledger = open_ledger(installation)
        for key in context.partition_keys:
            result = publish_month(
                ledger,
                installation.home,
                publisher,
                BillingMonth.parse(key),
                actor="dagster",
                run_id=context.run.run_id,
            )
            context.log.info(f"{key}: {result.reason}")
            for note in result.notes:
                context.log.warning(note)
            context.add_asset_metadata(_metadata(result), partition_key=key)
        return dg.MaterializeResult()

    return [published_tables]


def _metadata(result: PublishResult) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "reason": " ".join((result.reason, *result.notes)),
        "written": result.is_new,
        "version": f"v{result.version}",
    }
    if result.publication:
        metadata["dagster/row_count"] = sum(result.publication.rows.values())
        metadata["rows"] = dict(result.publication.rows)
    return metadata


def _sealed(home: Path, page: BookPage, closed: PeriodVersion) -> SealedVersion:
    """The closed version from disk, after its content hash was compared with the ledger's."""
    files = read_folder_files(home / closed.pack_path)
    found = content_sha256(files)
    if found != closed.content_sha256:
        what = f"has content {found[:16]}" if files else "is not there"
        message = (
            f"the pack {closed.pack_path} {what}, and {closed.month} v{closed.version} was closed with "
            f"{closed.content_sha256[:16]}: nothing was published. Fix: put the pack back as it was delivered, "
            "or from a backup; every file counts, also one that was added."
        )
        raise PublishError(message)
    approvals = page.approvals(closed.content_sha256)
    return SealedVersion(
        month=str(closed.month),
        version=closed.version,
        content_sha256=closed.content_sha256,
        closed_at=closed.created_at,
        preparer=_name_of(closed.preparer or "", approvals),
        approver=_name_of(closed.approver or "", approvals),
        files=files,
    )


def _name_of(signer: str, approvals: Sequence[Approval]) -> str:
    """The signer's name, where the ledger has an e-mail: no table that finance reads has one (Rule 12.7)."""
    names = [each.name for each in approvals if same_person(each.email, signer)]
    return without_email(names[0] if names else signer) or ""
