"""A waiver is signed by two people, before the close, and kept."""

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.errors import WaiverRefusedError

SEPTEMBER = BillingMonth(2026, 9)
SIGNED = {"reason": "owner moves on 1 Oct", "requested_by": "Ada", "approved_by": "Grace"}


def close(ledger):
    with ledger.closed_book(SEPTEMBER, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1, content_sha256="ab" * 32, pack_path="p", totals={}, lines=[], preparer="Ada", approver="Grace"
        )


def test_a_waiver_is_kept_with_its_figures_and_told(ledger):
    granted = ledger.grant_waiver(
        SEPTEMBER, WaiverSubject.SUSPENSE, provider="anthropic", limit_amount=Decimal("60.00"), **SIGNED
    )
    assert ledger.waivers(SEPTEMBER) == [granted]
    assert (granted.provider, granted.subject, granted.limit_amount) == ("anthropic", "suspense", Decimal("60.00"))
    assert granted.revoked_at is None
    (event,) = ledger.events(SEPTEMBER, "waiver.granted")
    assert event.actor == "Grace"
    assert event.payload["limit_amount"] == "60.00"
    assert ledger.waivers(BillingMonth(2026, 8)) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approved_by": "Ada"}, "cannot both request and approve"),
        ({"approved_by": "  ADA "}, "cannot both request and approve"),
        ({"approved_by": ""}, "two people"),
        ({"requested_by": " "}, "two people"),
        ({"reason": "  "}, "needs a reason"),
        ({"limit_amount": Decimal(-1)}, "zero or more"),
        ({"subject": WaiverSubject.QUARANTINE, "provider": "openai"}, "of the whole month, not of openai"),
    ],
)
def test_a_waiver_that_breaks_a_rule_is_refused(ledger, changes, says):
    with pytest.raises(WaiverRefusedError, match=says):
        ledger.grant_waiver(SEPTEMBER, **{"subject": WaiverSubject.SUSPENSE} | SIGNED | changes)
    assert (ledger.waivers(SEPTEMBER), ledger.events()) == ([], [])


def test_the_database_itself_refuses_one_person(url, ledger):
    with (
        closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection,
        pytest.raises(sqlite3.IntegrityError, match="two_people"),
    ):
        connection.execute(
            "INSERT INTO waivers (month, subject, reason, requested_by, approved_by, granted_at) "
            "VALUES ('2026-09', 'suspense', 'x', 'Ada', 'Ada', '2026-11-05T09:00:00.000000Z')"
        )


def test_a_waiver_comes_before_the_close(ledger):
    close(ledger)
    for subject in (WaiverSubject.SUSPENSE, WaiverSubject.QUARANTINE, WaiverSubject.INVESTIGATE):
        with pytest.raises(WaiverRefusedError, match="2026-09 is closed"):
            ledger.grant_waiver(SEPTEMBER, subject, **SIGNED)


def test_a_shrunken_extract_may_be_accepted_after_the_close(ledger):
    close(ledger)
    ledger.grant_waiver(SEPTEMBER, WaiverSubject.SHRINK, **SIGNED)
    assert [waiver.subject for waiver in ledger.waivers(SEPTEMBER)] == ["shrink"]


def test_a_revoked_waiver_stays_and_covers_nothing(ledger):
    granted = ledger.grant_waiver(SEPTEMBER, WaiverSubject.SUSPENSE, **SIGNED)
    assert granted.covers(SEPTEMBER, WaiverSubject.SUSPENSE, "anthropic", Decimal(1))
    ledger.revoke_waiver(SEPTEMBER, granted.id, actor="Grace", reason="granted in error")
    (revoked,) = ledger.waivers(SEPTEMBER)
    assert revoked.revoked_at > granted.granted_at
    assert not revoked.covers(SEPTEMBER, WaiverSubject.SUSPENSE, "anthropic", Decimal(1))
    assert [event.payload["reason"] for event in ledger.events(SEPTEMBER, "waiver.revoked")] == ["granted in error"]
    with pytest.raises(WaiverRefusedError, match="no such waiver in force"):
        ledger.revoke_waiver(SEPTEMBER, granted.id, actor="Grace", reason="again")


def test_a_waiver_that_a_close_rests_on_cannot_be_revoked(ledger):
    granted = ledger.grant_waiver(SEPTEMBER, WaiverSubject.SUSPENSE, **SIGNED)
    close(ledger)
    with pytest.raises(WaiverRefusedError, match="the month is closed"):
        ledger.revoke_waiver(SEPTEMBER, granted.id, actor="Grace", reason="too late")
    assert ledger.waivers(SEPTEMBER) == [granted]
