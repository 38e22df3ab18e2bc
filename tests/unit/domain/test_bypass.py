"""Coverage, evidence levels and labels (rules 5.1, 5.4)."""

import dataclasses
from decimal import Decimal

import pytest

from tests.unit.domain.bypass_month import CI_KEY, CI_WORKSPACE, SONNET, Month, oct_
from tokengov_pipelines.domain.bypass import (
    BypassEvidence,
    EvidenceLevel,
    UnproxiedKey,
    charged_total,
    counted,
    coverage,
    key_label,
    named,
    without_email,
)


def test_coverage_is_the_proxys_usage_of_all_usage():
    found = coverage(Decimal("84.00"), Decimal("100.00"))
    assert found.percentage == Decimal("84.00")
    assert (found.numerator, found.denominator) == (Decimal("84.00"), Decimal("100.00"))
    assert str(found) == "84.00 % (84.00 of 100.00 USD at price-book price)"
    assert found.meets(Decimal("98.0")) is False
    assert found.meets(Decimal("84.0")) is True


def test_a_target_is_not_reached_by_rounding():
    nearly = coverage(Decimal("97.996"), Decimal(100))
    assert nearly.percentage == Decimal("98.00")
    assert nearly.meets(Decimal("98.0")) is False
    assert coverage(Decimal(98), Decimal(100)).meets(Decimal("98.0")) is True


def test_nothing_used_at_all_is_not_full_coverage():
    found = coverage(Decimal(0), Decimal(0))
    assert found.percentage is None
    assert found.meets(Decimal("98.0")) is None
    assert str(found) == "nothing was used on any key"
    assert coverage(Decimal(0), Decimal("16.00")).percentage == Decimal("0.00")


@pytest.mark.parametrize(("own", "whole"), [("101", "100"), ("-1", "100")])
def test_a_part_is_never_larger_than_its_whole(own, whole):
    with pytest.raises(ValueError, match="cannot be a part of 100"):
        coverage(Decimal(own), Decimal(whole))


def test_only_e1_and_e2_carry_dollars():
    assert [level for level in EvidenceLevel if level.carries_dollars] == ["E1", "E2"]


@pytest.mark.parametrize("level", ["E3", "E4", "E5"])
def test_evidence_has_a_notional_value_and_nothing_to_add_up(level):
    evidence = BypassEvidence(
        EvidenceLevel(level), "anthropic", "CC-100", oct_(1), oct_(2), "words", "step", Decimal("12.00")
    )
    amounts = {name for name in vars(evidence) if "usd" in name or "amount" in name}
    assert amounts == {"notional_usd"}
    with pytest.raises(AttributeError, match="cost_usd"):
        charged_total([evidence])  # type: ignore[list-item]


@pytest.mark.parametrize("level", ["E1", "E2"])
def test_a_level_with_dollars_is_no_evidence_beside_them(level):
    with pytest.raises(ValueError, match="carries dollars"):
        BypassEvidence(EvidenceLevel(level), "anthropic", "x", oct_(1), oct_(1), "words", "step")


def test_the_keys_add_up_to_the_charged_pool():
    month = Month()
    month.used(oct_(1), SONNET, {"uncached_input": 1_000_000}, key_id=CI_KEY, workspace_id=CI_WORKSPACE)
    month.used(oct_(1), SONNET, {"output": 100_000}, key_id=None, workspace_id=None)
    assert charged_total(month.key_rows()) == Decimal("4.500000000000")


@pytest.mark.parametrize(
    ("workspace", "key_id", "name", "label"),
    [
        ("ci-lab", "apikey-0123", "ci-runner-1", "anthropic, workspace ci-lab, key ...er-1"),
        ("ci-lab", "apikey-0123", None, "anthropic, workspace ci-lab, key ...0123"),
        (None, None, None, "anthropic, workspace default, no key"),
        ("ada@example.com", "apikey-0123", "ada@example.com", "anthropic, workspace (e-mail), key ...0123"),
    ],
)
def test_a_key_is_named_by_its_last_four(workspace, key_id, name, label):
    assert key_label("anthropic", workspace, key_id, name) == label


def test_names_lose_their_e_mails():
    assert without_email("ada.l@example.com laptop <bob@x.org>") == "(e-mail) laptop <(e-mail)>"
    assert without_email(None) is None


def test_words_of_figures():
    assert (counted(1, "day"), counted(1200, "call")) == ("1 day", "1,200 calls")
    assert named(("a", "b")) == "a, b"
    assert named(tuple("abcdefg")) == "a, b, c, d, e and 2 more"


def test_the_report_has_the_columns_of_rule_5_5():
    names = {each.name for each in dataclasses.fields(UnproxiedKey)}
    assert names >= {
        "provider",
        "workspace_id",
        "key_id",
        "key_name",
        "created_by",
        "created_at",
        "first_seen",
        "last_seen",
        "days_active",
        "models",
        "tokens",
        "cost_usd",
        "cost_last_30d_usd",
        "evidence",
        "suggested_owner",
        "owner_basis",
        "action",
        "due_date",
        "status",
    }
