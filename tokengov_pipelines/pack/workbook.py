"""pack.xlsx: the month for people who work in a spreadsheet, with live totals beside the stored ones (rule 11.6).

Belongs here: the workbook as a whole, and its tabs that are no file: Summary, Control totals, Sign-off. Does not belong
here: the tabs of files (`workbook_tabs`, `workbook_sheet`) and the figures, which are the pack's own files read back.

The bytes depend on the files, month, version, status and hash alone: dates in the document are the month's, the parts
of the file carry no time. FOCUS is no tab: it is for programs. Signatures come after the workbook (rule 11.8), so the
tab Sign-off says what is signed and where the signatures are; it lists them where signoff.csv is already there.
"""

import datetime as dt
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import xlsxwriter  # type: ignore[import-untyped]

from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.read_back import functional_currency, rows_of
from tokengov_pipelines.pack.workbook_sheet import (
    BROKEN,
    LINE,
    TIES,
    Styles,
    WrittenTab,
    check_formula,
    colour_checks,
    decimals_of,
    page,
    text_cell,
    write_tab,
)
from tokengov_pipelines.pack.workbook_tabs import FUNCTIONAL, NEAREST, TABS, number, read_table, sums_of

PACK_XLSX = "pack.xlsx"

_OPTIONS: Final = {
    "in_memory": True,  # the parts of the file get a fixed time, and nothing touches the disk
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}
_GROUPS: Final = (("cost_center", "By cost center"), ("provider", "By provider"), ("charge_type", "By type of charge"))
_LABELS: Final = ("provider", "account", "invoice_id", "external_id", "legal_entity", "cost_center", "period", "file")
_PLAIN: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_WHAT_WIDTH, _LINE = 46, 15
_NUMBER_HEADS: Final = frozenset({"amount", "share", "rows", "difference", "sum", "items", "net", "gross", "errors"})
_ROLES: Final = ("preparer", "reviewer", "controller")


@dataclass
class _Cursor:
    """A sheet that is written from top to bottom."""

    sheet: Any
    styles: Styles
    row: int = 0

    def line(self, *texts: str, style: Any = None, down: int = 1) -> None:
        for at, text in enumerate(texts):
            if text:
                text_cell(self.sheet, self.row, at, text, style or self.styles.text())
        self.row += down

    def section(self, title: str, *heads: str) -> None:
        self.row += 1
        self.line(title, style=self.styles.text(bold=True, font_size=12))
        for at, name in enumerate(heads):
            text_cell(self.sheet, self.row, at, name, self.styles.heading(right=name in _NUMBER_HEADS))
        self.row += bool(heads)

    def amount(self, at: int, text: str, **properties: Any) -> str | None:
        """The amount as a number where Excel can hold it, else as its digits; the cell's name if it is a number."""
        value = number(text)
        if value is None:
            text_cell(self.sheet, self.row, at, text, self.styles.get(align="right", **properties))
            return None
        self.sheet.write_number(self.row, at, value, self.styles.amount(decimals_of(text), **properties))
        return f"{chr(ord('A') + at)}{self.row + 1}"


@dataclass(frozen=True)
class _Head:
    month: BillingMonth
    version: int
    status: str
    content_sha256: str
    functional: str

    @property
    def words(self) -> str:
        return f"{self.month}, version {self.version}, {self.status}"


def workbook_xlsx(
    files: Mapping[str, bytes],
    totals: Mapping[str, Any],
    *,
    month: BillingMonth,
    version: int,
    status: str,
    content_sha256: str,
) -> bytes:
    """The workbook of the pack's `files` (by name, as they are sealed) and of `totals`, the control totals.

    `status` is a word such as 'draft' or 'closed'. A file has its tab where it is there (`workbook_tabs.TABS`). Numbers
    are numbers only where Excel's 15 digits hold them, exact columns else are text. Raises `PackError` when a file does
    not add up to its stored total.
    """
    head = _Head(month, version, status, content_sha256, functional_currency(files, totals))
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, _OPTIONS)
    book.set_properties(
        {
            "title": f"AI cost {month}",
            "subject": head.words,
            "author": "tokengov-pipelines",
            "comments": f"content_sha256 {content_sha256}",
            "created": dt.datetime.combine(month.last_day, dt.time()),  # the pack's own, not the clock's
        }
    )
    book.set_size(2400, 1500)
    styles, footer = Styles(book), f"{head.words}, content {content_sha256[:16]}"
    summary = book.add_worksheet("Summary")
    tabs = []
    for tab in TABS:
        if tab.file in files:
            table = read_table(files[tab.file], tab.totals)
            sums = sums_of(tab, table, totals, head.functional)
            tabs.append(write_tab(book, styles, tab, table, sums, footer))
    checks = [(f"'{tab.tab.name}'!{tab.checks}", len(tab.sums)) for tab in tabs if tab.sums]
    checks.append(_control_totals(book.add_worksheet("Control totals"), styles, totals, footer))
    _sign_off(book.add_worksheet("Sign-off"), styles, head, rows_of(files, "signoff.csv"), footer)
    _summary(_Cursor(summary, styles), head, tabs, checks)
    page(summary, footer, landscape=False)
    summary.activate()
    book.close()
    return buffer.getvalue()


def _summary(to: _Cursor, head: _Head, tabs: Sequence[WrittenTab], checks: Sequence[tuple[str, int]]) -> None:
    styles = to.styles
    for at, width in enumerate((28, _WHAT_WIDTH, 18, 14, 16)):
        to.sheet.set_column(at, at, width)
    to.line(f"AI cost {head.month}", style=styles.title())
    to.line(f"Version {head.version}, {head.status}", style=styles.text(bold=True, font_size=12))
    to.line(f"content_sha256 {head.content_sha256}", style=styles.quiet(), down=2)
    to.line("Every total of this workbook against its control total")
    tied = "+".join(f'COUNTIF({cells},"{TIES}")' for cells, _ in checks)
    everything = f'=IF({tied}={sum(count for _, count in checks)},"{TIES}","{BROKEN}")'
    to.sheet.write_formula(to.row - 1, 2, everything, styles.text(bold=True), TIES)
    colour_checks(to.sheet, styles, to.row - 1, to.row - 1, 2)
    charged = next((tab for tab in tabs if tab.tab.file == "chargeback.csv"), None)
    if charged is not None:
        to.section("Charged", "sum of", "currency", "amount")
        for each in charged.sums:
            to.line(each.sum.total.column.replace("_", " "), each.sum.currency, down=0)
            places = max(-int(each.sum.stored.as_tuple().exponent), 0)
            to.sheet.write_formula(to.row, 2, f"={each.live}", styles.amount(places, bold=True), float(each.sum.stored))
            to.row += 1
        for column, title in _GROUPS:
            _group(to, charged, column, f"{title}, {head.functional}")
    to.section("Tabs", "tab", "what", "file", "rows")
    for tab in tabs:
        link = styles.text(font_color="#0b5cad", underline=1)
        to.sheet.write_url(to.row, 0, f"internal:'{tab.tab.name}'!A1", link, tab.tab.name)
        text_cell(to.sheet, to.row, 1, tab.tab.what, styles.text(text_wrap=True))
        text_cell(to.sheet, to.row, 2, tab.tab.file, styles.text())
        to.sheet.write_number(to.row, 3, len(tab.table.rows), styles.amount(0))
        to.sheet.set_row(to.row, _LINE * (1 + len(tab.tab.what) // _WHAT_WIDTH))
        to.row += 1


def _group(to: _Cursor, charged: WrittenTab, column: str, title: str) -> None:
    """Charges by one column, in the functional currency, the largest first; each a live sum over the tab."""
    table = charged.table
    rows = [dict(zip(table.names, row, strict=True)) for row in table.rows]
    amounts = charged.ranges.get(f"amount_functional{NEAREST}", charged.ranges["amount_functional"])
    total = next((each for each in charged.sums if each.sum.total.currency == FUNCTIONAL), None)
    if not rows or total is None:
        return
    by_word: dict[str, Decimal] = {}
    names = {row[column]: row["cost_center_name"] if column == "cost_center" else "" for row in rows}
    for word in sorted(names):
        by_word[word] = exact_sum(Decimal(row["amount_functional"]) for row in rows if row[column] == word)
    to.section(title, column.replace("_", " "), "name" if column == "cost_center" else " ", "amount", "share")
    first = to.row
    places = max(-int(amount.as_tuple().exponent) for amount in by_word.values())
    for word in sorted(by_word, key=lambda each: (-by_word[each], each)):
        to.line(word, names[word], down=0)
        # EXACT, not SUMIFS: a code may begin with a sign of comparison or hold a wildcard.
        formula = f"=SUMPRODUCT(--EXACT({charged.ranges[column]},A{to.row + 1}),{amounts})"
        to.sheet.write_formula(to.row, 2, formula, to.styles.amount(places), float(by_word[word]))
        share = float(by_word[word] / total.sum.stored) if total.sum.stored else 0.0
        formula = f"=IF({total.live}=0,0,C{to.row + 1}/{total.live})"
        to.sheet.write_formula(to.row, 3, formula, to.styles.get(num_format="0.0%"), share)
        to.row += 1
    edge = {"bold": True, "top": 1, "top_color": LINE}
    text_cell(to.sheet, to.row, 0, "Sum", to.styles.text(**edge))
    to.sheet.write_blank(to.row, 1, None, to.styles.text(**edge))
    bold = to.styles.amount(places, **edge)
    to.sheet.write_formula(to.row, 2, f"=SUM(C{first + 1}:C{to.row})", bold, float(total.sum.stored))
    check = check_formula(f"C{to.row + 1}", total.live)
    to.sheet.write_formula(to.row, 3, check, to.styles.text(**edge), TIES)
    colour_checks(to.sheet, to.styles, to.row, to.row, 3)
    to.row += 1


def _control_totals(sheet: Any, styles: Styles, totals: Mapping[str, Any], footer: str) -> tuple[str, int]:
    """control_totals.json as a tab; returns where its check cells are, and how many."""
    to, checks = _Cursor(sheet, styles), 0
    for at, width in enumerate((44, 34, 10, 26, 20, 26, 20, 14, 12)):
        sheet.set_column(at, at, width)
    to.line("Control totals", style=styles.title())
    to.line("What went in, what came out, and the ties between them: control_totals.json", style=styles.quiet())
    heads = ("tie", "of", "currency", "left", "amount", "right", "amount", "difference", "check")
    to.section("Ties", *heads)
    first = to.row
    for tie in totals.get("ties", []):
        of = ", ".join(str(tie[label]) for label in _LABELS if tie.get(label))
        amounts = _amounts(tie)
        for name, amount in amounts[1:]:
            first_name, first_amount = amounts[0]
            to.line(str(tie["tie"]), of, str(tie.get("currency", "")), first_name, "", name, down=0)
            left, right = to.amount(4, first_amount), to.amount(6, amount)
            word = TIES if Decimal(first_amount) == Decimal(amount) else BROKEN
            if left and right:
                sheet.write_formula(to.row, 7, f"=ROUND({left}-{right},2)", styles.amount(2), 0)
                sheet.write_formula(to.row, 8, check_formula(left, right), styles.text(bold=True), word)
            else:
                text_cell(sheet, to.row, 8, word, styles.text(bold=True))
            checks += 1
            to.row += 1
    cells = f"'Control totals'!I{first + 1}:I{max(to.row, first + 1)}"
    colour_checks(sheet, styles, first, max(to.row, first + 1), 8)
    to.section("Files", "file", "sums", "rows", "sha256")
    for each in totals.get("files", []):
        shown = "; ".join(f"{amount} {currency}" for currency, amount in each.get("sums", {}).items())
        to.line(str(each["file"]), shown, "", str(each.get("sha256", "")), down=0)
        if "rows" in each:
            to.amount(2, str(each["rows"]))
        to.row += 1
    to.section("Sources", "source", "days", "rows", "currency", "sum")
    for each in totals.get("sources", []):
        days = f"{each['min_date']} to {each['max_date']}" if each.get("min_date") else "no rows"
        to.line(str(each["source"]), days, "", str(each["currency"]), down=0)
        to.amount(2, str(each["rows"]))
        to.amount(4, str(each["sum"]))
        to.row += 1
    _open_points(to, totals)
    page(sheet, footer)
    return cells, checks


def _amounts(tie: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The amounts of a tie, all of which are equal; what rolls forward is one amount against its closing one."""
    found = {
        key: str(text)
        for key, text in tie.items()
        if key not in {"tie", "currency", *_LABELS} and _PLAIN.fullmatch(str(text))
    }
    if found.keys() >= {"opening", "new", "cleared", "closing"}:
        rolled = exact_sum([Decimal(found["opening"]), Decimal(found["new"]), -Decimal(found["cleared"])])
        return [("opening + new - cleared", f"{rolled:f}"), ("closing", found["closing"])]
    return list(found.items())


def _open_points(to: _Cursor, totals: Mapping[str, Any]) -> None:
    """What was not charged, not reconciled, and is open, where the control totals speak of it."""
    if totals.get("not_charged"):
        to.section("Not charged", "provider", "what", "", "fix")
        for each in totals["not_charged"]:
            to.line(str(each["provider"]), str(each["what"]), "", str(each["fix"]))
    if totals.get("not_reconciled"):
        to.section("Not reconciled", "provider", "invoice")
        for each in totals["not_reconciled"]:
            to.line(str(each["provider"]), str(each["invoice_id"]))
    if totals.get("open_items"):
        to.section(
            "Open items by age", "age in days", "as of", "currency", "items", "net", "errors among them", "gross"
        )
        for each in totals["open_items"]:
            to.line(str(each["age_days"]), str(each["as_of"]), str(each["currency"]), down=0)
            for at, key in ((3, "items"), (4, "net"), (5, "errors"), (6, "gross")):
                to.amount(at, str(each[key]))
            to.row += 1


def _sign_off(sheet: Any, styles: Styles, head: _Head, signed: Sequence[Mapping[str, str]], footer: str) -> None:
    to = _Cursor(sheet, styles)
    for at, width in enumerate((18, 30, 24, 50, 30)):
        sheet.set_column(at, at, width)
    to.line("Sign-off", style=styles.title())
    to.line(
        "Who signs, signs this hash: it names every data file of the pack and its inputs", style=styles.quiet(), down=2
    )
    facts = (("month", str(head.month)), ("version", str(head.version)), ("status", head.status))
    for name, value in (*facts, ("content_sha256", head.content_sha256)):
        text_cell(sheet, to.row, 0, name, styles.text(bold=True))
        text_cell(sheet, to.row, 1, value, styles.text())
        to.row += 1
    to.row += 1
    if signed:
        names = [name for name in ("role", "name", "at", "statement", "exceptions") if name in signed[0]]
        to.line(*names, style=styles.heading())
        for each in signed:
            to.line(*(each[name] for name in names))
    else:
        to.line("role", "name", "date", "statement", "exceptions", style=styles.heading())
        for role in _ROLES:
            to.line(role, "", "", "", "", style=styles.text(bottom=1, bottom_color=LINE))
    to.row += 1
    to.line(
        "The signatures that count are in signoff.csv beside this workbook; `tokengov verify` checks them.",
        style=styles.quiet(),
    )
    page(sheet, footer)
