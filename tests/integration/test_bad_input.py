"""What a person sees of a command that cannot do its work: what, where and the fix, once; a non-zero exit; no traces.

Real processes, each on its own copy of a home, so that what they leave behind can be looked at.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import execute
from tests.installation import TestHome
from tokengov_pipelines.jobs import LOAD_DAYS, PREPARE_MONTH
from tokengov_pipelines.runner import RunRefusedError

pytestmark = pytest.mark.xdist_group("loaded month")

PASSWORD = "wr0ng-s3cret"
Done = CompletedProcess[str]


def said(done: Done, code: int = 1) -> list[str]:
    """The lines on stderr of a command that failed properly."""
    everything = done.stdout + done.stderr
    assert done.returncode == code, done
    assert "Traceback" not in everything, done
    assert PASSWORD not in everything, done
    assert not re.search(r"(dagster|sqlalchemy|psycopg2|pydantic|duckdb)[.\w]*(Error|Exception)", everything), done
    lines = done.stderr.splitlines()
    assert len(lines) <= 20, done
    assert "Fix: " in done.stderr, done
    return lines


def written(home: TestHome) -> set[str]:
    """Everything that a run wrote for others to read: lake, tables and packs."""
    roots = (home.folder / name for name in ("lake", "tables", "packs"))
    return {str(path.relative_to(home.folder)) for root in roots for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def empty_home(tmp_path: Path, litellm_database: str) -> TestHome:
    """An installation that has never run, on a proxy that has never served a call."""
    days = {"log_start": "2026-09-01", "books_start": "2026-09", "as_of": "2026-10-05"}
    return TestHome(tmp_path / "home", litellm_database, **days)


@pytest.fixture
def locked_role(litellm_database: str) -> Iterator[str]:
    """A role that has to say its password, which the server's other roles need not."""
    rules = Path(litellm_database.split("host=")[1]) / "pg_hba.conf"
    original = rules.read_text()
    execute(litellm_database, "create role locked_out login password 'right'")
    try:
        rules.write_text("local all locked_out scram-sha-256\n" + original)
        execute(litellm_database, "select pg_reload_conf()")
        yield "locked_out"
    finally:
        rules.write_text(original)
        execute(litellm_database, "select pg_reload_conf()")
        execute(litellm_database, "drop role locked_out")


def test_a_wrong_database_password(empty_home: TestHome, locked_role: str) -> None:
    url = empty_home.url.replace("postgres:@", f"{locked_role}:{PASSWORD}@")
    (line,) = said(empty_home.command("load", "2026-09-05", TOKENGOV_LITELLM_URL=url))
    assert line.startswith("failed litellm_snapshots, raw/litellm_spend_logs: LiteLLM Postgres at ")
    assert line.endswith(
        "the user or password in TOKENGOV_LITELLM_URL is refused. Fix: correct the URL or the role's password."
    )
    assert not {name for name in written(empty_home) if "litellm" in name or name.startswith("tables")}


def test_a_missing_table_and_an_old_schema(empty_home: TestHome) -> None:
    execute(empty_home.url, 'alter table "LiteLLM_SpendLogs" drop column cache_hit')
    execute(empty_home.url, 'drop table "LiteLLM_TeamTable"')
    teams, log = said(empty_home.command("load", "2026-09-05"))
    assert teams.startswith("failed litellm_snapshots: LiteLLM Postgres at ")
    assert teams.endswith(
        'table "LiteLLM_TeamTable" does not exist. Fix: point TOKENGOV_LITELLM_URL at the proxy\'s own database '
        "(LiteLLM makes its tables at first start)."
    )
    assert log.startswith("failed raw/litellm_spend_logs: LiteLLM Postgres at ")
    assert log.endswith(
        '"LiteLLM_SpendLogs" lacks or hides the columns cache_hit. Fix: run deploy/litellm/grants.sql as the owner; '
        "where they do not exist, upgrade LiteLLM."
    )
    assert not {name for name in written(empty_home) if "litellm" in name or name.startswith("tables")}


def test_an_empty_month_is_not_a_month_of_zero(empty_home: TestHome) -> None:
    assert empty_home.run(LOAD_DAYS, "2026-09-01").succeeded
    unread, empty = said(empty_home.command("prepare", "2026-09"))
    assert unread == (
        "failed marts/fct_spend_monthly: every_day_extracted: raw/litellm_spend_logs has no extract for 29 of the 30 "
        "days of 2026-09: 2026-09-02, 2026-09-03, 2026-09-04, 2026-09-05, 2026-09-06, .... "
        "Fix: tokengov load 2026-09-02 2026-09-30"
    )
    assert empty == (
        "raw/litellm_spend_logs was read and is empty for 1 of the 30 days of 2026-09: 2026-09-01; nothing proves that "
        "it covers them, so they do not count as zero. "
        "Fix: name the database that holds them in TOKENGOV_LITELLM_URL, then tokengov load 2026-09-01 2026-09-01"
    )
    assert not {name for name in written(empty_home) if name.startswith("packs") or "chargeback" in name}


def test_a_database_url_that_is_unset_or_no_url(empty_home: TestHome) -> None:
    (unset,) = said(empty_home.command("load", "2026-09-05", TOKENGOV_LITELLM_URL=None))
    assert unset == "TOKENGOV_LITELLM_URL is not set; this job needs it. Fix: export it; README.md says what it holds."
    assert written(empty_home) == set()
    words = f"host=db.example.com dbname=litellm user=reader password={PASSWORD}"
    (no_url,) = said(empty_home.command("load", "2026-09-05", TOKENGOV_LITELLM_URL=words))
    assert no_url == (
        "failed litellm_snapshots, raw/litellm_spend_logs: LiteLLM Postgres: TOKENGOV_LITELLM_URL is no postgresql:// "
        "URL. Fix: write it like postgresql://tokengov_reader:...@host:5432/litellm"
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "tokengov.yaml",
            "warehouse_lock_secs: 3",
            "warehouse_lock_secs: there is no such key. Fix: correct or remove",
        ),
        (
            "tokengov.yaml",
            "log_start: soon",
            "log_start: Input should be a valid date or datetime, input is too short.",
        ),
        ("tokengov.yaml", "- log_start", "this is no list of keys and values. Fix: write one `key: value` a line."),
        ("policy.yaml", "money: [oops", "line 1: expected ',' or ']', but got '<stream end>'. Fix: correct that line."),
    ],
    ids=["unknown key", "not a date", "a list", "not YAML"],
)
def test_a_setting_that_is_wrong(empty_home: TestHome, file: str, content: str, words: str) -> None:
    empty_home.write(file, content)
    (line,) = said(empty_home.command("load", "2026-09-05"), code=2)
    assert line.startswith(file)
    assert words in line
    assert written(empty_home) == set()


@pytest.mark.parametrize(
    ("job", "first", "last", "words"),
    [
        (LOAD_DAYS, "2026-09-05", "2026-09-01", "2026-09-05 is after 2026-09-01. Fix: name the earlier one first."),
        (LOAD_DAYS, "2026-10-05", None, "2026-10-05 cannot be run: load_days_job takes 2026-09-01 to 2026-10-04"),
        (LOAD_DAYS, "2026-08-31", None, "2026-08-31 cannot be run: load_days_job takes 2026-09-01 to 2026-10-04"),
        (PREPARE_MONTH, "2026-10", None, "2026-10 cannot be run: prepare_month_job takes 2026-09 to 2026-09 (UTC)."),
        (PREPARE_MONTH, "2026-13", None, "2026-13 cannot be run: prepare_month_job takes 2026-09 to 2026-09 (UTC)."),
    ],
    ids=["backwards", "today", "before the log", "this month", "no month"],
)
def test_days_and_months_that_cannot_be_meant(
    tmp_path: Path, job: str, first: str, last: str | None, words: str
) -> None:
    home = TestHome(tmp_path, "", log_start="2026-09-01", books_start="2026-09", as_of="2026-10-05")
    with pytest.raises(RunRefusedError) as refused:
        home.run(job, first, last)
    assert str(refused.value).startswith(words)
    assert written(home) == set()


def break_everything(home: TestHome) -> None:
    """An unknown cost center, a team twice on a day; invoices in no currency, that do not foot, that contradict."""
    teams = (home.folder / "directory/teams.csv").read_text()
    later = "UTC,lead@example.com,#chat,2026-09-10,\n"
    home.write("directory/teams.csv", f"{teams}team-shop,Shop,CC-100,{later}team-new,New,CC-999,{later}")
    good = json.loads((home.folder / "invoices/openai-2026-09.json").read_text())
    line = good["lines"][0]
    copies = {
        "euros": {"invoice_id": "EUR-1", "currency": "EURO"},
        "footing": {"invoice_id": "FOOT-1", "lines": [{**line, "amount": "24.00"}]},
        "other": {"lines": [{**line, "amount": "25.07"}], "lines_total": "25.07", "total": "25.07"},
    }
    for name, changes in copies.items():
        home.write(f"invoices/{name}.json", json.dumps({**good, **changes}))


def test_directory_invoices_and_ledger_are_each_told_once(loaded_month: TestHome, tmp_path: Path) -> None:
    home = loaded_month.twin(tmp_path / "home")
    before = written(home)
    break_everything(home)
    ledger = f"postgresql://ledger:{PASSWORD}@127.0.0.1:9/ledger"

    lines = said(home.command("prepare", "2026-09", TOKENGOV_LEDGER_URL=ledger))
    expected = {
        "failed org_directory: ": "2 problems in the org directory ",
        "teams.csv:4 valid_from: ": "team-shop is also in row 2: both are valid from 2026-09-10 on. Fix: end one row",
        "teams.csv:5 cost_center: ": "'CC-999' is not in cost_centers.csv. Fix: correct it, or add it to ",
        "failed raw/invoices: ": "3 problems in the invoices of ",
        "euros.json currency: ": "'EURO' is not an ISO 4217 currency code. Fix: write three capitals, such as USD or ",
        "footing.json lines_total: ": "24.07 is written and the lines add up to 24.00, a difference of 0.07. Fix: ",
        "other.json lines_total: ": "invoice OPENAI-2026-09 of openai is also in openai-2026-09.json with other ",
        "failed price_book, marts/fct_spend_monthly_every_day_extracted, "
        "marts/fct_spend_monthly_quarantine_is_empty_or_waived: ": (
            "the ledger at postgresql+psycopg2://ledger:***@127.0.0.1:9/ledger cannot be reached: "
        ),
        "alerts were not recorded: ": "the ledger at postgresql+psycopg2://ledger:***@127.0.0.1:9/ledger cannot be ",
    }
    for where, what in expected.items():
        assert [line.startswith(where + what) for line in lines].count(True) == 1, (where, lines)
    assert len(lines) == len(expected)
    assert {name for name in written(home) - before if "fct_spend_monthly" not in name} == set()

    files = sorted(f"invoices/{path.name}" for path in (home.folder / "invoices").iterdir())
    checked = said(home.command("invoice", "check", *files))
    assert [line.partition(": ")[0] for line in checked] == [
        "invoices/euros.json currency",
        "invoices/footing.json lines_total",
        "invoices/other.json lines_total",
    ]
    (periods,) = said(home.command("periods", TOKENGOV_LEDGER_URL=ledger))
    assert periods.startswith("the ledger at postgresql+psycopg2://ledger:***@127.0.0.1:9/ledger cannot be reached: ")
