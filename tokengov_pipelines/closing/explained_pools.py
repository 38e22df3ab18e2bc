"""How a pool was made: the lines of the invoice, the waterfall, the keys outside the proxy (Rules 4.2, 5, 6.1).

Belongs here: a pool as a sum of what it is for. Does not belong here: who pays it (`explained_weights`), the tree above
(`explanation`), the arithmetic that made the pool (`charges`).

The waterfall and the reports are of whole periods in the functional currency, so of an invoice over several months or
in another currency they are named, and a leaf takes what is of other months or of the rounding.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from tokengov_pipelines.closing.explanation import ROUNDING, Node, Share, largest, quotient, sum_node
from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.invoice import InvoiceLine
from tokengov_pipelines.domain.legs import ReportedCost
from tokengov_pipelines.domain.match_result import Component, MatchMode
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.pools import Pool
from tokengov_pipelines.domain.reconciliation import Reconciliation

_KINDS: Final[Mapping[ChargeType, str]] = {
    ChargeType.COMMITMENT: "commitment",
    ChargeType.SEAT: "seat",
    ChargeType.CREDIT: "credit",
    ChargeType.TAX: "tax",
}
_OWN: Final = (
    Component.TIMING,
    Component.PROXY_PRICING,
    Component.VOLUME,
    Component.MIX,
    Component.TIER_DISCOUNT,
)
"""The causes that the direct pool holds whole (Rule 6.1)."""

_DIRECT_REST: Final = "rounding of the other pools"
_OTHERS: Final = "of other months or at another rate, and rounding"


def pool_node(share: Share) -> Node | None:
    """The pool that a share is of, made of what it is for."""
    charge_type, amount, unit = share.split.charge_type, share.split.total, share.unit
    found = share.closed.reconciliation_of(share.billed.header)
    if charge_type is ChargeType.DIRECT:
        by_center = [Node(code, logged, unit) for code, logged in share.billed.basis.logged.items()]
        return sum_node("pool: what the proxy logged", amount, unit, largest(by_center, share.top, unit))
    if charge_type is ChargeType.TRUE_UP:
        return _direct_pool(share, found)
    if charge_type is ChargeType.UNPROXIED:
        return sum_node("pool: keys outside the proxy", amount, unit, _keys(share), rest=_rest(share))
    if charge_type is ChargeType.NON_TOKEN:
        return sum_node("pool: billed beside tokens", amount, unit, _non_token(share, found), rest=_rest(share))
    if charge_type is ChargeType.CENTRAL:
        return sum_node("pool: what nobody causes", amount, unit, _central(share, found), rest=_rest(share))
    if charge_type is ChargeType.CREDIT:
        return _credits(share)
    label = f"pool: {charge_type} of the invoice"
    return sum_node(label, amount, unit, _lines(share, _KINDS[charge_type]), rest=_rest(share))


def _is_plain(share: Share) -> bool:
    """Whether the waterfall's period is the month, in the invoice's currency."""
    return len(share.billed.header.period.months()) == 1 and share.billed.fx_rate == 1


def _rest(share: Share) -> str:
    return ROUNDING if _is_plain(share) else _OTHERS


def _direct_pool(share: Share, found: Reconciliation | None) -> Node:
    """What is left of the invoice after every other pool; as the waterfall tells it where it is of this month alone."""
    pools, unit = share.billed.pools, share.unit
    amount = pools[Pool.DIRECT]
    others = [Node(f"less {pool}", -pools[pool], unit) for pool in Pool if pool is not Pool.DIRECT and pools[pool]]
    left = Node(
        "what is left of the invoice", amount, unit, (Node("the month's part", share.billed.billed, unit), *others)
    )
    if found is None or found.total is None or not _is_plain(share):
        return Node("pool: direct", amount, unit, basis=(left,))
    states = [Node("logged by the proxy (W0)", found.logged, unit)]
    states += [Node(str(each), found.components[each], unit) for each in _OWN if found.components.get(each)]
    unproxied, rate = (
        found.components.get(each, Decimal(0)) for each in (Component.UNPROXIED, Component.PROVIDER_RATE)
    )
    own_rate = exact_sum([unproxied, rate, *(-each for each in share.billed.basis.unproxied.values())])
    if own_rate:
        states.append(Node("provider_rate, without that of keys outside the proxy", own_rate, unit))
    return sum_node("pool: direct", amount, unit, states, rest=_DIRECT_REST, basis=(left,))


def _keys(share: Share) -> Iterable[Node]:
    unit, rate = share.unit, share.billed.fx_rate
    keys = [each for each in share.closed.findings.keys if each.provider == share.billed.header.provider]
    nodes = [
        Node(
            each.key_label,
            _at_rate(each.cost_usd, rate),
            unit,
            note=f"list price {each.list_usd:f}; owner {', '.join(sorted(each.owned_usd)) or each.suggested_owner}",
        )
        for each in keys
    ]
    return largest(nodes, share.top, unit)


def _non_token(share: Share, found: Reconciliation | None) -> Iterable[Node]:
    unit, rate = share.unit, share.billed.fx_rate
    if found is None or found.mode is MatchMode.TWO_WAY:
        amount = found.components.get(Component.NON_TOKEN, Decimal(0)) if found else Decimal(0)
        return [Node("lines of the invoice that are not of tokens", _at_rate(amount, rate), unit)] if amount else []
    sums: dict[str, list[Decimal]] = defaultdict(list)
    for each in _reported(share):
        if each.cost_type != "tokens":
            sums[f"{each.cost_type} {each.line_item or ''}".strip()].append(each.amount)
    nodes = [Node(f"cost report: {item}", _at_rate(exact_sum(mine), rate), unit) for item, mine in sums.items()]
    return largest(nodes, share.top, unit)


def _reported(share: Share) -> Sequence[ReportedCost]:
    """The cost report of the month's days, of the invoice's account where the report names it."""
    header, month = share.billed.header, share.closed.month
    legs = share.closed.match.inputs.legs.get(header.provider)
    costs = [each for each in (legs.costs if legs else None) or () if header.period.contains(each.day)]
    accounts = {each.account for each in costs}
    mine = [each for each in costs if header.account not in accounts or each.account == header.account]
    return [each for each in mine if month.contains(each.day)]


def _central(share: Share, found: Reconciliation | None) -> Iterable[Node]:
    if found is None:
        return []
    causes = (Component.ROUNDING, Component.UNEXPLAINED)
    return [
        Node(str(each), _at_rate(found.components[each], share.billed.fx_rate), share.unit)
        for each in causes
        if found.components.get(each)
    ]


def _credits(share: Share) -> Node:
    """A credit that names its owner is a pool of its own; the others are what is left of all credits (Rule 6.3)."""
    amount, unit, split = share.split.total, share.unit, share.split
    if split.method.startswith("directed: "):
        return Node(f"pool: the credit that names {split.method.removeprefix('directed: ')}", amount, unit)
    directed = [
        Node(f"less the credit that names {each.named}", -_rounded(share, each.named), unit)
        for each in share.billed.basis.directed_credits
    ]
    whole = sum_node(
        "credits of the invoice", share.billed.pools[Pool.CREDITS], unit, _lines(share, "credit"), rest=_rest(share)
    )
    return sum_node("pool: credits", amount, unit, [whole, *directed], rest=_rest(share))


def _rounded(share: Share, named: str) -> Decimal:
    method = f"directed: {named}"
    return exact_sum(each.total for each in share.splits if each.method == method)


def _lines(share: Share, kind: str) -> Iterable[Node]:
    header, unit = share.billed.header, share.unit
    invoices = (each for each in share.closed.match.invoices if each.invoice_id == header.invoice_id)
    invoice = next((each for each in invoices if each.provider == header.provider), None)
    lines: Sequence[InvoiceLine] = invoice.lines if invoice else ()
    nodes = [
        Node(f"line {each.line_no} {each.description or kind}", each.amount, unit)
        for each in lines
        if each.kind == kind
    ]
    if kind == "tax" and header.recoverable_tax:
        nodes.append(Node("less recoverable tax", -header.recoverable_tax, unit))
    return largest(nodes, share.top, unit)


def _at_rate(amount: Decimal, rate: Decimal) -> Decimal:
    return amount if rate == 1 else quotient(amount, rate)
