"""What the org directory does not answer: callers whose calls go to suspense now, and those that will next month.

Belongs here: the rungs of the ladder asked for a handful of callers, for a preview. Does not belong here: the ladder
that charges (`dbt_project/models/intermediate/int_call_identities__attributed.sql`), and reading the directory's files.

The preview has no history: a team's metadata and a key's owner are taken as they are now.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tokengov_pipelines.domain.directory import Value
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth

_SHOWN_OF_A_HASH = 12


@dataclass(frozen=True)
class _Dated:
    """A row of the directory: the days it is valid, and its texts (empty where the cell is)."""

    interval: Interval
    texts: Mapping[str, str]


@dataclass(frozen=True)
class Caller:
    """Who a group of calls names, as the log has it; None where it names nothing."""

    team_id: str | None
    user_id: str | None
    key_hash: str | None

    def __str__(self) -> str:
        """The one of them that has to be entered; a hash is cut (Rule 12.8)."""
        if self.team_id:
            return f"team {self.team_id}"
        if self.user_id:
            return f"user {self.user_id}"
        return f"key {self.key_hash[:_SHOWN_OF_A_HASH]}" if self.key_hash else "calls without any name"


@dataclass(frozen=True)
class ProxyEntities:
    """What the proxy's own tables say now: a team's cost center, a key's team and user, a user's e-mail."""

    team_cost_centers: Mapping[str, str] = field(default_factory=dict)
    key_owners: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    user_emails: Mapping[str, str] = field(default_factory=dict)


class DirectoryDays:
    """The directory's tables, asked who pays for a caller on a day (Rules 3.1 to 3.3)."""

    def __init__(self, tables: Mapping[str, Iterable[Mapping[str, Value]]], max_successor_chain: int) -> None:
        self._centers = _by(tables["cost_centers"], "code")
        self._teams = _by(tables["teams"], "team_id")
        self._services = _by(tables["service_accounts"], "key_hash")
        self._users = _by(tables["users"], "user_id")
        self._emails = _by(tables["users"], "email", str.lower)
        self._hops = max_successor_chain

    def pays(self, caller: Caller, entities: ProxyEntities, day: dt.date) -> str | None:
        """The cost center of a caller on a day, or None for suspense."""
        key_team, key_user = entities.key_owners.get(caller.key_hash or "", (None, None))
        team, user = caller.team_id or key_team, caller.user_id or key_user
        named: list[str | None] = [
            entities.team_cost_centers.get(team or ""),
            self._value(self._teams, team, day, "cost_center"),
            self._value(self._services, caller.key_hash, day, "owner_cost_center"),
            self._value(self._teams, self._team_of(user, entities, day), day, "cost_center"),
        ]
        return next((center for code in named if (center := self._open(code, day))), None)

    def ending(self, today: dt.date, days: int) -> list[tuple[str, dt.date]]:
        """Cost centers that end within so many days and name no successor, with their first day without."""
        found = []
        for code, rows in self._centers.items():
            last = _last(rows)
            end = last.interval.valid_to
            if end is not None and today < end <= today + dt.timedelta(days=days) and not last.texts["successor"]:
                found.append((code, end))
        return sorted(found, key=lambda pair: (pair[1], pair[0]))

    def _team_of(self, user: str | None, entities: ProxyEntities, day: dt.date) -> str | None:
        if not user:
            return None
        email = entities.user_emails.get(user, "")
        return (
            self._value(self._users, user, day, "team_id")
            or self._value(self._emails, user.lower(), day, "team_id")
            or self._value(self._emails, email.lower(), day, "team_id")
        )

    def _value(self, table: Mapping[str, Sequence[_Dated]], key: str | None, day: dt.date, column: str) -> str | None:
        return next((row.texts[column] for row in table.get(key or "", ()) if row.interval.valid_on(day)), None)

    def _open(self, code: str | None, day: dt.date) -> str | None:
        """The cost center itself, or the successor of a closed one; None where it gives no answer (Rule 3.2)."""
        for _ in range(self._hops + 1):
            rows = self._centers.get(code or "", ())
            if any(row.interval.valid_on(day) for row in rows):
                return code
            closed = [row for row in rows if row.interval.valid_to is not None and row.interval.valid_to <= day]
            code = _last(closed).texts["successor"] if closed else None
        return None


def uncovered(
    directory: DirectoryDays, callers: Iterable[Caller], entities: ProxyEntities, day: dt.date
) -> list[Caller]:
    """The callers for whom nobody pays on a day, each once by what would be entered for it."""
    found = {str(caller): caller for caller in callers if directory.pays(caller, entities, day) is None}
    return [found[name] for name in sorted(found)]


def orphans(
    directory: DirectoryDays, callers: Iterable[Caller], entities: ProxyEntities, today: dt.date
) -> list[tuple[Caller, dt.date]]:
    """Callers that have a payer today and lose it before the end of next month, with the first day without (12.9)."""
    month = BillingMonth.of(today).next()
    days = [today + dt.timedelta(days=n) for n in range(1, (month.last_day - today).days + 1)]
    found: dict[str, tuple[Caller, dt.date]] = {}
    for caller in callers:
        if directory.pays(caller, entities, today) is None:
            continue
        lost = next((day for day in days if directory.pays(caller, entities, day) is None), None)
        if lost is not None:
            found[str(caller)] = (caller, lost)
    return [found[name] for name in sorted(found)]


def _last(rows: Iterable[_Dated]) -> _Dated:
    return max(rows, key=lambda row: row.interval.valid_from)


def _by(rows: Iterable[Mapping[str, Value]], column: str, spell: Callable[[str], str] = str) -> dict[str, list[_Dated]]:
    groups: defaultdict[str, list[_Dated]] = defaultdict(list)
    for row in rows:
        start, end = row["valid_from"], row["valid_to"]
        if isinstance(start, dt.date) and not isinstance(end, str):
            texts = {name: str(value or "") for name, value in row.items()}
            groups[spell(texts[column])].append(_Dated(Interval(start, end), texts))
    return dict(groups)
