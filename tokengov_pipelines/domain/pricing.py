"""The price book: dated prices of models, the names that models go by, and the one way to ask for a price.

Belongs here: what a price, an alias and a geography's factor are, the checks that keep a book unambiguous, and the
look-up (rules 4.1, 4.2, 4.4). Does not belong here: the files and how contract prices are laid over list prices
(`price_files`), where prices come from (`scripts/price_seed.py`), who agreed to a change (`price_review`), the same
look-up over a day's usage in SQL (`dbt_project/models/marts/prices`), what a difference means (`waterfall`).

A look-up never falls back by itself: no tier stands in for another, no model for a similar one, no day for the one
before, no geography for a cheaper one. What the book does not say is `missing`, and the caller makes it an error item,
not a zero (rule 4.1). Only a tier that the policy names takes the standard price, and the answer says `fallback`.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Final

from tokengov_pipelines.domain.cells import did_you_mean
from tokengov_pipelines.domain.intervals import Interval, overlaps
from tokengov_pipelines.domain.money import INTERNAL_SCALE, exact_product, quantize_internal
from tokengov_pipelines.domain.problem import Problem, in_reading_order

PRICE_FILE: Final = "price_list.csv"
CONTRACT_FILE: Final = "contract_prices.csv"
ALIAS_FILE: Final = "model_aliases.csv"
GEO_FILE: Final = "geo_factors.csv"

TOKEN_TYPES: Final = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
AUDIO_TOKEN_TYPES: Final = ("input_audio", "cache_read_audio", "output_audio")  # counted apart by OpenAI alone
WEB_SEARCH_REQUESTS: Final = "web_search_requests"
PRICED_UNITS: Final = (*TOKEN_TYPES, WEB_SEARCH_REQUESTS, *AUDIO_TOKEN_TYPES)
"""Words of the column token_type. Cache writes that a provider does not split by lifetime are five-minute writes."""

STANDARD: Final = "standard"
FAST: Final = "fast"
GLOBAL_GEOS: Final = frozenset({"", "global", "not_available"})  # they cost what the list says; others need a factor


class PriceStatus(StrEnum):
    """What the book says about a price."""

    EXACT = "exact"
    FALLBACK = "fallback"  # the tier has none and takes the standard price, because the policy names it
    MISSING = "missing"


class Basis(StrEnum):
    """Whose price it is: everybody's, or agreed with this organisation."""

    LIST = "list"
    CONTRACT = "contract"


@dataclass(frozen=True)
class PriceRow:
    """A price: USD per million tokens (for `web_search_requests`: per million searches), on the days of `valid`.

    It holds for requests with more input tokens, cached ones included, than `context_over_tokens`, up to the next band
    of the same cell; `context_band` is that range in words. `row` is the line in the file.
    """

    provider: str
    model: str
    token_type: str
    service_tier: str
    context_band: str
    context_over_tokens: int
    usd_per_mtok: Decimal
    valid: Interval
    source: str
    source_version: str
    row: int | None = field(default=None, compare=False)
    basis: Basis = Basis.LIST

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What it prices, over all bands and days: provider, model, token type, tier."""
        return (self.provider, self.model, self.token_type, self.service_tier)

    @property
    def usd_per_token(self) -> Decimal:
        """USD of one token (or search), exact, at most 12 decimals."""
        return self.usd_per_mtok.scaleb(-6)

    @property
    def file(self) -> str:
        """The name of the file that it stands in."""
        return CONTRACT_FILE if self.basis is Basis.CONTRACT else PRICE_FILE

    def problem(self, field_name: str | None, what: str, fix: str) -> Problem:
        """A problem at this row."""
        return Problem(self.file, self.row, field_name, what, fix)

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.token_type} {self.service_tier} {self.context_band} {self.valid}"


@dataclass(frozen=True)
class Alias:
    """A name under which a provider's model is logged or reported, normalised, and the model of the price list."""

    alias: str
    provider: str
    model: str
    row: int | None = field(default=None, compare=False)
    file: str = field(default=ALIAS_FILE, compare=False)


@dataclass(frozen=True)
class GeoFactor:
    """What every token price of a model is multiplied by in a geography (`inference_geo`), on the days of `valid`."""

    provider: str
    model: str
    inference_geo: str
    factor: Decimal
    valid: Interval
    source: str
    source_version: str
    row: int | None = field(default=None, compare=False)

    def problem(self, field_name: str | None, what: str, fix: str) -> Problem:
        """A problem at this row."""
        return Problem(GEO_FILE, self.row, field_name, what, fix)


@dataclass(frozen=True)
class UnitPrice:
    """The answer to one look-up: `row` and `usd_per_token` are there unless the status is missing.

    `row` is the price that was found (of a fallback: the standard one); `factor` is the geography's.
    """

    status: PriceStatus
    row: PriceRow | None
    factor: Decimal = Decimal(1)

    @property
    def usd_per_token(self) -> Decimal | None:
        """USD of one token (or search), at most 12 decimals; None when the price is missing, which is not zero."""
        if self.row is None:
            return None
        if self.factor == 1:
            return self.row.usd_per_token
        return quantize_internal(exact_product(self.row.usd_per_token, self.factor))  # exact: the book was held to it

    @property
    def pico_per_token(self) -> int | None:
        """The same in whole picodollars (1e-12 USD): a price per token has at most 12 decimals."""
        price = self.usd_per_token
        return None if price is None else int(price.scaleb(INTERNAL_SCALE))


_MISSING: Final = UnitPrice(PriceStatus.MISSING, None)


@dataclass(frozen=True)
class PriceBook:
    """Prices by cell, and models by the names they go by. Build it with `price_book`, which checks it."""

    prices: Mapping[tuple[str, str, str, str], tuple[PriceRow, ...]]
    models: Mapping[tuple[str, str], str]
    slugs: Mapping[str, str]
    geo_factors: tuple[GeoFactor, ...] = ()
    _bands_of_day: dict[tuple[tuple[str, str, str, str], dt.date], tuple[PriceRow, ...]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def model_of(self, provider: str, name: str) -> str | None:
        """The priced model behind a logged or reported name; None when no alias says so (rule 4.1: no guessing)."""
        return self.models.get((provider, normalised_name(provider, name, self.slugs)))

    def unit_price(
        self,
        provider: str,
        model: str,
        token_type: str,
        tier: str,
        band_tokens: int,
        day: dt.date,
        *,
        geo: str = "global",
        speed: str = STANDARD,
        fallback_tiers: Collection[str] = (),
    ) -> UnitPrice:
        """The price of one token of a request with `band_tokens` input tokens (cached ones included) on a UTC day.

        `model` is the price list's name (`model_of`). `speed` fast is the tier fast; a tier of its own has no fast
        price. A geography that is not global multiplies tokens (searches cost the same everywhere) and is missing
        where the book has no factor for it. A tier of `fallback_tiers` (policy: pricing.fallback_tiers) without a price
        takes the standard one and says so. Everything else that is missing is missing: nothing stands in for it.
        """
        if speed != STANDARD:
            if speed != FAST or tier != STANDARD:
                return _MISSING
            tier = FAST
        factor = Decimal(1) if geo in GLOBAL_GEOS else self._factor(provider, model, geo, day)
        if factor is None:
            return _MISSING
        status, row = PriceStatus.EXACT, self._row((provider, model, token_type, tier), band_tokens, day)
        if row is None and tier in fallback_tiers:
            status, row = PriceStatus.FALLBACK, self._row((provider, model, token_type, STANDARD), band_tokens, day)
        if row is None:
            return _MISSING
        return UnitPrice(status, row, Decimal(1) if token_type == WEB_SEARCH_REQUESTS else factor)

    def thresholds(self, provider: str, model: str) -> tuple[int, ...]:
        """Where the model's context bands begin, ascending, over all token types, tiers and days; (0,) for one band."""
        return self._thresholds.get((provider, model), (0,))

    def band_of(self, provider: str, model: str, prompt_tokens: int) -> int:
        """The band of a request: the highest threshold that its input tokens, cached ones included, are above, else 0.

        The same rule that dbt applies to each call. 200,000 tokens are not above 200,000; for a provider's window
        '200k-1M' ask with its lower bound plus one.
        """
        return max((bound for bound in self.thresholds(provider, model) if prompt_tokens > bound), default=0)

    def _row(self, cell: tuple[str, str, str, str], band_tokens: int, day: dt.date) -> PriceRow | None:
        bands = self._bands_of_day.get((cell, day))
        if bands is None:
            valid = [row for row in self.prices.get(cell, ()) if row.valid.valid_on(day)]
            bands = tuple(sorted(valid, key=lambda row: -row.context_over_tokens))
            self._bands_of_day[cell, day] = bands
        for row in bands:
            if band_tokens > row.context_over_tokens or row.context_over_tokens == 0:
                return row
        return None

    def _factor(self, provider: str, model: str, geo: str, day: dt.date) -> Decimal | None:
        found = (each for each in self._factors.get((provider, model, geo), ()) if each.valid.valid_on(day))
        return next((each.factor for each in found), None)

    @cached_property
    def _thresholds(self) -> dict[tuple[str, str], tuple[int, ...]]:
        bounds: dict[tuple[str, str], set[int]] = {}
        for (provider, model, _, _), rows in self.prices.items():
            bounds.setdefault((provider, model), {0}).update(row.context_over_tokens for row in rows)
        return {key: tuple(sorted(each)) for key, each in bounds.items()}

    @cached_property
    def _factors(self) -> dict[tuple[str, str, str], list[GeoFactor]]:
        found: dict[tuple[str, str, str], list[GeoFactor]] = {}
        for each in self.geo_factors:
            found.setdefault((each.provider, each.model, each.inference_geo), []).append(each)
        return found


def normalised_name(provider: str, name: str, slugs: Mapping[str, str]) -> str:
    """The form in which aliases are compared: lower case, without the proxy's slug of the same provider before a slash.

    'Anthropic/Claude-Opus-4-8' of anthropic is 'claude-opus-4-8'; 'openrouter/openai/gpt-4o' of openrouter is
    'openai/gpt-4o', because openai is not the provider that bills. Nothing else is cut: no date, no suffix.
    """
    text = name.strip().lower()
    slug, slash, rest = text.partition("/")
    return rest if slash and slugs.get(slug) == provider else text


def band_label(over_tokens: int, next_over_tokens: int | None) -> str:
    """The words for a band of input tokens: 'all', '0-200k', '200k+', '100k-200k'."""
    if next_over_tokens is None:
        return "all" if over_tokens == 0 else f"{_thousands(over_tokens)}+"
    return f"{_thousands(over_tokens)}-{_thousands(next_over_tokens)}"


def price_book(
    prices: Iterable[PriceRow],
    aliases: Iterable[Alias],
    slugs: Mapping[str, str],
    geo_factors: Iterable[GeoFactor] = (),
) -> tuple[PriceBook, list[Problem]]:
    """The book, and what makes it ambiguous.

    Prices or factors that overlap, bands that leave a gap, aliases that name nothing, contract prices that no name
    leads to, a geography's price that has more decimals than a price may.
    """
    by_cell: dict[tuple[str, str, str, str], list[PriceRow]] = {}
    for row in prices:
        by_cell.setdefault(row.cell, []).append(row)
    problems = [problem for rows in by_cell.values() for problem in (*_overlapping(rows), *_banded(rows))]
    listed, factors = list(aliases), tuple(geo_factors)
    priced = {(provider, model) for provider, model, _, _ in by_cell}
    problems += _aliases(listed, priced, slugs)
    problems += _unreachable(by_cell, {(alias.provider, alias.model) for alias in listed})
    problems += _geographies(factors, by_cell)
    models = {(alias.provider, alias.alias): alias.model for alias in listed}
    cells = {cell: tuple(rows) for cell, rows in by_cell.items()}
    return PriceBook(cells, models, slugs, factors), in_reading_order(problems)


def _overlapping(rows: Sequence[PriceRow]) -> list[Problem]:
    bands = {row.context_over_tokens for row in rows}
    found = [
        overlap
        for band in sorted(bands)
        for overlap in overlaps((row.valid, row) for row in rows if row.context_over_tokens == band)
    ]
    fix = "end the earlier price on the day the later one starts"
    return [
        later.problem("valid_from", f"{later} has a second price {shared}, beside line {earlier.row}", fix)
        for earlier, later, shared in found
    ]


def _banded(rows: Sequence[PriceRow]) -> list[Problem]:
    """On every day a cell has prices, its bands begin at 0 tokens and their words say where each ends."""
    if all(row.context_over_tokens == 0 and row.context_band == "all" for row in rows):
        return []
    problems: list[Problem] = []
    days = {row.valid.valid_from for row in rows} | {row.valid.valid_to for row in rows if row.valid.valid_to}
    for day in sorted(days):
        active = sorted(
            (row for row in rows if row.valid.valid_on(day)), key=lambda row: (row.context_over_tokens, row.row or 0)
        )
        thresholds = sorted({row.context_over_tokens for row in active})
        if active and thresholds[0] != 0:
            what = f"{active[0]} leaves requests of {thresholds[0]} input tokens or fewer without a price on {day}"
            problems.append(active[0].problem("context_over_tokens", what, "add the row of the lowest band, over 0"))
        following = dict(zip(thresholds, [*thresholds[1:], None], strict=False))  # on a day without any: none
        for row in active:
            words = band_label(row.context_over_tokens, following[row.context_over_tokens])
            if row.context_band != words:
                what = f"{row} is the band {words} on {day}"
                problems.append(row.problem("context_band", what, f"write {words}, or split the row by day"))
    return problems


def _aliases(aliases: Sequence[Alias], priced: set[tuple[str, str]], slugs: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    seen = Counter((alias.provider, alias.alias) for alias in aliases)
    for alias in aliases:
        if seen[alias.provider, alias.alias] > 1:
            what = f"{alias.provider} {alias.alias} is there {seen[alias.provider, alias.alias]} times"
            problems.append(Problem(alias.file, alias.row, "alias", what, "keep one row"))
        normal = normalised_name(alias.provider, alias.alias, slugs)
        if alias.alias != normal:
            what = f"{alias.alias!r} can never match: names are compared as {normal!r}"
            problems.append(Problem(alias.file, alias.row, "alias", what, f"write {normal}"))
        if (alias.provider, alias.model) not in priced:
            what = f"{alias.provider} {alias.model} has no price"
            fix = f"correct the name, or add the model to {PRICE_FILE} or {CONTRACT_FILE}"
            problems.append(Problem(alias.file, alias.row, "model", what, fix))
    return problems


def _unreachable(
    by_cell: Mapping[tuple[str, str, str, str], Sequence[PriceRow]], named: Collection[tuple[str, str]]
) -> list[Problem]:
    """Contract prices of a model that no name leads to: nobody would ever be charged them."""
    return [
        row.problem(
            "model",
            f"no alias leads to {row.provider} {row.model}, so this price would never be used",
            did_you_mean(row.model, (model for provider, model in named if provider == row.provider))
            or f"correct the name, or add the names of the model to {ALIAS_FILE}",
        )
        for rows in by_cell.values()
        for row in rows
        if row.basis is Basis.CONTRACT and (row.provider, row.model) not in named
    ]


def _geographies(
    factors: Sequence[GeoFactor], by_cell: Mapping[tuple[str, str, str, str], Sequence[PriceRow]]
) -> list[Problem]:
    problems: list[Problem] = []
    of_model: dict[tuple[str, str], list[PriceRow]] = {}
    for (provider, model, token_type, _), rows in by_cell.items():
        if token_type != WEB_SEARCH_REQUESTS:
            of_model.setdefault((provider, model), []).extend(rows)
    by_place: dict[tuple[str, str, str], list[GeoFactor]] = {}
    for each in factors:
        by_place.setdefault((each.provider, each.model, each.inference_geo), []).append(each)
        mine = of_model.get((each.provider, each.model))
        if mine is None:
            what = f"{each.provider} {each.model} has no price to multiply"
            problems.append(each.problem("model", what, f"correct the name, or add the model to {PRICE_FILE}"))
        for row in mine or ():
            price = exact_product(row.usd_per_token, each.factor)
            if row.valid.overlap(each.valid) and price != quantize_internal(price):
                what = (
                    f"{row.usd_per_mtok} ({row}) times {each.factor} has more than {INTERNAL_SCALE} decimals per token"
                )
                problems.append(each.problem("factor", what, "correct the factor or that price"))
    for same_place in by_place.values():
        problems += [
            later.problem("valid_from", f"there is a second factor {shared}, beside line {earlier.row}", "keep one")
            for earlier, later, shared in overlaps((each.valid, each) for each in same_place)
        ]
    return problems


def _thousands(tokens: int) -> str:
    return f"{tokens // 1000}k" if tokens and tokens % 1000 == 0 else str(tokens)
