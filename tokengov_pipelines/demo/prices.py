"""The models of the demo and their list prices: what the provider's meter charges and what the proxy's map says.

Belongs here: models, dated list prices in USD per million tokens, the stale map of the incident. Does not belong here:
the product's own price book (a later part of `domain/pricing`), which must not depend on the demo.

The figures are the public list prices of 2026, with their real change dates: gpt-5.6-sol fell from 5/30 to 4/20 on
2026-08-21, gpt-5.6-terra from 2.5/15 to 2/12 on 2026-07-30; the rise of claude-sonnet-5 to 3/15 that was announced for
2026-09-01 was cancelled. A batch costs half.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

TOKEN_TYPES: Final = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
TIERS: Final = ("standard", "batch")
PROVIDERS: Final = ("anthropic", "openai", "google")

PICO: Final = 10**12
"""Exact amounts are counted in whole picodollars (1e-12 USD, the 12 decimals of Rule 1.1)."""

WEB_SEARCH_USD_PER_THOUSAND: Final = Decimal("10.00")


@dataclass(frozen=True)
class Prices:
    """List prices in USD per million tokens from one day on, in the order of `TOKEN_TYPES`; None = not sold."""

    valid_from: date
    per_mtok: tuple[Decimal | None, ...]


@dataclass(frozen=True)
class Model:
    """One model: the provider's name for it, LiteLLM's provider slug, and its price history."""

    name: str
    provider: str
    litellm_provider: str
    title: str
    context_limit: int
    history: tuple[Prices, ...]

    def prices_on(self, day: date) -> Prices:
        """The list prices of a UTC day."""
        return max((p for p in self.history if p.valid_from <= day), key=lambda p: p.valid_from)

    @property
    def deployment(self) -> str:
        """LiteLLM's name: the provider's slug before the model."""
        return f"{self.litellm_provider}/{self.name}"


def _prices(day: str, *figures: str) -> Prices:
    return Prices(date.fromisoformat(day), tuple(Decimal(figure) if figure else None for figure in figures))


_OLD: Final = "2026-01-01"

# The context limits keep every call in the price band that the figures are for (Gemini 200k, GPT-5.6 272k).
MODELS: Final = (
    Model(
        "claude-opus-4-8",
        "anthropic",
        "anthropic",
        "Claude Opus 4.8",
        1_000_000,
        (_prices(_OLD, "5", "0.5", "6.25", "10", "25"),),
    ),
    Model(
        "claude-sonnet-4-6",
        "anthropic",
        "anthropic",
        "Claude Sonnet 4.6",
        1_000_000,
        (_prices(_OLD, "3", "0.3", "3.75", "6", "15"),),
    ),
    Model(
        "claude-sonnet-5",
        "anthropic",
        "anthropic",
        "Claude Sonnet 5",
        1_000_000,
        (_prices(_OLD, "2", "0.2", "2.5", "4", "10"),),
    ),
    Model(
        "claude-haiku-4-5",
        "anthropic",
        "anthropic",
        "Claude Haiku 4.5",
        200_000,
        (_prices(_OLD, "1", "0.1", "1.25", "2", "5"),),
    ),
    Model("gpt-5.5", "openai", "openai", "GPT-5.5", 260_000, (_prices(_OLD, "5", "0.5", "", "", "30"),)),
    Model(
        "gpt-5.6-sol",
        "openai",
        "openai",
        "GPT-5.6 Sol",
        260_000,
        (_prices(_OLD, "5", "0.5", "", "", "30"), _prices("2026-08-21", "4", "0.4", "", "", "20")),
    ),
    Model(
        "gpt-5.3-codex", "openai", "openai", "GPT-5.3 Codex", 260_000, (_prices(_OLD, "1.75", "0.175", "", "", "14"),)
    ),
    Model(
        "gpt-5.4-mini", "openai", "openai", "GPT-5.4 mini", 260_000, (_prices(_OLD, "0.75", "0.075", "", "", "4.5"),)
    ),
    Model(
        "gpt-5.6-terra",
        "openai",
        "openai",
        "GPT-5.6 Terra",
        260_000,
        (_prices(_OLD, "2.5", "0.25", "", "", "15"), _prices("2026-07-30", "2", "0.2", "", "", "12")),
    ),
    Model(
        "gemini-3.1-pro-preview",
        "google",
        "gemini",
        "Gemini 3.1 Pro",
        190_000,
        (_prices(_OLD, "2", "0.2", "", "", "12"),),
    ),
    Model(
        "gemini-3.5-flash",
        "google",
        "gemini",
        "Gemini 3.5 Flash",
        190_000,
        (_prices(_OLD, "1.5", "0.15", "", "", "9"),),
    ),
)

MODEL_INDEX: Final = {model.name: index for index, model in enumerate(MODELS)}

SONNET_5_RELEASE: Final = date(2026, 7, 1)
"""From this day the organisation's `sonnet` is claude-sonnet-5, before it claude-sonnet-4-6."""

SOL_RELEASE: Final = date(2026, 9, 1)
"""From this day the organisation's `gpt` is gpt-5.6-sol, before it gpt-5.5."""


def price_per_mtok(model: Model, day: date, token_type: str, tier: str) -> Decimal | None:
    """The list price of one token type in a tier, USD per million tokens."""
    price = model.prices_on(day).per_mtok[TOKEN_TYPES.index(token_type)]
    return price / 2 if price is not None and tier == "batch" else price


def pico_per_token(model: Model, day: date, tier: str) -> tuple[int, ...]:
    """List prices in picodollars per token, in the order of `TOKEN_TYPES`; a type that is not sold costs 0."""
    prices = (price_per_mtok(model, day, token_type, tier) for token_type in TOKEN_TYPES)
    return tuple(0 if price is None else int(price * (PICO // 10**6)) for price in prices)


def exact_usd(pico: int) -> Decimal:
    """Picodollars as an exact amount with 12 decimals."""
    return Decimal(pico).scaleb(-12)
