"""Raw evidence from GitHub: merged pull requests, one load a repository.

Belongs here: the asset that moves them into the lake. Does not belong here: how GitHub is read (`resources.github`),
which pull request counts (`domain.pull_requests`), the month's figure (`assets.unit_cost`).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import dagster as dg

from resources.github import GitHubPullRequests, RepositoryLoad
from resources.home import Home
from resources.lake import Lake

PLATFORM = "team:platform"


def pull_request_assets() -> list[dg.AssetsDefinition]:
    """The asset of GitHub in group `raw`."""

    @dg.asset(
        key=["raw", "github_pull_requests"],
        group_name="raw",
        owners=[PLATFORM],
        kinds={"github", "parquet"},
        description=(
            "Merged pull requests, one whole load a repository (by its database id). A reading goes back to the newest "
            "change known, less an overlap; what it does not hold stays. Bodies are not kept."
        ),
    )
    def github_pull_requests(
        context: dg.AssetExecutionContext, github: GitHubPullRequests, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        settings = home.installation.settings
        if settings.github is None:
            return dg.MaterializeResult(metadata={"load": "not configured in tokengov.yaml"})
        loads = github.load(lake, settings.now())
        for load in loads:
            if load.way == "rest":
                context.log.warning(
                    f"{load.repository.name}: GraphQL is refused, the REST listing was read: sizes, first commits and "
                    "who merged are unknown. Fix: give the token or the App the right to use GraphQL."
                )
        return dg.MaterializeResult(metadata=_described(loads), data_version=dg.DataVersion(_content(loads)))

    return [github_pull_requests]


def _described(loads: Sequence[RepositoryLoad]) -> dict[str, Any]:
    shown = [
        dg.TableRecord(
            {
                "repository": load.repository.name,
                "way": load.way,
                "listed": load.listed,
                "rows": load.outcome.seen.rows,
                "load": load.outcome.verdict,
            }
        )
        for load in loads
    ]
    return {
        "dagster/row_count": sum(load.outcome.seen.rows for load in loads),
        "repositories": dg.MetadataValue.table(shown),
    }


def _content(loads: Sequence[RepositoryLoad]) -> str:
    """The content of all loads is the table's version, so a reading that finds no change makes nothing unsynced."""
    lines = sorted(f"{load.repository.id} {load.outcome.seen.sha256}" for load in loads)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
