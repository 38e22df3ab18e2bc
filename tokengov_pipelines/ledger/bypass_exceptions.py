"""The exceptions register of rule 5.5, kept as events of the audit trail: nothing of it is ever overwritten.

Belongs here: granting, withdrawing and reading exceptions. Does not belong here: what refuses one (`domain.
bypass_exception`), what an exception does to a row of the report (`domain.bypass`).

An exception is its `bypass_exception.granted` event and has that event's number; a `bypass_exception.withdrawn` event
that names the number ends it. There is no table besides, so the register cannot say anything that the chain does not.
"""

import datetime as dt
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine

from tokengov_pipelines.domain.bypass_exception import (
    BypassException,
    ExceptionState,
    KeyIdentity,
    exception_refusal,
)
from tokengov_pipelines.domain.period import accounting_day
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.connection import write_transaction
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.events import Event, append_event, read_events

GRANTED = "bypass_exception.granted"
WITHDRAWN = "bypass_exception.withdrawn"


class ExceptionRefusedError(LedgerError):
    """An exception that breaks a rule (two people, 90 days), or a withdrawal of one that does not hold."""


class ExceptionRegister:
    """The exceptions of one ledger. `clock` gives aware UTC datetimes; days are UTC days."""

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def grant(
        self,
        key: KeyIdentity,
        *,
        reason: str,
        requested_by: str,
        approved_by: str,
        last_day: dt.date,
        max_days: int,
    ) -> BypassException:
        """Record an exception from today up to and with `last_day`.

        Raises:
            ExceptionRefusedError: a rule of 5.5 refuses it; nothing was written.
        """
        at = self._clock()
        refusal = exception_refusal(
            reason=reason,
            requested_by=requested_by,
            approved_by=approved_by,
            granted_on=accounting_day(at),
            last_day=last_day,
            max_days=max_days,
        )
        if refusal is not None:
            raise ExceptionRefusedError(refusal)
        payload: dict[str, Json] = {
            "provider": key.provider,
            "account": key.account,
            "key": key.word,
            "reason": reason.strip(),
            "requested_by": requested_by.strip(),
            "approved_by": approved_by.strip(),
            "granted_on": accounting_day(at).isoformat(),
            "last_day": last_day.isoformat(),
        }
        with write_transaction(self._engine) as connection:
            event = append_event(
                connection, at=at, actor=approved_by.strip(), kind=GRANTED, month=None, payload=payload
            )
        return _exception(event, None)

    def withdraw(self, number: int, *, by: str, reason: str) -> BypassException:
        """End an exception today; the key is open again from today on.

        Raises:
            ExceptionRefusedError: there is no such exception in force, or no name or reason.
        """
        if not by.strip() or not reason.strip():
            message = "an exception is withdrawn by a person, for a reason. Fix: fill in --by and --reason."
            raise ExceptionRefusedError(message)
        at = self._clock()
        with write_transaction(self._engine) as connection:
            in_force = {
                each.number
                for each in read_exceptions(connection)
                if each.state_on(accounting_day(at)) is ExceptionState.IN_FORCE
            }
            if number not in in_force:
                message = (
                    f"there is no exception {number} in force. Fix: take the number from `tokengov unproxied "
                    "exceptions`; one that has expired needs no withdrawal."
                )
                raise ExceptionRefusedError(message)
            payload: dict[str, Json] = {
                "exception": number,
                "reason": reason.strip(),
                "withdrawn_on": accounting_day(at).isoformat(),
            }
            append_event(connection, at=at, actor=by.strip(), kind=WITHDRAWN, month=None, payload=payload)
            return next(each for each in read_exceptions(connection) if each.number == number)

    def all(self) -> list[BypassException]:
        """Every exception that was ever granted, oldest first."""
        with self._engine.connect() as connection:
            return read_exceptions(connection)


def read_exceptions(connection: Connection) -> list[BypassException]:
    """Every exception as the events tell it, oldest first."""
    ended = {
        _payload(event)["exception"]: dt.date.fromisoformat(str(_payload(event)["withdrawn_on"]))
        for event in read_events(connection, kind=WITHDRAWN)
    }
    return [_exception(event, ended.get(event.seq)) for event in read_events(connection, kind=GRANTED)]


def _exception(event: Event, withdrawn_on: dt.date | None) -> BypassException:
    said = {name: str(value) for name, value in _payload(event).items()}
    return BypassException(
        number=event.seq,
        key=KeyIdentity.parse(said["provider"], said["account"], said["key"]),
        reason=said["reason"],
        requested_by=said["requested_by"],
        approved_by=said["approved_by"],
        granted_on=dt.date.fromisoformat(said["granted_on"]),
        last_day=dt.date.fromisoformat(said["last_day"]),
        withdrawn_on=withdrawn_on,
    )


def _payload(event: Event) -> Mapping[str, Json]:
    if not isinstance(event.payload, Mapping):
        message = (
            f"event {event.seq} ({event.kind}) holds no mapping. Fix: verify the audit trail; it was not written here"
        )
        raise LedgerError(message)
    return event.payload
