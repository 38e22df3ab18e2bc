"""Approvals of packs, append-only: who approved which content hash, signed or asserted (Rules 2.7, 11.8).

Belongs here: recording approvals under the period's lock, and reading them. Does not belong here: what makes an
approval no good (`domain.approval`), the arithmetic (`signing`), the close that rests on them (`book`).
"""

import datetime as dt
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, RowMapping, insert, select

from tokengov_pipelines.domain.approval import (
    Approval,
    ApprovalKind,
    PackSubject,
    Person,
    Role,
    instant_text,
    problems_of,
)
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.events import append_event
from tokengov_pipelines.ledger.periods import PeriodState, locked_period
from tokengov_pipelines.ledger.signing import verifies
from tokengov_pipelines.ledger.tables import approvals

_LONGEST_AGO = dt.timedelta(days=1)
"""How far the time in an approval may be from the ledger's clock: a revoked key could else sign for an earlier day."""


class ApprovalRefusedError(LedgerError):
    """An approval that breaks a rule, or of a version that is not the next to close; nothing was recorded."""


class ApprovalBook:
    """The approvals of one ledger. `clock` gives aware UTC datetimes."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def record(self, approval: Approval, people: Sequence[Person]) -> Approval:
        """Record an approval of what would be closed next; the same one again changes nothing.

        `people` is people.csv. The approval's own problems are asked here, those between people at the close.

        Raises:
            ApprovalRefusedError: the signer may not sign so, the signature is not right, the month is closed.
        """
        blocking = [str(each) for each in problems_of(approval, people, verifies) if each.blocks]
        if blocking:
            raise ApprovalRefusedError("\n".join(blocking))
        now = self._clock()
        if abs(now - approval.at) > _LONGEST_AGO:
            message = (
                f"the approval says {instant_text(approval.at)}, and now it is {instant_text(now)}. "
                "Fix: sign again; check the clock of the machine that signs."
            )
            raise ApprovalRefusedError(message)
        with locked_period(self._engine, approval.subject.month) as (connection, period):
            if period.state is PeriodState.CLOSED:
                message = (
                    f"{period.month} was closed at v{period.version}: an approval now would look as if the close had "
                    "rested on it. Fix: nothing is to be signed; corrections post to the next open period."
                )
                raise ApprovalRefusedError(message)
            if approval.subject.version != period.version + 1:
                message = (
                    f"the next version of {period.month} is v{period.version + 1}, not v{approval.subject.version}. "
                    f"Fix: tokengov prepare {period.month}, and sign what it names."
                )
                raise ApprovalRefusedError(message)
            insert_approval(connection, approval, now)
        return approval

    def of(self, month: BillingMonth, content_sha256: str) -> list[Approval]:
        """The approvals of exactly this content, in the order in which they were recorded."""
        with self._engine.connect() as connection:
            return read_approvals(connection, month, content_sha256)

    def all(self, month: BillingMonth) -> list[Approval]:
        """Every approval of a month, also of contents that were prepared again since."""
        with self._engine.connect() as connection:
            return read_approvals(connection, month)


def read_approvals(connection: Connection, month: BillingMonth, content_sha256: str | None = None) -> list[Approval]:
    """Approvals of a month in the order in which they were recorded; of one content or of all."""
    query = select(approvals).where(approvals.c.month == str(month)).order_by(approvals.c.id)
    if content_sha256 is not None:
        query = query.where(approvals.c.content_sha256 == content_sha256)
    return [_approval(row) for row in connection.execute(query).mappings()]


def insert_approval(connection: Connection, approval: Approval, at: dt.datetime) -> None:
    """Record an approval and its event under the period's lock, unless the same is there."""
    subject = approval.subject
    if any(_same(approval, each) for each in read_approvals(connection, subject.month, subject.content_sha256)):
        return
    values = {
        "month": str(subject.month),
        "version": subject.version,
        "content_sha256": subject.content_sha256,
        "role": str(approval.role),
        "name": approval.name,
        "email": approval.email,
        "at": approval.at,
        "statement": approval.statement,
        "exceptions": approval.exceptions,
        "kind": str(approval.kind),
        "public_key": approval.public_key,
        "key_fingerprint": approval.key_fingerprint,
        "signature": approval.signature,
    }
    connection.execute(insert(approvals).values(values))
    append_event(
        connection,
        at=at,
        actor=approval.email or approval.name,
        kind="approval.recorded",
        month=str(subject.month),
        payload=approval_payload(approval) | {"statement": approval.statement, "signature": approval.signature},
    )


def approval_payload(approval: Approval) -> dict[str, Json]:
    """What an event says of an approval."""
    return {
        "version": approval.subject.version,
        "content_sha256": approval.subject.content_sha256,
        "role": str(approval.role),
        "name": approval.name,
        "kind": str(approval.kind),
        "exceptions": approval.exceptions,
        "key_fingerprint": approval.key_fingerprint,
    }


def _same(one: Approval, other: Approval) -> bool:
    """Whether two approvals say the same; a second signature over the same words minutes later adds nothing."""

    def said(approval: Approval) -> tuple[object, ...]:
        return (
            approval.subject,
            approval.role,
            (approval.email or approval.name).casefold(),
            approval.name,
            approval.statement,
            approval.exceptions,
            approval.public_key,
        )

    return said(one) == said(other) and one.kind is other.kind


def _approval(row: RowMapping) -> Approval:
    subject = PackSubject(BillingMonth.parse(row["month"]), row["version"], row["content_sha256"])
    approval = Approval(
        subject=subject,
        role=Role(row["role"]),
        name=row["name"],
        email=row["email"],
        at=row["at"],
        statement=row["statement"],
        exceptions=row["exceptions"],
        public_key=row["public_key"],
        signature=row["signature"],
    )
    if ApprovalKind(row["kind"]) is not approval.kind:
        message = f"approval {row['id']} of {subject} is not what was written. Fix: restore the ledger from a backup."
        raise LedgerError(message)
    return approval
