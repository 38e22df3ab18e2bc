"""The month's use of provider keys that are not the proxy's, gathered for the rules to judge.

Belongs here: who may own a key by the directory, what the providers' lists say of it, since when it is known. Does not
belong here: the rows themselves (`domain.bypass_keys`), the match (`assets.month_reconciliation`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow.parquet as pq

from assets.month_reconciliation import MonthMatch
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.bypass_exception import KeyIdentity
from tokengov_pipelines.domain.bypass_keys import KeyFacts, KeyLists, OwnerSources, UnproxiedRules, unproxied_keys
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import KeyRegistry, KeyRole
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation

UNPROXIED_KEYS: Final = "fct_unproxied_keys"
_DIMENSIONS: Final = ("dim_provider_keys_dated", "dim_provider_people", "dim_provider_workspaces")


def gather_unproxied(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, match: MonthMatch
) -> list[UnproxiedKey]:
    """Every key used outside the proxy in the month, with owner, action and status, the most expensive first."""
    policy, month = installation.policy, match.month
    as_of = min(installation.settings.today(), month.next().first_day)
    owners = owner_sources(installation, lake, tables, match.inputs.registry)
    lists, since, exceptions = key_lists(tables), _known_since(tables, month), ledger.bypass_exceptions.all()
    found: list[UnproxiedKey] = []
    for provider, legs in match.inputs.legs.items():
        rules = policy.of_provider(provider)
        found += unproxied_keys(
            month,
            [legs],
            [cell for each in match.reconciliations if each.provider == provider for cell in each.rate_cells],
            registry=match.inputs.registry,
            book=match.inputs.book,
            owners=owners,
            rules=UnproxiedRules(
                as_of=as_of,
                exceptions_on=installation.settings.today(),
                value=rules.unproxied.unproxied_value,
                action_due_days=rules.unproxied.action_due_days,
                fallback_tiers=rules.pricing.fallback_tiers,
            ),
            lists=lists,
            known_since=since,
            exceptions=exceptions,
        )
    return sorted(found, key=lambda key: (-key.cost_usd, key.provider, key.account, key.identity.word))


def key_lists(tables: Tables) -> KeyLists:
    """What the providers' newest lists say of keys and workspaces."""
    keys, people, workspaces = (_all(tables, name) for name in _DIMENSIONS)
    names = {(row["provider"], row["person_id"]): row["person_name"] for row in people}
    facts: dict[tuple[str, str, str], KeyFacts] = {}
    for row in sorted(keys, key=lambda row: row["last_observed_date"]):
        creator = row["created_by_id"] or row["owner_id"]
        facts[row["provider"], row["account"], row["provider_key_id"]] = KeyFacts(
            key_name=row["key_name"],
            workspace_id=row["workspace_id"],
            created_by=names.get((row["provider"], creator)),
            created_by_id=creator,
            created_at=row["created_at"],
        )
    workspace_names = {
        (row["provider"], row["workspace_id"]): row["workspace_name"]
        for row in sorted(workspaces, key=lambda row: row["last_observed_date"])
        if row["workspace_name"]
    }
    return KeyLists(keys=facts, workspace_names=workspace_names)


def owner_sources(installation: Installation, lake: Lake, tables: Tables, registry: KeyRegistry) -> OwnerSources:
    """Who may own a key by the directory: valid cost centers with successors, creators by e-mail (Rules 3.2, 5.3)."""
    policy = installation.policy.attribution
    centers = _dated(_table(lake, "directory_cost_centers"), "code")
    teams = _dated(_table(lake, "directory_teams"), "team_id")
    users = _dated(_table(lake, "directory_users"), "email")
    emails = {
        (row["provider"], row["person_id"]): row["email"].strip().lower()
        for row in _all(tables, "dim_provider_people")
        if row["email"]
    }

    def valid_cost_center(code: str, day: dt.date) -> str | None:
        for _ in range(policy.max_successor_chain + 1):
            if _on(centers.get(code, ()), day):
                return code
            successors = [row["successor"] for _, row in centers.get(code, ()) if row["successor"]]
            if not successors:
                return None
            code = successors[-1]
        return None

    def of_workspace(provider: str, workspace_id: str | None, day: dt.date) -> str | None:
        """The owner that the registry names for any key of the workspace, where it names one and only one."""
        owners = {
            key.owner_cost_center
            for key in registry.keys
            if key.provider == provider
            and key.role is KeyRole.OTHER
            and key.workspace is not None
            and registry.workspace_id(provider, key.workspace) == workspace_id
            and key.valid.valid_on(day)
            and key.owner_cost_center
        }
        return next(iter(owners)) if len(owners) == 1 else None

    def of_creator(provider: str, person_id: str | None, day: dt.date) -> str | None:
        email = emails.get((provider, person_id or ""))
        user = _on(users.get(email, ()), day) if email else None
        team = _on(teams.get(user["team_id"], ()), day) if user else None
        return team["cost_center"] if team else None

    return OwnerSources(policy.central, valid_cost_center, of_workspace, of_creator)


def _known_since(tables: Tables, month: BillingMonth) -> dict[KeyIdentity, dt.date]:
    """When each key was first seen, by the tables of the months before."""
    since: dict[KeyIdentity, dt.date] = {}
    folder = tables.path(UNPROXIED_KEYS, "x").parent
    for path in sorted(folder.glob("billing_month=*.parquet")):
        if path.stem.partition("=")[2] < str(month):
            for row in pq.read_table(path, partitioning=None).to_pylist():
                key = KeyIdentity.of(row["provider"], row["account"], row["provider_key_id"], row["workspace_id"])
                since[key] = min(row["first_seen"], since.get(key, row["first_seen"]))
    return since


_Dated = Mapping[str, list[tuple[Interval, dict[str, Any]]]]


def _dated(rows: Iterable[dict[str, Any]], key: str) -> _Dated:
    found: dict[str, list[tuple[Interval, dict[str, Any]]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["valid_from"]):
        found[row[key]].append((Interval(row["valid_from"], row["valid_to"]), row))
    return found


def _on(rows: Iterable[tuple[Interval, dict[str, Any]]], day: dt.date) -> dict[str, Any] | None:
    return next((row for interval, row in rows if interval.valid_on(day)), None)


def _table(lake: Lake, name: str) -> list[dict[str, Any]]:
    return [row for path in lake.current_files(name) for row in pq.read_table(path, partitioning=None).to_pylist()]


def _all(tables: Tables, name: str) -> list[dict[str, Any]]:
    return tables.rows(name, ["all"]) if tables.path(name, "all").exists() else []
