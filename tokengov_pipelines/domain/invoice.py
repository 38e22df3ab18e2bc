"""A provider's invoice, and whether it adds up (rules 1.5, 2.2, 12.1, 12.6).

Belongs here: the invoice and its lines, the checks that name the line that does not fit, and duplicates. Does not
belong here: the written form in JSON or CSV (`invoice_form`), opening files (`resources.invoices`), comparing the
invoice with what the provider delivered (`reconciliation`).
"""

import datetime as dt
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.money import (
    POSTING_SCALE,
    exact_product,
    exact_sum,
    from_cents,
    minor_unit_scale,
    round_posting,
)
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.domain.problem import Problem, in_reading_order

FORM: Final = "tokengov-invoice/1"
CHARGE_KINDS: Final = ("usage", "non_token", "commitment", "seat")
KINDS: Final = (*CHARGE_KINDS, "credit", "tax")
QUANTITY_SCALE: Final = 6
"""Decimals a quantity may have: tokens are whole, seats and hours may not be."""

LINE_TOLERANCE: Final = Decimal("0.005")
"""What a usage line may differ from quantity x unit price beyond the rounding of its own amount."""

_MTOK_PER_TOKEN: Final = Decimal("0.000001")
_LONGEST_PERIOD: Final = dt.timedelta(days=366)
_INTEGER_DIGITS: Final = 16  # DECIMAL(18,2), rule 1.1


@dataclass(frozen=True)
class InvoiceLine:
    """One printed line. Amounts in the invoice's currency: charges positive, credits negative (rule 1.5)."""

    line_no: int
    kind: str
    amount: Decimal
    description: str | None = None
    model: str | None = None
    token_type: str | None = None
    service_tier: str | None = None
    workspace: str | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    unit_price_per_mtok: Decimal | None = None
    currency: str | None = None
    original_invoice_id: str | None = None

    def priced(self) -> Decimal | None:
        """Quantity x unit price, exact; None where the line does not state both."""
        if self.quantity is None or self.unit_price_per_mtok is None:
            return None
        return exact_product(self.quantity, self.unit_price_per_mtok, _MTOK_PER_TOKEN)


@dataclass(frozen=True)
class Invoice:
    """One invoice as the provider printed it; `period` turns the printed last day into an exclusive end (rule 2.2)."""

    source_file: str
    provider: str
    account: str
    invoice_id: str
    invoice_date: dt.date
    period_start: dt.date
    period_last_day: dt.date
    currency: str
    lines: tuple[InvoiceLine, ...]
    lines_total: Decimal
    credits_total: Decimal
    tax_total: Decimal
    total: Decimal

    @property
    def period(self) -> InvoicePeriod:
        """The days it bills, half-open; `check_invoice` has made sure that there are any."""
        return InvoicePeriod.from_printed(self.period_start, self.period_last_day)

    def content(self) -> list[tuple[str, str]]:
        """Every stated field in its canonical text: the same for each file that states the same invoice (rule 12.1)."""
        header = _stated(self, _HEADER_FIELDS, "")
        lines = sorted(self.lines, key=lambda line: line.line_no)
        return header + [pair for line in lines for pair in _stated(line, _LINE_FIELDS, f"line {line.line_no} ")]

    def content_sha256(self) -> str:
        """The hash of `content`: independent of file name, form (JSON or CSV), key order and trailing zeros."""
        canonical = json.dumps([FORM, self.content()], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_HEADER_FIELDS: Final = tuple(name for name in Invoice.__dataclass_fields__ if name not in {"source_file", "lines"})
_LINE_FIELDS: Final = tuple(name for name in InvoiceLine.__dataclass_fields__ if name != "currency")  # the header's


def is_credit_memo(invoice: Invoice) -> bool:
    """Whether a document bills nothing and only gives back what an older invoice billed (Rule 2.5)."""
    gives_back = any(line.kind == "credit" and line.original_invoice_id for line in invoice.lines)
    return gives_back and all(line.kind in {"credit", "tax"} for line in invoice.lines)


def check_invoice(invoice: Invoice) -> list[Problem]:
    """Everything that keeps an invoice from being booked as it is written; an empty list means that it adds up.

    A usage line that states quantity and price is compared with its amount, and named when they do not fit; each
    printed total is compared with its lines, and a line as large as the difference is named.
    """
    checks: tuple[Callable[[Invoice], list[Problem]], ...] = (
        _check_line_numbers,
        _check_period,
        _check_line_currencies,
        _check_precision,
        _check_signs,
        _check_usage_lines,
        _check_totals,
    )
    problems: list[Problem] = []
    for check in checks:
        problems += check(invoice)
    return problems


@dataclass(frozen=True)
class Duplicates:
    """The invoices to book, the copies that repeat one of them, and the conflicts, which are refused (rule 12.1)."""

    kept: tuple[Invoice, ...]
    ignored: tuple[Invoice, ...]
    problems: tuple[Problem, ...]


def classify_duplicates(invoices: Iterable[Invoice]) -> Duplicates:
    """Group invoices by (provider, invoice_id): identical content is ignored, different content is a conflict.

    Of identical copies the one with the lowest file name is kept. Conflicting invoices are in neither list.
    """
    groups: defaultdict[tuple[str, str], list[Invoice]] = defaultdict(list)
    for invoice in sorted(invoices, key=lambda invoice: invoice.source_file):
        groups[invoice.provider, invoice.invoice_id].append(invoice)
    kept: list[Invoice] = []
    ignored: list[Invoice] = []
    problems: list[Problem] = []
    for _, (first, *others) in sorted(groups.items()):
        conflicts = [_conflict(first, other) for other in others if other.content() != first.content()]
        problems += conflicts
        if not conflicts:
            kept.append(first)
            ignored += others
    return Duplicates(tuple(kept), tuple(ignored), tuple(in_reading_order(problems)))


def _conflict(first: Invoice, other: Invoice) -> Problem:
    there, here = dict(first.content()), dict(other.content())
    field = next((name for name in [*there, *here] if there.get(name) != here.get(name)), "lines")
    what = (
        f"invoice {other.invoice_id} of {other.provider} is also in {first.source_file} with other content: "
        f"{there.get(field, 'nothing')} there, {here.get(field, 'nothing')} here"
    )
    fix = "keep the file that says what the provider sent and remove the other; a corrected invoice has its own number"
    return Problem(other.source_file, None, field, what, fix)


def _stated(source: Invoice | InvoiceLine, fields: Iterable[str], prefix: str) -> list[tuple[str, str]]:
    values = [(name, getattr(source, name)) for name in fields]
    return [(f"{prefix}{name}", _canonical(value)) for name, value in values if value is not None]


def _canonical(value: Decimal | dt.date | str | int) -> str:
    if isinstance(value, Decimal):
        plain = format(value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def _problem(invoice: Invoice, field: str, what: str, fix: str) -> Problem:
    return Problem(invoice.source_file, None, field, what, fix)


def _check_line_numbers(invoice: Invoice) -> list[Problem]:
    if not invoice.lines:
        return [_problem(invoice, "lines", "the invoice has no lines", "enter at least one")]
    counts = Counter(line.line_no for line in invoice.lines)
    return [
        _problem(invoice, f"line {number}", f"the line number is there {count} times", "number each line once")
        for number, count in sorted(counts.items())
        if count > 1
    ]


def _check_period(invoice: Invoice) -> list[Problem]:
    start, last_day = invoice.period_start, invoice.period_last_day
    if last_day < start:
        what = f"{last_day} is before period_start {start}"
        return [_problem(invoice, "period_last_day", what, "enter the last day inside the period, as printed")]
    if not 1970 <= start.year <= last_day.year <= 9998:
        what = f"the period from {start} to {last_day} is in no billing year"
        return [_problem(invoice, "period_start", what, "check the years of both dates")]
    if last_day - start >= _LONGEST_PERIOD:
        what = f"the period from {start} to {last_day} is longer than a year"
        return [_problem(invoice, "period_last_day", what, "check the years of both dates")]
    if invoice.invoice_date < start and any(line.kind in {"usage", "non_token"} for line in invoice.lines):
        what = f"{invoice.invoice_date} is before period_start {start}, and usage is billed after it happened"
        return [_problem(invoice, "invoice_date", what, "check both dates")]
    return []


def _check_line_currencies(invoice: Invoice) -> list[Problem]:
    return [
        _problem(
            invoice,
            f"line {line.line_no} currency",
            f"{line.currency} is not the invoice's currency {invoice.currency}",
            "enter one invoice a currency",
        )
        for line in invoice.lines
        if line.currency not in {None, invoice.currency}
    ]


def _check_precision(invoice: Invoice) -> list[Problem]:
    scale = min(minor_unit_scale(invoice.currency), POSTING_SCALE)  # amounts are kept as DECIMAL(18,2)
    amounts = [(f"line {line.line_no} amount", line.amount) for line in invoice.lines]
    amounts += [(name, getattr(invoice, name)) for name in ("lines_total", "credits_total", "tax_total", "total")]
    problems = []
    for field, amount in amounts:
        if round_posting(amount, scale) != amount:
            what = f"{amount} has more than {scale} decimals"
            problems.append(_problem(invoice, field, what, "enter the amount that is billed"))
        elif amount and amount.adjusted() >= _INTEGER_DIGITS:
            what = f"{amount} has more than {_INTEGER_DIGITS} digits before the point"
            problems.append(_problem(invoice, field, what, "check the unit"))
    for line in invoice.lines:
        if line.quantity is not None and round_posting(line.quantity, QUANTITY_SCALE) != line.quantity:
            what = f"{_canonical(line.quantity)} has more than {QUANTITY_SCALE} decimals"
            problems.append(_problem(invoice, f"line {line.line_no} quantity", what, "check the unit"))
    return problems


def _check_signs(invoice: Invoice) -> list[Problem]:
    problems = []
    for line in invoice.lines:
        field = f"line {line.line_no} amount"
        if line.kind == "credit" and line.amount > 0:
            what = f"{line.amount} is positive, and a credit reduces the invoice"
            problems.append(_problem(invoice, field, what, f"write -{line.amount}"))
        if line.kind in CHARGE_KINDS and line.amount < 0:
            what = f"{line.amount} is negative, and a {line.kind} line is a charge"
            problems.append(_problem(invoice, field, what, "make it a line of kind credit, or correct the sign"))
    return problems


def _check_usage_lines(invoice: Invoice) -> list[Problem]:
    problems = []
    for line in invoice.lines:
        field = f"line {line.line_no}"
        if line.quantity is not None and line.quantity < 0:
            what = f"{line.quantity} is negative"
            problems.append(_problem(invoice, f"{field} quantity", what, "enter a credit line for what is given back"))
        elif line.unit_price_per_mtok is not None and line.quantity is None:
            what = "there is a unit price and no quantity to check the amount with"
            problems.append(_problem(invoice, f"{field} quantity", what, "enter the tokens, or leave the price empty"))
        elif line.unit_price_per_mtok is not None and line.unit != "tokens":
            what = f"{line.unit or 'nothing'} is priced per million tokens"
            problems.append(_problem(invoice, f"{field} unit", what, "write tokens, or leave the price empty"))
        elif line.kind == "usage" and not _fits(line, invoice.currency):
            what = (
                f"{line.amount} does not fit {line.quantity} tokens at {line.unit_price_per_mtok} "
                f"per million, which is {_canonical(line.priced() or Decimal(0))}"
            )
            fix = "compare amount, quantity and price with the printed line"
            problems.append(_problem(invoice, f"{field} amount", what, fix))
    return problems


def _fits(line: InvoiceLine, currency: str) -> bool:
    """Whether the amount is quantity x price, rounded to the minor unit, within the tolerance of a line."""
    priced = line.priced()
    half_a_unit = exact_product(from_cents(1, minor_unit_scale(currency)), Decimal("0.5"))
    return priced is None or exact_sum((line.amount, priced.copy_negate())).copy_abs() <= half_a_unit + LINE_TOLERANCE


def _check_totals(invoice: Invoice) -> list[Problem]:
    totals = (
        ("lines_total", invoice.lines_total, [line for line in invoice.lines if line.kind in CHARGE_KINDS]),
        ("credits_total", invoice.credits_total, [line for line in invoice.lines if line.kind == "credit"]),
        ("tax_total", invoice.tax_total, [line for line in invoice.lines if line.kind == "tax"]),
    )
    problems = []
    for field, printed, lines in totals:
        added = exact_sum(line.amount for line in lines)
        if added != printed:
            what = f"{printed} is written and the lines add up to {added}, a difference of {abs(added - printed)}"
            fix = _suspects(lines, added - printed, invoice.currency) or "compare each line with the printed invoice"
            problems.append(_problem(invoice, field, what, fix))
    added = exact_sum((invoice.lines_total, invoice.credits_total, invoice.tax_total))
    if added != invoice.total:
        what = (
            f"{invoice.total} is written, and lines {invoice.lines_total}, credits {invoice.credits_total} "
            f"and tax {invoice.tax_total} make {added}"
        )
        problems.append(_problem(invoice, "total", what, "compare the four totals with the printed invoice"))
    return problems


def _suspects(lines: Iterable[InvoiceLine], difference: Decimal, currency: str) -> str | None:
    """The lines that explain a difference: entered too often, with the wrong sign, or not fitting quantity x price."""
    reasons = []
    for line in lines:
        if line.amount == difference:
            reasons.append(f"line {line.line_no} is exactly the difference; see whether it is entered twice")
        elif line.amount * 2 == difference:
            reasons.append(f"line {line.line_no} is half the difference; see whether its sign is right")
        elif not _fits(line, currency):
            reasons.append(f"correct line {line.line_no}, whose amount does not fit quantity x price")
    return ", or ".join(reasons) or None
