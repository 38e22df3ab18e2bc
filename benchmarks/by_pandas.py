"""A month's sums by identity in pandas, as a second yardstick: what grows with the number of calls, and no more.

Belongs here: dedup, quarantine and sums in pandas. Does not belong here: the ladder, which works on some thousand
identities and costs nothing; leaving it out is in favour of pandas. Amounts are floats here, which the product's never
are; that, too, is in favour of pandas.
"""

from collections.abc import Sequence

import pandas as pd
import pyarrow.parquet as pq

_COUNTERS = (
    "total_tokens", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_read_input_tokens",
    "cache_creation_input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "reasoning_tokens",
)  # fmt: skip
_IDENTITY = ["day", "team_id", "key_hash", "user_id", "custom_llm_provider"]
_TIMES = ["started_at", "ended_at", "created_at", "updated_at"]


def identity_sums(files: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Spend (USD) and tokens of the accepted calls by day, team, key, user and provider; and the rows read."""
    columns = ["request_id", "spend_text", *_TIMES, *_COUNTERS, *_IDENTITY[1:]]
    calls = pd.concat([pq.read_table(path, columns=columns, partitioning=None).to_pandas() for path in files])
    rows = len(calls)
    calls["day"] = calls["started_at"].dt.date
    calls["spend"] = pd.to_numeric(calls["spend_text"], errors="coerce")
    for counter in _COUNTERS:
        calls[counter] = pd.to_numeric(calls[counter], errors="coerce").fillna(0)
    calls["stamped_at"] = calls["updated_at"].fillna(calls["created_at"])
    sound = calls[_is_sound(calls)].sort_values("stamped_at", ascending=False)
    accepted = sound.drop_duplicates(["day", "request_id"])
    accepted = accepted.assign(tokens=accepted["prompt_tokens"] + accepted["completion_tokens"])
    return accepted.groupby(_IDENTITY, dropna=False)[["spend", "tokens"]].sum(), rows


def _is_sound(calls: pd.DataFrame) -> "pd.Series[bool]":
    has_id = calls["request_id"].fillna("").str.strip() != ""
    is_timed = calls["started_at"].notna() & calls["ended_at"].notna()
    early = calls["started_at"] > calls["created_at"] + pd.Timedelta(hours=1)
    backwards = calls["ended_at"] < calls["started_at"] - pd.Timedelta(seconds=5)
    counted = (calls[list(_COUNTERS)] >= 0).all(axis=1)
    return has_id & is_timed & (calls["spend"] >= 0) & counted & ~early & ~backwards
