"""Which merged pull requests count, and for whom: the cases of rules 9.2 and 9.3."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import (
    CountedPullRequests,
    CountingPolicy,
    Exclusion,
    Membership,
    MergedPullRequest,
    count_month,
)

OCTOBER = BillingMonth(2026, 10)
FOUNDED = dt.date(2026, 1, 1)
MEMBERS = (
    Membership("ann", "t-checkout", Interval(FOUNDED)),
    Membership("bob", "t-web", Interval(FOUNDED)),
    Membership("ines", "t-checkout", Interval(FOUNDED, dt.date(2026, 10, 16))),
    Membership("ines", "t-web", Interval(dt.date(2026, 10, 16))),
    Membership("torn", "t-checkout", Interval(FOUNDED)),
    Membership("torn", "t-web", Interval(dt.date(2026, 10, 5))),
)


def merged(number, at="2026-10-10T12:00:00", author="ann", kind="User", **fields):
    return MergedPullRequest(
        **{
            "repository_id": 7,
            "repository": "fernhill/shop",
            "number": number,
            "title": f"Change {number}",
            "author_login": author,
            "author_type": kind,
            "merged_at": dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC),
            "base_branch": "main",
            "default_branch": "main",
            **fields,
        }
    )


def revert(number, of, at, repository="fernhill/shop", **fields):
    return merged(number, at, title=f'Revert "Change {of}"', reverts=(repository, of), **fields)


NO_AGENTS = CountingPolicy()


def count(*pull_requests, policy=NO_AGENTS, members=MEMBERS, month=OCTOBER) -> CountedPullRequests:
    return count_month(month, pull_requests, members, policy)


def reasons(counted):
    return {each.number: each.reason for each in counted.excluded}


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        ("2026-09-30T23:59:59", 0),
        ("2026-10-01T00:00:00", 1),
        ("2026-10-31T23:59:59", 1),
        ("2026-11-01T00:00:00", 0),
    ],
)
def test_the_month_is_that_of_the_merge_in_utc(at, counts):
    counted = count(merged(1, at))
    assert counted.total == counts
    assert counted.excluded == ()


def test_a_moment_of_another_zone_is_counted_in_its_utc_month():
    tokyo = dt.timezone(dt.timedelta(hours=9))
    counted = count(merged(1, merged_at=dt.datetime(2026, 11, 1, 8, 30, tzinfo=tokyo)))
    assert counted.total == 1


def test_release_branches_drafts_and_backports_are_listed_and_not_counted():
    counted = count(
        merged(1, base_branch="release/2.1"),
        merged(2, is_draft=True),
        merged(3, labels=("bug", "Backport")),
        merged(4, labels=("backport-me-later",)),
        merged(5, default_branch=None),
    )
    assert counted.by_team == {"t-checkout": 1}
    assert reasons(counted) == {
        1: Exclusion.OTHER_BRANCH,
        2: Exclusion.DRAFT,
        3: Exclusion.BACKPORT,
        5: Exclusion.OTHER_BRANCH,
    }
    assert count(merged(1, base_branch="release/2.1"), policy=CountingPolicy(default_branch_only=False)).total == 1


def test_bots_are_excluded_by_type_or_by_name_and_dependency_bots_for_good():
    allow_all = CountingPolicy(agent_logins=("dependabot", "renovate[bot]", "copilot-swe-agent"))
    bots = [
        merged(1, author="dependabot", kind="Bot"),
        merged(2, author="renovate[bot]", kind="User"),
        merged(3, author="renovate-bot", kind="User"),
        merged(4, author="copilot-swe-agent", kind="Bot", assignees=("bob",)),
    ]
    assert reasons(count(*bots)) == dict.fromkeys((1, 2, 3, 4), Exclusion.BOT)
    counted = count(*bots, policy=allow_all)
    assert counted.by_team == {"t-web": 1}
    assert reasons(counted) == dict.fromkeys((1, 2, 3), Exclusion.BOT)


@pytest.mark.parametrize(
    ("author", "assignees", "team"),
    [
        ("agent[bot]", ("bob",), "t-web"),
        ("agent", ("bob",), "t-web"),
        ("Agent", ("agent", "stranger", "ann", "bob"), "t-checkout"),
        ("agent", ("stranger",), None),
        ("agent", (), None),
    ],
)
def test_an_agents_work_counts_for_the_first_assignee_whom_the_directory_knows(author, assignees, team):
    policy = CountingPolicy(agent_logins=("agent[bot]",))
    assert count(merged(1, author=author, kind="Bot", assignees=assignees), policy=policy).by_team == {team: 1}


def test_the_team_is_the_authors_on_the_merge_day():
    counted = count(
        merged(1, "2026-10-15T23:59:59", author="Ines"),
        merged(2, "2026-10-16T00:00:00", author="ines"),
    )
    assert counted.by_team == {"t-checkout": 1, "t-web": 1}


def test_unknown_authors_ghosts_and_people_in_two_teams_count_for_the_organisation_only():
    counted = count(
        merged(1, author="stranger"),
        merged(2, author=None, kind=None),
        merged(3, author="torn"),
        merged(4, "2026-10-04T12:00:00", author="torn"),
    )
    assert counted.by_team == {"t-checkout": 1, None: 3}
    assert counted.total == 4


def test_a_pull_request_that_is_listed_twice_counts_once_and_stacked_ones_count_each():
    assert count(merged(1), merged(1), merged(2), merged(3)).total == 3
    assert count(merged(1), merged(1, repository_id=8, repository="fernhill/other")).total == 2


def test_a_revert_and_its_target_of_the_same_month_are_both_excluded():
    counted = count(merged(1, "2026-10-07T15:12:00"), revert(2, 1, "2026-10-09T08:40:00"), merged(3))
    assert counted.total == 1
    assert reasons(counted) == {1: Exclusion.REVERTED, 2: Exclusion.REVERT}


def test_add_revert_and_re_revert_in_one_month_count_one():
    added, reverted = merged(1, "2026-10-07T10:00:00"), revert(2, 1, "2026-10-08T10:00:00")
    again = merged(3, "2026-10-09T10:00:00", title='Reapply "Change 1"', reverts=("fernhill/shop", 2))
    counted = count(again, added, reverted)
    assert counted.total == 1
    assert reasons(counted) == {2: Exclusion.REVERTED, 3: Exclusion.REVERT}
    fourth = revert(4, 3, "2026-10-10T10:00:00")
    assert reasons(count(added, reverted, again, fourth)) == {
        1: Exclusion.REVERTED,
        2: Exclusion.REVERT,
        3: Exclusion.REVERTED,
        4: Exclusion.REVERT,
    }


def test_a_revert_of_an_earlier_month_is_listed_and_the_earlier_month_stays():
    added, reverted = merged(1, "2026-09-29T10:00:00"), revert(2, 1, "2026-10-01T10:00:00")
    assert count(added, reverted, month=BillingMonth(2026, 9)).total == 1
    counted = count(added, reverted)
    assert counted.total == 0
    assert reasons(counted) == {2: Exclusion.REVERT_OF_OTHER_PERIOD}


def test_targets_match_by_repository_and_number():
    other = merged(1, repository_id=8, repository="Fernhill/Other")
    counted = count(merged(1), other, revert(2, 1, "2026-10-20T10:00:00", repository="fernhill/other"))
    assert counted.total == 1
    assert [(each.repository, each.number) for each in counted.excluded] == [
        ("Fernhill/Other", 1),
        ("fernhill/shop", 2),
    ]


def test_only_what_lands_on_the_default_branch_is_a_revert_and_a_title_has_to_say_so():
    added = merged(1, "2026-10-07T15:12:00")
    elsewhere = revert(2, 1, "2026-10-09T08:40:00", base_branch="release/2.1")
    assert count(added, elsewhere).total == 1
    mention = merged(3, "2026-10-09T08:40:00", title="Explain why we revert", reverts=("fernhill/shop", 1))
    assert count(added, mention).total == 2


def test_a_bots_revert_cancels_its_target_too():
    by_bot = revert(2, 1, "2026-10-09T08:40:00", author="merge-guard[bot]", kind="Bot")
    assert reasons(count(merged(1, "2026-10-07T15:12:00"), by_bot)) == {1: Exclusion.REVERTED, 2: Exclusion.BOT}


def test_pull_requests_that_revert_each_other_or_themselves_end():
    one, other = revert(1, 2, "2026-10-07T10:00:00"), revert(2, 1, "2026-10-08T10:00:00")
    assert reasons(count(one, other)) == {1: Exclusion.REVERTED, 2: Exclusion.REVERT}
    assert reasons(count(revert(1, 1, "2026-10-07T10:00:00"))) == {1: Exclusion.REVERT_OF_OTHER_PERIOD}


@given(
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.integers(1, 61),
            st.sampled_from(["ann", "bob", "stranger", None, "dependabot", "agent"]),
            st.one_of(st.none(), st.integers(1, 12)),
            st.sampled_from(["main", "release"]),
        ),
        max_size=25,
    )
)
def test_every_pull_request_of_the_month_is_counted_once_or_listed_once(drawn):
    pull_requests = [
        merged(
            number,
            f"2026-{10 + (day > 31)}-{(day - 1) % 31 % 30 + 1:02}T12:00:00",
            author=author,
            kind="Bot" if author in {"dependabot", "agent"} else "User",
            title="Revert it" if reverts else "Change",
            reverts=("fernhill/shop", reverts) if reverts else None,
            base_branch=base,
            assignees=("bob",),
        )
        for number, day, author, reverts, base in drawn
    ]
    policy = CountingPolicy(agent_logins=("agent",))
    counted = count(*pull_requests, policy=policy)
    # The last listing of a number is the one that is known.
    october = {each.number for each in pull_requests if each.merged_at.month == 10}
    assert counted.total + len(counted.excluded) == len(october)
    assert len({(each.repository, each.number) for each in counted.excluded}) == len(counted.excluded)
    assert count(*pull_requests, policy=policy) == counted
