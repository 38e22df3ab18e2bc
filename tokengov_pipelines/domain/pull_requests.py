"""Which merged pull requests count in a month, and for which team (rules 9.2, 9.3).

Belongs here: exclusions, reverts, and the author's team on the merge day. Does not belong here: reading GitHub
(`resources.github`), what a pull request costs (`unit_cost`).
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth, accounting_day

BACKPORT: Final = "backport"
"""The label of a change that was counted where it was first merged."""

# What GitHub's button writes, and `git revert` of a revert since 2023. A title that only mentions a revert is none.
_REVERT_TITLE: Final = re.compile(r"\s*(Revert|Reapply)\b", re.IGNORECASE)
_APP_SUFFIX: Final = "[bot]"
_DEPENDENCY_BOTS: Final = frozenset({"dependabot", "dependabot-preview", "renovate", "renovate-bot", "greenkeeper"})
"""Never counted, also when they are on the allow list, and also where they run as an ordinary account."""


class Exclusion(StrEnum):
    """Why a pull request that was merged in the month is not counted."""

    OTHER_BRANCH = "other_branch"
    DRAFT = "draft"
    BACKPORT = "backport"
    BOT = "bot"
    REVERT = "revert"
    REVERTED = "reverted"
    REVERT_OF_OTHER_PERIOD = "revert_of_other_period"


@dataclass(frozen=True)
class MergedPullRequest:
    """A merged pull request: `repository` is owner/name, `author_login` None for a deleted account.

    `merged_at` is UTC. `assignees` in the order of the listing; `reverts` is (owner/name, number) of the line `Reverts
    owner/name#number` in its body. One is known by (repository id, number).
    """

    repository_id: int
    repository: str
    number: int
    title: str
    author_login: str | None
    author_type: str | None
    merged_at: dt.datetime
    base_branch: str
    default_branch: str | None
    is_draft: bool = False
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    reverts: tuple[str, int] | None = None


@dataclass(frozen=True)
class Membership:
    """A person's GitHub login and team in an interval of the directory."""

    github_login: str
    team_id: str
    interval: Interval


@dataclass(frozen=True)
class CountingPolicy:
    """The leaves of `cost_per_pr` in policy.yaml: bots whose work counts, and whether release branches are left out."""

    agent_logins: tuple[str, ...] = ()
    default_branch_only: bool = True


@dataclass(frozen=True)
class Excluded:
    """A pull request that is listed and not counted."""

    repository: str
    number: int
    reason: Exclusion


@dataclass(frozen=True)
class CountedPullRequests:
    """The month's counted pull requests by team (None: no team is known for the author), and the excluded ones."""

    month: BillingMonth
    by_team: Mapping[str | None, int]
    excluded: tuple[Excluded, ...] = field(default=())

    @property
    def total(self) -> int:
        """All that count, also those without a team: the organisation's denominator."""
        return sum(self.by_team.values())

    def counts(self) -> "PullRequestCounts":
        """How many there are, which is all that a ratio needs."""
        by_team = {team: count for team, count in sorted(self.by_team.items(), key=str) if team is not None}
        return PullRequestCounts(self.month, by_team, self.by_team.get(None, 0), len(self.excluded))


@dataclass(frozen=True)
class PullRequestCounts:
    """The counts alone, without any pull request: by team, what has no team, and how many are not counted."""

    month: BillingMonth
    by_team: Mapping[str, int]
    without_team: int
    excluded: int

    @property
    def total(self) -> int:
        """All that count: the organisation's denominator."""
        return sum(self.by_team.values()) + self.without_team


def count_month(
    month: BillingMonth,
    pull_requests: Iterable[MergedPullRequest],
    memberships: Iterable[Membership],
    policy: CountingPolicy,
) -> CountedPullRequests:
    """Count what was merged in the UTC month; pull requests of other months may be passed and are left alone.

    Reasons are tested in the order of `Exclusion`; the first one found is the one that is listed. Excluded ones come
    sorted by repository and number.
    """
    merged = {
        (each.repository_id, each.number): each
        for each in pull_requests
        if month.contains(accounting_day(each.merged_at))
    }
    reasons: dict[tuple[int, int], Exclusion] = {}
    eligible: list[MergedPullRequest] = []
    agents = {_login(login) for login in policy.agent_logins} - _DEPENDENCY_BOTS
    for key, each in merged.items():
        reason = _own_reason(each, policy)
        if reason is None:
            eligible.append(each)
        else:
            reasons[key] = reason
    reverts = _reverts(eligible)
    teams = _Teams(memberships)
    by_team: Counter[str | None] = Counter()
    for each in eligible:
        key = each.repository_id, each.number
        if _is_bot(each) and _login(each.author_login) not in agents:
            reasons[key] = Exclusion.BOT
        elif key in reverts:
            reasons[key] = reverts[key]
        else:
            by_team[_team_of(each, teams, agents)] += 1
    excluded = [Excluded(merged[key].repository, merged[key].number, reason) for key, reason in reasons.items()]
    return CountedPullRequests(
        month,
        {team: by_team[team] for team in sorted(by_team, key=lambda team: (team is None, team or ""))},
        tuple(sorted(excluded, key=lambda each: (each.repository, each.number))),
    )


def _own_reason(each: MergedPullRequest, policy: CountingPolicy) -> Exclusion | None:
    """What excludes a pull request whatever the others are. What is merged elsewhere cancels nothing here either."""
    if policy.default_branch_only and each.base_branch != each.default_branch:
        return Exclusion.OTHER_BRANCH
    if each.is_draft:
        return Exclusion.DRAFT
    if any(label.strip().lower() == BACKPORT for label in each.labels):
        return Exclusion.BACKPORT
    return None


def _reverts(merged: Sequence[MergedPullRequest]) -> dict[tuple[int, int], Exclusion]:
    """Reverts and what they cancel, newest first: a revert that is itself reverted cancels nothing.

    A target that was not merged in the same month is left as it was counted (no restatement); its revert is listed.
    """
    ascending = sorted(merged, key=lambda each: (each.merged_at, each.repository_id, each.number))
    named = {(each.repository.lower(), each.number): each for each in ascending}
    found: dict[tuple[int, int], Exclusion] = {}
    for each in reversed(ascending):
        key = each.repository_id, each.number
        if key in found or each.reverts is None or not _REVERT_TITLE.match(each.title):
            continue
        repository, number = each.reverts
        target = named.get((repository.lower(), number))
        if target is None or target.merged_at > each.merged_at or target is each:
            found[key] = Exclusion.REVERT_OF_OTHER_PERIOD
            continue
        found[key] = Exclusion.REVERT
        found.setdefault((target.repository_id, target.number), Exclusion.REVERTED)
    return found


class _Teams:
    """Logins to teams by day; a login that the directory gives to two teams on one day has none."""

    def __init__(self, memberships: Iterable[Membership]) -> None:
        self._by_login: dict[str, list[Membership]] = {}
        for each in memberships:
            self._by_login.setdefault(_login(each.github_login), []).append(each)

    def on(self, login: str | None, day: dt.date) -> str | None:
        """The team of a login on a UTC day."""
        found = {each.team_id for each in self._by_login.get(_login(login), ()) if each.interval.valid_on(day)}
        return found.pop() if len(found) == 1 else None


def _team_of(each: MergedPullRequest, teams: _Teams, agents: set[str]) -> str | None:
    """The author's team on the merge day; for an agent that of the first assignee whom the directory knows then."""
    day = accounting_day(each.merged_at)
    if _login(each.author_login) not in agents:
        return teams.on(each.author_login, day)
    asked = (teams.on(login, day) for login in each.assignees if _login(login) not in agents)
    return next((team for team in asked if team is not None), None)


def _is_bot(each: MergedPullRequest) -> bool:
    login = (each.author_login or "").lower()
    return each.author_type == "Bot" or login.endswith(_APP_SUFFIX) or login in _DEPENDENCY_BOTS


def _login(login: str | None) -> str:
    """A login as it is compared: REST ends an App's with [bot], GraphQL does not; case says nothing."""
    return (login or "").lower().removesuffix(_APP_SUFFIX)
