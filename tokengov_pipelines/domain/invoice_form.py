"""The written form of an invoice, `tokengov-invoice/1`: JSON, or a CSV of the same fields with one row a line.

Belongs here: bytes to `Invoice`, with every missing, unknown or unreadable field named. Does not belong here: whether
the invoice adds up (`invoice`), opening files (`resources.invoice_files`), the empty form (`invoice_template`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NoReturn

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.csv_rows import CsvRow, read_csv
from tokengov_pipelines.domain.invoice import FORM, KINDS, Invoice, InvoiceLine
from tokengov_pipelines.domain.problem import Problem

HELP: Final = "_help"
"""A header field that is never read: notes of the form to the person who fills it in."""

TOKEN_TYPES: Final = (
    "uncached_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "input",
    "cached_input",
)
"""Rule 4.1; OpenAI's audio_* types are taken as well."""

_LINE_NUMBER: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)


@dataclass(frozen=True)
class Field:
    """A field of the form and the reader of its text. A number may be written as JSON number or as text."""

    name: str
    read: Callable[[str], object] = cells.text
    optional: bool = False
    number: bool = False


def _line_number(value: str) -> int:
    if _LINE_NUMBER.fullmatch(value):
        return int(value)
    what = f"{cells.shown(value)} is not a line number"
    raise CellError(what, "number the lines 1, 2, 3 as printed")


def _token_type(value: str) -> str:
    return cells.text(value) if value.startswith("audio_") else cells.one_of(*TOKEN_TYPES)(value)


HEADER_FIELDS: Final = (
    Field("form", cells.one_of(FORM)),
    Field("provider", cells.provider),
    Field("account"),
    Field("invoice_id"),
    Field("invoice_date", cells.iso_date),
    Field("period_start", cells.iso_date),
    Field("period_last_day", cells.iso_date),
    Field("currency", cells.currency),
    Field("lines_total", cells.amount, number=True),
    Field("credits_total", cells.amount, number=True),
    Field("tax_total", cells.amount, number=True),
    Field("total", cells.amount, number=True),
)
LINE_FIELDS: Final = (
    Field("line_no", _line_number, number=True),
    Field("kind", cells.one_of(*KINDS)),
    Field("description", optional=True),
    Field("model", optional=True),
    Field("token_type", _token_type, optional=True),
    Field("service_tier", optional=True),
    Field("workspace", optional=True),
    Field("quantity", cells.amount, optional=True, number=True),
    Field("unit", optional=True),
    Field("unit_price_per_mtok", cells.amount, optional=True, number=True),
    Field("amount", cells.amount, number=True),
    Field("currency", cells.currency, optional=True),
    Field("original_invoice_id", optional=True),
)

CSV_LINE_COLUMNS: Final[Mapping[str, str]] = {
    ("line_currency" if field.name == "currency" else field.name): field.name for field in LINE_FIELDS
}
"""CSV column to line field: `currency` is the header's, so a line's own is in `line_currency`."""

CSV_COLUMNS: Final = (*(field.name for field in HEADER_FIELDS), *CSV_LINE_COLUMNS)
_REQUIRED: Final = frozenset(field.name for field in (*HEADER_FIELDS, *LINE_FIELDS) if not field.optional)

Parsed = tuple[Invoice | None, list[Problem]]


def parse_invoice(content: bytes, file: str) -> Parsed:
    """Read one file by its ending, .json or .csv; the invoice is None when there are problems."""
    return parse_csv(content, file) if file.lower().endswith(".csv") else parse_json(content, file)


def parse_json(content: bytes, file: str) -> Parsed:
    """Read the JSON form. Numbers are read as exact decimals (rule 1.2); text is better, and both are taken."""
    try:
        form: object = json.loads(
            content.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_each_key_once,
        )
    except UnicodeDecodeError as error:
        return None, [Problem(file, None, None, f"is not UTF-8 text (byte {error.start + 1})", "save it as UTF-8")]
    except json.JSONDecodeError as error:
        return None, [Problem(file, error.lineno, None, f"is not JSON: {error.msg}", "correct this line of the file")]
    except CellError as error:
        return None, [Problem(file, None, None, error.what, error.fix)]
    except RecursionError:
        return None, [Problem(file, None, None, "is nested too deeply", "start from `tokengov invoice new`")]
    if not isinstance(form, dict):
        return None, [Problem(file, None, None, "holds no invoice", "write one invoice a file, as one JSON object")]
    header = {name: value for name, value in form.items() if name not in {"lines", HELP}}
    lines = form.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        return None, [Problem(file, None, "lines", "there is no list of lines", 'write "lines": [ {...}, {...} ]')]
    return _build(file, header, lines, None)


def parse_csv(content: bytes, file: str) -> Parsed:
    """Read the CSV form: one row a line, the header fields repeated on each row."""
    table = read_csv(content, file)
    problems = list(table.problems)
    if table.header:
        missing = [name for name in CSV_COLUMNS if name not in table.header and name in _REQUIRED]
        unknown = [name for name in table.header if name not in CSV_COLUMNS]
        problems += [Problem(file, 1, name, "the column is missing", "add it") for name in missing]
        for name in unknown:
            fix = cells.did_you_mean(name, CSV_COLUMNS) or "delete the column, or correct its name"
            problems.append(Problem(file, 1, cells.shown(name), "the column is unknown", fix))
        problems += _unequal_headers(file, table.rows)
    if not problems and not table.rows:
        problems.append(Problem(file, None, None, "there is no row below the header", "write one row for each line"))
    if problems:
        return None, problems
    header = {field.name: table.rows[0].cells[field.name] for field in HEADER_FIELDS}
    lines = [
        {name: row.cells[column] for column, name in CSV_LINE_COLUMNS.items() if column in row.cells}
        for row in table.rows
    ]
    return _build(file, header, lines, [row.row for row in table.rows])


def _build(
    file: str,
    header: Mapping[str, object],
    lines: Sequence[Mapping[str, object]],
    rows: Sequence[int] | None,
) -> Parsed:
    header_text, problems = _read_fields(file, rows[0] if rows else None, "", HEADER_FIELDS, header)
    line_texts = []
    for position, line in enumerate(lines):
        row = rows[position] if rows else None
        prefix = "" if rows else f"line {_shown_number(line.get('line_no'), position)} "
        line_text, line_problems = _read_fields(file, row, prefix, LINE_FIELDS, line)
        problems += line_problems
        line_texts.append(line_text)
    return (None, problems) if problems else (_invoice(file, header_text, line_texts), [])


def _shown_number(written: object, position: int) -> str:
    """How a message names a line: by its number if it has one, else by its place in the list."""
    return str(written) if _LINE_NUMBER.fullmatch(str(written)) else f"at position {position + 1}"


def _read_fields(
    file: str, row: int | None, prefix: str, fields: Sequence[Field], written: Mapping[str, object]
) -> tuple[dict[str, str], list[Problem]]:
    """The text of every field, '' where an optional one is absent; each has been read once without an error."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for field in fields:
        try:
            texts[field.name] = _text(field, written)
            if texts[field.name]:
                field.read(texts[field.name])
        except CellError as error:
            problems.append(Problem(file, row, f"{prefix}{field.name}", error.what, error.fix))
    names = [field.name for field in fields]
    for name in written:
        if name not in names:
            fix = cells.did_you_mean(name, names) or f"remove it; the fields are {', '.join(names)}"
            problems.append(Problem(file, row, f"{prefix}{cells.shown(name)}", "the field is unknown", fix))
    return texts, problems


def _text(field: Field, written: Mapping[str, object]) -> str:
    value = written.get(field.name)
    if isinstance(value, Decimal) and field.number:
        return str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if value is not None and not isinstance(value, str):
        what = "is a number" if isinstance(value, Decimal) else "is neither text nor a number"
        raise CellError(what, "write it in quotation marks")
    if field.optional:
        return ""
    if field.name in written:
        what = "is empty"
        raise CellError(what, "fill it in, or delete the line" if field.name == "amount" else "fill it in")
    what = "is missing"
    raise CellError(what, "add it")


def _invoice(file: str, text: Mapping[str, str], lines: Sequence[Mapping[str, str]]) -> Invoice:
    return Invoice(
        source_file=file,
        provider=text["provider"],
        account=text["account"],
        invoice_id=text["invoice_id"],
        invoice_date=cells.iso_date(text["invoice_date"]),
        period_start=cells.iso_date(text["period_start"]),
        period_last_day=cells.iso_date(text["period_last_day"]),
        currency=text["currency"],
        lines=tuple(_line(line) for line in lines),
        lines_total=cells.amount(text["lines_total"]),
        credits_total=cells.amount(text["credits_total"]),
        tax_total=cells.amount(text["tax_total"]),
        total=cells.amount(text["total"]),
    )


def _line(text: Mapping[str, str]) -> InvoiceLine:
    quantity, price = text["quantity"], text["unit_price_per_mtok"]
    return InvoiceLine(
        line_no=_line_number(text["line_no"]),
        kind=text["kind"],
        amount=cells.amount(text["amount"]),
        description=text["description"] or None,
        model=text["model"] or None,
        token_type=text["token_type"] or None,
        service_tier=text["service_tier"] or None,
        workspace=text["workspace"] or None,
        quantity=cells.amount(quantity) if quantity else None,
        unit=text["unit"] or None,
        unit_price_per_mtok=cells.amount(price) if price else None,
        currency=text["currency"] or None,
        original_invoice_id=text["original_invoice_id"] or None,
    )


def _unequal_headers(file: str, rows: Sequence[CsvRow]) -> list[Problem]:
    problems = []
    for field in HEADER_FIELDS:
        for row in rows[1:]:
            first, here = rows[0].cells.get(field.name, ""), row.cells.get(field.name, "")
            if here != first:
                what = f"{cells.shown(here)} here and {cells.shown(first)} in row {rows[0].row}"
                fix = "write one invoice a file, with its header fields repeated on each row"
                problems.append(Problem(file, row.row, field.name, what, fix))
    return problems


def _each_key_once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        what = f"{cells.shown(next(name for name in names if names.count(name) > 1))} is there twice in one object"
        raise CellError(what, "delete one of the two")
    return content


def _no_constant(name: str) -> NoReturn:
    what = f"{name} is not an amount"
    raise CellError(what, "write digits with a decimal point")
