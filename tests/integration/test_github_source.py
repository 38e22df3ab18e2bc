"""GitHub as a source, against a local server: listings, limits, identities, and what is kept."""

import base64
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from resources.github import REPOSITORIES, GitHubPullRequests
from resources.lake import Lake
from resources.source_error import SourceError
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.providers.books import ProviderBooks
from tokengov_pipelines.demo.providers.faults import ClosedConnection, Delay, Fault, NotJson, Truncated
from tokengov_pipelines.demo.providers.github import (
    DEMO_TOKEN,
    GitHubBooks,
    Instead,
    github_routes,
    graphql_refused,
    primary_limit,
    rate_limited,
    secondary_limit,
)
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.demo.pull_requests import REPOSITORIES as DEMO
from tokengov_pipelines.demo.pull_requests import DemoPullRequest, build_pull_requests
from tokengov_pipelines.settings import GitHubSettings

NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
TABLE = "github_pull_requests"
CHECKOUT, STOREFRONT = DEMO[0], DEMO[1]
ALL = build_pull_requests(build_organisation(), 20_261_105)
GRAPHQL, REST = "/github/api/graphql", "/github/api/v3"
NULL_BY_REST = ("first_commit_at", "additions", "deletions", "changed_files", "commits", "merged_by")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def books() -> GitHubBooks:
    return GitHubBooks(ALL)


@pytest.fixture
def server(books: GitHubBooks) -> Iterator[ProviderServer]:
    with ProviderServer(ProviderBooks(), routes=github_routes(books)) as running:
        yield running


def source(server: ProviderServer, **changes: Any) -> GitHubPullRequests:
    fields: dict[str, Any] = {
        "token": DEMO_TOKEN,
        "base_url": f"{server.url}/github/api/v3",
        "repositories": [CHECKOUT.name],
        "first_pause_seconds": 0.001,
        "attempts": 3,
        "longest_wait_seconds": 5,
        "secondary_wait_seconds": 0.01,
        "timeout_seconds": 5,
        **changes,
    }
    return GitHubPullRequests(**fields)


def rows(lake: Lake, repository: int = CHECKOUT.id) -> list[dict[str, Any]]:
    (path,) = lake.current_files(TABLE, [f"repo={repository}"])
    return pq.read_table(path, partitioning=None).to_pylist()


def row(lake: Lake, number: int) -> dict[str, Any]:
    return next(each for each in rows(lake) if each["number"] == number)


def mine(repository: Any = CHECKOUT) -> list[DemoPullRequest]:
    return [each for each in ALL if each.repository == repository]


def refused(github: GitHubPullRequests, lake: Lake) -> str:
    with pytest.raises(SourceError) as error:
        github.load(lake, NOW)
    message = str(error.value)
    assert message.startswith(f"GitHub at {github.place}: ")
    assert "Fix: " in message
    assert DEMO_TOKEN not in message
    return message


def naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None, microsecond=0)


# --- listings ---------------------------------------------------------------------------------------------------------


def test_every_merged_pull_request_arrives_by_graphql_with_its_size_and_no_body(
    server: ProviderServer, lake: Lake
) -> None:
    (load,) = source(server).load(lake, NOW)
    assert (load.way, load.listed, load.outcome.verdict) == ("graphql", len(mine()), "first")
    assert [each["number"] for each in rows(lake)] == [each.number for each in mine()]
    reverted = next(each for each in mine() if each.number == 1857)
    assert row(lake, 1857) == {
        "pr_key": f"{CHECKOUT.id}#1857",
        "repository_id": CHECKOUT.id,
        "repository": "fernhill/checkout-api",
        "number": 1857,
        "title": 'Revert "Move tax rounding to the cart service"',
        "author_login": "devon-castell",
        "author_type": "User",
        "created_at": naive(reverted.created_at),
        "merged_at": dt.datetime(2026, 10, 9, 8, 40),
        "updated_at": dt.datetime(2026, 10, 9, 8, 40),
        "first_commit_at": dt.datetime(2026, 10, 9, 7, 44),
        "base_branch": "main",
        "default_branch": "main",
        "is_draft": False,
        "additions": 287,
        "deletions": 412,
        "changed_files": 14,
        "commits": 1,
        "labels": "[]",
        "assignees": "[]",
        "merged_by": "harper-whitlow",
        "reverts_repository": "fernhill/checkout-api",
        "reverts_number": 1842,
    }


def test_rest_takes_over_where_graphql_is_refused_and_leaves_null_what_it_lacks(
    server: ProviderServer, books: GitHubBooks, lake: Lake, tmp_path: Path
) -> None:
    books.planned.append(graphql_refused(403))
    other = Lake(root=str(tmp_path / "other"), cache_dir=str(tmp_path / "cache"))
    both = [CHECKOUT.name, STOREFRONT.name]
    loads = source(server, repositories=both).load(lake, NOW)
    assert [load.way for load in loads] == ["rest", "rest"]
    assert sum(endpoint == "graphql" for endpoint, _ in books.asked) == 0
    assert len(server.requests_to(GRAPHQL)) == 1
    books.planned.clear()
    assert [load.way for load in source(server, repositories=both).load(other, NOW)] == ["graphql", "graphql"]
    for by_rest, by_graphql in zip(rows(lake), rows(other), strict=True):
        assert all(by_rest[name] is None for name in NULL_BY_REST)
        assert all(by_graphql[name] is not None for name in NULL_BY_REST[:-1])
        login = by_graphql["author_login"]
        suffix = "[bot]" if by_graphql["author_type"] == "Bot" else ""
        assert by_rest == {
            **by_graphql,
            **dict.fromkeys(NULL_BY_REST),
            "author_login": login and login + suffix,
            "author_type": by_graphql["author_type"],
        }


def test_a_ghost_has_neither_login_nor_type_whichever_way_it_comes(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    ghost = next(each for each in ALL if each.author_login is None)
    books.planned.append(replace(graphql_refused(404), times=0))
    for times in (0, None):
        books.planned[0].times = times
        source(server, repositories=[ghost.repository.name]).load(lake, NOW)
        found = next(each for each in rows(lake, ghost.repository.id) if each["number"] == ghost.number)
        assert (found["author_login"], found["author_type"]) == (None, None)


@pytest.mark.parametrize("way", ["graphql", "rest"])
def test_the_same_rows_whether_pages_hold_one_or_a_hundred(way: str, tmp_path: Path) -> None:
    found = []
    for page_limit in (1, 7, 100):
        books = GitHubBooks(ALL, planned=[graphql_refused()] if way == "rest" else [])
        lake = Lake(root=str(tmp_path / f"{page_limit}"), cache_dir=str(tmp_path / "cache"))
        with ProviderServer(ProviderBooks(), routes=github_routes(books, page_limit=page_limit)) as server:
            (load,) = source(server).load(lake, NOW)
            assert load.way == way
        found.append((load.outcome.seen.sha256, load.listed))
    assert set(found) == {(found[0][0], len(mine()))}


def test_more_than_a_thousand_pull_requests_arrive(lake: Lake) -> None:
    """A search ends after 1,000 results; the complete listing does not."""
    template = mine()[0]
    many = [
        replace(template, number=number, updated_at=template.updated_at + dt.timedelta(minutes=number), body=None)
        for number in range(1, 2_351)
    ]
    books = GitHubBooks(many)
    with ProviderServer(ProviderBooks(), routes=github_routes(books)) as server:
        (load,) = source(server).load(lake, NOW)
        assert load.listed == 2_350
        assert [each["number"] for each in rows(lake)] == list(range(1, 2_351))
        books.planned.append(graphql_refused())
        again = Lake(root=f"{lake.root}-rest", cache_dir=lake.cache_dir)
        (load,) = source(server).load(again, NOW)
        assert (load.way, load.listed) == ("rest", 2_350)


def test_an_organisation_brings_all_its_repositories_and_none_twice(server: ProviderServer, lake: Lake) -> None:
    loads = source(server, repositories=["Fernhill/Checkout-API"], organization="fernhill", page_size=3).load(lake, NOW)
    assert {load.repository.name for load in loads} == {each.name for each in DEMO}
    assert len(loads) == len(DEMO)
    assert lake.partitions(TABLE) == sorted(f"repo={each.id}" for each in DEMO)
    (path,) = lake.current_files(REPOSITORIES)
    covered = pq.read_table(path, partitioning=None).to_pylist()
    assert {(each["repository_id"], each["repository"], each["way"]) for each in covered} == {
        (each.id, each.name, "graphql") for each in DEMO
    }


def test_a_pull_request_that_changes_while_its_listing_runs_is_not_missed(lake: Lake) -> None:
    books = GitHubBooks(ALL)
    last = books.newest_first(CHECKOUT)[-1]

    class Moving(GitHubBooks):
        """The oldest pull request gets a comment once the first page was given."""

        def newest_first(self, repository: Any) -> list[DemoPullRequest]:
            if len(self.asked) == 2:
                touched = replace(last, updated_at=dt.datetime(2026, 11, 4, 23, 59, 59, tzinfo=dt.UTC), title="Touched")
                self.pull_requests = [touched if each == last else each for each in ALL]
            return super().newest_first(repository)

    for way in ("graphql", "rest"):
        moving = Moving(ALL, planned=[graphql_refused()] if way == "rest" else [])
        own = Lake(root=f"{lake.root}-{way}", cache_dir=lake.cache_dir)
        with ProviderServer(ProviderBooks(), routes=github_routes(moving, page_limit=20)) as server:
            (load,) = source(server).load(own, NOW)
        assert (load.way, load.listed) == (way, len(mine()))
        assert row(own, last.number)["title"] == "Touched"


@pytest.mark.parametrize(
    ("base_url", "graphql"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://github.example.com/api/v3/", "https://github.example.com/api/graphql"),
        ("https://api.fernhill.ghe.com", "https://api.fernhill.ghe.com/graphql"),
    ],
)
def test_graphql_is_found_beside_rest_on_every_kind_of_github(base_url: str, graphql: str) -> None:
    with GitHubPullRequests(token=DEMO_TOKEN, base_url=base_url).connected() as api:
        assert api.client.requester.graphql_url == graphql


def test_the_resource_takes_the_settings_as_they_are() -> None:
    settings = GitHubSettings.model_validate({"repositories": ["a/b"], "since": "2026-10-01"})
    github = GitHubPullRequests(**settings.model_dump(mode="json"))
    assert (github.repositories, github.since, github.overlap_hours) == (["a/b"], "2026-10-01", 48)
    assert GitHubPullRequests(**GitHubSettings().model_dump(mode="json")).repositories == []


# --- incremental ------------------------------------------------------------------------------------------------------


def test_a_second_reading_asks_for_the_recent_ones_only_and_an_equal_one_changes_nothing(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    github = source(server, page_size=10)
    first = github.load(lake, NOW)[0].outcome
    pages = len(books.asked)
    books.asked.clear()
    (load,) = github.load(lake, NOW + dt.timedelta(hours=6))
    assert load.outcome.verdict == "unchanged"
    assert load.outcome.current == first.current
    assert len(books.asked) < pages / 3
    newest = max(naive(each.updated_at) for each in mine())
    assert load.listed == sum(naive(each.updated_at) >= newest - dt.timedelta(hours=48) for each in mine())


def test_a_new_listing_is_laid_over_the_old_one_by_repository_and_number(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    github = source(server)
    github.load(lake, NOW)
    old, gone = mine()[3], books.newest_first(CHECKOUT)[2]
    late = replace(old, updated_at=NOW, labels=("backport", "late"))
    added = replace(old, number=5000, merged_at=NOW, updated_at=NOW, title="New")
    books.pull_requests = [late if each == old else each for each in ALL if each != gone] + [added]
    (load,) = github.load(lake, NOW + dt.timedelta(days=1))
    assert load.outcome.verdict == "grown"
    assert len(rows(lake)) == len(mine()) + 1
    assert row(lake, old.number)["labels"] == '["backport", "late"]'
    assert row(lake, gone.number)["title"] == gone.title
    assert [each["number"] for each in rows(lake)] == sorted(each["number"] for each in rows(lake))


def test_what_rest_cannot_say_stays_and_graphql_fills_it_in_later(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    github = source(server)
    github.load(lake, NOW)
    whole = rows(lake)
    books.planned.append(graphql_refused())
    newest = books.newest_first(CHECKOUT)[0]
    books.pull_requests = [replace(each, title="Renamed") if each == newest else each for each in ALL]
    github.load(lake, NOW)
    assert row(lake, newest.number)["title"] == "Renamed"
    assert [each["additions"] for each in rows(lake)] == [each["additions"] for each in whole]
    other = Lake(root=f"{lake.root}-other", cache_dir=lake.cache_dir)
    books.pull_requests = ALL
    github.load(other, NOW)
    assert {each["commits"] for each in rows(other)} == {None}
    books.planned.clear()
    (load,) = github.load(other, NOW)
    assert (load.way, load.listed) == ("graphql", len(mine()))
    assert [each["commits"] for each in rows(other)] == [each["commits"] for each in whole]


def test_since_leaves_older_changes_out_and_an_earlier_since_reads_them_later(
    server: ProviderServer, lake: Lake
) -> None:
    def expected(since: dt.datetime) -> list[int]:
        return [each.number for each in mine() if naive(each.updated_at) >= since]

    october, august = dt.datetime(2026, 10, 1), dt.datetime(2026, 8, 1)
    source(server, since="2026-10-01").load(lake, NOW)
    assert [each["number"] for each in rows(lake)] == expected(october)
    source(server, since="2026-08-01").load(lake, NOW)
    assert [each["number"] for each in rows(lake)] == expected(august)
    source(server, since="2026-10-01").load(lake, NOW)
    assert [each["number"] for each in rows(lake)] == expected(august)
    source(server).load(lake, NOW)
    assert len(rows(lake)) == len(mine())


@pytest.mark.parametrize("way", ["graphql", "rest"])
def test_a_renamed_repository_is_followed_and_keeps_its_partition(
    server: ProviderServer, books: GitHubBooks, lake: Lake, way: str
) -> None:
    books.planned.extend([graphql_refused()] if way == "rest" else [])
    source(server).load(lake, NOW)
    renamed = replace(CHECKOUT, name="fernhill/cart")
    books.pull_requests = [replace(each, repository=renamed) for each in mine()]
    books.renamed = {CHECKOUT.name: renamed.name}
    (load,) = source(server, repositories=[CHECKOUT.name, "fernhill/cart"]).load(lake, NOW)
    assert load.repository.name == "fernhill/cart"
    assert lake.partitions(TABLE) == [f"repo={CHECKOUT.id}"]
    assert {each["repository"] for each in rows(lake)} == {"fernhill/cart"}
    # The body still says the old name; the target is found under the new one.
    assert row(lake, 1857)["reverts_repository"] == "fernhill/cart"


def test_the_default_branch_is_the_one_at_the_first_sight_of_a_pull_request(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    source(server).load(lake, NOW)
    moved = replace(CHECKOUT, default_branch="trunk")
    late = replace(mine()[-1], number=6000, updated_at=NOW, base_branch="trunk")
    books.pull_requests = [replace(each, repository=moved) for each in [*mine(), late]]
    source(server).load(lake, NOW)
    assert {each["default_branch"] for each in rows(lake) if each["number"] < 6000} == {"main"}
    assert row(lake, 6000)["default_branch"] == "trunk"


def test_a_repository_without_a_merged_pull_request_is_a_proven_zero(lake: Lake) -> None:
    class Empty(GitHubBooks):
        @property
        def repositories(self) -> list[Any]:
            return [CHECKOUT]

    books = Empty([])
    with ProviderServer(ProviderBooks(), routes=github_routes(books)) as server:
        assert source(server).load(lake, NOW)[0].outcome.verdict == "zero_proven"
        books.planned.append(graphql_refused())
        (load,) = source(server).load(lake, NOW)
    assert (load.way, load.outcome.verdict) == ("rest", "unchanged")


def test_a_listing_that_breaks_off_leaves_the_load_before_it(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    github = source(server, page_size=10, since="2026-06-01")
    before = github.load(lake, NOW)[0].outcome.current
    books.pull_requests = [replace(each, title="Other", updated_at=NOW) for each in ALL]
    server.plant(Fault(GRAPHQL, NotJson(), first=4, times=None))
    message = refused(github, lake)
    assert "page 4: the body is not JSON" in message
    assert lake.current(TABLE, f"repo={CHECKOUT.id}") == before
    assert "Other" not in {each["title"] for each in rows(lake)}


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [
        rate_limited(-5),
        primary_limit(-5),
        primary_limit(-5, status=429),
        secondary_limit(0),
        secondary_limit(1, status=429),
        secondary_limit(None),
        Instead(502, {"message": "Bad gateway"}),
        Instead(200, {"errors": [{"message": "Something went wrong while executing your query."}]}, {}, "graphql"),
    ],
    ids=lambda limit: f"{limit.status}-{json.dumps(limit.body)[:40]}-{dict(limit.headers).get('retry-after')}",
)
def test_a_limit_that_ends_soon_is_waited_for(
    server: ProviderServer, books: GitHubBooks, lake: Lake, limit: Instead
) -> None:
    books.planned.append(replace(limit))
    (load,) = source(server).load(lake, NOW)
    assert (load.way, load.listed) == ("graphql", len(mine()))
    assert len(server.requests_to(GRAPHQL)) == 3 + 2  # three pages, one refused, and the front once more


@pytest.mark.parametrize("make", [rate_limited, primary_limit])
def test_a_limit_that_ends_late_is_an_error_that_says_when(
    server: ProviderServer, books: GitHubBooks, lake: Lake, make: Any
) -> None:
    limit = make(2_000)
    books.planned.append(limit)
    message = refused(source(server), lake)
    ends = dt.datetime.fromtimestamp(int(limit.headers["x-ratelimit-reset"]) + 1, dt.UTC)
    assert f"it resets at {ends:%Y-%m-%d %H:%M}" in message
    assert "later than the 5 s that are waited. Fix: run it again then." in message
    assert len(server.requests) == 1
    assert lake.partitions(TABLE) == []


def test_a_secondary_limit_waits_longer_each_time_and_then_says_so(
    server: ProviderServer, books: GitHubBooks, lake: Lake
) -> None:
    books.planned.append(secondary_limit(None, times=None))
    assert "a secondary limit was met (403); tried 3 times" in refused(source(server), lake)
    books.planned[0] = secondary_limit(3_600, status=429, times=None)
    assert "a secondary limit was met (429); it resets at" in refused(source(server), lake)


def test_a_limit_is_no_reason_to_fall_back_to_rest(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    books.planned.append(primary_limit(2_000, status=403, times=None))
    refused(source(server), lake)
    assert server.requests_to(REST) == ()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_an_unknown_repository_is_named(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    message = refused(source(server, repositories=["fernhill/nothing"]), lake)
    assert "fernhill/nothing: merged pull requests by GraphQL, page 1: GraphQL answered NOT_FOUND" in message
    assert "may read the repository" in message
    books.planned.append(graphql_refused(404))
    assert "fernhill/nothing: refused with 404, Not Found. Fix: check the name" in refused(
        source(server, repositories=["fernhill/nothing"]), lake
    )
    assert "organization nobody: repositories, page 1: refused with 404" in refused(
        source(server, organization="nobody"), lake
    )


def test_a_refused_token_is_never_shown(server: ProviderServer, lake: Lake) -> None:
    secret = "ghp_" + "s3cret" * 6
    github = source(server, token=secret)
    with pytest.raises(SourceError) as error:
        github.load(lake, NOW)
    assert "refused with 401, Bad credentials. Fix: export a valid token in TOKENGOV_GITHUB_TOKEN." in str(error.value)
    assert secret not in str(error.value)


def test_an_error_that_echoes_secrets_is_redacted(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    leak = f"token {DEMO_TOKEN} and ghs_{'a' * 30} of Bearer eyJhbGciOi.eyJpc3Mi.c2ln are wrong"
    for status in (400, 422, 451):
        books.planned[:] = [Instead(status, {"message": leak}, {}, "graphql", None)]
        message = refused(source(server), lake)
        assert f"refused with {status}, " in message
        assert "ghs_" not in message
        assert "eyJ" not in message
    errors = [{"type": "FORBIDDEN", "message": leak}]
    books.planned[:] = [Instead(200, {"data": None, "errors": errors}, {}, "graphql", None)]
    message = refused(source(server), lake)
    assert "GraphQL answered FORBIDDEN" in message
    assert "ghs_" not in message


def test_an_answer_with_data_and_errors_is_an_error(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    whole = {"data": {"repository": {"databaseId": 1}}, "errors": [{"message": "a node could not be read"}]}
    books.planned.append(Instead(200, whole, {}, "graphql", None))
    message = refused(source(server), lake)
    assert "GraphQL answered an error: a node could not be read; nothing was kept" in message
    assert lake.partitions(TABLE) == []


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (ClosedConnection(), "the connection failed or was cut off (ConnectionError); tried 3 times"),
        (Truncated(), "the connection failed or was cut off (ChunkedEncodingError); tried 3 times"),
        (NotJson(), "the body is not JSON at character 0"),
        (Delay(1.5), "no answer in time; tried 3 times"),
    ],
)
def test_a_broken_answer_is_tried_again_and_then_named(
    server: ProviderServer, lake: Lake, action: Any, words: str
) -> None:
    server.plant(Fault(GRAPHQL, action, times=None))
    assert words in refused(source(server, timeout_seconds=1), lake)
    assert len(server.requests_to(GRAPHQL)) == 3
    assert lake.partitions(TABLE) == []


def test_a_listing_that_leads_back_to_itself_ends(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    class Circle(GitHubBooks):
        def newest_first(self, repository: Any) -> list[DemoPullRequest]:
            return super().newest_first(repository)[:1] * 3

    with ProviderServer(ProviderBooks(), routes=github_routes(Circle(ALL), page_limit=1)) as circling:
        assert "the listing leads back to a page that was read" in refused(source(circling), lake)
    with ProviderServer(
        ProviderBooks(), routes=github_routes(Circle(ALL, planned=[graphql_refused()]), page_limit=1)
    ) as circling:
        assert "the listing leads back to a page that was read" in refused(source(circling), lake)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": "", "app_id": None}, "TOKENGOV_GITHUB_TOKEN is not set"),
        ({"token": "ghp_x\n"}, "TOKENGOV_GITHUB_TOKEN holds characters that no token has"),
        ({"app_id": 7}, "github.app_id is set without github.installation_id"),
        ({"app_id": 7, "installation_id": 8}, "TOKENGOV_GITHUB_APP_PRIVATE_KEY is not set"),
        ({"app_id": 7, "installation_id": 8, "app_private_key": "rubbish"}, "no token can be made with the key"),
        ({"repositories": []}, "there is no repository to read"),
        ({"repositories": ["fernhill"]}, "github.repositories holds 'fernhill'"),
        ({"repositories": ["fernhill/.."]}, "github.repositories holds 'fernhill/..'"),
        ({"repositories": ["a/b?state=open"]}, "github.repositories holds 'a/b?state=open'"),
        ({"organization": "a/b"}, "github.organization is 'a/b'"),
        ({"since": "yesterday"}, "github.since is 'yesterday'"),
        ({"base_url": "api.github.com"}, "github.base_url is no URL"),
        ({"base_url": "http://127.0.0.1:9/api/v3"}, "the connection failed or was cut off (ConnectionError)"),
    ],
)
def test_a_wrong_setting_is_one_clear_message(
    server: ProviderServer, lake: Lake, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    for name in ("TOKENGOV_GITHUB_TOKEN", "TOKENGOV_GITHUB_APP_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert words in refused(source(server, **changes), lake)


def test_secrets_come_from_the_environment_where_the_settings_hold_none(
    server: ProviderServer, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENGOV_GITHUB_TOKEN", DEMO_TOKEN)
    assert source(server, token="").load(lake, NOW)[0].listed == len(mine())


def test_a_redirect_to_another_host_is_refused_with_the_token_kept(lake: Lake) -> None:
    async def elsewhere(_request: Request) -> JSONResponse:
        return JSONResponse({}, 301, {"location": "https://elsewhere.example/api/v3/repos"})

    async def refuse(_request: Request) -> JSONResponse:
        return JSONResponse({"message": "Not Found"}, 404)

    routes = [
        Route("/github/api/graphql", refuse, methods=["POST"]),
        Route("/github/api/v3/{rest:path}", elsewhere),
    ]
    with ProviderServer(ProviderBooks(), routes=routes) as server:
        message = refused(source(server), lake)
    assert "redirected from http protocol to https" in message
    assert "correct github.base_url" in message


# --- identities -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


class AppSite:
    """Issues installation tokens to an App whose signature is right, as GitHub does."""

    def __init__(self, key: rsa.RSAPrivateKey, lifetime: dt.timedelta = dt.timedelta(hours=1)) -> None:
        self._public, self._lifetime = key.public_key(), lifetime
        self.issued = 0
        self.answer: JSONResponse | None = None

    async def token(self, request: Request) -> JSONResponse:
        claims = jwt.decode(request.headers["authorization"].split()[1], self._public, algorithms=["RS256"])
        assert (claims["iss"], request.path_params["id"]) == ("41", 42)
        if self.answer is not None:
            return self.answer
        self.issued += 1
        expires = dt.datetime.now(dt.UTC) + self._lifetime
        return JSONResponse({"token": DEMO_TOKEN, "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}, 201)

    def routes(self, books: GitHubBooks) -> list[Route]:
        path = "/github/api/v3/app/installations/{id:int}/access_tokens"
        return [Route(path, self.token, methods=["POST"]), *github_routes(books)]


@pytest.mark.parametrize("one_line", [False, True])
def test_an_app_signs_in_and_uses_one_token_for_many_requests(
    private_key: rsa.RSAPrivateKey, lake: Lake, one_line: bool
) -> None:
    site = AppSite(private_key)
    key = pem(private_key).replace("\n", "\\n") if one_line else pem(private_key)
    with ProviderServer(ProviderBooks(), routes=site.routes(GitHubBooks(ALL))) as server:
        github = source(server, token="", app_id=41, installation_id=42, app_private_key=key, page_size=10)
        assert github.load(lake, NOW)[0].listed == len(mine())
    assert site.issued == 1


def test_an_apps_token_is_made_anew_when_it_runs_out(private_key: rsa.RSAPrivateKey, lake: Lake) -> None:
    site = AppSite(private_key, lifetime=dt.timedelta(seconds=5))  # less than the time left at which it is renewed
    with ProviderServer(ProviderBooks(), routes=site.routes(GitHubBooks(ALL))) as server:
        source(server, token="", app_id=41, installation_id=42, app_private_key=pem(private_key)).load(lake, NOW)
    assert site.issued > 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (JSONResponse({"message": "Integration not found"}, 404), "GitHub gave the App no token (404, Integration"),
        (JSONResponse({"message": "no"}, 401), "GitHub gave the App no token (401, no)"),
        (JSONResponse({"token": DEMO_TOKEN, "expires_at": 7}, 201), "no token can be made with the key"),
        (JSONResponse({"message": "broken"}, 500), "GitHub answered 500, broken; tried 3 times"),
    ],
)
def test_an_app_that_gets_no_token_is_one_clear_message(
    private_key: rsa.RSAPrivateKey, lake: Lake, answer: JSONResponse, words: str
) -> None:
    site = AppSite(private_key)
    site.answer = answer
    key = pem(private_key)
    with ProviderServer(ProviderBooks(), routes=site.routes(GitHubBooks(ALL))) as server:
        message = refused(source(server, token="", app_id=41, installation_id=42, app_private_key=key), lake)
    assert words in message
    assert base64.b64encode(key.encode()).decode()[:40] not in message
    assert "PRIVATE KEY-----" not in message
