"""The audit trail: append-only events, each holding the hash of the one before it (rule 2.7).

Belongs here: appending, reading and verifying events. Does not belong here: what is worth an event (`book`, `waivers`
and the callers of `Ledger.record_event`).

The chain shows a changed, inserted or removed event. It cannot show that the newest events were cut off: the head is
kept somewhere else, in the manifest of every pack (`ChainHead`), and `holds_head` asks whether the chain still has it.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select

from tokengov_pipelines.ledger.columns import Json, canonical_json, utc_text
from tokengov_pipelines.ledger.connection import lock_globally
from tokengov_pipelines.ledger.tables import events

GENESIS_SHA256 = "0" * 64
"""What the first event names as its predecessor."""

_CHAIN_LOCK = 0x746B6702  # 'tkg' 2: Postgres advisory lock of the chain's end; always taken after a period's row lock


@dataclass(frozen=True)
class Event:
    """One link of the chain. `month` is 'YYYY-MM' where the event concerns one period."""

    seq: int
    at: dt.datetime
    actor: str
    kind: str
    month: str | None
    payload: Json
    prev_sha256: str
    sha256: str


@dataclass(frozen=True)
class ChainHead:
    """The newest link; (0, 64 zeros) while there is none. A manifest holds it: what it names cannot get lost."""

    seq: int
    sha256: str


@dataclass(frozen=True)
class ChainReport:
    """What verifying found: all `events` links in order, or the first broken one and in what way."""

    events: int
    head_sha256: str
    broken_seq: int | None = None
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether no link is broken."""
        return self.broken_seq is None


def append_event(
    connection: Connection, *, at: dt.datetime, actor: str, kind: str, month: str | None, payload: Json
) -> Event:
    """Add one event at the end of the chain, inside the caller's writing transaction."""
    if not actor.strip() or not kind.strip():
        message = f"an event needs an actor and a kind, got actor {actor!r} and kind {kind!r}."
        raise ValueError(message)
    lock_globally(connection, _CHAIN_LOCK)
    head = chain_head(connection)
    seq, prev_sha256 = head.seq + 1, head.sha256
    sha256 = _link_sha256(seq, at, actor, kind, month, payload, prev_sha256)
    event = Event(seq, at.astimezone(dt.UTC), actor, kind, month, payload, prev_sha256, sha256)
    connection.execute(
        insert(events).values(
            seq=seq, at=at, actor=actor, kind=kind, month=month, payload=payload, prev_sha256=prev_sha256, sha256=sha256
        )
    )
    return event


def chain_head(connection: Connection) -> ChainHead:
    """The newest link as the caller's transaction sees it."""
    last = connection.execute(select(events.c.seq, events.c.sha256).order_by(events.c.seq.desc()).limit(1)).first()
    return ChainHead(last.seq, last.sha256) if last else ChainHead(0, GENESIS_SHA256)


def holds_head(connection: Connection, head: ChainHead) -> bool:
    """Whether the chain still has the link that a manifest names."""
    if head.seq == 0:
        return head.sha256 == GENESIS_SHA256
    return connection.execute(select(events.c.sha256).where(events.c.seq == head.seq)).scalar() == head.sha256


def read_events(connection: Connection, month: str | None = None, kind: str | None = None) -> list[Event]:
    """Events in order, all of them or those of one month, one kind, or both."""
    query = select(events).order_by(events.c.seq)
    if month is not None:
        query = query.where(events.c.month == month)
    if kind is not None:
        query = query.where(events.c.kind == kind)
    return [_event(row) for row in connection.execute(query).mappings()]


def verify_events(connection: Connection) -> ChainReport:
    """Recompute every link from the first event on and stop at the first that does not hold."""
    expected_seq, head = 1, GENESIS_SHA256
    for event in read_events(connection):
        if event.seq != expected_seq:
            return ChainReport(expected_seq - 1, head, expected_seq, f"event {expected_seq} is missing")
        if event.prev_sha256 != head:
            return ChainReport(
                expected_seq - 1, head, event.seq, f"event {event.seq} does not follow event {event.seq - 1}"
            )
        computed = _link_sha256(
            event.seq, event.at, event.actor, event.kind, event.month, event.payload, event.prev_sha256
        )
        if computed != event.sha256:
            return ChainReport(expected_seq - 1, head, event.seq, f"event {event.seq} was changed after it was written")
        expected_seq, head = event.seq + 1, event.sha256
    return ChainReport(expected_seq - 1, head)


def _link_sha256(
    seq: int, at: dt.datetime, actor: str, kind: str, month: str | None, payload: Json, prev_sha256: str
) -> str:
    link: dict[str, Json] = {
        "seq": seq,
        "at": utc_text(at),
        "actor": actor,
        "kind": kind,
        "month": month,
        "payload": payload,
        "prev_sha256": prev_sha256,
    }
    return hashlib.sha256(canonical_json(link).encode("utf-8", "surrogatepass")).hexdigest()


def _event(row: RowMapping) -> Event:
    return Event(**row)
