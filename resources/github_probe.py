"""`tokengov doctor` on GitHub: identity, expiry, rate limit, each repository, GraphQL.

Belongs here: what is asked of GitHub to know whether pull requests can be read. Does not belong here: requests and
their errors (`resources.github_api`), reading for the lake (`resources.github`).

Of each named repository one merged pull request is asked for, by the very query that a load uses: it needs every right
that a load needs.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from resources.github import GitHubPullRequests
from resources.github_api import GitHubApi, GraphQLRefusedError
from resources.http_source import Patience
from resources.provider_probe import clock
from resources.source_error import SourceError
from tokengov_pipelines.domain.alert import duration
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning
from tokengov_pipelines.settings import GITHUB_TOKEN_VARIABLE, GitHubSettings

SOURCE: Final = "GitHub"
EXPIRES_SOON_DAYS: Final = 14
LOW_LIMIT: Final = 500
MOST_REPOSITORIES: Final = 50

_TOO_MUCH: Final = re.compile(r"^(admin:|write:|delete_|site_admin|workflow)")
_EXPIRY_HEADER: Final = "github-authentication-token-expiration"
_EXPIRY_FORMS: Final = ("%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S %z")


def probe_github(settings: GitHubSettings, patience: Patience, token: str = "", app_key: str = "") -> Iterator[Finding]:
    """Every finding about GitHub; ends after the first where the identity is refused or nobody answers."""
    source = GitHubPullRequests(
        token=token,
        app_id=settings.app_id,
        installation_id=settings.installation_id,
        app_private_key=app_key,
        base_url=settings.base_url,
        repositories=list(settings.repositories),
        organization=settings.organization,
        page_size=1,
        timeout_seconds=max(int(patience.read_timeout_seconds), 1),
        attempts=patience.attempts,
        first_pause_seconds=patience.first_pause_seconds,
        longest_wait_seconds=patience.longest_pause_seconds,
        secondary_wait_seconds=patience.longest_pause_seconds,
    )
    try:
        with source.connected() as api:
            yield from clock(SOURCE, settings.base_url, patience)
            yield from _identity(api)
            names = list(settings.repositories)
            if settings.organization:
                yield from _organization(api, settings.organization, names)
            if not names and not settings.organization:
                text = "tokengov.yaml names neither github.repositories nor github.organization."
                yield error(SOURCE, "repositories", text, "name repositories as owner/name, or an organization.")
            for name in names[:MOST_REPOSITORIES]:
                yield _repository(api, name)
    except SourceError as failed:
        yield from_error(SOURCE, "reachable", str(failed))


def _identity(api: GitHubApi) -> Iterator[Finding]:
    """Token or App accepted, what it may do, when it expires, how many requests are left."""
    content, answer = api.send("GET", "/rate_limit", {}, None, api.where("rate limit"))
    if answer.status == 404:  # GitHub Enterprise Server with rate limiting switched off
        yield ok(SOURCE, "identity", f"{api.place} accepts the credentials; it has no rate limit.")
    elif answer.status != 200:
        api.refuse(answer.status, content, answer, api.where("rate limit"))
    else:
        yield ok(SOURCE, "identity", f"{api.place} accepts the credentials.")
        yield from _limits(content)
    yield from _expiry(answer.headers)
    yield from _scopes(answer.headers)


def _limits(content: Any) -> Iterator[Finding]:
    resources = content.get("resources") if isinstance(content, dict) else None
    if not isinstance(resources, dict):
        return
    found = {kind: resources[kind] for kind in ("core", "graphql") if isinstance(resources.get(kind), dict)}
    left = {kind: (limit.get("remaining"), limit.get("limit")) for kind, limit in found.items()}
    text = " and ".join(f"{remaining} of {limit} {kind} requests" for kind, (remaining, limit) in left.items())
    low = [kind for kind, (remaining, _) in left.items() if isinstance(remaining, int) and remaining < LOW_LIMIT]
    if low:
        fix = "use a token or an App of its own for this product; the limit is full again within an hour."
        yield warning(SOURCE, "rate limit", f"{text} are left in this hour.", fix)
    elif text:
        yield ok(SOURCE, "rate limit", f"{text} are left in this hour.")


def _expiry(headers: Mapping[str, Any]) -> Iterator[Finding]:
    text = str(headers.get(_EXPIRY_HEADER, "")).strip()
    for form in _EXPIRY_FORMS:
        try:
            at = dt.datetime.strptime(text, form)  # noqa: DTZ007 - 'UTC' is read and not kept
        except ValueError:
            continue
        at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
        left = at - dt.datetime.now(dt.UTC)
        said = f"the token expires on {at:%Y-%m-%d}, in {duration(left)}."
        if left < dt.timedelta(days=EXPIRES_SOON_DAYS):
            yield warning(SOURCE, "expiry", said, f"make another one and export it in {GITHUB_TOKEN_VARIABLE}.")
        else:
            yield ok(SOURCE, "expiry", said)
        return


def _scopes(headers: Mapping[str, Any]) -> Iterator[Finding]:
    """What a classic token may do beyond reading; other tokens and Apps do not say."""
    scopes = [scope.strip() for scope in str(headers.get("x-oauth-scopes", "")).split(",") if scope.strip()]
    excessive = [scope for scope in scopes if _TOO_MUCH.match(scope)]
    if excessive:
        yield warning(
            SOURCE,
            "scopes",
            f"the token may do more than read pull requests: {', '.join(excessive)}.",
            "use a fine-grained token or an App as docs/connect-github.md describes.",
        )
    elif scopes:
        yield ok(SOURCE, "scopes", f"a classic token with {', '.join(scopes)}.")


def _organization(api: GitHubApi, organization: str, names: list[str]) -> Iterator[Finding]:
    """How many repositories of an organisation may be seen; the first is asked for a pull request like a named one."""
    wide = GitHubApi(api.client, api.place, api.secrets, 100, api.patience)
    try:
        listed = wide.repositories_of(organization)
    except SourceError as failed:
        yield from_error(SOURCE, "organization", str(failed))
        return
    if not listed:
        yield error(
            SOURCE,
            "organization",
            f"no repository of {organization} may be seen.",
            "let an owner of the organisation approve the token, or install the App on its repositories.",
        )
        return
    yield ok(SOURCE, "organization", f"{len(listed)} repositories of {organization} may be seen.")
    names += [name for name in listed[:1] if name.lower() not in {known.lower() for known in names}]


def _repository(api: GitHubApi, name: str) -> Finding:
    try:
        page = next(api.graphql_pages(name))
    except GraphQLRefusedError as refused:
        return _by_rest(api, name, str(refused))
    except SourceError as failed:
        return from_error(SOURCE, name, str(failed))
    return ok(SOURCE, name, f"its merged pull requests may be read{_renamed(name, page.repository.name)}.")


def _by_rest(api: GitHubApi, name: str, said: str) -> Finding:
    """Where GraphQL is closed to us a load goes on by REST, which says less."""
    try:
        page = next(api.rest_pages(name), None)
    except SourceError as failed:
        return from_error(SOURCE, name, str(failed))
    now_called = page.repository.name if page else name
    return warning(
        SOURCE,
        name,
        f"GraphQL is refused{said}; its pull requests may be read by REST{_renamed(name, now_called)}, without sizes "
        "and without the first commit's date.",
        "let the token or the App use GraphQL (on GitHub Enterprise: https://HOST/api/graphql).",
    )


def _renamed(name: str, now_called: str) -> str:
    return "" if name.lower() == now_called.lower() else f"; it is called {now_called} now"
