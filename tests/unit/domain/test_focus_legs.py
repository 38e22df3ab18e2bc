"""Charges as the second leg of the match: who called, how many tokens, what they cost."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from tests.cloud_bill_fixture import AZURE, CUR_2, FOCUS_1_2, VERTEX, charge_of
from tokengov_pipelines.domain.cloud_legs import principal_usage
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import KeyDecides, KeyRegistry, KeyRole, RegisteredKey

ROLE = "arn:aws:sts::444455556666:assumed-role/LiteLLM"
OTHER = "arn:aws:sts::444455556666:assumed-role/ChatApp/session-1"


def registered(provider: str, account: str, key_id: str, workspace: str | None = None) -> RegisteredKey:
    return RegisteredKey(
        provider, account, key_id, KeyRole.PROXY, Interval(dt.date(2026, 1, 1), None), workspace=workspace
    )


def test_a_caller_that_is_not_the_proxys_role_went_around_it():
    found = principal_usage([charge_of(CUR_2), charge_of(CUR_2, line_item_iam_principal=OTHER)])
    registry = KeyRegistry([registered("aws", "111122223333", ROLE)])
    assert [registry.is_own(usage) for usage in found.usage] == [True, False]
    assert [registry.is_own(cost) for cost in found.costs] == [True, False]
    assert [usage.key_id for usage in found.usage] == [ROLE, "arn:aws:sts::444455556666:assumed-role/ChatApp"]
    assert {usage.workspace_id for usage in found.usage} == {"444455556666"}
    assert found.caller_unknown == ()


def test_usage_carries_tokens_and_cost_carries_dollars():
    charge = charge_of(CUR_2)
    found = principal_usage([charge])
    usage, cost = found.usage[0], found.costs[0]
    assert (usage.day, usage.model, usage.tier) == (dt.date(2026, 10, 5), "Claude4.6Sonnet", "standard")
    assert (usage.token_type, usage.tokens) == ("uncached_input", 100_000)
    assert (cost.cost_type, cost.token_type) == ("tokens", "uncached_input")
    assert (cost.amount, cost.list_amount) == (Decimal("0.30"), Decimal("0.30"))
    assert cost.line_item == "USE1-Claude4.6Sonnet-input-tokens"


def test_where_no_caller_is_known_the_project_decides():
    vertex, azure, bedrock = (charge_of(row) for row in (VERTEX, AZURE, FOCUS_1_2))
    found = principal_usage([vertex, azure, bedrock])
    assert [usage.key_id for usage in found.usage] == [None, None, None]
    assert [usage.workspace_id for usage in found.usage] == ["ml-prod-7", azure.resource_id, "444455556666"]
    assert len(found.caller_unknown) == 3
    by_project = KeyRegistry(
        [registered("google", "01AB-CD", "vertex", "ml-prod-7"), registered("aws", "111122223333", ROLE, "other")],
        decides={"google": KeyDecides.KEY_ID_ELSE_PROJECT, "aws": KeyDecides.KEY_ID_ELSE_PROJECT},
    )
    assert [by_project.is_own(usage) for usage in found.usage] == [True, False, False]


def test_every_charge_is_in_one_place_and_no_dollar_is_lost():
    charges = [
        charge_of(FOCUS_1_2),
        charge_of(FOCUS_1_2, SkuMeter="USE1-Guardrail-ContentPolicyUnitsConsumed", BilledCost="0.07"),
        charge_of(FOCUS_1_2, ConsumedUnit="Units", PricingUnit="Units", BilledCost="0.11"),
        charge_of(FOCUS_1_2, ChargeCategory="Credit", BilledCost="-0.05"),
        charge_of(FOCUS_1_2, ChargeCategory="Tax", BilledCost="0.02"),
        charge_of(FOCUS_1_2, BillingCurrency="EUR", BilledCost="9.00"),
    ]
    found = principal_usage(charges)
    assert [cost.amount for cost in found.costs] == [Decimal("0.30"), Decimal("0.07"), Decimal("0.11")]
    assert [cost.cost_type for cost in found.costs] == ["tokens", "unmapped", "tokens"]
    assert [charge.billed_amount for charge in found.without_tokens] == [Decimal("0.07"), Decimal("0.11")]
    assert [charge.charge_category for charge in found.not_usage] == ["Credit", "Tax"]
    assert [charge.currency for charge in found.other_currency] == ["EUR"]
    assert len(found.costs) + len(found.not_usage) + len(found.other_currency) == len(charges)
    assert len(found.usage) + len(found.without_tokens) == len(found.costs)


def test_another_functional_currency_takes_its_own_charges():
    euro = charge_of(FOCUS_1_2, BillingCurrency="EUR")
    assert len(principal_usage([euro, charge_of(FOCUS_1_2)], "EUR").costs) == 1


def test_a_correction_takes_its_tokens_back():
    taken_back = replace(charge_of(CUR_2), tokens=-100_000, billed_amount=Decimal("-0.30"), charge_class="Correction")
    assert sum(usage.tokens for usage in principal_usage([charge_of(CUR_2), taken_back]).usage) == 0
