"""Waivers: signed exceptions, each by two people, kept for ever (rule 2.4).

Belongs here: granting, revoking and reading them under a period's lock. Does not belong here: what a waiver lets pass
(`domain.close`) and who holds which role (the directory's people.csv).
"""

import datetime as dt
from decimal import Decimal

from sqlalchemy import Connection, RowMapping, insert, select, update

from tokengov_pipelines.domain.close import Waiver, WaiverSubject
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import WaiverRefusedError
from tokengov_pipelines.ledger.events import append_event
from tokengov_pipelines.ledger.periods import PeriodState, read_period
from tokengov_pipelines.ledger.tables import waivers

OF_ONE_INVOICE = frozenset({WaiverSubject.SUSPENSE, WaiverSubject.INVESTIGATE, WaiverSubject.TRUE_UP})
"""The subjects that speak of an invoice and may name its provider; the others speak of the whole month."""


def read_waivers(connection: Connection, month: BillingMonth) -> list[Waiver]:
    """All waivers of a month as they were granted, the revoked ones too (`Waiver.covers` passes them over)."""
    query = select(waivers).where(waivers.c.month == str(month)).order_by(waivers.c.id)
    return [_waiver(row) for row in connection.execute(query).mappings()]


def insert_waiver(
    connection: Connection,
    *,
    at: dt.datetime,
    month: BillingMonth,
    subject: WaiverSubject,
    provider: str | None,
    reason: str,
    requested_by: str,
    approved_by: str,
    limit_amount: Decimal | None,
) -> Waiver:
    """Grant a waiver under the period's lock; raises `WaiverRefusedError` with the rule that it breaks."""
    _refuse_unsigned(reason, requested_by, approved_by, limit_amount)
    if provider is not None and subject not in OF_ONE_INVOICE:
        message = f"a waiver of {subject} is of the whole month, not of {provider}. Fix: leave --provider out."
        raise WaiverRefusedError(message)
    state = read_period(connection, month).state
    if state is PeriodState.CLOSED and subject is not WaiverSubject.SHRINK:
        message = (
            f"{month} is closed: a waiver granted now would look as if the close had rested on it. "
            "Fix: post a correction to the next open period."
        )
        raise WaiverRefusedError(message)
    values = {
        "month": str(month),
        "provider": provider,
        "subject": str(subject),
        "reason": reason.strip(),
        "requested_by": requested_by.strip(),
        "approved_by": approved_by.strip(),
        "limit_amount": limit_amount,
        "granted_at": at,
    }
    row = connection.execute(insert(waivers).values(values).returning(waivers)).mappings().one()
    waiver = _waiver(row)
    payload: dict[str, Json] = {
        "id": waiver.id,
        "subject": str(subject),
        "provider": provider,
        "reason": waiver.reason,
        "requested_by": waiver.requested_by,
        "approved_by": waiver.approved_by,
        "limit_amount": None if limit_amount is None else f"{limit_amount:f}",
    }
    append_event(connection, at=at, actor=waiver.approved_by, kind="waiver.granted", month=str(month), payload=payload)
    return waiver


def revoke_waiver_row(
    connection: Connection, *, at: dt.datetime, month: BillingMonth, waiver_id: int, actor: str, reason: str
) -> None:
    """Take a waiver back under the period's lock; the row stays, with the time. Raises `WaiverRefusedError`."""
    mine = (waivers.c.id == waiver_id) & (waivers.c.month == str(month))
    state = read_period(connection, month).state
    changed = 0
    if state is not PeriodState.CLOSED:
        taken_back = update(waivers).where(mine & waivers.c.revoked_at.is_(None)).values(revoked_at=at)
        changed = connection.execute(taken_back).rowcount
    if not changed:
        message = (
            f"waiver {waiver_id} of {month} cannot be revoked: the month is closed, or there is no such waiver in "
            "force. Fix: look at the waivers of the month."
        )
        raise WaiverRefusedError(message)
    payload: dict[str, Json] = {"id": waiver_id, "reason": reason}
    append_event(connection, at=at, actor=actor, kind="waiver.revoked", month=str(month), payload=payload)


def _refuse_unsigned(reason: str, requested_by: str, approved_by: str, limit_amount: Decimal | None) -> None:
    if not reason.strip():
        message = "a waiver needs a reason. Fix: --reason says why the month may close all the same."
        raise WaiverRefusedError(message)
    if not requested_by.strip() or not approved_by.strip():
        message = "a waiver needs two people. Fix: name --requested-by and --approved-by."
        raise WaiverRefusedError(message)
    if same_person(requested_by, approved_by):
        message = (
            f"{requested_by.strip()} cannot both request and approve a waiver. "
            "Fix: name another person as --approved-by."
        )
        raise WaiverRefusedError(message)
    if limit_amount is not None and limit_amount < 0:
        message = f"the limit of a waiver is {limit_amount}; it is an amount of zero or more. Fix: --limit 100.00"
        raise WaiverRefusedError(message)


def _waiver(row: RowMapping) -> Waiver:
    values = dict(row)
    values["month"] = BillingMonth.parse(values["month"])
    values["subject"] = WaiverSubject(values["subject"])
    return Waiver(**values)
