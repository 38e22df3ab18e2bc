"""Pools: what of an invoice is billed for which reason, in cents (Rules 6.1, 6.1b, 2.2).

Belongs here: the pools of an invoice, and of each month that it bills. Does not belong here: who pays a pool
(`allocation`), what the components are (`waterfall`, `invoice_match`), charge lines (`chargeback`).

Every pool but direct is its exact amount rounded once; direct is what is left of the invoice, so the pools always add
up to it. What an invoice states in its lines (credits, tax, commitment, seats) is taken from them as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from tokengov_pipelines.domain.money import (
    POSTING_SCALE,
    MoneyError,
    exact_sum,
    from_cents,
    round_posting,
    to_cents,
)
from tokengov_pipelines.domain.period import BillingMonth


class Pool(StrEnum):
    """The reasons of a charge, in the order in which they are allocated (Rule 6.3)."""

    DIRECT = "direct"
    UNPROXIED = "unproxied"
    NON_TOKEN = "non_token"  # noqa: S105 - no secret
    COMMITMENT = "commitment"
    SEAT = "seat"
    CREDITS = "credits"
    TAX = "tax"
    CENTRAL = "central"


@dataclass(frozen=True)
class BilledParts:
    """What of one invoice has a reason of its own, exact, in the invoice's currency.

    `unproxied` (with its share of the rate variance, Rule 5.2) and `non_token` are by month, because rows and report
    days tell it; the others are of the whole invoice. `central` is rounding + unexplained. `total` is what is charged:
    the payable amount, less tax that is recoverable (Rule 1.7).
    """

    total: Decimal
    unproxied: Mapping[BillingMonth, Decimal]
    non_token: Mapping[BillingMonth, Decimal]
    commitment: Decimal = Decimal(0)
    seats: Decimal = Decimal(0)
    credits: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    central: Decimal = Decimal(0)


Pools = Mapping[Pool, Decimal]


def invoice_pools(parts: BilledParts, *, scale: int = POSTING_SCALE) -> dict[Pool, Decimal]:
    """The pools of a whole invoice in cents; they add up to its total (Rule 6.1)."""
    exact = {
        Pool.UNPROXIED: exact_sum(parts.unproxied.values()),
        Pool.NON_TOKEN: exact_sum(parts.non_token.values()),
        Pool.COMMITMENT: parts.commitment,
        Pool.SEAT: parts.seats,
        Pool.CREDITS: parts.credits,
        Pool.TAX: parts.tax,
        Pool.CENTRAL: parts.central,
    }
    return _with_direct(parts.total, {pool: round_posting(amount, scale) for pool, amount in exact.items()})


def pools_by_month(
    parts: BilledParts, months: Mapping[BillingMonth, Decimal], *, scale: int = POSTING_SCALE
) -> dict[BillingMonth, dict[Pool, Decimal]]:
    """The pools of every month that an invoice bills, in calendar order (Rule 6.1b).

    `months` is the invoice total by month as rule 2.2 splits it (`InvoicePeriod.split_over_months`), in cents.
    Unproxied and non-token cost of a month are its own; commitment, seats, credits, tax and central follow the month's
    share of the total; the last month takes what the earlier ones left of every pool.

    Raises:
        MoneyError: the months do not add up to the total.
    """
    whole = invoice_pools(parts, scale=scale)
    if exact_sum(months.values()) != parts.total:
        message = f"the months add up to {exact_sum(months.values())}, the invoice to {parts.total}. Split it once."
        raise MoneyError(message)
    ordered = sorted(months)
    found: dict[BillingMonth, dict[Pool, Decimal]] = {}
    for month in ordered[:-1]:
        own = {Pool.UNPROXIED: parts.unproxied, Pool.NON_TOKEN: parts.non_token}
        pools = {pool: round_posting(by_month.get(month, Decimal(0)), scale) for pool, by_month in own.items()}
        for pool in (Pool.COMMITMENT, Pool.SEAT, Pool.CREDITS, Pool.TAX, Pool.CENTRAL):
            pools[pool] = _share(whole[pool], months, month, scale)
        found[month] = _with_direct(months[month], pools)
    last = ordered[-1]
    found[last] = {pool: exact_sum([whole[pool], *(-found[each][pool] for each in ordered[:-1])]) for pool in Pool}
    return found


def _share(amount: Decimal, months: Mapping[BillingMonth, Decimal], month: BillingMonth, scale: int) -> Decimal:
    """An amount's share of a month, rounded once half away from zero; a total of zero is shared by the months alike."""
    weights: Sequence[int] = [to_cents(each, scale) for each in months.values()]
    share = Fraction(to_cents(months[month], scale), sum(weights)) if sum(weights) else Fraction(1, len(weights))
    exact = to_cents(amount, scale) * share
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return from_cents(rounded if exact >= 0 else -rounded, scale)


def _with_direct(total: Decimal, others: Pools) -> dict[Pool, Decimal]:
    direct = exact_sum([total, *(-amount for amount in others.values())])
    return {pool: direct if pool is Pool.DIRECT else others[pool] for pool in Pool}
