"""Claude Code analytics: reading them day by day, and what the evidence of Rule 5.1 is computed from.

Belongs here: the asset declaration, and gathering analytics, logged spend by person and cost centers. Does not belong
here: the request (`resources.anthropic_claude_code`), what is evidence of what (`domain.claude_code`).

What is gathered is by person. It stays in memory: only groups leave the rule (Rule 12.7).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.loads import describe
from assets.providers import NOT_CONFIGURED, PLATFORM
from resources.anthropic import AnthropicReports
from resources.anthropic_claude_code import CLAUDE_CODE, load_claude_code
from resources.home import Home
from resources.lake import Lake
from resources.readings import PROXY_LOG, state_at
from resources.tables import Tables
from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.claude_code import PROVIDER, ClaudeCodeDay, PersonDay, claude_code_days, hashed_email
from tokengov_pipelines.domain.day_state import DayState, end_of
from tokengov_pipelines.domain.intervals import Interval

NOT_SWITCHED_ON = {"load": "not switched on: anthropic.claude_code in tokengov.yaml; nothing was read"}


def claude_code_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The asset `raw/anthropic_claude_code`; it reads where tokengov.yaml switches it on."""

    @dg.asset(
        key=["raw", CLAUDE_CODE.name],
        group_name="raw",
        owners=[PLATFORM],
        kinds={"json", "parquet"},
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Claude Code analytics by UTC day and actor, people as hashes. Evidence: added to no amount.",
    )
    def anthropic_claude_code(
        context: dg.AssetExecutionContext, anthropic: AnthropicReports, lake: Lake, home: Home
    ) -> dg.MaterializeResult:
        settings = home.installation.settings
        wanted = [dt.date.fromisoformat(key) for key in context.partition_keys]
        if settings.anthropic is None or not settings.anthropic.claude_code:
            reason = NOT_CONFIGURED if settings.anthropic is None else NOT_SWITCHED_ON
            for day in wanted:
                context.add_asset_metadata(reason, partition_key=day.isoformat())
            return dg.MaterializeResult()
        now, watermark = settings.now(), home.installation.policy.period.late_log_watermark_days
        for day, outcome in load_claude_code(anthropic, lake, [day for day in wanted if end_of(day) <= now], now):
            state = {"state": str(state_at(lake, CLAUDE_CODE.name, day, watermark))}
            context.add_asset_metadata(describe(outcome) | state, partition_key=day.isoformat())
        return dg.MaterializeResult()

    return [anthropic_claude_code]


@dataclass(frozen=True)
class ClaudeCodeFacts:
    """What `domain.claude_code.claude_code_evidence` takes, by person: not to be stored, shown or logged.

    `not_compared` are days that the analytics cover and the proxy's log does not: silence there is a missing extract
    and no bypass (Rule 4.5), so `days` leaves them out.
    """

    days: tuple[ClaudeCodeDay, ...]
    proxied: Mapping[PersonDay, Decimal]
    cost_centers: Mapping[PersonDay, str]
    not_compared: tuple[dt.date, ...]

    def cost_center_of(self, person: str, day: dt.date) -> str | None:
        """The cost center of a person's team on a day, by the directory."""
        return self.cost_centers.get((person, day))


def gather_claude_code(lake: Lake, tables: Tables, days: Iterable[dt.date]) -> ClaudeCodeFacts | None:
    """The facts of some UTC days; None where none of them was ever read."""
    read = [day for day in sorted(set(days)) if lake.current(CLAUDE_CODE.name, f"day={day}") is not None]
    if not read:
        return None
    compared = [day for day in read if _is_logged(lake, tables, day)]
    rows = _rows(lake, CLAUDE_CODE.name, [f"day={day}" for day in compared])
    found = tuple(claude_code_days(rows))
    people = _People(lake)
    return ClaudeCodeFacts(
        days=found,
        proxied=_proxied(tables, compared, people),
        cost_centers={
            (each.person, each.day): center
            for each in found
            if each.person and (center := people.cost_center_of(each.person, each.day))
        },
        not_compared=tuple(day for day in read if day not in compared),
    )


def _is_logged(lake: Lake, tables: Tables, day: dt.date) -> bool:
    """Whether the proxy's log of a day was read to its end, and its usage built."""
    is_read = state_at(lake, PROXY_LOG, day, 0) in {DayState.COMPLETE, DayState.SETTLED}
    return is_read and tables.path("fct_usage_daily", f"usage_date={day}").exists()


def _rows(lake: Lake, table: str, partitions: Sequence[str] | None = None) -> list[Any]:
    """Rows as plain dictionaries, with the table's columns and types."""
    files = lake.current_files(table, partitions)
    return [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]


class _People:
    """Whose a user id is, and which cost center a person belongs to."""

    def __init__(self, lake: Lake) -> None:
        self._emails: dict[str, list[tuple[Interval, str]]] = {}
        self._teams: dict[str, list[tuple[Interval, str]]] = {}
        self._centers: dict[str, list[tuple[Interval, str]]] = {}
        for row in _rows(lake, "directory_users"):
            valid = Interval(row["valid_from"], row["valid_to"])
            self._emails.setdefault(row["user_id"], []).append((valid, row["email"]))
            self._teams.setdefault(hashed_email(row["email"]), []).append((valid, row["team_id"]))
        for row in _rows(lake, "directory_teams"):
            valid = Interval(row["valid_from"], row["valid_to"])
            self._centers.setdefault(row["team_id"], []).append((valid, row["cost_center"]))
        # Ascending by the day observed, so that the latest answer stands.
        self._observed = {
            row["user_id"]: row["user_email"] for row in _rows(lake, "litellm_users") if row["user_email"]
        }

    def hash_of(self, user_id: str, day: dt.date) -> str | None:
        """The person behind the proxy's user id: by the directory, the proxy's user table, or the id itself."""
        email = _on(self._emails.get(user_id, ()), day) or self._observed.get(user_id)
        if email is None and "@" in user_id:
            email = user_id
        return hashed_email(email) if email else None

    def cost_center_of(self, person: str, day: dt.date) -> str | None:
        """By the person's team of the day."""
        team = _on(self._teams.get(person, ()), day)
        return _on(self._centers.get(team, ()), day) if team else None


def _on(dated: Iterable[tuple[Interval, str]], day: dt.date) -> str | None:
    return next((value for valid, value in dated if valid.valid_on(day)), None)


def _proxied(tables: Tables, days: Iterable[dt.date], people: _People) -> dict[PersonDay, Decimal]:
    """Logged spend on Anthropic by person and day; use by a person's own plan is not on the API invoice."""
    spend: dict[PersonDay, Decimal] = {}
    for day in days:
        usage = tables.read("fct_usage_daily", [f"usage_date={day}"])
        mine = usage.filter(
            (pc.field("provider") == PROVIDER) & (pc.field("call_class") != CallClass.SUBSCRIPTION.value)
        )
        by_user = mine.group_by(["user_id"]).aggregate([("logged_spend_usd", "sum")])
        for row in by_user.to_pylist():
            person = people.hash_of(row["user_id"], day) if row["user_id"] else None
            if person is not None:
                spend[person, day] = spend.get((person, day), Decimal(0)) + row["logged_spend_usd_sum"]
    return spend
