"""The ties between the files that say the same charges: detail, adjustments, journal, FOCUS (Rule 11.7), asserted.

Belongs here: reading the files back and comparing sums. Does not belong here: the files themselves, the ties of
invoices (`control_totals`) and of a reconciliation (`reconciliation_totals`).
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tokengov_pipelines.domain.journal import ACCRUAL_PREFIX
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.pack.adjustments_csv import ADJUSTMENTS_CSV
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.chargeback_detail_csv import CHARGEBACK_DETAIL_CSV
from tokengov_pipelines.pack.focus_csv import FOCUS_CSV, billed_by_invoice
from tokengov_pipelines.pack.journal_csv import JOURNAL_CSV
from tokengov_pipelines.pack.writer import PackError, neutralised

Row = Mapping[str, str]
_LINE = ("provider", "invoice_id", "original_period", "cost_center", "charge_type", "currency")


def charge_ties(
    files: Mapping[str, bytes], charges: Sequence[Row], functional_currency: str, taxes: Mapping[str, Decimal]
) -> list[dict[str, str]]:
    """The ties of those files that the pack has, against the rows of chargeback.csv; raises `PackError`."""
    ties: list[dict[str, str]] = []
    if CHARGEBACK_DETAIL_CSV in files:
        ties.append(_detail(_rows(files[CHARGEBACK_DETAIL_CSV]), charges))
    if ADJUSTMENTS_CSV in files:
        ties += _adjustments(_rows(files[ADJUSTMENTS_CSV]), charges)
    if JOURNAL_CSV in files:
        ties += _journal(_rows(files[JOURNAL_CSV]), charges, functional_currency, taxes)
    if FOCUS_CSV in files:
        ties += _focus(files[FOCUS_CSV], charges)
    return ties


def _detail(detail: Sequence[Row], charges: Sequence[Row]) -> dict[str, str]:
    """Line by line, not only in sum."""
    one, other = _by_line(detail), _by_line(charges)
    if one != other:
        worst = next(key for key in sorted({*one, *other}) if one.get(key) != other.get(key))
        message = (
            f"{CHARGEBACK_DETAIL_CSV} does not add up to {CHARGEBACK_CSV} at {' '.join(worst)}. Nothing was written. "
            "Fix: report it, this is a defect of the product."
        )
        raise PackError(message)
    return {"tie": f"{CHARGEBACK_DETAIL_CSV} = {CHARGEBACK_CSV}, line by line", "lines": str(len(other))}


def _by_line(rows: Iterable[Row]) -> dict[tuple[str, ...], tuple[Decimal, Decimal]]:
    sums: dict[tuple[str, ...], list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for row in rows:
        sums[tuple(row[name] for name in _LINE)].append((Decimal(row["amount"]), Decimal(row["amount_functional"])))
    return {
        key: (exact_sum(one for one, _ in amounts), exact_sum(other for _, other in amounts))
        for key, amounts in sums.items()
    }


def _adjustments(rows: Sequence[Row], charges: Sequence[Row]) -> list[dict[str, str]]:
    ties = []
    prior = [row for row in charges if row["charge_type"] == "prior_period"]
    posted = [row for row in rows if row["is_posted"] == "yes"]
    for currency in sorted({row["currency"] for row in [*prior, *posted]}):
        one, other = (_sum(each, "amount", currency) for each in (posted, prior))
        ties.append(_tied(f"{ADJUSTMENTS_CSV} = prior-period lines", currency, "adjustments", one, "charges", other))
    return ties


def _journal(
    rows: Sequence[Row], charges: Sequence[Row], currency: str, taxes: Mapping[str, Decimal]
) -> list[dict[str, str]]:
    """By provider: debits = credits in every entry, and expenses = charges, with recoverable tax beside them."""
    ties = []
    for provider in sorted({row["provider"] for row in rows}):
        mine = [row for row in rows if row["provider"] == provider and "-ACCRUAL-RE" not in row["external_id"]]
        debits, credits = (exact_sum(Decimal(row[side]) for row in mine) for side in ("debit", "credit"))
        ties.append(
            _tied(f"{JOURNAL_CSV} {provider}: debits = credits", currency, "debits", debits, "credits", credits)
        )
        expenses = [row for row in mine if row["cost_center"]]
        booked = exact_sum(Decimal(row["debit"]) - Decimal(row["credit"]) for row in expenses)
        charged = exact_sum(
            Decimal(row["amount_functional"])
            for row in charges
            if row["provider"] == provider and not _is_reversed_accrual(row)
        )
        ties.append(
            _tied(f"{JOURNAL_CSV} {provider}: expenses = charges", currency, "journal", booked, "charges", charged)
        )
        if taxes.get(neutralised(provider)):
            ties[-1]["recoverable_tax_beside"] = f"{taxes[provider]:f}"
    return ties


def _is_reversed_accrual(row: Row) -> bool:
    """Whether the journal of the month that accrued it has reversed the line already (Rule 2.2)."""
    return row["invoice_id"].startswith(ACCRUAL_PREFIX) and row["original_period"] != row["posting_period"]


def _focus(content: bytes, charges: Sequence[Row]) -> list[dict[str, str]]:
    """focus_csv has compared each invoice when it was made; here the sums over all of them are shown."""
    billed = billed_by_invoice(content)
    currencies = sorted({currency for _, _, currency in billed} | {row["currency"] for row in charges})
    return [
        {
            "tie": f"{FOCUS_CSV} by invoice",
            "currency": currency,
            "billed": f"{exact_sum(amount for key, amount in billed.items() if key[2] == currency):f}",
            "charges": f"{_sum(charges, 'amount', currency):f}",
        }
        for currency in currencies
    ]


def _tied(tie: str, currency: str, left: str, one: Decimal, right: str, other: Decimal) -> dict[str, str]:
    found = {"tie": tie, "currency": currency, left: f"{one:f}", right: f"{other:f}"}
    if one != other:
        message = (
            f"the totals do not tie, nothing was written: {found}. Fix: report it, this is a defect of the product."
        )
        raise PackError(message)
    return found


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def _sum(rows: Iterable[Row], column: str, currency: str) -> Decimal:
    return exact_sum(Decimal(row[column]) for row in rows if row["currency"] == currency)
