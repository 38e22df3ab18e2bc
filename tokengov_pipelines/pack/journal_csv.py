"""journal.csv: what the general ledger books, one line a row (Rules 6.5, 11.3).

Belongs here: its columns and key. Does not belong here: the entries (`domain.journal`), the formats that ledgers import
(`journal_formats`) and how cells are written (`writer`).
"""

from collections.abc import Iterable
from dataclasses import fields

from tokengov_pipelines.domain.journal import JournalLine
from tokengov_pipelines.domain.money import minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

JOURNAL_CSV = "journal.csv"

PRIMARY_KEY = ("external_id", "line_no")

_KINDS = {
    "line_no": Kind.INTEGER,
    "version": Kind.INTEGER,
    "posting_date": Kind.DATE,
    "debit": Kind.DECIMAL,
    "credit": Kind.DECIMAL,
}

COLUMNS = tuple(Column(field.name, _KINDS.get(field.name, Kind.TEXT)) for field in fields(JournalLine))
"""The columns of Rule 11.3, in its order; amounts have the decimals of their currency's minor unit."""


def journal_csv(lines: Iterable[JournalLine]) -> bytes:
    """The file's bytes; without lines it is the header alone."""
    return csv_bytes(COLUMNS, [[_value(line, column) for column in COLUMNS] for line in lines], PRIMARY_KEY)


def _value(line: JournalLine, column: Column) -> object:
    value = getattr(line, column.name)
    if column.kind is Kind.DECIMAL:
        return round_posting(value, minor_unit_scale(line.currency))
    return str(value) if isinstance(value, BillingMonth) else value
