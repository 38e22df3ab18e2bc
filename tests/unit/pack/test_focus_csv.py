"""focus_1_2.csv: one row a charge, the invoice's sum, FOCUS's words (Rule 11.5, F14)."""

import csv
import dataclasses
import datetime as dt
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pack.focus_month import (
    CATEGORIES,
    CORRECTIONS,
    EXAMPLE,
    OCTOBER,
    OTHERS,
    charge,
    direct,
    document,
    month,
    statement,
)
from tokengov_pipelines.domain.bypass import EvidenceLevel, KeyAction, KeyStatus, OwnerBasis, UnproxiedKey
from tokengov_pipelines.domain.cloud_charge import Origin, read_charge
from tokengov_pipelines.domain.cloud_meters import GOOGLE
from tokengov_pipelines.domain.focus import bill_form, period_of
from tokengov_pipelines.domain.money import from_cents
from tokengov_pipelines.pack.focus_csv import COLUMNS, billed_by_invoice, effective_by_currency, focus_csv
from tokengov_pipelines.pack.focus_inputs import FocusProvider
from tokengov_pipelines.pack.manifest import is_data_file
from tokengov_pipelines.pack.writer import PackError

MANDATORY = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
)
ADDED = (
    "InvoiceId",
    "ChargeFrequency",
    "ServiceSubcategory",
    "Tags",
    "SubAccountId",
    "SubAccountName",
    "SkuId",
    "SkuPriceId",
    "SkuMeter",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "x_CostCenter",
    "x_TeamId",
    "x_UseCase",
    "x_EvidenceLevel",
    "x_AllocationMethod",
)
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


def content(*lines, **fields) -> bytes:
    inputs = month(*lines, **fields)
    return focus_csv(inputs, inputs.lines)


def rows(*lines, **fields) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(*lines, **fields).decode(), newline="")))


def row(line, **fields) -> dict[str, str]:
    (found,) = rows(line, **fields)
    return found


class TestFile:
    def test_it_has_the_columns_of_the_rule(self):
        names = [column.name for column in COLUMNS]
        assert set(MANDATORY) | set(ADDED) | {"x_ChargeType"} == set(names)
        assert len(names) == len(set(names)) == 40
        assert is_data_file("focus_1_2.csv")

    def test_one_row_a_line_and_a_second_one_a_purchase_sorted_whatever_order_they_come_in(self):
        lines = (*EXAMPLE, *CORRECTIONS, *OTHERS)
        assert (len(lines), len(rows(*lines))) == (17, 19)
        assert content(*lines) == content(*reversed(lines))

    def test_without_lines_it_is_the_header_alone(self):
        inputs = dataclasses.replace(month(), lines=())
        assert focus_csv(inputs, ()).count(b"\n") == 1

    def test_a_row_reads_as_it_is_written(self):
        line = content(direct("404.33", 96_000_000)).decode().splitlines()[1]
        assert line == (
            "INV-19,Anthropic,Anthropic,Anthropic,acme-prod,Anthropic acme-prod,,,"
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,"
            'Usage,,"Use logged by the proxy, claude-opus-4-8, 2026-10",Usage-Based,'
            "AI and Machine Learning,Generative AI,Claude API,claude-opus-4-8,,Tokens,"
            "USD,404.33,404.33,404.33,404.33,,,96.000000,1000000 Tokens,96000000.0,Tokens,"
            '"{""cost_center"":""CC-100"",""legal_entity"":""ACME-US"",""team"":""Shop"",""team_id"":""team-shop"",'
            '""use_case"":""code-review""}",largest_remainder,direct,CC-100,,team-shop,code-review'
        )

    def test_two_equal_lines_are_refused(self):
        with pytest.raises(PackError, match="two rows have the same"):
            rows(*CORRECTIONS, CORRECTIONS[0])


class TestSums:
    def test_an_invoice_adds_up_to_what_is_payable(self):
        billed = billed_by_invoice(content())
        assert billed == {
            ("Anthropic", "INV-19", "USD"): Decimal("928.08"),
            ("Anthropic", "INV-SEP", "USD"): Decimal("0.00"),
            ("GitHub", "0042", "USD"): Decimal("190.00"),
            ("Google", "", "USD"): Decimal("12.34"),
            ("OpenAI", "", "USD"): Decimal("100.00"),
            ("mistral", "MI-7", "JPY"): Decimal("1500.00"),
        }

    def test_the_categories_of_the_rule_books_invoice(self):
        by_category: dict[str, Decimal] = {}
        for each in rows(*EXAMPLE):
            category = each["ChargeCategory"]
            by_category[category] = by_category.get(category, Decimal(0)) + Decimal(each["BilledCost"])
        assert by_category == {
            "Usage": Decimal("885.00"),
            "Purchase": Decimal("50.00"),
            "Credit": Decimal("-80.00"),
            "Tax": Decimal("72.71"),
            "Adjustment": Decimal("0.37"),
        }

    def test_a_detail_that_does_not_add_up_to_the_charges_is_refused(self):
        inputs = month(direct("404.33", 1))
        with pytest.raises(PackError) as refused:
            focus_csv(inputs, [charge("direct", "404.34")])
        assert str(refused.value) == (
            "focus_1_2.csv: BilledCost of Anthropic invoice INV-19 adds up to 404.33 USD, and the charges in "
            "chargeback.csv to 404.34. Fix: make both files of the same lines; the detail has to add up to "
            "chargeback.csv."
        )

    def test_use_drawn_from_credits_that_does_not_add_up_is_refused_by_its_cost(self):
        drawn = OTHERS[2]
        with pytest.raises(PackError, match=r"EffectiveCost adds up to 640\.25 USD, and the charges .* to 640\.26"):
            focus_csv(month(drawn), [dataclasses.replace(drawn, amount=Decimal("640.26"))])

    @given(st.lists(st.integers(-10_000_000, 10_000_000), min_size=1, max_size=12))
    def test_any_split_of_an_invoice_sums_to_its_charge(self, cents):
        parts = [direct(str(from_cents(each)), 1, f"model-{at:02}") for at, each in enumerate(cents)]
        inputs = month(*parts)
        written = focus_csv(inputs, [charge("direct", str(from_cents(sum(cents))))])
        assert billed_by_invoice(written) == {("Anthropic", "INV-19", "USD"): from_cents(sum(cents))}

    def test_recoverable_tax_is_billed_and_no_cost(self):
        tax = {("anthropic", "INV-19"): Decimal("19.00")}
        written = content(*EXAMPLE, recoverable_tax=tax)
        assert billed_by_invoice(written) == {("Anthropic", "INV-19", "USD"): Decimal("947.08")}
        assert effective_by_currency(written) == {"USD": Decimal("928.08")}
        found = next(each for each in rows(*EXAMPLE, recoverable_tax=tax) if each["x_ChargeType"] == "recoverable_tax")
        assert (found["ChargeCategory"], found["EffectiveCost"], found["PricingQuantity"]) == ("Tax", "0.00", "")
        with pytest.raises(PackError, match="recoverable tax of anthropic INV-20 has no invoice"):
            rows(*EXAMPLE, recoverable_tax={("anthropic", "INV-20"): Decimal(1)})


class TestCharges:
    def test_provider_publisher_and_issuer_are_the_identical_string(self):
        for each in rows():
            assert each["ProviderName"] == each["PublisherName"] == each["InvoiceIssuerName"] != ""
        named = {"anthropic": FocusProvider("Anthropic PBC", "Claude")}
        assert row(charge("central", "1.00"), providers=named)["InvoiceIssuerName"] == "Anthropic PBC"

    def test_only_a_prior_period_is_a_correction_of_its_own_month(self):
        found = rows()
        assert {each["x_ChargeType"] for each in found if each["ChargeClass"]} == {"prior_period"}
        correction = next(each for each in found if each["ChargeClass"])
        assert correction["ChargeClass"] == "Correction"
        assert correction["BillingPeriodStart"] == "2026-10-01T00:00:00Z"
        assert (correction["ChargePeriodStart"], correction["ChargePeriodEnd"]) == (
            "2026-09-01T00:00:00Z",
            "2026-10-01T00:00:00Z",
        )
        assert (correction["InvoiceId"], correction["PricingQuantity"], correction["PricingUnit"]) == (
            "INV-SEP",
            "",
            "",
        )

    def test_quantities_are_of_use_and_purchases_alone(self):
        quantity = {
            each["x_ChargeType"]: (each["PricingQuantity"], each["PricingUnit"], each["ConsumedQuantity"])
            for each in rows(*EXAMPLE, OTHERS[0])
        }
        assert quantity == {
            "direct": ("81.234567", "1000000 Tokens", "81234567.0"),
            "true_up": ("1.0", "Units", ""),
            "unproxied": ("1.0", "Units", ""),
            "non_token": ("1.0", "Units", ""),
            "commitment": ("1.0", "Units", ""),
            "seat": ("1.0", "Units", ""),
            "credit": ("", "", ""),
            "tax": ("", "", ""),
            "central": ("", "", ""),
        }

    def test_a_purchase_is_billed_and_its_use_is_the_cost(self):
        bought, used = rows(charge("commitment", "50.00"))
        assert [bought[cost] for cost in COSTS] == ["50.00", "0.00", "50.00", "50.00"]
        assert [used[cost] for cost in COSTS] == ["0.00", "50.00", "0.00", "0.00"]
        assert (bought["ChargeCategory"], used["ChargeCategory"]) == ("Purchase", "Usage")
        assert {each["InvoiceId"] for each in (bought, used)} == {"INV-19"}
        assert used["ChargeDescription"] == "Commitment, 2026-10: its use"

    def test_a_purchase_is_never_usage_based(self):
        found = {each["x_ChargeType"]: each["ChargeFrequency"] for each in rows()}
        assert (found["commitment"], found["seat"], found["direct"]) == ("Recurring", "Recurring", "Usage-Based")
        assert {found["credit"], found["tax"], found["central"], found["prior_period"]} == {"One-Time"}

    def test_an_accrual_has_no_invoice(self):
        accrued = row(OTHERS[4])
        assert (accrued["InvoiceId"], accrued["BilledCost"], accrued["BillingAccountId"]) == ("", "12.34", "default")
        late = charge("prior_period", "1.00", invoice_id="ACCRUAL-anthropic-2026-09")
        assert row(late)["InvoiceId"] == ""

    def test_an_invoice_that_begins_in_the_month_charges_its_days(self):
        bill = document(period_start=dt.date(2026, 10, 15), period_last_day=dt.date(2026, 11, 14))
        found = row(charge("tax", "1.00"), invoices=(bill,))
        assert (found["ChargePeriodStart"], found["ChargePeriodEnd"]) == (
            "2026-10-15T00:00:00Z",
            "2026-11-01T00:00:00Z",
        )

    def test_a_line_in_another_currency_than_its_invoice_is_refused(self):
        with pytest.raises(PackError, match="invoice INV-19 is in USD and its charge to CC-100 in EUR"):
            rows(charge("tax", "1.00", currency="EUR"))

    def test_a_line_of_another_month_is_refused(self):
        with pytest.raises(PackError, match="posts in 2026-11, and the file is of 2026-10"):
            rows(charge("tax", "1.00", posting_period=OCTOBER.next()))

    def test_amounts_of_a_currency_without_cents_are_no_integers(self):
        yen = row(OTHERS[1])
        assert [yen[cost] for cost in COSTS] == ["1500.00"] * 4
        assert yen["BillingCurrency"] == "JPY"

    def test_each_charge_type_needs_a_category(self):
        lacking = {word: category for word, category in CATEGORIES.items() if word != "tax"}
        with pytest.raises(PackError, match=r"pack\.focus_category_map of policy\.yaml has no category for .* tax"):
            rows(charge("tax", "1.00"), categories=lacking)
        with pytest.raises(PackError, match="has the category 'Fee' for the charge type tax"):
            rows(charge("tax", "1.00"), categories={**CATEGORIES, "tax": "Fee"})

    def test_the_policy_decides_the_category(self):
        found = row(charge("seat", "1.00"), categories={**CATEGORIES, "seat": "Usage"})
        assert (found["ChargeCategory"], found["BilledCost"], found["EffectiveCost"]) == ("Usage", "1.00", "1.00")


class TestPrepaid:
    def test_use_is_a_cost_and_is_not_billed_again(self):
        drawn = row(OTHERS[2])
        assert [drawn[cost] for cost in COSTS] == ["0.00", "640.25", "0.00", "0.00"]
        assert (drawn["InvoiceId"], drawn["BillingAccountId"]) == ("", "acme-lab")

    def test_a_purchase_is_billed_and_is_no_cost(self):
        found = rows(OTHERS[2], OTHERS[3], prepaid=(statement("1000.00", refunds="20.00"),))
        bought = [each for each in found if each["x_ChargeType"] == "prepaid"]
        assert [(each["BilledCost"], each["EffectiveCost"]) for each in bought] == [
            ("1000.00", "0.00"),
            ("-20.00", "0.00"),
        ]
        assert {(each["ChargeCategory"], each["ChargeFrequency"], each["x_CostCenter"]) for each in bought} == {
            ("Purchase", "One-Time", "")
        }

    def test_cost_is_use_and_tax_whatever_was_bought(self):
        written = content(OTHERS[2], OTHERS[3], prepaid=(statement("1000.00"),))
        assert effective_by_currency(written) == {"USD": Decimal("740.25")}
        assert billed_by_invoice(written) == {("OpenAI", "", "USD"): Decimal("100.00")}


class TestNames:
    def test_tags_are_json_and_text_is_ascii(self):
        line = direct("1.00", 5, "modèle", team_alias='Köln "A"', use_case=None)
        found = row(line)
        assert json.loads(found["Tags"]) == {
            "cost_center": "CC-100",
            "legal_entity": "ACME-US",
            "team": 'Köln "A"',
            "team_id": "team-shop",
        }
        assert found["Tags"].isascii()
        assert (found["SkuId"], found["ChargeDescription"].isascii()) == ("mod?le", True)

    def test_a_name_that_does_not_fit_is_left_out_of_the_tags(self):
        found = row(direct("1.00", 5, team_alias="ü" * 300))
        assert json.loads(found["Tags"]).keys() == {"cost_center", "legal_entity", "team_id", "use_case"}
        with pytest.raises(PackError, match="the tags of CC-100 take"):
            row(direct("1.00", 5, team_id="t" * 1100))

    def test_no_email_and_no_formula_gets_in(self):
        hostile = direct("1.00", 5, team_id="= ana@example.com", team_alias="ana@example.com", allocation_method="=1+1")
        text = content(hostile).decode()
        assert "@example.com" not in text
        found = row(hostile)
        assert found["x_AllocationMethod"] == "'=1+1"
        assert found["x_TeamId"] == "'= (e-mail)"

    def test_an_invoice_whose_number_looks_like_a_formula_still_ties(self):
        written = content(charge("tax", "1.00", invoice_id="-7"), invoices=(document("-7"),))
        assert billed_by_invoice(written) == {("Anthropic", "'-7", "USD"): Decimal("1.00")}

    def test_evidence_is_that_of_the_keys_a_cost_center_pays_for(self):
        keys = (
            key(EvidenceLevel.E2, "CC-300"),
            key(EvidenceLevel.E1, "CC-300", "CC-100"),
            key(EvidenceLevel.E3, "CC-9"),
        )
        found = {each["x_CostCenter"]: each["x_EvidenceLevel"] for each in rows(*EXAMPLE[4:6], unproxied=keys)}
        assert found == {"CC-300": "E1;E2", "CC-100": ""}  # the line at CC-100 is not bypass


def key(evidence: EvidenceLevel, *owners: str) -> UnproxiedKey:
    day, zero = dt.date(2026, 10, 5), Decimal(0)
    return UnproxiedKey(
        provider="anthropic",
        account="acme-prod",
        workspace_id=None,
        workspace_name=None,
        key_id=f"key-{evidence}",
        key_name=None,
        created_by=None,
        created_at=None,
        first_seen=day,
        last_seen=day,
        days_active=1,
        models=(),
        tokens={},
        list_usd=zero,
        actual_usd=zero,
        cost_usd=zero,
        cost_last_30d_usd=zero,
        largest_day_usd=zero,
        evidence=evidence,
        suggested_owner=owners[0],
        owner_basis=OwnerBasis.REGISTRY,
        action=KeyAction.ROTATE,
        due_date=day,
        status=KeyStatus.NEW,
        owned_usd=dict.fromkeys(owners, zero),
    )


class TestReadingBack:
    """The product's own reader of cloud bills takes the file for what it is."""

    def test_the_version_is_told_by_its_columns(self):
        form, lacking = bill_form([column.name for column in COLUMNS])
        assert (form.version, lacking) == ("focus-1.2", [])

    def test_every_row_reads_with_its_amounts_days_and_categories(self):
        form, _ = bill_form([column.name for column in COLUMNS])
        origin = Origin("pack", "focus_1_2.csv", "0" * 64, 1)
        total = Decimal(0)
        for each in rows():
            cells = {ours: next((each[name] for name in of if each[name]), None) for ours, of in form.columns.items()}
            read = read_charge(cells, form, GOOGLE, origin)
            assert read.charge_category == each["ChargeCategory"]
            assert (read.billing_period, period_of(cells["period_start"])) == ("2026-10", "2026-10")
            assert read.invoice_id == (each["InvoiceId"] or None)
            assert read.currency == each["BillingCurrency"]
            total += read.billed_amount if read.currency == "USD" else 0
        assert total == Decimal("1230.42")  # 928.08 + 0.00 + 190.00 + 12.34 + 100.00
