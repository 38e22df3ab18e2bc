"""Tolerance and status at their boundaries (rule 4.7)."""

from decimal import Decimal

import pytest

from tokengov_pipelines.domain.money import MoneyError
from tokengov_pipelines.domain.reconciliation import Tolerances, reconciliation_status, tolerance

LIMITS = Tolerances()


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("1000.00", "5.00"),
        ("200.00", "1.00"),  # the floor and the half percent meet
        ("199.99", "1.00"),  # the floor
        ("0.00", "1.00"),
        ("20000.00", "100.00"),  # the half percent and the cap meet
        ("1000000.00", "100.00"),  # the cap
        ("-1000.00", "5.00"),  # a credit note has the tolerance of the invoice it mirrors
        ("333.33", "1.66665"),  # exact, not rounded
    ],
)
def test_tolerance_is_the_relative_limit_between_floor_and_cap(total, expected):
    assert tolerance(Decimal(total), LIMITS) == Decimal(expected)


@pytest.mark.parametrize(
    ("unexplained", "status"),
    [
        ("0.00", "matched"),
        ("0.05", "matched"),
        ("0.06", "within_tolerance"),
        ("5.00", "within_tolerance"),
        ("5.01", "investigate"),
        ("15.00", "investigate"),
        ("15.01", "blocked"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_limit_that_is_just_reached_still_holds(unexplained, status, sign):
    assert reconciliation_status(sign * Decimal(unexplained), Decimal("1000.00"), LIMITS) == status


def test_logged_spend_without_an_invoice_is_missing_whatever_its_size():
    assert reconciliation_status(Decimal(0), None, LIMITS) == "missing_invoice"


def test_the_limits_are_the_policys():
    strict = Tolerances(rounding_abs=Decimal("0.00"), rel=Decimal("0.001"), block_multiple=2)
    assert reconciliation_status(Decimal("0.01"), Decimal("1000.00"), strict) == "within_tolerance"
    assert reconciliation_status(Decimal("1.01"), Decimal("1000.00"), strict) == "investigate"
    assert reconciliation_status(Decimal("2.01"), Decimal("1000.00"), strict) == "blocked"


def test_floats_are_refused():
    with pytest.raises(MoneyError, match="float"):
        reconciliation_status(5.0, Decimal("1000.00"), LIMITS)  # type: ignore[arg-type]
