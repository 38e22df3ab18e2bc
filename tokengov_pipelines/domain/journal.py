"""The journal: what the general ledger books of a month's charges (Rules 6.5, 11.3, 1.5, 1.7, 2.2, 4.9).

Belongs here: entries made of charge lines, their intercompany legs, accruals with their reversals, and the check that
entries balance. Does not belong here: the charges (`chargeback`), which account is whose (`journal_accounts`), the
files (`pack.journal_csv`, `pack.journal_formats`).

One entry per provider, period and version and legal entity: expense by cost center against clearing. Amounts are
positive and stand on one side; a charge below zero stands on the other side. A correction is an entry of its own with
the correction's amounts, never a changed entry, and an external id makes a second import a no-op.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.journal_accounts import AccountRole, JournalPolicy, entity_code
from tokengov_pipelines.domain.money import exact_sum, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth

ACCRUAL_PREFIX: Final = "ACCRUAL-"
"""The invoice id of an accrual document begins so (Rule 2.2)."""

REVERSAL_SUFFIX: Final = "-REVERSAL"
"""The document that takes an accrual back has the accrual's id with this end."""

_ACCRUAL: Final = "-ACCRUAL"
_REVERSAL: Final = "-ACCRUAL-REVERSAL"
_RELEASE: Final = "-ACCRUAL-RELEASE"
_TAX: Final = "tax"
_AGAINST: Final = {
    AccountRole.CLEARING: "clearing",
    AccountRole.PREPAID: "prepaid credits used",
    AccountRole.ACCRUED: "accrued AI cost",
}
"""What stands against the charges of the invoiced entity, in the order of its lines, with the words of the memo."""

_CREDITED: Final = frozenset({*_AGAINST, AccountRole.DUE_TO})


@dataclass(frozen=True)
class JournalLine:
    """One row of journal.csv; the fields are the columns of Rule 11.3, in its order.

    One of `debit` and `credit` is above zero, the other is zero; both are in the functional currency, with the decimals
    of its minor unit. `cost_center` is empty on lines of the balance sheet. `period` is the month that the entry posts
    in, `version` that of the pack.
    """

    external_id: str
    line_no: int
    posting_date: dt.date
    period: BillingMonth
    legal_entity: str
    account: str
    cost_center: str
    debit: Decimal
    credit: Decimal
    currency: str
    memo: str
    provider: str
    invoice_id: str
    version: int


@dataclass(frozen=True)
class RecoverableTax:
    """Tax of an invoice that is a claim on the tax office and no cost (Rule 1.7), in the functional currency.

    Charges and this make up the invoice. Below zero on a credit memo.
    """

    period: BillingMonth
    provider: str
    invoice_id: str
    version: int
    amount: Decimal


@dataclass(frozen=True)
class JournalProblem:
    """Why a provider's month has no entry, or an entry may not post."""

    code: str
    provider: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


@dataclass(frozen=True)
class _Posting:
    """What one charge line or one recoverable tax posts: an amount, and the account that stands against it."""

    legal_entity: str
    cost_center: str
    invoice_id: str
    original: BillingMonth
    debit_role: AccountRole
    credit_role: AccountRole
    amount: Decimal


@dataclass(frozen=True)
class _Entry:
    """The heading that all lines of a provider's entry share; `kind` is the end of the external id."""

    provider: str
    period: BillingMonth
    version: int
    kind: str
    date: dt.date
    named_period: BillingMonth

    @property
    def external_id(self) -> str:
        return f"TG-{self.provider.upper()}-{self.named_period}-V{self.version}{self.kind}"


@dataclass(frozen=True)
class _Draft:
    """A line before it has its heading and number; `amount` is above zero on the debit side."""

    role: AccountRole
    account: str
    cost_center: str
    amount: Decimal
    memo: str
    invoice_id: str


def journal_entries(
    lines: Sequence[ChargebackLine], policy: JournalPolicy, taxes: Sequence[RecoverableTax] = ()
) -> tuple[tuple[JournalLine, ...], tuple[JournalProblem, ...]]:
    """The entries of charge lines, and what kept a provider from having any; rows of a pack, in the pack's order.

    Shapes (Rule 6.5), each in the functional currency, for each provider, posting period and version:

    - the invoiced entity's entry: debit expense of its own cost centers (a line a cost center, invoice and original
      period), debit input tax, debit due-from of the other entities, credit clearing by invoice;
    - another entity's entry: debit expense of its cost centers, credit due-to by invoice;
    - a prepaid provider credits the prepaid asset; only tax, which payables books, stays against clearing (Rule 4.9);
    - an accrual document has entries of its own against accrued AI cost, and their mirror, dated day 1 of the next
      month. A held accrual has no mirror; its release lines (original period before the posting period) post it, dated
      day 1 of their month. Release lines of an accrual that was mirrored post nothing: it is reversed already.

    Detail lines may be passed in place of finance lines: amounts are summed.

    Returns:
        (lines sorted by external id and line number, problems). A provider with a problem has no lines.
    """
    entries: dict[_Entry, list[_Posting]] = {}
    for line in lines:
        for entry, posting in _postings_of(line, policy):
            entries.setdefault(entry, []).append(posting)
    for tax in taxes:
        entry = _invoice_entry(tax.provider, tax.period, tax.version)
        posting = _Posting(
            policy.payer(tax.provider),
            "",
            tax.invoice_id,
            tax.period,
            AccountRole.INPUT_TAX,
            AccountRole.CLEARING,
            tax.amount,
        )
        entries.setdefault(entry, []).append(posting)
    journal: list[JournalLine] = []
    problems: list[JournalProblem] = []
    for entry, postings in entries.items():
        found = _problems_of(entry, postings, policy)
        problems += found
        if not found:
            for entity in sorted({policy.payer(entry.provider), *(each.legal_entity for each in postings)}):
                drafts = _drafts(entry, entity, postings, policy)
                problems += _unnamed_accounts(entry, entity, drafts)
                journal += _lines(entry, entity, drafts, policy)
    refused = {problem.provider for problem in problems}
    unbalanced = balance_problems(line for line in journal if line.provider not in refused)
    refused |= {problem.provider for problem in unbalanced}
    problems += unbalanced
    kept = [line for line in journal if line.provider not in refused]
    kept.sort(key=lambda line: (line.external_id, line.line_no))
    unique = sorted(dict.fromkeys(problems), key=lambda problem: (problem.provider, problem.code, problem.what))
    return tuple(kept), tuple(unique)


def balance_problems(lines: Iterable[JournalLine]) -> tuple[JournalProblem, ...]:
    """What keeps the entries from posting: the close's precondition "journal balanced" (Rules 2.4, 6.5).

    An entry is what shares an external id. It has one legal entity, currency, date, period and version; its lines are
    numbered from 1; each has an account and stands on one side with an amount above zero; debits are equal to credits.
    """
    entries: dict[str, list[JournalLine]] = {}
    for line in lines:
        entries.setdefault(line.external_id, []).append(line)
    return tuple(problem for external_id in sorted(entries) for problem in _problems_of_entry(entries[external_id]))


def _problems_of_entry(lines: Sequence[JournalLine]) -> list[JournalProblem]:
    first = lines[0]
    fix = "make the journal again from chargeback.csv; do not post this one"
    problems: list[JournalProblem] = []

    def problem(code: str, what: str) -> None:
        problems.append(JournalProblem(code, first.provider, f"journal entry {first.external_id}: {what}", fix))

    for name in ("provider", "legal_entity", "currency", "posting_date", "period", "version"):
        values = sorted({str(getattr(line, name)) for line in lines})
        if len(values) > 1:
            problem("mixed_entry", f"{name} is not one but {', '.join(values)}")
    if sorted(line.line_no for line in lines) != list(range(1, len(lines) + 1)):
        problem("line_numbers", "its lines are not numbered 1, 2, 3 and so on")
    for line in lines:
        if min(line.debit, line.credit) != 0 or max(line.debit, line.credit) <= 0:
            problem("one_side", f"line {line.line_no} has debit {line.debit} and credit {line.credit}, not one amount")
        if not line.account:
            problem("missing_account", f"line {line.line_no} has no account")
    debits, credits = exact_sum(line.debit for line in lines), exact_sum(line.credit for line in lines)
    if debits != credits:
        problem("unbalanced", f"debits are {debits} and credits {credits} {first.currency}")
    return problems


def _invoice_entry(provider: str, period: BillingMonth, version: int) -> _Entry:
    return _Entry(provider, period, version, "", period.last_day, period)


def _postings_of(line: ChargebackLine, policy: JournalPolicy) -> list[tuple[_Entry, _Posting]]:
    """The entries that a charge line stands in: one, or two where an accrual is reversed at once."""
    period, accrual = line.posting_period, line.invoice_id.startswith(ACCRUAL_PREFIX)
    against = AccountRole.PREPAID if line.provider in policy.prepaid else AccountRole.CLEARING
    if accrual:
        against = AccountRole.ACCRUED
    elif line.charge_type == _TAX:
        against = AccountRole.CLEARING
    posting = _Posting(
        line.legal_entity,
        line.cost_center,
        line.invoice_id,
        line.original_period,
        AccountRole.EXPENSE,
        against,
        line.amount_functional,
    )
    if not accrual:
        return [(_invoice_entry(line.provider, period, line.version), posting)]
    held = line.invoice_id.removesuffix(REVERSAL_SUFFIX) in policy.held_accruals
    if line.original_period < period or line.invoice_id.endswith(REVERSAL_SUFFIX):
        release = _Entry(line.provider, period, line.version, _RELEASE, period.first_day, period)
        return [(release, posting)] if held else []
    accrued = _Entry(line.provider, period, line.version, _ACCRUAL, period.last_day, period)
    if held:
        return [(accrued, posting)]
    after = period.next()
    mirrored = _Entry(line.provider, after, line.version, _REVERSAL, after.first_day, period)
    return [(accrued, posting), (mirrored, replace(posting, amount=posting.amount.copy_negate()))]


def _problems_of(entry: _Entry, postings: Sequence[_Posting], policy: JournalPolicy) -> list[JournalProblem]:
    problems: list[JournalProblem] = []
    payer = policy.payer(entry.provider)
    named = f"{entry.provider} {entry.named_period}"
    if not payer:
        what = f"{named} has no legal entity that {entry.provider} invoices"
        fix = "give the central cost center a legal_entity in directory/cost_centers.csv, or name the invoiced one"
        problems.append(JournalProblem("missing_entity", entry.provider, what, fix))
    for posting in postings:
        if not posting.legal_entity and payer:
            what = f"{named} charges {posting.cost_center}, which has no legal entity"
            fix = "fill legal_entity of it in directory/cost_centers.csv"
            problems.append(JournalProblem("missing_entity", entry.provider, what, fix))
        if posting.amount != round_posting(posting.amount, minor_unit_scale(policy.functional_currency)):
            what = (
                f"{named} invoice {posting.invoice_id} posts {posting.amount} at {posting.cost_center or 'input tax'}, "
                f"which is not a whole number of {policy.functional_currency} minor units"
            )
            problems.append(JournalProblem("amount", entry.provider, what, "round it once, where it is charged"))
    entities = sorted({posting.legal_entity for posting in postings})
    if len({entity_code(entity) for entity in entities}) < len(entities):
        what = f"{named}: two of the legal entities {', '.join(entities)} have one code in external ids"
        fix = "write one of their names in full in directory/cost_centers.csv"
        problems.append(JournalProblem("entity_code", entry.provider, what, fix))
    return problems


def _drafts(entry: _Entry, entity: str, postings: Sequence[_Posting], policy: JournalPolicy) -> list[_Draft]:
    """The lines of one entity's entry, by invoice; a line of zero is no line."""
    drafts: list[_Draft] = []
    for invoice_id in sorted({posting.invoice_id for posting in postings}):
        of_invoice = [posting for posting in postings if posting.invoice_id == invoice_id]
        drafts += _drafts_of_invoice(entry, entity, invoice_id, of_invoice, policy)
    return [draft for draft in drafts if draft.amount]


def _drafts_of_invoice(
    entry: _Entry, entity: str, invoice_id: str, postings: Sequence[_Posting], policy: JournalPolicy
) -> list[_Draft]:
    payer = policy.payer(entry.provider)
    opening = "reversal of " if entry.kind in (_REVERSAL, _RELEASE) else ""
    words = f"{opening}{entry.provider} {invoice_id} {entry.named_period}"

    def draft(role: AccountRole, of: Iterable[_Posting], memo: str, cost_center: str = "") -> _Draft:
        total = exact_sum(posting.amount for posting in of)
        amount = total.copy_negate() if role in _CREDITED else total
        account = policy.accounts.account(role, entity, entry.provider)
        return _Draft(role, account, cost_center, amount, memo, invoice_id)

    own = [posting for posting in postings if posting.legal_entity == entity]
    spent: dict[tuple[BillingMonth, str], list[_Posting]] = {}
    for posting in own:
        if posting.debit_role is AccountRole.EXPENSE:
            spent.setdefault((posting.original, posting.cost_center), []).append(posting)
    drafts = []
    for original, cost_center in sorted(spent):
        memo = f"{words} prior period {original}" if original < entry.named_period else words
        drafts.append(draft(AccountRole.EXPENSE, spent[original, cost_center], memo, cost_center))
    if entity != payer:
        return [*drafts, draft(AccountRole.DUE_TO, own, f"{words} due to {payer}")]
    tax = [posting for posting in own if posting.debit_role is AccountRole.INPUT_TAX]
    drafts.append(draft(AccountRole.INPUT_TAX, tax, f"{words} recoverable tax"))
    for other in sorted({posting.legal_entity for posting in postings} - {payer}):
        owed = [posting for posting in postings if posting.legal_entity == other]
        drafts.append(draft(AccountRole.DUE_FROM, owed, f"{words} due from {other}"))
    for role, what in _AGAINST.items():
        against = [posting for posting in postings if posting.credit_role is role]
        drafts.append(draft(role, against, f"{words} {what}"))
    return drafts


def _unnamed_accounts(entry: _Entry, entity: str, drafts: Iterable[_Draft]) -> list[JournalProblem]:
    fix = "fill it in directory/gl_accounts.csv, or name a default in policy.yaml (chargeback)"
    return [
        JournalProblem(
            "missing_account", entry.provider, f"{entity} has no {draft.role.value} for {entry.provider}", fix
        )
        for draft in drafts
        if not draft.account
    ]


def _lines(entry: _Entry, entity: str, drafts: Iterable[_Draft], policy: JournalPolicy) -> list[JournalLine]:
    scale = minor_unit_scale(policy.functional_currency)
    suffix = "" if entity == policy.payer(entry.provider) else f"-{entity_code(entity)}"
    return [
        JournalLine(
            external_id=entry.external_id + suffix,
            line_no=number,
            posting_date=entry.date,
            period=entry.period,
            legal_entity=entity,
            account=draft.account,
            cost_center=draft.cost_center,
            debit=round_posting(max(draft.amount, Decimal(0)), scale),
            credit=round_posting(max(draft.amount.copy_negate(), Decimal(0)), scale),
            currency=policy.functional_currency,
            memo=draft.memo,
            provider=entry.provider,
            invoice_id=draft.invoice_id,
            version=entry.version,
        )
        for number, draft in enumerate(drafts, start=1)
    ]
