"""`tokengov recon`: the statement, the items, and settling one by two people."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from assets.open_items import find_item, read_items
from assets.reconciliation_tables import ITEMS, MONTHLY
from resources.tables import Tables
from tests.unit.pack.test_reconciliation_csv import example
from tests.unit.pack.test_reconciliation_lists import key
from tokengov_pipelines.domain.match_result import ErrorCode, LineDifference, LineOutcome, MatchError
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.pack.reconciliation_rows import item_rows, monthly_rows
from tokengov_pipelines.reconciliation_cli import app

D = Decimal
OCTOBER = BillingMonth(2026, 10)
runner = CliRunner(env={"COLUMNS": "250"})
SIGNED = ["--evidence", "credit note CN-7", "--by", "ada@example.com", "--approver", "grace@example.com"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with October reconciled: 150.25 unexplained, a key outside the proxy, one error."""
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path))
    monkeypatch.delenv("TOKENGOV_LEDGER_URL", raising=False)
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-20\n")
    lines = (LineDifference("claude-opus-4-5 [output]", (3,), D("150.254999"), D(0), LineOutcome.UNEXPLAINED),)
    errors = (MatchError(ErrorCode.UNMAPPED_MODEL, "claude-next", "claude-next is in no alias list", "add it"),)
    rec = example(line_differences=lines, errors=errors)
    tables = Tables(root=str(tmp_path / "tables"))
    items = reconciling_items(
        rec, opened_on=dt.date(2026, 11, 3), item_min_usd=D("1.00"), unproxied=[key("ci-runner", "12.00")]
    )
    statement = pa.Table.from_pylist(monthly_rows(rec, items), schema=MONTHLY)
    tables.write("fct_reconciliation_monthly", "billing_month=2026-10", statement)
    tables.write("fct_reconciling_items", "billing_month=2026-10", pa.Table.from_pylist(item_rows(items), schema=ITEMS))
    return tmp_path


@pytest.fixture
def item_id(home):
    items = read_items(Tables(root=str(home / "tables")), OCTOBER)
    (found,) = (item for item in items if item.component == "unexplained")
    return found.item_id


def run(*arguments):
    return runner.invoke(app, list(arguments))


def test_show_is_the_statement_with_status_tolerance_and_errors(home):
    result = run("show", "2026-10")
    assert result.exit_code == 0
    for text in ("anthropic ANT-2026-10, 2026-10-02 up to 2026-11-02", "105.00", "+1.73", "+2.77", "-20.00", "181.53"):
        assert text in result.output
    assert "within tolerance, tolerance 1.00" in result.output
    assert "error unmapped model: claude-next is in no alias list. Fix: add it" in result.output
    assert "has no reconciliation of openai" in run("show", "2026-10", "--provider", "openai").output


def test_a_month_that_was_never_computed_says_how(home):
    result = run("show", "2026-09")
    assert result.exit_code == 1
    assert "tokengov prepare" in result.output
    assert run("show", "2026-13").exit_code == 2


def test_items_are_listed_with_their_age_and_totals(home, item_id):
    result = run("items", "2026-10")
    assert item_id in result.output
    assert "claude-opus-4-5 [output]" in result.output
    assert "17 d" in result.output
    assert "162.25" in result.output  # 150.25 and 12.00
    assert "credits_discounts" not in result.output
    assert "credits_discounts" in run("items", "2026-10", "--all").output
    assert "no open item of openai" in run("items", "2026-10", "--provider", "openai").output


def test_an_item_is_settled_in_parts_and_reopened(home, item_id):
    result = run("resolve", item_id, "--code", "vendor_credit", "--amount", "100", *SIGNED)
    assert result.exit_code == 0, result.output
    assert f"open: {item_id}, adjusting line -100.00 USD" in result.output
    assert "50.25 USD of it is still open" in result.output
    result = run("resolve", item_id, "--code", "data_fix", *SIGNED)
    assert f"resolved: {item_id}, adjusting line -50.25 USD" in result.output
    assert item_id not in run("items", "2026-10").output
    refused = run("resolve", item_id, "--code", "data_fix", *SIGNED)
    assert (refused.exit_code, "is resolved already" in refused.output) == (1, True)
    result = run("reopen", item_id, "--by", "ada@example.com", "--reason", "the credit was for September")
    assert f"reopened: {item_id}, 150.25 USD open" in result.output
    assert item_id in run("items", "2026-10").output


def test_a_large_write_off_needs_a_controller(home, item_id):
    result = run("resolve", item_id, "--code", "write_off", *SIGNED)
    assert result.exit_code == 1
    assert "needs a controller, and grace@example.com is none" in result.output


def test_words_that_are_wrong_are_refused_before_anything_is_written(home, item_id):
    assert run("resolve", item_id, "--code", "gone", *SIGNED).exit_code == 2
    assert run("resolve", item_id, "--code", "data_fix", "--amount", "1,000", *SIGNED).exit_code == 2
    for unknown in ("2026-10-timing-000000000000", "nonsense"):
        result = run("resolve", unknown, "--code", "data_fix", *SIGNED)
        assert (result.exit_code, "there is no item" in result.output) == (1, True)


def test_an_item_is_found_in_the_month_that_it_was_carried_into(home, item_id):
    folder = home / "tables" / "fct_reconciling_items"
    (folder / "billing_month=2026-10.parquet").rename(folder / "billing_month=2026-12.parquet")
    assert find_item(Tables(root=str(home / "tables")), item_id).item_id == item_id
    assert run("items", "2026-10").exit_code == 1
