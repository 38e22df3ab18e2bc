"""The table of rule 4.7, row by row and limit by limit: severity, owner, key, and words with amount, cause and fix."""

import datetime as dt
from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.alert import WHOLE, Severity, Step, transitions
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass import (
    BypassFinding,
    EvidenceLevel,
    FindingKind,
    KeyAction,
    KeyStatus,
    OwnerBasis,
    UnproxiedKey,
)
from tokengov_pipelines.domain.gap_month import (
    AlertLimits,
    ExpiringCredit,
    MonthFigures,
    business_day,
    line_classes,
)
from tokengov_pipelines.domain.invoice import InvoiceLine
from tokengov_pipelines.domain.match_result import (
    CellMatch,
    Component,
    ErrorCode,
    Evidence,
    MatchError,
    MatchMode,
    PricingCause,
    PricingGap,
    RateCell,
)
from tokengov_pipelines.domain.open_item import ItemStatus, ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import PriceStatus
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus
from tokengov_pipelines.domain.reconciliation_alerts import alert_key, reconciliation_conditions
from tokengov_pipelines.policy import AlertPolicy

OCTOBER = BillingMonth(2026, 10)
TODAY = dt.date(2026, 11, 2)
AT = dt.datetime(2026, 11, 2, 3, 0, tzinfo=dt.UTC)
DAY = dt.date(2026, 10, 5)


def usd(text):
    return Decimal(text)


def match(*, states=None, components=None, status=ReconciliationStatus.MATCHED, invoice="A-1", account="acme", **more):
    """A reconciliation of 100.00 on the proxy's keys and nothing beside it, changed by what a test is about."""
    known = {"W0": "100", "W4": "100", "W5": "100", "W6": "100", "W7": "100"} | (states or {})
    return Reconciliation(
        month=OCTOBER,
        provider="anthropic",
        account=account,
        invoice_id=invoice,
        period=InvoicePeriod(OCTOBER.first_day, OCTOBER.next().first_day),
        currency="USD",
        mode=MatchMode.THREE_WAY,
        states={name: usd(amount) for name, amount in known.items()},
        components={Component(name): usd(amount) for name, amount in (components or {}).items()},
        status=status,
        tolerance=usd("5.00"),
        **more,
    )


def key(key_id="apikey_9f3c", cost="1.00", status=KeyStatus.OPEN, largest="0", basis=OwnerBasis.CENTRAL, **more):
    values = {
        "provider": "anthropic",
        "account": "acme",
        "workspace_id": "wrkspc_1",
        "workspace_name": "ci-lab",
        "key_id": key_id,
        "key_name": "ci runner 7",
        "created_by": "ada@example.com",
        "created_at": None,
        "first_seen": DAY,
        "last_seen": DAY + dt.timedelta(days=2),
        "days_active": 3,
        "models": ("claude-sonnet-4-6", "claude-haiku-4-5"),
        "tokens": {"output": 10},
        "list_usd": usd(cost),
        "actual_usd": usd(cost),
        "cost_usd": usd(cost),
        "cost_last_30d_usd": usd(cost),
        "largest_day_usd": usd(largest),
        "evidence": EvidenceLevel.E1,
        "suggested_owner": "CC-990-CENTRAL" if basis is OwnerBasis.CENTRAL else "CC-120-SEARCH",
        "owner_basis": basis,
        "action": KeyAction.MOVE_TO_PROXY,
        "due_date": TODAY,
        "status": status,
    }
    return UnproxiedKey(**values | more)


def cell(proxy=0, own=0, other=0, day=DAY, model="claude-sonnet-4-6"):
    """Tokens at 0.01 USD each."""
    price = usd("0.01")
    grain = {"day": day, "provider": "anthropic", "model": model, "token_type": "output", "tier": "standard"}
    place = {"over_tokens": 0, "geo": "global", "speed": "standard", "price_status": PriceStatus.EXACT}
    counts = {"proxy_tokens": proxy, "own_tokens": own, "other_tokens": other}
    return CellMatch(**grain, **place, **counts, usd_per_token=price, standard_usd_per_token=price)


def conditions(*matches, keys=(), findings=(), figures=None, today=TODAY, open_keys=(), limits=None, month=OCTOBER):
    return reconciliation_conditions(
        matches,
        keys,
        findings,
        month=month,
        limits_of=lambda _: limits or AlertLimits(),
        figures={("anthropic", "acme"): figures or MonthFigures()},
        at=AT,
        today=today,
        open_keys=open_keys,
        run_id="run-1",
    )


def bad(*matches, **more):
    """What is bad, by the row's word."""
    return {each.key.split(":")[1]: each for each in conditions(*matches, **more) if each.bad}


ROWS = [
    "unproxied",
    "unpriced",
    "provider_rate",
    "quantity",
    "coverage",
    "error_items",
    "missing_extract",
    "blocked",
    "missing_invoice",
    "new_line_class",
]


def test_a_month_that_matches_is_good_in_every_row_and_every_row_is_looked_at():
    found = conditions(match(), figures=MonthFigures(credits=(), items=()))
    assert [each.key for each in found] == [
        *(f"recon:{row}:anthropic:acme:2026-10" for row in ROWS),
        "recon:credits_expiring:anthropic:acme",
        "recon:overdue_items:anthropic:acme",
        "recon:leaked_key:anthropic:all:2026-10",
    ]
    assert {(each.bad, each.looked_at, each.text, each.amount) for each in found} == {
        (frozenset(), frozenset({WHOLE}), "", None)
    }
    assert {(each.at, each.run_id) for each in found} == {(AT, "run-1")}


def test_an_alert_closes_when_its_cause_is_gone():
    first = conditions(match(components={"provider_rate": "9"}))
    later = [
        each.__class__(**{**vars(each), "at": AT + dt.timedelta(days=1)})
        for each in conditions(match(components={"provider_rate": "0"}))
    ]
    opened = transitions({}, first)
    assert [step.step for step in opened.steps] == [Step.OPENED]
    assert [step.step for step in transitions(opened.states, later).steps] == [Step.CLOSED]


class TestUnproxied:
    @pytest.mark.parametrize(("outside", "is_bad"), [("1.00", False), ("1.000000000001", True), ("0", False)])
    def test_exactly_one_percent_of_provider_cost_is_quiet(self, outside, is_bad):
        assert ("unproxied" in bad(match(components={"unproxied": outside}))) is is_bad

    @pytest.mark.parametrize(("tokens", "is_bad"), [(10_000, False), (10_001, True)])
    def test_exactly_the_amount_of_a_day_is_quiet(self, tokens, is_bad):
        cells = [cell(other=tokens), cell(other=9_000, day=DAY + dt.timedelta(days=1))]
        large = match(states={"W7": "100000"}, components={"unproxied": "190"}, cells=cells)
        assert ("unproxied" in bad(large)) is is_bad

    def test_two_keys_of_one_day_count_together(self):
        figures = MonthFigures(unproxied_by_day={DAY: usd("100.01")})
        assert "unproxied" in bad(match(states={"W7": "100000"}), figures=figures)

    def test_a_key_under_an_exception_raises_no_alert_and_an_expired_one_does(self):
        gap = match(components={"unproxied": "16.00"})
        assert "unproxied" not in bad(gap, keys=[key(cost="15.50", status=KeyStatus.EXCEPTED, largest="500")])
        assert "unproxied" in bad(gap, keys=[key(cost="15.50", status=KeyStatus.EXCEPTION_EXPIRED)])

    def test_without_daily_figures_the_largest_day_of_a_key_without_exception_counts(self):
        keys = [key(status=KeyStatus.EXCEPTED, largest="900"), key("b", largest="100.01")]
        assert "unproxied" in bad(match(states={"W7": "100000"}), keys=keys)
        assert "unproxied" not in bad(match(states={"W7": "100000"}), keys=keys[:1])

    def test_use_outside_a_provider_that_reports_no_cost_is_above_every_share(self):
        assert "unproxied" in bad(match(states={"W7": "0"}, components={"unproxied": "0.01"}))

    def test_it_says_amount_share_day_and_keys_and_pages_platform_and_security(self):
        gap = match(components={"unproxied": "16.00"}, cells=[cell(other=1600)])
        keys = [key("a1", "13.50", key_name="runner-one"), key(None, "1.50"), key("c3", "1.00"), key("d4", "0.10")]
        found = bad(gap, keys=keys)["unproxied"]
        assert (found.severity, found.owner) == (Severity.PAGE, "platform lead, security")
        assert found.title == "anthropic (acme) 2026-10: unproxied spend above its limit"
        assert found.amount == usd("16.00")
        assert found.text == (
            "16.00 USD bypassed the proxy: 16.00 % of 100.00 USD provider cost; the largest day, 2026-10-05, has "
            "16.00 USD. Limits: 1.0 %, 100.00 USD a day. Keys: anthropic, workspace ci-lab, key ...-one 13.50 USD; "
            "anthropic, workspace ci-lab, no key 1.50 USD; anthropic, workspace ci-lab, key ...er 7 1.00 USD; "
            "and 1 more. Fix: rotate the first key or move it to the proxy; all of them: tokengov unproxied list "
            "2026-10."
        )


class TestNewKeys:
    NAME = "recon:new_key:anthropic:acme:2026-10:apikey_9f3c"

    def test_the_first_cent_of_a_key_never_seen_before_goes_to_platform_and_its_owner(self):
        (found,) = bad(match(), keys=[key(cost="0.01", status=KeyStatus.NEW, basis=OwnerBasis.WORKSPACE)]).values()
        assert (found.key, found.severity) == (self.NAME, Severity.HIGH)
        assert (found.owner, found.amount) == ("platform on-call + CC-120-SEARCH", usd("0.01"))
        assert found.title == "never seen before: anthropic, workspace ci-lab, key ...er 7 (2026-10)"
        assert found.text == (
            "anthropic, workspace ci-lab, key ...er 7: 0.01 USD outside the proxy from 2026-10-05 to 2026-10-07. "
            "Models: claude-sonnet-4-6, claude-haiku-4-5. It was made by (e-mail). Suggested owner: CC-120-SEARCH "
            "(by workspace). Fix: move it to the proxy or rotate it by 2026-11-02; or have an exception approved: "
            "tokengov unproxied except anthropic apikey_9f3c."
        )

    @pytest.mark.parametrize("status", [KeyStatus.OPEN, KeyStatus.EXCEPTED, KeyStatus.EXCEPTION_EXPIRED])
    def test_a_key_that_was_seen_before_is_looked_at_and_good(self, status):
        (found,) = [each for each in conditions(match(), keys=[key(status=status)]) if "new_key" in each.key]
        assert (found.key, found.bad) == (self.NAME, frozenset())

    def test_a_new_key_without_cost_is_good(self):
        assert bad(match(), keys=[key(cost="0", status=KeyStatus.NEW)]) == {}

    def test_each_key_has_its_own_alert_and_no_key_is_one_of_its_workspace(self):
        keys = [key("a", status=KeyStatus.NEW), key(None, status=KeyStatus.NEW, workspace_id=None)]
        found = {each.key for each in conditions(match(), keys=keys) if each.bad}
        assert found == {f"{self.NAME.rpartition(':')[0]}:{word}" for word in ("a", "workspace:default")}

    def test_the_open_alert_of_a_key_that_is_in_no_list_any_more_closes(self):
        other_month, other_provider = self.NAME.replace("-10:", "-09:"), self.NAME.replace("anthropic", "openai")
        found = conditions(match(), open_keys=[self.NAME, other_month, other_provider, "stale:litellm"])
        assert [(each.key, each.bad) for each in found if "new_key" in each.key] == [(self.NAME, frozenset())]

    def test_the_open_alerts_of_an_account_that_the_invoice_calls_otherwise_close(self):
        before = "recon:missing_invoice:anthropic:default:2026-10"
        found = conditions(match(), open_keys=[before, "recon:overdue_items:anthropic:default", "recon:x"])
        assert [each.bad for each in found if each.key == before] == [frozenset()]
        assert not [each for each in found if each.key.endswith("default") or each.key == "recon:x"]


class TestUnpriced:
    @pytest.mark.parametrize(
        ("rows", "calls", "worth", "is_bad"),
        [(1, 1000, "25.00", False), (2, 1999, "0.01", True), (1, 100_000, "25.01", True), (0, 0, "0", False)],
    )
    def test_more_than_a_thousandth_of_the_calls_or_worth_more_than_25(self, rows, calls, worth, is_bad):
        evidence = Evidence(calls=calls, unpriced_calls=rows, unpriced_usd=usd(worth))
        assert ("unpriced" in bad(match(evidence=evidence))) is is_bad

    def test_it_names_the_models(self):
        gaps = [
            PricingGap(DAY, "anthropic", model, "standard", 0, CallClass.UNPRICED, cause, 2, 10, usd("0"), usd(amount))
            for model, cause, amount in (
                ("claude-opus-4-5", PricingCause.UNPRICED, "6.00"),
                ("claude-sonnet-4-6", PricingCause.UNPRICED, "20.10"),
                ("claude-haiku-4-5", PricingCause.PRICE_DIFFERS, "99"),
            )
        ]
        evidence = Evidence(calls=3400, unpriced_calls=4, unpriced_usd=usd("26.10"))
        found = bad(match(evidence=evidence, pricing_gaps=gaps))["unpriced"]
        assert (found.severity, found.owner, found.amount) == (Severity.HIGH, "platform", usd("26.10"))
        assert found.text == (
            "4 of 3,400 calls (0.12 %) were logged with tokens and no spend, worth 26.10 USD at the price book. "
            "Limits: 0.1 % of the calls, 25.00 USD. Models: claude-sonnet-4-6 20.10 USD; claude-opus-4-5 6.00 USD. "
            "Fix: give the proxy prices for these models, and compare its map with the price book: tokengov prices "
            "check."
        )


class TestProviderRate:
    @pytest.mark.parametrize(("rate", "is_bad"), [("0.5", False), ("-0.5", False), ("0.51", True), ("-0.51", True)])
    def test_more_than_half_a_percent_of_list_either_way(self, rate, is_bad):
        assert ("provider_rate" in bad(match(components={"provider_rate": rate}))) is is_bad

    def test_it_names_models_with_the_largest_variance_first(self):
        cells = [
            RateCell(DAY, "anthropic", model, "output", None, None, usd(reported), {("acme", "k", None): usd("10")})
            for model, reported in (("claude-haiku-4-5", "10.10"), ("claude-opus-4-5", "8.75"))
        ]
        found = bad(match(components={"provider_rate": "-1.15"}, rate_cells=cells))["provider_rate"]
        assert (found.severity, found.owner) == (Severity.MEDIUM, "finance + vendor manager")
        assert found.amount == usd("1.15")
        assert found.text.startswith(
            "anthropic charges 1.15 USD less than list: 1.15 % of 100.00 USD. Limit: 0.5 %. "
            "Models: claude-opus-4-5 -1.25 USD; claude-haiku-4-5 0.10 USD. Fix: "
        )


class TestQuantity:
    SETTLED = MonthFigures(settled_days=frozenset({DAY}))

    @pytest.mark.parametrize(("proxy", "is_bad"), [(9_900, False), (9_899, True), (10_100, False), (10_101, True)])
    def test_more_than_one_percent_of_the_use_on_the_proxys_keys_either_way(self, proxy, is_bad):
        gap = match(cells=[cell(proxy=proxy, own=10_000)])
        assert ("quantity" in bad(gap, figures=self.SETTLED)) is is_bad

    def test_days_that_are_not_settled_are_not_looked_at(self):
        assert bad(match(cells=[cell(own=10_000)])) == {}

    def test_an_empty_log_is_a_missing_extract_and_not_a_lost_log(self):
        error = MatchError(ErrorCode.MISSING_EXTRACT, "every day", "the proxy logged nothing", "load it")
        assert bad(match(cells=[cell(own=10_000)], errors=[error]), figures=self.SETTLED).keys() == {"missing_extract"}

    def test_it_tells_lost_from_duplicated_and_which_days_to_load(self):
        lost = match(cells=[cell(proxy=9_000, own=10_000), cell(own=50, day=TODAY)], evidence=Evidence(proxy_tokens=1))
        found = bad(lost, figures=self.SETTLED)["quantity"]
        assert (found.severity, found.owner, found.amount) == (Severity.MEDIUM, "platform", usd("10.00"))
        assert found.text == (
            "anthropic metered 10.00 USD more on the proxy's keys than the proxy logged on settled days: 10.00 % of "
            "100.00 USD. Limit: 1.0 %. Either logs are lost, or a key is used past the proxy. Models: "
            "claude-sonnet-4-6 10.00 USD. Fix: load the days again and compare: tokengov load 2026-10-05 2026-10-05."
        )
        twice = bad(match(cells=[cell(proxy=20_000, own=10_000)]), figures=self.SETTLED)["quantity"]
        assert "100.00 USD less on the proxy's keys" in twice.text
        assert "logs are duplicated" in twice.text


class TestClosing:
    def test_a_missing_extract_is_told_at_once_with_its_own_fix(self):
        words = {"what": "the proxy's log of anthropic is missing for 2026-10-05", "fix": "tokengov load 2026-10-05"}
        error = MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-05", **words, amount=usd("-12.00"))
        found = bad(match(errors=[error], status=ReconciliationStatus.BLOCKED))
        assert found.keys() == {"missing_extract"}  # and not a second time as blocked
        told = found["missing_extract"]
        assert (told.severity, told.owner) == (Severity.PAGE, "controller + data owner")
        assert told.amount == usd("12.00")
        assert told.text == f"{words['what']}. Fix: {words['fix']}."

    def test_a_blocked_invoice_is_told_with_what_is_unexplained(self):
        gap = match(states={"W12": "1000"}, components={"unexplained": "-15.01"}, status=ReconciliationStatus.BLOCKED)
        found = bad(gap)["blocked"]
        assert (found.severity, found.amount) == (Severity.PAGE, usd("15.01"))
        assert found.text.startswith("invoice A-1 of 1,000.00 USD: -15.01 USD unexplained, tolerance 5.00 USD. ")

    def test_error_items_are_told_without_an_invoice_too(self):
        errors = [
            MatchError(ErrorCode.UNMAPPED_MODEL, model, f"model {model!r} is in no alias list", "add it", tokens=tokens)
            for model, tokens in (("a", 1), ("b", 9), ("c", 5), ("d", 2))
        ]
        gap = match(errors=errors, invoice=None, status=ReconciliationStatus.MISSING_INVOICE)
        found = bad(gap)
        assert found.keys() == {"error_items"}
        assert (found["error_items"].severity, found["error_items"].owner) == (Severity.HIGH, "platform + data owner")
        assert found["error_items"].text == (
            "model 'b' is in no alias list. model 'c' is in no alias list. model 'd' is in no alias list. And 1 more. "
            "Fix: add it."
        )
        assert bad(match(errors=errors, status=ReconciliationStatus.BLOCKED)).keys() == {"error_items", "blocked"}

    @pytest.mark.parametrize(("today", "is_bad"), [("2026-10-20", False), ("2026-11-03", False), ("2026-11-04", True)])
    def test_a_missing_invoice_is_told_from_the_third_business_day_on(self, today, is_bad):
        gap = match(invoice=None, status=ReconciliationStatus.MISSING_INVOICE)
        found = bad(gap, today=dt.date.fromisoformat(today))
        assert ("missing_invoice" in found) is is_bad
        if is_bad:
            assert found["missing_invoice"].amount == usd("100")
            assert found["missing_invoice"].text == (
                "There is no invoice for 100.00 USD that the reports show. It was due on 2026-11-04. "
                "Fix: get it from the provider's console: tokengov invoice new anthropic 2026-10."
            )

    def test_a_provider_without_any_use_needs_no_invoice(self):
        nothing = {"W0": "0", "W7": "0"}
        gap = match(invoice=None, status=ReconciliationStatus.MISSING_INVOICE, states=nothing)
        assert "missing_invoice" not in bad(gap, today=dt.date(2026, 11, 20))

    @pytest.mark.parametrize(("month", "third"), [("2026-11", 4), ("2026-08", 5), ("2026-06", 3), ("2027-01", 5)])
    def test_business_days_are_weekdays(self, month, third):
        assert business_day(BillingMonth.parse(month), 3).day == third


class TestCoverage:
    @pytest.mark.parametrize(("own", "is_bad"), [("98", False), ("97.999999999999", True), ("84", True)])
    def test_below_98_percent_exactly(self, own, is_bad):
        assert ("coverage" in bad(match(states={"W4": own}))) is is_bad

    def test_it_shows_both_parts_and_counts_exceptions(self):
        found = bad(match(states={"W4": "84"}), keys=[key(cost="16", status=KeyStatus.EXCEPTED)])["coverage"]
        assert (found.severity, found.owner, found.amount) == (Severity.MEDIUM, "platform", usd("16"))
        assert found.text.startswith(
            "84.00 % of the use at list went through the proxy: 84.00 USD of 100.00 USD. Target: 98.0 %. Keys: "
        )

    def test_a_month_without_any_use_is_no_failure(self):
        assert "coverage" not in bad(match(states={"W4": "0", "W5": "0"}))


class TestFinance:
    @pytest.mark.parametrize(
        ("expires", "is_bad"),
        [("2026-11-01", False), ("2026-11-02", True), ("2027-01-01", True), ("2027-01-02", False)],
    )
    def test_credits_that_expire_within_60_days(self, expires, is_bad):
        credit = ExpiringCredit("grant of 2026-01-02", usd("250.00"), dt.date.fromisoformat(expires))
        found = bad(match(), figures=MonthFigures(credits=[credit]))
        assert ("credits_expiring" in found) is is_bad
        if is_bad:
            told = found["credits_expiring"]
            assert (told.severity, told.owner, told.amount) == (Severity.INFO, "finance", usd("250.00"))
            assert told.key == "recon:credits_expiring:anthropic:acme"
            assert f"250.00 USD on {expires} (grant of 2026-01-02)" in told.text

    def test_a_class_of_line_that_the_invoice_before_did_not_have(self):
        before, now = frozenset({"usage", "tax vat"}), frozenset({"usage", "commitment priority tier"})
        found = bad(match(), figures=MonthFigures(line_classes=now, previous_line_classes=before))["new_line_class"]
        assert (found.severity, found.owner, found.amount) == (Severity.INFO, "finance", None)
        assert found.text.startswith(
            "The invoice has lines that the one before did not have: commitment priority tier."
        )
        assert bad(match(), figures=MonthFigures(line_classes=now, previous_line_classes=None)) == {}
        assert bad(match(), figures=MonthFigures(line_classes=now, previous_line_classes=now | before)) == {}

    def test_a_class_is_kind_and_description_without_dates_and_models(self):
        lines = [
            InvoiceLine(1, "usage", usd("1"), "Claude Sonnet 4.6 input", model="claude-sonnet-4-6"),
            InvoiceLine(2, "commitment", usd("1"), "Priority Tier, October 2026"),
            InvoiceLine(3, "commitment", usd("1"), "Priority Tier, 2026-11-01 - 2026-11-30"),
            InvoiceLine(4, "credit", usd("-1"), "Marketplace credit of 3 Nov 2026"),
            InvoiceLine(5, "tax", usd("1")),
        ]
        assert line_classes(lines) == {"usage", "commitment priority tier", "credit marketplace credit of", "tax"}


class TestOverdue:
    def item(self, opened, amount="7.00", status=ItemStatus.OPEN):
        return ReconcilingItem(
            item_id=f"I-{opened}", billing_month=BillingMonth(2026, 7), provider="anthropic", account="acme",
            invoice_id="A-0", period_start=DAY, period_end=DAY, component="provider_rate", cell="x", what="y",
            opened_on=dt.date.fromisoformat(opened), amount=usd(amount), currency="USD", owner="finance",
            starts_as=ItemStatus.OPEN, status=status, evidence_link="", expected_clear_by=None,
        )  # fmt: skip

    def test_items_open_for_more_than_90_days_page_the_controller_gross(self):
        exactly_90 = self.item("2026-08-04")
        assert bad(match(), figures=MonthFigures(items=[exactly_90])) == {}
        items = [exactly_90, self.item("2026-08-03", "7.00"), self.item("2026-08-01", "-7.00")]
        items.append(self.item("2026-07-01", "99", ItemStatus.RESOLVED))
        found = bad(match(), figures=MonthFigures(items=items))["overdue_items"]
        assert (found.severity, found.owner, found.amount) == (Severity.PAGE, "controller", usd("14.00"))
        assert found.text.startswith(
            "2 items are open for more than 90 days, 14.00 USD gross: I-2026-08-01 -7.00 USD (provider_rate); "
            "I-2026-08-03 7.00 USD (provider_rate). Fix: "
        )

    def test_only_the_running_month_and_the_one_before_look_at_what_is_true_of_today(self):
        known = MonthFigures(credits=(), items=())
        for today, looks in (("2026-12-01", 0), ("2026-11-30", 2), ("2026-10-20", 2)):
            found = conditions(match(), today=dt.date.fromisoformat(today), figures=known)
            assert len([each for each in found if each.key.endswith("acme")]) == looks

    def test_what_nobody_looked_at_closes_nothing(self):
        assert not [each for each in conditions(match()) if each.key.endswith("acme")]


def finding(kind, amount, words, provider="anthropic", raises_alert=True):
    what = {"keys": ("...er 7",), "models": ("claude-sonnet-4-6",), "tokens": 10, "next_step": "rotate the key"}
    days = {"first_day": DAY, "last_day": DAY}
    return BypassFinding(
        kind=kind, provider=provider, amount=usd(amount), words=words, raises_alert=raises_alert, **what, **days
    )


def test_a_leaked_key_pages_security_and_other_findings_are_told_by_their_components():
    leaked = FindingKind.LEAKED_KEY
    findings = [
        finding(FindingKind.LOST_LOGS, "9", "x"),
        finding(leaked, "1", "y", provider="openai"),
        finding(leaked, "1", "z", raises_alert=False),
        finding(leaked, "40", "Key ...er 7 was used by ada@example.com outside the proxy."),
    ]
    found = bad(match(), findings=findings)
    assert found.keys() == {"leaked_key"}
    told = found["leaked_key"]
    assert (told.severity, told.owner, told.amount) == (Severity.PAGE, "security", usd("40"))
    assert told.text == "Key ...er 7 was used by (e-mail) outside the proxy. Fix: rotate the key."


class TestTogether:
    def test_two_invoices_of_an_account_are_judged_together(self):
        first, second = match(components={"unproxied": "0.9"}), match(components={"unproxied": "1.2"}, invoice="A-2")
        found = bad(first, second)["unproxied"]
        assert found.amount == usd("2.1")  # of 200.00
        assert bad(first, match(components={"unproxied": "1.1"}, invoice="A-2")) == {}

    def test_accounts_are_judged_apart_each_with_its_own_keys(self):
        gaps = [match(components={"unproxied": "5"}), match(account="lab", components={"unproxied": "5"})]
        excepted = key(cost="5", status=KeyStatus.EXCEPTED, account="lab")
        found = [each.key for each in conditions(*gaps, keys=[excepted]) if each.bad]
        assert found == ["recon:unproxied:anthropic:acme:2026-10"]

    def test_the_limits_are_those_of_the_policy(self):
        assert bad(match(components={"unproxied": "2"}), limits=AlertLimits(unproxied_pct=usd("2.0"))) == {}

    def test_the_limits_default_to_those_of_the_shipped_policy(self):
        policy = AlertPolicy()
        assert AlertLimits() == AlertLimits(**{each.name: getattr(policy, each.name) for each in fields(AlertLimits)})

    def test_a_key_of_an_alert_tells_its_parts_apart(self):
        assert alert_key("blocked", "openai", "a:b", "2026-10") == "recon:blocked:openai:a-b:2026-10"
        assert alert_key("overdue_items", "openai", "", "") == "recon:overdue_items:openai:-"

    @given(st.decimals("0", "1000000", places=12), st.decimals("0", "1000000", places=12))
    def test_a_share_is_compared_without_any_rounding(self, outside, cost):
        found = bad(match(states={"W7": str(cost)}, components={"unproxied": str(outside)}))
        assert ("unproxied" in found) == (outside * 100 > cost)

    def test_no_word_holds_an_e_mail(self):
        keys = [key(status=KeyStatus.NEW, workspace_name="ada@example.com", key_name="ada@example.com")]
        found = conditions(match(components={"unproxied": "5"}, states={"W4": "5"}), keys=keys)
        assert not [each for each in found if "@" in each.title + each.text + each.owner + each.key]
