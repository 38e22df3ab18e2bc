"""Cells: what proxy and provider counted, put on one grain with one price (Rules 4.1, 4.2).

Belongs here: model names through the alias table, tiers, context bands and geographies, tokens by cell, the price of a
cell. Does not belong here: what the differences mean (`waterfall`), how a price is found (`pricing`).

A source that lacks a dimension takes the other's mix of that day and model, split in whole tokens by largest remainder:
the provider's report the proxy's context bands (flagged as inferred), the proxy's log the provider's geography and
speed. Nothing else is inferred.
"""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Final, NamedTuple, TypeVar

from tokengov_pipelines.domain.legs import KeyRegistry, Legs, LoggedUsage, ProviderUsage
from tokengov_pipelines.domain.money import INTERNAL_SCALE, MoneyError, allocate
from tokengov_pipelines.domain.pricing import PriceBook, PriceStatus, UnitPrice, normalised_name

K = TypeVar("K")
T = TypeVar("T")

STANDARD: Final = "standard"
GLOBAL: Final = "global"
UNMAPPED: Final = "?"
"""What a name begins with in a cell when no alias says which model of the price book it is."""

_NO_TIER: Final = frozenset({"", "default", "auto"})
_NO_GEO: Final = frozenset({"", "not_available", "null"})
_EXACT: Final = Context(prec=400, traps=[Inexact])
_WINDOW: Final = re.compile(r"(\d+)\s*([km]?)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000}


def pico(amount: Decimal) -> int:
    """An exact amount in whole picodollars (1e-12 USD); raises `MoneyError` for more decimals than that."""
    scaled = _EXACT.scaleb(amount, INTERNAL_SCALE)
    whole = int(scaled)
    if whole != scaled:
        message = f"{amount} has more than {INTERNAL_SCALE} decimals. Round it once, where it enters."
        raise MoneyError(message)
    return whole


class Cell(NamedTuple):
    """The grain of rule 4.2 with its tier; cells sort by day first."""

    day: dt.date
    model: str
    token_type: str
    tier: str
    over_tokens: int
    geo: str
    speed: str


@dataclass(frozen=True, slots=True)
class CellPrice:
    """The price of a token of a cell in its tier and at standard; None is missing, and `pico` of missing is 0."""

    usd_per_token: Decimal | None
    standard_usd_per_token: Decimal | None
    status: PriceStatus
    pico: int
    standard_pico: int


class CellPrices:
    """The price book asked by cell, each question once."""

    def __init__(self, provider: str, book: PriceBook, fallback_tiers: tuple[str, ...]) -> None:
        self._provider = provider
        self._book = book
        self._fallback_tiers = fallback_tiers
        self._models: dict[str | None, str] = {}
        self._thresholds: dict[str, list[int]] = {}
        self._prices: dict[Cell, CellPrice] = {}

    def model(self, name: str | None) -> str:
        """The price book's model of a logged or reported name, or the name after a '?' (Rule 4.1: no guessing)."""
        if name not in self._models:
            found = self._book.model_of(self._provider, name) if name else None
            plain = normalised_name(self._provider, name, self._book.slugs) if name else "no name"
            self._models[name] = found or f"{UNMAPPED}{plain}"
        return self._models[name]

    def thresholds(self, model: str) -> list[int]:
        """The bounds of the model's context bands, ascending, without 0; empty for a model with one band."""
        if model not in self._thresholds:
            self._thresholds[model] = sorted(set(self._book.thresholds(self._provider, model)) - {0})
        return self._thresholds[model]

    def of(self, cell: Cell) -> CellPrice:
        """The price of a cell on its UTC day; a model without a standard price is standard in its own tier."""
        price = self._prices.get(cell)
        if price is None:
            price = self._prices[cell] = self._ask(cell)
        return price

    def _ask(self, cell: Cell) -> CellPrice:
        in_tier = self._unit_price(cell, cell.tier)
        standard = in_tier if cell.tier == STANDARD else self._unit_price(cell, STANDARD)
        price, at_standard = in_tier.usd_per_token, standard.usd_per_token
        if at_standard is None:
            at_standard = price
        return CellPrice(price, at_standard, in_tier.status, pico(price or Decimal(0)), pico(at_standard or Decimal(0)))

    def _unit_price(self, cell: Cell, tier: str) -> UnitPrice:
        return self._book.unit_price(
            self._provider,
            cell.model,
            cell.token_type,
            tier,
            cell.over_tokens + 1,  # any request of the band: more input tokens than its lower bound
            cell.day,
            geo=cell.geo,
            speed=cell.speed,
            fallback_tiers=self._fallback_tiers,
        )


KeyedCell = tuple[Cell, str, str | None, str | None]
"""A cell, and the account, key id and workspace id that used it."""

CellTokens = tuple[tuple[Cell, int], ...]

_Places = Mapping[tuple[str, str], int]
"""Tokens by geography and speed."""

_ANYWHERE: Final[_Places] = {(GLOBAL, STANDARD): 1}


@dataclass
class UsageCells:
    """Tokens by cell: proxy, provider on the proxy's own keys, provider on all others; and by provider key.

    `by_row` holds the cells of each row of `Legs.logged`, in its order; nothing for a row that was not delivered.
    """

    proxy: dict[Cell, int] = field(default_factory=dict)
    own: dict[Cell, int] = field(default_factory=dict)
    other: dict[Cell, int] = field(default_factory=dict)
    by_key: dict[KeyedCell, int] = field(default_factory=dict)
    by_row: list[CellTokens] = field(default_factory=list)
    inferred: set[Cell] = field(default_factory=set)
    contradictions: list[LoggedUsage | ProviderUsage] = field(default_factory=list)

    def all(self) -> set[Cell]:
        """Every cell in which anybody counted."""
        return self.proxy.keys() | self.own.keys() | self.other.keys()


def usage_cells(legs: Legs, registry: KeyRegistry, prices: CellPrices) -> UsageCells:
    """Put both sides on cells. Negative counts are left out and returned as contradictions (an error item each)."""
    metered = [each for each in legs.usage or () if each.tokens > 0]
    is_own = _remembered(registry)
    found = UsageCells(
        contradictions=[
            *(row for row in legs.logged if min(row.tokens.values(), default=0) < 0),
            *(each for each in legs.usage or () if each.tokens < 0),
        ]
    )
    _place_log(found, legs.logged, _places((each for each in metered if is_own(each)), prices), prices)
    if legs.usage is None:
        found.own = dict(found.proxy)
    else:
        _place_reports(found, metered, is_own, prices)
    return found


def _remembered(registry: KeyRegistry) -> Callable[[ProviderUsage], bool]:
    """`registry.is_own`, asked once for each key and day."""
    known: dict[tuple[str, str | None, str | None, dt.date], bool] = {}

    def is_own(usage: ProviderUsage) -> bool:
        key = (usage.account, usage.key_id, usage.workspace_id, usage.day)
        if key not in known:
            known[key] = registry.is_own(usage)
        return known[key]

    return is_own


def _place_log(
    found: UsageCells, logged: Sequence[LoggedUsage], places: Mapping[tuple[dt.date, str], _Places], prices: CellPrices
) -> None:
    """The log on cells. Rows that tell no geography are split together, so that how they are cut changes nothing."""
    cells: list[list[tuple[Cell, int]]] = [[] for _ in logged]
    together: dict[tuple[dt.date, str, str, str, int, str | None, str | None], dict[int, int]] = {}
    for at, row in enumerate(logged):
        if row.is_delivered:
            model, tier = prices.model(row.model), normal_tier(row.tier)
            for token_type, tokens in row.tokens.items():
                if tokens > 0:
                    group = (row.day, model, token_type, tier, row.over_tokens, row.geo, row.speed)
                    together.setdefault(group, {})[at] = tokens
    for (day, model, token_type, tier, over_tokens, geo, speed), rows in together.items():
        mix: dict[Cell, int] = {}
        for (there, pace), tokens in places.get((day, model), _ANYWHERE).items():
            cell = Cell(day, model, token_type, tier, over_tokens, geo or there, speed or pace)
            mix[cell] = mix.get(cell, 0) + tokens
        for at, parts in hand_out(rows, mix):
            for cell, tokens in parts:
                found.proxy[cell] = found.proxy.get(cell, 0) + tokens
                cells[at].append((cell, tokens))
    found.by_row = [tuple(each) for each in cells]


def _place_reports(
    found: UsageCells, metered: Iterable[ProviderUsage], is_own: Callable[[ProviderUsage], bool], prices: CellPrices
) -> None:
    """The usage report on cells. Rows without a context window are split together over the proxy's bands."""
    bands = _band_mixes(found.proxy)
    together: dict[tuple[Cell, bool], dict[tuple[str, str | None, str | None], int]] = {}
    for usage in metered:
        model = prices.model(usage.model)
        geo, speed = _place(usage)
        thresholds, lower = prices.thresholds(model), _lower_bound(usage.context_window)
        over_tokens = max([bound for bound in thresholds if bound <= (lower or 0)], default=0)
        cell = Cell(usage.day, model, usage.token_type, normal_tier(usage.tier), over_tokens, geo, speed)
        who = (usage.account, usage.key_id, usage.workspace_id)
        side = found.own if is_own(usage) else found.other
        if thresholds and lower is None:
            group = together.setdefault((cell, side is found.own), {})
            group[who] = group.get(who, 0) + usage.tokens
            continue
        side[cell] = side.get(cell, 0) + usage.tokens
        found.by_key[cell, *who] = found.by_key.get((cell, *who), 0) + usage.tokens
    for (cell, on_own_key), keys in together.items():
        mix = bands.get((cell.day, cell.model, cell.token_type)) or bands.get((cell.day, cell.model, "")) or {0: 1}
        side = found.own if on_own_key else found.other
        for who, parts in hand_out(keys, mix):
            for over_tokens, tokens in parts:
                banded = cell._replace(over_tokens=over_tokens)
                side[banded] = side.get(banded, 0) + tokens
                found.by_key[banded, *who] = found.by_key.get((banded, *who), 0) + tokens
                found.inferred.add(banded)


def normal_tier(tier: str | None) -> str:
    """A tier as the price book spells it: lower case; none, default and auto are standard (Rule 4.2)."""
    text = (tier or "").strip().lower()
    return STANDARD if text in _NO_TIER else text


def hand_out(owners: Mapping[K, int], weights: Mapping[T, int]) -> Iterator[tuple[K, list[tuple[T, int]]]]:
    """Split the owners' tokens together over the weights (Rule 1.4), and give each owner his own number of them.

    What the owners get of a part adds up to the part, whoever they are: each takes his share of what is left.
    """
    if len(weights) == 1:
        only = next(iter(weights))
        for owner, tokens in owners.items():
            yield owner, [(only, tokens)]
        return
    left = dict(_split(sum(owners.values()), weights))
    for owner in sorted(owners, key=str):
        parts = _split(owners[owner], left)
        for part, tokens in parts:
            left[part] -= tokens
        yield owner, parts


def _split(tokens: int, weights: Mapping[T, int]) -> list[tuple[T, int]]:
    """Whole tokens over weights by largest remainder; parts of zero are left out."""
    codes = {str(code): code for code in weights}
    parts = allocate(tokens, {str(code): weight for code, weight in weights.items()}, scale=0)
    return [(codes[code], int(part)) for code, part in parts.items() if part]


def _place(usage: ProviderUsage) -> tuple[str, str]:
    geo = (usage.geo or "").strip().lower()
    return (GLOBAL if geo in _NO_GEO else geo), (usage.speed or STANDARD).strip().lower()


def _places(own: Iterable[ProviderUsage], prices: CellPrices) -> dict[tuple[dt.date, str], dict[tuple[str, str], int]]:
    """Where and how fast the proxy's own usage was served, by day and model."""
    found: dict[tuple[dt.date, str], dict[tuple[str, str], int]] = {}
    for usage in own:
        mix = found.setdefault((usage.day, prices.model(usage.model)), {})
        place = _place(usage)
        mix[place] = mix.get(place, 0) + usage.tokens
    return found


_BandMixes = Mapping[tuple[dt.date, str, str], Mapping[int, int]]


def _band_mixes(proxy: Mapping[Cell, int]) -> _BandMixes:
    """The proxy's tokens by context band, of a day, model and token type; of all types under the type ''."""
    mixes: dict[tuple[dt.date, str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for cell, tokens in proxy.items():
        mixes[cell.day, cell.model, cell.token_type][cell.over_tokens] += tokens
        mixes[cell.day, cell.model, ""][cell.over_tokens] += tokens
    return mixes


def _lower_bound(window: str | None) -> int | None:
    """The lower bound of a provider's context window: 0 of '0-200k', 200,000 of '200k-1M'; None where it has none."""
    found = _WINDOW.match(window.strip()) if window else None
    return int(found[1]) * _UNITS[found[2].lower()] if found else None
