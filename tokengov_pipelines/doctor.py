"""`tokengov doctor`: every probe of an installation in turn, and no secret in what they say.

Belongs here: which probes run with which settings, secrets read from the environment and taken out of every finding.
Does not belong here: the probes (`resources.*_probe`) and what is printed (`tokengov_pipelines.doctor_cli`).
"""

import datetime as dt
import os
import re
from collections.abc import Callable, Iterator
from typing import Final

from resources.cloud_bill_probe import probe_cloud_bills
from resources.cloud_bills import CloudBillFolder
from resources.directory import OrgDirectory
from resources.directory_probe import probe_directory, probe_invoices
from resources.github_probe import probe_github
from resources.home_probe import probe_home
from resources.http_source import Patience
from resources.invoices import InvoiceFolder
from resources.litellm import LiteLLMPostgres
from resources.litellm_probe import ProxySight, look, probe_litellm
from resources.litellm_settings_probe import probe_proxy_settings
from resources.provider_probe import PATIENCE, probe_anthropic, probe_openai
from resources.source_error import SourceError
from resources.store_probe import probe_stores
from tokengov_pipelines.domain.finding import Finding, Level, not_configured
from tokengov_pipelines.settings import (
    ALERT_URLS_VARIABLE,
    ANTHROPIC_KEY_VARIABLE,
    DAGSTER_POSTGRES_URL_VARIABLE,
    GITHUB_APP_KEY_VARIABLE,
    GITHUB_TOKEN_VARIABLE,
    LEDGER_URL_VARIABLE,
    LITELLM_URL_VARIABLE,
    OPENAI_KEY_VARIABLE,
    Installation,
)

STATEMENT_SECONDS: Final = 60
"""Of one question to the proxy's database: a load may wait longer than a person."""

_SECRET_VARIABLES: Final = (
    LITELLM_URL_VARIABLE,
    LEDGER_URL_VARIABLE,
    DAGSTER_POSTGRES_URL_VARIABLE,
    ANTHROPIC_KEY_VARIABLE,
    OPENAI_KEY_VARIABLE,
    GITHUB_TOKEN_VARIABLE,
    GITHUB_APP_KEY_VARIABLE,
)
_SHORTEST_WORD_OF_AN_ALERT_URL: Final = 8

Progress = Callable[[str], None]


def examine(
    installation: Installation, *, patience: Patience = PATIENCE, progress: Progress = lambda _: None
) -> Iterator[Finding]:
    """Every finding about an installation, as it is made, grouped by source.

    Args:
        installation: whose settings, policy and places; secrets come from the environment.
        patience: how long HTTP sources are waited for.
        progress: is told what is looked at next.
    """
    secrets = secrets_in_environment()
    for name, probe in _probes(installation, patience):
        progress(name)
        for finding in probe():
            yield finding.redacted(secrets)


def secrets_in_environment() -> tuple[str, ...]:
    """The values that must never be shown; of an alert URL, every longer word as well."""
    values = [os.environ.get(variable, "").strip() for variable in _SECRET_VARIABLES]
    for url in os.environ.get(ALERT_URLS_VARIABLE, "").split():
        # Tokens stand in any place of it; a word with a point is a host, and others may be on the same one.
        words = [word for word in re.split(r"[/:@?&=#]+", url) if "." not in word]
        values += [url, *(word for word in words if len(word) >= _SHORTEST_WORD_OF_AN_ALERT_URL)]
    return tuple(value for value in values if value)


def _probes(installation: Installation, patience: Patience) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    settings = installation.settings
    now = settings.now()
    sight: list[ProxySight] = []
    yield "lake, ledger, Dagster", lambda: probe_stores(installation)
    yield "the home", lambda: probe_home(installation)
    yield "LiteLLM", lambda: _litellm(installation, now, sight)
    yield (
        "the directory",
        lambda: probe_directory(_directory(installation), sight[0] if sight else None, settings.today()),
    )
    yield (
        "invoices",
        lambda: probe_invoices(
            InvoiceFolder(url=installation.resolve(settings.invoices.url)),
        ),
    )
    yield "cloud bills", lambda: _cloud_bills(installation)
    yield "Anthropic", lambda: _anthropic(installation, now, patience)
    yield "OpenAI", lambda: _openai(installation, now, patience)
    yield "GitHub", lambda: _github(installation, patience)


def _litellm(installation: Installation, now: dt.datetime, sight: list[ProxySight]) -> Iterator[Finding]:
    settings, policy = installation.settings, installation.policy
    source = LiteLLMPostgres(
        url=os.environ.get(LITELLM_URL_VARIABLE, ""),
        statement_timeout_seconds=min(settings.litellm.statement_timeout_seconds, STATEMENT_SECONDS),
    )
    reached = False
    for finding in probe_litellm(
        source,
        now=now,
        is_now_fixed=settings.as_of is not None,
        stale_after_hours=settings.alerts.stale_after_hours,
        skew_seconds=policy.controls.future_skew_max_seconds,
    ):
        reached = reached or (finding.check == "reachable" and finding.level is Level.OK)
        yield finding
    if not reached:
        return
    yield from probe_proxy_settings(source, now)
    try:
        sight.append(look(source, now, policy.attribution.placeholder_users))
    except SourceError:
        return  # said above, by the check of the same columns; the directory says what it could not compare


def _directory(installation: Installation) -> OrgDirectory:
    settings, attribution = installation.settings, installation.policy.attribution
    return OrgDirectory(
        url=installation.resolve(settings.directory.url),
        schema_version=settings.directory.schema_version,
        suspense=attribution.suspense,
        central=attribution.central,
        max_successor_chain=attribution.max_successor_chain,
    )


def _cloud_bills(installation: Installation) -> Iterator[Finding]:
    section = installation.settings.cloud_bills
    if section is None:
        yield not_configured("cloud bills", "tokengov.yaml has no section cloud_bills.")
    else:
        folder = CloudBillFolder(url=installation.resolve(section.url), token_units=section.token_units)
        yield from probe_cloud_bills(folder, installation.settings.today())


def _anthropic(installation: Installation, now: dt.datetime, patience: Patience) -> Iterator[Finding]:
    section, key = installation.settings.anthropic, os.environ.get(ANTHROPIC_KEY_VARIABLE, "")
    if section is None:
        yield _absent("Anthropic", "anthropic", ANTHROPIC_KEY_VARIABLE)
    else:
        yield from probe_anthropic(section, key, now, patience)


def _openai(installation: Installation, now: dt.datetime, patience: Patience) -> Iterator[Finding]:
    section, key = installation.settings.openai, os.environ.get(OPENAI_KEY_VARIABLE, "")
    if section is None:
        yield _absent("OpenAI", "openai", OPENAI_KEY_VARIABLE)
    else:
        yield from probe_openai(section, key, now, patience)


def _github(installation: Installation, patience: Patience) -> Iterator[Finding]:
    section = installation.settings.github
    if section is None:
        yield _absent("GitHub", "github", GITHUB_TOKEN_VARIABLE)
    else:
        yield from probe_github(section, patience)


def _absent(source: str, section: str, variable: str) -> Finding:
    """One line for a source that is not configured; a key that waits for its section is worth a word."""
    waiting = f"; {variable} is set and not used" if os.environ.get(variable, "").strip() else ""
    return not_configured(source, f"tokengov.yaml has no section {section}{waiting}.")
