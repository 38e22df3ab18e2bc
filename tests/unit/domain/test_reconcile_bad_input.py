"""Bad input at the rule: named with its fix, the month is blocked, nothing is guessed, the parts are the gap."""

import dataclasses
import datetime as dt
import re
from decimal import Decimal

import pytest

from tests.unit.domain.planted import (
    ACCOUNT,
    ALWAYS,
    CI_KEY,
    DAY,
    HAIKU,
    MTOK,
    OCTOBER,
    OWN_KEY,
    OWN_WORKSPACE,
    PROVIDER,
    SONNET,
    STRAY_KEY,
    Month,
    Use,
    line,
    match,
    new_month,
    non_token,
    other,
    parts,
    quantities,
    registry,
    total,
)
from tokengov_pipelines.domain.legs import KeyRole, Legs, RegisteredKey
from tokengov_pipelines.domain.match_result import Component, ErrorCode, MatchError
from tokengov_pipelines.domain.pricing import PriceStatus
from tokengov_pipelines.domain.reconcile import MatchRules, reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation

D = Decimal
NEXT_DAY = DAY + dt.timedelta(days=1)
USUAL = {"uncached_input": 1_000_000, "cache_read": 2_000_000, "output": 100_000}  # 5.10 of Sonnet


def two_days() -> Month:
    """The same clean call on two days: 10.20 logged, metered and billed."""
    month = new_month()
    month.call(DAY, SONNET, USUAL)
    month.call(NEXT_DAY, SONNET, USUAL)
    return month


def the_error(found: Reconciliation, code: ErrorCode) -> MatchError:
    """The one error of a blocked match: named, with a fix, and with parts that are still the gap."""
    assert found.status == "blocked"
    assert [error.code for error in found.errors] == [code]
    assert total(found.components.values()) == total([found.states["W12"], -found.states["W0"]])
    (error,) = found.errors
    assert re.fullmatch(r".+\. Fix: .+", str(error)), str(error)
    assert error.key
    assert PROVIDER in error.what
    return error


class TestCounts:
    """Contradictory usage: rule 12.2."""

    def test_more_cached_than_input_tokens_in_the_report(self):
        """The provider's uncached input is input less cached: -250,000 is a contradiction, not a credit."""
        month = two_days()
        legs = month.legs()
        broken = dataclasses.replace(legs.usage[0], tokens=-250_000, key_id=OWN_KEY)
        found = match(month, legs=dataclasses.replace(legs, usage=[*legs.usage, broken]))
        error = the_error(found, ErrorCode.CONTRADICTORY_USAGE)
        assert error.key == f"{DAY}/{SONNET}/uncached_input"
        assert "-250,000" in error.what
        assert "more cached than input tokens" in error.what
        assert error.tokens == -250_000
        assert parts(found) == {}, "the row is left out and nothing takes its place"

    def test_more_cached_than_prompt_tokens_in_the_log(self):
        month = two_days()
        row = month.rows[0]
        row.tokens = {**row.tokens, "uncached_input": -250_000}
        found = match(month)
        error = the_error(found, ErrorCode.CONTRADICTORY_USAGE)
        assert str(DAY) in error.key
        assert SONNET in error.key
        assert "-250,000" in error.what
        assert all(cell.proxy_tokens >= 0 for cell in found.cells), "no cell takes tokens off"


class TestUnits:
    """Rule 4.6: cents and dollars."""

    @pytest.mark.parametrize(("factor", "rate"), [("100", "1009.80"), ("0.01", "-10.098")])
    def test_a_report_in_the_wrong_unit(self, factor, rate):
        month = two_days()
        legs = month.legs()
        costs = [dataclasses.replace(cost, amount=cost.amount * D(factor)) for cost in legs.costs]
        found = match(month, legs=dataclasses.replace(legs, costs=costs))
        error = the_error(found, ErrorCode.UNIT_SUSPECTED)
        assert "factor of 100" in error.what
        assert str(DAY) in error.what
        assert (error.amount, found.components[Component.PROVIDER_RATE]) == (D(rate), D(rate))
        assert found.states["W6"] == D("10.20") * D(factor), "the report is shown as it is, not repaired"

    def test_one_day_in_the_wrong_unit_is_named(self):
        month = two_days()
        legs = month.legs()
        costs = [
            dataclasses.replace(cost, amount=cost.amount * 100) if cost.day == NEXT_DAY else cost for cost in legs.costs
        ]
        error = the_error(match(month, legs=dataclasses.replace(legs, costs=costs)), ErrorCode.UNIT_SUSPECTED)
        assert error.key == str(NEXT_DAY)

    def test_a_large_contract_discount_is_no_unit_error(self):
        month = two_days()
        for use in month.uses:
            month.rates += [(use, "output", D("-0.75")), (use, "uncached_input", D("-1.50"))]
        found = match(month)
        assert (parts(found), found.errors) == ({"provider_rate": D("-4.50")}, ())


class TestModelsAndPrices:
    """Rule 4.1: no guessing, no zero."""

    def test_a_reported_model_without_an_alias(self):
        month = two_days()
        legs = month.legs()
        strange = dataclasses.replace(legs.usage[0], model="claude-sonnet-4-6-preview", tokens=MTOK)
        billed = dataclasses.replace(legs.costs[0], model="claude-sonnet-4-6-preview", amount=D("3.00"))
        month.extra_lines.append(
            dataclasses.replace(line("usage", "3.00", "preview"), model="claude-sonnet-4-6-preview")
        )
        found = match(month, legs=dataclasses.replace(legs, usage=[*legs.usage, strange], costs=[*legs.costs, billed]))
        error = the_error(found, ErrorCode.UNMAPPED_MODEL)
        assert (error.key, error.tokens, error.amount) == ("claude-sonnet-4-6-preview", MTOK, D("3.00"))
        (cell,) = [cell for cell in found.cells if cell.own_tokens == MTOK and cell.proxy_tokens == 0]
        assert cell.usd_per_token is None, "no price of a similar name"
        assert cell.price_status is PriceStatus.MISSING

    def test_a_logged_model_without_an_alias(self):
        month = two_days()
        month.rows[0].name = "anthropic/claude-sonnet-4-6@20260101"
        found = match(month)
        error = the_error(found, ErrorCode.UNMAPPED_MODEL)
        assert error.tokens == sum(USUAL.values())
        assert quantities(found) == {"proxy_pricing": D("-5.10"), "quantity": D("5.10")}

    def test_a_model_that_is_only_billed(self):
        month = two_days()
        legs = month.legs()
        billed = dataclasses.replace(legs.costs[0], model="claude-next", amount=D("3.00"))
        month.extra_lines.append(dataclasses.replace(line("usage", "3.00", "next"), model="claude-next"))
        found = match(month, legs=dataclasses.replace(legs, costs=[*legs.costs, billed]))
        error = the_error(found, ErrorCode.UNMAPPED_MODEL)
        assert (error.key, error.tokens, error.amount) == ("claude-next", 0, D("3.00"))

    def test_usage_without_a_model(self):
        month = two_days()
        legs = month.legs()
        nameless = dataclasses.replace(legs.usage[0], model=None, tokens=5)
        error = the_error(
            match(month, legs=dataclasses.replace(legs, usage=[*legs.usage, nameless])), ErrorCode.UNMAPPED_MODEL
        )
        assert error.tokens == 5

    def test_a_tier_without_a_price(self):
        month = two_days()
        month.rows[0].tier = "flex"
        legs = month.legs()
        usage = [dataclasses.replace(each, tier="flex") if each.day == DAY else each for each in legs.usage]
        found = match(month, legs=dataclasses.replace(legs, usage=usage))
        assert found.status == "blocked"
        assert [error.code for error in found.errors] == [ErrorCode.MISSING_PRICE] * 3  # one a token type
        assert [error.key for error in found.errors] == sorted(f"{SONNET}/{name}/flex" for name in USUAL)
        assert all("add it to" in error.fix and str(DAY) in error.what for error in found.errors)
        assert [error.tokens for error in found.errors] == [USUAL[name] for name in sorted(USUAL)]
        assert found.states["W2"] == D("5.10"), "the standard price does not stand in"
        assert total(found.components.values()) == found.gap

    def test_a_tier_that_the_policy_prices_as_standard(self):
        month = two_days()
        for row in month.rows:
            row.tier = "flex"
        legs = month.legs()
        usage = [dataclasses.replace(each, tier="flex") for each in legs.usage]
        rules = MatchRules(fallback_tiers=("flex",))
        found = match(month, legs=dataclasses.replace(legs, usage=usage), rules=rules)
        assert (found.errors, parts(found)) == ((), {})
        assert {cell.price_status for cell in found.cells} == {PriceStatus.FALLBACK}

    def test_a_day_before_the_first_price(self):
        month = two_days()
        early = dt.date(2025, 12, 31)
        legs = month.legs()
        legs = dataclasses.replace(
            legs,
            logged=[dataclasses.replace(each, day=early) for each in legs.logged],
            usage=[dataclasses.replace(each, day=early) for each in legs.usage],
            costs=[dataclasses.replace(each, day=early) for each in legs.costs],
        )
        invoice = dataclasses.replace(
            month.invoice(), period_start=dt.date(2025, 12, 1), period_last_day=early, invoice_date=early
        )
        found = reconcile(type(OCTOBER)(2025, 12), legs, invoice, registry=month.registry, book=month.prices.book())
        assert {error.code for error in found.errors} == {ErrorCode.MISSING_PRICE}
        assert (found.status, found.states["W2"]) == ("blocked", 0)
        assert parts(found) == {"proxy_pricing": D("-10.20"), "provider_rate": D("10.20")}


class TestCompleteness:
    def test_a_day_that_is_billed_and_has_no_usage_row_is_named(self):
        legs = two_days().legs()
        day = NEXT_DAY + dt.timedelta(days=1)
        billed = dataclasses.replace(legs.costs[0], day=day, amount=D("0.5455665"))
        found = match(two_days(), legs=dataclasses.replace(legs, costs=[*legs.costs, billed]))
        error = the_error(found, ErrorCode.BILLED_WITHOUT_USAGE)
        assert (error.key, error.amount) == (str(day), D("0.5455665"))

    """Rule 4.5."""

    def test_a_missing_proxy_day_is_a_missing_extract_and_never_bypass(self):
        month = two_days()
        month.rows.pop()
        month.missing_log_days = frozenset({NEXT_DAY})
        found = match(month)
        error = the_error(found, ErrorCode.MISSING_EXTRACT)
        assert (error.key, error.tokens, error.amount) == (str(NEXT_DAY), sum(USUAL.values()), D("5.10"))
        assert f"tokengov load {NEXT_DAY} {NEXT_DAY}" in error.fix
        assert quantities(found) == {"quantity": D("5.10")}
        assert found.components[Component.UNPROXIED] == 0

    def test_a_missing_proxy_day_outside_the_invoice_does_not_matter(self):
        month = two_days()
        month.missing_log_days = frozenset({dt.date(2026, 11, 1), dt.date(2026, 9, 30)})
        found = match(month)
        assert (found.status, found.errors) == ("matched", ())

    def test_bypass_of_a_missing_proxy_day_is_still_bypass(self):
        """The key decides: what is on another key cannot have been in the missing log."""
        month = two_days()
        month.rows.pop()
        month.missing_log_days = frozenset({NEXT_DAY})
        month.uses.append(dataclasses.replace(other(STRAY_KEY, output=MTOK), day=NEXT_DAY))
        found = match(month)
        the_error(found, ErrorCode.MISSING_EXTRACT)
        assert quantities(found) == {"quantity": D("5.10"), "unproxied": D(15)}

    def test_a_missing_report_day(self):
        month = two_days()
        month.missing_report_days = frozenset({NEXT_DAY})
        legs = month.legs()
        legs = dataclasses.replace(
            legs,
            usage=[each for each in legs.usage if each.day != NEXT_DAY],
            costs=[each for each in legs.costs if each.day != NEXT_DAY],
        )
        found = match(month, legs=legs)
        error = the_error(found, ErrorCode.MISSING_REPORT)
        assert error.key == str(NEXT_DAY)
        assert quantities(found) == {"quantity": D("-5.10"), "unexplained": D("5.10")}

    def test_a_registered_key_with_an_empty_log(self):
        month = two_days()
        month.rows.clear()
        found = match(month)
        error = the_error(found, ErrorCode.MISSING_EXTRACT)
        assert (error.tokens, error.amount) == (2 * sum(USUAL.values()), D("10.20"))
        assert parts(found) == {"volume": D("10.20")}, "its value is in volume (rule 4.2)"

    def test_a_key_of_somebody_else_with_an_empty_log_is_bypass(self):
        month = new_month()
        month.uses.append(other(CI_KEY, **USUAL))
        found = match(month)
        assert (parts(found), found.errors, found.status) == ({"unproxied": D("5.10")}, (), "matched")

    def test_several_missing_days_are_one_error_that_lists_them(self):
        month = two_days()
        month.missing_log_days = frozenset({DAY, NEXT_DAY})
        error = the_error(match(month), ErrorCode.MISSING_EXTRACT)
        assert error.key == f"2 days: {DAY}, {NEXT_DAY}"
        assert f"tokengov load {DAY} {NEXT_DAY}" in error.fix


class TestLinesAndAccounts:
    """What the report and the invoice say that nobody can place."""

    def test_a_line_item_of_an_unknown_kind(self):
        month = two_days()
        month.non_token.append(non_token("7.50", "unmapped", line_item="quantum widgets"))
        month.extra_lines.append(line("non_token", "7.50", "quantum widgets"))
        found = match(month)
        error = the_error(found, ErrorCode.UNMAPPED_LINE_ITEM)
        assert (error.key, error.amount) == ("quantum widgets", D("7.50"))
        assert "quantum widgets" in error.what
        assert parts(found) == {"non_token": D("7.50")}

    @pytest.mark.parametrize("invoiced_account", [ACCOUNT, "acme-research"])
    def test_two_accounts_with_keys_of_the_proxy(self, invoiced_account):
        """The log does not say which account a call went to: it cannot be split over two invoices."""
        month = two_days()
        second = "acme-research"
        key = RegisteredKey(PROVIDER, second, "apikey-research", KeyRole.PROXY, ALWAYS)
        month.registry = registry(key)
        legs = self.on_two_accounts(month, second)
        invoice = dataclasses.replace(month.invoice(), account=invoiced_account)
        found = reconcile(OCTOBER, legs, invoice, registry=month.registry, book=month.prices.book())
        assert found.status == "blocked"
        assert [error.code for error in found.errors] == [ErrorCode.SEVERAL_ACCOUNTS]
        (error,) = found.errors
        assert ACCOUNT in error.what
        assert second in error.what
        assert error.fix
        assert total(found.components.values()) == found.gap

    def test_a_second_account_without_keys_of_the_proxy_is_another_invoices(self):
        """Where the proxy uses the invoice's account alone, the use of another account is not its matter."""
        month = two_days()
        legs = self.on_two_accounts(month, "acme-research", key_id=STRAY_KEY)
        found = reconcile(OCTOBER, legs, month.invoice(), registry=month.registry, book=month.prices.book())
        assert ErrorCode.SEVERAL_ACCOUNTS not in {error.code for error in found.errors}

    def on_two_accounts(self, month: Month, second: str, key_id: str = "apikey-research") -> Legs:
        """The month with the second day's usage on another account."""
        legs = month.legs()
        return dataclasses.replace(
            legs,
            usage=[
                dataclasses.replace(each, account=second, key_id=key_id) if each.day == NEXT_DAY else each
                for each in legs.usage
            ],
            costs=[dataclasses.replace(each, account=second) if each.day == NEXT_DAY else each for each in legs.costs],
        )


class TestSeveralAtOnce:
    """Every error is there, each once, whatever the others are."""

    def test_all_errors_are_listed(self):
        month = two_days()
        month.missing_log_days = frozenset({NEXT_DAY})
        month.missing_report_days = frozenset({DAY})
        month.non_token.append(non_token("7.50", "unmapped", line_item="quantum widgets"))
        month.uses.append(Use(DAY, HAIKU, "standard", 0, {"output": 10}, OWN_KEY, OWN_WORKSPACE))
        legs = month.legs()
        legs = dataclasses.replace(
            legs,
            usage=[
                *legs.usage,
                dataclasses.replace(legs.usage[0], tokens=-1),
                dataclasses.replace(legs.usage[0], model="claude-next"),
                dataclasses.replace(legs.usage[0], tier="flex"),
            ],
            costs=[dataclasses.replace(cost, amount=cost.amount * 100) for cost in legs.costs],
        )
        found = match(month, legs=legs)
        assert [error.code for error in found.errors] == [
            ErrorCode.MISSING_EXTRACT,
            ErrorCode.MISSING_REPORT,
            ErrorCode.UNMAPPED_MODEL,
            ErrorCode.MISSING_PRICE,
            ErrorCode.UNMAPPED_LINE_ITEM,
            ErrorCode.UNIT_SUSPECTED,
            ErrorCode.CONTRADICTORY_USAGE,
        ]
        assert all(". Fix: " in str(error) and "@" not in str(error) for error in found.errors)
        assert all(OWN_KEY not in str(error) for error in found.errors), "a key is named by its last four characters"
        assert found.status == "blocked"
        assert total(found.components.values()) == found.gap

    def test_an_error_blocks_even_an_invoice_that_adds_up(self):
        month = two_days()
        month.missing_log_days = frozenset({DAY})
        found = match(month)
        assert (found.unexplained, found.status) == (0, "blocked")

    def test_without_an_invoice_the_status_stays_missing_invoice_and_the_errors_are_listed(self):
        month = two_days()
        month.missing_log_days = frozenset({DAY})
        found = reconcile(OCTOBER, month.legs(), None, registry=month.registry, book=month.prices.book())
        assert (found.status, [error.code for error in found.errors]) == ("missing_invoice", ["missing_extract"])
