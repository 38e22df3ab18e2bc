"""The rig that made the real rows: what its provider metered, at what prices, and which logged call each line is.

Belongs here: reading the meter, the prices that the rig's provider asks, the join of meter and log by call. Does not
belong here: what a match says of them (`test_real_reconciliation`).
"""

import datetime as dt
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from tests.conftest import need_real_data
from tests.integration.postgres_client import query
from tokengov_pipelines.domain.legs import ProviderUsage, ReportedCost
from tokengov_pipelines.domain.money import quantize_internal
from tokengov_pipelines.domain.pricing import WEB_SEARCH_REQUESTS

D = Decimal
DAY = dt.date(2026, 11, 23)
KEY = "key-of-the-rig"
SONNET, HAIKU = "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"
MISTRAL, DEEPSEEK, EMBEDDING = "mistral-small-latest", "deepseek-chat", "text-embedding-3-small"
UNPRICED = "acme-internal-9b"

REGISTRY = "provider,account,workspace,provider_key_id,role,owner_cost_center,valid_from,valid_to\n" + "".join(
    f"{provider},rig,,{KEY},proxy,,2026-01-01,\n" for provider in ("anthropic", "openai", "mistral", "deepseek")
)
# What the rig's provider asks where the list says otherwise: its Sonnet has one price for every length of context.
PRICES = """provider,model,token_type,service_tier,context_band,context_over_tokens,usd_per_mtok,valid_from,valid_to,source,source_version
anthropic,claude-sonnet-4-5,uncached_input,standard,all,0,3,2026-01-01,,rig,1
anthropic,claude-sonnet-4-5,cache_read,standard,all,0,0.3,2026-01-01,,rig,1
anthropic,claude-sonnet-4-5,cache_write_5m,standard,all,0,3.75,2026-01-01,,rig,1
anthropic,claude-sonnet-4-5,cache_write_1h,standard,all,0,6,2026-01-01,,rig,1
anthropic,claude-sonnet-4-5,output,standard,all,0,15,2026-01-01,,rig,1
mistral,mistral-small-latest,uncached_input,standard,all,0,0.15,2026-01-01,,rig,1
mistral,mistral-small-latest,output,standard,all,0,0.6,2026-01-01,,rig,1
deepseek,deepseek-chat,uncached_input,standard,all,0,0.28,2026-01-01,,rig,1
deepseek,deepseek-chat,output,standard,all,0,0.42,2026-01-01,,rig,1
"""  # noqa: E501 - the header of the file
ALIASES = (
    "alias,provider,model\nmistral-small-latest,mistral,mistral-small-latest\ndeepseek-chat,deepseek,deepseek-chat\n"
)

# USD of a million tokens by the meter: uncached input, cache read, cache write of 5 minutes and of an hour, output.
METER = {
    "gpt-4o": ("2.50", "1.25", "0", "0", "10.00"),
    "gpt-4o-mini": ("0.15", "0.075", "0", "0", "0.60"),
    "gpt-5": ("1.25", "0.125", "0", "0", "10.00"),
    EMBEDDING: ("0.02", "0", "0", "0", "0"),
    SONNET: ("3", "0.30", "3.75", "6", "15"),
    HAIKU: ("1", "0.10", "1.25", "2", "5"),
    MISTRAL: ("0.15", "0", "0", "0", "0.60"),
    DEEPSEEK: ("0.28", "0", "0", "0", "0.42"),
    UNPRICED: ("0", "0", "0", "0", "0"),  # metered, and nobody knows at what price
}
TYPES = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
USD_OF_A_SEARCH = D("0.01")


@dataclass(frozen=True)
class Metered:
    """A call as the provider counted it, with its worth by token type."""

    call_id: str
    at: dt.datetime
    model: str
    tokens: dict[str, int]
    searches: int

    @property
    def provider(self) -> str:
        named = {MISTRAL: "mistral", DEEPSEEK: "deepseek"}
        return named.get(self.model, "anthropic" if self.model.startswith("claude") else "openai")

    def usd(self, token_type: str) -> Decimal:
        return self.tokens[token_type] * D(METER[self.model][TYPES.index(token_type)]) / 1_000_000

    @property
    def total(self) -> Decimal:
        return sum(map(self.usd, TYPES), D(0)) + self.searches * USD_OF_A_SEARCH

    @property
    def window(self) -> str | None:
        """The provider's word for the context band; it counts cached input too."""
        read = sum(self.tokens[name] for name in TYPES if name != "output")
        return None if self.provider != "anthropic" else "200k-1M" if read > 200_000 else "0-200k"


@cache
def meter() -> tuple[Metered, ...]:
    path = need_real_data("litellm", "provider_ledger.jsonl.gz")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    return tuple(map(_metered, (json.loads(line, parse_float=D) for line in lines)))


def _metered(line: dict[str, Any]) -> Metered:
    used = line["usage"]
    if line["kind"] == "anthropic.messages":
        writes = used["cache_creation"]
        counts = [used["input_tokens"], used["cache_read_input_tokens"], writes["ephemeral_5m_input_tokens"]]
        counts += [writes["ephemeral_1h_input_tokens"], used["output_tokens"]]
    else:  # OpenAI's input counts cached tokens too
        read = used.get("prompt_tokens", used.get("input_tokens"))
        details = used.get("prompt_tokens_details") or used.get("input_tokens_details") or {}
        cached = details.get("cached_tokens", 0)
        counts = [read - cached, cached, 0, 0, used.get("completion_tokens", used.get("output_tokens", 0))]
    searches = (used.get("server_tool_use") or {}).get("web_search_requests", 0)
    seconds, _, fraction = f"{line['ts']:f}".partition(".")
    at = dt.datetime.fromtimestamp(int(seconds), dt.UTC).replace(tzinfo=None)
    at += dt.timedelta(microseconds=int(fraction[:6].ljust(6, "0")))
    return Metered(line["id"], at, line["model"], dict(zip(TYPES, counts, strict=True)), searches)


def usage_report(calls: Iterable[Metered]) -> list[ProviderUsage]:
    counts: Counter[tuple[Any, ...]] = Counter()
    for call in calls:
        for token_type, tokens in call.tokens.items():
            counts[call.provider, call.model, token_type, call.window] += tokens
    return [
        ProviderUsage(DAY, provider, "rig", KEY, None, model, "standard", token_type, tokens, context_window=window)
        for (provider, model, token_type, window), tokens in counts.items()
        if tokens
    ]


def cost_report(calls: Iterable[Metered]) -> list[ReportedCost]:
    amounts: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for call in calls:
        for token_type in TYPES:
            amounts[call.provider, call.model, "tokens", token_type] += call.usd(token_type)
        amounts[call.provider, call.model, WEB_SEARCH_REQUESTS, None] += call.searches * USD_OF_A_SEARCH
    return [
        ReportedCost(DAY, provider, "rig", KEY, None, model, kind, token_type, None, amount)
        for (provider, model, kind, token_type), amount in amounts.items()
        if amount
    ]


def plain(model: str) -> str:
    """A logged name as the meter writes it."""
    return model.rpartition("/")[2]


@dataclass(frozen=True)
class Row:
    """A logged call, its metadata read for the reason alone."""

    request_id: str
    started: dt.datetime
    ended: dt.datetime
    model: str
    provider: str
    call_type: str
    status: str
    spend: Decimal
    code: str
    discount: str
    margin: str
    group: str


ROWS = """
select request_id, "startTime", "endTime", model, custom_llm_provider, call_type, status, spend::text,
    metadata -> 'error_information' ->> 'error_code', metadata -> 'cost_breakdown' ->> 'discount_percent',
    metadata -> 'cost_breakdown' ->> 'margin_percent', model_group
from "LiteLLM_SpendLogs" where cache_hit <> 'True' order by "startTime", request_id
"""


def joined(url: str) -> list[tuple[Row, list[Metered]]]:
    """Each logged call with what was metered for it: by the id, else by model and by when the provider was asked.

    LiteLLM keeps the provider's id of most calls; embeddings have none, and streams that broke, pass-through calls and
    calls translated from one provider's form to another's have one of LiteLLM's own.
    """
    rows = [
        Row(*cells[:7], quantize_internal(D(repr(float(cells[7])))), *(cell or "" for cell in cells[8:]))
        for cells in query(url, ROWS)
    ]
    found: dict[str, list[Metered]] = {row.request_id: [] for row in rows}
    known = {row.request_id for row in rows}
    metered_ids = {call.call_id for call in meter()}
    without_id = [row for row in rows if row.request_id not in metered_ids]
    slack = dt.timedelta(milliseconds=2)  # the two clocks' digits
    for call in meter():
        if call.call_id in known:
            found[call.call_id].append(call)
            continue
        (row,) = [
            row
            for row in without_id
            if plain(row.model) == call.model and row.started - slack <= call.at <= row.ended + slack
        ]
        found[row.request_id].append(call)
    return [(row, found[row.request_id]) for row in rows]


def logged_tokens(url: str, delivered: Container[str]) -> dict[str, dict[str, int]]:
    """Tokens by type of each delivered call, from the row's own usage."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    rows = query(
        url,
        "select request_id, prompt_tokens, completion_tokens, metadata -> 'usage_object' from \"LiteLLM_SpendLogs\"",
    )
    for request_id, prompt, output, usage in rows:
        if request_id in delivered and prompt + output:
            details = (usage or {}).get("prompt_tokens_details") or {}
            written = details.get("cache_creation_token_details") or {}
            hour = written.get("ephemeral_1h_input_tokens") or 0
            writes = (usage or {}).get("cache_creation_input_tokens") or 0
            read = details.get("cached_tokens") or 0
            counts = (prompt - read - writes, read, writes - hour, hour, output)
            found[request_id] = dict(zip(TYPES, counts, strict=True))
    return found
