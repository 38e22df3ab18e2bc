"""The outbox of closed packs: what is owed to whom, what was tried, what arrived (architecture 4: outbox).

Belongs here: the states of a delivery and their changes, each in one transaction with its event of the audit trail,
under the period's lock and through the guard's page. Does not belong here: what is sent and how (`resources.delivery`),
the order of the steps (`assets.pack_delivery`), whether a month is closed (`book`).

    intent -> attempt -> receipt
                      -> failed      known not to have arrived; tried again after a while
                      -> uncertain   an attempt of which nobody knows the end; a person decides

An attempt is committed before the first byte is sent, a receipt after the last. `at` is the real clock's time, which
waiting goes by; the events carry the ledger's own.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from tokengov_pipelines.domain.alert import retry_after, safe_text
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.book import BookPage
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.outbox_tables import deliveries
from tokengov_pipelines.ledger.periods import PeriodState, PeriodVersion, locked_period


class NotDeliverableError(LedgerError):
    """Something that may not be delivered, or not decided so: an open month, an unknown delivery, nobody named."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    INTENT = "intent"
    ATTEMPT = "attempt"
    RECEIPT = "receipt"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


LEASE = dt.timedelta(minutes=10)
"""How long an attempt is left to its run before it counts as due again; longer than any sending takes."""

_TRIABLE = (DeliveryState.INTENT, DeliveryState.ATTEMPT, DeliveryState.FAILED)


@dataclass(frozen=True)
class Addressee:
    """A destination as the outbox knows it: its name, how it is reached, and the delivery's identity there for ever."""

    destination: str
    transport: str
    message_id: str


@dataclass(frozen=True)
class PackDelivery:
    """One closed version owed to one destination. `failures` are those since it last arrived; it waits by them."""

    id: int
    month: BillingMonth
    version: int
    destination: str
    transport: str
    content_sha256: str
    message_id: str
    state: DeliveryState
    attempts: int
    failures: int
    next_attempt_at: dt.datetime
    attempted_at: dt.datetime | None
    received_at: dt.datetime | None
    receipt: Json
    last_error: str | None


class Outbox:
    """The deliveries of one ledger. `clock` is the ledger's. Every call raises `LedgerError` when the database does."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def intend(
        self, month: BillingMonth, addressees: Iterable[Addressee], *, actor: str, run_id: str, at: dt.datetime
    ) -> tuple[PeriodVersion, list[PackDelivery]]:
        """Owe the month's last closed version to each addressee, once; returns it and where each delivery stands.

        Raises:
            NotDeliverableError: the month is not closed.
        """
        with self._page(month, actor, run_id) as (connection, page):
            closed = _closed_version(page)
            found = []
            for each in addressees:
                row = _find(connection, closed, each.destination)
                if row is None:
                    values = {
                        "month": str(month),
                        "version": closed.version,
                        "content_sha256": closed.content_sha256,
                        **vars(each),
                        "state": DeliveryState.INTENT.value,
                        "attempts": 0,
                        "failures": 0,
                        "next_attempt_at": at,
                    }
                    row = connection.execute(insert(deliveries).values(values).returning(deliveries)).mappings().one()
                    page.record_event("delivery.intended", _payload(_delivery(row)))
                found.append(_delivery(row))
            return closed, found

    def begin(self, delivery: PackDelivery, *, actor: str, run_id: str, at: dt.datetime) -> PackDelivery:
        """Commit that the sending begins now, before anything is sent.

        Raises:
            NotDeliverableError: another run has changed the delivery meanwhile, or the month's closed version is not
                the one that is owed.
        """
        with self._page(delivery.month, actor, run_id) as (connection, page):
            closed = _closed_version(page)
            now = _read(connection, delivery.id)
            same = (closed.version, closed.content_sha256) == (delivery.version, delivery.content_sha256)
            if not same or now.attempts != delivery.attempts or now.state not in _TRIABLE:
                message = (
                    f"{delivery.month} v{delivery.version} for {delivery.destination}: another run has it "
                    f"({now.state}). Fix: look at it with: tokengov deliver {delivery.month} --status"
                )
                raise NotDeliverableError(message)
            values = {"attempts": now.attempts + 1, "attempted_at": at, "next_attempt_at": at + LEASE}
            changed = _change(connection, delivery.id, {"state": DeliveryState.ATTEMPT.value, **values})
            page.record_event("delivery.attempted", _payload(changed))
            return changed

    def record_receipt(
        self, delivery: PackDelivery, receipt: Mapping[str, Json], *, actor: str, run_id: str, at: dt.datetime
    ) -> PackDelivery:
        """It arrived; `receipt` is what the other side said or what was compared there, without any secret."""
        values = {"failures": 0, "received_at": at, "receipt": dict(receipt), "last_error": None}
        with self._page(delivery.month, actor, run_id) as (connection, page):
            changed = _change(connection, delivery.id, {"state": DeliveryState.RECEIPT.value, **values})
            page.record_event("delivery.received", _payload(changed) | {"receipt": changed.receipt})
            return changed

    def record_failure(
        self, delivery: PackDelivery, error: str, *, actor: str, run_id: str, at: dt.datetime
    ) -> PackDelivery:
        """It is known not to have arrived; due again after `domain.alert.retry_after`, for ever.

        `error` is kept and shown: its sender has taken every secret and every address out of it.
        """
        failures = delivery.failures + 1
        values = {"failures": failures, "next_attempt_at": at + retry_after(failures), "last_error": safe_text(error)}
        with self._page(delivery.month, actor, run_id) as (connection, page):
            now = _read(connection, delivery.id)
            if now.attempts != delivery.attempts or now.state is DeliveryState.RECEIPT:
                return now  # of an older attempt: it says nothing about the newer one
            changed = _change(connection, delivery.id, {"state": DeliveryState.FAILED.value, **values})
            page.record_event("delivery.failed", _payload(changed) | {"error": changed.last_error})
            return changed

    def record_uncertain(
        self, delivery: PackDelivery, reason: str, *, actor: str, run_id: str, at: dt.datetime
    ) -> PackDelivery:
        """Nobody knows whether it arrived: it is never sent again by itself."""
        with self._page(delivery.month, actor, run_id) as (connection, page):
            now = _read(connection, delivery.id)
            if now.attempts != delivery.attempts or now.state is not DeliveryState.ATTEMPT:
                return now
            values = {"state": DeliveryState.UNCERTAIN.value, "last_error": safe_text(reason)}
            changed = _change(connection, delivery.id, values)
            page.record_event("delivery.uncertain", _payload(changed) | {"reason": changed.last_error})
            return changed

    def order_resend(self, delivery: PackDelivery, *, by: str, run_id: str, at: dt.datetime) -> PackDelivery:
        """A person decides that it is sent once more, under the same identity, whatever became of it before.

        Raises:
            NotDeliverableError: nobody is named.
        """
        with self._page(delivery.month, _person(by), run_id) as (connection, page):
            values = {"state": DeliveryState.INTENT.value, "next_attempt_at": at, "received_at": None, "receipt": None}
            before = _read(connection, delivery.id)
            changed = _change(connection, delivery.id, values)
            page.record_event("delivery.resend_ordered", _payload(changed) | {"before": before.state.value})
            return changed

    def confirm(self, delivery: PackDelivery, *, by: str, run_id: str, at: dt.datetime) -> PackDelivery:
        """A person has asked the receiver: the uncertain delivery did arrive.

        Raises:
            NotDeliverableError: nobody is named, or the delivery is not uncertain.
        """
        with self._page(delivery.month, _person(by), run_id) as (connection, page):
            if _read(connection, delivery.id).state is not DeliveryState.UNCERTAIN:
                message = (
                    f"{delivery.month} v{delivery.version} for {delivery.destination} is not uncertain. "
                    f"Fix: look at it with: tokengov deliver {delivery.month} --status"
                )
                raise NotDeliverableError(message)
            values = {"received_at": at, "receipt": {"confirmed": "by the receiver"}, "failures": 0, "last_error": None}
            changed = _change(connection, delivery.id, {"state": DeliveryState.RECEIPT.value, **values})
            page.record_event("delivery.confirmed", _payload(changed))
            return changed

    def release(self, month: BillingMonth, destinations: Collection[str], *, actor: str, run_id: str) -> bool:
        """Tell the guard that delivery is done with the closed version, once every destination has it; whether it is.

        Destinations that are added later are served all the same; the guard is told once.
        """
        with self._page(month, actor, run_id) as (connection, page):
            closed = _closed_version(page)
            rows = [_find(connection, closed, destination) for destination in destinations]
            done = bool(rows) and all(row is not None and row["state"] == DeliveryState.RECEIPT for row in rows)
            if done and page.writable:
                page.record_release(content_sha256=closed.content_sha256)
            return done

    def deliveries(self, month: BillingMonth | None = None) -> list[PackDelivery]:
        """How every delivery stands, of one month or of all, by month, version and destination."""
        query = select(deliveries).order_by(deliveries.c.month, deliveries.c.version, deliveries.c.destination)
        if month is not None:
            query = query.where(deliveries.c.month == str(month))
        with self._engine.connect() as connection:
            return [_delivery(row) for row in connection.execute(query).mappings()]

    def due_months(self, destinations: Collection[str], at: dt.datetime) -> list[BillingMonth]:
        """The months that owe these destinations something: never tried, failed a while ago, begun and not ended."""
        owed = [each for each in self.deliveries() if each.state in _TRIABLE and each.destination in destinations]
        return sorted({each.month for each in owed if each.next_attempt_at <= at})

    @contextmanager
    def _page(self, month: BillingMonth, actor: str, run_id: str) -> Iterator[tuple[Connection, BookPage]]:
        with locked_period(self._engine, month) as (connection, period):
            page = BookPage(connection, period, "delivery", actor, run_id, self._clock)
            try:
                yield connection, page
            finally:
                page.end()


def _closed_version(page: BookPage) -> PeriodVersion:
    """The version that the ledger has recorded as the month's last close; nothing else ever leaves the house."""
    if page.period.state is PeriodState.CLOSED:
        recorded = page.recorded(page.period.version)
        if recorded is not None and recorded.content_sha256 == page.period.content_sha256:
            return recorded
    message = f"{page.month} is not delivered: {page.reason}. Fix: close the month first."
    raise NotDeliverableError(message)


def _person(by: str) -> str:
    if not by.strip():
        message = "a decision about a delivery is a person's. Fix: fill in --by."
        raise NotDeliverableError(message)
    return by.strip()


def _find(connection: Connection, closed: PeriodVersion, destination: str) -> RowMapping | None:
    mine = (
        (deliveries.c.month == str(closed.month))
        & (deliveries.c.version == closed.version)
        & (deliveries.c.content_sha256 == closed.content_sha256)
        & (deliveries.c.destination == destination)
    )
    return connection.execute(select(deliveries).where(mine)).mappings().one_or_none()


def _read(connection: Connection, delivery_id: int) -> PackDelivery:
    return _delivery(connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().one())


def _change(connection: Connection, delivery_id: int, values: Mapping[str, object]) -> PackDelivery:
    changed = update(deliveries).where(deliveries.c.id == delivery_id).values(values).returning(deliveries)
    return _delivery(connection.execute(changed).mappings().one())


def _payload(delivery: PackDelivery) -> dict[str, Json]:
    return {
        "version": delivery.version,
        "content_sha256": delivery.content_sha256,
        "destination": delivery.destination,
        "transport": delivery.transport,
        "message_id": delivery.message_id,
        "attempt": delivery.attempts,
    }


def _delivery(row: RowMapping) -> PackDelivery:
    month, state = BillingMonth.parse(row["month"]), DeliveryState(row["state"])
    return PackDelivery(**{**row, "month": month, "state": state})
