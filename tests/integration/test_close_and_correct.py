"""A closed month never changes again: what is known later becomes a correction in the open one, to the cent (2.5)."""

import csv
import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from assets.known_month import known_month
from resources.lake import Lake
from resources.tables import Tables
from tests.installation import TestHome, insert_call, insert_three_calls_a_day
from tokengov_pipelines.closing.reperformance import differing, performed_again
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.folders import read_folder_files

pytestmark = pytest.mark.xdist_group("loaded month")

SEPTEMBER, OCTOBER, NOVEMBER = BillingMonth(2026, 9), BillingMonth(2026, 10), BillingMonth(2026, 11)
SIGNED = {"ops": {"finance__closed_month": {"config": {"preparer": "pia@example.com", "approver": "carl@example.com"}}}}


@pytest.fixture(scope="module")
def two_months(closed_month: TestHome, tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    """September closed, October loaded with its invoices and open; it is the sixth of November."""
    home = closed_month.twin(tmp_path_factory.mktemp("two_months"))
    home.settings["as_of"] = "2026-11-06"
    home.write("tokengov.yaml", "".join(f"{name}: {json.dumps(value)}\n" for name, value in home.settings.items()))
    insert_three_calls_a_day(home.url, "2026-10-01", "2026-10-31")
    home.invoice("openai", "2026-10", "24.80", "2026-10-31")
    home.invoice("anthropic", "2026-10", "15.50", "2026-10-31")
    loaded = home.run(LOAD_DAYS, "2026-10-01", "2026-10-31")
    assert loaded.succeeded, loaded
    return home


def rows(home: TestHome, month: BillingMonth, version: str, name: str) -> list[dict[str, str]]:
    with (home.folder / "packs" / str(month) / version / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def corrected(charges: tuple[PriorPeriodCharge, ...]) -> dict[tuple[str, str, str], Decimal]:
    """Corrections by invoice, cost center and reason."""
    return {(each.invoice_id, each.cost_center, each.reason): each.amount for each in charges}


def corrections_known(home: TestHome, month: BillingMonth) -> tuple[PriorPeriodCharge, ...]:
    installation = home.installation
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    known = known_month(installation, lake, Tables(root=str(installation.tables_dir)), ledger, month)
    return known.inputs.facts.corrections


def backfill_a_late_call(home: TestHome) -> None:
    """A call of team Shop at anthropic of 20 September, which the proxy logged late: 3.00 USD."""
    insert_call(home.url, "late", "2026-09-20 23:50", 3.00, custom_llm_provider="anthropic", model="claude-sonnet-5")
    assert home.run(LOAD_DAYS, "2026-09-20").succeeded


def test_a_backfill_of_a_closed_month_is_a_correction_in_the_open_one(two_months: TestHome, tmp_path: Path) -> None:
    home = two_months.twin(tmp_path / "home")
    sealed = read_folder_files(home.folder / "packs/2026-09/v1")
    backfill_a_late_call(home)
    assert home.run(CLOSE_MONTH, "2026-10", config=SIGNED).succeeded

    assert read_folder_files(home.folder / "packs/2026-09/v1") == sealed
    # 15.00 was billed for the days; the late call is worth 2.99995 of 17.99995: 2.50 of the 15.00 is Shop's.
    told = [
        (row["original_period"], row["invoice_id"], row["cost_center"], row["amount"], row["reason"], row["is_posted"])
        for row in rows(home, OCTOBER, "v1", "adjustments.csv")
    ]
    assert told == [
        ("2026-09", "ANTHROPIC-2026-09", "CC-100", "2.50", "late_or_corrected_usage", "yes"),
        ("2026-09", "ANTHROPIC-2026-09", "CC-200", "-2.50", "late_or_corrected_usage", "yes"),
    ]
    charges = rows(home, OCTOBER, "v1", "chargeback.csv")
    prior = {row["cost_center"]: row["amount"] for row in charges if row["charge_type"] == "prior_period"}
    assert prior == {"CC-100": "2.50", "CC-200": "-2.50"}
    of_october = sum(Decimal(row["amount"]) for row in charges if row["original_period"] == "2026-10")
    assert of_october == Decimal("24.80") + Decimal("15.50")
    ledger = Ledger(home.installation.ledger_url, home.installation.settings.now)
    assert [(each.cost_center, each.amount) for each in ledger.adjustments(SEPTEMBER)] == [
        ("CC-100", Decimal("2.50")),
        ("CC-200", Decimal("-2.50")),
    ]
    # What was posted is not posted again, and published + corrections is what a computation from scratch charges.
    assert corrections_known(home, NOVEMBER) == ()
    assert ledger.verify_chain().intact
    again = read_folder_files(home.folder / "packs/2026-10/v1")
    assert differing(again, performed_again(again)) == []


def test_a_corrected_invoice_of_a_closed_month_is_posted_as_its_difference(
    two_months: TestHome, tmp_path: Path
) -> None:
    home = two_months.twin(tmp_path / "home")
    home.invoice("openai", "2026-09", "25.07", "2026-09-30")  # one dollar more than what was booked
    assert home.run(PREPARE_MONTH, "2026-10").succeeded
    told = rows(home, OCTOBER, "v0", "adjustments.csv")
    assert {row["reason"] for row in told} == {"corrected_invoice"}
    assert sum(Decimal(row["amount"]) for row in told) == Decimal("1.00")
    assert {row["invoice_id"] for row in told} == {"OPENAI-2026-09"}


def test_a_draft_says_what_its_close_would_hold_and_a_second_run_writes_nothing(
    two_months: TestHome, tmp_path: Path
) -> None:
    home = two_months.twin(tmp_path / "home")
    assert home.run(PREPARE_MONTH, "2026-10").succeeded
    draft = read_folder_files(home.folder / "packs/2026-10/v0")
    ledger = Ledger(home.installation.ledger_url, home.installation.settings.now)
    (prepared,) = ledger.versions(OCTOBER)
    assert home.run(PREPARE_MONTH, "2026-10").succeeded
    assert read_folder_files(home.folder / "packs/2026-10/v0") == draft

    assert home.run(CLOSE_MONTH, "2026-10", config=SIGNED).succeeded
    assert ledger.period(OCTOBER).content_sha256 == prepared.close_content_sha256


def test_a_sealed_pack_is_performed_again_without_lake_and_warehouse(two_months: TestHome, tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    shutil.copytree(two_months.folder / "packs/2026-09/v1", folder)
    files = read_folder_files(folder)
    assert differing(files, performed_again(files)) == []
    assert "manifest.json" in files
    assert "signoff.csv" in files


def test_two_months_without_an_invoice_close_on_an_accrual_and_the_invoice_trues_it_up(
    two_months: TestHome, tmp_path: Path
) -> None:
    home = two_months.twin(tmp_path / "home")
    (home.folder / "invoices/anthropic-2026-10.json").unlink()
    held = home.run(CLOSE_MONTH, "2026-10", config=SIGNED)
    assert "missing_invoice" in held.failures[0] or "has no invoice" in held.failures[0]
    approved = home.command(
        "accruals",
        "approve",
        "2026-10",
        "anthropic",
        "--requested-by",
        "pia@example.com",
        "--approved-by",
        "carl@example.com",
    )
    assert approved.returncode == 0, approved
    assert home.run(CLOSE_MONTH, "2026-10", config=SIGNED).succeeded
    accrued = [row for row in rows(home, OCTOBER, "v1", "chargeback.csv") if row["provider"] == "anthropic"]
    assert {row["invoice_id"] for row in accrued} == {"ACCRUAL-ANTHROPIC-2026-10"}
    assert sum(Decimal(row["amount"]) for row in accrued) == Decimal("15.50")
    entries = {row["external_id"]: row["posting_date"] for row in rows(home, OCTOBER, "v1", "journal.csv")}
    assert entries["TG-ANTHROPIC-2026-10-V1-ACCRUAL"] == "2026-10-31"
    assert entries["TG-ANTHROPIC-2026-10-V1-ACCRUAL-REVERSAL"] == "2026-11-01"

    home.invoice("anthropic", "2026-10", "16.10", "2026-10-31")  # it comes at last, and is 0.60 higher than was accrued
    assert home.run(PREPARE_MONTH, "2026-10").succeeded  # reads the invoice; the closed month stays as it is
    found = corrections_known(home, NOVEMBER)
    assert {each.reason for each in found} == {"accrual_true_up"}
    assert sum(each.amount for each in found) == Decimal("0.60")
    assert {each.invoice_id for each in found} == {"ACCRUAL-ANTHROPIC-2026-10", "ANTHROPIC-2026-10"}
