"""The legs of a match as tables, and back: the same columns in derived tables and in a pack's `inputs/` (Rule 11.1).

Belongs here: the columns that a match reads, and the records of `domain.legs` that they become. Does not belong here:
where the tables are (`assets.reconciliation_inputs`, `closing.input_files`), the match (`closing.match`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.legs import (
    KeyDecides,
    KeyRegistry,
    KeyRole,
    LoggedUsage,
    ProviderUsage,
    RegisteredKey,
    ReportedCost,
)
from tokengov_pipelines.domain.pricing import TOKEN_TYPES
from tokengov_pipelines.policy import Policy

LOG_GRAIN: Final = (
    "usage_date",
    "provider",
    "model",
    "service_tier",
    "context_over_tokens",
    "call_class",
    "cost_center",
)
"""What a record of leg A is told apart by; the drill table adds `DRILL_GRAIN`."""

DRILL_GRAIN: Final = ("rung", "team_id", "use_case")
TOKEN_COLUMNS: Final = {token_type: f"{token_type}_tokens" for token_type in TOKEN_TYPES}
LOG_SUMS: Final = ("calls", "calls_without_usage", *TOKEN_COLUMNS.values(), "logged_spend_usd")

USAGE_COLUMNS: Final = (
    "usage_date",
    "provider",
    "account",
    "provider_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
    "measure",
    "unit",
    "quantity",
)
COST_COLUMNS: Final = (
    "usage_date",
    "provider",
    "account",
    "provider_key_id",
    "workspace_id",
    "model",
    "cost_type",
    "token_type",
    "service_tier",
    "amount_usd",
    "line_item",
    "context_window",
    "inference_geo",
    "speed",
    "list_amount_usd",
)
"""The columns of the providers' reports that a match reads: no person is among them."""

_WITHIN: Final = {"input_audio_within": "uncached_input", "output_audio_within": "output"}
"""Audio is counted inside these token types and has prices of its own."""


def grouped(content: pa.Table, grain: tuple[str, ...]) -> pa.Table:
    """The proxy's usage added up to a coarser grain, in the order of its words: the same rows give the same table."""
    sums = content.group_by(list(grain)).aggregate([(column, "sum") for column in LOG_SUMS])
    renamed = sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
    whole = renamed.cast(
        pa.schema(
            [
                (name, pa.decimal128(38, 12) if name == "logged_spend_usd" else renamed.schema.field(name).type)
                for name in renamed.column_names
            ]
        )
    )
    return whole.select([*grain, *LOG_SUMS]).sort_by([(name, "ascending") for name in grain])


def logged_of(content: pa.Table | None) -> dict[str, list[LoggedUsage]]:
    """Leg A by provider: one record a day, model, tier, band, class and cost center, so that no two errors net."""
    found: dict[str, list[LoggedUsage]] = defaultdict(list)
    if content is None:
        return found
    classes = {str(each): each for each in CallClass}
    for row in _rows(grouped(content, LOG_GRAIN), (*LOG_GRAIN, *LOG_SUMS)):
        day, provider, model, tier, over_tokens, call_class, cost_center, calls, without_usage, *counts, logged = row
        found[provider].append(
            LoggedUsage(
                day=day,
                provider=provider,
                model=model,
                tier=tier,
                over_tokens=over_tokens,
                call_class=classes[call_class],
                calls=calls,
                tokens={token_type: count for token_type, count in zip(TOKEN_COLUMNS, counts, strict=True) if count},
                logged=logged,
                cost_center=cost_center,
                calls_without_usage=without_usage,
            )
        )
    return found


def usage_of(content: pa.Table | None) -> dict[str, list[ProviderUsage]]:
    """Leg B by provider: tokens by type. Audio tokens are taken out of the type that counts them."""
    found: dict[str, list[ProviderUsage]] = defaultdict(list)
    if content is None:
        return found
    audio: dict[tuple[Any, ...], int] = {}
    rows = [row for row in _rows(content, USAGE_COLUMNS) if row[-2] in {"tokens", "tokens_within"}]
    for *grain, measure, _, quantity in rows:
        if measure in _WITHIN:
            audio[(*grain, _WITHIN[measure])] = quantity
    for row in rows:
        day, provider, account, key_id, workspace_id, model, tier, window, geo, speed, measure, _, quantity = row
        found[provider].append(
            ProviderUsage(
                day=day,
                provider=provider,
                account=account,
                key_id=key_id,
                workspace_id=workspace_id,
                model=model,
                tier=tier,
                token_type=measure.removesuffix("_within"),
                tokens=quantity - audio.get(row[:-2], 0) if audio else quantity,
                context_window=window,
                geo=geo,
                speed=speed,
            )
        )
    return found


def costs_of(content: pa.Table | None) -> dict[str, list[ReportedCost]]:
    """The providers' cost reports, by provider."""
    found: dict[str, list[ReportedCost]] = defaultdict(list)
    for row in _rows(content, COST_COLUMNS) if content is not None else ():
        day, provider, account, key_id, workspace_id, model, cost_type, token_type, tier, amount, *others = row
        line_item, window, geo, speed, list_amount = others
        found[provider].append(
            ReportedCost(
                day=day,
                provider=provider,
                account=account,
                key_id=key_id,
                workspace_id=workspace_id,
                model=model,
                cost_type=cost_type,
                token_type=token_type,
                tier=tier,
                amount=amount,
                line_item=line_item,
                context_window=window,
                geo=geo,
                speed=speed,
                list_amount=list_amount,
            )
        )
    return found


def over_midnight_of(content: pa.Table | None) -> dict[str, dict[dt.date, Decimal]]:
    """Logged spend of calls that began on a day and ended after it, by provider and day."""
    found: dict[str, dict[dt.date, Decimal]] = defaultdict(dict)
    for row in content.to_pylist() if content is not None else ():
        found[row["provider"]][row["usage_date"]] = row["logged_spend_usd"]
    return found


def registry_of(keys: pa.Table, workspaces: pa.Table | None, policy: Policy) -> KeyRegistry:
    """The provider keys of the directory, and by which word a provider's usage is told apart (Rule 4.2)."""
    registered = [
        RegisteredKey(
            provider=row["provider"],
            account=row["account"],
            key_id=row["provider_key_id"],
            role=KeyRole(row["role"]),
            valid=Interval(row["valid_from"], row["valid_to"]),
            workspace=row["workspace"] or None,
            owner_cost_center=row["owner_cost_center"] or None,
        )
        for row in keys.to_pylist()
    ]
    names: list[dict[str, Any]] = workspaces.to_pylist() if workspaces is not None else []
    return KeyRegistry(
        keys=registered,
        decides={
            provider: KeyDecides(policy.of_provider(provider).unproxied.provider_key_decides)
            for provider in {key.provider for key in registered}
        },
        workspace_ids={
            (row["provider"], row["workspace_name"]): row["workspace_id"] for row in names if row["workspace_name"]
        },
    )


def _rows(content: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows as tuples of the columns: a dictionary for each row of a month costs as much as half of its match."""
    return zip(*(_values(content, name) for name in columns), strict=True)


def _values(content: pa.Table, name: str) -> list[Any]:
    """A column's values. Days and words are few: each is made once, and all its rows share it with its hash."""
    column = content[name]
    if not (pa.types.is_date(column.type) or pa.types.is_string(column.type)):
        return list(column.to_pylist())
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    return [None if at is None else values[at] for at in coded.indices.to_pylist()]
