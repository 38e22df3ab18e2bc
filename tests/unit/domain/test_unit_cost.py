"""Cost per merged pull request: the worked examples of rule 9.1, and the ties to the charges."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import ChargebackPolicy, CostCenter, InvoiceHeader, LoggedSpend, charge_month
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pull_requests import CountedPullRequests, Excluded, Exclusion
from tokengov_pipelines.domain.unit_cost import (
    Level,
    Status,
    TeamSpend,
    charges_by_team,
    cost_per_pr,
    unit_cost_rows,
)

OCTOBER = BillingMonth(2026, 10)
PERIOD = InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1))
CENTERS = {code: CostCenter(code, code, "ACME") for code in ("CC-1", "CC-2", "CC-900", "CC-990")}
POLICY = ChargebackPolicy("CC-900", "CC-990", "showback", "USD", "0" * 64)


def charged(total, logged, provider="anthropic"):
    spend = [
        LoggedSpend(provider, code, Rung.SUSPENSE if code == "CC-900" else Rung.TEAM_METADATA, Decimal(amount))
        for code, amount in logged.items()
    ]
    invoice = InvoiceHeader(provider, f"INV-{provider}", Decimal(total), "USD", PERIOD)
    lines, problems = charge_month(OCTOBER, [invoice], spend, CENTERS, POLICY, 1)
    assert problems == ()
    return lines


def spend(cost_center, team, logged, provider="anthropic"):
    return TeamSpend(provider, cost_center, team, Decimal(logged))


def counted(by_team, excluded=()):
    return CountedPullRequests(OCTOBER, by_team, tuple(excluded))


def rows(costs, counts, *, is_complete=True, excluded=()):
    return unit_cost_rows(
        {team: Decimal(cost) for team, cost in costs.items()},
        counted(counts, excluded),
        {"T1": "Payments", "T2": "Web"},
        is_complete=is_complete,
    )


def shown(found):
    return [
        (
            str(row.level),
            row.team_id,
            row.merged_prs,
            str(row.cost),
            row.cost_per_pr and str(row.cost_per_pr),
            row.status,
        )
        for row in found
    ]


@pytest.mark.parametrize(
    ("cost", "merged", "ratio"),
    [
        ("3200.00", 85, "37.65"),
        ("1100.00", 20, "55.00"),
        ("4300.00", 105, "40.95"),
        ("900.00", 30, "30.00"),
        ("0.00", 7, "0.00"),
        ("0.05", 2, "0.03"),
        ("-0.05", 2, "-0.03"),
        ("0.01", 3, "0.00"),
    ],
)
def test_the_ratio_is_rounded_once_half_away_from_zero(cost, merged, ratio):
    assert str(cost_per_pr(Decimal(cost), merged)) == ratio


def test_the_organisation_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    found = rows({"T1": "3200.00", "T2": "1100.00"}, {"T1": 85, "T2": 20})
    assert shown(found) == [
        ("org", "", 105, "4300.00", "40.95", Status.OK),
        ("team", "T1", 85, "3200.00", "37.65", Status.OK),
        ("team", "T2", 20, "1100.00", "55.00", Status.OK),
    ]
    mean = (Decimal("37.65") + Decimal("55.00")) / 2
    assert mean == Decimal("46.325")
    assert [row.team_name for row in found] == ["", "Payments", "Web"]


def test_no_merged_pull_request_is_no_ratio_and_its_cost_stays_in_the_organisations():
    found = rows({"T1": "500.00", "T2": "75.00"}, {"T1": 10})
    assert shown(found) == [
        ("org", "", 10, "575.00", "57.50", Status.OK),
        ("team", "T1", 10, "500.00", "50.00", Status.OK),
        ("team", "T2", 0, "75.00", None, Status.NO_MERGED_PRS),
    ]
    assert shown(rows({}, {})) == [("org", "", 0, "0.00", None, Status.NO_MERGED_PRS)]


@pytest.mark.parametrize(("merged", "status"), [(1, Status.FEW), (4, Status.FEW), (5, Status.OK)])
def test_a_ratio_over_few_pull_requests_is_flagged(merged, status):
    assert rows({"T1": "10.00"}, {"T1": merged})[1].status is status


def test_unknown_authors_and_cost_without_a_team_stand_in_their_own_row_and_in_the_organisation():
    found = rows({"T1": "100.00", None: "50.00"}, {"T1": 10, None: 5}, excluded=[Excluded("a/b", 1, Exclusion.BOT)])
    assert shown(found) == [
        ("org", "", 15, "150.00", "10.00", Status.OK),
        ("team", "T1", 10, "100.00", "10.00", Status.OK),
        ("unattributed", "", 5, "50.00", None, Status.UNATTRIBUTED),
    ]
    assert [row.excluded_prs for row in found] == [1, None, None]


def test_a_team_with_neither_cost_nor_pull_requests_is_not_listed():
    assert [row.team_id for row in rows({"T1": "0.00", "T2": "1.00", None: "0.00"}, {})] == ["", "T2"]


def test_a_month_that_github_was_not_read_to_the_end_of_is_provisional():
    found = rows({"T1": "100.00", None: "1.00"}, {"T1": 3}, is_complete=False)
    assert [row.status for row in found] == [Status.PROVISIONAL, Status.PROVISIONAL, Status.UNATTRIBUTED]


def test_charges_go_to_teams_by_logged_spend_and_central_goes_to_nobody():
    lines = charged("160.00", {"CC-1": "100.00", "CC-2": "50.00", "CC-900": "5.00"})
    found = charges_by_team(
        lines,
        [
            spend("CC-1", "T1", "33.333333"),
            spend("CC-1", "T2", "33.333333"),
            spend("CC-1", None, "33.333334"),
            spend("CC-2", "T1", "50.00"),
            spend("CC-900", None, "5.00"),
        ],
    )
    assert {team: str(cost) for team, cost in found.items()} == {"T1": "83.33", "T2": "33.33", None: "38.34"}
    direct = sum(line.amount for line in lines if line.charge_type == "direct")
    assert sum(found.values()) == direct == Decimal("155.00")
    assert next(line for line in lines if line.charge_type == "central").amount == Decimal("5.00")


def test_every_provider_is_split_by_its_own_calls():
    lines = charged("10.00", {"CC-1": "10.00"}) + charged("90.00", {"CC-1": "90.00"}, "openai")
    found = charges_by_team(lines, [spend("CC-1", "T1", "10.00"), spend("CC-1", "T2", "90.00", "openai")])
    assert {team: str(cost) for team, cost in found.items()} == {"T1": "10.00", "T2": "90.00"}


def test_a_line_without_logged_spend_has_no_team_and_a_credit_mirrors_a_charge():
    (line, _) = charged("10.00", {"CC-1": "10.00"})
    assert charges_by_team([line], []) == {None: Decimal("10.00")}
    assert charges_by_team([line], [spend("CC-1", "T1", "0")]) == {None: Decimal("10.00")}
    credit = replace(line, charge_type="credit", amount=Decimal("-10.00"), amount_functional=Decimal("-10.00"))
    thirds = [spend("CC-1", team, "1") for team in ("T1", "T2", "T3")]
    assert [str(part) for part in charges_by_team([line], thirds).values()] == ["3.34", "3.33", "3.33"]
    assert [str(part) for part in charges_by_team([credit], thirds).values()] == ["-3.34", "-3.33", "-3.33"]
    assert set(charges_by_team([line, credit], thirds).values()) == {Decimal(0)}


AMOUNTS = st.integers(0, 10**14).map(lambda units: Decimal(units).scaleb(-9))


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["CC-1", "CC-2", "CC-900"]), st.sampled_from(["T1", "T2", None])), AMOUNTS
    )
)
def test_the_teams_always_add_up_to_the_charges_to_the_cent(logged):
    by_center: dict[str, Decimal] = {}
    for (code, _), amount in logged.items():
        by_center[code] = by_center.get(code, Decimal(0)) + amount
    lines = charged("1000000.00", {code: str(amount) for code, amount in by_center.items()})
    costs = charges_by_team(lines, [spend(code, team, amount) for (code, team), amount in logged.items()])
    direct = sum((line.amount for line in lines if line.charge_type == "direct"), Decimal(0))
    assert sum(costs.values(), Decimal(0)) == direct
    found = unit_cost_rows(costs, counted({"T1": 3, None: 2}), {}, is_complete=True)
    assert found[0].level is Level.ORG
    assert found[0].cost == direct == sum((row.cost for row in found[1:]), Decimal(0))
    assert found[0].merged_prs == sum(row.merged_prs for row in found[1:])
