"""The demo's pull requests: stable, plausible, and with every case that the counting rules tell apart."""

import datetime as dt
from collections import Counter

from tokengov_pipelines.demo.incidents import REVERTED_PULL_REQUEST
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.pull_requests import (
    AGENT_LOGIN,
    DEPENDENCY_BOTS,
    RELEASE_BRANCH,
    REPOSITORIES,
    STRANGER_LOGIN,
    build_pull_requests,
)

SEED = 20_261_105
ORGANISATION = build_organisation()
ALL = build_pull_requests(ORGANISATION, SEED)


def test_the_same_seed_gives_the_same_pull_requests_and_another_one_others():
    assert build_pull_requests(ORGANISATION, SEED) == ALL
    assert build_pull_requests(ORGANISATION, SEED + 1) != ALL


def test_every_month_has_sixty_to_ninety_and_all_lie_before_the_demos_day():
    months = Counter(f"{each.merged_at:%Y-%m}" for each in ALL)
    assert sorted(months) == ["2026-06", "2026-07", "2026-08", "2026-09", "2026-10", "2026-11"]
    assert all(60 <= months[f"2026-{month:02}"] <= 90 for month in range(6, 11))
    assert {each.repository for each in ALL} == set(REPOSITORIES)
    end = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
    for each in ALL:
        assert each.first_commit_at < each.created_at < each.merged_at <= each.updated_at < end


def test_numbers_are_unique_and_ascend_with_creation():
    for repository in REPOSITORIES:
        mine = [each for each in ALL if each.repository == repository]
        assert len({each.number for each in mine}) == len(mine)
        assert [each.number for each in sorted(mine, key=lambda each: each.created_at)] == [
            each.number for each in mine
        ]


def test_the_planted_pair_is_the_incidents():
    by_number = {each.number: each for each in ALL if each.repository.name == REVERTED_PULL_REQUEST["repository"]}
    target, revert = by_number[1842], by_number[1857]
    assert (target.title, target.merged_at.isoformat()) == (
        "Move tax rounding to the cart service",
        "2026-10-07T15:12:00+00:00",
    )
    assert revert.title == 'Revert "Move tax rounding to the cart service"'
    assert revert.merged_at.isoformat() == "2026-10-09T08:40:00+00:00"
    assert revert.body.startswith("Reverts fernhill/checkout-api#1842\n")
    authors = {each.login: each for each in ORGANISATION.engineers}
    assert {authors[each.author_login].team_on(dt.date(2026, 10, 7)) for each in (target, revert)} == {"checkout"}


def test_every_case_of_the_rules_is_there():
    logins = {each.login for each in ORGANISATION.engineers}
    authors = Counter(each.author_login for each in ALL)
    assert all(authors[bot] >= 20 for bot in DEPENDENCY_BOTS)
    assert {each.author_type for each in ALL if each.author_login in (*DEPENDENCY_BOTS, AGENT_LOGIN)} == {"Bot"}
    agents = [each for each in ALL if each.author_login == AGENT_LOGIN]
    assert len(agents) >= 20
    assert all(each.assignees[0] == AGENT_LOGIN and each.assignees[1] in logins for each in agents)
    assert (authors[None], authors[STRANGER_LOGIN]) == (1, 1)
    assert sum(each.is_draft for each in ALL) == 1
    assert sum(each.base_branch == RELEASE_BRANCH for each in ALL) == 1
    assert sum("backport" in each.labels for each in ALL) == 1
    assert set(authors) <= {*logins, *DEPENDENCY_BOTS, AGENT_LOGIN, STRANGER_LOGIN, None}


def test_september_holds_a_revert_that_was_reverted_and_october_a_revert_of_september():
    targets = {(each.repository.name, each.number): each for each in ALL}
    reverts = [(each, each.body.splitlines()[0]) for each in ALL if each.body]
    months = []
    for revert, line in reverts:
        repository, _, number = line.removeprefix("Reverts ").partition("#")
        target = targets[repository, int(number)]
        assert target.merged_at < revert.created_at
        months.append((target.merged_at.month, revert.merged_at.month, target.body is not None))
    assert sorted(months) == [(9, 9, False), (9, 9, True), (9, 10, False), (10, 10, False)]
