"""adjustments.csv: what a month posts for earlier ones, and what it only lists (Rules 2.5, 11.4)."""

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest

from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.adjustments_csv import APPROVED_BY, adjustments_csv
from tokengov_pipelines.pack.manifest import is_data_file
from tokengov_pipelines.pack.writer import PackError

OCTOBER, AUGUST = BillingMonth(2026, 10), BillingMonth(2026, 8)
LATE = PriorPeriodCharge(
    AUGUST, "anthropic", "INV-08", "CC-100", Decimal("4.11"), "USD", "late_or_corrected_usage", "v1 88dc28d0f030"
)
OTHER = replace(LATE, cost_center="CC-200", amount=Decimal("-4.11"))


def rows_of(*given):
    return list(csv.DictReader(io.StringIO(adjustments_csv(OCTOBER, *given).decode(), newline="")))


def test_a_posted_correction_is_one_row_with_its_reason_and_what_it_rests_on():
    assert adjustments_csv(OCTOBER, [LATE]).decode() == (
        "posting_period,original_period,provider,invoice_id,cost_center,amount,currency,reason,ref,is_posted,"
        "approved_by\n"
        "2026-10,2026-08,anthropic,INV-08,CC-100,4.11,USD,late_or_corrected_usage,v1 88dc28d0f030,yes,"
        f"{APPROVED_BY}\n"
    )
    assert is_data_file("adjustments.csv")


def test_what_was_too_small_to_post_is_listed_and_nobody_approved_it():
    small = replace(OTHER, invoice_id="INV-07", amount=Decimal("-0.40"))
    rows = rows_of([LATE, OTHER], [small])
    assert [(row["invoice_id"], row["amount"], row["is_posted"], row["approved_by"]) for row in rows] == [
        ("INV-07", "-0.40", "no", ""),
        ("INV-08", "4.11", "yes", APPROVED_BY),
        ("INV-08", "-4.11", "yes", APPROVED_BY),
    ]


def test_rows_are_in_one_order_and_a_month_without_any_is_a_header():
    assert adjustments_csv(OCTOBER, [OTHER, LATE]) == adjustments_csv(OCTOBER, [LATE, OTHER])
    assert adjustments_csv(OCTOBER, []).count(b"\n") == 1


def test_several_reasons_of_one_cost_center_stand_apart():
    dispute = replace(LATE, reason="dispute", ref="D-2026-08-001", amount=Decimal("-1.00"))
    assert [(row["reason"], row["amount"]) for row in rows_of([LATE, dispute])] == [
        ("dispute", "-1.00"),
        ("late_or_corrected_usage", "4.11"),
    ]


def test_the_same_correction_twice_is_a_defect():
    with pytest.raises(PackError, match="two rows have the same"):
        adjustments_csv(OCTOBER, [LATE, LATE])


def test_a_name_is_no_formula_and_an_amount_below_zero_is_a_number():
    (row,) = rows_of([replace(OTHER, invoice_id="=INV", ref="@ref")])
    assert (row["invoice_id"], row["ref"], row["amount"]) == ("'=INV", "'@ref", "-4.11")
