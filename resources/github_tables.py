"""Merged pull requests as they stand in the lake, and how a row is read from either of GitHub's interfaces.

Belongs here: the table, the GraphQL query, and reading one page of either interface strictly.
Does not belong here: requests, rate limits and repositories (`resources.github_api`), what is listed and how far back
(`resources.github`), which pull request counts (`tokengov_pipelines.domain.pull_requests`).

The body of a pull request is read for the line `Reverts owner/repo#n` alone and kept nowhere.
"""

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from resources.json_fields import JsonObject
from resources.lake import LakeTable

Row = dict[str, Any]

TEXT, COUNT, TIME, FLAG = pa.string(), pa.int64(), pa.timestamp("us"), pa.bool_()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


PULL_REQUESTS = LakeTable(
    name="github_pull_requests",
    identity="pr_key",
    schema=_schema(
        pr_key=TEXT,
        repository_id=COUNT,
        repository=TEXT,
        number=COUNT,
        title=TEXT,
        author_login=TEXT,
        author_type=TEXT,
        created_at=TIME,
        merged_at=TIME,
        updated_at=TIME,
        first_commit_at=TIME,
        base_branch=TEXT,
        default_branch=TEXT,
        is_draft=FLAG,
        additions=COUNT,
        deletions=COUNT,
        changed_files=COUNT,
        commits=COUNT,
        labels=TEXT,
        assignees=TEXT,
        merged_by=TEXT,
        reverts_repository=TEXT,
        reverts_number=COUNT,
    ),
)

REPOSITORIES_SCHEMA = _schema(repository_id=COUNT, repository=TEXT, default_branch=TEXT, way=TEXT)
"""`github_repositories`: what the latest complete reading covered; its load is made after the last repository's."""

FIXED_AT_MERGE = ("first_commit_at", "additions", "deletions", "changed_files", "commits", "merged_by")
"""Columns that the REST listing does not have; they do not change once a pull request is merged."""

# An issue has at most 100 labels and 10 assignees, so neither list is ever cut off.
MERGED_QUERY = """
query MergedPullRequests($owner: String!, $name: String!, $first: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    defaultBranchRef { name }
    pullRequests(states: MERGED, first: $first, after: $after, orderBy: {field: UPDATED_AT, direction: DESC}) {
      pageInfo { hasNextPage endCursor }
      nodes {
        number title body isDraft createdAt mergedAt updatedAt baseRefName additions deletions changedFiles
        author { __typename login }
        mergedBy { login }
        assignees(first: 20) { nodes { login } }
        labels(first: 100) { nodes { name } }
        commits(first: 1) { totalCount nodes { commit { authoredDate } } }
      }
    }
  }
}
"""

# GitHub's revert button writes this line; a sentence that mentions a revert is not one.
_REVERTS = re.compile(r"^[ \t]*Reverts[ \t]+([\w.-]+/[\w.-]+)#(\d{1,18})[ \t]*\r?$", re.MULTILINE | re.ASCII)
_GHOST = "ghost"  # the account that REST names where a user was deleted; GraphQL says null


@dataclass(frozen=True)
class Repository:
    """A repository as it is called now; `id` is its database id, which survives every renaming."""

    id: int
    name: str
    default_branch: str | None


@dataclass(frozen=True)
class Page:
    """One page of a listing, newest change first.

    `updated` are the moments of every pull request on it, also of those that were closed without a merge and give no
    row (REST lists them).
    """

    repository: Repository
    rows: tuple[Row, ...]
    updated: tuple[dt.datetime, ...]


def read_graphql_page(answer: JsonObject) -> tuple[Page, str | None]:
    """A page of `MERGED_QUERY` from the answer's `data`, and the cursor of the next page (None after the last).

    Raises:
        SourceError: a field is missing, null where it may not be, or of another type; names it.
    """
    found = answer.object("data").object("repository")
    # An empty repository has no branch yet.
    branch = _present(found, "defaultBranchRef").optional_object("defaultBranchRef")
    repository = Repository(
        _id(found, "databaseId"), _text(found, "nameWithOwner"), _text(branch, "name") if branch else None
    )
    listing = found.object("pullRequests")
    rows = tuple(_graphql_row(repository, node) for node in listing.objects("nodes"))
    page_info = listing.object("pageInfo")
    cursor = page_info.text("endCursor") if page_info.flag("hasNextPage") else None
    if cursor is not None and not rows:
        listing.refuse("nodes", "is empty although more pages follow")
    return Page(repository, rows, tuple(row["updated_at"] for row in rows)), cursor


def read_repository(answer: JsonObject) -> Repository:
    """The repository of an answer of `GET /repos/{owner}/{name}`."""
    return Repository(_id(answer, "id"), _text(answer, "full_name"), _optional_text(answer, "default_branch"))


def read_rest_page(repository: Repository, items: Sequence[JsonObject]) -> Page:
    """A page of `GET .../pulls?state=closed`; pull requests that were closed without a merge give no row.

    Raises:
        SourceError: a field is missing, null where it may not be, or of another type; names it.
    """
    rows, updated = [], []
    for item in items:
        if (state := _text(item, "state")) != "closed":
            item.refuse("state", f"is {state[:40]!r} although closed ones were asked for")
        updated.append(_moment(item, "updated_at"))
        if _present(item, "merged_at").has("merged_at"):
            rows.append(_rest_row(repository, item))
    return Page(repository, tuple(rows), tuple(updated))


def _graphql_row(repository: Repository, node: JsonObject) -> Row:
    author = _actor(node, "author", "__typename")
    merged_by = _actor(node, "mergedBy", None)
    commits = node.object("commits")
    first = commits.objects("nodes")
    return _row(
        repository,
        node,
        author=author,
        created_at=_moment(node, "createdAt"),
        merged_at=_moment(node, "mergedAt"),
        updated_at=_moment(node, "updatedAt"),
        first_commit_at=_moment(first[0].object("commit"), "authoredDate") if first else None,
        base_branch=_text(node, "baseRefName"),
        is_draft=node.flag("isDraft"),
        additions=node.count("additions"),
        deletions=node.count("deletions"),
        changed_files=node.count("changedFiles"),
        commits=commits.count("totalCount"),
        labels=_names(node.object("labels").objects("nodes"), "name"),
        assignees=_names(node.object("assignees").objects("nodes"), "login"),
        merged_by=merged_by[0],
    )


def _rest_row(repository: Repository, item: JsonObject) -> Row:
    base = item.object("base")
    owner = base.object("repo")
    if (found := _id(owner, "id")) != repository.id:
        owner.refuse("id", f"is {found}, and repository {repository.id} was asked for")
    return _row(
        repository,
        item,
        author=_actor(item, "user", "type"),
        created_at=_moment(item, "created_at"),
        merged_at=_moment(item, "merged_at"),
        updated_at=_moment(item, "updated_at"),
        base_branch=_text(base, "ref"),
        is_draft=item.flag("draft"),
        labels=_names(item.objects("labels"), "name"),
        assignees=_names(item.objects("assignees"), "login"),
        **dict.fromkeys(FIXED_AT_MERGE),
    )


def _row(
    repository: Repository,
    item: JsonObject,
    *,
    author: tuple[str | None, str | None],
    labels: list[str],
    assignees: list[str],
    **columns: Any,
) -> Row:
    number = _id(item, "number")
    # The body is null where nothing was written.
    reverts = _REVERTS.search(item.text("body")) if _present(item, "body").has("body") else None
    return {
        "pr_key": f"{repository.id}#{number}",
        "repository_id": repository.id,
        "repository": repository.name,
        "number": number,
        "title": _text(item, "title"),
        "author_login": author[0],
        "author_type": author[1],
        "default_branch": repository.default_branch,
        # Sorted, because the order of labels says nothing; the first assignee says who asked an agent for it.
        "labels": json.dumps(sorted(set(labels)), ensure_ascii=False),
        "assignees": json.dumps(assignees, ensure_ascii=False),
        "reverts_repository": reverts and reverts[1],
        "reverts_number": int(reverts[2]) if reverts else None,
        **columns,
    }


def _actor(item: JsonObject, name: str, kind: str | None) -> tuple[str | None, str | None]:
    """Login and type of a person or app; both None for a deleted account (a ghost)."""
    actor = _present(item, name).optional_object(name)
    if actor is None:
        return None, None
    login = _text(actor, "login")
    found = _text(actor, kind) if kind else None
    return (None, None) if login == _GHOST else (login, found)


def _present(item: JsonObject, name: str) -> JsonObject:
    """The object itself, once it is sure that the field is there; it may be null."""
    if name not in item.values:
        item.refuse(name, "is missing")
    return item


def _names(items: Sequence[JsonObject], name: str) -> list[str]:
    return [_text(item, name) for item in items]


def _id(item: JsonObject, name: str) -> int:
    """A number that identifies: 1 or more."""
    value = item.count(name)
    if value < 1:
        item.refuse(name, f"is no identifier: {value}")
    return value


def _text(item: JsonObject, name: str) -> str:
    """A string that UTF-8 can hold; JSON can spell half a character."""
    value = item.text(name)
    if any("\ud800" <= character <= "\udfff" for character in value):
        item.refuse(name, "holds half a character (a lone surrogate)")
    return value


def _optional_text(item: JsonObject, name: str) -> str | None:
    return _text(item, name) if item.has(name) else None


def _moment(item: JsonObject, name: str) -> dt.datetime:
    """A moment in UTC, without zone as the lake holds it."""
    try:
        return item.moment(name).replace(tzinfo=None)
    except OverflowError:
        item.refuse(name, "is out of range")
