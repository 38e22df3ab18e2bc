"""What is kept of the clouds' bills: the declared Parquet schemas of charges and of their control totals.

Belongs here: names and types of `raw/cloud_charges` and `raw/cloud_bill_controls`, and the way between a charge and its
row. Does not belong here: reading bills (`resources.cloud_bill_files`) and what a charge means (`domain.cloud_charge`).

Tags are not kept: they are free text, and may be personal (Rule 12.8).
"""

from collections.abc import Iterable
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from resources.lake import LakeTable
from tokengov_pipelines.domain.cloud_charge import Charge
from tokengov_pipelines.domain.money import quantize_internal

_TEXT: Final[pa.DataType] = pa.string()
_DAY: Final[pa.DataType] = pa.date32()
_EXACT: Final[pa.DataType] = pa.decimal128(38, 12)

_DECIMALS: Final = ("quantity", "billed_amount", "list_amount", "contracted_amount", "effective_amount")
_TYPES: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(_DECIMALS, _EXACT),
    **dict.fromkeys(("billing_period_start_date", "billing_period_end_date", "usage_date"), _DAY),
    "tokens": pa.int64(),
    "record_no": pa.int64(),
    "has_principal_column": pa.bool_(),
}

_COLUMNS: Final[dict[str, pa.DataType]] = {field.name: _TYPES.get(field.name, _TEXT) for field in fields(Charge)}

CHARGES: Final = LakeTable(
    name="cloud_charges",
    schema=pa.schema(_COLUMNS),
    # dollars alone: amounts of two currencies are never added (Rule 1.6)
    sums={
        "billed_usd": "sum(billed_amount) filter (where currency = 'USD')",
        "tokens": "sum(tokens)::decimal(38, 0)",
    },
    may_vanish=False,
)
"""One row a charge; amounts in the row's currency, exact to 12 decimals. Partition `source=<source>,period=YYYY-MM`."""

CONTROLS: Final = LakeTable(
    name="cloud_bill_controls",
    schema=pa.schema(
        [
            ("source", _TEXT),
            ("source_file", _TEXT),
            ("content_sha256", _TEXT),
            ("export_version", _TEXT),
            ("billing_period", _TEXT),
            ("currency", _TEXT),
            ("bucket", _TEXT),
            ("reason", _TEXT),
            ("rows", pa.int64()),
            # text, because a bill's digits are its own: 18 decimals and more occur
            ("amount_text", _TEXT),
        ]
    ),
)
"""What each file held, by period, currency and bucket. Partition `source=<source>`."""


def charges_partition(source: str, period: str) -> str:
    """The lake's partition of a source's billing period."""
    return f"source={source},period={period}"


def to_batch(charges: Iterable[Charge]) -> pa.RecordBatch:
    """Charges as rows of `cloud_charges`, amounts rounded to 12 decimals once (Rule 1.2)."""
    return pa.RecordBatch.from_pylist([_row(charge) for charge in charges], schema=CHARGES.schema)


def from_rows(rows: Iterable[dict[str, Any]]) -> list[Charge]:
    """Rows of `cloud_charges` as charges."""
    return [Charge(**row) for row in rows]


def _row(charge: Charge) -> dict[str, Any]:
    row = asdict(charge)
    return row | {name: _rounded(row[name]) for name in _DECIMALS}


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else quantize_internal(value)
