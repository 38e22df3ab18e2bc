"""What is read from LiteLLM's Postgres: the column allow-list, the JSON paths and the declared Parquet schemas.

Belongs here: names and types of the raw tables `raw/litellm_*` and where each column comes from.
Does not belong here: connections and queries (`resources.litellm`) and what a column means for money (`dbt_project`).

The allow-list is the privacy boundary (Rule 12.8): `messages`, `response`, `proxy_server_request`,
`requester_ip_address`, `api_base`, `end_user` and passwords are not in it and are therefore never read.
"""

from dataclasses import dataclass

import pyarrow as pa

from resources.lake import LakeTable

TEXT, COUNT, TIME, FLAG = pa.string(), pa.int64(), pa.timestamp("us"), pa.bool_()


@dataclass(frozen=True)
class Column:
    """One output column: the source column it needs and the SQL that yields it.

    `required` columns exist in every supported LiteLLM version; the others are null where the version lacks them.
    """

    name: str
    type: pa.DataType
    source: str
    sql: str
    required: bool = True


def _plain(name: str, source: str, type_: pa.DataType = TEXT, *, required: bool = True) -> Column:
    casts = {
        TEXT: f'"{source}"::text',
        COUNT: f'"{source}"::bigint',
        TIME: f'"{source}"::timestamp',
        FLAG: f'"{source}"::boolean',
    }
    return Column(name, type_, source, casts[type_], required)


def _path(name: str, path: str) -> Column:
    return Column(name, TEXT, "metadata", f"m #>> '{{{path}}}'")


@dataclass(frozen=True)
class SourceTable:
    """One LiteLLM table as we read it. `detoast` adds the single detoasted copy `m` of its metadata column."""

    lake: str
    source: str
    columns: tuple[Column, ...]
    detoast: bool = False

    def schema(self, first: tuple[pa.Field, ...] = ()) -> pa.Schema:
        """The declared Parquet schema, in column order."""
        return pa.schema([*first, *(pa.field(column.name, column.type) for column in self.columns)])


_MAP = "model_map_information,model_map_value"
_PROMPT = "usage_object,prompt_tokens_details"

SPEND_LOGS = SourceTable(
    lake="litellm_spend_logs",
    source="LiteLLM_SpendLogs",
    detoast=True,
    columns=(
        _plain("request_id", "request_id"),
        _plain("litellm_call_id", "litellm_call_id", required=False),
        _plain("call_type", "call_type"),
        _plain("key_hash", "api_key"),
        # Text, because the shortest text of a float8 is exact while numeric keeps 15 digits (Rule 1.2).
        _plain("spend_text", "spend"),
        _plain("total_tokens", "total_tokens", COUNT),
        _plain("prompt_tokens", "prompt_tokens", COUNT),
        _plain("completion_tokens", "completion_tokens", COUNT),
        _plain("started_at", "startTime", TIME),
        _plain("ended_at", "endTime", TIME),
        _plain("completion_started_at", "completionStartTime", TIME, required=False),
        _plain("model", "model"),
        _plain("model_id", "model_id", required=False),
        _plain("model_group", "model_group", required=False),
        _plain("custom_llm_provider", "custom_llm_provider"),
        _plain("user_id", "user"),
        _plain("team_id", "team_id"),
        _plain("organization_id", "organization_id", required=False),
        _plain("session_id", "session_id", required=False),
        _plain("status", "status", required=False),
        _plain("cache_hit", "cache_hit"),
        _plain("request_tags", "request_tags"),
        _plain("mcp_namespaced_tool_name", "mcp_namespaced_tool_name", required=False),
        _plain("request_duration_ms", "request_duration_ms", COUNT, required=False),
        _plain("created_at", "created_at", TIME, required=False),
        _plain("updated_at", "updated_at", TIME, required=False),
        _path("key_alias", "user_api_key_alias"),
        _path("key_team_id", "user_api_key_team_id"),
        _path("key_team_alias", "user_api_key_team_alias"),
        _path("key_user_id", "user_api_key_user_id"),
        _path("metadata_use_case", "spend_logs_metadata,use_case"),
        _path("cached_tokens", f"{_PROMPT},cached_tokens"),
        _path("cache_read_input_tokens", "additional_usage_values,cache_read_input_tokens"),
        _path("cache_creation_input_tokens", "additional_usage_values,cache_creation_input_tokens"),
        _path("cache_creation_5m_tokens", f"{_PROMPT},cache_creation_token_details,ephemeral_5m_input_tokens"),
        _path("cache_creation_1h_tokens", f"{_PROMPT},cache_creation_token_details,ephemeral_1h_input_tokens"),
        _path("reasoning_tokens", "usage_object,completion_tokens_details,reasoning_tokens"),
        _path("web_search_requests", "usage_object,server_tool_use,web_search_requests"),
        _path("cost_service_tier", "cost_breakdown,service_tier"),
        _path("usage_service_tier", "usage_object,service_tier"),
        Column(
            "has_usage_object", TEXT, "metadata", "coalesce(jsonb_typeof(m -> 'usage_object') = 'object', false)::text"
        ),
        _path("original_cost_text", "cost_breakdown,original_cost"),
        _path("discount_amount_text", "cost_breakdown,discount_amount"),
        _path("margin_amount_text", "cost_breakdown,margin_total_amount"),
        _path("tool_usage_cost_text", "cost_breakdown,tool_usage_cost"),
        _path("error_code", "error_information,error_code"),
        _path("error_class", "error_information,error_class"),
        _path("attempted_fallbacks", "attempted_fallbacks"),
        _path("attempted_retries", "attempted_retries"),
        _path("original_model_group", "original_model_group"),
        _path("used_client_oauth_token", "used_client_oauth_token"),
        _path("internal_call_origin", "internal_call_origin"),
        _path("user_agent", "user_agent"),
        _path("map_model_key", "model_map_information,model_map_key"),
        _path("map_input_cost_per_token", f"{_MAP},input_cost_per_token"),
        _path("map_output_cost_per_token", f"{_MAP},output_cost_per_token"),
        _path("map_cache_read_cost_per_token", f"{_MAP},cache_read_input_token_cost"),
        _path("map_cache_creation_cost_per_token", f"{_MAP},cache_creation_input_token_cost"),
    ),
)

_COST_CENTER = Column("metadata_cost_center", TEXT, "metadata", "metadata ->> 'cost_center'")

SNAPSHOTS: tuple[SourceTable, ...] = (
    SourceTable(
        "litellm_teams",
        "LiteLLM_TeamTable",
        (
            _plain("team_id", "team_id"),
            _plain("team_alias", "team_alias"),
            _plain("organization_id", "organization_id"),
            _COST_CENTER,
            _plain("max_budget_text", "max_budget"),
            _plain("soft_budget_text", "soft_budget", required=False),
            _plain("budget_duration", "budget_duration"),
            _plain("budget_reset_at", "budget_reset_at", TIME),
            _plain("blocked", "blocked", FLAG),
            _plain("tpm_limit", "tpm_limit", COUNT),
            _plain("rpm_limit", "rpm_limit", COUNT),
            _plain("created_at", "created_at", TIME),
            _plain("updated_at", "updated_at", TIME),
        ),
    ),
    SourceTable(
        "litellm_keys",
        "LiteLLM_VerificationToken",
        (
            _plain("key_hash", "token"),
            _plain("key_alias", "key_alias"),
            _plain("team_id", "team_id"),
            _plain("user_id", "user_id"),
            _plain("organization_id", "organization_id", required=False),
            _plain("project_id", "project_id", required=False),
            _COST_CENTER,
            _plain("max_budget_text", "max_budget"),
            _plain("soft_budget_cooldown", "soft_budget_cooldown", FLAG),
            _plain("blocked", "blocked", FLAG, required=False),
            _plain("expires_at", "expires", TIME),
            _plain("created_at", "created_at", TIME, required=False),
            _plain("updated_at", "updated_at", TIME, required=False),
        ),
    ),
    SourceTable(
        "litellm_users",
        "LiteLLM_UserTable",
        (
            _plain("user_id", "user_id"),
            _plain("user_email", "user_email"),
            _plain("user_role", "user_role"),
            Column("teams", TEXT, "teams", "to_json(teams)::text"),
            _plain("organization_id", "organization_id"),
            _plain("max_budget_text", "max_budget"),
            _plain("created_at", "created_at", TIME, required=False),
            _plain("updated_at", "updated_at", TIME, required=False),
        ),
    ),
    SourceTable(
        "litellm_organizations",
        "LiteLLM_OrganizationTable",
        (
            _plain("organization_id", "organization_id"),
            _plain("organization_alias", "organization_alias"),
            _plain("budget_id", "budget_id"),
            _COST_CENTER,
            _plain("created_at", "created_at", TIME),
            _plain("updated_at", "updated_at", TIME),
        ),
    ),
    SourceTable(
        "litellm_budgets",
        "LiteLLM_BudgetTable",
        (
            _plain("budget_id", "budget_id"),
            _plain("max_budget_text", "max_budget"),
            _plain("soft_budget_text", "soft_budget"),
            _plain("budget_duration", "budget_duration"),
            _plain("budget_reset_at", "budget_reset_at", TIME),
            _plain("tpm_limit", "tpm_limit", COUNT),
            _plain("rpm_limit", "rpm_limit", COUNT),
            _plain("created_at", "created_at", TIME),
            _plain("updated_at", "updated_at", TIME),
        ),
    ),
    SourceTable(
        "litellm_deleted_keys",
        "LiteLLM_DeletedVerificationToken",
        (
            _plain("id", "id"),
            _plain("key_hash", "token"),
            _plain("key_alias", "key_alias"),
            _plain("team_id", "team_id"),
            _plain("user_id", "user_id"),
            _plain("organization_id", "organization_id"),
            _plain("deleted_at", "deleted_at", TIME),
            _plain("created_at", "created_at", TIME),
        ),
    ),
    SourceTable(
        "litellm_deleted_teams",
        "LiteLLM_DeletedTeamTable",
        (
            _plain("id", "id"),
            _plain("team_id", "team_id"),
            _plain("team_alias", "team_alias"),
            _plain("organization_id", "organization_id"),
            _COST_CENTER,
            _plain("deleted_at", "deleted_at", TIME),
            _plain("created_at", "created_at", TIME),
        ),
    ),
)

# Deleted keys and teams are kept by LiteLLM since 2025-12; an older proxy simply has none.
OPTIONAL_TABLES = frozenset({"LiteLLM_DeletedVerificationToken", "LiteLLM_DeletedTeamTable"})

SPEND_LOGS_LAKE = LakeTable(
    name=SPEND_LOGS.lake,
    schema=SPEND_LOGS.schema(),
    identity="request_id",
    sums={"spend_usd": "sum(try_cast(spend_text as decimal(38, 12)))"},
)
SNAPSHOT_LAKES: dict[str, LakeTable] = {
    table.lake: LakeTable(name=table.lake, schema=table.schema((pa.field("observed_date", pa.date32()),)))
    for table in SNAPSHOTS
}
