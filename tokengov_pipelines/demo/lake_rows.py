"""The same rows as Parquet tables of the lake, for runs too large to pass through Postgres.

Belongs here: a day of rows in the schema of `raw/litellm_spend_logs`, column for column what extraction from Postgres
yields. Does not belong here: files, hashes and pointers; the caller's `write_day` has those (`resources.lake`).
"""

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from resources.litellm_tables import SPEND_LOGS
from tokengov_pipelines.demo.calls import FAILED_SPEND, FAILURE, OUTPUT, READ, WRITE_1H, WRITE_5M, BoolArray
from tokengov_pipelines.demo.draws import IntArray, as_uuid
from tokengov_pipelines.demo.prices import MODELS
from tokengov_pipelines.demo.spend_logs import (
    Rows,
    cache_hit_text,
    key_labels,
    map_entry,
    model_id,
    spend_text,
    usage_tier,
)

WriteDay = Callable[[date, pa.Table], None]


def write_lake(days: Iterable[Rows], write_day: WriteDay) -> None:
    """Hand each UTC day of logged rows to `write_day`, ordered by (started_at, request_id)."""
    for rows in days:
        write_day(rows.calls.day, day_table(rows))


def day_table(rows: Rows) -> pa.Table:
    """The rows of a day in the schema of `raw/litellm_spend_logs`."""
    columns = {**_plain_columns(rows), **_key_columns(rows), **_usage_columns(rows), **_cost_columns(rows)}
    schema = SPEND_LOGS.schema()
    return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _plain_columns(rows: Rows) -> dict[str, Any]:
    calls, at = rows.calls, np.array(rows.at, dtype=np.int64)
    prompt, output = calls.logged[at, :OUTPUT].sum(axis=1), calls.logged[at, OUTPUT]
    models = [MODELS[model] for model in calls.model[at].tolist()]
    kinds = calls.kind[at].tolist()
    failed = [kind in (FAILURE, FAILED_SPEND) for kind in kinds]
    agents = zip(failed, rows.call_type, strict=True)
    bare = [is_failed and call_type == "anthropic_messages" for is_failed, call_type in agents]
    fallbacks = calls.fallback_from[at].tolist()
    return {
        "request_id": rows.request_id,
        "litellm_call_id": [as_uuid(calls.call_hex[i]) for i in rows.at],
        "call_type": rows.call_type,
        "spend_text": [spend_text(spend) for spend in rows.money.spend[at].tolist()],
        "total_tokens": prompt + output,
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "started_at": _microseconds(calls.start_ms[at]),
        "ended_at": _microseconds(calls.end_ms[at]),
        "completion_started_at": _microseconds(calls.first_ms[at]),
        "created_at": _microseconds(calls.created_ms[at]),
        "updated_at": _microseconds(calls.created_ms[at]),
        "request_duration_ms": calls.end_ms[at] - calls.start_ms[at],
        "model": [model.deployment for model in models],
        "model_id": [model_id(index) for index in calls.model[at].tolist()],
        "model_group": [model.name for model in models],
        "custom_llm_provider": [model.litellm_provider for model in models],
        "session_id": [as_uuid(calls.session_hex[i]) for i in rows.at],
        "status": ["failure" if is_failed else "success" for is_failed in failed],
        "cache_hit": [
            cache_hit_text(kind, stream=stream) for kind, stream in zip(kinds, calls.stream[at].tolist(), strict=True)
        ],
        "request_tags": rows.request_tags,
        "mcp_namespaced_tool_name": [None] * len(at),
        "metadata_use_case": rows.use_case,
        "user_agent": rows.user_agent,
        "error_code": [error[0] if error else None for error in rows.error],
        "error_class": [error[1] if error else None for error in rows.error],
        "attempted_retries": [None if b else str(int(f)) for b, f in zip(bare, failed, strict=True)],
        "attempted_fallbacks": [None if b else str(int(f >= 0)) for b, f in zip(bare, fallbacks, strict=True)],
        "original_model_group": [
            None if is_bare else (MODELS[fallback] if fallback >= 0 else model).name
            for is_bare, fallback, model in zip(bare, fallbacks, models, strict=True)
        ],
        "used_client_oauth_token": ["false"] * len(at),
        "internal_call_origin": [None] * len(at),
    }


def _key_columns(rows: Rows) -> dict[str, Any]:
    at = rows.calls.key[np.array(rows.at, dtype=np.int64)].tolist()
    labels = [key_labels(key) for key in rows.keys]
    teams = [key.row_team.team_id if key.row_team else "" for key in rows.keys]
    return {
        "key_hash": [rows.keys[key].key_hash for key in at],
        "user_id": [rows.keys[key].row_user for key in at],
        "team_id": [teams[key] for key in at],
        "organization_id": [rows.keys[key].organization_id for key in at],
        "key_alias": [labels[key][0] for key in at],
        "key_team_id": [labels[key][1] for key in at],
        "key_team_alias": [labels[key][2] for key in at],
        "key_user_id": [labels[key][3] for key in at],
    }


def _usage_columns(rows: Rows) -> dict[str, Any]:
    calls, at = rows.calls, np.array(rows.at, dtype=np.int64)
    tokens, kind = calls.logged[at], calls.kind[at]
    used = ~np.isin(kind, (FAILURE, FAILED_SPEND))
    anthropic = np.array([MODELS[model].provider == "anthropic" for model in calls.model[at].tolist()], dtype=bool)
    written = tokens[:, WRITE_5M] + tokens[:, WRITE_1H]
    has_extra = kind != FAILURE
    searches = calls.web_searches[at]
    tiers = [
        usage_tier(MODELS[model].provider, tier, stream=stream)
        for model, tier, stream in zip(
            calls.model[at].tolist(), calls.tier[at].tolist(), calls.stream[at].tolist(), strict=True
        )
    ]
    return {
        "cached_tokens": _counts(tokens[:, READ], used),
        "cache_read_input_tokens": _counts(tokens[:, READ], has_extra & (anthropic | (tokens[:, READ] > 0))),
        "cache_creation_input_tokens": _counts(written, has_extra & anthropic),
        "cache_creation_5m_tokens": _counts(tokens[:, WRITE_5M], used & anthropic),
        "cache_creation_1h_tokens": _counts(tokens[:, WRITE_1H], used & anthropic),
        "reasoning_tokens": _counts(calls.reasoning[at], used),
        "web_search_requests": _counts(searches, used & (searches > 0)),
        "cost_service_tier": [None] * len(at),
        "usage_service_tier": [tier if is_used else None for tier, is_used in zip(tiers, used.tolist(), strict=True)],
        "has_usage_object": ["true" if is_used else "false" for is_used in used.tolist()],
    }


def _cost_columns(rows: Rows) -> dict[str, Any]:
    calls, at = rows.calls, rows.at
    costed = [kind != FAILURE for kind in calls.kind[at].tolist()]
    costs = np.where(calls.kind == FAILED_SPEND, 0.0, rows.money.cost)[at].tolist()
    zero = ["0.0" if is_costed else None for is_costed in costed]
    facts = zip(calls.model[at].tolist(), calls.stale[at].tolist(), calls.unpriced[at].tolist(), strict=True)
    entries = [map_entry(model, calls.day, stale, unpriced) for model, stale, unpriced in facts]
    return {
        "original_cost_text": [
            _plain_number(repr(cost)) if is_costed else None for cost, is_costed in zip(costs, costed, strict=True)
        ],
        "discount_amount_text": zero,
        "margin_amount_text": zero,
        "tool_usage_cost_text": zero,
        "map_model_key": [entry.key for entry in entries],
        "map_input_cost_per_token": [_plain_number(entry.input_cost) for entry in entries],
        "map_output_cost_per_token": [_plain_number(entry.output_cost) for entry in entries],
        "map_cache_read_cost_per_token": [_plain_number(entry.cache_read) for entry in entries],
        "map_cache_creation_cost_per_token": [_plain_number(entry.cache_creation) for entry in entries],
    }


def _microseconds(milliseconds: IntArray) -> IntArray:
    return milliseconds * 1000


def _counts(values: IntArray, present: BoolArray) -> Any:
    return pa.array(values, mask=~present).cast(pa.string())


def _plain_number(text: str | None) -> str | None:
    """A JSON number as Postgres prints it from jsonb: without an exponent."""
    return None if text is None else format(Decimal(text), "f")
