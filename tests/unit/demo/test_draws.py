"""Random integers: the same everywhere, fair enough for a demo."""

import uuid

import numpy as np
import pytest

from tokengov_pipelines.demo.draws import Draws, as_uuid, shares


def test_the_stream_is_known_in_advance() -> None:
    # From numpy's guarantee for PCG64 and SeedSequence; a change here changes every demo ever made.
    assert Draws(1, 2).below(5, 1000).tolist() == [448, 430, 419, 277, 821]
    assert Draws(1, 2).hex_digits(1) == ["72cb55b7a4acbbc26e4e482cf03b98ab"]


def test_below_and_between_keep_their_bounds() -> None:
    drawn = Draws(7).between(20_000, -3, 3)
    assert (int(drawn.min()), int(drawn.max())) == (-3, 3)
    assert abs(float(drawn.mean())) < 0.05


def test_spread_gives_every_weight_its_share() -> None:
    weights = np.array([100, 0, 300, 600], dtype=np.int64)
    counts = np.bincount(Draws(3).spread(1_000, weights), minlength=4)
    assert counts[1] == 0
    assert np.abs(counts - weights).max() <= 1


def test_pick_row_never_picks_a_zero_weight() -> None:
    weights = np.array([[0, 5, 0], [1, 0, 1]], dtype=np.int64)
    rows = np.array([0, 1] * 500, dtype=np.int64)
    picked = Draws(4).pick_row(rows, weights)
    assert set(picked[rows == 0].tolist()) == {1}
    assert set(picked[rows == 1].tolist()) == {0, 2}


def test_quantile_stays_inside_its_table() -> None:
    table = np.array([[10, 20, 1_000]], dtype=np.int64)
    drawn = Draws(5).quantile(np.zeros(5_000, dtype=np.int64), table)
    assert 10 <= int(drawn.min()) < 20
    assert int(drawn.max()) <= 1_000
    assert 18 <= float(np.median(drawn)) <= 40


@pytest.mark.parametrize("total", [0, 1, 7, 1_000])
def test_shares_sum_to_the_total(total: int) -> None:
    parts = shares(total, np.array([1, 2, 4, 0], dtype=np.int64))
    assert int(parts.sum()) == total
    assert int(parts[3]) == 0


def test_identifiers_are_valid_uuids() -> None:
    for digits in Draws(6).hex_digits(50):
        assert uuid.UUID(as_uuid(digits)).version == 4
