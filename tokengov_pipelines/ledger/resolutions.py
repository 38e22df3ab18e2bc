"""Resolutions of open items, kept as events of the hash-chained audit trail (rules 2.7, 4.8).

Belongs here: recording them under the period's lock, and reading them back. Does not belong here: what may be resolved
and what that makes of an item (`domain.resolutions`), the items themselves, which are computed (`tables/`).

There is no table of items to rewrite: an item is what its amount and its events say.
"""

import datetime as dt
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, Engine

from tokengov_pipelines.domain.money import usd
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.resolutions import (
    ItemEvent,
    Reopening,
    Resolution,
    ResolutionCode,
    amount_to_resolve,
    apply_events,
    reopening_refusal,
    resolution_refusal,
)
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.events import Event, append_event, read_events
from tokengov_pipelines.ledger.periods import locked_period

RESOLVED: Final = "item.resolved"
REOPENED: Final = "item.reopened"


class ItemRefusedError(LedgerError):
    """A resolution or reopening that breaks rule 4.8; nothing was recorded."""


class ItemBook:
    """The item events of a ledger. `clock` gives aware UTC datetimes."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def events(self) -> list[ItemEvent]:
        """Every resolution and reopening, of all months, in the order in which they were recorded."""
        with self._engine.connect() as connection:
            return read_item_events(connection)

    def resolve(
        self,
        item: ReconcilingItem,
        *,
        code: ResolutionCode,
        amount: Decimal | None,
        evidence: str,
        by: str,
        approver: str,
        controllers: Collection[str],
        write_off_controller_usd: Decimal,
    ) -> Resolution:
        """Settle an item, or `amount` of it (None: all that is left), with its own sign.

        `item` is the item as it was computed; what happened to it since is read under the period's lock, so that two
        people who settle it at once do not settle it twice. A closed period does not matter: nothing of it changes.

        Raises:
            ItemRefusedError: rule 4.8 does not allow it; the text says why and what to do.
        """
        with locked_period(self._engine, item.billing_month) as (connection, _):
            now = _current(connection, item)
            exact = amount_to_resolve(now, amount)
            refusal = resolution_refusal(
                now,
                code=code,
                amount=exact,
                evidence=evidence,
                by=by,
                approver=approver,
                controllers=controllers,
                write_off_controller_usd=write_off_controller_usd,
            )
            if refusal:
                raise ItemRefusedError(refusal)
            payload: dict[str, Json] = {
                "item_id": item.item_id,
                "provider": item.provider,
                "component": item.component,
                "item_amount": f"{item.amount:f}",
                "code": str(code),
                "amount": f"{exact:f}",
                "currency": item.currency,
                "evidence": evidence.strip(),
                "by": by.strip(),
                "approver": approver.strip(),
            }
            return _resolution(self._append(connection, approver, RESOLVED, item, payload))

    def reopen(self, item: ReconcilingItem, *, by: str, reason: str) -> Reopening:
        """Take every resolution of an item back; or open one that its nature explained.

        Raises:
            ItemRefusedError: it is open, or nobody says why.
        """
        with locked_period(self._engine, item.billing_month) as (connection, _):
            refusal = reopening_refusal(_current(connection, item), by=by, reason=reason)
            if refusal:
                raise ItemRefusedError(refusal)
            payload: dict[str, Json] = {
                "item_id": item.item_id,
                "provider": item.provider,
                "component": item.component,
                "reason": reason.strip(),
                "by": by.strip(),
            }
            return _reopening(self._append(connection, by, REOPENED, item, payload))

    def _append(
        self, connection: Connection, actor: str, kind: str, item: ReconcilingItem, payload: dict[str, Json]
    ) -> Event:
        return append_event(
            connection,
            at=self._clock(),
            actor=actor.strip(),
            kind=kind,
            month=str(item.billing_month),
            payload=payload,
        )


def read_item_events(connection: Connection, month: str | None = None) -> list[ItemEvent]:
    """Resolutions and reopenings in order, of one month's items or of all."""
    events: list[ItemEvent] = [_resolution(event) for event in read_events(connection, month, RESOLVED)]
    events += [_reopening(event) for event in read_events(connection, month, REOPENED)]
    return sorted(events, key=lambda event: event.seq)


def _current(connection: Connection, item: ReconcilingItem) -> ReconcilingItem:
    (current,) = apply_events([item], read_item_events(connection, str(item.billing_month)))
    return current


def _resolution(event: Event) -> Resolution:
    return Resolution(
        seq=event.seq,
        at=event.at,
        item_id=_text(event, "item_id"),
        code=ResolutionCode(_text(event, "code")),
        amount=usd(_text(event, "amount")),
        currency=_text(event, "currency"),
        evidence=_text(event, "evidence"),
        by=_text(event, "by"),
        approver=_text(event, "approver"),
    )


def _reopening(event: Event) -> Reopening:
    return Reopening(event.seq, event.at, _text(event, "item_id"), _text(event, "by"), _text(event, "reason"))


def _text(event: Event, name: str) -> str:
    value = event.payload.get(name) if isinstance(event.payload, dict) else None
    if not isinstance(value, str):
        message = (
            f"event {event.seq} ({event.kind}) has no {name}. Fix: restore the ledger; the chain says whether it is "
            "what was written."
        )
        raise LedgerError(message)
    return value
