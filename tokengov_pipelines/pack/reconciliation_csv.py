"""reconciliation.csv: every invoice as a statement, from the proxy's log to the invoice (rule 11.4).

Belongs here: its columns and key. Does not belong here: the rows (`reconciliation_rows`) and how cells are written
(`writer`).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tokengov_pipelines.domain.match_result import MatchMode
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.pack.reconciliation_rows import monthly_rows
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

RECONCILIATION_CSV = "reconciliation.csv"

PRIMARY_KEY = ("provider", "account", "invoice_id", "period_start", "state_no")

COLUMNS = (
    Column("provider"),
    Column("account"),
    Column("invoice_id"),
    Column("period_start", Kind.DATE),
    Column("period_end", Kind.DATE),
    Column("state_no", Kind.INTEGER),
    Column("component"),
    Column("amount_exact", Kind.DECIMAL, 12),
    Column("amount", Kind.DECIMAL, 2),
    Column("currency"),
    Column("pct_of_invoice", Kind.DECIMAL, 4),
    Column("status"),
    Column("tolerance", Kind.DECIMAL),
    Column("evidence"),
    Column("items_open", Kind.INTEGER),
)
"""The columns of rule 11.4, and the currency that rule 1.6 asks of every amount."""


def reconciliation_csv(recs: Iterable[Reconciliation], items: Iterable[ReconcilingItem] = ()) -> bytes:
    """The file's bytes; without a reconciliation it is the header alone. `items` are counted, not listed."""
    listed = list(items)
    return csv_bytes(COLUMNS, [_cells(row) for rec in recs for row in monthly_rows(rec, listed)], PRIMARY_KEY)


def _cells(row: Mapping[str, Any]) -> list[object]:
    changed = {
        "invoice_id": row["invoice_id"] or "",
        "status": f"{row['status']}_two_way" if row["mode"] == MatchMode.TWO_WAY else row["status"],
        "tolerance": _short(row["tolerance"]),
    }
    return [changed.get(column.name, row[column.name]) for column in COLUMNS]


def _short(amount: Decimal) -> Decimal:
    """The amount with the decimals it needs, at least two: 5.00, 1.66665."""
    digits = amount.normalize()
    return digits.quantize(Decimal("0.01")) if int(digits.as_tuple().exponent) > -2 else digits
