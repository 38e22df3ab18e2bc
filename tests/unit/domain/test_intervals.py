"""Rule 3.3: effective dates are [from, to) at UTC midnight."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.intervals import Interval, gaps, overlaps, uncovered

START = dt.date(2026, 1, 1)


def span(first: int, end: int | None = None) -> Interval:
    return Interval(START + dt.timedelta(first), None if end is None else START + dt.timedelta(end))


class TestInterval:
    def test_bob_moves_on_the_sixteenth(self):
        old, new = Interval(dt.date(2026, 1, 1), dt.date(2026, 10, 16)), Interval(dt.date(2026, 10, 16))
        assert old.valid_on(dt.date(2026, 10, 15))
        assert not new.valid_on(dt.date(2026, 10, 15))
        assert not old.valid_on(dt.date(2026, 10, 16))
        assert new.valid_on(dt.date(2026, 10, 16))
        assert old.overlap(new) is None

    @pytest.mark.parametrize("end", [0, -1])
    def test_contains_a_day_or_is_none(self, end):
        with pytest.raises(ValueError, match="contains no day"):
            span(0, end)

    def test_overlap(self):
        assert span(0, 5).overlap(span(3, 9)) == span(3, 5)
        assert span(0).overlap(span(3)) == span(3)
        assert span(0, 5).overlap(span(5)) is None

    def test_reads_well(self):
        assert str(span(0, 31)) == "from 2026-01-01 to 2026-02-01"
        assert str(span(0)) == "from 2026-01-01 on"


class TestSets:
    def test_overlaps_name_both_and_the_days(self):
        assert overlaps([(span(3), "late"), (span(0, 5), "early")]) == [("early", "late", span(3, 5))]
        assert overlaps([(span(0, 5), "a"), (span(5), "b")]) == []

    def test_an_overlap_with_an_earlier_long_one_is_seen(self):
        assert overlaps([(span(0), "long"), (span(1, 2), "a"), (span(5, 6), "b")]) == [
            ("long", "a", span(1, 2)),
            ("long", "b", span(5, 6)),
        ]

    def test_gaps_name_both_and_the_days(self):
        assert gaps([(span(9), "c"), (span(0, 5), "a"), (span(5, 7), "b")]) == [("b", "c", span(7, 9))]
        assert gaps([(span(0), "a"), (span(5, 7), "b")]) == []
        assert gaps([(span(0, 9), "a"), (span(1, 2), "b"), (span(9), "c")]) == []

    def test_uncovered(self):
        assert uncovered(span(0), [span(0)]) == []
        assert uncovered(span(0), []) == [span(0)]
        assert uncovered(span(0, 10), [span(6, 8), span(2, 4)]) == [span(0, 2), span(4, 6), span(8, 10)]
        assert uncovered(span(5), [span(0, 7)]) == [span(7)]
        assert uncovered(span(0, 5), [span(5), span(9)]) == [span(0, 5)]


bounded = st.builds(
    lambda first, days: span(first, None if days is None else first + days),
    st.integers(0, 40),
    st.none() | st.integers(1, 20),
)


@given(bounded, st.lists(bounded, max_size=8))
def test_uncovered_is_day_by_day_what_it_says(wanted, cover):
    left = uncovered(wanted, cover)
    for offset in range(90):
        day = START + dt.timedelta(offset)
        expected = wanted.valid_on(day) and not any(interval.valid_on(day) for interval in cover)
        assert any(interval.valid_on(day) for interval in left) == expected


@given(st.lists(bounded, max_size=8))
def test_there_is_an_overlap_exactly_when_a_day_has_two(intervals):
    days = [START + dt.timedelta(offset) for offset in range(90)]
    twice = any(sum(interval.valid_on(day) for interval in intervals) > 1 for day in days)
    assert bool(overlaps([(interval, None) for interval in intervals])) == twice
