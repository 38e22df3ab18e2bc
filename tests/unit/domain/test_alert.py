"""When an alert opens, repeats, is told again and closes; staleness, back-off and the texts (all pure)."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.alert import (
    WHOLE,
    Alert,
    Condition,
    Event,
    Severity,
    Step,
    Told,
    duration,
    is_due_again,
    is_raised,
    retry_after,
    safe_text,
    split_span,
    stale_conditions,
    transitions,
)
from tokengov_pipelines.domain.alert_messages import closing_message, message_of, opening_message

START = dt.datetime(2026, 11, 5, 3, 0, tzinfo=dt.UTC)


def seen(minute, bad=(), looked_at=None, key="check:raw/litellm_spend_logs:vocabulary_is_known"):
    return Condition(
        key=key,
        at=START + dt.timedelta(minutes=minute),
        severity=Severity.WARNING,
        title="t",
        text="x",
        looked_at=frozenset(bad if looked_at is None else looked_at),
        bad=frozenset(bad),
    )


def red(minute, key="run:load_days_job"):
    return seen(minute, [WHOLE], key=key)


def green(minute, key="run:load_days_job"):
    return seen(minute, [], [WHOLE], key=key)


def steps(*observed, known=None):
    return [transition.step for transition in transitions(known or {}, observed).steps]


class TestTransitions:
    def test_what_is_good_and_was_never_bad_says_nothing(self):
        assert steps(green(0), green(1)) == []

    def test_an_alert_opens_once_is_repeated_and_closes_once(self):
        observed = [green(0), red(1), red(2), red(3), green(4), green(5)]
        assert steps(*observed) == [Step.OPENED, Step.REPEATED, Step.REPEATED, Step.CLOSED]

    def test_it_may_open_again_later(self):
        assert steps(red(1), green(2), red(3)) == [Step.OPENED, Step.CLOSED, Step.OPENED]

    def test_conditions_do_not_touch_each_other(self):
        other = "run:prepare_month_job:2026-10"
        found = transitions({}, [red(1), red(2, other), green(3)])
        assert [(t.step, t.condition.key) for t in found.steps] == [
            (Step.OPENED, "run:load_days_job"),
            (Step.OPENED, other),
            (Step.CLOSED, "run:load_days_job"),
        ]

    def test_the_same_observation_twice_is_one(self):
        first = transitions({}, [red(1)])
        assert steps(red(1), known=first.states) == []

    def test_a_failure_that_is_heard_of_after_the_success_that_followed_it_opens_nothing(self):
        success = transitions({}, [green(2)])
        assert steps(red(1), known=success.states) == []

    def test_days_that_nobody_looked_at_stay_bad(self):
        bad = transitions({}, [seen(1, ["2026-10-05"], ["2026-10-05", "2026-10-06"])])
        assert [t.step for t in bad.steps] == [Step.OPENED]
        assert steps(seen(2, [], ["2026-10-06", "2026-10-07"]), known=bad.states) == [Step.REPEATED]
        assert steps(seen(2, [], ["2026-10-05"]), known=bad.states) == [Step.CLOSED]

    def test_what_is_repeated_names_only_the_parts_that_were_news(self):
        bad = transitions({}, [seen(5, ["2026-10-05"], ["2026-10-05"])])
        (step,) = transitions(bad.states, [seen(4, ["2026-10-05", "2026-10-06"])]).steps
        assert (step.step, step.condition.bad) == (Step.REPEATED, {"2026-10-06"})

    @given(
        st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), max_size=8),
        st.randoms(use_true_random=False),
    )
    def test_whatever_the_order_of_arrival_the_last_word_on_each_part_counts(self, looks, random):
        observed = [seen(n, bad & looked, looked, "k") for n, (looked, bad) in enumerate(looks)]
        last = {part: part in bad for looked, bad in looks for part in looked}
        arrival = observed * 2
        random.shuffle(arrival)
        states, is_open = {}, False
        for condition in arrival:
            found = transitions(states, [condition])
            states = {"k": {**states.get("k", {}), **found.states.get("k", {})}}
            for transition in found.steps:
                assert is_open == (transition.step is not Step.OPENED)
                is_open = transition.step is not Step.CLOSED
        assert is_open == any(last.values())
        assert {part: state.bad for part, state in states.get("k", {}).items()} == last


class TestToldAgain:
    def test_severities_have_an_order(self):
        words = [str(each) for each in Severity]
        assert words == ["info", "warning", "medium", "high", "error", "page"]
        assert Severity.PAGE.is_above(Severity.ERROR)
        assert not Severity.MEDIUM.is_above(Severity.MEDIUM)
        assert not Severity.INFO.is_above(Severity.WARNING)

    @pytest.mark.parametrize(
        ("told", "now", "raised"),
        [
            ("100.00", "199.99", False),
            ("100.00", "200.00", True),
            ("100.00", "50.00", False),
            ("0.00", "0.01", True),
            ("0.00", "0.00", False),
            (None, "500.00", False),
            ("100.00", None, False),
        ],
    )
    def test_an_amount_that_has_at_least_doubled_is_told_again(self, told, now, raised):
        was = Told(Severity.PAGE, None if told is None else Decimal(told), START)
        assert is_raised(was, Severity.PAGE, None if now is None else Decimal(now)) is raised

    def test_a_severity_that_rose_is_told_again_and_one_that_fell_is_not(self):
        was = Told(Severity.HIGH, Decimal(10), START)
        assert is_raised(was, Severity.PAGE, Decimal(1))
        assert not is_raised(was, Severity.MEDIUM, Decimal(10))

    def test_only_an_open_page_that_nobody_acknowledged_is_due_again_after_24_hours(self):
        told = Told(Severity.PAGE, None, START)
        page = Alert(1, "k", Severity.PAGE, "t", "x", START, START, last_told=told)
        day = START + dt.timedelta(hours=24)
        assert is_due_again(page, day)
        assert not is_due_again(page, day - dt.timedelta(seconds=1))
        for quiet in (
            replace(page, severity=Severity.ERROR),
            replace(page, acknowledged_by="Ada"),
            replace(page, closed_at=START),
        ):
            assert not is_due_again(quiet, day)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2026-10", ["2026-10"]),
        ("2026-11 to 2027-02", ["2026-11", "2026-12", "2027-01", "2027-02"]),
        ("2026-10-30 to 2026-11-01", ["2026-10-30", "2026-10-31", "2026-11-01"]),
        ("2026-10-30", ["2026-10-30"]),
        ("2026-10 to 2026-10-30", []),
        ("2026-11 to 2026-10", []),
        ("yesterday", []),
    ],
)
def test_a_span_is_split_into_its_days_or_months(text, parts):
    assert split_span(text) == parts


class TestStaleness:
    NOW = dt.datetime(2026, 11, 5, 5, 0, tzinfo=dt.UTC)

    def stale(self, moment):
        (condition,) = stale_conditions({"litellm": moment}, now=self.NOW, stale_after_hours=26, at=START)
        return condition

    def test_exactly_the_limit_is_not_stale(self):
        assert self.stale(self.NOW - dt.timedelta(hours=26)).bad == frozenset()
        assert self.stale(self.NOW - dt.timedelta(hours=26, seconds=1)).bad == {WHOLE}

    def test_an_extraction_after_a_fixed_present_is_fresh(self):
        assert self.stale(self.NOW + dt.timedelta(days=9)).bad == frozenset()

    def test_the_text_says_when_how_long_and_the_fix(self):
        condition = self.stale(self.NOW - dt.timedelta(hours=50))
        assert (condition.key, condition.severity) == ("stale:litellm", Severity.ERROR)
        assert condition.text.startswith(
            "litellm was last read at 2026-11-03 03:00 UTC, 2 d 2 h ago; the limit is 26 h. Fix: "
        )

    def test_a_source_that_was_never_read_is_stale(self):
        condition = self.stale(None)
        assert condition.bad == {WHOLE}
        assert condition.text.startswith("litellm has never been read. Fix: ")


def test_a_failing_delivery_waits_longer_each_time_up_to_an_hour_and_never_gives_up():
    minutes = [retry_after(failures) / dt.timedelta(minutes=1) for failures in (1, 2, 3, 4, 5, 6, 7, 8, 500)]
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_kept_text_holds_no_password_and_is_bounded():
    assert (
        safe_text(" cannot reach postgresql://ada:pa@ss@db:5432/x now ")
        == "cannot reach postgresql://***@db:5432/x now"
    )
    assert safe_text("see https://example.com/a:b and a@example.com") == "see https://example.com/a:b and a@example.com"
    assert len(safe_text("x" * 10_000)) < 3100


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (dt.timedelta(seconds=59), "0 min"),
        (dt.timedelta(minutes=12), "12 min"),
        (dt.timedelta(hours=3, minutes=5), "3 h 5 min"),
        (dt.timedelta(days=2, hours=4, minutes=59), "2 d 4 h"),
        (dt.timedelta(seconds=-5), "0 min"),
    ],
)
def test_a_length_of_time_is_written_for_people(length, words):
    assert duration(length) == words


class TestMessages:
    ALERT = Alert(
        id=1,
        key="run:load_days_job",
        severity=Severity.ERROR,
        title="load_days_job failed",
        text="raw/litellm_spend_logs: the proxy's Postgres cannot be reached. Fix: start it.",
        opened_at=START,
        last_seen_at=START,
        run_id="0123456789abcdef",
    )

    def test_the_opening_says_what_where_and_the_fix(self):
        message = opening_message(self.ALERT, "books.example.com:/srv/tokengov")
        assert message.title == "[error] load_days_job failed"
        assert message.body == (
            "raw/litellm_spend_logs: the proxy's Postgres cannot be reached. Fix: start it.\n\n"
            "Since 2026-11-05 03:00 UTC. Run 01234567.\n"
            "From books.example.com:/srv/tokengov. All that is open: tokengov alerts"
        )

    def test_owner_amount_and_how_to_acknowledge_are_said_where_there_are_any(self):
        page = replace(self.ALERT, severity=Severity.PAGE, owner="controller + data owner", amount=Decimal("1234.565"))
        message = message_of(Event.OPENED, page, "books")
        assert (message.title, message.severity) == ("[page] load_days_job failed", Severity.PAGE)
        assert message.body.splitlines()[2:] == [
            "For: controller + data owner. Amount: 1,234.57 USD.",
            "Since 2026-11-05 03:00 UTC. Run 01234567.",
            "Told every day until it is over, or: tokengov alerts ack 1 --by NAME",
            "From books. All that is open: tokengov alerts",
        ]

    def test_what_grew_and_what_is_recalled_say_so_first(self):
        told = Told(Severity.ERROR, None, START + dt.timedelta(hours=24))
        alert = replace(self.ALERT, last_told=told)
        grown, recalled = message_of(Event.RAISED, alert, "b"), message_of(Event.REMINDED, alert, "b")
        assert grown.title == "[error, grown] load_days_job failed"
        assert grown.body.startswith("It was told before and has grown since: ")
        assert recalled.title == "[error, still open] load_days_job failed"
        assert recalled.body.startswith("This is open for 1 d 0 h and nobody has acknowledged it.\n\nraw/litellm")
        assert message_of(Event.CLOSED, replace(alert, closed_at=START), "b").severity is None

    def test_the_closing_says_that_it_is_over_and_how_long_it_lasted(self):
        closed = Alert(**{**vars(self.ALERT), "closed_at": START + dt.timedelta(hours=24)})
        message = closing_message(closed, "books")
        assert message.title == "[over] load_days_job failed"
        assert message.body == (
            "It is fine again; nobody has to do anything.\n\n"
            "From 2026-11-05 03:00 UTC to 2026-11-06 03:00 UTC: 1 d 0 h.\nFrom books."
        )
        assert message.severity is None

    def test_a_close_by_hand_names_the_person(self):
        closed = Alert(**{**vars(self.ALERT), "closed_at": START, "closed_by": "Ada: waived"})
        assert closing_message(closed, "books").body.startswith("Closed by hand: Ada: waived.")

    def test_an_open_alert_has_no_closing_message(self):
        with pytest.raises(ValueError, match="alert 1 is open"):
            closing_message(self.ALERT, "books")
