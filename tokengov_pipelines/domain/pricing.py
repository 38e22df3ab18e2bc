"""The price book: dated list prices of models, the names that models go by, and the one way to ask for a price.

Belongs here: the schema of `price_list.csv` and `model_aliases.csv`, the checks that keep a book unambiguous, and the
look-up (rules 4.1, 4.2, 4.4). Does not belong here: where prices come from (`scripts/price_seed.py`), the same look-up
over a day's usage in SQL (`dbt_project/models/marts/prices`), what a difference of price means (reconciliation).

A look-up never falls back: no tier stands in for another, no model for a similar one, no day for the one before. What
the book does not say is `missing`, and the caller makes it an error item, not a zero (rule 4.1).
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.csv_rows import CsvRow, read_csv
from tokengov_pipelines.domain.intervals import Interval, overlaps, uncovered
from tokengov_pipelines.domain.money import INTERNAL_SCALE
from tokengov_pipelines.domain.problem import Problem, in_reading_order

PRICE_FILE: Final = "price_list.csv"
ALIAS_FILE: Final = "model_aliases.csv"
SLUG_FILE: Final = "provider_aliases.csv"

TOKEN_TYPES: Final = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
WEB_SEARCH_REQUESTS: Final = "web_search_requests"
PRICED_UNITS: Final = (*TOKEN_TYPES, WEB_SEARCH_REQUESTS)
"""Words of the column token_type. Cache writes that a provider does not split by lifetime are five-minute writes."""

PRICE_COLUMNS: Final = (
    "provider",
    "model",
    "token_type",
    "service_tier",
    "context_band",
    "context_over_tokens",
    "usd_per_mtok",
    "valid_from",
    "valid_to",
    "source",
    "source_version",
)
ALIAS_COLUMNS: Final = ("alias", "provider", "model")
SLUG_COLUMNS: Final = ("provider_slug", "provider")

_MOST_DECIMALS: Final = INTERNAL_SCALE - 6  # a price per million with six decimals has twelve per token


class PriceStatus(StrEnum):
    """What the book says about a price."""

    EXACT = "exact"
    MISSING = "missing"


@dataclass(frozen=True)
class PriceRow:
    """A list price: USD per million tokens (for `web_search_requests`: per million searches), on the days of `valid`.

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

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What it prices, over all bands and days: provider, model, token type, tier."""
        return (self.provider, self.model, self.token_type, self.service_tier)

    @property
    def usd_per_token(self) -> Decimal:
        """USD of one token (or search), exact, at most 12 decimals."""
        return self.usd_per_mtok.scaleb(-6)

    def problem(self, field_name: str | None, what: str, fix: str) -> Problem:
        """A problem at this row."""
        return Problem(PRICE_FILE, self.row, field_name, what, fix)

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.token_type} {self.service_tier} {self.context_band} {self.valid}"


@dataclass(frozen=True)
class Alias:
    """A name under which a provider's model is logged or reported, normalised, and the model of the price list."""

    alias: str
    provider: str
    model: str
    row: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class UnitPrice:
    """The answer to one look-up: `row` is there when the status is exact, and only then."""

    status: PriceStatus
    row: PriceRow | None

    @property
    def usd_per_token(self) -> Decimal | None:
        """USD of one token (or search); None when the price is missing, which is not zero."""
        return self.row.usd_per_token if self.row else None


@dataclass(frozen=True)
class PriceBook:
    """Prices by cell, and models by the names they go by. Build it with `price_book`, which checks it."""

    prices: Mapping[tuple[str, str, str, str], tuple[PriceRow, ...]]
    models: Mapping[tuple[str, str], str]
    slugs: Mapping[str, str]

    def model_of(self, provider: str, name: str) -> str | None:
        """The priced model behind a logged or reported name; None when no alias says so (rule 4.1: no guessing)."""
        return self.models.get((provider, normalised_name(provider, name, self.slugs)))

    def unit_price(
        self, provider: str, model: str, token_type: str, tier: str, band_tokens: int, day: dt.date
    ) -> UnitPrice:
        """The price of one token of a request with `band_tokens` input tokens (cached ones included) on a UTC day.

        `model` is the price list's name (`model_of`). Missing is missing: nothing stands in for it.
        """
        fitting = [
            row
            for row in self.prices.get((provider, model, token_type, tier), ())
            if row.valid.valid_on(day) and (band_tokens > row.context_over_tokens or row.context_over_tokens == 0)
        ]
        if not fitting:
            return UnitPrice(PriceStatus.MISSING, None)
        return UnitPrice(PriceStatus.EXACT, max(fitting, key=lambda row: row.context_over_tokens))


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


def overlay(base: Iterable[PriceRow], on_top: Sequence[PriceRow]) -> list[PriceRow]:
    """The base prices with others laid over them: on their days they hold for the whole cell, with all its bands.

    For reviewed corrections of a price list and for contract prices. The days of a base row that nothing covers stay.
    """
    covers: dict[tuple[str, str, str, str], list[Interval]] = {}
    for row in on_top:
        covers.setdefault(row.cell, []).append(row.valid)
    left = [replace(row, valid=interval) for row in base for interval in uncovered(row.valid, covers.get(row.cell, ()))]
    return [*left, *on_top]


def load_book(prices: bytes, aliases: bytes, slugs: bytes) -> tuple[PriceBook, list[Problem]]:
    """The book of the three files, and every problem in reading order; with problems, do not use the book."""
    price_rows, price_problems = read_prices(prices)
    alias_rows, alias_problems = read_aliases(aliases)
    slug_rows, slug_problems = _records(slugs, SLUG_FILE, SLUG_COLUMNS)
    by_slug = {row.cells["provider_slug"]: row.cells["provider"] for row in slug_rows}
    book, problems = price_book(price_rows, alias_rows, by_slug)
    return book, [*price_problems, *alias_problems, *slug_problems, *problems]


def read_prices(content: bytes) -> tuple[list[PriceRow], list[Problem]]:
    """The sound rows of `price_list.csv`, and the problems within rows."""
    records, problems = _records(content, PRICE_FILE, PRICE_COLUMNS)
    rows: list[PriceRow] = []
    for record in records:
        try:
            rows.append(_price_row(record))
        except CellError as error:
            problems.append(Problem(PRICE_FILE, record.row, None, error.what, error.fix))
    return rows, problems


def read_aliases(content: bytes) -> tuple[list[Alias], list[Problem]]:
    """The rows of `model_aliases.csv`, and the problems within rows."""
    records, problems = _records(content, ALIAS_FILE, ALIAS_COLUMNS)
    rows: list[Alias] = []
    for record in records:
        cell = record.cells
        if not all(cell.values()):
            problems.append(Problem(ALIAS_FILE, record.row, None, "a cell is empty", "fill it in or delete the row"))
        else:
            rows.append(Alias(cell["alias"], cell["provider"], cell["model"], record.row))
    return rows, problems


def price_book(
    prices: Iterable[PriceRow], aliases: Iterable[Alias], slugs: Mapping[str, str]
) -> tuple[PriceBook, list[Problem]]:
    """The book, and what makes it ambiguous: prices that overlap, bands that leave a gap, aliases that name nothing."""
    by_cell: dict[tuple[str, str, str, str], list[PriceRow]] = {}
    for row in prices:
        by_cell.setdefault(row.cell, []).append(row)
    problems = [problem for rows in by_cell.values() for problem in (*_overlapping(rows), *_banded(rows))]
    listed = list(aliases)
    problems += _aliases(listed, {(provider, model) for provider, model, _, _ in by_cell}, slugs)
    models = {(alias.provider, alias.alias): alias.model for alias in listed}
    return PriceBook({cell: tuple(rows) for cell, rows in by_cell.items()}, models, slugs), in_reading_order(problems)


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
        following = dict(zip(thresholds, [*thresholds[1:], None], strict=True))
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
            problems.append(Problem(ALIAS_FILE, alias.row, "alias", what, "keep one row"))
        normal = normalised_name(alias.provider, alias.alias, slugs)
        if alias.alias != normal:
            what = f"{alias.alias!r} can never match: names are compared as {normal!r}"
            problems.append(Problem(ALIAS_FILE, alias.row, "alias", what, f"write {normal}"))
        if (alias.provider, alias.model) not in priced:
            what = f"{alias.provider} {alias.model} has no price"
            fix = f"correct the name, or add the model to {PRICE_FILE}"
            problems.append(Problem(ALIAS_FILE, alias.row, "model", what, fix))
    return problems


def _price_row(record: CsvRow) -> PriceRow:
    cell = record.cells
    for name in PRICE_COLUMNS:
        if not cell[name] and name != "valid_to":
            what = f"{name} is empty"
            raise CellError(what, "fill it in; only valid_to may be empty, which means open")
    if cell["service_tier"] != cell["service_tier"].lower():
        what = f"service_tier {cells.shown(cell['service_tier'])} can never match"
        raise CellError(what, "write it in lower case")
    return PriceRow(
        provider=cells.provider(cell["provider"]),
        model=cell["model"],
        token_type=cells.one_of(*PRICED_UNITS)(cell["token_type"]),
        service_tier=cell["service_tier"],
        context_band=cell["context_band"],
        context_over_tokens=_count(cell["context_over_tokens"]),
        usd_per_mtok=_price(cell["usd_per_mtok"]),
        valid=_days(cell["valid_from"], cell["valid_to"]),
        source=cell["source"],
        source_version=cell["source_version"],
        row=record.row,
    )


def _days(valid_from: str, valid_to: str) -> Interval:
    try:
        return Interval(cells.iso_date(valid_from), cells.iso_date(valid_to) if valid_to else None)
    except CellError:
        raise
    except ValueError:
        what = f"the price holds from {valid_from} to {valid_to}, which is no day"
        raise CellError(what, "write a valid_to after valid_from, or leave it empty") from None


def _price(text: str) -> Decimal:
    price = cells.amount(text)
    if price < 0:
        what = f"usd_per_mtok {text} is below zero"
        raise CellError(what, "write the list price; credits are no prices")
    exponent = price.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _MOST_DECIMALS:
        what = f"usd_per_mtok {text} has more than {INTERNAL_SCALE} decimals per token"
        raise CellError(what, f"write at most {_MOST_DECIMALS} decimals per million")
    return price


def _count(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    what = f"context_over_tokens {cells.shown(text)} is not a number of tokens"
    raise CellError(what, "write digits; 0 for the lowest band")


def _records(content: bytes, file: str, columns: tuple[str, ...]) -> tuple[list[CsvRow], list[Problem]]:
    read = read_csv(content, file)
    problems = list(read.problems)
    if read.header and read.header != columns:
        fix = f"write the header {','.join(columns)}"
        return [], [*problems, Problem(file, 1, None, "the columns are not those of a price file", fix)]
    return list(read.rows), problems


def _thousands(tokens: int) -> str:
    return f"{tokens // 1000}k" if tokens and tokens % 1000 == 0 else str(tokens)
