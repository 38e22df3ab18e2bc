"""What is known of a month's cost per merged pull request, gathered for the rules to count and divide.

Belongs here: reading pull requests, memberships and logged spend by team. Does not belong here: which pull requests
count (`domain.pull_requests`), the ratio (`domain.unit_cost`), the file (`pack.cost_per_pr_csv`).
"""

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.github import REPOSITORIES
from resources.github_tables import PULL_REQUESTS
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import (
    CountedPullRequests,
    CountingPolicy,
    Membership,
    MergedPullRequest,
    count_month,
)
from tokengov_pipelines.domain.unit_cost import TeamSpend, UnitCostRow, charges_by_team, unit_cost_rows
from tokengov_pipelines.settings import Installation

_EXCLUDED_SHOWN = 500


@dataclass(frozen=True)
class UnitCost:
    """A month's rows of cost_per_pr.csv, and the count they rest on with every excluded pull request."""

    rows: tuple[UnitCostRow, ...]
    counted: CountedPullRequests


def gather_unit_cost(
    installation: Installation, lake: Lake, tables: Tables, month: BillingMonth, lines: Iterable[ChargebackLine]
) -> UnitCost | None:
    """Count and divide what is known of the month; None where GitHub is not configured or was never read whole.

    `lines` are the month's charge lines. The figure is provisional until every repository was read after the month.
    """
    if installation.settings.github is None:
        return None
    read = lake.last_seen(REPOSITORIES, "all")
    if read is None:
        return None
    policy = installation.policy.cost_per_pr
    counted = count_month(
        month,
        month_pull_requests(lake, month),
        _memberships(lake),
        CountingPolicy(policy.agent_logins, policy.default_branch_only),
    )
    costs = charges_by_team(lines, _team_spend(tables, month))
    is_complete = dt.datetime.fromisoformat(read["extracted_at"]) >= _end(month)
    return UnitCost(unit_cost_rows(costs, counted, _team_names(lake, month), is_complete=is_complete), counted)


def unit_cost_metadata(found: UnitCost | None) -> dict[str, Any]:
    """The figure, and every pull request that is not counted with its reason, for the page of the pack (rule 9.2)."""
    if found is None:
        return {"cost_per_pr": "no figure: GitHub is not configured in tokengov.yaml, or was never read whole"}
    organisation = found.rows[0]
    excluded = [
        dg.TableRecord({"repository": each.repository, "number": each.number, "reason": str(each.reason)})
        for each in found.counted.excluded[:_EXCLUDED_SHOWN]
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


def _team_names(lake: Lake, month: BillingMonth) -> dict[str, str]:
    """The names of teams as they are at the month's end, or were last."""
    known = [row for row in _directory(lake, "teams") if row["valid_from"] <= month.last_day]
    return {row["team_id"]: row["team_name"] for row in sorted(known, key=lambda row: row["valid_from"])}


def _directory(lake: Lake, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in lake.current_files(f"directory_{name}"):
        rows += pq.read_table(path, partitioning=None).to_pylist()
    return rows


def _team_spend(tables: Tables, month: BillingMonth) -> list[TeamSpend]:
    """Logged spend by provider, cost center and team; a day that is not built yet is missing in the charges too."""
    grain = ["provider", "cost_center", "team_id"]
    built = [
        partition
        for partition in (f"usage_date={day}" for day in month.days())
        if tables.path("fct_usage_daily", partition).exists()
    ]
    spend: dict[tuple[str, str, str | None], Decimal] = {}
    for partition in built:
        day = tables.read("fct_usage_daily", [partition]).select([*grain, "logged_spend_usd"])
        for row in day.group_by(grain).aggregate([("logged_spend_usd", "sum")]).to_pylist():
            key = row["provider"], row["cost_center"], row["team_id"] or None
            spend[key] = spend.get(key, Decimal(0)) + row["logged_spend_usd_sum"]
    return [TeamSpend(*key, logged) for key, logged in spend.items()]


def _start(month: BillingMonth) -> dt.datetime:
    return dt.datetime.combine(month.first_day, dt.time(), dt.UTC)


def _end(month: BillingMonth) -> dt.datetime:
    return _start(month.next())
