"""What is said of an alert when it opens, grows, is still open after a day, and is over: plain words, no markup.

Belongs here: title and body of each message. Does not belong here: when something is said (`alert`, `ledger.alerts`),
how it travels (`resources.notifier`). No message holds a secret or an e-mail address that its condition did not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tokengov_pipelines.domain.alert import Alert, Event, Severity, duration, minute_text
from tokengov_pipelines.domain.money import round_posting


@dataclass(frozen=True)
class Message:
    """What is sent: plain text, no markup."""

    title: str
    body: str
    severity: Severity | None
    """None says that something is over."""


def message_of(event: Event, alert: Alert, installation: str) -> Message:
    """What is said of an event of an alert, with the alert's newest figures.

    Raises:
        ValueError: the end of an alert that is open.
    """
    return _COMPOSERS[event](alert, installation)


def opening_message(alert: Alert, installation: str) -> Message:
    """What is said when an alert opens: what, where, fix; for whom and how much, where that is known."""
    return _telling(alert, installation, str(alert.severity), [])


def raised_message(alert: Alert, installation: str) -> Message:
    """What is said when an open alert has grown: that it has, and the newest figures."""
    grown = "It was told before and has grown since: its amount has at least doubled, or its severity rose."
    return _telling(alert, installation, f"{alert.severity}, grown", [grown, ""])


def reminding_message(alert: Alert, installation: str) -> Message:
    """What is said of a page that nobody has acknowledged for a day."""
    told = alert.last_told.at if alert.last_told else alert.opened_at
    lasts = duration(told - alert.opened_at)
    still = f"This is open for {lasts} and nobody has acknowledged it."
    return _telling(alert, installation, f"{alert.severity}, still open", [still, ""])


def closing_message(alert: Alert, installation: str) -> Message:
    """What is said when an alert is over: that it is, and how long it lasted.

    Raises:
        ValueError: the alert is open.
    """
    if alert.closed_at is None:
        message = f"alert {alert.id} is open."
        raise ValueError(message)
    lasted = duration(alert.closed_at - alert.opened_at)
    how = f"Closed by hand: {alert.closed_by}." if alert.closed_by else "It is fine again; nobody has to do anything."
    span = f"From {minute_text(alert.opened_at)} to {minute_text(alert.closed_at)}: {lasted}."
    return Message(f"[over] {alert.title}", f"{how}\n\n{span}\nFrom {installation}.", None)


def _telling(alert: Alert, installation: str, mark: str, lead: list[str]) -> Message:
    facts = []
    if alert.owner:
        facts.append(f"For: {alert.owner}.")
    if alert.amount is not None:
        facts.append(f"Amount: {round_posting(alert.amount):,} USD.")
    where = [f"Since {minute_text(alert.opened_at)}."]
    if alert.run_id:
        where.append(f"Run {alert.run_id[:8]}.")
    body = [*lead, alert.text, "", *([" ".join(facts)] if facts else []), " ".join(where)]
    if alert.severity is Severity.PAGE:
        body.append(f"Told every day until it is over, or: tokengov alerts ack {alert.id} --by NAME")
    body.append(f"From {installation}. All that is open: tokengov alerts")
    return Message(f"[{mark}] {alert.title}", "\n".join(body), alert.severity)


_COMPOSERS: Final[Mapping[Event, Callable[[Alert, str], Message]]] = {
    Event.OPENED: opening_message,
    Event.RAISED: raised_message,
    Event.REMINDED: reminding_message,
    Event.CLOSED: closing_message,
}
