"""cost_per_pr.csv: what a merged pull request costs, by team and for the organisation (rules 9.1 to 9.3, 11.1).

Belongs here: its columns and key. Does not belong here: the rows (`domain.unit_cost`) and how cells are written
(`writer`). No author, no login and no title is in it: the figure is a team's and never a person's.
"""

from collections.abc import Iterable

from tokengov_pipelines.domain.unit_cost import UnitCostRow
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

COST_PER_PR_CSV = "cost_per_pr.csv"

PRIMARY_KEY = ("period", "level", "team_id")

COLUMNS = (
    Column("period"),
    Column("level"),
    Column("team_id"),
    Column("team_name"),
    Column("merged_prs", Kind.INTEGER),
    Column("excluded_prs", Kind.INTEGER),
    Column("cost_usd", Kind.DECIMAL, 2),
    Column("cost_per_pr_usd", Kind.DECIMAL, 2),
    Column("status"),
)


def cost_per_pr_csv(rows: Iterable[UnitCostRow]) -> bytes:
    """The file's bytes; without rows it is the header alone."""
    return csv_bytes(COLUMNS, [_cells(row) for row in rows], PRIMARY_KEY)


def _cells(row: UnitCostRow) -> list[object]:
    return [
        str(row.period),
        str(row.level),
        row.team_id,
        row.team_name,
        row.merged_prs,
        row.excluded_prs,
        row.cost,
        row.cost_per_pr,
        str(row.status),
    ]
