"""The proxy's price map, day by day: what changed in it, and where it differs from the price book (rule 12.4).

Belongs here: comparing the prices that the proxy's rows carry with those of earlier days and with the book, and which
prices of the book change on a day. Does not belong here: reading rows (`assets.price_checks`), calls without a price
(`dbt_project/models/marts/prices`), what a difference did to the gap (`waterfall`).

The map has one price a token type: standard tier, lowest context band, five-minute cache writes. Only that is compared.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.pricing import STANDARD, PriceBook, PriceRow, band_label

MAP_TYPES: Final = ("uncached_input", "output", "cache_read", "cache_write_5m")
"""What the map has prices of, in the words of the price book."""

LOOK_BACK_DAYS: Final = 35
"""How far back the day before is looked for on which a model was used."""

_Used = tuple[dt.date, str, str]


@dataclass(frozen=True)
class MapRow:
    """Calls of a day, model and tier that were logged under one set of map prices, USD per token; None is no price.

    `model` is the name as logged, `map_key` the entry of the map; `prices` stand in the order of `MAP_TYPES`.
    """

    day: dt.date
    provider: str
    model: str
    tier: str
    map_key: str
    prices: tuple[Decimal | None, ...]
    calls: int
    tokens: int


@dataclass(frozen=True)
class UsedTokens:
    """Tokens that were logged with spend in the standard tier and the lowest band, by token type."""

    day: dt.date
    provider: str
    model: str
    tokens: Mapping[str, int]


@dataclass(frozen=True)
class MapChange:
    """The map's price of a token type differs from the last day on which the model was used; None is no price."""

    day: dt.date
    day_before: dt.date
    provider: str
    model: str
    token_type: str
    before: tuple[Decimal | None, ...]
    after: tuple[Decimal | None, ...]
    calls: int

    def __str__(self) -> str:
        return (
            f"{self.day}: {self.provider} {self.model} {self.token_type}: the proxy's price map says "
            f"{_either(self.after)} USD per million tokens, and said {_either(self.before)} on {self.day_before}; "
            f"{self.calls:,} calls"
        )


@dataclass(frozen=True)
class Disagreement:
    """On some days the map says another price of a token type than the book.

    `logged_too_much` is what the difference made on calls of the standard tier and the lowest band, in USD: negative
    where the proxy logged too little, None where a day had two map prices and the calls of each are not known apart.
    """

    days: tuple[dt.date, ...]
    provider: str
    model: str
    token_type: str
    of_map: Decimal
    of_book: PriceRow
    calls: int
    tokens: int
    logged_too_much: Decimal | None

    def __str__(self) -> str:
        span = " to ".join(dict.fromkeys((str(self.days[0]), str(self.days[-1]))))
        if self.logged_too_much is None:
            size = "what that makes is not known, because a day had two prices"
        elif self.logged_too_much == 0:
            size = "none of them at standard prices"
        else:
            word = "less" if self.logged_too_much < 0 else "more"
            size = f"logged {abs(self.logged_too_much):,.2f} USD {word} at standard prices"
        return (
            f"{span}: {self.provider} {self.model} {self.token_type}: the proxy's price map says "
            f"{per_million(self.of_map)} USD per million tokens, the price book "
            f"{per_million(self.of_book.usd_per_token)} ({self.of_book.basis}, {self.of_book.source}); "
            f"{self.calls:,} calls of {self.tokens:,} tokens, {size}"
        )


@dataclass(frozen=True)
class BookPriceChange:
    """A price of the book that is another one from `day` on, of a model in use; None is no price."""

    day: dt.date
    provider: str
    model: str
    token_type: str
    tier: str
    band: str
    before: Decimal | None
    after: Decimal | None
    source: str

    def __str__(self) -> str:
        band = "" if self.band == "all" else f" {self.band}"
        return (
            f"{self.day}: {self.provider} {self.model} {self.token_type} {self.tier}{band}: the price book says "
            f"{per_million(self.after)} USD per million tokens from this day on, and {per_million(self.before)} before "
            f"({self.source})"
        )


@dataclass(frozen=True)
class _DayDiffers:
    day: dt.date
    rows: tuple[MapRow, ...]
    listed: PriceRow
    made: Decimal | None


def map_changes(rows: Iterable[MapRow], days: Collection[dt.date]) -> list[MapChange]:
    """What is new in the map on each of `days`, against the last day before it on which the model was used.

    `rows` go back `LOOK_BACK_DAYS` before the first of the days. A model that was not used in that time is not
    compared. Two prices on one day are told as both.
    """
    used = _by_day(rows)
    last_used: dict[tuple[str, str], dt.date] = {}
    changes: list[MapChange] = []
    for day, provider, model in sorted(used):
        before = last_used.get((provider, model))
        last_used[provider, model] = day
        if day not in days or before is None or before < day - dt.timedelta(days=LOOK_BACK_DAYS):
            continue
        now, then = used[day, provider, model], used[before, provider, model]
        for at, token_type in enumerate(MAP_TYPES):
            after, earlier = _prices(now, at), _prices(then, at)
            if after != earlier:
                calls = sum(row.calls for row in now)
                changes.append(MapChange(day, before, provider, model, token_type, earlier, after, calls))
    return changes


def disagreements(
    rows: Iterable[MapRow], usage: Iterable[UsedTokens], book: PriceBook, days: Collection[dt.date]
) -> list[Disagreement]:
    """Where the map and the book name different prices on `days`; one a model, token type and pair of prices.

    A price that one of the two does not name is no disagreement: `used_models_are_priced` speaks of those.
    """
    tokens_used = {(each.day, each.provider, each.model): each.tokens for each in usage}
    groups: dict[tuple[str, str, str, Decimal, Decimal], list[_DayDiffers]] = {}
    for (day, provider, model), found in sorted(_by_day(row for row in rows if row.day in days).items()):
        priced = book.model_of(provider, model)
        for at, token_type in enumerate(MAP_TYPES):
            listed = book.unit_price(provider, priced or "", token_type, STANDARD, 0, day).row
            if listed is None:
                continue
            told = [price for price in _prices(found, at) if price is not None]
            for of_map in told:
                difference = of_map - listed.usd_per_token
                if difference:
                    counted = tokens_used.get((day, provider, model), {}).get(token_type, 0)
                    made = exact_product(counted, difference) if len(told) == 1 else None
                    mine = tuple(row for row in found if row.prices[at] == of_map)
                    key = (provider, model, token_type, of_map, listed.usd_per_token)
                    groups.setdefault(key, []).append(_DayDiffers(day, mine, listed, made))
    return [_disagreement(*key[:4], groups[key]) for key in sorted(groups)]


def book_price_changes(
    book: PriceBook, used: Iterable[tuple[str, str]], days: Collection[dt.date]
) -> list[BookPriceChange]:
    """Which prices of the book begin or end on `days`; `used` are provider and logged name of the models in use."""
    models = {(provider, model) for provider, name in used if (model := book.model_of(provider, name))}
    changes: list[BookPriceChange] = []
    for (provider, model, token_type, tier), rows in sorted(book.prices.items()):
        if (provider, model) not in models:
            continue
        turns = {row.valid.valid_from for row in rows} | {row.valid.valid_to for row in rows if row.valid.valid_to}
        for day in sorted(turns & set(days)):
            day_before = day - dt.timedelta(days=1)
            active = [row for row in rows if row.valid.valid_on(day) or row.valid.valid_on(day_before)]
            bounds = sorted({row.context_over_tokens for row in active})
            for at, bound in enumerate(bounds):
                asked = (provider, model, token_type, tier, bound + 1)
                then = book.unit_price(*asked, day_before)
                now = book.unit_price(*asked, day)
                if then.usd_per_token != now.usd_per_token:
                    band = band_label(bound, bounds[at + 1] if at + 1 < len(bounds) else None)
                    named = now.row or then.row
                    changes.append(
                        BookPriceChange(
                            day, provider, model, token_type, tier, band, then.usd_per_token, now.usd_per_token,
                            named.source if named else "",
                        )
                    )  # fmt: skip
    return sorted(changes, key=lambda change: change.day)


def per_million(price: Decimal | None) -> str:
    """A price per token as people read it, USD per million tokens; 'no price' for None."""
    return "no price" if price is None else f"{price.scaleb(6).normalize():f}"


def _disagreement(
    provider: str, model: str, token_type: str, of_map: Decimal, differing: Sequence[_DayDiffers]
) -> Disagreement:
    made = [each.made for each in differing]
    return Disagreement(
        days=tuple(each.day for each in differing),
        provider=provider,
        model=model,
        token_type=token_type,
        of_map=of_map,
        of_book=differing[-1].listed,
        calls=sum(row.calls for each in differing for row in each.rows),
        tokens=sum(row.tokens for each in differing for row in each.rows),
        logged_too_much=None if None in made else exact_sum(each for each in made if each is not None),
    )


def _by_day(rows: Iterable[MapRow]) -> dict[_Used, list[MapRow]]:
    groups: dict[_Used, list[MapRow]] = {}
    for row in rows:
        groups.setdefault((row.day, row.provider, row.model), []).append(row)
    return groups


def _prices(rows: Iterable[MapRow], at: int) -> tuple[Decimal | None, ...]:
    """The different prices of a token type, ascending, none first."""
    found = {row.prices[at] for row in rows}
    return tuple(sorted(found, key=lambda price: (price is not None, price or 0)))


def _either(prices: Iterable[Decimal | None]) -> str:
    return " or ".join(map(per_million, prices))
