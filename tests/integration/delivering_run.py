"""One run that delivers a closed month, as a program of its own, so that tests can kill it at a step.

    python delivering_run.py HOME DIE_AT DESTINATION...

A DESTINATION is the JSON of one entry of `deliveries`. `DIE_AT` names the step at which the program kills itself, as
`kill -9` would; '-' lets it live. It prints what became of each destination.
"""

import datetime as dt
import hashlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from assets.pack_delivery import Delivered, DeliveryRun
from tokengov_pipelines.delivery_settings import DeliverySettings
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.manifest import content_sha256
from tokengov_pipelines.pack.writer import json_bytes

MONTH = BillingMonth(2026, 10)
FILES = {
    "chargeback.csv": b"period,amount,currency\n2026-10,100.00,USD\n2026-10,-0.10,USD\n2026-10,7.05,EUR\n",
    "pack.xlsx": b"PK\x03\x04" + bytes(range(256)) * 40,
    "summary.pdf": b"%PDF-1.7\n.\n..\nend\n",
    "inputs/policy.yaml": b"chargeback: {}\n",
}


def clock() -> dt.datetime:
    """The day of the books."""
    return dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)


def closed_home(home: Path, files: Mapping[str, bytes] = FILES, url: str | None = None) -> Ledger:
    """A home in which October is closed with these files and their manifest; its ledger is at `url`, else in it."""
    content = {**files, "manifest.json": manifest_of(files)}
    for name, each in content.items():
        path = home / "packs/2026-10/v1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each)
    ledger = opened(home, url)
    ledger.upgrade()
    with ledger.closed_book(MONTH, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1,
            content_sha256=content_sha256(content),
            pack_path="packs/2026-10/v1",
            totals={},
            lines=(),
            preparer="Ada",
            approver="Grace",
        )
    return ledger


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """What manifest.json says of these files."""
    listed = [
        {"name": name, "bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()} for name, each in files.items()
    ]
    return json_bytes({"period": "2026-10", "version": 1, "files": listed})


def opened(home: Path, url: str | None = None) -> Ledger:
    """The ledger of that home."""
    return Ledger(url or f"sqlite:///{home / 'ledger.db'}", clock, lock_seconds=20)


def delivery_run(home: Path, destinations: Sequence[DeliverySettings], die_at: str = "-") -> DeliveryRun:
    """A run that kills its process at a step."""

    def on_step(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return DeliveryRun(opened(home), home, destinations, "service", "run-2", transports=("mail:1",), on_step=on_step)


def run(home: Path, *destinations: DeliverySettings, die_at: str = "-") -> list[Delivered]:
    """Deliver October."""
    return delivery_run(home, destinations, die_at).deliver(MONTH)


if __name__ == "__main__":
    settings = [DeliverySettings.model_validate_json(each) for each in sys.argv[3:]]
    for came_to in run(Path(sys.argv[1]), *settings, die_at=sys.argv[2]):
        sys.stdout.write(f"{came_to.delivery.destination} {came_to.delivery.state} {came_to.tried} {came_to.said}\n")
