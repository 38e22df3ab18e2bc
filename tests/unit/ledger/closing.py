"""A close as the pack records one, with defaults: what the tests of the ledger change one value of."""

from decimal import Decimal

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.period import BillingMonth

AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
SHA, MANIFEST = "ab" * 32, "cd" * 32


def prior(original="2026-08", cost_center="CC-100", amount="4.11", invoice="INV-19"):
    """A posting that corrects an earlier month."""
    return Posting("anthropic", invoice, cost_center, "prior_period", Decimal(amount), "USD", original)


def close(ledger, month=AUGUST, **changes):
    """Close a month in a block of its own."""
    values = {
        "version": 1,
        "content_sha256": SHA,
        "pack_path": f"packs/{month}/v1",
        "totals": {},
        "lines": [Posting("anthropic", "INV-19", "CC-100", "direct", Decimal("108.23"), "USD")],
        "preparer": "Ada",
        "approver": "Grace",
    }
    with ledger.closed_book(month, "pack", "Ada", "run-1") as page:
        page.record_close(**values | changes)
