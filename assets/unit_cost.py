"""What is known of a month's merged pull requests, gathered for the rules to count.

Belongs here: reading pull requests and memberships. Does not belong here: which pull requests count
(`domain.pull_requests`), the ratio (`domain.unit_cost`), the file (`pack.cost_per_pr_csv`).
"""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.github import REPOSITORIES
from resources.github_tables import PULL_REQUESTS
from resources.lake import Lake
from tokengov_pipelines.closing.inputs import MergedPullRequests
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import (
    CountedPullRequests,
    CountingPolicy,
    Membership,
    MergedPullRequest,
    count_month,
)
from tokengov_pipelines.domain.unit_cost import UnitCostRow
from tokengov_pipelines.settings import Installation

_EXCLUDED_SHOWN = 500


def gather_pull_requests(installation: Installation, lake: Lake, month: BillingMonth) -> MergedPullRequests | None:
    """The month's counts; None where GitHub is not configured or was never read whole.

    A ratio on them is provisional until every repository was read after the month.
    """
    counted = count_pull_requests(installation, lake, month)
    read = lake.last_seen(REPOSITORIES, "all")
    if counted is None or read is None:
        return None
    return MergedPullRequests(counted.counts(), dt.datetime.fromisoformat(read["extracted_at"]) >= _end(month))


def count_pull_requests(installation: Installation, lake: Lake, month: BillingMonth) -> CountedPullRequests | None:
    """The counted pull requests with every excluded one; None as above."""
    if installation.settings.github is None or lake.last_seen(REPOSITORIES, "all") is None:
        return None
    policy = installation.policy.cost_per_pr
    return count_month(
        month,
        month_pull_requests(lake, month),
        _memberships(lake),
        CountingPolicy(policy.agent_logins, policy.default_branch_only),
    )


def unit_cost_metadata(rows: Sequence[UnitCostRow] | None, counted: CountedPullRequests | None) -> dict[str, Any]:
    """The figure, and every pull request that is not counted with its reason, for the page of the pack (Rule 9.2)."""
    if rows is None or counted is None:
        return {"cost_per_pr": "no figure: GitHub is not configured in tokengov.yaml, or was never read whole"}
    organisation = rows[0]
    excluded = [
        dg.TableRecord({"repository": each.repository, "number": each.number, "reason": str(each.reason)})
        for each in counted.excluded[:_EXCLUDED_SHOWN]
    ]
    return {
        "cost_per_pr": f"{organisation.cost_per_pr} USD ({organisation.status})",
        "merged_prs": organisation.merged_prs,
        "excluded_prs": dg.MetadataValue.table(excluded) if excluded else "none",
    }


def month_pull_requests(lake: Lake, month: BillingMonth) -> list[MergedPullRequest]:
    """The pull requests that were merged in the UTC month, of every repository that was ever read.

    A repository that is no longer configured, or no longer there, was still worked in.
    """
    first, end = (moment.replace(tzinfo=None) for moment in (_start(month), _end(month)))
    within = (pc.field("merged_at") >= pa.scalar(first, pa.timestamp("us"))) & (
        pc.field("merged_at") < pa.scalar(end, pa.timestamp("us"))
    )
    found: list[MergedPullRequest] = []
    for path in lake.current_files(PULL_REQUESTS.name):
        found += [_pull_request(row) for row in pq.read_table(path, partitioning=None, filters=within).to_pylist()]
    return found


def _pull_request(row: dict[str, Any]) -> MergedPullRequest:
    reverts = (row["reverts_repository"], row["reverts_number"]) if row["reverts_repository"] else None
    return MergedPullRequest(
        repository_id=row["repository_id"],
        repository=row["repository"],
        number=row["number"],
        title=row["title"],
        author_login=row["author_login"],
        author_type=row["author_type"],
        merged_at=row["merged_at"],
        base_branch=row["base_branch"],
        default_branch=row["default_branch"],
        is_draft=row["is_draft"],
        labels=tuple(json.loads(row["labels"])),
        assignees=tuple(json.loads(row["assignees"])),
        reverts=reverts,
    )


def _memberships(lake: Lake) -> list[Membership]:
    return [
        Membership(row["github_login"], row["team_id"], Interval(row["valid_from"], row["valid_to"]))
        for row in _directory(lake, "users")
        if row["github_login"]
    ]


def _directory(lake: Lake, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in lake.current_files(f"directory_{name}"):
        rows += pq.read_table(path, partitioning=None).to_pylist()
    return rows


def _start(month: BillingMonth) -> dt.datetime:
    return dt.datetime.combine(month.first_day, dt.time(), dt.UTC)


def _end(month: BillingMonth) -> dt.datetime:
    return _start(month.next())
