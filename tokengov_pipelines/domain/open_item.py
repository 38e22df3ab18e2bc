"""One open item: what it is, who owns it, how old it is, and what its age means (rule 4.8).

Belongs here: the record, its age and buckets, what earlier months left over. Does not belong here: which items a
reconciliation has (`reconciling_items`), how people settle them (`resolutions`).
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.match_result import ErrorCode
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth

QUANTITY: Final = "quantity"
"""The component word of an item of volume + mix: a cell has one difference of quantity, not two (rule 4.2)."""

CONTROLLER: Final = "controller"

BUCKETS: Final = ((0, 30), (31, 60), (61, 90), (91, None))
"""Ages in days, both ends inside (rule 4.8)."""

_ESCALATES_AFTER: Final = 90
_CLOSE_BUSINESS_DAY: Final = 5
_WORKING_DAYS_A_WEEK: Final = 5


class ItemStatus(StrEnum):
    """Where an item stands. Explained: its cause is known and nobody owes anything; the others say what people did."""

    OPEN = "open"
    EXPLAINED = "explained"
    RESOLVED = "resolved"
    WRITTEN_OFF = "written_off"
    REOPENED = "reopened"


@dataclass(frozen=True)
class ReconcilingItem:
    """One item. `amount` is exact (12 decimals), positive where the invoice is higher than the log says.

    `billing_month` is the month in which the period begins (of timing and unproxied, the reconciled
    month), and begins the item's id.
    `component` is a word of `Component` or `ErrorCode`, or 'quantity'; `cell` says which key, cell or line in it.
    `starts_as` is its status before anybody did anything. The amount of an error stands in a component already
    (`is_error`): it is shown, and never added. `resolved_amount` is what resolutions took away (`resolutions`).
    """

    item_id: str
    billing_month: BillingMonth
    provider: str
    account: str
    invoice_id: str | None
    period_start: dt.date
    period_end: dt.date
    component: str
    cell: str
    what: str
    opened_on: dt.date
    amount: Decimal
    currency: str
    owner: str
    starts_as: ItemStatus
    status: ItemStatus
    evidence_link: str
    expected_clear_by: dt.date | None
    resolved_amount: Decimal = Decimal(0)

    @property
    def is_error(self) -> bool:
        """Whether it is an error of the match; its dollars, if it has any, are inside some component."""
        return self.component in set(ErrorCode)

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something."""
        return self.status in {ItemStatus.OPEN, ItemStatus.REOPENED}

    @property
    def open_amount(self) -> Decimal:
        """What is left: zero once it is explained, resolved or written off."""
        return exact_sum([self.amount, -self.resolved_amount]) if self.is_open else Decimal(0)

    def age_days(self, as_of: dt.date) -> int:
        """Days since it was opened; 0 on the day itself and before it."""
        return max((as_of - self.opened_on).days, 0)

    def bucket(self, as_of: dt.date) -> str:
        """The bucket of its age: '0-30', '31-60', '61-90', '>90'."""
        age = self.age_days(as_of)
        return next(bucket_name(low, high) for low, high in BUCKETS if high is None or age <= high)

    def owner_on(self, as_of: dt.date) -> str:
        """Who has to act: its owner, and the controller once it is open for more than 90 days (rule 4.8)."""
        return CONTROLLER if self.is_open and self.age_days(as_of) > _ESCALATES_AFTER else self.owner


@dataclass(frozen=True)
class BucketTotal:
    """Open items of one currency and age. `gross` adds their sizes, so that no item hides another one."""

    currency: str
    bucket: str
    items: int
    errors: int
    net: Decimal
    gross: Decimal


def bucket_name(low: int, high: int | None) -> str:
    """'0-30'; '>90' for the last one."""
    return f">{low - 1}" if high is None else f"{low}-{high}"


def carry_over(items: Iterable[ReconcilingItem], earlier: Iterable[ReconcilingItem]) -> list[ReconcilingItem]:
    """The month's own items and what earlier months left open, oldest first; an item is in the list once.

    Two invoices of an account that bill the same days show the same key or cell: the first one has the item.
    `earlier` are the items of the month before, with what it carried over itself and every resolution applied.
    """
    own: dict[str, ReconcilingItem] = {}
    for item in items:
        own.setdefault(item.item_id, item)
    left = {item.item_id: item for item in earlier if item.is_open and item.item_id not in own}
    return [*own.values(), *sorted(left.values(), key=lambda item: (item.opened_on, item.item_id))]


def aging(items: Iterable[ReconcilingItem], as_of: dt.date) -> list[BucketTotal]:
    """Net and gross of what is open, by currency and age, every bucket of a currency (rule 4.8)."""
    listed = [item for item in items if item.is_open]
    totals = []
    for currency in sorted({item.currency for item in listed}):
        for low, high in BUCKETS:
            name = bucket_name(low, high)
            mine = [item for item in listed if (item.currency, item.bucket(as_of)) == (currency, name)]
            amounts = [item.open_amount for item in mine if not item.is_error]
            net, gross = exact_sum(amounts), exact_sum(abs(amount) for amount in amounts)
            totals.append(BucketTotal(currency, name, len(mine), sum(item.is_error for item in mine), net, gross))
    return totals


def blocks_matched(items: Iterable[ReconcilingItem], as_of: dt.date) -> list[ReconcilingItem]:
    """The items that keep a provider's invoice from being `matched`: open for more than 90 days (rule 4.8).

    Of several providers' items, ask with those of one; an empty list blocks nothing.
    """
    return [item for item in items if item.is_open and item.age_days(as_of) > _ESCALATES_AFTER]


def aging_day(month: BillingMonth) -> dt.date:
    """The day that a month's pack counts ages to: its close, the fifth business day after it (rule 2.4).

    Not today: equal rows are equal bytes whenever a pack is made. Bank holidays are not known here.
    """
    day, left = month.last_day, _CLOSE_BUSINESS_DAY
    while left:
        day += dt.timedelta(days=1)
        left -= day.weekday() < _WORKING_DAYS_A_WEEK
    return day
