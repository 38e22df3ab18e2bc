"""pack.xlsx: totals that live, numbers that are numbers, text that stays text, the same bytes everywhere."""

import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from tests.conftest import REPOSITORY
from tests.month_files import OCTOBER, SHA, charge, chargeback_file, control, october
from tests.spreadsheet import Book
from tokengov_pipelines.pack.workbook import workbook_xlsx
from tokengov_pipelines.pack.workbook_tabs import TABS, Cells, read_table
from tokengov_pipelines.pack.writer import Column, Kind, PackError, csv_bytes

PROGRAM = """
import hashlib
from tests.month_files import OCTOBER, SHA, control, october
from tokengov_pipelines.pack.workbook import workbook_xlsx
files = october()
made = workbook_xlsx(files, control(files), month=OCTOBER, version=1, status="closed", content_sha256=SHA)
print(hashlib.sha256(made).hexdigest())
"""


def made(files, totals=None, **given):
    words = {"month": OCTOBER, "version": 1, "status": "closed", "content_sha256": SHA} | given
    return workbook_xlsx(files, control(files) if totals is None else totals, **words)


@pytest.fixture(scope="module")
def book() -> Book:
    return Book(made(october()))


def test_a_tab_is_there_where_its_file_is(book):
    shown = ["Summary", "Chargeback", "Journal", "Reconciliation", "Recon items", "Cost per PR"]
    assert book.names == [*shown, "Control totals", "Sign-off"]
    later = made(october() | {"routing.csv": b"use_case,calls\nreview,12\n", "focus_1_2.csv": b"BilledCost\n1\n"})
    assert Book(later).names == [*shown, "Routing", "Control totals", "Sign-off"]


def test_a_month_without_charges_is_a_workbook(book):
    files = {"chargeback.csv": chargeback_file([])}
    empty = Book(made(files, control(files, ties=[], files=[])))
    assert empty.names == ["Summary", "Chargeback", "Control totals", "Sign-off"]
    assert empty.cells("Chargeback")["F4"][2] == "ties"


def test_a_total_is_a_live_sum_beside_the_stored_one(book):
    cells = book.cells("Chargeback")
    assert [cells[f"{column}4"] for column in "ABCDEF"] == [
        ("s", None, "amount"),
        ("s", None, "USD"),
        ("n", "SUM('Chargeback'!$R$8:$R$18)", "1428.09"),
        ("n", None, "1428.09"),
        ("n", "ROUND(C4-D4,2)", "0"),
        ("str", 'IF(ABS(C4-D4)<0.005,"ties","does not tie")', "ties"),
    ]
    assert cells["R8"] == ("n", None, "4.11")


def test_each_sum_counts_what_its_control_total_counts(book):
    assert book.cells("Recon items")["C4"][1:] == (
        "SUMIFS('Recon items'!$P$7:$P$10,'Recon items'!$R$7:$R$10,\"no\")",
        "58.25",
    )
    causes = book.cells("Reconciliation")["C4"]
    assert causes[1].count("<>") == 2
    assert causes[2] == "78.54"
    assert book.cells("Cost per PR")["C4"][2] == "1317.42"
    journal = book.cells("Journal")
    assert (journal["C4"][2], journal["C5"][2]) == ("928.08", "928.08")


def test_every_currency_has_its_own_sum():
    euros = {"currency": "EUR", "fx_rate": Decimal("1.0837"), "invoice_id": "EU-1", "provider": "openai"}
    charges = [charge("CC-100", "10.00"), charge("CC-100", "100.00", amount_functional=Decimal("108.37"), **euros)]
    files = {"chargeback.csv": chargeback_file(charges)}
    cells = Book(made(files, control(files, ties=[], files=[]))).cells("Chargeback")
    sums = [(cells[f"A{row}"][2], cells[f"B{row}"][2], cells[f"C{row}"][2]) for row in (4, 5, 6)]
    assert sums == [("amount", "EUR", "100.0"), ("amount", "USD", "10.0"), ("amount_functional", "USD", "118.37")]
    assert cells["C4"][1] == "SUMIFS('Chargeback'!$R$9:$R$10,'Chargeback'!$S$9:$S$10,$B$4)"


def test_the_columns_that_hold_numbers_are_declared(book):
    journal = book.cells("Journal")
    places = {text: place for place, (_, _, text) in journal.items()}
    assert journal[places["006100"]][0] == "s"  # an account is no number
    assert journal["C8"] == ("n", None, str((dt.date(2026, 10, 31) - dt.date(1899, 12, 30)).days))
    table = read_table(october()["chargeback.csv"])
    kinds = dict(zip(table.names, table.kinds, strict=True))
    assert {name for name, kind in kinds.items() if kind is Cells.NUMBER} >= {
        *("version", "quantity_tokens", "direct_logged_exact", "amount", "fx_rate", "amount_functional"),
        *("allocation_weight", "allocation_base", "pool_total"),
    }
    assert {kinds[name] for name in ("period", "provider", "invoice_id", "cost_center", "policy_sha256")} == {
        Cells.TEXT
    }


def test_an_exact_column_that_excel_cannot_hold_is_text_with_the_nearest_numbers_beside_it():
    amounts = ["1234567.123456789012", "0.000000000001"]
    columns = [Column("item_id"), Column("open_exact", Kind.DECIMAL, 12), Column("currency"), Column("is_error")]
    rows = [[str(number), Decimal(amount), "USD", "no"] for number, amount in enumerate(amounts)]
    files = {"chargeback.csv": chargeback_file([]), "recon_items.csv": csv_bytes(columns, rows, ["item_id"])}
    cells = Book(made(files, control(files, ties=[], files=[]))).cells("Recon items")
    assert (cells["B7"], cells["B8"]) == (("s", None, amounts[0]), ("s", None, amounts[1]))
    assert cells["C6"][2] == "open_exact (15 digits)"
    assert cells["C7"] == ("n", None, "1234567.123456789")
    assert cells["C4"][1] == "SUMIFS('Recon items'!$C$7:$C$8,'Recon items'!$E$7:$E$8,\"no\")"


def test_a_file_that_is_not_its_control_total_is_refused():
    files = october()
    totals = control(files, files=[{"file": "chargeback.csv", "sums": {"USD": "1428.10"}}])
    with pytest.raises(PackError, match=r"adds up to 1428\.09 USD in pack\.xlsx and to 1428\.10"):
        made(files, totals)


def test_the_summary_adds_up_the_chargeback_tab(book):
    rows = book.rows("Summary")
    start = rows.index(["cost center", "name", "amount", "share"])
    assert rows[start + 1][:3] == ["CC-100", "Commerce Engineering", "708.44"]
    assert [row[0] for row in rows[start + 1 : start + 7]] == ["CC-100", "CC-200", "CC-300", "CC-900", "CC-990", "Sum"]
    total = rows[start + 6]
    assert total == ["Sum", "1428.09", "ties"]
    assert ["Every total of this workbook against its control total", "ties"] in rows
    assert [f"content_sha256 {SHA}"] in rows


def test_the_ties_are_recalculated(book):
    rows = book.rows("Control totals")
    tied = ["invoice", "928.08", "chargeback", "928.08", "0", "ties"]
    assert ["invoice = sum of its lines", "anthropic, ANT-2026-10", "USD", *tied] in rows
    rolled = ["USD", "opening + new - cleared", "50.53", "closing", "50.53", "0", "ties"]
    assert ["suspense: opening + new - cleared = closing", *rolled] in rows


def test_signatures_are_listed_where_they_are_there_already():
    blank = Book(made(october())).rows("Sign-off")
    assert ["preparer"] in blank
    heads = "role,name,at,statement,content_sha256,manifest_sha256,signature,exceptions"
    signed = f"{heads}\npreparer,R. Diaz,2026-11-06,ok,a,b,c,\n".encode()
    assert ["preparer", "R. Diaz", "2026-11-06", "ok"] in Book(made(october() | {"signoff.csv": signed})).rows(
        "Sign-off"
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\uff1d1",
            "  =1",
            '=HYPERLINK("http://x.example","y")',
            "=cmd|' /C calc'!A0",
        ),
        *("https://x.example", "internal:Summary!A1", "12", "<r><t>rich</t></r>", "<b>", "_x0041_"),
    ],
)
def test_text_of_the_data_is_a_string_and_nothing_else(text):
    files = {"chargeback.csv": chargeback_file([charge(text, "1.00", cost_center_name=text)])}
    book = Book(made(files, control(files, ties=[], files=[])))
    shown = {cell for cell in book.cells("Chargeback").values() if cell[2].lstrip("'").rstrip() == text.rstrip()}
    assert {(kind, formula) for kind, formula, _ in shown} <= {("s", None)}
    assert len(shown) >= (0 if text == "_x0041_" else 1)
    formulas = [formula for tab in book.names for _, formula, _ in book.cells(tab).values() if formula]
    assert not [formula for formula in formulas if "cmd" in formula or "HYPERLINK" in formula or "x.example" in formula]
    assert not [name for name in book.archive.namelist() if "externalLink" in name]
    relations = [book.archive.read(name).decode() for name in book.archive.namelist() if name.endswith(".rels")]
    assert not [each for each in relations if "External" in each]


def test_the_bytes_are_the_same_in_any_process_home_zone_locale_and_hash_seed():
    def run(seed, **environment):
        variables = {"PYTHONPATH": str(REPOSITORY), "PATH": os.defpath, "PYTHONHASHSEED": seed, **environment}
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=True).stdout

    here = run("1", HOME="/nonexistent", TZ="UTC")
    assert len(here) == 65
    assert run("2", HOME="/", TZ="Asia/Tokyo", LC_ALL="tr_TR.UTF-8", FONTCONFIG_FILE="/dev/null") == here


def test_the_document_carries_the_months_own_date(book):
    core = book.archive.read("docProps/core.xml").decode()
    assert core.count("2026-10-31T00:00:00Z") == 2
    assert {each.date_time for each in book.archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_tab_has_a_name_that_excel_takes():
    assert all(len(tab.name) <= 31 and not set(tab.name) & set("[]:*?/\\'") for tab in TABS)
