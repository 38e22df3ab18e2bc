"""journal.csv and the formats that ledgers import, each with a small file by hand, and every limit."""

import csv
import datetime as dt
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.journal import JournalLine, balance_problems
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.journal_csv import journal_csv
from tokengov_pipelines.pack.journal_exports import journal_exports, unmapped_values
from tokengov_pipelines.pack.journal_formats import FORMATS, JournalFormatError, read_map, shipped_maps, with_values

INC, GMBH = "Acme Inc", "Acme GmbH"


def entry(external_id, *amounts, entity=INC, memo="anthropic INV-19 2026-10", currency="USD"):
    """A balanced entry: expense of CC-1, CC-2 and so on (below zero: credit), and clearing."""
    sides = [(f"CC-{n}", "6420", Decimal(amount)) for n, amount in enumerate(amounts, start=1)]
    sides.append(("", "2150", -sum((each[2] for each in sides), Decimal(0))))
    zero = sides[0][2] - sides[0][2]
    return [
        JournalLine(
            external_id=external_id,
            line_no=number,
            posting_date=dt.date(2026, 10, 31),
            period=BillingMonth(2026, 10),
            legal_entity=entity,
            account=account,
            cost_center=cost_center,
            debit=max(amount, zero),
            credit=max(-amount, zero),
            currency=currency,
            memo=memo,
            provider="anthropic",
            invoice_id="INV-19",
            version=1,
        )
        for number, (cost_center, account, amount) in enumerate(sides, start=1)
    ]


def exports(lines, name, values=None):
    return journal_exports(lines, with_values(shipped_maps([name]), {name: values or {}}))


def one_file(lines, name, values=None):
    ((file, content),) = exports(lines, name, values).items()
    assert file == f"journal_{name}.csv"
    return content.decode()


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


ANTHROPIC = entry("TG-ANTHROPIC-2026-10-V1", "404.33", "-20.00")


def test_journal_csv_has_the_columns_of_rule_11_3_and_numbers_on_both_sides():
    assert journal_csv(reversed(ANTHROPIC)).decode() == (
        "external_id,line_no,posting_date,period,legal_entity,account,cost_center,debit,credit,currency,memo,provider,"
        "invoice_id,version\n"
        "TG-ANTHROPIC-2026-10-V1,1,2026-10-31,2026-10,Acme Inc,6420,CC-1,404.33,0.00,USD,anthropic INV-19 2026-10,"
        "anthropic,INV-19,1\n"
        "TG-ANTHROPIC-2026-10-V1,2,2026-10-31,2026-10,Acme Inc,6420,CC-2,0.00,20.00,USD,anthropic INV-19 2026-10,"
        "anthropic,INV-19,1\n"
        "TG-ANTHROPIC-2026-10-V1,3,2026-10-31,2026-10,Acme Inc,2150,,0.00,384.33,USD,anthropic INV-19 2026-10,"
        "anthropic,INV-19,1\n"
    )
    assert journal_csv([]).count(b"\n") == 1


def test_amounts_of_journal_csv_have_the_decimals_of_their_currency():
    (first, *_) = rows_of(journal_csv(entry("TG-X-2026-10-V1", "12.5", currency="KWD")))
    assert (first["debit"], first["credit"]) == ("12.500", "0.000")


def test_netsuite_has_debit_and_credit_columns_and_the_external_id():
    values = {"subsidiary": {INC: "Parent : Acme Inc"}, "department": {"CC-1": "Payments"}}
    assert one_file(ANTHROPIC, "netsuite", values) == (
        "External ID,Date,Subsidiary,Currency,Account,Debit,Credit,Department,Memo\n"
        "TG-ANTHROPIC-2026-10-V1,10/31/2026,Parent : Acme Inc,USD,6420,404.33,,Payments,anthropic INV-19 2026-10\n"
        "TG-ANTHROPIC-2026-10-V1,10/31/2026,Parent : Acme Inc,USD,6420,,20.00,CC-2,anthropic INV-19 2026-10\n"
        "TG-ANTHROPIC-2026-10-V1,10/31/2026,Parent : Acme Inc,USD,2150,,384.33,,anthropic INV-19 2026-10\n"
    )


def test_xero_has_one_signed_amount_with_debits_above_zero():
    values = {"tax_rate": "No VAT", "tracking_name": "Region"}
    assert one_file(ANTHROPIC, "xero", values) == (
        "*Narration,*Date,Description,*AccountCode,*TaxRate,*Amount,TrackingName1,TrackingOption1,TrackingName2,"
        "TrackingOption2\n"
        "TG-ANTHROPIC-2026-10-V1 Acme Inc,31/10/2026,anthropic INV-19 2026-10,6420,No VAT,404.33,Region,CC-1,,\n"
        "TG-ANTHROPIC-2026-10-V1 Acme Inc,31/10/2026,anthropic INV-19 2026-10,6420,No VAT,-20.00,Region,CC-2,,\n"
        "TG-ANTHROPIC-2026-10-V1 Acme Inc,31/10/2026,anthropic INV-19 2026-10,2150,No VAT,-384.33,,,,\n"
    )


def test_xero_says_tax_exempt_and_the_sign_can_be_turned():
    (first, *_) = rows_of(one_file(ANTHROPIC, "xero", {"amount_sign": "credit_positive"}).encode())
    assert (first["*TaxRate"], first["*Amount"]) == ("Tax Exempt", "-404.33")


def test_quickbooks_has_account_names_and_a_number_of_21_characters():
    assert one_file(ANTHROPIC, "qbo", {"account_names": {"6420": "Software:AI"}}) == (
        "JournalNo,JournalDate,AccountName,Debits,Credits,Description,Class\n"
        "TG-ANTHROPIC-1b850adf,10/31/2026,Software:AI,404.33,,TG-ANTHROPIC-2026-10-V1 anthropic INV-19 2026-10,CC-1\n"
        "TG-ANTHROPIC-1b850adf,10/31/2026,Software:AI,,20.00,TG-ANTHROPIC-2026-10-V1 anthropic INV-19 2026-10,CC-2\n"
        "TG-ANTHROPIC-1b850adf,10/31/2026,AI invoice clearing,,384.33,"
        "TG-ANTHROPIC-2026-10-V1 anthropic INV-19 2026-10,\n"
    )
    assert one_file(entry("TG-OPENAI-2026-10-V1", "1.00"), "qbo").splitlines()[1].startswith("TG-OPENAI-2026-10-V1,")


def test_sap_has_documents_of_type_sa():
    assert one_file(ANTHROPIC, "sap", {"company_code": {INC: "1710"}}) == (
        "Company Code,Journal Entry Type,Journal Entry Date,Posting Date,Document Header Text,Transaction Currency,"
        "G/L Account,Debit Amount,Credit Amount,Cost Center,Assignment,Item Text\n"
        "1710,SA,2026-10-31,2026-10-31,TG-ANTHROPIC-2026-10-V1,USD,6420,404.33,,CC-1,INV-19,anthropic INV-19 2026-10\n"
        "1710,SA,2026-10-31,2026-10-31,TG-ANTHROPIC-2026-10-V1,USD,6420,,20.00,CC-2,INV-19,anthropic INV-19 2026-10\n"
        "1710,SA,2026-10-31,2026-10-31,TG-ANTHROPIC-2026-10-V1,USD,2150,,384.33,,INV-19,anthropic INV-19 2026-10\n"
    )


def test_oracle_has_the_columns_of_gl_interface():
    values = {"ledger_id": {INC: "300000046975971"}, "company": {INC: "101"}, "cost_center": {"CC-1": "421"}}
    content = one_file(ANTHROPIC, "oracle", values)
    header, first, second, last = (line.split(",") for line in content.splitlines())
    assert header[:8] == [
        "STATUS", "LEDGER_ID", "ACCOUNTING_DATE", "USER_JE_SOURCE_NAME", "USER_JE_CATEGORY_NAME", "CURRENCY_CODE",
        "DATE_CREATED", "ACTUAL_FLAG",
    ]  # fmt: skip
    assert header[8:38] == [f"SEGMENT{n}" for n in range(1, 31)]
    assert header[38:] == ["ENTERED_DR", "ENTERED_CR", "ACCOUNTED_DR", "ACCOUNTED_CR"] + [
        f"REFERENCE{n}" for n in range(1, 11)
    ]
    assert first[:8] == [
        "NEW", "300000046975971", "2026/10/31", "Spreadsheet", "Adjustment", "USD", "2026/10/31", "A",
    ]  # fmt: skip
    assert first[8:38] == ["101", "421", "6420", *[""] * 27]
    assert first[38:42] == ["404.33", "", "", ""]
    assert first[42:] == [
        "TG-ANTHROPIC-2026-10-V1", "", "", "TG-ANTHROPIC-2026-10-V1", "anthropic 2026-10 version 1", "INV-19", "", "",
        "", "anthropic INV-19 2026-10",
    ]  # fmt: skip
    assert (second[9], second[38:40]) == ("CC-2", ["", "20.00"])
    assert (last[9], last[10], last[38:40]) == ("000", "2150", ["", "384.33"])


def test_all_formats_come_from_one_journal_and_without_lines_each_is_a_header():
    files = journal_exports(ANTHROPIC, shipped_maps())
    assert list(files) == [f"journal_{name}.csv" for name in FORMATS]
    assert {content.count(b"\n") for content in files.values()} == {4}
    assert {content.count(b"\n") for content in journal_exports([], shipped_maps()).values()} == {1}
    assert files == journal_exports(list(reversed(ANTHROPIC)), shipped_maps())


def many(external_id, count, entity=INC):
    return entry(external_id, *["1.00"] * (count - 1), entity=entity)


def test_xero_takes_300_lines_a_file_and_no_entry_is_torn_where_it_fits():
    lines = [*many("TG-A-2026-10-V1", 200), *many("TG-B-2026-10-V1", 100), *many("TG-C-2026-10-V1", 2)]
    files = exports(lines, "xero")
    assert {name: content.count(b"\n") - 1 for name, content in files.items()} == {
        "journal_xero_1.csv": 300,
        "journal_xero_2.csv": 2,
    }
    assert {row["*Narration"] for row in rows_of(files["journal_xero_2.csv"])} == {"TG-C-2026-10-V1 Acme Inc"}


def test_a_longer_entry_is_torn_into_balanced_parts_that_net_to_it():
    files = exports(many("TG-A-2026-10-V1", 650), "xero")
    rows = {name: rows_of(content) for name, content in files.items()}
    assert {name: len(each) for name, each in rows.items()} == {
        "journal_xero_1.csv": 300,
        "journal_xero_2.csv": 300,
        "journal_xero_3.csv": 54,
    }
    for number, each in enumerate(rows.values(), start=1):
        assert {row["*Narration"] for row in each} == {f"TG-A-2026-10-V1-P{number} Acme Inc"}
        assert sum(Decimal(row["*Amount"]) for row in each) == 0
    assert rows["journal_xero_1.csv"][-1]["*Amount"] == "-299.00"
    assert rows["journal_xero_1.csv"][-1]["Description"] == "TG-A-2026-10-V1 carried to part 2"
    assert rows["journal_xero_2.csv"][0]["*Amount"] == "299.00"
    clearing = [row for each in rows.values() for row in each if row["*AccountCode"] == "2150"]
    assert sum(Decimal(row["*Amount"]) for row in clearing) == Decimal("-649.00")


def test_sap_takes_999_lines_a_file():
    fits = [*many("TG-A-2026-10-V1", 999), *many("TG-B-2026-10-V1", 2)]
    assert [content.count(b"\n") - 1 for content in exports(fits, "sap").values()] == [999, 2]
    assert [content.count(b"\n") - 1 for content in exports(many("TG-A-2026-10-V1", 1000), "sap").values()] == [999, 3]


@given(st.lists(st.integers(-300, 300).filter(bool), min_size=1, max_size=25), st.integers(3, 8))
def test_any_split_keeps_every_part_balanced_and_every_account_as_it_was(cents, limit):
    amounts = [f"{Decimal(each) / 100:.2f}" for each in cents]
    lines = [line for line in entry("TG-A-2026-10-V1", *amounts) if line.debit or line.credit]
    (shipped,) = shipped_maps(["xero"])
    files = journal_exports(lines, [shipped.model_copy(update={"lines_per_file": limit})])
    net = {}
    for content in files.values():
        rows = rows_of(content)
        assert 0 < len(rows) <= limit
        assert sum(Decimal(row["*Amount"]) for row in rows) == 0
        for row in rows:
            key = (row["*AccountCode"], row["TrackingOption1"])
            net[key] = net.get(key, 0) + Decimal(row["*Amount"])
    expected = {}
    for line in lines:
        expected[line.account, line.cost_center] = line.debit - line.credit
    assert {key: value for key, value in net.items() if value} == expected


@pytest.mark.parametrize("name", ["xero", "qbo"])
def test_an_organisation_of_one_entity_gets_files_of_one_entity(name):
    lines = [*entry("TG-B-2026-10-V1", "1.00"), *entry("TG-A-2026-10-V1", "2.00", entity=GMBH)]
    files = exports(lines, name)
    assert list(files) == [f"journal_{name}_1.csv", f"journal_{name}_2.csv"]
    assert b"TG-A" in files[f"journal_{name}_1.csv"]
    assert b"TG-B" in files[f"journal_{name}_2.csv"]


def refusal(lines, name, values=None):
    with pytest.raises(JournalFormatError) as error:
        exports(lines, name, values)
    return str(error.value)


def test_netsuite_refuses_an_eleventh_digit_and_a_third_decimal_by_name_of_the_line():
    assert exports(entry("TG-A-2026-10-V1", "9999999999.99"), "netsuite")
    assert refusal(entry("TG-A-2026-10-V1", "1.00", "10000000000.00"), "netsuite") == (
        "journal_netsuite.csv: TG-A-2026-10-V1 line 2: Debit 10000000000.00 has 11 digits before the point, and "
        "netsuite takes 10. Fix: post this entry by hand."
    )
    assert refusal(entry("TG-A-2026-10-V1", "1.005", currency="KWD"), "netsuite") == (
        "journal_netsuite.csv: TG-A-2026-10-V1 line 1: Debit 1.005 has 3 decimals, and netsuite takes 2. Fix: it "
        "cannot hold KWD; take netsuite out of journal.formats in policy.yaml."
    )


def test_text_that_a_format_does_not_take_is_refused_unless_the_table_has_a_short_name():
    lines = [replace(line, cost_center=line.cost_center and "CC-PLATFORM") for line in ANTHROPIC]
    assert refusal(lines, "sap") == (
        "journal_sap.csv: TG-ANTHROPIC-2026-10-V1 line 1: Cost Center 'CC-PLATFORM' has 11 characters, and sap takes "
        "10. Fix: shorten it at its source, or name what stands for it in the format's table; without sap, take it out "
        "of journal.formats in policy.yaml."
    )
    (first, *_) = rows_of(one_file(lines, "sap", {"cost_center": {"CC-PLATFORM": "CC-PLAT"}}).encode())
    assert first["Cost Center"] == "CC-PLAT"
    central = [replace(line, cost_center=line.cost_center and "CC-990-CENTRAL") for line in ANTHROPIC]
    assert rows_of(one_file(central, "sap").encode())[0]["Cost Center"] == "CC-990"
    assert "*AccountCode '6420-000-00' has 11" in refusal(
        [replace(line, account="6420-000-00") for line in ANTHROPIC], "xero"
    )


def test_memos_are_cut_and_ids_end_in_a_digest():
    external_id = "TG-ANTHROPIC-2026-10-V1-ACME1234"
    (first, *_) = rows_of(one_file(entry(external_id, "1.00", memo="m" * 60), "sap").encode())
    assert first["Item Text"] == "m" * 50
    assert first["Document Header Text"].startswith("TG-ANTHROPIC-202")
    assert len(first["Document Header Text"]) == 25


def test_an_unsound_journal_is_in_no_format():
    with pytest.raises(JournalFormatError, match=r"TG-ANTHROPIC-2026-10-V1: debits are 404.33 and credits 20.00 USD"):
        journal_exports(ANTHROPIC[:2], shipped_maps(["netsuite"]))
    assert balance_problems(ANTHROPIC) == ()


@pytest.mark.parametrize("name", FORMATS)
def test_text_that_a_spreadsheet_would_run_is_neutralised_and_numbers_are_not(name):
    memo = "=cmd|' /C calc'!A0"
    (content,) = exports(entry("TG-A-2026-10-V1", "-1.00", memo=memo), name).values()
    cells = [cell for row in rows_of(content) for cell in row.values()]
    if name == "qbo":
        assert f"TG-A-2026-10-V1 {memo}" in cells
    else:
        assert f"'{memo}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert ("-1.00" in cells) == (name == "xero")
    assert b",'=cmd" in journal_csv(entry("TG-A-2026-10-V1", "1.00", memo=memo))


def test_what_stands_in_no_table_is_listed():
    maps = with_values(shipped_maps(["netsuite", "qbo"]), {"netsuite": {"department": {"CC-1": "P"}}})
    assert unmapped_values(ANTHROPIC, maps) == (
        "journal_netsuite.csv Subsidiary: Acme Inc is not in subsidiary",
        "journal_netsuite.csv Department: CC-2 is not in department",
        "journal_qbo.csv Class: CC-1 is not in classes",
        "journal_qbo.csv Class: CC-2 is not in classes",
    )


GOOD = """
format: own
description: Our own.
date_format: DD.MM.YYYY
header: false
settings: {source: TG}
tables: {company: {}}
columns:
  - {name: Id, field: external_id}
  - {name: Day, field: posting_date}
  - {name: Source, setting: source}
  - {name: Company, field: legal_entity, table: company}
  - {name: Amount, field: amount}
"""


def test_an_installation_may_bring_its_own_map():
    files = journal_exports(ANTHROPIC, [read_map("journal_maps/own.yaml", GOOD)])
    assert files["journal_own.csv"].decode().splitlines()[0] == "TG-ANTHROPIC-2026-10-V1,31.10.2026,TG,Acme Inc,404.33"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: own", "formats: own", "own.yaml: format: Field required. Fix: correct or remove it."),
        ("header: false", "heading: false", "own.yaml: heading: there is no such key. Fix: correct or remove it."),
        ("field: amount", "field: total", "own.yaml: columns.4.field: Input should be 'external_id'"),
        ("field: amount", "constant: 6420", "own.yaml: columns.4.constant: Input should be a valid string"),
        ("field: amount", "field: amount, constant: x", "exactly one of field, text, constant and setting"),
        ("setting: source", "setting: sauce", "column Source reads the setting sauce, which is not under settings"),
        ("table: company", "table: firm", "column Company reads the table firm, which is not under tables"),
        ("name: Day", "name: Id", "columns: Id stands twice"),
        ("DD.MM.YYYY", "'%d.%m.%Y'", "date_format is made of YYYY, MM and DD"),
        ("field: external_id", 'text: "{nobody}"', "text names nobody, which no journal line has as text"),
        (
            "field: external_id",
            "field: external_id, max_length: 9, too_long: digest",
            "digest needs a max_length of 10",
        ),
        ("columns:", "columns: [", "own.yaml: line"),
        (GOOD, "- a\n", "own.yaml: this is no list of keys and values"),
    ],
)
def test_a_wrong_map_names_its_file_and_key(old, new, message):
    with pytest.raises(JournalFormatError) as error:
        read_map("own.yaml", GOOD.replace(old, new))
    assert message in str(error.value)


def test_unknown_formats_and_values_are_refused():
    with pytest.raises(JournalFormatError, match="there is no journal format 'sage'"):
        shipped_maps(["sage"])
    with pytest.raises(JournalFormatError, match="journal values of xero: taxrate cannot be set so"):
        with_values(shipped_maps(["xero"]), {"xero": {"taxrate": "x"}})
    with pytest.raises(
        JournalFormatError, match=r"journal values of sap: tables.company_code.Acme Inc: Input should be"
    ):
        with_values(shipped_maps(["sap"]), {"sap": {"company_code": {INC: 1710}}})
    with pytest.raises(JournalFormatError, match="journal values of sap: company_code cannot be set so"):
        with_values(shipped_maps(["sap"]), {"sap": {"company_code": "1710"}})
