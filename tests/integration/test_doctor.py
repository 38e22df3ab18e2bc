"""`tokengov doctor` on a real Postgres and local HTTP servers: all green, then one broken thing at a time."""

import datetime as dt
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
import fsspec
import pyarrow as pa
import pytest
import typer
from moto.server import ThreadedMotoServer
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

from resources.http_source import Patience
from resources.tables import Tables
from tests.conftest import REPOSITORY, execute
from tests.installation import COST_CENTERS, TEAMS, USERS, TestHome, insert_call, insert_three_calls_a_day
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.postgres import create_reader
from tokengov_pipelines.demo.providers.books import OPENAI, ProviderBooks, Workspace
from tokengov_pipelines.demo.providers.faults import Delay, Fault, Status
from tokengov_pipelines.demo.providers.github import GitHubBooks, github_routes, graphql_refused
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.demo.pull_requests import REPOSITORIES, build_pull_requests
from tokengov_pipelines.doctor import examine
from tokengov_pipelines.doctor_cli import doctor
from tokengov_pipelines.domain.finding import Finding, Level
from tokengov_pipelines.ledger.ledger import Ledger

PASSWORD = "pl4nted/p@ss%word"
ANTHROPIC_KEY = "sk-ant-admin01-PLANTED-anthropic"
OPENAI_KEY = "sk-admin-PLANTED-openai"
GITHUB_TOKEN = "ghp_PLANTEDgithubPLANTEDgithubPLANTED00"
ALERT_URL = "json://user:PLANTEDalert@127.0.0.1/PLANTEDpath"
PLANTED = (PASSWORD, quote(PASSWORD, safe=""), "pl4nted", "PLANTED")
NOW = "2026-11-05T12:00:00Z"
BRIEF = Patience(
    attempts=2, first_pause_seconds=0.01, longest_pause_seconds=0.1, read_timeout_seconds=1, answer_timeout_seconds=3
)
CHECKOUT = REPOSITORIES[0].name
ALL = build_pull_requests(build_organisation(), 20_261_105)
PULL_REQUESTS = [each for each in ALL if each.repository == REPOSITORIES[0]][:5]


def rate_limit(request: Request) -> JSONResponse:
    if request.headers.get("authorization", "").partition(" ")[2] != GITHUB_TOKEN:
        return JSONResponse({"message": "Bad credentials"}, 401)
    limits = {kind: {"limit": 5000, "remaining": 4990} for kind in ("core", "graphql")}
    headers = {"github-authentication-token-expiration": "2099-01-01 00:00:00 UTC"}
    return JSONResponse({"resources": limits}, headers=headers)


@pytest.fixture
def github() -> GitHubBooks:
    return GitHubBooks(PULL_REQUESTS)


@pytest.fixture
def server(github: GitHubBooks) -> Iterator[ProviderServer]:
    project = Workspace(OPENAI, "proj_1", "Main", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    books = ProviderBooks(workspaces=(project,))
    routes = [Route("/github/api/v3/rate_limit", rate_limit), *github_routes(github, token=GITHUB_TOKEN)]
    with ProviderServer(books, anthropic_key=ANTHROPIC_KEY, openai_key=OPENAI_KEY, routes=routes) as running:
        yield running


@pytest.fixture
def database(litellm_database: str) -> Iterator[str]:
    """LiteLLM's tables with 72 days of calls, as their owner; the role's grants end with the test."""
    insert_three_calls_a_day(litellm_database, "2026-08-25", "2026-11-04")
    yield litellm_database
    execute(litellm_database, "drop owned by tokengov_reader")


@pytest.fixture
def home(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestHome:
    """A home on which everything is well set, without providers."""
    for name in [name for name in os.environ if name.startswith(("TOKENGOV_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", create_reader(database, PASSWORD))
    monkeypatch.setenv("TOKENGOV_ALERT_URLS", ALERT_URL)
    return changed(tmp_path / "home", database)


@pytest.fixture
def with_providers(home: TestHome, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> TestHome:
    """The same with Anthropic, OpenAI and GitHub."""
    monkeypatch.setenv("TOKENGOV_ANTHROPIC_ADMIN_KEY", ANTHROPIC_KEY)
    monkeypatch.setenv("TOKENGOV_OPENAI_ADMIN_KEY", OPENAI_KEY)
    monkeypatch.setenv("TOKENGOV_GITHUB_TOKEN", GITHUB_TOKEN)
    return changed(
        home.folder,
        home.url,
        anthropic={"base_url": server.anthropic_url},
        openai={"base_url": server.openai_url},
        github={"base_url": f"{server.url}/github/api/v3", "repositories": [CHECKOUT]},
    )


def changed(folder: Path, database: str, **settings: Any) -> TestHome:
    """The home with other settings; those of None are left out."""
    settings = {"log_start": "2026-08-25", "as_of": NOW, **settings}
    made = TestHome(folder, database, **{name: value for name, value in settings.items() if value is not None})
    made.invoice("openai", "2026-10", "24.07", "2026-10-31")
    return made


def look(home: TestHome) -> list[Finding]:
    """All findings; none of them holds anything that was planted."""
    findings = list(examine(home.installation, patience=BRIEF))
    said = json.dumps([[finding.source, finding.check, finding.text, finding.fix] for finding in findings])
    assert [word for word in PLANTED if word in said] == []
    assert all(finding.fix for finding in findings if finding.level in {Level.WARNING, Level.ERROR})
    return findings


def bad(home: TestHome) -> dict[tuple[str, str], Level]:
    return {
        (finding.source, finding.check): finding.level
        for finding in look(home)
        if finding.level in {Level.WARNING, Level.ERROR}
    }


def only(home: TestHome) -> Finding:
    """The one finding that is not ok."""
    (found,) = [finding for finding in look(home) if finding.level in {Level.WARNING, Level.ERROR}]
    return found


def of(home: TestHome, source: str, check: str) -> Finding:
    (found,) = [finding for finding in look(home) if (finding.source, finding.check) == (source, check)]
    return found


def test_a_well_set_home_is_green_and_ends_with_zero(with_providers: TestHome) -> None:
    findings = look(with_providers)
    found = [(finding.source, finding.level) for finding in findings if finding.level is not Level.OK]
    assert found == [("cloud bills", Level.NOT_CONFIGURED)]
    checks: dict[str, list[str]] = {}
    for finding in findings:
        checks.setdefault(finding.source, []).append(finding.check)
    assert checks == {
        "lake": ["writable"],
        "ledger": ["reachable"],
        "Dagster": ["home"],
        "warehouse": ["lock"],
        "disk": ["space"],
        "prices": ["price list"],
        "alerts": ["transports"],
        "LiteLLM": [
            *("reachable", "clock", "schema", "permitted", "privacy", "newest row", "prices"),
            *("retention", "time zone", "price map"),
        ],
        "directory": ["files", "ending cost centers", "gaps", "next month's orphans"],
        "invoices": ["files"],
        "cloud bills": ["configured"],
        "Anthropic": [
            *("clock", "usage report", "cost report", "API keys", "workspaces", "users", "service accounts"),
        ],
        "OpenAI": ["clock", "usage report", "cost report", "projects", "API keys", "service accounts", "users"],
        "GitHub": ["clock", "identity", "rate limit", "expiry", CHECKOUT],
    }
    assert list((with_providers.folder / "lake").rglob("*")) == []


def run_command(home: TestHome, *arguments: str) -> Any:
    app = typer.Typer()
    app.command("doctor")(doctor)
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["--home", str(home.folder), *arguments])
    assert [word for word in PLANTED if word in result.output] == []
    return result


def test_the_command_prints_each_fix_under_its_problem_and_ends_with_one(
    home: TestHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", f"postgresql://reader:{quote(PASSWORD, safe='')}@127.0.0.1:9/litellm")
    monkeypatch.delenv("TOKENGOV_ALERT_URLS")
    result = run_command(home)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    at = lines.index("LiteLLM")
    assert lines[at + 1 : at + 3] == [
        "  error   reachable: LiteLLM Postgres at 127.0.0.1:9/litellm: it cannot be reached.",
        "          Fix: check host, port and network of TOKENGOV_LITELLM_URL.",
    ]
    assert lines[-1].startswith("1 error, 2 warnings, ")


def test_json_holds_every_finding_and_the_counts(with_providers: TestHome) -> None:
    with_providers.write("tokengov.yaml", f"as_of: {NOW}\n")
    result = run_command(with_providers, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["errors"], report["warnings"]) == (0, 0)
    assert report["findings"][-3:] == [
        {
            "source": name,
            "check": "configured",
            "level": "not_configured",
            "text": f"tokengov.yaml has no section {name.lower()}; {variable} is set and not used.",
            "fix": "",
        }
        for name, variable in (
            ("Anthropic", "TOKENGOV_ANTHROPIC_ADMIN_KEY"),
            ("OpenAI", "TOKENGOV_OPENAI_ADMIN_KEY"),
            ("GitHub", "TOKENGOV_GITHUB_TOKEN"),
        )
    ]


def test_wrong_settings_end_with_two(home: TestHome) -> None:
    home.write("tokengov.yaml", "litellm: {reread_dayz: 3}\n")
    result = run_command(home)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "litellm.reread_dayz: there is no such key. Fix:" in result.stderr


# --- LiteLLM ----------------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_there_is_one_error_and_the_directory_says_what_it_could_not_compare(
    home: TestHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", f"postgresql://reader:{quote(PASSWORD, safe='')}@127.0.0.1:9/litellm")
    assert bad(home) == {("LiteLLM", "reachable"): Level.ERROR, ("directory", "gaps"): Level.WARNING}


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("", "export it, for example postgresql://tokengov_reader:...@host:5432/litellm"),
        (f"jdbc:{PASSWORD}", "write it like postgresql://tokengov_reader:...@host:5432/litellm"),
        (
            f"postgresql://reader:{PASSWORD}@127.0.0.1:9/litellm",
            "percent-encode the special characters of its password",
        ),
        ("postgresql://reader:pl4nted%zz@127.0.0.1:9/litellm", "percent-encode the special characters"),
    ],
)
def test_an_unset_or_mistyped_url_is_named_and_not_repeated(
    home: TestHome, monkeypatch: pytest.MonkeyPatch, url: str, fix: str
) -> None:
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", url)
    found = of(home, "LiteLLM", "reachable")
    assert (found.level, found.fix.startswith(fix)) == (Level.ERROR, True), found


def test_a_wrong_password_is_an_error_without_the_password(home: TestHome, database: str) -> None:
    rules = Path(database.split("host=")[1]) / "pg_hba.conf"
    original = rules.read_text()
    try:
        rules.write_text("local all tokengov_reader scram-sha-256\n" + original)
        execute(database, "alter role tokengov_reader password 'another'")
        execute(database, "select pg_reload_conf()")
        for _ in range(50):
            found = of(home, "LiteLLM", "reachable")
            if found.level is Level.ERROR:
                break
    finally:
        rules.write_text(original)
        execute(database, "select pg_reload_conf()")
    assert "the user or password in TOKENGOV_LITELLM_URL is refused." in found.text
    assert found.fix == "correct the URL or the role's password."


def test_a_missing_grant_names_the_column_and_the_script(home: TestHome, database: str) -> None:
    execute(database, 'revoke select (soft_budget, blocked) on "LiteLLM_TeamTable" from tokengov_reader')
    found = only(home)
    assert (found.source, found.check, found.level) == ("LiteLLM", "permitted", Level.ERROR)
    assert found.text == "the role may not read LiteLLM_TeamTable.soft_budget, LiteLLM_TeamTable.blocked."
    assert found.fix == "run deploy/litellm/grants.sql as the owner of LiteLLM's tables, and again after each upgrade."


def test_a_role_that_can_read_prompts_and_write_is_a_warning(home: TestHome, database: str) -> None:
    execute(database, 'grant select (messages) on "LiteLLM_SpendLogs" to tokengov_reader')
    found = only(home)
    assert (found.source, found.check, found.level) == ("LiteLLM", "privacy", Level.WARNING)
    assert found.text == "tokengov_reader can read LiteLLM_SpendLogs.messages: prompts and secrets."
    assert "deploy/litellm/grants.sql" in found.fix
    execute(database, 'revoke select (messages) on "LiteLLM_SpendLogs" from tokengov_reader')
    execute(database, 'grant delete on "LiteLLM_SpendLogs" to tokengov_reader')
    assert only(home).text == "tokengov_reader can change LiteLLM_SpendLogs, which is evidence."


def test_the_owner_as_login_is_a_warning_too(home: TestHome, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", database)
    assert bad(home) == {("LiteLLM", "privacy"): Level.WARNING}


def test_a_column_that_does_not_exist_asks_for_an_upgrade_and_an_older_version_is_fine(
    home: TestHome, database: str
) -> None:
    execute(database, 'alter table "LiteLLM_SpendLogs" drop column litellm_call_id cascade')
    execute(database, 'drop table "LiteLLM_DeletedTeamTable"')
    found = of(home, "LiteLLM", "schema")
    assert (found.level, found.text) == (
        Level.OK,
        (
            "every table and column that is needed exists; not in this version of LiteLLM, and not needed: "
            "LiteLLM_SpendLogs.litellm_call_id, LiteLLM_DeletedTeamTable."
        ),
    )
    execute(database, 'alter table "LiteLLM_SpendLogs" drop column request_tags cascade')
    found = only(home)
    assert (found.check, found.level, found.fix) == ("schema", Level.ERROR, "upgrade LiteLLM.")
    assert found.text == "these columns do not exist: LiteLLM_SpendLogs.request_tags."


def test_another_database_than_the_proxys_is_an_error(
    home: TestHome, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENGOV_LITELLM_URL", new_database())
    found = of(home, "LiteLLM", "schema")
    assert (found.level, "has no table LiteLLM_SpendLogs, " in found.text) == (Level.ERROR, True)
    assert found.fix.startswith("point TOKENGOV_LITELLM_URL at the proxy's own database")


def test_without_daily_tables_an_empty_day_cannot_be_proven(home: TestHome, database: str) -> None:
    execute(database, 'drop table "LiteLLM_DailyTeamSpend"')
    found = only(home)
    assert (found.check, found.level) == ("daily counters", Level.WARNING)
    assert "LiteLLM_DailyTeamSpend does not exist" in found.text


def configure(database: str, **params: dict[str, object]) -> None:
    """The proxy's settings in its database, with the view of docs/connect-litellm.md."""
    execute(database, 'create table "LiteLLM_Config" (param_name text primary key, param_value jsonb)')
    for name, value in params.items():
        execute(database, 'insert into "LiteLLM_Config" values (%s, %s)', name, json.dumps(value))
    guide = (REPOSITORY / "docs" / "connect-litellm.md").read_text(encoding="utf-8")
    for statement in guide.partition("create view")[2].partition("```")[0].split(";")[:-1]:
        view = f"create view{statement}" if "as select" in " ".join(statement.split()) else statement
        execute(database, view)


def test_a_retention_of_thirty_days_is_an_error(home: TestHome, database: str) -> None:
    configure(database, general_settings={"maximum_spend_logs_retention_period": "30d", "master_key": "sk-PLANTED"})
    found = only(home)
    assert (found.source, found.check, found.level) == ("LiteLLM", "retention", Level.ERROR)
    assert found.text == ("the proxy deletes rows of its log after 30 days (maximum_spend_logs_retention_period: 30d).")
    assert found.fix.startswith("set maximum_spend_logs_retention_period to 60d or more, or unset it")


@pytest.mark.parametrize(("period", "level"), [("60d", Level.OK), ("1439h", Level.ERROR), ("2mo", Level.OK)])
def test_a_young_log_is_judged_by_the_setting_where_it_shows(
    home: TestHome, database: str, period: str, level: Level
) -> None:
    execute(database, 'delete from "LiteLLM_SpendLogs" where "startTime" < \'2026-10-06\'')
    found = of(home, "LiteLLM", "retention")
    assert (found.level, "whether older rows will be kept cannot be seen" in found.text) == (Level.WARNING, True)
    configure(database, general_settings={"maximum_spend_logs_retention_period": period})
    assert of(home, "LiteLLM", "retention").level is level


def test_rows_that_the_daily_tables_count_and_the_log_lacks_were_deleted(home: TestHome, database: str) -> None:
    execute(database, 'delete from "LiteLLM_SpendLogs" where "startTime" < \'2026-10-06\'')
    count_calls(database, "2026-08-25")
    found = only(home)
    assert (found.check, found.level) == ("retention", Level.ERROR)
    assert found.text == (
        "the log begins on 2026-10-06, 30 days ago, and LiteLLM's daily tables count calls from 2026-08-25 on: what "
        "lies between was deleted, or never logged."
    )
    assert found.fix.endswith("Load what is left now: tokengov load 2026-10-06 ...")


def count_calls(database: str, day: str) -> None:
    execute(
        database,
        'insert into "LiteLLM_DailyUserSpend" (id, date, api_key, api_requests, updated_at) '
        "values (%s, %s, 'k', 4, now())",
        day,
        day,
    )


def test_an_old_newest_row_is_a_warning_and_an_error_where_calls_were_counted_since(
    home: TestHome, database: str
) -> None:
    execute(database, 'delete from "LiteLLM_SpendLogs" where "startTime" > \'2026-11-04 09:00\'')
    found = only(home)
    assert (found.check, found.level) == ("newest row", Level.WARNING)
    assert found.text == (
        "the newest call is 1 d 6 h old (2026-11-04 06:00 UTC); the limit is 26 h (alerts.stale_after_hours)."
    )
    count_calls(database, "2026-11-05")
    found = only(home)
    assert (found.check, found.level) == ("newest row", Level.ERROR)
    assert found.text == (
        "LiteLLM counted calls on 2026-11-05 in its daily tables, and the log has none since 2026-11-04 06:00 UTC."
    )
    assert found.fix.startswith("unset disable_spend_logs")


def test_an_empty_log_is_two_warnings(home: TestHome, database: str) -> None:
    execute(database, 'delete from "LiteLLM_SpendLogs"')
    assert bad(home) == {("LiteLLM", "newest row"): Level.WARNING, ("LiteLLM", "retention"): Level.WARNING}


def test_calls_from_the_future_are_an_error_on_a_running_clock(home: TestHome, database: str) -> None:
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(hours=5, minutes=10)
    insert_call(database, "ahead", f"{ahead:%Y-%m-%d %H:%M:%S}", 1)
    assert ("LiteLLM", "time") not in {(found.source, found.check) for found in look(home)}  # as_of is fixed
    running = changed(home.folder, home.url, as_of=None)
    found = of(running, "LiteLLM", "time")
    assert (found.level, "the newest call starts 5 h 9 min in the future" in found.text) == (Level.ERROR, True)


def test_another_time_zone_of_the_proxy_is_a_warning_by_setting_or_by_its_budgets(
    home: TestHome, database: str
) -> None:
    team = 'insert into "LiteLLM_TeamTable" (team_id, budget_duration, budget_reset_at) values (%s, %s, %s)'
    execute(database, team, "team-shop", "30d", "2026-12-01 00:00")
    execute(database, team, "team-other", "28d", "2026-12-01 09:13")  # counted from its start, in any zone
    assert of(home, "LiteLLM", "time zone").text == "1 budgets of whole days reset at midnight UTC."
    execute(database, team, "team-search", "1mo", "2026-12-01 05:00")
    found = only(home)
    assert (found.check, found.level) == ("time zone", Level.WARNING)
    assert found.text == (
        "1 of 2 budgets of whole days reset at 05:00 UTC and not at midnight, so litellm_settings.timezone is not UTC."
    )
    configure(database, litellm_settings={"timezone": "America/New_York"})
    assert only(home).text.startswith("litellm_settings.timezone is America/New_York: ")


def test_calls_without_a_price_name_their_models(home: TestHome, database: str) -> None:
    insert_call(database, "free", "2026-11-04 19:00", 0, model="openai/brand-new")
    insert_call(database, "cached", "2026-11-04 19:00", 0, cache_hit="True")
    insert_call(database, "failed", "2026-11-04 19:00", 0, status="failure")
    found = only(home)
    assert (found.source, found.check, found.level) == ("LiteLLM", "prices", Level.WARNING)
    assert found.text == "1 of 21 calls since 2026-10-29 have tokens and no spend: openai/brand-new (1)."


def test_the_age_of_the_price_map_is_told_where_a_reload_is_planned(home: TestHome, database: str) -> None:
    assert "its age is not known" in of(home, "LiteLLM", "price map").text
    configure(database, model_cost_map_reload_config={"interval_hours": 24, "last_run": "2026-09-30T12:00:00+00:00"})
    found = only(home)
    assert (found.check, found.level) == ("price map", Level.WARNING)
    assert found.text == "the proxy last reloaded its price map 36 d 0 h ago (2026-09-30 12:00 UTC)."


# --- directory, invoices ----------------------------------------------------------------------------------------------


def test_a_broken_directory_lists_each_problem_at_its_place(home: TestHome) -> None:
    home.write("directory/teams.csv", TEAMS.replace("CC-200", "CC-20"))
    found = only(home)
    assert (found.source, found.check, found.level) == ("directory", "teams.csv:3 cost_center", Level.ERROR)
    assert found.text == "'CC-20' is not in cost_centers.csv."


def test_callers_without_a_cost_center_are_named_and_suspense_too(home: TestHome, database: str) -> None:
    home.write("directory/users.csv", USERS.splitlines()[0] + "\n")
    insert_call(database, "a", "2026-11-04 19:00", 1, team_id="team-unknown")
    insert_call(database, "b", "2026-11-04 19:00", 1, team_id="")
    insert_call(database, "c", "2026-11-04 19:00", 1, team_id="", user="default_user_id", api_key="c" * 64)
    found = only(home)
    assert (found.source, found.check, found.level) == ("directory", "gaps", Level.WARNING)
    assert found.text == (
        "calls since 2026-10-29 whose payer the directory does not say on 2026-11-05: "
        "key 999999999999, key cccccccccccc, team team-unknown, user ana@example.com."
    )
    assert found.fix.endswith("until then they go to CC-900-SUSPENSE.")


def test_a_cost_center_that_ends_soon_and_its_orphans_are_warnings(home: TestHome) -> None:
    ends = COST_CENTERS.replace("CC-200,Search,ACME-US,2020-01-01,,", "CC-200,Search,ACME-US,2020-01-01,2026-12-01,")
    home.write("directory/cost_centers.csv", ends)
    home.write("directory/teams.csv", TEAMS.replace("#search,2020-01-01,", "#search,2020-01-01,2026-12-01"))
    found = {finding.check: finding for finding in look(home) if finding.level is Level.WARNING}
    assert {check: finding.text for check, finding in found.items()} == {
        "ending cost centers": "these cost centers end within 30 days and name no successor: CC-200 on 2026-12-01.",
        "next month's orphans": "callers that have a cost center today and none from a day before the end of next "
        "month: team team-search on 2026-12-01.",
    }
    home.write("directory/cost_centers.csv", ends.replace("2026-12-01,", "2026-12-01,CC-100"))
    home.write("directory/teams.csv", TEAMS)
    assert bad(home) == {}


def test_an_invoice_that_does_not_add_up_and_a_missing_folder_are_errors(home: TestHome) -> None:
    home.invoice("openai", "2026-09", "24.07", "2026-09-30", lines_total="25.00")
    assert bad(home).keys() == {
        ("invoices", "openai-2026-09.json lines_total"),
        ("invoices", "openai-2026-09.json total"),
    }
    home.write("tokengov.yaml", (home.folder / "tokengov.yaml").read_text() + 'invoices: {url: "nowhere"}\n')
    assert {level for (source, _), level in bad(home).items() if source == "invoices"} == {Level.ERROR}


# --- providers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, "export an Admin API key (sk-ant-admin01-...) in TOKENGOV_ANTHROPIC_ADMIN_KEY; an admin of the"),
        (403, "export an Admin API key (sk-ant-admin01-...) in TOKENGOV_ANTHROPIC_ADMIN_KEY; an admin of the"),
        (404, "set anthropic.report to legacy in tokengov.yaml if the organisation has no usage and cost analytics"),
    ],
)
def test_an_anthropic_report_that_is_refused_says_which_right_or_setting_is_missing(
    with_providers: TestHome, server: ProviderServer, status: int, fix: str
) -> None:
    words = f"not with {ANTHROPIC_KEY}"
    server.plant(Fault("/anthropic/v1/organizations/analytics/cost", Status(status, message=words), times=None))
    found = only(with_providers)
    assert (found.source, found.check, found.level) == ("Anthropic", "cost report", Level.ERROR)
    assert f"refused with {status}" in found.text
    assert found.fix.startswith(fix)
    assert ("read:analytics" in found.fix) == (status == 403)


def test_a_wrong_key_is_said_once(with_providers: TestHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENGOV_OPENAI_ADMIN_KEY", "sk-PLANTED-no-admin")
    found = only(with_providers)
    assert (found.source, found.check, found.level) == ("OpenAI", "usage report", Level.ERROR)
    assert "refused with 401 invalid_request_error: Incorrect API key provided." in found.text
    assert found.fix.startswith("export an admin key (sk-admin-...) in TOKENGOV_OPENAI_ADMIN_KEY")
    monkeypatch.setenv("TOKENGOV_OPENAI_ADMIN_KEY", "")
    assert only(with_providers).fix == "export an admin key."


@pytest.mark.parametrize(
    ("path", "check", "scope"),
    [
        ("organization/costs", "cost report", "api.usage.read"),
        ("organization/users", "users", "read access to management"),
        ("organization/projects/proj_1/api_keys", "API keys", "read access to management"),
    ],
)
def test_a_restricted_openai_key_is_told_its_missing_scope(
    with_providers: TestHome, server: ProviderServer, path: str, check: str, scope: str
) -> None:
    server.plant(Fault(f"/openai/v1/{path}", Status(403, message="Missing scopes"), times=None))
    found = only(with_providers)
    assert (found.source, found.check, found.level) == ("OpenAI", check, Level.ERROR)
    assert "refused with 403" in found.text
    assert scope in found.fix


def test_a_provider_that_does_not_answer_is_an_error_after_two_tries(
    with_providers: TestHome, server: ProviderServer
) -> None:
    server.plant(Fault("/openai/v1/organization", Delay(2), times=None))
    found = only(with_providers)
    assert (found.source, found.check, found.level) == ("OpenAI", "reachable", Level.ERROR)
    assert "no answer within 1 s; tried 2 times." in found.text


def test_old_figures_of_anthropic_and_a_legacy_organisation(with_providers: TestHome, server: ProviderServer) -> None:
    server.books = ProviderBooks(
        refreshed_at=dt.datetime(2026, 11, 4, 2, tzinfo=dt.UTC), workspaces=server.books.workspaces
    )
    assert bad(with_providers) == {("Anthropic", name): Level.WARNING for name in ("usage report", "cost report")}
    assert of(with_providers, "Anthropic", "cost report").text == (
        "may be read; its figures are of 2026-11-04 02:00 UTC, 1 d 10 h ago, more than 24 h."
    )
    legacy = changed(
        with_providers.folder, with_providers.url, anthropic={"base_url": server.anthropic_url, "report": "legacy"}
    )
    assert bad(legacy) == {}


def test_a_clock_that_is_wrong_is_a_warning(with_providers: TestHome) -> None:
    class Late(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return "Thu, 05 Nov 2020 12:00:00 GMT"

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    slow = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    openai = {"base_url": f"http://127.0.0.1:{slow.server_port}"}
    found = of(changed(with_providers.folder, with_providers.url, openai=openai), "OpenAI", "clock")
    slow.shutdown()
    slow.server_close()
    assert (found.level, "the clock of 127.0.0.1 and this machine's differ by " in found.text) == (Level.WARNING, True)


# --- GitHub -----------------------------------------------------------------------------------------------------------


def test_a_wrong_token_a_hidden_repository_and_a_closed_graphql_are_told_apart(
    with_providers: TestHome, server: ProviderServer, github: GitHubBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.url}/github/api/v3"
    hidden = changed(
        with_providers.folder, with_providers.url, github={"base_url": url, "repositories": ["fernhill/hidden"]}
    )
    found = only(hidden)
    assert (found.source, found.check, found.level) == ("GitHub", "fernhill/hidden", Level.ERROR)
    assert "NOT_FOUND" in found.text
    changed(with_providers.folder, with_providers.url, github={"base_url": url, "repositories": [CHECKOUT]})
    github.planned.append(graphql_refused())
    found = only(with_providers)
    assert (found.check, found.level) == (CHECKOUT, Level.WARNING)
    assert "may be read by REST" in found.text
    monkeypatch.setenv("TOKENGOV_GITHUB_TOKEN", "ghp_PLANTEDwrong")
    found = only(with_providers)
    assert (found.check, found.level) == ("reachable", Level.ERROR)
    assert found.fix == "export a valid token in TOKENGOV_GITHUB_TOKEN."


def test_an_organisation_is_listed_and_a_section_without_repositories_refused(
    with_providers: TestHome, server: ProviderServer
) -> None:
    url = f"{server.url}/github/api/v3"
    of_all = changed(with_providers.folder, with_providers.url, github={"base_url": url, "organization": "fernhill"})
    assert of(of_all, "GitHub", "organization").text == "1 repositories of fernhill may be seen."
    assert of(of_all, "GitHub", CHECKOUT).level is Level.OK
    none = changed(with_providers.folder, with_providers.url, github={"base_url": url})
    assert (only(none).check, only(none).level) == ("repositories", Level.ERROR)


# --- the home ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["lake", "dagster"])
def test_sqlite_beside_something_that_hosts_share_is_an_error(
    home: TestHome,
    shared: str,
    new_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shared == "lake":
        home = changed(home.folder, home.url, lake_url="memory://lake")
        why = "the lake is remote (memory://lake)"
    else:
        monkeypatch.setenv("TOKENGOV_DAGSTER_POSTGRES_URL", new_database())
        why = "Dagster's storage is Postgres"
    found = only(home)
    assert (found.source, found.check, found.level) == ("ledger", "one host", Level.ERROR)
    assert found.text == f"the ledger is SQLite, and {why}: another host would keep other books of the same month."
    assert found.fix == "set TOKENGOV_LEDGER_URL to a Postgres database of its own."
    monkeypatch.setenv("TOKENGOV_LEDGER_URL", new_database())
    assert bad(home) == {}


def test_a_lake_on_s3_is_written_read_and_left_as_it_was(
    home: TestHome, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
    monkeypatch.setenv("TOKENGOV_LEDGER_URL", new_database())
    try:
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        fs.mkdir("doctor-lake")
        home = changed(home.folder, home.url, lake_url="s3://doctor-lake/lake")
        found = of(home, "lake", "writable")
        assert (found.level, found.text) == (Level.OK, "s3://doctor-lake/lake (remote) can be written and read.")
        fs.invalidate_cache()
        assert fs.find("doctor-lake") == []
        away = of(changed(home.folder, home.url, lake_url="s3://no-such-bucket/lake"), "lake", "writable")
    finally:
        server.stop()
    assert away.level is Level.ERROR
    assert away.text.startswith("s3://no-such-bucket/lake cannot be written and read (")


def test_a_lake_a_ledger_and_a_storage_that_cannot_be_opened_are_errors_without_their_passwords(
    home: TestHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = f"postgresql://books:{quote(PASSWORD, safe='')}@127.0.0.1:9/books"
    monkeypatch.setenv("TOKENGOV_LEDGER_URL", closed)
    monkeypatch.setenv("TOKENGOV_DAGSTER_POSTGRES_URL", closed)
    home = changed(home.folder, home.url, lake_url=f"nonsense://a:{PASSWORD}@b/lake")
    found = {(each.source, each.check): each for each in look(home) if each.level is Level.ERROR}
    assert found.keys() == {("lake", "writable"), ("ledger", "reachable"), ("Dagster", "storage")}
    assert "TOKENGOV_LEDGER_URL" in found["ledger", "reachable"].fix
    assert "lake_url in tokengov.yaml" in found["lake", "writable"].fix
    assert "TOKENGOV_DAGSTER_POSTGRES_URL" in found["Dagster", "storage"].fix


def test_a_ledger_with_tables_is_verified_and_a_changed_event_is_an_error(home: TestHome) -> None:
    installation = home.installation
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    ledger.record_event("test.made", "ana@example.com", {"a": "b"})
    assert of(home, "ledger", "audit trail").text == "the hash chain of 1 events is intact."
    with sqlite3.connect(home.folder / "ledger.db") as connection:
        triggers = connection.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"drop trigger {name}")
        connection.execute("update events set actor = 'eve@example.com'")
    found = only(home)
    assert (found.source, found.check, found.level) == ("ledger", "audit trail", Level.ERROR)


def test_who_holds_the_warehouse_is_named(home: TestHome) -> None:
    home.write("warehouse/holder.json", json.dumps({"pid": 4242, "for": "run abc", "since": 0}))
    lock = filelock.FileLock(home.folder / "warehouse" / "writer.lock")
    with lock:
        found = only(home)
        assert (found.source, found.level) == ("warehouse", Level.WARNING)
        assert "held by process 4242 (run abc, for " in found.text
        home.write(
            "warehouse/holder.json",
            json.dumps({"pid": 4242, "for": "run abc", "since": int(time.time())}),
        )
        assert of(home, "warehouse", "lock").level is Level.OK
    assert of(home, "warehouse", "lock").text == "nobody is writing the warehouse."


def test_no_alert_url_is_a_warning_and_a_word_that_is_none_an_error(
    home: TestHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of(home, "alerts", "transports").text == "1 set: json. Nothing was sent."
    monkeypatch.setenv("TOKENGOV_ALERT_URLS", f"{ALERT_URL} PLANTEDword")
    assert (only(home).level, only(home).text) == (Level.ERROR, "1 of 2 words in TOKENGOV_ALERT_URLS are no URL.")
    monkeypatch.delenv("TOKENGOV_ALERT_URLS")
    found = only(home)
    assert (found.source, found.check, found.level) == ("alerts", "transports", Level.WARNING)
    assert found.text == "TOKENGOV_ALERT_URLS is not set: a failed run or check tells nobody."


def test_models_in_use_without_a_price_are_a_warning(home: TestHome) -> None:
    row = {"provider": "openai", "model": "brand-new", "reason": "unknown_model", "calls": 7}
    tables = Tables(root=str(home.folder / "tables"))
    tables.write("fct_unpriced_usage_daily", "2026-11-04", pa.Table.from_pylist([row]))
    found = only(home)
    assert (found.source, found.check, found.level) == ("prices", "models in use", Level.WARNING)
    assert found.text == "7 calls since 2026-10-29 have no price: openai brand-new (unknown_model)."
