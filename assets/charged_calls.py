"""The largest calls that a cost center was charged for: the end of the way from a charge to its evidence (Rule 11.9).

Belongs here: finding them in the lake's log by the answer that the usage table gave for their key, team and person.
Does not belong here: who pays for a call (the dbt models), the tree that shows them (`closing.explanation`).

No user, key or prompt leaves this module: a call is its request id, its moment, model, tokens and spend.
"""

import datetime as dt
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.domain.money import MoneyError, quantize_internal, usd
from tokengov_pipelines.domain.period import InvoicePeriod

_LOG: Final = "litellm_spend_logs"
_USAGE: Final = "fct_usage_daily"
_QUARANTINED: Final = "fct_quarantined_calls"
_OF_CALL: Final = (
    "request_id",
    "started_at",
    "model",
    "total_tokens",
    "spend_text",
    "key_hash",
    "team_id",
    "key_team_id",
    "user_id",
)


@dataclass(frozen=True)
class ChargedCall:
    """One call of the proxy's log; `started_at` is UTC, `spend` the exact USD that the proxy logged."""

    request_id: str
    started_at: dt.datetime
    model: str
    tokens: int
    spend: Decimal


def largest_calls(
    lake: Lake, tables: Tables, *, provider: str, cost_center: str, days: InvoicePeriod, count: int
) -> list[ChargedCall]:
    """The `count` most expensive calls of a cost center on the days, as the lake holds them now.

    A call whose key, team and person were charged to several cost centers that day is not among them.
    """
    found: list[ChargedCall] = []
    seen: set[str] = set()
    for day in days.days():
        for call in _of_day(lake, tables, provider, cost_center, day):
            if call.request_id not in seen:
                seen.add(call.request_id)
                found.append(call)
        found = heapq.nsmallest(count, found, key=lambda call: (-call.spend, call.request_id))
    return found


def _of_day(lake: Lake, tables: Tables, provider: str, cost_center: str, day: dt.date) -> Iterator[ChargedCall]:
    partition = f"usage_date={day}"
    record = lake.current(_LOG, f"day={day}")
    if record is None or not tables.path(_USAGE, partition).exists():
        return
    columns = ["provider", "model", "key_hash", "team_id", "user_id", "cost_center"]
    usage: list[dict[str, Any]] = tables.read(_USAGE, [partition]).select(columns).to_pylist()
    owners = _owners(usage)
    keys = {row["key_hash"] for row in usage if (row["provider"], row["cost_center"]) == (provider, cost_center)}
    quarantined = _quarantined(tables, partition)
    log = pq.read_table(lake.local_path(record), columns=list(_OF_CALL), partitioning=None)
    mine = log.filter(pc.is_in(log["key_hash"], value_set=pa.array(sorted(keys, key=str), pa.string())))
    for row in mine.to_pylist():
        if row["request_id"] in quarantined or _owner(owners, row) != (provider, cost_center):
            continue
        try:
            spend = quantize_internal(usd(row["spend_text"]))
        except MoneyError:
            continue  # a call without an amount was charged to nobody
        yield ChargedCall(row["request_id"], row["started_at"], row["model"], row["total_tokens"] or 0, spend)


_Owners = Mapping[tuple[Any, ...], set[tuple[str, str]]]


def _owners(usage: Iterable[Mapping[str, Any]]) -> _Owners:
    """Provider and cost center by key and model, and by team and person with them."""
    found: dict[tuple[Any, ...], set[tuple[str, str]]] = defaultdict(set)
    for row in usage:
        owner = (row["provider"], row["cost_center"])
        found[row["key_hash"], row["model"]].add(owner)
        found[row["key_hash"], row["model"], row["team_id"], row["user_id"]].add(owner)
    return found


def _owner(owners: _Owners, row: Mapping[str, Any]) -> tuple[str, str] | None:
    by_key = owners.get((row["key_hash"], row["model"]), set())
    team = row["team_id"] or row["key_team_id"]
    by_person = owners.get((row["key_hash"], row["model"], team, row["user_id"]), set())
    for each in (by_key, by_person):
        if len(each) == 1:
            return next(iter(each))
    return None


def _quarantined(tables: Tables, partition: str) -> set[str]:
    if not tables.path(_QUARANTINED, partition).exists():
        return set()
    return {row["request_id"] for row in tables.rows(_QUARANTINED, [partition])}
