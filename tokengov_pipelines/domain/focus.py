"""The columns of a cloud's bill: FOCUS 1.0 to 1.4 and AWS's Cost and Usage Report, through one map.

Belongs here: the column maps, how a bill is told by its header, and the grammar of its values. Does not belong here:
files and SQL (`resources.cloud_bill_files`), what a row says (`cloud_charge`), what a meter means (`cloud_meters`).

Text becomes a number only as an exact decimal (rule 1.2). What cannot be read is refused with a reason, never repaired.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain import cells, money
from tokengov_pipelines.domain.money import MoneyError

Cells = Mapping[str, str | None]
"""A row's text by our column names; None where the bill has no such column or no value."""

FOCUS_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "billed": ("BilledCost",),
    "list": ("ListCost",),
    "contracted": ("ContractedCost",),
    "effective": ("EffectiveCost",),
    "currency": ("BillingCurrency",),
    "period_start": ("BillingPeriodStart",),
    "period_end": ("BillingPeriodEnd",),
    "charge_start": ("ChargePeriodStart",),
    "account": ("BillingAccountId",),
    "sub_account": ("SubAccountId",),
    "invoice_id": ("InvoiceId", "x_InvoiceId"),
    "issuer": ("InvoiceIssuerName",),
    "category": ("ChargeCategory",),
    "charge_class": ("ChargeClass",),
    "service_provider": ("ServiceProviderName", "ProviderName"),  # 1.3 renamed both, 1.4 dropped the old names
    "host_provider": ("HostProviderName", "PublisherName"),
    "service": ("ServiceName",),
    "service_code": ("x_ServiceCode",),
    "meter": ("SkuMeter", "x_UsageType", "x_SkuMeterName"),  # AWS had x_UsageType before SkuMeter (1.1)
    "meter_group": ("x_SkuMeterSubcategory",),
    "description": ("x_SkuDescription", "ChargeDescription"),
    "region": ("RegionId",),
    "resource": ("ResourceId",),
    "consumed_quantity": ("ConsumedQuantity",),
    "consumed_unit": ("ConsumedUnit",),
    "pricing_quantity": ("PricingQuantity",),
    "pricing_unit": ("PricingUnit",),
    "list_unit_price": ("ListUnitPrice",),
    "principal": (),  # no FOCUS export is known to carry the caller
}
"""Our column <- the bill's columns, the first that is there and has a value."""

CUR_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "billed": ("line_item_unblended_cost",),
    "list": ("pricing_public_on_demand_cost",),
    "contracted": ("line_item_net_unblended_cost",),
    "effective": (),
    "currency": ("line_item_currency_code",),
    "period_start": ("bill_billing_period_start_date",),
    "period_end": ("bill_billing_period_end_date",),
    "charge_start": ("line_item_usage_start_date",),
    "account": ("bill_payer_account_id",),
    "sub_account": ("line_item_usage_account_id",),
    "invoice_id": ("bill_invoice_id",),
    "issuer": ("bill_invoicing_entity",),
    "category": ("line_item_line_item_type",),
    "charge_class": (),
    "service_provider": (),
    "host_provider": (),
    "service": ("product_product_name", "product[product_name]", "line_item_product_code"),
    "service_code": ("line_item_product_code", "product_servicecode"),
    "meter": ("line_item_usage_type",),
    "meter_group": (),
    "description": ("line_item_line_item_description",),
    "region": ("product_region_code", "product_region"),
    "resource": ("line_item_resource_id",),
    "consumed_quantity": (),
    "consumed_unit": (),
    "pricing_quantity": ("line_item_usage_amount",),
    "pricing_unit": ("pricing_unit",),
    "list_unit_price": (),  # the rate of the row is unblended, which is not list
    "principal": ("line_item_iam_principal",),
}
"""The same for CUR 2.0; the headings of the older CUR are brought to this form first (`cur_heading`)."""

COLUMNS: Final = tuple(FOCUS_COLUMNS)
_NEEDED: Final = ("billed", "currency", "period_start", "charge_start", "account", "category", "service")

_INTRODUCED: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("1.4", frozenset({"invoicedetailid", "commitmentprogrameligibilitydetails"})),
    ("1.3", frozenset({"serviceprovidername", "hostprovidername", "allocatedmethodid", "contractapplied"})),
    ("1.2", frozenset({"invoiceid", "billingaccounttype", "subaccounttype", "pricingcurrency"})),
    ("1.1", frozenset({"skumeter", "skupricedetails", "servicesubcategory", "capacityreservationid"})),
)
"""Columns by the FOCUS version that brought them, newest first, in lower case."""


class Reason(StrEnum):
    """Why a row is quarantined."""

    MISSING_VALUE = "missing_value"
    UNREADABLE_NUMBER = "unreadable_number"
    UNREADABLE_TIME = "unreadable_time"
    UNKNOWN_CURRENCY = "unknown_currency"
    UNKNOWN_CATEGORY = "unknown_category"
    NEGATIVE_TOKENS = "negative_tokens"
    UNITS_DISAGREE = "units_disagree"
    COST_IS_NOT_PRICE_TIMES_QUANTITY = "cost_is_not_price_times_quantity"


class RefusedRow(ValueError):  # noqa: N818 - the row is refused; its bill goes on
    """A row that cannot be read: the reason, our column, and the text as a message may show it."""

    def __init__(self, reason: Reason, column: str, shown: str) -> None:
        super().__init__(f"{reason.value.replace('_', ' ')}: {column} is {shown}")
        self.reason = reason
        self.column = column


@dataclass(frozen=True)
class BillForm:
    """How a bill is read: `version` in words ('focus-1.2', 'cur-2.0'), our columns to the columns that are there."""

    version: str
    columns: Mapping[str, tuple[str, ...]]
    has_principal_column: bool

    @property
    def is_cur(self) -> bool:
        """Whether it is AWS's own report."""
        return self.version.startswith("cur")


def cur_heading(name: str) -> str:
    """A heading of the older CUR as CUR 2.0 writes it: 'lineItem/UsageType' is 'line_item_usage_type'."""
    group, slash, rest = name.partition("/")
    if not slash or group in {"resourceTags", "costCategory"}:
        return name
    return f"{_snake(group)}_{_snake(rest)}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def bill_form(header: Iterable[str]) -> tuple[BillForm | None, list[str]]:
    """The form of a bill with these headings (any order and case, more than we know), or the columns that it lacks.

    CUR 2.0 keeps the product's name inside the column `product`, which is asked for as 'product[product_name]'. The
    version of a FOCUS bill is the newest whose columns it has: no bill states its own.
    """
    names = {name.lower(): name for name in header}
    is_older_cur = any("/" in name for name in names)
    is_cur = is_older_cur or "line_item_unblended_cost" in names
    if is_older_cur:
        names = {cur_heading(name): name for name in names.values()}
    if "product" in names:
        names["product[product_name]"] = f"{names['product']}[product_name]"
    wanted = CUR_COLUMNS if is_cur else FOCUS_COLUMNS
    columns = {
        ours: tuple(names[theirs.lower()] for theirs in of if theirs.lower() in names) for ours, of in wanted.items()
    }
    lacking = [" or ".join(wanted[ours]) for ours in _NEEDED if not columns[ours]]
    if lacking:
        return None, lacking
    version = "cur-1.0" if is_older_cur else "cur-2.0" if is_cur else f"focus-{_focus_version(set(names))}"
    return BillForm(version, columns, bool(columns["principal"])), []


def _focus_version(names: set[str]) -> str:
    if "serviceprovidername" in names and "providername" not in names:
        return "1.4"
    return next((version for version, brought in _INTRODUCED if brought & names), "1.0")


# --- one value -------------------------------------------------------------------------------------------------------


def amount_of(column: str, text: str | None) -> Decimal:
    """An exact number, blanks around it passed over; a currency sign or thousands separator is not read (FOCUS)."""
    if text is None:
        raise RefusedRow(Reason.MISSING_VALUE, column, "empty")
    try:
        return money.usd(text.strip())
    except MoneyError:
        raise RefusedRow(Reason.UNREADABLE_NUMBER, column, cells.shown(text)) from None


_TIME: Final = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})([T ](?P<time>\d{2}:\d{2})(?P<seconds>:\d{2})?(\.\d{1,9})?\s?"
    r"(?P<zone>Z|UTC|[+-]\d{2}(:?\d{2})?)?)?",
    re.ASCII,
)


def moment_of(column: str, text: str | None) -> dt.datetime:
    """A moment in UTC, to the second: ISO with T or blank, with or without seconds and zone (none is UTC: FOCUS).

    Dates of another order ('4/1/25') are refused: nobody can tell the day from the month.
    """
    if text is None:
        raise RefusedRow(Reason.MISSING_VALUE, column, "empty")
    match = _TIME.fullmatch(text.strip())
    if match is not None:
        zone = (match["zone"] or "Z").replace("UTC", "Z")
        zone = f"{zone}:00" if len(zone) == 3 else zone
        iso = f"{match['day']}T{match['time'] or '00:00'}{match['seconds'] or ':00'}{zone.replace('Z', '+00:00')}"
        try:
            return dt.datetime.fromisoformat(iso).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            pass
    raise RefusedRow(Reason.UNREADABLE_TIME, column, cells.shown(text))


def currency_of(text: str | None) -> str:
    """An ISO 4217 code; amounts of two of them are never added."""
    if text is None:
        raise RefusedRow(Reason.MISSING_VALUE, "currency", "empty")
    try:
        return cells.currency(text.strip())
    except cells.CellError:
        raise RefusedRow(Reason.UNKNOWN_CURRENCY, "currency", cells.shown(text)) from None


def period_of(text: str | None) -> str:
    """The billing period's name: the month in which it starts, 'YYYY-MM'."""
    return f"{moment_of('period_start', text):%Y-%m}"
