"""The demo's provider side: books for Anthropic's and OpenAI's reports, made from the meter that makes the invoices.

Belongs here: the cells of every UTC day, their cost at list price, keys, workspaces and people. Does not belong here:
the meter (`tally`), the invoices (`invoices`), how a provider answers (`demo.providers`).

The books are exact: a day's cost is tokens x list price in whole picodollars, where an invoice rounds each of its lines
to cents. So for a provider and an invoiced month

    cost in the books = usage lines of the invoice - their rounding + non-token lines of the invoice

to the twelfth decimal; credits and tax are on the invoice only. Google has no such reports. Every call has a key: usage
without one (the Console) is not planted.

OpenAI's line items are written as observed in June 2026 ('gpt-5.4, cached input'). None was seen for a batch, and none
is invented: a line item holds both tiers of its model.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final, NamedTuple

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.calls import OUTPUT, READ, UNCACHED, WRITE_1H, WRITE_5M
from tokengov_pipelines.demo.organisation import BYPASS_KEY, FOUNDED, PROVIDER_KEYS, ProviderKey
from tokengov_pipelines.demo.prices import (
    MODELS,
    TIERS,
    TOKEN_TYPES,
    WEB_SEARCH_USD_PER_THOUSAND,
    Model,
    exact_usd,
    pico_per_token,
)
from tokengov_pipelines.demo.providers.books import (
    ANTHROPIC,
    OPENAI,
    ApiKey,
    CostCell,
    ProviderBooks,
    ServiceAccount,
    UsageCell,
    User,
    Workspace,
)
from tokengov_pipelines.demo.tally import DayMeter, Tally
from tokengov_pipelines.domain.money import exact_product

PROVIDER_BOOKS_FILE: Final = "provider_books.json"
REPORTING: Final = (ANTHROPIC, OPENAI)

_WORKSPACE_IDS: Final = {
    (ANTHROPIC, "proxy"): "wrkspc_01FernhillProxy",
    (ANTHROPIC, "data-sandbox"): "wrkspc_01FernhillSandbox",
    (OPENAI, "proxy"): "proj_FernhillProxy71",
}
_KEY_NAMES: Final = {BYPASS_KEY: "nightly-batch-tests"}
_ANTHROPIC_TYPES: Final = {
    "uncached_input": "Input Tokens",
    "cache_read": "Input Tokens, Cache Read",
    "cache_write_5m": "Input Tokens, Cache Write (5m)",
    "cache_write_1h": "Input Tokens, Cache Write (1h)",
    "output": "Output Tokens",
}
_OPENAI_TYPES: Final = {"uncached_input": "input", "cache_read": "cached input", "output": "output"}

# Who has an account in the providers' consoles: (name, Anthropic's role, OpenAI's role).
_ADMIN: Final = "Ulrike Sander"
_CREATOR: Final = "Rohit Kulkarni"
_PEOPLE: Final = (
    (_ADMIN, "admin", "owner"),
    ("Bastian Noll", "developer", "reader"),
    (_CREATOR, "developer", None),
    ("Victor Stanek", "billing", "reader"),
)


def build_provider_books(tally: Tally) -> ProviderBooks:
    """The books of all days of a run, as refreshed at the start of the as-of date."""
    usage: list[UsageCell] = []
    costs: list[CostCell] = []
    for day, meter in sorted(tally.meter.items()):
        for at, key in enumerate(PROVIDER_KEYS):
            if key.provider in REPORTING:
                usage += _usage_cells(day, at, key, meter)
                costs += _cost_cells(day, at, key, meter)
    return ProviderBooks(
        usage=tuple(usage),
        costs=tuple(costs),
        keys=tuple(_api_key(at, key) for at, key in enumerate(PROVIDER_KEYS) if key.provider in REPORTING),
        workspaces=tuple(
            Workspace(provider, workspace_id, name, _midnight(_created(provider, name)))
            for (provider, name), workspace_id in _WORKSPACE_IDS.items()
        ),
        users=tuple(_users()),
        service_accounts=(
            ServiceAccount(ANTHROPIC, "svac_01FernhillProxy", "litellm-proxy", "developer", _midnight(FOUNDED)),
            ServiceAccount(OPENAI, "svc_acct_fernhill_proxy", "litellm-proxy", "member", _midnight(FOUNDED),
                           _WORKSPACE_IDS[OPENAI, "proxy"]),
        ),
        refreshed_at=_midnight(incidents.AS_OF),
    )  # fmt: skip


def _cells(key: ProviderKey) -> Iterator[tuple[int, Model, int, str]]:
    """(model position, model, tier position, tier) of everything that a key can be used for."""
    for model_at, model in enumerate(MODELS):
        if model.provider == key.provider:
            for tier_at, tier in enumerate(TIERS):
                yield model_at, model, tier_at, tier


def _usage_cells(day: date, key_at: int, key: ProviderKey, meter: DayMeter) -> Iterator[UsageCell]:
    for model_at, model, tier_at, tier in _cells(key):
        requests = int(meter.requests[key_at, model_at, tier_at])
        if not requests:
            continue
        tokens = [int(count) for count in meter.tokens[key_at, model_at, tier_at]]
        band = _band(key.provider)
        yield UsageCell(
            day,
            key.provider,
            key.account,
            key.provider_key_id,
            _WORKSPACE_IDS[key.provider, key.workspace],
            model.name,
            tier,
            context_window=band.context_window,
            inference_geo=band.inference_geo,
            speed=band.speed,
            uncached_input=tokens[UNCACHED],
            cache_read=tokens[READ],
            cache_write_5m=tokens[WRITE_5M],
            cache_write_1h=tokens[WRITE_1H],
            output=tokens[OUTPUT],
            requests=requests,
            web_searches=int(meter.web_searches[key_at, model_at, tier_at]),
        )


def _cost_cells(day: date, key_at: int, key: ProviderKey, meter: DayMeter) -> Iterator[CostCell]:
    workspace, band = _WORKSPACE_IDS[key.provider, key.workspace], _band(key.provider)
    for model_at, model, tier_at, tier in _cells(key):
        prices = pico_per_token(model, day, tier)
        for type_at, token_type in enumerate(TOKEN_TYPES):
            tokens = int(meter.tokens[key_at, model_at, tier_at, type_at])
            if tokens:
                amount = exact_usd(tokens * prices[type_at])
                yield CostCell(
                    day,
                    key.provider,
                    key.account,
                    key.provider_key_id,
                    workspace,
                    model.name,
                    _line_item(model, tier, token_type),
                    amount,
                    amount,
                    token_type=token_type,
                    service_tier=tier,
                    context_window=band.context_window,
                    inference_geo=band.inference_geo,
                    speed=band.speed,
                    quantity=Decimal(tokens),
                    quantity_unit="tokens",
                )
    searches = int(meter.web_searches[key_at].sum())
    if searches:
        amount = web_search_cost(searches)
        yield CostCell(day, key.provider, key.account, key.provider_key_id, workspace, None, "Web Search Usage", amount,
                       amount, cost_type="web_search", service_tier=None)  # fmt: skip


def web_search_cost(searches: int) -> Decimal:
    """What web searches cost, exact USD."""
    return exact_product(searches, WEB_SEARCH_USD_PER_THOUSAND, Decimal("0.001"))


class _Band(NamedTuple):
    """Dimensions that only Anthropic reports; the demo prices everything in the lower band."""

    context_window: str | None
    inference_geo: str | None
    speed: str | None


def _band(provider: str) -> _Band:
    return _Band("0-200k", "global", "standard") if provider == ANTHROPIC else _Band(None, None, None)


def _line_item(model: Model, tier: str, token_type: str) -> str:
    if model.provider == ANTHROPIC:
        return f"{model.title} Usage{' - Batch' if tier == 'batch' else ''} - {_ANTHROPIC_TYPES[token_type]}"
    return f"{model.name}, {_OPENAI_TYPES[token_type]}"


def _api_key(at: int, key: ProviderKey) -> ApiKey:
    bypass = at == BYPASS_KEY
    tail = key.provider_key_id[-2:]
    owner_type, owner_id = (None, None) if key.provider == ANTHROPIC else ("service_account", "svc_acct_fernhill_proxy")
    return ApiKey(
        provider=key.provider,
        id=key.provider_key_id,
        name=_KEY_NAMES.get(at, "litellm-proxy"),
        hint=f"sk-ant-api03-...{tail}AA" if key.provider == ANTHROPIC else f"sk-svcacct-...{tail}",
        workspace_id=_WORKSPACE_IDS[key.provider, key.workspace],
        created_at=_midnight(key.valid_from),
        created_by=user_id(key.provider, _CREATOR if bypass else _ADMIN),
        owner_type=owner_type,
        owner_id=owner_id,
    )


def user_id(provider: str, name: str) -> str:
    """A person's id at a provider."""
    digits = hashlib.sha256(f"tokengov-demo:{provider}:{name}".encode()).hexdigest()
    return f"user_01{digits[:22]}" if provider == ANTHROPIC else f"user-{digits[:24]}"


def _users() -> Iterator[User]:
    for name, anthropic_role, openai_role in _PEOPLE:
        email = f"{name.lower().replace(' ', '.')}@example.com"
        for provider, role in ((ANTHROPIC, anthropic_role), (OPENAI, openai_role)):
            if role is not None:
                yield User(provider, user_id(provider, name), email, name, role, _midnight(FOUNDED))


def _created(provider: str, workspace: str) -> date:
    return min(k.valid_from for k in PROVIDER_KEYS if (k.provider, k.workspace) == (provider, workspace))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
