"""The org directory's vocabulary: its tables, their columns, and what one row has to look like (rules 3.2, 3.3, 3.6).

Belongs here: schema version 1 of the directory and the checks within a row: header, cells, dates. Does not belong
here: checks between rows and files (`directory_checks`), opening the files (`resources.directory`), and the attribution
ladder, which reads the loaded tables in SQL.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.csv_rows import CsvRow
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.domain.problem import Problem
from tokengov_pipelines.domain.seats import seat_id

SCHEMA_VERSION: Final = 1
Value = str | dt.date | None


@dataclass(frozen=True)
class Column:
    """A column and the reader of its cells; an empty cell of an optional column is None.

    `may_be_absent` is of columns that earlier releases did not know.
    """

    name: str
    read: Callable[[str], str | dt.date] = cells.text
    optional: bool = False
    may_be_absent: bool = False


@dataclass(frozen=True)
class DirectoryTable:
    """One file of the directory.

    A value of `keys` names one row only on any day, whichever of the column groups it stands in: a call that carries an
    e-mail and a call that carries a user id must find one person. `a_gap_is_an_error` is false where people leave and
    return: the days between fall to the next rung (rule 3.3).
    """

    name: str
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]
    a_gap_is_an_error: bool = True
    may_be_absent: bool = True

    @property
    def file(self) -> str:
        """The file's name inside the directory's folder."""
        return f"{self.name}.csv"

    @property
    def header(self) -> tuple[str, ...]:
        """The column names, in the documented order."""
        return tuple(column.name for column in self.columns)

    @property
    def is_dated(self) -> bool:
        """Whether rows are valid for an interval [valid_from, valid_to)."""
        return "valid_from" in self.header


@dataclass(frozen=True)
class Record:
    """One accepted row: typed values by column, and the line it stands on."""

    table: DirectoryTable
    row: int
    values: Mapping[str, Value]

    def __getitem__(self, column: str) -> Value:
        return self.values[column]

    def text(self, column: str) -> str:
        """The value of a text column; empty where the cell is."""
        return str(self.values[column] or "")

    @property
    def interval(self) -> Interval:
        """The days the row is valid; rows that contain no day are never accepted."""
        valid_from, valid_to = self.values["valid_from"], self.values["valid_to"]
        if not isinstance(valid_from, dt.date) or isinstance(valid_to, str):
            message = f"{self.table.file} has no dated rows; ask DirectoryTable.is_dated first"
            raise TypeError(message)
        return Interval(valid_from, valid_to)

    def problem(self, field: str | None, what: str, fix: str) -> Problem:
        """A problem at this row."""
        return Problem(self.table.file, self.row, field, what, fix)


_LATER_ACCOUNTS: Final = (
    "prepaid_account",
    "accrued_account",
    "due_from_account",
    "due_to_account",
    "input_tax_account",
)
"""Accounts that files of earlier releases do not have; an empty one is the default of policy.yaml."""


def _later(name: str) -> Column:
    """A column that a file may lack altogether, because earlier releases did not know it."""
    return Column(name, optional=True, may_be_absent=True)


def _optional(name: str, read: Callable[[str], str | dt.date] = cells.text) -> Column:
    return Column(name, read, optional=True)


def _month(value: str) -> str:
    """A calendar month as it is written."""
    try:
        return str(BillingMonth.parse(value))
    except PeriodError:
        what = f"{cells.shown(value)} is not a month"
        raise CellError(what, "write YYYY-MM, such as 2026-10") from None


def _amount(value: str) -> str:
    """An exact amount as it is written; a balance may be below zero."""
    cells.amount(value)
    return value


def _positive_amount(value: str) -> str:
    """The same, zero or more: the column says which way it moves the balance."""
    if cells.amount(value) >= 0:
        return value
    what = f"{cells.shown(value)} is below zero"
    raise CellError(what, "write it without the sign; the column says whether it is added or taken")


_DATED: Final = (Column("valid_from", cells.iso_date), _optional("valid_to", cells.iso_date))

TABLES: Final[Mapping[str, DirectoryTable]] = {
    table.name: table
    for table in (
        DirectoryTable(
            "cost_centers",
            (Column("code"), Column("name"), Column("legal_entity"), *_DATED, _optional("successor")),
            keys=(("code",),),
            may_be_absent=False,
        ),
        DirectoryTable(
            "teams",
            (
                Column("team_id"),
                Column("team_name"),
                Column("cost_center"),
                _optional("time_zone", cells.time_zone),
                _optional("lead_email", cells.email),
                _optional("owner_contact"),
                *_DATED,
            ),
            keys=(("team_id",),),
            may_be_absent=False,
        ),
        DirectoryTable(
            "users",
            (Column("email", cells.email), Column("user_id"), _optional("github_login"), Column("team_id"), *_DATED),
            keys=(("email",), ("user_id",)),
            a_gap_is_an_error=False,
            may_be_absent=False,
        ),
        DirectoryTable(
            "service_accounts",
            (
                Column("key_hash", cells.key_hash),
                Column("name"),
                Column("owner_cost_center"),
                _optional("owner_contact"),
                *_DATED,
            ),
            keys=(("key_hash",),),
            a_gap_is_an_error=False,
        ),
        DirectoryTable(
            "provider_keys",
            (
                Column("provider", cells.provider),
                Column("account"),
                _optional("workspace"),
                Column("provider_key_id"),
                Column("role", cells.one_of("proxy", "other")),
                _optional("owner_cost_center"),
                *_DATED,
            ),
            keys=(("provider", "account", "provider_key_id"),),
        ),
        DirectoryTable(
            "gl_accounts",
            (
                Column("legal_entity"),
                Column("provider", cells.provider),
                Column("expense_account"),
                Column("clearing_account"),
                *(_later(name) for name in _LATER_ACCOUNTS),
                *_DATED,
            ),
            keys=(("legal_entity", "provider"),),
        ),
        DirectoryTable(
            "fx_rates",
            (
                Column("from_currency", cells.currency),
                Column("to_currency", cells.currency),
                Column("rate_date", cells.iso_date),
                Column("rate", cells.positive_rate),
                _optional("source"),
            ),
            keys=(("from_currency", "to_currency", "rate_date"),),
        ),
        DirectoryTable(
            "people",
            (
                Column("email", cells.email),
                Column("name"),
                Column("role", cells.one_of("viewer", "team_lead", "finance", "controller", "admin")),
                _optional("signing_key"),
                *_DATED,
            ),
            keys=(("email",),),
            a_gap_is_an_error=False,
        ),
        DirectoryTable(
            "prepaid_statements",
            (
                Column("provider", cells.provider),
                Column("account"),
                Column("month", _month),
                Column("currency", cells.currency),
                Column("opening_balance", _amount),
                Column("purchases", _positive_amount),
                Column("expired", _positive_amount),
                Column("refunds", _positive_amount),
                Column("closing_balance", _amount),
                _optional("expires_next", cells.iso_date),
                _optional("expires_next_amount", _positive_amount),
            ),
            keys=(("provider", "account", "month"),),
        ),
        DirectoryTable(
            "seat_assignments",
            (
                Column("provider", cells.provider),
                Column("seat_id", seat_id),
                _optional("cost_center"),
                *_DATED,
            ),
            keys=(("provider", "seat_id"),),
            a_gap_is_an_error=False,
        ),
    )
}


def check_header(table: DirectoryTable, header: Sequence[str]) -> list[Problem]:
    """The header has exactly the documented columns, in any order; a column of a later release may be absent."""
    missing = [each.name for each in table.columns if each.name not in header and not each.may_be_absent]
    unknown = [name for name in header if name not in table.header]
    problems = [
        Problem(table.file, 1, name, "the column is missing", f"add it; the columns are {', '.join(table.header)}")
        for name in missing
    ]
    for name in unknown:
        fix = cells.did_you_mean(name, missing) or "delete it, or correct its name"
        problems.append(Problem(table.file, 1, cells.shown(name), "the column is unknown", fix))
    return problems


def read_rows(table: DirectoryTable, rows: Iterable[CsvRow]) -> tuple[list[Record], list[Problem]]:
    """The rows whose cells are all in order, as records; every cell that is not, as a problem.

    The header has been checked. Records come back ordered by key, then `valid_from`, then line.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    for row in rows:
        values: dict[str, Value] = {}
        found: list[Problem] = []
        for column in table.columns:
            try:
                values[column.name] = _read_cell(column, row.cells.get(column.name, ""))
            except CellError as error:
                found.append(Problem(table.file, row.row, column.name, error.what, error.fix))
        if not found:
            found = _check_row(table, row.row, values)
        problems += found
        if not found:
            records.append(Record(table, row.row, values))
    return sorted(records, key=_order), problems


def _read_cell(column: Column, cell: str) -> Value:
    if cell:
        return column.read(cell)
    if column.optional:
        return None
    what = "is empty"
    fix = "fill it in" if column.name != "user_id" else "write the proxy's user id, or repeat the e-mail"
    raise CellError(what, fix)


def _check_row(table: DirectoryTable, row: int, values: Mapping[str, Value]) -> list[Problem]:
    if table.is_dated:
        valid_from, valid_to = values["valid_from"], values["valid_to"]
        if isinstance(valid_from, dt.date) and isinstance(valid_to, dt.date) and valid_to <= valid_from:
            what = f"{valid_to} is not after valid_from {valid_from}; the row is valid on no day"
            fix = "write the first day the row is no longer valid, or leave it empty"
            return [Problem(table.file, row, "valid_to", what, fix)]
    if table.name == "fx_rates" and values["from_currency"] == values["to_currency"]:
        what = f"is {values['to_currency']}, the same as from_currency"
        return [Problem(table.file, row, "to_currency", what, "delete the row")]
    return _check_expiry(table, row, values) if table.name == "prepaid_statements" else []


def _check_expiry(table: DirectoryTable, row: int, values: Mapping[str, Value]) -> list[Problem]:
    """Credits that expire have a day and an amount, after the month, of what is left (Rule 4.9)."""
    day, amount = values["expires_next"], values["expires_next_amount"]
    if (day is None) != (amount is None):
        empty = "expires_next" if day is None else "expires_next_amount"
        return [Problem(table.file, row, empty, "is empty, and its pair is not", "fill in both or neither")]
    if not isinstance(day, dt.date):
        return []
    month = BillingMonth.parse(str(values["month"]))
    if day <= month.last_day:
        what = f"{day} is not after {month}"
        fix = "write the next day on which credits expire; what has expired in the month goes into expired"
        return [Problem(table.file, row, "expires_next", what, fix)]
    if cells.amount(str(amount)) > max(cells.amount(str(values["closing_balance"])), Decimal(0)):
        what = f"{amount} is more than the closing balance {values['closing_balance']}"
        return [Problem(table.file, row, "expires_next_amount", what, "write what is left of the credits that expire")]
    return []


def _order(record: Record) -> tuple[tuple[bytes, ...], dt.date, int]:
    key = tuple(record.text(column).encode() for column in record.table.keys[0])
    return key, record.interval.valid_from if record.table.is_dated else dt.date.min, record.row
