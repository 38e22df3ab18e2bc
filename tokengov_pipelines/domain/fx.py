"""Which exchange rate applies on a day, and what a payment at another rate gains or loses (Rule 1.6).

Belongs here: the look-up in the rate table and the difference at payment. Does not belong here: converting charge lines
(`money.convert_lines`), the file that people keep (`directory`), which cost center treasury is (policy).

A rate is looked up by its exact date and in its own direction. The day before, the inverse, a cross rate or 1 never
stands in for one that is missing: the month is held until somebody writes it down.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypedDict

from tokengov_pipelines.domain.cells import shown
from tokengov_pipelines.domain.money import (
    MoneyError,
    exact_product,
    exact_sum,
    minor_unit_scale,
    round_posting,
    usd,
)
from tokengov_pipelines.domain.problem import Problem

FX_RATES_FILE: Final = "directory/fx_rates.csv"

SAME_CURRENCY: Final = "same currency"
"""The source of the rate 1 of a currency to itself; no row of the table says it."""


class FxRow(TypedDict):
    """A row of `raw/directory_fx_rates`: the rate as it is written."""

    from_currency: str
    to_currency: str
    rate_date: dt.date
    rate: str | Decimal
    source: str | None


@dataclass(frozen=True)
class FxRate:
    """How many units of the one currency one unit of the other buys on `date`, exact, and who says so."""

    rate: Decimal
    source: str
    date: dt.date


class MissingRateError(MoneyError):
    """No rate of that day in that direction; `problem` names the file and the row to add."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class FxRates:
    """The rate table of the directory, by currencies and day.

    Raises:
        MoneyError: a rate is not above zero, a currency is none, or two rows give one day different rates.
    """

    def __init__(self, rows: Iterable[FxRow]) -> None:
        self._rates: dict[tuple[str, str], dict[dt.date, FxRate]] = {}
        for row in rows:
            pair = row["from_currency"], row["to_currency"]
            for currency in pair:
                minor_unit_scale(currency)
            rate = usd(row["rate"])
            where = f"{FX_RATES_FILE}: {pair[0]} to {pair[1]} of {row['rate_date']}"
            if rate <= 0:
                message = f"{where}: the rate is {rate}, and a rate is above zero. Fix: correct the row."
                raise MoneyError(message)
            found = FxRate(rate, row["source"] or "", row["rate_date"])
            known = self._rates.setdefault(pair, {}).setdefault(row["rate_date"], found)
            if known != found:
                message = f"{where}: is there twice, as {known.rate} and {rate}. Fix: delete one of the two rows."
                raise MoneyError(message)

    def rate_on(self, from_currency: str, to_currency: str, day: dt.date) -> FxRate:
        """The rate of exactly that day; of a currency to itself it is 1 (Rule 1.6).

        Raises:
            MissingRateError: the table has no such row; the day before and the inverse are never taken instead.
            MoneyError: a currency is no ISO 4217 code.
        """
        for currency in (from_currency, to_currency):
            minor_unit_scale(currency)
        if from_currency == to_currency:
            return FxRate(Decimal(1), SAME_CURRENCY, day)
        rate = self._rates.get((from_currency, to_currency), {}).get(day)
        if rate is None:
            raise MissingRateError(self._missing(from_currency, to_currency, day))
        return rate

    def _missing(self, from_currency: str, to_currency: str, day: dt.date) -> Problem:
        what = f"there is no rate {from_currency} to {to_currency} of {day}"
        days = self._rates.get((from_currency, to_currency), {})
        before = max((each for each in days if each < day), default=None)
        after = min((each for each in days if each > day), default=None)
        near = " and ".join(str(each) for each in (before, after) if each is not None)
        if near:
            what += f" (the nearest: {near})"
        if day in self._rates.get((to_currency, from_currency), {}):
            what += f"; {to_currency} to {from_currency} is there, and is not inverted"
        fix = f"add the row {from_currency},{to_currency},{day} with the rate of that day and its source"
        return Problem(FX_RATES_FILE, None, "rate", what, fix)


@dataclass(frozen=True)
class FxDifference:
    """What a payment cost beyond what was booked, in `currency`; it goes to treasury, never to teams (Rule 1.6).

    `loss` is paid - booked: positive where the payment cost more, negative for a gain (cost is positive, Rule 1.5).
    """

    currency: str
    booked: Decimal
    paid: Decimal

    @property
    def loss(self) -> Decimal:
        """paid - booked, in minor units."""
        return exact_sum([self.paid, -self.booked])

    @property
    def kind(self) -> str:
        """`loss`, `gain` or `none`."""
        return "loss" if self.loss > 0 else "gain" if self.loss < 0 else "none"


def fx_gain_loss(
    amount: Decimal, booked_at: FxRate, paid_at: FxRate, *, from_currency: str, to_currency: str
) -> FxDifference:
    """The difference between an invoice at its own day's rate and at its payment's (Rule 1.6).

    `amount` is the payable total in `from_currency`; each side is converted once and rounded once. EUR 1234.56 at
    1.0837 and 1.0901 is 1337.89 and 1345.79: a loss of 7.90.

    Raises:
        MoneyError: `amount` is no whole number of minor units.
    """
    if amount != round_posting(amount, minor_unit_scale(from_currency)):
        message = (
            f"{shown(amount)} is no amount that could be paid in {from_currency}: it has more decimals than the "
            "currency. Fix: pass the invoice's total."
        )
        raise MoneyError(message)
    scale = minor_unit_scale(to_currency)
    booked, paid = (round_posting(exact_product(amount, each.rate), scale) for each in (booked_at, paid_at))
    return FxDifference(to_currency, booked, paid)
