"""Prepaid credits: the roll-forward of a month, which stands where an invoice would (Rule 4.9).

Belongs here: opening + purchases - usage - expired - refunds = closing, the difference from the provider's console, and
credits that are about to expire. Does not belong here: the file that people keep (`directory`), who is charged
(`chargeback`), journal lines (`pack`).

A purchase of credits is an asset and no cost. The month's expense is what was used and what expired.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypedDict

from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.money import exact_sum, round_posting, usd
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import (
    ReconciliationStatus,
    Tolerances,
    reconciliation_status,
    tolerance,
)

_TABLE: Final = "prepaid_statements.csv"


class PrepaidRow(TypedDict):
    """A row of `raw/directory_prepaid_statements`: amounts and months as they are written."""

    provider: str
    account: str
    month: str
    currency: str
    opening_balance: str
    purchases: str
    expired: str
    refunds: str
    closing_balance: str
    expires_next: dt.date | None
    expires_next_amount: str | None
    source_row: int


@dataclass(frozen=True)
class PrepaidStatement:
    """A month of credits as the provider's console shows it, in its currency: a row of prepaid_statements.csv.

    `purchases`, `expired` and `refunds` are positive. `expires_next` is the day the next credits expire, with their
    amount; None where nothing expires or the console does not say. `row` is the line in the file.
    """

    provider: str
    account: str
    month: BillingMonth
    currency: str
    opening_balance: Decimal
    purchases: Decimal
    expired: Decimal
    refunds: Decimal
    closing_balance: Decimal
    expires_next: dt.date | None = None
    expires_next_amount: Decimal | None = None
    row: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return _TABLE if self.row is None else f"{_TABLE}:{self.row}"


class PrepaidCode(StrEnum):
    """What keeps a roll-forward from being trusted."""

    MISSING_STATEMENT = "missing_statement"
    MISSING_REPORT = "missing_report"
    BROKEN_CHAIN = "broken_chain"
    WRONG_CURRENCY = "wrong_currency"
    NEGATIVE_BALANCE = "negative_balance"
    SECOND_STATEMENT = "second_statement"
    SEVERAL_ACCOUNTS = "several_accounts"


@dataclass(frozen=True)
class PrepaidProblem:
    """One finding, in words that say where it is and what to do."""

    code: PrepaidCode
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}."


@dataclass(frozen=True)
class PrepaidRollForward:
    """The credits of one account over a month, in exact amounts of `currency` (Rule 4.9).

    None is not known: every figure of the console without a statement, `usage` without a whole cost report, and what
    rests on either. `tolerance` is that of rule 4.7 with the month's usage as its base: the balance holds purchases of
    other months, and a full account would allow a larger error in the same month's use.
    """

    provider: str
    account: str
    month: BillingMonth
    currency: str
    opening: Decimal | None
    purchases: Decimal | None
    usage: Decimal | None
    expired: Decimal | None
    refunds: Decimal | None
    console_balance: Decimal | None
    status: ReconciliationStatus
    tolerance: Decimal
    problems: tuple[PrepaidProblem, ...] = ()

    @property
    def closing(self) -> Decimal | None:
        """The computed balance: opening + purchases - usage - expired - refunds, exactly."""
        return _signed((self.opening, self.purchases), (self.usage, self.expired, self.refunds))

    @property
    def difference(self) -> Decimal | None:
        """console balance - computed closing: positive where the provider shows more than is left by our count."""
        return _signed((self.console_balance,), (self.closing,))

    @property
    def expense(self) -> Decimal | None:
        """The month's cost: usage and what expired. A purchase is none."""
        return _signed((self.usage, self.expired), ())

    @property
    def asset_change(self) -> Decimal | None:
        """closing - opening: what the prepaid asset moves by."""
        return _signed((self.closing,), (self.opening,))


@dataclass(frozen=True)
class ExpiringCredits:
    """Credits of an account that expire soon (the alert of rule 4.7)."""

    provider: str
    account: str
    currency: str
    expires_on: dt.date
    amount: Decimal
    days_left: int


def prepaid_statements(rows: Iterable[PrepaidRow]) -> list[PrepaidStatement]:
    """Rows of `raw/directory_prepaid_statements`, by provider, account and month; amounts exact as written.

    The directory's checks have passed over them.
    """
    statements = [
        PrepaidStatement(
            provider=row["provider"],
            account=row["account"],
            month=BillingMonth.parse(row["month"]),
            currency=row["currency"],
            opening_balance=usd(row["opening_balance"]),
            purchases=usd(row["purchases"]),
            expired=usd(row["expired"]),
            refunds=usd(row["refunds"]),
            closing_balance=usd(row["closing_balance"]),
            expires_next=row["expires_next"],
            expires_next_amount=usd(row["expires_next_amount"]) if row["expires_next_amount"] else None,
            row=row["source_row"],
        )
        for row in rows
    ]
    return sorted(statements, key=lambda each: (each.provider, each.account, each.month, each.row or 0))


def roll_forward(
    month: BillingMonth,
    provider: str,
    account: str,
    usage: Decimal | None,
    statements: Sequence[PrepaidStatement],
    limits: Tolerances,
    *,
    currency: str = "USD",
) -> PrepaidRollForward:
    """The month's roll-forward of one account, with its status (Rules 4.7, 4.9).

    `usage` is the month's total of the cost report in `currency`, None where a day of it is missing (Rule 4.5).
    `statements` may be those of every provider and month. Without this month's statement the status is
    `missing_invoice` and the opening is the last closing. A statement that does not begin where the one before ended,
    in another currency or beside a second one, and a missing cost report, are `blocked`; a balance below zero is at
    least `investigate`.
    """
    mine = [each for each in statements if (each.provider, each.account) == (provider, account)]
    found = [each for each in mine if each.month == month]
    statement = found[0] if found else None
    exact = None if usage is None else usd(usage)
    held = statement if statement is not None and statement.currency == currency else None
    earlier = max((each for each in mine if each.month < month), key=lambda each: each.month, default=None)
    carried = None if statement else _carried(earlier, month, currency)
    result = PrepaidRollForward(
        provider=provider,
        account=account,
        month=month,
        currency=currency,
        opening=held.opening_balance if held else carried,
        purchases=held.purchases if held else None,
        usage=exact,
        expired=held.expired if held else None,
        refunds=held.refunds if held else None,
        console_balance=held.closing_balance if held else None,
        status=ReconciliationStatus.MISSING_INVOICE,
        tolerance=tolerance(exact or Decimal(0), limits),
    )
    problems = tuple(_problems(result, statement, found[1:], earlier))
    return replace(result, status=_status(result, problems, limits), problems=problems)


def _carried(earlier: PrepaidStatement | None, month: BillingMonth, currency: str) -> Decimal | None:
    """What the month before left, where its statement is there."""
    if earlier is None or (earlier.month, earlier.currency) != (month.previous(), currency):
        return None
    return earlier.closing_balance


def _problems(
    result: PrepaidRollForward,
    statement: PrepaidStatement | None,
    others: Sequence[PrepaidStatement],
    earlier: PrepaidStatement | None,
) -> Iterable[PrepaidProblem]:
    whose = f"{result.provider} {result.account} {result.month}"
    if result.usage is None:
        what = f"{whose}: the cost report lacks days, so the month's usage is not known"
        yield PrepaidProblem(PrepaidCode.MISSING_REPORT, what, "load the missing days of the cost report")
    if statement is None:
        what = f"{whose}: no statement of the credits"
        fix = f"add the month to {_TABLE} from the provider's console"
        yield PrepaidProblem(PrepaidCode.MISSING_STATEMENT, what, fix)
        return
    for other in others:
        what = f"{statement.place}: {whose} has a second statement in {other.place}"
        yield PrepaidProblem(PrepaidCode.SECOND_STATEMENT, what, "keep one of the two")
    if statement.currency != result.currency:
        what = f"{statement.place}: {whose} is in {statement.currency} and the cost report in {result.currency}"
        fix = f"write the statement in {result.currency}; no rate is applied to a balance"
        yield PrepaidProblem(PrepaidCode.WRONG_CURRENCY, what, fix)
        return
    yield from _chain(whose, statement, earlier)
    for name, balance in (
        ("opening balance", result.opening),
        ("console balance", result.console_balance),
        ("computed closing", result.closing),
    ):
        if balance is not None and balance < 0:
            what = f"{statement.place}: {whose}: the {name} is {balance}, and credits cannot be below zero"
            fix = "look for a purchase that is missing, or book the debt to the provider as one"
            yield PrepaidProblem(PrepaidCode.NEGATIVE_BALANCE, what, fix)


def _chain(whose: str, statement: PrepaidStatement, earlier: PrepaidStatement | None) -> Iterable[PrepaidProblem]:
    """A statement begins where the one before it ended; the first of an account begins the chain."""
    if earlier is None:
        return
    if earlier.month != statement.month.previous():
        what = f"{statement.place}: {whose}: the statement before is of {earlier.month}, so the opening is not proven"
        yield PrepaidProblem(PrepaidCode.BROKEN_CHAIN, what, f"add the months between to {_TABLE}")
    elif (earlier.closing_balance, earlier.currency) != (statement.opening_balance, statement.currency):
        what = (
            f"{statement.place}: {whose}: the opening balance is {statement.opening_balance} {statement.currency} and "
            f"{earlier.month} closed at {earlier.closing_balance} {earlier.currency} ({earlier.place})"
        )
        fix = "correct the wrong one of the two; what happened in between belongs to one of the months"
        yield PrepaidProblem(PrepaidCode.BROKEN_CHAIN, what, fix)


_LEAST: Final[Mapping[PrepaidCode, ReconciliationStatus]] = {
    PrepaidCode.NEGATIVE_BALANCE: ReconciliationStatus.INVESTIGATE,
    PrepaidCode.MISSING_STATEMENT: ReconciliationStatus.MISSING_INVOICE,
}
"""The status that a problem leads to at least; every other one blocks."""


def _status(result: PrepaidRollForward, problems: Iterable[PrepaidProblem], limits: Tolerances) -> ReconciliationStatus:
    """The worse of what the difference says and what the problems say."""
    found = [_LEAST.get(each.code, ReconciliationStatus.BLOCKED) for each in problems]
    if result.difference is not None:
        found.append(reconciliation_status(result.difference, result.usage, limits))
    return max(found, key=list(ReconciliationStatus).index)


def as_invoice(rolled: PrepaidRollForward, token_usage: Decimal) -> Invoice | None:
    """The month's expense in the form of an invoice, so that it is matched and charged like one (Rules 4.9, 6.1).

    `token_usage` is the part of the usage that the report bills for tokens. Usage is rounded once; what expired is a
    line of its own. None where the expense is not known.
    """
    if rolled.usage is None or rolled.expired is None:
        return None
    used, tokens = round_posting(rolled.usage), round_posting(token_usage)
    amounts = (
        ("usage", tokens, "usage of prepaid credits, tokens"),
        ("non_token", used - tokens, "usage of prepaid credits, beside tokens"),
        ("commitment", round_posting(rolled.expired), "prepaid credits that expired"),
    )
    lines = tuple(
        InvoiceLine(number, kind, amount, description)
        for number, (kind, amount, description) in enumerate(amounts, 1)
        if amount or kind == "usage"
    )
    total = exact_sum(line.amount for line in lines)
    return Invoice(
        source_file=_TABLE,
        provider=rolled.provider,
        account=rolled.account,
        invoice_id=f"PREPAID-{rolled.month}",
        invoice_date=rolled.month.next().first_day,
        period_start=rolled.month.first_day,
        period_last_day=rolled.month.last_day,
        currency=rolled.currency,
        lines=lines,
        lines_total=total,
        credits_total=Decimal("0.00"),
        tax_total=Decimal("0.00"),
        total=total,
    )


def worse(one: ReconciliationStatus, other: ReconciliationStatus) -> ReconciliationStatus:
    """The status that asks for more."""
    return max(one, other, key=list(ReconciliationStatus).index)


def expiring_credits(statements: Iterable[PrepaidStatement], as_of: dt.date, within_days: int) -> list[ExpiringCredits]:
    """Credits that expire from `as_of` up to and with the day `within_days` later, the soonest first (Rule 4.7).

    The latest statement of an account speaks for it.
    """
    latest: dict[tuple[str, str], PrepaidStatement] = {}
    for each in sorted(statements, key=lambda each: each.month):
        latest[each.provider, each.account] = each
    last = as_of + dt.timedelta(days=within_days)
    found = [
        ExpiringCredits(
            each.provider,
            each.account,
            each.currency,
            each.expires_next,
            each.expires_next_amount,
            (each.expires_next - as_of).days,
        )
        for each in latest.values()
        if each.expires_next and each.expires_next_amount and as_of <= each.expires_next <= last
    ]
    return sorted(found, key=lambda each: (each.expires_on, each.provider, each.account))


def _signed(added: Iterable[Decimal | None], taken: Iterable[Decimal | None]) -> Decimal | None:
    """What is added less what is taken, exactly; None where one of them is not known."""
    plus, minus = list(added), list(taken)
    known = [each for each in plus if each is not None] + [-each for each in minus if each is not None]
    return exact_sum(known) if len(known) == len(plus) + len(minus) else None
