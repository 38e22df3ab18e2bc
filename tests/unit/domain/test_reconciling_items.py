"""Open items: what a reconciliation leaves for people, how it ages, how it is settled (rule 4.8)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass import EvidenceLevel, KeyAction, KeyStatus, OwnerBasis, UnproxiedKey
from tokengov_pipelines.domain.match_result import (
    CellMatch,
    ErrorCode,
    LineDifference,
    LineOutcome,
    MatchError,
    PricingCause,
    PricingGap,
    RateCell,
)
from tokengov_pipelines.domain.open_item import (
    BUCKETS,
    ItemStatus,
    aging,
    aging_day,
    blocks_matched,
    bucket_name,
    carry_over,
)
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import PriceStatus
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.domain.resolutions import (
    Reopening,
    Resolution,
    ResolutionCode,
    adjusting_lines,
    amount_to_resolve,
    apply_events,
    reopening_refusal,
    resolution_refusal,
)

D = Decimal
OCTOBER = BillingMonth(2026, 10)
INVOICED = dt.date(2026, 11, 3)
AT = dt.datetime(2026, 11, 10, 9, tzinfo=dt.UTC)
MIN = D("1.00")


def october(**components):
    return reconciled("anthropic", "ANT-10", OCTOBER, "100.00", **components)


def found(rec, unproxied=(), opened_on=INVOICED):
    return reconciling_items(rec, opened_on=opened_on, item_min_usd=MIN, unproxied=unproxied)


def gap(day, logged, repriced, *, model="claude-opus-4-5", cause=PricingCause.PRICE_DIFFERS, tier="standard"):
    day = dt.date(2026, 10, day)
    amounts = (D(logged), D(repriced))
    return PricingGap(day, "anthropic", model, tier, 0, CallClass.CALL, cause, 10, 1000, *amounts)


def cell(own, proxy, *, day=5, tier="standard", price="0.000010", standard="0.000010", token_type="output"):
    day = dt.date(2026, 10, day)
    place = ("anthropic", "claude-opus-4-5", token_type, tier, 0, "global", "standard")
    return CellMatch(day, *place, proxy, own, 0, D(price), D(standard), PriceStatus.EXACT)


def key(name="ci-runner", cost="13.50", status=KeyStatus.OPEN, **changes):
    values = {
        "provider": "anthropic",
        "account": "acme-prod",
        "workspace_id": "wrkspc_ci",
        "workspace_name": "ci-lab",
        "key_id": f"apikey_{name}",
        "key_name": name,
        "created_by": "Noor Haddad",
        "created_at": dt.datetime(2026, 9, 1, tzinfo=dt.UTC),
        "first_seen": dt.date(2026, 10, 4),
        "last_seen": dt.date(2026, 10, 30),
        "days_active": 12,
        "models": ("claude-sonnet-4-6",),
        "tokens": {"uncached_input": 2_000_000, "output": 500_000},
        "list_usd": D(cost),
        "actual_usd": D(cost),
        "cost_usd": D(cost),
        "cost_last_30d_usd": D(cost),
        "largest_day_usd": D(cost),
        "evidence": EvidenceLevel.E1,
        "suggested_owner": "CC-300",
        "owner_basis": OwnerBasis.WORKSPACE,
        "action": KeyAction.MOVE_TO_PROXY,
        "due_date": dt.date(2026, 10, 18),
        "status": status,
    }
    return UnproxiedKey(**(values | changes))


def one(items, component):
    (item,) = (item for item in items if item.component == component)
    return item


def settled(item, amount, code=ResolutionCode.VENDOR_CREDIT, seq=1):
    return Resolution(seq, AT, item.item_id, code, D(amount), "USD", "credit note CN-7", "Ada", "Grace")


def refusal(item, amount=None, **changes):
    values = {
        "code": ResolutionCode.DATA_FIX,
        "evidence": "load 7",
        "by": "Ada",
        "approver": "Grace",
        "controllers": {"Renata Coll", "renata.coll@example.com"},
        "write_off_controller_usd": D("100.00"),
    }
    exact = amount_to_resolve(item, None if amount is None else D(amount))
    return resolution_refusal(item, amount=exact, **(values | changes))


class TestWhichItems:
    def test_a_row_logged_too_high_and_one_too_low_never_cancel(self):
        rec = replace(
            october(), pricing_gaps=(gap(1, "10", "7"), gap(2, "3", "9"), gap(3, "1", "2.5"), gap(4, "5", "5"))
        )
        items = found(rec)
        assert [(item.component, item.cell, item.amount) for item in items] == [
            ("proxy_pricing", "claude-opus-4-5 standard: price differs, logged too high", D("-3")),
            ("proxy_pricing", "claude-opus-4-5 standard: price differs, logged too low", D("7.5")),
        ]
        assert items[1].what == "20 calls on 2 days logged at 4.00, worth 11.50 by the price book"
        assert items[1].amount.as_tuple().exponent == -12
        assert {item.owner for item in items} == {"platform"}

    def test_causes_and_tiers_are_items_of_their_own(self):
        gaps = (gap(1, "0", "6", cause=PricingCause.UNPRICED), gap(1, "0", "6"), gap(1, "0", "6", tier="batch"))
        assert len({item.item_id for item in found(replace(october(), pricing_gaps=gaps))}) == 3

    def test_quantity_is_one_item_a_cell_over_the_days_of_the_period(self):
        rec = replace(october(), cells=(cell(500_000, 300_000, day=5), cell(250_000, 300_000, day=6)))
        (item,) = found(rec)
        assert (item.component, item.cell) == ("quantity", "claude-opus-4-5 output")
        assert item.amount == D("1.5")
        assert item.what == "750,000 tokens reported on the proxy's keys, 600,000 logged"
        assert "fct_reconciliation_cells_daily model=claude-opus-4-5" in item.evidence_link

    def test_a_batch_call_logged_as_standard_is_no_loss_and_one_item_of_its_tier(self):
        rec = replace(october(), cells=(cell(0, 400_000), cell(400_000, 0, tier="batch", price="0.000005")))
        assert [(item.component, item.amount) for item in found(rec)] == [
            ("tier_discount", D("-2")),
        ]

    def test_an_unproxied_key_belongs_to_its_suggested_owner(self):
        items = found(october(), [key(), key("old", status=KeyStatus.EXCEPTED), key("tiny", "0.90")])
        assert [(item.cell, item.amount, item.owner, item.status) for item in items] == [
            ("anthropic, workspace ci-lab, key ...nner", D("13.5"), "CC-300", "open"),
            ("anthropic, workspace ci-lab, key ...old", D("13.5"), "CC-300", "explained"),
        ]
        assert items[0].expected_clear_by == dt.date(2026, 10, 18)
        assert items[0].what == ("E1 used claude-sonnet-4-6 on 12 days, last on 2026-10-30; move to proxy")

    def test_keys_of_another_provider_or_account_are_not_this_reconciliations(self):
        others = [key(provider="openai"), key("b", account="acme-eu"), key("a")]
        assert [item.cell for item in found(october(), others)] == ["anthropic, workspace ci-lab, key ...a"]

    def test_a_rate_is_one_item_a_model_and_token_type(self):
        def rate(day, reported, listed, token_type="output"):
            day = dt.date(2026, 10, day)
            place = ("anthropic", "claude-opus-4-5", token_type, "standard", None)
            return RateCell(day, *place, D(reported), {("acme-prod", "k", None): D(listed)})

        rec = replace(october(), rate_cells=(rate(1, "9", "10"), rate(2, "8", "10"), rate(2, "1.5", "2", "cache_read")))
        (item,) = found(rec)  # half a dollar of cache reads is below the least item
        assert (item.component, item.cell, item.amount) == ("provider_rate", "claude-opus-4-5 output", D("-3"))
        assert (item.what, item.owner) == ("reported 17.00, at list 20.00", "vendor manager")

    def test_what_a_statement_explains_is_explained_and_rounding_is_no_item(self):
        parts = {"timing": "3", "non_token": "10", "commitment": "50", "credits_discounts": "-20", "tax": "13.43"}
        items = found(october(rounding="7", **parts))
        assert [(item.component, item.status) for item in items] == [(name, "explained") for name in parts]
        assert [item.expected_clear_by for item in items] == [dt.date(2026, 12, 4), None, None, None, None]
        assert [item.open_amount for item in items] == [0, 0, 0, 0, 0]

    def test_a_line_difference_is_an_item_and_a_two_way_rate_is_the_vendor_managers(self):
        lines = (
            LineDifference("claude-opus-4-5 output", (3,), D("120.25"), D("118.00"), LineOutcome.UNEXPLAINED),
            LineDifference("claude-haiku-4-5 output", (), D(0), D("4.00"), LineOutcome.NOT_INVOICED),
            LineDifference("claude-sonnet-4-6 output", (5,), D("90"), D("100"), LineOutcome.PROVIDER_RATE),
            LineDifference("claude-sonnet-4-6 input", (6,), D("2.004"), D("2"), LineOutcome.ROUNDING),
        )
        items = found(replace(october(), line_differences=lines))
        assert [(item.component, item.amount, item.owner) for item in items] == [
            ("unexplained", D("2.25"), "finance"),
            ("unexplained", D("-4"), "finance"),
            ("provider_rate", D("-10"), "vendor manager"),
        ]
        assert items[0].what == "unexplained: invoiced 120.25, reported 118.00"
        assert items[0].evidence_link == "raw/invoices ANT-10 line 3"

    def test_an_error_is_an_item_whatever_its_amount(self):
        errors = (
            MatchError(ErrorCode.UNMAPPED_MODEL, "claude-next", "no alias", "add it", tokens=7),
            MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-03", "the log is missing", "load it", amount=D("12.5")),
            MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-03", "said twice", "load it", amount=D("1")),
        )
        items = found(replace(october(), errors=errors))
        assert [(item.component, item.cell, item.amount, item.is_error) for item in items] == [
            ("unmapped_model", "claude-next", 0, True),
            ("missing_extract", "2026-10-03", D("13.5"), True),
        ]
        assert items[0].what == "no alias. Fix: add it"
        assert items[0].expected_clear_by == dt.date(2026, 11, 8)

    @pytest.mark.parametrize(("amount", "is_item"), [("1.00", False), ("1.000000000001", True), ("-1.01", True)])
    def test_an_item_is_larger_than_the_least_amount(self, amount, is_item):
        assert bool(found(october(timing=amount))) is is_item


class TestNames:
    def test_an_id_is_readable_and_of_the_thing_not_of_its_amount(self):
        one_run, other_run = found(october(timing="3")), found(october(timing="4.5"))
        assert one_run[0].item_id == other_run[0].item_id
        assert one_run[0].item_id.startswith("2026-10-timing-")
        assert len(one_run[0].item_id) == len("2026-10-timing-") + 12

    def test_the_same_everywhere_and_always(self):
        assert found(october(timing="3"))[0].item_id == "2026-10-timing-1468304d69e7"

    def test_what_the_legs_show_stays_the_same_item_when_the_invoice_comes(self):
        rec = replace(october(), cells=(cell(500_000, 300_000),))
        before = replace(rec, invoice_id=None, components={}, states={"W0": D(1), "W7": D(1)})
        assert [item.item_id for item in found(before)] == [item.item_id for item in found(rec)]

    def test_an_invoice_over_two_months_has_its_items_once(self):
        period = InvoicePeriod(dt.date(2026, 10, 15), dt.date(2026, 11, 15))
        in_october = replace(october(timing="3"), cells=(cell(500_000, 300_000),), period=period)
        in_november = replace(in_october, month=BillingMonth(2026, 11))
        first, second = found(in_october), found(in_november)
        assert one(first, "quantity").item_id == one(second, "quantity").item_id
        assert one(second, "quantity").billing_month == OCTOBER
        assert one(first, "timing").item_id != one(second, "timing").item_id

    def test_two_invoices_have_two_sets_of_items(self):
        assert found(october(tax="3"))[0].item_id != found(replace(october(tax="3"), invoice_id="ANT-11"))[0].item_id


class TestAge:
    @pytest.mark.parametrize(
        ("days", "bucket", "owner"),
        [
            (-2, "0-30", "finance"),
            (0, "0-30", "finance"),
            (30, "0-30", "finance"),
            (31, "31-60", "finance"),
            (60, "31-60", "finance"),
            (61, "61-90", "finance"),
            (90, "61-90", "finance"),
            (91, ">90", "controller"),
        ],
    )
    def test_buckets_and_the_day_it_escalates(self, days, bucket, owner):
        lines = (LineDifference("x", (1,), D(5), D(0), LineOutcome.UNEXPLAINED),)
        (item,) = found(replace(october(), line_differences=lines))
        as_of = INVOICED + dt.timedelta(days=days)
        assert (item.bucket(as_of), item.owner_on(as_of)) == (bucket, owner)
        assert bool(blocks_matched([item], as_of)) is (days > 90)

    def test_the_explained_never_block(self):
        assert blocks_matched(found(october(tax="5")), dt.date(2030, 1, 1)) == []

    def test_net_and_gross_by_bucket_so_that_no_item_hides_another(self):
        lines = tuple(
            LineDifference(name, (1,), D(amount), D(0), LineOutcome.UNEXPLAINED)
            for name, amount in (("a", "40"), ("b", "-39"))
        )
        errors = (MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-03", "w", "f", amount=D(12)),)
        items = found(replace(october(tax="9"), line_differences=lines, errors=errors))
        old = found(replace(october(), line_differences=lines[:1]), opened_on=dt.date(2026, 7, 1))
        totals = aging([*items, *old], INVOICED)
        assert [(total.bucket, total.items, total.errors, total.net, total.gross) for total in totals] == [
            ("0-30", 3, 1, D(1), D(79)),
            ("31-60", 0, 0, 0, 0),
            ("61-90", 0, 0, 0, 0),
            (">90", 1, 0, D(40), D(40)),
        ]

    @given(st.dates(dt.date(2020, 1, 1), dt.date(2040, 1, 1)))
    def test_every_day_has_one_bucket(self, as_of):
        (item,) = found(october(tax="5"))
        assert item.bucket(as_of) in {bucket_name(*ends) for ends in BUCKETS}

    def test_a_pack_counts_ages_to_the_fifth_business_day(self):
        assert aging_day(OCTOBER) == dt.date(2026, 11, 6)
        assert aging_day(BillingMonth(2026, 7)) == dt.date(2026, 8, 7)  # the 1st is a Saturday


class TestCarriedOver:
    def test_what_was_open_stays_until_it_is_resolved(self):
        lines = tuple(LineDifference(n, (1,), D(9), D(0), LineOutcome.UNEXPLAINED) for n in "abc")
        earlier = found(replace(october(tax="5"), line_differences=lines))
        done = apply_events(earlier, [settled(earlier[2], "9")])
        november = found(replace(october(timing="3"), month=BillingMonth(2026, 11)), opened_on=dt.date(2026, 12, 2))
        listed = carry_over(november, done)
        assert [(item.component, item.opened_on) for item in listed] == [
            ("timing", dt.date(2026, 12, 2)),
            ("unexplained", INVOICED),
            ("unexplained", INVOICED),
        ]
        assert carry_over(november, listed) == listed

    def test_a_key_is_one_item_however_many_invoices_bill_a_day_of_the_month(self):
        halves = [(dt.date(2026, 9, 15), dt.date(2026, 10, 15)), (dt.date(2026, 10, 15), dt.date(2026, 11, 15))]
        recs = [replace(october(), invoice_id=str(ends[0]), period=InvoicePeriod(*ends)) for ends in halves]
        listed = carry_over([item for rec in recs for item in found(rec, [key()])], [])
        assert [(item.component, item.invoice_id) for item in listed] == [("unproxied", "2026-09-15")]


class TestSettled:
    @pytest.fixture
    def item(self):
        lines = (LineDifference("a", (1,), D("150.254999"), D(0), LineOutcome.UNEXPLAINED),)
        (item,) = found(replace(october(), line_differences=lines))
        return item

    def test_a_resolution_adds_a_line_of_the_opposite_sign(self, item):
        event = settled(item, "150.254999")
        (now,) = apply_events([item], [event])
        assert (now.status, now.open_amount, now.amount) == ("resolved", 0, D("150.254999"))
        (line,) = adjusting_lines([item], [event])
        assert (line.code, line.amount, line.currency) == ("vendor_credit", D("-150.254999"), "USD")

    def test_partly(self, item):
        first, second = settled(item, "100"), settled(item, "50.254999", ResolutionCode.WRITE_OFF, seq=2)
        (partly,) = apply_events([item], [first])
        assert (partly.status, partly.open_amount) == ("open", D("50.254999"))
        (done,) = apply_events([item], [second, first])
        assert (done.status, done.open_amount) == ("written_off", 0)

    def test_reopening_brings_it_all_back(self, item):
        events = [settled(item, "150.254999"), Reopening(2, AT, item.item_id, "Ada", "the credit was for September")]
        (now,) = apply_events([item], events)
        assert (now.status, now.open_amount) == ("reopened", D("150.254999"))
        assert [line.amount for line in adjusting_lines([item], events)] == [D("-150.254999"), D("150.254999")]
        (again,) = apply_events([item], [*events, settled(item, "150.25", seq=3)])
        assert again.status == "resolved"  # what is left rounds to nothing

    def test_an_amount_that_moves_afterwards_is_open_with_the_difference(self, item):
        (now,) = apply_events([replace(item, amount=D("160"))], [settled(item, "150")])
        assert (now.status, now.open_amount) == ("open", D("10"))

    def test_applying_twice_is_applying_once(self, item):
        once = apply_events([item], [settled(item, "100")])
        assert apply_events(once, [settled(item, "100")]) == once

    def test_an_error_without_an_amount_is_settled_by_zero(self):
        (error,) = found(replace(october(), errors=(MatchError(ErrorCode.MISSING_PRICE, "m", "w", "f"),)))
        assert refusal(error) is None
        (now,) = apply_events([error], [settled(error, "0", ResolutionCode.DATA_FIX)])
        assert now.status == "resolved"
        assert "has no amount" in refusal(error, "5")

    def test_cents_mean_all_of_it(self, item):
        assert amount_to_resolve(item, None) == D("150.254999")
        assert amount_to_resolve(item, D("150.25")) == D("150.254999")
        assert amount_to_resolve(item, D("150.24")) == D("150.24")

    @pytest.mark.parametrize(
        ("amount", "changes", "says"),
        [
            (None, {"approver": " ADA "}, "cannot both settle and approve"),
            (None, {"by": ""}, "two people"),
            (None, {"evidence": "  "}, "on evidence"),
            ("0", {}, "no part of what is left"),
            ("-10", {}, "no part of what is left"),
            ("150.26", {}, "no part of what is left"),
            (None, {"code": ResolutionCode.WRITE_OFF}, "needs a controller, and Grace is none"),
            ("100.01", {"code": ResolutionCode.WRITE_OFF}, "needs a controller"),
        ],
    )
    def test_what_breaks_a_rule_is_refused_with_its_fix(self, item, amount, changes, says):
        words = refusal(item, amount, **changes)
        assert says in words
        assert "Fix: " in words

    def test_a_small_write_off_or_a_controllers_is_not(self, item):
        assert refusal(item, "100.00", code=ResolutionCode.WRITE_OFF) is None
        assert refusal(item, code=ResolutionCode.WRITE_OFF, approver="Renata.Coll@example.com") is None

    def test_a_large_write_off_in_small_parts_needs_a_controller_too(self, item):
        (partly,) = apply_events([item], [settled(item, "60", ResolutionCode.WRITE_OFF)])
        assert "needs a controller" in refusal(partly, "60", code=ResolutionCode.WRITE_OFF)

    def test_a_credit_is_settled_with_its_own_sign(self, item):
        credit = replace(item, amount=D("-8"))
        assert refusal(credit, "-8") is None
        assert "no part" in refusal(credit, "8")

    def test_what_is_settled_is_settled(self, item):
        (done,) = apply_events([item], [settled(item, "150.25")])
        assert "is resolved already" in refusal(done)

    def test_reopening_needs_a_person_and_something_to_reopen(self, item):
        assert "is open" in reopening_refusal(item, by="Ada", reason="x")
        explained = replace(item, starts_as=ItemStatus.EXPLAINED, status=ItemStatus.EXPLAINED)
        assert reopening_refusal(explained, by="Ada", reason="not this credit") is None
        assert "for a reason" in reopening_refusal(explained, by="Ada", reason=" ")
