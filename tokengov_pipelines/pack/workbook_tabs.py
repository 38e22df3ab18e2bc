"""What the tabs of pack.xlsx are: their files, which columns hold numbers and days, which of them are summed (11.6).

Belongs here: the declared map from the pack's CSV files to tabs, and a file read back as a table. Does not belong here:
how a cell is written (`workbook_sheet`) and the tabs that are no file (`workbook`).

A column is a number or a day because its name stands here, never because its text looks like one: '00123' in a name
stays text. Excel keeps 15 digits of a number. A column is written as numbers only if every cell of it comes back from
15 digits as it was; otherwise the whole column is text, so that nothing is shown that is not so. Where such a column
is summed, a column '(15 digits)' beside it holds the nearest numbers, and those are what the live sum adds.
"""

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.pack.writer import PackError

MOST_ROWS: Final = 100_000
"""Rows a tab shows; a longer file is in the pack as CSV, and its tab says so and keeps the totals."""

NEAREST: Final = " (15 digits)"
"""What the heading of a column of nearest numbers ends with."""

FUNCTIONAL: Final = "the functional currency"
"""Stands for the currency of a sum whose column is in the functional currency, whatever the row's own is."""

_DIGITS: Final = 15
_CODE: Final = 3  # letters of a currency's code
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_DAY: Final = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])-([0-2]\d|3[01])", re.ASCII)

_NUMBERS: Final = frozenset(
    {
        *("version", "line_no", "state_no", "rank", "items_open", "age_days", "days_active", "pct_of_invoice"),
        *("amount", "pool_total", "tolerance", "debit", "credit", "fx_rate", "allocation_weight", "allocation_base"),
        *("budget", "actual", "forecast", "limit", "mean", "opening", "new", "cleared", "closing", "calls", "rows"),
    }
)
_NUMBER_SUFFIXES: Final = ("_exact", "_usd", "_tokens", "_amount", "_functional", "_prs", "_pct", "_days", "_calls")
_NUMBER_PREFIXES: Final = ("amount_", "cost_last_", "quantity_")
_DAYS: Final = frozenset(
    {"period_start", "period_end", "as_of", "expected_clear_by", "clear_by", "created_at", "usage_day"}
)
_DAY_SUFFIXES: Final = ("_on", "_date", "_seen")


class Cells(Enum):
    """How the cells of a column are written."""

    TEXT = "text"
    NUMBER = "number"
    DAY = "day"
    DIGITS = "digits"
    """A column of numbers with more digits than Excel keeps: text, set to the right."""


@dataclass(frozen=True)
class Total:
    """A sum under a tab's heading, one for each currency.

    `currency` names the column that holds the currency, or `FUNCTIONAL`, or is a code that all rows share. Rows count
    where every (column, word) of `only` is equal and every one of `but` is not. `stored` says whether the control
    totals hold the sum; else the exact sum of the file stands beside the live one.
    """

    column: str
    currency: str = "currency"
    only: tuple[tuple[str, str], ...] = ()
    but: tuple[tuple[str, str], ...] = ()
    stored: bool = False


@dataclass(frozen=True)
class Tab:
    """A tab that shows one file."""

    name: str
    file: str
    what: str
    totals: tuple[Total, ...] = ()


_CHARGED: Final = (Total("amount", stored=True), Total("amount_functional", FUNCTIONAL))

TABS: Final = (
    Tab("Chargeback", "chargeback.csv", "Who pays what of which invoice, by cost center and type of charge", _CHARGED),
    Tab("Detail", "chargeback_detail.csv", "The same charges by team, model and use case", _CHARGED),
    Tab("Journal", "journal.csv", "The entries to post: debits equal credits", (Total("debit"), Total("credit"))),
    Tab(
        "Reconciliation",
        "reconciliation.csv",
        "Every invoice from what the proxy logged to what was billed; the sum is that of the causes",
        (Total("amount", but=(("component", "logged"), ("component", "invoice")), stored=True),),
    ),
    Tab(
        "Recon items",
        "recon_items.csv",
        "What is open, whose it is and how old it is; errors are inside other items and not added",
        (Total("open_exact", only=(("is_error", "no"),), stored=True),),
    ),
    Tab(
        "Unproxied",
        "unproxied.csv",
        "Use of provider keys that are not the proxy's, the dearest first",
        (Total("cost_usd", "USD", stored=True),),
    ),
    Tab(
        "Suspense",
        "suspense.csv",
        "Charges without a known owner, and who clears them: opening + new - cleared = amount",
        (Total("opening"), Total("new"), Total("cleared"), Total("amount")),
    ),
    Tab("Adjustments", "adjustments.csv", "Corrections of closed months, posted in this one", (Total("amount"),)),
    Tab("Budgets", "budgets.csv", "Budgets and what was used of them"),
    Tab("Anomalies", "anomalies.csv", "Days on which a team's spend left its usual range"),
    Tab(
        "Cost per PR",
        "cost_per_pr.csv",
        "What a merged pull request costs, by team and for the organisation; the sum is that of the teams",
        (Total("cost_usd", "USD", but=(("level", "org"),), stored=True),),
    ),
    Tab("Cost per PR weekly", "cost_per_pr_weekly.csv", "The same by week, provisional"),
    Tab("Routing", "routing.csv", "Use cases against the model that the policy asks for"),
)
"""The tabs of rule 11.6 that show a file, in their order. A file that the pack lacks has no tab."""


@dataclass(frozen=True)
class Table:
    """A CSV file of the pack: names of its columns, how each is written, its rows as text."""

    names: tuple[str, ...]
    kinds: tuple[Cells, ...]
    rows: tuple[tuple[str, ...], ...]

    def at(self, name: str) -> int:
        """The position of a column."""
        return self.names.index(name)

    def values(self, total: Total) -> list[tuple[dict[str, str], Decimal]]:
        """The rows that a sum counts, with their amounts; blank cells are none."""
        found = []
        for row in self.rows:
            cells = dict(zip(self.names, row, strict=True))
            text = cells[total.column]
            counted = all(cells[key] == word for key, word in total.only)
            if text and counted and all(cells[key] != word for key, word in total.but):
                found.append((cells, Decimal(text)))
        return found


@dataclass(frozen=True)
class Sum:
    """One sum of a tab: the exact total of a column in a currency, as the control totals hold it."""

    total: Total
    currency: str
    stored: Decimal


def read_table(content: bytes, totals: Iterable[Total] = ()) -> Table:
    """The file as a table; a summed column that Excel cannot hold gets its column of nearest numbers."""
    lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    names, rows = tuple(lines[0]), [tuple(line) for line in lines[1:]]
    kinds = [_kind(name, [row[position] for row in rows]) for position, name in enumerate(names)]
    summed = {total.column for total in totals}
    order = []
    for position, name in enumerate(names):
        order.append((name, kinds[position], position))
        if name in summed and kinds[position] is Cells.DIGITS:
            order.append((name + NEAREST, Cells.NUMBER, position))
    return Table(
        tuple(name for name, _, _ in order),
        tuple(kind for _, kind, _ in order),
        tuple(tuple(row[position] for _, _, position in order) for row in rows),
    )


def sums_of(tab: Tab, table: Table, control: Mapping[str, Any], functional: str) -> list[Sum]:
    """The sums of a tab, by currency; without a row, one of zero where the currency is known.

    `control` is control_totals.json. Raises `PackError` where the file does not add up to what it stores of it.
    """
    listed = {each["file"]: each.get("sums", {}) for each in control.get("files", [])}
    stored: Mapping[str, str] = listed.get(tab.file, {})
    sums = []
    for total in tab.totals:
        if total.column not in table.names:
            continue
        if table.kinds[table.at(total.column)] is Cells.TEXT:
            message = f"{tab.file}: {total.column} holds what is no number. Fix: report it, this is a defect."
            raise PackError(message)
        rows = table.values(total)
        for currency in _currencies(total, table, functional):
            mine = [value for cells, value in rows if total.currency not in cells or cells[total.currency] == currency]
            found = exact_sum(mine)
            if total.stored and currency in stored and Decimal(stored[currency]) != found:
                message = (
                    f"{tab.file}: {total.column} adds up to {found} {currency} in pack.xlsx and to "
                    f"{stored[currency]} in control_totals.json. Fix: report it, this is a defect of the product."
                )
                raise PackError(message)
            sums.append(Sum(total, currency, found))
    return sums


def number(text: str) -> float | None:
    """The double of a plain decimal, None where 15 digits, which is what Excel keeps, do not give the decimal back."""
    if not _NUMBER.fullmatch(text):
        return None
    nearest = float(text)
    return nearest if Decimal(f"{nearest:.{_DIGITS}G}") == Decimal(text) else None


def _currencies(total: Total, table: Table, functional: str) -> list[str]:
    if total.currency not in table.names:
        return [total.currency if len(total.currency) == _CODE else functional]
    position = table.at(total.currency)
    return sorted({row[position] for row in table.rows})


def _kind(name: str, texts: Sequence[str]) -> Cells:
    given = [text for text in texts if text]
    if name in _DAYS or name.endswith(_DAY_SUFFIXES):
        return Cells.DAY if all(_is_day(text) for text in given) else Cells.TEXT
    if name not in _NUMBERS and not name.endswith(_NUMBER_SUFFIXES) and not name.startswith(_NUMBER_PREFIXES):
        return Cells.TEXT
    if not all(_NUMBER.fullmatch(text) for text in given):
        return Cells.TEXT
    return Cells.NUMBER if all(number(text) is not None for text in given) else Cells.DIGITS


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
