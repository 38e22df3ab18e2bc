"""The rows of LiteLLM_SpendLogs: a day of calls in the shape that LiteLLM 1.106 writes, traps included.

Belongs here: request ids, tags, `cache_hit` as text, '' for no team, and the metadata JSON at LiteLLM's real paths.
Does not belong here: drawing calls (`calls`), loading rows into Postgres (`litellm_database`) and the same rows as
Parquet (`lake_rows`).

What is left out of the metadata is what nobody reads: LiteLLM's own averages 10 KB a row, this about 1 KB. One thing
is arranged: the rows of a batch carry `usage_object.service_tier = batch`, where Rule 4.2 looks for the tier.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

import numpy as np

from tokengov_pipelines.demo.calls import (
    CACHE_HIT,
    FAILED_SPEND,
    FAILURE,
    IN_BOTH,
    IN_METADATA,
    OUTPUT,
    PARTIAL,
    READ,
    TWO_TAGS,
    UNCACHED,
    UNTAGGED,
    WRITE_5M,
    DayCalls,
)
from tokengov_pipelines.demo.draws import IntArray, as_uuid
from tokengov_pipelines.demo.metering import DayMoney, list_pico
from tokengov_pipelines.demo.organisation import Key, Organisation
from tokengov_pipelines.demo.prices import MODELS, PICO, TIERS
from tokengov_pipelines.demo.profiles import CODE_REVIEW, REFACTOR, USE_CASES

COLUMNS: Final = (
    "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime",
    "endTime", "completionStartTime", "model", "model_id", "model_group", "custom_llm_provider", "api_base", "user",
    "metadata", "cache_hit", "cache_key", "request_tags", "team_id", "end_user", "session_id", "status",
    "organization_id", "request_duration_ms", "created_at", "updated_at", "litellm_call_id",
)  # fmt: skip

ENDPOINTS: Final = {"anthropic_messages": "", "acompletion": "/chat/completions", "aresponses": "/responses",
                    "aretrieve_batch": "/batches"}  # fmt: skip

_API_BASES: Final = {
    "anthropic": "https://api.anthropic.com/v1/messages",
    "openai": "https://api.openai.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta",
}
_ERRORS: Final = (("429", "RateLimitError"), ("500", "InternalServerError"), ("400", "BadRequestError"))


@dataclass(frozen=True)
class Rows:
    """The logged rows of a day as lists of what LiteLLM's columns hold; None is NULL. Times stay in `calls`."""

    calls: DayCalls
    money: DayMoney
    keys: tuple[Key, ...]
    at: list[int]
    """Position in `calls` of each row: those with `in_log`, ordered as they are stored, by start and request id."""
    request_id: list[str]
    call_type: list[str]
    user_agent: list[str | None]
    use_case: list[str | None]
    request_tags: list[str]
    error: list[tuple[str, str] | None]


def rows_of(organisation: Organisation, calls: DayCalls, money: DayMoney) -> Rows:
    """Every row that the proxy wrote for the day."""
    keys = organisation.keys
    request_ids, call_types = _identities(keys, calls)
    logged = [at for at in range(len(calls)) if calls.in_log[at]]
    starts = calls.start_ms.tolist()
    logged.sort(key=lambda at: (starts[at], request_ids[at]))
    kinds, use_cases, taggings = calls.kind.tolist(), calls.use_case.tolist(), calls.tagging.tolist()
    models, key_positions = calls.model.tolist(), calls.key.tolist()
    agents: list[str | None] = []
    in_metadata: list[str | None] = []
    tags: list[str] = []
    errors: list[tuple[str, str] | None] = []
    for at in logged:
        call_type, kind = call_types[at], kinds[at]
        agent = _user_agent(call_type, MODELS[models[at]].provider)
        # A failed /v1/messages call loses its user agent in the metadata; the tags keep it.
        agents.append(None if kind in (FAILURE, FAILED_SPEND) and call_type == "anthropic_messages" else agent)
        in_metadata.append(USE_CASES[use_cases[at]] if taggings[at] in (IN_METADATA, IN_BOTH) else None)
        tags.append(_tags(use_cases[at], taggings[at], agent, keys[key_positions[at]].kind))
        errors.append(_error(kind, at))
    return Rows(
        calls=calls,
        money=money,
        keys=keys,
        at=logged,
        request_id=[request_ids[at] for at in logged],
        call_type=[call_types[at] for at in logged],
        user_agent=agents,
        use_case=in_metadata,
        request_tags=tags,
        error=errors,
    )


def _identities(keys: tuple[Key, ...], calls: DayCalls) -> tuple[list[str], list[str]]:
    request_ids, call_types = [], []
    columns = (calls.key, calls.model, calls.kind, calls.end_ms)
    rows = zip(*(column.tolist() for column in columns), calls.request_hex, calls.call_hex, strict=True)
    for key, model, kind, end_ms, digits, call_digits in rows:
        provider = MODELS[model].provider
        call_type = _call_type(keys[key].kind, provider)
        if kind in (FAILURE, FAILED_SPEND):
            request_id = as_uuid(call_digits)  # no provider id: LiteLLM's own
        elif call_type == "aretrieve_batch":
            prefix = "msgbatch_01" if provider == "anthropic" else "batch_"
            request_id = f"{prefix}{digits[:24]}_batch_cost"
        elif call_type == "anthropic_messages":
            request_id = f"msg_01{digits[:22]}"
        elif call_type == "aresponses":
            request_id = f"resp_{digits}"
        else:
            request_id = f"chatcmpl-{as_uuid(digits)}"
        if kind == CACHE_HIT:
            request_id += f"_cache_hit{end_ms // 1000}.{end_ms % 1000:03d}"
        request_ids.append(request_id)
        call_types.append(call_type)
    return request_ids, call_types


def _call_type(key_kind: str, provider: str) -> str:
    if key_kind == "nightly":
        return "aretrieve_batch"
    if key_kind == "service" or provider == "google":
        return "acompletion"
    return "anthropic_messages" if provider == "anthropic" else "aresponses"


def _user_agent(call_type: str, provider: str) -> str | None:
    if call_type == "aretrieve_batch":
        return None  # the proxy's own poller
    if call_type == "anthropic_messages":
        return "claude-cli/2.1.4 (external, cli)"
    if call_type == "aresponses":
        return "codex_cli_rs/0.46.0"
    return {"anthropic": "Anthropic/Python 0.71.0", "openai": "OpenAI/Python 2.54.0", "google": "python-httpx/0.28.1"}[
        provider
    ]


@cache
def _tags(use_case: int, tagging: int, agent: str | None, key_kind: str) -> str:
    """The JSON text of request_tags, as Postgres prints it; LiteLLM adds the user agent twice."""
    tags = []
    if tagging not in (UNTAGGED, IN_METADATA):
        tags.append(f"use_case:{USE_CASES[use_case]}")
    if tagging == TWO_TAGS:
        tags.append(f"use_case:{USE_CASES[CODE_REVIEW if use_case != CODE_REVIEW else REFACTOR]}")
    if key_kind == "service":
        tags.append("env:prod")
    if agent is not None:
        tags += [f"User-Agent: {agent.split('/')[0]}", f"User-Agent: {agent}"]
    return json.dumps(tags)


def _error(kind: int, at: int) -> tuple[str, str] | None:
    if kind == FAILURE:
        return _ERRORS[at % len(_ERRORS)]
    return {FAILED_SPEND: ("", "ReadError"), PARTIAL: ("499", "ClientDisconnected")}.get(kind)


@dataclass(frozen=True)
class MapEntry:
    """LiteLLM's price-map entry in force for a call: USD per token as JSON numbers, None where the map has none."""

    key: str
    input_cost: str
    output_cost: str
    cache_read: str | None
    cache_creation: str | None


@cache
def map_entry(model: int, day: date, stale: bool, unpriced: bool) -> MapEntry:
    """What `model_map_information` shows on a row; an unknown model has the price 0."""
    name = MODELS[model].deployment
    if unpriced:
        return MapEntry(name, "0", "0", None, None)
    prices = [repr(int(pico) / PICO) for pico in list_pico(day, stale=stale)[model, 0]]
    creation = prices[WRITE_5M] if MODELS[model].provider == "anthropic" else None
    return MapEntry(name, prices[UNCACHED], prices[OUTPUT], prices[READ], creation)


@cache
def _map_json(model: int, day: date, stale: bool, unpriced: bool) -> str:
    entry = map_entry(model, day, stale, unpriced)
    return (
        f'{{"model_map_key":"{entry.key}","model_map_value":{{"key":"{MODELS[model].name}",'
        f'"litellm_provider":"{MODELS[model].litellm_provider}","mode":"chat",'
        f'"input_cost_per_token":{entry.input_cost},"output_cost_per_token":{entry.output_cost},'
        f'"cache_read_input_token_cost":{entry.cache_read or "null"},'
        f'"cache_creation_input_token_cost":{entry.cache_creation or "null"}}}}}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


def key_labels(key: Key) -> tuple[str | None, str | None, str | None, str | None]:
    """(alias, team id, team alias, user id) that LiteLLM stamps into the metadata of a row."""
    team = key.row_team
    alias = None if key.table == "nowhere" else key.alias
    return alias, team.team_id if team else None, team.slug if team else None, key.row_user or None


def _key_json(key: Key) -> str:
    alias, team_id, team_alias, user_id = key_labels(key)
    return (
        f'"user_api_key":"{key.key_hash}","user_api_key_alias":{_text(alias)},'
        f'"user_api_key_team_id":{_text(team_id)},"user_api_key_team_alias":{_text(team_alias)},'
        f'"user_api_key_user_id":{_text(user_id)},"user_api_key_org_id":{_text(key.organization_id or None)}'
    )


def _usage(tokens: list[int], reasoning: int, searches: int, provider: str, tier: str | None) -> tuple[str, str]:
    """(usage_object, additional_usage_values). Tokens are inclusive: prompt = uncached + cached + written."""
    uncached, read, write_5m, write_1h, output = tokens
    prompt = uncached + read + write_5m + write_1h
    totals = f'"total_tokens":{prompt + output},"prompt_tokens":{prompt},"completion_tokens":{output}'
    tiers = f'"service_tier":"{tier}",' if tier else ""
    if provider != "anthropic":
        usage = (
            f'{{{tiers}{totals},"prompt_tokens_details":{{"audio_tokens":0,"cached_tokens":{read}}},'
            f'"completion_tokens_details":{{"audio_tokens":0,"reasoning_tokens":{reasoning}}}}}'
        )
        return usage, f'{{"cache_read_input_tokens":{read}}}' if read else "{}"
    written = write_5m + write_1h
    searched = f',"server_tool_use":{{"web_search_requests":{searches}}}' if searches else ""
    usage = (
        f'{{{tiers}{totals},"prompt_tokens_details":{{"text_tokens":{uncached},"cached_tokens":{read},'
        f'"cache_creation_tokens":{written},"cache_creation_token_details":{{"ephemeral_5m_input_tokens":{write_5m},'
        f'"ephemeral_1h_input_tokens":{write_1h}}}}},"cache_read_input_tokens":{read},'
        f'"cache_creation_input_tokens":{written},"completion_tokens_details":{{"text_tokens":{output},'
        f'"reasoning_tokens":0}}{searched}}}'
    )
    return usage, f'{{{tiers}"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written}}}'


def usage_tier(provider: str, tier: int, *, stream: bool) -> str | None:
    """`usage_object.service_tier`: Anthropic reports it unless it streams; of a batch it is always there."""
    if TIERS[tier] == "batch":
        return "batch"
    return "standard" if provider == "anthropic" and not stream else None


def _metadata(rows: Rows) -> Iterator[str]:
    calls, money, keys = rows.calls, rows.money, rows.keys
    key_parts = [_key_json(key) for key in keys]
    columns = (
        calls.key, calls.model, calls.kind, calls.tier, calls.stream, calls.logged, calls.reasoning,
        calls.web_searches, calls.stale, calls.unpriced, calls.fallback_from, money.cost, money.input_cost,
        money.output_cost, money.cache_read_cost, money.cache_creation_cost,
    )  # fmt: skip
    facts = list(zip(*(column.tolist() for column in columns), calls.call_hex, strict=True))
    for at, call_type, agent, use_case, error in zip(
        rows.at, rows.call_type, rows.user_agent, rows.use_case, rows.error, strict=True
    ):
        (key, model, kind, tier, stream, tokens, reasoning, searches, stale, unpriced, fallback, cost, input_cost,
         output_cost, read_cost, creation_cost, call_digits) = facts[at]  # fmt: skip
        provider = MODELS[model].provider
        group = MODELS[fallback if fallback >= 0 else model].name
        failed = kind in (FAILURE, FAILED_SPEND)
        usage, extra = _usage(tokens, reasoning, searches, provider, usage_tier(provider, tier, stream=stream))
        if kind == FAILED_SPEND:
            cost = input_cost = output_cost = read_cost = creation_cost = 0.0
        breakdown = (
            f'{{"input_cost":{input_cost!r},"output_cost":{output_cost!r},"cache_read_cost":{read_cost!r},'
            f'"cache_creation_cost":{creation_cost!r},"original_cost":{cost!r},"total_cost":{cost!r},'
            f'"tool_usage_cost":0.0,"discount_amount":0.0,"margin_total_amount":0.0,"service_tier":null}}'
        )
        attempts = (
            '"attempted_retries":null,"attempted_fallbacks":null,"original_model_group":null'
            if failed and call_type == "anthropic_messages"
            else f'"attempted_retries":{1 if failed else 0},"attempted_fallbacks":{1 if fallback >= 0 else 0},'
            f'"original_model_group":"{group}"'
        )
        noted = f'{{"use_case":"{use_case}"}}' if use_case else "null"
        yield (
            f'{{"status":{_text("failure") if failed else "null"},"user_agent":{_text(agent)},'
            f'"litellm_call_id":"{as_uuid(call_digits)}",{key_parts[key]},"spend_logs_metadata":{noted},'
            f'"usage_object":{"null" if failed else usage},'
            f'"additional_usage_values":{"{}" if kind == FAILURE else extra},'
            f'"cost_breakdown":{"null" if kind == FAILURE else breakdown},'
            f'"model_map_information":{_map_json(model, calls.day, stale, unpriced)},{attempts},'
            f'"error_information":{_error_json(error)},"used_client_oauth_token":false,"internal_call_origin":null}}'
        )


def _error_json(error: tuple[str, str] | None) -> str:
    return "null" if error is None else f'{{"error_code":"{error[0]}","error_class":"{error[1]}"}}'


def cache_hit_text(kind: int, *, stream: bool) -> str:
    """LiteLLM's text: 'True' from its own cache, 'None' where nobody looked, 'False' otherwise."""
    if kind == CACHE_HIT:
        return "True"
    return "False" if stream or kind in (FAILURE, FAILED_SPEND) else "None"


def spend_text(value: float) -> str:
    """A float8 as Postgres prints it: the shortest text that reads back, without a trailing .0."""
    text = repr(value)
    return text.removesuffix(".0")


@cache
def model_id(model: int) -> str:
    """The hash by which LiteLLM names a deployment."""
    return hashlib.sha256(f"deployment:{MODELS[model].deployment}".encode()).hexdigest()


def _iso(milliseconds: IntArray) -> list[str]:
    texts: list[str] = np.datetime_as_string(milliseconds.astype("datetime64[ms]")).tolist()
    return texts


def copy_lines(rows: Rows) -> Iterator[str]:
    """The rows as lines for `COPY ... FROM STDIN` in the order of `COLUMNS`. Nothing in them needs escaping."""
    calls, keys = rows.calls, rows.keys
    prompts = calls.logged[:, :OUTPUT].sum(axis=1)
    columns = (calls.key, calls.model, calls.kind, calls.stream, prompts, calls.logged[:, OUTPUT], rows.money.spend,
               calls.end_ms - calls.start_ms)  # fmt: skip
    facts = list(zip(*(column.tolist() for column in columns), strict=True))
    starts, ends, firsts, created = (_iso(t) for t in (calls.start_ms, calls.end_ms, calls.first_ms, calls.created_ms))
    for at, request_id, call_type, tags, metadata in zip(
        rows.at, rows.request_id, rows.call_type, rows.request_tags, _metadata(rows), strict=True
    ):
        key_at, model_at, kind, stream, prompt, output, spend, duration = facts[at]
        key, model = keys[key_at], MODELS[model_at]
        status = "failure" if kind in (FAILURE, FAILED_SPEND) else "success"
        yield (
            f"{request_id}\t{call_type}\t{key.key_hash}\t{spend!r}\t{prompt + output}\t{prompt}\t{output}\t"
            f"{starts[at]}\t{ends[at]}\t{firsts[at]}\t{model.deployment}\t{model_id(model_at)}\t{model.name}\t"
            f"{model.litellm_provider}\t{_API_BASES[model.provider]}\t{key.row_user}\t{metadata}\t"
            f"{cache_hit_text(kind, stream=stream)}\t{calls.request_hex[at]}{calls.call_hex[at]}\t{tags}\t"
            f"{key.row_team.team_id if key.row_team else ''}\t\t{as_uuid(calls.session_hex[at])}\t{status}\t"
            f"{key.organization_id}\t{duration}\t{created[at]}\t{created[at]}\t{as_uuid(calls.call_hex[at])}\n"
        )
