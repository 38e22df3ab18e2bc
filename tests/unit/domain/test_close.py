"""What holds a month open, with its figures and the command that lifts it (rule 2.4)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTERS, POLICY, SUSPENSE, basis, billed, header
from tests.reconciliations import reconciled
from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge, charge_month
from tokengov_pipelines.domain.close import Waiver, WaiverSubject, close_blockers
from tokengov_pipelines.domain.close_facts import CloseFacts, InvoiceFacts, invoice_facts
from tokengov_pipelines.domain.match_result import ErrorCode, MatchError
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.price_review import UnapprovedBook
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus

SEPTEMBER = BillingMonth(2026, 9)
INVOICE = InvoiceFacts(
    provider="anthropic",
    invoice_id="INV-19",
    currency="USD",
    total=Decimal("928.08"),
    charged=Decimal("928.08"),
    suspense=Decimal("10.00"),
    unexplained=Decimal("0.00"),
    status=ReconciliationStatus.MATCHED,
)
CLEAN = CloseFacts(
    month=SEPTEMBER,
    missing_days={"raw/litellm_spend_logs": []},
    logged={"anthropic": Decimal("900.000000000000")},
    invoices=[INVOICE],
    quarantined_calls=0,
    quarantined_spend=Decimal(0),
    max_suspense_pct=Decimal("2.0"),
    preparer="Ada",
    approver="Grace",
    controllers=frozenset({"Grace", "grace@acme.example"}),
)


def waiver(subject, provider=None, approved_by="Grace", limit=None, **changes):
    signed = Waiver(
        id=1,
        month=SEPTEMBER,
        provider=provider,
        subject=WaiverSubject(subject),
        reason="agreed",
        requested_by="Ada",
        approved_by=approved_by,
        limit_amount=limit,
        granted_at=dt.datetime(2026, 10, 7, 9, tzinfo=dt.UTC),
    )
    return replace(signed, **changes)


def with_invoice(**changes):
    return replace(CLEAN, invoices=[replace(INVOICE, **changes)])


def codes(facts, *waivers):
    return [blocker.code for blocker in close_blockers(facts, waivers)]


def test_a_clean_month_closes():
    assert close_blockers(CLEAN, []) == []


def test_suspense_of_the_rule_books_example_needs_a_signed_waiver():
    facts = with_invoice(suspense=Decimal("50.53"))
    (blocker,) = close_blockers(facts, [])
    assert blocker.code == "suspense_above_limit"
    assert blocker.what == ("anthropic invoice INV-19: suspense holds 50.53 of 928.08 USD, 5.44 %; the limit is 2.0 %")
    assert blocker.fix == (
        'tokengov waive 2026-09 suspense --provider anthropic --reason "..." --requested-by A --approved-by B'
    )
    assert codes(facts, waiver("suspense", "anthropic")) == []


@pytest.mark.parametrize(
    ("suspense", "total", "held"),
    [
        ("20.00", "1000.00", False),  # exactly 2 %
        ("20.01", "1000.00", True),
        ("-20.01", "-1000.00", True),  # a credit note
        ("0.00", "0.00", False),
        ("0.01", "0.00", True),
    ],
)
def test_the_suspense_limit_is_inclusive_and_never_divides(suspense, total, held):
    facts = with_invoice(suspense=Decimal(suspense), total=Decimal(total), charged=Decimal(total))
    assert codes(facts) == (["suspense_above_limit"] if held else [])


@pytest.mark.parametrize(
    "useless",
    [
        waiver("quarantine"),
        waiver("suspense", "openai"),
        waiver("suspense", limit=Decimal("50.52")),
        waiver("suspense", month=BillingMonth(2026, 8)),
        waiver("suspense", revoked_at=dt.datetime(2026, 10, 8, tzinfo=dt.UTC)),
    ],
    ids=["other subject", "other provider", "limit too low", "other month", "revoked"],
)
def test_a_waiver_covers_only_what_it_says(useless):
    facts = with_invoice(suspense=Decimal("50.53"))
    assert codes(facts, useless) == ["suspense_above_limit"]
    assert codes(facts, useless, waiver("suspense", limit=Decimal("50.53"))) == []


def test_missing_days_are_listed_by_source_and_no_waiver_lifts_them():
    days = [dt.date(2026, 9, day) for day in (30, 2, 3, 4, 5, 6)]
    facts = replace(CLEAN, missing_days={"raw/litellm_spend_logs": days, "raw/litellm_teams": []})
    (blocker,) = close_blockers(facts, [waiver(subject) for subject in WaiverSubject])
    assert blocker.code == "missing_extract"
    assert (
        "6 of the 30 days of 2026-09: 2026-09-02, 2026-09-03, 2026-09-04, 2026-09-05, 2026-09-06, ..." in blocker.what
    )
    assert blocker.fix == "tokengov load 2026-09-02 2026-09-30"


def test_days_that_were_read_and_held_nothing_are_not_zero_and_not_read_again_in_vain():
    days = [dt.date(2026, 9, day) for day in (1, 2)]
    (blocker,) = close_blockers(replace(CLEAN, empty_days={"raw/litellm_spend_logs": days}), [])
    assert blocker.code == "missing_extract"
    assert blocker.what == (
        "raw/litellm_spend_logs was read and is empty for 2 of the 30 days of 2026-09: 2026-09-01, 2026-09-02; "
        "nothing proves that it covers them, so they do not count as zero"
    )
    assert blocker.fix.endswith("TOKENGOV_LITELLM_URL, then tokengov load 2026-09-01 2026-09-02")


def test_a_day_whose_source_shrank_is_accepted_or_waived():
    days = {dt.date(2026, 9, 9): "9 rows became 7", dt.date(2026, 9, 2): "3 request_ids are gone"}
    facts = replace(CLEAN, shrunk_days=days)
    first, second = close_blockers(facts, [waiver("quarantine")])
    assert {first.code, second.code} == {"source_shrank"}
    assert first.what == "the latest load of 2026-09-02 held less than the one before it: 3 request_ids are gone"
    assert first.fix.startswith("tokengov accept-shrink 2026-09-02 ")
    assert "tokengov waive 2026-09 shrink" in first.fix
    assert codes(facts, waiver("shrink")) == []


def test_logged_spend_needs_an_invoice():
    facts = replace(CLEAN, logged={**CLEAN.logged, "openai": Decimal("12.340000000000"), "google": Decimal(0)})
    (blocker,) = close_blockers(facts, [])
    assert blocker.code == "missing_invoice"
    assert "openai logged 12.340000000000 USD in 2026-09" in blocker.what
    assert blocker.fix == "tokengov invoice new openai 2026-09"


def test_a_chargeback_problem_is_a_blocker_and_is_said_once():
    several = ChargebackProblem("several_invoices", "openai", "openai has 2 invoices", "enter it as one")
    missing = ChargebackProblem("missing_invoice", "mistral", "mistral has no invoice", "tokengov invoice new ...")
    facts = replace(CLEAN, logged={"openai": Decimal(1), "mistral": Decimal(1)}, problems=[several, missing])
    assert codes(facts) == ["missing_invoice", "several_invoices"]


def test_a_wrong_sum_is_never_waived():
    facts = with_invoice(charged=Decimal("928.07"))
    (blocker,) = close_blockers(facts, [waiver(subject) for subject in WaiverSubject])
    assert blocker.code == "charges_do_not_sum"
    assert "a difference of 0.01" in blocker.what


def test_a_blocked_status_is_never_waived():
    facts = with_invoice(status=ReconciliationStatus.BLOCKED, unexplained=Decimal("131.21"))
    (blocker,) = close_blockers(facts, [waiver(subject) for subject in WaiverSubject])
    assert blocker.code == "status_blocked"
    assert "131.21 of 928.08 USD is unexplained (14.14 %)" in blocker.what


def test_investigate_needs_the_waiver_of_a_controller():
    facts = with_invoice(status=ReconciliationStatus.INVESTIGATE, unexplained=Decimal("6.00"))
    assert codes(facts) == ["status_investigate"]
    (blocker,) = close_blockers(facts, [waiver("investigate", "anthropic", approved_by="Bob")])
    assert "approved by Bob is not a controller's" in blocker.what
    assert codes(facts, waiver("investigate", "anthropic", approved_by=" GRACE@acme.example ")) == []
    assert codes(replace(facts, controllers=frozenset()), waiver("investigate")) == ["status_investigate"]


def test_quarantine_is_empty_or_waived():
    facts = replace(CLEAN, quarantined_calls=3, quarantined_spend=Decimal("4.200000000000"))
    (blocker,) = close_blockers(facts, [waiver("quarantine", "anthropic")])
    assert blocker.code == "quarantine_not_empty"
    assert blocker.what.startswith("3 calls of 2026-09 are in quarantine, with 4.200000000000 USD")
    assert codes(facts, waiver("quarantine")) == []
    assert codes(facts, waiver("quarantine", limit=Decimal("4.19"))) == ["quarantine_not_empty"]


@pytest.mark.parametrize(
    ("preparer", "approver", "code"),
    [
        ("Ada", "Ada", "one_person"),
        ("Ada", " ada ", "one_person"),
        ("", "Grace", "not_signed"),
        ("Ada", " ", "not_signed"),
    ],
)
def test_a_close_has_two_people(preparer, approver, code):
    assert codes(replace(CLEAN, preparer=preparer, approver=approver)) == [code]


def test_every_reason_is_told_at_once():
    facts = replace(
        with_invoice(suspense=Decimal("50.53"), status=ReconciliationStatus.BLOCKED, unexplained=Decimal("20.00")),
        missing_days={"raw/litellm_spend_logs": [dt.date(2026, 9, 2)]},
        quarantined_calls=1,
        approver="Ada",
    )
    assert codes(facts) == [
        "missing_extract",
        "status_blocked",
        "suspense_above_limit",
        "quarantine_not_empty",
        "one_person",
    ]


def test_the_facts_of_an_invoice_are_read_off_its_lines():
    invoice = billed(header("106.00", SEPTEMBER), basis({"CC-100": "70", SUSPENSE: "30"}), central="6.00")
    late = PriorPeriodCharge(BillingMonth(2026, 8), "anthropic", "INV-19", SUSPENSE, Decimal("9.00"), "USD", "late")
    lines = charge_month(SEPTEMBER, [invoice], CENTERS, POLICY, 0, [late])
    found = reconciled(
        "anthropic", "INV-19", SEPTEMBER, "100", proxy_pricing="3", volume="2", mix="-5", unexplained="6"
    )
    assert invoice_facts(invoice, lines, SUSPENSE, found) == InvoiceFacts(
        provider="anthropic",
        invoice_id="INV-19",
        currency="USD",
        total=Decimal("106.00"),
        charged=Decimal("106.00"),
        suspense=Decimal("30.00"),
        unexplained=Decimal(6),
        status=ReconciliationStatus.BLOCKED,
        pricing=Decimal(3),
        quantity=Decimal(-3),
        true_up=Decimal(0),
        direct_logged=Decimal(100),
    )


def test_the_total_is_the_months_part_and_without_recoverable_tax():
    """Rules 1.7 and 6.1b: 120.00 payable, 20.00 of it recoverable, 60.00 of the rest in this month."""
    invoice = billed(header("120.00", SEPTEMBER, recoverable_tax=Decimal("20.00")), basis({"CC-100": "60"}))
    part = replace(invoice, pools={pool: amount * Decimal("0.6") for pool, amount in invoice.pools.items()})
    lines = charge_month(SEPTEMBER, [part], CENTERS, POLICY, 0)
    facts = invoice_facts(part, lines, SUSPENSE, reconciled("anthropic", "INV-19", SEPTEMBER, "100"))
    assert (facts.total, facts.charged, facts.suspense) == (Decimal("60.000"), Decimal("60.000"), Decimal(0))


def test_an_accrual_has_no_invoice_to_match_and_two_people_approved_it():
    accrual = billed(header("40.00", SEPTEMBER, invoice_id="ACCRUAL-ANTHROPIC-2026-09"), basis({"CC-100": "40"}))
    lines = charge_month(SEPTEMBER, [accrual], CENTERS, POLICY, 0)
    whole = reconciled("anthropic", "x", SEPTEMBER, "40")
    without = replace(
        whole,
        invoice_id=None,
        states=dict(list(whole.states.items())[:9]),
        components=dict(list(whole.components.items())[:8]),
        status=ReconciliationStatus.MISSING_INVOICE,
    )
    facts = invoice_facts(accrual, lines, SUSPENSE, without)
    assert (facts.status, facts.total, facts.unexplained) == (
        ReconciliationStatus.MATCHED,
        Decimal("40.00"),
        Decimal(0),
    )
    assert codes(replace(CLEAN, logged={"anthropic": Decimal(40)}, invoices=[facts])) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pricing": Decimal("18.00")}, None),  # exactly 2 % of 900.00
        ({"pricing": Decimal("18.01")}, "proxy_pricing is 18.01 (2.00 %)"),
        ({"quantity": Decimal("-45.00")}, "volume + mix is -45.00 (5.00 %)"),
        ({"true_up": Decimal("27.00")}, "the true-up is 27.00 (3.00 %)"),
        # A net figure would let these two cancel (rule 6.1).
        (
            {"pricing": Decimal(-30), "quantity": Decimal(30), "true_up": Decimal(0)},
            "volume + mix is 30.00 (3.33 %), proxy_pricing is -30.00 (3.33 %)",
        ),
    ],
)
def test_pricing_and_quantity_are_held_each_by_itself_until_explained_and_waived(changes, said):
    facts = with_invoice(direct_logged=Decimal("900.00"), **changes)
    blockers = close_blockers(facts, [])
    if said is None:
        assert blockers == []
        return
    (blocker,) = blockers
    assert blocker.code == "true_up_above_limit"
    assert blocker.what == (f"anthropic invoice INV-19: of 900.00 USD logged, {said}; the limit of each is 2.0 %")
    assert codes(facts, waiver("true_up", "anthropic")) == []
    assert codes(facts, waiver("true_up", "anthropic", limit=Decimal("17.00"))) == ["true_up_above_limit"]


def test_an_error_item_holds_the_month_and_no_waiver_lifts_it():
    error = MatchError(ErrorCode.MISSING_PRICE, "m/output/flex", "the price book has no price for m", "add it")
    facts = with_invoice(errors=(error,), status=ReconciliationStatus.BLOCKED)
    assert [str(each) for each in close_blockers(facts, [waiver("investigate"), waiver("true_up")])] == [
        "anthropic invoice INV-19: the price book has no price for m. Fix: add it"
    ]


def test_a_missing_extract_that_is_listed_by_day_is_said_once():
    error = MatchError(ErrorCode.MISSING_EXTRACT, "2026-09-03", "the log is missing", "tokengov load")
    day = {"raw/litellm_spend_logs": [dt.date(2026, 9, 3)]}
    facts = replace(with_invoice(errors=(error,), status=ReconciliationStatus.BLOCKED), missing_days=day)
    assert codes(facts) == ["missing_extract"]


def test_a_price_book_that_nobody_approved_holds_the_month():
    facts = replace(CLEAN, unapproved_prices=UnapprovedBook("the price book 1a2b is not approved", "approve it"))
    assert [str(each) for each in close_blockers(facts, [])] == ["the price book 1a2b is not approved. Fix: approve it"]


def test_credits_bought_ahead_need_the_statement_of_the_month():
    facts = replace(CLEAN, logged={**CLEAN.logged, "openai": Decimal(7)}, prepaid=frozenset({"openai"}))
    (blocker,) = close_blockers(facts, [])
    assert (blocker.code, blocker.fix) == (
        "missing_invoice",
        "add 2026-09 to directory/prepaid_statements.csv from the provider's console",
    )


def test_a_journal_that_does_not_balance_holds_the_month_and_no_waiver_lifts_it():
    words = ("debits are 5.00 and credits 4.99. Fix: make it again", "acme-prod has no account")
    facts = replace(CLEAN, journal_problems=words)
    blockers = close_blockers(facts, [waiver(subject) for subject in WaiverSubject])
    assert [each.code for each in blockers] == ["journal_not_balanced", "journal_not_balanced"]
    assert [str(each) for each in blockers] == [
        "debits are 5.00 and credits 4.99. Fix: make it again",
        "acme-prod has no account. Fix: report it, this is a defect of the product",
    ]


@pytest.mark.parametrize(
    ("gross", "approver", "held"),
    [
        ("5000.00", "Bob", False),  # the limit itself still posts
        ("5000.01", "Bob", True),
        ("5000.01", " GRACE@acme.example ", False),
        ("5000.01", "Grace", False),
    ],
)
def test_large_corrections_of_closed_months_need_a_controller(gross, approver, held):
    """Rule 2.5: above the materiality, gross, a controller approves before posting."""
    facts = replace(CLEAN, corrections_gross=Decimal(gross), approver=approver)
    blockers = close_blockers(facts, [waiver(subject) for subject in WaiverSubject])
    assert [each.code for each in blockers] == (["corrections_need_controller"] if held else [])
    if held:
        assert "corrects closed months by 5000.01, more than 5000.00, and Bob who approves it" in blockers[0].what
