"""One run that writes a pack, as a process of its own, so that tests can kill it at a step or start several at once.

    python closing_run.py LEDGER_URL HOME draft|close CENTRAL DIE_AT

`CENTRAL` is the amount at the central cost center, so that two runs can differ. `DIE_AT` names the step at which the
run kills itself, as `kill -9` would; '-' lets it live. It prints what it came to. Tests of this folder fork it instead
(`run_and_tell`): then a run starts at once.
"""

import datetime as dt
import os
import signal
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path

from tests.charges import CENTERS, POLICY, SUSPENSE, basis, billed, header
from tests.reconciliations import reconciled
from tests.unit.pack.focus_month import CATEGORIES, document
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_detail import LineKey, UsedBy, detail_lines
from tokengov_pipelines.domain.chargeback import BilledMonth, ChargebackLine, PriorPeriodCharge, charge_month
from tokengov_pipelines.domain.close_facts import CloseFacts, invoice_facts
from tokengov_pipelines.domain.journal import RecoverableTax, journal_entries
from tokengov_pipelines.domain.journal_accounts import JournalPolicy
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.content import PackContent, PackParts, SuspenseList, assemble_pack
from tokengov_pipelines.pack.control_totals import SourceTotals
from tokengov_pipelines.pack.focus_inputs import FocusInputs
from tokengov_pipelines.pack.journal_formats import shipped_maps
from tokengov_pipelines.pack.manifest import LakePartition
from tokengov_pipelines.pack.seal import SealedBy, SealResult, seal_close, write_draft
from tokengov_pipelines.pack.suspense_csv import SuspensePolicy

AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
INVOICES = {AUGUST: "INV-08", SEPTEMBER: "INV-09"}
USED = {
    "CC-100": [
        UsedBy("t-1", "opus", "refactor", Rung.TEAM_METADATA, Decimal("50"), Decimal("50"), 900),
        UsedBy("t-2", "haiku", "", Rung.TEAM_METADATA, Decimal("16.666666666667"), Decimal("16.666666666667"), 300),
    ],
    "CC-200": [
        UsedBy(None, "opus", "", Rung.DIRECTORY_TEAM, Decimal("33.333333333333"), Decimal("33.333333333333"), 340)
    ],
}


def clock() -> dt.datetime:
    """The same instant always: what a run writes may not depend on when it ran."""
    return dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)


def parts_of(
    month: BillingMonth,
    lines: Sequence[ChargebackLine],
    invoices: Sequence[BilledMonth],
    used: dict[LineKey, Sequence[UsedBy]] | None = None,
    **more: object,
) -> PackParts:
    """Charge lines with every file that follows from them: detail, journal with its formats, suspense and FOCUS."""
    detail = detail_lines(lines, used or {}, {"t-1": "Payments"})
    taxes = [
        RecoverableTax(month, each.header.provider, each.header.invoice_id, lines[0].version, tax)
        for each in invoices
        if (tax := each.header.recoverable_tax)
    ]
    journal, problems = journal_entries(lines, JournalPolicy("USD", "ACME-US"), taxes)
    assert problems == ()
    values = {
        "lines": lines,
        "problems": [],
        "invoices": [each.header for each in invoices],
        "sources": [
            SourceTotals("raw/litellm_spend_logs", 9, Decimal(100), "USD", month.first_day, month.last_day),
        ],
        "detail": detail,
        "journal": journal,
        "journal_maps": shipped_maps(["netsuite"]),
        "suspense": SuspenseList(SuspensePolicy(SUSPENSE, "platform")),
        "focus": FocusInputs(
            month,
            detail,
            tuple(_document(each) for each in invoices),
            CATEGORIES,
            recoverable_tax={
                (each.header.provider, each.header.invoice_id): tax
                for each in invoices
                if (tax := each.header.recoverable_tax)
            },
        ),
        "billed": {(each.header.provider, each.header.invoice_id): each.billed for each in invoices},
        "recoverable_tax": {each.provider: each.amount for each in taxes},
    }
    return PackParts(**(values | more))


def _document(of: BilledMonth) -> object:
    head = of.header
    period = {"period_start": head.period.start, "period_last_day": head.period.last_day}
    return document(head.invoice_id, head.provider, total=head.total, currency=head.currency, **period)


@cache
def gathered(
    version: int,
    central: str = "0.00",
    month: BillingMonth = AUGUST,
    corrections: tuple[PriorPeriodCharge, ...] = (),
    disputes: tuple[str, ...] = (),
) -> tuple[PackContent, CloseFacts]:
    """A clean month's pack and the facts it closes on: 100.00 logged, and `central` more on the invoice."""
    invoice_id = INVOICES[month]
    by = basis({"CC-100": "66.666666666667", "CC-200": "33.333333333333"})
    of = header(Decimal(100) + Decimal(central), month, invoice_id=invoice_id)
    invoice = billed(of, by, tokens={"CC-100": 1200, "CC-200": 340}, central=central)
    lines = charge_month(month, [invoice], CENTERS, POLICY, version, corrections)
    found = reconciled("anthropic", invoice_id, month, "100", unexplained=central)
    parts = parts_of(
        month,
        lines,
        [invoice],
        {("anthropic", invoice_id, code): rows for code, rows in USED.items()},
        corrections=corrections,
        reconciliations=[found],
        items=[],
        unproxied=[],
        inputs={"inputs/policy.yaml": b"money: {}\n"},
        disputes=disputes,
    )
    facts = CloseFacts(
        month=month,
        missing_days={},
        logged={"anthropic": Decimal(100)},
        invoices=[invoice_facts(invoice, lines, SUSPENSE, found)],
        quarantined_calls=0,
        quarantined_spend=Decimal(0),
        max_suspense_pct=Decimal("2.0"),
        preparer="Ada",
        approver="Grace",
    )
    return assemble_pack(month, version, parts), facts


def sealed_by(run_id: str = "run-1", **more: object) -> SealedBy:
    """What the manifest says of a run."""
    days = [LakePartition("raw/litellm_spend_logs", "2026-08-01", "ab" * 32)]
    return SealedBy(run_id, "test-code", POLICY.sha256, days, **more)


def run(
    url: str,
    home: Path,
    deed: str,
    gathered_run: tuple[PackContent, CloseFacts],
    on_step: Callable[[str], None] = lambda _: None,
) -> SealResult:
    """Write the draft, or close."""
    ledger = Ledger(url, clock, lock_seconds=20)
    ledger.upgrade()
    content, facts = gathered_run
    by = sealed_by(f"run-{content.content_sha256[:6]}")
    if deed == "draft":
        return write_draft(ledger, home, content, by, actor="service", on_step=on_step)
    return seal_close(ledger, home, content, facts, by, on_step=on_step)


def run_and_tell(
    url: str, home: Path, deed: str, gathered_run: tuple[PackContent, CloseFacts], die_at: str, said: Path | None
) -> None:
    """A run in a process of its own, which says what it came to in a file (None: standard output)."""

    def on_step(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    came_to = run(url, home, deed, gathered_run, on_step)
    words = f"{came_to.written} {came_to.content_sha256} {came_to.reason}\n"
    if said is None:
        sys.stdout.write(words)
    else:
        said.write_text(words, encoding="utf-8")


if __name__ == "__main__":
    to, at, doing, amount, step_of_death = sys.argv[1:]
    run_and_tell(to, Path(at), doing, gathered(0 if doing == "draft" else 1, amount), step_of_death, None)
