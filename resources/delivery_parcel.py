"""What every way of delivery shares: the parcel, what can become of it, and secrets from the environment.

Belongs here: the files of one delivery with their identity, the two errors, the manifest that a destination of files
gets last. Does not belong here: one way of delivery (`delivery_folder` and its siblings), which way it is
(`delivery`), what the ledger keeps of it (`ledger.outbox`).
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

MANIFEST_JSON: Final = "manifest.json"

Receipt = Mapping[str, str | int]
"""What is kept of an arrival: the other side's words or counts; no address, no secret."""

OnStep = Callable[[str], None]
"""Called at each boundary where a killed run leaves another state behind."""

_EMAIL: Final = re.compile(r"[^\s<>@:,;]+@[^\s<>@:,;]+")
_LONGEST_WORDS: Final = 300


class DeliveryRefusedError(RuntimeError):
    """It is known not to have arrived; the text says why and holds no secret and no address."""


class DeliveryUncertainError(RuntimeError):
    """It was sent, at least in part, and nobody said that it arrived."""


@dataclass(frozen=True)
class Parcel:
    """One closed version for one destination: the bytes that were verified, and what a message says about them.

    `month` is 'YYYY-MM'; `message_id` the delivery's identity for ever; `files` map paths inside the pack to bytes;
    `totals` are the charged amounts by currency, `lines` their number: no cost center and no person.
    """

    month: str
    version: int
    content_sha256: str
    message_id: str
    files: Mapping[str, bytes]
    totals: Mapping[str, Decimal]
    lines: int

    @property
    def folder(self) -> str:
        """Where files are put under a destination: 2026-10/v1."""
        return f"{self.month}/v{self.version}"

    @property
    def listed(self) -> list[dict[str, str | int]]:
        """Every file by name, with size and hash."""
        return [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(self.files.items())
        ]

    def with_manifest(self) -> dict[str, bytes]:
        """The files in the order in which they are written, manifest.json last: it says that all the others are there.

        It is the pack's own where the destination gets that, else a list of what it gets.
        """
        files = {name: self.files[name] for name in sorted(self.files) if name != MANIFEST_JSON}
        if MANIFEST_JSON in self.files:
            return files | {MANIFEST_JSON: self.files[MANIFEST_JSON]}
        listed = {
            "period": self.month,
            "version": self.version,
            "content_sha256": self.content_sha256,
            "files": self.listed,
        }
        return files | {MANIFEST_JSON: (json.dumps(listed, indent=2) + "\n").encode()}


class Transport(Protocol):
    """One way to one destination."""

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """Deliver, and wait until the other side has it.

        Raises:
            DeliveryRefusedError: it is known not to have arrived.
            DeliveryUncertainError: it may have arrived.
        """
        ...


def required_secret(variable: str) -> str:
    """The value of an environment variable that a destination needs.

    Raises:
        DeliveryRefusedError: it is not set.
    """
    value = os.environ.get(variable, "")
    if not value:
        message = f"{variable} is not set. Fix: export it where tokengov runs; docs/delivery.md says what it holds."
        raise DeliveryRefusedError(message)
    return value


def their_words(said: object, secrets: Iterable[str] = ()) -> str:
    """What another side said, on one line of bounded length, without our secrets and without e-mail addresses."""
    text = " ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).split())
    for secret in sorted(filter(None, (" ".join(each.split()) for each in secrets)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _EMAIL.sub("***", text)[:_LONGEST_WORDS]


def differences(expected: Mapping[str, bytes], found: Mapping[str, bytes | None]) -> str:
    """The names of files that are absent or hold other bytes at a destination, for a message; empty when none is."""
    other = [name for name, content in expected.items() if found.get(name) != content]
    return ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")


def holds_another(place: str, what: str) -> DeliveryRefusedError:
    """A destination that has this version with other bytes: it is somebody's, and not overwritten."""
    message = (
        f"{place} is there already and holds other bytes ({what}). Nothing was overwritten. "
        "Fix: find out who wrote it, move it away, and deliver again."
    )
    return DeliveryRefusedError(message)
