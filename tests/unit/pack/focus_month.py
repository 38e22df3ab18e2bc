"""A month with every charge type, two currencies, a prepaid provider and an accrual, for tests of FOCUS files."""

import datetime as dt
from decimal import Decimal

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.prepaid import PrepaidStatement
from tokengov_pipelines.pack.focus_inputs import FocusInputs, focus_provider

SEPTEMBER, OCTOBER = BillingMonth(2026, 9), BillingMonth(2026, 10)
CATEGORIES = {
    "direct": "Usage",
    "true_up": "Usage",
    "unproxied": "Usage",
    "non_token": "Usage",
    "commitment": "Purchase",
    "seat": "Purchase",
    "prepaid": "Purchase",
    "credit": "Credit",
    "tax": "Tax",
    "central": "Adjustment",
    "prior_period": "Adjustment",
}


def charge(charge_type: str, amount: str, **fields) -> ChargebackLine:
    """A detail line; the finance line where no team, model or use case is given."""
    stated = {
        "period": OCTOBER,
        "posting_period": OCTOBER,
        "original_period": SEPTEMBER if charge_type == "prior_period" else OCTOBER,
        "provider": "anthropic",
        "invoice_id": "INV-SEP" if charge_type == "prior_period" else "INV-19",
        "version": 1,
        "mode": "chargeback",
        "legal_entity": "ACME-US",
        "cost_center": "CC-100",
        "cost_center_name": "Shop",
        "team_id": None,
        "team_alias": None,
        "charge_type": charge_type,
        "model": None,
        "use_case": None,
        "quantity_tokens": None,
        "direct_logged_exact": None,
        "amount": Decimal(amount),
        "currency": "USD",
        "fx_rate": Decimal(1),
        "amount_functional": Decimal(amount),
        "allocation_method": "largest_remainder",
        "allocation_weight": None,
        "allocation_base": None,
        "rung": "",
        "pool_total": Decimal(amount),
        "policy_sha256": "0" * 64,
    }
    return ChargebackLine(**{**stated, **fields})


def document(invoice_id: str = "INV-19", provider: str = "anthropic", **fields) -> Invoice:
    """An invoice of October without lines: FOCUS rows take its number, account, days and currency."""
    stated = {
        "source_file": f"{invoice_id}.json",
        "provider": provider,
        "account": "acme-prod",
        "invoice_id": invoice_id,
        "invoice_date": dt.date(2026, 11, 2),
        "period_start": dt.date(2026, 10, 1),
        "period_last_day": dt.date(2026, 10, 31),
        "currency": "USD",
        "lines": (),
        "lines_total": Decimal(0),
        "credits_total": Decimal(0),
        "tax_total": Decimal(0),
        "total": Decimal(0),
    }
    return Invoice(**{**stated, **fields})


def statement(purchases: str, refunds: str = "0") -> PrepaidStatement:
    """The console's October of OpenAI's credits."""
    zero = Decimal(0)
    return PrepaidStatement(
        "openai", "acme-lab", OCTOBER, "USD", zero, Decimal(purchases), zero, Decimal(refunds), Decimal(purchases)
    )


def direct(amount: str, tokens: int, model: str = "claude-opus-4-8", **fields) -> ChargebackLine:
    """Logged use of a team with a model."""
    team = {"team_id": "team-shop", "team_alias": "Shop", "use_case": "code-review"}
    return charge("direct", amount, model=model, quantity_tokens=tokens, **{**team, **fields})


EXAMPLE = (
    direct("404.33", 96_000_000),
    direct("342.01", 81_234_567, "claude-sonnet-4-8", cost_center="CC-200", team_id="team-search", team_alias=None),
    charge("true_up", "5.00", model="claude-opus-4-8", team_id="team-shop", use_case="code-review"),
    charge("true_up", "-2.47", cost_center="CC-200", team_id="team-search", model="claude-sonnet-4-8"),
    charge("unproxied", "101.08", cost_center="CC-300"),
    charge("non_token", "35.05"),
    charge("commitment", "50.00"),
    charge("credit", "-80.00"),
    charge("tax", "72.71"),
    charge("central", "0.37", cost_center="CC-990", allocation_method="to_central"),
)
"""Invoice INV-19 of the rule book, 928.08 in all: Usage 885.00, Purchase 50.00, Credit -80.00, Tax 72.71."""

CORRECTIONS = (
    charge("prior_period", "4.11", allocation_method="late rows"),
    charge("prior_period", "-4.11", cost_center="CC-200", allocation_method="late rows"),
)

OTHERS = (
    charge("seat", "190.00", provider="github", invoice_id="0042", team_id="team-shop", currency="USD"),
    charge("direct", "1500", provider="mistral", invoice_id="MI-7", currency="JPY", quantity_tokens=500_000),
    charge(
        "direct", "640.25", provider="openai", invoice_id="PREPAID-2026-10", quantity_tokens=9_000_000, model="gpt-6"
    ),
    charge("tax", "100.00", provider="openai", invoice_id="PREPAID-2026-10"),
    charge("direct", "12.34", provider="google", invoice_id="ACCRUAL-google-2026-10", quantity_tokens=0),
)
"""Seats, yen, use drawn from prepaid credits with the tax on their purchase, and an accrual."""

DOCUMENTS = (
    document(),
    document("0042", "github", account="77001"),
    document("MI-7", "mistral", currency="JPY"),
)

PROVIDERS = {"openai": focus_provider("openai", "acme-lab", is_prepaid=True)}


def month(*lines: ChargebackLine, **fields) -> FocusInputs:
    """October's inputs; without lines those of every charge type."""
    stated = {
        "month": OCTOBER,
        "lines": lines or (*EXAMPLE, *CORRECTIONS, *OTHERS),
        "invoices": DOCUMENTS,
        "categories": CATEGORIES,
        "providers": PROVIDERS,
    }
    return FocusInputs(**{**stated, **fields})
