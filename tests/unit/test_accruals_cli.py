"""`tokengov accruals`: the back-test, the accruals of a month, and their approval."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tokengov_pipelines.accruals_cli import accruals_app
from tokengov_pipelines.domain.accrual import AccrualEvidence, AccrualMonths, ClosedMonth
from tokengov_pipelines.domain.accrual_backtest import AccrualBasis
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.settings import Installation

D = Decimal
runner = CliRunner(env={"COLUMNS": "200"})
SEPTEMBER, OCTOBER = BillingMonth(2026, 9), BillingMonth(2026, 10)
APPROVE = ["approve", "2026-10", "anthropic", "--requested-by", "Ada"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-05\n", encoding="utf-8")
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path))
    monkeypatch.delenv("TOKENGOV_LEDGER_URL", raising=False)
    return tmp_path


def evidence(month: BillingMonth, total: str, provider: str = "anthropic", **changes: object) -> AccrualEvidence:
    daily = {AccrualBasis.COST_REPORT: dict.fromkeys(month.days(), D(0)) | {month.first_day: D(total)}}
    values = {"daily": daily, "weights": {"CC-100": D(3), "CC-200": D(1)}}
    return AccrualEvidence(provider, month, **(values | changes))


def app_of(*due: AccrualEvidence, closed=None):
    published = {"CC-100": D("310.00"), "CC-200": D("90.00"), "CC-990-CENTRAL": D("5.00")}
    months = AccrualMonths(
        closed=[ClosedMonth(evidence(SEPTEMBER, "400.00"), published)] if closed is None else closed,
        due=due,
        central="CC-990-CENTRAL",
    )

    def gather(installation: Installation) -> AccrualMonths:
        assert installation.settings.as_of == dt.date(2026, 11, 5)
        return months

    return accruals_app(gather)


class TestBacktest:
    def test_shows_the_error_of_every_cost_center(self):
        result = runner.invoke(app_of(), ["backtest"])
        assert result.exit_code == 0, result.output
        assert "Accrual error, 2026-09, in USD" in result.output
        one = next(each for each in result.output.splitlines() if "CC-100" in each)
        for text in ("310.00", "300.00", "10.00", "3.23 %", "2026-09: 10.00"):
            assert text in one
        central = next(each for each in result.output.splitlines() if "CC-990-CENTRAL" in each)
        for text in ("5.00", "100.00 %"):
            assert text in central
        whole = next(each for each in result.output.splitlines() if "405.00" in each)
        for text in ("all", "400.00", "5.00", "6.17 %"):
            assert text in whole
        assert "Of the months' totals, accruals were 1.23 % off (mean of the months 1.23 %)." in result.output
        assert "Worst: CC-100, 10.00 USD in all." in result.output
        assert "1 accrual on provider_cost_report_by_utc_day (anthropic)." in result.output

    def test_of_one_provider(self):
        result = runner.invoke(app_of(), ["backtest", "--provider", "openai"])
        assert (result.exit_code, result.output) == (
            0,
            "No closed month of openai can be tested: close a month first.\n",
        )

    def test_without_a_closed_month(self):
        result = runner.invoke(app_of(closed=[]), ["backtest"])
        assert (result.exit_code, result.output) == (0, "No closed month can be tested: close a month first.\n")

    def test_a_month_that_cannot_be_tested_is_named(self):
        result = runner.invoke(app_of(closed=[ClosedMonth(evidence(SEPTEMBER, "1", daily={}), {})]), ["backtest"])
        assert result.exit_code == 0
        assert "not tested: anthropic 2026-09 cannot be accrued: of 30 days" in result.output


class TestShow:
    def test_shows_amount_basis_error_reversal_and_approval(self):
        result = runner.invoke(app_of(evidence(OCTOBER, "928.075")), ["show", "2026-10"])
        assert result.exit_code == 0, result.output
        for text in (
            "ACCRUAL-ANTHROPIC-2026-10: 928.08 USD",
            "696.06",
            "232.02",
            "Days: 2026-10-01 to 2026-10-31. Basis: provider_cost_report_by_utc_day.",
            "Expected error: 1.23 % (11.46 USD), from 1 closed month.",
            "Reversed: 2026-11-01.",
            "Approval: none. Next: tokengov accruals approve 2026-10 anthropic --requested-by A --approved-by B",
        ):
            assert text in result.output

    def test_a_bill_over_several_months_is_reversed_when_it_posts(self):
        quarter = InvoicePeriod(dt.date(2026, 10, 1), dt.date(2027, 1, 1))
        result = runner.invoke(app_of(evidence(OCTOBER, "9.00", bill=quarter)), ["show", "2026-10"])
        assert "Reversed: when the invoice posts." in result.output

    def test_a_month_with_every_invoice(self):
        result = runner.invoke(app_of(evidence(OCTOBER, "1.00")), ["show", "2026-09"])
        assert (result.exit_code, result.output) == (
            0,
            "Nothing is accrued in 2026-09: every provider has its invoice.\n",
        )

    def test_a_provider_that_cannot_be_accrued(self):
        result = runner.invoke(app_of(evidence(OCTOBER, "1.00", daily={})), ["show", "2026-10"])
        assert result.exit_code == 1
        assert "anthropic 2026-10 cannot be accrued: of 31 days" in result.output
        assert "Fix: tokengov load 2026-10-01 2026-10-31" in result.output

    def test_a_month_that_is_none(self):
        result = runner.invoke(app_of(), ["show", "october"])
        assert result.exit_code == 1
        assert "'october' is not a billing month. Write YYYY-MM" in result.output


class TestApprove:
    def test_two_people_approve_the_accrual_as_it_is(self):
        app = app_of(evidence(OCTOBER, "928.075"))
        granted = runner.invoke(app, [*APPROVE, "--approved-by", "Grace"])
        assert granted.exit_code == 0, granted.output
        assert "approved ACCRUAL-ANTHROPIC-2026-10: 928.08 USD, expected error 1.23 % (11.46 USD)" in granted.output
        assert "Approval: requested by Ada, approved by Grace." in runner.invoke(app, ["show", "2026-10"]).output
        moved = runner.invoke(app_of(evidence(OCTOBER, "930.00")), ["show", "2026-10"])
        assert (
            "Approval: lapsed: requested by Ada, approved by Grace, for 928.08 USD on provider_cost_report_by_utc_day. "
            "Next: tokengov accruals approve 2026-10 anthropic"
        ) in moved.output

    def test_one_person_is_refused(self):
        app = app_of(evidence(OCTOBER, "928.075"))
        result = runner.invoke(app, [*APPROVE, "--approved-by", "ada"])
        assert result.exit_code == 1
        assert "needs two people. Fix: " in result.output
        assert "Approval: none." in runner.invoke(app, ["show", "2026-10"]).output

    def test_a_provider_without_an_accrual(self):
        result = runner.invoke(app_of(), [*APPROVE, "--approved-by", "Grace"])
        assert result.exit_code == 1
        assert "anthropic has nothing to accrue in 2026-10" in result.output
        assert "Fix: tokengov accruals show 2026-10" in result.output

    def test_evidence_that_lacks_days_cannot_be_approved(self):
        app = app_of(evidence(OCTOBER, "1.00", daily={}))
        result = runner.invoke(app, [*APPROVE, "--approved-by", "Grace"])
        assert result.exit_code == 1
        assert "cannot be accrued" in result.output

    def test_settings_that_cannot_be_read(self, home):
        (home / "tokengov.yaml").write_text("a: [", encoding="utf-8")
        result = runner.invoke(app_of(), ["show", "2026-10"])
        assert result.exit_code == 2
        assert "tokengov.yaml is not valid YAML" in result.output
