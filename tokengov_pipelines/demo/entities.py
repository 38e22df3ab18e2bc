"""Organizations, budgets, teams, users and keys, as LiteLLM's admin pages would have made them.

Belongs here: the organisation in the columns of LiteLLM's entity tables. Does not belong here: the organisation itself
(`organisation`) and the directory files about it (`documents`), which know more: LiteLLM keeps no history.
"""

from typing import Any, Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that psycopg2 names in lower case
from psycopg2.extras import Json

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.draws import as_uuid
from tokengov_pipelines.demo.litellm_database import insert_rows
from tokengov_pipelines.demo.organisation import (
    DE_ENTITY,
    TEAMS,
    US_ENTITY,
    Engineer,
    Key,
    Organisation,
    Team,
    team_named,
)

_CREATED: Final = {"created_at": "2026-01-01 09:00:00", "updated_at": "2026-01-01 09:00:00"}
_BY_ADMIN: Final = {"created_by": "admin", "updated_by": "admin"}


def insert_entities(connection: Connection, organisation: Organisation) -> None:
    """Fill LiteLLM's entity tables as they stand on the as-of date."""
    keys = organisation.keys
    insert_rows(connection, "LiteLLM_BudgetTable", [_budget("budget-us"), _budget("budget-de")])
    organizations = [
        _organization("org-fernhill-us", US_ENTITY, "budget-us"),
        _organization("org-fernhill-de", DE_ENTITY, "budget-de"),
    ]
    insert_rows(connection, "LiteLLM_OrganizationTable", organizations)
    insert_rows(connection, "LiteLLM_TeamTable", [_team(team, organisation) for team in TEAMS])
    insert_rows(connection, "LiteLLM_UserTable", [_user(engineer) for engineer in organisation.engineers])
    insert_rows(connection, "LiteLLM_VerificationToken", [_key(key) for key in keys if key.table == "live"])
    deleted = [_deleted_key(key) for key in keys if key.table == "deleted"]
    insert_rows(connection, "LiteLLM_DeletedVerificationToken", deleted)


def _budget(name: str) -> dict[str, Any]:
    limits = {"max_budget": 100_000.0, "soft_budget": 80_000.0, "budget_duration": "30d"}
    return {"budget_id": name, **limits, "budget_reset_at": "2026-12-01 00:00:00", **_BY_ADMIN, **_CREATED}


def _organization(organization_id: str, name: str, budget: str) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "organization_alias": name,
        "budget_id": budget,
        "metadata": Json({}),
        "models": [],
        **_BY_ADMIN,
        **_CREATED,
    }


def _team(team: Team, organisation: Organisation) -> dict[str, Any]:
    members = [e.user_id for e in organisation.engineers if e.team_on(incidents.AS_OF) == team.slug]
    return {
        "team_id": team.team_id,
        "team_alias": team.slug,
        "organization_id": team.organization_id,
        "members": members,
        "metadata": Json({"cost_center": team.metadata_cost_center} if team.metadata_cost_center else {}),
        "max_budget": 12_000.0,
        "soft_budget": 9_600.0,
        "budget_duration": "30d",
        "budget_reset_at": "2026-12-01 00:00:00",
        **_CREATED,
    }


def _user(engineer: Engineer) -> dict[str, Any]:
    return {
        "user_id": engineer.user_id,
        "user_email": engineer.email,
        "user_role": "internal_user",
        "teams": [team_named(engineer.team_on(incidents.AS_OF)).team_id],
        **_CREATED,
    }


def _key(key: Key) -> dict[str, Any]:
    return {
        "token": key.key_hash,
        "key_name": f"sk-...{key.key_hash[:4]}",
        "key_alias": key.alias,
        "user_id": key.key_user or None,
        "team_id": key.key_team.team_id if key.key_team else None,
        "organization_id": key.organization_id or None,
        "metadata": Json({}),
        **_CREATED,
    }


def _deleted_key(key: Key) -> dict[str, Any]:
    return {
        "id": as_uuid(key.key_hash),
        **_key(key),
        "deleted_at": f"{key.active_until} 08:12:44",
        "deleted_by": "admin",
    }
