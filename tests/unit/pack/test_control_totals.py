"""control_totals.json: what went in, what came out, and every tie of rule 11.7 on the rule book's own example."""

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTERS, OCTOBER, POLICY, SUSPENSE, basis, billed, charged, header, inv_19
from tests.reconciliations import reconciled
from tests.unit.pack.closing_run import AUGUST, SEPTEMBER, gathered, parts_of
from tests.unit.pack.test_reconciliation_lists import key
from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import BilledMonth, charge_month
from tokengov_pipelines.domain.pools import Pool
from tokengov_pipelines.pack.content import PackParts, SuspenseList, assemble_pack
from tokengov_pipelines.pack.suspense_csv import SuspensePolicy
from tokengov_pipelines.pack.writer import PackError, sha256_of

D = Decimal


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def total(rows, column, **where):
    mine = [row for row in rows if all(row[name] == value for name, value in where.items())]
    return sum((D(row[column]) for row in mine), D(0))


@pytest.fixture(scope="module")
def example():
    """The month of rule 11.7 with every file: 928.08 of INV-19."""
    invoice = inv_19()
    causes = {
        "volume": "5",
        "unproxied": "120",
        "non_token": "10",
        "credits_discounts": "-80",
        "tax": "72.71",
        "rounding": "0.06",
        "unexplained": "0.31",
    }
    parts = parts_of(
        OCTOBER,
        charged(invoice),
        [invoice],
        corrections=[],
        reconciliations=[reconciled("anthropic", "INV-19", OCTOBER, "800", **causes)],
        items=[],
        unproxied=[key("ci", "90"), key("other", "30")],
    )
    return assemble_pack(OCTOBER, 1, parts)


def test_the_worked_example_ties_in_every_file(example):
    """928.08 = 928.08 Dr = 928.08 Cr = FOCUS 928.08: Usage 935.00, Credit -80.00, Tax 72.71, Adjustment 0.37."""
    files = {name: rows_of(content) for name, content in example.files.items() if name.endswith(".csv")}
    assert total(files["chargeback.csv"], "amount") == total(files["chargeback_detail.csv"], "amount") == D("928.08")
    assert total(files["journal.csv"], "debit") == total(files["journal.csv"], "credit") == D("928.08")
    focus = files["focus_1_2.csv"]
    assert total(focus, "BilledCost", InvoiceId="INV-19") == D("928.08")
    by_category = {name: total(focus, "BilledCost", ChargeCategory=name) for name in ("Usage", "Credit", "Tax")}
    assert by_category == {"Usage": D("935.00"), "Credit": D("-80.00"), "Tax": D("72.71")}
    assert total(focus, "BilledCost", ChargeCategory="Adjustment") == D("0.37")


def test_the_ties_stand_in_the_file_with_both_sides(example):
    ties = json.loads(example.files["control_totals.json"])["ties"]
    invoice = {"provider": "anthropic", "invoice_id": "INV-19", "currency": "USD"}
    matched = {"provider": "anthropic", "account": "acme-prod", "invoice_id": "INV-19"}
    assert ties == [
        {"tie": "invoice = sum of its lines", **invoice, "invoice": "928.08", "chargeback": "928.08"},
        {
            "tie": "all charged invoices = chargeback.csv",
            "currency": "USD",
            "invoice": "928.08",
            "chargeback": "928.08",
        },
        {
            "tie": "sum of the causes = invoice - log (amount_exact)",
            **matched,
            "causes": "128.080000000000",
            "gap": "128.080000000000",
        },
        {"tie": "sum of the causes = invoice - log (amount)", **matched, "causes": "128.08", "gap": "128.08"},
        {"tie": "W12 = invoice", **matched, "currency": "USD", "W12": "928.080000000000", "invoice": "928.08"},
        {
            "tie": "unproxied.csv at list = component unproxied",
            "provider": "anthropic",
            "unproxied.csv": "120.000000000000",
            "component": "120.000000000000",
        },
        {"tie": "chargeback_detail.csv = chargeback.csv, line by line", "lines": "25"},
        {
            "tie": "journal.csv anthropic: debits = credits",
            "currency": "USD",
            "debits": "928.08",
            "credits": "928.08",
        },
        {
            "tie": "journal.csv anthropic: expenses = charges",
            "currency": "USD",
            "journal": "928.08",
            "charges": "928.08",
        },
        {"tie": "focus_1_2.csv by invoice", "currency": "USD", "billed": "928.08", "charges": "928.08"},
        {
            "tie": "suspense: opening + new - cleared = closing",
            "currency": "USD",
            "opening": "0.00",
            "new": "50.53",
            "cleared": "0.00",
            "closing": "50.53",
        },
    ]


def test_every_table_is_counted_from_its_bytes(example):
    listed = {entry["file"]: entry for entry in example.totals["files"]}
    tables = {name for name in example.files if name.endswith((".csv", ".svg"))}
    assert set(listed) == tables
    for name, entry in listed.items():
        content = example.files[name]
        assert (entry["bytes"], entry["sha256"]) == (len(content), sha256_of(content))
        assert entry.get("rows") == (len(rows_of(content)) if name.endswith(".csv") else None)
    assert {name: listed[name]["sums"] for name in ("chargeback.csv", "journal.csv", "suspense.csv")} == {
        "chargeback.csv": {"USD": "928.08"},
        "journal.csv": {"USD": "928.08"},
        "suspense.csv": {"USD": "50.53"},
    }


def test_sources_and_what_they_held_stand_before_the_files(example):
    assert list(example.totals) == [
        "period",
        "version",
        "functional_currency",
        "sources",
        "files",
        "ties",
        "not_charged",
        "not_reconciled",
        "open_items",
    ]
    assert example.totals["sources"] == [
        {
            "source": "raw/litellm_spend_logs",
            "rows": 9,
            "sum": "100",
            "currency": "USD",
            "min_date": "2026-10-01",
            "max_date": "2026-10-31",
        }
    ]


def test_the_file_is_what_was_asserted():
    content, _ = gathered(1, "1.50")
    assert json.loads(content.files["control_totals.json"]) == content.totals


def of_one(lines, invoice, **more):
    return PackParts(lines=lines, problems=[], invoices=[invoice.header], sources=[], **more)


class TestTheMonthsPart:
    """Rules 1.7, 2.2 and 6.1b: what ties is the month's part of the invoice, without tax that is a claim."""

    def test_an_invoice_over_two_months_ties_with_its_part(self):
        whole = billed(header("300.00"), basis({"CC-100": "150"}))
        part = replace(whole, pools={**whole.pools, Pool.DIRECT: D("164.52")})
        lines = charged(part)
        parts = of_one(lines, part, billed={("anthropic", "INV-19"): D("164.52")})
        (tie, _) = assemble_pack(OCTOBER, 1, parts).totals["ties"]
        assert tie == {
            "tie": "invoice = sum of its lines",
            "provider": "anthropic",
            "invoice_id": "INV-19",
            "invoice_total": "300.00",
            "part": "this month's, without recoverable tax",
            "currency": "USD",
            "invoice": "164.52",
            "chargeback": "164.52",
        }
        with pytest.raises(PackError, match="do not tie"):
            assemble_pack(OCTOBER, 1, of_one(lines, part))

    def test_recoverable_tax_stands_beside_the_charges_in_journal_and_focus(self):
        """120.00 payable: 100.00 charged, 20.00 input tax; debits and credits are 120.00."""
        invoice = billed(header("120.00", recoverable_tax=D("20.00")), basis({"CC-100": "100"}))
        content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, charged(invoice), [invoice]))
        ties = {tie["tie"]: tie for tie in content.totals["ties"]}
        assert ties["invoice = sum of its lines"]["chargeback"] == "100.00"
        assert ties["journal.csv anthropic: debits = credits"]["debits"] == "120.00"
        assert ties["journal.csv anthropic: expenses = charges"] == {
            "tie": "journal.csv anthropic: expenses = charges",
            "currency": "USD",
            "journal": "100.00",
            "charges": "100.00",
            "recoverable_tax_beside": "20.00",
        }
        assert total(rows_of(content.files["focus_1_2.csv"]), "BilledCost") == D("120.00")
        assert total(rows_of(content.files["focus_1_2.csv"]), "EffectiveCost") == D("100.00")


def test_an_invoice_in_euros_ties_in_euros_and_its_journal_in_dollars():
    """EUR 1234.56 x 1.0837 -> USD 1337.89 (Rule 1.6)."""
    invoice = billed(header("1234.56", currency="EUR"), basis({"CC-100": "800", "CC-200": "400"}), fx_rate="1.0837")
    content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, charged(invoice), [invoice]))
    ties = {tie["tie"]: tie for tie in content.totals["ties"]}
    charges = ties["all charged invoices = chargeback.csv"]
    assert (charges["currency"], charges["invoice"], charges["chargeback"]) == ("EUR", "1234.56", "1234.56")
    booked = ties["journal.csv anthropic: expenses = charges"]
    assert (booked["currency"], booked["journal"], booked["charges"]) == ("USD", "1337.89", "1337.89")


def test_totals_are_kept_apart_by_currency():
    """Rule 1.6: amounts in two currencies are never added."""
    dollars = billed(header("10.00"), basis({"CC-100": "10"}))
    euros = billed(header("20.00", invoice_id="INV-20", currency="EUR"), basis({"CC-100": "20"}), fx_rate="1.0837")
    content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, charged(dollars, euros), [dollars, euros]))
    ties = [tie for tie in content.totals["ties"] if tie["tie"] == "all charged invoices = chargeback.csv"]
    assert [(tie["currency"], tie["chargeback"]) for tie in ties] == [("EUR", "20.00"), ("USD", "10.00")]
    (listed,) = [entry for entry in content.totals["files"] if entry["file"] == "chargeback.csv"]
    assert listed["sums"] == {"EUR": "20.00", "USD": "10.00"}


def test_the_tie_of_focus_adds_no_two_currencies():
    dollars = billed(header("10.00"), basis({"CC-100": "10"}))
    euros = billed(header("20.00", invoice_id="INV-20", currency="EUR"), basis({"CC-100": "20"}), fx_rate="1.0837")
    content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, charged(dollars, euros), [dollars, euros]))
    of_focus = [tie for tie in content.totals["ties"] if tie["tie"].startswith("focus_1_2.csv")]
    assert [(tie.get("currency"), tie["billed"], tie["charges"]) for tie in of_focus] == [
        ("EUR", "20.00", "20.00"),
        ("USD", "10.00", "10.00"),
    ]


def test_ties_hold_under_names_that_had_to_be_neutralised():
    invoice = billed(header("12.30", invoice_id="=INV", provider="@ai"), basis({"CC-100": "12"}))
    content = assemble_pack(OCTOBER, 1, parts_of(OCTOBER, charged(invoice), [invoice]))
    assert (content.totals["ties"][0]["provider"], content.totals["ties"][0]["invoice_id"]) == ("@ai", "=INV")


def test_what_could_not_be_charged_is_listed_and_its_invoice_ties_with_nothing():
    problem = ChargebackProblem("missing_fx_rate", "openai", "no rate", "add it to directory/fx_rates.csv")
    invoice = billed(header("12.30"), basis({"CC-100": "12"}))
    held = header("7.00", provider="openai", invoice_id="OAI-1", currency="EUR")
    parts = replace(of_one(charged(invoice), invoice), problems=[problem], invoices=[invoice.header, held])
    totals = assemble_pack(OCTOBER, 1, parts).totals
    assert totals["not_charged"] == [
        {
            "provider": "openai",
            "code": "missing_fx_rate",
            "what": "no rate",
            "fix": "add it to directory/fx_rates.csv",
        }
    ]
    assert {tie.get("provider") for tie in totals["ties"]} == {"anthropic", None}


@pytest.mark.parametrize("off", ["0.01", "-0.001"])
def test_a_pack_that_does_not_tie_is_not_made(off):
    invoice = billed(header("12.30"), basis({"CC-100": "12"}))
    first, *rest = charged(invoice)
    wrong = [replace(first, amount=first.amount + D(off)), *rest]
    with pytest.raises(PackError, match="do not tie, nothing was written"):
        assemble_pack(OCTOBER, 1, of_one(wrong, invoice))


def test_lines_of_an_invoice_that_is_not_there_do_not_tie():
    lines = charged(billed(header("12.30"), basis({"CC-100": "12"})))
    with pytest.raises(PackError, match="do not tie"):
        assemble_pack(OCTOBER, 1, PackParts(lines=lines, problems=[], invoices=[], sources=[]))


def test_suspense_is_carried_from_the_month_before():
    """Opening 50.00 of August, 5.00 new in September: 55.00 are left."""

    def month_with(month, previous, logged):
        invoice = billed(header(logged, month, invoice_id=f"INV-{month}"), basis({SUSPENSE: logged}))
        lines = charge_month(month, [invoice], CENTERS, POLICY, 1)
        carried = SuspenseList(SuspensePolicy(SUSPENSE, "platform"), previous)
        return assemble_pack(month, 1, parts_of(month, lines, [invoice], suspense=carried))

    august = month_with(AUGUST, None, "50.00")
    september = month_with(SEPTEMBER, august.files["suspense.csv"], "5.00")
    tie = next(tie for tie in september.totals["ties"] if tie["tie"].startswith("suspense"))
    assert (tie["opening"], tie["new"], tie["cleared"], tie["closing"]) == ("50.00", "5.00", "0.00", "55.00")


def test_a_billed_month_of_nothing_is_no_gap():
    nothing = BilledMonth(header("0.00"), dict.fromkeys(Pool, D("0.00")), basis({}))
    lines = charged(nothing)
    assert [(line.charge_type, line.amount) for line in lines] == [("central", D("0.00"))]
    assert assemble_pack(OCTOBER, 1, of_one(lines, nothing)).totals["ties"][0]["chargeback"] == "0.00"
