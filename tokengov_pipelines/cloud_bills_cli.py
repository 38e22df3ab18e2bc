"""`tokengov cloud-bill`: what would be read of a cloud's bill, before it is put into the drop folder.

Belongs here: arguments and what is printed. Does not belong here: reading a bill (`resources.cloud_bill_files`),
loading the folder into the lake (`resources.cloud_bills`).
"""

from collections import defaultdict
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from resources.cloud_bill_files import BillFile, Bucket, read_bill_file
from resources.cloud_bills import CloudBillError, local_copy
from tokengov_pipelines.console import complain, say, show
from tokengov_pipelines.domain.cloud_legs import principal_usage
from tokengov_pipelines.domain.money import exact_sum

app = typer.Typer(help="Check the bills of AWS, Google and Azure.", no_args_is_help=True)

_MOST_METERS = 20


@app.callback()
def cloud_bill() -> None:
    """Bills of AWS, Google and Azure, as their exports write them."""


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="CSV, CSV.GZ or Parquet files, or their URLs.")],
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Tokens in a unit that does not say: UNIT=TOKENS, such as Units=1000000.", metavar="UNIT=N"),
    ] = None,
) -> None:
    """Say what would be read of each file, and every problem; exit 1 when a file or a row cannot be read."""
    units = dict(map(_unit, unit or []))
    failed = False
    for name in files:
        try:
            with local_copy(name) as path:
                bill = read_bill_file(path, name, "check", units)
        except (CloudBillError, FileNotFoundError) as error:
            message = (
                str(error) if isinstance(error, CloudBillError) else f"{name}: there is no such file. Fix: check it."
            )
            complain(message)
            failed = True
            continue
        failed = _print(bill) or failed
    if failed:
        raise typer.Exit(1)


def _unit(text: str) -> tuple[str, int]:
    name, equals, tokens = text.rpartition("=")
    if not (name and equals and tokens.isascii() and tokens.isdigit() and int(tokens)):
        message = f"{text!r} is not UNIT=TOKENS. Write for example Units=1000000."
        raise typer.BadParameter(message)
    return name.lower(), int(tokens)


def _print(bill: BillFile) -> bool:
    """Print what a file holds; true when something of it cannot be read."""
    if bill.problem is not None:
        complain(str(bill.problem))
        return True
    say(f"{bill.name}: {bill.form.version if bill.form else ''}, {bill.rows} rows")
    table = Table()
    for heading in ("period", "what"):
        table.add_column(heading)
    table.add_column("rows", justify="right")
    table.add_column("cost", justify="right")
    for total in bill.totals:
        cost = f"{total.amount:f} {total.currency or '?'}"
        table.add_row(total.billing_period or "?", escape(total.bucket.replace("_", " ")), str(total.rows), cost)
    for (period, currency), amounts in _whole(bill).items():
        table.add_row(period, "the whole file", "", f"{exact_sum(amounts):f} {currency}", style="bold")
    show(table)
    _print_unread(bill)
    if bill.form is not None and bill.form.is_cur and not bill.form.has_principal_column:
        say("The callers are not in this export: bypass of Bedrock is told by account alone.")
        say("Fix: switch on IAM principal data in the export (column line_item_iam_principal).")
    quarantined = [total for total in bill.totals if total.bucket is Bucket.QUARANTINED]
    for total in quarantined:
        what = f"{total.rows} rows are quarantined ({total.reason}), the first is record {total.record_no}"
        complain(f"{bill.name}: {what}. Fix: correct it at the source and export again.")
    return bool(quarantined)


def _whole(bill: BillFile) -> dict[tuple[str, str], list[Decimal]]:
    whole: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for total in bill.totals:
        whole[total.billing_period or "?", total.currency or "?"].append(total.amount)
    return dict(sorted(whole.items()))


def _print_unread(bill: BillFile) -> None:
    """Usage whose tokens the bill does not say, by meter and unit, the dearest first."""
    amounts: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    currencies = {charge.currency for charge in bill.charges}
    for currency in sorted(currencies):
        for charge in principal_usage(bill.charges, currency).without_tokens:
            amounts[charge.sku_meter or "?", charge.unit or "no unit", currency].append(charge.billed_amount)
    if not amounts:
        return
    table = Table(title="AI usage without a token count: kept with its cost")
    for heading in ("meter", "unit"):
        table.add_column(heading)
    table.add_column("cost", justify="right")
    ranked = sorted(amounts.items(), key=lambda item: (-abs(exact_sum(item[1])), item[0]))
    for (meter, unit, currency), found in ranked[:_MOST_METERS]:
        table.add_row(escape(meter), escape(unit), f"{exact_sum(found):f} {currency}")
    show(table)
    if len(ranked) > _MOST_METERS:
        say(f"... and {len(ranked) - _MOST_METERS} more meters")
