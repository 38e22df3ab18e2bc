"""The price of a cell: asked once for all days between two changes of the book, and asked again after each."""

import datetime as dt
from decimal import Decimal

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.pricing import Alias, GeoFactor, PriceRow, PriceStatus, price_book
from tokengov_pipelines.domain.usage_cells import Cell, CellPrices


def row(usd_per_mtok: str, valid_from: dt.date, valid_to: dt.date | None = None, tier: str = "standard") -> PriceRow:
    return PriceRow(
        provider="anthropic",
        model="m-1",
        token_type="output",
        service_tier=tier,
        context_band="all",
        context_over_tokens=0,
        usd_per_mtok=Decimal(usd_per_mtok),
        valid=Interval(valid_from, valid_to),
        source="test",
        source_version="1",
    )


def day(number: int) -> dt.date:
    return dt.date(2026, 10, number)


ROWS = [
    row("1.00", day(5), day(10)),
    row("2.00", day(10), day(20)),
    row("0.50", day(12), None, tier="batch"),
]
FACTOR = GeoFactor("anthropic", "m-1", "us", Decimal("1.1"), Interval(day(8), day(15)), "test", "1")
BOOK, PROBLEMS = price_book(ROWS, [Alias("m-1", "anthropic", "m-1")], {"anthropic": "anthropic"}, [FACTOR])


def asked_by_day(tier: str = "standard", geo: str = "global") -> list[int]:
    """Picodollars of a token in each tier, days 1 to 31, asked in an order that is no calendar's."""
    prices = CellPrices("anthropic", BOOK, ())
    found = {}
    for number in [*range(31, 0, -2), *range(2, 31, 2)]:
        found[number] = prices.of(Cell(day(number), "m-1", "output", tier, 0, geo, "standard")).pico
    return [found[number] for number in sorted(found)]


def test_a_price_holds_from_its_first_day_up_to_its_end():
    assert PROBLEMS == []
    assert asked_by_day() == [0] * 4 + [1_000_000] * 5 + [2_000_000] * 10 + [0] * 12


def test_a_geography_s_factor_is_a_change_of_its_own():
    assert asked_by_day(geo="us") == [0] * 7 + [1_100_000] * 2 + [2_200_000] * 5 + [0] * 17


def test_a_tier_keeps_its_price_when_the_standard_one_ends():
    prices = CellPrices("anthropic", BOOK, ())
    before, after = (prices.of(Cell(day(at), "m-1", "output", "batch", 0, "global", "standard")) for at in (19, 20))

    assert asked_by_day(tier="batch") == [0] * 11 + [500_000] * 20
    assert (before.pico, before.standard_pico) == (500_000, 2_000_000)
    assert (after.pico, after.standard_pico, after.status) == (500_000, 500_000, PriceStatus.EXACT)
