"""GitHub as far as merged pull requests need it: GraphQL and REST listings, Enterprise paths, old names, limits.

Belongs here: GitHub's shapes, paging and limits. Does not belong here: which pull requests there are
(`demo.pull_requests`) and running the server (`server`). A GraphQL question is answered by its variables: there is one
question, and its text is the client's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokengov_pipelines.demo.pull_requests import DemoPullRequest, DemoRepository

GITHUB_PREFIX: Final = "/github"
DEMO_TOKEN: Final = "ghp_" + "demo" * 9
Endpoint = Literal["graphql", "rest", "any"]
_MOST_A_PAGE: Final = 100
_GHOST: Final = {"login": "ghost", "id": 10137, "type": "User"}


@dataclass
class Instead:
    """An answer in place of the right one, to the next `times` requests of an endpoint (None: to all)."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    endpoint: Endpoint = "any"
    times: int | None = 1


def rate_limited(reset_in: int, *, times: int | None = 1) -> Instead:
    """GraphQL's hourly limit: status 200, and an error of type RATE_LIMITED."""
    errors = [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]
    return Instead(200, {"errors": errors}, _window(reset_in), "graphql", times)


def primary_limit(reset_in: int, *, status: int = 403, times: int | None = 1) -> Instead:
    """REST's hourly limit."""
    return Instead(status, {"message": "API rate limit exceeded for user ID 1."}, _window(reset_in), "any", times)


def secondary_limit(retry_after: int | None, *, status: int = 403, times: int | None = 1) -> Instead:
    """The limit on bursts; GitHub does not always say how long it lasts."""
    headers = {"retry-after": str(retry_after)} if retry_after is not None else {}
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return Instead(status, {"message": message}, {"x-ratelimit-remaining": "4999", **headers}, "any", times)


def graphql_refused(status: int = 403) -> Instead:
    """GraphQL closed to this token, for good."""
    message = "Resource not accessible by personal access token" if status == 403 else "Not Found"
    return Instead(status, {"message": message}, {}, "graphql", None)


def _window(reset_in: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(time.time()) + reset_in),
    }


@dataclass
class GitHubBooks:
    """What GitHub knows. `renamed` leads from an old owner/name to the one of today; `planned` answers come first.

    `asked` is the log of the requests that were answered rightly: (endpoint, page or cursor).
    """

    pull_requests: Sequence[DemoPullRequest]
    renamed: Mapping[str, str] = field(default_factory=dict)
    planned: list[Instead] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def repositories(self) -> list[DemoRepository]:
        """Every repository that holds a pull request, by name."""
        return sorted({each.repository for each in self.pull_requests}, key=lambda repository: repository.name)

    def find(self, name: str) -> DemoRepository | None:
        """A repository by its name of today or by an old one; GitHub does not mind capitals."""
        today = {old.lower(): new.lower() for old, new in self.renamed.items()}.get(name.lower(), name.lower())
        return next((each for each in self.repositories if each.name.lower() == today), None)

    def newest_first(self, repository: DemoRepository) -> list[DemoPullRequest]:
        """Its merged pull requests by the time of their last change."""
        mine = (each for each in self.pull_requests if each.repository == repository)
        return sorted(mine, key=lambda each: (each.updated_at, each.number), reverse=True)


def github_routes(
    books: GitHubBooks, *, prefix: str = GITHUB_PREFIX, token: str = DEMO_TOKEN, page_limit: int = _MOST_A_PAGE
) -> list[Route]:
    """The routes below `{prefix}/api`, as GitHub Enterprise has them: `/api/v3/...` and `/api/graphql`.

    `page_limit` is the largest page that is given, whatever a request asks for.
    """
    site = _Site(books, prefix, token, page_limit)
    rest = f"{prefix}/api/v3"
    return [
        Route(f"{prefix}/api/graphql", site.graphql, methods=["POST"]),
        Route(f"{rest}/repos/{{owner}}/{{name}}", site.repository),
        Route(f"{rest}/repositories/{{id:int}}", site.repository_by_id),
        Route(f"{rest}/repositories/{{id:int}}/pulls", site.pulls),
        Route(f"{rest}/repos/{{owner}}/{{name}}/pulls", site.pulls_by_name),
        Route(f"{rest}/orgs/{{organization}}/repos", site.of_organization),
    ]


class _Site:
    def __init__(self, books: GitHubBooks, prefix: str, token: str, page_limit: int) -> None:
        self._books, self._prefix, self._token, self._page_limit = books, prefix, token, page_limit

    async def graphql(self, request: Request) -> Response:
        """The merged pull requests of `$owner/$name`, `$first` of them behind `$after`."""
        early = self._early(request, "graphql")
        if early is not None:
            return early
        variables = (await request.json())["variables"]
        name = f"{variables['owner']}/{variables['name']}"
        repository = self._books.find(name)
        if repository is None:
            message = f"Could not resolve to a Repository with the name '{name}'."
            error = {"type": "NOT_FOUND", "path": ["repository"], "message": message}
            return JSONResponse({"data": {"repository": None}, "errors": [error]})
        self._books.asked.append(("graphql", variables["after"] or ""))
        listed = self._books.newest_first(repository)
        after = variables["after"]
        start = next((at for at, each in enumerate(listed, start=1) if _cursor(each) == after), 0) if after else 0
        page = listed[start : start + min(variables["first"], self._page_limit)]
        more = start + len(page) < len(listed)
        return JSONResponse(
            {
                "data": {
                    "repository": {
                        "databaseId": repository.id,
                        "nameWithOwner": repository.name,
                        "defaultBranchRef": {"name": repository.default_branch},
                        "pullRequests": {
                            "pageInfo": {"hasNextPage": more, "endCursor": _cursor(page[-1]) if page else None},
                            "nodes": [_node(each) for each in page],
                        },
                    }
                }
            }
        )

    async def repository(self, request: Request) -> Response:
        """A repository by name; an old name is answered with a redirect to its id, as GitHub does."""
        early = self._early(request, "rest")
        if early is not None:
            return early
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        found = self._books.find(name)
        if found is None:
            return _not_found()
        if found.name.lower() != name.lower():
            return self._moved(request, f"/repositories/{found.id}")
        return JSONResponse(_repository(found))

    async def repository_by_id(self, request: Request) -> Response:
        """A repository by its database id."""
        early = self._early(request, "rest")
        found = self._by_id(request)
        return early or (JSONResponse(_repository(found)) if found else _not_found())

    async def pulls(self, request: Request) -> Response:
        """A page of pull requests by the repository's id. The default is the open ones, and there are none."""
        early = self._early(request, "rest")
        found = self._by_id(request)
        return early or (self._pulls(request, found) if found else _not_found())

    async def pulls_by_name(self, request: Request) -> Response:
        """The same by name, or the redirect of an old one."""
        early = self._early(request, "rest")
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        found = self._books.find(name)
        if early is not None or found is None:
            return early or _not_found()
        if found.name.lower() != name.lower():
            return self._moved(request, f"/repositories/{found.id}/pulls?{request.url.query}")
        return self._pulls(request, found)

    async def of_organization(self, request: Request) -> Response:
        """A page of an organisation's repositories, archived ones too."""
        early = self._early(request, "rest")
        owner = request.path_params["organization"].lower()
        mine = [each for each in self._books.repositories if each.name.lower().startswith(f"{owner}/")]
        if early is not None or not mine:
            return early or _not_found()
        return JSONResponse([_repository(each) for each in self._page(request, mine)])

    def _pulls(self, request: Request, repository: DemoRepository) -> Response:
        query = request.query_params
        if query.get("state") != "closed":
            return JSONResponse([])
        self._books.asked.append(("rest", query.get("page", "1")))
        listed = self._books.newest_first(repository)
        if query.get("sort") != "updated" or query.get("direction") != "desc":
            listed = sorted(listed, key=lambda each: each.created_at, reverse=True)
        return JSONResponse([_item(each) for each in self._page(request, listed)])

    def _page(self, request: Request, listed: Sequence[Any]) -> Sequence[Any]:
        size = min(int(request.query_params.get("per_page", "30")), self._page_limit)
        start = (int(request.query_params.get("page", "1")) - 1) * size
        return listed[start : start + size]

    def _by_id(self, request: Request) -> DemoRepository | None:
        return next((each for each in self._books.repositories if each.id == request.path_params["id"]), None)

    def _moved(self, request: Request, path: str) -> Response:
        location = f"{request.url.scheme}://{request.url.netloc}{self._prefix}/api/v3{path}"
        return JSONResponse({"message": "Moved Permanently", "url": location}, 301, {"location": location})

    def _early(self, request: Request, endpoint: Endpoint) -> Response | None:
        """A refused token, or the next planned answer."""
        if request.headers.get("authorization", "").partition(" ")[2] != self._token:
            return JSONResponse({"message": "Bad credentials", "status": "401"}, 401)
        for planned in self._books.planned:
            if planned.endpoint in (endpoint, "any") and planned.times != 0:
                planned.times = None if planned.times is None else planned.times - 1
                return JSONResponse(planned.body, planned.status, dict(planned.headers))
        return None


def _not_found() -> Response:
    return JSONResponse({"message": "Not Found", "status": "404"}, 404)


def _cursor(each: DemoPullRequest) -> str:
    return f"cursor:{each.number}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _node(each: DemoPullRequest) -> dict[str, Any]:
    """A node of the GraphQL listing, which names an App without the [bot] that REST adds."""
    return {
        "number": each.number,
        "title": each.title,
        "body": each.body or "",
        "isDraft": each.is_draft,
        "createdAt": _time(each.created_at),
        "mergedAt": _time(each.merged_at),
        "updatedAt": _time(each.updated_at),
        "baseRefName": each.base_branch,
        "additions": each.additions,
        "deletions": each.deletions,
        "changedFiles": each.changed_files,
        "author": {"__typename": each.author_type, "login": each.author_login} if each.author_login else None,
        "mergedBy": {"login": each.merged_by} if each.merged_by else None,
        "assignees": {"nodes": [{"login": login} for login in each.assignees]},
        "labels": {"nodes": [{"name": label} for label in each.labels]},
        "commits": {
            "totalCount": each.commits,
            "nodes": [{"commit": {"authoredDate": _time(each.first_commit_at)}}],
        },
    }


def _item(each: DemoPullRequest) -> dict[str, Any]:
    """An item of the REST listing, with the fields that are read of it; it has neither size nor commits."""
    login = each.author_login
    suffix = "[bot]" if each.author_type == "Bot" else ""
    return {
        "id": each.repository.id * 10_000 + each.number,
        "number": each.number,
        "state": "closed",
        "title": each.title,
        "body": each.body,
        "user": {"login": login + suffix, "type": each.author_type} if login else _GHOST,
        "assignees": [{"login": assignee, "type": "User"} for assignee in each.assignees],
        "labels": [{"name": label} for label in each.labels],
        "draft": each.is_draft,
        "created_at": _time(each.created_at),
        "updated_at": _time(each.updated_at),
        "closed_at": _time(each.merged_at),
        "merged_at": _time(each.merged_at),
        "base": {"ref": each.base_branch, "repo": _repository(each.repository)},
    }


def _repository(repository: DemoRepository) -> dict[str, Any]:
    return {
        "id": repository.id,
        "full_name": repository.name,
        "default_branch": repository.default_branch,
        "archived": repository.is_archived,
    }
