"""A cost center's charge taken apart, down to the cells of use behind it: every node is the sum of its parts (Rule 6).

Belongs here: nodes that add up or are refused, and the tree from the total to the share of a pool. Does not belong
here: how a pool was made (`explained_pools`), what a weight is of (`explained_weights`), single calls
(`assets.charged_calls`), printing (`explain_cli`).

A share of a pool is no sum of the pool's parts, so a node has two kinds of branches: `children` add up to it, `basis`
are trees of their own (the pool, the weight) that say where it comes from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tokengov_pipelines.closing.charges import chargeback_policy
from tokengov_pipelines.closing.closed_month import ClosedMonth
from tokengov_pipelines.domain.allocation import ChargeType, Split, allocate_pools
from tokengov_pipelines.domain.chargeback import BilledMonth, ChargebackLine
from tokengov_pipelines.domain.money import (
    INTERNAL_SCALE,
    exact_product,
    exact_sum,
    from_cents,
    minor_unit_scale,
)
from tokengov_pipelines.domain.pools import Pool
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.read_back import rows_of
from tokengov_pipelines.pack.writer import PackError, neutralised

ROUNDING: Final = "rounding"
FOOTED: Final = "footed_to_owner"
"""The method of a pool whose parts are exact amounts of either sign (Rule 1.4b): no share of anything."""


class ExplanationError(RuntimeError):
    """A charge that cannot be explained; the text says why, and what to do."""


@dataclass(frozen=True)
class Node:
    """An amount and what it is made of. `unit` is a currency, or a word such as tokens.

    Raises:
        ExplanationError: the children do not add up to the amount exactly.
    """

    label: str
    amount: Decimal
    unit: str
    children: tuple["Node", ...] = ()
    basis: tuple["Node", ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a sum that is none."""
        if self.children and (total := exact_sum(each.amount for each in self.children)) != self.amount:
            message = (
                f"{self.label} is {self.amount} {self.unit} and its parts add up to {total}. "
                "Fix: report it, this is a defect of the product."
            )
            raise ExplanationError(message)

    def leaves(self) -> Iterator["Node"]:
        """The leaves below it, itself where it has none; those of a basis belong to that."""
        if not self.children:
            yield self
        for each in self.children:
            yield from each.leaves()


def sum_node(
    label: str,
    amount: Decimal,
    unit: str,
    children: Iterable[Node],
    *,
    rest: str = ROUNDING,
    basis: Sequence[Node] = (),
    note: str = "",
) -> Node:
    """A node whose children are completed by a leaf `rest`, where something is left."""
    parts = tuple(children)
    left = exact_sum([amount, *(-each.amount for each in parts)])
    if left and parts:
        parts = (*parts, Node(rest, left, unit))
    return Node(label, amount, unit, parts, tuple(basis), note)


def largest(nodes: Iterable[Node], top: int, unit: str) -> tuple[Node, ...]:
    """The `top` largest nodes, and one leaf with what the others come to."""
    ordered = sorted(nodes, key=lambda each: (-abs(each.amount), each.label))
    if len(ordered) <= top:
        return tuple(ordered)
    others = ordered[top:]
    return (*ordered[:top], Node(f"and {len(others)} more", exact_sum(each.amount for each in others), unit))


def quotient(amount: Decimal, divisor: Decimal | Fraction) -> Decimal:
    """Amount / divisor to 12 decimals, half away from zero."""
    exact = Fraction(amount) / Fraction(divisor) * 10**INTERNAL_SCALE
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return from_cents(rounded if exact >= 0 else -rounded, INTERNAL_SCALE)


@dataclass(frozen=True)
class Share:
    """One cost center's part of one pool: what `explained_pools` and `explained_weights` are asked about."""

    closed: ClosedMonth
    billed: BilledMonth
    splits: tuple[Split, ...]
    split: Split
    cost_center: str
    top: int

    @property
    def unit(self) -> str:
        """The invoice's currency."""
        return self.billed.header.currency


Explain = Callable[[Share], Node | None]


def explained(
    closed: ClosedMonth,
    cost_center: str,
    *,
    pool: Explain,
    weight: Explain,
    provider: str | None = None,
    top: int = 5,
) -> Node:
    """The tree of a cost center's charges, in the functional currency, with `top` nodes of each long list.

    `pool` says how a pool was made, `weight` what the cost center's weight in it is of.

    Raises:
        ExplanationError: the month charges the cost center nothing (of the provider), or a node does not add up.
    """
    all_lines = closed.charges.lines
    lines = [each for each in all_lines if each.cost_center == cost_center and provider in {None, each.provider}]
    if not lines:
        raise ExplanationError(_nothing(closed, cost_center, provider, {each.cost_center for each in all_lines}))
    unit = closed.inputs.policy.money.functional_currency
    invoices: dict[tuple[str, str], list[ChargebackLine]] = {}
    for line in lines:
        invoices.setdefault((line.provider, line.invoice_id), []).append(line)
    children = [
        _invoice(closed, of, mine, unit, pool=pool, weight=weight, top=top) for of, mine in sorted(invoices.items())
    ]
    total = exact_sum(line.amount_functional for line in lines)
    name = f"{cost_center} {lines[0].cost_center_name}, {closed.month} v{closed.version}"
    root = Node(name, total, unit, tuple(children))
    if exact_sum(each.amount for each in root.leaves()) != total:
        message = f"the leaves of {cost_center} do not add up to {total}. Fix: report it, this is a defect."
        raise ExplanationError(message)
    return root


def require_sealed_charges(closed: ClosedMonth, files: Mapping[str, bytes]) -> None:
    """Raise `ExplanationError` where the charges made again are not those of the pack: another month is explained."""
    named = ("provider", "invoice_id", "original_period", "cost_center", "charge_type")
    try:
        sealed = {tuple(row[name] for name in named): Decimal(row["amount"]) for row in rows_of(files, CHARGEBACK_CSV)}
    except (KeyError, ArithmeticError, TypeError) as error:
        message = f"{CHARGEBACK_CSV} cannot be read: {error!r}. Fix: tokengov verify says what was changed."
        raise PackError(message) from error
    again = {
        tuple(neutralised(str(getattr(line, name))) for name in named): line.amount for line in closed.charges.lines
    }
    if sealed != again:
        worst = min(key for key in {*sealed, *again} if sealed.get(key) != again.get(key))
        message = (
            f"{CHARGEBACK_CSV} says {sealed.get(worst)} for {' '.join(worst)}, and the pack's inputs make "
            f"{again.get(worst)}. Fix: run tokengov verify on the pack; explain it with the code version that made it."
        )
        raise ExplanationError(message)


def _nothing(closed: ClosedMonth, cost_center: str, provider: str | None, known: set[str]) -> str:
    of = f" of {provider}" if provider else ""
    return (
        f"{closed.month} v{closed.version} charges {cost_center} nothing{of}. Fix: name one of "
        f"{', '.join(sorted(known)) or 'the cost centers of a month that has charges'}."
    )


def _invoice(
    closed: ClosedMonth,
    of: tuple[str, str],
    lines: Sequence[ChargebackLine],
    unit: str,
    *,
    pool: Explain,
    weight: Explain,
    top: int,
) -> Node:
    provider, invoice_id = of
    billed = next((each for each in closed.charges.billed if _is_of(each, of)), None)
    note, splits = "", tuple[Split, ...]()
    if billed is not None:
        scale = minor_unit_scale(billed.header.currency)
        splits = allocate_pools(billed.pools, billed.basis, chargeback_policy(closed.inputs).rules(), scale=scale)
        note = f"the month's part of the invoice is {billed.billed} of {billed.header.total} {billed.header.currency}"
    charges = []
    for line in sorted(lines, key=lambda line: (_ORDER.index(ChargeType(line.charge_type)), str(line.original_period))):
        mine = [each for each in splits if each.charge_type == line.charge_type and line.cost_center in each.parts]
        shares = [] if billed is None else [Share(closed, billed, splits, each, line.cost_center, top) for each in mine]
        charges.append(_in_functional(line, _charge(closed, line, shares, pool, weight), unit))
    total = exact_sum(line.amount_functional for line in lines)
    return Node(f"{provider} {invoice_id}", total, unit, tuple(charges), note=note)


_ORDER: Final = list(ChargeType)


def _is_of(billed: BilledMonth, of: tuple[str, str]) -> bool:
    return (billed.header.provider, billed.header.invoice_id) == of


def _in_functional(line: ChargebackLine, node: Node, unit: str) -> Node:
    """A charge of an invoice in another currency: converted with the others, then footed to their total (Rule 1.6)."""
    if line.currency == unit:
        return node
    converted = exact_product(line.amount, line.fx_rate)
    note = f"{line.amount} {line.currency} at {line.fx_rate}"
    return sum_node(
        node.label, line.amount_functional, unit, [Node("converted", converted, unit, basis=(node,))], note=note
    )


def _charge(closed: ClosedMonth, line: ChargebackLine, shares: Sequence[Share], pool: Explain, weight: Explain) -> Node:
    """One line of chargeback.csv: its shares of pools, what disputes moved, or the corrections it posts."""
    label = line.charge_type
    if line.charge_type == ChargeType.PRIOR_PERIOD:
        return _correction(closed, line)
    nodes = [_share(each, pool, weight) for each in shares]
    moves = [
        Node(f"dispute {each.dispute_id}", sign * each.amount, each.currency, note=note)
        for each in closed.inputs.facts.disputes
        for sign, code, note in (
            (-1, each.from_cost_center, f"moved to {each.to_cost_center}"),
            (1, each.to_cost_center, f"moved from {each.from_cost_center}"),
        )
        if (each.provider, each.invoice_id, each.charge_type, code)
        == (line.provider, line.invoice_id, line.charge_type, line.cost_center)
    ]
    if len(nodes) == 1 and not moves:
        only = nodes[0]
        return Node(label, line.amount, line.currency, only.children, only.basis, only.note)
    return Node(label, line.amount, line.currency, (*nodes, *moves), note=line.allocation_method)


def _correction(closed: ClosedMonth, line: ChargebackLine) -> Node:
    key = (line.provider, line.invoice_id, line.original_period, line.cost_center)
    mine = [
        Node(f"{each.reason} {each.ref}".strip(), each.amount, each.currency)
        for each in closed.charges.corrections
        if (each.provider, each.invoice_id, each.original_month, each.cost_center) == key
    ]
    note = f"a correction of {line.original_period}, posted in {line.posting_period}"
    return Node(f"{line.charge_type} of {line.original_period}", line.amount, line.currency, tuple(mine), note=note)


def _share(share: Share, pool: Explain, weight: Explain) -> Node:
    split, code, unit = share.split, share.cost_center, share.unit
    amount = split.parts[code]
    basis = [each for each in (pool(share), weight(share)) if each is not None]
    total, less = split.total, []
    if split.charge_type is ChargeType.TRUE_UP:  # the direct pool, less what was charged as logged already (Rule 6.1)
        total = share.billed.pools[Pool.DIRECT]
        direct = next(each for each in share.splits if each.charge_type is ChargeType.DIRECT)
        less = [Node("less what is charged as logged", -direct.parts.get(code, Decimal(0)), unit)]
    children, note = _exact(share, total)
    return sum_node(split.method, amount, unit, [*children, *less], basis=basis, note=note)


def _exact(share: Share, total: Decimal) -> tuple[list[Node], str]:
    """The exact share of a pool before it was rounded to cents, and how it is reckoned, in words."""
    split, code, unit = share.split, share.cost_center, share.unit
    if split.weights is None:
        borne = total if code == chargeback_policy(share.closed.inputs).central else Decimal(0)
        return [Node("the whole pool", borne, unit)], f"{split.method}: nobody else bears it"
    own, base = split.weights.get(code, Decimal(0)), exact_sum(split.weights.values())
    if not base:
        return [Node("nothing was used", Decimal(0), unit)], split.method
    if split.method == FOOTED:
        return [Node("exact cost", own, unit)], split.method
    words = f"{split.method}: {total} x {own:f} / {base:f}"
    return [Node("exact share", quotient(exact_product(total, own), base), unit)], words
