"""`tokengov prices`: what a model costs, whether the price files are sound, what changed, and who agrees to it.

Belongs here: arguments, tables, exit codes. Does not belong here: the book (`domain.pricing`), reading its files
(`resources.price_book`), what counts as a change or an approval (`domain.price_review`).
"""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, fail, opened_ledger, refusals, say, show
from tokengov_pipelines.domain.price_review import (
    APPROVE_COMMAND,
    BookChange,
    PriceApprovalError,
    agreed_sha256,
    diff_books,
    summary,
)
from tokengov_pipelines.domain.pricing import PRICED_UNITS, PriceRow
from tokengov_pipelines.settings import Installation, load_installation

if TYPE_CHECKING:
    from resources.price_book import PriceBookLoad
    from tokengov_pipelines.ledger.ledger import Ledger

app = typer.Typer(help="Show, check and approve the price book.", no_args_is_help=True)

_TIERS: Final = ("standard", "batch", "flex", "priority", "fast")
_ALWAYS: Final = dt.date(1900, 1, 1)


@app.command("show")
def show_prices(
    provider: Annotated[str, typer.Argument(help="anthropic, openai, google, ...")],
    model: Annotated[str, typer.Argument(help="The model, by any name under which it is logged.")],
    day: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="UTC day. Default: today.", show_default=False)
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show every price of a model on a day, and where it comes from; exit 1 when it has none."""
    with refusals(*_refused()):
        installation = load_installation(home)
        book = _load(installation).book
        on = day.date() if day else installation.settings.today()
    priced = book.model_of(provider, model)
    if priced is None:
        fail(f"no alias says which model {provider} {model} is. Fix: add the name to prices/model_aliases.csv.")
    cells = [rows for cell, rows in book.prices.items() if cell[:2] == (provider, priced)]
    valid = [row for rows in cells for row in rows if row.valid.valid_on(on)]
    if not valid:
        fail(f"{provider} {priced} has no price on {on}. Fix: add it to prices/contract_prices.csv.")
    table = Table("tier", "token type", "context", "USD per million", "valid", "basis", "source")
    table.title, table.title_justify = f"{provider} {priced} on {on}", "left"
    for row in sorted(valid, key=_reading_order):
        price = f"{row.usd_per_mtok.normalize():f}"
        cells_of_row = (row.service_tier, row.token_type, row.context_band, price, _days(row), row.basis, row.source)
        table.add_row(*map(Text, cells_of_row))
    show(table)
    for each in book.geo_factors:
        if (each.provider, each.model) == (provider, priced) and each.valid.valid_on(on):
            say(f"Geography {each.inference_geo}: token prices times {each.factor.normalize():f} ({each.source})")


@app.command()
def check(home: HomeOption = None) -> None:
    """Read the price files and list every problem; exit 1 when there is one."""
    with refusals(*_refused()):
        loaded = _load(load_installation(home))
    for warning in loaded.warnings:
        say(str(warning))
    agreed = [row for row in loaded.content.prices if row.basis == "contract"]
    say(
        f"The price files are sound: {len(loaded.content.prices)} prices, {len(agreed)} of them by contract, "
        f"{len(loaded.content.aliases)} names (book {loaded.sha256[:12]})."
    )


@app.command()
def diff(home: HomeOption = None) -> None:
    """Show what differs between the price files and the book that was agreed last."""
    with opened_ledger(home, *_refused()) as (installation, ledger):
        loaded = _load(installation)
        agreed, changes = _since_agreed(installation, ledger, loaded)
    if agreed == loaded.sha256:
        say(f"The price files are the book that was agreed last ({loaded.sha256[:12]}).")
        return
    _print_changes(changes)
    say(f"Book {loaded.sha256[:12]}: {summary(changes)}. To agree to it: {APPROVE_COMMAND}")


@app.command()
def approve(
    prepared_by: Annotated[str, typer.Option(help="Who changed the price files.")],
    approved_by: Annotated[str, typer.Option(help="Who checked the change; another person.")],
    reason: Annotated[str, typer.Option(help="The contract or announcement that it follows.")],
    home: HomeOption = None,
) -> None:
    """Agree to the price files as they are now, by two people (Rule 12.4); see `tokengov prices diff` first."""
    with opened_ledger(home, *_refused()) as (installation, ledger):
        from resources.price_approvals import approve_book

        loaded = _load(installation)
        agreed, changes = _since_agreed(installation, ledger, loaded)
        if agreed == loaded.sha256:
            say(f"There is nothing to approve: book {loaded.sha256[:12]} was agreed before.")
            return
        approve_book(ledger, loaded.sha256, changes, prepared_by=prepared_by, approved_by=approved_by, reason=reason)
    say(f"Approved: book {loaded.sha256[:12]}, {summary(changes)}. The next load of raw/price_book uses it.")


def _refused() -> tuple[type[Exception], ...]:
    """What price files, lake or rule refuse with."""
    from resources.lake import LakeError
    from resources.price_book import PriceBookError

    return PriceBookError, PriceApprovalError, LakeError


def _load(installation: Installation) -> "PriceBookLoad":
    from resources.price_book import PriceBookFiles

    prices = installation.settings.prices
    is_named = "prices" in installation.settings.model_fields_set
    return PriceBookFiles(url=installation.resolve(prices.url), may_be_absent=not is_named).load()


def _since_agreed(
    installation: Installation, ledger: "Ledger", loaded: "PriceBookLoad"
) -> tuple[str | None, list[BookChange]]:
    """The hash of the book that was agreed last, and what differs from it.

    A book that was agreed and never loaded is not in the lake; then the current one of the lake is compared with.
    """
    from resources.lake import Lake
    from resources.price_approvals import book_events
    from resources.price_book import stored_book
    from tokengov_pipelines.domain.price_files import PriceTables

    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    agreed = agreed_sha256(book_events(ledger))
    if agreed == loaded.sha256:
        return agreed, []
    before = (stored_book(lake, agreed) if agreed else None) or stored_book(lake)
    return agreed, diff_books(before.content if before else PriceTables((), ()), loaded.content)


def _print_changes(changes: Sequence[BookChange]) -> None:
    table = Table("", "what", "days", "before", "now")
    for change in changes:
        days = str(change.valid) if change.valid else ""
        table.add_row(*map(Text, (change.kind, change.what, days, change.before or "none", change.after or "none")))
    show(table)


def _reading_order(row: PriceRow) -> tuple[int, str, int, int]:
    tier = _TIERS.index(row.service_tier) if row.service_tier in _TIERS else len(_TIERS)
    return (tier, row.service_tier, PRICED_UNITS.index(row.token_type), row.context_over_tokens)


def _days(row: PriceRow) -> str:
    start = "" if row.valid.valid_from == _ALWAYS else f"from {row.valid.valid_from}"
    end = f"until {row.valid.valid_to - dt.timedelta(days=1)}" if row.valid.valid_to else ""
    return " ".join(filter(None, (start, end))) or "always"
