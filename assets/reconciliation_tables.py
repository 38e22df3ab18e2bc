"""The rules' reconciliation tables: their Arrow schemas and their rows.

Belongs here: columns and types of `fct_reconciliation_*`, and the rows of the daily ones. Does not belong here: the
match (`domain.reconcile`), the rows that the pack shares (`pack.reconciliation_rows`), the assets
(`assets.reconciliation`).
"""

import datetime as dt
from typing import Any, Final

import pyarrow as pa

from tokengov_pipelines.domain.bypass import UnproxiedKey
from tokengov_pipelines.domain.match_result import STATES, CellMatch, Component
from tokengov_pipelines.domain.money import exact_sum, quantize_internal
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import AUDIO_TOKEN_TYPES, TOKEN_TYPES
from tokengov_pipelines.domain.waterfall import UsageMatch

USD: Final[pa.DataType] = pa.decimal128(38, 12)
PRICE: Final[pa.DataType] = pa.decimal128(18, 12)


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns))


CELLS_DAILY: Final = _schema(
    ("usage_date", pa.date32()),
    ("provider", pa.string()),
    ("model", pa.string()),
    ("token_type", pa.string()),
    ("service_tier", pa.string()),
    ("context_over_tokens", pa.int64()),
    ("inference_geo", pa.string()),
    ("speed", pa.string()),
    ("proxy_tokens", pa.int64()),
    ("own_tokens", pa.int64()),
    ("other_tokens", pa.int64()),
    ("usd_per_token", PRICE),
    ("standard_usd_per_token", PRICE),
    ("price_status", pa.string()),
    ("is_band_inferred", pa.bool_()),
    ("proxy_list_usd", USD),
    ("quantity_usd", USD),
    ("tier_discount_usd", USD),
    ("unproxied_usd", USD),
)

DAILY: Final = _schema(
    ("usage_date", pa.date32()),
    ("provider", pa.string()),
    ("mode", pa.string()),
    ("state_no", pa.int64()),
    ("state", pa.string()),
    ("component", pa.string()),
    ("amount_usd", USD),
    ("state_usd", USD),
    ("proxy_tokens", pa.int64()),
    ("own_tokens", pa.int64()),
    ("other_tokens", pa.int64()),
    ("error_items", pa.int64()),
)

MONTHLY: Final = _schema(
    ("billing_month", pa.string()),
    ("provider", pa.string()),
    ("account", pa.string()),
    ("invoice_id", pa.string()),
    ("period_start", pa.date32()),
    ("period_end", pa.date32()),  # exclusive
    ("mode", pa.string()),
    ("state_no", pa.int64()),
    ("state", pa.string()),
    ("component", pa.string()),
    ("amount_exact", USD),
    ("amount", pa.decimal128(18, 2)),
    ("currency", pa.string()),
    ("pct_of_invoice", pa.decimal128(18, 4)),
    ("status", pa.string()),
    ("tolerance", USD),
    ("evidence", pa.string()),
    ("items_open", pa.int64()),
)

ITEMS: Final = _schema(
    ("item_id", pa.string()),
    ("billing_month", pa.string()),
    ("provider", pa.string()),
    ("account", pa.string()),
    ("invoice_id", pa.string()),
    ("period_start", pa.date32()),
    ("period_end", pa.date32()),  # exclusive
    ("component", pa.string()),
    ("cell", pa.string()),
    ("what", pa.string()),
    ("opened_on", pa.date32()),
    ("amount", USD),
    ("currency", pa.string()),
    ("owner", pa.string()),
    ("starts_as", pa.string()),
    ("status", pa.string()),
    ("evidence_link", pa.string()),
    ("expected_clear_by", pa.date32()),
    ("resolved_amount", USD),
)

UNPROXIED: Final = _schema(
    ("billing_month", pa.string()),
    ("provider", pa.string()),
    ("account", pa.string()),
    ("workspace_id", pa.string()),
    ("workspace_name", pa.string()),
    ("provider_key_id", pa.string()),
    ("key_name", pa.string()),
    ("key_label", pa.string()),
    ("created_by", pa.string()),
    ("created_at", pa.timestamp("us")),
    ("first_seen", pa.date32()),
    ("last_seen", pa.date32()),
    ("days_active", pa.int64()),
    ("models", pa.string()),
    *((f"{token_type}_tokens", pa.int64()) for token_type in (*TOKEN_TYPES, *AUDIO_TOKEN_TYPES)),
    ("unpriced_tokens", pa.int64()),
    ("list_usd", USD),
    ("actual_usd", USD),
    ("cost_usd", USD),
    ("cost_last_30d_usd", USD),
    ("largest_day_usd", USD),
    ("evidence_level", pa.string()),
    ("suggested_owner", pa.string()),
    ("owner_basis", pa.string()),
    ("action", pa.string()),
    ("due_date", pa.date32()),
    ("status", pa.string()),
)

_DAILY_STATES: Final = STATES[1 : STATES.index("W7") + 1]


def one_day(day: dt.date) -> InvoicePeriod:
    """A day as a period."""
    return InvoicePeriod(day, day + dt.timedelta(days=1))


def daily_rows(day: dt.date, provider: str, match: UsageMatch) -> list[dict[str, Any]]:
    """One row a state from W1 (`component` 'logged') to W7, for one provider and day."""
    rows = []
    previous = None
    for state in _DAILY_STATES:
        value = match.states[state]
        component = "logged" if previous is None else str(list(Component)[STATES.index(state) - 1])
        rows.append(
            {
                "usage_date": day,
                "provider": provider,
                "mode": str(match.mode),
                "state_no": STATES.index(state),
                "state": state,
                "component": component,
                "amount_usd": value if previous is None else quantize_internal(exact_sum([value, -previous])),
                "state_usd": value,
                "proxy_tokens": match.evidence.proxy_tokens,
                "own_tokens": match.evidence.own_tokens,
                "other_tokens": match.evidence.other_tokens,
                "error_items": len(match.errors),
            }
        )
        previous = value
    return rows


def cell_row(cell: CellMatch) -> dict[str, Any]:
    """One row of the cell table."""
    return {
        "usage_date": cell.day,
        "provider": cell.provider,
        "model": cell.model,
        "token_type": cell.token_type,
        "service_tier": cell.tier,
        "context_over_tokens": cell.over_tokens,
        "inference_geo": cell.geo,
        "speed": cell.speed,
        "proxy_tokens": cell.proxy_tokens,
        "own_tokens": cell.own_tokens,
        "other_tokens": cell.other_tokens,
        "usd_per_token": cell.usd_per_token,
        "standard_usd_per_token": cell.standard_usd_per_token,
        "price_status": str(cell.price_status),
        "is_band_inferred": cell.band_inferred,
        "proxy_list_usd": quantize_internal(cell.proxy_amount),
        "quantity_usd": quantize_internal(cell.quantity_amount),
        "tier_discount_usd": quantize_internal(cell.tier_amount),
        "unproxied_usd": quantize_internal(cell.unproxied_amount),
    }


def unproxied_row(month: BillingMonth, key: UnproxiedKey) -> dict[str, Any]:
    """One row of the table of keys (Rule 5.5)."""
    return {
        "billing_month": str(month),
        "provider": key.provider,
        "account": key.account,
        "workspace_id": key.workspace_id,
        "workspace_name": key.workspace_name,
        "provider_key_id": key.key_id,
        "key_name": key.key_name,
        "key_label": key.key_label,
        "created_by": key.created_by,
        "created_at": key.created_at,
        "first_seen": key.first_seen,
        "last_seen": key.last_seen,
        "days_active": key.days_active,
        "models": ", ".join(key.models),
        **{f"{token_type}_tokens": key.tokens.get(token_type, 0) for token_type in (*TOKEN_TYPES, *AUDIO_TOKEN_TYPES)},
        "unpriced_tokens": key.unpriced_tokens,
        "list_usd": key.list_usd,
        "actual_usd": key.actual_usd,
        "cost_usd": key.cost_usd,
        "cost_last_30d_usd": key.cost_last_30d_usd,
        "largest_day_usd": key.largest_day_usd,
        "evidence_level": str(key.evidence),
        "suggested_owner": key.suggested_owner,
        "owner_basis": str(key.owner_basis),
        "action": str(key.action),
        "due_date": key.due_date,
        "status": str(key.status),
    }
