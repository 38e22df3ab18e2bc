"""One version of a month's pack in memory: its files, its totals, and what it posts.

Belongs here: putting the data files together. Does not belong here: each file's columns (`chargeback_csv`,
`reconciliation_csv` and their siblings, `control_totals`), the picture (`waterfall_chart`) and the disk (`seal`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.chargeback import (
    ChargebackLine,
    ChargebackProblem,
    InvoiceHeader,
    Posting,
    postings,
)
from tokengov_pipelines.domain.open_item import ReconcilingItem, aging_day
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.unit_cost import UnitCostRow
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV, chargeback_csv
from tokengov_pipelines.pack.control_totals import CONTROL_TOTALS_JSON, SourceTotals, control_totals
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV, cost_per_pr_csv
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.recon_items_csv import RECON_ITEMS_CSV, recon_items_csv
from tokengov_pipelines.pack.reconciliation_csv import RECONCILIATION_CSV, reconciliation_csv
from tokengov_pipelines.pack.unproxied_csv import UNPROXIED_CSV, unproxied_csv
from tokengov_pipelines.pack.waterfall_chart import waterfall_file, waterfall_svg
from tokengov_pipelines.pack.writer import PackError, json_bytes


@dataclass(frozen=True)
class PackContent:
    """What `seal` writes: version 0 is the draft. `files` maps a path inside the pack to its bytes."""

    month: BillingMonth
    version: int
    files: Mapping[str, bytes]
    totals: Mapping[str, Any]
    postings: tuple[Posting, ...]

    @property
    def content_sha256(self) -> str:
        """The hash of the data files (rule 11.8)."""
        return content_sha256(self.files)


def assemble_pack(
    month: BillingMonth,
    version: int,
    *,
    lines: Sequence[ChargebackLine],
    problems: Sequence[ChargebackProblem],
    invoices: Iterable[InvoiceHeader],
    sources: Iterable[SourceTotals],
    unit_cost: Sequence[UnitCostRow] | None = None,
    reconciliations: Sequence[Reconciliation] | None = None,
    items: Sequence[ReconcilingItem] | None = None,
    unproxied: Sequence[UnproxiedKey] | None = None,
    items_as_of: dt.date | None = None,
) -> PackContent:
    """The pack of a month at a version, from what `domain.chargeback.charge_month` returned and the sources' totals.

    `unit_cost` are the rows of cost_per_pr.csv; None where no pull requests are read, and then there is no such file.
    `reconciliations` become reconciliation.csv and one picture each, `items` (the month's and those carried over, with
    their resolutions applied) recon_items.csv, `unproxied` unproxied.csv; None leaves the file out. Ages are counted to
    `items_as_of`, which is the month's closing day unless another day is given.

    Raises `PackError` when a line belongs to another month or version, or the totals do not tie.
    """
    if any((line.posting_period, line.version) != (month, version) for line in lines):
        message = f"a charge line of another month or version stands among those of {month} v{version}."
        raise PackError(message)
    chargeback = chargeback_csv(lines)
    due = [invoice for invoice in invoices if month in invoice.period.months()]
    per_pr = None if unit_cost is None else cost_per_pr_csv(unit_cost)
    files = {CHARGEBACK_CSV: chargeback}
    if per_pr is not None:
        files[COST_PER_PR_CSV] = per_pr
    reconciled = _reconciliation_files(reconciliations, items, unproxied, items_as_of or aging_day(month))
    totals = control_totals(
        month,
        version,
        sources=sources,
        invoices=due,
        problems=problems,
        chargeback=chargeback,
        unit_cost=per_pr,
        reconciled=reconciled,
    )
    files |= reconciled
    files[CONTROL_TOTALS_JSON] = json_bytes(totals)
    return PackContent(month, version, files, totals, postings(lines))


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
