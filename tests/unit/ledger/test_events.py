"""The audit trail cannot be changed without showing it."""

import datetime as dt
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.events import GENESIS_SHA256, ChainHead
from tokengov_pipelines.ledger.ledger import Ledger

AUGUST = BillingMonth(2026, 8)


@pytest.fixture
def told(ledger):
    """A ledger with five events, the third about August."""
    for n in range(1, 6):
        ledger.record_event("shrink.accepted", "Ada", {"n": n, "reason": "Grüße ☃"}, AUGUST if n == 3 else None)
    return ledger


def tampered(url, *statements):
    """Do what someone with a database shell could do, triggers dropped."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        for trigger in ("events_refuse_update", "events_refuse_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def test_an_empty_chain_is_intact(ledger):
    report = ledger.verify_chain()
    assert (report.intact, report.events, report.head_sha256) == (True, 0, GENESIS_SHA256)


def test_events_follow_one_another(told):
    events = told.events()
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.prev_sha256 for event in events] == [GENESIS_SHA256, *(event.sha256 for event in events[:-1])]
    assert events[0].payload == {"n": 1, "reason": "Grüße ☃"}
    report = told.verify_chain()
    assert (report.intact, report.events, report.head_sha256) == (True, 5, events[-1].sha256)


def test_the_head_is_the_newest_event_also_inside_a_page(ledger):
    assert ledger.chain_head() == ChainHead(0, GENESIS_SHA256)
    assert ledger.holds_head(ledger.chain_head())
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        page.record_event("note", {"n": 1})
        head = page.chain_head()
    assert (head.seq, head.sha256) == (1, ledger.events()[0].sha256)
    ledger.record_event("note", "Ada", {"n": 2})
    assert ledger.chain_head().seq == 2
    assert ledger.holds_head(head)


def test_a_chain_whose_newest_events_were_cut_off_lacks_the_head_of_a_manifest(url, told):
    head = told.chain_head()
    tampered(url, "DELETE FROM events WHERE seq > 3")
    assert told.verify_chain().intact
    assert not told.holds_head(head)
    assert not told.holds_head(ChainHead(0, "ab" * 32))


def test_events_are_found_by_month_and_kind(told):
    assert [event.seq for event in told.events(AUGUST)] == [3]
    assert [event.seq for event in told.events(kind="shrink.accepted")] == [1, 2, 3, 4, 5]
    assert told.events(AUGUST, "period.closed") == []


@pytest.mark.parametrize(
    ("statement", "broken", "problem"),
    [
        ("UPDATE events SET payload = '{\"n\":9}' WHERE seq = 2", 2, "event 2 was changed after it was written"),
        ("UPDATE events SET actor = 'Eve' WHERE seq = 4", 4, "event 4 was changed after it was written"),
        ("UPDATE events SET at = '2026-11-05T10:00:00.000000Z' WHERE seq = 1", 1, "event 1 was changed"),
        ("UPDATE events SET month = NULL WHERE seq = 3", 3, "event 3 was changed"),
        ("DELETE FROM events WHERE seq = 3", 3, "event 3 is missing"),
        ("DELETE FROM events WHERE seq = 1", 1, "event 1 is missing"),
        ("UPDATE events SET prev_sha256 = sha256 WHERE seq = 5", 5, "event 5 does not follow event 4"),
    ],
)
def test_a_changed_or_missing_event_is_found(url, told, statement, broken, problem):
    tampered(url, statement)
    report = told.verify_chain()
    assert not report.intact
    assert report.broken_seq == broken
    assert problem in report.problem
    assert report.events == broken - 1


def test_an_event_renumbered_over_a_gap_is_found(url, told):
    tampered(url, "DELETE FROM events WHERE seq = 3", "UPDATE events SET seq = seq - 1 WHERE seq > 3")
    assert told.verify_chain().problem == "event 3 does not follow event 2"


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'Eve'", "DELETE FROM events"])
def test_the_database_itself_refuses_to_rewrite_events(url, told, statement):
    with (
        closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection,
        pytest.raises(sqlite3.IntegrityError, match="rows of events are not rewritten"),
    ):
        connection.execute(statement)
    assert told.verify_chain().intact


@pytest.mark.parametrize("payload", [{"amount": 1.5}, {"list": [1, float("nan")]}, {1: "x"}, {"x": object()}])
def test_a_payload_that_is_not_exact_is_refused(ledger, payload):
    with pytest.raises(TypeError):
        ledger.record_event("note", "Ada", payload)
    assert ledger.events() == []


@pytest.mark.parametrize(("kind", "actor"), [("", "Ada"), ("note", " ")])
def test_an_event_has_an_actor_and_a_kind(ledger, kind, actor):
    with pytest.raises(ValueError, match="needs an actor and a kind"):
        ledger.record_event(kind, actor, {})


def test_a_naive_clock_is_refused(url):
    ledger = Ledger(url, lambda: dt.datetime(2026, 11, 5))
    ledger.upgrade()
    with pytest.raises(ValueError, match="no time zone"):
        ledger.record_event("note", "Ada", {})


def test_events_of_a_page_belong_to_its_transaction(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        page.record_event("note", {"n": 1})

    def record_and_fail():
        with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
            page.record_event("note", {"n": 2})
            raise KeyError

    with pytest.raises(KeyError):
        record_and_fail()
    assert [event.payload for event in ledger.events(AUGUST)] == [{"n": 1}]


def test_the_tables_keep_closed_rows_as_they_are(url, ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1, content_sha256="ab" * 32, pack_path="p", totals={}, lines=[], preparer="Ada", approver="Grace"
        )
    engine = ledger._engine
    for statement in ("UPDATE period_versions SET content_sha256 = ''", "DELETE FROM period_versions"):
        with pytest.raises(Exception, match="rows of period_versions are not rewritten"), engine.begin() as connection:
            connection.execute(text(statement))
