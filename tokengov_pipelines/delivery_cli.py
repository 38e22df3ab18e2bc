"""`tokengov deliver`: bring a closed month to its destinations, see what arrived, decide about what nobody knows.

Belongs here: arguments, tables, exit codes. Does not belong here: the steps (`assets.pack_delivery`), the ways
(`resources.delivery`), the states (`ledger.outbox`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final
from uuid import uuid4

import typer
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, fail, say
from tokengov_pipelines.console import show as show_table
from tokengov_pipelines.delivery_settings import DeliverySettings
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import SettingsError, load_installation

if TYPE_CHECKING:
    from assets.pack_delivery import Delivered
    from tokengov_pipelines.ledger.outbox import PackDelivery

_STYLES: Final = {
    "receipt": "green",
    "failed": "yellow",
    "uncertain": "red",
    "attempt": "yellow",
    "intent": "",
    "not yet": "",
}


def deliver(
    month: Annotated[str, typer.Argument(help="A closed month, such as 2026-10.")],
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Only this destination, and at once; can be repeated.")
    ] = None,
    resend: Annotated[
        str | None, typer.Option(help="Send to this destination once more, under the same message id.")
    ] = None,
    arrived: Annotated[
        str | None, typer.Option(help="Take what is uncertain for received: you have asked this destination.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who decides that (e-mail); for --resend and --arrived.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show how every delivery stands.")] = False,
    home: HomeOption = None,
) -> None:
    """Deliver a closed month to its destinations; exit 1 when one of them does not have it."""
    from assets.pack_delivery import DeliveryRun
    from resources.notifier import Notifier
    from tokengov_pipelines.ledger.errors import LedgerError
    from tokengov_pipelines.ledger.ledger import Ledger

    decision = resend or arrived
    if (resend and arrived) or (decision and (to or status)):
        fail("--resend, --arrived, --to and --status are different things. Fix: give one of them.", 2)
    if bool(decision) != bool(by):
        fail("--by NAME goes with --resend or --arrived, and they need it. Fix: say who decides.", 2)
    try:
        billing_month = BillingMonth.parse(month)
        installation = load_installation(home)
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        destinations = installation.settings.deliveries
        if status:
            _print_status(destinations, ledger.deliveries.deliveries(billing_month))
            return
        actor, run_id, transports = by or "command line", f"cli-{uuid4().hex[:12]}", Notifier().transports
        run = DeliveryRun(ledger, installation.home, destinations, actor, run_id, transports)
        if resend and by:
            done = [run.send_again(billing_month, resend, by)]
        elif arrived and by:
            done = [run.confirm(billing_month, arrived, by)]
        else:
            done = run.deliver(billing_month, names=to or (), at_once=bool(to))
    except (SettingsError, PeriodError, LedgerError) as error:
        fail(str(error), 1 if isinstance(error, LedgerError) else 2)
    _print_run(done)
    if not all(each.arrived for each in done):
        raise typer.Exit(1)


def _print_run(done: "Sequence[Delivered]") -> None:
    table = Table("destination", "by", "state", "sent now", "what was said")
    for each in done:
        state = each.delivery.state.value
        table.add_row(
            each.delivery.destination,
            each.delivery.transport,
            Text(state, style=_STYLES[state]),
            "yes" if each.tried else "no",
            Text(each.said),
        )
    show_table(table)


def _print_status(destinations: Sequence[DeliverySettings], deliveries: "Sequence[PackDelivery]") -> None:
    table = Table("destination", "by", "version", "state", "attempts", "last attempt", "next try", "identity and words")
    known = {each.name for each in destinations}
    for each in deliveries:
        state = each.state.value
        gone = "" if each.destination in known else " (not in tokengov.yaml)"
        words = "\n".join(filter(None, [each.message_id, each.last_error]))
        table.add_row(
            f"{each.destination}{gone}",
            each.transport,
            f"v{each.version}",
            Text(state, style=_STYLES[state]),
            str(each.attempts),
            f"{each.attempted_at:%Y-%m-%d %H:%M}Z" if each.attempted_at else "",
            f"{each.next_attempt_at:%Y-%m-%d %H:%M}Z" if state == "failed" else "",
            Text(words),
        )
    for settings in destinations:
        if settings.name not in {each.destination for each in deliveries}:
            table.add_row(settings.name, settings.kind.value, "", Text("not yet"), "0", "", "", "")
    if not table.row_count:
        say("No destination is set. See docs/delivery.md")
        return
    show_table(table)
