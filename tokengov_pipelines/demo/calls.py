"""The calls of one UTC day: who, what, when, how many tokens, and what the provider metered for each.

Belongs here: drawing a day from its plan. Does not belong here: dollars (`metering`) and the shape of a LiteLLM row
(`spend_logs`). A day depends only on the plan and the seed, so days can be made one at a time, in any order, and a
run of ten million calls needs the memory of one day.
"""

from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tokengov_pipelines.demo import incidents, profiles
from tokengov_pipelines.demo.draws import Draws, IntArray
from tokengov_pipelines.demo.organisation import Key, Organisation
from tokengov_pipelines.demo.prices import MODEL_INDEX, MODELS, PROVIDERS, TIERS
from tokengov_pipelines.demo.traffic import DayPlan

BoolArray = npt.NDArray[np.bool_]

SUCCESS, CACHE_HIT, FAILURE, FAILED_SPEND, PARTIAL = range(5)
UNTAGGED, IN_METADATA, IN_TAG, IN_BOTH, TWO_TAGS = range(5)
UNCACHED, READ, WRITE_5M, WRITE_1H, OUTPUT = range(5)

_CALL_STREAM: Final = 2
_BYPASS_STREAM: Final = 3
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_FAILURE_PERMILLE: Final = 21
_CACHE_HIT_PERMILLE: Final = 30
_FALLBACK_PERMILLE: Final = 12
_PARTIAL_SEEN: Final = 8
"""A hung-up stream has shown the proxy one eighth of its output."""

MODEL_PROVIDER: Final = np.array([PROVIDERS.index(model.provider) for model in MODELS], dtype=np.int64)
_LIMITS: Final = np.array([model.context_limit for model in MODELS], dtype=np.int64)
_ANTHROPIC: Final = PROVIDERS.index("anthropic")
_GOOGLE: Final = PROVIDERS.index("google")
_BATCH: Final = TIERS.index("batch")


@dataclass(frozen=True)
class DayCalls:
    """The calls of a UTC day as columns, ordered by start.

    `logged` and `metered` are (n, 5) token counts in the order of `prices.TOKEN_TYPES`: what the proxy wrote and what
    the provider counted. `in_log` is False where no row was written. Times are UTC milliseconds since 1970. The bypass
    columns are calls on a provider key that the proxy does not have; they exist on the provider's side only.
    """

    day: date
    key: IntArray
    model: IntArray
    use_case: IntArray
    tagging: IntArray
    kind: IntArray
    tier: IntArray
    stream: BoolArray
    start_ms: IntArray
    first_ms: IntArray
    end_ms: IntArray
    created_ms: IntArray
    logged: IntArray
    metered: IntArray
    reasoning: IntArray
    web_searches: IntArray
    in_log: BoolArray
    unpriced: BoolArray
    stale: BoolArray
    fallback_from: IntArray
    request_hex: list[str]
    call_hex: list[str]
    session_hex: list[str]
    bypass_model: IntArray
    bypass_metered: IntArray

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class _KeyColumns:
    """What is the same for all calls of a key, by key position."""

    mix: IntArray
    kind: IntArray
    unowned: BoolArray
    pilot: BoolArray
    web_search: BoolArray
    exempt: BoolArray


_KINDS: Final = ("personal", "team", "service", "nightly")
_NIGHTLY: Final = _KINDS.index("nightly")
_SERVICE: Final = _KINDS.index("service")
_MIX_NAMES: Final = tuple(profiles.MIXES)
_MIX_USE_CASES: Final = np.array([mix.use_cases for mix in profiles.MIXES.values()], dtype=np.int64)
_MIX_TAGGING: Final = np.array([mix.tagging for mix in profiles.MIXES.values()], dtype=np.int64)
_MODEL_MIX: Final = np.concatenate([profiles.MODEL_MIX, profiles.UNOWNED_MODEL_MIX])
_HOURS: Final = np.array([profiles.HOURS[kind] for kind in _KINDS], dtype=np.int64)


@cache
def _columns(organisation: Organisation) -> _KeyColumns:
    def flags(*slugs: str) -> BoolArray:
        return np.array([key.row_team is not None and key.row_team.slug in slugs for key in organisation.keys])

    keys = organisation.keys
    return _KeyColumns(
        mix=np.array([_MIX_NAMES.index(key.mix) for key in keys], dtype=np.int64),
        kind=np.array([_KINDS.index(key.kind) for key in keys], dtype=np.int64),
        unowned=np.array([key.mix == "unowned" for key in keys]),
        pilot=flags(*incidents.PILOT_TEAMS),
        web_search=flags(*incidents.WEB_SEARCH_TEAMS),
        exempt=flags(incidents.EXEMPTION_TEAM),
    )


def _offset_ms(keys: tuple[Key, ...], day: date) -> IntArray:
    return np.array([key.zone.minutes_on(day) * 60_000 for key in keys], dtype=np.int64)


def _use_cases(draws: Draws, plan: DayPlan, organisation: Organisation, key: IntArray) -> tuple[IntArray, IntArray]:
    """(use case, tagging) of each call; the spike and the exempted work are always tagged."""
    columns = _columns(organisation)
    use_case = draws.pick_row(columns.mix[key], _MIX_USE_CASES)
    tagging = draws.pick_row(columns.mix[key], _MIX_TAGGING)
    exempted = columns.exempt[key] & draws.permille(len(key), 480) & (plan.day in incidents.EXEMPTION_DAYS)
    looping = (key == organisation.key_index(incidents.SPIKE_KEY)) & (plan.day == incidents.SPIKE_DAY)
    use_case = np.where(exempted, profiles.REFACTOR, np.where(looping, profiles.AGENT, use_case))
    return use_case, np.where(exempted | looping, IN_METADATA, tagging)


def _models(draws: Draws, day: date, columns: _KeyColumns, key: IntArray, use_case: IntArray) -> IntArray:
    slot = draws.pick_row(np.where(columns.unowned[key], len(profiles.MODEL_MIX), use_case), _MODEL_MIX)
    model = profiles.slot_models(day)[slot]
    tries_pilot = columns.pilot[key] & draws.permille(len(key), incidents.PILOT_PERMILLE)
    moves = tries_pilot & (model == MODEL_INDEX["gpt-5.6-sol"]) & (day >= incidents.PILOT_START)
    return np.where(moves, MODEL_INDEX[incidents.PILOT_MODEL], model)


def _tokens(draws: Draws, use_case: IntArray, model: IntArray) -> IntArray:
    """(n, 5) tokens of a complete call. Only Anthropic reports what was written to its cache."""
    count = len(model)
    prompt = np.minimum(draws.quantile(use_case, profiles.PROMPT_TOKENS), _LIMITS[model])
    reads, writes = profiles.CACHE_READ_PERMILLE[use_case], profiles.CACHE_WRITE_PERMILLE[use_case]
    read = prompt * draws.between(count, reads[:, 0], reads[:, 1]) // 1000
    written = prompt * draws.between(count, writes[:, 0], writes[:, 1]) // 1000
    written = np.where(MODEL_PROVIDER[model] == _ANTHROPIC, written, 0)
    long_lived = (use_case == profiles.AGENT) & (model == MODEL_INDEX["claude-opus-4-8"]) & draws.permille(count, 350)
    write_1h = np.where(long_lived, written, 0)
    write_5m = written - write_1h
    output = draws.quantile(use_case, profiles.OUTPUT_TOKENS)
    return np.stack([prompt - read - written, read, write_5m, write_1h, output], axis=1)


def _kinds(draws: Draws, plan: DayPlan, calls: "_Drawn") -> IntArray:
    """How each call ended. Hung-up streams and half-dead calls come at fixed intervals, so that every run has them."""
    count = len(calls.key)
    chat = (calls.key_kind == _SERVICE) & (calls.use_case != profiles.AGENT)
    hit = draws.permille(count, _CACHE_HIT_PERMILLE) & chat
    failed = draws.permille(count, _FAILURE_PERMILLE) & (calls.key_kind != _NIGHTLY)
    kind = np.where(failed, FAILURE, np.where(hit, CACHE_HIT, SUCCESS))
    position = plan.first_position + np.arange(count, dtype=np.int64)
    usual = (kind == SUCCESS) & (calls.key_kind != _NIGHTLY)
    kind = np.where(usual & (position % incidents.PARTIAL_EVERY == 5), PARTIAL, kind)
    if plan.day in incidents.OCTOBER:
        billable = (
            usual & (MODEL_PROVIDER[calls.model] != _GOOGLE) & (calls.model != MODEL_INDEX[incidents.PILOT_MODEL])
        )
        kind = np.where(billable & (position % incidents.FAILED_SPEND_EVERY == 17), FAILED_SPEND, kind)
    return kind


@dataclass(frozen=True)
class _Drawn:
    """The first half of a day: identity and size, before anything goes wrong."""

    key: IntArray
    key_kind: IntArray
    use_case: IntArray
    model: IntArray


def _kept_tagging(tagging: IntArray, kind: IntArray) -> IntArray:
    """A failed call keeps its request tags, but LiteLLM writes no `spend_logs_metadata` for it."""
    failed = np.isin(kind, (FAILURE, FAILED_SPEND))
    kept = np.where(tagging == IN_METADATA, UNTAGGED, np.where(tagging == IN_BOTH, IN_TAG, tagging))
    return np.where(failed, kept, tagging)


def _log_and_meter(draws: Draws, day: date, kind: IntArray, full: IntArray) -> tuple[IntArray, IntArray]:
    """(logged, metered) tokens: what each side counted, given how the call ended."""
    logged, metered = full.copy(), full.copy()
    seen = np.maximum(full[:, OUTPUT] // _PARTIAL_SEEN, 1)
    logged[:, OUTPUT] = np.where(kind == PARTIAL, seen, np.where(kind == FAILED_SPEND, 5, full[:, OUTPUT]))
    if day not in incidents.OCTOBER:  # outside the incident month the provider stopped where the client did
        metered[:, OUTPUT] = np.where(kind == PARTIAL, seen, full[:, OUTPUT])
    estimate = np.zeros_like(full)
    estimate[:, UNCACHED] = draws.between(len(kind), 20, 9_000)
    logged = np.where((kind == FAILURE)[:, None], estimate, logged)
    metered[np.isin(kind, (FAILURE, CACHE_HIT, FAILED_SPEND))] = 0
    return logged, metered


def _times(draws: Draws, day: date, offset_ms: IntArray, key_kind: IntArray, output: IntArray, stream: BoolArray,
           kind: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:  # fmt: skip
    """(start, first token, end, created), UTC milliseconds. The local hour wraps inside the UTC day."""
    count = len(output)
    hour = draws.pick_row(key_kind, _HOURS)
    local = hour * 3_600_000 + draws.below(count, 3_600_000)
    start = (day - _EPOCH).days * _DAY_MS + (local - offset_ms) % _DAY_MS
    took = draws.between(count, 350, 2_500) + output * draws.between(count, 6, 14)
    took = np.where(kind == CACHE_HIT, draws.between(count, 1, 9), took)
    end = start + took
    first = np.where(stream, np.minimum(start + draws.between(count, 280, 2_400), end), end)
    return start, first, end, end + draws.between(count, 900, 14_000)


def generate_day(organisation: Organisation, plan: DayPlan, seed: int) -> DayCalls:
    """All calls of one UTC day, with the incidents of that day in them."""
    draws = Draws(seed, _CALL_STREAM, plan.day.toordinal())
    columns, count = _columns(organisation), plan.calls
    key = draws.spread(count, plan.weights)
    key_kind = columns.kind[key]
    use_case, tagging = _use_cases(draws, plan, organisation, key)
    model = _models(draws, plan.day, columns, key, use_case)
    full = _tokens(draws, use_case, model)
    kind = _kinds(draws, plan, _Drawn(key, key_kind, use_case, model))
    stream = (draws.permille(count, 720) & (key_kind < _SERVICE) & (kind != FAILURE)) | (kind == PARTIAL)
    logged, metered = _log_and_meter(draws, plan.day, kind, full)
    offsets = _offset_ms(organisation.keys, plan.day)[key]
    start, first, end, created = _times(draws, plan.day, offsets, key_kind, logged[:, OUTPUT], stream, kind)
    searching = columns.web_search[key] & (use_case == profiles.AGENT) & (MODEL_PROVIDER[model] == _ANTHROPIC)
    searching &= draws.permille(count, 130) & (kind == SUCCESS) & (plan.day >= incidents.WEB_SEARCH_START)
    fell_back = (model == MODEL_INDEX["claude-haiku-4-5"]) & (kind == SUCCESS)
    fell_back &= draws.permille(count, _FALLBACK_PERMILLE) & (key_kind != _NIGHTLY)
    reasoning = logged[:, OUTPUT] * draws.between(count, 200, 600) // 1000
    lost_from = (plan.day - _EPOCH).days * _DAY_MS
    lost = (start >= lost_from + incidents.LOST_FROM_MS) & (start < lost_from + incidents.LOST_TO_MS)
    order = np.argsort(start, kind="stable")
    bypass_model, bypass_metered = _bypass(plan, seed)
    day = DayCalls(
        day=plan.day,
        key=key[order],
        model=model[order],
        use_case=use_case[order],
        tagging=_kept_tagging(tagging, kind)[order],
        kind=kind[order],
        tier=np.where(key_kind == _NIGHTLY, _BATCH, 0)[order],
        stream=stream[order],
        start_ms=start[order],
        first_ms=first[order],
        end_ms=end[order],
        created_ms=created[order],
        logged=logged[order],
        metered=metered[order],
        reasoning=np.where(MODEL_PROVIDER[model] == _ANTHROPIC, 0, reasoning)[order],
        web_searches=np.where(searching, draws.between(count, 1, 6), 0)[order],
        in_log=~(lost[order] & (plan.day == incidents.LOST_DAY)),
        unpriced=((model == MODEL_INDEX[incidents.PILOT_MODEL]) & (plan.day in incidents.UNPRICED_DAYS))[order],
        stale=((model == MODEL_INDEX[incidents.STALE_MODEL]) & (plan.day in incidents.STALE_DAYS))[order],
        fallback_from=np.where(fell_back, MODEL_INDEX["claude-opus-4-8"], -1)[order],
        request_hex=draws.hex_digits(count),
        call_hex=draws.hex_digits(count),
        session_hex=_sessions(draws, key[order], key_kind[order], start[order]),
        bypass_model=bypass_model,
        bypass_metered=bypass_metered,
    )
    return _with_late_row(day, organisation)


def _sessions(draws: Draws, key: IntArray, key_kind: IntArray, start: IntArray) -> list[str]:
    """A person's calls of one hour share a session; a service's calls do not."""
    alone = 1_000_000 + np.arange(len(key), dtype=np.int64)
    group = np.where(key_kind < _SERVICE, key * 24 + start // 3_600_000 % 24, alone)
    _, inverse = np.unique(group, return_inverse=True)
    digits = draws.hex_digits(len(key))
    return [digits[at] for at in inverse]


def _bypass(plan: DayPlan, seed: int) -> tuple[IntArray, IntArray]:
    """(model, metered tokens) of the calls around the proxy on a day: batch-like agent work on one provider key."""
    busy = plan.day in incidents.BYPASS_DAYS and plan.day.weekday() < 5
    count = max(plan.calls * incidents.BYPASS_PERMILLE // incidents.PERMILLE, 1) if busy else 0
    draws = Draws(seed, _BYPASS_STREAM, plan.day.toordinal())
    choices = np.array([MODEL_INDEX[name] for name in incidents.BYPASS_MODELS], dtype=np.int64)
    model = choices[draws.pick(count, np.array([700, 300], dtype=np.int64))]
    return model, _tokens(draws, np.full(count, profiles.AGENT, dtype=np.int64), model)


def _with_late_row(day: DayCalls, organisation: Organisation) -> DayCalls:
    """On the late day, the first successful call of the spike team reaches the log only on `LATE_ARRIVAL`."""
    if day.day != incidents.LATE_DAY:
        return day
    late = late_row(day, organisation)
    created = day.created_ms.copy()
    created[late] = int(incidents.LATE_ARRIVAL.timestamp() * 1000)
    return replace(day, created_ms=created)


def late_row(day: DayCalls, organisation: Organisation) -> int:
    """Position of the row that arrives late."""
    teams = [key.row_team.slug if key.row_team else "" for key in organisation.keys]
    of_team = np.array([slug == incidents.SPIKE_TEAM for slug in teams])[day.key]
    return int(np.argmax(of_team & (day.kind == SUCCESS)))
