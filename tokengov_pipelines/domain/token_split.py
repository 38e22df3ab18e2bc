"""Whole tokens over a mix, so that parts and owners both add up (Rules 1.4, 4.2).

Belongs here: largest remainder on whole numbers. Does not belong here: which mix a source takes (`usage_cells`), money,
which is split by `money.allocate`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


def hand_out(owners: Mapping[K, int], weights: Mapping[T, int]) -> Iterator[tuple[K, list[tuple[T, int]]]]:
    """Split the owners' tokens together over the weights (Rule 1.4), and give each owner his own number of them.

    What the owners get of a part adds up to the part, whoever they are: each takes his share of what is left. Ties go
    to the part whose text is lowest; parts of zero are left out.
    """
    if len(weights) == 1:
        only = next(iter(weights))
        for owner, tokens in owners.items():
            yield owner, [(only, tokens)]
        return
    order = sorted(weights, key=_bytewise)
    left = split_tokens(sum(owners.values()), [weights[part] for part in order])
    for owner in sorted(owners, key=str):
        parts = split_tokens(owners[owner], left)
        left = [had - got for had, got in zip(left, parts, strict=True)]
        yield owner, [(part, tokens) for part, tokens in zip(order, parts, strict=True) if tokens]


def split_tokens(tokens: int, weights: Sequence[int]) -> list[int]:
    """Whole tokens over whole weights by largest remainder, ties to the first; at least one weight is not zero.

    It is `money.allocate` on whole numbers (a test holds it to that): a month of which every model is served in two
    places is split a hundred thousand times, and its Decimals took longer than all the rest of the match.
    """
    whole = sum(weights)
    shares = [divmod(tokens * weight, whole) for weight in weights]
    parts = [share for share, _ in shares]
    missing = tokens - sum(parts)
    if missing:
        for at in sorted(range(len(parts)), key=lambda at: -shares[at][1])[:missing]:
            parts[at] += 1
    return parts


def _bytewise(part: object) -> bytes:
    return str(part).encode("utf-8", "surrogatepass")
