"""`tokengov recon`: the waterfall of every invoice of a month, what is open, and how people settle it.

Belongs here: arguments, tables, exit codes. Does not belong here: the match (`domain.reconcile`), items and their rules
(`domain.reconciling_items`, `domain.resolutions`), the audit trail (`ledger.resolutions`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, MonthArgument, fail, opened_ledger, say, show
from tokengov_pipelines.domain.match_result import MatchMode
from tokengov_pipelines.domain.money import MoneyError, round_posting, usd
from tokengov_pipelines.domain.open_item import ReconcilingItem, aging
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.resolutions import ResolutionCode, apply_events
from tokengov_pipelines.settings import Installation

if TYPE_CHECKING:
    from resources.tables import Tables
    from tokengov_pipelines.ledger.ledger import Ledger

app = typer.Typer(help="Show reconciliations and settle their open items.", no_args_is_help=True)

ProviderOption = Annotated[str | None, typer.Option(help="Only this provider.")]
ByOption = Annotated[str, typer.Option(help="Who does it (e-mail).")]
ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="The item's id, as `recon items` shows it.")]

_STATUS_STYLES = {"matched": "green", "within_tolerance": "green", "investigate": "yellow"}
_MONTHLY = "fct_reconciliation_monthly"


def _amount(text: str) -> Decimal:
    try:
        return usd(text)
    except MoneyError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def _opened(home: Path | None) -> "Iterator[tuple[Installation, Tables, Ledger]]":
    """The installation, its tables and its ledger; what they refuse ends the command with their own words."""
    from resources.tables import MissingTableError, Tables

    with opened_ledger(home) as (installation, ledger):
        try:
            yield installation, Tables(root=str(installation.tables_dir)), ledger
        except MissingTableError as error:
            fail(f"{error} That is: tokengov prepare, for this month.")


@app.command("show")
def show_month(month: MonthArgument, provider: ProviderOption = None, home: HomeOption = None) -> None:
    """Show the waterfall of every invoice of a month, from the proxy's log to the invoice, in cents that add up."""
    from assets.open_items import read_items

    with _opened(home) as (_, tables, ledger):
        rows = tables.rows(_MONTHLY, [f"billing_month={month}"])
        items = apply_events(read_items(tables, month), ledger.items.events())
    chosen = [row for row in rows if provider in {None, row["provider"]}]
    if not chosen:
        say(f"{month} has no reconciliation{f' of {provider}' if provider else ''}.")
        return
    ordered = sorted(chosen, key=lambda row: (*_statement(row), row["state_no"]))
    for _, lines in groupby(ordered, key=_statement):
        _print_statement(list(lines), items)


@app.command("items")
def show_items(
    month: MonthArgument,
    provider: ProviderOption = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show explained and settled items, too.")] = False,
    home: HomeOption = None,
) -> None:
    """Show what is open of a month, with what earlier months left over, and its age."""
    from assets.open_items import ITEMS_TABLE
    from tokengov_pipelines.pack.reconciliation_rows import items_from_rows

    with _opened(home) as (installation, tables, ledger):
        found = items_from_rows(tables.rows(ITEMS_TABLE, [f"billing_month={month}"]))
        items = apply_events(found, ledger.items.events())
        today = installation.settings.today()
    chosen = [item for item in items if provider in {None, item.provider} and (show_all or item.is_open)]
    if not chosen:
        say(f"{month} has no {'' if show_all else 'open '}item{f' of {provider}' if provider else ''}.")
        return
    table = Table("item", title=f"Items of {month}, on {today}", title_justify="left")
    for heading in ("amount", "left", "age"):
        table.add_column(heading, justify="right")
    table.add_column("owner")
    table.add_column("status")
    for item in chosen:
        table.add_row(
            # The id stands on a line of its own: a narrow screen must not cut what is to be copied.
            Text.assemble((item.item_id, "bold"), f"\n{item.provider}: {item.cell}\n{item.what}"),
            f"{round_posting(item.amount):,.2f}",
            f"{round_posting(item.open_amount):,.2f}",
            f"{item.age_days(today)} d",
            Text(item.owner_on(today)),
            Text(item.status.replace("_", " "), style="yellow" if item.is_open else "green"),
        )
    show(table)
    ages = Table("age in days", "items", "of them errors", title="Open, by age", title_justify="left")
    for heading in ("net", "gross"):
        ages.add_column(heading, justify="right")
    ages.add_column("")
    for total in aging(chosen, today):
        amounts = (f"{round_posting(total.net):,.2f}", f"{round_posting(total.gross):,.2f}")
        ages.add_row(total.bucket, str(total.items), str(total.errors), *amounts, total.currency)
    if ages.row_count:
        show(ages)
        say("The amount of an error is inside another item or component and is not added.")


@app.command()
def resolve(
    item_id: ItemArgument,
    code: Annotated[ResolutionCode, typer.Option(help="What settles it.")],
    evidence: Annotated[str, typer.Option(help="Where that can be seen; goes into the audit trail.")],
    by: ByOption,
    approver: Annotated[str, typer.Option(help="Who agrees; another person (e-mail).")],
    amount: Annotated[
        Decimal | None, typer.Option(help="How much of it, with its sign. Default: all that is left.", parser=_amount)
    ] = None,
    home: HomeOption = None,
) -> None:
    """Settle an open item, with evidence and two names; it adds an adjusting line and changes no input."""
    from assets.month import controllers_of
    from resources.lake import Lake

    with _opened(home) as (installation, tables, ledger):
        item = _found(tables, item_id)
        lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
        resolution = ledger.items.resolve(
            item,
            code=code,
            amount=amount,
            evidence=evidence,
            by=by,
            approver=approver,
            controllers=controllers_of(lake, BillingMonth.of(installation.settings.today())),
            write_off_controller_usd=installation.policy.of_provider(item.provider).alerts.write_off_controller_usd,
        )
        (now,) = apply_events([item], ledger.items.events())
    say(f"{now.status.replace('_', ' ')}: {item_id}, adjusting line {_signed(-resolution.amount)} {item.currency}")
    if now.is_open:
        say(f"{round_posting(now.open_amount):,.2f} {item.currency} of it is still open.")
    say(f"Next: tokengov prepare {item.billing_month}")


@app.command()
def reopen(
    item_id: ItemArgument,
    by: ByOption,
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")],
    home: HomeOption = None,
) -> None:
    """Open an item again that was settled or explained; every resolution of it so far is taken back."""
    with _opened(home) as (_, tables, ledger):
        item = _found(tables, item_id)
        ledger.items.reopen(item, by=by, reason=reason)
    say(f"reopened: {item_id}, {round_posting(item.amount):,.2f} {item.currency} open")
    say(f"Next: tokengov prepare {item.billing_month}")


def _found(tables: "Tables", item_id: str) -> ReconcilingItem:
    from assets.open_items import find_item

    item = find_item(tables, item_id)
    if item is None:
        fail(f"there is no item {item_id}. Fix: tokengov recon items MONTH --all shows the ids of a month.")
    return item


def _statement(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["provider"], row["account"], row["invoice_id"] or "", str(row["period_start"])


def _print_statement(lines: Sequence[Mapping[str, Any]], items: Sequence[ReconcilingItem]) -> None:
    first = lines[0]
    invoice = first["invoice_id"] or "no invoice"
    title = f"{first['provider']} {invoice}, {first['period_start']} up to {first['period_end']}"
    table = Table("state", "", title=Text(title), title_justify="left")
    for heading in (first["currency"], "% of invoice", "open items"):
        table.add_column(heading, justify="right")
    for line in lines:
        is_end = line["component"] in {"logged", "invoice"}
        percent, open_items = line["pct_of_invoice"], line["items_open"]
        table.add_row(
            line["state"],
            line["component"].replace("_", " "),
            f"{line['amount']:,.2f}" if is_end else _signed(line["amount"]),
            "" if percent is None else f"{percent:,.4f}",
            str(open_items) if open_items else "",
            style="bold" if is_end or line["component"] == "unexplained" else None,
        )
    show(table)
    status = first["status"]
    words = [status.replace("_", " ")]
    if first["mode"] == MatchMode.TWO_WAY:
        words.append("two-way: there is no cost report")
    if first["invoice_id"]:
        words.append(f"tolerance {round_posting(first['tolerance']):,.2f}")
    say(Text(", ".join(words), style=_STATUS_STYLES.get(status, "red")))
    mine = [
        item for item in items if (item.provider, item.invoice_id or "") == (first["provider"], _statement(first)[2])
    ]
    for error in (item for item in mine if item.is_error and item.is_open):
        say(f"error {error.component.replace('_', ' ')}: {error.what}")
    say("")


def _signed(amount: Decimal) -> str:
    cents = round_posting(amount)
    return f"{cents:+,.2f}" if cents else "0.00"
