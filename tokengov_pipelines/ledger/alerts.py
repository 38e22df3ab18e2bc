"""The alerts of an installation and the outbox of their messages, kept beside the books and not part of them.

Belongs here: keeping what was observed, opening and closing alerts in one transaction with the messages that they owe,
and handing these messages out. Does not belong here: the rules of opening, telling again and closing (`domain.alert`),
sending (`resources.notifier`), what is observed (`tokengov_pipelines.alerting`).

The outbox knows a transport by a label that is no secret (scheme and short hash of its URL). What is told of an alert
is numbered: its opening is 1, each time that it has grown or is recalled takes the next number, its end the last. A
message waits for those of lower number. One that goes out late says the newest and stands for all that were owed beside
the end. It is owed until somebody has recorded that it was sent: a crash between sending and recording sends it twice,
never zero times. All writers take one lock, so processes that observe or deliver at the same time wait for each other
for some milliseconds.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tokengov_pipelines.domain.alert import (
    Alert,
    Condition,
    Event,
    PartState,
    Severity,
    Step,
    Told,
    Transition,
    is_due_again,
    is_raised,
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

_OPENING = 1  # the number of the opening; the end has the number after the last that was told


class AlertNotOpenError(LedgerError):
    """An alert that a person wants to close or acknowledge, and that is not open or for which nobody signs."""


@dataclass(frozen=True)
class Delivery:
    """One message owed to one transport. `attempts` are those that failed.

    It stands for the numbers from `number` to `until`: what was owed of the same alert when it was handed out.
    """

    id: int
    alert: Alert
    event: Event
    number: int
    until: int
    transport: str
    attempts: int
    next_attempt_at: dt.datetime
    last_error: str | None


class AlertBook:
    """The alerts of one ledger. Moments are aware UTC datetimes of the real clock, whatever day the books are at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def observe(self, conditions: Iterable[Condition], transports: Collection[str]) -> list[Transition]:
        """Open, repeat, raise and close alerts by what was observed, and owe messages for it, all or nothing.

        Observing the same again, or an older observation after a newer one, changes nothing.

        Args:
            conditions: what was observed; each carries the moment of its observation.
            transports: the labels of those that are told of alerts that open or have grown. An alert that closes is
                told to those that it was told, or will be told, to have opened.
        """
        observed = [_kept(condition) for condition in conditions]
        if not observed:
            return []
        with self._writing() as connection:
            found = transitions(_known(connection, {condition.key for condition in observed}), observed)
            _keep_states(connection, found.states)
            return [_apply(connection, transition, transports) for transition in found.steps]

    def open_alerts(self) -> list[Alert]:
        """Alerts that are open, oldest first."""
        query = select(alerts).where(alerts.c.closed_at.is_(None)).order_by(alerts.c.opened_at, alerts.c.id)
        return self._alerts(query)

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
            row = _open_row(connection, alert_id)
            good = update(alert_observations).where(alert_observations.c.key == row["key"], alert_observations.c.bad)
            connection.execute(good.values(bad=False, observed_at=at))
            _close(connection, row["id"], max(at, row["last_seen_at"]), safe_text(f"{by.strip()}: {reason.strip()}"))
            return _read(connection, alert_id)

    def acknowledge(self, alert_id: int, *, by: str, at: dt.datetime) -> Alert:
        """Note that somebody has taken an open alert on: it is not recalled any more, until it has grown.

        Raises:
            AlertNotOpenError: it is not open, or nobody is named.
        """
        if not by.strip():
            message = f"alert {alert_id}: acknowledging needs a person. Fix: fill in --by."
            raise AlertNotOpenError(message)
        with self._writing() as connection:
            _open_row(connection, alert_id)
            values = {"acknowledged_at": at, "acknowledged_by": safe_text(by)}
            connection.execute(update(alerts).where(alerts.c.id == alert_id).values(values))
            return _read(connection, alert_id)

    def claim(self, transports: Collection[str], now: dt.datetime) -> Delivery | None:
        """Hand out the next message that is due for one of these transports, or None; the fewest failures first.

        Open alerts that a transport was never told of (its URL was set later) are owed to it from now on, and so are
        pages that are to be recalled. A message waits for the earlier ones of its alert. What is handed out and not
        recorded within `LEASE` is due again.
        """
        if not transports:
            return None
        with self._writing() as connection:
            is_open = connection.execute(select(alerts).where(alerts.c.closed_at.is_(None))).mappings().all()
            _owe(connection, [row["id"] for row in is_open], _OPENING, Event.OPENED, transports, now)
            for row in is_open:
                if is_due_again(_alert(row), now):
                    _tell(connection, row, Event.REMINDED, transports, now)
            owed = alert_deliveries.c.delivered_at.is_(None) & alert_deliveries.c.transport.in_(transports)
            rows = connection.execute(_deliveries().where(owed)).mappings().all()
            next_of: dict[tuple[int, str], RowMapping] = {}
            for row in sorted(rows, key=lambda row: -row["number"]):
                next_of[row["alert_id"], row["transport"]] = row
            due = [row for row in next_of.values() if row["next_attempt_at"] <= now]
            if not due:
                return None
            first = min(due, key=lambda row: (row["attempts"], row["delivery_id"]))
            mine = alert_deliveries.c.id == first["delivery_id"]
            connection.execute(update(alert_deliveries).where(mine).values(next_attempt_at=now + LEASE))
            return _delivery(first, until=_last_beside_the_end(first, rows))

    def record_success(self, delivery: Delivery, at: dt.datetime) -> None:
        """The message was sent; it is owed no more, and neither is what it stands for."""
        owed = alert_deliveries.c
        mine = (owed.alert_id == delivery.alert.id) & (owed.transport == delivery.transport)
        told = owed.number.between(delivery.number, delivery.until) & owed.delivered_at.is_(None)
        with self._writing() as connection:
            connection.execute(update(alert_deliveries).where(mine & told).values(delivered_at=at))

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
        return sorted((_delivery(row) for row in rows), key=lambda each: (-each.attempts, each.id))

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


def _apply(connection: Connection, transition: Transition, transports: Collection[str]) -> Transition:
    """Write one step; returns it as it was: what is still bad may have been raised."""
    condition = transition.condition
    if transition.step is Step.OPENED:
        moments = {"opened_at": condition.at, "last_seen_at": condition.at}
        told = _told(1, condition.severity, condition.amount, condition.at)
        made = insert(alerts).values(key=condition.key, **_said(condition), **moments, **told).returning(alerts.c.id)
        opened: int = connection.execute(made).scalar_one()
        _owe(connection, [opened], _OPENING, Event.OPENED, transports, condition.at)
        return transition
    is_open = (alerts.c.key == condition.key) & alerts.c.closed_at.is_(None)
    row = connection.execute(select(alerts).where(is_open)).mappings().one()
    if transition.step is Step.CLOSED:
        _close(connection, row["id"], max(condition.at, row["last_seen_at"]), None)
    elif condition.bad and condition.at >= row["last_seen_at"]:
        newest = {**_said(condition), "last_seen_at": condition.at}
        if row["told_amount"] is None:
            newest["told_amount"] = condition.amount  # the first amount there is: what later ones are compared with
        connection.execute(update(alerts).where(is_open).values(newest))
        if is_raised(_last_told(row), condition.severity, condition.amount):
            row = connection.execute(select(alerts).where(is_open)).mappings().one()
            _tell(connection, row, Event.RAISED, transports, condition.at)
            return replace(transition, step=Step.RAISED)
    return transition


def _said(condition: Condition) -> dict[str, object]:
    words = {"severity": str(condition.severity), "title": condition.title, "text": condition.text}
    return {**words, "owner": condition.owner, "amount": condition.amount, "run_id": condition.run_id}


def _told(number: int, severity: str, amount: Decimal | None, at: dt.datetime) -> dict[str, object]:
    return {"told": number, "told_severity": str(severity), "told_amount": amount, "told_at": at}


def _tell(connection: Connection, row: RowMapping, event: Event, transports: Collection[str], at: dt.datetime) -> None:
    """Owe what an open alert says now to each transport, after its opening; an acknowledgement ends with a raise."""
    number, values = row["told"] + 1, _told(row["told"] + 1, row["severity"], row["amount"], at)
    if event is Event.RAISED:
        values |= {"acknowledged_at": None, "acknowledged_by": None}
    connection.execute(update(alerts).where(alerts.c.id == row["id"]).values(values))
    _owe(connection, [row["id"]], _OPENING, Event.OPENED, transports, at)
    _owe(connection, [row["id"]], number, event, transports, at)


def _close(connection: Connection, alert_id: int, at: dt.datetime, by: str | None) -> None:
    """End an alert, and owe that news to every transport that was told, or is still to be told, of its beginning."""
    ended = update(alerts).where(alerts.c.id == alert_id).values(closed_at=at, closed_by=by).returning(alerts.c.told)
    number = connection.execute(ended).scalar_one() + 1
    mine = (alert_deliveries.c.alert_id == alert_id) & (alert_deliveries.c.number == _OPENING)
    told: Sequence[str] = connection.execute(select(alert_deliveries.c.transport).where(mine)).scalars().all()
    _owe(connection, [alert_id], number, Event.CLOSED, told, at)


def _owe(
    connection: Connection,
    alert_ids: Collection[int],
    number: int,
    event: Event,
    transports: Collection[str],
    at: dt.datetime,
) -> None:
    """Owe a message of each alert to each transport once, whether it was sent already or not."""
    owed = {"number": number, "event": str(event), "attempts": 0, "next_attempt_at": at}
    labels = dict.fromkeys(transports)
    rows = [{**owed, "alert_id": alert_id, "transport": label} for alert_id in alert_ids for label in labels]
    if rows:
        new = _insert(connection, alert_deliveries)
        connection.execute(new.on_conflict_do_nothing(index_elements=["alert_id", "number", "transport"]), rows)


def _last_beside_the_end(first: RowMapping, owed: Collection[RowMapping]) -> int:
    """The highest number that a message stands for: all that is owed of its alert and transport, but not its end."""
    mine = [row for row in owed if (row["alert_id"], row["transport"]) == (first["alert_id"], first["transport"])]
    last: int = max([first["number"], *(row["number"] for row in mine if row["event"] != Event.CLOSED)])
    return last


def _open_row(connection: Connection, alert_id: int) -> RowMapping:
    mine = (alerts.c.id == alert_id) & alerts.c.closed_at.is_(None)
    row = connection.execute(select(alerts).where(mine)).mappings().one_or_none()
    if row is None:
        message = f"alert {alert_id} is not open. Fix: look at the numbers in: tokengov alerts"
        raise AlertNotOpenError(message)
    return row


def _read(connection: Connection, alert_id: int) -> Alert:
    return _alert(connection.execute(select(alerts).where(alerts.c.id == alert_id)).mappings().one())


def _deliveries() -> Select[Any]:
    owed = alert_deliveries.c
    columns = (owed.id.label("delivery_id"), owed.alert_id, owed.number, owed.event, owed.transport, owed.attempts)
    moments = (owed.next_attempt_at, owed.delivered_at, owed.last_error)
    return select(*columns, *moments, alerts).join_from(alert_deliveries, alerts, owed.alert_id == alerts.c.id)


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _alert(row: RowMapping) -> Alert:
    told = {"told_at", "told_severity", "told_amount"}
    values = {column.name: row[column.name] for column in alerts.columns if column.name not in told}
    return Alert(**{**values, "severity": Severity(values["severity"]), "last_told": _last_told(row)})


def _last_told(row: RowMapping) -> Told:
    return Told(Severity(row["told_severity"]), row["told_amount"], row["told_at"])


def _delivery(row: RowMapping, until: int | None = None) -> Delivery:
    return Delivery(
        id=row["delivery_id"],
        alert=_alert(row),
        event=Event(row["event"]),
        number=row["number"],
        until=until or row["number"],
        transport=row["transport"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        last_error=row["last_error"],
    )
