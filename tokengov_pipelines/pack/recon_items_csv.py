"""recon_items.csv: what is open, whose it is, how old it is (rule 4.8).

Belongs here: its columns and key. Does not belong here: which items there are (`domain.reconciling_items`), how people
settle them (`domain.resolutions`), how cells are written (`writer`). Who resolved an item stands in the ledger alone:
a pack holds no e-mail (rule 12.7).
"""

import datetime as dt
from collections.abc import Iterable

from tokengov_pipelines.domain.bypass import without_email
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

RECON_ITEMS_CSV = "recon_items.csv"

PRIMARY_KEY = ("provider", "account", "invoice_id", "item_id")

COLUMNS = (
    Column("item_id"),
    Column("billing_month"),
    Column("provider"),
    Column("account"),
    Column("invoice_id"),
    Column("period_start", Kind.DATE),
    Column("period_end", Kind.DATE),
    Column("component"),
    Column("cell"),
    Column("opened_on", Kind.DATE),
    Column("as_of", Kind.DATE),
    Column("age_days", Kind.INTEGER),
    Column("bucket"),
    Column("amount_exact", Kind.DECIMAL, 12),
    Column("resolved_exact", Kind.DECIMAL, 12),
    Column("open_exact", Kind.DECIMAL, 12),
    Column("currency"),
    Column("is_error"),
    Column("owner"),
    Column("status"),
    Column("expected_clear_by", Kind.DATE),
    Column("what"),
    Column("evidence_link"),
)


def recon_items_csv(items: Iterable[ReconcilingItem], as_of: dt.date) -> bytes:
    """The file's bytes, with ages counted to `as_of`; without items it is the header alone."""
    return csv_bytes(COLUMNS, [_cells(item, as_of) for item in items], PRIMARY_KEY)


def _cells(item: ReconcilingItem, as_of: dt.date) -> list[object]:
    return [
        item.item_id,
        str(item.billing_month),
        item.provider,
        item.account,
        item.invoice_id or "",
        item.period_start,
        item.period_end,
        item.component,
        without_email(item.cell),
        item.opened_on,
        as_of,
        item.age_days(as_of),
        item.bucket(as_of),
        item.amount,
        item.resolved_amount,
        item.open_amount,
        item.currency,
        "yes" if item.is_error else "no",
        without_email(item.owner_on(as_of)),
        str(item.status),
        item.expected_clear_by,
        without_email(item.what),
        without_email(item.evidence_link),
    ]
