"""The files that say the same charges agree to the cent, or nothing is written (Rule 11.7)."""

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTERS, OCTOBER, POLICY, basis, billed, header, inv_19
from tests.unit.pack.closing_run import parts_of
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge, charge_month
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.charge_ties import charge_ties
from tokengov_pipelines.pack.content import assemble_pack
from tokengov_pipelines.pack.writer import PackError

D = Decimal
SEPTEMBER = BillingMonth(2026, 9)
CORRECTIONS = [
    PriorPeriodCharge(SEPTEMBER, "anthropic", "INV-18", code, D(amount), "USD", "late_or_corrected_usage", "v1 ab")
    for code, amount in (("CC-100", "4.11"), ("CC-200", "-4.11"), ("CC-300", "2.00"))
]


def parts_with(*corrections, **more):
    invoice = inv_19()
    lines = charge_month(OCTOBER, [invoice], CENTERS, POLICY, 1, corrections)
    return parts_of(OCTOBER, lines, [invoice], corrections=corrections, **more)


@pytest.fixture(scope="module")
def files():
    return assemble_pack(OCTOBER, 1, parts_with(*CORRECTIONS)).files


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def ties_of(files):
    return {tie["tie"]: tie for tie in charge_ties(files, rows_of(files["chargeback.csv"]), "USD", {})}


def with_change(files, name, column, amount, **where):
    """The files with one cell of one table changed: the first row that `where` finds."""
    rows = rows_of(files[name])
    row = next(each for each in rows if all(each[key] == value for key, value in where.items()))
    row[column] = amount
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {**files, name: text.getvalue().encode()}


def test_a_month_with_corrections_ties_in_every_file(files):
    """928.08 of October and 2.00 in all for September make 930.08."""
    found = ties_of(files)
    assert list(found) == [
        "chargeback_detail.csv = chargeback.csv, line by line",
        "adjustments.csv = prior-period lines",
        "journal.csv anthropic: debits = credits",
        "journal.csv anthropic: expenses = charges",
        "focus_1_2.csv by invoice",
    ]
    assert found["adjustments.csv = prior-period lines"] == {
        "tie": "adjustments.csv = prior-period lines",
        "currency": "USD",
        "adjustments": "2.00",
        "charges": "2.00",
    }
    assert found["journal.csv anthropic: expenses = charges"]["journal"] == "930.08"
    assert found["focus_1_2.csv by invoice"]["billed"] == "930.08"


@pytest.mark.parametrize(
    ("name", "column", "where", "says"),
    [
        ("chargeback_detail.csv", "amount", {"charge_type": "tax"}, "does not add up to chargeback.csv at anthropic"),
        ("chargeback_detail.csv", "amount_functional", {"charge_type": "tax"}, "does not add up to chargeback.csv"),
        ("adjustments.csv", "amount", {"cost_center": "CC-300"}, "adjustments.csv = prior-period lines"),
        ("journal.csv", "debit", {"cost_center": "CC-100"}, "debits = credits"),
    ],
)
def test_a_cent_more_in_any_file_is_a_defect(files, name, column, where, says):
    cell = next(row for row in rows_of(files[name]) if all(row[key] == value for key, value in where.items()))[column]
    off = with_change(files, name, column, str(D(cell) + D("0.01")), **where)
    with pytest.raises(PackError, match=says):
        ties_of(off)


def test_two_errors_that_cancel_in_the_sum_are_found_line_by_line(files):
    one = with_change(files, "chargeback_detail.csv", "amount", "31.68", cost_center="CC-100", charge_type="tax")
    both = with_change(one, "chargeback_detail.csv", "amount", "26.82", cost_center="CC-200", charge_type="tax")
    sums = [exact_sum(D(row["amount"]) for row in rows_of(each["chargeback_detail.csv"])) for each in (files, both)]
    assert sums[0] == sums[1]
    with pytest.raises(PackError, match=r"at anthropic INV-19 2026-10 CC-100 tax USD\. Nothing was written"):
        ties_of(both)


def test_a_charge_that_the_journal_left_out_is_found_though_it_balances(files):
    rows = [row for row in rows_of(files["journal.csv"]) if row["cost_center"] != "CC-300"]
    clearing = next(row for row in rows if not row["cost_center"] and D(row["credit"]))
    left_out = exact_sum(D(row["debit"]) for row in rows) - exact_sum(D(row["credit"]) for row in rows)
    clearing["credit"] = str(D(clearing["credit"]) + left_out)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with pytest.raises(PackError, match="expenses = charges"):
        ties_of({**files, "journal.csv": text.getvalue().encode()})


def test_corrections_that_were_only_listed_are_in_no_sum():
    small = replace(CORRECTIONS[0], invoice_id="INV-17", amount=D("0.40"))
    content = assemble_pack(OCTOBER, 1, parts_with(CORRECTIONS[2], listed_corrections=[small]))
    tie = next(tie for tie in content.totals["ties"] if tie["tie"].startswith("adjustments.csv"))
    assert (tie["adjustments"], tie["charges"]) == ("2.00", "2.00")


def test_only_the_files_that_are_there_are_tied(files):
    assert ties_of({"chargeback.csv": files["chargeback.csv"]}) == {}


def test_an_accrual_is_reversed_in_its_journal_and_still_ties():
    """Rule 2.2: 40.00 accrued in October, with the mirror of day 1 of November in the same file."""
    accrual = billed(header("40.00", invoice_id="ACCRUAL-ANTHROPIC-2026-10"), basis({"CC-100": "40"}))
    lines = charge_month(OCTOBER, [accrual], CENTERS, POLICY, 1)
    content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, lines, [accrual]))
    ids = [row["external_id"] for row in rows_of(content.files["journal.csv"])]
    assert sorted(set(ids)) == ["TG-ANTHROPIC-2026-10-V1-ACCRUAL", "TG-ANTHROPIC-2026-10-V1-ACCRUAL-REVERSAL"]
    tie = next(tie for tie in content.totals["ties"] if tie["tie"].endswith("expenses = charges"))
    assert (tie["journal"], tie["charges"]) == ("40.00", "40.00")


def test_an_accrual_that_its_own_month_reversed_is_not_booked_again_when_its_invoice_comes():
    """Rule 2.2: -40.00 of the accrual is in September's file already; the invoice of 42.00 is booked in October."""
    late = [
        PriorPeriodCharge(SEPTEMBER, "openai", invoice, "CC-100", D(amount), "USD", "accrual_true_up", "v1 ab")
        for invoice, amount in (("ACCRUAL-OPENAI-2026-09", "-40.00"), ("OAI-9", "42.00"))
    ]
    content = assemble_pack(OCTOBER, 1, parts_with(*late))
    tie = next(tie for tie in content.totals["ties"] if tie["tie"] == "journal.csv openai: expenses = charges")
    assert (tie["journal"], tie["charges"]) == ("42.00", "42.00")
    adjusted = next(tie for tie in content.totals["ties"] if tie["tie"].startswith("adjustments.csv"))
    assert adjusted["adjustments"] == "2.00"
