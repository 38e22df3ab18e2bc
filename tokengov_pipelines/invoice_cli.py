"""`tokengov invoice`: start an invoice file for a person to fill in, and check that filled-in ones add up.

Belongs here: arguments, files written for people, and what is printed. Does not belong here: the form and its checks
(`tokengov_pipelines.domain`), loading the folder into the lake (`resources.invoices`).
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from resources.invoice_files import InvoiceError, check_invoice_files, read_invoice_file
from tokengov_pipelines.console import complain, fail, month_of, say, show
from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.invoice import Duplicates, Invoice
from tokengov_pipelines.domain.invoice_template import invoice_template
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.problem import Problem
from tokengov_pipelines.settings import HOME_VARIABLE

app = typer.Typer(help="Enter and check provider invoices.", no_args_is_help=True)


class Form(StrEnum):
    """The two written forms of an invoice."""

    JSON = "json"
    CSV = "csv"


def _provider(text: str) -> str:
    try:
        return cells.provider(text)
    except cells.CellError as error:
        raise typer.BadParameter(str(error)) from error


def _default_folder() -> Path:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home).expanduser() / "invoices" if home else Path("invoices")


@app.command()
def new(
    provider: Annotated[str, typer.Argument(help="anthropic, openai, google, ...", parser=_provider)],
    month: Annotated[BillingMonth, typer.Argument(help="The month billed, YYYY-MM.", parser=month_of)],
    folder: Annotated[
        Path | None, typer.Option(help="Where to write. Default: $TOKENGOV_HOME/invoices, else ./invoices.")
    ] = None,
    form: Annotated[Form, typer.Option(help="The form to write.")] = Form.JSON,
) -> None:
    """Write an empty invoice with the lines the provider usually prints, for you to fill in."""
    path = (folder or _default_folder()) / f"{provider}-{month}.{form}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{path.parent} cannot be created ({error.strerror}). Fix: choose another --folder.")
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(invoice_template(provider, month, as_csv=form is Form.CSV))
    except FileExistsError:
        fail(f"{path} is already there and was left as it is. Fix: fill it in, or move it away first.")
    except OSError as error:
        fail(f"{path} cannot be written ({error.strerror}). Fix: choose another --folder.")
    say(f"Wrote {path}")
    say(f"Next: copy the printed invoice into it, then run: tokengov invoice check {path}")
    say("Until it is complete, the load refuses the whole folder, so that no half an invoice is booked.")


@app.command()
def check(files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Invoice files, or their URLs.")]) -> None:
    """Check that invoices are complete and add up; exit 1 with every problem, line by line, when one does not."""
    contents: dict[str, bytes] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            contents[file] = read_invoice_file(file)
        except InvoiceError as error:
            problems += error.problems
    checked = check_invoice_files(contents)
    problems += checked.problems
    for problem in problems:
        complain(str(problem))
    if problems:
        raise typer.Exit(1)
    _print_totals(checked)


def _print_totals(checked: Duplicates) -> None:
    table = Table(title="Invoices that add up")
    for heading in ("invoice", "provider", "period", "currency"):
        table.add_column(heading)
    for heading in ("lines", "charges", "credits", "tax", "total"):
        table.add_column(heading, justify="right")
    for invoice in checked.kept:
        table.add_row(*_cells(invoice))
    show(table)
    for copy in checked.ignored:
        say(f"{copy.source_file} repeats invoice {copy.invoice_id} and is ignored.")


def _cells(invoice: Invoice) -> list[str]:
    amounts = (invoice.lines_total, invoice.credits_total, invoice.tax_total, invoice.total)
    return [
        escape(invoice.invoice_id),
        invoice.provider,
        f"{invoice.period_start} to {invoice.period_last_day}",
        invoice.currency,
        str(len(invoice.lines)),
        *(f"{amount:,.2f}" for amount in amounts),
    ]
