"""`make demo`: seed an organisation in a real Postgres, then run the production jobs until its months close or hold.

Belongs here: the order of steps, progress, and the summary. Does not belong here: the organisation (`demo.seed`) and
any rule; what is closed or held is decided by the same jobs as in production.
"""

import csv
import datetime as dt
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from assets.accruals import gather_accrual_months
from resources.lake import Lake
from resources.litellm_tables import SPEND_LOGS_LAKE
from resources.tables import Tables
from tokengov_pipelines.demo.database import READER_PASSWORD, running_postgres
from tokengov_pipelines.demo.environment import provider_environment
from tokengov_pipelines.demo.postgres import create_reader
from tokengov_pipelines.demo.pull_requests import AGENT_LOGIN, REPOSITORIES
from tokengov_pipelines.demo.seed import LARGEST_IN_POSTGRES, SeedError, seed_demo
from tokengov_pipelines.domain.accrual import backtest_months
from tokengov_pipelines.domain.accrual_backtest import backtest
from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.runner import RunReport, run_job
from tokengov_pipelines.settings import ALERT_URLS_VARIABLE, LITELLM_URL_VARIABLE, Installation, load_installation

FIRST_REPORTED = "2026-08-01"  # the providers' reports matter from the first month that is closed
FIRST_DAY, LAST_DAY, AS_OF = "2026-06-08", "2026-11-04", "2026-11-05"
CLEAN, WAIVED, HELD = "2026-08", "2026-09", "2026-10"
_REPORTING = ("anthropic", "openai")  # Google has no usage or cost report
_LOADS = (LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS)
PREPARER, APPROVER = "imogen.hale@example.com", "renata.coll@example.com"  # finance and controller in people.csv

SETTINGS = f"""# The demo's settings. A real installation leaves as_of out.
as_of: {AS_OF}            # a fixed 'today' (UTC), so that every run gives the same files
log_start: {FIRST_DAY}        # first day of the proxy's log
books_start: 2026-08         # first month that is closed
anthropic:                   # usage and cost reports; the demo serves them itself, see TOKENGOV_*_BASE_URL
  account: fernhill-prod
openai:
  account: fernhill-prod
github:
  repositories: [{", ".join(each.name for each in REPOSITORIES)}]
deliveries:                  # a closed month goes here; e-mail, SFTP, object stores and webhooks: docs/delivery.md
  - {{name: finance-share, to: delivered, after: close}}
schedules:
  enabled: false             # true starts the daily and monthly schedules with Dagster
"""


def run_demo(home: Path, *, calls: int, seed: int, console: Console) -> int:
    """Run the whole demo in `home`; returns the exit code. A second run changes no file."""
    started = time.monotonic()
    os.environ.pop(ALERT_URLS_VARIABLE, None)  # planted incidents are nobody's alarm
    home.mkdir(parents=True, exist_ok=True)
    _write_once(home / "tokengov.yaml", SETTINGS)
    policy = (resources.files("tokengov_pipelines") / "policy.yaml").read_text(encoding="utf-8")
    _write_once(home / "policy.yaml", policy.replace("agent_logins: []", f"agent_logins: [{AGENT_LOGIN}]"))
    reports: dict[str, RunReport] = {}
    with running_postgres(home) as owner_url, _steps(console) as step:
        installation = load_installation(home)
        lake = Lake(root=installation.lake_url, cache_dir=str(home / "cache"))
        with step("seed an organisation in Postgres") as seeding:
            try:
                seed_demo(
                    home,
                    owner_url,
                    calls=calls,
                    seed=seed,
                    progress=lambda text, share: seeding(f"{text} {share:.0%}"),
                    write_day=partial(_write_day, installation, lake),
                )
            except SeedError as error:
                console.print(f"[red]{error}[/red]")
                return 1
        in_lake = calls > LARGEST_IN_POSTGRES
        if in_lake:
            console.print(f"{calls:,} calls are more than the demo's Postgres takes: they went into the lake directly.")
        os.environ[LITELLM_URL_VARIABLE] = create_reader(owner_url, READER_PASSWORD)
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        with step(f"{LOAD_DAYS} {FIRST_DAY} to {LAST_DAY}, one run") as listen:
            reports[LOAD_DAYS] = run_job(
                installation,
                LOAD_DAYS,
                first=FIRST_DAY,
                last=LAST_DAY,
                progress=listen,
                without=["raw/litellm_spend_logs"] if in_lake else [],
            )
        with provider_environment(home):
            installation = load_installation(home)  # with the addresses of the providers that have just started
            with step(f"{LOAD_PROVIDERS} {FIRST_REPORTED} to {LAST_DAY}, one run") as listen:
                reports[LOAD_PROVIDERS] = run_job(
                    installation, LOAD_PROVIDERS, first=FIRST_REPORTED, last=LAST_DAY, progress=listen
                )
            with step(LOAD_PULL_REQUESTS) as listen:
                reports[LOAD_PULL_REQUESTS] = run_job(installation, LOAD_PULL_REQUESTS, progress=listen)
        _grant_the_waiver(ledger)
        for month in (CLEAN, WAIVED, HELD):
            with step(f"{CLOSE_MONTH} {month}") as listen:
                reports[month] = run_job(
                    installation, CLOSE_MONTH, first=month, config=_signed_by(PREPARER, APPROVER), progress=listen
                )
    return _summary(console, installation, ledger, reports, time.monotonic() - started)


def _write_day(installation: Installation, lake: Lake, day: dt.date, rows: pa.Table) -> None:
    """Put a generated day where an extraction would have put it."""
    with lake.writing(SPEND_LOGS_LAKE) as writer:
        for batch in rows.to_batches():
            writer.write(batch)
        bounds = (f"{day} 00:00:00", f"{day + dt.timedelta(days=1)} 00:00:00")
        now = installation.settings.now()
        lake.commit(SPEND_LOGS_LAKE, f"day={day}", writer, extracted_at=now, window=bounds)


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def _signed_by(preparer: str, approver: str) -> dict[str, Any]:
    return {"ops": {"finance__closed_month": {"config": {"preparer": preparer, "approver": approver}}}}


def _grant_the_waiver(ledger: Ledger) -> None:
    """September's suspense is above its limit; two people accept it, once."""
    month = BillingMonth.parse(WAIVED)
    if ledger.period(month).state is PeriodState.CLOSED or ledger.waivers(month):
        return
    ledger.grant_waiver(
        month,
        WaiverSubject.SUSPENSE,
        reason="an unregistered key was busy in September; its owner is being sought",
        requested_by=PREPARER,
        approved_by=APPROVER,
    )


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str], AbstractContextManager[Callable[[str], None]]]]:
    """Progress of the demo: a line a step with its time; the function that a step yields shows what it is doing."""
    columns = (SpinnerColumn(finished_text="[green]✓[/green]"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("[dim]{task.fields[doing]}"), console=console) as progress:

        @contextmanager
        def step(name: str) -> Iterator[Callable[[str], None]]:
            task = progress.add_task(name, total=1, doing="")
            yield lambda doing: progress.update(task, doing=doing)
            progress.update(task, completed=1, doing="")

        yield step


def _summary(
    console: Console, installation: Installation, ledger: Ledger, reports: dict[str, RunReport], seconds: float
) -> int:
    """Print what each month came to, where the files are and what to do next; returns the exit code."""
    books = Table("month", "state", *("invoiced", "charged", "suspense", "central"), title="The books, in USD")
    for column in books.columns[2:]:
        column.justify = "right"
    centers = Table("month", "1st", "2nd", "3rd", title="Top cost centers, in USD")
    inputs = Table(
        "month",
        *(f"{name} reports" for name in _REPORTING),
        "merged PRs",
        "USD per PR",
        title="What the providers report, and merged pull requests, in USD",
    )
    for column in inputs.columns[1:]:
        column.justify = "right"
    for key in (CLEAN, WAIVED, HELD):
        figures, top = _month_rows(installation, ledger, key)
        books.add_row(*figures)
        centers.add_row(key, *top)
        inputs.add_row(key, *_input_row(installation, ledger, key))
    for table in (books, centers, inputs, _causes(installation), _accrual_errors(installation)):
        console.print(table)
    for key in (HELD, WAIVED, CLEAN, *_LOADS):
        for failure in reports[key].failures:
            console.print(f"[yellow]{failure}[/yellow]", highlight=False)
    expected = all(reports[key].succeeded for key in (*_LOADS, CLEAN, WAIVED)) and not reports[HELD].succeeded
    if expected:
        console.print("October is held on purpose: its causes are known, and somebody has to answer for them.")
    console.print(
        f"\nfiles   {installation.packs_dir}/YYYY-MM/v*/: summary.html, pack.xlsx, chargeback.csv, journal.csv, ..."
    )
    console.print(f"verify  tokengov verify {installation.packs_dir}/{WAIVED}/v1")
    console.print(f"why     tokengov recon show {HELD} --home {installation.home}")
    console.print(f"planted {installation.home / 'ground_truth.json'}")
    console.print("UI      make ui   (Dagster on http://127.0.0.1:3000)")
    console.print(f"\n{'done' if expected else '[red]not as planted[/red]'} in {seconds:.0f} s")
    return 0 if expected else 1


def _month_rows(installation: Installation, ledger: Ledger, key: str) -> tuple[list[str], list[str]]:
    """The figures of a month and its top cost centers, read from the files that finance gets."""
    period = ledger.period(BillingMonth.parse(key))
    pack = installation.packs_dir / key / f"v{period.version}"
    lines = _read_csv(pack / "chargeback.csv")
    attribution = installation.policy.attribution
    by_center: dict[str, Decimal] = {}
    for line in lines:
        by_center[line["cost_center"]] = by_center.get(line["cost_center"], Decimal(0)) + Decimal(line["amount"])
    suspense, central = (by_center.pop(code, Decimal(0)) for code in (attribution.suspense, attribution.central))
    totals = json.loads((pack / "control_totals.json").read_text(encoding="utf-8")) if lines else {"sources": []}
    invoices = [source for source in totals["sources"] if source["source"].startswith("raw/invoices:")]
    invoiced = sum((Decimal(invoice["sum"]) for invoice in invoices), Decimal(0))
    charged = sum(by_center.values(), suspense + central)
    state = f"closed v{period.version}" if period.state is PeriodState.CLOSED else "[yellow]held[/yellow]"
    top = sorted(by_center.items(), key=lambda item: (-item[1], item[0]))[:3]
    figures = [key, state, *(f"{amount:,.2f}" for amount in (invoiced, charged, suspense, central))]
    return figures, [f"{code} {amount:,.2f}" for code, amount in top]


def _causes(installation: Installation) -> Table:
    """Every cause of the held month's gap by provider, in cents that foot."""
    rows = Tables(root=str(installation.tables_dir)).rows("fct_reconciliation_monthly", [f"billing_month={HELD}"])
    providers = sorted({row["provider"] for row in rows})
    table = Table("", *providers, title=f"Where {HELD} comes from: logged to invoiced, in USD")
    for column in table.columns[1:]:
        column.justify = "right"
    for component in dict.fromkeys(row["component"] for row in sorted(rows, key=lambda row: row["state_no"])):
        amounts = {row["provider"]: row["amount"] for row in rows if row["component"] == component}
        if any(amounts.values()):
            table.add_row(component.replace("_", " "), *(f"{amounts[name]:,.2f}" for name in providers))
    return table


def _accrual_errors(installation: Installation) -> Table:
    """How far an accrual would have been off in the closed months, by cost center (Rule 2.2)."""
    months = gather_accrual_months(installation)
    tested, _ = backtest_months(months.closed, months.central)
    found = backtest(tested)
    table = Table(
        "", "published", "accrued", "error", title="Had the closed months been accrued before their invoices, in USD"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for each in found.centers if found else ():
        amounts = (each.published, each.accrued, each.error)
        table.add_row(each.cost_center, *(f"{amount:,.2f}" for amount in amounts))
    return table


def _input_row(installation: Installation, ledger: Ledger, key: str) -> list[str]:
    """What the providers' own cost reports say of a month, and what a merged pull request cost."""
    tables = Tables(root=str(installation.tables_dir))
    days = [f"usage_date={day}" for day in BillingMonth.parse(key).days()]
    built = [day for day in days if tables.path("fct_provider_cost_daily", day).exists()]
    reported = dict.fromkeys(_REPORTING, Decimal(0))
    for row in tables.rows("fct_provider_cost_daily", built) if built else []:
        reported[row["provider"]] += row["amount_usd"]
    version = ledger.period(BillingMonth.parse(key)).version
    rows = _read_csv(installation.packs_dir / key / f"v{version}" / "cost_per_pr.csv")
    org = [[row["merged_prs"], row["cost_per_pr_usd"]] for row in rows if row["level"] == "org"]
    return [*(f"{amount:,.2f}" for amount in reported.values()), *(org[0] if org else ["-", "-"])]


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
