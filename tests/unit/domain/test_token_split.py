"""Whole tokens over a mix (Rule 1.4): the parts and the owners both add up, and ties go where money's ties go."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.money import allocate
from tokengov_pipelines.domain.token_split import hand_out, split_tokens

TOKENS = st.integers(0, 10**15)
WEIGHTS = st.dictionaries(st.text(max_size=4), st.integers(0, 10**12), min_size=1, max_size=6).filter(
    lambda weights: any(weights.values())
)


@given(TOKENS, WEIGHTS)
def test_whole_tokens_are_split_as_money_is(tokens, weights):
    order = sorted(weights, key=str.encode)

    parts = split_tokens(tokens, [weights[code] for code in order])

    assert dict(zip(order, parts, strict=True)) == allocate(tokens, weights, scale=0)


@given(st.dictionaries(st.integers(0, 40), st.integers(1, 10**9), min_size=1, max_size=8), WEIGHTS)
def test_every_owner_keeps_his_tokens_and_every_part_its_share(owners, weights):
    got: Counter[str] = Counter()
    for owner, parts in hand_out(owners, weights):
        assert sum(tokens for _, tokens in parts) == owners[owner]
        got.update(dict(parts))

    assert got == Counter(allocate(sum(owners.values()), weights, scale=0))


def test_the_same_tokens_in_other_hands_come_to_the_same_parts():
    weights = {"global": 2, "us": 1}

    assert dict(hand_out({0: 4}, weights)) == {0: [("global", 3), ("us", 1)]}
    assert dict(hand_out({0: 2, 1: 2}, weights)) == {0: [("global", 2)], 1: [("global", 1), ("us", 1)]}


def test_a_mix_of_one_part_takes_everything():
    assert list(hand_out({"a": 3, "b": 0}, {"global": 7})) == [("a", [("global", 3)]), ("b", [("global", 0)])]
