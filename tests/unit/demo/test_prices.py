"""Prices of the demo: the public list prices of 2026, exact per token."""

import csv
from datetime import date
from decimal import Decimal

import pytest

from tests.conftest import need_real_data
from tokengov_pipelines.demo.prices import (
    MODEL_INDEX,
    MODELS,
    PICO,
    TIERS,
    TOKEN_TYPES,
    exact_usd,
    pico_per_token,
    price_per_mtok,
)

_UNITS = {
    "uncached_input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
}


def test_sol_costs_a_third_less_from_late_august() -> None:
    model = MODELS[MODEL_INDEX["gpt-5.6-sol"]]
    assert price_per_mtok(model, date(2026, 8, 20), "output", "standard") == Decimal("30")
    assert price_per_mtok(model, date(2026, 8, 21), "output", "standard") == Decimal("20")
    assert price_per_mtok(model, date(2026, 8, 21), "output", "batch") == Decimal("10")


def test_every_price_is_a_whole_number_of_picodollars_per_token() -> None:
    for model in MODELS:
        for history in model.history:
            for tier in TIERS:
                pico = pico_per_token(model, history.valid_from, tier)
                for token_type, amount in zip(TOKEN_TYPES, pico, strict=True):
                    price = price_per_mtok(model, history.valid_from, token_type, tier)
                    assert Decimal(amount) * 1_000_000 == (price or 0) * PICO


def test_exact_usd_has_twelve_decimals() -> None:
    assert str(exact_usd(1_500_000_000_001)) == "1.500000000001"
    assert exact_usd(0) == 0


@pytest.mark.parametrize("day", [date(2026, 7, 15), date(2026, 8, 12)])
def test_the_prices_are_the_published_ones(day: date) -> None:
    """Until the day of the file: what it announces for later was cancelled, and later cuts are not in it."""
    path = need_real_data("price_history", "genai_prices_effective.csv")
    published: dict[tuple[str, str], tuple[str, Decimal]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            start, cell = row["start_date"] or "", (row["model"], row["unit"])
            if start <= day.isoformat() and start >= published.get(cell, ("", Decimal(0)))[0]:
                published[cell] = (start, Decimal(row["usd_per_mtok"]))
    for model in MODELS:
        for token_type, unit in _UNITS.items():
            price = price_per_mtok(model, day, token_type, "standard")
            if price is not None:
                assert published[model.name, unit][1] == price, (model.name, token_type)
