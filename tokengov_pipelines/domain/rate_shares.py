"""Whose the difference between list price and the provider's bill is: by key, cell by cell (Rule 5.2).

Belongs here: the split of each reported cell over the keys that used it. Does not belong here: the cells (`waterfall`),
what a key costs in a month (`bypass`), pools of a chargeback.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.legs import KeyRegistry
from tokengov_pipelines.domain.match_result import KeyOf, RateCell
from tokengov_pipelines.domain.money import INTERNAL_SCALE, allocate, exact_sum, quantize_internal

_OWN: Final = ""
_COARSER: Final[tuple[Callable[[RateCell], tuple[object, ...]], ...]] = (
    lambda cell: (cell.provider, cell.day, cell.model, cell.workspace_id),
    lambda cell: (cell.provider, cell.day, cell.model),
)


def split_cell(cell: RateCell, registry: KeyRegistry) -> dict[KeyOf | None, Decimal]:
    """What a reported cell costs each key that is not the proxy's own, and under None what it costs the proxy's.

    The reported amount is split by list value, which is each key's list value plus its share of the variance. Exact
    shares are rounded once, to 12 decimals, by largest remainder; the parts add up to the reported amount exactly.
    A cell of list 45.00 (30.00 own, 15.00 CI key) reported at 36.00 gives the CI key 12.00 and the proxy's keys 24.00.
    Where nothing has a list value there is no share: a single foreign key bears the cell, else it stays with the
    proxy's keys (and is an error item of the match: a price is missing).
    """
    foreign = {key for key in cell.listed if not registry.is_own_key(cell.provider, *key, cell.day)}
    if not foreign and cell.listed:  # nearly every cell of a month: nothing to split
        return {None: cell.reported}
    weights: dict[str, Decimal] = {_OWN: Decimal(0)}
    keys: dict[str, KeyOf] = {}
    for key, listed in cell.listed.items():
        if key in foreign:
            code = json.dumps(key)
            keys[code], weights[code] = key, listed
        else:
            weights[_OWN] += listed
    is_shared = any(weights.values())
    if not is_shared:
        alone = len(cell.listed) == len(keys) == 1
        return {None: Decimal(0), next(iter(cell.listed)): cell.reported} if alone else _own_only(cell, keys)
    parts = allocate(quantize_internal(cell.reported), weights, scale=INTERNAL_SCALE)
    found: dict[KeyOf | None, Decimal] = {keys[code]: part for code, part in parts.items() if code != _OWN}
    found[None] = exact_sum([cell.reported, *(-part for part in found.values())])
    return found


def split_reported(cells: Iterable[RateCell], registry: KeyRegistry) -> dict[tuple[str, dt.date, KeyOf], Decimal]:
    """What every foreign key costs on each day with the provider's rates, by provider, day and key.

    A day of which the report says nothing at all is left out: it has no rates yet.
    """
    listed = list(cells)
    reported_days = {(cell.provider, cell.day) for cell in listed if cell.reported}
    found: dict[tuple[str, dt.date, KeyOf], list[Decimal]] = defaultdict(list)
    for cell in two_sided([each for each in listed if (each.provider, each.day) in reported_days]):
        for key, amount in split_cell(cell, registry).items():
            if key is not None:
                found[cell.provider, cell.day, key].append(amount)
    return {at: exact_sum(amounts) for at, amounts in found.items()}


def two_sided(cells: Sequence[RateCell]) -> list[RateCell]:
    """The cells, those that only one side has taken together: by day, model and workspace, then by day and model.

    A report that names no token type or no workspace has its dollars in another cell than the usage has its tokens.
    Split apart, the keys of such a report would cost nothing, and the proxy's teams would pay for them.
    """
    whole: list[RateCell] = []
    left = list(cells)
    for grain in _COARSER:
        whole += [cell for cell in left if _has_both(cell)]
        groups: dict[tuple[object, ...], list[RateCell]] = defaultdict(list)
        for cell in left:
            if not _has_both(cell):
                groups[grain(cell)].append(cell)
        left = [_together(group) for group in groups.values()]
    return [*whole, *left]


def _has_both(cell: RateCell) -> bool:
    return bool(cell.reported) and any(cell.listed.values())


def _together(cells: Sequence[RateCell]) -> RateCell:
    if len(cells) == 1:
        return cells[0]
    listed: dict[KeyOf, Decimal] = defaultdict(Decimal)
    for cell in cells:
        for key, amount in cell.listed.items():
            listed[key] = exact_sum([listed[key], amount])
    return replace(
        cells[0],
        token_type="",
        tier=None,
        workspace_id=None,
        reported=exact_sum(cell.reported for cell in cells),
        listed=listed,
    )


def _own_only(cell: RateCell, keys: Mapping[str, KeyOf]) -> dict[KeyOf | None, Decimal]:
    found: dict[KeyOf | None, Decimal] = {key: Decimal(0) for key in keys.values()}
    found[None] = cell.reported
    return found
