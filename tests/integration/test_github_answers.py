"""Answers of GitHub that are broken, odd or recorded: each is loaded whole, or refused by source and field."""

import copy
import csv
import datetime as dt
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from resources.github import GitHubPullRequests
from resources.lake import Lake
from resources.source_error import SourceError
from tests.conftest import need_real_data
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.providers.books import ProviderBooks
from tokengov_pipelines.demo.providers.github import DEMO_TOKEN, GitHubBooks, github_routes
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.demo.pull_requests import DemoPullRequest, DemoRepository, build_pull_requests

NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
TABLE = "github_pull_requests"
REPOSITORY = {"id": 77, "full_name": "fernhill/shop", "default_branch": "main"}
LEAVE = object()


class Site:
    """Serves whatever it is told to: one answer for GraphQL, pages of answers for the REST listing."""

    graphql: bytes | None = None
    repository: bytes = json.dumps(REPOSITORY).encode()
    pages: tuple[bytes, ...] = ()

    async def answer(self, request: Request) -> Response:
        if request.url.path.endswith("/graphql"):
            if self.graphql is None:
                return Response(b'{"message": "Not Found"}', 404, media_type="application/json")
            return Response(self.graphql, media_type="application/json")
        if request.url.path.endswith("/pulls"):
            page = int(request.query_params["page"])
            body = self.pages[page - 1] if page <= len(self.pages) else b"[]"
            return Response(body, media_type="application/json")
        return Response(self.repository, media_type="application/json")


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@pytest.fixture(scope="module")
def url(site: Site) -> Iterator[str]:
    route = Route("/github/api/{rest:path}", site.answer, methods=["GET", "POST"])
    with ProviderServer(ProviderBooks(), routes=[route]) as server:
        yield server.url


def load(url: str, folder: str) -> tuple[list[dict[str, Any]] | None, str]:
    """The rows of a first reading, or None and the refusal; a refusal leaves nothing behind."""
    lake = Lake(root=f"{folder}/lake", cache_dir=f"{folder}/cache")
    github = GitHubPullRequests(
        token=DEMO_TOKEN,
        base_url=f"{url}/github/api/v3",
        repositories=["fernhill/shop"],
        attempts=1,
        first_pause_seconds=0.001,
        longest_wait_seconds=0,
    )
    try:
        github.load(lake, NOW)
    except SourceError as error:
        assert lake.partitions(TABLE) == []
        assert lake.partitions("github_repositories") == []
        return None, str(error)
    (path,) = lake.current_files(TABLE)
    return pq.read_table(path, partitioning=None).to_pylist(), ""


def outcome(site: Site, url: str, graphql: bytes | None = None, pages: tuple[bytes, ...] = ()) -> Any:
    site.graphql, site.pages, site.repository = graphql, pages, json.dumps(REPOSITORY).encode()
    with tempfile.TemporaryDirectory() as folder:
        return load(url, folder)


NODE: dict[str, Any] = {
    "number": 12,
    "title": "Round once",
    "body": "Reverts fernhill/shop#11",
    "isDraft": False,
    "createdAt": "2026-10-06T09:30:00Z",
    "mergedAt": "2026-10-07T15:12:00Z",
    "updatedAt": "2026-10-08T00:00:00Z",
    "baseRefName": "main",
    "additions": 10,
    "deletions": 2,
    "changedFiles": 3,
    "author": {"__typename": "User", "login": "ann"},
    "mergedBy": {"login": "bob"},
    "assignees": {"nodes": [{"login": "bob"}]},
    "labels": {"nodes": [{"name": "bug"}]},
    "commits": {"totalCount": 4, "nodes": [{"commit": {"authoredDate": "2026-10-05T08:00:00Z"}}]},
}
GRAPHQL: dict[str, Any] = {
    "data": {
        "repository": {
            "databaseId": 77,
            "nameWithOwner": "fernhill/shop",
            "defaultBranchRef": {"name": "main"},
            "pullRequests": {
                "pageInfo": {"hasNextPage": False, "endCursor": "c1"},
                "nodes": [NODE, {**copy.deepcopy(NODE), "number": 11, "body": "", "author": None, "mergedBy": None}],
            },
        }
    }
}
ITEM: dict[str, Any] = {
    "number": 12,
    "state": "closed",
    "title": "Round once",
    "body": "Reverts fernhill/shop#11\r\n",
    "user": {"login": "ann", "type": "User"},
    "assignees": [{"login": "bob"}],
    "labels": [{"name": "bug"}],
    "draft": False,
    "created_at": "2026-10-06T09:30:00Z",
    "merged_at": "2026-10-07T15:12:00Z",
    "updated_at": "2026-10-08T00:00:00Z",
    "base": {"ref": "main", "repo": {"id": 77}},
}
ITEMS: list[Any] = [ITEM, {**copy.deepcopy(ITEM), "number": 11, "merged_at": None}]

Path_ = tuple[Any, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every place of an answer, as the keys that lead to it."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(answer: Any, path: Path_, value: Any) -> bytes:
    """The answer with another value at a place, or without the place (`LEAVE`)."""
    whole = copy.deepcopy(answer)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    if value is LEAVE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(whole).encode()


def field_of(path: Path_) -> str:
    return next((key for key in reversed(path) if isinstance(key, str)), f"[{path[0]}]")


def get(answer: Any, path: Path_) -> Any:
    for key in path:
        answer = answer[key]
    return answer


def wrong(value: Any) -> list[Any]:
    """Values of other types than this one."""
    others: list[Any] = ["7 o'clock", 7.5, True, [], {}, [None]]
    kinds = (dict, list, str, bool, int)
    mine = next(kind for kind in kinds if isinstance(value, kind)) if value is not None else type(None)
    return [other for other in others if not isinstance(other, mine) or (mine is int and isinstance(other, bool))]


FIRST_NODE = ("data", "repository", "pullRequests", "nodes", 0)
# May be null by GitHub's schema, and then it is null in the row or unused.
NULLABLE = {
    ("data", "repository", "defaultBranchRef"),
    ("data", "repository", "pullRequests", "pageInfo", "endCursor"),
    *((*FIRST_NODE, name) for name in ("body", "author", "mergedBy")),
    *((0, name) for name in ("body", "user", "merged_at")),
}
UNREAD = {("data", "repository", "pullRequests", "pageInfo", "endCursor")}
GRAPHQL_CASES = [
    (path, value)
    for path in places(GRAPHQL)
    if path[:5] != (*FIRST_NODE[:4], 1)
    for value in [LEAVE, None, *wrong(get(GRAPHQL, path))]
    if not (value is LEAVE and isinstance(path[-1], int))
    and path not in UNREAD
    and not (value is None and path in NULLABLE)
]
REST_CASES = [
    (path, value)
    for path in places(ITEMS)
    if path[0] == 0
    for value in [LEAVE, None, *wrong(get(ITEMS, path))]
    if not (value is LEAVE and isinstance(path[-1], int)) and not (value is None and path in NULLABLE)
]


def is_harmless(path: Path_, value: Any) -> bool:
    """An empty list is a right list."""
    return value == [] and field_of(path) in {"labels", "assignees", "nodes"}


def test_there_are_more_than_two_hundred_broken_answers() -> None:
    assert len(GRAPHQL_CASES) + len(REST_CASES) > 400


def test_the_unbroken_answers_load(site: Site, url: str) -> None:
    by_graphql, _ = outcome(site, url, json.dumps(GRAPHQL).encode())
    by_rest, _ = outcome(site, url, None, (json.dumps(ITEMS).encode(),))
    assert [(row["number"], row["author_login"], row["reverts_number"]) for row in by_graphql] == [
        (11, None, None),
        (12, "ann", 11),
    ]
    # An item that was closed without a merge is none of ours.
    assert [(row["number"], row["author_login"], row["reverts_number"]) for row in by_rest] == [(12, "ann", 11)]


@pytest.mark.parametrize("way", ["graphql", "rest"])
def test_every_field_that_is_missing_null_or_of_another_type_is_named(site: Site, url: str, way: str) -> None:
    answer, cases = (GRAPHQL, GRAPHQL_CASES) if way == "graphql" else (ITEMS, REST_CASES)
    for path, value in cases:
        if is_harmless(path, value):
            continue
        body = changed(answer, path, value)
        rows, refusal = outcome(site, url, *((body,) if way == "graphql" else (None, (body,))))
        shown = ("left out" if value is LEAVE else value, path)
        assert rows is None, shown
        assert refusal.startswith(f"GitHub at {url.removeprefix('http://')}: fernhill/shop: "), (refusal, shown)
        assert field_of(path) in refusal, (refusal, shown)
        assert "Fix: " in refusal, (refusal, shown)


def test_what_github_may_leave_null_loads_as_null(site: Site, url: str) -> None:
    for path in NULLABLE:
        in_graphql = path[0] == "data"
        body = changed(GRAPHQL if in_graphql else ITEMS, path, None)
        rows, refusal = outcome(site, url, *((body,) if in_graphql else (None, (body,))))
        assert refusal == "", path
        assert len(rows) == (2 if in_graphql else 0 if path[-1] == "merged_at" else 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", 0),
        ("number", -12),
        ("number", 2**63),
        ("number", 12.5),
        ("additions", -1),
        ("additions", 10**30),
        ("title", "a\x00b"),
        ("title", "half \ud83d a smile"),
        ("mergedAt", "2026-10-07"),
        ("mergedAt", "2026-10-07T15:12:00"),
        ("mergedAt", "2026-13-07T15:12:00Z"),
        ("mergedAt", "0001-01-01T00:00:00+23:00"),
        ("mergedAt", "9999-12-31T23:59:59-23:00"),
        ("updatedAt", ""),
        ("updatedAt", 1_790_000_000),
    ],
)
def test_values_that_cannot_be_are_named(site: Site, url: str, field: str, value: Any) -> None:
    rows, refusal = outcome(site, url, changed(GRAPHQL, (*FIRST_NODE, field), value))
    assert rows is None
    assert f"pullRequests.nodes[0].{field} " in refusal


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{}",
        b'{"data": null}',
        b'{"data": {"repository": null}}',
        b'{"data": {}}',
        b'{"errors": []}',
        b'{"errors": [{}]}',
        b'{"errors": {"message": "an object"}}',
        b'{"errors": ["a text"]}',
        b'{"message": "a page"}',
        b"{",
        b"\xff\xfe{}",
        b"<html></html>",
        b'{"data": 1, "data": 2}',
        b'{"data": NaN}',
        b"[" * 100_000,
        b"1" * 10_000,
    ],
)
def test_an_answer_that_is_no_answer_is_refused_either_way(site: Site, url: str, body: bytes) -> None:
    rows, refusal = outcome(site, url, body)
    assert rows is None
    assert refusal.startswith(
        f"GitHub at {url.removeprefix('http://')}: fernhill/shop: merged pull requests by GraphQL"
    )
    assert "Fix: " in refusal
    if body != b"[]":
        rows, refusal = outcome(site, url, None, (body,))
        assert rows is None
        assert "fernhill/shop: closed pull requests, page 1: " in refusal
    site.repository, site.pages = body, ()
    with tempfile.TemporaryDirectory() as folder:
        rows, refusal = load(url, folder)
    assert rows is None
    assert "fernhill/shop: " in refusal


def test_a_page_of_another_repository_is_refused(site: Site, url: str) -> None:
    rows, refusal = outcome(site, url, None, (changed(ITEMS, (0, "base", "repo", "id"), 78),))
    assert rows is None
    assert "[0].base.repo.id is 78, and repository 77 was asked for" in refusal
    rows, refusal = outcome(site, url, None, (changed(ITEMS, (1, "state"), "open"),))
    assert rows is None
    assert "[1].state is 'open' although closed ones were asked for" in refusal


def test_more_pages_that_are_not_there_are_refused(site: Site, url: str) -> None:
    page = ("data", "repository", "pullRequests")
    more = json.loads(changed(GRAPHQL, (*page, "pageInfo", "hasNextPage"), True))
    rows, refusal = outcome(site, url, json.dumps(more).encode())
    assert rows is None
    assert "leads back to a page that was read" in refusal
    rows, refusal = outcome(site, url, changed(more, (*page, "pageInfo", "endCursor"), None))
    assert rows is None
    assert "endCursor is null" in refusal
    rows, refusal = outcome(site, url, changed(more, (*page, "nodes"), []))
    assert rows is None
    assert "nodes is empty although more pages follow" in refusal


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATIENT = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PATIENT
@given(place=st.sampled_from(list(places(GRAPHQL))), value=JSON)
def test_whatever_stands_in_a_place_loads_whole_or_is_refused(site: Site, url: str, place: Path_, value: Any) -> None:
    rows, refusal = outcome(site, url, changed(GRAPHQL, place, value))
    if rows is None:
        assert refusal.startswith("GitHub at 127.0.0.1:")
        assert "Fix: " in refusal
    else:
        nodes = get(json.loads(changed(GRAPHQL, place, value)), FIRST_NODE[:4])
        assert {row["number"] for row in rows} == {node["number"] for node in nodes}


@PATIENT
@given(place=st.sampled_from(list(places(ITEMS))), value=JSON)
def test_the_same_by_rest(site: Site, url: str, place: Path_, value: Any) -> None:
    body = changed(ITEMS, place, value)
    rows, refusal = outcome(site, url, None, (body,))
    if rows is None:
        assert refusal.startswith("GitHub at 127.0.0.1:")
        assert "Fix: " in refusal
    else:
        merged = [item for item in json.loads(body) if item["merged_at"]]
        assert {row["number"] for row in rows} == {item["number"] for item in merged}


@PATIENT
@given(st.data())
def test_a_body_that_is_cut_off_is_refused(site: Site, url: str, data: st.DataObject) -> None:
    body = json.dumps(GRAPHQL).encode()
    rows, refusal = outcome(site, url, body[: data.draw(st.integers(0, len(body) - 1))])
    assert rows is None
    assert "page 1: the body is not JSON" in refusal
    items = json.dumps(ITEMS).encode()
    rows, refusal = outcome(site, url, None, (items[: data.draw(st.integers(0, len(items) - 1))],))
    assert rows is None
    assert "page 1: the body is not JSON" in refusal


# --- recorded and real ------------------------------------------------------------------------------------------------


def recorded(name: str) -> list[dict[str, Any]]:
    path = need_real_data("github_api_recordings") / name
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def listings(name: str) -> list[list[dict[str, Any]]]:
    """The recorded pages of issues, of a listing or of a search."""
    bodies = [exchange["response"] for exchange in recorded(name) if exchange["method"] == "get"]
    return [body if isinstance(body, list) else body["items"] for body in bodies]


@pytest.mark.parametrize(("name", "issues"), [("octokit_paginate-issues.json", 13), ("octokit_search-issues.json", 2)])
def test_recorded_issues_load_once_they_have_what_makes_them_pull_requests(
    site: Site, url: str, name: str, issues: int
) -> None:
    """The recordings hold issues. Number, title, body, author, labels, assignees and times are read as recorded;
    `state`, `merged_at`, `draft` and `base`, which a pull request has beside them, are filled in.
    """
    repository = recorded(name)[0]["response"]
    base = {"ref": repository["default_branch"], "repo": {"id": repository["id"]}}
    made_up = {"state": "closed", "merged_at": "2022-07-19T05:00:00Z", "draft": False, "base": base}
    pages = listings(name)
    site.graphql, site.repository = None, json.dumps(repository).encode()
    site.pages = tuple(json.dumps([{**item, **made_up} for item in page]).encode() for page in pages)
    with tempfile.TemporaryDirectory() as folder:
        rows, refusal = load(url, folder)
    assert refusal == ""
    assert rows is not None
    items = {item["number"]: item for page in pages for item in page}
    assert [row["number"] for row in rows] == list(range(1, issues + 1))
    for row in rows:
        item = items[row["number"]]
        assert (row["title"], row["author_login"], row["author_type"]) == (
            item["title"],
            item["user"]["login"],
            item["user"]["type"],
        )
        assert row["updated_at"] == dt.datetime.fromisoformat(item["updated_at"]).replace(tzinfo=None)
        assert row["repository"] == repository["full_name"]
        assert row["repository_id"] == repository["id"]


@pytest.mark.parametrize("name", ["octokit_paginate-issues.json", "octokit_search-issues.json"])
def test_recorded_bodies_that_are_no_pull_requests_are_refused_by_field(site: Site, url: str, name: str) -> None:
    for exchange in recorded(name):
        body = json.dumps(exchange["response"]).encode()
        rows, refusal = outcome(site, url, None, (body,))
        assert rows is None
        listing = isinstance(exchange["response"], list)
        assert ("[0].state is 'open'" if listing else "the answer is no list") in refusal or exchange["status"] == 204
        rows, refusal = outcome(site, url, body)
        assert rows is None


def test_real_pull_requests_come_through_either_way(tmp_path: Path) -> None:
    """1,077 merged pull requests of a public repository, with the titles that people write."""
    path = need_real_data("github_prs") / "PyGithub_PyGithub.csv"
    repository = DemoRepository(3544490, "PyGithub/PyGithub", (), 1, NOW)
    template = build_pull_requests(build_organisation(), 1)[0]
    with path.open(encoding="utf-8", newline="") as file:
        real = {int(row["number"]): row for row in csv.DictReader(file)}
    made = [
        DemoPullRequest(
            **{
                **template.__dict__,
                "repository": repository,
                "number": number,
                "title": row["title"],
                "author_login": row["user_login"] or None,
                "merged_at": (merged := dt.datetime.fromisoformat(row["merged_at"]).astimezone(dt.UTC)),
                "updated_at": merged,
            }
        )
        for number, row in real.items()
    ]
    assert len(made) > 1_000
    books = GitHubBooks(made)
    with ProviderServer(ProviderBooks(), routes=github_routes(books)) as server:
        lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
        GitHubPullRequests(
            token=DEMO_TOKEN, base_url=f"{server.url}/github/api/v3", repositories=["PyGithub/PyGithub"]
        ).load(lake, NOW)
    (file,) = lake.current_files(TABLE)
    rows = pq.read_table(file, partitioning=None).to_pylist()
    assert {row["number"]: row["title"] for row in rows} == {number: row["title"] for number, row in real.items()}
