"""The providers' invoices, made from the meter: what was used and billed, whatever the proxy logged.

Belongs here: invoice lines, their rounding to cents, credits, tax and web searches, and the JSON form. Does not belong
here: what was metered (`metering`, `tally`), writing files (`documents`), what an invoice is (`domain.invoice`).

Anthropic and OpenAI bill one line per workspace, model, tier and token type; Google bills one line per model, over all
token types, without a unit price. Every usage line is rounded to cents by itself, as providers do, and that is
the only reason why a clean month differs from its log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.organisation import PROVIDER_KEYS, ProviderKey
from tokengov_pipelines.demo.prices import (
    MODELS,
    PROVIDERS,
    TIERS,
    TOKEN_TYPES,
    WEB_SEARCH_USD_PER_THOUSAND,
    Model,
    exact_usd,
    pico_per_token,
    price_per_mtok,
)
from tokengov_pipelines.demo.tally import MonthTally
from tokengov_pipelines.domain.invoice import CHARGE_KINDS, FORM, Invoice, InvoiceLine
from tokengov_pipelines.domain.money import exact_product, exact_sum, round_posting

_COARSE: Final = ("google",)
_PREFIXES: Final = {"anthropic": "ANT", "openai": "OAI", "google": "GCP"}
_ISSUED_ON: Final = {"anthropic": 2, "openai": 1, "google": 3}
"""Day of the following month on which the provider issues its invoice."""


@dataclass(frozen=True)
class BilledInvoice:
    """An invoice and what it hides: `rounding` is what rounding each usage line to cents added, exactly."""

    invoice: Invoice
    rounding: Decimal

    def amount_of(self, kind: str) -> Decimal:
        """Sum of the lines of one kind."""
        return exact_sum([line.amount for line in self.invoice.lines if line.kind == kind])


def invoice_json(invoice: Invoice) -> dict[str, object]:
    """The invoice in the form `tokengov-invoice/1`; money as strings, the last day printed inclusive."""
    header = ("provider", "account", "invoice_id", "invoice_date", "period_start", "period_last_day", "currency")
    totals = ("lines_total", "credits_total", "tax_total", "total")
    return {
        "form": FORM,
        **{name: str(getattr(invoice, name)) for name in header},
        "lines": [_line_json(line) for line in invoice.lines],
        **{name: str(getattr(invoice, name)) for name in totals},
    }


def _line_json(line: InvoiceLine) -> dict[str, object]:
    names = ("kind", "description", "model", "token_type", "service_tier", "workspace", "quantity", "unit",
             "unit_price_per_mtok", "amount")  # fmt: skip
    stated = {name: str(getattr(line, name)) for name in names if getattr(line, name) is not None}
    return {"line_no": line.line_no, **stated}


def month_bounds(month: str) -> tuple[date, date]:
    """First and last day of 'YYYY-MM'."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def build_invoices(month: str, tally: MonthTally) -> tuple[BilledInvoice, ...]:
    """The three invoices of a month, in the order of `PROVIDERS`."""
    return tuple(_invoice(provider, month, tally) for provider in PROVIDERS)


def _invoice(provider: str, month: str, tally: MonthTally) -> BilledInvoice:
    first, last = month_bounds(month)
    cells = _coarse_lines(provider, first, tally) if provider in _COARSE else _fine_lines(provider, first, tally)
    lines: list[InvoiceLine] = []
    rounding = Decimal(0)
    for line, exact in cells:
        lines.append(_numbered(line, len(lines) + 1))
        rounding = exact_sum([rounding, line.amount, -exact])
    if month == incidents.INCIDENT_MONTH:
        for line in _incident_lines(provider, tally, lines):
            lines.append(_numbered(line, len(lines) + 1))
    charges, credits, taxes = (
        exact_sum([Decimal("0.00"), *(line.amount for line in lines if line.kind in kinds)])
        for kinds in (CHARGE_KINDS, ("credit",), ("tax",))
    )
    invoice = Invoice(
        source_file=f"{provider}-{month}.json",
        provider=provider,
        account=next(key.account for key in PROVIDER_KEYS if key.provider == provider),
        invoice_id=f"{_PREFIXES[provider]}-{month}",
        invoice_date=last + timedelta(days=_ISSUED_ON[provider]),
        period_start=first,
        period_last_day=last,
        currency="USD",
        lines=tuple(lines),
        lines_total=charges,
        credits_total=credits,
        tax_total=taxes,
        total=exact_sum([charges, credits, taxes]),
    )
    return BilledInvoice(invoice, rounding)


def _numbered(line: InvoiceLine, number: int) -> InvoiceLine:
    return InvoiceLine(**{**line.__dict__, "line_no": number})


def _cells(provider: str) -> Iterator[tuple[int, ProviderKey, int, Model]]:
    for key_at, key in enumerate(PROVIDER_KEYS):
        for model_at, model in enumerate(MODELS):
            if key.provider == provider and model.provider == provider:
                yield key_at, key, model_at, model


def _fine_lines(provider: str, day: date, tally: MonthTally) -> Iterator[tuple[InvoiceLine, Decimal]]:
    """One line per workspace, model, tier and token type, with its exact amount. Prices change between months only."""
    for key_at, key, model_at, model in _cells(provider):
        for tier_at, tier in enumerate(TIERS):
            prices = pico_per_token(model, day, tier)
            for type_at, token_type in enumerate(TOKEN_TYPES):
                tokens = int(tally.tokens[key_at, model_at, tier_at, type_at])
                if not tokens:
                    continue
                exact = exact_usd(tokens * prices[type_at])
                line = InvoiceLine(
                    line_no=0,
                    kind="usage",
                    amount=round_posting(exact),
                    description=f"{model.title}, {token_type.replace('_', ' ')} tokens, {tier}",
                    model=model.name,
                    token_type=token_type,
                    service_tier=tier,
                    workspace=key.workspace,
                    quantity=Decimal(tokens),
                    unit="tokens",
                    unit_price_per_mtok=price_per_mtok(model, day, token_type, tier),
                )
                yield line, exact


def _coarse_lines(provider: str, day: date, tally: MonthTally) -> Iterator[tuple[InvoiceLine, Decimal]]:
    """One line per model over all token types."""
    for key_at, key, model_at, model in _cells(provider):
        tokens = [int(count) for count in tally.tokens[key_at, model_at, 0]]
        if not any(tokens):
            continue
        prices = pico_per_token(model, day, "standard")
        exact = exact_usd(sum(count * price for count, price in zip(tokens, prices, strict=True)))
        line = InvoiceLine(
            line_no=0,
            kind="usage",
            amount=round_posting(exact),
            description=f"{model.title} API: input, cached input and output",
            model=model.name,
            workspace=key.workspace,
            quantity=Decimal(sum(tokens)),
            unit="tokens",
        )
        yield line, exact


def _incident_lines(provider: str, tally: MonthTally, usage: list[InvoiceLine]) -> Iterator[InvoiceLine]:
    """What only the invoice knows: web searches, a credit and tax, both in proportion to the charges."""
    charges = [line.amount for line in usage]
    if provider == "anthropic":
        thousandths = exact_product(tally.web_searches, WEB_SEARCH_USD_PER_THOUSAND, Decimal("0.001"))
        searches = InvoiceLine(
            line_no=0,
            kind="non_token",
            amount=round_posting(thousandths),
            description=f"Web search, {WEB_SEARCH_USD_PER_THOUSAND} USD per 1,000 requests",
            workspace="proxy",
            quantity=Decimal(tally.web_searches),
            unit="requests",
        )
        charges.append(searches.amount)
        yield searches
    if provider == incidents.CREDIT_PROVIDER:
        credit = round_posting(exact_product(exact_sum(charges), incidents.CREDIT_RATE))
        yield InvoiceLine(0, "credit", -credit, "Service credit, availability of 14 September")
    if provider == incidents.TAX_PROVIDER:
        tax = round_posting(exact_product(exact_sum(charges), incidents.TAX_RATE))
        yield InvoiceLine(0, "tax", tax, "Sales tax 8.25 %")
