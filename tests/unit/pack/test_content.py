"""The files of a pack, put together from a month's rows: which there are, what is refused (Rules 6.9, 11.1, 11.2)."""

import csv
import io
from dataclasses import replace

import pytest

from tests.charges import CENTERS, POLICY, basis, billed, header
from tests.unit.pack.closing_run import AUGUST, INVOICES, SEPTEMBER, gathered, parts_of
from tokengov_pipelines.domain.chargeback import CostCenter, InvoiceHeader, charge_month
from tokengov_pipelines.pack.content import PackParts, assemble_pack, content_of_close
from tokengov_pipelines.pack.writer import PackError


@pytest.fixture(scope="module")
def month():
    """One invoice with names that a table has to neutralise; its lines and itself."""
    centers = CENTERS | {"CC-100": CostCenter("CC-100", "@Platform core", "ACME-US")}
    invoice = billed(
        header("12.30", AUGUST, invoice_id="=INV"),
        basis({"CC-100": "12.345678901234"}),
        tokens={"CC-100": 42},
        central="-0.05",
    )
    return charge_month(AUGUST, [invoice], centers, POLICY, 1), invoice


def parts(lines, *invoices, **more):
    return PackParts(lines=lines, problems=[], invoices=[each.header for each in invoices], sources=[], **more)


def rows_of(content):
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def test_chargeback_csv_is_the_finance_grain_of_the_rule_book(month):
    lines, invoice = month
    rows = rows_of(assemble_pack(AUGUST, 1, parts(lines, invoice)).files["chargeback.csv"])
    months, invoiced, policy = "2026-08,2026-08,2026-08", "anthropic,'=INV,1,showback,ACME-US", "0" * 64
    assert rows[1:] == [
        f"{months},{invoiced},CC-100,'@Platform core,,,direct,,,42,12.345678901234,12.35,USD,1,12.35,largest_remainder,"
        f"12.345678901234,12.345678901234,team_metadata,12.35,{policy}".split(","),
        f"{months},{invoiced},CC-990-CENTRAL,Name of CC-990-CENTRAL,,,central,,,,,-0.05,USD,1,-0.05,central,"
        f",,,-0.05,{policy}".split(","),
    ]


def test_the_drill_table_has_the_same_columns_and_adds_up():
    files = gathered(1)[0].files
    finance, detail = rows_of(files["chargeback.csv"]), rows_of(files["chargeback_detail.csv"])
    assert finance[0] == detail[0]
    shown = [dict(zip(detail[0], row, strict=True)) for row in detail[1:]]
    names = ("cost_center", "team_id", "team_alias", "model", "use_case", "charge_type", "amount")
    assert [tuple(row[name] for name in names) for row in shown] == [
        ("CC-100", "t-1", "Payments", "opus", "refactor", "direct", "50.00"),
        ("CC-100", "t-2", "", "haiku", "", "direct", "16.67"),
        ("CC-200", "", "", "opus", "", "direct", "33.33"),
        ("CC-990-CENTRAL", "", "", "", "", "central", "0.00"),
    ]


def test_a_part_that_is_not_there_has_no_file(month):
    lines, invoice = month
    plain = assemble_pack(AUGUST, 1, parts(lines, invoice))
    shown = ["chargeback.csv", "control_totals.json", "pack.xlsx", "summary.html", "summary.pdf"]
    assert sorted(plain.files) == shown
    with_empty = assemble_pack(AUGUST, 1, parts(lines, invoice, corrections=[], detail=lines))
    assert sorted({*with_empty.files} - set(shown)) == ["adjustments.csv", "chargeback_detail.csv"]
    assert with_empty.files["adjustments.csv"].count(b"\n") == 1


def test_inputs_stand_in_the_pack_as_they_are():
    content = gathered(1)[0]
    assert content.files["inputs/policy.yaml"] == b"money: {}\n"
    assert content.content_sha256 != replace(content, files={**content.files, "inputs/policy.yaml": b""}).content_sha256


def test_what_is_shown_prints_the_hash_of_the_content_and_is_no_part_of_it():
    content = gathered(1)[0]
    assert content.content_sha256 in content.files["summary.html"].decode()
    data = {name: each for name, each in content.files.items() if not name.endswith((".xlsx", ".html", ".pdf"))}
    assert replace(content, files=data).content_sha256 == content.content_sha256


def test_equal_months_are_equal_packs_and_what_people_approve_is_known_before(month):
    lines, invoice = month
    given = parts_of(AUGUST, lines, [invoice])
    backwards = replace(given, lines=list(reversed(lines)), detail=list(reversed(given.detail)))
    one, other = (assemble_pack(AUGUST, 1, each) for each in (given, backwards))
    assert dict(one.files) == dict(other.files)
    assert content_of_close(AUGUST, 1, given) == one.content_sha256


def test_what_the_lines_post_is_told_with_the_pack():
    content = gathered(1)[0]
    posted = [(each.cost_center, each.charge_type, str(each.amount), each.original_month) for each in content.postings]
    assert posted == [
        ("CC-100", "direct", "66.67", ""),
        ("CC-200", "direct", "33.33", ""),
        ("CC-990-CENTRAL", "central", "0.00", ""),
    ]


@pytest.mark.parametrize("changes", [{"version": 2}, {"posting_period": SEPTEMBER}])
def test_lines_of_another_version_or_month_are_refused(month, changes):
    lines, invoice = month
    with pytest.raises(PackError, match="another month or version"):
        assemble_pack(AUGUST, 1, parts([replace(lines[0], **changes), *lines[1:]], invoice))


def test_a_month_without_invoices_is_a_header():
    content = assemble_pack(AUGUST, 0, parts([]))
    assert content.files["chargeback.csv"].count(b"\n") == 1
    assert content.postings == ()


def test_an_invoice_of_other_months_is_left_alone(month):
    lines, invoice = month
    later = InvoiceHeader("anthropic", INVOICES[SEPTEMBER], invoice.header.total, "USD", header("1", SEPTEMBER).period)
    given = replace(parts(lines, invoice), invoices=[invoice.header, later])
    ties = assemble_pack(AUGUST, 1, given).totals["ties"]
    assert [tie.get("invoice_id") for tie in ties] == ["=INV", None]
