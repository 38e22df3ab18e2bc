"""What is read from OpenAI: the usage endpoints, the fields taken of each, and the declared Parquet schemas.

Belongs here: names and types of the raw tables `raw/openai_*` and where each column comes from.
Does not belong here: requests (`resources.openai`) and what a column means for money (`dbt_project`).

The columns are the privacy boundary of the lake's tables (Rule 12.8): what is not named here is not stored as a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from resources.lake import LakeTable

TEXT: Final[pa.DataType] = pa.string()
COUNT: Final[pa.DataType] = pa.int64()
FLAG: Final[pa.DataType] = pa.bool_()
DAY: Final[pa.DataType] = pa.date32()

DIMENSIONS: Final[Mapping[str, str]] = {
    "project_id": "project_id",
    "user_id": "user_id",
    "api_key_id": "api_key_id",
    "model": "model",
    "batch": "batch",
    "service_tier": "service_tier",
    "size": "image_size",
    "source": "image_source",
}
"""What usage can be grouped by, and the column it goes to. `batch` is true or false, the others are text."""

DISPENSABLE: Final = frozenset({"user_id", "batch", "service_tier", "size", "source"})
"""Groups that an account may refuse and usage is read without; project, key and model it is not."""


@dataclass(frozen=True)
class UsageKind:
    """One endpoint `/organization/usage/<name>`: what it is grouped by, and which column takes which of its fields.

    `results` are the names that its rows carry in `object`. `required` counts are an error where they are missing;
    `optional` ones are null or absent on older rows and stay null.
    """

    name: str
    results: Sequence[str]
    group_by: Sequence[str]
    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)


_BY_MODEL = ("project_id", "user_id", "api_key_id", "model")
_REQUESTS = {"requests": "num_model_requests"}
_INPUT = {"input_tokens": "input_tokens", **_REQUESTS}

REQUIRED_KIND: Final = "completions"

USAGE_KINDS: Final[Sequence[UsageKind]] = (
    UsageKind(
        REQUIRED_KIND,
        ("completions",),
        (*_BY_MODEL, "batch", "service_tier"),
        # input_tokens includes the cached and the cache-write tokens (Rule 0.1 F5).
        {**_INPUT, "output_tokens": "output_tokens"},
        {
            name: name
            for name in ("input_cached_tokens", "input_cache_write_tokens", "input_audio_tokens", "output_audio_tokens")
        },
    ),
    UsageKind("embeddings", ("embeddings",), _BY_MODEL, _INPUT),
    UsageKind("moderations", ("moderations",), _BY_MODEL, _INPUT),
    UsageKind("images", ("images",), (*_BY_MODEL, "size", "source"), {"images": "images", **_REQUESTS}),
    UsageKind("audio_speeches", ("audio_speeches",), _BY_MODEL, {"characters": "characters", **_REQUESTS}),
    UsageKind("audio_transcriptions", ("audio_transcriptions",), _BY_MODEL, {"seconds": "seconds", **_REQUESTS}),
    UsageKind("vector_stores", ("vector_stores",), ("project_id",), {"usage_bytes": "usage_bytes"}),
    UsageKind(
        "code_interpreter_sessions", ("code_interpreter_sessions",), ("project_id",), {"sessions": "num_sessions"}
    ),
    # Calls of the search tool, which are what is billed; not the model requests that they were part of.
    UsageKind(
        "file_search_calls",
        ("file_searches", "file_search_calls"),
        ("project_id", "user_id", "api_key_id"),
        {"requests": "num_requests"},
    ),
    UsageKind("web_search_calls", ("web_searches", "web_search_calls"), _BY_MODEL, {"requests": "num_requests"}),
)

_SUMMED = ("input_tokens", "input_cached_tokens", "output_tokens", "requests")

USAGE = LakeTable(
    name="openai_usage",
    schema=pa.schema(
        [
            ("kind", TEXT),
            ("usage_date", DAY),
            ("account", TEXT),
            ("project_id", TEXT),
            ("user_id", TEXT),
            ("api_key_id", TEXT),
            ("model", TEXT),
            ("batch", FLAG),
            ("service_tier", TEXT),
            ("input_tokens", COUNT),
            ("input_cached_tokens", COUNT),
            ("input_cache_write_tokens", COUNT),
            ("input_audio_tokens", COUNT),
            ("output_tokens", COUNT),
            ("output_audio_tokens", COUNT),
            ("requests", COUNT),
            ("images", COUNT),
            ("image_size", TEXT),
            ("image_source", TEXT),
            ("characters", COUNT),
            ("seconds", COUNT),
            ("usage_bytes", COUNT),
            ("sessions", COUNT),
        ]
    ),
    # decimal, because DuckDB's hugeint would be printed through a float
    sums={name: f"sum({name})::decimal(38, 0)" for name in _SUMMED},
    may_vanish=False,
)
USAGE_GROUP: Final = ("kind", *DIMENSIONS.values())

COST = LakeTable(
    name="openai_cost",
    schema=pa.schema(
        [
            ("usage_date", DAY),
            ("account", TEXT),
            ("project_id", TEXT),
            ("api_key_id", TEXT),
            ("line_item", TEXT),
            # Text, because the provider's digits are the evidence; the unit is applied once, in staging.
            ("amount_text", TEXT),
            ("source_unit", TEXT),
            ("currency", TEXT),
            ("quantity_text", TEXT),
            ("quantity_unit", TEXT),
        ]
    ),
    sums={"amount_usd": "sum(try_cast(amount_text as decimal(38, 12)))"},
    may_vanish=False,
)
COST_GROUP: Final = ("project_id", "api_key_id", "line_item")


def _snapshot(name: str, *columns: str) -> LakeTable:
    schema = pa.schema([("observed_date", DAY), ("account", TEXT), *((column, TEXT) for column in columns)])
    return LakeTable(name, schema)


PROJECTS = _snapshot("openai_projects", "id", "name", "status", "created_at", "archived_at")
PROJECT_API_KEYS = _snapshot(
    "openai_project_api_keys",
    "project_id",
    "id",
    "name",
    "redacted_value",
    "owner_type",
    "owner_id",
    "owner_email",
    "created_at",
    "last_used_at",
)
USERS = _snapshot("openai_users", "id", "email", "name", "role")
SERVICE_ACCOUNTS = _snapshot("openai_service_accounts", "project_id", "id", "name", "role", "created_at")

OPENAI_SNAPSHOTS: Final[Mapping[str, LakeTable]] = {
    table.name: table for table in (PROJECTS, PROJECT_API_KEYS, USERS, SERVICE_ACCOUNTS)
}
