"""A correction of a closed month is posted in a later one, once, and kept (rule 2.5)."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.unit.ledger.closing import AUGUST, SEPTEMBER, close, prior
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.adjustments import Adjustment, PostedAdjustment
from tokengov_pipelines.ledger.errors import PageNotWritableError
from tokengov_pipelines.ledger.periods import PeriodState

LATE = Adjustment(
    AUGUST, "anthropic", "INV-19", "CC-100", Decimal("4.11"), "USD", "late_rows", "load 2026-09-12", "Grace"
)
OTHER = replace(LATE, cost_center="CC-200", amount=Decimal("-4.11"))
LINES = [prior(), prior(cost_center="CC-200", amount="-4.11")]


@pytest.fixture
def august(ledger):
    close(ledger)
    return ledger


def test_adjustments_are_posted_with_the_close_and_read_by_original_month(august):
    close(august, SEPTEMBER, lines=LINES, adjustments=[LATE, OTHER], adjustments_known=0)
    posted = [PostedAdjustment(**vars(each), posting_month=SEPTEMBER, posting_version=1) for each in (LATE, OTHER)]
    assert august.adjustments(AUGUST) == posted
    assert august.adjustments_posted_in(SEPTEMBER) == posted
    assert (august.adjustments(SEPTEMBER), august.adjustments_known()) == ([], 2)
    assert august.postings(SEPTEMBER, 1) == LINES
    (event,) = august.events(SEPTEMBER, "period.closed")
    assert event.payload["adjustments"] == 2


def test_one_cost_center_may_have_several_reasons_in_one_line(august):
    more = replace(LATE, reason="dispute", ref="D-2026-08-001", amount=Decimal("1.00"))
    close(august, SEPTEMBER, lines=[prior(amount="5.11")], adjustments=[LATE, more])
    assert [each.amount for each in august.adjustments(AUGUST)] == [Decimal("1.00"), Decimal("4.11")]


def test_two_lines_of_one_dispute_are_one_adjustment_of_a_cost_center(august):
    lines = [replace(LATE, reason="dispute", ref="D-1", amount=Decimal(each)) for each in ("5.11", "-1.00")]
    close(august, SEPTEMBER, lines=[prior()], adjustments=lines)
    assert [each.amount for each in august.adjustments(AUGUST)] == [Decimal("4.11")]


def test_corrections_of_several_months_stand_apart_in_one_posting_month(ledger):
    july = BillingMonth(2026, 7)
    close(ledger, july)
    close(ledger, AUGUST)
    lines = [prior(), prior("2026-07", amount="1.00")]
    adjustments = [LATE, replace(LATE, original_month=july, amount=Decimal("1.00"))]
    close(ledger, SEPTEMBER, lines=lines, adjustments=adjustments)
    assert [posting.original_month for posting in ledger.postings(SEPTEMBER, 1)] == ["2026-07", "2026-08"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"adjustments": [LATE]}, "the adjustments of 2026-08 anthropic INV-19 CC-200 are 0 USD and its prior_period"),
        ({"lines": LINES[:1]}, "are -4.11 USD and its prior_period lines 0"),
        ({"adjustments": []}, "CC-100 are 0 USD and its prior_period lines 4.11"),
        ({"adjustments": [replace(LATE, approved_by=" "), OTHER]}, "nobody who approved it"),
        ({"adjustments": [replace(LATE, ref=""), OTHER]}, "no reference"),
        ({"adjustments": [replace(LATE, original_month=SEPTEMBER), OTHER]}, "which is not after it"),
        ({"adjustments": [replace(LATE, original_month=BillingMonth(2026, 7)), OTHER]}, "adjusted and not closed"),
        ({"adjustments_known": 1}, r"another close has posted adjustments since these were computed \(1, 0\)"),
    ],
)
def test_adjustments_that_break_a_rule_hold_the_close(august, changes, says):
    with pytest.raises(PageNotWritableError, match=says):
        close(august, SEPTEMBER, **{"lines": LINES, "adjustments": [LATE, OTHER]} | changes)
    assert august.period(SEPTEMBER).state is PeriodState.OPEN
    assert august.adjustments(AUGUST) == []


def test_who_computed_before_another_close_posted_is_told(august):
    known = august.adjustments_known()
    close(august, SEPTEMBER, lines=LINES, adjustments=[LATE, OTHER], adjustments_known=known)
    october = SEPTEMBER.next()
    with pytest.raises(PageNotWritableError, match=r"since these were computed \(0, 2\)"):
        close(august, october, lines=LINES, adjustments=[LATE, OTHER], adjustments_known=known)
    assert august.period(october).state is PeriodState.OPEN


def test_what_a_failing_close_posted_never_happened(august):
    def fail():
        with august.closed_book(SEPTEMBER, "pack", "Ada", "run-1") as page:
            page.record_close(
                version=1,
                content_sha256="ab" * 32,
                pack_path="p",
                totals={},
                lines=LINES,
                preparer="Ada",
                approver="Grace",
                adjustments=[LATE, OTHER],
            )
            assert len(page.adjustments(AUGUST)) == 2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert august.adjustments(AUGUST) == []


@pytest.mark.parametrize("statement", ["UPDATE adjustments SET amount = '0'", "DELETE FROM adjustments"])
def test_the_database_itself_refuses_to_rewrite_them(august, statement):
    close(august, SEPTEMBER, lines=LINES, adjustments=[LATE, OTHER])
    with pytest.raises(Exception, match="rows of adjustments are not rewritten"), august._engine.begin() as connection:
        connection.execute(text(statement))
    assert august.adjustments(AUGUST)[0].amount == Decimal("4.11")
