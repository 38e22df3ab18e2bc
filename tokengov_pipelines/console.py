"""What all commands share: options, a month as an argument, printing as it is, failing in words, the ledger.

Belongs here: what two commands would write alike. Does not belong here: what one command does or prints (`*_cli`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import HOME_VARIABLE, Installation, SettingsError, load_installation

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.ledger import Ledger


def month_of(text: str) -> BillingMonth:
    """A billing month as it is written in a command; anything else is a usage error of the command (exit code 2)."""
    try:
        return BillingMonth.parse(text)
    except PeriodError as error:
        raise typer.BadParameter(str(error)) from error


HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar=HOME_VARIABLE, help="The installation's folder.", show_default="./home"),
]
MonthArgument = Annotated[
    BillingMonth, typer.Argument(metavar="MONTH", help="Billing month, for example 2026-10.", parser=month_of)
]


def say(text: str | Text) -> None:
    """Print to standard output as it is: unwrapped, so that commands can be copied, and with its square brackets."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def complain(text: str | Text) -> None:
    """The same to standard error, for what a person has to know beside the answer."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table, as wide as the screen."""
    Console().print(table)


def fail(text: str, code: int = 1) -> NoReturn:
    """End the command with a message."""
    complain(Text(text, style="red"))
    raise typer.Exit(code) from None


@contextmanager
def refusals(*kinds: type[Exception]) -> Iterator[None]:
    """What settings (exit code 2) or one of these kinds of errors (1) refuse ends the command with their own words."""
    try:
        yield
    except SettingsError as error:
        fail(str(error), code=2)
    except kinds as error:
        fail(str(error))


def installation_of(home: Path | None) -> Installation:
    """The installation in a folder, of the environment's or the default one; its settings may refuse."""
    with refusals():
        return load_installation(home)


@contextmanager
def opened_ledger(home: Path | None, *kinds: type[Exception]) -> "Iterator[tuple[Installation, Ledger]]":
    """The installation and its ledger; what they, or errors of these kinds inside, refuse ends the command in words."""
    from tokengov_pipelines.ledger.errors import LedgerError
    from tokengov_pipelines.ledger.ledger import Ledger

    with refusals(LedgerError, *kinds):
        installation = load_installation(home)
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        yield installation, ledger
