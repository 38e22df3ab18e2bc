"""The written form of an invoice: JSON and CSV, and the empty form (rules 1.2, 2.2)."""

import copy
import datetime as dt
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine, check_invoice
from tokengov_pipelines.domain.invoice_form import CSV_COLUMNS, parse_csv, parse_invoice, parse_json
from tokengov_pipelines.domain.invoice_template import invoice_template
from tokengov_pipelines.domain.period import BillingMonth

WRITTEN = {
    "form": "tokengov-invoice/1",
    "provider": "anthropic",
    "account": "acme-prod",
    "invoice_id": "ANT-2026-10",
    "invoice_date": "2026-11-02",
    "period_start": "2026-10-01",
    "period_last_day": "2026-10-31",
    "currency": "USD",
    "lines_total": "11.85",
    "credits_total": "-2.00",
    "tax_total": "0.43",
    "total": "10.28",
    "lines": [
        {
            "line_no": 1,
            "kind": "usage",
            "model": "claude-sonnet-4-6",
            "token_type": "output",
            "quantity": "123456",
            "unit": "tokens",
            "unit_price_per_mtok": "15.00",
            "amount": "1.85",
        },
        {"line_no": 2, "kind": "non_token", "description": "Web search", "amount": "10.00", "currency": "USD"},
        {"line_no": 3, "kind": "credit", "amount": "-2.00", "original_invoice_id": "ANT-2026-08"},
        {"line_no": 4, "kind": "tax", "amount": "0.43"},
    ],
}


def invoice(source_file: str) -> Invoice:
    """What `WRITTEN` says."""
    return Invoice(
        source_file=source_file,
        provider="anthropic",
        account="acme-prod",
        invoice_id="ANT-2026-10",
        invoice_date=dt.date(2026, 11, 2),
        period_start=dt.date(2026, 10, 1),
        period_last_day=dt.date(2026, 10, 31),
        currency="USD",
        lines=(
            InvoiceLine(
                line_no=1,
                kind="usage",
                amount=Decimal("1.85"),
                model="claude-sonnet-4-6",
                token_type="output",
                quantity=Decimal(123456),
                unit="tokens",
                unit_price_per_mtok=Decimal("15.00"),
            ),
            InvoiceLine(2, "non_token", Decimal("10.00"), description="Web search", currency="USD"),
            InvoiceLine(3, "credit", Decimal("-2.00"), original_invoice_id="ANT-2026-08"),
            InvoiceLine(4, "tax", Decimal("0.43")),
        ),
        lines_total=Decimal("11.85"),
        credits_total=Decimal("-2.00"),
        tax_total=Decimal("0.43"),
        total=Decimal("10.28"),
    )


def as_csv(content: dict) -> str:
    header = {name: value for name, value in content.items() if name != "lines"}
    rows = [
        {**{"line_currency" if name == "currency" else name: value for name, value in row.items()}, **header}
        for row in content["lines"]
    ]
    cells = [",".join(str(row.get(name, "")) for name in CSV_COLUMNS) for row in rows]
    return "\n".join([",".join(CSV_COLUMNS), *cells])


class TestForm:
    def test_json_and_csv_give_the_same_invoice(self):
        from_json, none = parse_json(json.dumps(WRITTEN).encode(), "a.json")
        assert none == []
        from_csv, none = parse_csv(as_csv(WRITTEN).encode(), "a.csv")
        assert none == []
        assert from_json == invoice("a.json")
        assert from_csv == invoice("a.csv")
        shuffled = {name: WRITTEN[name] for name in sorted(WRITTEN, reverse=True)}
        from_shuffled, _ = parse_json(json.dumps(shuffled).encode(), "b.json")
        assert len({read.content_sha256() for read in (from_json, from_csv, from_shuffled)}) == 1

    def test_json_numbers_are_read_exactly(self):
        text = json.dumps(WRITTEN).replace('"1.85"', "1.85").replace('"123456"', "123456")
        read, none = parse_json(text.encode(), "a.json")
        assert (read.content_sha256(), none) == (invoice("x").content_sha256(), [])

    def test_excel_writes_a_byte_order_mark(self):
        read, _ = parse_csv(b"\xef\xbb\xbf" + as_csv(WRITTEN).encode(), "a.csv")
        assert read == invoice("a.csv")

    @staticmethod
    def complaints(change, file: str = "a.json") -> list[str]:
        written = copy.deepcopy(WRITTEN)
        change(written)
        read, found = parse_json(json.dumps(written).encode(), file)
        assert (read is None) == bool(found)
        return [str(problem) for problem in found]

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda f: f.pop("invoice_id"), "a.json invoice_id: is missing. Fix: add it."),
            (lambda f: f.update(invoice_id="  "), "a.json invoice_id: is empty. Fix: fill it in."),
            (lambda f: f.update(invoice_id=1042), "a.json invoice_id: is a number. Fix: write it in quotation marks."),
            (lambda f: f.update(invoice_id=["x"]), "a.json invoice_id: is neither text nor a number."),
            (lambda f: f.update(invoice_id=True), "a.json invoice_id: is neither text nor a number."),
            (lambda f: f.update(invoce_id="x"), "a.json 'invoce_id': the field is unknown. Fix: write invoice_id, if"),
            (
                lambda f: f.update(form="tokengov-invoice/2"),
                "a.json form: 'tokengov-invoice/2' is not one of tokengov-invoice/1.",
            ),
            (lambda f: f.update(provider="Anthropic"), "a.json provider: 'Anthropic' is not a provider's name."),
            (lambda f: f.update(invoice_date="2 Nov 2026"), "a.json invoice_date: '2 Nov 2026' is not a date."),
            (lambda f: f.update(currency="$"), "a.json currency: '$' is not an ISO 4217 currency code."),
            (lambda f: f.update(total="1,010.28"), "a.json total: '1,010.28' is not a decimal number."),
            (lambda f: f.update(total=True), "a.json total: is neither text nor a number."),
            (lambda f: f.pop("lines"), "a.json lines: there is no list of lines."),
            (lambda f: f.update(lines=["x"]), "a.json lines: there is no list of lines."),
            (lambda f: f["lines"][1].pop("amount"), "a.json line 2 amount: is missing. Fix: add it."),
            (
                lambda f: f["lines"][1].update(amount=""),
                "a.json line 2 amount: is empty. Fix: fill it in, or delete the line.",
            ),
            (lambda f: f["lines"][1].update(kind="usge"), "a.json line 2 kind: 'usge' is not one of usage,"),
            (lambda f: f["lines"][1].update(token_type="tokens"), "a.json line 2 token_type: 'tokens' is not one of"),
            (lambda f: f["lines"][1].update(price="1"), "a.json line 2 'price': the field is unknown."),
            (lambda f: f["lines"][1].pop("line_no"), "a.json line at position 2 line_no: is missing."),
            (lambda f: f["lines"][1].update(line_no=0), "a.json line at position 2 line_no: '0' is not a line number."),
            (
                lambda f: f["lines"][1].update(line_no="1.5"),
                "a.json line at position 2 line_no: '1.5' is not a line number.",
            ),
            (
                lambda f: f["lines"][1].update(description="a\nb"),
                "a.json line 2 description: 'a\\nb' holds a line break",
            ),
        ],
    )
    def test_json_fields_are_named(self, change, complaint):
        found = self.complaints(change)
        assert any(text.startswith(complaint) for text in found), found

    def test_every_problem_is_reported_at_once(self):
        def change(written):
            written.pop("account")
            written["lines"][0].pop("kind")
            written["lines"][3]["amount"] = "much"

        assert len(self.complaints(change)) == 3

    def test_audio_tokens_and_nulls_are_taken(self):
        assert self.complaints(lambda f: f["lines"][0].update(token_type="audio_input", workspace=None)) == []

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b'{"form": 1,\n"total": }', "a.json:2: is not JSON: Expecting value."),
            (b"\xff\xfe{}", "a.json: is not UTF-8 text (byte 1)."),
            (b"[]", "a.json: holds no invoice."),
            (b'{"total": NaN}', "a.json: NaN is not an amount."),
            (b'{"total": 1, "total": 2}', "a.json: 'total' is there twice in one object."),
            (b"[" * 100_000, "a.json: is nested too deeply."),
        ],
    )
    def test_json_that_is_none(self, content, complaint):
        read, (found,) = parse_json(content, "a.json")
        assert read is None
        assert str(found).startswith(complaint)

    def test_csv_problems_name_the_row(self):
        text = as_csv(WRITTEN).splitlines()
        text[2] = text[2].replace("non_token", "nontoken")
        read, (found,) = parse_csv("\n".join(text).encode(), "a.csv")
        assert read is None
        assert str(found).startswith("a.csv:3 kind: 'nontoken' is not one of")

    def test_csv_header_fields_are_the_same_on_each_row(self):
        text = as_csv(WRITTEN).replace("ANT-2026-10", "ANT-2026-11", 1)
        found = [str(problem) for problem in parse_csv(text.encode(), "a.csv")[1]]
        assert len(found) == 3
        assert found[0].startswith(
            "a.csv:3 invoice_id: 'ANT-2026-10' here and 'ANT-2026-11' in row 2. Fix: write one invoice"
        )

    def test_csv_columns_are_checked_and_optional_ones_may_be_absent(self):
        rows = [text.split(",") for text in as_csv(WRITTEN).splitlines()]
        without = [CSV_COLUMNS.index(name) for name in ("service_tier", "workspace")]
        fewer = "\n".join(",".join(cell for at, cell in enumerate(row) if at not in without) for row in rows)
        assert parse_csv(fewer.encode(), "a.csv")[0] == invoice("a.csv")
        text = as_csv(WRITTEN).replace("line_no", "lineno", 1)
        assert [str(problem) for problem in parse_csv(text.encode(), "a.csv")[1]] == [
            "a.csv:1 line_no: the column is missing. Fix: add it.",
            "a.csv:1 'lineno': the column is unknown. Fix: write line_no, if that is what is meant.",
        ]

    def test_csv_without_rows(self):
        read, (found,) = parse_csv((",".join(CSV_COLUMNS) + "\n").encode(), "a.csv")
        assert (read, str(found)) == (
            None,
            "a.csv: there is no row below the header. Fix: write one row for each line.",
        )


class TestTemplate:
    @pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "mistral"])
    @pytest.mark.parametrize("as_csv_form", [False, True])
    def test_an_empty_form_is_refused_for_what_is_to_be_filled_in_only(self, provider, as_csv_form):
        text = invoice_template(provider, BillingMonth(2026, 10), as_csv=as_csv_form)
        read, found = (parse_csv if as_csv_form else parse_json)(text.encode(), "t")
        assert read is None
        assert {problem.what for problem in found} == {"is empty"}
        assert {"account", "invoice_id", "invoice_date", "total"} <= {problem.field for problem in found}

    def test_a_filled_in_form_is_an_invoice(self):
        filled = json.loads(invoice_template("google", BillingMonth(2026, 2)))
        filled.update(account="acme", invoice_id="G-1", invoice_date="2026-03-01")
        filled.update(lines_total="6.00", credits_total="-6.00", tax_total="0.00", total="0.00")
        for row, amount in zip(filled["lines"], ("1.00", "2.00", "3.00", "-6.00", "0.00"), strict=True):
            row["amount"] = amount
        read, none = parse_json(json.dumps(filled).encode(), "g.json")
        assert none == []
        assert check_invoice(read) == []
        assert (read.period_last_day, read.lines[0].model) == (dt.date(2026, 2, 28), "gemini-2.5-pro")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner)
)


@given(st.sampled_from(["x.json", "x.csv"]), st.binary(max_size=200))
def test_no_bytes_break_the_reader(file, content):
    read, found = parse_invoice(content, file)
    assert read is None
    assert found


@given(st.sampled_from(sorted(WRITTEN)), anything)
def test_no_value_of_a_header_field_breaks_the_reader_or_the_checks(name, value):
    read, found = parse_json(json.dumps({**WRITTEN, name: value}).encode(), "x.json")
    assert (read is None) == bool(found)
    if read is not None and not check_invoice(read):
        assert read.period.days()


@given(st.sampled_from(["line_no", "kind", "amount", "quantity", "currency", "model"]), anything)
def test_no_value_of_a_line_field_breaks_the_reader_or_the_checks(name, value):
    lines = [{**WRITTEN["lines"][0], name: value}, *WRITTEN["lines"][1:]]
    read, found = parse_json(json.dumps({**WRITTEN, "lines": lines}).encode(), "x.json")
    assert (read is None) == bool(found)
    if read is not None:
        check_invoice(read)
