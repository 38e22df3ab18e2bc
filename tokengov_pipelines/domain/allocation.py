"""Who pays a pool: direct charges by use, shared pools by a named method, to the cent (Rules 6.2, 6.3, 6.4).

Belongs here: the weights of each pool and the order of allocation. Does not belong here: how large a pool is
(`pools`), the columns of a charge (`chargeback`), seats by days (`seats`).

Every split is `allocate()`; a weight is an exact figure of the invoice period. Where a pool has no weight at all it
goes to the central cost center, never to all alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.money import (
    POSTING_SCALE,
    MoneyError,
    allocate,
    exact_sum,
    foot,
    from_cents,
    round_posting,
)
from tokengov_pipelines.domain.pools import Pool, Pools

Amounts = Mapping[str, Decimal]
"""Exact amounts, or cents, by cost center."""


class ChargeType(StrEnum):
    """What a charge line is for (Rule 6.9)."""

    DIRECT = "direct"
    TRUE_UP = "true_up"
    UNPROXIED = "unproxied"
    NON_TOKEN = "non_token"  # noqa: S105 - no secret
    COMMITMENT = "commitment"
    SEAT = "seat"
    CREDIT = "credit"
    TAX = "tax"
    CENTRAL = "central"
    PRIOR_PERIOD = "prior_period"


class SplitMethod(StrEnum):
    """How a shared pool is split (Rule 6.4)."""

    PROPORTIONAL = "proportional"  # by the direct weights
    EVEN = "even"
    FIXED = "fixed"  # shares that add up to exactly 1
    WEIGHTED = "weighted"  # headcount, seats or any other number


@dataclass(frozen=True)
class SharedMethod:
    """The method of one shared pool; `shares` are ratios (fixed) or weights (weighted) by cost center."""

    method: SplitMethod = SplitMethod.PROPORTIONAL
    shares: Amounts = field(default_factory=dict)


@dataclass(frozen=True)
class DirectedCredit:
    """A credit that names its owner: a workspace, a model or an older invoice, as weights by cost center (Rule 6.3)."""

    amount: Decimal
    weights: Amounts
    named: str


@dataclass(frozen=True)
class AllocationBasis:
    """What the pools of one invoice and month are split by; all exact, by cost center.

    `repriced` is the value of the proxy's rows at price-book price (the cost center's part of W2), `logged` what the
    proxy logged for them, `unproxied` what the keys that it owns cost, `priority_tokens` its tokens of the priority
    tier, `seats` its part of the seat total.
    """

    repriced: Amounts
    logged: Amounts
    unproxied: Amounts = field(default_factory=dict)
    priority_tokens: Amounts = field(default_factory=dict)
    seats: Amounts = field(default_factory=dict)
    directed_credits: Sequence[DirectedCredit] = ()


@dataclass(frozen=True)
class AllocationRules:
    """The policy: who bears what nobody else can, which weights direct has, how shared pools are split."""

    central: str
    direct_weights: str = "repriced_proxy_spend"  # | logged_proxy_spend
    methods: Mapping[Pool, SharedMethod] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """One pool, or a part of it, over cost centers in cents; `weights` are what it was split by, None for one payer."""

    charge_type: ChargeType
    parts: Amounts
    method: str
    weights: Amounts | None = None

    @property
    def total(self) -> Decimal:
        """What it splits."""
        return exact_sum(self.parts.values())


LARGEST_REMAINDER: Final = "largest_remainder"
_SHARED: Final = (Pool.NON_TOKEN, Pool.COMMITMENT)


def allocate_pools(
    pools: Pools, basis: AllocationBasis, rules: AllocationRules, *, scale: int = POSTING_SCALE
) -> tuple[Split, ...]:
    """Allocate every pool in its order; the parts of all splits add up to the pools (Rules 6.2, 6.3).

    Raises:
        MoneyError: a weight is negative, or the shares of a fixed method do not add up to 1.
    """
    splits = [*_direct(pools[Pool.DIRECT], basis, rules, scale)]
    splits += _owned(pools[Pool.UNPROXIED], basis.unproxied, rules, scale)
    weights = _direct_weights(basis, rules)
    splits += _shared(Pool.NON_TOKEN, ChargeType.NON_TOKEN, pools, weights, rules, scale)
    priority = basis.priority_tokens if _any(basis.priority_tokens) else weights
    splits += _shared(Pool.COMMITMENT, ChargeType.COMMITMENT, pools, priority, rules, scale)
    seats = basis.seats if _any(basis.seats) else weights
    splits += _by_weights(ChargeType.SEAT, pools[Pool.SEAT], seats, LARGEST_REMAINDER, rules, scale)
    splits += _credits(pools[Pool.CREDITS], basis.directed_credits, splits, rules, scale)
    net = {code: max(amount, Decimal(0)) for code, amount in _so_far(splits).items()}
    splits += _by_weights(ChargeType.TAX, pools[Pool.TAX], net, "net_charges_floored_at_zero", rules, scale)
    central = pools[Pool.CENTRAL]
    splits.append(Split(ChargeType.CENTRAL, {rules.central: central}, "central"))
    return tuple(splits)


def spread(total: Decimal, method: SharedMethod, direct: Amounts, *, scale: int = POSTING_SCALE) -> dict[str, Decimal]:
    """Split a shared pool by one of the four methods (Rule 6.4); `direct` are the direct weights of the targets.

    100.00 over 700/200/0 is 77.78/22.22/0.00, even 33.34/33.33/33.33, fixed 50/30/20 what it says.

    Raises:
        MoneyError: fixed shares do not add up to exactly 1, or there is nothing to split by.
    """
    if method.method is SplitMethod.EVEN:
        return allocate(total, dict.fromkeys(direct, Decimal(1)), scale=scale)
    if method.method is SplitMethod.PROPORTIONAL:
        return allocate(total, direct, scale=scale)
    if method.method is SplitMethod.FIXED and exact_sum(method.shares.values()) != 1:
        message = (
            f"the fixed shares add up to {exact_sum(method.shares.values())}, not to 1. "
            "Fix: correct them in policy.yaml (chargeback.shared_pools)."
        )
        raise MoneyError(message)
    return allocate(total, method.shares, scale=scale)


def _direct(pool: Decimal, basis: AllocationBasis, rules: AllocationRules, scale: int) -> Iterable[Split]:
    """What was logged, and the true-up to what is billed for it (Rules 6.1, 6.9)."""
    logged_total = round_posting(exact_sum(basis.logged.values()), scale)
    zero = from_cents(0, scale)
    logged = (
        allocate(logged_total, basis.logged, scale=scale) if _any(basis.logged) else dict.fromkeys(basis.logged, zero)
    )
    weights = _direct_weights(basis, rules)
    if _any(weights):
        parts, method = allocate(pool, weights, scale=scale), LARGEST_REMAINDER
    else:
        parts, method = {rules.central: pool}, "zero_direct_to"
    yield Split(ChargeType.DIRECT, logged, LARGEST_REMAINDER, basis.logged)
    true_up = {code: exact_sum([parts.get(code, zero), -logged.get(code, zero)]) for code in sorted({*parts, *logged})}
    yield Split(
        ChargeType.TRUE_UP, true_up, method if method != LARGEST_REMAINDER else rules.direct_weights,
        weights if _any(weights) else None,
    )  # fmt: skip


def _direct_weights(basis: AllocationBasis, rules: AllocationRules) -> Amounts:
    return basis.logged if rules.direct_weights == "logged_proxy_spend" else basis.repriced


def _owned(pool: Decimal, owned: Amounts, rules: AllocationRules, scale: int) -> list[Split]:
    """Owners pay what their keys cost; a key that costs less than nothing after a correction makes the parts foot."""
    if not owned or not any(owned.values()):
        return _to_central(ChargeType.UNPROXIED, pool, rules)
    if min(owned.values()) < 0:
        parts = dict(foot(sorted(owned.items()), round_posting(exact_sum(owned.values()), scale), scale=scale))
        # In the last month of an invoice the pool is a residue (Rule 6.1b): the cent goes to whoever has most of it.
        largest = max(sorted(parts), key=lambda code: parts[code])
        parts[largest] = exact_sum([pool, *(-part for code, part in parts.items() if code != largest)])
        return [Split(ChargeType.UNPROXIED, parts, "footed_to_owner", owned)]
    return [Split(ChargeType.UNPROXIED, allocate(pool, owned, scale=scale), "owner", owned)]


def _shared(
    pool: Pool, charge_type: ChargeType, pools: Pools, weights: Amounts, rules: AllocationRules, scale: int
) -> list[Split]:
    method = rules.methods.get(pool, SharedMethod())
    if method.method is SplitMethod.PROPORTIONAL:
        return _by_weights(charge_type, pools[pool], weights, LARGEST_REMAINDER, rules, scale)
    used = dict.fromkeys(weights, Decimal(1)) if method.method is SplitMethod.EVEN else method.shares
    if not used:
        return _to_central(charge_type, pools[pool], rules)
    return [Split(charge_type, spread(pools[pool], method, weights, scale=scale), str(method.method), used)]


def _by_weights(
    charge_type: ChargeType, pool: Decimal, weights: Amounts, method: str, rules: AllocationRules, scale: int
) -> list[Split]:
    if not _any(weights):
        return _to_central(charge_type, pool, rules)
    return [Split(charge_type, allocate(pool, weights, scale=scale), method, weights)]


def _to_central(charge_type: ChargeType, pool: Decimal, rules: AllocationRules) -> list[Split]:
    return [Split(charge_type, {rules.central: pool}, "no_weight_to_central")] if pool else []


def _credits(
    pool: Decimal, directed: Sequence[DirectedCredit], before: Sequence[Split], rules: AllocationRules, scale: int
) -> list[Split]:
    """A credit that names its owner goes there, the rest by the gross charges so far (Rule 6.3)."""
    splits: list[Split] = []
    rest = pool
    for credit in directed:
        amount = round_posting(credit.amount, scale)
        splits += _by_weights(ChargeType.CREDIT, amount, credit.weights, f"directed: {credit.named}", rules, scale)
        rest = exact_sum([rest, -amount])
    gross = {code: max(amount, Decimal(0)) for code, amount in _so_far(before).items()}
    if rest:
        splits += _by_weights(ChargeType.CREDIT, rest, gross, "gross_charges_so_far", rules, scale)
    return splits


def _so_far(splits: Iterable[Split]) -> dict[str, Decimal]:
    found: dict[str, list[Decimal]] = {}
    for split in splits:
        for code, amount in split.parts.items():
            found.setdefault(code, []).append(amount)
    return {code: exact_sum(found[code]) for code in sorted(found)}


def _any(weights: Amounts) -> bool:
    return any(weights.values())
