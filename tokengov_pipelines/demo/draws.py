"""Random integers for the demo: the same on every machine, for ever.

Belongs here: turning one seed into whole numbers, choices and identifiers. Does not belong here: what is drawn
(`calls`, `profiles`). numpy guarantees the raw stream of PCG64 across versions, but not the distributions built on
it, and log() or exp() differ in the last bit between processors. So everything here is integer arithmetic on raw
bits, and a demo seeded on a laptop has the bytes of one seeded in CI.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_HALF: Final = np.uint64(32)
_STEP_BITS: Final = 16


class Draws:
    """A stream of random integers that depends on nothing but the numbers it was made from."""

    def __init__(self, *entropy: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def raw(self, count: int) -> npt.NDArray[np.uint64]:
        """`count` raw 64-bit words."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def below(self, count: int, bound: int | IntArray) -> IntArray:
        """`count` integers in [0, bound); `bound` is below 2**31 and may differ by element."""
        drawn: IntArray = ((self.raw(count) >> _HALF) * np.asarray(bound, dtype=np.uint64) >> _HALF).astype(np.int64)
        return drawn

    def between(self, count: int, low: int | IntArray, high: int | IntArray) -> IntArray:
        """`count` integers in [low, high]."""
        least = np.asarray(low, dtype=np.int64)
        span = np.asarray(high, dtype=np.int64) - least + 1
        return np.asarray(least + self.below(count, span), dtype=np.int64)

    def permille(self, count: int, chance: int | IntArray) -> npt.NDArray[np.bool_]:
        """`count` yes/no answers, yes in `chance` of 1000."""
        return self.below(count, 1000) < chance

    def pick(self, count: int, weights: IntArray) -> IntArray:
        """`count` indices into `weights`, in proportion to them."""
        cumulative = np.cumsum(weights)
        return _position(cumulative, self.below(count, int(cumulative[-1])))

    def pick_row(self, rows: IntArray, weights: IntArray) -> IntArray:
        """One index per element of `rows`: the weights of element i stand in `weights[rows[i]]`."""
        cumulative = np.cumsum(weights, axis=1)[rows]
        drawn = self.below(len(rows), cumulative[:, -1])
        return np.asarray((cumulative <= drawn[:, None]).sum(axis=1), dtype=np.int64)

    def spread(self, count: int, weights: IntArray) -> IntArray:
        """Like `pick`, but evenly spread: every weight gets its share of `count` to within about one."""
        cumulative = np.cumsum(weights)
        edges = np.arange(count + 1, dtype=np.int64) * int(cumulative[-1]) // max(count, 1)
        drawn = edges[:-1] + self.below(count, np.maximum(edges[1:] - edges[:-1], 1))
        return _position(cumulative, drawn)

    def quantile(self, rows: IntArray, tables: IntArray) -> IntArray:
        """One value per element of `rows`; `tables[rows[i]]` holds the equally spaced quantiles of its distribution."""
        steps = tables.shape[1] - 1
        position = self.below(len(rows), steps << _STEP_BITS)
        index, fraction = position >> _STEP_BITS, position & ((1 << _STEP_BITS) - 1)
        low, high = tables[rows, index], tables[rows, index + 1]
        return np.asarray(low + ((high - low) * fraction >> _STEP_BITS), dtype=np.int64)

    def hex_digits(self, count: int) -> list[str]:
        """`count` strings of 32 hexadecimal digits."""
        text = self.raw(2 * count).astype(">u8").tobytes().hex()
        return [text[at : at + 32] for at in range(0, 32 * count, 32)]


def _position(cumulative: IntArray, drawn: IntArray) -> IntArray:
    return np.asarray(np.searchsorted(cumulative, drawn, side="right"), dtype=np.int64)


def as_uuid(digits: str) -> str:
    """32 hexadecimal digits in the layout of a version 4 UUID."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def shares(total: int, weights: IntArray) -> IntArray:
    """`total` split over `weights` in whole numbers that sum to it: largest remainder, ties to the first."""
    whole = int(weights.sum())
    floors = total * weights // whole
    rest = total * weights - floors * whole
    order = np.argsort(-rest, kind="stable")
    floors[order[: total - int(floors.sum())]] += 1
    return floors
