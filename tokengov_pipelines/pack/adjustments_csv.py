"""adjustments.csv: what a month posts for earlier ones, and what was too small to post (Rules 2.5, 11.4).

Belongs here: its columns and key. Does not belong here: how a correction is found (`closing.restate`,
`domain.restatement`). Who approved the posting is whoever signed the pack: signoff.csv names them.
"""

from collections.abc import Iterable

from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes

ADJUSTMENTS_CSV = "adjustments.csv"
APPROVED_BY = "the controller of this pack (signoff.csv)"

PRIMARY_KEY = ("original_period", "provider", "invoice_id", "cost_center", "currency", "reason", "ref", "is_posted")

COLUMNS = (
    Column("posting_period"),
    Column("original_period"),
    Column("provider"),
    Column("invoice_id"),
    Column("cost_center"),
    Column("amount", Kind.DECIMAL),
    Column("currency"),
    Column("reason"),
    Column("ref"),
    Column("is_posted"),
    Column("approved_by"),
)


def adjustments_csv(
    month: BillingMonth, posted: Iterable[PriorPeriodCharge], listed: Iterable[PriorPeriodCharge] = ()
) -> bytes:
    """The file's bytes: corrections that the month posts, and those below the smallest amount, which it only lists."""
    rows = [
        [
            str(month),
            str(each.original_month),
            each.provider,
            each.invoice_id,
            each.cost_center,
            each.amount,
            each.currency,
            each.reason,
            each.ref,
            "yes" if is_posted else "no",
            APPROVED_BY if is_posted else "",
        ]
        for corrections, is_posted in ((posted, True), (listed, False))
        for each in corrections
    ]
    return csv_bytes(COLUMNS, rows, PRIMARY_KEY)
