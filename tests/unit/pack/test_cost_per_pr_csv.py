"""cost_per_pr.csv as finance gets it."""

from decimal import Decimal

import pytest

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import CountedPullRequests
from tokengov_pipelines.domain.unit_cost import unit_cost_rows
from tokengov_pipelines.pack.cost_per_pr_csv import COLUMNS, cost_per_pr_csv
from tokengov_pipelines.pack.manifest import is_data_file
from tokengov_pipelines.pack.writer import PackError

OCTOBER = BillingMonth(2026, 10)


def rows(costs, counts, names):
    counted = CountedPullRequests(OCTOBER, counts).counts()
    return unit_cost_rows({team: Decimal(cost) for team, cost in costs.items()}, counted, names, is_complete=True)


def test_the_file_holds_the_organisation_its_teams_and_what_has_no_team():
    found = rows({"t-2": "1100.00", "t-1": "3200.00", None: "75.00"}, {"t-1": 85, "t-2": 20}, {"t-2": "=Web"})
    assert cost_per_pr_csv(found).decode() == (
        "period,level,team_id,team_name,merged_prs,excluded_prs,cost_usd,cost_per_pr_usd,status\n"
        "2026-10,org,,,105,0,4375.00,41.67,ok\n"
        "2026-10,team,t-1,,85,,3200.00,37.65,ok\n"
        "2026-10,team,t-2,'=Web,20,,1100.00,55.00,ok\n"
        "2026-10,unattributed,,,0,,75.00,,unattributed\n"
    )


def test_equal_months_are_equal_bytes_and_the_file_is_content():
    one = rows({"a": "1.00", "b": "2.00"}, {"b": 1, "a": 2}, {})
    other = rows({"b": "2.00", "a": "1.00"}, {"a": 2, "b": 1}, {})
    assert cost_per_pr_csv(one) == cost_per_pr_csv(reversed(other))
    assert is_data_file("cost_per_pr.csv")
    assert cost_per_pr_csv([]).count(b"\n") == 1


def test_nobody_is_named_in_it():
    assert not {column.name for column in COLUMNS} & {"author", "author_login", "login", "email", "title", "user_id"}


def test_two_rows_of_one_team_are_refused():
    with pytest.raises(PackError, match="two rows have the same"):
        cost_per_pr_csv([*rows({"a": "1.00"}, {}, {}), *rows({"a": "1.00"}, {}, {})])
