"""`tokengov publish`: a closed month's tables to Postgres, and the SQL that an administrator has to run.

Belongs here: arguments, what is printed, exit codes. Does not belong here: what is published and when
(`assets.publish`), the database (`resources.publisher`).
"""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokengov_pipelines.console import HomeOption, complain, say
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import SettingsError, load_installation

if TYPE_CHECKING:
    from assets.publish import PublishResult
    from resources.publisher import Publisher


def publish(
    month: Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")],
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Print what an administrator runs, and what tokengov makes; do nothing.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Publish again, from the same pack, to a database that lost the month.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Publish a closed month's tables to the Postgres of TOKENGOV_PUBLISH_URL, once a version."""
    from resources.published_setup import PublishError
    from resources.publisher import Publisher
    from tokengov_pipelines.ledger.errors import LedgerError

    publisher = Publisher()
    try:
        period = BillingMonth.parse(month)
        if print_sql:
            _print_sql(publisher)
            return
        result = _published(publisher, period, home, restore)
    except (SettingsError, PeriodError, LedgerError, PublishError) as error:
        complain(str(error))
        raise typer.Exit(2 if isinstance(error, SettingsError | PeriodError) else 1) from None
    say(result.reason)
    for note in result.notes:
        complain(note)
    if result.version == 0:
        raise typer.Exit(1)


def _published(publisher: "Publisher", month: BillingMonth, home: Path | None, restore: bool) -> "PublishResult":
    from assets.publish import publish_month
    from tokengov_pipelines.ledger.ledger import Ledger

    installation = load_installation(home)
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    run_id = f"cli-{uuid.uuid4()}"
    return publish_month(
        ledger, installation.home, publisher, month, actor="command line", run_id=run_id, restore=restore
    )


def _print_sql(publisher: "Publisher") -> None:
    from assets.publish import PUBLISHED_TABLES
    from resources.published_schema import all_sql

    say(all_sql(PUBLISHED_TABLES, publisher.writer))
