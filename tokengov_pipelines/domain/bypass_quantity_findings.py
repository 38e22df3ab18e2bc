"""Words for a difference of tokens on the proxy's own keys: a leaked key, lost rows, or too many rows (Rule 5.1).

Belongs here: figures, sentences and next steps. Does not belong here: the rule behind them (`bypass_quantity`),
findings about foreign keys and prices (`bypass_findings`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tokengov_pipelines.domain.bypass import (
    BypassFinding,
    EvidenceLevel,
    FindingKind,
    counted,
    in_usd,
    key_label,
    named,
)
from tokengov_pipelines.domain.bypass_quantity import Judged, Leak, QuantityVerdicts, Verdict, judge_quantities
from tokengov_pipelines.domain.legs import KeyRegistry, Legs
from tokengov_pipelines.domain.match_result import CellMatch
from tokengov_pipelines.domain.money import exact_sum, round_posting
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.usage_cells import CellPrices


def quantity_findings(
    cells: Sequence[CellMatch], legs: Legs, registry: KeyRegistry, book: PriceBook
) -> list[BypassFinding]:
    """What the differences on the proxy's own keys are; `legs` are those of the match, cut to its period."""
    prices = CellPrices(legs.provider, book, ())
    calls: dict[tuple[dt.date, str], int] = defaultdict(int)
    for row in legs.logged:
        if row.is_delivered:
            calls[row.day, prices.model(row.model)] += row.calls
    verdicts = judge_quantities(cells, calls, legs.missing_log_days | legs.missing_report_days)
    found = []
    for model, leak in verdicts.leaks.items():
        mine = [each for each in verdicts.judged if (each.model_day.model, each.verdict) == (model, Verdict.LEAKED)]
        keys = _own_keys(legs, registry, prices, model, {each.model_day.day for each in mine})
        words = f"{_leak_words(leak, mine)} A logging fault of this model alone would look the same."
        step = (
            f"treat it as a security incident: rotate {named(keys)} at {legs.provider} now, look in the provider's "
            "console for who used it, and check that every route of the proxy to this model writes its log"
        )
        found.append(_of(FindingKind.LEAKED_KEY, legs.provider, mine, words, step, keys, EvidenceLevel.E4))
    for verdict, kind in _KINDS.items():
        mine = [each for each in verdicts.judged if each.verdict is verdict]
        if mine:
            keys = _own_keys(legs, registry, prices, None, {each.model_day.day for each in mine})
            text = f"{_size_words(legs.provider, mine)} {_WORDS[verdict]}{_cloud_words(verdict, mine, verdicts)}"
            found.append(_of(kind, legs.provider, mine, text, _STEPS[verdict], keys, None))
    return found


_KINDS: Final = {
    Verdict.LOST: FindingKind.LOST_LOGS,
    Verdict.CUT_SHORT: FindingKind.LOST_LOGS,
    Verdict.UNDECIDED: FindingKind.LOST_LOGS,
    Verdict.OVER_LOGGED: FindingKind.OVER_LOGGED,
    Verdict.RETYPED: FindingKind.MISPRICING,
}
_LOAD_AGAIN: Final = "load these days again (tokengov load)"
_WORDS: Final[Mapping[Verdict, str]] = {
    Verdict.LOST: (
        "Most models that the proxy served on these days lack a similar share, as when the log loses rows; a foreign "
        "caller would use a few models only."
    ),
    Verdict.CUT_SHORT: (
        "Input agrees and only output is short, as when clients hang up and the proxy counts what it passed on; a "
        "foreign call would have input too."
    ),
    Verdict.UNDECIDED: (
        "Lost rows explain it; a leaked proxy key cannot be excluded, because too few days, calls or other models are "
        "there to compare with."
    ),
    Verdict.OVER_LOGGED: (
        "The proxy logged more than the provider counted: rows logged twice, estimates of calls that never ended, a "
        "provider report that is not final, or a key of the proxy's that is not registered."
    ),
    Verdict.RETYPED: (
        "The tokens agree in sum and stand under other token types: the proxy priced cached tokens as uncached ones, "
        "or the reverse."
    ),
}
_STEPS: Final[Mapping[Verdict, str]] = {
    Verdict.LOST: (
        f"{_LOAD_AGAIN}; if the rows stay away, look for errors of the proxy's database writer on these days"
    ),
    Verdict.CUT_SHORT: (
        "nothing to load; compare with the calls of class partial, and set the proxy to log the provider's final count"
    ),
    Verdict.UNDECIDED: (
        f"{_LOAD_AGAIN}; if the rows stay away, compare the provider's console with the proxy by hour, and rotate the "
        "key unless the proxy made these calls"
    ),
    Verdict.OVER_LOGGED: (
        "look for repeated calls (same tokens, other request id); load the provider's days again; check that every "
        "key of the proxy stands in directory/provider_keys.csv"
    ),
    Verdict.RETYPED: "look at rows of these days without usage details (calls_without_usage)",
}


def _leak_words(leak: Leak, mine: Sequence[Judged]) -> str:
    tokens = sum(each.model_day.tokens for each in mine)
    days = counted(len({each.model_day.day for each in mine}), "day")
    if leak.never_logged:
        what = f"the proxy never logged {leak.never_logged}"
    else:
        what = f"the log of the period lacks {_pct(leak.share)} of it"
    others = f"{named(leak.others)} lack" if leak.others else "the rest of the model lacks"
    return (
        f"{leak.model}: the provider counted {tokens:,} tokens on {days} on the proxy's own key that the proxy did not "
        f"log; {what}. Of the period {others} {_pct(leak.others_share)}, where rows lost at that share would have cost "
        f"about {int(leak.expected_calls):,} calls: this is the proxy's key used elsewhere."
    )


def _size_words(provider: str, mine: Sequence[Judged]) -> str:
    tokens = sum(each.model_day.tokens for each in mine)
    amount = exact_sum(each.model_day.amount for each in mine)
    less_or_more = "more" if tokens >= 0 else "fewer"
    days = counted(len({each.model_day.day for each in mine}), "day")
    models = named(sorted({each.model_day.model for each in mine}))
    return (
        f"{provider} counted {abs(tokens):,} tokens {less_or_more} on the proxy's own keys than the proxy logged, "
        f"worth {in_usd(amount)} at standard price, on {days}, of {models}."
    )


def _cloud_words(verdict: Verdict, mine: Sequence[Judged], verdicts: QuantityVerdicts) -> str:
    clouded = {each.model_day.day for each in mine} & verdicts.clouded_days
    if verdict is not Verdict.UNDECIDED or not clouded:
        return ""
    return (
        f" On {counted(len(clouded), 'day')} the proxy logged names that no alias maps, which may be the same calls: "
        "add the aliases first."
    )


def _own_keys(
    legs: Legs, registry: KeyRegistry, prices: CellPrices, model: str | None, days: set[dt.date]
) -> tuple[str, ...]:
    """The proxy's keys that the provider counted this model on, on these days."""
    used = {
        key_label(each.provider, each.workspace_id, each.key_id, None)
        for each in legs.usage or ()
        if each.day in days and (model is None or prices.model(each.model) == model) and registry.is_own(each)
    }
    return tuple(sorted(used))


def _of(
    kind: FindingKind,
    provider: str,
    mine: Sequence[Judged],
    words: str,
    step: str,
    keys: tuple[str, ...],
    evidence: EvidenceLevel | None,
) -> BypassFinding:
    days = [each.model_day.day for each in mine]
    return BypassFinding(
        kind=kind,
        provider=provider,
        first_day=min(days),
        last_day=max(days),
        models=tuple(sorted({each.model_day.model for each in mine})),
        keys=keys,
        amount=exact_sum(each.model_day.amount for each in mine),
        tokens=sum(each.model_day.tokens for each in mine),
        words=words,
        next_step=step,
        evidence=evidence,
    )


def _pct(share: Fraction) -> str:
    return f"{round_posting(Decimal(share.numerator) * 100 / share.denominator)} %"
