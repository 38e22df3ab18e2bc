"""A provider's JSON-over-HTTP interface: one GET with retries, every page of a listing, errors in words.

Belongs here: transport, retries, paging, redaction, and turning an answer's status into one clear sentence.
Does not belong here: paths, parameters and fields of a certain provider (`resources.anthropic`, `resources.openai`).

What is tried again: time-outs, broken connections, bodies that are cut off or no JSON, 408, 409, 429 and every 5xx
(also Anthropic's 529), with growing pauses, or after exactly the time that the provider names. Nothing else is.
"""

import datetime as dt
import email.utils
import functools
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina

from resources.body_archive import BodyArchive
from resources.json_fields import JsonObject, NotJsonError, parse_json
from resources.source_error import SourceError

Params = Sequence[tuple[str, str]]

MOST_PAGES = 10_000
MOST_BYTES = 256 * 1024 * 1024
"""Of one answer, decompressed; a page of a thousand rows has a hundredth of it."""
_RETRIED_STATUS = frozenset({408, 409, 425, 429})
_LONGEST_ASKED = 10 * 365 * 24 * 3600.0
_MOST_SAID = 300

# What looks like a credential of any provider, ours or not, is not repeated from an error (Rule 12.8).
_CREDENTIAL = re.compile(r"\b(sk-[\w*.-]{6,}|gh[a-z]_\w{6,}|github_pat_\w{6,}|Bearer\s+\S+)")

# What is tried again is told to Python's logging, not to the terminal.
stamina.instrumentation.set_on_retry_hooks([stamina.instrumentation.LoggingOnRetryHook])
logging.getLogger("stamina").addHandler(logging.NullHandler())

# Each request as a line of the log would drown the run's own lines, and headers are not for the log.
for _logger in ("httpx", "httpcore"):
    logging.getLogger(_logger).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for; tests are less patient.

    `longest_pause_seconds` bounds a pause that the provider asks for: a longer one is an error that says until when.
    `read_timeout_seconds` bounds the wait for the next bytes, `answer_timeout_seconds` that for the whole answer.
    """

    attempts: int = 6
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 300.0
    read_timeout_seconds: float = 60.0
    answer_timeout_seconds: float = 600.0
    cursor_restarts: int = 3


class RefusedError(SourceError):
    """The provider answered and does not give it: `status` is its answer's, `said` its own words (redacted)."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said.strip()


class _AgainError(RuntimeError):
    """An attempt that may succeed when repeated. The text is safe to show."""

    def __init__(self, what: str, after_seconds: float | None = None) -> None:
        super().__init__(what)
        self.after_seconds = after_seconds


class _CursorExpiredError(RefusedError):
    """The cursor of a listing is no longer good (HTTP 410): the listing starts again from its first page."""


@dataclass(frozen=True)
class Listing:
    """Every page of a listing, and the archived bodies they were read from (SHA-256)."""

    pages: tuple[JsonObject, ...]
    bodies: tuple[str, ...]


@dataclass
class HttpSource:
    """One provider's interface. `secrets` are replaced in whatever is shown or archived."""

    name: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(repr=False)
    key_variable: str
    patience: Patience = field(default_factory=Patience)
    archive: BodyArchive | None = None

    @property
    def place(self) -> str:
        """The host, for errors."""
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL:
            return "?"
        return url.host + (f":{url.port}" if url.port else "")

    @property
    def _has_address(self) -> bool:
        """Whether `base_url` names a host by http(s); httpx would take a blank or a bracket for a part of the name."""
        return bool(re.match(r"https?://", self.base_url) and re.fullmatch(r"[\w.:-]+", self.place))

    @contextmanager
    def connected(self) -> Iterator["Connection"]:
        """Connections that are kept open over several requests."""
        if not self.secrets or not all(self.secrets):
            message = f"{self.name} at {self.place}: {self.key_variable} is not set. Fix: export an admin key."
            raise SourceError(message)
        if any(not secret.isascii() or not secret.isprintable() or secret != secret.strip() for secret in self.secrets):
            message = (
                f"{self.name} at {self.place}: {self.key_variable} holds characters that no key has (a line end, a "
                "blank?). Fix: export it again."
            )
            raise SourceError(message)
        if not self._has_address:
            message = f"{self.name}: base_url is no https:// URL. Fix: correct it in tokengov.yaml."
            raise SourceError(message)
        timeout = httpx.Timeout(self.patience.read_timeout_seconds, connect=10.0)
        # No redirects: an admin key is not to follow one.
        headers = dict(self.headers)
        with httpx.Client(headers=headers, timeout=timeout, follow_redirects=False, verify=_tls()) as client:
            yield Connection(self, client)

    def redact(self, text: str) -> str:
        """A text without our secrets, and without what looks like anybody's."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        return _CREDENTIAL.sub("***", text)

    def redact_body(self, body: bytes) -> bytes:
        """A body without our secrets; whatever else it holds stays as it came."""
        for secret in filter(None, self.secrets):
            body = body.replace(secret.encode(), b"***")
        return body


@dataclass
class Connection:
    """Requests over one `HttpSource`."""

    source: HttpSource
    _client: httpx.Client

    def get(self, path: str, params: Params, what: str) -> tuple[JsonObject, bytes]:
        """One answer as an object, and its body (redacted); `what` says what is read, for errors.

        Raises:
            SourceError: refused, or not answered in time and form after all attempts.
        """
        where = f"{self.source.name} at {self.source.place}: {what}"
        patience = self.source.patience
        try:
            for attempt in stamina.retry_context(
                on=_pause,
                attempts=patience.attempts,
                timeout=None,
                wait_initial=patience.first_pause_seconds,
                wait_max=patience.first_pause_seconds * 60,
                wait_jitter=patience.first_pause_seconds,
            ):
                with attempt:
                    body = self._attempt(path, params, where)
                    try:
                        values = parse_json(body)
                    except NotJsonError as error:
                        message = f"the body is {error}"
                        raise _AgainError(message) from None
        except _AgainError as error:
            message = (
                f"{where}: {error}; tried {patience.attempts} times. Fix: run it again later; nothing was kept of it."
            )
            raise SourceError(message) from None
        if not isinstance(values, dict):
            message = f"{where}: the answer is no JSON object. Fix: check base_url in tokengov.yaml."
            raise SourceError(message)
        return JsonObject(values, where), body

    def _attempt(self, path: str, params: Params, where: str) -> bytes:
        url = self.source.base_url.rstrip("/") + path
        try:
            with self._client.stream("GET", url, params=list(params)) as answer:
                body = self._read(answer, where)
        except httpx.TimeoutException:
            message = f"no answer within {self.source.patience.read_timeout_seconds:g} s"
            raise _AgainError(message) from None
        except httpx.InvalidURL as error:  # longer than any URL, for one: a cursor is the provider's
            message = f"{where}: the request has no valid address ({error}). Fix: check base_url in tokengov.yaml."
            raise SourceError(message) from None
        except httpx.TransportError as error:
            why = self.source.redact(str(error))[:_MOST_SAID] or type(error).__name__
            message = f"the connection failed or was cut off ({why})"
            raise _AgainError(message) from None
        except httpx.HTTPError as error:  # a body that cannot be decompressed, among others
            message = f"the answer cannot be read ({type(error).__name__})"
            raise _AgainError(message) from None
        if answer.status_code == httpx.codes.OK:
            return self.source.redact_body(body)
        raise self._refusal(answer, body, where)

    def _read(self, answer: httpx.Response, where: str) -> bytes:
        """The whole body, unless it never ends."""
        patience, body = self.source.patience, bytearray()
        last = time.monotonic() + patience.answer_timeout_seconds
        for part in answer.iter_bytes():
            body += part
            if len(body) > MOST_BYTES:
                message = f"{where}: the answer has more than {MOST_BYTES} bytes. Fix: check base_url in tokengov.yaml."
                raise SourceError(message)
            if time.monotonic() > last:
                message = f"the answer was not complete within {patience.answer_timeout_seconds:g} s"
                raise _AgainError(message)
        return bytes(body)

    def _refusal(self, answer: httpx.Response, body: bytes, where: str) -> RuntimeError:
        """What an answer other than 200 means, as the error to raise."""
        status = answer.status_code
        said = self._said(answer, body)
        if status in _RETRIED_STATUS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            pause = _retry_after(answer)
            if pause is not None and pause > self.source.patience.longest_pause_seconds:
                until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=pause)
                message = (
                    f"{where}: the provider asks to wait until {until:%Y-%m-%d %H:%M} UTC ({status}{said}). "
                    "Fix: run it again then."
                )
                return RefusedError(message, status, said)
            message = f"the provider answered {status}{said}"
            return _AgainError(message, pause)
        fixes: dict[int, str] = {
            httpx.codes.UNAUTHORIZED: f"export a valid admin key in {self.source.key_variable}",
            httpx.codes.FORBIDDEN: f"give the key in {self.source.key_variable} the right to read this",
            httpx.codes.NOT_FOUND: "check base_url in tokengov.yaml and whether the organisation has this endpoint",
        }
        elsewhere = "correct base_url in tokengov.yaml; the key is not sent along a redirection"
        fix = elsewhere if answer.is_redirect else fixes.get(status, "see the connection guide in docs/")
        message = f"{where}: refused with {status}{said}. Fix: {fix}."
        kind = _CursorExpiredError if status == httpx.codes.GONE else RefusedError
        return kind(message, status, said)

    def _said(self, answer: httpx.Response, body: bytes) -> str:
        """The provider's own message and request id, as ' type: message (request x)', or nothing.

        Redacted before it is cut: a half of a secret would not be found.
        """
        request = answer.headers.get("request-id") or answer.headers.get("x-request-id") or ""
        suffix = f" (request {self._shown(request, 80)})" if request else ""
        try:
            content: Any = parse_json(body)
        except NotJsonError:
            return suffix
        error = content.get("error") if isinstance(content, dict) else None
        if isinstance(error, str):
            return f" {self._shown(error, _MOST_SAID)}{suffix}"
        if not isinstance(error, dict):
            return suffix
        parts = [
            self._shown(error[name], _MOST_SAID) for name in ("type", "message") if isinstance(error.get(name), str)
        ]
        return f" {': '.join(parts)}{suffix}" if parts else suffix

    def _shown(self, text: str, most: int) -> str:
        """A text of the provider's, fit for one line of an error."""
        return "".join(mark if mark.isprintable() else " " for mark in self.source.redact(text))[:most]

    def pages(self, path: str, params: Params, what: str, following: Callable[[JsonObject], Params | None]) -> Listing:
        """Every page of a listing.

        `following` gives the parameters that lead from a page to the next one, None after the last. When the cursor
        expires half-way the listing starts again, and nothing of the first try is kept.

        Raises:
            SourceError: as `get`; or the same cursor comes twice, or the cursor expires time and again.
        """
        for _ in range(self.source.patience.cursor_restarts + 1):
            listing = self._pages(path, params, what, following)
            if listing is not None:
                return listing
        message = (
            f"{self.source.name} at {self.source.place}: {what}: the cursor expired "
            f"{self.source.patience.cursor_restarts + 1} times. Fix: run it again later."
        )
        raise SourceError(message)

    def _pages(
        self, path: str, params: Params, what: str, following: Callable[[JsonObject], Params | None]
    ) -> Listing | None:
        """All pages; None where the cursor expired on the way. Each body is archived before anybody doubts it."""
        source, pages, kept = self.source, list[JsonObject](), list[str]()
        cursors: set[tuple[tuple[str, str], ...]] = set()
        more: Params | None = ()
        while more is not None:
            try:
                page, body = self.get(path, [*params, *more], f"{what}, page {len(pages) + 1}")
            except _CursorExpiredError:
                if not more:  # without a cursor it is the endpoint that is gone
                    raise
                return None
            pages.append(page)
            if source.archive:
                kept.append(source.archive.put(source.name.lower(), body))
            more = following(page)
            if more is not None and (tuple(more) in cursors or len(pages) >= MOST_PAGES):
                page.refuse("", f"leads back to a page that was read, after {len(pages)} pages")
            cursors.add(tuple(more or ()))
        return Listing(tuple(pages), tuple(kept))


@functools.cache
def _tls() -> ssl.SSLContext:
    """The certificates that are trusted, read once: they take longer than a request."""
    return httpx.create_ssl_context()


def next_page(page: JsonObject) -> Params | None:
    """Paging by token: `has_more` and `next_page`, sent back as `page` (both providers' reports).

    Raises:
        SourceError: the two contradict each other; a listing that ends too early would pass for a whole one.
    """
    more, cursor = page.flag("has_more"), page.optional_text("next_page")
    if more != bool(cursor):
        page.refuse("has_more", f"is {str(more).lower()} and next_page is {'given' if cursor else 'empty'}")
    return [("page", cursor)] if cursor else None


def _pause(error: Exception) -> bool | float:
    """Whether to try again, or after how many seconds."""
    if not isinstance(error, _AgainError):
        return False
    return True if error.after_seconds is None else error.after_seconds


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that the provider asks to wait, as a number or a date; None where it says nothing that can be read."""
    value = answer.headers.get("retry-after", "").strip()
    try:
        seconds = float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_ASKED)


def _until(date: str) -> float:
    moment = email.utils.parsedate_to_datetime(date)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime.now(dt.UTC)).total_seconds()
