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

PRIMARY_KEY = ("period", "provider", "invoice_id", "version", "cost_center", "charge_type")

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
    return csv_bytes(COLUMNS, [[_value(line, column) for column in COLUMNS] for line in lines], PRIMARY_KEY)


def _value(line: ChargebackLine, column: Column) -> object:
    value = getattr(line, column.name)
    return str(value) if isinstance(value, BillingMonth) else value
