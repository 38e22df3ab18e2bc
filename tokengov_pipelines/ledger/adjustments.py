"""What closes posted for earlier months, append-only: a correction is a line of its own, never a changed one (2.5).

Belongs here: writing a close's adjustments inside its transaction, and reading what was posted for an original month.
Does not belong here: computing a correction, and deciding when one is too small or too large to post.

`adjustments = current - closed - already posted` holds only when nobody posts in between: a close says how many
adjustments the ledger held when its own were computed, and is refused when there are others now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, func, insert, select

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.connection import lock_globally
from tokengov_pipelines.ledger.tables import adjustments

PRIOR_PERIOD: Final = "prior_period"
"""The charge type of a posting that corrects an earlier month (Rule 6.9)."""

_ADJUSTMENTS_LOCK = 0x746B6704  # 'tkg' 4: Postgres advisory lock of closes that adjust; taken after a period's row lock

_Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Adjustment:
    """One correction as posted. `reason` is a word (late_rows, dispute, credit_memo, ...), `ref` what it rests on.

    `amount` is in `currency`; `approved_by` is who signed the posting.
    """

    original_month: BillingMonth
    provider: str
    invoice_id: str
    cost_center: str
    amount: Decimal
    currency: str
    reason: str
    ref: str
    approved_by: str


@dataclass(frozen=True)
class PostedAdjustment(Adjustment):
    """The same, with the close that posted it."""

    posting_month: BillingMonth
    posting_version: int


def read_adjustments(
    connection: Connection,
    *,
    original_month: BillingMonth | None = None,
    posting_month: BillingMonth | None = None,
) -> list[PostedAdjustment]:
    """What was posted for one original month, by one posting month, or at all; in the order of their keys."""
    query = select(adjustments).order_by(*adjustments.primary_key.columns)
    if original_month is not None:
        query = query.where(adjustments.c.original_month == str(original_month))
    if posting_month is not None:
        query = query.where(adjustments.c.posting_month == str(posting_month))
    months = ("original_month", "posting_month")
    return [
        PostedAdjustment(**{**row, **{name: BillingMonth.parse(row[name]) for name in months}})
        for row in connection.execute(query).mappings()
    ]


def count_adjustments(connection: Connection) -> int:
    """How many adjustments the ledger holds: what a close names as known when it posts its own."""
    return connection.execute(select(func.count()).select_from(adjustments)).scalar_one()


def lock_adjustments(connection: Connection) -> None:
    """Serialise closes that adjust, until their transactions end."""
    lock_globally(connection, _ADJUSTMENTS_LOCK)


def insert_adjustments(
    connection: Connection, posting_month: BillingMonth, version: int, posted: Sequence[Adjustment]
) -> None:
    """Write a close's adjustments inside its transaction; those that differ in nothing but the amount become one."""
    amounts: dict[Adjustment, list[Decimal]] = {}
    for each in posted:
        amounts.setdefault(replace(each, amount=Decimal(0)), []).append(each.amount)
    rows = [
        {
            **{field.name: getattr(each, field.name) for field in fields(Adjustment)},
            "amount": exact_sum(parts),
            "original_month": str(each.original_month),
            "posting_month": str(posting_month),
            "posting_version": version,
        }
        for each, parts in amounts.items()
    ]
    if rows:
        connection.execute(insert(adjustments), rows)


def adjustments_refusal(
    posting_month: BillingMonth,
    posted: Sequence[Adjustment],
    lines: Iterable[Posting],
    closed: Mapping[BillingMonth, bool],
) -> str | None:
    """Why a close may not post these adjustments, or None.

    `lines` are all postings of the close: those of charge type `prior_period` say the same as the adjustments, by
    original month, provider, invoice, cost center and currency. `closed` says of each original month whether it is.
    """
    for each in posted:
        if not (each.reason.strip() and each.ref.strip() and each.approved_by.strip()):
            return f"an adjustment of {each.original_month} has no reason, no reference or nobody who approved it"
        if not each.original_month < posting_month:
            return f"{each.original_month} is adjusted in {posting_month}, which is not after it"
        if not closed.get(each.original_month, False):
            return f"{each.original_month} is adjusted and not closed; its own close takes the change"
    told = _sums(
        ((str(each.original_month), each.provider, each.invoice_id, each.cost_center, each.currency), each.amount)
        for each in posted
    )
    charged = _sums(
        ((line.original_month, line.provider, line.invoice_id, line.cost_center, line.currency), line.amount)
        for line in lines
        if line.charge_type == PRIOR_PERIOD
    )
    for key in sorted({*told, *charged}):
        if told.get(key, Decimal(0)) != charged.get(key, Decimal(0)):
            named = " ".join(key[:-1])
            return (
                f"the adjustments of {named} are {told.get(key, Decimal(0))} {key[-1]} and its {PRIOR_PERIOD} lines "
                f"{charged.get(key, Decimal(0))}"
            )
    return None


def _sums(amounts: Iterable[tuple[_Key, Decimal]]) -> dict[_Key, Decimal]:
    parts: dict[_Key, list[Decimal]] = {}
    for key, amount in amounts:
        parts.setdefault(key, []).append(amount)
    return {key: exact_sum(each) for key, each in parts.items()}
