"""Disputes: what may be raised and decided, when, and that what moves adds up to nothing (rule 6.8)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.dispute import (
    ConsentKind,
    Decision,
    Dispute,
    DisputedLine,
    Route,
    business_day_after,
    decision_refusal,
    dispute_moves,
    last_day_to_raise,
    raising_refusal,
    route_of,
)
from tokengov_pipelines.domain.period import BillingMonth

D = Decimal
OCTOBER = BillingMonth(2026, 10)
LINE = DisputedLine("anthropic", "INV-19", "direct", D("12.50"))
CHARGED = {("anthropic", "INV-19", "direct"): D("40.00"), ("anthropic", "INV-19", "credit"): D("-5.00")}


def at(day: int, hour: int = 12, month: int = 11) -> dt.datetime:
    return dt.datetime(2026, month, day, hour, tzinfo=dt.UTC)


RAISED = Dispute(
    dispute_id="D-2026-10-001",
    month=OCTOBER,
    cost_center="CC-100",
    lines=(LINE,),
    currency="USD",
    reason="the batch job moved",
    claimed_owner="CC-200",
    evidence="ticket FIN-7",
    raised_by="Ada",
    raised_at=at(4),
)
ACCEPTED = replace(RAISED, decision=Decision.ACCEPTED, decided_by="Grace", decided_at=at(5))


def refusal(closed_on=None, others=(), **changes):
    return raising_refusal(
        replace(RAISED, **changes), charged=CHARGED, others=others, closed_on=closed_on, days_after_close=30
    )


def decided(dispute=RAISED, decision=Decision.ACCEPTED, by="Grace", consent_by="Hopper", reason="agreed", **changes):
    values = {"consent_kind": ConsentKind.RECEIVING_OWNER} | changes
    return decision_refusal(dispute, decision=decision, reason=reason, by=by, consent_by=consent_by, **values)


@pytest.mark.parametrize(
    ("month", "number", "holidays", "day"),
    [
        (OCTOBER, 1, (), dt.date(2026, 11, 2)),
        (OCTOBER, 4, (), dt.date(2026, 11, 5)),
        (OCTOBER, 5, (), dt.date(2026, 11, 6)),
        (OCTOBER, 4, (dt.date(2026, 11, 3),), dt.date(2026, 11, 6)),
        (BillingMonth(2026, 12), 4, (dt.date(2027, 1, 1),), dt.date(2027, 1, 7)),
    ],
)
def test_business_days_are_weekdays_without_holidays_of_the_month_after(month, number, holidays, day):
    assert business_day_after(month, number, holidays) == day


def test_a_month_has_no_twenty_fifth_business_day():
    with pytest.raises(ValueError, match="2026-11 has 21 business days, not 25"):
        business_day_after(OCTOBER, 25)


def test_a_dispute_may_be_raised():
    assert refusal() is None
    assert refusal(lines=(DisputedLine("anthropic", "INV-19", "credit", D("-5.00")),)) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evidence": " "}, "names cost center, claimed owner, reason, evidence"),
        ({"reason": "one\ntwo"}, "single lines"),
        ({"claimed_owner": "CC-100"}, "in favour of itself"),
        ({"lines": ()}, "one line or more"),
        ({"lines": (LINE, replace(LINE, amount=D(1)))}, "each once"),
        ({"lines": (replace(LINE, charge_type="tax"),)}, "was not charged for anthropic invoice INV-19, tax"),
        ({"lines": (replace(LINE, amount=D("40.01")),)}, "an amount up to 40.00"),
        ({"lines": (replace(LINE, amount=D("-1.00")),)}, "cannot be disputed"),
        ({"lines": (replace(LINE, amount=D("0.00")),)}, "cannot be disputed"),
        ({"lines": (replace(LINE, amount=D("1.005")),)}, "parts of a cent"),
        ({"raised_at": at(7, month=12)}, "were taken until 2026-12-06"),
    ],
)
def test_a_dispute_that_breaks_a_rule_is_refused(changes, says):
    assert says in refusal(**changes)
    assert "Fix: " in refusal(**changes)


def test_disputes_are_taken_until_thirty_days_after_the_close():
    assert last_day_to_raise(OCTOBER, None, 30) == dt.date(2026, 12, 6)
    assert last_day_to_raise(OCTOBER, dt.date(2026, 11, 10), 30) == dt.date(2026, 12, 10)
    assert refusal(closed_on=dt.date(2026, 11, 10), raised_at=at(10, month=12)) is None
    assert "until 2026-12-10" in refusal(closed_on=dt.date(2026, 11, 10), raised_at=at(11, month=12))


def test_no_cent_is_disputed_twice():
    thirty = replace(RAISED, lines=(replace(LINE, amount=D("30.00")),))
    assert "of which 30.00 are in dispute already" in refusal(others=[thirty])
    for over in (Decision.REJECTED, Decision.WITHDRAWN):
        assert refusal(others=[replace(thirty, decision=over)]) is None
    assert refusal(others=[replace(thirty, cost_center="CC-300")]) is None


@pytest.mark.parametrize(
    ("decided_at", "closed_at", "route"),
    [
        (at(5, 23), None, Route.THIS_CLOSE),
        (at(6, 0), None, Route.PRIOR_PERIOD),
        (at(5, 10), at(5, 9), Route.PRIOR_PERIOD),
        (at(5, 10), at(6, 9), Route.THIS_CLOSE),
        (None, None, Route.THIS_CLOSE),
        (None, at(4, 9), Route.PRIOR_PERIOD),
    ],
)
def test_what_is_decided_by_the_end_of_bd4_changes_the_month_and_the_rest_the_next(decided_at, closed_at, route):
    assert route_of(replace(RAISED, decided_at=decided_at), closed_at) is route


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"by": "ada"}, "ada raised D-2026-10-001 and cannot decide it"),
        ({"by": " "}, "names who takes it and why"),
        ({"reason": ""}, "names who takes it and why"),
        ({"consent_by": None}, "consent of its owner or the VP's decision"),
        ({"consent_kind": None}, "consent of its owner or the VP's decision"),
        ({"consent_by": "ADA"}, "cannot consent to it"),
        ({"decision": Decision.REJECTED, "by": "Ada"}, "cannot decide it"),
        ({"decision": Decision.WITHDRAWN}, "is withdrawn by Ada"),
        ({"dispute": ACCEPTED}, "was accepted by Grace already"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_refused(values, says):
    assert says in decided(**values)
    assert "Fix: " in decided(**values)


def test_a_decision_that_keeps_the_rules_passes():
    assert decided() is None
    assert decided(consent_kind=ConsentKind.VP) is None
    assert decided(decision=Decision.REJECTED, consent_by=None, consent_kind=None) is None
    assert decided(decision=Decision.WITHDRAWN, by="ada", consent_by=None) is None


def test_accepted_disputes_move_their_stated_amounts():
    two = replace(ACCEPTED, lines=(LINE, replace(LINE, charge_type="credit", amount=D("-1.00"))))
    moves = dispute_moves([two, RAISED, replace(RAISED, decision=Decision.REJECTED)])
    assert [(move.from_cost_center, move.to_cost_center, move.charge_type, move.amount) for move in moves] == [
        ("CC-100", "CC-200", "credit", D("-1.00")),
        ("CC-100", "CC-200", "direct", D("12.50")),
    ]
    assert two.amount == D("11.50")
    assert (two.awaits_posting, RAISED.awaits_posting) == (True, False)
    assert not replace(two, posting_ref="2026-11/v1").awaits_posting


@given(st.lists(st.decimals(min_value=-1000, max_value=1000, places=2), min_size=1, max_size=5))
def test_what_a_dispute_moves_is_its_amount_and_the_total_stays(amounts):
    lines = tuple(DisputedLine("openai", f"INV-{n}", "direct", amount) for n, amount in enumerate(amounts))
    dispute = replace(ACCEPTED, lines=lines)
    balance = {"CC-100": D(0), "CC-200": D(0)}
    for move in dispute_moves([dispute]):
        balance[move.from_cost_center] -= move.amount
        balance[move.to_cost_center] += move.amount
    assert sum(balance.values()) == 0
    assert balance["CC-200"] == dispute.amount


def test_a_line_is_read_as_people_write_it():
    assert DisputedLine.parse("anthropic:INV-19:direct:12.50") == LINE
    assert DisputedLine.parse("aws:INV:7:tax:-1").invoice_id == "INV:7"
    for wrong in ("", "anthropic:INV-19:direct", "anthropic::direct:1", "anthropic:INV-19:direct:1,5"):
        with pytest.raises(ValueError, match="is no disputed line"):
            DisputedLine.parse(wrong)
