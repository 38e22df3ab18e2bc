"""The outside world of a demo home: its Postgres and its local providers, with their addresses in the environment.

Belongs here: what a command needs around it when it works on a demo home. Does not belong here: the database
(`demo.database`), the provider server (`demo.providers`), what is run (`demo.run`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokengov_pipelines.demo.database import demo_database
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.providers.demo import demo_providers
from tokengov_pipelines.demo.providers.github import DEMO_TOKEN, GitHubBooks, github_routes
from tokengov_pipelines.demo.pull_requests import build_pull_requests
from tokengov_pipelines.demo.seed import MARKER_FILE
from tokengov_pipelines.settings import (
    ANTHROPIC_KEY_VARIABLE,
    GITHUB_TOKEN_VARIABLE,
    LITELLM_URL_VARIABLE,
    OPENAI_KEY_VARIABLE,
    base_url_variable,
)


@contextmanager
def demo_environment(home: Path) -> Iterator[None]:
    """For a demo home, its Postgres and its providers with addresses and keys set; for any other home, nothing."""
    with demo_database(home) as url:
        if url is None:
            yield
            return
        os.environ[LITELLM_URL_VARIABLE] = url
        with provider_environment(home):
            yield


@contextmanager
def provider_environment(home: Path) -> Iterator[None]:
    """The providers and GitHub of a seeded demo home, on a free port of this machine."""
    marker = home / MARKER_FILE
    if not marker.exists():
        yield
        return
    seed = json.loads(marker.read_text(encoding="utf-8"))["seed"]
    books = GitHubBooks(build_pull_requests(build_organisation(), seed))
    with demo_providers(home, routes=github_routes(books)) as providers:
        if providers is not None:
            os.environ[ANTHROPIC_KEY_VARIABLE] = providers.anthropic_admin_key
            os.environ[OPENAI_KEY_VARIABLE] = providers.openai_admin_key
            os.environ[GITHUB_TOKEN_VARIABLE] = DEMO_TOKEN
            os.environ[base_url_variable("anthropic")] = providers.anthropic_base_url
            os.environ[base_url_variable("openai")] = providers.openai_base_url
            os.environ[base_url_variable("github")] = providers.github_base_url
        yield
