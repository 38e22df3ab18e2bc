"""GitHub as a source: merged pull requests of repositories, read incrementally, kept whole by repository.

Belongs here: which repositories, how far back a listing goes, and laying it over what is known.
Does not belong here: requests and limits (`resources.github_api`), the fields of a row (`resources.github_tables`),
which pull request counts (`tokengov_pipelines.domain.pull_requests`).

The complete listing of a repository is read, newest change first, and never a search: GitHub's search ends after 1,000
results. `merged_at` does not change after the merge, but `updated_at` moves with every late comment; so a reading goes
back to the newest change known, less an overlap, and its rows replace those of the same number. What a reading does not
hold stays. The load of a repository is therefore always whole, and equal content is an equal file.
"""

import datetime as dt
import functools
import itertools
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from github import Auth, Github
from pydantic import Field

from resources.github_api import GitHubApi, GraphQLRefusedError, Patience
from resources.github_tables import FIXED_AT_MERGE, PULL_REQUESTS, REPOSITORIES_SCHEMA, Page, Repository, Row
from resources.lake import Lake, LoadOutcome, LoadRecord
from resources.source_error import SourceError
from tokengov_pipelines.settings import GITHUB_APP_KEY_VARIABLE, GITHUB_TOKEN_VARIABLE

Way = Literal["graphql", "rest"]

REPOSITORIES = "github_repositories"
_NAME = re.compile(r"[A-Za-z0-9][\w-]*/(?!\.{1,2}$)[\w.-]+", re.ASCII)
_ORGANIZATION = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
_MOST_PASSES = 10
_BEGINNING = dt.datetime.fromisoformat("1970-01-01")


@dataclass(frozen=True)
class RepositoryLoad:
    """One repository's part of a reading: which way it came, how many rows were listed, and the load."""

    repository: Repository
    way: Way
    listed: int
    outcome: LoadOutcome


class GitHubPullRequests(dg.ConfigurableResource):
    """Read-only access to the pull requests of some repositories, as a user (token) or as an App.

    Secrets that are left empty are taken from the environment when they are needed. `base_url` of GitHub Enterprise is
    `https://HOST/api/v3`; its GraphQL is found at `https://HOST/api/graphql`.
    """

    token: str = ""
    app_id: int | None = None
    installation_id: int | None = None
    app_private_key: str = ""
    base_url: str = "https://api.github.com"
    repositories: list[str] = Field(default=[])
    organization: str | None = None
    overlap_hours: int = 48
    since: str | None = None
    page_size: int = 100
    timeout_seconds: int = 15
    attempts: int = 6
    first_pause_seconds: float = 1.0
    longest_wait_seconds: float = 300.0
    secondary_wait_seconds: float = 60.0

    # --- connection ----------------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Where this source is: the host of `base_url`, with its port."""
        parts = urllib.parse.urlsplit(self.base_url)
        return f"{parts.hostname or self.base_url[:80]}{f':{parts.port}' if parts.port else ''}"

    def refuse(self, what: str, fix: str) -> NoReturn:
        """Raise what is wrong with the configuration as a `SourceError`."""
        message = f"GitHub at {self.place}: {what}. Fix: {fix}."
        raise SourceError(message) from None

    def _auth(self) -> tuple[Auth.Auth, list[str]]:
        """The identity, and the secrets it rests on."""
        if self.app_id is None:
            token = self.token or os.environ.get(GITHUB_TOKEN_VARIABLE, "")
            if not token:
                self.refuse(f"{GITHUB_TOKEN_VARIABLE} is not set", "export a token, or set github.app_id for an App")
            if not token.isascii() or not token.isprintable() or " " in token:
                self.refuse(
                    f"{GITHUB_TOKEN_VARIABLE} holds characters that no token has (a line end, a blank?)",
                    "export it again",
                )
            return Auth.Token(token), [token]
        if self.installation_id is None:
            self.refuse("github.app_id is set without github.installation_id", "write it into tokengov.yaml")
        # A PEM has line ends, which some secret stores hand over as two characters.
        key = (self.app_private_key or os.environ.get(GITHUB_APP_KEY_VARIABLE, "")).replace("\\n", "\n")
        if not key.strip():
            self.refuse(f"{GITHUB_APP_KEY_VARIABLE} is not set", "export the App's private key (PEM)")
        return Auth.AppInstallationAuth(Auth.AppAuth(self.app_id, key), self.installation_id), [key]

    @contextmanager
    def connected(self) -> Iterator[GitHubApi]:
        """GitHub's interface with the token or App of this resource.

        Raises:
            SourceError: no identity is configured, or it cannot be used.
        """
        parts = urllib.parse.urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            self.refuse("github.base_url is no URL", "write https://api.github.com or https://HOST/api/v3")
        auth, secrets = self._auth()
        patience = Patience(
            self.attempts, self.first_pause_seconds, self.longest_wait_seconds, self.secondary_wait_seconds
        )
        client = Github(
            auth=auth,
            base_url=self.base_url.rstrip("/"),
            per_page=self.page_size,
            timeout=self.timeout_seconds,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,  # a query is a POST as well, and no write
        )
        try:
            yield GitHubApi(client, self.place, secrets, self.page_size, patience)
        finally:
            client.close()

    # --- reading -------------------------------------------------------------------------------------------------

    def load(self, lake: Lake, extracted_at: dt.datetime) -> list[RepositoryLoad]:
        """Read every repository into the lake, one load each; `github_repositories` is written after the last one.

        A repository that fails leaves its own load and the ones after it as they were.

        Raises:
            SourceError: names the host, the repository and the field or setting, and how to fix it.
        """
        since = self._since()
        loads: dict[int, RepositoryLoad] = {}
        with self.connected() as api:
            way: Way = "graphql"
            for name in self._names(api):
                try:
                    found = self._load(api, lake, name, way, since, extracted_at, set(loads))
                except GraphQLRefusedError:
                    way = "rest"  # and for the repositories that follow: the endpoint is closed to us
                    found = self._load(api, lake, name, way, since, extracted_at, set(loads))
                if found is not None:
                    loads[found.repository.id] = found
        covered = [
            {
                "repository_id": load.repository.id,
                "repository": load.repository.name,
                "default_branch": load.repository.default_branch,
                "way": load.way,
            }
            for _, load in sorted(loads.items())
        ]
        lake.replace(REPOSITORIES, pa.Table.from_pylist(covered, schema=REPOSITORIES_SCHEMA), extracted_at)
        return list(loads.values())

    def _names(self, api: GitHubApi) -> list[str]:
        """The repositories to read: those of tokengov.yaml, then the organisation's."""
        for name in self.repositories:
            if not _NAME.fullmatch(name):
                self.refuse(f"github.repositories holds {name[:80]!r}", "write owner/name")
        if self.organization and not _ORGANIZATION.fullmatch(self.organization):
            self.refuse(f"github.organization is {self.organization[:80]!r}", "write its login")
        listed = api.repositories_of(self.organization) if self.organization else []
        names = list({name.lower(): name for name in [*self.repositories, *listed]}.values())
        if not names:
            self.refuse("there is no repository to read", "name some in github.repositories, or github.organization")
        return names

    def _since(self) -> dt.datetime:
        """The moment before which a change does not interest us, UTC without zone."""
        if self.since is None:
            return _BEGINNING
        try:
            return dt.datetime.combine(dt.date.fromisoformat(self.since), dt.time())
        except ValueError:
            self.refuse(f"github.since is {self.since[:40]!r}", "write YYYY-MM-DD")

    def _load(
        self,
        api: GitHubApi,
        lake: Lake,
        name: str,
        way: Way,
        since: dt.datetime,
        extracted_at: dt.datetime,
        done: set[int],
    ) -> RepositoryLoad | None:
        """One repository; None when it was read already, under another name of its own."""
        pages = functools.partial(api.graphql_pages if way == "graphql" else api.rest_pages, name)
        opened = pages()
        first = next(opened)
        found = first.repository
        if found.id in done:
            return None
        current = lake.current(PULL_REQUESTS.name, f"repo={found.id}")
        known = _known(lake, current)
        bound = self._bound(known, current, since, way)
        listed = _listed(itertools.chain([first], opened), pages, found, bound, api.where(name))
        with lake.writing(PULL_REQUESTS) as writer:
            rows = _laid_over(known, listed, found, name)
            writer.write(pa.RecordBatch.from_pylist(rows, schema=PULL_REQUESTS.schema))
            outcome = lake.commit(
                PULL_REQUESTS,
                f"repo={found.id}",
                writer,
                extracted_at=extracted_at,
                window=(_complete_from(current, since), extracted_at.isoformat(timespec="seconds")),
            )
        return RepositoryLoad(found, way, len(listed), outcome)

    def _bound(self, known: dict[int, Row], current: LoadRecord | None, since: dt.datetime, way: Way) -> dt.datetime:
        """How far back the listing has to go: to the newest change known, less the overlap.

        The whole way, where an earlier day is wanted than the load holds, or where the load came by REST and GraphQL
        can now say what REST could not.
        """
        if current is None or not known or current.window[0] > since.isoformat():
            return since
        if way == "graphql" and any(row["commits"] is None for row in known.values()):
            return since
        newest: dt.datetime = max(row["updated_at"] for row in known.values())
        return max(since, newest - dt.timedelta(hours=self.overlap_hours))


def _complete_from(current: LoadRecord | None, since: dt.datetime) -> str:
    """Since when the new load holds every change: also what the one before it held, where no time lies between them."""
    if current is not None and current.window[1] >= since.isoformat():
        return min(current.window[0], since.isoformat())
    return since.isoformat()


def _listed(
    opened: Iterator[Page], pages: Callable[[], Iterator[Page]], repository: Repository, bound: dt.datetime, where: str
) -> dict[int, Row]:
    """Rows by number, changed at or after `bound`; `opened` is the first pass, `pages` starts another.

    A pull request that changes while the listing runs moves to its front, which was read already, and would be missed.
    So the front is read again until nothing has moved; what moves later still, the next reading finds.
    """
    rows: dict[int, Row] = {}
    newest: dt.datetime | None = None
    for _ in range(_MOST_PASSES):
        front: dt.datetime | None = None
        read = 0
        for page in opened:
            if page.repository.id != repository.id:
                message = f"{where}: became repository {page.repository.id} while it was read. Fix: run it again."
                raise SourceError(message)
            rows.update((row["number"], row) for row in page.rows if row["updated_at"] >= bound)
            read += bool(page.updated)
            front = front or max(page.updated, default=None)
            if page.updated and page.updated[-1] < bound:
                break
        if read <= 1 or front is None or front == newest:
            break
        newest = bound = front
        opened = pages()
    return rows


def _known(lake: Lake, current: LoadRecord | None) -> dict[int, Row]:
    """The rows of the current load by number."""
    if current is None:
        return {}
    rows = pq.read_table(lake.local_path(current), partitioning=None).to_pylist()
    return {row["number"]: row for row in rows}


def _laid_over(known: dict[int, Row], listed: dict[int, Row], repository: Repository, asked: str) -> list[Row]:
    """What is known with the new listing over it, ascending by number.

    The repository is called by its name of today in every row, also where a revert names it by an old one. What is
    fixed at the merge stays where REST does not say it, and so does the branch that was the default one when the pull
    request was first seen, which is closest to the merge.
    """
    names = {asked.lower(), repository.name.lower(), *(row["repository"].lower() for row in known.values())}
    rows = dict(known)
    for number, row in listed.items():
        before = known.get(number)
        if before is not None:
            kept = {name: before[name] for name in FIXED_AT_MERGE if row[name] is None}
            row = {**row, **kept, "default_branch": before["default_branch"] or row["default_branch"]}
        rows[number] = row
    return [
        {
            **row,
            "repository": repository.name,
            "reverts_repository": repository.name
            if (row["reverts_repository"] or "").lower() in names
            else row["reverts_repository"],
        }
        for _, row in sorted(rows.items())
    ]
