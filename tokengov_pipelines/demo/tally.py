"""Sums over the days of a run: what the meter and the log came to by month, and what the meter came to by day.

Belongs here: adding one day after another, in whole picodollars. Does not belong here: invoice lines (`invoices`) and
the file of the answers (`ground_truth`). A tally is small, whatever the number of calls.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import MODEL_PROVIDER, TWO_TAGS, UNTAGGED, DayCalls, late_row
from tokengov_pipelines.demo.draws import IntArray
from tokengov_pipelines.demo.metering import DayMoney
from tokengov_pipelines.demo.organisation import BYPASS_KEY, PROVIDER_KEYS, Organisation
from tokengov_pipelines.demo.prices import MODELS, PROVIDERS, TIERS, TOKEN_TYPES
from tokengov_pipelines.demo.profiles import DOC_QA, REFACTOR, USE_CASES

_CELL_SHAPE: Final = (len(PROVIDER_KEYS), len(MODELS), len(TIERS), len(TOKEN_TYPES))


@dataclass
class DayMeter:
    """What the providers metered on one UTC day: their side only, whatever the proxy logged."""

    tokens: IntArray = field(default_factory=lambda: np.zeros(_CELL_SHAPE, dtype=np.int64))
    """By (provider key, model, tier, token type)."""
    requests: IntArray = field(default_factory=lambda: np.zeros(_CELL_SHAPE[:3], dtype=np.int64))
    """Calls with metered tokens, by (provider key, model, tier)."""
    web_searches: IntArray = field(default_factory=lambda: np.zeros(_CELL_SHAPE[:3], dtype=np.int64))


@dataclass
class MonthTally:
    """One month: metered tokens by cell, and exact dollars (picodollars) by whatever a test may ask for."""

    tokens: IntArray = field(default_factory=lambda: np.zeros(_CELL_SHAPE, dtype=np.int64))
    """Metered tokens by (provider key, model, tier, token type): what the provider bills from."""
    logged: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    metered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    causes: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    owners: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    owner_rows: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    use_cases: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    web_searches: int = 0


@dataclass
class Tally:
    """All months, and the few days that a single incident needs."""

    organisation: Organisation
    months: dict[str, MonthTally] = field(default_factory=lambda: defaultdict(MonthTally))
    meter: dict[date, DayMeter] = field(default_factory=dict)
    calls: int = 0
    rows: int = 0
    team_days: dict[tuple[str, date], int] = field(default_factory=lambda: defaultdict(int))
    exempt_spend: int = 0
    late_row: dict[str, str | int] = field(default_factory=dict)
    bypass_calls: int = 0
    cause_rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, calls: DayCalls, money: DayMoney) -> None:
        """Add one day."""
        month = self.months[incidents.month_of(calls.day)]
        self.calls += len(calls)
        self.rows += int(calls.in_log.sum())
        self.bypass_calls += len(calls.bypass_model)
        provider = MODEL_PROVIDER[calls.model]
        meter = self.meter[calls.day] = _meter_of(calls, provider)
        month.tokens += meter.tokens
        month.web_searches += int(calls.web_searches.sum())
        for index, name in enumerate(PROVIDERS):
            ours = provider == index
            month.logged[name] += int(money.logged_pico[ours].sum())
            month.metered[name] += int(money.metered_pico[ours].sum())
            month.rows[name] += int((ours & calls.in_log).sum())
            for cause, amounts in money.causes_pico.items():
                month.causes[name, cause] += int(amounts[ours].sum())
        month.causes[PROVIDER_KEYS[BYPASS_KEY].provider, "bypass_key"] += int(money.bypass_pico.sum())
        for cause, amounts in money.causes_pico.items():
            self.cause_rows[cause] += int(np.count_nonzero(amounts))
        self._add_owners(month, calls, money, provider)
        self._add_use_cases(month, calls, money)
        self._add_incidents(calls, money)

    def _add_owners(self, month: MonthTally, calls: DayCalls, money: DayMoney, provider: IntArray) -> None:
        keys = self.organisation.keys
        shape = (len(keys), len(PROVIDERS))
        spend, rows = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        np.add.at(spend, (calls.key, provider), money.logged_pico)
        np.add.at(rows, (calls.key, provider), calls.in_log.astype(np.int64))
        for at, key in enumerate(keys):
            cost_center, rung = self.organisation.owner_on(key, calls.day)
            for index, name in enumerate(PROVIDERS):
                if rows[at, index]:
                    month.owners[name, cost_center, rung] += int(spend[at, index])
                    month.owner_rows[name, cost_center, rung] += int(rows[at, index])
            if key.row_team is not None:
                self.team_days[key.row_team.slug, calls.day] += int(spend[at].sum())

    def _add_use_cases(self, month: MonthTally, calls: DayCalls, money: DayMoney) -> None:
        for code, name in enumerate(_answers()):
            month.use_cases[name] += int(money.logged_pico[use_case_answers(calls) == code].sum())

    def _add_incidents(self, calls: DayCalls, money: DayMoney) -> None:
        if calls.day in incidents.EXEMPTION_DAYS:
            teams = [key.row_team.slug if key.row_team else "" for key in self.organisation.keys]
            of_team = np.array([slug == incidents.EXEMPTION_TEAM for slug in teams])[calls.key]
            self.exempt_spend += int(money.logged_pico[of_team & (use_case_answers(calls) == REFACTOR)].sum())
        if calls.day == incidents.LATE_DAY:
            at = late_row(calls, self.organisation)
            self.late_row = {
                "litellm_call_hex": calls.call_hex[at],
                "pico": int(money.logged_pico[at]),
                "provider": MODELS[calls.model[at]].provider,
                "start_ms": int(calls.start_ms[at]),
            }


def _meter_of(calls: DayCalls, provider: IntArray) -> DayMeter:
    """The meter's reading of a day. The proxy's key of a provider stands at the provider's position."""
    meter = DayMeter()
    cells = (provider, calls.model, calls.tier)
    np.add.at(meter.tokens, cells, calls.metered)
    np.add.at(meter.requests, cells, (calls.metered.sum(axis=1) > 0).astype(np.int64))
    np.add.at(meter.web_searches, cells, calls.web_searches)
    np.add.at(meter.tokens[BYPASS_KEY, :, 0], calls.bypass_model, calls.bypass_metered)
    np.add.at(meter.requests[BYPASS_KEY, :, 0], calls.bypass_model, 1)
    return meter


def _answers() -> tuple[str, ...]:
    return (*USE_CASES[:DOC_QA], "unknown", "ambiguous", "untagged")


def use_case_answers(calls: DayCalls) -> IntArray:
    """Position in (taxonomy, unknown, ambiguous, untagged) that Rule 3.8 must find for each row."""
    unknown, ambiguous, untagged = DOC_QA, DOC_QA + 1, DOC_QA + 2
    known = np.minimum(calls.use_case, unknown)
    answer = np.where(calls.tagging == TWO_TAGS, ambiguous, known)
    return np.where(calls.tagging == UNTAGGED, untagged, answer)
