"""The benchmarks on tiny data: that what they compare agrees. Their times are measured by `make bench`, not here."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import close, daily, extract, rules

QUIET = Console(quiet=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres's own account may enter."""
    with tempfile.TemporaryDirectory(prefix="tokengov-benchmark-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_extraction_reads_every_row_of_both_days_into_the_same_bytes(folder: Path) -> None:
    measured = extract.measure(folder, rows=300, rounds=2, console=QUIET)
    assert [each.rows for each in measured] == [300, 1200]
    assert all(each.product > 0 and each.bare_copy > 0 and each.peak_mb > 50 for each in measured)


def test_close_by_the_product_by_hand_and_by_pandas_agree_to_the_cent(folder: Path) -> None:
    result = close.measure(folder, calls=6_000, sample_days=31, console=QUIET, rounds=1, with_fixed=False)
    assert result.rows > 6_000  # copies, later versions and double logs come on top
    lines = result.product.result["lines"]
    assert lines == result.by_hand.result["lines"]
    assert {line[0] for line in lines} == {"anthropic", "google", "openai"}
    assert "CC-900-SUSPENSE" in {line[1] for line in lines}
    assert result.pandas.result["rows"] == result.rows
    assert result.pandas.result["spend"] == result.sample_by_hand.result["spend"]


def test_a_day_reads_the_same_after_a_short_and_a_long_history(folder: Path) -> None:
    short, long = daily.measure(folder, calls=200, histories=[1, 12], console=QUIET)
    assert long.history > 10 * short.history
    assert (long.rows, long.file_bytes) == (short.rows, short.file_bytes)
    assert long.bytes_read <= short.bytes_read * (1 + daily.TOLERANCE)


def test_the_rules_find_what_was_written_and_a_day_reads_the_same_after_any_history(folder: Path) -> None:
    month = rules.measure_month(folder / "month", models=2, repeats=1)
    assert month.cells == 31 * 3 * 2 * 5 * 2  # days, providers, models, token types, tiers
    assert (month.reconciliations, month.keys, month.items) == (3, 2, 2)
    short, long = rules.measure_days(folder, models=2, histories=[1, 12])
    assert (short.cells, long.history) == (3 * 2 * 5 * 2, 12)
    assert long.bytes_read <= short.bytes_read * (1 + rules.TOLERANCE)
