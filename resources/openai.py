"""OpenAI as a source: usage and costs by UTC day, and daily snapshots of projects, keys, users and service accounts.

Belongs here: the requests, which refusals are no error, and what has to be said of a reading.
Does not belong here: transport and paging (`resources.http_source`), reading the answers (`resources.openai_answers`),
endpoints, fields and columns (`resources.openai_tables`), how a load is kept (`resources.lake`).

A window of days is read whole, every kind of usage and every page of it, before the first of its days is written. Costs
are asked for in the same windows as usage, although OpenAI would give 180 days at once: what fails together and is
archived together is then the same days in both tables.
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import dagster as dg
import pyarrow.parquet as pq

from resources.body_archive import BodyArchive
from resources.http_source import Connection, HttpSource, Listing, Params, Patience, RefusedError, next_page
from resources.json_fields import JsonObject
from resources.lake import Lake, LoadOutcome
from resources.openai_answers import (
    api_key_row,
    cost_row,
    daily_results,
    next_after,
    project_row,
    service_account_row,
    usage_row,
    user_row,
)
from resources.openai_tables import (
    COST,
    COST_GROUP,
    DISPENSABLE,
    PROJECT_API_KEYS,
    PROJECTS,
    REQUIRED_KIND,
    SERVICE_ACCOUNTS,
    USAGE,
    USAGE_GROUP,
    USAGE_KINDS,
    USERS,
    UsageKind,
)
from resources.provider_days import ReportDays, Row, commit_snapshot, span, windows
from resources.source_error import SourceError
from tokengov_pipelines.domain.day_state import end_of
from tokengov_pipelines.settings import OPENAI_KEY_VARIABLE

NAME: Final = "OpenAI"
LONGEST_WINDOW: Final = 31
LONGEST_LIST_PAGE: Final = 100

# How an API says that it has no such endpoint. A missing right ("Missing scopes: ...") is something else.
_HAS_NOT = re.compile(
    r"not (available|enabled|supported|found)|unsupported|does not exist|(invalid|unknown) (url|endpoint|path)", re.I
)
_ID = re.compile(r"[A-Za-z0-9_-]+")


class OpenAIReports(dg.ConfigurableResource):
    """An organisation's usage, costs and key lists. `admin_key` is a secret from the environment (`sk-admin-...`)."""

    admin_key: str
    account: str = "default"
    base_url: str = "https://api.openai.com/v1"
    attempts: int = Patience.attempts
    first_pause_seconds: float = Patience.first_pause_seconds
    longest_pause_seconds: float = Patience.longest_pause_seconds
    read_timeout_seconds: float = Patience.read_timeout_seconds

    def _source(self, lake: Lake) -> HttpSource:
        return HttpSource(
            name=NAME,
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {self.admin_key}"},
            secrets=[self.admin_key],
            key_variable=OPENAI_KEY_VARIABLE,
            patience=Patience(
                attempts=self.attempts,
                first_pause_seconds=self.first_pause_seconds,
                longest_pause_seconds=self.longest_pause_seconds,
                read_timeout_seconds=self.read_timeout_seconds,
            ),
            archive=BodyArchive(lake.root),
        )

    def load_usage(
        self, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """Read usage of every kind into one load a UTC day, in day order.

        A kind that the account has not, and a grouping that it refuses, are said in the log and in the outcome's
        `reason`.

        Raises:
            SourceError: an answer is refused, incomplete or not as expected (Rule 12.5), or a kind that earlier loads
                of these days hold is no longer offered. Nothing is written of its window.
        """
        source = self._source(lake)
        with source.connected() as connection:
            for window in windows(days, LONGEST_WINDOW):
                report = ReportDays(USAGE, USAGE_GROUP, window, f"{NAME} at {source.place}: usage of {span(window)}")
                reading = _Reading()
                for kind in USAGE_KINDS:
                    listing = _usage_pages(connection, kind, window, lake, reading)
                    for day, result in reading.results(listing, window) if listing else ():
                        report.add(day, usage_row(kind, result, day, self.account))
                yield from reading.commit(report, lake, extracted_at)

    def load_costs(
        self, lake: Lake, days: Sequence[dt.date], extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """Read costs by project, key and line item into one load a UTC day, in day order.

        No grouping is given up here: without a key or a line item the amounts could not be compared with the log.

        Raises:
            SourceError: as `load_usage`.
        """
        source = self._source(lake)
        with source.connected() as connection:
            for window in windows(days, LONGEST_WINDOW):
                what = f"costs of {span(window)}"
                report = ReportDays(COST, COST_GROUP, window, f"{NAME} at {source.place}: {what}")
                reading = _Reading()
                listing = connection.pages("/organization/costs", _daily(window, COST_GROUP), what, next_page)
                for day, result in reading.results(listing, window):
                    report.add(day, cost_row(result, day, self.account))
                yield from reading.commit(report, lake, extracted_at)

    def load_snapshots(self, lake: Lake, extracted_at: dt.datetime) -> dict[str, LoadOutcome]:
        """Snapshot projects (archived ones too), their keys and service accounts, and the users, as they are now.

        Keys are asked for with any access of their owner: those of people who left may still be in use. An archived
        project whose lists are refused is said in the log and in the outcome's `reason`.

        Raises:
            SourceError: as `load_usage`; nothing is written of any list.
        """
        source = self._source(lake)
        rows: dict[str, list[Row]] = {table.name: [] for table in (PROJECTS, PROJECT_API_KEYS, USERS, SERVICE_ACCOUNTS)}
        readings = {name: _Reading() for name in rows}
        with source.connected() as connection:
            projects = readings[PROJECTS.name].listed(
                connection, "/organization/projects", [("include_archived", "true")], "projects"
            )
            for project in projects:
                rows[PROJECTS.name].append(project_row(project))
                for table, path, params, row in (
                    (PROJECT_API_KEYS, "api_keys", [("owner_project_access", "any")], api_key_row),
                    (SERVICE_ACCOUNTS, "service_accounts", [], service_account_row),
                ):
                    items = readings[table.name].listed_of(connection, project, path, params)
                    rows[table.name] += [row(item, project.text("id")) for item in items]
            users = readings[USERS.name].listed(connection, "/organization/users", [], "users")
            rows[USERS.name] = [user_row(user) for user in users]
        return {
            table.name: readings[table.name].told(
                commit_snapshot(lake, table, self.account, rows[table.name], extracted_at, readings[table.name].bodies)
            )
            for table in (PROJECTS, PROJECT_API_KEYS, USERS, SERVICE_ACCOUNTS)
        }


@dataclass
class _Reading:
    """What is known of a reading besides its rows: archived bodies, until when it goes, and what has to be said."""

    bodies: list[str] = field(default_factory=list)
    known_until: dt.datetime | None = None
    remarks: list[str] = field(default_factory=list)

    def remark(self, where: str, what: str) -> None:
        """Say something in the log now, and in every outcome of this reading."""
        dg.get_dagster_logger().warning(f"{where}: {what}")
        self.remarks.append(what)

    def results(self, listing: Listing, window: Sequence[dt.date]) -> list[tuple[dt.date, JsonObject]]:
        """Every row of a report with its day."""
        self.bodies += listing.bodies
        rows, until = daily_results(listing.pages, window)
        if until is not None:
            self.known_until = min(until, self.known_until or until)
        return rows

    def listed(self, connection: Connection, path: str, params: Params, what: str) -> list[JsonObject]:
        """Every entry of a list; an id that comes twice is a page that was sent twice."""
        listing = connection.pages(path, [("limit", str(LONGEST_LIST_PAGE)), *params], what, next_after)
        self.bodies += listing.bodies
        entries = [entry for page in listing.pages for entry in page.objects("data")]
        seen: set[str] = set()
        for entry in entries:
            if entry.text("id") in seen:
                entry.refuse("id", "came twice in the list")
            seen.add(entry.text("id"))
        return entries

    def listed_of(self, connection: Connection, project: JsonObject, path: str, params: Params) -> list[JsonObject]:
        """A list of one project. For an archived project a refusal is a remark."""
        identity = project.text("id")
        if not _ID.fullmatch(identity):
            project.refuse("id", "is no id")
        what = f"{path} of project {identity}"
        try:
            return self.listed(connection, f"/organization/projects/{identity}/{path}", params, what)
        except RefusedError as error:
            status, said = error.status, error.said
            is_archived = project.has("archived_at") or project.optional_text("status") == "archived"
            if not is_archived or status not in {400, 403, 404}:
                raise
            self.remark(NAME, f"{what} are not listed: the project is archived and the list refused ({status} {said})")
            return []

    def commit(
        self, report: ReportDays, lake: Lake, extracted_at: dt.datetime
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """The loads of a window, with what has to be said of them."""
        for day in report.days:
            report.cover(day)  # each kind proved its days in `daily_results`
        bodies = list(dict.fromkeys(self.bodies))  # kinds without use answer alike
        for day, outcome in report.commit(lake, extracted_at, known_until=self.known_until, bodies=bodies):
            yield day, self.told(outcome)

    def told(self, outcome: LoadOutcome) -> LoadOutcome:
        """The outcome with the remarks in its reason."""
        return replace(outcome, reason="; ".join(filter(None, (outcome.reason, *self.remarks))))


# --- requests --------------------------------------------------------------------------------------------------------


def _daily(window: Sequence[dt.date], group_by: Sequence[str]) -> Params:
    """Daily buckets of a window: Unix seconds, the end exclusive."""
    end = end_of(window[-1])
    return [
        ("start_time", str(int((end_of(window[0]) - dt.timedelta(days=1)).timestamp()))),
        ("end_time", str(int(end.timestamp()))),
        ("bucket_width", "1d"),
        ("limit", str(LONGEST_WINDOW)),
        *(("group_by[]", name) for name in group_by),
    ]


def _usage_pages(
    connection: Connection, kind: UsageKind, window: Sequence[dt.date], lake: Lake, reading: _Reading
) -> Listing | None:
    """One kind of usage; None where the account has not got it. Groups that are refused are left out, aloud."""
    where = f"{NAME} at {connection.source.place}"
    what = f"{kind.name} usage of {span(window)}"
    path, group_by = f"/organization/usage/{kind.name}", list(kind.group_by)
    while True:
        try:
            return connection.pages(path, _daily(window, group_by), what, next_page)
        except RefusedError as error:
            status, said = error.status, error.said
            refused = _refused_groups(status, said, group_by)
            if refused and DISPENSABLE.issuperset(refused):
                group_by = [name for name in group_by if name not in refused]
                reading.remark(where, f"{what} is read without {', '.join(refused)}: OpenAI refuses it ({said})")
                continue
            if kind.name == REQUIRED_KIND or refused or not _has_not(status, said):
                raise
            if kind.name in _kinds_held(lake, window):
                message = (
                    f"{where}: {what}: refused with {status} {said}, but earlier loads of these days hold this kind. "
                    "Fix: check the key and the organisation; nothing was kept of this attempt."
                )
                raise SourceError(message) from None
            reading.remark(where, f"{what} is not read: the account has not got it ({status} {said})")
            return None


def _has_not(status: int, said: str) -> bool:
    return status == 404 or (status in {400, 403} and bool(_HAS_NOT.search(said)))


def _refused_groups(status: int, said: str, group_by: Sequence[str]) -> list[str]:
    """The groups that an answer says it does not take."""
    if status != 400:
        return []
    complaint = re.split(r"supported values|must be one of", said, flags=re.I)[0]
    named = {name for name in group_by if re.search(rf"['\"`]{name}['\"`]", complaint)}
    if not named and "group_by" in complaint:
        named = {name for name in group_by if re.search(rf"\b{name}\b", complaint)}
    return sorted(named)


def _kinds_held(lake: Lake, window: Sequence[dt.date]) -> set[str]:
    """Kinds of usage that the current loads of these days hold."""
    partitions = [f"day={day}" for day in window]
    tables = [pq.read_table(path, columns=["kind"]) for path in lake.current_files(USAGE.name, partitions)]
    return {str(kind) for table in tables for kind in table["kind"].to_pylist()}
