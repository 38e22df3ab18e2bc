"""The files of the price book: prices, contract prices, names, geographies; bytes to sound rows, or every problem.

Belongs here: columns, the grammar of a row, and laying contract prices over list prices. Does not belong here: what
makes a set of rows a sound book (`pricing`), which folders the files are in (`resources.price_book`), where the shipped
ones come from (`scripts/price_seed.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.cells import CellError
from tokengov_pipelines.domain.csv_rows import CsvRow, read_csv
from tokengov_pipelines.domain.intervals import Interval, uncovered
from tokengov_pipelines.domain.money import INTERNAL_SCALE
from tokengov_pipelines.domain.pricing import (
    ALIAS_FILE,
    CONTRACT_FILE,
    GEO_FILE,
    GLOBAL_GEOS,
    PRICE_FILE,
    PRICED_UNITS,
    Alias,
    Basis,
    GeoFactor,
    PriceBook,
    PriceRow,
    price_book,
)
from tokengov_pipelines.domain.problem import Problem, in_reading_order

SLUG_FILE: Final = "provider_aliases.csv"
OWN_FILES: Final = (CONTRACT_FILE, ALIAS_FILE)
"""What an organisation may keep in the folder `prices` of its home."""

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
GEO_COLUMNS: Final = (
    "provider",
    "model",
    "inference_geo",
    "factor",
    "valid_from",
    "valid_to",
    "source",
    "source_version",
)
SLUG_COLUMNS: Final = ("provider_slug", "provider")

_MOST_DECIMALS: Final = INTERNAL_SCALE - 6  # a price per million with six decimals has twelve per token
_MOST_USD_PER_MTOK: Final = Decimal(10) ** 12  # DECIMAL(18,6)
_LARGEST_FACTOR: Final = 100
_MOST_FACTOR_DECIMALS: Final = 9  # DECIMAL(18,9)
_NOT_EMPTY: Final = "fill it in; only valid_to may be empty, which means open"


@dataclass(frozen=True)
class PriceTables:
    """A whole book as rows, contract prices laid over the list already: what is stored, hashed and compared."""

    prices: tuple[PriceRow, ...]
    aliases: tuple[Alias, ...]
    geo_factors: tuple[GeoFactor, ...] = ()


def overlay(base: Iterable[PriceRow], on_top: Sequence[PriceRow]) -> list[PriceRow]:
    """The base prices with others laid over them: on their days they hold for the whole cell, with all its bands.

    For reviewed corrections of a price list and for contract prices (rule 4.2). The days of a base row that nothing
    covers stay.
    """
    covers: dict[tuple[str, str, str, str], list[Interval]] = {}
    for row in on_top:
        covers.setdefault(row.cell, []).append(row.valid)
    left = [replace(row, valid=interval) for row in base for interval in uncovered(row.valid, covers.get(row.cell, ()))]
    return [*left, *on_top]


def load_book(prices: bytes, aliases: bytes, slugs: bytes, geo_factors: bytes = b"") -> tuple[PriceBook, list[Problem]]:
    """The book of the shipped files, and every problem in reading order; with problems, do not use the book."""
    _, book, problems = read_book(
        {PRICE_FILE: prices, ALIAS_FILE: aliases, GEO_FILE: geo_factors or _header(GEO_COLUMNS)}, {}, read_slugs(slugs)
    )
    return book, problems


def read_book(
    shipped: Mapping[str, bytes], own: Mapping[str, bytes], slugs: Mapping[str, str]
) -> tuple[PriceTables, PriceBook, list[Problem]]:
    """The book of the shipped files with an organisation's own laid over (Rule 4.2), and every problem at once.

    `shipped` holds price_list.csv, model_aliases.csv and geo_factors.csv, `own` any of contract_prices.csv and
    model_aliases.csv. A contract price takes the place of the list's on its days, for all bands of its token type and
    tier. An own alias may add a name and may not lead a known one elsewhere. With problems, do not use the book.
    """
    listed, problems = read_prices(shipped[PRICE_FILE])
    names, found = read_aliases(shipped[ALIAS_FILE])
    factors, wrong = read_geo_factors(shipped[GEO_FILE])
    problems += [*found, *wrong]
    agreed, found = read_prices(own[CONTRACT_FILE], Basis.CONTRACT) if CONTRACT_FILE in own else ([], [])
    added, wrong = read_aliases(own[ALIAS_FILE], f"own {ALIAS_FILE}") if ALIAS_FILE in own else ([], [])
    problems += [*found, *wrong, *_contradictions(names, added)]
    known = {(alias.provider, alias.alias) for alias in names}
    aliases = [*names, *(alias for alias in added if (alias.provider, alias.alias) not in known)]
    tables = PriceTables(
        prices=tuple(sorted(overlay(listed, agreed), key=_price_order)),
        aliases=tuple(sorted(aliases, key=lambda alias: (alias.provider, alias.alias))),
        geo_factors=tuple(sorted(factors, key=_geo_order)),
    )
    book, unsound = price_book(tables.prices, tables.aliases, slugs, tables.geo_factors)
    return tables, book, in_reading_order([*problems, *unsound])


def read_prices(content: bytes, basis: Basis = Basis.LIST) -> tuple[list[PriceRow], list[Problem]]:
    """The sound rows of `price_list.csv` or `contract_prices.csv`, and the problems within rows."""
    file = CONTRACT_FILE if basis is Basis.CONTRACT else PRICE_FILE
    records, problems = _records(content, file, PRICE_COLUMNS)
    rows: list[PriceRow] = []
    for record in records:
        try:
            rows.append(_price_row(record, basis))
        except CellError as error:
            problems.append(Problem(file, record.row, None, error.what, error.fix))
    return rows, problems


def read_aliases(content: bytes, file: str = ALIAS_FILE) -> tuple[list[Alias], list[Problem]]:
    """The rows of `model_aliases.csv`, and the problems within rows."""
    records, problems = _records(content, file, ALIAS_COLUMNS)
    rows: list[Alias] = []
    for record in records:
        cell = record.cells
        if not all(cell.values()):
            problems.append(Problem(file, record.row, None, "a cell is empty", "fill it in or delete the row"))
        else:
            rows.append(Alias(cell["alias"], cell["provider"], cell["model"], record.row, file))
    return rows, problems


def read_geo_factors(content: bytes) -> tuple[list[GeoFactor], list[Problem]]:
    """The rows of `geo_factors.csv`, and the problems within rows."""
    records, problems = _records(content, GEO_FILE, GEO_COLUMNS)
    rows: list[GeoFactor] = []
    for record in records:
        try:
            rows.append(_geo_factor(record))
        except CellError as error:
            problems.append(Problem(GEO_FILE, record.row, None, error.what, error.fix))
    return rows, problems


def read_slugs(content: bytes) -> dict[str, str]:
    """The provider that bills for each slug of the proxy, from `provider_aliases.csv` of the product."""
    records, _ = _records(content, SLUG_FILE, SLUG_COLUMNS)
    return {record.cells["provider_slug"]: record.cells["provider"] for record in records}


def _contradictions(names: Iterable[Alias], added: Iterable[Alias]) -> list[Problem]:
    known = {(alias.provider, alias.alias): alias for alias in names}
    problems = []
    for alias in added:
        listed = known.get((alias.provider, alias.alias))
        if listed is not None and listed.model != alias.model:
            what = f"{alias.provider} {alias.alias} is {listed.model} in the reviewed list, and {alias.model} here"
            fix = f"delete the row; an agreed price of that name belongs in {CONTRACT_FILE}, under {listed.model}"
            problems.append(Problem(alias.file, alias.row, "model", what, fix))
    return problems


def _price_row(record: CsvRow, basis: Basis) -> PriceRow:
    cell = record.cells
    _refuse_empty(cell, PRICE_COLUMNS)
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
        source=cells.text(cell["source"]),
        source_version=cells.text(cell["source_version"]),
        basis=basis,
        row=record.row,
    )


def _geo_factor(record: CsvRow) -> GeoFactor:
    cell = record.cells
    _refuse_empty(cell, GEO_COLUMNS)
    geo = cell["inference_geo"]
    if geo != geo.lower() or geo in GLOBAL_GEOS:
        what = f"inference_geo {cells.shown(geo)} takes no factor"
        raise CellError(what, "write a geography other than global, in lower case")
    factor = cells.amount(cell["factor"])
    if not 0 < factor < _LARGEST_FACTOR or _decimals(factor) > _MOST_FACTOR_DECIMALS:
        what = f"factor {cell['factor']} is none"
        raise CellError(what, "write what list prices are multiplied by, such as 1.1")
    return GeoFactor(
        provider=cells.provider(cell["provider"]),
        model=cell["model"],
        inference_geo=geo,
        factor=factor,
        valid=_days(cell["valid_from"], cell["valid_to"]),
        source=cells.text(cell["source"]),
        source_version=cells.text(cell["source_version"]),
        row=record.row,
    )


def _refuse_empty(cell: Mapping[str, str], columns: Sequence[str]) -> None:
    for name in columns:
        if not cell[name] and name != "valid_to":
            what = f"{name} is empty"
            raise CellError(what, _NOT_EMPTY)


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
    if _decimals(price) > _MOST_DECIMALS:
        what = f"usd_per_mtok {text} has more than {INTERNAL_SCALE} decimals per token"
        raise CellError(what, f"write at most {_MOST_DECIMALS} decimals per million")
    if price >= _MOST_USD_PER_MTOK:
        what = f"usd_per_mtok {text} is no price of a million tokens"
        raise CellError(what, "check the unit: USD per million tokens")
    return price


def _decimals(value: Decimal) -> int:
    return -int(value.normalize().as_tuple().exponent)


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


def _header(columns: Sequence[str]) -> bytes:
    return (",".join(columns) + "\n").encode()


def _price_order(row: PriceRow) -> tuple[object, ...]:
    place = PRICED_UNITS.index(row.token_type)
    return (*row.cell[:2], row.service_tier, place, row.valid.valid_from, row.context_over_tokens)


def _geo_order(each: GeoFactor) -> tuple[object, ...]:
    return (each.provider, each.model, each.inference_geo, each.valid.valid_from)
