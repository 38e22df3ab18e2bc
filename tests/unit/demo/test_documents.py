"""The files of a demo's home, read by the product's own readers."""

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from resources.directory import OrgDirectory
from tests.unit.demo.conftest import Run
from tokengov_pipelines.demo.documents import directory_tables, write_documents
from tokengov_pipelines.demo.ground_truth import GroundTruth
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.domain.invoice import check_invoice
from tokengov_pipelines.domain.invoice_form import parse_invoice


@pytest.fixture(scope="module")
def home(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_documents(folder, run.organisation, run.invoices, run.truth)
    return folder


def test_the_directory_is_accepted(home: Path) -> None:
    load = OrgDirectory(url=str(home / "directory")).load()
    assert load.warnings == []
    counts = {name: table.num_rows for name, table in load.tables.items()}
    assert counts == {
        "cost_centers": 7, "teams": 9, "users": 61, "service_accounts": 6, "provider_keys": 4, "gl_accounts": 6,
        "fx_rates": 3, "people": 12, "prepaid_statements": 0, "seat_assignments": 0,
    }  # fmt: skip


def test_the_moved_team_has_both_intervals() -> None:
    header, rows = directory_tables(build_organisation())["teams"]
    moved = [dict(zip(header, row, strict=True)) for row in rows if row[1] == "Mobile"]
    assert [(row["cost_center"], row["valid_from"], row["valid_to"]) for row in moved] == [
        ("CC-120", date(2026, 1, 1), date(2026, 9, 16)),
        ("CC-310", date(2026, 9, 16), ""),
    ]


def test_every_invoice_parses_and_adds_up(run: Run, home: Path) -> None:
    files = sorted((home / "invoices").glob("*.json"))
    assert len(files) == 9
    for path in files:
        invoice, problems = parse_invoice(path.read_bytes(), path.name)
        assert problems == []
        assert invoice is not None
        assert check_invoice(invoice) == []
        month = f"{invoice.period_start:%Y-%m}"
        assert invoice.total == run.truth.months[month][invoice.provider].invoice_total
        assert invoice.invoice_date > invoice.period_last_day


def test_money_is_text_and_google_bills_by_model(home: Path) -> None:
    invoice = json.loads((home / "invoices" / "google-2026-10.json").read_text(encoding="utf-8"))
    assert [line["model"] for line in invoice["lines"]] == ["gemini-3.1-pro-preview", "gemini-3.5-flash"]
    assert all("unit_price_per_mtok" not in line and "token_type" not in line for line in invoice["lines"])
    assert isinstance(invoice["total"], str)
    assert isinstance(invoice["lines"][0]["amount"], str)


def test_only_october_has_credits_tax_and_searches(home: Path) -> None:
    kinds: dict[str, set[str]] = {}
    for path in (home / "invoices").glob("*.json"):
        invoice = json.loads(path.read_text(encoding="utf-8"))
        kinds[path.stem] = {line["kind"] for line in invoice["lines"]}
    assert kinds["anthropic-2026-10"] == {"usage", "non_token", "credit"}
    assert kinds["openai-2026-10"] == {"usage", "tax"}
    assert all(found == {"usage"} for name, found in kinds.items() if "2026-10" not in name)


def test_the_bypass_key_is_a_workspace_of_its_own_on_the_invoice(run: Run, home: Path) -> None:
    invoice = json.loads((home / "invoices" / "anthropic-2026-10.json").read_text(encoding="utf-8"))
    billed = sum(Decimal(line["amount"]) for line in invoice["lines"] if line.get("workspace") == "data-sandbox")
    assert abs(billed - run.truth.months["2026-10"]["anthropic"].causes["bypass_key"]) < Decimal("0.05")
    with (home / "directory" / "provider_keys.csv").open(encoding="utf-8", newline="") as file:
        roles = {row["workspace"]: row["role"] for row in csv.DictReader(file)}
    assert roles == {"proxy": "proxy", "data-sandbox": "other"}


def test_writing_again_changes_no_byte(run: Run, home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    write_documents(home, run.organisation, run.invoices, run.truth)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    assert GroundTruth.from_json((home / "ground_truth.json").read_text(encoding="utf-8")) == run.truth
