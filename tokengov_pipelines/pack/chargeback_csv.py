"""chargeback.csv: who pays what of which invoice, at finance grain (rules 6.9, 11.2).

Belongs here: its columns and key. Does not belong here: the lines (`domain.chargeback`) and how cells are written
(`writer`).
"""

from collections.abc import Iterable
from dataclasses import fields

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

CHARGEBACK_CSV = "chargeback.csv"

PRIMARY_KEY = (
    "period",
    "provider",
    "invoice_id",
    "version",
    "original_period",
    "cost_center",
    "charge_type",
    "currency",
)

_KINDS = {
    "version": (Kind.INTEGER, None),
    "quantity_tokens": (Kind.INTEGER, None),
    "direct_logged_exact": (Kind.DECIMAL, 12),
    "amount": (Kind.DECIMAL, None),
    "fx_rate": (Kind.DECIMAL, None),
    "amount_functional": (Kind.DECIMAL, None),
    "allocation_weight": (Kind.DECIMAL, 12),
    "allocation_base": (Kind.DECIMAL, 12),
    "pool_total": (Kind.DECIMAL, None),
}

COLUMNS = tuple(Column(field.name, *_KINDS.get(field.name, (Kind.TEXT, None))) for field in fields(ChargebackLine))
"""The columns of rule 6.9, in its order; amounts have the decimals of their currency's minor unit."""


def chargeback_csv(lines: Iterable[ChargebackLine]) -> bytes:
    """The file's bytes; without lines it is the header alone."""
    return csv_bytes(COLUMNS, [chargeback_cells(line) for line in lines], PRIMARY_KEY)


def chargeback_cells(line: ChargebackLine, *, is_detail: bool = False) -> list[object]:
    """A line's cells in column order; in the drill table the words of its key are never null, so that it sorts."""
    cells: list[object] = []
    for column in COLUMNS:
        value = getattr(line, column.name)
        if is_detail and value is None and column.name in {"team_id", "model", "use_case"}:
            value = ""
        cells.append(str(value) if isinstance(value, BillingMonth) else value)
    return cells
