"""reconciliation.csv as a controller reads it: a statement from the log to the invoice (rules 1.4b, 11.4)."""

import csv
import datetime as dt
import io
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.match_result import ErrorCode, LineDifference, LineOutcome, MatchError, MatchMode
from tokengov_pipelines.domain.open_item import ItemStatus
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.pack.reconciliation_csv import reconciliation_csv
from tokengov_pipelines.pack.reconciliation_rows import item_rows, items_from_rows, monthly_rows

D = Decimal
OCTOBER = BillingMonth(2026, 10)
EXAMPLE = {
    "timing": "3",
    "proxy_pricing": "6",
    "volume": "2.774338805310",
    "mix": "1.725664194690",
    "tier_discount": "-4",
    "unproxied": "12",
    "provider_rate": "1.35",
    "non_token": "10",
    "commitment": "50",
    "credits_discounts": "-20",
    "tax": "13.43",
    "rounding": "-0.000003",
    "unexplained": "0.25",
}


def example(**changes):
    """The worked example of rule 4.4, with its invoice period."""
    rec = reconciled("anthropic", "ANT-2026-10", OCTOBER, "105.00", **EXAMPLE)
    period = InvoicePeriod(dt.date(2026, 10, 2), dt.date(2026, 11, 2))
    return replace(rec, **{"period": period} | changes)


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_the_example_of_the_rule_book_foots():
    rows = rows_of(reconciliation_csv([example()]))
    assert [(row["state_no"], row["component"], row["amount"]) for row in rows] == [
        ("0", "logged", "105.00"),
        ("1", "timing", "3.00"),
        ("2", "proxy_pricing", "6.00"),
        ("3", "volume", "2.77"),
        ("4", "mix", "1.73"),
        ("5", "tier_discount", "-4.00"),
        ("6", "unproxied", "12.00"),
        ("7", "provider_rate", "1.35"),
        ("8", "non_token", "10.00"),
        ("9", "commitment", "50.00"),
        ("10", "credits_discounts", "-20.00"),
        ("11", "tax", "13.43"),
        ("12", "rounding", "0.00"),
        ("13", "unexplained", "0.25"),
        ("14", "invoice", "181.53"),
    ]
    assert sum(D(row["amount"]) for row in rows[1:-1]) == D("76.53")
    assert [row["amount_exact"] for row in rows[3:5]] == ["2.774338805310", "1.725664194690"]
    assert rows[12]["amount_exact"] == "-0.000003000000"


def test_a_line_says_everything_that_a_reviewer_asks():
    (line,) = (row for row in rows_of(reconciliation_csv([example()])) if row["component"] == "volume")
    assert line == {
        "provider": "anthropic",
        "account": "acme-prod",
        "invoice_id": "ANT-2026-10",
        "period_start": "2026-10-02",
        "period_end": "2026-11-02",
        "state_no": "3",
        "component": "volume",
        "amount_exact": "2.774338805310",
        "amount": "2.77",
        "currency": "USD",
        "pct_of_invoice": "1.5283",
        "status": "within_tolerance",
        "tolerance": "1.00",
        "evidence": "0 tokens reported on the proxy's keys, 0 logged; with mix 4.50: lost 0.00, surplus 0.00, "
        "of which 0.00 shifted between neighbouring days",
        "items_open": "0",
    }


def test_the_statement_foots_when_the_log_ends_on_half_a_cent():
    rows = monthly_rows(reconciled("anthropic", "A", OCTOBER, "105.005", timing="76.525"))
    assert (rows[0]["amount"], rows[1]["amount"], rows[-1]["amount"]) == (D("105.00"), D("76.53"), D("181.53"))


def test_an_invoice_that_is_not_there_ends_the_statement_where_the_figures_end():
    whole = example()
    states = {name: whole.states[name] for name in list(whole.states)[:9]}
    components = dict(list(whole.components.items())[:8])
    rec = replace(whole, invoice_id=None, states=states, components=components)
    rows = rows_of(reconciliation_csv([rec]))
    assert [row["component"] for row in rows[-2:]] == ["provider_rate", "non_token"]
    assert {(row["invoice_id"], row["pct_of_invoice"]) for row in rows} == {("", "")}


def test_a_two_way_match_says_so_in_its_status():
    rows = rows_of(reconciliation_csv([example(mode=MatchMode.TWO_WAY)]))
    assert {row["status"] for row in rows} == {"within_tolerance_two_way"}


@pytest.mark.parametrize(
    ("part", "logged", "percent"),
    [("1", "2", "33.3333"), ("2", "1", "66.6667"), ("-1", "3", "-50.0000"), ("0.0000015", "2.9999985", "0.0001")],
)
def test_percentages_are_rounded_once_from_the_exact_fraction(part, logged, percent):
    row = monthly_rows(reconciled("anthropic", "A", OCTOBER, logged, timing=part))[1]
    assert row["pct_of_invoice"] == D(percent)


def test_an_invoice_of_zero_has_no_percentages():
    assert monthly_rows(reconciled("anthropic", "A", OCTOBER, "5", tax="-5"))[1]["pct_of_invoice"] is None


def test_open_items_are_counted_where_they_belong():
    lines = tuple(LineDifference(name, (1,), D(9), D(0), LineOutcome.UNEXPLAINED) for name in "ab")
    errors = (MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-03", "w", "f"),)
    rec = example(line_differences=lines, errors=errors)
    items = reconciling_items(rec, opened_on=dt.date(2026, 11, 3), item_min_usd=D("1.00"))
    counts = {row["component"]: row["items_open"] for row in monthly_rows(rec, items)}
    assert (counts["unexplained"], counts["tax"], counts["invoice"], counts["logged"]) == (2, 0, 3, None)
    assert {row["items_open"] for row in monthly_rows(replace(rec, invoice_id="other"), items)} == {0, None}


def test_line_differences_are_named_and_no_spreadsheet_runs_them():
    lines = (LineDifference("=cmd|calc", (1,), D("0.25"), D(0), LineOutcome.UNEXPLAINED),)
    rec = replace(example(line_differences=lines), account="=1+1", provider="@sum")
    rows = rows_of(reconciliation_csv([rec]))
    assert {(row["provider"], row["account"]) for row in rows} == {("'@sum", "'=1+1")}
    assert rows[13]["evidence"] == "1 lines: =cmd|calc +0.25"
    assert rows[10]["amount"] == "-20.00"


def test_equal_reconciliations_are_equal_bytes_and_none_is_a_header():
    other = replace(example(), provider="openai", invoice_id="OAI-1")
    assert reconciliation_csv([example(), other]) == reconciliation_csv([other, example()])
    assert reconciliation_csv([]).count(b"\n") == 1


def test_items_come_back_from_their_rows_as_they_were():
    lines = (LineDifference("a", (1,), D(9), D(0), LineOutcome.UNEXPLAINED),)
    items = reconciling_items(example(line_differences=lines), opened_on=dt.date(2026, 11, 3), item_min_usd=D("1.00"))
    rows = item_rows(items)
    assert items_from_rows(rows) == items
    assert {type(row["status"]) for row in rows} == {str}
    assert items[0].status is ItemStatus.EXPLAINED
