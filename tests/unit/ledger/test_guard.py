"""The guard of the two books: what may be written when, and that nothing counts before the commit."""

import datetime as dt
import threading
from decimal import Decimal

import pytest

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.errors import LedgerBusyError, PageNotWritableError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import Period, PeriodState

AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
SHA = "ab" * 32
LINES = [
    Posting("anthropic", "INV-19", "CC-100", "direct", Decimal("404.33"), "USD"),
    Posting("anthropic", "INV-19", "CC-990-CENTRAL", "central", Decimal("-0.10"), "USD"),
]


def close(page, **changes):
    values = {
        "version": 1,
        "content_sha256": SHA,
        "pack_path": "packs/2026-08/v1",
        "totals": {"charged": "404.23"},
        "lines": LINES,
        "preparer": "Ada",
        "approver": "Grace",
    }
    page.record_close(**values | changes)


def closed(ledger, month=AUGUST):
    with ledger.closed_book(month, "pack", "Ada", "run-1") as page:
        close(page)


def test_a_month_nobody_wrote_about_is_open(ledger):
    assert ledger.period(AUGUST) == Period(AUGUST, PeriodState.OPEN, 0)
    assert ledger.periods() == []


def test_an_open_month_is_writable_by_the_pack_alone(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        assert (page.writable, page.version_to_write) == (True, 1)
    for writer in ("publish", "delivery"):
        with ledger.closed_book(AUGUST, writer, "service", "run-1") as page:
            assert not page.writable
            assert page.reason == f"period 2026-08 is open: only a closed version is handed to {writer}"


def test_a_close_is_recorded_whole(ledger):
    closed(ledger)
    period = ledger.period(AUGUST)
    assert (period.state, period.version, period.content_sha256) == (PeriodState.CLOSED, 1, SHA)
    assert (period.preparer, period.approver) == ("Ada", "Grace")
    assert period.closed_at.tzinfo is dt.UTC
    (version,) = ledger.versions(AUGUST)
    assert (version.version, version.status, version.run_id) == (1, "closed", "run-1")
    assert (version.pack_path, version.totals) == ("packs/2026-08/v1", {"charged": "404.23"})
    assert ledger.postings(AUGUST, 1) == LINES
    (event,) = ledger.events(AUGUST, "period.closed")
    assert event.actor == "Ada"
    assert event.payload["approver"] == "Grace"
    assert event.payload["content_sha256"] == SHA


def test_a_closed_month_says_why_it_is_not_written(ledger):
    closed(ledger)
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-2") as page:
        assert not page.writable
        assert page.reason == (
            "period 2026-08 was closed at v1 on 2026-11-05 09:00 UTC by Ada, approved by Grace: "
            "its files are not rewritten; corrections post to the next open period"
        )


@pytest.mark.parametrize(
    "record",
    [
        close,
        lambda page: page.record_soft_close(),
        lambda page: page.record_draft(content_sha256=SHA, pack_path="packs/2026-08/v0", totals={}),
        lambda page: page.record_release(content_sha256=SHA),
    ],
    ids=["close", "soft close", "draft", "release"],
)
def test_recording_on_a_page_that_is_not_writable_raises_and_changes_nothing(ledger, record):
    closed(ledger)
    before = (ledger.period(AUGUST), ledger.versions(AUGUST), ledger.events())
    with pytest.raises(PageNotWritableError, match="2026-08"), ledger.closed_book(AUGUST, "pack", "x", "run-2") as page:
        record(page)
    assert (ledger.period(AUGUST), ledger.versions(AUGUST), ledger.events()) == before


def test_closing_one_month_leaves_the_next_open(ledger):
    closed(ledger)
    with ledger.closed_book(SEPTEMBER, "pack", "Ada", "run-1") as page:
        assert page.writable


def test_what_a_failing_block_recorded_never_happened(ledger):
    def close_on_a_full_disk():
        with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
            close(page)
            message = "disk full"
            raise OSError(message)

    with pytest.raises(OSError, match="disk full"):
        close_on_a_full_disk()
    assert ledger.period(AUGUST).state is PeriodState.OPEN
    assert (ledger.versions(AUGUST), ledger.postings(AUGUST, 1), ledger.events()) == ([], [], [])


def test_a_page_cannot_be_used_after_its_block(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        pass
    with pytest.raises(PageNotWritableError, match="the guard's block has ended"):
        close(page)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "the next version is v1, not v2"),
        ({"approver": " ADA"}, "two people"),
        ({"preparer": " "}, "names a preparer and an approver"),
    ],
)
def test_a_close_that_breaks_a_rule_is_refused(ledger, changes, says):
    with pytest.raises(PageNotWritableError, match=says), ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page, **changes)
    assert ledger.period(AUGUST).state is PeriodState.OPEN


def test_a_month_closes_once_in_a_block(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page)
        with pytest.raises(PageNotWritableError, match="was closed at v1"):
            close(page, version=2)
    assert [version.version for version in ledger.versions(AUGUST)] == [1]


def test_drafts_are_overwritten_until_the_close(ledger):
    for sha in ("11" * 32, "22" * 32):
        with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
            page.record_draft(content_sha256=sha, pack_path="packs/2026-08/v0", totals={"sha": sha})
    (draft,) = ledger.versions(AUGUST)
    assert (draft.version, draft.status, draft.totals) == (0, "draft", {"sha": "22" * 32})
    closed(ledger)
    assert [version.status for version in ledger.versions(AUGUST)] == ["draft", "closed"]


def test_a_soft_closed_month_still_takes_drafts_and_the_close(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        page.record_soft_close()
        page.record_soft_close()
    assert ledger.period(AUGUST).state is PeriodState.SOFT_CLOSED
    assert len(ledger.events(AUGUST, "period.soft_closed")) == 1
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-2") as page:
        page.record_draft(content_sha256=SHA, pack_path="packs/2026-08/v0", totals={})
        close(page)
    assert ledger.period(AUGUST).state is PeriodState.CLOSED


@pytest.mark.parametrize("writer", ["publish", "delivery"])
def test_a_closed_version_is_handed_on_once(ledger, writer):
    closed(ledger)
    with ledger.closed_book(AUGUST, writer, "service", "run-2") as page:
        assert (page.writable, page.version_to_write) == (True, 1)
        with pytest.raises(PageNotWritableError, match=f"the writer {writer} cannot close the month"):
            close(page, version=2)
        page.record_release(content_sha256=SHA)
    with ledger.closed_book(AUGUST, writer, "service", "run-3") as page:
        assert not page.writable
        assert f"{writer} has it and does not get it again" in page.reason
    with ledger.closed_book(AUGUST, "publish" if writer == "delivery" else "delivery", "service", "run-3") as page:
        assert page.writable


def test_who_waits_too_long_for_another_writer_is_told(url, ledger, clock):
    impatient = Ledger(url, clock, lock_seconds=0.2)
    with (
        ledger.closed_book(AUGUST, "pack", "Ada", "run-1"),
        pytest.raises(LedgerBusyError, match=r"written by another process, and 0\.2 s of waiting"),
        impatient.closed_book(SEPTEMBER, "pack", "Bob", "run-2"),
    ):
        pass


def test_readers_are_not_held_up_by_a_writer(url, ledger, clock):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page)
        assert Ledger(url, clock, lock_seconds=0.2).period(AUGUST).state is PeriodState.OPEN


def test_a_writer_waits_for_the_one_before_it_and_sees_what_it_did(url, ledger, clock):
    entered, seen = threading.Event(), []

    def second():
        entered.wait()
        with Ledger(url, clock, lock_seconds=10).closed_book(AUGUST, "pack", "Bob", "run-2") as page:
            seen.append((page.writable, page.period.preparer))

    thread = threading.Thread(target=second)
    thread.start()
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        entered.set()
        thread.join(0.3)
        close(page)
    thread.join()
    assert seen == [(False, "Ada")]
