"""A home with a closed month, and one run that publishes it, as a program of its own, so that tests can kill it.

    TOKENGOV_PUBLISH_URL=... python publishing_run.py HOME MONTH DIE_AT

`DIE_AT` names the step at which the program kills itself, as `kill -9` would; '-' lets it live. It prints what the run
came to.
"""

import datetime as dt
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from assets.publish import publish_month
from resources.publisher import Publisher
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack import (
    adjustments_csv,
    chargeback_csv,
    chargeback_detail_csv,
    cost_per_pr_csv,
    journal_csv,
    recon_items_csv,
    reconciliation_csv,
    unproxied_csv,
)
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.writer import csv_bytes

AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
HOSTILE = """'); DROP TABLE tokengov.chargeback; -- \\N \\. "x" $$ Zürich"""
D = Decimal


def clock() -> dt.datetime:
    """The same instant always."""
    return dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)


def open_ledger(home: Path) -> Ledger:
    """The home's ledger."""
    home.mkdir(exist_ok=True)
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", clock, lock_seconds=20)
    ledger.upgrade()
    return ledger


def file_of(module: ModuleType, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A file of the pack by its own declaration; a column that a row does not name is empty."""
    blank = dict.fromkeys(module.PRIMARY_KEY, "")
    cells = [[(blank | dict(row)).get(column.name) for column in module.COLUMNS] for row in rows]
    return csv_bytes(module.COLUMNS, cells, module.PRIMARY_KEY)


def charge(cost_center: str, charge_type: str, amount: str, **changes: Any) -> dict[str, Any]:
    """A row of chargeback.csv of August."""
    return {
        "period": "2026-08",
        "posting_period": "2026-08",
        "original_period": "2026-08",
        "provider": "anthropic",
        "invoice_id": "INV-08",
        "version": 1,
        "mode": "chargeback",
        "legal_entity": "ACME-US",
        "cost_center": cost_center,
        "cost_center_name": cost_center.title(),
        "charge_type": charge_type,
        "amount": D(amount),
        "currency": "USD",
        "fx_rate": D(1),
        "amount_functional": D(amount),
        "allocation_method": "by_log",
        "rung": "",
        "pool_total": D(amount),
        "policy_sha256": "0" * 64,
    } | changes


def august() -> dict[str, bytes]:
    """August's files: 162.34 on the invoice."""
    lines = [
        charge(
            "CC-100",
            "direct",
            "108.23",
            quantity_tokens=2**40,
            direct_logged_exact=D("108.229999999999"),
            cost_center_name="=Shop",
        ),
        charge("CC-200", "direct", "54.11", direct_logged_exact=D("54.110000000001"), cost_center_name=HOSTILE),
        charge("CC-990", "credit", "-0.05", allocation_method=""),
        charge("CC-990", "tax", "0.05"),
    ]
    detail = [
        charge("CC-100", "direct", "100.00", team_id="t-1", model="claude-sonnet-4-6"),
        charge("CC-100", "direct", "8.23", team_id="t-2", model="claude-sonnet-4-6"),
    ]
    entry = {"external_id": "TG-ANTHROPIC-2026-08-V1", "posting_date": dt.date(2026, 8, 31), "currency": "USD"}
    journal = [
        entry | {"line_no": 1, "account": "6400", "debit": D("162.34"), "credit": D("0.00"), "version": 1},
        entry | {"line_no": 2, "account": "2100", "debit": D("0.00"), "credit": D("162.34"), "version": 1},
    ]
    state = {"provider": "anthropic", "account": "acme", "invoice_id": "", "period_start": dt.date(2026, 8, 1)}
    states = [
        state | {"state_no": 1, "component": "logged", "amount_exact": D("150.000000000001"), "amount": D("150.00")},
        state | {"state_no": 2, "component": "volume", "amount_exact": D("12.339999999999"), "amount": D("12.34")},
    ]
    item = {
        "provider": "anthropic",
        "account": "acme",
        "invoice_id": "",
        "item_id": "2026-08-1",
        "what": "seen by Noor",
    }
    keys = [{"rank": 1, "provider": "anthropic", "key_name": "noor-laptop", "created_by": "Noor", "cost_usd": D("1.5")}]
    unit = [
        {"period": "2026-08", "level": "org", "team_id": "", "merged_prs": 5, "cost_usd": D("1.00"), "status": "ok"}
    ]
    return {
        "chargeback.csv": file_of(chargeback_csv, lines),
        "chargeback_detail.csv": file_of(chargeback_detail_csv, detail),
        "journal.csv": file_of(journal_csv, journal),
        "reconciliation.csv": file_of(reconciliation_csv, states),
        "recon_items.csv": file_of(recon_items_csv, [item]),
        "unproxied.csv": file_of(unproxied_csv, keys),
        "cost_per_pr.csv": file_of(cost_per_pr_csv, unit),
        "control_totals.json": b"{}\n",
        "inputs/policy.yaml": b"money: {}\n",
        "summary.pdf": b"%PDF",
    }


def september() -> dict[str, bytes]:
    """September's two files: 10.00 of its own, and 4.11 of August that moves from CC-200 to CC-100."""
    month = {"period": "2026-09", "posting_period": "2026-09", "original_period": "2026-09", "invoice_id": "INV-09"}
    prior = month | {"original_period": "2026-08", "invoice_id": "INV-08"}
    lines = [
        charge("CC-100", "direct", "10.00", **month),
        charge("CC-100", "prior_period", "4.11", **prior),
        charge("CC-200", "prior_period", "-4.11", **prior),
    ]
    moved = {"posting_period": "2026-09", "original_period": "2026-08", "provider": "anthropic", "invoice_id": "INV-08"}
    moves = [
        moved
        | {"cost_center": center, "amount": D(amount), "currency": "USD", "reason": "late_rows", "is_posted": "yes"}
        for center, amount in (("CC-100", "4.11"), ("CC-200", "-4.11"))
    ]
    return {"chargeback.csv": file_of(chargeback_csv, lines), "adjustments.csv": file_of(adjustments_csv, moves)}


def close(
    ledger: Ledger,
    home: Path,
    month: BillingMonth,
    files: Mapping[str, bytes],
    *,
    preparer: str = "Ada",
    approver: str = "Grace",
) -> None:
    """Put the files where a close puts them, and record it."""
    path = f"packs/{month}/v1"
    for name, content in files.items():
        (home / path / name).parent.mkdir(parents=True, exist_ok=True)
        (home / path / name).write_bytes(content)
    with ledger.closed_book(month, "pack", preparer, "run-1") as page:
        page.record_close(
            version=1,
            content_sha256=content_sha256(files),
            pack_path=path,
            totals={},
            lines=[],
            preparer=preparer,
            approver=approver,
        )


if __name__ == "__main__":
    home, month, die_at = Path(sys.argv[1]), BillingMonth.parse(sys.argv[2]), sys.argv[3]

    def on_step(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    came_to = publish_month(
        open_ledger(home), home, Publisher(), month, actor="service", run_id="run-2", on_step=on_step
    )
    sys.stdout.write(f"{came_to.is_new} {came_to.reason}\n")
