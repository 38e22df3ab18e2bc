"""What is read from Anthropic: the groups asked for, and the declared Parquet schemas.

Belongs here: names and types of the raw tables `raw/anthropic_*` and what their reports are grouped by.
Does not belong here: requests (`resources.anthropic`), fields of an answer (`resources.anthropic_answers`) and what a
column means for money (`dbt_project`).

The columns are the privacy boundary of the lake's tables (Rule 12.8): what is not named here is not stored as a row.
Null in a column that a report is grouped by is a value: use without a key, the default workspace (Rule 0.1 F3). A
column that a report is not grouped by is null in all its rows.
"""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from resources.lake import LakeTable

TEXT: Final[pa.DataType] = pa.string()
COUNT: Final[pa.DataType] = pa.int64()
DAY: Final[pa.DataType] = pa.date32()

ANALYTICS_GROUPS: Final = ("api_key_id", "workspace_id", "model", "service_tier", "context_window")
"""As many dimensions as the analytics endpoints allow."""
COST_COMPONENTS: Final = ("cost_type", "token_type")
"""What costs are split by as well; these do not count."""
LEGACY_USAGE_GROUPS: Final = (*ANALYTICS_GROUPS, "inference_geo")
LEGACY_COST_GROUPS: Final = ("workspace_id", "description")
LEGACY_COST_PARSED: Final = ("model", "service_tier", "context_window", "inference_geo", "cost_type", "token_type")
"""What the legacy cost report reads out of `description` itself."""

TOKENS: Final = (
    "uncached_input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
"""The five kinds add up to all tokens: uncached input leaves cached input out (Rule 0.1 F6)."""

_DIMENSIONS = (
    ("report", TEXT),
    ("usage_date", DAY),
    ("account", TEXT),
    ("api_key_id", TEXT),
    ("workspace_id", TEXT),
    ("model", TEXT),
    ("service_tier", TEXT),
    ("context_window", TEXT),
    ("inference_geo", TEXT),
    ("speed", TEXT),
)

USAGE = LakeTable(
    name="anthropic_usage",
    schema=pa.schema(
        [*_DIMENSIONS, *((name, COUNT) for name in TOKENS), ("web_search_requests", COUNT), ("requests", COUNT)]
    ),
    # decimal, because DuckDB's hugeint would be printed through a float
    sums={name: f"sum({name})::decimal(38, 0)" for name in TOKENS},
    may_vanish=False,
)

COST = LakeTable(
    name="anthropic_cost",
    schema=pa.schema(
        [
            *_DIMENSIONS,
            ("cost_type", TEXT),
            ("token_type", TEXT),
            ("description", TEXT),
            # Text, because the provider's digits are the evidence; the unit is applied once, in staging.
            ("amount_text", TEXT),
            ("list_amount_text", TEXT),
            ("source_unit", TEXT),
            ("currency", TEXT),
        ]
    ),
    sums={"amount_usd_cents": "sum(try_cast(amount_text as decimal(38, 12)))"},
    may_vanish=False,
)


def _snapshot(name: str, *columns: str, may_vanish: bool = True) -> LakeTable:
    schema = pa.schema([("observed_date", DAY), ("account", TEXT), *((column, TEXT) for column in columns)])
    return LakeTable(name, schema, may_vanish=may_vanish)


API_KEYS = _snapshot(
    "anthropic_api_keys",
    "id",
    "name",
    "partial_key_hint",
    "status",
    "workspace_id",
    "created_by_id",
    "created_by_type",
    "principal_id",
    "principal_type",
    "scope_type",
    "created_at",
    "expires_at",
)
WORKSPACES = _snapshot("anthropic_workspaces", "id", "name", "created_at", "archived_at")
USERS = _snapshot("anthropic_users", "id", "email", "name", "role")
# An admin key may not list these: a day's list stays when a later reading of the day is refused.
SERVICE_ACCOUNTS = _snapshot("anthropic_service_accounts", "id", "name", "created_at", may_vanish=False)

ANTHROPIC_SNAPSHOTS: Final[Mapping[str, LakeTable]] = {
    table.name: table for table in (API_KEYS, WORKSPACES, USERS, SERVICE_ACCOUNTS)
}
