"""`tokengov disputes`: raising against the draft or the closed month, deciding, listing."""

from decimal import Decimal

import pytest
from typer.testing import CliRunner

from tests.installation import COST_CENTERS, TEAMS, USERS
from tokengov_pipelines.disputes_cli import app
from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import load_installation

runner = CliRunner(env={"COLUMNS": "250"})
OCTOBER = BillingMonth(2026, 10)
CHARGES = """period,posting_period,original_period,provider,invoice_id,cost_center,charge_type,amount,currency
2026-10,2026-10,2026-10,anthropic,INV-19,CC-100,direct,40.00,USD
2026-10,2026-10,2026-10,anthropic,INV-19,CC-200,direct,60.00,USD
2026-10,2026-10,2026-10,mistral,INV-3,CC-100,direct,10.00,EUR
2026-10,2026-10,2026-09,anthropic,INV-18,CC-100,prior_period,5.00,USD
"""
RAISE = [
    "raise",
    "2026-10",
    "CC-100",
    "--owner",
    "CC-200",
    "--reason",
    "moved [x]",
    "--evidence",
    "FIN-7",
    "--by",
    "Ada",
]
LINE = ["--line", "anthropic:INV-19:direct:12.50"]
ACCEPT = ["--decision", "accepted", "--reason", "agreed", "--by", "Grace"]
CONSENT = ["--consent-by", "Hopper", "--consent-kind", "receiving_owner"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An installation on 5 November 2026, BD4 of October, with October drafted."""
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path))
    monkeypatch.delenv("TOKENGOV_LEDGER_URL", raising=False)
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-05\n", encoding="utf-8")
    (tmp_path / "directory").mkdir()
    for name, content in {"cost_centers": COST_CENTERS, "teams": TEAMS, "users": USERS}.items():
        (tmp_path / f"directory/{name}.csv").write_text(content, encoding="utf-8")
    (tmp_path / "packs/2026-10/v0").mkdir(parents=True)
    (tmp_path / "packs/2026-10/v0/chargeback.csv").write_text(CHARGES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ledger(home):
    installation = load_installation(home)
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    with ledger.closed_book(OCTOBER, "pack", "service", "run-1") as page:
        page.record_draft(content_sha256="11" * 32, pack_path="packs/2026-10/v0", totals={})
    return ledger


def close(ledger):
    with ledger.closed_book(OCTOBER, "pack", "Ada", "run-1") as page:
        page.record_close(
            version=1,
            content_sha256="ab" * 32,
            pack_path="packs/2026-10/v1",
            totals={},
            lines=[Posting("anthropic", "INV-19", "CC-100", "direct", Decimal("8.00"), "USD")],
            preparer="Ada",
            approver="Grace",
        )


def test_a_dispute_of_the_draft_is_raised_decided_and_listed(ledger):
    assert runner.invoke(app, ["list"]).output == "No dispute was ever raised.\n"
    raised = runner.invoke(app, [*RAISE, *LINE])
    assert raised.exit_code == 0, raised.output
    assert "raised D-2026-10-001: 12.50 USD of CC-100, claimed to be CC-200's." in raised.output
    assert "it posts in the month's own close." in raised.output
    listed = runner.invoke(app, ["list", "2026-10"]).output
    for text in ("D-2026-10-001", "CC-200", "12.50 USD", "anthropic INV-19 direct", "moved [x]", "undecided"):
        assert text in listed
    decided = runner.invoke(app, ["decide", "D-2026-10-001", *ACCEPT, *CONSENT])
    assert decided.exit_code == 0, decided.output
    assert "12.50 USD moves from CC-100 to CC-200, in the month's own close." in decided.output
    assert "accepted by Grace" in runner.invoke(app, ["list"]).output
    rejected = runner.invoke(app, ["decide", "D-2026-10-001", *ACCEPT, *CONSENT])
    assert rejected.exit_code == 1
    assert "was accepted by Grace already" in rejected.output


def test_a_dispute_of_a_closed_month_is_about_what_was_posted_and_posts_later(ledger):
    close(ledger)
    refused = runner.invoke(app, [*RAISE, *LINE])
    assert refused.exit_code == 1
    assert "CC-100 was charged 8.00, of which 0 are in dispute already" in refused.output
    raised = runner.invoke(app, [*RAISE, "--line", "anthropic:INV-19:direct:8.00"])
    assert "in the next open month, as prior_period lines" in raised.output


def test_accepting_needs_consent(ledger):
    runner.invoke(app, [*RAISE, *LINE])
    result = runner.invoke(app, ["decide", "D-2026-10-001", *ACCEPT])
    assert result.exit_code == 1
    assert "consent of its owner or the VP's decision" in result.output


def test_what_is_over_is_listed_on_request(ledger):
    runner.invoke(app, [*RAISE, *LINE])
    runner.invoke(app, ["decide", "D-2026-10-001", "--decision", "withdrawn", "--reason", "my error", "--by", "Ada"])
    assert runner.invoke(app, ["list"]).output == "No dispute is open.\n"
    assert "withdrawn by Ada" in runner.invoke(app, ["list", "--all"]).output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--line", "anthropic:INV-19:direct"], 2, "is no disputed line"),
        (["--line", "anthropic:INV-18:prior_period:1.00"], 1, "was not charged for anthropic invoice INV-18"),
        ([*LINE, "--line", "mistral:INV-3:direct:1.00"], 2, "the lines are in EUR and USD"),
        ([*LINE, "--owner", "CC-777"], 1, "CC-777 is no cost center on 2026-10-31"),
    ],
)
def test_what_cannot_be_disputed_is_told(ledger, arguments, code, says):
    result = runner.invoke(app, [*RAISE, *arguments])
    assert result.exit_code == code
    assert says in result.output
    assert ledger.disputes.all() == []


def test_a_month_without_a_draft_has_nothing_to_dispute(ledger):
    result = runner.invoke(app, ["raise", "2026-11", *RAISE[2:], *LINE])
    assert result.exit_code == 1
    assert "Fix: tokengov prepare 2026-11" in result.output
