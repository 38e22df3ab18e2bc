"""A call that reaches the log when its month is closed: one more row, on demand.

Belongs here: making and inserting that row as the proxy would, daily sums included. Does not belong here: the late row
that every demo has from the start (`calls`, `incidents.LATE_DAY`).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import numpy as np

from tokengov_pipelines.demo.calls import IN_METADATA, SUCCESS, DayCalls
from tokengov_pipelines.demo.daily_sums import DailySums
from tokengov_pipelines.demo.draws import IntArray
from tokengov_pipelines.demo.litellm_database import connect, copy_spend_logs
from tokengov_pipelines.demo.metering import money_of
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.prices import MODEL_INDEX, MODELS, exact_usd
from tokengov_pipelines.demo.profiles import REFACTOR
from tokengov_pipelines.demo.spend_logs import rows_of

_TOKENS: Final = (60_000, 210_000, 15_000, 0, 24_000)
_DURATION_MS: Final = 184_000


@dataclass(frozen=True)
class LateCall:
    """The row that was inserted: where it belongs and what it logged."""

    request_id: str
    started_at: datetime
    provider: str
    cost_center: str
    spend: Decimal


def insert_late_call(
    postgres_url: str,
    *,
    started_at: datetime,
    arrived_at: datetime,
    key_alias: str = "camille-norwood-laptop",
    model: str = "claude-opus-4-8",
) -> LateCall:
    """Insert one successful call of `started_at` (aware UTC, any day of the log) that arrives at `arrived_at`.

    The same arguments give the same row; a second time nothing is inserted. No invoice is changed: the meter had
    counted the call, or the provider will bill it later.
    """
    organisation = build_organisation()
    key_at, model_at = organisation.key_index(key_alias), MODEL_INDEX[model]
    digits = hashlib.sha256(f"late:{key_alias}:{model}:{started_at.isoformat()}".encode()).hexdigest()
    start_ms = int(started_at.timestamp() * 1000)
    tokens = np.array([_TOKENS], dtype=np.int64)
    no, yes = np.array([False]), np.array([True])
    calls = DayCalls(
        day=started_at.date(),
        key=_one(key_at),
        model=_one(model_at),
        use_case=_one(REFACTOR),
        tagging=_one(IN_METADATA),
        kind=_one(SUCCESS),
        tier=_one(0),
        stream=no,
        start_ms=_one(start_ms),
        first_ms=_one(start_ms + _DURATION_MS),
        end_ms=_one(start_ms + _DURATION_MS),
        created_ms=_one(int(arrived_at.timestamp() * 1000)),
        logged=tokens,
        metered=tokens,
        reasoning=_one(0),
        web_searches=_one(0),
        in_log=yes,
        unpriced=no,
        stale=no,
        fallback_from=_one(-1),
        request_hex=[digits[:32]],
        call_hex=[digits[32:]],
        session_hex=[digits[16:48]],
        bypass_model=np.zeros(0, dtype=np.int64),
        bypass_metered=np.zeros((0, len(_TOKENS)), dtype=np.int64),
    )
    rows = rows_of(organisation, calls, money_of(calls))
    connection = connect(postgres_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute('select 1 from public."LiteLLM_SpendLogs" where request_id = %s', (rows.request_id[0],))
            if cursor.fetchone() is None:
                copy_spend_logs(connection, [rows])
                daily = DailySums()
                daily.add(rows)
                daily.upsert(connection)
    finally:
        connection.close()
    return LateCall(
        request_id=rows.request_id[0],
        started_at=started_at,
        provider=MODELS[model_at].provider,
        cost_center=organisation.owner_on(organisation.keys[key_at], calls.day)[0],
        spend=exact_usd(int(rows.money.logged_pico[0])),
    )


def _one(value: int) -> IntArray:
    return np.array([value], dtype=np.int64)
