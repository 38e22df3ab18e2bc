"""What the alerts of one provider's account and month read: its matches, keys, limits and a few figures besides.

Belongs here: these records, the classes of invoice lines, business days. Does not belong here: the comparisons
(`gap_verdicts`), whom they go to (`reconciliation_alerts`), how the figures are gathered (`assets`).
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.invoice import InvoiceLine
from tokengov_pipelines.domain.match_result import Component, MatchError
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation

_SATURDAY: Final = 5
_MONTHS: Final = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
_DATE: Final = re.compile(
    r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b|\b20\d\d(?:-\d\d)?\b"
    rf"|\b(?:\d{{1,2}} )?(?:{_MONTHS})\b\.?(?: \d{{1,2}}\b)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class AlertLimits:
    """The policy's section `alerts` for one provider; percentages as people write them, 1.0 is one percent."""

    unproxied_pct: Decimal = Decimal("1.0")
    unproxied_day_usd: Decimal = Decimal("100.00")
    unpriced_rows_pct: Decimal = Decimal("0.1")
    unpriced_usd: Decimal = Decimal("25.00")
    provider_rate_pct: Decimal = Decimal("0.5")
    quantity_pct: Decimal = Decimal("1.0")
    credits_expiry_days: int = 60
    coverage_target_pct: Decimal = Decimal("98.0")


@dataclass(frozen=True)
class ExpiringCredit:
    """Credits that are left and lapse after `expires_on`; `label` says which ('grant of 2025-12-01')."""

    label: str
    amount: Decimal
    expires_on: dt.date


@dataclass(frozen=True)
class MonthFigures:
    """What the verdicts of one provider's account and month read besides its match.

    `settled_days` are UTC days past the late-log watermark with a complete log and a complete report: only these are
    compared by quantity. `unproxied_by_day` is list value of use on other keys by UTC day, without keys under an
    exception; None: read from the match and the keys. `line_classes` are those of the month's invoice,
    `previous_line_classes` those of the provider's invoice before (`line_classes()`); None: there is none. `credits`
    are those with something left; `items` the items with what earlier months left over (`open_item.carry_over`). Of
    these two, None says that nobody looked, which opens and closes nothing; empty says that there are none.
    """

    settled_days: frozenset[dt.date] = frozenset()
    unproxied_by_day: Mapping[dt.date, Decimal] | None = None
    line_classes: frozenset[str] | None = None
    previous_line_classes: frozenset[str] | None = None
    credits: Sequence[ExpiringCredit] | None = None
    items: Sequence[ReconcilingItem] | None = None


@dataclass(frozen=True)
class Gap:
    """The gap of one provider's account in one month: its invoices, or the month without one, and what goes with it."""

    provider: str
    account: str
    month: BillingMonth
    matches: Sequence[Reconciliation]
    keys: Sequence[UnproxiedKey]
    today: dt.date
    limits: AlertLimits = field(default_factory=AlertLimits)
    figures: MonthFigures = field(default_factory=MonthFigures)

    def state(self, name: str) -> Decimal:
        """A state of the waterfall over all invoices; zero where it was not reached."""
        return exact_sum(match.states.get(name, Decimal(0)) for match in self.matches)

    def component(self, component: Component) -> Decimal:
        """A component over all invoices."""
        return exact_sum(match.components.get(component, Decimal(0)) for match in self.matches)

    def errors(self) -> list[MatchError]:
        """The error items of all invoices."""
        return [error for match in self.matches for error in match.errors]


def line_classes(lines: Iterable[InvoiceLine]) -> frozenset[str]:
    """The classes of an invoice's lines: kind and description, without dates; a line of a model is of its kind alone.

    'commitment Priority Tier, October 2026' and '... November 2026' are one class.
    """
    return frozenset(
        line.kind if line.model or not line.description else f"{line.kind} {_undated(line.description)}"
        for line in lines
    )


def business_day(month: BillingMonth, number: int) -> dt.date:
    """The n-th weekday of a month: the 3rd of November 2026, which begins on a Sunday, is Wednesday the 4th."""
    return [day for day in month.days() if day.weekday() < _SATURDAY][number - 1]


def _undated(text: str) -> str:
    return " ".join(_DATE.sub(" ", text).lower().split()).strip(" ,-")
