"""Cells: what proxy and provider counted, put on one grain with one price (Rules 4.1, 4.2).

Belongs here: model names through the alias table, tiers, context bands and geographies, tokens by cell, the price of a
cell. Does not belong here: what the differences mean (`waterfall`), how a price is found (`pricing`), how whole
tokens are split (`token_split`).

A source that lacks a dimension takes the other's mix of that day and model, split in whole tokens by largest remainder:
the provider's report the proxy's context bands (flagged as inferred), the proxy's log the provider's geography and
speed. Nothing else is inferred.
"""

import datetime as dt
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from tokengov_pipelines.domain.legs import KeyRegistry, Legs, LoggedUsage, ProviderUsage
from tokengov_pipelines.domain.match_result import KeyOf
from tokengov_pipelines.domain.money import INTERNAL_SCALE, MoneyError
from tokengov_pipelines.domain.pricing import PriceBook, PriceStatus, UnitPrice, normalised_name
from tokengov_pipelines.domain.token_split import hand_out

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
    """The price book asked by cell, each question once.

    Between two days on which a price of the provider begins or ends every day has the same prices, so the book is asked
    once for all of them: a month's cells are a tenth as many questions as cells.
    """

    def __init__(self, provider: str, book: PriceBook, fallback_tiers: tuple[str, ...]) -> None:
        self._provider = provider
        self._book = book
        self._fallback_tiers = fallback_tiers
        self._models: dict[str | None, str] = {}
        self._thresholds: dict[str, list[int]] = {}
        self._since: dict[dt.date, dt.date] = {}
        self._prices: dict[tuple[dt.date, tuple[object, ...]], CellPrice] = {}

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
        day = self._since.get(cell.day)
        if day is None:
            day = self._since[cell.day] = self._last_change(cell.day)
        asked = (day, cell[1:])
        price = self._prices.get(asked)
        if price is None:
            price = self._prices[asked] = self._ask(cell)
        return price

    def _last_change(self, day: dt.date) -> dt.date:
        """The last day up to this one on which a price or factor of the provider began or ended."""
        changes = self._changes
        at = bisect_right(changes, day)
        return changes[at - 1] if at else dt.date.min

    @cached_property
    def _changes(self) -> list[dt.date]:
        mine = (rows for (provider, *_), rows in self._book.prices.items() if provider == self._provider)
        dated = [row.valid for rows in mine for row in rows]
        dated += [factor.valid for factor in self._book.geo_factors if factor.provider == self._provider]
        return sorted({day for valid in dated for day in (valid.valid_from, valid.valid_to) if day is not None})

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


_Places = Mapping[tuple[str, str], int]
"""Tokens by geography and speed."""

_ANYWHERE: Final[_Places] = {(GLOBAL, STANDARD): 1}


@dataclass
class UsageCells:
    """Tokens by cell: proxy, provider on the proxy's own keys, provider on all others; and by cell and provider key.

    `repriced` is what each row of `Legs.logged` is worth at price-book price in picodollars, in the order of the rows;
    0 for a row that was not delivered.
    """

    proxy: dict[Cell, int] = field(default_factory=dict)
    own: dict[Cell, int] = field(default_factory=dict)
    other: dict[Cell, int] = field(default_factory=dict)
    by_key: dict[Cell, dict[KeyOf, int]] = field(default_factory=dict)
    repriced: list[int] = field(default_factory=list)
    inferred: set[Cell] = field(default_factory=set)
    contradictions: list[LoggedUsage | ProviderUsage] = field(default_factory=list)

    def all(self) -> set[Cell]:
        """Every cell in which anybody counted."""
        return self.proxy.keys() | self.own.keys() | self.other.keys()


class _Metered(NamedTuple):
    """A row of the usage report on its cell; `has_band` is False where the report does not tell the context band."""

    cell: Cell
    has_band: bool
    is_own: bool
    key: KeyOf
    tokens: int


def usage_cells(legs: Legs, registry: KeyRegistry, prices: CellPrices) -> UsageCells:
    """Put both sides on cells. Negative counts are left out and returned as contradictions (an error item each)."""
    metered = _metered(legs.usage or (), registry, prices)
    found = UsageCells(
        contradictions=[
            *(row for row in legs.logged if min(row.tokens.values(), default=0) < 0),
            *(each for each in legs.usage or () if each.tokens < 0),
        ]
    )
    _place_log(found, legs.logged, _places(metered), prices)
    if legs.usage is None:
        found.own = dict(found.proxy)
    else:
        _place_reports(found, metered)
    return found


def _metered(usage: Iterable[ProviderUsage], registry: KeyRegistry, prices: CellPrices) -> list[_Metered]:
    """The rows with tokens. Many rows say the same words; each combination is read once."""
    read: dict[tuple[str | None, ...], tuple[bool, str, str, str, int, str, str]] = {}
    found = []
    for each in usage:
        if each.tokens > 0:
            words = (each.model, each.token_type, each.tier, each.context_window, each.geo, each.speed)
            known = read.get(words)
            if known is None:
                known = read[words] = _read(each, prices)
            found.append(
                _Metered(
                    Cell(each.day, *known[1:]),
                    known[0],
                    registry.is_own(each),
                    (each.account, each.key_id, each.workspace_id),
                    each.tokens,
                )
            )
    return found


def _read(usage: ProviderUsage, prices: CellPrices) -> tuple[bool, str, str, str, int, str, str]:
    """Whether a row tells its context band, and its cell but for the day."""
    model = prices.model(usage.model)
    geo = (usage.geo or "").strip().lower()
    thresholds, lower = prices.thresholds(model), _lower_bound(usage.context_window)
    return (
        lower is not None or not thresholds,
        model,
        usage.token_type,
        normal_tier(usage.tier),
        max([bound for bound in thresholds if bound <= (lower or 0)], default=0),
        GLOBAL if geo in _NO_GEO else geo,
        (usage.speed or STANDARD).strip().lower(),
    )


def _place_log(
    found: UsageCells, logged: Sequence[LoggedUsage], places: Mapping[tuple[dt.date, str], _Places], prices: CellPrices
) -> None:
    """The log on cells. Rows that tell no geography are split together, so that how they are cut changes nothing."""
    together: dict[tuple[dt.date, str, str, int, str | None, str | None], dict[str, dict[int, int]]] = {}
    for at, row in enumerate(logged):
        if row.is_delivered:
            group = (row.day, prices.model(row.model), normal_tier(row.tier), row.over_tokens, row.geo, row.speed)
            types = together.setdefault(group, {})
            for token_type, tokens in row.tokens.items():
                if tokens > 0:
                    types.setdefault(token_type, {})[at] = tokens
    proxy, repriced = found.proxy, [0] * len(logged)
    for (day, model, tier, over_tokens, geo, speed), types in together.items():
        spots: dict[tuple[str, str], int] = {}
        for (there, pace), tokens in places.get((day, model), _ANYWHERE).items():
            spot = (geo or there, speed or pace)
            spots[spot] = spots.get(spot, 0) + tokens
        for token_type, rows in types.items():
            mix = {Cell(day, model, token_type, tier, over_tokens, *spot): tokens for spot, tokens in spots.items()}
            worth = {cell: prices.of(cell).pico for cell in mix}
            if len(mix) == 1:  # nearly always: served in one place, so no row is split
                ((cell, pico_per_token),) = worth.items()
                proxy[cell] = proxy.get(cell, 0) + sum(rows.values())
                for at, tokens in rows.items():
                    repriced[at] += tokens * pico_per_token
                continue
            for at, parts in hand_out(rows, mix):
                for cell, tokens in parts:
                    proxy[cell] = proxy.get(cell, 0) + tokens
                    repriced[at] += tokens * worth[cell]
    found.repriced = repriced


def _place_reports(found: UsageCells, metered: Iterable[_Metered]) -> None:
    """The usage report on cells. Rows without a context window are split together over the proxy's bands."""
    together: dict[tuple[Cell, bool], dict[KeyOf, int]] = {}
    for cell, has_band, is_own, key, tokens in metered:
        if has_band:
            side = found.own if is_own else found.other
            side[cell] = side.get(cell, 0) + tokens
            keys = found.by_key.setdefault(cell, {})
        else:
            keys = together.setdefault((cell, is_own), {})
        keys[key] = keys.get(key, 0) + tokens
    bands = _band_mixes(found.proxy) if together else {}
    for (cell, is_own), keys in together.items():
        mix = bands.get((cell.day, cell.model, cell.token_type)) or bands.get((cell.day, cell.model, "")) or {0: 1}
        side = found.own if is_own else found.other
        for key, parts in hand_out(keys, mix):
            for over_tokens, tokens in parts:
                banded = cell._replace(over_tokens=over_tokens)
                side[banded] = side.get(banded, 0) + tokens
                of_cell = found.by_key.setdefault(banded, {})
                of_cell[key] = of_cell.get(key, 0) + tokens
                found.inferred.add(banded)


@lru_cache(maxsize=256)
def normal_tier(tier: str | None) -> str:
    """A tier as the price book spells it: lower case; none, default and auto are standard (Rule 4.2)."""
    text = (tier or "").strip().lower()
    return STANDARD if text in _NO_TIER else text


def _places(metered: Iterable[_Metered]) -> dict[tuple[dt.date, str], dict[tuple[str, str], int]]:
    """Where and how fast the proxy's own usage was served, by day and model."""
    found: dict[tuple[dt.date, str], dict[tuple[str, str], int]] = {}
    for cell, _, is_own, _, tokens in metered:
        if is_own:
            mix = found.setdefault((cell.day, cell.model), {})
            place = (cell.geo, cell.speed)
            mix[place] = mix.get(place, 0) + tokens
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
