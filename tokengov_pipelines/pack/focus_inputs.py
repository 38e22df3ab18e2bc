"""What FOCUS rows are made of: charge lines, documents, and what providers are called (Rule 11.5).

Belongs here: the names of providers, and which invoice bills a line. Does not belong here: the rows (`focus_rows`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.journal import ACCRUAL_PREFIX
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.prepaid import PrepaidStatement

PRIOR_PERIOD: Final = "prior_period"
TAX: Final = "tax"


@dataclass(frozen=True)
class FocusProvider:
    """A provider as FOCUS names it: `name` stands for provider, publisher and issuer alike.

    `account` is that of rows without an invoice. `is_prepaid` says that use is paid from credits (Rule 4.9): then it is
    an effective cost and was billed with the purchase.
    """

    name: str
    service: str
    account: str = "default"
    is_prepaid: bool = False


KNOWN_PROVIDERS: Final[Mapping[str, FocusProvider]] = MappingProxyType(
    {
        "anthropic": FocusProvider("Anthropic", "Claude API"),
        "openai": FocusProvider("OpenAI", "OpenAI API"),
        "google": FocusProvider("Google", "Gemini API"),
        "aws": FocusProvider("AWS", "Amazon Bedrock"),
        "azure": FocusProvider("Microsoft", "Azure OpenAI"),
        "github": FocusProvider("GitHub", "GitHub Copilot"),
        "cursor": FocusProvider("Cursor", "Cursor"),
    }
)
"""How the providers we know are named where the caller names none; any other stands under its own code."""


def focus_provider(code: str, account: str = "default", *, is_prepaid: bool = False) -> FocusProvider:
    """A provider under the name we know it by, with what an installation knows of it: account and billing mode."""
    known = KNOWN_PROVIDERS.get(code) or FocusProvider(code, code)
    return replace(known, account=account, is_prepaid=is_prepaid)


@dataclass(frozen=True)
class FocusInputs:
    """What the rows of a month are made of.

    `lines` is the detail, with team, model and use case where they are known. `invoices` are the documents: a line of
    an invoice that is not among them is not invoiced yet (an accrual), and has no InvoiceId. `categories` is the
    policy's map of charge types to FOCUS's categories. `unproxied` gives the evidence levels; `prepaid` the purchases.
    `recoverable_tax` is billed and no cost (Rule 1.7): by (provider, invoice id), the month's part of it in the
    invoice's currency.
    """

    month: BillingMonth
    lines: tuple[ChargebackLine, ...]
    invoices: tuple[Invoice, ...]
    categories: Mapping[str, str]
    providers: Mapping[str, FocusProvider] = field(default_factory=dict)
    unproxied: tuple[UnproxiedKey, ...] = ()
    prepaid: tuple[PrepaidStatement, ...] = ()
    recoverable_tax: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)

    def provider(self, code: str) -> FocusProvider:
        """What FOCUS calls a provider of ours."""
        return self.providers.get(code) or focus_provider(code)

    def document(self, provider: str, invoice_id: str) -> Invoice | None:
        """The invoice of that number; None for an accrual, or for an invoice of an earlier month."""
        named = (each for each in self.invoices if (each.provider, each.invoice_id) == (provider, invoice_id))
        return next(named, None)

    def invoice_id(self, line: ChargebackLine) -> str:
        """The invoice that bills a line, as the file names it; empty where there is none yet.

        An adjustment of a closed month keeps the invoice that it adjusts, whose document is not one of this month's.
        """
        if line.invoice_id.startswith(ACCRUAL_PREFIX):
            return ""
        is_invoiced = line.charge_type == PRIOR_PERIOD or self.document(line.provider, line.invoice_id) is not None
        return line.invoice_id if is_invoiced else ""

    def billed(self, line: ChargebackLine) -> Decimal:
        """What is billed for a line: nothing for use that is drawn from prepaid credits, but the tax on them."""
        is_drawn = self.provider(line.provider).is_prepaid and line.charge_type != TAX
        return Decimal(0) if is_drawn else line.amount
