"""Anthropic as a source: usage and cost by UTC day, and daily snapshots of keys, workspaces, users, service accounts.

Belongs here: the requests of both generations of reports, how far their figures reach, which refusal is no error.
Does not belong here: transport and paging (`resources.http_source`), fields of an answer
(`resources.anthropic_answers`), groups and columns (`resources.anthropic_tables`), loads (`resources.lake`).

A window of days is read whole, every page of it, before the first of its days is written. The analytics endpoints give
rows where there was use, and say up to which moment their data is; the legacy ones give every day, empty or not.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import dagster as dg
from pydantic import Field

from resources.anthropic_answers import (
    Asked,
    analytics_cost_rows,
    analytics_usage_rows,
    api_key_row,
    legacy_cost_rows,
    legacy_usage_rows,
    next_in_list,
    service_account_row,
    user_row,
    workspace_row,
)
from resources.anthropic_tables import (
    ANALYTICS_GROUPS,
    API_KEYS,
    COST,
    COST_COMPONENTS,
    LEGACY_COST_GROUPS,
    LEGACY_COST_PARSED,
    LEGACY_USAGE_GROUPS,
    SERVICE_ACCOUNTS,
    USAGE,
    USERS,
    WORKSPACES,
)
from resources.body_archive import BodyArchive
from resources.http_source import Connection, HttpSource, Listing, Params, Patience, RefusedError, next_page
from resources.json_fields import JsonObject
from resources.lake import Lake, LakeTable, LoadOutcome
from resources.provider_days import ReportDays, Row, commit_snapshot, span, windows
from resources.source_error import SourceError
from tokengov_pipelines.settings import ANTHROPIC_KEY_VARIABLE

NAME: Final = "Anthropic"
VERSION: Final = "2023-06-01"
BETA: Final = "analytics-usage-cost-2026-08-24"

LONGEST_WINDOW: Final = 31
MOST_ROWS: Final = 1000
FIRST_ANALYTICS_DAY: Final = dt.date(2026, 1, 1)
ANALYTICS_HISTORY: Final = dt.timedelta(days=365)
# "Typically appears within 5 minutes"; a day is not called whole before it surely is.
LEGACY_DELAY: Final = dt.timedelta(hours=1)

# What a key that lists keys and users may still not list: service accounts want an OAuth token.
_NOT_FOR_THIS_KEY: Final = frozenset({401, 403, 404})


@dataclass(frozen=True)
class _Report:
    """One report endpoint. `unique` are the columns that no two rows of a day share."""

    what: str
    path: str
    table: LakeTable
    group_by: Sequence[str]
    unique: Sequence[str]
    rows: Callable[[JsonObject, Asked], Iterator[tuple[dt.date, list[Row]]]]


_ORGANIZATION = "/v1/organizations"
_REPORTS: Final[dict[tuple[str, str], _Report]] = {
    ("analytics", "usage"): _Report(
        "usage analytics",
        f"{_ORGANIZATION}/analytics/usage",
        USAGE,
        ANALYTICS_GROUPS,
        ANALYTICS_GROUPS,
        analytics_usage_rows,
    ),
    ("analytics", "cost"): _Report(
        "cost analytics",
        f"{_ORGANIZATION}/analytics/cost",
        COST,
        (*ANALYTICS_GROUPS, *COST_COMPONENTS),
        (*ANALYTICS_GROUPS, *COST_COMPONENTS),
        analytics_cost_rows,
    ),
    ("legacy", "usage"): _Report(
        "usage report",
        f"{_ORGANIZATION}/usage_report/messages",
        USAGE,
        LEGACY_USAGE_GROUPS,
        LEGACY_USAGE_GROUPS,
        legacy_usage_rows,
    ),
    ("legacy", "cost"): _Report(
        "cost report",
        f"{_ORGANIZATION}/cost_report",
        COST,
        LEGACY_COST_GROUPS,
        (*LEGACY_COST_GROUPS, *LEGACY_COST_PARSED),
        legacy_cost_rows,
    ),
}


@dataclass(frozen=True)
class _List:
    """One list endpoint and the reader of its entries."""

    what: str
    path: str
    params: Params
    table: LakeTable
    row: Callable[[JsonObject], Row]


_KEYS = _List("API keys", f"{_ORGANIZATION}/api_keys", [("limit", "1000")], API_KEYS, api_key_row)
_USERS = _List("users", f"{_ORGANIZATION}/users", [("limit", "1000")], USERS, user_row)
_WORKSPACES = _List(
    "workspaces",
    f"{_ORGANIZATION}/workspaces",
    # Both are left out unless asked for, and both have spend.
    [("limit", "1000"), ("include_archived", "true"), ("include_default", "true")],
    WORKSPACES,
    workspace_row,
)
_SERVICE_ACCOUNTS = _List(
    "service accounts",
    f"{_ORGANIZATION}/service_accounts",
    [("limit", "100"), ("include_archived", "true")],
    SERVICE_ACCOUNTS,
    service_account_row,
)


class AnthropicReports(dg.ConfigurableResource):
    """An organisation's usage, cost and lists. `admin_key` is a secret from the environment (`sk-ant-admin01-...`)."""

    admin_key: str = Field(repr=False)
    account: str = "default"
    base_url: str = "https://api.anthropic.com"
    report: Literal["analytics", "legacy"] = "analytics"
    attempts: int = Patience.attempts
    first_pause_seconds: float = Patience.first_pause_seconds
    longest_pause_seconds: float = Patience.longest_pause_seconds
    read_timeout_seconds: float = Patience.read_timeout_seconds

    def _source(self, lake: Lake) -> HttpSource:
        beta = {"anthropic-beta": BETA} if self.report == "analytics" else {}
        return HttpSource(
            name=NAME,
            base_url=self.base_url,
            headers={"x-api-key": self.admin_key, "anthropic-version": VERSION, **beta},
            secrets=[self.admin_key],
            key_variable=ANTHROPIC_KEY_VARIABLE,
            patience=Patience(
                attempts=self.attempts,
                first_pause_seconds=self.first_pause_seconds,
                longest_pause_seconds=self.longest_pause_seconds,
                read_timeout_seconds=self.read_timeout_seconds,
            ),
            archive=BodyArchive(lake.root),
        )

    # --- reports ---------------------------------------------------------------------------------------------------

    def load_usage(
        self, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """Read tokens into one load a UTC day, in day order.

        A day that the provider's figures do not reach the end of is provisional (`known_until`); where it has no row
        either, its outcome is `unproven_zero` and nothing becomes current (Rule 2.3, Rule 4.5).

        Raises:
            SourceError: an answer is refused, incomplete or not as expected (Rule 12.5). Nothing is written of its
                window of up to 31 days.
        """
        return self._load("usage", lake, days, extracted_at)

    def load_cost(
        self, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """Read costs in fractional cents into one load a UTC day, in day order; the rest as `load_usage`."""
        return self._load("cost", lake, days, extracted_at)

    def _load(
        self, kind: str, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        report = _REPORTS[self.report, kind]
        source = self._source(lake)
        with source.connected() as connection:
            for window in windows(days, LONGEST_WINDOW):
                what = f"{report.what} of {span(window)}"
                where = f"{NAME} at {source.place}: {what}"
                found = ReportDays(report.table, report.unique, window, where)
                read = self._read_analytics if self.report == "analytics" else self._read_legacy
                known_until, bodies = read(connection, report, found, what, extracted_at)
                yield from found.commit(lake, extracted_at, known_until=known_until, bodies=bodies)

    def _read_analytics(
        self, connection: Connection, report: _Report, found: ReportDays, what: str, extracted_at: dt.datetime
    ) -> tuple[dt.datetime, Sequence[str]]:
        """Fill `found`; returns up to which moment the figures are, and the archived bodies."""
        starting_at, window_end = _bounds(found.days)
        if found.days[0] < FIRST_ANALYTICS_DAY or extracted_at - starting_at > ANALYTICS_HISTORY:
            message = (
                f"{found.source}: the analytics endpoints reach back 365 days and not before {FIRST_ANALYTICS_DAY}. "
                "Fix: load later days, or set anthropic.report: legacy in tokengov.yaml for the earlier ones."
            )
            raise SourceError(message)
        for day in found.days:
            found.cover(day)
        # A range that ends in the future is refused; the hour leaves room for a clock that is not the provider's.
        ending_at = min(window_end, extracted_at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0))
        if ending_at <= starting_at:
            return starting_at, ()
        params = [
            ("starting_at", _rfc3339(starting_at)),
            ("ending_at", _rfc3339(ending_at)),
            ("time_bucket_width", "1d"),
            *(("group_by[]", name) for name in report.group_by),
            ("limit", str(MOST_ROWS)),
        ]
        listing, refreshed_at = self._of_one_refresh(connection, report.path, params, what)
        self._add(found, listing, report, Asked(found.days, ending_at, self.account))
        known_until = starting_at if refreshed_at is None else refreshed_at
        # Rows of the running day end where the range does, however fresh the data.
        return known_until if ending_at == window_end else min(known_until, ending_at), listing.bodies

    def _of_one_refresh(
        self, connection: Connection, path: str, params: Params, what: str
    ) -> tuple[Listing, dt.datetime | None]:
        """A listing whose pages are all of the same state of the data, and the moment of that state.

        Anthropic ends a cursor when the data is refreshed (HTTP 410). Where it does not, pages of two states would
        repeat rows or lack some.
        """
        restarts = connection.source.patience.cursor_restarts
        for _ in range(restarts + 1):
            listing = connection.pages(path, params, what, next_page)
            states = {page.nullable_moment("data_refreshed_at") for page in listing.pages}
            if len(states) == 1:
                return listing, states.pop()
        message = (
            f"{NAME} at {connection.source.place}: {what}: the data was refreshed while it was read, {restarts + 1} "
            "times. Fix: run it again later; nothing was kept of it."
        )
        raise SourceError(message)

    def _read_legacy(
        self, connection: Connection, report: _Report, found: ReportDays, what: str, extracted_at: dt.datetime
    ) -> tuple[dt.datetime, Sequence[str]]:
        """Fill `found`; returns up to which moment the figures are, and the archived bodies."""
        starting_at, ending_at = _bounds(found.days)
        params = [
            ("starting_at", _rfc3339(starting_at)),
            ("ending_at", _rfc3339(ending_at)),
            ("bucket_width", "1d"),
            *(("group_by[]", name) for name in report.group_by),
            ("limit", str(LONGEST_WINDOW)),
        ]
        listing = connection.pages(report.path, params, what, next_page)
        self._add(found, listing, report, Asked(found.days, ending_at, self.account))
        return extracted_at - LEGACY_DELAY, listing.bodies

    def _add(self, found: ReportDays, listing: Listing, report: _Report, asked: Asked) -> None:
        for page in listing.pages:
            for day, rows in report.rows(page, asked):
                found.cover(day)
                for row in rows:
                    found.add(day, row)

    # --- lists -----------------------------------------------------------------------------------------------------

    def load_snapshots(self, lake: Lake, extracted_at: dt.datetime) -> dict[str, LoadOutcome]:
        """Snapshot API keys, workspaces (archived ones and the default too), users and service accounts as they are.

        Anthropic gives service accounts to OAuth tokens and not to admin keys. Where the list is refused its outcome
        is `unproven_zero` and says so; the other lists are read nevertheless.

        Raises:
            SourceError: an answer is refused, incomplete or not as expected. Nothing is written of any list.
        """
        source = self._source(lake)
        with source.connected() as connection:
            read = [(entry, *_entries(connection, entry)) for entry in (_KEYS, _WORKSPACES, _USERS)]
            refusal = ""
            try:
                read.append((_SERVICE_ACCOUNTS, *_entries(connection, _SERVICE_ACCOUNTS)))
            except RefusedError as error:
                if error.status not in _NOT_FOR_THIS_KEY:
                    raise
                refusal = str(error)
        outcomes = {
            entry.table.name: commit_snapshot(lake, entry.table, self.account, rows, extracted_at, bodies)
            for entry, rows, bodies in read
        }
        if refusal:
            outcome = commit_snapshot(lake, SERVICE_ACCOUNTS, self.account, [], extracted_at, zero_is_proven=False)
            outcomes[SERVICE_ACCOUNTS.name] = replace(outcome, reason=f"not listed for this key: {refusal}")
        return outcomes


def _entries(connection: Connection, entry: _List) -> tuple[list[Row], Sequence[str]]:
    """Every entry of a list, and the archived bodies.

    Raises:
        SourceError: as `Connection.pages`; or an entry came twice.
    """
    listing = connection.pages(entry.path, entry.params, entry.what, next_in_list)
    rows: list[Row] = []
    seen: set[str] = set()
    for page in listing.pages:
        for item in page.objects("data"):
            row = entry.row(item)
            if row["id"] in seen:
                item.refuse("id", f"came twice: {row['id'][:80]!r}")
            seen.add(row["id"])
            rows.append(row)
    return rows, listing.bodies


def _bounds(days: Sequence[dt.date]) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of the first day and the first moment after the last."""
    first = dt.datetime.combine(days[0], dt.time(), dt.UTC)
    return first, dt.datetime.combine(days[-1] + dt.timedelta(days=1), dt.time(), dt.UTC)


def _rfc3339(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
