"""One version of a month's pack in memory: its files, its totals, and what it posts.

Belongs here: putting the data files together. Does not belong here: each file's columns (`chargeback_csv`,
`control_totals`) and the disk (`seal`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokengov_pipelines.domain.chargeback import (
    ChargebackLine,
    ChargebackProblem,
    InvoiceHeader,
    Posting,
    postings,
)
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.unit_cost import UnitCostRow
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV, chargeback_csv
from tokengov_pipelines.pack.control_totals import CONTROL_TOTALS_JSON, SourceTotals, control_totals
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV, cost_per_pr_csv
from tokengov_pipelines.pack.manifest import content_sha256
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
) -> PackContent:
    """The pack of a month at a version, from what `domain.chargeback.charge_month` returned and the sources' totals.

    `unit_cost` are the rows of cost_per_pr.csv; None where no pull requests are read, and then there is no such file.

    Raises `PackError` when a line belongs to another month or version, or the totals do not tie.
    """
    if any((line.posting_period, line.version) != (month, version) for line in lines):
        message = f"a charge line of another month or version stands among those of {month} v{version}."
        raise PackError(message)
    chargeback = chargeback_csv(lines)
    due = [invoice for invoice in invoices if month in invoice.period.months()]
    per_pr = None if unit_cost is None else cost_per_pr_csv(unit_cost)
    totals = control_totals(
        month, version, sources=sources, invoices=due, problems=problems, chargeback=chargeback, unit_cost=per_pr
    )
    files = {CHARGEBACK_CSV: chargeback, CONTROL_TOTALS_JSON: json_bytes(totals)}
    if per_pr is not None:
        files[COST_PER_PR_CSV] = per_pr
    return PackContent(month, version, files, totals, postings(lines))
