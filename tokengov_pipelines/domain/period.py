"""Time as the books see it: accounting days in UTC, billing months, invoice periods (rules 2.1, 2.2).

Belongs here: half-open bounds and the split of an invoice over months. Does not belong here: effective dating
(`intervals`), local days of alerts, and who may close a period (`ledger`).
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.money import POSTING_SCALE, allocate, exact_sum

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_ONE_DAY: Final = dt.timedelta(days=1)


class PeriodError(ValueError):
    """A month or an invoice period that cannot be; the text says what to write."""


def accounting_day(moment: dt.datetime) -> dt.date:
    """The UTC day of a moment (rule 2.1). A naive timestamp is UTC: LiteLLM's Postgres stores it so."""
    return (moment if moment.tzinfo is None else moment.astimezone(dt.UTC)).date()


@dataclass(frozen=True, order=True)
class BillingMonth:
    """A calendar month in UTC, [1st 00:00Z, next 1st 00:00Z) (rule 2.1); as text 'YYYY-MM'. Months sort by time."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (1 <= self.month <= 12 and 1970 <= self.year <= 9998):
            message = f"there is no billing month {self.year}-{self.month}. Write YYYY-MM, such as 2026-10."
            raise PeriodError(message)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @classmethod
    def parse(cls, text: str) -> "BillingMonth":
        """Read 'YYYY-MM'; anything else raises `PeriodError`."""
        match = _MONTH.fullmatch(text)
        if match is None:
            message = f"{text[:40]!r} is not a billing month. Write YYYY-MM, such as 2026-10."
            raise PeriodError(message)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: dt.date) -> "BillingMonth":
        """The month of an accounting day. Of a moment, take `accounting_day(moment)` first."""
        return cls(day.year, day.month)

    @property
    def first_day(self) -> dt.date:
        """The 1st."""
        return dt.date(self.year, self.month, 1)

    @property
    def last_day(self) -> dt.date:
        """The last day inside the month, as people write it."""
        return self.next().first_day - _ONE_DAY

    def days(self) -> list[dt.date]:
        """Every day of the month, ascending."""
        return [self.first_day + n * _ONE_DAY for n in range((self.next().first_day - self.first_day).days)]

    def next(self) -> "BillingMonth":
        """The month after."""
        return BillingMonth(self.year + self.month // 12, self.month % 12 + 1)

    def previous(self) -> "BillingMonth":
        """The month before."""
        return BillingMonth.of(self.first_day - _ONE_DAY)

    def contains(self, day: dt.date) -> bool:
        """Whether an accounting day is in the month. Of a moment, take `accounting_day(moment)` first."""
        return (day.year, day.month) == (self.year, self.month)

    def utc_bounds(self) -> tuple[dt.datetime, dt.datetime]:
        """The first moment inside and the first moment after, both aware and in UTC."""
        return _midnight(self.first_day), _midnight(self.next().first_day)


@dataclass(frozen=True, order=True)
class InvoicePeriod:
    """The days an invoice bills, [start, end) (rule 2.2). Raises `PeriodError` when it would contain no day."""

    start: dt.date
    end: dt.date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            message = (
                f"an invoice period from {self.start} up to {self.end} contains no day; its end is after its start."
            )
            raise PeriodError(message)

    @classmethod
    def from_printed(cls, start: dt.date, last_day: dt.date) -> "InvoicePeriod":
        """The period as providers print it, with an inclusive end: '15 Oct-14 Nov' is [15 Oct, 15 Nov)."""
        if last_day < start:
            message = f"the last day {last_day} of an invoice period is before its first day {start}."
            raise PeriodError(message)
        return cls(start, last_day + _ONE_DAY)

    @property
    def last_day(self) -> dt.date:
        """The last day inside, as printed."""
        return self.end - _ONE_DAY

    def contains(self, day: dt.date) -> bool:
        """Whether an accounting day is billed by the invoice."""
        return self.start <= day < self.end

    def days(self) -> list[dt.date]:
        """Every day of the period, ascending."""
        return [self.start + n * _ONE_DAY for n in range((self.end - self.start).days)]

    def months(self) -> list[BillingMonth]:
        """Every month that has a day in the period, ascending."""
        months = [BillingMonth.of(self.start)]
        while months[-1].next().first_day < self.end:
            months.append(months[-1].next())
        return months

    def utc_bounds(self) -> tuple[dt.datetime, dt.datetime]:
        """The first moment inside and the first moment after, both aware and in UTC."""
        return _midnight(self.start), _midnight(self.end)

    def split_over_months(
        self, total: Decimal, daily: Mapping[dt.date, Decimal | int] | None = None, *, scale: int = POSTING_SCALE
    ) -> dict[BillingMonth, Decimal]:
        """Accrue an invoice total over the months of its period by largest remainder (rule 2.2).

        `daily` holds the weights by UTC day: the provider cost report's amounts, else usage; None means one for each
        calendar day. Days outside the period are cut off (rule 4.2). A month without weight gets zero. Raises
        `money.ZeroWeights` when no day of the period has weight: the caller falls to the next basis.
        """
        weights = daily if daily is not None else dict.fromkeys(self.days(), 1)
        billed = [(BillingMonth.of(day), weight) for day, weight in weights.items() if self.contains(day)]
        by_month = {
            str(month): exact_sum(weight for of_month, weight in billed if of_month == month) for month in self.months()
        }
        parts = allocate(total, by_month, scale=scale)
        return {BillingMonth.parse(month): part for month, part in parts.items()}


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
