"""unproxied.csv: use of provider keys that are not the proxy's, one row a key, the dearest first (rule 5.5).

Belongs here: its columns and key, and that a row names its key by four characters. Does not belong here: which keys
there are (`domain.bypass`) and how cells are written (`writer`). No e-mail and no secret is in it (rules 12.7, 12.8).
"""

import datetime as dt
import re
from collections.abc import Iterable
from typing import Final

from tokengov_pipelines.domain.bypass import UnproxiedKey, without_email
from tokengov_pipelines.domain.pricing import TOKEN_TYPES
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

UNPROXIED_CSV = "unproxied.csv"

PRIMARY_KEY = ("rank",)

COLUMNS = (
    Column("rank", Kind.INTEGER),
    Column("provider"),
    Column("account"),
    Column("workspace"),
    Column("api_key"),
    Column("key_name"),
    Column("created_by"),
    Column("created_at", Kind.DATE),
    Column("first_seen", Kind.DATE),
    Column("last_seen", Kind.DATE),
    Column("days_active", Kind.INTEGER),
    Column("models"),
    *(Column(f"{token_type}_tokens", Kind.INTEGER) for token_type in TOKEN_TYPES),
    Column("unpriced_tokens", Kind.INTEGER),
    Column("list_usd", Kind.DECIMAL, 12),
    Column("actual_usd", Kind.DECIMAL, 12),
    Column("cost_usd", Kind.DECIMAL, 12),
    Column("cost_last_30d_usd", Kind.DECIMAL, 12),
    Column("evidence_level"),
    Column("suggested_owner"),
    Column("owner_basis"),
    Column("action"),
    Column("due_date", Kind.DATE),
    Column("status"),
)
"""The columns of rule 5.5; `rank` keeps the order, `list_usd` is what ties with the component unproxied."""

_SECRET: Final = re.compile(r"\b(sk|gh[pousr])[-_][A-Za-z0-9_-]{8,}")


def unproxied_csv(keys: Iterable[UnproxiedKey]) -> bytes:
    """The file's bytes, sorted by cost; without keys it is the header alone."""
    ordered = sorted(keys, key=lambda key: (-key.cost_usd, -key.list_usd, key.provider, key.account, _ids(key)))
    return csv_bytes(COLUMNS, [_cells(rank, key) for rank, key in enumerate(ordered, 1)], PRIMARY_KEY)


def _ids(key: UnproxiedKey) -> tuple[str, str]:
    return key.workspace_id or "", key.key_id or ""


def _cells(rank: int, key: UnproxiedKey) -> list[object]:
    return [
        rank,
        key.provider,
        key.account,
        _clean(key.workspace_name or key.workspace_id),
        _last_four(key),
        _clean(key.key_name),
        _clean(key.created_by),
        None if key.created_at is None else _utc_day(key.created_at),
        key.first_seen,
        key.last_seen,
        key.days_active,
        " ".join(key.models),
        *(key.tokens.get(token_type, 0) for token_type in TOKEN_TYPES),
        key.unpriced_tokens,
        key.list_usd,
        key.actual_usd,
        key.cost_usd,
        key.cost_last_30d_usd,
        str(key.evidence),
        _clean(key.suggested_owner),
        str(key.owner_basis),
        str(key.action),
        key.due_date,
        str(key.status),
    ]


def _last_four(key: UnproxiedKey) -> str:
    """'...er-1' of the key's name, else of its id; 'no key' for console use."""
    if key.key_id is None:
        return "no key"
    is_shown = bool(key.key_name) and _clean(key.key_name) == key.key_name
    return f"...{(key.key_name if is_shown and key.key_name else key.key_id)[-4:]}"


def _clean(text: str | None) -> str | None:
    """A name without e-mails, and without what looks like a secret that somebody used as a name."""
    shown = without_email(text)
    return None if shown is None else _SECRET.sub("(secret)", shown)


def _utc_day(moment: dt.datetime) -> dt.date:
    return (moment if moment.tzinfo is None else moment.astimezone(dt.UTC)).date()
