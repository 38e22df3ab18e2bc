"""The alerts of an installation and the outbox of their messages, kept beside the books and not part of them.

Belongs here: keeping what was observed, opening and closing alerts in one transaction with the messages that they owe,
and handing these messages out. Does not belong here: the rule of opening and closing (`domain.alert`), sending
(`resources.notifier`), what is observed (`tokengov_pipelines.alerting`).

The outbox knows a transport by a label that is no secret (scheme and short hash of its URL). A message is owed until
somebody has recorded that it was sent: a crash between sending and recording sends it twice, never zero times. All
writers take one lock, so processes that observe or deliver at the same time wait for each other for some milliseconds.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, Engine, RowMapping, Select, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tokengov_pipelines.domain.alert import (
    Alert,
    Condition,
    PartState,
    Severity,
    Step,
    Transition,
    retry_after,
    safe_text,
    transitions,
)
from tokengov_pipelines.ledger.connection import lock_globally, write_transaction
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.tables import alert_deliveries, alert_observations, alerts

_ALERTS_LOCK = 0x746B6703  # 'tkg' 3: Postgres advisory lock of all writers of alerts; taken alone
LEASE = dt.timedelta(minutes=3)
"""How long a message that was handed out is not handed out again; longer than any sending takes."""

Event = Literal["opened", "closed"]


class AlertNotOpenError(LedgerError):
    """An alert that is to be closed by hand and is not open."""


@dataclass(frozen=True)
class Delivery:
    """One message owed to one transport: that an alert opened, or that it closed. `attempts` are those that failed."""

    id: int
    alert: Alert
    event: Event
    transport: str
    attempts: int
    next_attempt_at: dt.datetime
    last_error: str | None


class AlertBook:
    """The alerts of one ledger. Moments are aware UTC datetimes of the real clock, whatever day the books are at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def observe(self, conditions: Iterable[Condition], transports: Collection[str]) -> list[Transition]:
        """Open, repeat and close alerts by what was observed, and owe a message to each transport, all or nothing.

        Observing the same again, or an older observation after a newer one, changes nothing.

        Args:
            conditions: what was observed; each carries the moment of its observation.
            transports: the labels of those that are told of alerts that open. An alert that closes is told to those
                that it was told, or will be told, to have opened.
        """
        observed = [_kept(condition) for condition in conditions]
        if not observed:
            return []
        with self._writing() as connection:
            found = transitions(_known(connection, {condition.key for condition in observed}), observed)
            _keep_states(connection, found.states)
            for transition in found.steps:
                _apply(connection, transition, transports)
        return list(found.steps)

    def open_alerts(self) -> list[Alert]:
        """Alerts that are open, oldest first."""
        return self._alerts(select(alerts).where(alerts.c.closed_at.is_(None)).order_by(alerts.c.opened_at))

    def closed_alerts(self, limit: int = 50) -> list[Alert]:
        """Alerts that are over, the newest first."""
        query = select(alerts).where(alerts.c.closed_at.is_not(None)).order_by(alerts.c.closed_at.desc()).limit(limit)
        return self._alerts(query)

    def close_by_hand(self, alert_id: int, *, by: str, reason: str, at: dt.datetime) -> Alert:
        """Close an alert that no observation will close; it opens again when the condition is observed bad again.

        Raises:
            AlertNotOpenError: it is not open, or nobody and no reason is named.
        """
        if not by.strip() or not reason.strip():
            message = f"alert {alert_id}: closing by hand needs a person and a reason. Fix: fill in --by and --reason."
            raise AlertNotOpenError(message)
        with self._writing() as connection:
            mine = (alerts.c.id == alert_id) & alerts.c.closed_at.is_(None)
            row = connection.execute(select(alerts).where(mine)).mappings().one_or_none()
            if row is None:
                message = f"alert {alert_id} is not open. Fix: look at the numbers in: tokengov alerts"
                raise AlertNotOpenError(message)
            good = update(alert_observations).where(alert_observations.c.key == row["key"], alert_observations.c.bad)
            connection.execute(good.values(bad=False, observed_at=at))
            _close(connection, row["id"], max(at, row["last_seen_at"]), safe_text(f"{by.strip()}: {reason.strip()}"))
            return _alert(connection.execute(select(alerts).where(alerts.c.id == alert_id)).mappings().one())

    def claim(self, transports: Collection[str], now: dt.datetime) -> Delivery | None:
        """Hand out the next message that is due for one of these transports, or None; the fewest failures first.

        Open alerts that a transport was never told of (its URL was set later) are owed to it from now on. The message
        that an alert closed waits for the one that it opened. What is handed out and not recorded within `LEASE` is
        due again.
        """
        if not transports:
            return None
        with self._writing() as connection:
            _owe(connection, select(alerts.c.id).where(alerts.c.closed_at.is_(None)), transports, now)
            owed = alert_deliveries.c.delivered_at.is_(None) & alert_deliveries.c.transport.in_(transports)
            rows = connection.execute(_deliveries().where(owed)).mappings().all()
            not_told = {(row["alert_id"], row["transport"]) for row in rows if row["event"] == "opened"}
            due = [
                row
                for row in rows
                if row["next_attempt_at"] <= now
                and (row["event"] == "opened" or (row["alert_id"], row["transport"]) not in not_told)
            ]
            if not due:
                return None
            first = min(due, key=lambda row: (row["attempts"], row["delivery_id"]))
            mine = alert_deliveries.c.id == first["delivery_id"]
            connection.execute(update(alert_deliveries).where(mine).values(next_attempt_at=now + LEASE))
            return _delivery(first)

    def record_success(self, delivery: Delivery, at: dt.datetime) -> None:
        """The message was sent; it is owed no more."""
        with self._writing() as connection:
            mine = alert_deliveries.c.id == delivery.id
            connection.execute(update(alert_deliveries).where(mine).values(delivered_at=at))

    def record_failure(self, delivery: Delivery, error: str, at: dt.datetime) -> None:
        """The message could not be sent; it is due again after `domain.alert.retry_after`, for ever.

        `error` is kept and shown: its sender has taken every secret out of it.
        """
        failures = delivery.attempts + 1
        values = {"attempts": failures, "next_attempt_at": at + retry_after(failures), "last_error": safe_text(error)}
        with self._writing() as connection:
            connection.execute(update(alert_deliveries).where(alert_deliveries.c.id == delivery.id).values(values))

    def undelivered(self) -> list[Delivery]:
        """Every message that is still owed, the most failures first."""
        query = _deliveries().where(alert_deliveries.c.delivered_at.is_(None))
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return sorted(map(_delivery, rows), key=lambda each: (-each.attempts, each.id))

    def _alerts(self, query: Select[Any]) -> list[Alert]:
        with self._engine.connect() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with write_transaction(self._engine) as connection:
            lock_globally(connection, _ALERTS_LOCK)
            yield connection


def _kept(condition: Condition) -> Condition:
    return replace(condition, title=safe_text(condition.title), text=safe_text(condition.text))


def _known(connection: Connection, keys: Collection[str]) -> dict[str, dict[str, PartState]]:
    known: dict[str, dict[str, PartState]] = {}
    query = select(alert_observations).where(alert_observations.c.key.in_(keys))
    for row in connection.execute(query).mappings():
        known.setdefault(row["key"], {})[row["part"]] = PartState(row["bad"], row["observed_at"])
    return known


def _keep_states(connection: Connection, states: Mapping[str, Mapping[str, PartState]]) -> None:
    rows = [
        {"key": key, "part": part, "bad": state.bad, "observed_at": state.at}
        for key, parts in states.items()
        for part, state in parts.items()
    ]
    if rows:
        new = _insert(connection, alert_observations)
        values = {name: new.excluded[name] for name in ("bad", "observed_at")}
        connection.execute(new.on_conflict_do_update(index_elements=["key", "part"], set_=values), rows)


def _apply(connection: Connection, transition: Transition, transports: Collection[str]) -> None:
    condition = transition.condition
    said = {"severity": str(condition.severity), "title": condition.title, "text": condition.text}
    if transition.step is Step.OPENED:
        moments = {"opened_at": condition.at, "last_seen_at": condition.at, "run_id": condition.run_id}
        made = insert(alerts).values(key=condition.key, **said, **moments).returning(alerts.c.id)
        opened = select(alerts.c.id).where(alerts.c.id == connection.execute(made).scalar_one())
        _owe(connection, opened, transports, condition.at)
        return
    is_open = (alerts.c.key == condition.key) & alerts.c.closed_at.is_(None)
    row = connection.execute(select(alerts.c.id, alerts.c.last_seen_at).where(is_open)).one()
    if transition.step is Step.CLOSED:
        _close(connection, row.id, max(condition.at, row.last_seen_at), None)
    elif condition.bad and condition.at >= row.last_seen_at:
        newest = {**said, "last_seen_at": condition.at, "run_id": condition.run_id}
        connection.execute(update(alerts).where(is_open).values(newest))


def _close(connection: Connection, alert_id: int, at: dt.datetime, by: str | None) -> None:
    """End an alert, and owe that news to every transport that was told, or is still to be told, of its beginning."""
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(closed_at=at, closed_by=by))
    mine = (alert_deliveries.c.alert_id == alert_id) & (alert_deliveries.c.event == "opened")
    told: Sequence[str] = connection.execute(select(alert_deliveries.c.transport).where(mine)).scalars().all()
    for transport in told:
        connection.execute(insert(alert_deliveries).values(_owed(alert_id, "closed", transport, at)))


def _owe(connection: Connection, alert_ids: Select[Any], transports: Collection[str], at: dt.datetime) -> None:
    """Owe each of these open alerts to each transport once, whether it was told already or not."""
    ids: Sequence[int] = connection.execute(alert_ids).scalars().all()
    rows = [_owed(alert_id, "opened", transport, at) for alert_id in ids for transport in dict.fromkeys(transports)]
    if rows:
        connection.execute(_insert(connection, alert_deliveries).on_conflict_do_nothing(), rows)


def _owed(alert_id: int, event: Event, transport: str, at: dt.datetime) -> dict[str, object]:
    return {"alert_id": alert_id, "event": event, "transport": transport, "attempts": 0, "next_attempt_at": at}


def _deliveries() -> Select[Any]:
    owed = alert_deliveries.c
    columns = (owed.id.label("delivery_id"), owed.alert_id, owed.event, owed.transport, owed.attempts)
    moments = (owed.next_attempt_at, owed.delivered_at, owed.last_error)
    return select(*columns, *moments, alerts).join_from(alert_deliveries, alerts, owed.alert_id == alerts.c.id)


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _alert(row: RowMapping) -> Alert:
    values = {column.name: row[column.name] for column in alerts.columns}
    return Alert(**{**values, "severity": Severity(values["severity"])})


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["delivery_id"],
        alert=_alert(row),
        event=row["event"],
        transport=row["transport"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        last_error=row["last_error"],
    )
