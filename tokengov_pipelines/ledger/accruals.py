"""Approved accruals, append-only: a month may close on one where the provider's invoice is not there yet (2.2, 2.4).

Belongs here: recording an approval by two people, and reading it. Does not belong here: how an accrual is computed and
reversed, and whether the close may rest on it (`domain.close`).
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, Engine, RowMapping, insert, select

from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.events import append_event
from tokengov_pipelines.ledger.periods import PeriodState, locked_period
from tokengov_pipelines.ledger.tables import accrual_approvals


class AccrualRefusedError(LedgerError):
    """An approval of an accrual that is not by two people, or comes after the close; nothing was recorded."""


@dataclass(frozen=True)
class AccrualApproval:
    """An accrual that two people agreed to, in `currency`; `expected_error` is an amount too, None where unknown."""

    id: int
    month: BillingMonth
    provider: str
    amount: Decimal
    currency: str
    method: str
    expected_error: Decimal | None
    requested_by: str
    approved_by: str
    at: dt.datetime


class AccrualBook:
    """The approved accruals of one ledger. `clock` gives aware UTC datetimes."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def approve(
        self,
        month: BillingMonth,
        provider: str,
        *,
        amount: Decimal,
        currency: str,
        method: str,
        expected_error: Decimal | None,
        requested_by: str,
        approved_by: str,
    ) -> AccrualApproval:
        """Record that two people agree to accrue `amount`; a later approval of the same provider replaces it in force.

        Raises:
            AccrualRefusedError: one person, no method, a negative expected error, or a closed month.
        """
        _refuse_unsigned(month, provider, method, expected_error, requested_by, approved_by)
        with locked_period(self._engine, month) as (connection, period):
            if period.state is PeriodState.CLOSED:
                message = (
                    f"{month} is closed: an accrual approved now would look as if the close had rested on it. "
                    "Fix: the invoice posts to the next open period."
                )
                raise AccrualRefusedError(message)
            values = {
                "month": str(month),
                "provider": provider,
                "amount": amount,
                "currency": currency,
                "method": method.strip(),
                "expected_error": expected_error,
                "requested_by": requested_by.strip(),
                "approved_by": approved_by.strip(),
                "at": self._clock(),
            }
            made = insert(accrual_approvals).values(values).returning(accrual_approvals)
            approval = _approval(connection.execute(made).mappings().one())
            payload: dict[str, Json] = {
                "id": approval.id,
                "provider": provider,
                "amount": f"{amount:f}",
                "currency": currency,
                "method": approval.method,
                "expected_error": None if expected_error is None else f"{expected_error:f}",
                "requested_by": approval.requested_by,
                "approved_by": approval.approved_by,
            }
            append_event(
                connection,
                at=approval.at,
                actor=approval.approved_by,
                kind="accrual.approved",
                month=str(month),
                payload=payload,
            )
        return approval

    def of(self, month: BillingMonth) -> list[AccrualApproval]:
        """Every approval of a month, in the order in which they were given."""
        with self._engine.connect() as connection:
            return read_accrual_approvals(connection, month)

    def approved(self, month: BillingMonth, provider: str) -> AccrualApproval | None:
        """The approval in force: the last one of the month and provider, or None."""
        return accruals_in_force(self.of(month)).get(provider)


def read_accrual_approvals(connection: Connection, month: BillingMonth) -> list[AccrualApproval]:
    """Every approval of a month, in the order in which they were given."""
    query = select(accrual_approvals).where(accrual_approvals.c.month == str(month)).order_by(accrual_approvals.c.id)
    return [_approval(row) for row in connection.execute(query).mappings()]


def accruals_in_force(approvals: list[AccrualApproval]) -> dict[str, AccrualApproval]:
    """The last approval of each provider."""
    return {each.provider: each for each in approvals}


def _refuse_unsigned(
    month: BillingMonth,
    provider: str,
    method: str,
    expected_error: Decimal | None,
    requested_by: str,
    approved_by: str,
) -> None:
    named = f"the accrual of {provider} for {month}"
    if not requested_by.strip() or not approved_by.strip() or same_person(requested_by, approved_by):
        message = f"{named} needs two people. Fix: name the one who requests it and another who approves it."
        raise AccrualRefusedError(message)
    if not provider.strip() or not method.strip():
        message = f"{named} names its provider and how it was computed. Fix: fill in both."
        raise AccrualRefusedError(message)
    if expected_error is not None and expected_error < 0:
        message = (
            f"the expected error of {named} is {expected_error}; it is an amount of zero or more. Fix: correct it."
        )
        raise AccrualRefusedError(message)


def _approval(row: RowMapping) -> AccrualApproval:
    return AccrualApproval(**{**row, "month": BillingMonth.parse(row["month"])})
