"""The control totals of a reconciliation's files, read back from their bytes, and the ties that have to hold (11.7).

Belongs here: sum of the causes = gap, the statement's invoice = the invoice, unproxied.csv = the component unproxied.
Does not belong here: the file that they stand in (`control_totals`) and the figures (`domain`).
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from tokengov_pipelines.domain.chargeback import InvoiceHeader
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.money import exact_product, exact_sum, quantize_internal
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.recon_items_csv import RECON_ITEMS_CSV
from tokengov_pipelines.pack.reconciliation_csv import RECONCILIATION_CSV
from tokengov_pipelines.pack.reconciliation_rows import INVOICE, LOGGED
from tokengov_pipelines.pack.unproxied_csv import UNPROXIED_CSV
from tokengov_pipelines.pack.writer import PackError, neutralised, sha256_of

Row = Mapping[str, str]


@dataclass(frozen=True)
class ReconciliationTotals:
    """What control_totals.json says of the reconciliation: its files, its ties, its aging, what was not reconciled."""

    files: list[dict[str, Any]]
    ties: list[dict[str, str]]
    aging: list[dict[str, Any]]
    not_reconciled: list[dict[str, str]]


def is_of_reconciliation(name: str) -> bool:
    """Whether a file of the pack is one of the reconciliation's: the statement, the two lists, a picture."""
    return name in {RECONCILIATION_CSV, RECON_ITEMS_CSV, UNPROXIED_CSV} or name.endswith(".svg")


def reconciliation_totals(
    month: BillingMonth, files: Mapping[str, bytes], invoices: Iterable[InvoiceHeader]
) -> ReconciliationTotals:
    """The totals of those of `files` that a reconciliation has: reconciliation.csv, the two lists, the pictures.

    `invoices` are those of the month. Raises `PackError` where something does not tie: nothing may be written then.
    """
    statement, items = _rows(files.get(RECONCILIATION_CSV)), _rows(files.get(RECON_ITEMS_CSV))
    keys = _rows(files.get(UNPROXIED_CSV))
    causes = [row for row in statement if row["component"] not in {LOGGED, INVOICE}]
    sums = {
        RECONCILIATION_CSV: _by_currency(causes, "amount"),
        RECON_ITEMS_CSV: _by_currency([row for row in items if row["is_error"] == "no"], "open_exact"),
        UNPROXIED_CSV: {"USD": f"{_sum(keys, 'cost_usd'):f}"},
    }
    counts = {RECONCILIATION_CSV: len(statement), RECON_ITEMS_CSV: len(items), UNPROXIED_CSV: len(keys)}
    listed = []
    for name, content in sorted(files.items()):
        entry: dict[str, Any] = {"file": name, "bytes": len(content), "sha256": sha256_of(content)}
        if name in sums:
            entry = {"file": name, "rows": counts[name], **entry, "sums": sums[name]}
        listed.append(entry)
    due = {(neutralised(each.provider), neutralised(each.invoice_id)): each for each in invoices}
    ties = _gap_ties(statement)
    ties += _invoice_ties(statement, due)
    if UNPROXIED_CSV in files and RECONCILIATION_CSV in files:
        ties += _unproxied_ties(month, causes, keys)
    known = {(row["provider"], row["invoice_id"]) for row in statement}
    not_reconciled = [
        {"provider": invoice.provider, "invoice_id": invoice.invoice_id}
        for key, invoice in sorted(due.items())
        if RECONCILIATION_CSV in files and key not in known
    ]
    return ReconciliationTotals(listed, ties, _aging(items), not_reconciled)


def _gap_ties(statement: Sequence[Row]) -> list[dict[str, str]]:
    """Exactly and in cents: the causes are what lies between the log and the invoice (rules 1.4b, 4.2)."""
    ties = []
    for labels, rows in _statements(statement):
        by_component = {row["component"]: row for row in rows}
        if INVOICE not in by_component:
            continue
        causes = [row for row in rows if row["component"] not in {LOGGED, INVOICE}]
        for column in ("amount_exact", "amount"):
            ends = (Decimal(by_component[INVOICE][column]), -Decimal(by_component[LOGGED][column]))
            tie = {"tie": f"sum of the causes = invoice - log ({column})", **labels}
            ties.append(_tied(tie, "causes", _sum(causes, column), "gap", exact_sum(ends)))
    return ties


def _invoice_ties(statement: Sequence[Row], due: Mapping[tuple[str, str], InvoiceHeader]) -> list[dict[str, str]]:
    ties = []
    for labels, rows in _statements(statement):
        invoice = due.get((labels["provider"], labels["invoice_id"]))
        printed = [Decimal(row["amount_exact"]) for row in rows if row["component"] == INVOICE]
        if invoice and printed:
            tie = {"tie": "W12 = invoice", **labels, "currency": invoice.currency}
            if invoice.fx_rate != 1:
                tie |= {"fx_rate": f"{invoice.fx_rate:f}", "printed": f"{invoice.total:f}"}
            booked = quantize_internal(exact_product(invoice.total, invoice.fx_rate))
            ties.append(_tied(tie, "W12", printed[0], "invoice", booked if invoice.fx_rate != 1 else invoice.total))
    return ties


def _unproxied_ties(month: BillingMonth, causes: Sequence[Row], keys: Sequence[Row]) -> list[dict[str, str]]:
    """By provider, where each account has one statement of exactly the month: the list is of calendar days."""
    calendar = (str(month.first_day), str(month.next().first_day))
    ties = []
    for provider in sorted({row["provider"] for row in causes}):
        mine = [row for row in causes if row["provider"] == provider and row["component"] == Component.UNPROXIED]
        accounts = [row["account"] for row in mine]
        if len(set(accounts)) < len(accounts):
            continue
        if any((row["period_start"], row["period_end"]) != calendar for row in mine):
            continue
        listed = _sum([row for row in keys if row["provider"] == provider], "list_usd")
        tie = {"tie": f"{UNPROXIED_CSV} at list = component unproxied", "provider": provider}
        ties.append(_tied(tie, UNPROXIED_CSV, listed, "component", _sum(mine, "amount_exact")))
    return ties


def _aging(items: Sequence[Row]) -> list[dict[str, Any]]:
    """Open items by currency and bucket, net and gross: no item hides another one (rule 4.8)."""
    is_open = [row for row in items if row["status"] in {"open", "reopened"}]
    totals = []
    for currency, bucket in sorted({(row["currency"], row["bucket"]) for row in is_open}):
        mine = [row for row in is_open if (row["currency"], row["bucket"]) == (currency, bucket)]
        amounts = [Decimal(row["open_exact"]) for row in mine if row["is_error"] == "no"]
        total = {
            "as_of": mine[0]["as_of"],
            "currency": currency,
            "age_days": bucket,
            "items": len(mine),
            "errors": len(mine) - len(amounts),
            "net": f"{exact_sum(amounts):f}",
            "gross": f"{exact_sum(abs(amount) for amount in amounts):f}",
        }
        totals.append(total)
    return totals


def _statements(statement: Sequence[Row]) -> list[tuple[dict[str, str], list[Row]]]:
    """The rows of each invoice, which stand together, with its labels."""
    names = ("provider", "account", "invoice_id", "period_start")
    groups = groupby(statement, key=lambda row: tuple(row[name] for name in names))
    return [(dict(zip(names[:3], key[:3], strict=True)), list(rows)) for key, rows in groups]


def _tied(tie: dict[str, str], left: str, one: Decimal, right: str, other: Decimal) -> dict[str, str]:
    tie = tie | {left: f"{one:f}", right: f"{other:f}"}
    if one != other:
        message = f"the totals do not tie, nothing was written: {tie}. Fix: report it, this is a defect of the product."
        raise PackError(message)
    return tie


def _rows(content: bytes | None) -> list[dict[str, str]]:
    return [] if content is None else list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def _sum(rows: Iterable[Row], column: str) -> Decimal:
    return exact_sum(Decimal(row[column]) for row in rows)


def _by_currency(rows: Sequence[Row], column: str) -> dict[str, str]:
    currencies = sorted({row["currency"] for row in rows})
    return {
        currency: f"{_sum([row for row in rows if row['currency'] == currency], column):f}" for currency in currencies
    }
