"""Cost per merged pull request: the worked examples of rule 9.1, and the ties to the charges."""

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.charges import OCTOBER, SUSPENSE, basis, billed, charged, header
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_detail import UsedBy, detail_lines
from tokengov_pipelines.domain.money import exact_sum, from_cents
from tokengov_pipelines.domain.pull_requests import CountedPullRequests, Excluded, Exclusion
from tokengov_pipelines.domain.unit_cost import (
    NOT_IN_NUMERATOR,
    Level,
    Status,
    charges_by_team,
    cost_per_pr,
    unit_cost_rows,
)


def detail(*invoices):
    """The drill table of October: of each invoice its total, its other pools, and (cost center, team, logged)."""
    parts, used = [], defaultdict(list)
    for provider, total, others, rows in invoices:
        of = header(total, provider=provider, invoice_id=f"INV-{provider}")
        codes = sorted({code for code, _, _ in rows})
        by = {code: exact_sum(Decimal(amount) for each, _, amount in rows if each == code) for code in codes}
        parts.append(billed(of, basis(by), **others))
        for code, team, amount in rows:
            spent = Decimal(amount)
            used[provider, of.invoice_id, code].append(UsedBy(team, "m", "", Rung.TEAM_METADATA, spent, spent, 1))
    return detail_lines(charged(*parts), used, {})


def counted(by_team, excluded=()):
    return CountedPullRequests(OCTOBER, by_team, tuple(excluded)).counts()


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


def shared(*invoices):
    return {team: f"{cost:f}" for team, cost in charges_by_team(detail(*invoices)).items()}


def test_every_charge_that_follows_use_is_its_teams_and_central_is_nobodys():
    rows = [
        ("CC-100", "T1", "33.333333"),
        ("CC-100", "T2", "33.333333"),
        ("CC-100", None, "33.333334"),
        ("CC-200", "T1", "50.00"),
        (SUSPENSE, None, "5.00"),
    ]
    # direct 155.00: 33.33 + 33.33 + 33.34 of CC-100, 50.00 and 5.00; tax 15.50: 3.33 + 3.33 + 3.34, 5.00 and 0.50
    found = shared(("anthropic", "175.50", {"central": "5.00", "tax": "15.50"}, rows))
    assert found == {"T1": "91.66", "T2": "36.66", None: "42.18"}
    assert sum(map(Decimal, found.values())) == Decimal("170.50")


def test_seats_and_what_central_bears_stand_in_no_numerator():
    lines = detail(("anthropic", "100.00", {"central": "5.00", "seat": "30.00"}, [("CC-100", "T1", "65.00")]))
    assert {line.charge_type for line in lines} == {"direct", "seat", "central"}
    assert charges_by_team(lines) == {"T1": Decimal("65.00")}
    assert {"central", "seat"} == NOT_IN_NUMERATOR


def test_a_true_up_and_a_credit_are_the_teams_whose_use_they_are_of():
    """90.00 of 100.00 logged: a true-up of -10.00; and a credit of -9.00."""
    thirds = [("CC-100", team, "33.333333333") for team in ("T1", "T2", "T3")]
    assert shared(("anthropic", "81.00", {"credits": "-9.00"}, thirds)) == {"T1": "27.00", "T2": "27.00", "T3": "27.00"}


def test_every_provider_is_split_by_its_own_calls():
    first = ("anthropic", "10.00", {}, [("CC-100", "T1", "10.00")])
    assert shared(first, ("openai", "90.00", {}, [("CC-100", "T2", "90.00")])) == {"T1": "10.00", "T2": "90.00"}


def test_a_charge_without_use_behind_it_has_no_team():
    """Keys outside the proxy: their owner is a cost center, and no team."""
    by = basis({"CC-100": "10"}, unproxied={"CC-200": "7.5"})
    lines = charged(billed(header("17.50"), by, unproxied="7.50"))
    used = {("anthropic", "INV-19", "CC-100"): [UsedBy("T1", "m", "", Rung.TEAM_METADATA, Decimal(10), Decimal(10), 1)]}
    assert charges_by_team(detail_lines(lines, used, {})) == {"T1": Decimal("10.00"), None: Decimal("7.50")}


def test_an_invoice_in_euros_counts_in_the_books_currency():
    """10.00 x 1.0837 = 10.837 -> 10.84."""
    lines = charged(billed(header("10.00", currency="EUR"), basis({"CC-100": "10"}), fx_rate="1.0837"))
    assert charges_by_team(lines) == {None: Decimal("10.84")}


amounts = st.integers(0, 10**14).map(lambda units: from_cents(units, 9))
keys = st.tuples(st.sampled_from(["CC-100", "CC-200", SUSPENSE]), st.sampled_from(["T1", "T2", None]))


@given(st.dictionaries(keys, amounts), st.integers(-(10**6), 10**6).map(from_cents))
def test_the_teams_always_add_up_to_the_charges_to_the_cent(logged, tax):
    rows = [(code, team, amount) for (code, team), amount in logged.items()]
    lines = detail(("anthropic", "1000000.00", {"tax": tax, "central": "12.34"}, rows))
    costs = charges_by_team(lines)
    charges = exact_sum(line.amount for line in lines if line.charge_type != "central")
    assert exact_sum(costs.values()) == charges == Decimal("999987.66")
    found = unit_cost_rows(costs, counted({"T1": 3, None: 2}), {}, is_complete=True)
    assert found[0].level is Level.ORG
    assert found[0].cost == charges == exact_sum(row.cost for row in found[1:])
    assert found[0].merged_prs == sum(row.merged_prs for row in found[1:])
