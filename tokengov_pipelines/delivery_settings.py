"""Where closed packs are delivered to: the section `deliveries` of tokengov.yaml, and what follows from an address.

Belongs here: the shape of a destination, its kind, its default files, the names of its secrets' variables, and the one
identity that a delivery keeps for ever. Does not belong here: secrets themselves (environment only), sending
(`resources.delivery`), what was sent (`ledger.outbox`).
"""

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SMTP_URL_VARIABLE: Final = "TOKENGOV_SMTP_URL"
"""smtp://USER:PASSWORD@HOST:587/ (STARTTLS), smtps://... (TLS from the start), `?starttls=never` (a trusted relay)."""

_OBJECT_STORES: Final = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "az"})
_MAIL_FILES: Final = ("pack.xlsx", "summary.pdf")
_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class DeliveryKind(StrEnum):
    """How a destination is reached, which follows from its address."""

    FOLDER = "folder"
    OBJECT_STORE = "object_store"
    SFTP = "sftp"
    EMAIL = "email"
    WEBHOOK = "webhook"

    @property
    def is_repeatable(self) -> bool:
        """Whether delivering again leaves the same as delivering once: files can be compared, messages cannot."""
        return self not in (DeliveryKind.EMAIL, DeliveryKind.WEBHOOK)


class DeliverySettings(BaseModel):
    """One destination of closed packs. No secret is in it, and a password in its address is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="names it in commands, alerts and the audit trail")
    to: str = Field(
        min_length=1,
        description="a folder, s3:// gs:// abfs://, sftp://user@host:port/path, mailto:a@x,b@y, https://...",
    )
    files: tuple[str, ...] = Field(
        default=(), description="patterns of files of the pack; all, or the workbook and the report for an e-mail"
    )
    after: Literal["close"] | None = Field(
        default=None, description="close: delivered by the job after the close; absent: by `tokengov deliver` only"
    )
    sender: str | None = Field(default=None, description="e-mail only: the address that it comes from")
    known_hosts: str | None = Field(default=None, description="SFTP only: a known_hosts file (relative to the home)")
    host_key: str | None = Field(
        default=None, pattern=r"^SHA256:[A-Za-z0-9+/]{43}=?$", description="SFTP only: the host key's fingerprint"
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "DeliverySettings":
        check = {
            DeliveryKind.SFTP: self._check_sftp,
            DeliveryKind.EMAIL: self._check_email,
            DeliveryKind.WEBHOOK: self._check_webhook,
        }.get(self.kind)
        if self.kind is not DeliveryKind.EMAIL and self.sender is not None:
            _refuse("sender belongs to an e-mail (to: mailto:...)")
        if self.kind is not DeliveryKind.SFTP and (self.known_hosts or self.host_key):
            _refuse("known_hosts and host_key belong to SFTP (to: sftp://...)")
        if self.kind is not DeliveryKind.EMAIL and urlsplit(self.to).password is not None:
            _refuse(f"to holds a password; secrets come from the environment ({self.variable('PASSWORD')})")
        if check:
            check()
        return self

    @property
    def kind(self) -> DeliveryKind:
        """What the address says."""
        scheme, separator, _ = self.to.partition("://")
        if self.to.startswith("mailto:"):
            return DeliveryKind.EMAIL
        if not separator:
            return DeliveryKind.FOLDER
        if scheme in _OBJECT_STORES:
            return DeliveryKind.OBJECT_STORE
        if scheme == "sftp":
            return DeliveryKind.SFTP
        if scheme in ("https", "http"):
            return DeliveryKind.WEBHOOK
        message = f"to: {scheme}:// is no address that packs are delivered to; docs/delivery.md has those that are"
        raise ValueError(message)

    @property
    def address(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.to)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Of an e-mail, in the order of the address."""
        if self.kind is not DeliveryKind.EMAIL:
            return ()
        return tuple(unquote(each).strip() for each in self.to.removeprefix("mailto:").split(",") if each.strip())

    def wants(self, name: str) -> bool:
        """Whether a file of the pack goes there."""
        patterns = self.files or (_MAIL_FILES if self.kind is DeliveryKind.EMAIL else ("*",))
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def absent(self, names: Iterable[str]) -> list[str]:
        """The patterns that fit no file of the pack: something is expected there that nobody would get."""
        patterns = self.files or (_MAIL_FILES if self.kind is DeliveryKind.EMAIL else ())
        present = list(names)
        return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in present)]

    def variable(self, secret: str) -> str:
        """The environment variable of a secret (PASSWORD, KEY_FILE, TOKEN) of this destination."""
        return f"TOKENGOV_DELIVERY_{self.name.upper().replace('-', '_')}_{secret}"

    def message_id(self, month: str, version: int, content_sha256: str) -> str:
        """What this delivery is called for ever: an e-mail's Message-ID, a webhook's Idempotency-Key.

        The same pack to the same destination has the same, also when it is sent again.
        """
        key = f"tokengov-{month}-v{version}-{self.name}-{content_sha256[:12]}"
        return f"<{key}@{(self.sender or '').rpartition('@')[2]}>" if self.kind is DeliveryKind.EMAIL else key

    def _check_email(self) -> None:
        if not self.recipients or not all(map(_is_address, self.recipients)):
            _refuse("to names no recipients: write mailto:finance@example.com,controller@example.com")
        if not self.sender or not _is_address(self.sender):
            _refuse("an e-mail has a sender: sender: tokengov@example.com")

    def _check_sftp(self) -> None:
        if not self.address.username or not self.address.hostname or not self.address.path.strip("/"):
            _refuse("to names no user, host or folder: write sftp://user@host:22/folder")
        _ = self.address.port  # raises ValueError with words of its own
        if (self.known_hosts is None) == (self.host_key is None):
            _refuse("SFTP checks the server's key: set one of known_hosts and host_key")

    def _check_webhook(self) -> None:
        _ = self.address.port
        if self.address.username is not None or not self.address.hostname:
            _refuse("to is https://host/path, without a user")
        if self.address.scheme == "http" and self.address.hostname not in _LOCAL_HOSTS:
            _refuse("a webhook is reached by https://; http:// is for this machine only")


def _is_address(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return bool(local and domain) and text.isascii() and text.isprintable() and not set(text) & set(' <>",;:\\')


def _refuse(reason: str) -> None:
    raise ValueError(reason)


def _have_their_own_names(deliveries: tuple[DeliverySettings, ...]) -> tuple[DeliverySettings, ...]:
    names = [each.name for each in deliveries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        _refuse(f"two destinations have the name {', '.join(twice)}")
    return deliveries


Deliveries = Annotated[tuple[DeliverySettings, ...], AfterValidator(_have_their_own_names)]
"""The destinations of an installation, each under a name of its own."""
