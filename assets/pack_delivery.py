"""A closed version on its way to its destinations: verified, owed, tried, received, in this order (release of a close).

Belongs here: the order of the steps, reading and verifying the pack's folder, what a delivery that did not arrive
alerts. Does not belong here: the states and their events (`ledger.outbox`), the ways (`resources.delivery`), when it
happens (`assets.delivery`, `tokengov_pipelines.delivery_cli`).

One run of an installation delivers at a time: whoever finds an attempt without an end therefore knows that its run is
dead. Files are then delivered again, which leaves the same. A message is not: it becomes uncertain.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import filelock

from resources.delivery import transport_of
from resources.delivery_parcel import (
    MANIFEST_JSON,
    DeliveryRefusedError,
    DeliveryUncertainError,
    OnStep,
    Parcel,
)
from tokengov_pipelines.delivery_settings import DeliverySettings
from tokengov_pipelines.domain.alert import WHOLE, Condition, Severity
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.errors import LedgerBusyError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.outbox import Addressee, DeliveryState, NotDeliverableError, Outbox, PackDelivery
from tokengov_pipelines.ledger.periods import PeriodVersion
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.writer import sha256_of

_LOCK_FILE: Final = "delivery.lock"
_UNLISTED: Final = frozenset({MANIFEST_JSON, "signoff.csv"})  # rule 11.8: written after the manifest, or it itself
_KILLED: Final = "the run that sent it ended before it could say whether it arrived"


@dataclass(frozen=True)
class Delivered:
    """What became of one destination in one run. `tried`: whether anything was attempted; `said`: why, in words."""

    delivery: PackDelivery
    tried: bool
    said: str

    @property
    def arrived(self) -> bool:
        """Whether the destination has the pack."""
        return self.delivery.state is DeliveryState.RECEIPT


@dataclass(frozen=True)
class DeliveryRun:
    """Who delivers what from where. `now` is the real clock; `transports` are those that alerts are told over."""

    ledger: Ledger
    home: Path
    destinations: Sequence[DeliverySettings]
    actor: str
    run_id: str
    transports: Collection[str] = ()
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    on_step: OnStep = lambda _: None
    lock_seconds: float = 60

    def deliver(self, month: BillingMonth, *, names: Collection[str] = (), at_once: bool = False) -> list[Delivered]:
        """Deliver the month's closed version to the named destinations, or to all; one that fails stops no other.

        What has a receipt is left alone, what failed lately waits unless `at_once`, what is uncertain waits for a
        person. Alerts open and close by what was found.

        Raises:
            NotDeliverableError: the month is not closed, or a name is not that of a destination.
            LedgerError: the ledger cannot be written, or another run is delivering.
        """
        chosen = self._chosen(names)
        with self._alone():
            closed, owed = self._outbox.intend(
                month, [_addressee(each, month, self.ledger) for each in chosen], **self._who, at=self.now()
            )
            self.on_step("intent")
            done = [
                self._one(destination, delivery, closed, at_once)
                for destination, delivery in zip(chosen, owed, strict=True)
            ]
            self._end(month)
        return done

    def send_again(self, month: BillingMonth, name: str, by: str) -> Delivered:
        """Send once more what is uncertain, or what the receiver has lost, because a person says so.

        Raises:
            NotDeliverableError: nobody is named, it is no destination, or the month is not closed.
            LedgerError: as `deliver`.
        """
        (destination,) = self._chosen([name])
        with self._alone():
            addressee = _addressee(destination, month, self.ledger)
            closed, (delivery,) = self._outbox.intend(month, [addressee], **self._who, at=self.now())
            delivery = self._settled(destination, delivery)
            delivery = self._outbox.order_resend(delivery, by=by, run_id=self.run_id, at=self.now())
            done = self._one(destination, delivery, closed, at_once=True)
            self._end(month)
        return done

    def confirm(self, month: BillingMonth, name: str, by: str) -> Delivered:
        """Take an uncertain delivery for received, because a person has asked the receiver.

        Raises:
            NotDeliverableError: nobody is named, it is no destination, or it is not uncertain.
            LedgerError: as `deliver`.
        """
        (destination,) = self._chosen([name])
        with self._alone():
            addressee = _addressee(destination, month, self.ledger)
            _, (delivery,) = self._outbox.intend(month, [addressee], **self._who, at=self.now())
            delivery = self._settled(destination, delivery)
            delivery = self._outbox.confirm(delivery, by=by, run_id=self.run_id, at=self.now())
            self._end(month)
        return Delivered(delivery, False, "confirmed by a person")

    @property
    def _outbox(self) -> Outbox:
        return self.ledger.deliveries

    @property
    def _who(self) -> dict[str, str]:
        return {"actor": self.actor, "run_id": self.run_id}

    def _chosen(self, names: Collection[str]) -> list[DeliverySettings]:
        known = {each.name: each for each in self.destinations}
        unknown = sorted(set(names) - set(known))
        if unknown or not known:
            what = f"there is no destination {', '.join(unknown)}" if unknown else "there is no destination"
            message = f"{what}. Fix: see deliveries in tokengov.yaml ({', '.join(known) or 'it has none'})."
            raise NotDeliverableError(message)
        return [each for each in self.destinations if not names or each.name in names]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = filelock.FileLock(self.home / _LOCK_FILE)
        try:
            lock.acquire(timeout=self.lock_seconds)
        except filelock.Timeout as error:
            message = f"another run is delivering from {self.home}. Fix: wait for it to end, then run this again."
            raise LedgerBusyError(message) from error
        try:
            yield
        finally:
            lock.release()

    def _settled(self, destination: DeliverySettings, delivery: PackDelivery) -> PackDelivery:
        """A message whose sending was begun and never ended is uncertain: its run is dead, or this would wait."""
        if delivery.state is DeliveryState.ATTEMPT and not destination.kind.is_repeatable:
            return self._outbox.record_uncertain(delivery, _KILLED, **self._who, at=self.now())
        return delivery

    def _one(
        self, destination: DeliverySettings, delivery: PackDelivery, closed: PeriodVersion, at_once: bool
    ) -> Delivered:
        delivery = self._settled(destination, delivery)
        if delivery.state is DeliveryState.RECEIPT:
            return Delivered(delivery, False, "it has it")
        if delivery.state is DeliveryState.UNCERTAIN:
            return Delivered(delivery, False, delivery.last_error or "")
        if delivery.state is DeliveryState.FAILED and delivery.next_attempt_at > self.now() and not at_once:
            return Delivered(delivery, False, delivery.last_error or "")
        try:
            parcel = parcel_of(self.home, closed, destination, delivery.message_id)
            delivery = self._outbox.begin(delivery, **self._who, at=self.now())
            self.on_step("attempt")
            receipt = transport_of(destination, self.home).deliver(parcel, self.on_step)
        except DeliveryRefusedError as error:
            delivery = self._outbox.record_failure(delivery, str(error), **self._who, at=self.now())
            return Delivered(delivery, True, str(error))
        except DeliveryUncertainError as error:
            delivery = self._outbox.record_uncertain(delivery, str(error), **self._who, at=self.now())
            return Delivered(delivery, True, str(error))
        self.on_step("sent")
        delivery = self._outbox.record_receipt(delivery, receipt, **self._who, at=self.now())
        self.on_step("receipt")
        return Delivered(delivery, True, ", ".join(f"{key} {value}" for key, value in receipt.items()))

    def _end(self, month: BillingMonth) -> None:
        """Tell the guard once everybody has it, and open and close alerts."""
        self._outbox.release(month, [each.name for each in self.destinations], **self._who)
        conditions = [condition_of(each, self.now(), self.run_id) for each in self._outbox.deliveries(month)]
        self.ledger.alerts.observe(conditions, self.transports)


def names_after_close(ledger: Ledger, destinations: Sequence[DeliverySettings], month: BillingMonth) -> tuple[str, ...]:
    """The destinations that nobody has to ask for: those of `after: close`, and what was begun and has not arrived."""
    begun = {
        each.destination for each in ledger.deliveries.deliveries(month) if each.state is not DeliveryState.RECEIPT
    }
    return tuple(each.name for each in destinations if each.after == "close" or each.name in begun)


def parcel_of(home: Path, closed: PeriodVersion, destination: DeliverySettings, message_id: str) -> Parcel:
    """The files of a closed version for one destination, after the whole folder was compared with the ledger.

    Raises:
        DeliveryRefusedError: the folder is not what was closed, or has no file that the destination is to get.
    """
    pack = verified_pack(home, closed)
    absent = destination.absent(pack)
    if absent:
        message = f"{closed.pack_path} has no {', '.join(absent)}. Fix: correct files of {destination.name}."
        raise DeliveryRefusedError(message)
    rows = list(csv.DictReader(io.StringIO(pack.get(CHARGEBACK_CSV, b"").decode("utf-8"), newline="")))
    currencies = {row["currency"] for row in rows}
    return Parcel(
        month=str(closed.month),
        version=closed.version,
        content_sha256=closed.content_sha256,
        message_id=message_id,
        files={name: content for name, content in pack.items() if destination.wants(name)},
        totals={
            currency: exact_sum([Decimal(row["amount"]) for row in rows if row["currency"] == currency])
            for currency in sorted(currencies)
        },
        lines=len(rows),
    )


def verified_pack(home: Path, closed: PeriodVersion) -> dict[str, bytes]:
    """The files of a closed version's folder, by path inside it.

    Raises:
        DeliveryRefusedError: the folder cannot be read, its content has another hash than the ledger, or a file is
            missing, added or changed against its manifest.json.
    """
    folder = home / closed.pack_path
    try:
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    except OSError as error:
        message = f"{closed.pack_path} cannot be read ({error.strerror}). Fix: make it readable."
        raise DeliveryRefusedError(message) from error
    wrong = _against_manifest(files)
    manifest = files.get(MANIFEST_JSON)
    if closed.manifest_sha256 and (manifest is None or sha256_of(manifest) != closed.manifest_sha256):
        wrong = [MANIFEST_JSON]
    if content_sha256(files) != closed.content_sha256:
        wrong = ["the hash of its content"]
    if wrong:
        message = (
            f"{closed.pack_path} is not what was closed: {', '.join(wrong[:5])} differ from the ledger or manifest.json"
            ". Nothing was sent. Fix: restore the folder from a backup; a correction posts to the next open month."
        )
        raise DeliveryRefusedError(message)
    return files


def _against_manifest(files: Mapping[str, bytes]) -> list[str]:
    """The names of files that are not as manifest.json lists them; none where there is no manifest (rule 11.8)."""
    if MANIFEST_JSON not in files:
        return []
    try:
        listed = {each["name"]: each["sha256"] for each in json.loads(files[MANIFEST_JSON])["files"]}
    except (ValueError, KeyError, TypeError):
        return [MANIFEST_JSON]
    present = {name: sha256_of(content) for name, content in files.items() if name not in _UNLISTED}
    return sorted(name for name in listed.keys() | present.keys() if listed.get(name) != present.get(name))


def condition_of(delivery: PackDelivery, at: dt.datetime, run_id: str) -> Condition:
    """What a delivery means for alerts: uncertain is an error, failed a warning, all else is good."""
    what = f"{delivery.month} v{delivery.version} for {delivery.destination}"
    command = f"tokengov deliver {delivery.month}"
    severity, title, text = Severity.WARNING, "", ""
    if delivery.state is DeliveryState.UNCERTAIN:
        severity, title = Severity.ERROR, f"pack {what}: nobody knows whether it arrived"
        text = (
            f"{delivery.last_error}. It is not sent again by itself. Its identity: {_identity(delivery)}. "
            f"Fix: ask the receiver. It is there: {command} --arrived {delivery.destination} --by YOU. It is not: "
            f"{command} --resend {delivery.destination} --by YOU."
        )
    elif delivery.state is DeliveryState.FAILED:
        title = f"pack {what}: not delivered"
        text = f"{delivery.last_error} Tried again from {delivery.next_attempt_at:%Y-%m-%d %H:%M} UTC on."
        text += "" if "Fix: " in text else f" Fix: read what it says, then: {command} --to {delivery.destination}"
    return Condition(
        key=f"delivery:{delivery.destination}:{delivery.month}:v{delivery.version}",
        at=at,
        severity=severity,
        title=title,
        text=text,
        bad=frozenset({WHOLE}) if title else frozenset(),
        run_id=run_id,
        owner="controller",
    )


def _identity(delivery: PackDelivery) -> str:
    """The message's identity without the domain, which would look like somebody's address."""
    return delivery.message_id.strip("<>").partition("@")[0]


def _addressee(destination: DeliverySettings, month: BillingMonth, ledger: Ledger) -> Addressee:
    period = ledger.period(month)
    message_id = destination.message_id(str(month), period.version, period.content_sha256 or "")
    return Addressee(destination.name, destination.kind.value, message_id)
