"""`tokengov keys`, `sign` and `approvals`: from a new key to a signature that the ledger holds."""

import stat

import pytest
from typer.testing import CliRunner

from tests.installation import COST_CENTERS, TEAMS, USERS
from tokengov_pipelines.approvals_cli import PASSPHRASE_VARIABLE, app, keys
from tokengov_pipelines.domain.approval import ApprovalKind
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import load_installation

runner = CliRunner(env={"COLUMNS": "250"})
OCTOBER = BillingMonth(2026, 10)
SHA = "ab" * 32


def people(*keys_of):
    rows = [
        f"ada@example.com,Ada Lovelace,finance,{keys_of[0] if keys_of else ''},2026-01-01,",
        "grace@example.com,Grace Hopper,controller,,2026-01-01,",
    ]
    return "\n".join(["email,name,role,signing_key,valid_from,valid_to", *rows]) + "\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An installation on 5 November 2026, with October drafted."""
    monkeypatch.setenv("TOKENGOV_HOME", str(tmp_path))
    for name in ("TOKENGOV_LEDGER_URL", PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-05\n", encoding="utf-8")
    (tmp_path / "directory").mkdir()
    files = {"cost_centers": COST_CENTERS, "teams": TEAMS, "users": USERS, "people": people()}
    for name, content in files.items():
        (tmp_path / f"directory/{name}.csv").write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ledger(home):
    installation = load_installation(home)
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    with ledger.closed_book(OCTOBER, "pack", "service", "run-1") as page:
        page.record_draft(content_sha256="11" * 32, pack_path="packs/2026-10/v0", totals={}, close_content_sha256=SHA)
    return ledger


def new_key(path):
    """Make a key with the command; returns what it printed as signing_key."""
    result = runner.invoke(keys, ["new", "--out", str(path)])
    assert result.exit_code == 0, result.output
    return next(line for line in result.output.splitlines() if line.startswith("ed25519:"))


def signing(*arguments, role="preparer", who="ada@example.com"):
    return runner.invoke(app, ["sign", "2026-10", "--role", role, "--as", who, *arguments])


def test_a_new_key_is_for_its_owner_alone_and_is_never_overwritten(home):
    path = home / "ada.pem"
    public = new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(public) == len("ed25519:") + 44
    before = path.read_bytes()
    again = runner.invoke(keys, ["new", "--out", str(path)])
    assert again.exit_code == 1
    assert "is there already, and a key is never overwritten" in again.output
    assert path.read_bytes() == before
    assert "PRIVATE" not in again.output


def test_a_signature_by_a_registered_key_is_recorded(home, ledger):
    public = new_key(home / "ada.pem")
    (home / "directory/people.csv").write_text(people(public), encoding="utf-8")
    result = signing("--key", str(home / "ada.pem"), "--content", SHA[:12], "--exceptions", "INV-19")
    assert result.exit_code == 0, result.output
    assert "Ada Lovelace (preparer, signed): I prepared the pack of 2026-10 v1" in result.output
    (approval,) = ledger.approvals.of(OCTOBER, SHA)
    assert (approval.kind, approval.public_key, approval.exceptions) == (ApprovalKind.SIGNED, public, "INV-19")
    shown = runner.invoke(app, ["show", "2026-10"])
    for text in ("Ada Lovelace", "signed", "abababababab", approval.key_fingerprint):
        assert text in shown.output
    assert "missing: 2026-10 v1 (abababababab) has no controller. Fix: tokengov sign 2026-10" in shown.output


def test_a_key_that_is_not_registered_signs_nothing(home, ledger):
    new_key(home / "ada.pem")
    result = signing("--key", str(home / "ada.pem"))
    assert result.exit_code == 1
    assert "is not registered for Ada Lovelace on 2026-11-05" in result.output
    assert ledger.approvals.all(OCTOBER) == []


def test_an_encrypted_key_needs_its_passphrase(home, ledger, monkeypatch):
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    (home / "directory/people.csv").write_text(people(new_key(home / "ada.pem")), encoding="utf-8")
    assert b"ENCRYPTED" in (home / "ada.pem").read_bytes()
    assert signing("--key", str(home / "ada.pem")).exit_code == 0
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    refused = signing("--key", str(home / "ada.pem"))
    assert refused.exit_code == 1
    assert "is encrypted, and no passphrase is given" in refused.output
    assert len(ledger.approvals.all(OCTOBER)) == 1


def test_a_key_that_others_can_read_is_refused(home, ledger):
    new_key(home / "ada.pem")
    (home / "ada.pem").chmod(0o640)
    assert "chmod 600" in signing("--key", str(home / "ada.pem")).output
    assert "cannot be read" in signing("--key", str(home / "none.pem")).output
    assert ledger.approvals.all(OCTOBER) == []


def test_without_a_key_it_is_asserted_and_labelled_so(ledger):
    assert "Asserted: nobody can prove it later." in signing().output
    assert signing(role="controller", who="grace@example.com").exit_code == 0
    shown = runner.invoke(app, ["show", "2026-10"])
    assert shown.output.count("note: 2026-10 v1 (abababababab) as ") == 2
    assert "missing" not in shown.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"who": "eve@example.com"}, "directory/people.csv does not hold this person"),
        ({"role": "controller"}, "Ada Lovelace is finance in directory/people.csv, not controller"),
    ],
)
def test_who_may_not_sign_is_told(ledger, arguments, says):
    result = signing(**arguments)
    assert result.exit_code == 1
    assert says in result.output
    assert ledger.approvals.all(OCTOBER) == []


@pytest.mark.parametrize("content", ["cd" * 32, "abab"])
def test_another_content_than_the_one_looked_at_is_not_signed(ledger, content):
    result = signing("--content", content)
    assert result.exit_code == 1
    assert "the close of 2026-10 would hold content abababababab, not" in result.output


def test_a_month_without_a_draft_cannot_be_signed():
    result = signing()
    assert result.exit_code == 1
    assert "Fix: tokengov prepare 2026-10" in result.output
    assert "Nobody has approved 2026-10." in runner.invoke(app, ["show", "2026-10"]).output


def test_a_month_that_is_none_and_a_directory_with_a_problem_are_told(home, ledger):
    assert "'october' is not a billing month" in runner.invoke(app, ["show", "october"]).output
    (home / "directory/teams.csv").unlink()
    result = signing()
    assert result.exit_code == 1
    assert "teams.csv: the file is missing" in result.output
