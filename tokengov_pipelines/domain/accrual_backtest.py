"""How far accruals would have been off: closed months against what had been accrued for them (Rule 2.2).

Belongs here: the errors by cost center and month, and the error that a new accrual is expected to have. Does not belong
here: the accrual itself (`accrual`), where closed months come from (`ledger`), tables for people (`accruals_cli`).

Shares are exact fractions; nothing is rounded but what is shown. Error is published - accrued: positive where the
accrual was too low.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from tokengov_pipelines.domain.money import POSTING_SCALE, MoneyError, exact_sum, from_cents, minor_unit_scale
from tokengov_pipelines.domain.period import BillingMonth

BACKTEST_MONTHS: Final = 12
"""How many of the latest closed months an expected error rests on, unless the policy says otherwise."""


class AccrualBasis(StrEnum):
    """What an accrual's amount rests on, the best first (Rule 2.2). Calendar days only split a total that is known."""

    COST_REPORT = "provider_cost_report_by_utc_day"
    USAGE = "usage_at_price_book"
    LOGGED = "logged_spend"
    CALENDAR_DAYS = "calendar_days"


@dataclass(frozen=True)
class BacktestMonth:
    """One provider's closed month: what it charged, and what would have been accrued, by cost center, in `currency`."""

    provider: str
    month: BillingMonth
    currency: str
    basis: AccrualBasis
    accrued: Mapping[str, Decimal]
    published: Mapping[str, Decimal]


@dataclass(frozen=True)
class MonthError:
    """A provider's month in sum. `moved` adds the sizes of its cost centers' errors, so that none hides another."""

    provider: str
    month: BillingMonth
    basis: AccrualBasis
    accrued: Decimal
    published: Decimal
    moved: Decimal

    @property
    def error(self) -> Decimal:
        """published - accrued."""
        return exact_sum([self.published, -self.accrued])

    @property
    def share(self) -> Fraction | None:
        """The error's size of what was published; None where nothing was, and something had been accrued."""
        return share_of(self.error, self.published)


@dataclass(frozen=True)
class CenterError:
    """One cost center over all months. `absolute` adds the sizes of its monthly errors.

    `mean_share` is the mean of its monthly shares (MAPE) over the months in which it was charged, None without one.
    `worst_month` is the month with its largest error, `worst_error` that error with its sign.
    """

    cost_center: str
    months: int
    accrued: Decimal
    published: Decimal
    absolute: Decimal
    mean_share: Fraction | None
    worst_month: BillingMonth
    worst_error: Decimal

    @property
    def error(self) -> Decimal:
        """published - accrued; months may cancel, see `absolute`."""
        return exact_sum([self.published, -self.accrued])

    @property
    def share(self) -> Fraction | None:
        """`absolute` of what was published; None where that is zero and the errors are not."""
        return share_of(self.absolute, self.published)


@dataclass(frozen=True)
class Backtest:
    """The errors of all months, in one currency: months by time and provider, cost centers by code."""

    currency: str
    months: tuple[MonthError, ...]
    centers: tuple[CenterError, ...]

    @property
    def accrued(self) -> Decimal:
        """What would have been accrued in all."""
        return exact_sum(each.accrued for each in self.months)

    @property
    def published(self) -> Decimal:
        """What was charged in all."""
        return exact_sum(each.published for each in self.months)

    @property
    def error(self) -> Decimal:
        """published - accrued over everything; positive where accruals were too low."""
        return exact_sum([self.published, -self.accrued])

    @property
    def absolute(self) -> Decimal:
        """The sizes of the months' errors: of totals, so that what moved between cost centers is not in it."""
        return exact_sum(abs(each.error) for each in self.months)

    @property
    def moved(self) -> Decimal:
        """The sizes of the errors of every month and cost center."""
        return exact_sum(each.moved for each in self.months)

    @property
    def share(self) -> Fraction | None:
        """`absolute` of the sizes of what the months charged: large months weigh more."""
        return share_of(self.absolute, self._charged)

    @property
    def moved_share(self) -> Fraction | None:
        """`moved` of the same."""
        return share_of(self.moved, self._charged)

    @property
    def mean_share(self) -> Fraction | None:
        """The mean of the months' shares (MAPE): every month weighs the same; None without a month that has one."""
        return _mean([each.share for each in self.months if each.published])

    @property
    def worst(self) -> CenterError | None:
        """The cost center with the largest `absolute`; of equals the lowest code. None without an error."""
        worst = min(self.centers, key=lambda each: (-each.absolute, each.cost_center), default=None)
        return worst if worst is not None and worst.absolute else None

    @property
    def _charged(self) -> Decimal:
        return exact_sum(abs(each.published) for each in self.months)


@dataclass(frozen=True)
class ExpectedError:
    """What an accrual is likely to be off, from `months` earlier ones on the same basis; amounts in minor units.

    `share` and `amount` are of the accrual's total; `center_share` and `center_amount` are of its cost centers taken
    one by one. `bias` has a sign: positive where accruals were too low.
    """

    months: int
    share: Fraction
    amount: Decimal
    center_share: Fraction
    center_amount: Decimal
    bias: Fraction


def backtest(months: Iterable[BacktestMonth]) -> Backtest | None:
    """The errors of closed months by month and cost center (Rule 2.2); None without a month.

    Raises:
        MoneyError: months of several currencies (Rule 1.6), or a provider's month twice.
    """
    listed = sorted(months, key=lambda each: (each.month, each.provider))
    if not listed:
        return None
    currencies = sorted({each.currency for each in listed})
    if len(currencies) > 1:
        message = f"errors in {' and '.join(currencies)} have no sum. Fix: test the months of one currency at a time."
        raise MoneyError(message)
    if len({(each.provider, each.month) for each in listed}) < len(listed):
        message = "a provider's month stands twice in the back-test. Fix: pass each closed month once."
        raise MoneyError(message)
    found = [(each, _errors(each)) for each in listed]
    return Backtest(currencies[0], tuple(_of_month(each, errors) for each, errors in found), _of_centers(found))


def expected_error(
    total: Decimal,
    history: Iterable[BacktestMonth],
    *,
    provider: str,
    month: BillingMonth,
    currency: str,
    basis: AccrualBasis,
    window: int = BACKTEST_MONTHS,
) -> ExpectedError | None:
    """What an accrual of `total` is likely to be off, from the latest `window` earlier months (Rule 2.2).

    Only months of this provider and currency whose accrual would have rested on the same basis count; None where there
    is none, or none of them charged anything.
    """
    usable = [
        each
        for each in history
        if (each.provider, each.currency, each.basis) == (provider, currency, basis) and each.month < month
    ]
    tested = backtest(sorted(usable, key=lambda each: each.month)[-window:] if window > 0 else ())
    if tested is None or tested.share is None or tested.moved_share is None or not tested.published:
        return None
    scale = minor_unit_scale(currency)
    size = Fraction(abs(total))
    return ExpectedError(
        months=len(tested.months),
        share=tested.share,
        amount=_rounded(size * tested.share, scale),
        center_share=tested.moved_share,
        center_amount=_rounded(size * tested.moved_share, scale),
        bias=Fraction(tested.error) / Fraction(tested.published),
    )


def share_of(part: Decimal, whole: Decimal) -> Fraction | None:
    """The size of a part of the size of a whole, exact; nothing of nothing is 0, something of nothing is None."""
    if not whole:
        return None if part else Fraction(0)
    return Fraction(abs(part)) / Fraction(abs(whole))


def as_percent(share: Fraction | None) -> str:
    """A share for people: '0.63 %', two decimals, half away from zero; 'none' for a share of nothing."""
    return "none" if share is None else f"{_rounded(share * 100, POSTING_SCALE)} %"


def _errors(month: BacktestMonth) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """By cost center: accrued, published, published - accrued."""
    zero = Decimal(0)
    pairs = {
        code: (month.accrued.get(code, zero), month.published.get(code, zero))
        for code in {**month.accrued, **month.published}
    }
    return {
        code: (accrued, published, exact_sum((published, -accrued))) for code, (accrued, published) in pairs.items()
    }


def _of_month(month: BacktestMonth, errors: Mapping[str, tuple[Decimal, Decimal, Decimal]]) -> MonthError:
    return MonthError(
        provider=month.provider,
        month=month.month,
        basis=month.basis,
        accrued=exact_sum(accrued for accrued, _, _ in errors.values()),
        published=exact_sum(published for _, published, _ in errors.values()),
        moved=exact_sum(abs(error) for _, _, error in errors.values()),
    )


def _of_centers(
    found: Iterable[tuple[BacktestMonth, Mapping[str, tuple[Decimal, Decimal, Decimal]]]],
) -> tuple[CenterError, ...]:
    """Cost centers over the calendar months; the providers of one month are added up first."""
    by_center: defaultdict[str, dict[BillingMonth, tuple[Decimal, Decimal]]] = defaultdict(dict)
    zero = Decimal(0)
    for month, errors in found:
        for code, (accrued, published, _) in errors.items():
            before = by_center[code].get(month.month, (zero, zero))
            by_center[code][month.month] = exact_sum((before[0], accrued)), exact_sum((before[1], published))
    return tuple(_center(code, by_center[code]) for code in sorted(by_center))


def _center(code: str, months: Mapping[BillingMonth, tuple[Decimal, Decimal]]) -> CenterError:
    errors = {month: exact_sum((published, -accrued)) for month, (accrued, published) in months.items()}
    worst = min(errors, key=lambda month: (-abs(errors[month]), month))
    return CenterError(
        cost_center=code,
        months=len(months),
        accrued=exact_sum(accrued for accrued, _ in months.values()),
        published=exact_sum(published for _, published in months.values()),
        absolute=exact_sum(abs(error) for error in errors.values()),
        mean_share=_mean([share_of(errors[month], published) for month, (_, published) in months.items() if published]),
        worst_month=worst,
        worst_error=errors[worst],
    )


def _mean(shares: Sequence[Fraction | None]) -> Fraction | None:
    known = [share for share in shares if share is not None]
    return sum(known, Fraction(0)) / len(known) if known else None


def _rounded(value: Fraction, scale: int) -> Decimal:
    """Half away from zero (Rule 1.3) of an exact fraction, which Decimal cannot hold."""
    scaled = abs(value) * 10**scale
    units = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return from_cents(units if value >= 0 else -units, scale)
