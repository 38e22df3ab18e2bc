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

from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import InvoiceHeader
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.adjustments_csv import ADJUSTMENTS_CSV
from tokengov_pipelines.pack.charge_ties import charge_ties
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.chargeback_detail_csv import CHARGEBACK_DETAIL_CSV
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV
from tokengov_pipelines.pack.journal_csv import JOURNAL_CSV
from tokengov_pipelines.pack.reconciliation_totals import is_of_reconciliation, reconciliation_totals
from tokengov_pipelines.pack.suspense_csv import SUSPENSE_CSV, suspense_ties
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
    files: Mapping[str, bytes],
    functional_currency: str = "USD",
    billed: Mapping[tuple[str, str], Decimal] | None = None,
    recoverable_tax: Mapping[str, Decimal] | None = None,
    suspense: tuple[str, bytes | None] | None = None,
) -> dict[str, Any]:
    """The content of control_totals.json, with amounts as plain decimal text.

    `invoices` are those of the month; one whose provider has a problem was not charged and is listed with the problem.
    `files` are the pack's data files and pictures by name: rows and sums are read back from their bytes, so that what
    ties is what was written. `billed` is the month's part of each invoice (Rule 6.1b), its total where none is named;
    `recoverable_tax` by provider, in the functional currency, stands in the journal beside the charges (Rule 1.7);
    `suspense` is the suspense cost center and the file of the month before.

    Raises:
        PackError: an invoice does not equal the sum of its lines, or any other tie of rule 11.7 does not hold.
    """
    listed = list(invoices)
    reconciled = {name: content for name, content in files.items() if is_of_reconciliation(name)}
    match = reconciliation_totals(month, reconciled, listed)
    rows = _rows(files[CHARGEBACK_CSV])
    held = {problem.provider for problem in problems}
    charged = sorted((each for each in listed if each.provider not in held), key=_key)
    own = [row for row in rows if row["original_period"] == row["posting_period"]]
    ties = [_invoice_tie(invoice, own, billed or {}) for invoice in charged]
    ties += _total_ties(charged, own, billed or {}) + match.ties
    ties += charge_ties(files, rows, functional_currency, recoverable_tax or {})
    if suspense and SUSPENSE_CSV in files:
        ties += suspense_ties(files[SUSPENSE_CSV], suspense[1], files[CHARGEBACK_CSV], suspense[0])
    totals: dict[str, Any] = {
        "period": str(month),
        "version": version,
        "functional_currency": functional_currency,
        "sources": [_source(source) for source in sorted(sources, key=lambda each: each.source)],
        "files": [_file(name, files[name]) for name in sorted(files) if name in _SUMMED]
        + ([_unit_cost_file(files[COST_PER_PR_CSV])] if COST_PER_PR_CSV in files else [])
        + match.files
        + [_unsummed(name, files[name]) for name in sorted(files) if _is_unsummed(name)],
        "ties": ties,
        "not_charged": [
            {"provider": problem.provider, "code": problem.code, "what": problem.what, "fix": problem.fix}
            for problem in problems
        ],
    }
    if reconciled:
        totals["not_reconciled"] = match.not_reconciled
        totals["open_items"] = match.aging
    return totals


_SUMMED = {
    CHARGEBACK_CSV: "amount",
    CHARGEBACK_DETAIL_CSV: "amount",
    ADJUSTMENTS_CSV: "amount",
    SUSPENSE_CSV: "amount",
    JOURNAL_CSV: "debit",
}


def _is_unsummed(name: str) -> bool:
    """The forms of other systems: the same amounts in columns of their own."""
    is_summed = name in _SUMMED or name == COST_PER_PR_CSV or is_of_reconciliation(name)
    return name.endswith(".csv") and not is_summed


def _unsummed(name: str, content: bytes) -> dict[str, Any]:
    return {"file": name, "rows": len(_rows(content)), "bytes": len(content), "sha256": sha256_of(content)}


def _file(name: str, content: bytes) -> dict[str, Any]:
    rows = _rows(content)
    column = _SUMMED[name]
    sums = {
        currency: f"{exact_sum(Decimal(row[column]) for row in rows if row['currency'] == currency):f}"
        for currency in sorted({row["currency"] for row in rows})
    }
    return {
        "file": name, "rows": len(rows), "bytes": len(content), "sha256": sha256_of(content), "sums": sums
    }  # fmt: skip


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


def _invoice_tie(
    invoice: InvoiceHeader, rows: Sequence[dict[str, str]], billed: Mapping[tuple[str, str], Decimal]
) -> dict[str, str]:
    mine = [row for row in rows if (row["provider"], row["invoice_id"]) == _key(invoice)]
    labels = {"tie": "invoice = sum of its lines", "provider": invoice.provider, "invoice_id": invoice.invoice_id}
    expected = _billed(invoice, billed)
    if expected != invoice.total:
        labels |= {"invoice_total": f"{invoice.total:f}", "part": "this month's, without recoverable tax"}
    return _tie(labels, invoice.currency, expected, _sum(mine, invoice.currency))


def _billed(invoice: InvoiceHeader, billed: Mapping[tuple[str, str], Decimal]) -> Decimal:
    whole = exact_sum([invoice.total, -invoice.recoverable_tax])
    return billed.get((invoice.provider, invoice.invoice_id), whole)


def _total_ties(
    invoices: Sequence[InvoiceHeader], rows: Sequence[dict[str, str]], billed: Mapping[tuple[str, str], Decimal]
) -> list[dict[str, str]]:
    ties = []
    for currency in sorted({each.currency for each in invoices} | {row["currency"] for row in rows}):
        total = exact_sum(_billed(each, billed) for each in invoices if each.currency == currency)
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
