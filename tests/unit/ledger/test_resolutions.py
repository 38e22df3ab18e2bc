"""An item is settled by two people, in the audit trail, once."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.domain.resolutions import ResolutionCode, apply_events
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.resolutions import ItemRefusedError

D = Decimal
OCTOBER = BillingMonth(2026, 10)
SIGNED = {
    "code": ResolutionCode.VENDOR_CREDIT,
    "evidence": "credit note CN-7",
    "by": "Ada",
    "approver": "Grace ",
    "controllers": {"Renata Coll"},
    "write_off_controller_usd": D("100.00"),
}


@pytest.fixture
def item():
    rec = reconciled("anthropic", "ANT-10", OCTOBER, "100.00", timing="150.254999")
    (item,) = reconciling_items(rec, opened_on=OCTOBER.next().first_day, item_min_usd=D("1.00"))
    return item


def test_a_resolution_is_an_event_with_its_figures(ledger, item):
    resolution = ledger.items.resolve(item, amount=None, **SIGNED)
    assert (resolution.amount, resolution.approver) == (D("150.254999000000"), "Grace")
    assert ledger.items.events() == [resolution]
    (event,) = ledger.events(OCTOBER, "item.resolved")
    assert event.actor == "Grace"
    assert event.payload == {
        "item_id": item.item_id,
        "provider": "anthropic",
        "component": "timing",
        "item_amount": "150.254999000000",
        "code": "vendor_credit",
        "amount": "150.254999000000",
        "currency": "USD",
        "evidence": "credit note CN-7",
        "by": "Ada",
        "approver": "Grace",
    }
    assert ledger.verify_chain().intact


def test_it_is_settled_once(ledger, item):
    ledger.items.resolve(item, amount=None, **SIGNED)
    with pytest.raises(ItemRefusedError, match="is resolved already"):
        ledger.items.resolve(item, amount=None, **SIGNED)
    assert len(ledger.items.events()) == 1


def test_in_parts_and_never_more_than_is_left(ledger, item):
    ledger.items.resolve(item, amount=D("100"), **SIGNED)
    with pytest.raises(ItemRefusedError, match=r"no part of what is left of item .*, 50\.25"):
        ledger.items.resolve(item, amount=D("50.26"), **SIGNED)
    assert ledger.items.resolve(item, amount=D("50.25"), **SIGNED).amount == D("50.254999")
    assert [now.status for now in apply_events([item], ledger.items.events())] == ["resolved"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approver": "ada"}, "cannot both settle and approve"),
        ({"evidence": ""}, "on evidence"),
        ({"code": ResolutionCode.WRITE_OFF}, "needs a controller"),
    ],
)
def test_what_breaks_a_rule_leaves_nothing_behind(ledger, item, changes, says):
    with pytest.raises(ItemRefusedError, match=says):
        ledger.items.resolve(item, amount=None, **SIGNED | changes)
    assert ledger.events() == []


def test_reopened_items_can_be_settled_again(ledger, item):
    ledger.items.resolve(item, amount=None, **SIGNED)
    reopening = ledger.items.reopen(item, by="Ada", reason="the credit was for September")
    assert ledger.items.events()[1] == reopening
    assert [event.actor for event in ledger.events(OCTOBER, "item.reopened")] == ["Ada"]
    assert [now.status for now in apply_events([item], ledger.items.events())] == ["reopened"]
    ledger.items.resolve(item, amount=None, **SIGNED | {"code": ResolutionCode.WRITE_OFF, "approver": "renata coll"})
    assert [now.status for now in apply_events([item], ledger.items.events())] == ["written_off"]


def test_an_open_item_is_not_reopened(ledger, item):
    with pytest.raises(ItemRefusedError, match="is open"):
        ledger.items.reopen(replace(item, status="open", starts_as="open"), by="Ada", reason="x")


def test_a_closed_month_does_not_matter(ledger, item):
    with ledger.closed_book(OCTOBER, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1, content_sha256="ab" * 32, pack_path="p", totals={}, lines=[], preparer="Ada", approver="Grace"
        )
    before = ledger.period(OCTOBER)
    ledger.items.resolve(item, amount=None, **SIGNED)
    assert ledger.period(OCTOBER) == before


def test_two_people_at_once_do_not_settle_it_twice(url, ledger, item, clock):
    outcomes = []

    def settle():
        try:
            outcomes.append(Ledger(url, clock, lock_seconds=20).items.resolve(item, amount=None, **SIGNED))
        except ItemRefusedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=settle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ItemRefusedError"] * 3 + ["Resolution"]
    assert len(ledger.items.events()) == 1
