"""The demo's merged pull requests: four repositories, five months, and every case that the counting rules tell apart.

Belongs here: who merged what and when, from the seed in whole numbers. Does not belong here: how GitHub answers
(`providers.github`), which of them count (`domain.pull_requests`).

Planted beside the ordinary ones: dependency bots, an agent's work with its assignee, a ghost, a stranger, a draft, a
release branch, a backport, a revert of the month before, a revert that was reverted, and the pair of
`incidents.REVERTED_PULL_REQUEST`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from tokengov_pipelines.demo.draws import Draws
from tokengov_pipelines.demo.incidents import AS_OF, REVERTED_PULL_REQUEST
from tokengov_pipelines.demo.organisation import Engineer, Organisation

FIRST_DAY: Final = date(2026, 6, 1)
AGENT_LOGIN: Final = "copilot-swe-agent"
DEPENDENCY_BOTS: Final = ("dependabot", "renovate")
STRANGER_LOGIN: Final = "oss-passer-by"
RELEASE_BRANCH: Final = "release/2026.10"

_STREAM: Final = 0x5052
_FRIDAY: Final = 4
_AGENT_WEEKDAY: Final = 2
_HOUR: Final = 3600
_NUMBER_EVERY: Final = timedelta(seconds=16_500)
"""Issues and pull requests share their numbers, so a number is taken every few hours."""


@dataclass(frozen=True)
class DemoRepository:
    """A repository; `teams` are the slugs that work in it, `first_number` belongs to `first_created`."""

    id: int
    name: str
    teams: tuple[str, ...]
    first_number: int
    first_created: datetime
    default_branch: str = "main"
    is_archived: bool = False


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_REVERTED_CREATED: Final = _moment("2026-10-06T09:30:00Z")

REPOSITORIES: Final = (
    DemoRepository(
        810_442_031, str(REVERTED_PULL_REQUEST["repository"]), ("checkout", "payments"),
        int(str(REVERTED_PULL_REQUEST["number"])), _REVERTED_CREATED,
    ),
    DemoRepository(810_442_077, "fernhill/storefront", ("web", "mobile"), 2306, _REVERTED_CREATED),
    DemoRepository(812_003_518, "fernhill/data-pipelines", ("data-platform", "ml-research"), 977, _REVERTED_CREATED),
    DemoRepository(
        798_115_204, "fernhill/platform", ("core-infra", "support-tools"), 3120, _REVERTED_CREATED, "trunk"
    ),
)  # fmt: skip


@dataclass(frozen=True)
class DemoPullRequest:
    """A merged pull request as GitHub would know it; moments are UTC. `author_login` is None for a deleted account."""

    repository: DemoRepository
    number: int
    title: str
    author_login: str | None
    author_type: str
    created_at: datetime
    merged_at: datetime
    updated_at: datetime
    first_commit_at: datetime
    base_branch: str
    additions: int
    deletions: int
    changed_files: int
    commits: int
    body: str | None = None
    is_draft: bool = False
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    merged_by: str | None = None


def build_pull_requests(organisation: Organisation, seed: int) -> tuple[DemoPullRequest, ...]:
    """Every merged pull request from 2026-06-01 to 2026-11-04, by repository and number."""
    made = [each for day in _working_days() for each in _of_day(organisation, day, seed)]
    reverts = [*_later_reverts(made), _planted_pair()]
    made += [revert for revert, _ in reverts] + [_planted_pair()[1]]
    numbered = {_key(each): each for repository in REPOSITORIES for each in _numbered(repository, made)}
    for revert, target in reverts:
        of = numbered[_key(target)]
        body = f"Reverts {of.repository.name}#{of.number}\n\nIt fails for carts with two tax rates."
        numbered[_key(revert)] = replace(numbered[_key(revert)], body=body)
    return tuple(sorted(numbered.values(), key=lambda each: (each.repository.id, each.number)))


def _key(each: DemoPullRequest) -> tuple[int, datetime, str]:
    return each.repository.id, each.created_at, each.title


def _working_days() -> Iterator[date]:
    day = FIRST_DAY
    while day < AS_OF:
        if day.weekday() <= _FRIDAY:
            yield day
        day += timedelta(days=1)


def _of_day(organisation: Organisation, day: date, seed: int) -> Iterator[DemoPullRequest]:
    draws = Draws(seed, _STREAM, day.toordinal())
    people = organisation.engineers
    for _ in range(2 + int(draws.below(1, 3)[0])):
        author = people[int(draws.below(1, len(people))[0])]
        yield _drawn(draws, day, author)
    for weekday, bot in zip((1, 3), DEPENDENCY_BOTS, strict=True):
        if day.weekday() == weekday:
            pull_request = _drawn(draws, day, people[0])
            yield replace(
                pull_request,
                title=f"Bump the {bot} group with {2 + int(draws.below(1, 5)[0])} updates",
                author_login=bot,
                author_type="Bot",
                labels=("dependencies",),
                additions=4,
                deletions=4,
            )
    if day.weekday() == _AGENT_WEEKDAY:
        asked_by = people[int(draws.below(1, len(people))[0])]
        yield replace(
            _drawn(draws, day, asked_by),
            title="Add tests for the rounding of totals",
            author_login=AGENT_LOGIN,
            author_type="Bot",
            assignees=(AGENT_LOGIN, asked_by.login),
        )
    planted = _PLANTED.get(day)
    if planted is not None:
        author = people[int(draws.below(1, len(people))[0])]
        yield replace(_drawn(draws, day, author), **planted)  # type: ignore[arg-type]


_PLANTED: Final[dict[date, dict[str, object]]] = {
    date(2026, 10, 5): {"author_login": None, "title": "Drop an unused column"},
    date(2026, 10, 12): {"is_draft": True, "title": "Try the new queue"},
    date(2026, 10, 13): {"author_login": STRANGER_LOGIN, "title": "Fix a typo in the readme"},
    date(2026, 10, 15): {"base_branch": RELEASE_BRANCH, "title": "Hold the release at the old rate"},
    date(2026, 10, 20): {"labels": ("backport",), "title": "Backport the fix of the cart"},
}
"""What the ordinary pull request of a day is changed into; the reverts stand in `_later_reverts`."""


def _drawn(draws: Draws, day: date, author: Engineer) -> DemoPullRequest:
    homes = [each for each in REPOSITORIES if author.team_on(day) in each.teams]
    elsewhere = bool(draws.permille(1, 180)[0])
    repository = REPOSITORIES[int(draws.below(1, len(REPOSITORIES))[0])] if elsewhere else homes[0]
    merged = datetime.combine(day, time(), UTC) + timedelta(seconds=int(draws.between(1, 7 * _HOUR, 19 * _HOUR)[0]))
    created = merged - timedelta(seconds=int(draws.between(1, 2 * _HOUR, 70 * _HOUR)[0]))
    commented = timedelta(seconds=int(draws.below(1, 90 * _HOUR)[0]))
    changed = int(draws.between(1, 1, 18)[0])
    additions = changed * int(draws.between(1, 3, 60)[0])
    verb = ("Add", "Fix", "Tidy", "Speed up", "Document")[int(draws.below(1, 5)[0])]
    part = ("the cart", "the tax table", "the import", "the search page", "the retry", "the schema")
    return DemoPullRequest(
        repository=repository,
        number=0,
        title=f"{verb} {part[int(draws.below(1, len(part))[0])]}",
        author_login=author.login,
        author_type="User",
        created_at=created,
        merged_at=merged,
        updated_at=min(merged + commented, datetime.combine(AS_OF, time(), UTC) - timedelta(seconds=1)),
        first_commit_at=created - timedelta(seconds=int(draws.between(1, 600, 60 * _HOUR)[0])),
        base_branch=repository.default_branch,
        additions=additions,
        deletions=additions * int(draws.below(1, 80)[0]) // 100,
        changed_files=changed,
        commits=int(draws.between(1, 1, 9)[0]),
        merged_by=author.login,
    )


def _numbered(repository: DemoRepository, made: list[DemoPullRequest]) -> Iterator[DemoPullRequest]:
    """Numbers in the order of creation; the planted pair keeps its own."""
    last = 0
    mine = [each for each in made if each.repository == repository]
    for each in sorted(mine, key=lambda each: (each.created_at, each.title)):
        steps = (each.created_at - repository.first_created) // _NUMBER_EVERY
        last = max(last + 1, repository.first_number + steps)
        yield replace(each, number=last)


def _planted_pair() -> tuple[DemoPullRequest, DemoPullRequest]:
    """The revert of the incident and the pull request that it takes back."""
    repository = REPOSITORIES[0]
    merged, reverted = (_moment(str(REVERTED_PULL_REQUEST[name])) for name in ("merged_at", "revert_merged_at"))
    target = DemoPullRequest(
        repository=repository,
        number=0,
        title=str(REVERTED_PULL_REQUEST["title"]),
        author_login="priya-raman",
        author_type="User",
        created_at=_REVERTED_CREATED,
        merged_at=merged,
        updated_at=reverted,
        first_commit_at=_REVERTED_CREATED - timedelta(hours=20),
        base_branch=repository.default_branch,
        additions=412,
        deletions=287,
        changed_files=14,
        commits=6,
        labels=("tax",),
        merged_by="harper-whitlow",
    )
    revert = replace(
        target,
        title=f'Revert "{target.title}"',
        author_login="devon-castell",
        created_at=_moment("2026-10-09T07:50:00Z"),
        merged_at=reverted,
        first_commit_at=_moment("2026-10-09T07:44:00Z"),
        additions=target.deletions,
        deletions=target.additions,
        commits=1,
        labels=(),
    )
    return revert, target


def _later_reverts(made: list[DemoPullRequest]) -> Iterator[tuple[DemoPullRequest, DemoPullRequest]]:
    """The other reverts, each with its target: in September a change, its revert and its return; in October one of a
    September change.
    """
    mine = sorted(
        (each for each in made if each.repository == REPOSITORIES[3] and each.author_type == "User"),
        key=lambda each: each.merged_at,
    )
    added = next(each for each in mine if each.merged_at >= _moment("2026-09-07T00:00:00Z"))
    reverted = _revert_of(added, f'Revert "{added.title}"', timedelta(hours=30))
    late = next(each for each in reversed(mine) if each.merged_at < _moment("2026-09-29T00:00:00Z"))
    yield reverted, added
    yield _revert_of(reverted, f'Reapply "{added.title}"', timedelta(hours=26)), reverted
    yield _revert_of(late, f'Revert "{late.title}"', timedelta(days=7)), late


def _revert_of(target: DemoPullRequest, title: str, later: timedelta) -> DemoPullRequest:
    merged = target.merged_at + later
    return replace(
        target,
        title=title,
        created_at=merged - timedelta(minutes=25),
        merged_at=merged,
        updated_at=merged,
        first_commit_at=merged - timedelta(minutes=31),
        commits=1,
        additions=target.deletions,
        deletions=target.additions,
    )
