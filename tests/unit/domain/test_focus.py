"""The columns of cloud bills: every version through one map, and the grammar of their values."""

import datetime as dt
from decimal import Decimal

import pytest

from tests.cloud_bill_fixture import AZURE, CUR_2, VERSIONS, VERTEX, without
from tokengov_pipelines.domain.focus import (
    COLUMNS,
    CUR_COLUMNS,
    Reason,
    RefusedRow,
    amount_of,
    bill_form,
    cur_heading,
    currency_of,
    moment_of,
    period_of,
)

DATED = dt.datetime(2026, 10, 5, 22, 0, tzinfo=dt.UTC)


def refusal(call, *arguments) -> Reason:
    with pytest.raises(RefusedRow) as caught:
        call(*arguments)
    return caught.value.reason


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_told_by_its_columns(version):
    form, lacking = bill_form(VERSIONS[version])
    assert (form.version, lacking, form.is_cur) == (f"focus-{version}", [], False)


def test_both_maps_fill_the_same_columns():
    assert tuple(CUR_COLUMNS) == COLUMNS


def test_the_new_name_of_a_provider_comes_before_the_old_one():
    form, _ = bill_form(VERSIONS["1.3"])
    assert form.columns["service_provider"] == ("ServiceProviderName", "ProviderName")
    assert form.columns["host_provider"] == ("HostProviderName", "PublisherName")
    assert bill_form(VERSIONS["1.4"])[0].columns["service_provider"] == ("ServiceProviderName",)


def test_the_usage_type_of_older_aws_bills_is_the_meter():
    assert bill_form(VERSIONS["1.0"])[0].columns["meter"] == ("x_UsageType",)
    assert bill_form(VERSIONS["1.2"])[0].columns["meter"] == ("SkuMeter",)


def test_order_case_and_unknown_columns_do_not_matter():
    header = [*reversed(list(VERSIONS["1.2"])), "Id"]
    form, _ = bill_form([name.lower() for name in header])
    assert (form.version, form.columns["billed"]) == ("focus-1.2", ("billedcost",))


def test_a_cost_and_usage_report_is_told_in_both_spellings():
    assert bill_form(CUR_2)[0].version == "cur-2.0"
    older = [
        "bill/PayerAccountId",
        "bill/BillingPeriodStartDate",
        "lineItem/LineItemType",
        "lineItem/UsageStartDate",
        "lineItem/ProductCode",
        "lineItem/UnblendedCost",
        "lineItem/CurrencyCode",
        "lineItem/UsageType",
        "product/ProductName",
        "resourceTags/user:Name",
    ]
    form, lacking = bill_form(older)
    assert (form.version, lacking) == ("cur-1.0", [])
    assert form.columns["service"] == ("product/ProductName", "lineItem/ProductCode")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lineItem/UsageType", "line_item_usage_type"),
        ("lineItem/LineItemDescription", "line_item_line_item_description"),
        ("bill/BillingPeriodStartDate", "bill_billing_period_start_date"),
        ("pricing/publicOnDemandCost", "pricing_public_on_demand_cost"),
        ("resourceTags/user:Team", "resourceTags/user:Team"),
        ("line_item_usage_type", "line_item_usage_type"),
    ],
)
def test_older_headings_are_written_as_the_newer_ones(theirs, ours):
    assert cur_heading(theirs) == ours


def test_callers_are_there_only_where_the_export_was_told_to_show_them():
    assert bill_form(CUR_2)[0].has_principal_column is True
    assert bill_form(without(CUR_2, "line_item_iam_principal"))[0].has_principal_column is False
    assert bill_form(VERSIONS["1.2"])[0].has_principal_column is False


def test_what_a_bill_lacks_is_named():
    form, lacking = bill_form(without(VERTEX, "BillingCurrency", "ServiceName"))
    assert (form, lacking) == (None, ["BillingCurrency", "ServiceName"])
    assert bill_form(AZURE)[1] == []


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-05T22:00:00Z",
        "2026-10-05T22:00Z",
        "2026-10-05 22:00:00",
        "2026-10-05T22:00:00.000Z",
        "2026-10-05 22:00:00 UTC",
        "2026-10-06T00:00:00+02:00",
        "2026-10-06 00:00:00+02",
        " 2026-10-05 22:00:00 ",
    ],
)
def test_a_moment_is_read_in_utc_however_it_is_written(text):
    assert moment_of("charge_start", text) == DATED


def test_a_day_alone_is_its_midnight():
    assert moment_of("charge_start", "2026-10-05") == dt.datetime(2026, 10, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["4/1/25", "5/1/2025", "2026-13-01", "2026-02-30T00:00:00Z", "yesterday", "20261005"])
def test_a_date_that_can_be_read_in_two_ways_is_read_in_none(text):
    assert refusal(moment_of, "charge_start", text) == Reason.UNREADABLE_TIME


def test_a_period_is_named_for_the_month_in_which_it_starts():
    assert period_of("2026-10-01T00:00:00Z") == "2026-10"
    assert refusal(period_of, None) == Reason.MISSING_VALUE


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.0000004", "0.0000004"),
        ("0.00 ", "0.00"),
        ("2.323760000E-9", "2.323760000E-9"),
        ("-5", "-5"),
        ("1e-07", "1e-07"),
    ],
)
def test_an_amount_keeps_its_digits(text, amount):
    assert amount_of("billed", text) == Decimal(amount)


@pytest.mark.parametrize("text", ["$10,100.00", "10,5", "1 000", "=1+1", "NaN", "Infinity", "ten"])
def test_what_is_no_plain_number_is_no_amount(text):
    assert refusal(amount_of, "billed", text) == Reason.UNREADABLE_NUMBER
    assert refusal(amount_of, "billed", None) == Reason.MISSING_VALUE


def test_a_currency_is_an_iso_code():
    assert currency_of("EUR") == "EUR"
    assert refusal(currency_of, "Credits") == Reason.UNKNOWN_CURRENCY
    assert refusal(currency_of, None) == Reason.MISSING_VALUE
