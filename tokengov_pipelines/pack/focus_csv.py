"""focus_1_2.csv: the month's charges as FOCUS 1.2 Cost and Usage, for any tool that reads FOCUS (Rule 11.5, F14).

Belongs here: the file's columns and key, and its tie to the charges. Does not belong here: what a row says
(`focus_rows`), how cells are written (`writer`), the validator (scripts/validate_focus.py).
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.pack.focus_inputs import FocusInputs
from tokengov_pipelines.pack.focus_rows import PREPAID, focus_rows
from tokengov_pipelines.pack.writer import Column, Kind, PackError, csv_bytes, neutralised

FOCUS_CSV: Final = "focus_1_2.csv"

COLUMNS: Final = (
    Column("InvoiceId"),
    Column("ProviderName"),
    Column("PublisherName"),
    Column("InvoiceIssuerName"),
    Column("BillingAccountId"),
    Column("BillingAccountName"),
    Column("SubAccountId"),
    Column("SubAccountName"),
    Column("BillingPeriodStart"),
    Column("BillingPeriodEnd"),
    Column("ChargePeriodStart"),
    Column("ChargePeriodEnd"),
    Column("ChargeCategory"),
    Column("ChargeClass"),
    Column("ChargeDescription"),
    Column("ChargeFrequency"),
    Column("ServiceCategory"),
    Column("ServiceSubcategory"),
    Column("ServiceName"),
    Column("SkuId"),
    Column("SkuPriceId"),
    Column("SkuMeter"),
    Column("BillingCurrency"),
    Column("BilledCost", Kind.DECIMAL),
    Column("EffectiveCost", Kind.DECIMAL),
    Column("ListCost", Kind.DECIMAL),
    Column("ContractedCost", Kind.DECIMAL),
    Column("ListUnitPrice", Kind.DECIMAL),
    Column("ContractedUnitPrice", Kind.DECIMAL),
    Column("PricingQuantity", Kind.DECIMAL),
    Column("PricingUnit"),
    Column("ConsumedQuantity", Kind.DECIMAL, 1),  # with a decimal, or the validator reads an integer
    Column("ConsumedUnit"),
    Column("Tags"),
    Column("x_AllocationMethod"),
    Column("x_ChargeType"),
    Column("x_CostCenter"),
    Column("x_EvidenceLevel"),
    Column("x_TeamId"),
    Column("x_UseCase"),
)
"""The columns of rule 11.5, and x_ChargeType: a category alone does not tell a true-up from logged use.

Empty throughout, because no charge line holds them: SubAccountId and SubAccountName (workspace), SkuPriceId,
ListUnitPrice and ContractedUnitPrice (a line adds up tokens of several prices).
"""

PRIMARY_KEY: Final = (
    "ProviderName",
    "InvoiceId",
    "BillingCurrency",
    "ChargePeriodStart",
    "x_CostCenter",
    "x_ChargeType",
    "x_TeamId",
    "x_UseCase",
    "ChargeDescription",
    "x_AllocationMethod",
    "Tags",
)

Billed = Mapping[tuple[str, str, str], Decimal]
"""BilledCost by (ProviderName, InvoiceId, BillingCurrency); an empty InvoiceId is what no invoice bills yet."""


def focus_csv(inputs: FocusInputs, charges: Iterable[ChargebackLine]) -> bytes:
    """The file's bytes: one row a line of the detail (two for a purchase), sorted; without lines the header alone.

    `charges` are the lines of chargeback.csv. What they charge for an invoice has to be the file's BilledCost of it,
    less recoverable tax; what they charge in all has to be its EffectiveCost.

    Raises:
        PackError: the two differ, or a line cannot be told in FOCUS's words (`focus_rows`).
    """
    rows = [[row.get(column.name, _nothing(column)) for column in COLUMNS] for row in focus_rows(inputs)]
    content = csv_bytes(COLUMNS, rows, PRIMARY_KEY)
    _assert_tie(content, inputs, charges)
    return content


def billed_by_invoice(content: bytes) -> dict[tuple[str, str, str], Decimal]:
    """BilledCost by (ProviderName, InvoiceId, BillingCurrency) as it stands in the file: for ties of the pack.

    Of an invoice it is the payable amount, with recoverable tax. Purchases of prepaid credits are left out: they are an
    asset and stand in no charge (Rule 4.9).
    """
    found: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
        if row["x_ChargeType"] != PREPAID:
            where = row["ProviderName"], row["InvoiceId"], row["BillingCurrency"]
            found[where].append(Decimal(row["BilledCost"]))
    return {where: exact_sum(amounts) for where, amounts in sorted(found.items())}


def effective_by_currency(content: bytes) -> dict[str, Decimal]:
    """EffectiveCost by currency as it stands in the file: the cost of use, which is the sum of all charge lines."""
    found: dict[str, list[Decimal]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
        found[row["BillingCurrency"]].append(Decimal(row["EffectiveCost"]))
    return {currency: exact_sum(amounts) for currency, amounts in sorted(found.items())}


def _assert_tie(content: bytes, inputs: FocusInputs, charges: Iterable[ChargebackLine]) -> None:
    charged: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    costs: dict[str, list[Decimal]] = defaultdict(list)
    for line in charges:
        where = _where(line.provider, inputs.invoice_id(line), line.currency, inputs)
        charged[where].append(inputs.billed(line))
        costs[line.currency].append(line.amount)
    for invoice in inputs.invoices:
        tax = inputs.recoverable_tax.get((invoice.provider, invoice.invoice_id), Decimal(0))
        charged[_where(invoice.provider, invoice.invoice_id, invoice.currency, inputs)].append(tax)
    expected: Billed = {where: exact_sum(amounts) for where, amounts in charged.items()}
    billed = billed_by_invoice(content)
    for where in sorted({*expected, *billed}):
        mine, theirs = billed.get(where, Decimal(0)), expected.get(where, Decimal(0))
        if mine != theirs:
            provider, invoice_id, currency = where
            named = f"invoice {invoice_id}" if invoice_id else "charges without an invoice"
            raise PackError(_difference(f"BilledCost of {provider} {named}", mine, theirs, currency))
    effective = effective_by_currency(content)
    for currency in sorted({*effective, *costs}):
        mine, theirs = effective.get(currency, Decimal(0)), exact_sum(costs.get(currency, ()))
        if mine != theirs:
            raise PackError(_difference("EffectiveCost", mine, theirs, currency))


def _where(provider: str, invoice_id: str, currency: str, inputs: FocusInputs) -> tuple[str, str, str]:
    return neutralised(inputs.provider(provider).name), neutralised(invoice_id), currency


def _difference(what: str, mine: Decimal, theirs: Decimal, currency: str) -> str:
    return (
        f"{FOCUS_CSV}: {what} adds up to {mine} {currency}, and the charges in chargeback.csv to {theirs}. "
        "Fix: make both files of the same lines; the detail has to add up to chargeback.csv."
    )


def _nothing(column: Column) -> str | None:
    return "" if column.kind is Kind.TEXT else None  # text is compared when rows are sorted, and None is not
