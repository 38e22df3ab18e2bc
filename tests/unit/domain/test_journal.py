"""The journal by hand: the shapes of rule 6.5, credits, prepaid, accruals, other entities, and what refuses to post."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.journal import RecoverableTax, balance_problems, journal_entries
from tokengov_pipelines.domain.journal_accounts import (
    AccountBook,
    GlAccounts,
    JournalPolicy,
    account_book,
    entity_code,
)
from tokengov_pipelines.domain.period import BillingMonth

OCTOBER = BillingMonth(2026, 10)
NOVEMBER = BillingMonth(2026, 11)
INC, GMBH = "Acme Inc", "Acme GmbH"
POLICY = JournalPolicy(functional_currency="USD", invoiced_entity=INC)


def charge(
    cost_center,
    amount,
    charge_type="direct",
    *,
    entity=INC,
    invoice_id="INV-19",
    provider="anthropic",
    period=OCTOBER,
    original=None,
    version=1,
):
    money = Decimal(amount)
    return ChargebackLine(
        period=period,
        posting_period=period,
        original_period=original or period,
        provider=provider,
        invoice_id=invoice_id,
        version=version,
        mode="chargeback",
        legal_entity=entity,
        cost_center=cost_center,
        cost_center_name="",
        team_id=None,
        team_alias=None,
        charge_type=charge_type,
        model=None,
        use_case=None,
        quantity_tokens=None,
        direct_logged_exact=None,
        amount=money,
        currency="USD",
        fx_rate=Decimal(1),
        amount_functional=money,
        allocation_method="",
        allocation_weight=None,
        allocation_base=None,
        rung="",
        pool_total=money,
        policy_sha256="",
    )


def posted(lines, policy=POLICY, taxes=()):
    """Entries by external id: (account, cost center, debit, credit) of each line, amounts as text."""
    journal, problems = journal_entries(lines, policy, taxes)
    assert problems == ()
    assert balance_problems(journal) == ()
    entries = {}
    for line in journal:
        debit, credit = (str(each) if each else "" for each in (line.debit, line.credit))
        entries.setdefault(line.external_id, []).append((line.account, line.cost_center, debit, credit))
        assert line.line_no == len(entries[line.external_id])
    return entries


def the_example_of_rule_6_3():
    return [
        charge("CC-300", "101.08"),
        charge("CC-100", "300.00"),
        charge("CC-100", "4.33", "true_up"),
        charge("CC-100", "120.00", "unproxied"),
        charge("CC-100", "-20.00", "credit"),
        charge("CC-200", "342.01"),
        charge("CC-900-SUSPENSE", "50.53"),
        charge("CC-990-CENTRAL", "30.13", "central"),
    ]


def test_one_invoice_is_expense_by_cost_center_against_clearing():
    assert posted(the_example_of_rule_6_3()) == {
        "TG-ANTHROPIC-2026-10-V1": [
            ("6420", "CC-100", "404.33", ""),
            ("6420", "CC-200", "342.01", ""),
            ("6420", "CC-300", "101.08", ""),
            ("6420", "CC-900-SUSPENSE", "50.53", ""),
            ("6420", "CC-990-CENTRAL", "30.13", ""),
            ("2150", "", "", "928.08"),
        ]
    }


def test_a_line_holds_the_columns_of_rule_11_3():
    journal, _ = journal_entries(the_example_of_rule_6_3(), POLICY)
    first, last = journal[0], journal[-1]
    assert (first.posting_date, first.period, first.legal_entity) == (dt.date(2026, 10, 31), OCTOBER, INC)
    assert (first.currency, first.provider, first.invoice_id, first.version) == ("USD", "anthropic", "INV-19", 1)
    assert first.memo == "anthropic INV-19 2026-10"
    assert last.memo == "anthropic INV-19 2026-10 clearing"


def test_the_order_of_the_charges_does_not_matter():
    lines = the_example_of_rule_6_3()
    assert journal_entries(lines, POLICY) == journal_entries(lines[::-1], POLICY)


def test_a_cost_center_in_credit_stands_on_the_credit_side_and_a_zero_one_not_at_all():
    lines = [
        charge("CC-100", "30.00"),
        charge("CC-100", "-50.00", "credit"),
        charge("CC-200", "116.00"),
        charge("CC-300", "5.00"),
        charge("CC-300", "-5.00", "credit"),
    ]
    assert posted(lines)["TG-ANTHROPIC-2026-10-V1"] == [
        ("6420", "CC-100", "", "20.00"),
        ("6420", "CC-200", "116.00", ""),
        ("2150", "", "", "96.00"),
    ]


def test_a_credit_memo_mirrors_the_invoice():
    lines = [charge("CC-100", "-30.00", invoice_id="CM-1"), charge("CC-200", "-12.34", invoice_id="CM-1")]
    assert posted(lines)["TG-ANTHROPIC-2026-10-V1"] == [
        ("6420", "CC-100", "", "30.00"),
        ("6420", "CC-200", "", "12.34"),
        ("2150", "", "42.34", ""),
    ]


def test_clearing_stands_by_invoice_and_providers_have_entries_of_their_own():
    lines = [
        charge("CC-100", "10.00", invoice_id="INV-2"),
        charge("CC-100", "1.00", invoice_id="INV-1"),
        charge("CC-100", "7.00", provider="openai", invoice_id="O-1", version=2),
    ]
    assert posted(lines) == {
        "TG-ANTHROPIC-2026-10-V1": [
            ("6420", "CC-100", "1.00", ""),
            ("2150", "", "", "1.00"),
            ("6420", "CC-100", "10.00", ""),
            ("2150", "", "", "10.00"),
        ],
        "TG-OPENAI-2026-10-V2": [("6420", "CC-100", "7.00", ""), ("2150", "", "", "7.00")],
    }


def test_cost_centers_of_another_entity_have_intercompany_legs_in_two_entries():
    lines = [
        charge("CC-100", "60.00"),
        charge("CC-210", "25.00", entity=GMBH),
        charge("CC-110", "15.00", entity=GMBH),
    ]
    other = f"TG-ANTHROPIC-2026-10-V1-{entity_code(GMBH)}"
    assert posted(lines) == {
        "TG-ANTHROPIC-2026-10-V1": [
            ("6420", "CC-100", "60.00", ""),
            ("1850", "", "40.00", ""),
            ("2150", "", "", "100.00"),
        ],
        other: [
            ("6420", "CC-110", "15.00", ""),
            ("6420", "CC-210", "25.00", ""),
            ("2850", "", "", "40.00"),
        ],
    }
    journal, _ = journal_entries(lines, POLICY)
    assert [line.memo for line in journal if line.account in {"1850", "2850"}] == [
        "anthropic INV-19 2026-10 due from Acme GmbH",
        "anthropic INV-19 2026-10 due to Acme Inc",
    ]


def test_the_invoiced_entity_may_differ_by_provider():
    policy = replace(POLICY, invoiced_entities={"openai": GMBH})
    lines = [charge("CC-100", "9.00", provider="openai", invoice_id="O-1")]
    assert posted(lines, policy) == {
        "TG-OPENAI-2026-10-V1": [("1850", "", "9.00", ""), ("2150", "", "", "9.00")],
        f"TG-OPENAI-2026-10-V1-{entity_code(INC)}": [("6420", "CC-100", "9.00", ""), ("2850", "", "", "9.00")],
    }


def test_a_move_between_two_entities_needs_no_clearing_and_one_within_an_entity_no_legs():
    moved = [
        charge("CC-100", "-4.11", "prior_period", original=OCTOBER, period=NOVEMBER),
        charge("CC-210", "4.11", "prior_period", original=OCTOBER, period=NOVEMBER, entity=GMBH),
    ]
    other = f"TG-ANTHROPIC-2026-11-V1-{entity_code(GMBH)}"
    assert posted(moved) == {
        "TG-ANTHROPIC-2026-11-V1": [("6420", "CC-100", "", "4.11"), ("1850", "", "4.11", "")],
        other: [("6420", "CC-210", "4.11", ""), ("2850", "", "", "4.11")],
    }
    within = [replace(moved[0], legal_entity=GMBH), moved[1]]
    assert posted(within) == {other: [("6420", "CC-100", "", "4.11"), ("6420", "CC-210", "4.11", "")]}


def test_a_prior_period_has_a_line_of_its_own_that_names_it():
    lines = [
        charge("CC-100", "50.00", period=NOVEMBER),
        charge("CC-100", "4.11", "prior_period", original=OCTOBER, period=NOVEMBER),
        charge("CC-200", "-4.11", "prior_period", original=OCTOBER, period=NOVEMBER),
    ]
    journal, _ = journal_entries(lines, POLICY)
    assert [(line.cost_center, line.debit, line.credit, line.memo) for line in journal] == [
        ("CC-100", Decimal("4.11"), 0, "anthropic INV-19 2026-11 prior period 2026-10"),
        ("CC-200", 0, Decimal("4.11"), "anthropic INV-19 2026-11 prior period 2026-10"),
        ("CC-100", Decimal("50.00"), 0, "anthropic INV-19 2026-11"),
        ("", 0, Decimal("50.00"), "anthropic INV-19 2026-11 clearing"),
    ]


def test_recoverable_tax_stands_beside_the_charges_and_makes_up_the_invoice():
    tax = RecoverableTax(OCTOBER, "anthropic", "INV-19", 1, Decimal("176.34"))
    entry = posted(the_example_of_rule_6_3(), taxes=[tax])["TG-ANTHROPIC-2026-10-V1"]
    assert entry[-2:] == [("1460", "", "176.34", ""), ("2150", "", "", "1104.42")]


def test_prepaid_use_takes_from_the_asset_and_tax_that_payables_book_goes_through_clearing():
    policy = replace(POLICY, prepaid=frozenset({"anthropic"}))
    lines = [
        charge("CC-100", "640.25", invoice_id="P-10"),
        charge("CC-990-CENTRAL", "20.00", "central", invoice_id="P-10"),
        charge("CC-100", "82.50", "tax", invoice_id="P-10"),
    ]
    assert posted(lines, policy)["TG-ANTHROPIC-2026-10-V1"] == [
        ("6420", "CC-100", "722.75", ""),
        ("6420", "CC-990-CENTRAL", "20.00", ""),
        ("2150", "", "", "82.50"),
        ("1450", "", "", "660.25"),
    ]


def accrual(*, held=False):
    lines = [
        charge("CC-100", "164.52", invoice_id="ACCRUAL-anthropic-2026-10"),
        charge("CC-210", "-4.52", "credit", invoice_id="ACCRUAL-anthropic-2026-10", entity=GMBH),
    ]
    held_accruals = frozenset({"ACCRUAL-anthropic-2026-10"}) if held else frozenset()
    return lines, replace(POLICY, held_accruals=held_accruals)


def test_an_accrual_and_its_reversal_on_the_first_of_the_next_month_net_to_zero():
    lines, policy = accrual()
    code = entity_code(GMBH)
    assert posted(lines, policy) == {
        "TG-ANTHROPIC-2026-10-V1-ACCRUAL": [
            ("6420", "CC-100", "164.52", ""),
            ("1850", "", "", "4.52"),
            ("2160", "", "", "160.00"),
        ],
        f"TG-ANTHROPIC-2026-10-V1-ACCRUAL-{code}": [("6420", "CC-210", "", "4.52"), ("2850", "", "4.52", "")],
        "TG-ANTHROPIC-2026-10-V1-ACCRUAL-REVERSAL": [
            ("6420", "CC-100", "", "164.52"),
            ("1850", "", "4.52", ""),
            ("2160", "", "160.00", ""),
        ],
        f"TG-ANTHROPIC-2026-10-V1-ACCRUAL-REVERSAL-{code}": [
            ("6420", "CC-210", "4.52", ""),
            ("2850", "", "", "4.52"),
        ],
    }
    journal, _ = journal_entries(lines, policy)
    dates = {(line.posting_date, line.period) for line in journal}
    assert dates == {(dt.date(2026, 10, 31), OCTOBER), (dt.date(2026, 11, 1), NOVEMBER)}
    net = {}
    for line in journal:
        key = (line.legal_entity, line.account, line.cost_center)
        net[key] = net.get(key, 0) + line.debit - line.credit
    assert set(net.values()) == {0}
    assert journal[-1].memo.startswith("reversal of anthropic ACCRUAL-anthropic-2026-10 2026-10")


def test_the_release_of_an_accrual_that_was_reversed_at_once_posts_nothing_more():
    lines, policy = accrual()
    released = [
        replace(line, posting_period=NOVEMBER, amount_functional=-line.amount_functional, charge_type="prior_period")
        for line in lines
    ]
    assert journal_entries(released, policy) == ((), ())


def test_the_accrual_of_a_bill_over_several_months_is_reversed_when_the_invoice_posts():
    lines, policy = accrual(held=True)
    assert [name for name in posted(lines, policy) if "REVERSAL" in name] == []
    for document in ("ACCRUAL-anthropic-2026-10", "ACCRUAL-anthropic-2026-10-REVERSAL"):
        released = [
            replace(
                line,
                invoice_id=document,
                posting_period=NOVEMBER,
                amount_functional=-line.amount_functional,
                charge_type="prior_period",
            )
            for line in lines
        ]
        assert posted(released, policy)["TG-ANTHROPIC-2026-11-V1-ACCRUAL-RELEASE"] == [
            ("6420", "CC-100", "", "164.52"),
            ("1850", "", "4.52", ""),
            ("2160", "", "160.00", ""),
        ]
    journal, _ = journal_entries(released, policy)
    assert {line.posting_date for line in journal} == {dt.date(2026, 11, 1)}


def test_gl_accounts_override_the_defaults_by_entity_and_provider_column_by_column():
    rows = {(INC, "anthropic"): GlAccounts(INC, "anthropic", expense_account="6500")}
    policy = replace(POLICY, accounts=AccountBook(rows))
    lines = [charge("CC-100", "1.00"), charge("CC-100", "2.00", provider="openai", invoice_id="O-1")]
    entries = posted(lines, policy)
    assert [line[0] for line in entries["TG-ANTHROPIC-2026-10-V1"]] == ["6500", "2150"]
    assert [line[0] for line in entries["TG-OPENAI-2026-10-V1"]] == ["6420", "2150"]


def test_a_row_of_gl_accounts_holds_for_its_days():
    row = {
        "legal_entity": INC,
        "provider": "anthropic",
        "expense_account": "6500",
        "clearing_account": "2150",
        "prepaid_account": None,
        "accrued_account": None,
        "due_from_account": None,
        "due_to_account": None,
        "input_tax_account": None,
        "valid_from": dt.date(2026, 1, 1),
        "valid_to": dt.date(2026, 10, 31),
    }
    assert account_book([row], dt.date(2026, 10, 30)).rows[INC, "anthropic"].expense_account == "6500"
    assert account_book([row], dt.date(2026, 10, 31)).rows == {}


def test_an_account_that_nobody_named_is_a_problem_of_its_provider_alone():
    policy = replace(POLICY, accounts=AccountBook({}, GlAccounts(expense_account="6420", clearing_account="2150")))
    lines = [
        charge("CC-210", "5.00", entity=GMBH),
        charge("CC-100", "2.00", provider="openai", invoice_id="O-1"),
    ]
    journal, problems = journal_entries(lines, policy)
    assert {line.provider for line in journal} == {"openai"}
    fix = "Fix: fill it in directory/gl_accounts.csv, or name a default in policy.yaml (chargeback)"
    assert [str(problem) for problem in problems] == [
        f"Acme GmbH has no due_to_account for anthropic. {fix}",
        f"Acme Inc has no due_from_account for anthropic. {fix}",
    ]


def test_fractions_of_a_cent_and_missing_entities_are_problems():
    _, problems = journal_entries([charge("CC-100", "1.005"), charge("CC-200", "1.00", entity="")], POLICY)
    assert [problem.code for problem in problems] == ["amount", "missing_entity"]
    assert "posts 1.005 at CC-100" in problems[0].what
    _, problems = journal_entries([charge("CC-100", "1.00")], replace(POLICY, invoiced_entity=""))
    assert [problem.code for problem in problems] == ["missing_entity"]


def test_a_currency_without_cents_posts_whole_units():
    journal, problems = journal_entries([charge("CC-100", "12")], replace(POLICY, functional_currency="JPY"))
    assert problems == ()
    assert [(str(line.debit), str(line.credit), line.currency) for line in journal] == [
        ("12", "0", "JPY"),
        ("0", "12", "JPY"),
    ]


def test_no_charges_are_no_journal():
    assert journal_entries([], POLICY) == ((), ())


def test_an_entry_that_may_not_post_says_why():
    journal, _ = journal_entries([charge("CC-100", "5.00"), charge("CC-200", "7.00")], POLICY)
    first, second, clearing = journal
    codes = {
        "unbalanced": [first, second],
        "one_side": [replace(first, debit=Decimal("-5.00")), second, replace(clearing, credit=Decimal("2.00"))],
        "line_numbers": [replace(first, line_no=2), second, clearing],
        "mixed_entry": [replace(first, legal_entity=GMBH), second, clearing],
        "missing_account": [replace(first, account=""), second, clearing],
    }
    assert {expected: [each.code for each in balance_problems(lines)] for expected, lines in codes.items()} == {
        expected: [expected] for expected in codes
    }
    assert str(balance_problems([first, second])[0]) == (
        "journal entry TG-ANTHROPIC-2026-10-V1: debits are 12.00 and credits 0.00 USD. Fix: make the journal again "
        "from chargeback.csv; do not post this one"
    )


def test_the_code_of_an_entity_is_short_and_depends_on_its_name_alone():
    assert entity_code(GMBH)[:4] == entity_code(INC)[:4] == "ACME"
    assert entity_code(GMBH) != entity_code(INC)
    assert {len(entity_code(name)) for name in (GMBH, "东京", "X")} == {8}


cents = st.integers(-10_000, 10_000).map(lambda units: Decimal(units) / 100)
charges = st.builds(
    lambda cost_center, amount, charge_type, invoice_id, provider, months: charge(
        cost_center,
        amount,
        charge_type,
        entity=GMBH if cost_center.endswith("G") else INC,
        invoice_id=invoice_id,
        provider=provider,
        period=months[1],
        original=months[0],
    ),
    st.sampled_from(["CC-1", "CC-2", "CC-3G", "CC-4G"]),
    cents,
    st.sampled_from(["direct", "true_up", "credit", "tax"]),
    st.sampled_from(["INV-1", "INV-2", "ACCRUAL-1"]),
    st.sampled_from(["anthropic", "openai"]),
    st.sampled_from([(OCTOBER, OCTOBER), (OCTOBER, NOVEMBER), (NOVEMBER, NOVEMBER)]),
)


@given(st.lists(charges, max_size=12), cents)
def test_any_charges_balance_without_negatives_and_post_what_was_charged(lines, tax):
    policy = replace(POLICY, prepaid=frozenset({"openai"}))
    taxes = [RecoverableTax(OCTOBER, "anthropic", "INV-1", 1, tax)]
    journal, problems = journal_entries(lines, policy, taxes)
    assert problems == ()
    assert balance_problems(journal) == ()
    assert all(min(line.debit, line.credit) == 0 < max(line.debit, line.credit) for line in journal)
    invoices = [line for line in lines if not line.invoice_id.startswith("ACCRUAL-")]
    mine = [line for line in journal if not line.invoice_id.startswith("ACCRUAL-")]

    def net(*accounts):
        return sum((line.debit - line.credit for line in mine if line.account in accounts), Decimal(0))

    assert net("6420") == sum((line.amount_functional for line in invoices), Decimal(0))
    assert net("1460") == tax
    assert net("2150", "1450") == -net("6420") - tax
    assert net("1850", "2850") == 0
    assert sum((line.debit - line.credit for line in journal if line.account == "2160"), Decimal(0)) == 0
