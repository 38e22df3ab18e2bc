"""How many calls each UTC day has and how likely each key is to make them.

Belongs here: working days, growth, time zones, the split of the wanted number of calls over the days. Does not belong
here: what one call looks like (`calls`). The plan is exact: its days sum to the number of calls asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from tokengov_pipelines.demo.draws import Draws, IntArray, shares
from tokengov_pipelines.demo.incidents import LOG_END, LOG_START, weight_on
from tokengov_pipelines.demo.organisation import Organisation
from tokengov_pipelines.demo.profiles import WEEKDAYS

GROWTH_PERMILLE_A_DAY: Final = 2
_DAY_STREAM: Final = 1


@dataclass(frozen=True)
class DayPlan:
    """One UTC day: how many logged calls, the position of its first call in the whole run, the weight of each key."""

    day: date
    calls: int
    first_position: int
    weights: IntArray


def days() -> Iterator[date]:
    """Every UTC day of the demo's log."""
    for offset in range((LOG_END - LOG_START).days):
        yield LOG_START + timedelta(days=offset)


def _weights(organisation: Organisation, day: date) -> IntArray:
    return np.array(
        [
            weight_on(key, key.weight * WEEKDAYS[key.kind][day.weekday()], day) if day < key.active_until else 0
            for key in organisation.keys
        ],
        dtype=np.int64,
    )


def build_plan(organisation: Organisation, calls: int, seed: int) -> tuple[DayPlan, ...]:
    """The plan of a run: `calls` split over the days by their weight, with a little noise and steady growth."""
    all_days = tuple(days())
    weights = [_weights(organisation, day) for day in all_days]
    noise = Draws(seed, _DAY_STREAM).between(len(all_days), 94, 106)
    growth = 1000 + GROWTH_PERMILLE_A_DAY * np.arange(len(all_days), dtype=np.int64)
    totals = np.array([int(w.sum()) for w in weights], dtype=np.int64) * noise * growth // 1000
    counts = shares(calls, totals)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return tuple(
        DayPlan(day, int(count), int(start), weight)
        for day, count, start, weight in zip(all_days, counts, starts, weights, strict=True)
    )
