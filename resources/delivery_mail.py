"""Delivery by e-mail: one message with the workbook and the report attached, to all recipients or to none.

Belongs here: the message, the SMTP conversation, and what each of its ends means. Does not belong here: who gets it
(`tokengov_pipelines.delivery_settings`), messages about alerts (`notifier`).

A server that says no has not got it. One that falls silent after the message was sent may have it: an e-mail cannot be
taken back or compared, so that is told as uncertain and is a person's to decide.
"""

import mimetypes
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import httpx

from resources.delivery_parcel import (
    DeliveryRefusedError,
    DeliveryUncertainError,
    OnStep,
    Parcel,
    Receipt,
    required_secret,
    their_words,
)

_WRONG_URL: Final = "Fix: write smtp://USER:PASSWORD@HOST:587/ or smtps://USER:PASSWORD@HOST:465/"


@dataclass(frozen=True)
class EmailDelivery:
    """Recipients, the sender, and the variable that holds the server's URL (a secret: user and password are in it)."""

    recipients: tuple[str, ...]
    sender: str
    url_variable: str
    seconds: float = 60

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """Send one message to all recipients; when the server refuses one of them, it is sent to nobody.

        Raises:
            DeliveryRefusedError: the server said no before or after the message, or was never reached.
            DeliveryUncertainError: the connection ended after the message was begun, without an answer.
        """
        server = _Server.parse(required_secret(self.url_variable), self.url_variable)
        content = message_of(parcel, self.sender, self.recipients).as_bytes(policy=SMTP)
        with self._connected(server) as smtp:
            self._address(smtp, len(content), server)
            try:
                code, words = smtp.data(content)
            except smtplib.SMTPDataError as error:
                message = f"{server.shown}: {error.smtp_code} {server.redacted(error.smtp_error)}"
                raise DeliveryRefusedError(message) from error
            except (OSError, smtplib.SMTPException) as error:
                message = (
                    f"{server.shown}: the connection ended after the message was sent and before the server answered "
                    f"({type(error).__name__})"
                )
                raise DeliveryUncertainError(message) from error
            said = f"{code} {server.redacted(words)}"
            if code != 250:
                message = f"{server.shown}: {said}"
                raise DeliveryRefusedError(message)
            return {"recipients": len(self.recipients), "bytes": len(content), "server": said}

    def _address(self, smtp: smtplib.SMTP, size: int, server: "_Server") -> None:
        options = [f"size={size}"] if smtp.has_extn("size") else []
        try:
            answers = [("the sender", *smtp.mail(self.sender, options))]
            for number, recipient in enumerate(self.recipients, 1):
                answers.append((f"recipient {number} of {len(self.recipients)}", *smtp.rcpt(recipient)))
        except (OSError, smtplib.SMTPException) as error:
            message = f"{server.shown}: {server.redacted(error)}"
            raise DeliveryRefusedError(message) from error
        for whom, code, words in answers:
            if code not in (250, 251):
                message = f"{server.shown} refuses {whom}, nothing was sent to anybody: {code} {server.redacted(words)}"
                raise DeliveryRefusedError(message)

    @contextmanager
    def _connected(self, server: "_Server") -> Iterator[smtplib.SMTP]:
        """A connection that is encrypted and logged in; how it ends does not matter once the server has answered."""
        smtp: smtplib.SMTP | None = None
        try:
            if server.implicit_tls:
                smtp = smtplib.SMTP_SSL(server.host, server.port, timeout=self.seconds, context=_tls())
            else:
                smtp = smtplib.SMTP(server.host, server.port, timeout=self.seconds)
                if server.starttls:
                    smtp.starttls(context=_tls())
            smtp.ehlo_or_helo_if_needed()
            if server.user:
                smtp.login(server.user, server.password)
        except (OSError, smtplib.SMTPException) as error:
            if smtp is not None:
                smtp.close()
            message = f"{server.shown}: {server.redacted(error)}. Fix: check {self.url_variable} and the server."
            raise DeliveryRefusedError(message) from error
        answered = False
        try:
            yield smtp
            answered = True
        finally:
            with suppress(OSError, smtplib.SMTPException):
                if answered:
                    smtp.quit()
            smtp.close()


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    user: str
    password: str
    implicit_tls: bool
    starttls: bool

    @classmethod
    def parse(cls, url: str, variable: str) -> "_Server":
        try:
            parts: SplitResult = urlsplit(url)
            port = parts.port
        except ValueError as error:
            message = f"{variable} is no URL of a mail server. {_WRONG_URL}"
            raise DeliveryRefusedError(message) from error
        starttls = parse_qs(parts.query).get("starttls", ["required"])[-1]
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or starttls not in ("required", "never"):
            message = f"{variable} is no URL of a mail server. {_WRONG_URL}"
            raise DeliveryRefusedError(message)
        implicit = parts.scheme == "smtps"
        return cls(
            parts.hostname,
            port or (465 if implicit else 587),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            implicit,
            not implicit and starttls == "required",
        )

    @property
    def shown(self) -> str:
        return f"the mail server {self.host}:{self.port}"

    def redacted(self, said: object) -> str:
        return their_words(said, [self.user, self.password])


def message_of(parcel: Parcel, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The message: totals of the month and nothing below them, the files attached."""
    amounts = ", ".join(f"{amount:,} {currency}" for currency, amount in sorted(parcel.totals.items())) or "nothing"
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = f"AI token spend of {parcel.month}: {amounts} (closed, v{parcel.version})"
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = parcel.message_id
    message["Auto-Submitted"] = "auto-generated"
    attached = [f"  {each['name']}  {each['bytes']:,} bytes, SHA-256 {each['sha256']}" for each in parcel.listed]
    lines = [
        f"The books on AI token spend of {parcel.month} are closed, version {parcel.version}.",
        "",
        f"Charged in total: {amounts}, in {parcel.lines} lines.",
        "",
        "Attached:",
        *attached,
        "",
        f"Hash of the pack's content: {parcel.content_sha256}",
        "A correction never changes these files; it posts to the next open month.",
        "",
    ]
    message.set_content("\n".join(lines))
    for name, content in sorted(parcel.files.items()):
        main, _, sub = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=PurePosixPath(name).name)
    return message


def _tls() -> ssl.SSLContext:
    """The certificates that are trusted everywhere in this product (SSL_CERT_FILE adds a company's own)."""
    return httpx.create_ssl_context()
