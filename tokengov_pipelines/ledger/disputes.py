"""Disputes as the ledger keeps them: raised, decided once, posted once (Rule 6.8).

Belongs here: recording each step under the period's lock with its event, and reading. Does not belong here: what may be
raised and decided, and what a dispute moves (`domain.dispute`).
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from tokengov_pipelines.domain.dispute import (
    ConsentKind,
    Decision,
    Dispute,
    DisputedLine,
    decision_refusal,
    raising_refusal,
)
from tokengov_pipelines.domain.money import usd
from tokengov_pipelines.domain.period import BillingMonth, accounting_day
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.events import append_event
from tokengov_pipelines.ledger.periods import locked_period
from tokengov_pipelines.ledger.tables import disputes


class DisputeRefusedError(LedgerError):
    """A dispute or a decision that breaks rule 6.8; nothing was recorded."""


class DisputeBook:
    """The disputes of one ledger. `clock` gives aware UTC datetimes."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def raise_dispute(
        self,
        month: BillingMonth,
        cost_center: str,
        lines: Sequence[DisputedLine],
        *,
        currency: str,
        reason: str,
        claimed_owner: str,
        evidence: str,
        raised_by: str,
        charged: Mapping[tuple[str, str, str], Decimal],
        days_after_close: int,
        holidays: Collection[dt.date] = frozenset(),
    ) -> Dispute:
        """Record a dispute about lines of `cost_center`; `charged` are its charges in the month, by line key.

        Raises:
            DisputeRefusedError: rule 6.8 does not allow it; the text says why and what to do.
        """
        with locked_period(self._engine, month) as (connection, period):
            others = read_disputes(connection, month)
            dispute = Dispute(
                dispute_id=f"D-{month}-{len(others) + 1:03d}",
                month=month,
                cost_center=cost_center.strip(),
                lines=tuple(lines),
                currency=currency,
                reason=reason.strip(),
                claimed_owner=claimed_owner.strip(),
                evidence=evidence.strip(),
                raised_by=raised_by.strip(),
                raised_at=self._clock(),
            )
            refusal = raising_refusal(
                dispute,
                charged=charged,
                others=others,
                closed_on=None if period.closed_at is None else accounting_day(period.closed_at),
                days_after_close=days_after_close,
                holidays=holidays,
            )
            if refusal:
                raise DisputeRefusedError(refusal)
            values = {**vars(dispute), "month": str(month), "lines": _lines_json(dispute.lines)}
            connection.execute(insert(disputes).values({**values, "amount": dispute.amount}))
            payload: dict[str, Json] = {
                "dispute_id": dispute.dispute_id,
                "cost_center": dispute.cost_center,
                "claimed_owner": dispute.claimed_owner,
                "lines": _lines_json(dispute.lines),
                "amount": f"{dispute.amount:f}",
                "currency": currency,
                "reason": dispute.reason,
                "evidence": dispute.evidence,
            }
            self._append(connection, dispute.raised_by, "dispute.raised", dispute, dispute.raised_at, payload)
        return dispute

    def decide(
        self,
        dispute_id: str,
        decision: Decision,
        *,
        reason: str,
        by: str,
        consent_by: str | None = None,
        consent_kind: ConsentKind | None = None,
    ) -> Dispute:
        """Accept, reject or withdraw a dispute, once.

        Raises:
            DisputeRefusedError: there is none, it is decided, or the decision lacks the consent that it needs.
        """
        found = self.get(dispute_id)
        with locked_period(self._engine, found.month) as (connection, _):
            dispute = _one(connection, dispute_id)
            refusal = decision_refusal(
                dispute, decision=decision, reason=reason, by=by, consent_by=consent_by, consent_kind=consent_kind
            )
            if refusal:
                raise DisputeRefusedError(refusal)
            accepted = decision is Decision.ACCEPTED
            values: dict[str, object] = {
                "decision": str(decision),
                "decision_reason": reason.strip(),
                "decided_by": by.strip(),
                "decided_at": self._clock(),
                "consent_by": str(consent_by).strip() if accepted else None,
                "consent_kind": str(consent_kind) if accepted else None,
            }
            connection.execute(update(disputes).where(disputes.c.dispute_id == dispute_id).values(values))
            decided = _one(connection, dispute_id)
            payload: dict[str, Json] = {
                "dispute_id": dispute_id,
                "decision": str(decision),
                "reason": reason.strip(),
                "consent_by": decided.consent_by,
                "consent_kind": decided.consent_kind,
            }
            at = decided.decided_at or self._clock()
            self._append(connection, by.strip(), "dispute.decided", decided, at, payload)
        return decided

    def get(self, dispute_id: str) -> Dispute:
        """One dispute.

        Raises:
            DisputeRefusedError: there is none of this id.
        """
        with self._engine.connect() as connection:
            return _one(connection, dispute_id)

    def of(self, month: BillingMonth) -> list[Dispute]:
        """The disputes about a month, in the order in which they were raised."""
        with self._engine.connect() as connection:
            return read_disputes(connection, month)

    def all(self) -> list[Dispute]:
        """The disputes about every month, by id."""
        with self._engine.connect() as connection:
            return read_disputes(connection)

    def _append(
        self,
        connection: Connection,
        actor: str,
        kind: str,
        dispute: Dispute,
        at: dt.datetime,
        payload: dict[str, Json],
    ) -> None:
        append_event(connection, at=at, actor=actor, kind=kind, month=str(dispute.month), payload=payload)


def read_disputes(connection: Connection, month: BillingMonth | None = None) -> list[Dispute]:
    """Disputes by id, of one month or of all."""
    query = select(disputes).order_by(disputes.c.dispute_id)
    if month is not None:
        query = query.where(disputes.c.month == str(month))
    return sorted((_dispute(row) for row in connection.execute(query).mappings()), key=lambda each: each.raised_at)


def mark_posted(connection: Connection, dispute_ids: Iterable[str], posting_ref: str) -> list[str]:
    """Note inside a close's transaction which accepted disputes it posts; returns those that it may not post."""
    refused = []
    for dispute_id in dispute_ids:
        waits = (
            (disputes.c.dispute_id == dispute_id)
            & (disputes.c.decision == str(Decision.ACCEPTED))
            & disputes.c.posting_ref.is_(None)
        )
        if connection.execute(update(disputes).where(waits).values(posting_ref=posting_ref)).rowcount != 1:
            refused.append(dispute_id)
    return refused


def _one(connection: Connection, dispute_id: str) -> Dispute:
    row = connection.execute(select(disputes).where(disputes.c.dispute_id == dispute_id)).mappings().one_or_none()
    if row is None:
        message = f"there is no dispute {dispute_id[:40]!r}. Fix: take the id from `tokengov disputes list`."
        raise DisputeRefusedError(message)
    return _dispute(row)


def _lines_json(lines: Iterable[DisputedLine]) -> list[Json]:
    return [
        {
            "provider": line.provider,
            "invoice_id": line.invoice_id,
            "charge_type": line.charge_type,
            "amount": f"{line.amount:f}",
        }
        for line in lines
    ]


def _dispute(row: RowMapping) -> Dispute:
    values = dict(row)
    amount = values.pop("amount")
    values["month"] = BillingMonth.parse(values["month"])
    values["lines"] = tuple(DisputedLine(**{**line, "amount": usd(line["amount"])}) for line in values["lines"])
    values["decision"] = Decision(values["decision"]) if values["decision"] else None
    values["consent_kind"] = ConsentKind(values["consent_kind"]) if values["consent_kind"] else None
    dispute = Dispute(**values)
    if dispute.amount != amount:
        message = f"dispute {dispute.dispute_id} is not what was written. Fix: restore the ledger from a backup."
        raise LedgerError(message)
    return dispute
