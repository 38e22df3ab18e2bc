"""`tokengov alerts`: what is wrong now, which messages could not be sent, and whether the transports work.

Belongs here: arguments, tables, exit codes. Does not belong here: alerts themselves (`domain.alert`, `ledger.alerts`),
sending (`resources.notifier`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, complain, fail, opened_ledger, say, show
from tokengov_pipelines.domain.alert import Alert, Severity, duration
from tokengov_pipelines.domain.alert_messages import Message
from tokengov_pipelines.domain.money import round_posting
from tokengov_pipelines.settings import ALERT_URLS_VARIABLE

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.alerts import Delivery

app = typer.Typer(help="Show what is wrong now; send and test messages.", invoke_without_command=True)

_STYLES = {
    Severity.INFO: "blue",
    Severity.WARNING: "yellow",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "red",
    Severity.ERROR: "red",
    Severity.PAGE: "bold red",
}


@app.callback()
def alerts(
    context: typer.Context,
    show_closed: Annotated[bool, typer.Option("--all", help="Show alerts that are over, too.")] = False,
    home: HomeOption = None,
) -> None:
    """Show the open alerts, and messages that could not be sent."""
    if context.invoked_subcommand:
        return
    from resources.notifier import Notifier

    with opened_ledger(home) as (_, ledger):
        book = ledger.alerts
        is_open, over, owed = book.open_alerts(), book.closed_alerts() if show_closed else [], book.undelivered()
    if is_open:
        _print_alerts("Open alerts", is_open)
    else:
        say("No alert is open.")
    if over:
        _print_alerts("Alerts that are over", over)
    transports = Notifier().transports
    late = [each for each in owed if each.attempts or each.transport not in transports]
    if late:
        _print_deliveries(late, transports)
    if not transports:
        say(f"No message is sent: {ALERT_URLS_VARIABLE} is not set. See docs/alerts.md")


@app.command()
def send(home: HomeOption = None) -> None:
    """Send the messages that are due now; exit 1 when a transport fails (its messages are tried again later)."""
    from resources.notifier import Notifier
    from tokengov_pipelines.alerting import deliver_alerts

    with opened_ledger(home) as (installation, ledger):
        report = deliver_alerts(ledger, Notifier(), installation.home, seconds=300)
    say(f"{report.sent} messages sent.")
    for failure in report.failures:
        complain(failure)
    if report.failures:
        raise typer.Exit(1)


@app.command("test")
def send_test(home: HomeOption = None) -> None:
    """Send a test message to every transport; exit 1 when one fails, or none is set."""
    from resources.notifier import Notifier, NotifierError
    from tokengov_pipelines.alerting import installation_name

    with opened_ledger(home) as (installation, _):
        where = installation_name(installation.home)
    notifier = Notifier()
    if not notifier.transports:
        fail(f"there is no transport. Fix: export {ALERT_URLS_VARIABLE}; docs/alerts.md says what it holds.")
    words = f"This is a test of `tokengov alerts test`; nothing is wrong.\n\nFrom {where}."
    failed = False
    for transport in notifier.transports:
        try:
            notifier.send(transport, Message("[test] tokengov can reach you", words, Severity.WARNING))
            say(f"{transport}: sent")
        except NotifierError as error:
            failed = True
            complain(str(error))
    if failed:
        raise typer.Exit(1)


@app.command()
def close(
    number: Annotated[int, typer.Argument(help="The alert's number in the list.")],
    by: Annotated[str, typer.Option(help="Who closes it (e-mail).")],
    reason: Annotated[str, typer.Option(help="Why nothing is left to do.")],
    home: HomeOption = None,
) -> None:
    """Close an alert that nothing will close by itself; it opens again when the same is found again."""
    with opened_ledger(home) as (_, ledger):
        alert = ledger.alerts.close_by_hand(number, by=by, reason=reason, at=dt.datetime.now(dt.UTC))
    say(f"closed {alert.id}: {alert.title}")


@app.command()
def ack(
    number: Annotated[int, typer.Argument(help="The alert's number in the list.")],
    by: Annotated[str, typer.Option(help="Who takes it on (a name).")],
    home: HomeOption = None,
) -> None:
    """Take an open alert on: it is not recalled every day any more, and told again when it has doubled."""
    with opened_ledger(home) as (_, ledger):
        alert = ledger.alerts.acknowledge(number, by=by, at=dt.datetime.now(dt.UTC))
    say(f"acknowledged {alert.id}: {alert.title}")


def _print_alerts(title: str, alerts: Sequence[Alert]) -> None:
    table = Table(
        "no.", "severity", "amount", "since", "lasts", "told", "what and for whom", title=title, title_justify="left"
    )
    for alert in alerts:
        end = alert.closed_at or dt.datetime.now(dt.UTC)
        table.add_row(
            str(alert.id),
            Text(alert.severity, style=_STYLES[alert.severity]),
            "" if alert.amount is None else f"{round_posting(alert.amount):,}",
            f"{alert.opened_at:%Y-%m-%d %H:%M}Z",
            duration(end - alert.opened_at),
            str(alert.told),
            Text.assemble((alert.title, "bold"), *(f"\n{line}" for line in _lines(alert))),
        )
    show(table)


def _lines(alert: Alert) -> Iterator[str]:
    if alert.owner:
        yield f"For: {alert.owner}."
    yield alert.text
    if alert.acknowledged_by and alert.acknowledged_at:
        yield f"Acknowledged by {alert.acknowledged_by}, {alert.acknowledged_at:%Y-%m-%d %H:%M}Z."
    if alert.closed_by:
        yield f"Closed by hand: {alert.closed_by}"


def _print_deliveries(owed: "Sequence[Delivery]", transports: Sequence[str]) -> None:
    table = Table(
        "alert", "event", "transport", "failures", "next try", "error", title="Messages not sent", title_justify="left"
    )
    for delivery in owed:
        is_set = delivery.transport in transports
        table.add_row(
            str(delivery.alert.id),
            delivery.event,
            delivery.transport,
            str(delivery.attempts),
            f"{delivery.next_attempt_at:%Y-%m-%d %H:%M}Z" if is_set else "when its URL is set",
            Text(delivery.last_error or ""),
        )
    show(table)
