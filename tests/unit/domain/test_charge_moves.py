"""A decided dispute moves its amount to the owner who agreed, and nothing else (Rule 6.8)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTERS, OCTOBER, POLICY, basis, billed, charged, header, shown, totals
from tokengov_pipelines.domain.charge_moves import moved
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge, charge_month, line_order
from tokengov_pipelines.domain.dispute import DisputeMove
from tokengov_pipelines.domain.money import MoneyError, exact_sum
from tokengov_pipelines.domain.period import BillingMonth

D = Decimal
LINES = charged(
    billed(header("110.00"), basis({"CC-100": "60", "CC-200": "40"}), tokens={"CC-100": 7}, tax="9.00", central="1.00")
)
MOVE = DisputeMove("D-2026-10-001", OCTOBER, "anthropic", "INV-19", "direct", "CC-100", "CC-200", D("12.50"), "USD")


def test_the_amount_leaves_one_cost_center_for_the_other_and_the_total_stays():
    after = moved(LINES, [MOVE], CENTERS)
    assert shown(LINES)["CC-100", "direct"], shown(LINES)["CC-200", "direct"] == ("60.00", "40.00")
    assert (shown(after)["CC-100", "direct"], shown(after)["CC-200", "direct"]) == ("47.50", "52.50")
    others = [line for line in LINES if line.charge_type != "direct"]
    assert [line for line in after if line.charge_type != "direct"] == others
    assert exact_sum(line.amount_functional for line in after) == D("110.00")


def test_both_lines_name_the_dispute_and_keep_what_was_logged():
    giving, receiving = [line for line in moved(LINES, [MOVE], CENTERS) if line.charge_type == "direct"]
    assert {giving.allocation_method, receiving.allocation_method} == {"largest_remainder; D-2026-10-001"}
    assert (giving.direct_logged_exact, giving.quantity_tokens, giving.rung) == (D(60), 7, "team_metadata")
    assert giving.pool_total == receiving.pool_total == D("100.00")


def test_a_cost_center_without_such_a_line_gets_one():
    after = moved(LINES, [replace(MOVE, to_cost_center="CC-300")], CENTERS)
    (new,) = [line for line in after if line.cost_center == "CC-300"]
    assert (new.amount, new.amount_functional, new.charge_type) == (D("12.50"), D("12.50"), "direct")
    assert (new.cost_center_name, new.legal_entity) == ("Name of CC-300", "ACME-US")
    assert new.allocation_method == "dispute; D-2026-10-001"
    assert (new.direct_logged_exact, new.quantity_tokens, new.allocation_weight, new.rung) == (None, None, None, "")
    assert list(after) == sorted(after, key=line_order)


def test_several_moves_add_up_also_of_one_dispute():
    moves = [MOVE, replace(MOVE, amount=D("7.50")), replace(MOVE, charge_type="tax", amount=D("-1.00"))]
    assert totals(moved(LINES, moves, CENTERS)) == {"CC-100": "46.40", "CC-200": "62.60", "CC-990-CENTRAL": "1.00"}
    twice = moved(LINES, [MOVE, replace(MOVE, dispute_id="D-2026-10-002", amount=D("1.00"))], CENTERS)
    (giving, *_) = [line for line in twice if line.charge_type == "direct"]
    assert giving.allocation_method == "largest_remainder; D-2026-10-001; D-2026-10-002"


def test_a_whole_charge_can_move_and_leaves_a_line_of_nothing():
    after = moved(LINES, [replace(MOVE, amount=D("60.00"))], CENTERS)
    assert (shown(after)["CC-100", "direct"], shown(after)["CC-200", "direct"]) == ("0.00", "100.00")


def test_without_moves_the_lines_are_what_they_were():
    assert moved(LINES, [], CENTERS) == LINES


def test_a_correction_of_the_same_cost_center_is_no_line_of_the_month():
    late = PriorPeriodCharge(BillingMonth(2026, 9), "anthropic", "INV-19", "CC-100", D("4.11"), "USD", "late_rows")
    lines = charge_month(OCTOBER, [], CENTERS, POLICY, 1, [late])
    with pytest.raises(MoneyError, match="which has no such charge"):
        moved(lines, [replace(MOVE, charge_type="prior_period")], CENTERS)


@pytest.mark.parametrize(
    "change",
    [{"charge_type": "seat"}, {"from_cost_center": "CC-300"}, {"invoice_id": "INV-20"}, {"provider": "openai"}],
)
def test_a_charge_that_is_not_there_is_not_moved(change):
    with pytest.raises(MoneyError, match=r"D-2026-10-001 moves .*, which has no such charge\. Fix: withdraw it"):
        moved(LINES, [replace(MOVE, **change)], CENTERS)


def test_an_invoice_in_another_currency_waits_for_the_close():
    euros = charged(billed(header("110.00", currency="EUR"), basis({"CC-100": "60"}), fx_rate="1.0837"))
    with pytest.raises(MoneyError, match=r"is of an invoice in EUR\. Fix: decide it after the close"):
        moved(euros, [MOVE], CENTERS)
