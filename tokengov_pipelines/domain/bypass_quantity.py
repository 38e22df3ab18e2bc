"""Why the provider counted other tokens on the proxy's own keys than the proxy logged (Rules 4.5, 5.1 E4).

Belongs here: the rule that tells a leaked proxy key from lost log rows, from rows cut short and from rows logged twice,
model by model and day by day. Does not belong here: the cells (`waterfall`), words and next steps (`bypass_findings`).

What tells them apart. A log loses rows of whatever was called while it failed: every model that was served lacks about
the same share. Somebody who uses the proxy's key elsewhere uses his own models, and the log of all others stays
complete. So each surplus is held against the other models of the same days:

1. Input tokens decide, over all tiers and context bands. An output that is larger than logged with the input right is a
   row cut short (the client hung up), which no foreign call looks like.
2. A day is a *common loss* when most served models lack a similar share (a third to three times the median) and no
   model that should have lost ten calls or more is complete. With three models, or with everything gone, it is lost
   rows; with two it stays undecided.
3. A surplus on other days is a *leaked key* when it comes on three days or more (one day, where the proxy never logged
   this model, or this tier or geography of it, at all) and on more days than common losses; when, over all days without
   a common loss, the other models lack at most a tenth of the model's share; and when rows lost at that share would
   have cost the others ten calls or more. Without these ten calls the completeness of the others proves nothing; and
   with only the days of the surplus in the comparison, rows lost at random would look like a pattern.
4. Everything else is undecided, and said so.

Days without an extract are not looked at, nor is a month whose log is empty: that is `missing_extract` (Rule 4.5). On
days on which the proxy logged names that no alias maps nothing is called a leak, because the two may be one model.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from tokengov_pipelines.domain.match_result import CellMatch
from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.usage_cells import UNMAPPED

TOLERATED: Final = Fraction(1, 1000)
"""Of a model-day's input tokens: a smaller difference is a match."""

SIMILAR: Final = 3
SEVERAL_DAYS: Final = 3
EXPECTED_CALLS: Final = 10
OTHERS_AT_MOST: Final = Fraction(1, 10)
_MODELS_FOR_COMMON_LOSS: Final = 3


class Verdict(StrEnum):
    """What a difference of tokens on the proxy's own keys is."""

    LEAKED = "leaked"
    LOST = "lost"
    CUT_SHORT = "cut_short"  # output only
    UNDECIDED = "undecided"  # lost rows or a leaked key
    OVER_LOGGED = "over_logged"  # the proxy logged more than the provider counted
    RETYPED = "retyped"  # the same tokens under another token type


@dataclass
class ModelDay:
    """A model's tokens of one day on the proxy's own keys, all tiers and bands, without what the next day offsets.

    `unlogged` are input tokens of tiers, geographies or speeds that the proxy never logged; `amount` is the day's part
    of volume + mix in USD.
    """

    day: dt.date
    model: str
    proxy: int = 0
    own: int = 0
    surplus: int = 0
    surplus_output: int = 0
    own_output: int = 0
    unlogged: int = 0
    amount: Decimal = Decimal(0)
    mixed: bool = False
    variants: set[str] = field(default_factory=set)

    @property
    def share(self) -> Fraction:
        """How much of the provider's input tokens the log lacks: 0 to 1."""
        return Fraction(max(self.surplus, 0), self.own) if self.own else Fraction(0)

    @property
    def tokens(self) -> int:
        """Tokens that the log lacks (negative: has too many)."""
        return self.surplus + self.surplus_output

    def is_surplus(self) -> bool:
        """Whether the log lacks input."""
        return self.surplus > TOLERATED * self.own

    def is_negative(self) -> bool:
        """Whether the log has more input than the provider, or as much and more output."""
        if abs(self.surplus) <= TOLERATED * max(self.own, self.proxy):
            return self.surplus_output < -TOLERATED * self.own_output
        return self.surplus < 0


@dataclass(frozen=True)
class Judged:
    """A model-day and what it is."""

    model_day: ModelDay
    verdict: Verdict


@dataclass(frozen=True)
class Leak:
    """What a leaked key rests on: `never_logged` names a model, or a tier or place of it, that the proxy never logged.

    Over all days that are no common loss, `share` is what the log lacks of the model (all, where never logged),
    `others_share` what it lacks of the others, `expected_calls` how many calls these would lack at the model's share.
    """

    model: str
    never_logged: str | None
    share: Fraction
    others: tuple[str, ...]
    others_share: Fraction
    expected_calls: Fraction


@dataclass(frozen=True)
class QuantityVerdicts:
    """Every model-day with a difference, the leaks by model, and the days with names that no alias maps."""

    judged: tuple[Judged, ...] = ()
    leaks: Mapping[str, Leak] = field(default_factory=dict)
    clouded_days: frozenset[dt.date] = frozenset()


Calls = Mapping[tuple[dt.date, str], int]


def judge_quantities(
    cells: Iterable[CellMatch], calls: Calls, incomplete_days: Collection[dt.date] = ()
) -> QuantityVerdicts:
    """Judge every difference of tokens on the proxy's own keys.

    Args:
        cells: of one reconciliation.
        calls: delivered calls that the proxy logged, by day and the cells' model.
        incomplete_days: days without a complete extract or report; nothing is concluded from them.
    """
    looked_at = [cell for cell in cells if cell.day not in incomplete_days]
    model_days = _model_days([cell for cell in looked_at if not cell.model.startswith(UNMAPPED)])
    served = {each.model for each in model_days if each.proxy}
    if not served:
        return QuantityVerdicts()
    clouded = _clouded_days(looked_at)
    by_day: dict[dt.date, list[ModelDay]] = defaultdict(list)
    for each in model_days:
        by_day[each.day].append(each)
    common = {day: _common_loss(mine, served, calls) for day, mine in by_day.items()}
    leaks = _leaks(model_days, served, common, clouded, calls)
    judged = [
        Judged(each, _verdict(each, each.model in served, common[each.day], leaks, clouded))
        for each in model_days
        if each.amount or each.surplus or each.surplus_output
    ]
    return QuantityVerdicts(tuple(judged), leaks, clouded)


def _model_days(cells: Sequence[CellMatch]) -> list[ModelDay]:
    logged_places = {(cell.tier, cell.geo, cell.speed) for cell in cells if cell.proxy_tokens}
    known = {word for place in logged_places for word in _place(*place)}
    found: dict[tuple[dt.date, str], ModelDay] = {}
    signs: dict[tuple[dt.date, str], set[bool]] = defaultdict(set)
    for cell in cells:
        at = (cell.day, cell.model)
        each = found.get(at)
        if each is None:
            each = found[at] = ModelDay(*at)
        surplus = cell.own_tokens - cell.proxy_tokens - cell.cutoff_shift_tokens
        if surplus:  # most cells agree
            each.amount = exact_sum([each.amount, exact_product(surplus, cell.standard_usd_per_token or 0)])
            signs[at].add(surplus > 0)
        if _is_output(cell.token_type):
            each.surplus_output += surplus
            each.own_output += cell.own_tokens
            continue
        each.proxy += cell.proxy_tokens
        each.own += cell.own_tokens
        each.surplus += surplus
        new = set(_place(cell.tier, cell.geo, cell.speed)) - known if surplus > 0 else set()
        if new:
            each.unlogged += surplus
            each.variants.update(new)
    for at, mine in signs.items():
        found[at].mixed = len(mine) > 1
    return [found[at] for at in sorted(found)]


def _place(tier: str, geo: str, speed: str) -> tuple[str, str, str]:
    return (f"tier {tier}", f"geography {geo}", f"speed {speed}")


def _is_output(token_type: str) -> bool:
    return "output" in token_type


def _clouded_days(cells: Iterable[CellMatch]) -> frozenset[dt.date]:
    """Days on which the proxy logged more under names that no alias maps than the provider did."""
    left: dict[dt.date, int] = defaultdict(int)
    for cell in cells:
        if cell.model.startswith(UNMAPPED):
            left[cell.day] += max(cell.proxy_tokens - cell.own_tokens, 0)
    return frozenset(day for day, tokens in left.items() if tokens)


@dataclass(frozen=True)
class _CommonLoss:
    share: Fraction
    is_certain: bool


def _common_loss(mine: Sequence[ModelDay], served: Collection[str], calls: Calls) -> _CommonLoss | None:
    """The share that most served models lack alike on a day; None where they do not."""
    models = [each for each in mine if each.model in served and each.own]
    shares = sorted(each.share for each in models)
    if len(shares) <= 1:  # one model is alike to nothing
        return None
    median = shares[(len(shares) - 1) // 2]
    if median <= TOLERATED:
        return None
    similar = sum(median <= SIMILAR * share and share <= SIMILAR * median for share in shares)
    spared = any(
        not each.is_surplus() and calls.get((each.day, each.model), 0) * median >= EXPECTED_CALLS for each in models
    )
    if 2 * similar <= len(shares) or spared:
        return None
    return _CommonLoss(median, is_certain=len(shares) >= _MODELS_FOR_COMMON_LOSS or shares[0] == 1)


def _leaks(
    model_days: Sequence[ModelDay],
    served: set[str],
    common: Mapping[dt.date, _CommonLoss | None],
    clouded: Collection[dt.date],
    calls: Calls,
) -> dict[str, Leak]:
    candidates: dict[str, list[ModelDay]] = defaultdict(list)
    for each in model_days:
        if each.is_surplus() and common[each.day] is None and each.day not in clouded:
            candidates[each.model].append(each)
    new = {model: _never_logged(mine, served) for model, mine in candidates.items()}
    suspects = {model for model, mine in candidates.items() if new[model] or len(mine) >= SEVERAL_DAYS}
    compared = [each for each in model_days if common[each.day] is None and each.day not in clouded]
    others = [each for each in compared if each.model in served - suspects]
    leaks: dict[str, Leak] = {}
    for model in sorted(suspects):
        mine, never_logged = candidates[model], new[model]
        also_common = sum(1 for each in model_days if each.model == model and common[each.day] is not None)
        own, lost = sum(each.own for each in others), sum(max(each.surplus, 0) for each in others)
        logged_calls = sum(calls.get((each.day, each.model), 0) for each in others)
        if never_logged and model in served:  # the rest of the same model is complete, and says as much
            own += sum(each.own - each.unlogged for each in mine)
            logged_calls += sum(calls.get((each.day, model), 0) for each in mine)
        if not own or also_common >= len(mine):
            continue
        all_of_it = [each for each in compared if each.model == model]
        share = Fraction(sum(max(each.surplus, 0) for each in all_of_it), sum(each.own for each in all_of_it))
        leak = Leak(
            model=model,
            never_logged=never_logged,
            share=Fraction(1) if never_logged else share,
            others=tuple(sorted({each.model for each in others})),
            others_share=Fraction(lost, own),
            expected_calls=logged_calls * (Fraction(1) if never_logged else share),
        )
        if leak.others_share <= OTHERS_AT_MOST * leak.share and leak.expected_calls >= EXPECTED_CALLS:
            leaks[model] = leak
    return leaks


def _never_logged(mine: Sequence[ModelDay], served: Collection[str]) -> str | None:
    """What of these days' surplus the proxy never logged at all: the model, or the tier or place that is all of it."""
    model = mine[0].model
    if model not in served:
        return f"model {model}"
    if all(each.unlogged and abs(each.surplus - each.unlogged) <= TOLERATED * each.own for each in mine):
        return f"{model}, {', '.join(sorted(set().union(*(each.variants for each in mine))))}"
    return None


def _verdict(
    each: ModelDay,
    is_served: bool,
    common: _CommonLoss | None,
    leaks: Mapping[str, Leak],
    clouded: Collection[dt.date],
) -> Verdict:
    if each.is_surplus():
        if is_served and common is not None and each.share <= SIMILAR * common.share:
            return Verdict.LOST if common.is_certain else Verdict.UNDECIDED
        return Verdict.LEAKED if each.model in leaks and each.day not in clouded else Verdict.UNDECIDED
    if each.is_negative():
        return Verdict.OVER_LOGGED
    if each.surplus_output > TOLERATED * each.own_output:
        return Verdict.CUT_SHORT
    if each.mixed:
        return Verdict.RETYPED
    return Verdict.UNDECIDED if each.tokens > 0 else Verdict.OVER_LOGGED
