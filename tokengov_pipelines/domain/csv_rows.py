"""CSV as people save it: bytes to named cells, with every irregularity reported.

Belongs here: encoding, delimiter, header, blank lines and ragged rows. Does not belong here: what a column means
(`directory`, `invoice_form`), opening files (`resources`), writing CSV (`pack`).
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from tokengov_pipelines.domain.problem import Problem


@dataclass(frozen=True)
class CsvRow:
    """One record: the line it starts on (the header is line 1) and its cells, stripped of surrounding blanks."""

    row: int
    cells: dict[str, str]


@dataclass(frozen=True)
class CsvContent:
    """The header, the regular rows, the ragged ones as far as their cells go, and the problems."""

    header: tuple[str, ...]
    rows: tuple[CsvRow, ...]
    ragged: tuple[CsvRow, ...]
    problems: tuple[Problem, ...]


def read_csv(content: bytes, file: str) -> CsvContent:
    """Parse a comma-separated UTF-8 file; a byte order mark and blank lines are passed over (Excel writes both).

    Any problem of the file as a whole (encoding, delimiter, repeated or empty column names) leaves `rows` empty.
    """
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start + 1})"
        return _refused(file, None, None, what, "save it as 'CSV UTF-8 (comma delimited)'")
    numbered = _numbered_records(decoded)
    try:
        first = next(numbered, None)
        if first is None:
            return _refused(file, None, None, "is empty", "write the header row")
        header_row, names = first
        header = tuple(name.strip() for name in names)
        if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
            what = "the columns are separated by semicolons or tabs"
            return _refused(file, header_row, None, what, "save it with commas ('CSV UTF-8 (comma delimited)')")
        for position, name in enumerate(header, start=1):
            if not name:
                what = f"column {position} has no name"
                return _refused(file, header_row, None, what, "name it or delete the column")
            if name in header[: position - 1]:
                return _refused(file, header_row, name, "the column is there twice", "delete one of the two")
        rows: list[CsvRow] = []
        ragged: list[CsvRow] = []
        problems: list[Problem] = []
        for row, cells in numbered:
            record = CsvRow(row, {name: cell.strip() for name, cell in zip(header, cells, strict=False)})
            if len(cells) == len(header):
                rows.append(record)
            else:
                ragged.append(record)
                what = f"the row has {len(cells)} cells and the header has {len(header)}"
                fix = "add the missing commas, or quote a cell that contains a comma"
                problems.append(Problem(file, row, None, what, fix))
    except csv.Error as error:
        return _refused(file, None, None, f"is not CSV ({error})", "look for an unclosed quotation mark")
    return CsvContent(header, tuple(rows), tuple(ragged), tuple(problems))


def _numbered_records(decoded: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    start = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1  # a quoted cell may span lines: the record is known by its first


def _refused(file: str, row: int | None, field: str | None, what: str, fix: str) -> CsvContent:
    return CsvContent((), (), (), (Problem(file, row, field, what, fix),))
