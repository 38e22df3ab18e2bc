"""One run that writes a pack, as a program of its own, so that tests can kill it at a step or start several at once.

    python closing_run.py LEDGER_URL HOME draft|close CENTRAL DIE_AT

`CENTRAL` is the amount at the central cost center, so that two runs can differ. `DIE_AT` names the step at which the
program kills itself, as `kill -9` would; '-' lets it live. It prints what the run came to.
"""

import datetime as dt
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import (
    ChargebackPolicy,
    CostCenter,
    InvoiceHeader,
    LoggedSpend,
    charge_month,
)
from tokengov_pipelines.domain.close import CloseFacts, invoice_facts
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.content import PackContent, assemble_pack
from tokengov_pipelines.pack.control_totals import SourceTotals
from tokengov_pipelines.pack.seal import SealResult, seal_close, write_draft

MONTH = BillingMonth(2026, 8)
CENTERS = {code: CostCenter(code, code.title(), "ACME-US") for code in ("CC-100", "CC-200", "CC-900", "CC-990")}
POLICY = ChargebackPolicy("CC-900", "CC-990", "showback", "USD", "0" * 64)


def clock() -> dt.datetime:
    """The same instant always: what a run writes may not depend on when it ran."""
    return dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)


def gathered(version: int, central: str) -> tuple[PackContent, CloseFacts]:
    """A clean month's pack and the facts it closes on: 100.00 logged, and `central` more on the invoice."""
    period = InvoicePeriod(MONTH.first_day, MONTH.next().first_day)
    invoice = InvoiceHeader("anthropic", "INV-08", Decimal(100) + Decimal(central), "USD", period)
    spend = [
        LoggedSpend("anthropic", "CC-100", Rung.TEAM_METADATA, Decimal("66.666666666667"), 1200),
        LoggedSpend("anthropic", "CC-200", Rung.DIRECTORY_TEAM, Decimal("33.333333333333"), 340),
    ]
    lines, problems = charge_month(MONTH, [invoice], spend, CENTERS, POLICY, version)
    source = SourceTotals("raw/litellm_spend_logs", 9, Decimal(100), "USD", MONTH.first_day, MONTH.last_day)
    content = assemble_pack(MONTH, version, lines=lines, problems=problems, invoices=[invoice], sources=[source])
    found = reconciled("anthropic", "INV-08", MONTH, "100", unexplained=central)
    facts = CloseFacts(
        month=MONTH,
        missing_days={},
        logged={"anthropic": Decimal(100)},
        invoices=[invoice_facts(invoice, lines, "CC-900", found)],
        quarantined_calls=0,
        quarantined_spend=Decimal(0),
        max_suspense_pct=Decimal("2.0"),
        preparer="Ada",
        approver="Grace",
    )
    return content, facts


def run(url: str, home: Path, deed: str, central: str, die_at: str = "-") -> SealResult:
    """Write the draft, or close."""

    def on_step(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger = Ledger(url, clock, lock_seconds=20)
    ledger.upgrade()
    if deed == "draft":
        content, _ = gathered(0, central)
        return write_draft(ledger, home, content, actor="service", run_id=f"run-{central}", on_step=on_step)
    content, facts = gathered(1, central)
    return seal_close(ledger, home, content, facts, run_id=f"run-{central}", on_step=on_step)


if __name__ == "__main__":
    came_to = run(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    sys.stdout.write(f"{came_to.written} {came_to.content_sha256} {came_to.reason}\n")
