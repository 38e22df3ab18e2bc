"""Invoices: what adds up, which line does not, and duplicates (rules 1.5, 2.2, 12.1, 12.6)."""

import dataclasses
import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine, check_invoice, classify_duplicates
from tokengov_pipelines.domain.money import from_cents
from tokengov_pipelines.domain.period import InvoicePeriod

D = Decimal


def line(number: int, kind: str = "usage", amount: str = "0.00", **fields) -> InvoiceLine:
    return InvoiceLine(line_no=number, kind=kind, amount=D(amount), **fields)


def usage(number: int, quantity: str, price: str, amount: str) -> InvoiceLine:
    return line(number, "usage", amount, quantity=D(quantity), unit="tokens", unit_price_per_mtok=D(price))


LINES = (
    usage(1, "123456", "15.00", "1.85"),
    line(2, "non_token", "10.00", quantity=D(1000), unit="searches"),
    line(3, "commitment", "50.00"),
    line(4, "credit", "-20.00"),
    line(5, "tax", "3.43"),
)


def invoice(lines: tuple[InvoiceLine, ...] = LINES, **fields) -> Invoice:
    """An invoice whose totals fit its lines unless they are given."""
    by_kind = {kind: sum((row.amount for row in lines if row.kind == kind), D(0)) for kind in ("credit", "tax")}
    charges = sum((row.amount for row in lines if row.kind not in by_kind), D(0))
    stated = {
        "source_file": "ant-2026-10.json",
        "provider": "anthropic",
        "account": "acme-prod",
        "invoice_id": "ANT-2026-10",
        "invoice_date": dt.date(2026, 11, 2),
        "period_start": dt.date(2026, 10, 1),
        "period_last_day": dt.date(2026, 10, 31),
        "currency": "USD",
        "lines_total": charges,
        "credits_total": by_kind["credit"],
        "tax_total": by_kind["tax"],
        "total": charges + by_kind["credit"] + by_kind["tax"],
    }
    return Invoice(lines=lines, **{**stated, **fields})


def problems(checked: Invoice, **options) -> list[str]:
    return [str(problem) for problem in check_invoice(checked, **options)]


class TestAddingUp:
    def test_a_sound_invoice(self):
        assert problems(invoice()) == []
        assert invoice().total == D("45.28")
        assert invoice().period == InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1))

    def test_each_total_names_itself_and_the_difference(self):
        assert problems(invoice(lines_total=D("61.95"), total=D("45.38"))) == [
            (
                "ant-2026-10.json lines_total: 61.95 is written and the lines add up to 61.85, a difference of 0.10. "
                "Fix: compare each line with the printed invoice."
            )
        ]
        assert problems(invoice(total=D("45.29"))) == [
            (
                "ant-2026-10.json total: 45.29 is written, and lines 61.85, credits -20.00 and tax 3.43 make 45.28. "
                "Fix: compare the four totals with the printed invoice."
            )
        ]

    def test_a_usage_line_that_does_not_fit_its_price_is_named(self):
        wrong = (usage(1, "123456", "15.00", "1.58"), *LINES[1:])
        found = problems(invoice(wrong, lines_total=D("61.85"), total=D("45.28")))
        assert found == [
            (
                "ant-2026-10.json line 1 amount: 1.58 does not fit 123456 tokens at 15.00 per million, "
                "which is 1.85184. Fix: compare amount, quantity and price with the printed line."
            ),
            (
                "ant-2026-10.json lines_total: 61.85 is written and the lines add up to 61.58, a difference of 0.27. "
                "Fix: correct line 1, whose amount does not fit quantity x price."
            ),
        ]

    @pytest.mark.parametrize(
        ("amount", "fits"),
        [("1.84", False), ("1.85", True), ("1.86", True), ("1.87", False)],
    )
    def test_a_usage_line_fits_within_half_a_cent_and_the_tolerance(self, amount, fits):
        """1.85184: half a cent for its own rounding, and 0.005 on top."""
        assert (problems(invoice((usage(1, "123456", "15.00", amount),))) == []) == fits

    def test_the_line_that_is_the_difference_is_named(self):
        twice = (*LINES, dataclasses.replace(LINES[1], line_no=6))
        (found,) = problems(invoice(twice, lines_total=D("61.85"), total=D("45.28")))
        assert "Fix: line 2 is exactly the difference; see whether it is entered twice, or line 6 is" in found

    def test_a_wrong_sign_is_named(self):
        (sign, total) = problems(
            invoice((*LINES[:3], line(4, "credit", "20.00")), credits_total=D("-20.00"), total=D("41.85"))
        )
        assert sign == (
            "ant-2026-10.json line 4 amount: 20.00 is positive, and a credit reduces the invoice. Fix: write -20.00."
        )
        assert "credits_total" in total
        assert "line 4 is half the difference; see whether its sign is right" in total

    def test_a_negative_charge_is_a_credit(self):
        (found,) = problems(invoice((line(1, "usage", "-1.00"),)))
        assert (
            "line 1 amount: -1.00 is negative, and a usage line is a charge. Fix: make it a line of kind credit"
            in found
        )

    def test_tax_of_a_credit_note_may_be_negative(self):
        assert problems(invoice((line(1, "credit", "-10.00"), line(2, "tax", "-1.90")))) == []

    def test_line_numbers_are_unique_and_there_are_lines(self):
        (found,) = problems(invoice((*LINES, line(3, "seat"))))
        assert "line 3: the line number is there 2 times" in found
        (found,) = problems(invoice(()))
        assert "lines: the invoice has no lines" in found

    def test_amounts_have_cents_and_fit(self):
        (found,) = problems(invoice((line(1, "seat", "1.005"),), lines_total=D("1.00"), total=D("1.00")))[:1]
        assert "line 1 amount: 1.005 has more than 2 decimals" in found
        huge = "1" + "0" * 16
        assert any("more than 16 digits" in text for text in problems(invoice((line(1, "seat", huge),))))
        (found,) = problems(invoice((line(1, "seat", "1.00", quantity=D("0.0000001")),)))
        assert "line 1 quantity: 0.0000001 has more than 6 decimals" in found

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"quantity": D(-1), "unit": "tokens", "unit_price_per_mtok": D(1)}, "quantity: -1 is negative"),
            ({"unit": "tokens", "unit_price_per_mtok": D(1)}, "quantity: there is a unit price and no quantity"),
            (
                {"quantity": D(1), "unit": "hours", "unit_price_per_mtok": D(1)},
                "unit: hours is priced per million tokens",
            ),
        ],
    )
    def test_quantities_that_cannot_be(self, fields, reason):
        (found,) = problems(invoice((line(1, **fields),)))
        assert reason in found

    def test_a_line_may_state_no_price_at_all(self):
        assert problems(invoice((line(1, amount="12.00"), line(2, amount="1.00", quantity=D(5), unit="tokens")))) == []


class TestPeriodAndCurrency:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            (
                {"period_last_day": dt.date(2026, 9, 30)},
                "period_last_day: 2026-09-30 is before period_start 2026-10-01",
            ),
            (
                {"period_last_day": dt.date(2027, 10, 31)},
                "period_last_day: the period from 2026-10-01 to 2027-10-31 is longer",
            ),
            (
                {"period_start": dt.date(9999, 12, 31), "period_last_day": dt.date(9999, 12, 31)},
                "period_start: the period from 9999-12-31 to 9999-12-31 is in no billing year",
            ),
            ({"invoice_date": dt.date(2026, 9, 30)}, "invoice_date: 2026-09-30 is before period_start 2026-10-01"),
        ],
    )
    def test_periods_that_cannot_be(self, fields, reason):
        (found,) = problems(invoice(**fields))
        assert reason in found

    def test_a_commitment_is_billed_ahead(self):
        assert problems(invoice((line(1, "commitment", "9.00"),), invoice_date=dt.date(2026, 9, 1))) == []

    def test_a_line_has_the_currency_of_its_header(self):
        """Rule 12.6."""
        lines = (line(1, amount="1.00", currency="EUR"), line(2, amount="1.00", currency="USD"))
        assert problems(invoice(lines)) == [
            (
                "ant-2026-10.json line 1 currency: EUR is not the invoice's currency USD. "
                "Fix: enter one invoice a currency."
            )
        ]

    def test_another_currency_is_no_problem_of_the_invoice(self):
        assert problems(invoice(currency="EUR")) == []


class TestDuplicates:
    def test_identical_content_is_ignored(self):
        """Rule 12.1."""
        copies = [invoice(), invoice(source_file="copy.csv"), invoice(invoice_id="ANT-2026-11")]
        result = classify_duplicates(copies)
        assert [(kept.invoice_id, kept.source_file) for kept in result.kept] == [
            ("ANT-2026-10", "ant-2026-10.json"),
            ("ANT-2026-11", "ant-2026-10.json"),
        ]
        assert [copy.source_file for copy in result.ignored] == ["copy.csv"]
        assert result.problems == ()

    def test_different_content_is_a_conflict(self):
        other = invoice((*LINES[:2], line(3, "commitment", "55.00"), *LINES[3:]), source_file="b.json")
        result = classify_duplicates([other, invoice()])
        assert (result.kept, result.ignored) == ((), ())
        (conflict,) = result.problems
        assert str(conflict) == (
            "b.json lines_total: invoice ANT-2026-10 of anthropic is also in ant-2026-10.json with other content: "
            "61.85 there, 66.85 here. Fix: keep the file that says what the provider sent and remove the other; "
            "a corrected invoice has its own number."
        )

    def test_a_line_that_one_has_and_the_other_has_not(self):
        zero = line(6, "seat", "0.00")
        (conflict,) = classify_duplicates([invoice(), invoice((*LINES, zero), source_file="b.json")]).problems
        assert (conflict.field, "nothing there, 6 here" in conflict.what) == ("line 6 line_no", True)

    def test_the_same_number_of_another_provider_is_another_invoice(self):
        result = classify_duplicates([invoice(), invoice(provider="openai", source_file="o.json")])
        assert len(result.kept) == 2

    def test_the_hash_looks_at_content_only(self):
        same = [
            invoice(source_file="elsewhere.csv"),
            invoice(tuple(reversed(LINES))),
            invoice(tuple(dataclasses.replace(row, currency="USD") for row in LINES)),
            invoice((usage(1, "123456.0", "15", "1.850"), *LINES[1:])),
        ]
        assert {other.content_sha256() for other in same} == {invoice().content_sha256()}
        assert invoice(account="other").content_sha256() != invoice().content_sha256()
        moved = (dataclasses.replace(LINES[0], model="m"), *LINES[1:])
        assert invoice(moved).content_sha256() != invoice().content_sha256()


amounts = st.integers(0, 10**9).map(from_cents)


@given(st.lists(amounts, min_size=1, max_size=12), amounts, st.data())
def test_one_mistyped_amount_never_passes(charges, credit, data):
    lines = [line(number, "seat", str(amount)) for number, amount in enumerate(charges, start=1)]
    sound = invoice((*lines, line(len(lines) + 1, "credit", str(-credit))))
    assert problems(sound) == []
    at = data.draw(st.integers(0, len(lines) - 1))
    off = data.draw(st.integers(1, 10**6).map(from_cents))
    wrong = dataclasses.replace(sound.lines[at], amount=sound.lines[at].amount + off)
    changed = dataclasses.replace(sound, lines=(*sound.lines[:at], wrong, *sound.lines[at + 1 :]))
    assert len(problems(changed)) == 1
    assert changed.content_sha256() != sound.content_sha256()
