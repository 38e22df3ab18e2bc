"""The drop folder of invoices: files to one table, or every problem of every file."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import fsspec
import pytest

from resources.invoice_files import InvoiceError
from resources.invoices import INVOICES_SCHEMA, InvoiceFolder

INVOICE = {
    "form": "tokengov-invoice/1",
    "provider": "anthropic",
    "account": "acme-prod",
    "invoice_id": "ANT-2026-10",
    "invoice_date": "2026-11-02",
    "period_start": "2026-10-15",
    "period_last_day": "2026-11-14",
    "currency": "USD",
    "lines": [
        {"line_no": 2, "kind": "credit", "amount": "-0.50", "original_invoice_id": "ANT-2026-08"},
        {
            "line_no": 1,
            "kind": "usage",
            "description": "Claude Sonnet 4.6, output",
            "model": "claude-sonnet-4-6",
            "token_type": "output",
            "service_tier": "standard",
            "quantity": 123456,
            "unit": "tokens",
            "unit_price_per_mtok": 15.00,
            "amount": "1.85",
        },
    ],
    "lines_total": "1.85",
    "credits_total": "-0.5",
    "tax_total": "0",
    "total": "1.35",
}


def put(folder: Path, name: str, **changes) -> Path:
    path = folder / name
    path.write_text(json.dumps({**INVOICE, **changes}), encoding="utf-8")
    return path


def complaints(folder: Path, **settings) -> list[str]:
    with pytest.raises(InvoiceError) as caught:
        InvoiceFolder(url=str(folder), **settings).load()
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"{len(lines)} problem")
    return lines


def test_a_row_a_line_with_the_header_repeated(tmp_path):
    put(tmp_path, "a.json")
    load = InvoiceFolder(url=str(tmp_path)).load()
    assert load.table.schema == INVOICES_SCHEMA
    assert (len(load.invoices), load.ignored) == (1, [])
    usage, credit = load.table.to_pylist()
    assert usage == {
        "form": "tokengov-invoice/1",
        "provider": "anthropic",
        "account": "acme-prod",
        "invoice_id": "ANT-2026-10",
        "invoice_date": dt.date(2026, 11, 2),
        "period_start_date": dt.date(2026, 10, 15),
        "period_last_date": dt.date(2026, 11, 14),
        "period_end_date": dt.date(2026, 11, 15),
        "currency": "USD",
        "lines_total_amount": Decimal("1.85"),
        "credits_total_amount": Decimal("-0.50"),
        "tax_total_amount": Decimal("0.00"),
        "total_amount": Decimal("1.35"),
        "line_no": 1,
        "kind": "usage",
        "description": "Claude Sonnet 4.6, output",
        "model": "claude-sonnet-4-6",
        "token_type": "output",
        "service_tier": "standard",
        "workspace": None,
        "quantity": Decimal("123456.000000"),
        "unit": "tokens",
        "unit_price_per_mtok": "15.0",
        "line_amount": Decimal("1.85"),
        "original_invoice_id": None,
        "source_file": "a.json",
        "content_sha256": load.invoices[0].content_sha256(),
    }
    assert (credit["line_no"], credit["line_amount"], credit["original_invoice_id"]) == (
        2,
        Decimal("-0.50"),
        "ANT-2026-08",
    )


def test_no_amount_is_a_float():
    assert not [field.name for field in INVOICES_SCHEMA if str(field.type) in {"float", "double", "halffloat"}]


def test_the_table_does_not_depend_on_file_names_but_for_the_source(tmp_path):
    for order, names in (("first", ("a.json", "b.json")), ("second", ("z.json", "c.json"))):
        (tmp_path / order).mkdir()
        put(tmp_path / order, names[0])
        put(tmp_path / order, names[1], invoice_id="ANT-2026-11")
    first, second = (InvoiceFolder(url=str(tmp_path / order)).load().table for order in ("first", "second"))
    assert first.drop_columns(["source_file"]).equals(second.drop_columns(["source_file"]))
    assert first.column("invoice_id").to_pylist() == ["ANT-2026-10"] * 2 + ["ANT-2026-11"] * 2


def test_an_identical_copy_in_the_other_form_is_ignored(tmp_path):
    put(tmp_path, "b.json")
    header = {name: value for name, value in INVOICE.items() if name != "lines"}
    lines = [{**header, **line} for line in INVOICE["lines"]]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [",".join(f'"{line.get(name, "")}"' for name in columns) for line in lines]
    (tmp_path / "a.csv").write_text("\r\n".join([",".join(columns), *rows]), encoding="utf-8-sig")
    load = InvoiceFolder(url=str(tmp_path)).load()
    assert [invoice.source_file for invoice in load.invoices] == ["a.csv"]
    assert load.ignored == ["b.json"]
    assert load.table.num_rows == 2


def test_a_conflict_is_refused_with_both_files(tmp_path):
    put(tmp_path, "a.json")
    put(tmp_path, "b.json", account="other")
    (line,) = complaints(tmp_path)
    assert line.startswith(
        "b.json account: invoice ANT-2026-10 of anthropic is also in a.json with other content: "
        "acme-prod there, other here. Fix: keep the file that says what the provider sent"
    )


def test_every_problem_of_every_file_comes_at_once(tmp_path):
    put(tmp_path, "a.json", total="1.36")
    put(tmp_path, "b.json", invoice_date="soon")
    put(tmp_path, "c.json", invoice_id="ANT-3", colour="red")
    (tmp_path / "d.csv").write_text("x\n")
    lines = complaints(tmp_path)
    assert lines[0].startswith("a.json total: 1.36 is written")
    assert lines[1].startswith("b.json invoice_date: 'soon' is not a date.")
    assert lines[2].startswith("c.json 'colour': the field is unknown.")
    assert all(line.startswith("d.csv:1 ") for line in lines[3:])
    assert len(lines) > 4


def test_an_invoice_in_another_currency_is_loaded_as_it_is(tmp_path):
    """What it is worth in the books is asked of fx_rates.csv, when the month is charged (Rule 1.6)."""
    put(tmp_path, "a.json", currency="EUR")
    loaded = InvoiceFolder(url=str(tmp_path)).load().table
    assert loaded["currency"].to_pylist() == ["EUR", "EUR"]


def test_other_files_are_passed_over_and_an_empty_folder_is_no_invoice(tmp_path):
    (tmp_path / "ANT-2026-10.pdf").write_bytes(b"%PDF")
    (tmp_path / ".a.json.swp.json").write_text("x")
    (tmp_path / "~$a.csv").write_text("x")
    (tmp_path / "archive.json").mkdir()
    load = InvoiceFolder(url=str(tmp_path)).load()
    assert (load.table.num_rows, load.invoices, load.ignored) == (0, [], [])
    assert load.table.schema == INVOICES_SCHEMA


def test_a_folder_that_is_not_there_is_not_an_empty_one(tmp_path):
    (line,) = complaints(tmp_path / "nowhere")
    assert line.endswith("there is no such folder. Fix: create it, or correct its url.")


def test_a_store_that_does_not_answer_is_an_error_of_ours(monkeypatch):
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    (line,) = complaints("s3://key:hunter2secret@bucket/drop")
    assert "hunter2secret" not in line
    assert "cannot be read" in line


def test_any_file_system_will_do():
    fsspec.filesystem("memory").pipe("/drop/a.JSON", json.dumps(INVOICE).encode())
    assert InvoiceFolder(url="memory://drop").load().table.num_rows == 2


def test_the_example_of_the_documentation_loads(tmp_path):
    """docs/invoices.md shows one invoice in both forms."""
    page = (Path(__file__).parents[2] / "docs" / "invoices.md").read_text(encoding="utf-8")
    (tmp_path / "a.json").write_text(page.split("```json\n")[1].split("```")[0], encoding="utf-8")
    (tmp_path / "b.csv").write_text(page.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    load = InvoiceFolder(url=str(tmp_path)).load()
    assert (len(load.invoices), load.ignored) == (1, ["b.csv"])
