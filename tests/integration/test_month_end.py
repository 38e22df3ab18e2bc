"""From days to a closed month with the production jobs: what changes no byte, what holds the close, what lifts it."""

import csv
import json
import shlex
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from tests.conftest import execute
from tests.installation import TestHome, insert_call
from tokengov_pipelines.dagster_home import open_instance
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.runner import RunReport

pytestmark = pytest.mark.xdist_group("loaded month")  # one worker loads the month once for all of its users

MONTH = "2026-09"
TABLES_OF_A_DAY = ("fct_usage_daily", "fct_screening_daily", "fct_proxy_usage_daily")


def close(home: TestHome) -> RunReport:
    signed = {"preparer": "pia@example.com", "approver": "carl@example.com"}
    return home.run(CLOSE_MONTH, MONTH, config={"ops": {"finance__closed_month": {"config": signed}}})


def run_the_fix(home: TestHome, told: str) -> None:
    """Run the command that a message ends with, as a person would: copied, with the blanks filled in."""
    command = "tokengov" + told.rpartition("tokengov")[2]
    blanks = {"...": "looked into it", "A": "ana@example.com", "B": "ben@example.com"}
    arguments = [blanks.get(word, word) for word in shlex.split(command)[1:]]
    done = home.command(*arguments)
    assert done.returncode == 0, done


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def lake_files(home: TestHome) -> dict[str, bytes]:
    """The lake without the notes of what each extraction saw."""
    files = sorted(path for path in (home.folder / "lake").rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.name != "last_seen.json"}


def last_metadata(home: TestHome, *key: str) -> dict[str, object]:
    with open_instance(home.installation) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def pack(home: TestHome, version: str) -> tuple[list[dict[str, str]], dict[str, object]]:
    """The rows of chargeback.csv and the control totals of a version."""
    folder = home.folder / "packs" / MONTH / version
    with (folder / "chargeback.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / "control_totals.json").read_text(encoding="utf-8"))


def charged(rows: list[dict[str, str]], field: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row[field]] = sums.get(row[field], Decimal(0)) + Decimal(row["amount"])
    return sums


def sources(totals: dict[str, object]) -> dict[str, tuple[int, Decimal]]:
    return {each["source"]: (each["rows"], Decimal(each["sum"])) for each in totals["sources"]}  # type: ignore[attr-defined]


def assert_tie(tie: dict[str, str], charges: int) -> None:
    """A tie's last two amounts are one; the detail is of every line, and suspense rolls forward."""
    if tie["tie"].startswith("chargeback_detail.csv"):
        assert tie["lines"] == str(charges)
    elif tie["tie"].startswith("suspense"):
        assert Decimal(tie["opening"]) + Decimal(tie["new"]) - Decimal(tie["cleared"]) == Decimal(tie["closing"])
    else:
        one, other = list(tie.values())[-2:]
        assert Decimal(one) == Decimal(other), tie


def assert_everything_ties(home: TestHome, version: str, invoices: dict[str, Decimal]) -> None:
    """Invoices = chargeback.csv to the cent, by provider and in all; every logged row is found again in screening."""
    rows, totals = pack(home, version)
    assert charged(rows, "provider") == invoices
    for tie in totals["ties"]:  # type: ignore[attr-defined]
        assert_tie(tie, len(rows))
    everything = [tie for tie in totals["ties"] if tie["tie"] == "all charged invoices = chargeback.csv"]  # type: ignore[attr-defined]
    assert [Decimal(tie["invoice"]) for tie in everything] == [sum(invoices.values())]
    counted = sources(totals)
    screened = [counted[f"marts/fct_screening_daily:{name}"] for name in ("accepted", "duplicate", "quarantined")]
    assert tuple(map(sum, zip(*screened, strict=True))) == counted["raw/litellm_spend_logs"]


def test_a_day_run_twice_changes_nothing_and_a_late_row_changes_its_day_alone(
    loaded_month: TestHome, tmp_path: Path
) -> None:
    home = loaded_month.twin(tmp_path / "home")
    exports, lake = home.exports(), lake_files(home)
    arrived = {"created_at": "2026-09-06 04:00", "updated_at": "2026-09-06 04:00"}
    insert_call(home.url, "late", "2026-09-05 23:50", 0.25, **arrived)
    assert home.run(LOAD_DAYS, "2026-09-04", "2026-09-06").succeeded
    late = home.exports()
    day = {f"tables/{table}/usage_date=2026-09-05.parquet" for table in TABLES_OF_A_DAY}
    assert changed(exports, late) == day
    assert {path.split("/raw/")[1].split("/")[1] for path in changed(lake, lake_files(home))} == {"day=2026-09-05"}

    never_late = TestHome(tmp_path / "never_late", home.url, **home.settings)
    assert never_late.run(LOAD_DAYS, "2026-09-05").succeeded
    assert {name: late[name] for name in never_late.exports()} == never_late.exports()


def test_a_purged_day_stays_as_it_was_and_holds_the_close_until_somebody_says_why(
    loaded_month: TestHome, tmp_path: Path
) -> None:
    home = loaded_month.twin(tmp_path / "home")
    exports = home.exports()
    pointer = home.folder / "lake/raw/litellm_spend_logs/day=2026-09-10/current.json"
    pointed_at = pointer.read_bytes()
    execute(home.url, """delete from "LiteLLM_SpendLogs" where "startTime"::date = '2026-09-10'""")

    loaded = home.run(LOAD_DAYS, "2026-09-09", "2026-09-11")
    assert loaded.succeeded
    (failed,) = loaded.failed_checks
    lost = "3 rows became 0; spend_usd 1.300000000000 became 0.000000000000; 3 request_ids are gone"
    assert failed.startswith(
        f"raw/litellm_spend_logs: source_still_holds_the_day: 2026-09-10: {lost}; the earlier load stays current. Fix: "
    )
    assert pointer.read_bytes() == pointed_at
    assert home.exports() == exports

    held = close(home)
    assert not held.succeeded
    (why,) = held.failures
    assert why == (
        "finance/closed_month: 2026-09 is held, nothing was closed:\n"
        f"- the latest load of 2026-09-10 held less than the one before it: {lost}. "
        'Fix: tokengov accept-shrink 2026-09-10 --reason "..." --accepted-by A, or keep the earlier load: '
        'tokengov waive 2026-09 shrink --reason "..." --requested-by A --approved-by B'
    )
    assert sorted(path.name for path in (home.folder / "packs" / MONTH).iterdir()) == ["v0"]

    waived = home.twin(tmp_path / "waived")
    run_the_fix(waived, why)
    assert close(waived).succeeded
    assert sources(pack(waived, "v1")[1])["marts/fct_screening_daily:accepted"] == (90, Decimal("39.00"))

    unsigned = home.command("accept-shrink", "2026-09-10", "--reason", "retention", "--accepted-by", " ")
    assert (unsigned.returncode, pointer.read_bytes()) == (1, pointed_at)
    run_the_fix(home, why.partition(", or keep")[0])
    not_built = home.run(PREPARE_MONTH, MONTH)
    assert [text.partition(" has no")[0] for text in not_built.failures] == [
        "marts/fct_spend_monthly: every_day_extracted: marts/fct_usage_daily"
    ]
    run_the_fix(home, not_built.failures[0])
    assert close(home).succeeded
    assert sources(pack(home, "v1")[1])["marts/fct_screening_daily:accepted"] == (87, Decimal("37.70"))


def test_a_closed_month_keeps_its_files_and_says_why(closed_month: TestHome, tmp_path: Path) -> None:
    home = closed_month.twin(tmp_path / "home")
    assert_everything_ties(home, "v1", {"openai": Decimal("24.07"), "anthropic": Decimal("15.00")})
    assert charged(pack(home, "v1")[0], "cost_center") == {
        "CC-100": Decimal("24.00"),
        "CC-200": Decimal("15.00"),
        "CC-990-CENTRAL": Decimal("0.07"),
    }
    before = home.exports(without=())

    insert_call(home.url, "late", "2026-09-20 23:50", 0.75, team_id="team-search", custom_llm_provider="anthropic")
    execute(home.url, """delete from "LiteLLM_SpendLogs" where "startTime"::date = '2026-09-10'""")
    centers = home.folder / "directory/cost_centers.csv"
    home.write("directory/cost_centers.csv", centers.read_text() + "CC-300,Discovery,ACME-US,2020-01-01,,\n")
    teams = home.folder / "directory/teams.csv"
    home.write("directory/teams.csv", teams.read_text().replace("Search,CC-200", "Search,CC-300"))
    loaded = home.run(LOAD_DAYS, "2026-09-10", "2026-09-20")
    assert loaded.succeeded
    assert "source_still_holds_the_day: 2026-09-10" in loaded.failed_checks[0]
    assert close(home).succeeded  # the steps of prepare_month_job are part of it

    after = home.exports(without=())
    assert not {name for name in changed(before, after) if name.startswith("packs/")}
    assert f"tables/fct_chargeback_monthly/billing_month={MONTH}.parquet" in changed(before, after)
    table = home.folder / f"tables/fct_chargeback_monthly/billing_month={MONTH}.parquet"
    now = [
        (row["cost_center"], row["charge_type"], row["amount"])
        for row in pq.read_table(table).to_pylist()
        if row["provider"] == "anthropic"
    ]
    # The late call's model has no price at this provider: what was logged for it is charged and taken back.
    assert now == [
        ("CC-200", "direct", Decimal("9.50")),
        ("CC-300", "direct", Decimal("6.25")),
        ("CC-300", "true_up", Decimal("-0.75")),
        ("CC-990-CENTRAL", "central", Decimal("0.00")),
    ]
    for asset in ("chargeback_pack", "closed_month"):
        told = last_metadata(home, "finance", asset)
        assert told["reason"] == (
            "period 2026-09 was closed at v1 on 2026-10-05 00:00 UTC by pia@example.com, approved by carl@example.com: "
            "its files are not rewritten; corrections post to the next open period"
        )
        assert (told["written"], told["version"]) == (False, "v1")


def test_quarantine_and_suspense_hold_the_close_until_two_people_waive_them(
    loaded_month: TestHome, tmp_path: Path
) -> None:
    home = loaded_month.twin(tmp_path / "home")
    insert_call(home.url, "nobody's", "2026-09-15 10:00", 0.60, team_id="team-unknown")
    insert_call(home.url, "unreadable", "2026-09-15 11:00", "NaN", custom_llm_provider="anthropic")
    assert home.run(LOAD_DAYS, "2026-09-15").succeeded

    prepared = home.command("prepare", MONTH)
    held = prepared.stderr
    assert (prepared.returncode, prepared.stdout) == (1, "")
    assert held == (
        "failed marts/fct_spend_monthly: quarantine_is_empty_or_waived: 1 calls of 2026-09 are in quarantine, with 0 "
        "USD of readable spend (fct_quarantined_calls). "
        'Fix: tokengov waive 2026-09 quarantine --reason "..." --requested-by A --approved-by B\n'
    )
    assert not (home.folder / "packs").exists()
    quarantined = pq.read_table(home.folder / "tables/fct_quarantined_calls/usage_date=2026-09-15.parquet").to_pylist()
    assert [(row["request_id"], row["reason"], row["spend_text"]) for row in quarantined] == [
        ("unreadable", "unreadable_spend", "NaN")
    ]
    one_person = ("--reason", "me", "--requested-by", "ana@example.com", "--approved-by", "Ana@example.com ")
    refused = home.command("waive", MONTH, "quarantine", *one_person)
    assert refused.returncode == 1
    assert refused.stderr == (
        "ana@example.com cannot both request and approve a waiver. Fix: name another person as --approved-by.\n"
    )
    run_the_fix(home, held)

    report = close(home)
    (held,) = report.failures
    suspense = (
        "openai invoice OPENAI-2026-09: suspense holds 0.60 of 24.07 USD, 2.49 %; the limit is 2.0 %. "
        'Fix: tokengov waive 2026-09 suspense --provider openai --reason "..." --requested-by A --approved-by B'
    )
    assert held == f"finance/closed_month: 2026-09 is held, nothing was closed:\n- {suspense}"
    assert report.failed_checks == [f"marts/fct_chargeback_monthly: suspense_is_within_limit: {suspense}"]
    run_the_fix(home, held)

    assert close(home).succeeded
    assert_everything_ties(home, "v1", {"openai": Decimal("24.07"), "anthropic": Decimal("15.00")})
    rows, totals = pack(home, "v1")
    assert charged(rows, "cost_center")["CC-900-SUSPENSE"] == Decimal("0.60")
    assert sources(totals) == {
        "raw/litellm_spend_logs": (92, Decimal("39.60")),
        "marts/fct_screening_daily:accepted": (91, Decimal("39.60")),
        "marts/fct_screening_daily:duplicate": (0, Decimal(0)),
        "marts/fct_screening_daily:quarantined": (1, Decimal(0)),
        "raw/invoices:openai:OPENAI-2026-09": (1, Decimal("24.07")),
        "raw/invoices:anthropic:ANTHROPIC-2026-09": (1, Decimal("15.00")),
    }


def test_a_day_without_extract_or_without_build_holds_the_month(loaded_month: TestHome, tmp_path: Path) -> None:
    home = loaded_month.twin(tmp_path / "home")
    (home.folder / "lake/raw/litellm_spend_logs/day=2026-09-12/current.json").unlink()
    (home.folder / "tables/fct_screening_daily/usage_date=2026-09-20.parquet").unlink()
    (held,) = home.run(PREPARE_MONTH, MONTH).failures
    assert held == (
        "marts/fct_spend_monthly: every_day_extracted: "
        "marts/fct_usage_daily has no extract for 1 of the 30 days of 2026-09: 2026-09-20. "
        "Fix: tokengov load 2026-09-20 2026-09-20\n"
        "raw/litellm_spend_logs has no extract for 1 of the 30 days of 2026-09: 2026-09-12. "
        "Fix: tokengov load 2026-09-12 2026-09-12"
    )
    assert not (home.folder / "packs").exists()
