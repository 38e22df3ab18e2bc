"""Rule 2.3: a day is partial while it runs, complete when it was read after its end, settled in the end."""

import datetime as dt

import pytest

from tokengov_pipelines.domain.day_state import DayState, day_state, end_of, final_from, least

DAY = dt.date(2026, 10, 28)


def at(day: int, hour: int = 0, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 10, day, hour, minute, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("known_until", "is_confirmed", "expected"),
    [
        (None, True, DayState.MISSING),
        (at(28, 16), True, DayState.PARTIAL),
        (at(28, 23, 59), True, DayState.PARTIAL),
        (at(29), False, DayState.COMPLETE),
        (at(31, 23, 59), True, DayState.COMPLETE),
        (at(29) + dt.timedelta(days=3), True, DayState.SETTLED),
        (at(29) + dt.timedelta(days=3), False, DayState.COMPLETE),
    ],
)
def test_a_day_goes_from_partial_to_complete_to_settled(
    known_until: dt.datetime | None, is_confirmed: bool, expected: DayState
) -> None:
    assert day_state(DAY, known_until, 3, is_confirmed=is_confirmed) is expected


def test_the_end_of_a_day_is_the_next_midnight_in_utc() -> None:
    assert end_of(DAY) == at(29)


def test_a_day_is_known_as_well_as_its_least_known_source() -> None:
    assert least([DayState.SETTLED, DayState.PARTIAL, DayState.COMPLETE]) is DayState.PARTIAL
    assert least([DayState.SETTLED, DayState.SETTLED]) is DayState.SETTLED
    assert least([]) is DayState.MISSING


def test_a_providers_figures_are_provisional_for_thirty_days() -> None:
    assert final_from(dt.date(2026, 10, 1), 30) == dt.date(2026, 11, 1)
