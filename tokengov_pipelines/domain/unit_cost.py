"""Cost per merged pull request: a team's charged API cost over its merged pull requests (rules 9.1, 9.3).

Belongs here: charges by team, the ratio, and how few pull requests a ratio may rest on. Does not belong here: which
pull requests count (`pull_requests`), who is charged (`chargeback`), the file (`pack.cost_per_pr_csv`).

A team's charges are those of the drill table (`charge_detail`). It is a ratio of sums at every level, and never a
figure about a person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import exact_sum, from_cents, to_cents
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import PullRequestCounts

FEW: Final = 5
"""Below this many pull requests a ratio is shown, greyed, and not ranked (rule 9.3)."""

NOT_IN_NUMERATOR: Final = frozenset({"central", "seat"})
"""Charge types that stand in no numerator: what nobody can influence, and what is not API use (rule 9.1)."""


class Level(StrEnum):
    """What a row speaks of. `UNATTRIBUTED` is cost and pull requests without a team; it makes the teams foot to ORG."""

    ORG = "org"
    TEAM = "team"
    UNATTRIBUTED = "unattributed"


class Status(StrEnum):
    """How a row is to be read."""

    OK = "ok"
    FEW = "few"
    NO_MERGED_PRS = "no_merged_prs"
    PROVISIONAL = "provisional"
    UNATTRIBUTED = "unattributed"


@dataclass(frozen=True)
class UnitCostRow:
    """One row of cost_per_pr.csv. `cost` is in cents, `cost_per_pr` rounded once for display and None without a ratio.

    `excluded_prs` is known for the organisation alone: a bot or a release branch has no team.
    """

    period: BillingMonth
    level: Level
    team_id: str
    team_name: str
    merged_prs: int
    excluded_prs: int | None
    cost: Decimal
    cost_per_pr: Decimal | None
    status: Status


def charges_by_team(detail: Iterable[ChargebackLine]) -> dict[str | None, Decimal]:
    """Every charge of the drill table that stands in the numerator, by team (Rule 9.1); None holds what has no team.

    Amounts are in the functional currency, and add up to the charge lines to the cent.
    """
    parts: dict[str | None, list[Decimal]] = {}
    for line in detail:
        if line.charge_type not in NOT_IN_NUMERATOR:
            parts.setdefault(line.team_id, []).append(line.amount_functional)
    return {team: exact_sum(parts[team]) for team in sorted(parts, key=lambda team: (team is None, team or ""))}


def cost_per_pr(cost: Decimal, merged_prs: int) -> Decimal | None:
    """Cost over count with two decimals, half away from zero; None for no pull request, never 0 or infinity.

    3200.00 over 85 is 37.65.
    """
    if merged_prs <= 0:
        return None
    cents = to_cents(cost)
    rounded = (2 * abs(cents) + merged_prs) // (2 * merged_prs)
    return from_cents(-rounded if cents < 0 else rounded)


def unit_cost_rows(
    costs: Mapping[str | None, Decimal],
    counted: PullRequestCounts,
    team_names: Mapping[str, str],
    *,
    is_complete: bool,
) -> tuple[UnitCostRow, ...]:
    """The rows of a month: the organisation, every team that has cost or pull requests, and what has no team.

    Teams and the unattributed row add up to the organisation, in cost and in count. `is_complete` says that GitHub was
    read after the month's end; before it every ratio is provisional.
    """
    shown = {*(team for team, cost in costs.items() if cost), *counted.by_team}
    teams = sorted(team for team in shown if team is not None)

    def row(level: Level, team_id: str, merged: int, cost: Decimal) -> UnitCostRow:
        ratio = None if level is Level.UNATTRIBUTED else cost_per_pr(cost, merged)
        return UnitCostRow(
            period=counted.month,
            level=level,
            team_id=team_id,
            team_name=team_names.get(team_id, ""),
            merged_prs=merged,
            excluded_prs=counted.excluded if level is Level.ORG else None,
            cost=cost,
            cost_per_pr=ratio,
            status=_status(level, merged, is_complete=is_complete),
        )

    rows = [row(Level.ORG, "", counted.total, exact_sum([Decimal("0.00"), *costs.values()]))]
    rows += [row(Level.TEAM, team, counted.by_team.get(team, 0), costs.get(team, Decimal("0.00"))) for team in teams]
    if counted.without_team or costs.get(None):
        rows.append(row(Level.UNATTRIBUTED, "", counted.without_team, costs.get(None, Decimal("0.00"))))
    return tuple(rows)


def _status(level: Level, merged: int, *, is_complete: bool) -> Status:
    if level is Level.UNATTRIBUTED:
        return Status.UNATTRIBUTED
    if not is_complete:
        return Status.PROVISIONAL
    if merged == 0:
        return Status.NO_MERGED_PRS
    return Status.FEW if merged < FEW else Status.OK
