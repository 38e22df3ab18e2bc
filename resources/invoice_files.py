"""Invoice files, read and checked: one file, or a folder of them with duplicates told apart.

Belongs here: what `tokengov invoice check` and the asset share. Does not belong here: the form (`domain.invoice_form`),
the checks (`domain.invoice`), the Arrow table (`resources.invoices`).
"""

from collections.abc import Mapping, Sequence

from resources.drop_folder import FolderError, read_file, read_folder, without_password
from tokengov_pipelines.domain.invoice import Duplicates, Invoice, check_invoice, classify_duplicates
from tokengov_pipelines.domain.invoice_form import parse_invoice
from tokengov_pipelines.domain.problem import Problem, in_reading_order

ENDINGS = (".json", ".csv")


class InvoiceError(RuntimeError):
    """Invoices that cannot be booked. The text lists every problem with its file, field or line, and the fix."""

    def __init__(self, place: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the invoices of {without_password(place)}:", *map(str, problems)]))


def read_invoice_folder(url: str) -> dict[str, bytes]:
    """The invoice files of a folder by name; `InvoiceError` where it cannot be read."""
    try:
        return read_folder(url, ENDINGS)
    except FolderError as error:
        raise InvoiceError(url, [Problem(error.place, None, None, error.what, error.fix)]) from error


def read_invoice_file(url: str) -> bytes:
    """One invoice file; `InvoiceError` where it cannot be read or is neither JSON nor CSV."""
    if not url.lower().endswith(ENDINGS):
        what = f"an invoice is a file ending in {' or '.join(ENDINGS)}"
        raise InvoiceError(url, [Problem(url, None, None, what, "enter it in the form: `tokengov invoice new`")])
    try:
        return read_file(url)
    except FolderError as error:
        raise InvoiceError(url, [Problem(error.place, None, None, error.what, error.fix)]) from error


def check_invoice_files(files: Mapping[str, bytes]) -> Duplicates:
    """Read and check every file, then tell duplicates apart; `problems` holds those of all three steps."""
    invoices: list[Invoice] = []
    problems: list[Problem] = []
    for name, content in files.items():
        invoice, found = parse_invoice(content, name)
        if invoice is not None:
            found = check_invoice(invoice)
            invoices.append(invoice)
        problems += found
    duplicates = classify_duplicates(invoices)
    return Duplicates(duplicates.kept, duplicates.ignored, tuple(in_reading_order([*problems, *duplicates.problems])))
