"""Sending messages through Apprise: Slack, Teams, e-mail, webhooks and whatever else an Apprise URL names.

Belongs here: reading the URLs, sending one message to one of them within a time limit, and words about a failure that
hold no secret. Does not belong here: what is sent and when (`domain.alert`, `domain.alert_messages`,
`tokengov_pipelines.alerting`), retries (`ledger.alerts`).

A URL is a secret as a whole: tokens are found in place of host, path and query. Outside this module a transport is a
label, its scheme and a short hash (`slack:1f0c9a3e`). Apprise's own log lines never leave this module unredacted.
"""

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import dagster as dg

from tokengov_pipelines.domain.alert import Severity
from tokengov_pipelines.domain.alert_messages import Message
from tokengov_pipelines.settings import ALERT_URLS_VARIABLE

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://.")
_HARMLESS = frozenset({"http", "https", "mail", "mailto", "mailtos", "json", "jsons", "slack", "xml", "to", "from"})

_KINDS = {
    None: "success",
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "failure",
    Severity.ERROR: "failure",
    Severity.PAGE: "failure",
}  # Apprise's words


class NotifierError(RuntimeError):
    """A message could not be sent, or a URL cannot be used; the text names the transport by its label only."""


class Notifier(dg.ConfigurableResource):
    """The transports of an installation: the Apprise URLs, separated by white space, in an environment variable.

    Only the variable's name is configuration. Its value is read when a message is sent: where it is unset or empty
    there is no transport and nothing is ever sent, and it can appear in no configuration that Dagster stores or shows.
    """

    variable: str = ALERT_URLS_VARIABLE
    seconds: float = 20
    """How long one transport may take for one message."""

    @property
    def transports(self) -> tuple[str, ...]:
        """The labels of all transports, in the order of the variable; empty where none is set."""
        return tuple(self._urls())

    def send(self, transport: str, message: Message) -> None:
        """Send one message over one transport and wait until it has taken it.

        Raises:
            NotifierError: there is no such transport (any more), Apprise does not know its URL, it refused the
                message, or it did not answer within `seconds` (it may then have the message all the same).
        """
        url = self._urls().get(transport)
        if url is None:
            message_ = f"transport {transport} is not in {self.variable}. Fix: set its URL again, or ignore this."
            raise NotifierError(message_)
        failures = ["the sending broke off"]
        sending = threading.Thread(target=_send, args=(url, message, failures, self._secrets()), daemon=True)
        sending.start()
        sending.join(self.seconds)
        if sending.is_alive():
            failures = [f"no answer within {self.seconds:g} s"]
        if failures:
            position = f"URL {list(self._urls()).index(transport) + 1} of {self.variable}"
            message_ = f"{transport} ({position}): {'; '.join(dict.fromkeys(failures))}"
            raise NotifierError(message_)

    def _urls(self) -> dict[str, str]:
        return {_label(url): url for url in os.environ.get(self.variable, "").split()}

    def _secrets(self) -> list[str]:
        """Every word of every URL, the longest first, so that no part of one is left of another."""
        words: set[str] = set()
        for url in self._urls().values():
            rest = url.partition("://")[2] or url
            for text in (rest, unquote(rest)):
                words.update({text, *re.split(r"[/?&=#,;\s]+", text), *re.split(r"[/:@?&=#%+,;\s]+", text)})
        return sorted(words - _HARMLESS - {""}, key=len, reverse=True)


def _label(url: str) -> str:
    scheme = _SCHEME.match(url)
    return f"{scheme[1].lower() if scheme else 'no-scheme'}:{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _send(url: str, message: Message, outcome: list[str], secrets: list[str]) -> None:
    """Send in a thread of its own; `outcome` is emptied only when the transport has taken the message."""
    import apprise  # at first use: it is no business of a run that sends nothing

    with _overheard() as words:
        # Without pictures and links of Apprise's own site.
        asset = apprise.AppriseAsset(
            app_id="tokengov", app_desc="tokengov", app_url="", image_url_mask="", image_url_logo="", async_mode=False
        )
        plugin = apprise.Apprise.instantiate(url, asset=asset)
        if plugin is None:
            outcome[:] = ["Apprise does not know this URL. Fix: compare it with docs/alerts.md"]
            return
        sender = apprise.Apprise(asset=asset)
        sender.add(plugin)
        taken = sender.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType(_KINDS[message.severity]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    outcome[:] = [] if taken else [_redacted(each, secrets) for each in words] or ["it was refused without a word"]


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what Apprise says of a failure, and keep it from every other log: it may hold parts of a URL."""
    words: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
                words.append(" ".join(text.split())[:500])

    class NoDebug(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return record.levelno > logging.DEBUG

    listener, logger = Listener(logging.DEBUG), logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(listener)
    # Writes paths, and with them tokens, at level DEBUG, from whichever thread Apprise uses.
    transport, no_debug = logging.getLogger("urllib3.connectionpool"), NoDebug()
    transport.addFilter(no_debug)
    try:
        yield words
    finally:
        logger.removeHandler(listener)
        transport.removeFilter(no_debug)


def _redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        whole = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(whole, "***", text, flags=re.IGNORECASE)
    return text
