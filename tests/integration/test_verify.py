"""`tokengov verify`, `explain` and `diff` as commands: exit codes, another machine's environment, lake and ledger."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import REPOSITORY
from tests.installation import insert_call
from tests.unit.closing.small_month import pack_files, small_month, written
from tokengov_pipelines.diff_cli import diff
from tokengov_pipelines.explain_cli import explain
from tokengov_pipelines.jobs import LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.pack.code_version import CODE_VERSION_VARIABLE
from tokengov_pipelines.verify_cli import verify

app = typer.Typer()
app.command("verify")(verify)
app.command("explain")(explain)
app.command("diff")(diff)
runner = CliRunner(env={"COLUMNS": "250", "TOKENGOV_HOME": "", CODE_VERSION_VARIABLE: "git:of-the-test"})
CHARGES = "chargeback.csv"


@pytest.fixture(scope="module")
def sealed():
    """The files of the small month, closed and signed."""
    return pack_files()


@pytest.fixture
def pack(sealed, tmp_path):
    """The same in a folder of its own."""
    return written(sealed, tmp_path / "2026-10" / "v1")


def run(*arguments):
    return runner.invoke(app, [str(each) for each in arguments])


def test_another_machine_finds_the_pack_identical(pack, tmp_path):
    command = "import typer; from tokengov_pipelines.verify_cli import verify; typer.run(verify)"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "TZ": "Asia/Tokyo",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "7",
        "FONTCONFIG_FILE": "/dev/null",
        "HOME": str(elsewhere),
        "COLUMNS": "250",
    }
    done = subprocess.run(
        [sys.executable, "-c", command, str(pack)],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical: the pack is what was sealed, and what its inputs make." in done.stdout
    assert "sealed by code version git:of-the-test, made again by " in done.stdout


def test_exit_codes_say_identical_different_and_unreadable(pack, sealed):
    assert run("verify", pack).exit_code == 0
    (pack / CHARGES).write_bytes(sealed[CHARGES].replace(b",4.50,", b",4.60,", 1))
    changed = run("verify", pack)
    assert changed.exit_code == 1
    assert "Fix: take the pack from where it was delivered from, and ask who changed this one." in changed.output
    for line in (
        f"differs: {CHARGES}",
        "has the size that was sealed, and other bytes",
        "row 3, amount: sealed '4.60'",
    ):
        assert line in changed.output
    (pack / "manifest.json").write_bytes(b"{")
    assert run("verify", pack).exit_code == 2
    (pack / "manifest.json").unlink()
    assert "so it is no pack. Fix: " in run("verify", pack).output
    assert run("verify", pack / "nothing").exit_code == 2
    assert run("verify", pack, "--deep").exit_code == 2


def test_the_register_of_people_is_read_and_checked(pack, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("email,name,role,signing_key,valid_from,valid_to\n", encoding="utf-8")
    nobody = run("verify", pack, "--people", people)
    assert nobody.exit_code == 1
    assert "signoff.csv" in nobody.output
    people.write_text("email,name\nada@example.com,Ada\n", encoding="utf-8")
    assert run("verify", pack, "--people", people).exit_code == 2
    assert run("verify", pack, "--people", tmp_path / "none.csv").exit_code == 2


def test_a_charge_is_explained_from_a_pack_alone(pack):
    shown = run("explain", "--pack", pack, "--cost-center", "CC-200", "--provider", "anthropic")
    assert shown.exit_code == 0, shown.output
    for line in (
        "CC-200 Search, 2026-10 v1  11.83 USD",
        "true_up  0.50 USD  repriced_proxy_spend: 15.50 x 10.999995000000 / 15.499995000000",
        "2026-10-20 claude-x standard  11.00 USD  exactly 10.999995  2,000,000 uncached_input at 3, 333,333 output",
        "rounding of the other pools  0.00 USD  exactly 0.000005",
        "line 5 Sales tax  1.20 USD",
    ):
        assert line in shown.output
    assert run("explain", "--pack", pack, "--cost-center", "CC-7").exit_code == 1
    (pack / CHARGES).write_bytes(b"")
    refused = run("explain", "--pack", pack, "--cost-center", "CC-200")
    assert refused.exit_code == 2
    assert f"{CHARGES} has 0 bytes" in refused.output


def test_two_packs_are_compared_by_cause(pack, tmp_path):
    other = written(pack_files(small_month(lab_owner="CC-100")), tmp_path / "v2")
    shown = run("diff", pack, other)
    assert shown.exit_code == 0, shown.output
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in shown.output.splitlines() if "│" in line}
    assert [each.strip() for each in rows["CC-100"]] == ["4.37", "", "", "+1.15", "", "", "", "+1.15", "5.52"]
    assert [each.strip() for each in rows["total"]] == ["16.20", "", "", "", "", "", "", "", "16.20"]
    assert [each.strip() for each in rows["provider_keys"]] == ["0", "0", "1"]
    (other / CHARGES).write_bytes(b"")
    assert run("diff", pack, other).exit_code == 2
    assert run("diff", pack, "2026-10/v9").exit_code == 2


def test_a_pack_is_compared_with_the_lake_that_it_was_made_from(loaded_month, tmp_path):
    home = loaded_month.twin(tmp_path)
    assert home.run(PREPARE_MONTH, "2026-09").succeeded
    pack = home.folder / "packs" / "2026-09" / "v0"
    same = run("verify", pack, "--deep", "--home", home.folder)
    assert same.exit_code == 0, same.output
    assert "partitions and every table of inputs/ are what the lake holds now" in same.output
    called = run("explain", "--period", "2026-09", "--cost-center", "CC-100", "--calls", "2", "--home", home.folder)
    assert called.exit_code == 0, called.output
    assert "the largest calls, as the lake holds them now" in called.output
    insert_call(home.url, "late", "2026-09-05 23:50", 0.25)
    assert home.run(LOAD_DAYS, "2026-09-05").succeeded
    moved = run("verify", pack, "--deep", "--home", home.folder)
    assert moved.exit_code == 0, moved.output
    for line in ("moved since the close", "marts/fct_usage_daily", "its correction posts to the next open month"):
        assert line in moved.output
