"""One FOCUS 1.2 row for each charge line of the detail; a purchase has a second row, for its use (Rule 11.5).

Belongs here: what a charge line is in FOCUS's words: category, periods, costs, quantities, names. Does not belong here:
what the rows are made of (`focus_inputs`), the file, its columns and its tie to the charges (`focus_csv`), reading
FOCUS (`domain.focus`).

The columns that FOCUS checks as text hold ASCII only, which is what the validator takes its StringHandling to be; names
of people's own choice stand in `Tags` (escaped) and in the `x_` columns (as they are), without e-mails (Rule 12.7).
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import UnproxiedKey, without_email
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import minor_unit_scale
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.prepaid import PrepaidStatement
from tokengov_pipelines.pack.focus_inputs import PRIOR_PERIOD, TAX, FocusInputs, FocusProvider
from tokengov_pipelines.pack.writer import TEXT_LIMIT, PackError

CATEGORIES: Final = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
"""The words of FOCUS 1.2 for ChargeCategory, to which the policy maps our charge types."""

PREPAID: Final = "prepaid"
"""The charge type of a purchase of prepaid credits: an asset and no charge line (Rule 4.9)."""

RECOVERABLE_TAX: Final = "recoverable_tax"
"""The charge type of tax that is a claim on the tax office and no charge line (Rule 1.7)."""

TOKENS: Final = "Tokens"
MILLION_TOKENS: Final = "1000000 Tokens"
UNITS: Final = "Units"
"""Pricing unit of a row that counts no tokens: FOCUS wants a quantity of all use and purchases, and it is 1."""

_SERVICE_CATEGORY: Final = "AI and Machine Learning"
_SERVICE_SUBCATEGORY: Final = "Generative AI"
_USAGE: Final = "Usage"
_PURCHASE: Final = "Purchase"
_CORRECTION: Final = "Correction"
_WORDS: Final[Mapping[str, str]] = {
    "direct": "Use logged by the proxy",
    "true_up": "True-up of the logged use to the invoice",
    "unproxied": "Use outside the proxy",
    "non_token": "Use that is not billed by tokens",
    "commitment": "Commitment",
    "seat": "Seats",
    "credit": "Credit",
    "tax": "Tax",
    "central": "Rounding and what is not explained",
    "prior_period": "Adjustment of an earlier month",
}
_RECURRING: Final = frozenset({"commitment", "seat"})
_COUNTS_TOKENS: Final = frozenset({"direct", "unproxied"})
_LEAST_SCALE: Final = 2  # a column of whole numbers is read as integers, which the validator refuses for a cost

Row = dict[str, object]


def focus_rows(inputs: FocusInputs) -> list[Row]:
    """The rows by column name; a column that a row does not name is empty.

    Raises:
        PackError: a charge type has no category, a line is in another currency than its invoice or of another month, or
            recoverable tax is of an invoice that is not there.
    """
    evidence = _evidence(inputs.unproxied)
    rows: list[Row] = []
    for line in inputs.lines:
        charged = _charge(line, inputs, evidence.get((line.provider, line.cost_center), ""))
        rows += [charged] if charged["ChargeCategory"] != _PURCHASE else _purchased_and_used(charged, line.currency)
    rows += [_purchase(statement, inputs) for statement in inputs.prepaid if statement.purchases]
    rows += [_refund(statement, inputs) for statement in inputs.prepaid if statement.refunds]
    rows += [_recoverable(named, amount, inputs) for named, amount in inputs.recoverable_tax.items() if amount]
    return rows


def _charge(line: ChargebackLine, inputs: FocusInputs, evidence: str) -> Row:
    category = _category(line.charge_type, inputs.categories)
    is_correction = line.charge_type == PRIOR_PERIOD
    provider, document = inputs.provider(line.provider), inputs.document(line.provider, line.invoice_id)
    if line.posting_period != inputs.month:
        message = f"a charge to {line.cost_center} posts in {line.posting_period}, and the file is of {inputs.month}. "
        message += "Fix: pass the lines of one month."
        raise PackError(message)
    if document is not None and document.currency != line.currency:
        message = (
            f"{line.provider} invoice {line.invoice_id} is in {document.currency} and its charge to {line.cost_center} "
            f"in {line.currency}. Fix: charge every invoice in its own currency."
        )
        raise PackError(message)
    month = line.original_period if is_correction else line.period
    model = _ascii(line.model) if line.model else None
    said = ", ".join(filter(None, (_WORDS.get(line.charge_type, line.charge_type), model, str(month))))
    row = _row(provider, document.account if document else provider.account, line.posting_period, line.currency)
    row |= _charge_period(month, document.period if document else None)
    row |= _costs(line.currency, billed=inputs.billed(line), effective=line.amount)
    row |= {
        "InvoiceId": inputs.invoice_id(line),
        "ChargeCategory": category,
        "ChargeClass": _CORRECTION if is_correction else "",
        "ChargeDescription": said,
        "ChargeFrequency": _frequency(line.charge_type, category),
        "Tags": _tags(line),
        "x_AllocationMethod": line.allocation_method,
        "x_ChargeType": line.charge_type,
        "x_CostCenter": line.cost_center,
        "x_EvidenceLevel": evidence if line.charge_type == "unproxied" else "",
        "x_TeamId": without_email(line.team_id) or "",
        "x_UseCase": without_email(line.use_case) or "",
    }
    return row | _quantities(line, category, model, is_correction=is_correction)


def _purchased_and_used(charged: Row, currency: str) -> list[Row]:
    """A purchase is billed and costs nothing; a row beside it holds the cost of what is used of it in the month.

    FOCUS amortises commitments this way, and its validator takes any other purchase with an effective cost for a fault.
    """
    nothing = _scaled(Decimal(0), currency)
    used: Row = {
        "BilledCost": nothing,
        "ListCost": nothing,
        "ContractedCost": nothing,
        "ChargeCategory": _USAGE,
        "ChargeDescription": f"{charged['ChargeDescription']}: its use",
    }
    return [charged | {"EffectiveCost": nothing}, charged | used]


def _purchase(statement: PrepaidStatement, inputs: FocusInputs) -> Row:
    return _prepaid_row(statement, inputs, statement.purchases, "Purchase of prepaid credits")


def _refund(statement: PrepaidStatement, inputs: FocusInputs) -> Row:
    return _prepaid_row(statement, inputs, -statement.refunds, "Refund of prepaid credits")


def _prepaid_row(statement: PrepaidStatement, inputs: FocusInputs, amount: Decimal, words: str) -> Row:
    row = _row(inputs.provider(statement.provider), statement.account, statement.month, statement.currency)
    row |= _charge_period(statement.month, None)
    row |= _costs(statement.currency, billed=amount, effective=Decimal(0))
    row |= {
        "ChargeCategory": _category(PREPAID, inputs.categories),
        "ChargeDescription": f"{words}, {statement.month}",
        "ChargeFrequency": "One-Time",
        "PricingQuantity": Decimal("1.0"),
        "PricingUnit": UNITS,
        "x_ChargeType": PREPAID,
    }
    return row


def _recoverable(named: tuple[str, str], amount: Decimal, inputs: FocusInputs) -> Row:
    """Tax that the tax office gives back: billed, and no cost to anybody."""
    invoice = inputs.document(*named)
    if invoice is None:
        message = f"recoverable tax of {' '.join(named)} has no invoice among those given. Fix: pass the invoice."
        raise PackError(message)
    row = _row(inputs.provider(invoice.provider), invoice.account, inputs.month, invoice.currency)
    row |= _charge_period(inputs.month, invoice.period)
    row |= _costs(invoice.currency, billed=amount, effective=Decimal(0))
    row |= {
        "InvoiceId": invoice.invoice_id,
        "ChargeCategory": _category(TAX, inputs.categories),
        "ChargeDescription": f"Recoverable tax, {inputs.month}",
        "ChargeFrequency": "One-Time",
        "x_ChargeType": RECOVERABLE_TAX,
    }
    return row


def _row(provider: FocusProvider, account: str, posted: BillingMonth, currency: str) -> Row:
    start, end = posted.utc_bounds()
    return {
        "ProviderName": provider.name,
        "PublisherName": provider.name,
        "InvoiceIssuerName": provider.name,
        "ServiceName": provider.service,
        "ServiceCategory": _SERVICE_CATEGORY,
        "ServiceSubcategory": _SERVICE_SUBCATEGORY,
        "BillingAccountId": account,
        "BillingAccountName": _ascii(f"{provider.name} {account}"),
        "BillingCurrency": currency,
        "BillingPeriodStart": moment_text(start),
        "BillingPeriodEnd": moment_text(end),
    }


def _charge_period(month: BillingMonth, billed: InvoicePeriod | None) -> Row:
    """The days charged: the month's, and of an invoice that begins or ends inside the month only those it bills."""
    first, end = month.first_day, month.next().first_day
    if billed is not None and month in billed.months():
        first, end = max(first, billed.start), min(end, billed.end)
    days = {"ChargePeriodStart": first, "ChargePeriodEnd": end}
    return {name: moment_text(dt.datetime.combine(day, dt.time(), dt.UTC)) for name, day in days.items()}


def _costs(currency: str, *, billed: Decimal, effective: Decimal) -> Row:
    """List and contracted cost are the billed one: FOCUS has it so where a row has no unit price, and no line has."""
    scaled = _scaled(billed, currency)
    return {
        "BilledCost": scaled,
        "EffectiveCost": _scaled(effective, currency),
        "ListCost": scaled,
        "ContractedCost": scaled,
    }


def _quantities(line: ChargebackLine, category: str, model: str | None, *, is_correction: bool) -> Row:
    """Tokens where the line counts them. Tax, credits, adjustments and corrections have no quantity."""
    if category not in {_USAGE, _PURCHASE} or is_correction:
        return {}
    if line.quantity_tokens is None or category != _USAGE or line.charge_type not in _COUNTS_TOKENS:
        return {"PricingQuantity": Decimal("1.0"), "PricingUnit": UNITS}
    return {
        "PricingQuantity": Decimal(line.quantity_tokens).scaleb(-6),
        "PricingUnit": MILLION_TOKENS,
        "ConsumedQuantity": Decimal(line.quantity_tokens),
        "ConsumedUnit": TOKENS,
        "SkuId": model or "",
        "SkuMeter": TOKENS if model else "",
    }


def _category(charge_type: str, categories: Mapping[str, str]) -> str:
    found = categories.get(charge_type)
    if found not in CATEGORIES:
        said = "no category" if found is None else f"the category {found!r}"
        message = (
            f"pack.focus_category_map of policy.yaml has {said} for the charge type {charge_type}. Fix: map it to one "
            f"of {', '.join(CATEGORIES)}."
        )
        raise PackError(message)
    return found


def _frequency(charge_type: str, category: str) -> str:
    if charge_type in _RECURRING:
        return "Recurring"
    return "Usage-Based" if category == _USAGE else "One-Time"


def _tags(line: ChargebackLine) -> str:
    """A JSON object in ASCII; the team's name stays out where it would not fit into a cell, which would be cut."""
    known = {
        "cost_center": line.cost_center,
        "legal_entity": line.legal_entity,
        "team_id": without_email(line.team_id),
        "team": without_email(line.team_alias),
        "use_case": without_email(line.use_case),
    }
    tags = {name: value for name, value in known.items() if value}
    text = json.dumps(tags, sort_keys=True, separators=(",", ":"))
    if len(text) > TEXT_LIMIT:
        text = json.dumps({name: value for name, value in tags.items() if name != "team"}, sort_keys=True)
    if len(text) > TEXT_LIMIT:
        message = f"the tags of {line.cost_center} take {len(text)} characters, and a cell holds {TEXT_LIMIT}. "
        message += "Fix: shorten the team_id in the proxy, or the code in directory/cost_centers.csv."
        raise PackError(message)
    return text


def _evidence(keys: Iterable[UnproxiedKey]) -> dict[tuple[str, str], str]:
    """The evidence levels of the keys that a cost center pays for, by (provider, cost center), such as 'E1;E2'."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in keys:
        for cost_center in key.owned_usd or (key.suggested_owner,):
            found[key.provider, cost_center].add(str(key.evidence))
    return {where: ";".join(sorted(levels)) for where, levels in found.items()}


def moment_text(moment: dt.datetime) -> str:
    """A UTC moment in FOCUS's form, '2026-10-01T00:00:00Z'."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _ascii(text: str) -> str:
    return (without_email(text) or "").encode("ascii", "replace").decode("ascii")


def _scaled(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-max(_LEAST_SCALE, minor_unit_scale(currency))))
