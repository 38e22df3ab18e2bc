"""`tokengov invoice`: a form to fill in, and a check with line-by-line complaints."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tokengov_pipelines.invoice_cli import app

runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Each test has its own home and its own working directory."""
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def fill_in(path: Path) -> None:
    written = json.loads(path.read_text())
    written.update(account="acme", invoice_id="ANT-2026-10 [bold]", invoice_date="2026-11-02")
    written["lines"] = [
        {"line_no": 1, "kind": "seat", "amount": "1234.50"},
        {"line_no": 2, "kind": "credit", "amount": "-34.50"},
    ]
    written.update(lines_total="1234.50", credits_total="-34.50", tax_total="0.00", total="1200.00")
    path.write_text(json.dumps(written))


class TestNew:
    def test_writes_a_form_and_says_what_comes_next(self, home):
        result = runner.invoke(app, ["new", "anthropic", "2026-10"])
        path = home / "invoices" / "anthropic-2026-10.json"
        assert result.exit_code == 0
        assert f"Wrote {path}" in result.output
        assert f"tokengov invoice check {path}" in result.output
        written = json.loads(path.read_text())
        assert (written["form"], written["period_last_day"]) == ("tokengov-invoice/1", "2026-10-31")
        assert "_help" in written

    def test_without_a_home_it_writes_here(self, tmp_path, monkeypatch):
        monkeypatch.delenv("TOKENGOV_HOME")
        assert runner.invoke(app, ["new", "google", "2026-10", "--form", "csv"]).exit_code == 0
        assert (tmp_path / "invoices" / "google-2026-10.csv").exists()

    def test_refuses_to_overwrite(self, tmp_path):
        arguments = ["new", "openai", "2026-10", "--folder", str(tmp_path / "drop")]
        assert runner.invoke(app, arguments).exit_code == 0
        path = tmp_path / "drop" / "openai-2026-10.json"
        path.write_text("mine")
        result = runner.invoke(app, arguments)
        assert result.exit_code == 1
        assert "is already there and was left as it is" in result.output
        assert path.read_text() == "mine"

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_text("x")
        result = runner.invoke(app, ["new", "openai", "2026-10", "--folder", str(tmp_path / "file")])
        assert result.exit_code == 1
        assert "Fix: choose another --folder." in result.output

    @pytest.mark.parametrize(
        "arguments", [["Open AI", "2026-10"], ["openai", "2026-13"], ["../x", "2026-10"], ["openai"]]
    )
    def test_arguments_that_cannot_be(self, arguments, home):
        result = runner.invoke(app, ["new", *arguments])
        assert result.exit_code == 2
        assert not home.exists()


class TestCheck:
    def test_an_invoice_that_adds_up(self, home):
        runner.invoke(app, ["new", "anthropic", "2026-10"])
        path = home / "invoices" / "anthropic-2026-10.json"
        fill_in(path)
        (home / "z-copy.json").write_text(path.read_text())
        result = runner.invoke(app, ["check", str(path), str(home / "z-copy.json")])
        assert result.exit_code == 0, result.output
        for text in ("ANT-2026-10 [bold]", "2026-10-01 to 2026-10-31", "1,234.50", "-34.50", "1,200.00", "USD"):
            assert text in result.output
        assert "z-copy.json repeats invoice ANT-2026-10 [bold] and is ignored." in result.output

    def test_an_empty_form_is_refused_line_by_line(self, home):
        runner.invoke(app, ["new", "anthropic", "2026-10", "--form", "csv"])
        path = home / "invoices" / "anthropic-2026-10.csv"
        result = runner.invoke(app, ["check", str(path)])
        assert result.exit_code == 1
        assert f"{path}:2 invoice_id: is empty. Fix: fill it in." in result.output
        assert f"{path}:3 amount: is empty. Fix: fill it in, or delete the line." in result.output

    def test_all_files_are_checked_before_it_gives_up(self, home, tmp_path):
        runner.invoke(app, ["new", "anthropic", "2026-10"])
        path = home / "invoices" / "anthropic-2026-10.json"
        (tmp_path / "bill.pdf").write_text("x")
        result = runner.invoke(app, ["check", "nowhere.json", "bill.pdf", str(path)])
        assert result.exit_code == 1
        assert "nowhere.json: there is no such file." in result.output
        assert "bill.pdf: an invoice is a file ending in .json or .csv." in result.output
        assert "anthropic-2026-10.json invoice_id: is empty." in result.output
