"""Decided disputes of the open month: an amount moves to the owner who agreed, and the total does not (Rule 6.8).

Belongs here: moving amounts between charge lines. Does not belong here: who may decide (`dispute`), disputes of closed
months, which are posted as corrections (`restatement`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from tokengov_pipelines.domain.chargeback import ChargebackLine, CostCenter, line_order
from tokengov_pipelines.domain.dispute import DisputeMove
from tokengov_pipelines.domain.money import MoneyError, exact_sum


def moved(
    lines: Iterable[ChargebackLine], moves: Iterable[DisputeMove], cost_centers: Mapping[str, CostCenter]
) -> tuple[ChargebackLine, ...]:
    """The lines after the moves, in the order of the file; every invoice's sum stays what it was.

    Raises:
        MoneyError: a move names a line that the month does not have, or an invoice in another currency.
    """
    found = {_key(line): line for line in lines}
    for move in moves:
        source = found.get((move.provider, move.invoice_id, move.charge_type, move.from_cost_center))
        if source is None:
            message = (
                f"dispute {move.dispute_id} moves {move.charge_type} of {move.provider} invoice {move.invoice_id} away "
                f"from {move.from_cost_center}, which has no such charge. Fix: withdraw it, or raise it anew."
            )
            raise MoneyError(message)
        if source.fx_rate != 1:
            message = (
                f"dispute {move.dispute_id} is of an invoice in {source.currency}. Fix: decide it after the close."
            )
            raise MoneyError(message)
        key = (move.provider, move.invoice_id, move.charge_type, move.to_cost_center)
        target = found.get(key) or _empty(source, cost_centers[move.to_cost_center])
        found[_key(source)] = _changed(source, -move.amount, move.dispute_id)
        found[key] = _changed(target, move.amount, move.dispute_id)
    return tuple(sorted(found.values(), key=line_order))


def _key(line: ChargebackLine) -> tuple[str, str, str, str]:
    if line.original_period != line.posting_period:
        return (line.provider, line.invoice_id, f"{line.charge_type} {line.original_period}", line.cost_center)
    return (line.provider, line.invoice_id, line.charge_type, line.cost_center)


def _changed(line: ChargebackLine, amount: Decimal, dispute_id: str) -> ChargebackLine:
    words = (
        line.allocation_method if dispute_id in line.allocation_method else f"{line.allocation_method}; {dispute_id}"
    )
    return replace(
        line,
        amount=exact_sum([line.amount, amount]),
        amount_functional=exact_sum([line.amount_functional, amount]),
        allocation_method=words,
    )


def _empty(line: ChargebackLine, center: CostCenter) -> ChargebackLine:
    zero = line.amount - line.amount
    return replace(
        line,
        legal_entity=center.legal_entity,
        cost_center=center.code,
        cost_center_name=center.name,
        quantity_tokens=None,
        direct_logged_exact=None,
        amount=zero,
        amount_functional=zero,
        allocation_method="dispute",
        allocation_weight=None,
        allocation_base=None,
        rung="",
    )
