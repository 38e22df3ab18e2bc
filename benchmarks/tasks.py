"""What is measured, each in a process of its own: `python -m benchmarks.tasks TASK JSON`; the last line is its result.

Belongs here: the calls into the product and its yardsticks, and their own clocks (a process's start is not in them).
Does not belong here: comparing and printing (the scripts), making the data (`generated_calls`, `home`).

Each task imports what it measures itself: memory that another one needs must not count.
"""

import csv
import datetime as dt
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.measure import memory_of
from resources.lake import Lake
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.settings import Installation, load_installation

EMPTY_DAY = dt.date(2026, 6, 8)
BY_HAND = Path(__file__).with_name("close_by_hand.sql")
_TABLES = {
    "teams": "litellm_teams",
    "keys": "litellm_keys",
    "users": "litellm_users",
    "deleted_keys": "litellm_deleted_keys",
    "cost_centers": "directory_cost_centers",
    "directory_teams": "directory_teams",
    "directory_users": "directory_users",
    "services": "directory_service_accounts",
    "invoices": "invoices",
}


def extract_by_product(url: str, day: str, folder: str) -> dict[str, Any]:
    """A day's extraction into a new lake, as one of the days of a run: seconds and rows.

    A run reads several days over one connection; an empty day goes first, so that connecting and loading libraries,
    which it pays once, are not in the day's seconds.
    """
    from resources.litellm import LiteLLMPostgres

    shutil.rmtree(folder, ignore_errors=True)
    lake = Lake(root=f"{folder}/lake", cache_dir=f"{folder}/cache")
    days = (EMPTY_DAY, dt.date.fromisoformat(day))
    outcomes = LiteLLMPostgres(url=url).load_days(lake, days, dt.datetime(2026, 11, 5, tzinfo=dt.UTC))
    next(outcomes)
    started = time.perf_counter()
    outcome = next(outcomes)
    return {"seconds": time.perf_counter() - started, "rows": outcome.seen.rows, "load": outcome.seen.load}


def close_by_product(home: str, month: str) -> dict[str, Any]:
    """From the lake to chargeback.csv by the production jobs: dbt's daily build, the monthly one, charge and pack."""
    installation = load_installation(home)
    days = BillingMonth.parse(month).days()
    started = time.perf_counter()
    _run_job(installation, "load_days_job", str(days[0]), str(days[-1]))
    loaded = time.perf_counter()
    _waive_quarantine(installation, month)
    _run_job(installation, "prepare_month_job", month, month)
    finished = time.perf_counter()
    with (installation.packs_dir / month / "v0" / "chargeback.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    # The script knows what was logged and what it does not explain; the product tells that rest by its causes.
    lines = [
        [line["provider"], line["cost_center"], "direct", line["quantity_tokens"], line["amount"]]
        for line in rows
        if line["charge_type"] == "direct"
    ]
    for provider in sorted({line["provider"] for line in rows}):
        rest = [line for line in rows if line["provider"] == provider and line["charge_type"] != "direct"]
        amount = sum((Decimal(line["amount"]) for line in rest), Decimal("0.00"))
        lines.append([provider, installation.policy.attribution.central, "central", "", f"{amount:f}"])
    return {"load_days": loaded - started, "prepare_month": finished - loaded, "lines": sorted(lines)}


def close_by_hand(home: str, month: str) -> dict[str, Any]:
    """The same amounts by one DuckDB script."""
    connection = _files_as_variables(load_installation(home), month)
    started = time.perf_counter()
    connection.execute(BY_HAND.read_text(encoding="utf-8"))
    seconds = time.perf_counter() - started
    lines = connection.execute("select provider, cost_center, charge_type, tokens, amount from chargeback").fetchall()
    texts = [["" if value is None else str(value) for value in line] for line in lines]
    return {"seconds": seconds, "lines": sorted(texts)}


def sums_by_hand(home: str, month: str, days: int) -> dict[str, Any]:
    """The by-hand script's sums by identity over the first days of the month: what pandas is checked against."""
    connection = _files_as_variables(load_installation(home), month, days)
    script, _, _ = BY_HAND.read_text(encoding="utf-8").partition("-- The ladder:")
    started = time.perf_counter()
    connection.execute(script)
    seconds = time.perf_counter() - started
    found = connection.execute("select count(*), sum(spend), sum(tokens) from identities").fetchone() or (0, 0, 0)
    return {"seconds": seconds, "identities": found[0], "spend": f"{found[1]:.2f}", "tokens": int(found[2])}


def sums_by_pandas(home: str, month: str, days: int) -> dict[str, Any]:
    """The same sums by pandas."""
    from benchmarks.by_pandas import identity_sums

    lake = _lake(load_installation(home))
    files = lake.current_files("litellm_spend_logs", [f"day={day}" for day in BillingMonth.parse(month).days()[:days]])
    started = time.perf_counter()
    sums, rows = identity_sums(files)
    seconds = time.perf_counter() - started
    spend, tokens = sums["spend"].sum(), sums["tokens"].sum()
    return {
        "seconds": seconds,
        "rows": rows,
        "identities": len(sums),
        "spend": f"{spend:.2f}",
        "tokens": int(tokens),
    }


def build_days(home: str, first: str, last: str, dbt: str | None = None) -> dict[str, Any]:
    """dbt's daily build by the production job, with another executable in dbt's place (`benchmarks.counted_dbt`)."""
    from resources.dbt import DbtWarehouse

    installation = load_installation(home)
    warehouse = DbtWarehouse.at(installation.home, lock_seconds=60)
    started = time.perf_counter()
    _run_job(installation, "load_days_job", first, last, dbt=_with_executable(warehouse, dbt) if dbt else warehouse)
    return {"seconds": time.perf_counter() - started}


def _with_executable(warehouse: Any, path: str) -> Any:
    return type(warehouse)(**{**warehouse.model_dump(), "dbt_executable": path})


def _lake(installation: Installation) -> Lake:
    return Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))


def _files_as_variables(installation: Installation, month: str, days: int | None = None) -> duckdb.DuckDBPyConnection:
    from resources.dbt import PROJECT_DIR

    lake = _lake(installation)
    partitions = [f"day={day}" for day in BillingMonth.parse(month).days()[:days]]
    files = {name: lake.current_files(table) for name, table in _TABLES.items()}
    files["calls"] = lake.current_files("litellm_spend_logs", partitions)
    connection = duckdb.connect()
    for name, paths in files.items():
        connection.execute(f"set variable {name} = {paths!r}")
    connection.execute(f"set variable provider_aliases = '{PROJECT_DIR / 'seeds' / 'provider_aliases.csv'}'")
    return connection


def _waive_quarantine(installation: Installation, month: str) -> None:
    """The planted defects would hold the charge: two people accept them, once."""
    from tokengov_pipelines.domain.close import WaiverSubject
    from tokengov_pipelines.ledger.ledger import Ledger

    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    if not ledger.waivers(BillingMonth.parse(month)):
        ledger.grant_waiver(
            BillingMonth.parse(month),
            WaiverSubject.QUARANTINE,
            reason="the benchmark's planted defects",
            requested_by="imogen.hale@example.com",
            approved_by="renata.coll@example.com",
        )


def _run_job(installation: Installation, job: str, first: str, last: str, **resources: Any) -> None:
    """A production job; the calls are in the lake already, so they are not extracted."""
    from tokengov_pipelines.runner import run_job

    without = ["raw/litellm_spend_logs"] if job == "load_days_job" else []
    report = run_job(installation, job, first=first, last=last, without=without, resource_overrides=resources)
    if not report.succeeded:
        raise SystemExit("\n".join([f"{report.job} failed", *report.failures, *report.failed_checks]))


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (
        extract_by_product,
        close_by_product,
        close_by_hand,
        sums_by_hand,
        sums_by_pandas,
        build_days,
    )
}

if __name__ == "__main__":
    before = os.times()
    returned = TASKS[sys.argv[1]](**json.loads(sys.argv[2]))
    returned["cpu_seconds"] = sum(now - then for now, then in zip(os.times()[:4], before[:4], strict=True))
    returned["peak_bytes"] = memory_of(os.getpid())[0]
    sys.stdout.write("\n" + json.dumps(returned) + "\n")
