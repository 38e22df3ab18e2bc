"""What follows an accrual: whether its approval still holds, its reversal, and the true-up to the invoice (Rule 2.2).

Belongs here: these records and the rules between them. Does not belong here: the accrual itself (`accrual`), journal
lines (`journal`), storing approvals (`ledger.accruals`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tokengov_pipelines.domain.accrual import Accrual
from tokengov_pipelines.domain.money import MoneyError, exact_sum
from tokengov_pipelines.domain.period import BillingMonth, PeriodError


@dataclass(frozen=True)
class Reversal:
    """The entry that takes an accrual back on `on`: the same cost centers with the opposite sign."""

    document_id: str
    reverses: str
    provider: str
    on: dt.date
    currency: str
    charges: Mapping[str, Decimal]

    @property
    def total(self) -> Decimal:
        """The accrual's total with the opposite sign."""
        return exact_sum(self.charges.values())


@dataclass(frozen=True)
class TrueUp:
    """What the invoice charged beyond the accruals, by cost center; it adds up to invoiced - accrued."""

    currency: str
    invoiced: Decimal
    accrued: Decimal
    by_cost_center: Mapping[str, Decimal]

    @property
    def total(self) -> Decimal:
        """invoiced - accrued."""
        return exact_sum([self.invoiced, -self.accrued])


def reversal_of(accrual: Accrual, posts_in: BillingMonth | None = None) -> Reversal | None:
    """The automatic reversal (Rule 2.2): of a bill of one month on day 1 of the next month.

    Of a bill over several months it is on day 1 of `posts_in`, the month in which the invoice posts; None until that is
    known.

    Raises:
        PeriodError: `posts_in` is not after the accrual's month.
    """
    if not accrual.spans_months:
        on = accrual.month.next().first_day
    elif posts_in is None:
        return None
    elif posts_in <= accrual.month:
        message = (
            f"{accrual.document_id} cannot be reversed in {posts_in}: a reversal is after the month it takes back. "
            "Fix: name the month in which the invoice posts."
        )
        raise PeriodError(message)
    else:
        on = posts_in.first_day
    charges = {code: -amount if amount else amount for code, amount in accrual.charges.items()}
    return Reversal(
        f"{accrual.document_id}-REVERSAL", accrual.document_id, accrual.provider, on, accrual.currency, charges
    )


def true_up(accruals: Iterable[Accrual], charged: Mapping[str, Decimal], currency: str) -> TrueUp:
    """invoice charges - accrual by cost center (Rule 2.2); a cost center that only one of them names is in it too.

    `accruals` are those that the invoice replaces: one, or one a month of its period. `charged` are the charges of the
    invoice by cost center.

    Raises:
        MoneyError: the accruals are in another currency (Rule 1.6).
    """
    found = list(accruals)
    for each in found:
        if each.currency != currency:
            message = (
                f"{each.document_id} is in {each.currency} and the invoice in {currency}: their difference is not "
                "defined. Fix: convert the invoice's lines first (Rule 1.6)."
            )
            raise MoneyError(message)
    signed: dict[str, list[Decimal]] = {code: [amount] for code, amount in charged.items()}
    for each in found:
        for code, amount in each.charges.items():
            signed.setdefault(code, []).append(-amount)
    return TrueUp(
        currency,
        invoiced=exact_sum(charged.values()),
        accrued=exact_sum(each.total for each in found),
        by_cost_center={code: exact_sum(signed[code]) for code in sorted(signed)},
    )


def is_approved(accrual: Accrual, *, amount: Decimal, currency: str, method: str) -> bool:
    """Whether an approval of this amount, currency and method is of the accrual as it is now (Rules 2.2, 2.4).

    It lapses when the evidence moves: two people agreed to a figure and to what it rests on.
    """
    return (amount, currency, method) == (accrual.total, accrual.currency, str(accrual.basis))
