"""A dispute is raised, decided once and posted once (rule 6.8)."""

import datetime as dt
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.unit.ledger.closing import AUGUST, SEPTEMBER, close, prior
from tokengov_pipelines.domain.dispute import ConsentKind, Decision, DisputedLine
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.adjustments import Adjustment
from tokengov_pipelines.ledger.disputes import DisputeRefusedError
from tokengov_pipelines.ledger.errors import PageNotWritableError

OCTOBER = BillingMonth(2026, 10)  # the clock of these tests is 5 November 2026: BD4 of October
LINE = DisputedLine("anthropic", "INV-19", "direct", Decimal("12.50"))
AGREED = {"reason": "agreed", "by": "Grace", "consent_by": "Hopper", "consent_kind": ConsentKind.RECEIVING_OWNER}


@pytest.fixture
def raise_one(ledger):
    def raised(**changes):
        values = {
            "currency": "USD",
            "reason": "the batch job moved",
            "claimed_owner": "CC-200",
            "evidence": "ticket FIN-7",
            "raised_by": "Ada",
            "charged": {LINE.key: Decimal("40.00")},
            "days_after_close": 30,
        }
        return ledger.disputes.raise_dispute(OCTOBER, "CC-100", [LINE], **values | changes)

    return raised


def test_a_dispute_is_kept_with_its_lines_and_told(ledger, raise_one):
    first, second = raise_one(), raise_one()
    assert (first.dispute_id, second.dispute_id) == ("D-2026-10-001", "D-2026-10-002")
    assert ledger.disputes.of(OCTOBER) == ledger.disputes.all() == [first, second]
    assert (first.lines, first.amount, first.raised_by) == ((LINE,), Decimal("12.50"), "Ada")
    assert first.raised_at.tzinfo is dt.UTC
    event = ledger.events(OCTOBER, "dispute.raised")[0]
    assert (event.actor, event.payload["amount"], event.payload["claimed_owner"]) == ("Ada", "12.50", "CC-200")


def test_what_breaks_a_rule_is_refused_and_leaves_nothing(ledger, raise_one):
    with pytest.raises(DisputeRefusedError, match=r"an amount up to 10\.00"):
        raise_one(charged={LINE.key: Decimal("10.00")})
    assert (ledger.disputes.all(), ledger.events()) == ([], [])


def test_a_decision_is_taken_once(ledger, raise_one):
    raised = raise_one()
    decided = ledger.disputes.decide(raised.dispute_id, Decision.ACCEPTED, **AGREED)
    assert (decided.decision, decided.decided_by, decided.consent_by) == (Decision.ACCEPTED, "Grace", "Hopper")
    assert decided.consent_kind is ConsentKind.RECEIVING_OWNER
    assert ledger.disputes.get(raised.dispute_id) == decided
    (event,) = ledger.events(OCTOBER, "dispute.decided")
    assert (event.actor, event.payload["decision"], event.payload["consent_kind"]) == (
        "Grace",
        "accepted",
        "receiving_owner",
    )
    with pytest.raises(DisputeRefusedError, match="was accepted by Grace already"):
        ledger.disputes.decide(raised.dispute_id, Decision.REJECTED, reason="no", by="Grace")


def test_a_rejected_dispute_has_no_consent(ledger, raise_one):
    decided = ledger.disputes.decide(raise_one().dispute_id, Decision.REJECTED, **AGREED)
    assert (decided.consent_by, decided.consent_kind, decided.awaits_posting) == (None, None, False)


def test_there_is_no_such_dispute(ledger):
    with pytest.raises(DisputeRefusedError, match="there is no dispute 'D-1'"):
        ledger.disputes.decide("D-1", Decision.REJECTED, reason="no", by="Grace")


def test_a_close_posts_an_accepted_dispute_once(ledger, raise_one):
    decided = ledger.disputes.decide(raise_one().dispute_id, Decision.ACCEPTED, **AGREED)
    with ledger.closed_book(OCTOBER, "pack", "Ada", "run-1") as page:
        assert page.disputes(OCTOBER) == page.disputes() == [decided]
    close(ledger, OCTOBER, posted_disputes=[decided.dispute_id])
    assert ledger.disputes.get(decided.dispute_id).posting_ref == "2026-10/v1"
    (event,) = ledger.events(OCTOBER, "period.closed")
    assert event.payload["disputes"] == ["D-2026-10-001"]
    with pytest.raises(PageNotWritableError, match="of the disputes D-2026-10-001 none awaits posting"):
        close(ledger, OCTOBER.next(), posted_disputes=[decided.dispute_id])


def test_a_late_one_posts_in_the_next_close_as_an_adjustment(ledger, raise_one):
    close(ledger, OCTOBER)
    dispute = ledger.disputes.decide(raise_one().dispute_id, Decision.ACCEPTED, **AGREED)
    adjustments = [
        Adjustment(OCTOBER, "anthropic", "INV-19", code, amount, "USD", "dispute", dispute.dispute_id, "Grace")
        for code, amount in (("CC-100", Decimal("-12.50")), ("CC-200", Decimal("12.50")))
    ]
    lines = [prior("2026-10", each.cost_center, f"{each.amount}") for each in adjustments]
    november = OCTOBER.next()
    close(ledger, november, lines=lines, adjustments=adjustments, posted_disputes=[dispute.dispute_id])
    assert ledger.disputes.get(dispute.dispute_id).posting_ref == "2026-11/v1"
    assert [each.ref for each in ledger.adjustments(OCTOBER)] == ["D-2026-10-001", "D-2026-10-001"]


def test_an_undecided_one_is_not_posted(ledger, raise_one):
    with pytest.raises(PageNotWritableError, match="none awaits posting"):
        close(ledger, OCTOBER, posted_disputes=[raise_one().dispute_id])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM disputes",
        "UPDATE disputes SET cost_center = 'CC-300'",
        "UPDATE disputes SET decision = 'rejected'",
        "UPDATE disputes SET consent_by = 'Eve'",
        "UPDATE disputes SET decision = NULL",
    ],
)
def test_the_database_itself_refuses_to_rewrite_a_decided_dispute(ledger, raise_one, statement):
    decided = ledger.disputes.decide(raise_one().dispute_id, Decision.ACCEPTED, **AGREED)
    with pytest.raises(Exception, match="rows of disputes are not rewritten"), ledger._engine.begin() as connection:
        connection.execute(text(statement))
    close(ledger, AUGUST)
    close(ledger, SEPTEMBER, posted_disputes=[decided.dispute_id])
    with pytest.raises(Exception, match="rows of disputes are not rewritten"), ledger._engine.begin() as connection:
        connection.execute(text("UPDATE disputes SET posting_ref = NULL"))
