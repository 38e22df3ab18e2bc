"""`tokengov doctor` on Anthropic and OpenAI: one small request to every endpoint that is read; what a refusal means.

Belongs here: which requests, and which right or setting a refusal asks for. Does not belong here: transport and its
errors (`resources.http_source`), reading for the lake (`resources.anthropic`, `resources.openai`).

A report is asked for one past UTC day and one row, a list for one entry: nothing is kept, and nobody's name is shown.
"""

import datetime as dt
import email.utils
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from resources.anthropic import BETA, VERSION
from resources.http_source import Connection, HttpSource, Params, Patience, RefusedError
from resources.json_fields import JsonObject
from resources.litellm_probe import clock_finding
from resources.source_error import SourceError
from tokengov_pipelines.domain.alert import duration
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning
from tokengov_pipelines.settings import (
    ANTHROPIC_KEY_VARIABLE,
    OPENAI_KEY_VARIABLE,
    AnthropicSettings,
    OpenAISettings,
)

PATIENCE: Final = Patience(
    attempts=2, first_pause_seconds=0.5, longest_pause_seconds=5, read_timeout_seconds=20, answer_timeout_seconds=30
)
"""Less patience than a load has: a person is waiting."""

OLDEST_REFRESH_HOURS: Final = 24
"""Anthropic: the reports' figures are refreshed every 4 hours and may take 24."""


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: what it is to people, how it is asked, and what a refusal means by status.

    `refusals` complete 'Fix: ...'. `optional` endpoints are read where they are given and left out where not.
    """

    check: str
    path: str
    params: Params
    refusals: Mapping[int, str]
    optional: str = ""


def probe_anthropic(settings: AnthropicSettings, key: str, now: dt.datetime, patience: Patience) -> Iterator[Finding]:
    """Every finding about Anthropic's report generation that is configured, and about the key lists."""
    headers = {"x-api-key": key, "anthropic-version": VERSION}
    if settings.report == "analytics":
        headers["anthropic-beta"] = BETA
    source = HttpSource("Anthropic", settings.base_url, headers, [key], ANTHROPIC_KEY_VARIABLE, patience)
    yield from _probe(source, _anthropic_endpoints(settings, now), now)


def _anthropic_endpoints(settings: AnthropicSettings, now: dt.datetime) -> Sequence[Endpoint]:
    day = now.date() - dt.timedelta(days=2)
    window = [("starting_at", f"{day}T00:00:00Z"), ("ending_at", f"{day + dt.timedelta(days=1)}T00:00:00Z")]
    admin = f"export an Admin API key (sk-ant-admin01-...) in {ANTHROPIC_KEY_VARIABLE}; an admin of the organisation "
    admin += "makes one in the Console under Settings, Admin keys."
    base = "/v1/organizations"
    lists = {401: admin, 403: admin, 404: "correct anthropic.base_url in tokengov.yaml."}
    entries = [("limit", "1")]
    if settings.report == "analytics":
        scope = f"{admin} A key that is no Admin key needs the scope read:analytics."
        missing = "set anthropic.report to legacy in tokengov.yaml if the organisation has no usage and cost analytics "
        missing += "(beta since 2026-10-29); otherwise correct anthropic.base_url."
        refusals = {401: admin, 403: scope, 404: missing}
        width = [("time_bucket_width", "1d"), ("limit", "1")]
        reports = [("usage report", f"{base}/analytics/usage"), ("cost report", f"{base}/analytics/cost")]
    else:
        missing = "correct anthropic.base_url in tokengov.yaml, or set anthropic.report to analytics."
        refusals = {401: admin, 403: admin, 404: missing}
        width = [("bucket_width", "1d"), ("limit", "1")]
        reports = [("usage report", f"{base}/usage_report/messages"), ("cost report", f"{base}/cost_report")]
    return [
        *(Endpoint(check, path, [*window, *width], refusals) for check, path in reports),
        Endpoint("API keys", f"{base}/api_keys", entries, lists),
        Endpoint("workspaces", f"{base}/workspaces", entries, lists),
        Endpoint("users", f"{base}/users", entries, lists),
        Endpoint(
            "service accounts",
            f"{base}/service_accounts",
            entries,
            lists,
            optional="Anthropic gives this list to OAuth tokens with the scope org:admin only; it is left out.",
        ),
    ]


def probe_openai(settings: OpenAISettings, key: str, now: dt.datetime, patience: Patience) -> Iterator[Finding]:
    """Every finding about OpenAI's usage, costs and key lists."""
    headers = {"Authorization": f"Bearer {key}"}
    source = HttpSource("OpenAI", settings.base_url, headers, [key], OPENAI_KEY_VARIABLE, patience)
    yield from _probe(source, _openai_endpoints(now), now)


def _openai_endpoints(now: dt.datetime) -> Sequence[Endpoint]:
    day = dt.datetime.combine(now.date() - dt.timedelta(days=2), dt.time(), dt.UTC)
    window = [("start_time", f"{day.timestamp():.0f}"), ("end_time", f"{day.timestamp() + 86_400:.0f}")]
    width = [("bucket_width", "1d"), ("limit", "1")]
    admin = (
        f"export an admin key (sk-admin-...) in {OPENAI_KEY_VARIABLE}; an owner of the organization makes one under "
    )
    admin += "Settings, Organization, Admin keys."
    elsewhere = "correct openai.base_url in tokengov.yaml (it ends with /v1)."
    usage = {401: admin, 403: f"{admin} A restricted key needs the scope api.usage.read.", 404: elsewhere}
    management = {401: admin, 403: f"{admin} A restricted key needs read access to management.", 404: elsewhere}
    entries = [("limit", "1")]
    return [
        Endpoint("usage report", "/organization/usage/completions", [*window, *width], usage),
        Endpoint("cost report", "/organization/costs", [*window, *width], usage),
        Endpoint("projects", "/organization/projects", entries, management),
        Endpoint("users", "/organization/users", entries, management),
    ]


def _project_endpoints(project: str) -> Sequence[Endpoint]:
    path = f"/organization/projects/{project}"
    fix = f"give the key in {OPENAI_KEY_VARIABLE} read access to management: an owner makes such an admin key."
    refusals = {401: fix, 403: fix, 404: fix}
    return [
        Endpoint("API keys", f"{path}/api_keys", [("limit", "1"), ("owner_project_access", "any")], refusals),
        Endpoint("service accounts", f"{path}/service_accounts", [("limit", "1")], refusals),
    ]


def _probe(source: HttpSource, endpoints: Sequence[Endpoint], now: dt.datetime) -> Iterator[Finding]:
    try:
        with source.connected() as connection:
            yield from clock(source.name, source.base_url, source.patience)
            for endpoint in endpoints:
                page, findings = _ask(connection, endpoint, now)
                yield from findings
                if page is None and not _goes_on(findings):
                    return
                if endpoint.check == "projects" and page is not None:
                    for project in page.objects("data")[:1]:
                        for further in _project_endpoints(project.text("id")):
                            yield from _ask(connection, further, now)[1]
    except SourceError as failed:
        yield from_error(source.name, "reachable", str(failed))


def _goes_on(findings: Sequence[Finding]) -> bool:
    """Whether asking further makes sense: not where nobody answers or the key itself is refused."""
    return not any(finding.check == "reachable" or "refused with 401" in finding.text for finding in findings)


def _ask(connection: Connection, endpoint: Endpoint, now: dt.datetime) -> tuple[JsonObject | None, list[Finding]]:
    name = connection.source.name
    try:
        page, _ = connection.get(endpoint.path, endpoint.params, endpoint.check)
    except RefusedError as refused:
        if endpoint.optional and refused.status in {httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}:
            return None, [ok(name, endpoint.check, endpoint.optional)]
        found = from_error(name, endpoint.check, str(refused))
        return None, [error(name, endpoint.check, found.text, endpoint.refusals.get(refused.status, found.fix))]
    except SourceError as failed:  # nobody answers, or not in time
        return None, [from_error(name, "reachable", str(failed))]
    try:
        page.objects("data")
        return page, [_refreshed(name, endpoint.check, page, now)]
    except SourceError as failed:
        return None, [from_error(name, endpoint.check, str(failed))]


def _refreshed(name: str, check: str, page: JsonObject, now: dt.datetime) -> Finding:
    """An answer in the expected form; where the report says up to when its figures are, how old that is."""
    if not page.has("data_refreshed_at"):
        return ok(name, check, "may be read.")
    at = page.moment("data_refreshed_at")
    text = f"may be read; its figures are of {at:%Y-%m-%d %H:%M} UTC, {duration(now - at)} ago"
    if now - at > dt.timedelta(hours=OLDEST_REFRESH_HOURS):
        fix = (
            "nothing here: days after that moment stay incomplete until the provider goes on. Look at its status page."
        )
        return warning(name, check, f"{text}, more than {OLDEST_REFRESH_HOURS} h.", fix)
    return ok(name, check, f"{text}.")


def clock(name: str, base_url: str, patience: Patience) -> Iterator[Finding]:
    """How far our clock is from the `Date` of an answer; asked without any key, and silent where nobody answers."""
    try:
        before = dt.datetime.now(dt.UTC)
        answer = httpx.get(base_url, timeout=patience.read_timeout_seconds, follow_redirects=False)
        after = dt.datetime.now(dt.UTC)
        said = email.utils.parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError):
        return
    there = said if said.tzinfo else said.replace(tzinfo=dt.UTC)
    skew = max((before - there).total_seconds() - 1, (there - after).total_seconds(), 0)
    yield clock_finding(name, skew, f"the clock of {httpx.URL(base_url).host}")
