"""control_totals.json: what went in, what came out, and the ties between them, asserted (rules 11.7, 1.6).

Belongs here: counting files back from their bytes, and refusing a pack whose totals do not tie. Does not belong here:
reading the sources (their totals are passed in), the ties of a reconciliation's own files (`reconciliation_totals`) and
the decision to close (`domain.close`).
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tokengov_pipelines.domain.chargeback import ChargebackProblem, InvoiceHeader
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV
from tokengov_pipelines.pack.reconciliation_totals import reconciliation_totals
from tokengov_pipelines.pack.writer import PackError, neutralised, sha256_of

CONTROL_TOTALS_JSON = "control_totals.json"


@dataclass(frozen=True)
class SourceTotals:
    """What one source held for the month: rows, their sum in `currency`, first and last day (None for no rows)."""

    source: str
    rows: int
    total: Decimal
    currency: str
    min_date: dt.date | None
    max_date: dt.date | None


def control_totals(
    month: BillingMonth,
    version: int,
    *,
    sources: Iterable[SourceTotals],
    invoices: Iterable[InvoiceHeader],
    problems: Sequence[ChargebackProblem],
    chargeback: bytes,
    unit_cost: bytes | None = None,
    reconciled: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """The content of control_totals.json, with amounts as plain decimal text.

    `invoices` are those of the month; one whose provider has a problem was not charged and is listed with the problem.
    `chargeback` are the bytes of chargeback.csv, `unit_cost` those of cost_per_pr.csv: rows and sums are read back from
    them, so that what ties is what was written; so are those of `reconciled`, the reconciliation's files by name.
    Raises `PackError` when an invoice does not equal the sum of its lines, or the reconciliation does not tie.
    """
    listed = list(invoices)
    match = reconciliation_totals(month, reconciled or {}, listed)
    rows = _rows(chargeback)
    held = {problem.provider for problem in problems}
    charged = sorted((each for each in listed if each.provider not in held), key=_key)
    ties = [_invoice_tie(invoice, rows) for invoice in charged] + _total_ties(charged, rows)
    totals: dict[str, Any] = {
        "period": str(month),
        "version": version,
        "sources": [_source(source) for source in sorted(sources, key=lambda each: each.source)],
        "files": [
            {
                "file": CHARGEBACK_CSV,
                "rows": len(rows),
                "bytes": len(chargeback),
                "sha256": sha256_of(chargeback),
                "sums": {currency: f"{_sum(rows, currency):f}" for currency in sorted({r["currency"] for r in rows})},
            },
            *([] if unit_cost is None else [_unit_cost_file(unit_cost)]),
            *match.files,
        ],
        "ties": ties + match.ties,
        "not_charged": [
            {"provider": problem.provider, "code": problem.code, "what": problem.what, "fix": problem.fix}
            for problem in problems
        ],
    }
    if reconciled:
        totals["not_reconciled"] = match.not_reconciled
        totals["open_items"] = match.aging
    return totals


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def _unit_cost_file(content: bytes) -> dict[str, Any]:
    """The teams' costs are summed; they and what no team bears make the organisation's (Rule 9.1)."""
    rows = _rows(content)
    whole = sum((Decimal(row["cost_usd"]) for row in rows if row["level"] == "org"), Decimal(0))
    parts = sum((Decimal(row["cost_usd"]) for row in rows if row["level"] != "org"), Decimal(0))
    if whole != parts:
        message = f"{COST_PER_PR_CSV}: the teams' costs are not the organisation's. Fix: report it, this is a defect."
        raise PackError(message)
    return {
        "file": COST_PER_PR_CSV,
        "rows": len(rows),
        "bytes": len(content),
        "sha256": sha256_of(content),
        "sums": {"USD": f"{parts:f}"},
    }


def _invoice_tie(invoice: InvoiceHeader, rows: Sequence[dict[str, str]]) -> dict[str, str]:
    mine = [row for row in rows if (row["provider"], row["invoice_id"]) == _key(invoice)]
    labels = {"tie": "invoice = sum of its lines", "provider": invoice.provider, "invoice_id": invoice.invoice_id}
    return _tie(labels, invoice.currency, invoice.total, _sum(mine, invoice.currency))


def _total_ties(invoices: Sequence[InvoiceHeader], rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    ties = []
    for currency in sorted({each.currency for each in invoices} | {row["currency"] for row in rows}):
        total = sum((each.total for each in invoices if each.currency == currency), Decimal(0))
        ties.append(_tie({"tie": f"all charged invoices = {CHARGEBACK_CSV}"}, currency, total, _sum(rows, currency)))
    return ties


def _tie(labels: dict[str, str], currency: str, invoice: Decimal, chargeback: Decimal) -> dict[str, str]:
    tie = labels | {"currency": currency, "invoice": f"{invoice:f}", "chargeback": f"{chargeback:f}"}
    if invoice != chargeback:
        message = f"the totals do not tie, nothing was written: {tie}. Fix: report it, this is a defect of the product."
        raise PackError(message)
    return tie


def _source(totals: SourceTotals) -> dict[str, Any]:
    return {
        "source": totals.source,
        "rows": totals.rows,
        "sum": f"{totals.total:f}",
        "currency": totals.currency,
        "min_date": str(totals.min_date) if totals.min_date else None,
        "max_date": str(totals.max_date) if totals.max_date else None,
    }


def _key(invoice: InvoiceHeader) -> tuple[str, str]:
    return neutralised(invoice.provider), neutralised(invoice.invoice_id)


def _sum(rows: Iterable[dict[str, str]], currency: str) -> Decimal:
    return sum((Decimal(row["amount"]) for row in rows if row["currency"] == currency), Decimal(0))
