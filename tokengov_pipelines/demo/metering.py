"""Dollars of a day: what the proxy logged, what the provider metered, and why they differ.

Belongs here: tokens x price on both sides, exact in picodollars and as LiteLLM's float. Does not belong here: sums
over months (`ground_truth`) and invoice lines (`documents`).

The float is computed as LiteLLM computes it (a sum of float products), so that a row shows real float dust such as
0.0050225000000000005. Rounded to 12 decimals it is the exact amount again, which is what Rule 1.2 relies on.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import CACHE_HIT, FAILURE, OUTPUT, READ, UNCACHED, WRITE_1H, WRITE_5M, DayCalls
from tokengov_pipelines.demo.draws import IntArray
from tokengov_pipelines.demo.prices import MODEL_INDEX, MODELS, PICO, TIERS, pico_per_token

FloatArray = npt.NDArray[np.float64]

ROW_CAUSES: Final = ("lost_rows", "unpriced_calls", "stale_price", "partial_streams", "failed_spend")
"""The causes that sit on rows; bypass, credits, tax and web searches are whole lines of the invoice."""


@cache
def _pico(day: date) -> IntArray:
    """(model, tier, token type) list prices of a day."""
    return np.array([[pico_per_token(model, day, tier) for tier in TIERS] for model in MODELS], dtype=np.int64)


def list_pico(day: date, *, stale: bool = False) -> IntArray:
    """(model, tier, token type) prices in picodollars per token; `stale` with the outdated row of the price map."""
    prices = _pico(day)
    if stale:
        prices = prices.copy()
        old = MODEL_INDEX[incidents.STALE_MODEL]
        prices[old] = _pico(incidents.STALE_PRICES_OF)[old]
    return prices


@dataclass(frozen=True)
class DayMoney:
    """Dollars of each call: exact (picodollars) and, for what LiteLLM writes, as floats.

    `logged_pico` is zero where no row was written. `spend` is the row's column; `input_cost` includes the cache costs,
    as LiteLLM's cost breakdown does. `cost` is the price before LiteLLM zeroes it for its own cache hits.
    """

    logged_pico: IntArray
    metered_pico: IntArray
    bypass_pico: IntArray
    causes_pico: dict[str, IntArray]
    spend: FloatArray
    cost: FloatArray
    input_cost: FloatArray
    output_cost: FloatArray
    cache_read_cost: FloatArray
    cache_creation_cost: FloatArray


def money_of(calls: DayCalls) -> DayMoney:
    """Both sides of a day in dollars, and the cause of every difference.

    The causes telescope: metered - logged = lost + (unpriced or stale) + partial + failed, exactly, for every row.
    """
    listed = list_pico(calls.day)[calls.model, calls.tier]
    mapped = np.where(calls.stale[:, None], list_pico(calls.day, stale=True)[calls.model, calls.tier], listed)
    mapped = np.where(calls.unpriced[:, None], 0, mapped)
    free = np.isin(calls.kind, (CACHE_HIT, FAILURE))

    metered = (calls.metered * listed).sum(axis=1)
    written = np.where(free, 0, (calls.logged * mapped).sum(axis=1))
    at_list = np.where(free, 0, (calls.logged * listed).sum(axis=1))
    logged = np.where(calls.in_log, written, 0)
    price_gap = np.where(calls.in_log, at_list - written, 0)
    token_gap = np.where(calls.in_log, metered - at_list, 0)
    causes = {
        "lost_rows": np.where(calls.in_log, 0, metered),
        "unpriced_calls": np.where(calls.unpriced, price_gap, 0),
        "stale_price": np.where(calls.unpriced, 0, price_gap),
        "partial_streams": np.maximum(token_gap, 0),
        "failed_spend": np.minimum(token_gap, 0),
    }
    bypass_list = list_pico(calls.day)[calls.bypass_model, 0]

    unit = mapped.astype(np.float64) / PICO
    part = calls.logged.astype(np.float64) * unit
    creation = part[:, WRITE_5M] + part[:, WRITE_1H]
    input_cost = part[:, UNCACHED] + part[:, READ] + creation
    cost = input_cost + part[:, OUTPUT]
    return DayMoney(
        logged_pico=logged,
        metered_pico=metered,
        bypass_pico=(calls.bypass_metered * bypass_list).sum(axis=1),
        causes_pico=causes,
        spend=np.where(free, 0.0, cost),
        cost=cost,
        input_cost=input_cost,
        output_cost=part[:, OUTPUT],
        cache_read_cost=part[:, READ],
        cache_creation_cost=creation,
    )
