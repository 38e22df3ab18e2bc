"""The calls of a run: how many, when, how large, and what both sides counted."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from tests.unit.demo.conftest import CALLS, SEED, Run
from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import (
    CACHE_HIT,
    FAILED_SPEND,
    FAILURE,
    MODEL_PROVIDER,
    OUTPUT,
    PARTIAL,
    SUCCESS,
    generate_day,
)
from tokengov_pipelines.demo.metering import ROW_CAUSES
from tokengov_pipelines.demo.prices import MODELS, PICO
from tokengov_pipelines.demo.traffic import build_plan

_MILLI_DAY = 86_400_000


def test_150_days_and_every_call_asked_for(run: Run) -> None:
    assert len(run.days) == 150
    assert (run.days[0][0].day, run.days[-1][0].day) == (date(2026, 6, 8), date(2026, 11, 4))
    assert sum(len(calls) for calls, _ in run.days) == CALLS
    assert all(len(calls) > 0 for calls, _ in run.days)


def test_a_day_does_not_depend_on_the_others(run: Run) -> None:
    plan = build_plan(run.organisation, CALLS, SEED)[77]
    alone = generate_day(run.organisation, plan, SEED)
    assert alone.request_hex == run.days[77][0].request_hex
    assert np.array_equal(alone.logged, run.days[77][0].logged)


def test_another_seed_gives_other_calls(run: Run) -> None:
    plan = build_plan(run.organisation, CALLS, SEED + 1)[77]
    other = generate_day(run.organisation, plan, SEED + 1)
    assert set(other.request_hex).isdisjoint(run.days[77][0].request_hex)


def test_every_call_starts_on_its_day_and_ends_after_it_started(run: Run) -> None:
    for calls, _ in run.days:
        midnight = (calls.day - date(1970, 1, 1)).days * _MILLI_DAY
        assert (calls.start_ms >= midnight).all()
        assert (calls.start_ms < midnight + _MILLI_DAY).all()
        assert (np.diff(calls.start_ms) >= 0).all()
        assert (calls.start_ms <= calls.first_ms).all()
        assert (calls.first_ms <= calls.end_ms).all()
        assert (calls.end_ms < calls.created_ms).all()


def test_a_working_week_looks_like_one(run: Run) -> None:
    weekday = [len(calls) for calls, _ in run.days if calls.day.weekday() < 5]
    weekend = [len(calls) for calls, _ in run.days if calls.day.weekday() >= 5]
    assert sum(weekend) / len(weekend) < 0.25 * sum(weekday) / len(weekday)


def test_prompts_stay_inside_the_price_band_of_their_model(run: Run) -> None:
    limits = np.array([model.context_limit for model in MODELS])
    for calls, _ in run.days:
        prompt = calls.logged[:, :OUTPUT].sum(axis=1)
        assert (prompt <= limits[calls.model]).all()
        assert (calls.logged >= 0).all()


def test_every_kind_of_row_is_there(run: Run) -> None:
    kinds = np.bincount(np.concatenate([calls.kind for calls, _ in run.days]), minlength=5)
    assert kinds[SUCCESS] > 0.9 * CALLS
    assert all(kinds[kind] > 0 for kind in (CACHE_HIT, FAILURE, FAILED_SPEND, PARTIAL))
    assert any(calls.tier.any() for calls, _ in run.days)
    assert any((calls.fallback_from >= 0).any() for calls, _ in run.days)


def test_failures_and_cache_hits_cost_nothing_and_are_not_metered(run: Run) -> None:
    for calls, money in run.days:
        free = np.isin(calls.kind, (FAILURE, CACHE_HIT))
        assert not money.spend[free].any()
        assert not calls.metered[free].any()
        assert (calls.logged[free].sum(axis=1) > 0).all()


def test_the_float_rounds_back_to_the_exact_amount(run: Run) -> None:
    dust = 0
    for calls, money in run.days:
        for spend, pico, logged in zip(money.spend, money.logged_pico, calls.in_log, strict=True):
            if logged:
                text = Decimal(repr(float(spend)))
                assert text.quantize(Decimal("1e-12"), ROUND_HALF_UP) == Decimal(int(pico)) / PICO
                dust += -int(text.as_tuple().exponent) > 14
    assert dust > 100  # real float dust, such as 0.0050225000000000005


def test_the_causes_of_every_row_add_up_to_its_difference(run: Run) -> None:
    for _, money in run.days:
        causes = sum(money.causes_pico[name] for name in ROW_CAUSES)
        assert np.array_equal(money.metered_pico - money.logged_pico, causes)


def test_log_and_meter_agree_for_every_call_of_the_clean_months(run: Run) -> None:
    for calls, money in run.days:
        if incidents.month_of(calls.day) in incidents.CLEAN_MONTHS:
            assert calls.in_log.all()
            assert np.array_equal(money.metered_pico, money.logged_pico)
            assert not (calls.kind == FAILED_SPEND).any()


def test_the_incidents_keep_to_their_days(run: Run) -> None:
    for calls, _ in run.days:
        pilot = np.array([MODELS[model].name == incidents.PILOT_MODEL for model in calls.model.tolist()])
        assert not (pilot.any() and calls.day < incidents.PILOT_START)
        assert not (calls.unpriced.any() and calls.day not in incidents.UNPRICED_DAYS)
        assert not (calls.stale.any() and calls.day not in incidents.STALE_DAYS)
        assert not (len(calls.bypass_model) and calls.day not in incidents.BYPASS_DAYS)
        assert calls.in_log.all() or calls.day == incidents.LOST_DAY
        assert not (calls.web_searches.any() and calls.day < incidents.WEB_SEARCH_START)


def test_three_providers_share_the_calls(run: Run) -> None:
    providers = np.bincount(np.concatenate([MODEL_PROVIDER[calls.model] for calls, _ in run.days]), minlength=3)
    assert (providers > 0.05 * CALLS).all()


def test_the_late_row_arrives_a_week_after_its_call(run: Run) -> None:
    (calls,) = [calls for calls, _ in run.days if calls.day == incidents.LATE_DAY]
    arrival = int(incidents.LATE_ARRIVAL.timestamp() * 1000)
    assert (calls.created_ms == arrival).sum() == 1
    assert arrival > int(calls.end_ms.max()) + 5 * _MILLI_DAY
