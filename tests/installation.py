"""A small installation for tests: home folder, org directory, invoices; its calls are inserted into a real Postgres."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path

import psycopg2

from resources.litellm import LiteLLMPostgres
from tests.conftest import execute
from tokengov_pipelines.pack.manifest import NOT_LISTED
from tokengov_pipelines.runner import RunReport, run_job
from tokengov_pipelines.settings import Installation, load_installation

COMMAND = Path(sys.executable).parent / "tokengov"

COST_CENTERS = """code,name,legal_entity,valid_from,valid_to,successor
CC-100,Shop,ACME-US,2020-01-01,,
CC-200,Search,ACME-US,2020-01-01,,
CC-900-SUSPENSE,Suspense,ACME-US,2020-01-01,,
CC-990-CENTRAL,Central,ACME-US,2020-01-01,,
"""
TEAMS = """team_id,team_name,cost_center,time_zone,lead_email,owner_contact,valid_from,valid_to
team-shop,Shop,CC-100,UTC,lead@example.com,#shop,2020-01-01,
team-search,Search,CC-200,UTC,lead@example.com,#search,2020-01-01,
"""
USERS = """email,user_id,github_login,team_id,valid_from,valid_to
ana@example.com,ana@example.com,ana,team-shop,2020-01-01,
"""


class TestHome:
    """An installation in a folder, with the proxy's database it reads."""

    __test__ = False

    def __init__(self, folder: Path, url: str, **settings: object) -> None:
        self.folder, self.url, self.settings = folder, url, settings
        self.write("directory/cost_centers.csv", COST_CENTERS)
        self.write("directory/teams.csv", TEAMS)
        self.write("directory/users.csv", USERS)
        (folder / "invoices").mkdir(exist_ok=True)
        lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        self.write("tokengov.yaml", "\n".join(lines) + "\n")

    def write(self, name: str, text: str) -> Path:
        """Write a file under the home."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def installation(self) -> Installation:
        """Read again at each use, as a new process would."""
        return load_installation(self.folder)

    def run(
        self, job: str, first: str, last: str | None = None, config: Mapping[str, object] | None = None
    ) -> RunReport:
        """Run one of the production jobs against this home."""
        return run_job(
            self.installation,
            job,
            first=first,
            last=last,
            config=config,
            resource_overrides={"litellm": LiteLLMPostgres(url=self.url)},
        )

    def start(self, *arguments: str, **variables: str | None) -> "subprocess.Popen[str]":
        """Start the command line on this home as a process in a session of its own; a variable of None is unset."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOKENGOV_", "DAGSTER_"))}
        ours = {"TOKENGOV_HOME": str(self.folder), "TOKENGOV_LITELLM_URL": self.url, **variables}
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=plain | {name: value for name, value in ours.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def command(self, *arguments: str, **variables: str | None) -> "subprocess.CompletedProcess[str]":
        """The same, waited for."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def twin(self, folder: Path) -> "TestHome":
        """A copy of this home in another folder, which reads a copy of the database."""
        home = TestHome(folder, copy_database(self.url), **self.settings)
        without = shutil.ignore_patterns("runs")  # what dbt and Dagster keep of each past run
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=without)
        return home

    def invoice(self, provider: str, month: str, total: str, last_day: str, part: str = "", **header: str) -> Path:
        """An invoice of one line without quantity; returns its file. `part` tells it from others of the month."""
        amount = str(Decimal(total))
        content = {
            "form": "tokengov-invoice/1",
            "provider": provider,
            "account": "acme",
            "invoice_id": f"{provider.upper()}-{month}{part}",
            "invoice_date": last_day,
            "period_start": f"{month}-01",
            "period_last_day": last_day,
            "currency": "USD",
            "lines": [{"line_no": 1, "kind": "usage", "description": "API usage", "amount": amount}],
            "lines_total": amount,
            "credits_total": "0.00",
            "tax_total": "0.00",
            "total": amount,
            **header,
        }
        return self.write(f"invoices/{provider}-{month}{part}.json", json.dumps(content, indent=1))

    def exports(self, without: Collection[str] = NOT_LISTED) -> dict[str, bytes]:
        """Every exported file with its bytes: derived tables and packs, without what says when and by whom."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for root in ("tables", "packs")
            for path in sorted((self.folder / root).rglob("*"))
            if path.is_file() and path.name not in without
        }


def copy_database(url: str) -> str:
    """Another database on the same server with the same content; nobody may be connected to this one."""
    name = url.split("/")[3].split("?")[0]
    copy = f"db_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(url.replace(f"/{name}", "/postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create database {copy} template {name}")
    connection.close()
    return url.replace(f"/{name}", f"/{copy}")


def insert_three_calls_a_day(url: str, first: str, last: str) -> None:
    """1.30 USD a day: 0.20 of team Shop and 0.60 of one of its people at openai, 0.50 of team Search at anthropic.

    Each call costs what the price list says of its tokens.
    """
    execute(
        url,
        """
        insert into "LiteLLM_SpendLogs" (
            request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime",
            "endTime", model, custom_llm_provider, team_id, "user", status, cache_hit, created_at, updated_at
        )
        select
            'call-' || to_char(day, 'YYYY-MM-DD') || '-' || n, 'acompletion', repeat(n::text, 64),
            (array[0.2, 0.5, 0.6])[n], 100 + (array[19975, 49980, 59975])[n], 100, (array[19975, 49980, 59975])[n],
            day + n * interval '6 hours', day + n * interval '6 hours',
            (array['gpt-4o', 'claude-sonnet-5', 'gpt-4o'])[n], (array['openai', 'anthropic', 'openai'])[n],
            (array['team-shop', 'team-search', ''])[n], (array['', '', 'ana@example.com'])[n], 'success', 'False',
            day + n * interval '6 hours 1 minute', day + n * interval '6 hours 1 minute'
        from generate_series(%s::timestamp, %s::timestamp, interval '1 day') as day, generate_series(1, 3) as n
        """,
        first,
        last,
    )


def insert_call(url: str, request_id: str, started: str, spend: object, **columns: object) -> None:
    """One successful call of team Shop at openai; `columns` say what is otherwise.

    As many tokens as the price list sells for the spend: 100 of input at 2.50 a million, the rest of output at 10.00.
    """
    is_priced = isinstance(spend, (int, float)) and spend >= 0.01
    output = round((Decimal(str(spend)) - Decimal("0.00025")) * 100_000) if is_priced else 20
    row: dict[str, object] = {
        "request_id": request_id,
        "call_type": "acompletion",
        "api_key": "9" * 64,
        "spend": spend,
        "total_tokens": 100 + output,
        "prompt_tokens": 100,
        "completion_tokens": output,
        "startTime": started,
        "endTime": started,
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "team_id": "team-shop",
        "user": "",
        "status": "success",
        "cache_hit": "False",
        "created_at": started,
        "updated_at": started,
        **columns,
    }
    names, values = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
    execute(url, f'insert into "LiteLLM_SpendLogs" ({names}) values ({values})', *row.values())
