"""The outbox of packs: every step is a state and an event, and nothing is owed that was not closed."""

import datetime as dt
from pathlib import Path

import pytest

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.outbox import Addressee, DeliveryState, NotDeliverableError, Outbox

OCTOBER, NOVEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11)
SHA = "ab" * 32
START = dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)
ERP = Addressee("erp", "sftp", "tokengov-2026-10-v1-erp-abababababab")
MAIL = Addressee("mail", "email", "<tokengov-2026-10-v1-mail-abababababab@example.com>")
WHO = {"actor": "service", "run_id": "run-2"}


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", lambda: START, lock_seconds=5)
    ledger.upgrade()
    with ledger.closed_book(OCTOBER, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1,
            content_sha256=SHA,
            pack_path="packs/2026-10/v1",
            totals={},
            lines=(),
            preparer="Ada",
            approver="Grace",
        )
    return ledger


@pytest.fixture
def outbox(ledger) -> Outbox:
    return ledger.deliveries


def owed(outbox, addressee=ERP):
    _, (delivery,) = outbox.intend(OCTOBER, [addressee], **WHO, at=at(0))
    return delivery


def kinds(ledger) -> list[str]:
    assert ledger.verify_chain().intact
    return [event.kind for event in ledger.events(OCTOBER) if event.kind.startswith("delivery.")]


def test_a_closed_version_is_owed_once(outbox, ledger):
    closed, (erp, mail) = outbox.intend(OCTOBER, [ERP, MAIL], **WHO, at=at(0))
    assert (closed.version, closed.content_sha256, closed.pack_path) == (1, SHA, "packs/2026-10/v1")
    assert (erp.state, erp.attempts, erp.message_id) == (DeliveryState.INTENT, 0, ERP.message_id)
    assert outbox.intend(OCTOBER, [ERP, MAIL], **WHO, at=at(1))[1] == [erp, mail]
    assert kinds(ledger) == ["delivery.intended", "delivery.intended"]
    assert ledger.events(OCTOBER, "delivery.intended")[0].payload == {
        "version": 1,
        "content_sha256": SHA,
        "destination": "erp",
        "transport": "sftp",
        "message_id": ERP.message_id,
        "attempt": 0,
    }


def test_an_open_month_is_owed_to_nobody(outbox, ledger):
    with pytest.raises(NotDeliverableError, match=r"^2026-11 is not delivered: period 2026-11 is open: .* Fix: close"):
        outbox.intend(NOVEMBER, [ERP], **WHO, at=at(0))
    assert outbox.deliveries() == []
    assert [period.month for period in ledger.periods()] == [OCTOBER]


def test_an_attempt_and_its_receipt(outbox, ledger):
    begun = outbox.begin(owed(outbox), **WHO, at=at(1))
    assert (begun.state, begun.attempts, begun.attempted_at) == (DeliveryState.ATTEMPT, 1, at(1))
    assert [outbox.due_months({"erp"}, at(minutes)) for minutes in (10, 11)] == [[], [OCTOBER]]
    done = outbox.record_receipt(begun, {"files": 3, "written": 3}, **WHO, at=at(2))
    assert (done.state, done.received_at, done.receipt) == (DeliveryState.RECEIPT, at(2), {"files": 3, "written": 3})
    assert kinds(ledger) == ["delivery.intended", "delivery.attempted", "delivery.received"]
    with pytest.raises(NotDeliverableError, match=r"another run has it \(receipt\)"):
        outbox.begin(begun, **WHO, at=at(3))


def test_two_runs_do_not_begin_the_same_attempt(outbox):
    delivery = owed(outbox)
    outbox.begin(delivery, **WHO, at=at(1))
    with pytest.raises(NotDeliverableError, match=r"another run has it \(attempt\)\. Fix: "):
        outbox.begin(delivery, **WHO, at=at(1))


def test_a_failure_waits_longer_each_time_and_a_receipt_ends_it(outbox, ledger):
    delivery = owed(outbox)
    for minutes, wait in ((0, 1), (1, 2), (3, 4), (7, 8)):
        begun = outbox.begin(delivery, **WHO, at=at(minutes))
        delivery = outbox.record_failure(begun, "sftp://svc:hunter2@host: no space", **WHO, at=at(minutes))
        assert delivery.next_attempt_at == at(minutes + wait)
        assert outbox.due_months({"erp"}, at(minutes + wait - 0.1)) == []
        assert outbox.due_months({"erp"}, at(minutes + wait)) == [OCTOBER]
        assert outbox.due_months({"mail"}, at(minutes + wait)) == []
    assert (delivery.state, delivery.failures, delivery.attempts) == (DeliveryState.FAILED, 4, 4)
    assert delivery.last_error == "sftp://***@host: no space"
    assert ledger.events(OCTOBER, "delivery.failed")[-1].payload["error"] == delivery.last_error
    done = outbox.record_receipt(outbox.begin(delivery, **WHO, at=at(15)), {}, **WHO, at=at(15))
    assert (done.failures, done.last_error, outbox.due_months({"erp"}, at(9999))) == (0, None, [])


def test_what_is_uncertain_is_begun_by_nobody_until_a_person_says_so(outbox, ledger):
    begun = outbox.begin(owed(outbox, MAIL), **WHO, at=at(1))
    lost = outbox.record_uncertain(begun, "silence", **WHO, at=at(2))
    assert (lost.state, lost.last_error) == (DeliveryState.UNCERTAIN, "silence")
    assert outbox.due_months({"mail"}, at(9999)) == []
    with pytest.raises(NotDeliverableError, match=r"another run has it \(uncertain\)"):
        outbox.begin(lost, **WHO, at=at(3))
    with pytest.raises(NotDeliverableError, match=r"is a person's. Fix: fill in --by"):
        outbox.order_resend(lost, by=" ", run_id="run-3", at=at(3))
    again = outbox.order_resend(lost, by="Grace", run_id="run-3", at=at(3))
    assert (again.state, again.message_id, again.attempts) == (DeliveryState.INTENT, MAIL.message_id, 1)
    assert outbox.begin(again, **WHO, at=at(4)).attempts == 2
    (ordered,) = ledger.events(OCTOBER, "delivery.resend_ordered")
    assert (ordered.actor, ordered.payload["before"]) == ("Grace", "uncertain")


def test_a_receipt_that_comes_late_is_a_receipt_and_a_late_failure_is_nothing(outbox):
    begun = outbox.begin(owed(outbox, MAIL), **WHO, at=at(1))
    outbox.record_uncertain(begun, "its run seemed dead", **WHO, at=at(2))
    assert outbox.record_receipt(begun, {"server": "250"}, **WHO, at=at(3)).state is DeliveryState.RECEIPT
    assert outbox.record_failure(begun, "late", **WHO, at=at(4)).state is DeliveryState.RECEIPT
    assert outbox.record_uncertain(begun, "late", **WHO, at=at(4)).state is DeliveryState.RECEIPT


def test_only_the_uncertain_is_confirmed_by_hand(outbox, ledger):
    delivery = owed(outbox, MAIL)
    with pytest.raises(NotDeliverableError, match="is not uncertain"):
        outbox.confirm(delivery, by="Grace", run_id="run-3", at=at(1))
    begun = outbox.begin(delivery, **WHO, at=at(1))
    lost = outbox.record_uncertain(begun, "silence", **WHO, at=at(2))
    assert outbox.confirm(lost, by="Grace", run_id="run-3", at=at(3)).received_at == at(3)
    assert ledger.events(OCTOBER, "delivery.confirmed")[0].actor == "Grace"


def test_the_guard_is_told_once_when_everybody_has_it(outbox, ledger):
    erp, mail = outbox.intend(OCTOBER, [ERP, MAIL], **WHO, at=at(0))[1]
    outbox.record_receipt(outbox.begin(erp, **WHO, at=at(1)), {}, **WHO, at=at(1))
    assert outbox.release(OCTOBER, ["erp", "mail"], **WHO) is False
    outbox.record_receipt(outbox.begin(mail, **WHO, at=at(2)), {}, **WHO, at=at(2))
    assert [outbox.release(OCTOBER, ["erp", "mail"], **WHO) for _ in range(2)] == [True, True]
    assert kinds(ledger).count("delivery.recorded") == 1
    with ledger.closed_book(OCTOBER, "delivery", "service", "run-3") as page:
        assert not page.writable
    late = Addressee("archive", "folder", "tokengov-2026-10-v1-archive-abababababab")
    assert owed(outbox, late).state is DeliveryState.INTENT
