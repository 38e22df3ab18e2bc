"""One tab of pack.xlsx that shows a file: its live totals beside the stored ones, and its rows (rules 11.6, 12.3).

Belongs here: how cells, headings, totals and a printed page look. Does not belong here: what tabs there are and which
columns hold numbers (`workbook_tabs`), and the tabs that are no file (`workbook`).

Text goes through `text_cell` alone, which never makes a formula, a number, a link or rich text of it.
"""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell  # type: ignore[import-untyped]

from tokengov_pipelines.pack.workbook_tabs import MOST_ROWS, NEAREST, Cells, Sum, Tab, Table, number

INK, QUIET, LINE, BAND, GOOD, BAD = "#1f2933", "#616e7c", "#cbd2d9", "#f0f4f8", "#e3f9e5", "#ffe3e3"
TIES, BROKEN = "ties", "does not tie"
"""What a check cell says."""

_HEAD: Final = ("sum of", "currency", "live sum", "control total", "difference", "check")
_LIVE: Final = _HEAD.index("live sum")
_STORED: Final = _HEAD.index("control total")
_CHECK: Final = _HEAD.index("check")
_FIRST_SUM: Final = 3
_NARROWEST, _WIDEST, _TOTALS_WIDTH = 8, 42, 17
_HASH_WIDTH: Final = 14
_PAGE_WIDTH: Final = 230
"""Characters that still can be read on one landscape page of A4."""

_LEFT: Final = {"align": "left", "indent": 1}
_RIGHT: Final = {"align": "right"}
_A4: Final = 9


@dataclass
class Styles:
    """The workbook's formats, made once each."""

    book: Any
    made: dict[tuple[tuple[str, Any], ...], Any] = field(default_factory=dict)

    def get(self, **properties: Any) -> Any:
        """The format with these properties."""
        key = tuple(sorted(properties.items()))
        if key not in self.made:
            base = {"font_name": "Calibri", "font_size": 10, "font_color": INK, "valign": "vcenter"}
            self.made[key] = self.book.add_format(base | properties)
        return self.made[key]

    def heading(self, *, right: bool = False) -> Any:
        """A column's heading; numbers stand to the right, and so does what heads them."""
        return self.get(bold=True, font_color="#ffffff", bg_color=INK, text_wrap=True, **(_RIGHT if right else _LEFT))

    def text(self, **properties: Any) -> Any:
        """A text cell, a little away from the number before it."""
        return self.get(**(_LEFT | properties))

    def title(self) -> Any:
        """The first line of a tab."""
        return self.get(bold=True, font_size=16, **_LEFT)

    def quiet(self) -> Any:
        """A line of explanation."""
        return self.get(font_color=QUIET, **_LEFT)

    def amount(self, decimals: int, **properties: Any) -> Any:
        """A number with so many decimals; a negative one is red and keeps its sign."""
        shown = "#,##0" + ("." + "0" * decimals if decimals else "")
        return self.get(num_format=f"{shown};[Red]-{shown}", **properties)


@dataclass(frozen=True)
class WrittenSum:
    """Where a sum of a tab stands, for the formulas of the Summary."""

    sum: Sum
    live: str


@dataclass(frozen=True)
class WrittenTab:
    """A tab as it was written: its sums, and where each column's cells are ('Chargeback'!$R$9:$R$40)."""

    tab: Tab
    table: Table
    sums: tuple[WrittenSum, ...]
    ranges: dict[str, str]

    @property
    def checks(self) -> str:
        """Its check cells, which stand under each other: F4:F5."""
        column = xl_col_to_name(_CHECK)
        return f"{column}{_FIRST_SUM + 1}:{column}{_FIRST_SUM + len(self.sums)}"


def text_cell(sheet: Any, row: int, column: int, text: str, style: Any = None) -> None:
    """Text that stays text. XlsxWriter writes '<r>...</r>' unescaped, as rich text: a blank at the end prevents it."""
    is_markup = text.startswith("<r>") and text.endswith("</r>")
    sheet.write_string(row, column, f"{text} " if is_markup else text, style)


def decimals_of(text: str) -> int:
    """How many decimals a printed number has."""
    return len(text.partition(".")[2])


def page(sheet: Any, footer: str, *, repeat: int | None = None, landscape: bool = True, width: float = 0) -> None:
    """How a tab prints: A4, the heading on every page, month, version and hash at the foot.

    One page wide, or as many as `width`, the tab's in characters, needs to be read.
    """
    sheet.set_paper(_A4)
    if landscape:
        sheet.set_landscape()
    sheet.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
    sheet.fit_to_pages(max(1, math.ceil(width / _PAGE_WIDTH)), 0)
    sheet.hide_gridlines(2)
    sheet.set_footer(f"&L&8 {footer}&R&8 &A, page &P of &N")
    if repeat is not None:
        sheet.repeat_rows(repeat)


def colour_checks(sheet: Any, styles: Styles, first: int, last: int, column: int) -> None:
    """Green where a check ties, red where it does not."""
    for word, colour in ((TIES, GOOD), (BROKEN, BAD)):
        rule = {
            "type": "cell",
            "criteria": "==",
            "value": f'"{word}"',
            "format": styles.book.add_format({"bg_color": colour}),
        }
        sheet.conditional_format(first, column, last, column, rule)


def check_formula(left: str, right: str) -> str:
    """Says whether two cells are the same amount; half a cent is more than any double's error."""
    return f'=IF(ABS({left}-{right})<0.005,"{TIES}","{BROKEN}")'


def write_tab(book: Any, styles: Styles, tab: Tab, table: Table, sums: Sequence[Sum], footer: str) -> WrittenTab:
    """The tab of one file: title, sums, heading, rows. Frozen under the heading, with a filter on it."""
    sheet = book.add_worksheet(tab.name)
    shown = table.rows if len(table.rows) <= MOST_ROWS else ()
    text_cell(sheet, 0, 0, tab.name, styles.title())
    told = f"{tab.what}. {tab.file}, {len(table.rows):,} row{'' if len(table.rows) == 1 else 's'}"
    text_cell(
        sheet, 1, 0, told if shown or not table.rows else f"{told}: too many for a tab, see the file", styles.quiet()
    )
    head = _FIRST_SUM + len(sums) + 1 if sums else _FIRST_SUM
    first, last = head + 1, head + max(len(shown), 1)
    ranges = {
        name: f"'{tab.name}'!${xl_col_to_name(at)}${first + 1}:${xl_col_to_name(at)}${last + 1}"
        for at, name in enumerate(table.names)
    }
    written = _write_sums(sheet, styles, tab, table, sums, ranges, is_live=bool(shown) or not table.rows)
    width = 0.0
    for at, (name, kind) in enumerate(zip(table.names, table.kinds, strict=True)):
        text_cell(sheet, head, at, name, styles.heading(right=kind in {Cells.NUMBER, Cells.DIGITS}))
        least = _TOTALS_WIDTH if at < len(_HEAD) else _NARROWEST
        columns = _width(name, [row[at] for row in shown], least)
        sheet.set_column(at, at, columns)
        width += columns
    sheet.set_row(head, 30)
    writers = [_writer(kind, styles) for kind in table.kinds]
    for row, cells in enumerate(shown, first):
        for at, text in enumerate(cells):
            if text:
                writers[at](sheet, row, at, text)
    sheet.autofilter(head, 0, last, len(table.names) - 1)
    sheet.freeze_panes(head + 1, 0)
    page(sheet, footer, repeat=head, width=width)
    return WrittenTab(tab, table, tuple(written), ranges)


def _write_sums(
    sheet: Any, styles: Styles, tab: Tab, table: Table, sums: Sequence[Sum], ranges: dict[str, str], *, is_live: bool
) -> list[WrittenSum]:
    """The sums, as many rows as there are; where the rows are not shown, the stored total alone."""
    if not sums:
        return []
    for at, name in enumerate(_HEAD):
        side = _RIGHT if _LIVE <= at < _CHECK else _LEFT
        text_cell(sheet, _FIRST_SUM - 1, at, name, styles.get(bold=True, font_color=QUIET, bottom=1, **side))
    written = []
    for row, each in enumerate(sums, _FIRST_SUM):
        decimals = max(-int(each.stored.as_tuple().exponent), 0)
        style, value = styles.amount(decimals, bold=True), float(each.stored)
        text_cell(sheet, row, 0, each.total.column, styles.text(bold=True))
        text_cell(sheet, row, 1, each.currency, styles.text(bold=True))
        live, stored = xl_rowcol_to_cell(row, _LIVE), xl_rowcol_to_cell(row, _STORED)
        sheet.write_number(row, _STORED, value, style)
        if is_live:
            formula = _sum_formula(each, table, ranges, xl_rowcol_to_cell(row, 1, row_abs=True, col_abs=True))
            sheet.write_formula(row, _LIVE, formula, style, value)
            sheet.write_formula(row, _STORED + 1, f"=ROUND({live}-{stored},2)", styles.amount(2), 0)
            sheet.write_formula(row, _CHECK, check_formula(live, stored), styles.text(bold=True), TIES)
            written.append(WrittenSum(each, f"'{tab.name}'!{live}"))
    colour_checks(sheet, styles, _FIRST_SUM, _FIRST_SUM + len(sums) - 1, _CHECK)
    return written


def _sum_formula(each: Sum, table: Table, ranges: dict[str, str], currency: str) -> str:
    total = each.total
    amounts = ranges.get(total.column + NEAREST, ranges[total.column])
    conditions = [f'{ranges[name]},"{word}"' for name, word in total.only]
    conditions += [f'{ranges[name]},"<>{word}"' for name, word in total.but]
    if total.currency in table.names and len({row[table.at(total.currency)] for row in table.rows}) > 1:
        conditions.append(f"{ranges[total.currency]},{currency}")
    return f"=SUMIFS({amounts},{','.join(conditions)})" if conditions else f"=SUM({amounts})"


Writer = Callable[[Any, int, int, str], None]


def _writer(kind: Cells, styles: Styles) -> Writer:
    """What writes a column's cells."""

    def write_number(sheet: Any, row: int, at: int, text: str) -> None:
        # A column of nearest numbers is allowed to be near; in all others number() gave the decimal back.
        exact = number(text)
        sheet.write_number(row, at, float(text) if exact is None else exact, styles.amount(decimals_of(text)))

    def write_day(sheet: Any, row: int, at: int, text: str) -> None:
        day = dt.datetime.combine(dt.date.fromisoformat(text), dt.time())
        sheet.write_datetime(row, at, day, styles.text(num_format="yyyy-mm-dd"))

    def write_digits(sheet: Any, row: int, at: int, text: str) -> None:
        text_cell(sheet, row, at, text, styles.get(**_RIGHT))

    def write_text(sheet: Any, row: int, at: int, text: str) -> None:
        text_cell(sheet, row, at, text, styles.text())

    return {Cells.NUMBER: write_number, Cells.DAY: write_day, Cells.DIGITS: write_digits}.get(kind, write_text)


def _width(name: str, texts: Sequence[str], least: int) -> float:
    if name.endswith("_sha256"):
        return max(_HASH_WIDTH, least)
    longest = max((len(text) for text in texts), default=0)
    return max(min(max(longest + 2, len(name) + 4), _WIDEST), least)
