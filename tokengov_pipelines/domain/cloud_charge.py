"""A line of an AI service on a cloud's bill: one row's text, of whatever form the bill has, as a charge.

Belongs here: the shape of a charge, the reading of a row, and the checks that tell a wrong unit from a price. Does not
belong here: columns and values (`focus`), what a meter means (`cloud_meters`), what charges are to the match
(`cloud_legs`).
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cloud_meters import AWS, Meter, read_meter, tokens_per_unit
from tokengov_pipelines.domain.focus import BillForm, Cells, Reason, RefusedRow, amount_of, currency_of, moment_of
from tokengov_pipelines.domain.money import exact_product

CUR_CATEGORIES: Final[Mapping[str, str]] = {
    "Usage": "Usage",
    "DiscountedUsage": "Usage",
    "SavingsPlanCoveredUsage": "Usage",
    "Fee": "Purchase",
    "RIFee": "Purchase",
    "SavingsPlanUpfrontFee": "Purchase",
    "SavingsPlanRecurringFee": "Purchase",
    "Tax": "Tax",
    "Credit": "Credit",
    "Discount": "Credit",
    "EdpDiscount": "Credit",
    "BundledDiscount": "Credit",
    "PrivateRateDiscount": "Credit",
    "SppDiscount": "Credit",
    "RiVolumeDiscount": "Credit",
    "SavingsPlanNegation": "Adjustment",
    "Refund": "Adjustment",
}
"""FOCUS's word for every line type of a CUR."""

CATEGORIES: Final = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
CORRECTION: Final = "Correction"
_WRONG_UNIT_FACTOR: Final = 10


@dataclass(frozen=True)
class Origin:
    """Where a row was read: `source` is the folder's name, `record_no` counts the file's rows from 1."""

    source: str
    source_file: str
    content_sha256: str
    record_no: int


@dataclass(frozen=True)
class Charge:
    """A line of an AI service on a cloud's bill. Amounts are exact, in `currency`; `tokens` None where not known."""

    source: str
    billing_period: str
    billing_period_start_date: dt.date
    billing_period_end_date: dt.date | None
    usage_date: dt.date
    provider: str
    account: str
    sub_account: str | None
    invoice_id: str | None
    invoice_issuer: str | None
    charge_category: str
    charge_class: str | None
    service_name: str
    sku_meter: str | None
    model: str | None
    token_type: str | None
    tier: str | None
    routing: str | None
    region: str | None
    quantity: Decimal | None
    unit: str | None
    tokens: int | None
    billed_amount: Decimal
    list_amount: Decimal | None
    contracted_amount: Decimal | None
    effective_amount: Decimal | None
    currency: str
    principal: str | None
    has_principal_column: bool
    resource_id: str | None
    export_version: str
    source_file: str
    record_no: int
    content_sha256: str


def read_charge(
    row: Cells, form: BillForm, provider: str, origin: Origin, token_units: Mapping[str, int] | None = None
) -> Charge:
    """A row of an AI service as a charge.

    Raises:
        RefusedRow: a value cannot be read, tokens are negative outside a correction, or units contradict each other.
    """
    category = _category(form, row["category"])
    service, meter = row["service"] or "", row["meter"]
    read = read_meter(provider, service, meter, row["description"]) if category == "Usage" else Meter()
    billed = amount_of("billed", row["billed"])
    list_amount = _optional("list", row["list"])
    quantity, unit, tokens = _quantity(row, read, token_units or {})
    if tokens is not None and tokens < 0 and billed >= 0 and row["charge_class"] != CORRECTION:
        raise RefusedRow(Reason.NEGATIVE_TOKENS, "quantity", str(quantity))
    _check_arithmetic(row, list_amount)
    start = moment_of("period_start", row["period_start"])
    end = moment_of("period_end", row["period_end"]) if row["period_end"] else None
    return Charge(
        source=origin.source,
        billing_period=f"{start:%Y-%m}",
        billing_period_start_date=start.date(),
        billing_period_end_date=end.date() if end else None,
        usage_date=moment_of("charge_start", row["charge_start"]).date(),
        provider=provider,
        account=_present("account", row["account"]),
        sub_account=row["sub_account"],
        invoice_id=row["invoice_id"],
        invoice_issuer=row["issuer"],
        charge_category=category,
        charge_class=row["charge_class"],
        service_name=service,
        sku_meter=meter or row["description"],
        model=read.model,
        token_type=read.token_type,
        tier=read.tier,
        routing=read.routing,
        region=row["region"],
        quantity=quantity,
        unit=unit,
        tokens=tokens,
        billed_amount=billed,
        list_amount=list_amount,
        contracted_amount=_optional("contracted", row["contracted"]),
        effective_amount=_optional("effective", row["effective"]),
        currency=currency_of(row["currency"]),
        principal=principal_of(row["principal"]),
        has_principal_column=form.has_principal_column,
        resource_id=row["resource"] if provider != AWS else None,
        export_version=form.version,
        source_file=origin.source_file,
        record_no=origin.record_no,
        content_sha256=origin.content_sha256,
    )


def principal_of(arn: str | None) -> str | None:
    """The caller without its session: of an assumed role the role, which is what a registry can name.

    'arn:aws:sts::1:assumed-role/Proxy/i-0abc' is 'arn:aws:sts::1:assumed-role/Proxy'. The session of a single sign-on
    is a person's e-mail, which a table for finance does not hold (rule 12.7); nor does it a user's name with an @.
    """
    if arn is None:
        return None
    head, slash, rest = arn.partition(":assumed-role/")
    if slash:
        return f"{head}{slash}{rest.split('/', 1)[0]}"
    return re.sub(r"[^/:]+@[^/:]+", "(e-mail)", arn)


def _present(column: str, text: str | None) -> str:
    if text is None:
        raise RefusedRow(Reason.MISSING_VALUE, column, "empty")
    return text


def _optional(column: str, text: str | None) -> Decimal | None:
    return None if text is None else amount_of(column, text)


def _category(form: BillForm, text: str | None) -> str:
    category = CUR_CATEGORIES.get(text or "") if form.is_cur else text
    if category not in CATEGORIES:
        raise RefusedRow(Reason.UNKNOWN_CATEGORY, "category", cells.shown(text))
    return str(category)


def _quantity(row: Cells, read: Meter, stated: Mapping[str, int]) -> tuple[Decimal | None, str | None, int | None]:
    """Quantity and unit as billed, and the tokens they are: the consumed ones, else the priced ones.

    Where both are in tokens they have to be the same number, or one of the units is wrong.
    """
    consumed = _optional("consumed_quantity", row["consumed_quantity"])
    priced = _optional("pricing_quantity", row["pricing_quantity"])
    pairs = [(consumed, row["consumed_unit"]), (priced, row["pricing_unit"])]
    known = [(quantity, unit) for quantity, unit in pairs if quantity is not None]
    counted = [
        (quantity, unit, exact_product(quantity, factor))
        for quantity, unit in known
        if read.token_type and (factor := tokens_per_unit(unit, stated)) is not None
    ]
    if len(counted) == 2 and abs(counted[0][2] - counted[1][2]) > 1:
        shown = f"{counted[0][0]} {counted[0][1]} consumed and {counted[1][0]} {counted[1][1]} priced"
        raise RefusedRow(Reason.UNITS_DISAGREE, "quantity", shown)
    if counted:
        quantity, unit, tokens = counted[0]
        return quantity, unit, int(tokens) if tokens == int(tokens) else None
    return (*(known[0] if known else (None, None)), None)


def _check_arithmetic(row: Cells, list_amount: Decimal | None) -> None:
    """List cost is list unit price x pricing quantity; ten times more or less is a wrong unit, not a rounding."""
    price = _optional("list_unit_price", row["list_unit_price"])
    quantity = _optional("pricing_quantity", row["pricing_quantity"])
    if not price or not quantity or not list_amount:
        return
    product = abs(exact_product(price, quantity))
    if not abs(list_amount) < product * _WRONG_UNIT_FACTOR or not product < abs(list_amount) * _WRONG_UNIT_FACTOR:
        shown = f"{list_amount}, with {quantity} x {price}"
        raise RefusedRow(Reason.COST_IS_NOT_PRICE_TIMES_QUANTITY, "list", shown)
