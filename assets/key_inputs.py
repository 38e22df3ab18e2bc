"""Provider keys as a month's inputs hold them: what the providers' lists say, who owns a creator's keys, since when.

Belongs here: leaving e-mails out and keeping what they lead to. Does not belong here: the other inputs
(`assets.month_inputs`), who pays for a key (`closing.findings`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.inputs import KEY_CREATORS, KEY_LISTS, TABLE_COLUMNS, KnownSince
from tokengov_pipelines.domain.bypass import UnproxiedKey, without_email
from tokengov_pipelines.domain.bypass_exception import KeyIdentity
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth

UNPROXIED_KEYS: Final = "fct_unproxied_keys"


def key_lists_table(tables: Tables) -> pa.Table | None:
    """What the providers' newest lists say of each key. Its creator is the provider's id, never a name (Rule 12.7)."""
    if not tables.path("dim_provider_keys_dated", "all").exists():
        return None
    facts: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in sorted(_rows(tables, "dim_provider_keys_dated"), key=lambda row: row["last_observed_date"]):
        creator = row["created_by_id"] or row["owner_id"]
        key = (row["provider"], row["account"], row["provider_key_id"])
        facts[key] = {
            "provider": row["provider"],
            "account": row["account"],
            "provider_key_id": row["provider_key_id"],
            "key_name": without_email(row["key_name"]),
            "workspace_id": row["workspace_id"],
            "created_by_id": None if creator is None or "@" in creator else creator,
            "created_at": row["created_at"],
        }
    types: dict[str, pa.DataType] = {"created_at": pa.timestamp("us", tz="UTC")}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in TABLE_COLUMNS[KEY_LISTS]])
    return pa.Table.from_pylist([facts[key] for key in sorted(facts)], schema=schema)


def key_creators_table(lake: Lake, tables: Tables) -> pa.Table:
    """The cost center of each provider's person by directory, in intervals, without the e-mail that led to it."""
    users: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _lake_rows(lake, "directory_users"):
        users[row["email"]].append(row)
    teams: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _lake_rows(lake, "directory_teams"):
        teams[row["team_id"]].append(row)
    rows = []
    for person in _rows(tables, "dim_provider_people"):
        for user in users.get((person["email"] or "").strip().lower(), ()):
            membership = Interval(user["valid_from"], user["valid_to"])
            for team in teams.get(user["team_id"], ()):
                shared = membership.overlap(Interval(team["valid_from"], team["valid_to"]))
                if shared is not None:
                    rows.append(
                        {
                            "provider": person["provider"],
                            "person_id": person["person_id"],
                            "cost_center": team["cost_center"],
                            "valid_from": shared.valid_from,
                            "valid_to": shared.valid_to,
                        }
                    )
    rows = [row for row in rows if "@" not in row["person_id"]]
    dated = {"valid_from", "valid_to"}
    schema = pa.schema([(name, pa.date32() if name in dated else pa.string()) for name in TABLE_COLUMNS[KEY_CREATORS]])
    return pa.Table.from_pylist(
        sorted(rows, key=lambda row: (row["provider"], row["person_id"], row["valid_from"])), schema=schema
    )


def with_creator_names(tables: Tables, keys: Iterable[UnproxiedKey]) -> tuple[UnproxiedKey, ...]:
    """The keys with their creators' names, for the platform's tables and alerts; a pack holds the ids."""
    people = _rows(tables, "dim_provider_people")
    names = {(row["provider"], row["person_id"]): without_email(row["person_name"]) for row in people}
    return tuple(
        replace(key, created_by=names.get((key.provider, key.created_by)) or key.created_by) if key.created_by else key
        for key in keys
    )


def known_since(tables: Tables, month: BillingMonth) -> tuple[KnownSince, ...]:
    """When each key was first seen, by the tables of the months before."""
    since: dict[KeyIdentity, dt.date] = {}
    folder = tables.path(UNPROXIED_KEYS, "x").parent
    for path in sorted(folder.glob("billing_month=*.parquet")):
        if path.stem.partition("=")[2] < str(month):
            for row in pq.read_table(path, partitioning=None).to_pylist():
                key = KeyIdentity.of(row["provider"], row["account"], row["provider_key_id"], row["workspace_id"])
                since[key] = min(row["first_seen"], since.get(key, row["first_seen"]))
    return tuple(KnownSince(key, since[key]) for key in sorted(since, key=str))


def _rows(tables: Tables, table: str) -> list[dict[str, Any]]:
    return tables.rows(table, ["all"]) if tables.path(table, "all").exists() else []


def _lake_rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    return [row for path in lake.current_files(table) for row in pq.read_table(path, partitioning=None).to_pylist()]
