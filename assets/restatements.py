"""Corrections of closed months, found when an open month is prepared or closed (Rule 2.5).

Belongs here: which closed months moved, their sealed and today's inputs, decided disputes of closed months. Does not
belong here: charging a month again (`closing.restate`), the difference (`domain.restatement`).

A closed month that nothing moved in costs a comparison of hashes: its sealed manifest names the partitions it was made
from.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from assets.lake_partitions import lake_partitions
from assets.month_inputs import gather_month_inputs
from assets.reconciliation_inputs import read_invoices
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.input_files import read_input_files
from tokengov_pipelines.closing.inputs import MonthInputs
from tokengov_pipelines.closing.restate import corrections_of
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.dispute import dispute_moves
from tokengov_pipelines.domain.restatement import CorrectionReason, InvoiceKey
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import Period, PeriodState
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.folders import read_folder_files
from tokengov_pipelines.pack.manifest import MANIFEST_JSON, LakePartition
from tokengov_pipelines.pack.writer import PackError
from tokengov_pipelines.settings import Installation

_ONCE = frozenset({CorrectionReason.DISPUTE, CorrectionReason.CREDIT_MEMO})
"""Posted for what they say, and no part of what a month is charged again (Rule 2.5)."""


def gather_corrections(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, inputs: MonthInputs
) -> MonthInputs:
    """The inputs with the corrections of every closed month before it; of a month that is closed itself, unchanged."""
    month = inputs.month
    if ledger.period(month).state is PeriodState.CLOSED:
        return inputs
    charges: list[PriorPeriodCharge] = []
    listed: list[PriorPeriodCharge] = []
    for period in ledger.periods():
        if period.state is PeriodState.CLOSED and period.month < month:
            mine, small = _of_month(installation, lake, tables, ledger, period)
            charges += mine
            listed += small
            charges += _disputes(installation, ledger, period)
    facts = replace(inputs.facts, corrections=tuple(charges), listed_corrections=tuple(listed))
    return replace(inputs, facts=facts)


def _of_month(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, period: Period
) -> tuple[list[PriorPeriodCharge], list[PriorPeriodCharge]]:
    folder = installation.packs_dir / str(period.month) / f"v{period.version}"
    manifest = _manifest(folder, period)
    if manifest is None:
        return [], []  # closed by a release that sealed no inputs: there is nothing to charge again
    sealed_partitions = {(each["source"], each["day"]): each["sha256"] for each in manifest["lake_partitions"]}
    files = read_folder_files(folder)
    sealed = read_input_files(files)
    now = {(each.source, each.day): each.sha256 for each in _partitions(lake, tables, sealed)}
    if now == sealed_partitions:
        return [], []
    current = gather_month_inputs(installation, lake, tables, ledger, period.month)
    restated, again = corrections_of(
        sealed,
        current,
        period.version,
        published=_published(ledger, period),
        ref=f"v{period.version} {str(period.content_sha256)[:12]}",
        min_adjustment=installation.policy.period.min_adjustment_usd,
    )
    charges = [
        each.charge(again.fx_rates.get((each.provider, each.invoice_id, each.currency), Decimal(1)))
        for each in restated.posted
    ]
    small = [each.charge() for each in restated.listed]
    return charges, small


def _partitions(lake: Lake, tables: Tables, sealed: MonthInputs) -> list[LakePartition]:
    return lake_partitions(lake, tables, sealed.facts.days, read_invoices(lake))


def _manifest(folder: Path, period: Period) -> Mapping[str, list[dict[str, str]]] | None:
    if not folder.exists():
        message = (
            f"the sealed pack of {period.month} v{period.version} is not at {folder.name} under packs/{period.month}, "
            "so its corrections cannot be told. Fix: restore the folder from where packs are delivered."
        )
        raise PackError(message)
    path = folder / MANIFEST_JSON
    if not path.exists():
        return None
    found: dict[str, list[dict[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _published(ledger: Ledger, period: Period) -> dict[tuple[InvoiceKey, str], Decimal]:
    """Everything charged for the month so far: its own close, and what later closes corrected."""
    sums: dict[tuple[InvoiceKey, str], Decimal] = defaultdict(Decimal)
    for posting in ledger.postings(period.month, period.version):
        if posting.original_month in {"", str(period.month)}:
            sums[(posting.provider, posting.invoice_id, posting.currency), posting.cost_center] += posting.amount
    for each in ledger.adjustments(period.month):
        if each.reason not in _ONCE:
            sums[(each.provider, each.invoice_id, each.currency), each.cost_center] += each.amount
    return dict(sums)


def _disputes(installation: Installation, ledger: Ledger, period: Period) -> Iterable[PriorPeriodCharge]:
    """Decided disputes of a closed month move their stated amount, nothing else (Rules 2.5, 6.8)."""
    rates = _rates(installation.packs_dir / str(period.month) / f"v{period.version}" / CHARGEBACK_CSV)
    for move in dispute_moves(each for each in ledger.disputes.of(period.month) if each.awaits_posting):
        for code, amount in ((move.from_cost_center, -move.amount), (move.to_cost_center, move.amount)):
            yield PriorPeriodCharge(
                period.month,
                move.provider,
                move.invoice_id,
                code,
                amount,
                move.currency,
                str(CorrectionReason.DISPUTE),
                ref=move.dispute_id,
                fx_rate=rates.get((move.provider, move.invoice_id), Decimal(1)),
            )


def _rates(path: Path) -> dict[tuple[str, str], Decimal]:
    """The rate at which each invoice of a closed month was charged (Rule 1.6)."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["provider"], row["invoice_id"]): Decimal(row["fx_rate"]) for row in csv.DictReader(file)}
