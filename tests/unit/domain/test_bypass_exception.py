"""The exceptions register: two people, at most 90 days, one key (rule 5.5)."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.bypass_exception import (
    BypassException,
    ExceptionState,
    KeyIdentity,
    exception_refusal,
    governing_exception,
)

GRANTED = dt.date(2026, 11, 1)
KEY = KeyIdentity.of("anthropic", "acme-prod", "apikey-ci", "wrkspc-ci")
SIGNED = {"reason": "vendor SDK without base URL", "requested_by": "Ada", "approved_by": "Grace"}


def granted(number: int = 1, last_day: dt.date = dt.date(2026, 11, 30), **more) -> BypassException:
    return BypassException(number, KEY, "reason", "Ada", "Grace", GRANTED, last_day, **more)


def test_a_key_is_one_key_in_every_workspace():
    assert KeyIdentity.of("anthropic", "a", "k", "w1") == KeyIdentity.of("anthropic", "a", "k", None)
    assert KeyIdentity.of("anthropic", "a", None, "w1") != KeyIdentity.of("anthropic", "a", None, None)


@pytest.mark.parametrize(
    ("key_id", "workspace", "word"),
    [("apikey-1", "w1", "apikey-1"), (None, "w1", "workspace:w1"), (None, None, "workspace:default")],
)
def test_a_key_has_a_word_that_reads_back(key_id, workspace, word):
    identity = KeyIdentity.of("anthropic", "a", key_id, workspace)
    assert identity.word == word
    assert KeyIdentity.parse("anthropic", "a", f" {word} ") == identity


@pytest.mark.parametrize("word", ["", "  ", "workspace:"])
def test_a_word_that_names_nothing_is_refused(word):
    with pytest.raises(ValueError, match=r"names no key\. Fix: write the key's id"):
        KeyIdentity.parse("anthropic", "a", word)


def refusal(**changes) -> str | None:
    arguments = {"granted_on": GRANTED, "last_day": dt.date(2027, 1, 30), "max_days": 90} | SIGNED | changes
    return exception_refusal(**arguments)


def test_ninety_days_are_allowed_and_ninety_one_are_not():
    assert refusal() is None
    said = refusal(last_day=dt.date(2027, 1, 31))
    assert said == (
        "an exception until 2027-01-31 would hold for 91 days; policy.yaml allows 90 (unproxied.exception_max_days). "
        "Fix: --until 2027-01-30 or earlier, and ask again then."
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reason": " "}, "needs a reason"),
        ({"approved_by": ""}, "needs two people"),
        ({"requested_by": " "}, "needs two people"),
        ({"approved_by": " ada "}, "Ada cannot both request and approve"),
        ({"last_day": dt.date(2026, 10, 31)}, "is over on 2026-11-01 already"),
        ({"max_days": 30}, "policy.yaml allows 30"),
    ],
)
def test_an_exception_that_breaks_a_rule_is_refused(changes, says):
    said = refusal(**changes)
    assert said is not None
    assert says in said
    assert "Fix: " in said


def test_an_exception_for_a_single_day_is_allowed():
    assert refusal(last_day=GRANTED) is None


def test_an_exception_holds_on_its_first_and_on_its_last_day():
    exception = granted()
    states = {day: exception.state_on(day) for day in (dt.date(2026, 10, 31), GRANTED, exception.last_day)}
    assert list(states.values()) == [None, "in_force", "in_force"]
    assert exception.state_on(dt.date(2026, 12, 1)) is ExceptionState.EXPIRED


def test_a_withdrawn_exception_ends_on_that_day():
    exception = granted(withdrawn_on=dt.date(2026, 11, 10))
    assert exception.state_on(dt.date(2026, 11, 9)) is ExceptionState.IN_FORCE
    assert exception.state_on(dt.date(2026, 11, 10)) is ExceptionState.WITHDRAWN
    assert exception.state_on(dt.date(2026, 12, 24)) is ExceptionState.WITHDRAWN


def test_one_in_force_speaks_before_one_that_has_expired():
    old, new = granted(1, dt.date(2026, 11, 5)), granted(2, dt.date(2026, 11, 30))
    on = dt.date(2026, 11, 10)
    assert governing_exception([new, old], KEY, on) == (new, ExceptionState.IN_FORCE)
    assert governing_exception([old], KEY, on) == (old, ExceptionState.EXPIRED)
    assert governing_exception([old, new], KeyIdentity.of("anthropic", "acme-prod", "other", None), on) is None
    assert governing_exception([granted(withdrawn_on=GRANTED)], KEY, on) is None


@given(st.integers(-10, 200), st.integers(1, 90))
def test_what_is_granted_never_holds_longer_than_the_policy(days, max_days):
    last_day = GRANTED + dt.timedelta(days=days)
    if refusal(last_day=last_day, max_days=max_days) is None:
        exception = granted(last_day=last_day)
        assert exception.state_on(GRANTED) is ExceptionState.IN_FORCE
        assert exception.state_on(GRANTED + dt.timedelta(days=max_days + 1)) is ExceptionState.EXPIRED
    else:
        assert not 0 <= days <= max_days
