"""GitHub over HTTP: requests through PyGithub's requester, rate limits, errors in words, pages of both listings.

Belongs here: sending, waiting, trying again, redaction, paging, and finding a repository under its old name.
Does not belong here: fields of an answer (`resources.github_tables`), how far back a listing goes (`resources.github`).

PyGithub's own retries are off: they do not know 429 nor a 200 that says RATE_LIMITED, and they sleep as long as a
Retry-After asks. There is one place that waits, here. Its redirects are not relied on where a question carries
parameters, because it follows a 301 without them; a listing therefore goes by the repository's id.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import requests
import stamina
from github import BadAttributeException, Github, GithubException
from jwt.exceptions import InvalidKeyError

from resources.github_tables import (
    MERGED_QUERY,
    Page,
    read_graphql_page,
    read_repository,
    read_rest_page,
)
from resources.json_fields import JsonObject, NotJsonError, parse_json
from resources.source_error import SourceError
from tokengov_pipelines.settings import GITHUB_APP_KEY_VARIABLE, GITHUB_TOKEN_VARIABLE

MOST_PAGES = 20_000
_SHOWN = 200
_SECRETS = re.compile(
    r"\b(gh[a-z]_|github_pat_|v1\.)\w{8,}|\beyJ[\w-]+\.[\w-]+\.[\w-]+|\b(bearer|token)\s+\S{8,}", re.IGNORECASE
)
_TRANSIENT = re.compile(r"something went wrong while executing your query|timeout", re.IGNORECASE)


@dataclass(frozen=True)
class Patience:
    """How long GitHub is waited for; tests are less patient.

    `longest_wait_seconds` bounds a wait for a rate limit: a longer one is an error that says until when.
    `secondary_wait_seconds` is waited after a secondary limit that names no time (GitHub: at least a minute), longer
    each time.
    """

    attempts: int = 6
    first_pause_seconds: float = 1.0
    longest_wait_seconds: float = 300.0
    secondary_wait_seconds: float = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back of one request."""

    status: int
    headers: Mapping[str, Any]
    text: str


class _AgainError(RuntimeError):
    """An attempt that may succeed when repeated, after so many seconds (None: a growing pause)."""

    def __init__(self, what: str, after_seconds: float | None = None) -> None:
        super().__init__(what)
        self.after_seconds = after_seconds


class GraphQLRefusedError(RuntimeError):
    """The GraphQL endpoint itself is closed to us (403 or 404): the REST listing is the other way."""


@dataclass
class GitHubApi:
    """One installation of GitHub, as one identity. `secrets` are replaced in whatever is shown."""

    client: Github
    place: str
    secrets: list[str]
    page_size: int
    patience: Patience = field(default_factory=Patience)

    def where(self, what: str) -> str:
        """The beginning of every error: who and what."""
        return f"GitHub at {self.place}: {what}"

    # --- listings ------------------------------------------------------------------------------------------------

    def graphql_pages(self, name: str) -> Iterator[Page]:
        """Merged pull requests of a repository, newest change first, by GraphQL; a renamed one is found too.

        Raises:
            GraphQLRefusedError: the endpoint is closed to us.
            SourceError: anything else; nothing of a partial answer is returned.
        """
        owner, _, repository = name.partition("/")
        cursor: str | None = None
        cursors: set[str] = set()
        for number in range(1, MOST_PAGES):
            where = self.where(f"{name}: merged pull requests by GraphQL, page {number}")
            variables = {"owner": owner, "name": repository, "first": min(self.page_size, 50), "after": cursor}
            page, cursor = read_graphql_page(self._query(variables, where))
            yield page
            if cursor is None:
                return
            if cursor in cursors:
                break
            cursors.add(cursor)
        self._refuse_repetition(where)

    def rest_pages(self, name: str) -> Iterator[Page]:
        """The same by REST, read to the first empty page: neither a short page nor a missing Link header ends it.

        A repository without any closed pull request gives one page without rows.

        Raises:
            SourceError: as above.
        """
        found, _ = self._get(f"/repos/{name}", {}, self.where(name))
        if not isinstance(found, dict):
            self._refuse_shape(self.where(name), "no object")
        repository = read_repository(JsonObject(found, self.where(name)))
        parameters = {"state": "closed", "sort": "updated", "direction": "desc", "per_page": str(self.page_size)}
        path = f"/repositories/{repository.id}/pulls"
        is_empty = True
        for items, where in self._rest_listing(path, parameters, f"{name}: closed pull requests"):
            is_empty = False
            yield read_rest_page(repository, [_object(item, where, index) for index, item in enumerate(items)])
        if is_empty:
            yield Page(repository, (), ())

    def repositories_of(self, organization: str) -> list[str]:
        """`owner/name` of every repository of an organisation that we may see, archived ones too.

        Raises:
            SourceError: as above.
        """
        names: list[str] = []
        parameters = {"type": "all", "per_page": str(self.page_size)}
        path, what = f"/orgs/{organization}/repos", f"organization {organization}: repositories"
        for items, where in self._rest_listing(path, parameters, what):
            names += [read_repository(_object(item, where, index)).name for index, item in enumerate(items)]
        return sorted(set(names))

    def _rest_listing(self, path: str, parameters: Mapping[str, str], what: str) -> Iterator[tuple[list[Any], str]]:
        before: list[Any] | None = None
        for number in range(1, MOST_PAGES):
            where = self.where(f"{what}, page {number}")
            items, _ = self._get(path, {**parameters, "page": str(number)}, where)
            if not isinstance(items, list):
                self._refuse_shape(where, "no list")
            if not items:
                return
            if items == before:
                break
            yield items, where
            before = items
        self._refuse_repetition(where)

    # --- requests ------------------------------------------------------------------------------------------------

    def _query(self, variables: Mapping[str, Any], where: str) -> JsonObject:
        """One GraphQL answer; an answer with data and errors is an error."""
        body = {"query": MERGED_QUERY, "variables": dict(variables)}
        content, answer = self.send("POST", self.client.requester.graphql_url, {}, body, where)
        if answer.status in (403, 404):
            raise GraphQLRefusedError(self._said(content))
        if answer.status != 200:
            self.refuse(answer.status, content, answer, where)
        if not isinstance(content, dict):
            self._refuse_shape(where, "no object")
        if content.get("errors"):
            self._refuse_errors(content["errors"], where)
        return JsonObject(content, where)

    def _get(self, path: str, parameters: Mapping[str, str], where: str) -> tuple[Any, Answer]:
        content, answer = self.send("GET", path, parameters, None, where)
        if answer.status != 200:
            self.refuse(answer.status, content, answer, where)
        return content, answer

    def send(
        self, verb: str, url: str, parameters: Mapping[str, str], body: dict[str, Any] | None, where: str
    ) -> tuple[Any, Answer]:
        """One answer, waited for: its JSON content and the rest of it. Statuses that will not change are returned."""
        patience = self.patience
        try:
            for attempt in stamina.retry_context(
                on=_pause,
                attempts=patience.attempts,
                timeout=None,
                wait_initial=patience.first_pause_seconds,
                wait_max=patience.first_pause_seconds * 60,
                wait_jitter=patience.first_pause_seconds,
            ):
                with attempt:
                    answer = self._attempt(verb, url, parameters, body, where)
                    try:
                        content = parse_json(answer.text.encode("utf-8"))
                    except NotJsonError as error:
                        if answer.status != 200:
                            content = None
                        else:
                            message = f"the body is {error}"
                            raise _AgainError(message) from None
                    self._raise_for_limit(content, answer, where, attempt.num)
        except _AgainError as error:
            message = (
                f"{where}: {error}; tried {patience.attempts} times. Fix: run it again later; nothing was kept of it."
            )
            raise SourceError(message) from None
        return content, answer

    def _attempt(
        self, verb: str, url: str, parameters: Mapping[str, str], body: dict[str, Any] | None, where: str
    ) -> Answer:
        requester = self.client.requester
        try:
            # An App's token is made on the way and is a secret as well; asking for it here makes it.
            token = requester.auth.token if requester.auth else ""
            if token and token not in self.secrets:
                self.secrets.append(token)
            status, headers, text = requester.requestJson(verb, url, dict(parameters), None, body)
        except requests.Timeout:
            message = "no answer in time"
            raise _AgainError(message) from None
        except requests.RequestException as error:
            message = f"the connection failed or was cut off ({type(error).__name__})"
            raise _AgainError(message) from None
        except GithubException as error:  # raised for an App's token only: other answers PyGithub does not judge here
            content = error.data if isinstance(error.data, dict) else {}
            self._raise_for_limit(content, Answer(error.status, dict(error.headers or {}), ""), where, 1)
            message = (
                f"{where}: GitHub gave the App no token ({error.status}{self._said(content)}). Fix: check "
                f"github.app_id, github.installation_id and {GITHUB_APP_KEY_VARIABLE}."
            )
            raise SourceError(message) from None
        except (BadAttributeException, InvalidKeyError, TypeError) as error:
            message = (
                f"{where}: no token can be made with the key in {GITHUB_APP_KEY_VARIABLE} ({type(error).__name__}). "
                "Fix: export the App's private key as GitHub gave it, a PEM of an RSA key without password."
            )
            raise SourceError(message) from None
        except (ValueError, OverflowError):  # headers of a limit that are no numbers, an App's token that is no JSON
            message = "the answer cannot be read"
            raise _AgainError(message) from None
        except RuntimeError as error:  # a redirect that PyGithub does not follow
            message = f"{where}: {self._redacted(str(error))}. Fix: correct github.base_url in tokengov.yaml."
            raise SourceError(message) from None
        return Answer(status, headers, text)

    # --- limits and refusals -------------------------------------------------------------------------------------

    def _raise_for_limit(self, content: Any, answer: Answer, where: str, attempt: int) -> None:
        """Wait for a rate limit, or say when it ends; broken servers are tried again."""
        if answer.status in (408, 409, 425) or answer.status >= 500:
            message = f"GitHub answered {answer.status}{self._said(content)}"
            raise _AgainError(message, _retry_after(answer.headers))
        errors = content.get("errors") if isinstance(content, dict) else None
        errors = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
        if answer.status == 200:
            if any(error.get("type") in {"RATE_LIMITED", "RATE_LIMIT"} for error in errors):
                self._wait(answer, where, "the hourly limit is used up (200, RATE_LIMITED)", attempt)
            if errors and all(_is_transient(error) for error in errors):
                message = "GitHub broke the query off (200, an error without data)"
                raise _AgainError(message)
            return
        said = str(content.get("message", "")).lower() if isinstance(content, dict) else ""
        named = "rate limit" in said or "abuse" in said or "wait a few minutes" in said
        limited = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers or named
        if answer.status == 429 or (answer.status == 403 and limited):
            kind = "a secondary limit" if "secondary" in said or "abuse" in said else "a rate limit"
            self._wait(answer, where, f"{kind} was met ({answer.status})", attempt)

    def _wait(self, answer: Answer, where: str, what: str, attempt: int) -> NoReturn:
        pause = _retry_after(answer.headers)
        if pause is None and answer.headers.get("x-ratelimit-remaining", "0") == "0":
            pause = _until_reset(answer.headers)
        if pause is None:
            pause = self.patience.secondary_wait_seconds * 2 ** (attempt - 1)
        if pause > self.patience.longest_wait_seconds:
            until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=pause)
            message = (
                f"{where}: {what}; it resets at {until:%Y-%m-%d %H:%M:%S} UTC, later than the "
                f"{self.patience.longest_wait_seconds:g} s that are waited. Fix: run it again then."
            )
            raise SourceError(message)
        raise _AgainError(what, pause)

    def refuse(self, status: int, content: Any, answer: Answer, where: str) -> NoReturn:
        """Raise what a refused request means, with the right that is lacking, as a `SourceError`."""
        said = self._said(content)
        fixes = {
            401: f"export a valid token in {GITHUB_TOKEN_VARIABLE}",
            403: "give the token or the App the right to read this repository and its pull requests",
            404: "check the name and github.base_url in tokengov.yaml, and that the token or the App may read it",
        }
        if 300 <= status < 400:
            target = self._redacted(str(answer.headers.get("location", "nowhere")))
            said, fixes = f", a redirect to {target}", {status: "correct github.base_url in tokengov.yaml"}
        fix = fixes.get(status, "see the guide to connecting GitHub in docs/")
        message = f"{where}: refused with {status}{said}. Fix: {fix}."
        raise SourceError(message)

    def _refuse_errors(self, errors: Any, where: str) -> NoReturn:
        first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
        kind = str(first.get("type") or "an error")[:40]
        said = self._redacted(str(first.get("message", "")))
        fix = (
            "check the name in tokengov.yaml, and that the token or the App may read the repository"
            if kind in {"NOT_FOUND", "FORBIDDEN", "INSUFFICIENT_SCOPES"}
            else "run it again; if it stays, report it with this text"
        )
        message = f"{where}: GraphQL answered {kind}{f': {said}' if said else ''}; nothing was kept. Fix: {fix}."
        raise SourceError(message)

    def _refuse_shape(self, where: str, what: str) -> NoReturn:
        message = f"{where}: the answer is {what}. Fix: check github.base_url in tokengov.yaml."
        raise SourceError(message)

    def _refuse_repetition(self, where: str) -> NoReturn:
        message = (
            f"{where}: the listing leads back to a page that was read. Fix: run it again; if it stays, something "
            "between here and GitHub answers from a cache: correct github.base_url."
        )
        raise SourceError(message)

    def _said(self, content: Any) -> str:
        said = content.get("message") if isinstance(content, dict) else None
        return f", {self._redacted(said)}" if isinstance(said, str) and said.strip() else ""

    def _redacted(self, text: str) -> str:
        """The first line of a text from outside, short, without anything that looks like a secret."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        line = next(iter(_SECRETS.sub("***", text).strip().splitlines()), "")
        return line[:_SHOWN].rstrip(".")


def _object(value: Any, where: str, index: int) -> JsonObject:
    if not isinstance(value, dict):
        return JsonObject({"": value}, where).refuse(f"[{index}]", "should be an object and is none")
    return JsonObject(value, where, f"[{index}]")


def _is_transient(error: Mapping[str, Any]) -> bool:
    return error.get("type") is None and _TRANSIENT.search(str(error.get("message"))) is not None


def _pause(error: Exception) -> bool | float:
    """Whether to try again, or after how many seconds."""
    if not isinstance(error, _AgainError):
        return False
    return True if error.after_seconds is None else error.after_seconds


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds of a Retry-After header; GitHub writes a number."""
    value = str(headers.get("retry-after", "")).strip()
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII) else None


def _until_reset(headers: Mapping[str, Any]) -> float | None:
    """Seconds until the limit's window ends, and one more, because nobody says when in that second it does."""
    value = str(headers.get("x-ratelimit-reset", "")).strip()
    if not re.fullmatch(r"\d{1,11}", value, re.ASCII):
        return None
    return max(int(value) + 1 - dt.datetime.now(dt.UTC).timestamp(), 0.0)
