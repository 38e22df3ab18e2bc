"""The drill table: each charge line over the teams, models and use cases behind it (Rule 6.9).

Belongs here: the split of a finance line, which always adds up to the line. Does not belong here: the lines
(`chargeback`). A user is never part of it (Rule 12.7).

A direct line is split by what was logged, every other charge that follows use by the repriced value, over teams alone:
no log says which model a tax is of. Central and prior-period lines stay whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import allocate, exact_sum, minor_unit_scale, quantize_internal

_WHOLE: Final = frozenset({ChargeType.CENTRAL, ChargeType.PRIOR_PERIOD})
_BY_MODEL: Final = frozenset({ChargeType.DIRECT, ChargeType.TRUE_UP})
_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class UsedBy:
    """What one team did with one model for one use case, charged to one cost center, in one invoice's days.

    `logged` is the proxy's own amount, `repriced` its value at price-book price, both exact; `team_id` is None where
    the calls carry none.
    """

    team_id: str | None
    model: str
    use_case: str
    rung: Rung
    logged: Decimal
    repriced: Decimal
    tokens: int


LineKey = tuple[str, str, str]
"""Provider, invoice id, cost center."""


def detail_lines(
    lines: Iterable[ChargebackLine],
    used: Mapping[LineKey, Sequence[UsedBy]],
    team_names: Mapping[str, str],
) -> tuple[ChargebackLine, ...]:
    """Every line over team, model and use case; the parts of a line add up to it in both currencies.

    `used` maps (provider, invoice, cost center) to what was used; a line without any stays whole.
    """
    found: list[ChargebackLine] = []
    for line in lines:
        mine = used.get((line.provider, line.invoice_id, line.cost_center), ())
        found += [line] if line.charge_type in _WHOLE or not mine else _split(line, mine, team_names)
    return tuple(sorted(found, key=detail_order))


def detail_order(line: ChargebackLine) -> tuple[str, ...]:
    """The order of the file, which is its primary key too."""
    return (
        line.provider,
        line.invoice_id,
        str(line.original_period),
        line.cost_center,
        line.charge_type,
        line.currency,
        line.team_id or "",
        line.model or "",
        line.use_case or "",
    )


def _split(line: ChargebackLine, used: Sequence[UsedBy], names: Mapping[str, str]) -> list[ChargebackLine]:
    by_model = line.charge_type in _BY_MODEL
    direct = line.charge_type == ChargeType.DIRECT
    groups: dict[str, list[UsedBy]] = {}
    for each in used:
        words = (each.team_id or "", each.model, each.use_case) if by_model else (each.team_id or "",)
        groups.setdefault(_SEPARATOR.join(words), []).append(each)
    weights = {
        code: exact_sum(each.logged if direct else each.repriced for each in mine) for code, mine in groups.items()
    }
    if not any(weights.values()):
        return [line]
    amounts = allocate(line.amount, weights, scale=minor_unit_scale(line.currency))
    functional = amounts
    if line.fx_rate != 1:
        functional = allocate(line.amount_functional, weights, scale=_decimals(line.amount_functional))
    base = quantize_internal(exact_sum(weights.values()))
    parts = []
    for code, mine in groups.items():
        if not amounts[code] and not functional[code] and not direct:
            continue
        team, model, use_case = code.split(_SEPARATOR) if by_model else (code, None, None)
        rungs = {each.rung for each in mine}
        parts.append(
            replace(
                line,
                team_id=team or None,
                team_alias=names.get(team) if team else None,
                model=model,
                use_case=use_case,
                quantity_tokens=sum(each.tokens for each in mine) if direct else None,
                direct_logged_exact=quantize_internal(weights[code]) if direct else None,
                amount=amounts[code],
                amount_functional=functional[code],
                allocation_weight=quantize_internal(weights[code]),
                allocation_base=base,
                rung=";".join(rung for rung in Rung if rung in rungs) if direct else "",
            )
        )
    return parts


def _decimals(amount: Decimal) -> int:
    """The decimals that a posted amount was rounded to: those of its currency's minor unit."""
    return max(0, -int(amount.as_tuple().exponent))
