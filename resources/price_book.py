"""The price book in and out of the lake: shipped prices, the organisation's own laid over, as tables and as a book.

Belongs here: which files are read, the Arrow form of a book, finding a book again by its hash. Does not belong here:
what a sound book is (`tokengov_pipelines.domain.pricing`, `price_files`), what changed and who agreed
(`domain.price_review`, `resources.price_approvals`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Final

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from resources.dbt import PROJECT_DIR
from resources.drop_folder import FolderError, read_folder, without_password
from resources.lake import Lake, LoadRecord
from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.price_files import OWN_FILES, SLUG_FILE, PriceTables, read_book, read_slugs
from tokengov_pipelines.domain.price_review import book_sha256
from tokengov_pipelines.domain.pricing import (
    ALIAS_FILE,
    GEO_FILE,
    PRICE_FILE,
    Alias,
    Basis,
    GeoFactor,
    PriceBook,
    PriceRow,
)
from tokengov_pipelines.domain.problem import Problem, in_reading_order

PRICE_BOOK: Final = "price_book"
PRICE_BOOK_ALIASES: Final = "price_book_aliases"
PRICE_BOOK_GEO_FACTORS: Final = "price_book_geo_factors"

_TEXT: Final = pa.string()
_DATED: Final[Mapping[str, pa.DataType]] = {
    "valid_from": pa.date32(),
    "valid_to": pa.date32(),
    "source": _TEXT,
    "source_version": _TEXT,
}
_COLUMNS: Final[Mapping[str, Mapping[str, pa.DataType]]] = {
    PRICE_BOOK: {
        "provider": _TEXT,
        "model": _TEXT,
        "token_type": _TEXT,
        "service_tier": _TEXT,
        "context_band": _TEXT,
        "context_over_tokens": pa.int64(),
        "usd_per_mtok": pa.decimal128(18, 6),
        **_DATED,
        "basis": _TEXT,
    },
    PRICE_BOOK_ALIASES: {"provider": _TEXT, "alias": _TEXT, "model": _TEXT},
    PRICE_BOOK_GEO_FACTORS: {
        "provider": _TEXT,
        "model": _TEXT,
        "inference_geo": _TEXT,
        "factor": pa.decimal128(18, 9),
        **_DATED,
    },
}
PRICE_BOOK_SCHEMAS: Final[Mapping[str, pa.Schema]] = {name: pa.schema(columns) for name, columns in _COLUMNS.items()}
"""The tables of a book in the lake, each whole (partition `all`)."""

_SHA256: Final = b"price_book_sha256"
"""Every table of a book carries the hash of the whole, so that a book can be found again, and is never mixed."""

_ABSENT: Final = "there is no such folder"


class PriceBookError(RuntimeError):
    """Price files that make no book. The text lists every problem as 'file:row field: what. Fix: ...'."""

    def __init__(self, url: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the price files {without_password(url)}:", *map(str, problems)]))


@dataclass(frozen=True)
class StoredBook:
    """A whole book as rows, with its hash."""

    content: PriceTables
    sha256: str

    def book(self) -> PriceBook:
        """The same for look-ups."""
        return assembled_book(self.content, provider_slugs())


@dataclass(frozen=True)
class PriceBookLoad:
    """What the files say: the book, its hash, the tables for the lake, and what is worth knowing but stops nothing."""

    content: PriceTables
    book: PriceBook
    sha256: str
    tables: dict[str, pa.Table]
    warnings: list[Problem]


class PriceBookFiles(dg.ConfigurableResource):
    """The shipped price list and the folder with contract_prices.csv and model_aliases.csv; see docs/prices.md.

    With `may_be_absent` (the folder was not named by tokengov.yaml) a folder that is not there means no contract.
    """

    url: str
    may_be_absent: bool = True

    def load(self) -> PriceBookLoad:
        """Read and check all files; rows come in one order, so that equal books give equal tables.

        Raises:
            PriceBookError: with every problem of every file, not only the first.
        """
        files = self._own_files()
        slugs = provider_slugs()
        content, book, problems = read_book(
            shipped_files(), {name: files[name] for name in OWN_FILES if name in files}, slugs
        )
        if problems:
            raise PriceBookError(self.url, problems)
        sha256 = book_sha256(content)
        return PriceBookLoad(content, book, sha256, tables_of(content, sha256), in_reading_order(_unread(files)))

    def _own_files(self) -> dict[str, bytes]:
        try:
            return read_folder(self.url, (".csv",))
        except FolderError as error:
            if self.may_be_absent and error.what == _ABSENT:
                return {}
            raise PriceBookError(self.url, [Problem(error.place, None, None, error.what, error.fix)]) from error


def shipped_files() -> dict[str, bytes]:
    """The reviewed files of the product: price_list.csv, model_aliases.csv, geo_factors.csv."""
    folder = resources.files("tokengov_pipelines") / "prices"
    return {name: (folder / name).read_bytes() for name in (PRICE_FILE, ALIAS_FILE, GEO_FILE)}


@cache
def provider_slugs() -> dict[str, str]:
    """The provider that bills for each slug of the proxy (the seed provider_aliases)."""
    return read_slugs((PROJECT_DIR / "seeds" / SLUG_FILE).read_bytes())


def tables_of(content: PriceTables, sha256: str) -> dict[str, pa.Table]:
    """The book's tables, each stamped with the hash of the whole."""
    rows: dict[str, Sequence[PriceRow | Alias | GeoFactor]] = {
        PRICE_BOOK: content.prices,
        PRICE_BOOK_ALIASES: content.aliases,
        PRICE_BOOK_GEO_FACTORS: content.geo_factors,
    }
    return {
        name: pa.Table.from_pylist(
            [_cells(row, schema.names) for row in rows[name]], schema=schema.with_metadata({_SHA256: sha256.encode()})
        )
        for name, schema in PRICE_BOOK_SCHEMAS.items()
    }


def _cells(row: PriceRow | Alias | GeoFactor, columns: Sequence[str]) -> dict[str, Any]:
    """A record by its columns; its days are two of them."""
    days = {} if isinstance(row, Alias) else {"valid_from": row.valid.valid_from, "valid_to": row.valid.valid_to}
    return {name: days[name] if name in days else getattr(row, name) for name in columns}


def price_book_of(prices: pa.Table, aliases: pa.Table, geo_factors: pa.Table | None = None) -> PriceBook:
    """The book of the lake's tables, for look-ups. It was checked when it was loaded, and is not checked again."""
    return assembled_book(content_of(prices, aliases, geo_factors), provider_slugs())


def stored_book(lake: Lake, sha256: str | None = None) -> StoredBook | None:
    """The book with this hash in the lake, or (None) the current one; None where the lake does not hold it."""
    if sha256 is None:
        record = lake.current(PRICE_BOOK, "all")
        sha256 = _sha256_of(lake.local_path(record)) if record else None
        if sha256 is None:
            return None
    tables = [_table(lake, name, sha256) for name in PRICE_BOOK_SCHEMAS]
    prices, aliases, geo_factors = tables
    if prices is None or aliases is None or geo_factors is None:
        return None
    return StoredBook(content_of(prices, aliases, geo_factors), sha256)


def _table(lake: Lake, name: str, sha256: str) -> pa.Table | None:
    for record in _loads(lake, name):
        path = lake.local_path(record)
        try:
            if _sha256_of(path) == sha256:
                return pq.read_table(path, partitioning=None)
        except FileNotFoundError:
            continue  # an old load that someone cleared away is not the one to compare with
    return None


def _loads(lake: Lake, name: str) -> Iterator[LoadRecord]:
    """The loads of a table, the current one first, then back in time."""
    current = lake.current(name, "all")
    if current is None:
        return
    yield current
    for change in reversed(lake.changes(name, "all")):
        # The load's name is the beginning of its hash, which is all that finding its file takes.
        yield replace(current, load=change["before"], sha256=change["before"])


def _sha256_of(path: str) -> str | None:
    metadata = pq.read_schema(path).metadata or {}
    return metadata[_SHA256].decode() if _SHA256 in metadata else None


def content_of(prices: pa.Table, aliases: pa.Table, geo_factors: pa.Table | None) -> PriceTables:
    """The rows of a book from its tables."""
    return PriceTables(
        prices=tuple(
            PriceRow(
                provider=row["provider"],
                model=row["model"],
                token_type=row["token_type"],
                service_tier=row["service_tier"],
                context_band=row["context_band"],
                context_over_tokens=row["context_over_tokens"],
                usd_per_mtok=row["usd_per_mtok"],
                valid=Interval(row["valid_from"], row["valid_to"]),
                source=row["source"],
                source_version=row["source_version"],
                basis=Basis(row["basis"]),
            )
            for row in prices.to_pylist()
        ),
        aliases=tuple(Alias(row["alias"], row["provider"], row["model"]) for row in aliases.to_pylist()),
        geo_factors=tuple(
            GeoFactor(
                provider=row["provider"],
                model=row["model"],
                inference_geo=row["inference_geo"],
                factor=row["factor"],
                valid=Interval(row["valid_from"], row["valid_to"]),
                source=row["source"],
                source_version=row["source_version"],
            )
            for row in (geo_factors.to_pylist() if geo_factors is not None else ())
        ),
    )


def assembled_book(content: PriceTables, slugs: Mapping[str, str]) -> PriceBook:
    """The book of checked rows, for look-ups; `slugs` are the proxy's words for providers."""
    prices: dict[tuple[str, str, str, str], list[PriceRow]] = {}
    for row in content.prices:
        prices.setdefault(row.cell, []).append(row)
    models = {(alias.provider, alias.alias): alias.model for alias in content.aliases}
    return PriceBook({cell: tuple(rows) for cell, rows in prices.items()}, models, slugs, content.geo_factors)


def _unread(files: Mapping[str, bytes]) -> list[Problem]:
    problems = []
    for name in files:
        if name not in OWN_FILES:
            close = cells.closest(name, OWN_FILES)
            fix = f"rename it to {close}, if that is what it is" if close else "move it elsewhere"
            problems.append(Problem(name, None, None, "this is no file of the price book, so it is not read", fix))
    return problems
