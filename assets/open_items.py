"""The items of a month as they were computed last, read back from `fct_reconciling_items` (Rule 4.8).

Belongs here: finding items in the derived tables. Does not belong here: computing them (`assets.month_findings`), the
rules (`domain.reconciling_items`, `domain.open_item`, `domain.resolutions`).
"""

from typing import Final

from resources.tables import Tables
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.pack.reconciliation_rows import items_from_rows

ITEMS_TABLE: Final = "fct_reconciling_items"
_MONTHS_SEARCHED: Final = 3  # an invoice of a quarter begins in the first of its months


def read_items(tables: Tables, month: BillingMonth) -> list[ReconcilingItem]:
    """The items of a month, what it carried over too; none where it was never computed."""
    partition = f"billing_month={month}"
    if not tables.path(ITEMS_TABLE, partition).exists():
        return []
    return items_from_rows(tables.rows(ITEMS_TABLE, [partition]))


def find_item(tables: Tables, item_id: str) -> ReconcilingItem | None:
    """The item of an id, which begins with its month; None where there is none."""
    try:
        month = BillingMonth.parse(item_id[:7])
    except PeriodError:
        return None
    for _ in range(_MONTHS_SEARCHED):
        for item in read_items(tables, month):
            if item.item_id == item_id:
                return item
        month = month.next()
    return None
