"""The drop folder of provider invoices: no provider has an invoice API, so people put JSON or CSV files there.

Belongs here: the folder as a resource, and the Arrow form of its invoices. Does not belong here: reading and checking a
file (`resources.invoice_files`, `tokengov_pipelines.domain.invoice`), storing the result (`resources.lake`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import dagster as dg
import pyarrow as pa

from resources.invoice_files import InvoiceError, check_invoice_files, read_invoice_folder
from tokengov_pipelines.domain.invoice import FORM, QUANTITY_SCALE, Invoice, InvoiceLine
from tokengov_pipelines.domain.money import round_posting

_AMOUNT: Final = pa.decimal128(18, 2)

_COLUMNS: Final[list[tuple[str, pa.DataType]]] = [
    ("form", pa.string()),
    ("provider", pa.string()),
    ("account", pa.string()),
    ("invoice_id", pa.string()),
    ("invoice_date", pa.date32()),
    ("period_start_date", pa.date32()),
    ("period_last_date", pa.date32()),  # inclusive, as printed
    ("period_end_date", pa.date32()),  # exclusive: the day after (rule 2.2)
    ("currency", pa.string()),
    ("lines_total_amount", _AMOUNT),
    ("credits_total_amount", _AMOUNT),
    ("tax_total_amount", _AMOUNT),
    ("total_amount", _AMOUNT),
    ("line_no", pa.int64()),
    ("kind", pa.string()),
    ("description", pa.string()),
    ("model", pa.string()),
    ("token_type", pa.string()),
    ("service_tier", pa.string()),
    ("workspace", pa.string()),
    ("quantity", pa.decimal128(38, QUANTITY_SCALE)),
    ("unit", pa.string()),
    ("unit_price_per_mtok", pa.string()),
    ("line_amount", _AMOUNT),
    ("original_invoice_id", pa.string()),
    ("source_file", pa.string()),
    ("content_sha256", pa.string()),
]

INVOICES_SCHEMA: Final = pa.schema(_COLUMNS)
"""One row a line with the header's fields repeated; ordered by provider, invoice_id, line_no."""


@dataclass(frozen=True)
class InvoiceLoad:
    """The table, the invoices in it, and the names of the files that repeat one of them."""

    table: pa.Table
    invoices: list[Invoice]
    ignored: list[str]


class InvoiceFolder(dg.ConfigurableResource):
    """The folder with a .json or .csv file for each invoice; see docs/invoices.md."""

    url: str

    def load(self) -> InvoiceLoad:
        """Read and check every invoice of the folder.

        Raises:
            InvoiceError: with every problem of every file, not only the first; then nothing is loaded.
        """
        checked = check_invoice_files(read_invoice_folder(self.url))
        if checked.problems:
            raise InvoiceError(self.url, checked.problems)
        ignored = [invoice.source_file for invoice in checked.ignored]
        return InvoiceLoad(_to_arrow(checked.kept), list(checked.kept), sorted(ignored))


def _to_arrow(invoices: Iterable[Invoice]) -> pa.Table:
    rows = [row for invoice in invoices for row in invoice_rows(invoice)]
    return pa.Table.from_pylist(rows, schema=INVOICES_SCHEMA)


def invoice_rows(invoice: Invoice) -> list[dict[str, Any]]:
    """An invoice as rows of `INVOICES_SCHEMA`, one a line."""
    header = {
        "form": FORM,
        "provider": invoice.provider,
        "account": invoice.account,
        "invoice_id": invoice.invoice_id,
        "invoice_date": invoice.invoice_date,
        "period_start_date": invoice.period.start,
        "period_last_date": invoice.period.last_day,
        "period_end_date": invoice.period.end,
        "currency": invoice.currency,
        "lines_total_amount": round_posting(invoice.lines_total),
        "credits_total_amount": round_posting(invoice.credits_total),
        "tax_total_amount": round_posting(invoice.tax_total),
        "total_amount": round_posting(invoice.total),
        "source_file": invoice.source_file,
        "content_sha256": invoice.content_sha256(),
    }
    return [
        {
            **header,
            "line_no": line.line_no,
            "kind": line.kind,
            "description": line.description,
            "model": line.model,
            "token_type": line.token_type,
            "service_tier": line.service_tier,
            "workspace": line.workspace,
            "quantity": None if line.quantity is None else round_posting(line.quantity, QUANTITY_SCALE),
            "unit": line.unit,
            "unit_price_per_mtok": None if line.unit_price_per_mtok is None else format(line.unit_price_per_mtok, "f"),
            "line_amount": round_posting(line.amount),
            "original_invoice_id": line.original_invoice_id,
        }
        for line in sorted(invoice.lines, key=lambda line: line.line_no)
    ]


def invoices_of(table: pa.Table) -> list[Invoice]:
    """The invoices of a table of `INVOICES_SCHEMA`, as they were loaded; ordered by provider and invoice_id."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault((row["provider"], row["invoice_id"]), []).append(row)
    return [_invoice(rows) for _, rows in sorted(found.items())]


def _invoice(rows: list[dict[str, Any]]) -> Invoice:
    header = rows[0]
    return Invoice(
        source_file=header["source_file"],
        provider=header["provider"],
        account=header["account"],
        invoice_id=header["invoice_id"],
        invoice_date=header["invoice_date"],
        period_start=header["period_start_date"],
        period_last_day=header["period_last_date"],
        currency=header["currency"],
        lines=tuple(_line(row) for row in sorted(rows, key=lambda row: row["line_no"])),
        lines_total=header["lines_total_amount"],
        credits_total=header["credits_total_amount"],
        tax_total=header["tax_total_amount"],
        total=header["total_amount"],
    )


def _line(row: dict[str, Any]) -> InvoiceLine:
    price = row["unit_price_per_mtok"]
    return InvoiceLine(
        line_no=row["line_no"],
        kind=row["kind"],
        amount=row["line_amount"],
        description=row["description"],
        model=row["model"],
        token_type=row["token_type"],
        service_tier=row["service_tier"],
        workspace=row["workspace"],
        quantity=row["quantity"],
        unit=row["unit"],
        unit_price_per_mtok=Decimal(price) if price else None,
        original_invoice_id=row["original_invoice_id"],
    )
