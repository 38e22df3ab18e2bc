"""chargeback.csv and control_totals.json as finance gets them, and the ties that have to hold."""

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tokengov_pipelines.domain.chargeback import ChargebackProblem, InvoiceHeader, LoggedSpend, Rung, charge_month
from tokengov_pipelines.pack.content import assemble_pack
from tokengov_pipelines.pack.writer import PackError

PROBLEM = ChargebackProblem("missing_invoice", "openai", "openai has no invoice", "tokengov invoice new openai 2026-08")


@pytest.fixture
def month(closing_run):
    return closing_run.MONTH


@pytest.fixture
def invoice(closing_run, month):
    period = closing_run.InvoicePeriod(month.first_day, month.next().first_day)
    return InvoiceHeader("anthropic", "=INV", Decimal("12.30"), "USD", period)


@pytest.fixture
def lines(closing_run, month, invoice):
    spend = [LoggedSpend("anthropic", "CC-100", Rung.TEAM_METADATA, Decimal("12.345678901234"), 42)]
    centers = closing_run.CENTERS | {"CC-100": closing_run.CostCenter("CC-100", "@Platform core", "ACME-US")}
    return charge_month(month, [invoice], spend, centers, closing_run.POLICY, 1)[0]


def assemble(month, lines, invoice, problems=()):
    return assemble_pack(month, 1, lines=lines, problems=problems, invoices=[invoice], sources=[])


def test_chargeback_csv_is_the_finance_grain_of_the_rule_book(month, lines, invoice):
    rows = list(csv.reader(io.StringIO(assemble(month, lines, invoice).files["chargeback.csv"].decode(), newline="")))
    months, invoiced, policy = "2026-08,2026-08,2026-08", "anthropic,'=INV,1,showback,ACME-US", "0" * 64
    assert rows[1:] == [
        f"{months},{invoiced},CC-100,'@Platform core,,,direct,,,42,12.345678901234,12.35,USD,1,12.35,largest_remainder,"
        f"12.345678901234,12.345678901234,team_metadata,12.35,{policy}".split(","),
        f"{months},{invoiced},CC-990,Cc-990,,,central,,,,,-0.05,USD,1,-0.05,"
        f"invoice less logged spend (its causes: reconciliation.csv),,,,-0.05,{policy}".split(","),
    ]


def test_control_totals_are_read_back_from_the_bytes(closing_run, month):
    content, _ = closing_run.gathered(1, "1.50")
    totals = json.loads(content.files["control_totals.json"])
    assert totals == content.totals
    assert totals["sources"] == [
        {
            "source": "raw/litellm_spend_logs",
            "rows": 9,
            "sum": "100",
            "currency": "USD",
            "min_date": "2026-08-01",
            "max_date": "2026-08-31",
        }
    ]
    (file,) = totals["files"]
    assert (file["file"], file["rows"], file["sums"]) == ("chargeback.csv", 3, {"USD": "101.50"})
    assert totals["ties"] == [
        {
            "tie": "invoice = sum of its lines",
            "provider": "anthropic",
            "invoice_id": "INV-08",
            "currency": "USD",
            "invoice": "101.50",
            "chargeback": "101.50",
        },
        {
            "tie": "all charged invoices = chargeback.csv",
            "currency": "USD",
            "invoice": "101.50",
            "chargeback": "101.50",
        },
    ]
    assert totals["not_charged"] == []


def test_ties_hold_under_names_that_had_to_be_neutralised(month, lines, invoice):
    assert assemble(month, lines, invoice).totals["ties"][0]["invoice_id"] == "=INV"


def test_what_could_not_be_charged_is_listed(month, lines, invoice):
    totals = assemble(month, lines, invoice, [PROBLEM]).totals
    assert totals["not_charged"] == [
        {
            "provider": "openai",
            "code": "missing_invoice",
            "what": "openai has no invoice",
            "fix": "tokengov invoice new openai 2026-08",
        }
    ]


@pytest.mark.parametrize("off", ["0.01", "-0.001"])
def test_a_pack_that_does_not_tie_is_not_made(month, lines, invoice, off):
    wrong = [replace(lines[0], amount=lines[0].amount + Decimal(off)), *lines[1:]]
    with pytest.raises(PackError, match="do not tie, nothing was written"):
        assemble(month, wrong, invoice)


def test_lines_of_an_invoice_that_is_not_there_do_not_tie(month, lines, invoice):
    with pytest.raises(PackError, match="do not tie"):
        assemble_pack(month, 1, lines=lines, problems=[], invoices=[], sources=[])


def test_lines_of_another_version_are_refused(month, lines, invoice):
    with pytest.raises(PackError, match="another month or version"):
        assemble(month, [replace(lines[0], version=2), *lines[1:]], invoice)


def test_a_month_without_invoices_is_a_header(month):
    content = assemble_pack(month, 0, lines=[], problems=[], invoices=[], sources=[])
    assert content.files["chargeback.csv"].count(b"\n") == 1
    assert content.postings == ()
