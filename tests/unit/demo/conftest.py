"""One small run of the demo, made once: 6,000 calls."""

from dataclasses import dataclass

import pytest

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import DayCalls, generate_day
from tokengov_pipelines.demo.ground_truth import GroundTruth, build_ground_truth
from tokengov_pipelines.demo.invoices import BilledInvoice, build_invoices
from tokengov_pipelines.demo.metering import DayMoney, money_of
from tokengov_pipelines.demo.organisation import Organisation, build_organisation
from tokengov_pipelines.demo.spend_logs import Rows, rows_of
from tokengov_pipelines.demo.tally import Tally
from tokengov_pipelines.demo.traffic import build_plan

CALLS, SEED = 6_000, 20_261_105


@dataclass(frozen=True)
class Run:
    organisation: Organisation
    days: list[tuple[DayCalls, DayMoney]]
    tally: Tally
    invoices: dict[str, tuple[BilledInvoice, ...]]
    truth: GroundTruth

    def rows(self) -> list[Rows]:
        return [rows_of(self.organisation, calls, money) for calls, money in self.days]


def simulate(calls: int, seed: int) -> Run:
    organisation = build_organisation()
    tally = Tally(organisation)
    days = []
    for plan in build_plan(organisation, calls, seed):
        day = generate_day(organisation, plan, seed)
        money = money_of(day)
        tally.add(day, money)
        days.append((day, money))
    invoices = {month: build_invoices(month, tally.months[month]) for month in incidents.INVOICED_MONTHS}
    return Run(organisation, days, tally, invoices, build_ground_truth(tally, invoices, seed))


@pytest.fixture(scope="session")
def run() -> Run:
    return simulate(CALLS, SEED)
