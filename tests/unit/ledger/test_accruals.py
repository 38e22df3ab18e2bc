"""An accrual is approved by two people before the close, and the last word counts (rules 2.2, 2.4)."""

from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.unit.ledger.closing import AUGUST, SEPTEMBER, close
from tokengov_pipelines.ledger.accruals import AccrualRefusedError

TERMS = {
    "amount": Decimal("1250.00"),
    "currency": "USD",
    "method": "provider cost report",
    "expected_error": Decimal("18.75"),
    "requested_by": "Ada",
    "approved_by": "Grace",
}


def test_an_approved_accrual_is_found_by_month_and_provider(ledger):
    assert ledger.accruals.approved(SEPTEMBER, "openai") is None
    approval = ledger.accruals.approve(SEPTEMBER, "openai", **TERMS)
    assert ledger.accruals.approved(SEPTEMBER, "openai") == approval
    assert (approval.amount, approval.expected_error, approval.month) == (
        Decimal("1250.00"),
        Decimal("18.75"),
        SEPTEMBER,
    )
    assert ledger.accruals.approved(SEPTEMBER, "anthropic") is None
    assert ledger.accruals.approved(AUGUST, "openai") is None
    (event,) = ledger.events(SEPTEMBER, "accrual.approved")
    assert (event.actor, event.payload["amount"], event.payload["expected_error"]) == ("Grace", "1250.00", "18.75")


def test_the_last_approval_is_in_force_and_the_first_is_kept(ledger):
    ledger.accruals.approve(SEPTEMBER, "openai", **TERMS)
    second = ledger.accruals.approve(
        SEPTEMBER, "openai", **TERMS | {"amount": Decimal("1300.00"), "expected_error": None}
    )
    assert ledger.accruals.approved(SEPTEMBER, "openai") == second
    assert [each.amount for each in ledger.accruals.of(SEPTEMBER)] == [Decimal("1250.00"), Decimal("1300.00")]
    with ledger.closed_book(SEPTEMBER, "pack", "Ada", "run-1") as page:
        assert page.accruals() == {"openai": second}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approved_by": " ada "}, "needs two people"),
        ({"requested_by": ""}, "needs two people"),
        ({"method": " "}, "how it was computed"),
        ({"expected_error": Decimal("-1")}, "zero or more"),
    ],
)
def test_an_approval_that_breaks_a_rule_is_refused(ledger, changes, says):
    with pytest.raises(AccrualRefusedError, match=says):
        ledger.accruals.approve(SEPTEMBER, "openai", **TERMS | changes)
    assert (ledger.accruals.of(SEPTEMBER), ledger.events()) == ([], [])


def test_a_closed_month_takes_no_accrual(ledger):
    close(ledger, SEPTEMBER)
    with pytest.raises(AccrualRefusedError, match="2026-09 is closed"):
        ledger.accruals.approve(SEPTEMBER, "openai", **TERMS)


@pytest.mark.parametrize("statement", ["UPDATE accrual_approvals SET amount = '0'", "DELETE FROM accrual_approvals"])
def test_the_database_itself_refuses_to_rewrite_them(ledger, statement):
    ledger.accruals.approve(SEPTEMBER, "openai", **TERMS)
    with (
        pytest.raises(Exception, match="rows of accrual_approvals are not rewritten"),
        ledger._engine.begin() as connection,
    ):
        connection.execute(text(statement))
