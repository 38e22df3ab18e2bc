"""The exceptions register is events of the audit trail, and nothing besides (rule 5.5)."""

import datetime as dt

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from tokengov_pipelines.domain.bypass_exception import ExceptionState, KeyIdentity
from tokengov_pipelines.ledger.bypass_exceptions import ExceptionRefusedError, ExceptionRegister
from tokengov_pipelines.ledger.connection import open_engine, write_transaction
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.tables import events

KEY = KeyIdentity.of("anthropic", "acme-prod", "apikey-ci", None)
CONSOLE = KeyIdentity.of("openai", "acme", None, "proj-lab")
SIGNED = {"reason": " vendor SDK ", "requested_by": "Ada ", "approved_by": "Grace"}
TODAY = dt.date(2026, 11, 5)
LATEST = dt.date(2027, 2, 3)


@pytest.fixture
def register(ledger) -> ExceptionRegister:
    return ledger.bypass_exceptions


def test_an_exception_is_its_event(ledger, register):
    granted = register.grant(KEY, last_day=LATEST, max_days=90, **SIGNED)
    assert (granted.key, granted.granted_on, granted.last_day) == (KEY, TODAY, LATEST)
    assert (granted.reason, granted.requested_by, granted.approved_by) == ("vendor SDK", "Ada", "Grace")
    (event,) = ledger.events(kind="bypass_exception.granted")
    assert (event.seq, event.actor) == (granted.number, "Grace")
    assert event.payload == {
        "provider": "anthropic",
        "account": "acme-prod",
        "key": "apikey-ci",
        "reason": "vendor SDK",
        "requested_by": "Ada",
        "approved_by": "Grace",
        "granted_on": "2026-11-05",
        "last_day": "2027-02-03",
    }
    assert register.all() == [granted]
    assert ledger.verify_chain().intact


def test_usage_without_a_key_may_have_one(register):
    granted = register.grant(CONSOLE, last_day=TODAY, max_days=90, **SIGNED)
    assert register.all() == [granted]
    assert granted.key == CONSOLE


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approved_by": "ADA"}, "Ada cannot both request and approve"),
        ({"reason": ""}, "needs a reason"),
        ({"last_day": LATEST + dt.timedelta(days=1)}, r"would hold for 91 days.*Fix: --until 2027-02-03"),
        ({"last_day": TODAY - dt.timedelta(days=1)}, "is over on 2026-11-05 already"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_leaves_no_event(ledger, register, changes, says):
    with pytest.raises(ExceptionRefusedError, match=says):
        register.grant(KEY, **{"last_day": LATEST, "max_days": 90} | SIGNED | changes)
    assert ledger.events() == []


def test_an_exception_can_be_withdrawn_once(ledger, register):
    granted = register.grant(KEY, last_day=LATEST, max_days=90, **SIGNED)
    withdrawn = register.withdraw(granted.number, by="Grace", reason="moved to the proxy")
    assert withdrawn.withdrawn_on == TODAY
    assert withdrawn.state_on(TODAY) is ExceptionState.WITHDRAWN
    assert register.all() == [withdrawn]
    (event,) = ledger.events(kind="bypass_exception.withdrawn")
    assert event.payload["reason"] == "moved to the proxy"
    with pytest.raises(ExceptionRefusedError, match=f"there is no exception {granted.number} in force"):
        register.withdraw(granted.number, by="Grace", reason="again")


def test_a_withdrawal_needs_a_person_and_a_reason(register):
    granted = register.grant(KEY, last_day=LATEST, max_days=90, **SIGNED)
    for by, reason in (("", "moved"), ("Grace", " ")):
        with pytest.raises(ExceptionRefusedError, match="by a person, for a reason"):
            register.withdraw(granted.number, by=by, reason=reason)
    assert register.all() == [granted]


def test_an_exception_that_has_expired_needs_no_withdrawal(ledger, register, url):
    granted = register.grant(KEY, last_day=TODAY, max_days=90, **SIGNED)
    next_day = Ledger(url, lambda: dt.datetime(2026, 11, 6, tzinfo=dt.UTC)).bypass_exceptions
    (expired,) = next_day.all()
    assert expired.state_on(dt.date(2026, 11, 6)) is ExceptionState.EXPIRED
    with pytest.raises(ExceptionRefusedError, match="needs no withdrawal"):
        next_day.withdraw(granted.number, by="Grace", reason="over")


def test_another_key_may_have_one_at_the_same_time_and_the_same_key_a_new_one(register):
    first = register.grant(KEY, last_day=TODAY, max_days=90, **SIGNED)
    second = register.grant(CONSOLE, last_day=LATEST, max_days=90, **SIGNED)
    third = register.grant(KEY, last_day=LATEST, max_days=90, **SIGNED)
    assert register.all() == [first, second, third]
    assert first.number < second.number < third.number


def test_the_database_refuses_to_lengthen_an_exception_by_hand(ledger, register, url):
    granted = register.grant(KEY, last_day=TODAY, max_days=90, **SIGNED)
    (event,) = ledger.events()
    forged = {**event.payload, "last_day": "2030-01-01"}
    with (
        write_transaction(open_engine(url, 5)) as connection,
        pytest.raises(IntegrityError, match="rows of events are not rewritten"),
    ):
        connection.execute(update(events).where(events.c.seq == granted.number).values(payload=forged))
    assert register.all() == [granted]


def test_an_event_of_another_shape_is_refused(ledger, register):
    ledger.record_event("bypass_exception.granted", "Ada", "no mapping")
    with pytest.raises(LedgerError, match="holds no mapping"):
        register.all()
