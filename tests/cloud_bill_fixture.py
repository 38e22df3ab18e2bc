"""Cloud bills as their exports write them: small ones, in every version, that a test changes where it wants."""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokengov_pipelines.domain.cloud_charge import Charge, Origin, read_charge
from tokengov_pipelines.domain.cloud_meters import AWS, provider_of
from tokengov_pipelines.domain.focus import COLUMNS, bill_form

Row = Mapping[str, str]

FOCUS_1_0 = {
    "BilledCost": "0.30",
    "BillingAccountId": "111122223333",
    "BillingAccountName": "Payer",
    "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-11-01T00:00:00Z",
    "BillingPeriodStart": "2026-10-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "$0.003 per 1K input tokens",
    "ChargePeriodEnd": "2026-10-05T01:00:00Z",
    "ChargePeriodStart": "2026-10-05T00:00:00Z",
    "ConsumedQuantity": "100",
    "ConsumedUnit": "1K tokens",
    "ContractedCost": "0.27",
    "EffectiveCost": "0.27",
    "InvoiceIssuerName": "Amazon Web Services, Inc.",
    "ListCost": "0.30",
    "ListUnitPrice": "0.003",
    "PricingQuantity": "100",
    "PricingUnit": "1K tokens",
    "ProviderName": "AWS",
    "PublisherName": "Amazon Web Services, Inc.",
    "RegionId": "us-east-1",
    "ResourceId": "arn:aws:bedrock:us-east-1:444455556666:inference-profile/x",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Amazon Bedrock",
    "SkuId": "SKU1",
    "SubAccountId": "444455556666",
    "Tags": '{"team": "payments"}',
    "x_ServiceCode": "AmazonBedrock",
    "x_UsageType": "USE1-Claude4.6Sonnet-input-tokens",
}
"""A line of Amazon Bedrock, FOCUS 1.0: 100,000 input tokens for 0.30 dollars."""


def without(row: Row, *columns: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in columns}


def _meter(row: Row) -> dict[str, str]:
    """SkuMeter in the place of x_UsageType, as AWS writes it since FOCUS 1.2."""
    return without(row, "x_UsageType") | {"SkuMeter": row["x_UsageType"]}


FOCUS_1_1 = _meter(FOCUS_1_0) | {"ServiceSubcategory": "Generative AI", "CapacityReservationId": "NULL"}
FOCUS_1_2 = FOCUS_1_1 | {"InvoiceId": "INV-1", "BillingAccountType": "Payer", "PricingCurrency": "USD"}
FOCUS_1_3 = FOCUS_1_2 | {
    "ServiceProviderName": "AWS",
    "HostProviderName": "AWS",
    "AllocatedMethodId": "",
    "ContractApplied": "",
}
FOCUS_1_4 = without(FOCUS_1_3, "ProviderName", "PublisherName") | {"InvoiceDetailId": "INV-1-7"}
VERSIONS = {"1.0": FOCUS_1_0, "1.1": FOCUS_1_1, "1.2": FOCUS_1_2, "1.3": FOCUS_1_3, "1.4": FOCUS_1_4}

BEDROCK_TOKENS = {
    "USE1-Claude4.6Sonnet-input-tokens": ("100", "0.30"),
    "USE1-Claude4.6Sonnet-output-tokens": ("20", "0.30"),
    "USE1-Claude4.6Sonnet-cache-read-input-token-count": ("1000", "0.30"),
    "USE1-Claude4.6Sonnet-cache-write-input-token-count": ("40", "0.15"),
}
"""Usage type -> thousands of tokens and dollars: 1.05 in all, of which input and output are 0.60."""


def bedrock(row: Row = FOCUS_1_2, **changes: str) -> list[dict[str, str]]:
    """The four lines of a Bedrock hour, and one of storage that is no AI: 0.25 dollars."""
    meter = "SkuMeter" if "SkuMeter" in row else "x_UsageType"
    lines = [
        {
            **row,
            meter: usage_type,
            "ConsumedQuantity": quantity,
            "PricingQuantity": quantity,
            "BilledCost": cost,
            "ListCost": cost,
            "ListUnitPrice": "",
            **changes,
        }
        for usage_type, (quantity, cost) in BEDROCK_TOKENS.items()
    ]
    storage = {
        "ServiceName": "Amazon Simple Storage Service",
        "x_ServiceCode": "AmazonS3",
        meter: "TimedStorage-ByteHrs",
        "ConsumedUnit": "GB-Mo",
        "PricingUnit": "GB-Mo",
        "BilledCost": "0.25",
        "ListCost": "0.25",
        "ListUnitPrice": "",
        "ServiceCategory": "Storage",
    }
    return [*lines, {**row, **storage, **changes}]


CUR_2 = {
    "bill_bill_type": "Anniversary",
    "bill_billing_entity": "AWS",
    "bill_billing_period_start_date": "2026-10-01T00:00:00.000Z",
    "bill_billing_period_end_date": "2026-11-01T00:00:00.000Z",
    "bill_invoice_id": "",
    "bill_invoicing_entity": "Amazon Web Services, Inc.",
    "bill_payer_account_id": "111122223333",
    "identity_line_item_id": "id-1",
    "line_item_currency_code": "USD",
    "line_item_line_item_description": "AWS Bedrock input tokens",
    "line_item_line_item_type": "Usage",
    "line_item_net_unblended_cost": "0.27",
    "line_item_operation": "InvokeModelInference",
    "line_item_product_code": "AmazonBedrock",
    "line_item_unblended_cost": "0.30",
    "line_item_unblended_rate": "0.003",
    "line_item_usage_account_id": "444455556666",
    "line_item_usage_amount": "100",
    "line_item_usage_start_date": "2026-10-05T23:30:00.000Z",
    "line_item_usage_type": "USE1-Claude4.6Sonnet-input-tokens",
    "line_item_iam_principal": "arn:aws:sts::444455556666:assumed-role/LiteLLM/i-0abc",
    "pricing_public_on_demand_cost": "0.30",
    "pricing_unit": "1K tokens",
    "product": '{"product_name": "Amazon Bedrock", "region": "US East"}',
    "product_region_code": "us-east-1",
    "tags": '{"iamPrincipal/project": "payments"}',
}
"""The same line as AWS's Cost and Usage Report 2.0 has it, with its caller."""

VERTEX = without(FOCUS_1_0, "x_UsageType", "x_ServiceCode") | {
    "BillingAccountId": "01AB-CD",
    "ChargeDescription": "Gemini 2.5 Flash GA Text Input - Predictions",
    "InvoiceIssuerName": "Google Cloud EMEA Limited",
    "ProviderName": "Google Cloud",
    "PublisherName": "Google Cloud",
    "ServiceName": "Vertex AI",
    "SubAccountId": "ml-prod-7",
    "ConsumedQuantity": "100000",
    "ConsumedUnit": "Tokens",
    "PricingQuantity": "0.1",
    "PricingUnit": "1000000 Tokens",
    "ListUnitPrice": "3",
    "RegionId": "global",
    "ResourceId": "",
}
AZURE = without(FOCUS_1_2, "x_ServiceCode") | {
    "BillingAccountId": "/providers/Microsoft.Billing/billingAccounts/77",
    "ChargeDescription": "Azure OpenAI",
    "InvoiceIssuerName": "Microsoft",
    "ProviderName": "Microsoft",
    "PublisherName": "Microsoft",
    "ServiceName": "Cognitive Services",
    "SkuMeter": "gpt 4.1 cached Inp glbl Tokens",
    "x_SkuMeterSubcategory": "Azure OpenAI",
    "SubAccountId": "/subscriptions/9",
    "ResourceId": "/subscriptions/9/resourcegroups/ai/providers/microsoft.cognitiveservices/accounts/oai-prod",
    "ChargePeriodStart": "2026-10-05T00:00Z",
    "RegionId": "swedencentral",
}


def as_csv(rows: Iterable[Row], *, bom: bool = False) -> bytes:
    listed = list(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue().encode("utf-8-sig" if bom else "utf-8")


def put(folder: Path, name: str, rows: Iterable[Row]) -> Path:
    """Write a bill as CSV, zipped where the name says so."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = as_csv(rows)
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def charge_of(row: Row, units: Mapping[str, int] | None = None, **changes: str) -> Charge:
    """A row as the reader asks for it: of every column the first name that is there and has a value."""
    changed = {**row, **changes}
    form, lacking = bill_form(changed)
    assert form is not None, lacking
    columns = {ours: [name for name in theirs if "[" not in name] for ours, theirs in form.columns.items()}
    cells = {ours: next((changed[name] for name in columns[ours] if changed[name]), None) for ours in COLUMNS}
    provider = AWS if form.is_cur else provider_of(cells["service_provider"], cells["host_provider"], cells["issuer"])
    return read_charge(cells, form, provider or "", Origin("aws", "aws/a.csv", "0" * 64, 7), units)
