"""One version of a month's pack in memory: its files, its totals, and what it posts.

Belongs here: putting the files together, each made from rows or from files that stand already. Does not belong here:
each file's columns (`chargeback_csv`, `reconciliation_csv` and their siblings), the rules that made the rows
(`domain`), inputs (`closing.input_files`), the manifest and the disk (`seal`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import (
    ChargebackLine,
    InvoiceHeader,
    Posting,
    PriorPeriodCharge,
    postings,
)
from tokengov_pipelines.domain.journal import JournalLine
from tokengov_pipelines.domain.open_item import ReconcilingItem, aging_day
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.unit_cost import UnitCostRow
from tokengov_pipelines.pack.adjustments_csv import ADJUSTMENTS_CSV, adjustments_csv
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV, chargeback_csv
from tokengov_pipelines.pack.chargeback_detail_csv import CHARGEBACK_DETAIL_CSV, chargeback_detail_csv
from tokengov_pipelines.pack.control_totals import CONTROL_TOTALS_JSON, SourceTotals, control_totals
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV, cost_per_pr_csv
from tokengov_pipelines.pack.focus_csv import FOCUS_CSV, focus_csv
from tokengov_pipelines.pack.focus_inputs import FocusInputs
from tokengov_pipelines.pack.journal_csv import JOURNAL_CSV, journal_csv
from tokengov_pipelines.pack.journal_exports import journal_exports
from tokengov_pipelines.pack.journal_formats import JournalMap
from tokengov_pipelines.pack.manifest import content_sha256, is_data_file
from tokengov_pipelines.pack.recon_items_csv import RECON_ITEMS_CSV, recon_items_csv
from tokengov_pipelines.pack.reconciliation_csv import RECONCILIATION_CSV, reconciliation_csv
from tokengov_pipelines.pack.report_charts import report_charts
from tokengov_pipelines.pack.report_figures import HistoryMonth, report_figures
from tokengov_pipelines.pack.report_html import summary_html
from tokengov_pipelines.pack.report_pdf import summary_pdf
from tokengov_pipelines.pack.suspense_csv import SUSPENSE_CSV, SuspenseCalls, SuspensePolicy, suspense_csv
from tokengov_pipelines.pack.unproxied_csv import UNPROXIED_CSV, unproxied_csv
from tokengov_pipelines.pack.waterfall_chart import waterfall_file, waterfall_svg
from tokengov_pipelines.pack.workbook import workbook_xlsx
from tokengov_pipelines.pack.writer import PackError, json_bytes

PACK_XLSX = "pack.xlsx"
SUMMARY_HTML = "summary.html"
SUMMARY_PDF = "summary.pdf"


@dataclass(frozen=True)
class PackContent:
    """What `seal` writes: version 0 is the draft. `files` maps a path inside the pack to its bytes.

    `corrections` are those that the pack posts for earlier months, `disputes` the ids of the disputes whose moves are
    among its lines.
    """

    month: BillingMonth
    version: int
    files: Mapping[str, bytes]
    totals: Mapping[str, Any]
    postings: tuple[Posting, ...]
    corrections: tuple[PriorPeriodCharge, ...] = ()
    disputes: tuple[str, ...] = ()

    @property
    def content_sha256(self) -> str:
        """The hash of the data files (Rule 11.8)."""
        return content_sha256(self.files)


@dataclass(frozen=True)
class SuspenseList:
    """What suspense.csv needs beside the detail: whose it is, the file of the month before, first and last use."""

    policy: SuspensePolicy
    previous: bytes | None = None
    calls: tuple[SuspenseCalls, ...] = ()


@dataclass(frozen=True)
class PackParts:
    """The rows of a month's files. What is None has no file; `inputs` are the files of inputs/ as they are.

    `billed` is the month's part of each invoice, `recoverable_tax` by provider stands beside the charges. `history` and
    `previous` (chargeback.csv of the month before) are for the report alone, and so are `notes`.
    """

    lines: Sequence[ChargebackLine]
    problems: Sequence[ChargebackProblem]
    invoices: Sequence[InvoiceHeader]
    sources: Sequence[SourceTotals]
    detail: Sequence[ChargebackLine] | None = None
    journal: Sequence[JournalLine] | None = None
    journal_maps: Sequence[JournalMap] = ()
    corrections: Sequence[PriorPeriodCharge] | None = None
    listed_corrections: Sequence[PriorPeriodCharge] = ()
    suspense: SuspenseList | None = None
    focus: FocusInputs | None = None
    unit_cost: Sequence[UnitCostRow] | None = None
    reconciliations: Sequence[Reconciliation] | None = None
    items: Sequence[ReconcilingItem] | None = None
    unproxied: Sequence[UnproxiedKey] | None = None
    items_as_of: dt.date | None = None
    functional_currency: str = "USD"
    billed: Mapping[tuple[str, str], Decimal] | None = None
    recoverable_tax: Mapping[str, Decimal] | None = None
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    history: Sequence[HistoryMonth] = ()
    previous: bytes | None = None
    notes: Sequence[str] = ()
    disputes: Sequence[str] = ()


def assemble_pack(month: BillingMonth, version: int, parts: PackParts) -> PackContent:
    """The pack of a month at a version: data files, control totals, then what is shown of them.

    `parts.unit_cost` are the rows of cost_per_pr.csv; None where no pull requests are read. Ages are counted to
    `items_as_of`, which is the month's closing day unless another day is given.

    Raises:
        PackError: a line belongs to another month or version, or the totals do not tie.
    """
    files, totals = _data(month, version, parts)
    files[CONTROL_TOTALS_JSON] = json_bytes(totals)
    content_hash = content_sha256(files)
    status = "draft" if version == 0 else "closed"
    files[PACK_XLSX] = workbook_xlsx(
        files, totals, month=month, version=version, status=status, content_sha256=content_hash
    )
    figures = report_figures(
        files,
        totals,
        parts.history,
        status=status,
        content_sha256=content_hash,
        previous=parts.previous,
        notes=parts.notes,
    )
    charts = report_charts(figures)
    files[SUMMARY_HTML] = summary_html(figures, charts)
    files[SUMMARY_PDF] = summary_pdf(figures, charts)
    return PackContent(
        month, version, files, totals, postings(parts.lines), tuple(parts.corrections or ()), tuple(parts.disputes)
    )


def content_of_close(month: BillingMonth, version: int, parts: PackParts) -> str:
    """The content hash that a pack of these parts would have, without what is only shown: what people approve."""
    files, _ = _data(month, version, parts)
    return content_sha256({name: content for name, content in files.items() if is_data_file(name)})


def _data(month: BillingMonth, version: int, parts: PackParts) -> tuple[dict[str, bytes], dict[str, Any]]:
    if any((line.posting_period, line.version) != (month, version) for line in parts.lines):
        message = f"a charge line of another month or version stands among those of {month} v{version}."
        raise PackError(message)
    due = [invoice for invoice in parts.invoices if month in invoice.period.months()]
    as_of = parts.items_as_of or aging_day(month)
    files = {CHARGEBACK_CSV: chargeback_csv(parts.lines)}
    if parts.detail is not None:
        files[CHARGEBACK_DETAIL_CSV] = chargeback_detail_csv(parts.detail)
    if parts.journal is not None:
        files[JOURNAL_CSV] = journal_csv(parts.journal)
        files |= journal_exports(parts.journal, parts.journal_maps)
    if parts.corrections is not None:
        files[ADJUSTMENTS_CSV] = adjustments_csv(month, parts.corrections, parts.listed_corrections)
    if parts.suspense is not None:
        suspense, detail = parts.suspense, parts.detail if parts.detail is not None else parts.lines
        files[SUSPENSE_CSV] = suspense_csv(month, detail, suspense.previous, suspense.policy, as_of, suspense.calls)
    if parts.focus is not None:
        files[FOCUS_CSV] = focus_csv(parts.focus, parts.lines)
    if parts.unit_cost is not None:
        files[COST_PER_PR_CSV] = cost_per_pr_csv(parts.unit_cost)
    files |= _reconciliation_files(parts.reconciliations, parts.items, parts.unproxied, as_of)
    suspense_of = parts.suspense
    totals = control_totals(
        month,
        version,
        sources=parts.sources,
        invoices=due,
        problems=parts.problems,
        files=files,
        functional_currency=parts.functional_currency,
        billed=parts.billed,
        recoverable_tax=parts.recoverable_tax,
        suspense=(suspense_of.policy.cost_center, suspense_of.previous) if suspense_of else None,
    )
    return files | dict(parts.inputs), totals


def _reconciliation_files(
    reconciliations: Sequence[Reconciliation] | None,
    items: Sequence[ReconcilingItem] | None,
    unproxied: Sequence[UnproxiedKey] | None,
    as_of: dt.date,
) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if reconciliations is not None:
        files[RECONCILIATION_CSV] = reconciliation_csv(reconciliations, items or ())
        files |= {waterfall_file(rec): waterfall_svg(rec) for rec in reconciliations}
    if items is not None:
        files[RECON_ITEMS_CSV] = recon_items_csv(items, as_of)
    if unproxied is not None:
        files[UNPROXIED_CSV] = unproxied_csv(unproxied)
    return files
