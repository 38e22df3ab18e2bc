"""Which partitions a month was made from, each with its hash: how a moved input of a closed month is noticed (11.8).

Belongs here: the list for the manifest. Does not belong here: what a partition holds (`resources.lake`,
`resources.tables`), what follows when one moved (`assets.restatements`).
"""

import hashlib
from collections.abc import Iterable

from resources.lake import Lake
from resources.readings import PROXY_LOG, REPORTS
from resources.tables import Tables
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.period import InvoicePeriod
from tokengov_pipelines.pack.manifest import LakePartition

_DERIVED = ("fct_usage_daily", "fct_provider_usage_daily", "fct_provider_cost_daily")


def lake_partitions(
    lake: Lake, tables: Tables, days: InvoicePeriod, invoices: Iterable[Invoice]
) -> list[LakePartition]:
    """The loads of every source and day, the invoices that bill any of them, and the tables built from both."""
    found = []
    for source in (PROXY_LOG, *(table for of in REPORTS.values() for table in of)):
        for day in days.days():
            record = lake.current(source, f"day={day}")
            if record is not None:
                found.append(LakePartition(f"raw/{source}", str(day), record.sha256))
    found += [
        LakePartition("raw/invoices", f"{each.provider}:{each.invoice_id}", each.content_sha256())
        for each in invoices
        if each.period.start < days.end and each.period.end > days.start
    ]
    for table in _DERIVED:
        for day in days.days():
            path = tables.path(table, f"usage_date={day}")
            if path.exists():
                found.append(LakePartition(f"marts/{table}", str(day), hashlib.sha256(path.read_bytes()).hexdigest()))
    return sorted(found, key=lambda each: (each.source, each.day))
