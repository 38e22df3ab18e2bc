"""A bill's row as a charge: exact money, tokens in tokens, and what is wrong by name."""

import datetime as dt
from decimal import Decimal

import pytest

from tests.cloud_bill_fixture import AZURE, CUR_2, FOCUS_1_2, VERSIONS, VERTEX, charge_of, without
from tokengov_pipelines.domain.cloud_charge import CUR_CATEGORIES, principal_of
from tokengov_pipelines.domain.cloud_meters import is_ai_service
from tokengov_pipelines.domain.focus import Reason, RefusedRow


def reason(row: dict[str, str], **changes: str) -> Reason:
    with pytest.raises(RefusedRow) as caught:
        charge_of(row, **changes)
    return caught.value.reason


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_charge(version):
    charge = charge_of(VERSIONS[version])
    assert (charge.provider, charge.account, charge.sub_account) == ("aws", "111122223333", "444455556666")
    assert (charge.billing_period, charge.usage_date) == ("2026-10", dt.date(2026, 10, 5))
    assert (charge.model, charge.token_type, charge.tier) == ("Claude4.6Sonnet", "uncached_input", "standard")
    assert (charge.quantity, charge.unit, charge.tokens) == (Decimal("100"), "1K tokens", 100_000)
    assert (charge.billed_amount, charge.list_amount) == (Decimal("0.30"), Decimal("0.30"))
    assert (charge.contracted_amount, charge.effective_amount) == (Decimal("0.27"), Decimal("0.27"))
    assert (charge.currency, charge.region) == ("USD", "us-east-1")
    assert charge.invoice_id == ("INV-1" if version >= "1.2" else None)
    assert charge.export_version == f"focus-{version}"
    assert (charge.principal, charge.has_principal_column, charge.resource_id) == (None, False, None)
    assert (charge.source, charge.source_file, charge.record_no) == ("aws", "aws/a.csv", 7)


def test_a_line_of_the_cost_and_usage_report_names_its_caller():
    charge = charge_of(CUR_2)
    assert (charge.service_name, charge.usage_date) == ("AmazonBedrock", dt.date(2026, 10, 5))
    assert (charge.charge_category, charge.tokens) == ("Usage", 100_000)
    assert (charge.billed_amount, charge.list_amount, charge.contracted_amount) == (
        Decimal("0.30"),
        Decimal("0.30"),
        Decimal("0.27"),
    )
    assert charge.principal == "arn:aws:sts::444455556666:assumed-role/LiteLLM"
    assert (charge.has_principal_column, charge.export_version) == (True, "cur-2.0")


def test_every_line_type_of_the_report_has_a_category():
    assert set(CUR_CATEGORIES.values()) == {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
    assert charge_of(CUR_2, line_item_line_item_type="EdpDiscount").charge_category == "Credit"
    assert charge_of(CUR_2, line_item_line_item_type="Tax").token_type is None
    assert reason(CUR_2, line_item_line_item_type="Gift") == Reason.UNKNOWN_CATEGORY


@pytest.mark.parametrize(
    ("arn", "kept"),
    [
        ("arn:aws:sts::1:assumed-role/LiteLLM/i-0abc", "arn:aws:sts::1:assumed-role/LiteLLM"),
        (
            "arn:aws:sts::1:assumed-role/AWSReservedSSO_Dev_9f/ann@example.com",
            "arn:aws:sts::1:assumed-role/AWSReservedSSO_Dev_9f",
        ),
        ("arn:aws:iam::1:user/alice", "arn:aws:iam::1:user/alice"),
        ("arn:aws:iam::1:user/staff/ann@example.com", "arn:aws:iam::1:user/staff/(e-mail)"),
        ("arn:aws:iam::1:root", "arn:aws:iam::1:root"),
        (None, None),
    ],
)
def test_a_caller_is_kept_without_its_session_and_without_an_e_mail(arn, kept):
    assert principal_of(arn) == kept


def test_vertex_is_decided_by_project_and_azure_by_resource():
    vertex, azure = charge_of(VERTEX), charge_of(AZURE)
    assert (vertex.provider, vertex.sub_account, vertex.tokens) == ("google", "ml-prod-7", 100_000)
    assert (vertex.model, vertex.sku_meter) == ("Gemini 2.5 Flash GA", "Gemini 2.5 Flash GA Text Input - Predictions")
    assert (azure.provider, azure.token_type, azure.routing) == ("azure", "cache_read", "global")
    assert azure.resource_id.endswith("/accounts/oai-prod")
    assert is_ai_service("azure", azure.service_name, "", "Azure OpenAI")


def test_an_event_late_in_another_zone_is_on_its_utc_day():
    assert charge_of(FOCUS_1_2, ChargePeriodStart="2026-10-05T23:30:00-02:00").usage_date == dt.date(2026, 10, 6)


def test_consumed_units_come_before_priced_ones():
    charge = charge_of(FOCUS_1_2, ConsumedQuantity="100000", ConsumedUnit="Tokens")
    assert (charge.quantity, charge.unit, charge.tokens) == (Decimal("100000"), "Tokens", 100_000)


def test_a_unit_that_does_not_say_gives_no_tokens_until_somebody_does():
    edition = {
        "ServiceName": "Claude Sonnet 4.6 (Amazon Bedrock Edition)",
        "SkuMeter": "USE1-MP:USE1_InputTokenCount-Units",
        "ConsumedQuantity": "0.1",
        "ConsumedUnit": "Units",
        "PricingQuantity": "0.1",
        "PricingUnit": "Units",
        "ListUnitPrice": "3",
    }
    unknown = charge_of(FOCUS_1_2, **edition)
    assert (unknown.token_type, unknown.quantity, unknown.tokens) == ("uncached_input", Decimal("0.1"), None)
    assert unknown.billed_amount == Decimal("0.30")
    assert charge_of(FOCUS_1_2, units={"units": 1_000_000}, **edition).tokens == 100_000


def test_a_fraction_of_a_token_is_no_count():
    changed = {"ConsumedQuantity": "0.0004", "PricingQuantity": "0.0004", "ListUnitPrice": ""}
    assert charge_of(FOCUS_1_2, **changed).tokens is None


def test_virtual_currency_leaves_the_money_in_the_billed_cost():
    credits = {
        "PricingCurrency": "CCU",
        "PricingCurrencyEffectiveCost": "245",
        "PricingCurrencyListUnitPrice": "1",
        "BilledCost": "0.00",
        "EffectiveCost": "490.00",
        "ListUnitPrice": "",
    }
    charge = charge_of(AZURE, **credits)
    assert (charge.billed_amount, charge.effective_amount, charge.currency) == (
        Decimal("0.00"),
        Decimal("490.00"),
        "USD",
    )


def test_another_currency_keeps_its_own():
    assert charge_of(FOCUS_1_2, BillingCurrency="EUR").currency == "EUR"


def test_a_correction_may_be_negative():
    back = {"ConsumedQuantity": "-100", "PricingQuantity": "-100", "BilledCost": "-0.30", "ListCost": "-0.30"}
    charge = charge_of(FOCUS_1_2, ChargeClass="Correction", **back)
    assert (charge.tokens, charge.billed_amount, charge.charge_class) == (-100_000, Decimal("-0.30"), "Correction")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"BilledCost": "=0.30"}, Reason.UNREADABLE_NUMBER),
        ({"BilledCost": ""}, Reason.MISSING_VALUE),
        ({"BillingCurrency": "CCU"}, Reason.UNKNOWN_CURRENCY),
        ({"ChargePeriodStart": "10/5/26"}, Reason.UNREADABLE_TIME),
        ({"ChargeCategory": "Gift"}, Reason.UNKNOWN_CATEGORY),
        ({"BillingAccountId": ""}, Reason.MISSING_VALUE),
        ({"ConsumedQuantity": "-100", "PricingQuantity": "-100"}, Reason.NEGATIVE_TOKENS),
        ({"ConsumedUnit": "1M tokens"}, Reason.UNITS_DISAGREE),
        ({"ListCost": "30.00"}, Reason.COST_IS_NOT_PRICE_TIMES_QUANTITY),
        ({"ListUnitPrice": "0.3"}, Reason.COST_IS_NOT_PRICE_TIMES_QUANTITY),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_by_name(changes, expected):
    assert reason(FOCUS_1_2, **changes) == expected


def test_a_rounded_list_cost_is_no_wrong_unit():
    assert charge_of(FOCUS_1_2, ListCost="0.299999").list_amount == Decimal("0.299999")


def test_a_row_without_quantities_is_still_a_charge():
    tax = without(FOCUS_1_2, "ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit")
    charge = charge_of(tax, ChargeCategory="Tax")
    assert (charge.charge_category, charge.quantity, charge.unit, charge.tokens) == ("Tax", None, None, None)
