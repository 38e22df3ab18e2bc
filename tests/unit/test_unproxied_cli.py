"""`tokengov unproxied`: the keys of a month, and the register of exceptions."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from resources.tables import Tables
from tokengov_pipelines.unproxied_cli import app

runner = CliRunner(env={"COLUMNS": "220"})
GRANT = ["except", "anthropic", "apikey-ci", "--reason", "vendor SDK [beta]", "--requested-by", "Ada"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An installation whose present moment is 5 November 2026."""
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-05\nanthropic: {account: acme-prod}\n", encoding="utf-8")
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path))
    monkeypatch.delenv("TOKENGOV_LEDGER_URL", raising=False)
    return tmp_path


def table_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "provider": "anthropic",
        "account": "acme-prod",
        "workspace_id": "wrkspc-ci",
        "provider_key_id": "apikey-ci",
        "key_label": "anthropic, workspace ci-lab, key ...nner",
        "cost_usd": Decimal("1234.505000000000"),
        "suggested_owner": "CC-300",
        "owner_basis": "registry",
        "action": "move_to_proxy",
        "due_date": dt.date(2026, 11, 17),
        "status": "new",
    }
    return row | changes


def write_rows(home: Path, *rows: dict[str, object]) -> None:
    content = pa.Table.from_pylist(list(rows)) if rows else pa.table({"provider": pa.array([], pa.string())})
    Tables(root=str(home / "tables")).write("fct_unproxied_keys", "billing_month=2026-10", content)


class TestList:
    def test_shows_the_most_expensive_key_first(self, home):
        console = {"provider_key_id": None, "workspace_id": None, "key_label": "anthropic, workspace default, no key"}
        write_rows(home, table_row(**console, cost_usd=Decimal("1.5"), status="excepted"), table_row())
        result = runner.invoke(app, ["list", "2026-10"])
        assert result.exit_code == 0, result.output
        assert "Used outside the proxy in 2026-10: 1,236.01 USD" in result.output
        first, second = (line for line in result.output.splitlines() if "anthropic, workspace" in line)
        for text in ("ci-lab, key ...nner", "apikey-ci", "1,234.51", "CC-300 (registry)", "2026-11-17", "new"):
            assert text in first
        for text in ("workspace default, no key", "workspace:default", "1.50", "excepted"):
            assert text in second

    def test_a_month_without_a_key(self, home):
        write_rows(home)
        result = runner.invoke(app, ["list", "2026-10"])
        assert (result.exit_code, result.output) == (0, "No key bypassed the proxy in 2026-10.\n")

    def test_a_month_that_was_not_matched(self):
        result = runner.invoke(app, ["list", "2026-10"])
        assert result.exit_code == 1
        assert "table fct_unproxied_keys has no partition billing_month=2026-10" in result.output
        assert "tokengov prepare 2026-10" in result.output

    def test_a_month_that_is_none(self):
        result = runner.invoke(app, ["list", "october"])
        assert result.exit_code == 1
        assert "'october' is not a billing month. Write YYYY-MM" in result.output


class TestExcept:
    def test_grants_lists_and_withdraws(self):
        assert runner.invoke(app, ["exceptions"]).output == "No exception was ever granted.\n"
        granted = runner.invoke(app, [*GRANT, "--approved-by", "Grace", "--until", "2027-02-03"])
        assert granted.exit_code == 0, granted.output
        assert "exception 1: anthropic acme-prod apikey-ci until 2027-02-03. It stays charged." in granted.output
        listed = runner.invoke(app, ["exceptions"]).output
        for text in (
            "apikey-ci",
            "2026-11-05",
            "2027-02-03",
            "in_force",
            "vendor SDK [beta]",
            "Ada, approved by Grace",
        ):
            assert text in listed
        withdrawn = runner.invoke(app, ["withdraw", "1", "--by", "Grace", "--reason", "moved"])
        assert withdrawn.output == "withdrew exception 1: anthropic apikey-ci is open again.\n"
        assert runner.invoke(app, ["exceptions"]).output == "No exception is in force.\n"
        assert "withdrawn" in runner.invoke(app, ["exceptions", "--all"]).output
        again = runner.invoke(app, ["withdraw", "1", "--by", "Grace", "--reason", "moved"])
        assert again.exit_code == 1
        assert "there is no exception 1 in force" in again.output

    @pytest.mark.parametrize(
        ("approver", "until", "says"),
        [
            ("ada", "2026-12-01", "Ada cannot both request and approve an exception."),
            ("Grace", "2027-02-04", "would hold for 91 days; policy.yaml allows 90"),
            ("Grace", "2026-11-04", "is over on 2026-11-05 already"),
        ],
    )
    def test_refuses_what_breaks_a_rule(self, approver, until, says):
        result = runner.invoke(app, [*GRANT, "--approved-by", approver, "--until", until])
        assert result.exit_code == 1
        assert says in result.output
        assert "Fix: " in result.output
        assert runner.invoke(app, ["exceptions", "--all"]).output == "No exception was ever granted.\n"

    def test_a_stricter_policy_is_kept(self, home):
        (home / "policy.yaml").write_text("unproxied: {exception_max_days: 30}\n", encoding="utf-8")
        result = runner.invoke(app, [*GRANT, "--approved-by", "Grace", "--until", "2026-12-06"])
        assert result.exit_code == 1
        assert "policy.yaml allows 30" in result.output

    def test_a_provider_without_a_section_needs_its_account(self):
        arguments = [
            "google",
            "--reason",
            "x",
            "--requested-by",
            "Ada",
            "--approved-by",
            "Grace",
            "--until",
            "2026-12-01",
        ]
        refused = runner.invoke(app, ["except", *arguments[:1], "workspace:default", *arguments[1:]])
        assert refused.exit_code == 2
        assert "names no account of google. Fix: --account NAME" in refused.output
        granted = runner.invoke(app, ["except", "google", "workspace:default", *arguments[1:], "--account", "acme"])
        assert granted.exit_code == 0, granted.output
        assert "google acme workspace:default" in granted.output

    def test_a_key_that_names_nothing(self):
        result = runner.invoke(
            app, ["except", "anthropic", "workspace:", *GRANT[3:], "--approved-by", "G", "--until", "2026-12-01"]
        )
        assert result.exit_code == 2
        assert "'workspace:' names no key" in result.output

    def test_settings_that_cannot_be_read(self, home):
        (home / "tokengov.yaml").write_text("a: [", encoding="utf-8")
        result = runner.invoke(app, ["exceptions"])
        assert result.exit_code == 2
        assert "tokengov.yaml is not valid YAML" in result.output
