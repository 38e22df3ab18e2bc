"""What is known of one billing month for finance: its close as computed now, and the facts that decide whether it may.

Belongs here: putting together what was computed and what the close has to know. Does not belong here: the rules
(`tokengov_pipelines.closing`, `domain.close`), the inputs (`assets.month_inputs`), writing (`assets.finance`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq

from assets.known_month import known_month
from assets.ledger import open_ledger
from resources.lake import Lake
from resources.price_approvals import price_book_blocker
from resources.readings import state_at
from resources.tables import Tables
from tokengov_pipelines.closing.closed_month import ClosedMonth, close_month
from tokengov_pipelines.closing.findings import MonthFindings
from tokengov_pipelines.domain.approval import Person
from tokengov_pipelines.domain.charge_problems import ChargebackProblem
from tokengov_pipelines.domain.chargeback import ChargebackLine, InvoiceHeader
from tokengov_pipelines.domain.close import Blocker, close_blockers
from tokengov_pipelines.domain.close_facts import CloseFacts, invoice_facts
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.control_totals import SourceTotals
from tokengov_pipelines.policy import Policy
from tokengov_pipelines.settings import Installation

PROXY_LOG = "raw/litellm_spend_logs"
USAGE = "marts/fct_usage_daily"


@dataclass(frozen=True)
class MonthView:
    """One month as known now: its close as computed, what it means, the facts of a close."""

    month: BillingMonth
    closed: ClosedMonth
    findings: MonthFindings
    facts: CloseFacts

    @property
    def lines(self) -> tuple[ChargebackLine, ...]:
        """The charge lines."""
        return self.closed.charges.lines

    @property
    def problems(self) -> tuple[ChargebackProblem, ...]:
        """What could not be charged."""
        return self.closed.charges.problems

    @property
    def invoices(self) -> tuple[InvoiceHeader, ...]:
        """The invoices and approved accruals that bill a day of the month."""
        return self.closed.charges.invoices

    def blockers(self, ledger: Ledger, codes: Iterable[str]) -> list[Blocker]:
        """What holds the close now, of the given kinds, with the waivers in force."""
        wanted = set(codes)
        return [blocker for blocker in close_blockers(self.facts, ledger.waivers(self.month)) if blocker.code in wanted]


def gather_month(
    installation: Installation,
    lake: Lake,
    tables: Tables,
    key: str,
    *,
    version: int = 0,
    preparer: str = "",
    approver: str = "",
) -> MonthView:
    """Read everything that is known of the month `key` and compute its close as version `version`."""
    month, policy = BillingMonth.parse(key), installation.policy
    ledger = open_ledger(installation)
    known = known_month(installation, lake, tables, ledger, month)
    screening, missing, empty = _screening(lake, tables, month)
    spend_rows = tables.rows("fct_spend_monthly", [f"billing_month={month}"])
    if not any(missing.values()) and not empty and not _same_calls(spend_rows, screening):
        missing[USAGE] = list(month.days())
    sources = _sources(month, lake, screening, known.match.invoices, policy)
    inputs = replace(known.inputs, facts=replace(known.inputs.facts, sources=sources))
    closed = close_month(inputs, version, match=known.match)
    quarantined = [row for row in screening if row["disposition"] == "quarantined"]
    facts = CloseFacts(
        month=month,
        missing_days=missing,
        shrunk_days=_held_back(lake, month),
        empty_days={PROXY_LOG: empty},
        logged=closed.charges.logged,
        invoices=[
            invoice_facts(each, closed.charges.lines, policy.attribution.suspense, found)
            for each in closed.charges.billed
            if (found := closed.reconciliation_of(each.header)) is not None
        ],
        quarantined_calls=sum(row["calls"] for row in quarantined),
        quarantined_spend=sum((row["spend_usd"] or Decimal(0) for row in quarantined), Decimal(0)),
        max_suspense_pct=policy.attribution.max_suspense_pct,
        preparer=preparer,
        approver=approver,
        problems=closed.charges.problems,
        controllers=controllers_of(lake, month),
        true_up_block_pct=policy.chargeback.true_up_block_pct,
        unapproved_prices=price_book_blocker(ledger, lake),
        prepaid=frozenset(known.match.prepaid),
        journal_problems=tuple(str(each) for each in closed.journal_problems),
        corrections_gross=closed.corrections_gross,
        materiality=policy.period.materiality_reopen_usd,
    )
    return MonthView(month, closed, replace(closed.findings, evidence=known.findings.evidence), facts)


def people_of(lake: Lake) -> list[Person]:
    """people.csv: who may sign, with which key, on which days."""
    return [Person.of(row) for row in _table(lake, "directory_people")]


def _screening(
    lake: Lake, tables: Tables, month: BillingMonth
) -> tuple[list[dict[str, Any]], dict[str, list[dt.date]], list[dt.date]]:
    """Control totals of screening, the days not extracted or not built from the current load, and those found empty.

    A run that died between the lake and dbt leaves a day whose rollup is missing or old; its rows would be absent from
    the month without a word, so every row of the load must be found again in the screening totals.
    """
    rows: list[dict[str, Any]] = []
    missing: dict[str, list[dt.date]] = {PROXY_LOG: [], USAGE: []}
    empty: list[dt.date] = []
    for day in month.days():
        record = lake.current("litellm_spend_logs", f"day={day}")
        if record is None:
            seen = lake.last_seen("litellm_spend_logs", f"day={day}")
            (empty if seen and seen["verdict"] == "unproven_zero" else missing[PROXY_LOG]).append(day)
            continue
        if state_at(lake, "litellm_spend_logs", day, 0) is DayState.PARTIAL:  # read while it ran, and never again
            missing[PROXY_LOG].append(day)
            continue
        built = (
            tables.rows("fct_screening_daily", [f"usage_date={day}"])
            if tables.path("fct_screening_daily", f"usage_date={day}").exists()
            else []
        )
        spend = sum((row["spend_usd"] or Decimal(0) for row in built), Decimal(0))
        if (sum(row["calls"] for row in built), spend) != (record.rows, Decimal(record.sums["spend_usd"])):
            missing[USAGE].append(day)
        rows += built
    return rows, missing, empty


def _same_calls(spend_rows: list[dict[str, Any]], screening: list[dict[str, Any]]) -> bool:
    """Whether the month's spend holds exactly the calls that screening accepted.

    A run that died between two models leaves a screening that is new and a usage that is not.
    """
    accepted = [row for row in screening if row["disposition"] == "accepted"]
    screened = sum(row["calls"] for row in accepted), sum((row["spend_usd"] for row in accepted), Decimal(0))
    charged = sum(row["calls"] for row in spend_rows), sum((row["logged_spend_usd"] for row in spend_rows), Decimal(0))
    return screened == charged


def _held_back(lake: Lake, month: BillingMonth) -> dict[dt.date, str]:
    held: dict[dt.date, str] = {}
    for day in month.days():
        reason = held_back(lake, day.isoformat())
        if reason:
            held[day] = reason
    return held


def held_back(lake: Lake, day: str) -> str | None:
    """Why the latest load of a day was kept beside the current one, or None when it was not."""
    seen = lake.last_seen("litellm_spend_logs", f"day={day}")
    return str(seen["reason"]) if seen and seen["verdict"] == "shrunk" else None


def _table(lake: Lake, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in lake.current_files(name):
        rows += pq.read_table(path, partitioning=None).to_pylist()
    return rows


def _in_force(rows: Iterable[Mapping[str, Any]], month: BillingMonth) -> list[Mapping[str, Any]]:
    """Rows whose interval touches the month, the later ones last, so that the last one of a key is the newest."""
    first, end = month.first_day, month.next().first_day
    touching = [row for row in rows if row["valid_from"] < end and (row["valid_to"] is None or row["valid_to"] > first)]
    return sorted(touching, key=lambda row: row["valid_from"])


def controllers_of(lake: Lake, month: BillingMonth) -> frozenset[str]:
    """Names and e-mails of those who may sign as controller in the month (people.csv)."""
    people = _in_force(_table(lake, "directory_people"), month)
    controllers = [row for row in people if row["role"] == "controller"]
    return frozenset(row[field] for row in controllers for field in ("email", "name"))


def _sources(
    month: BillingMonth,
    lake: Lake,
    screening: list[dict[str, Any]],
    invoices: Iterable[Invoice],
    policy: Policy,
) -> tuple[SourceTotals, ...]:
    currency = policy.money.functional_currency
    days = {day: lake.current("litellm_spend_logs", f"day={day}") for day in month.days()}
    held = [day for day, record in days.items() if record and record.rows]
    totals = [
        SourceTotals(
            source=PROXY_LOG,
            rows=sum(record.rows for record in days.values() if record),
            total=sum((Decimal(record.sums["spend_usd"]) for record in days.values() if record), Decimal(0)),
            currency=currency,
            min_date=min(held, default=None),
            max_date=max(held, default=None),
        )
    ]
    for disposition in ("accepted", "duplicate", "quarantined"):
        mine = [row for row in screening if row["disposition"] == disposition]
        totals.append(
            SourceTotals(
                source=f"marts/fct_screening_daily:{disposition}",
                rows=sum(row["calls"] for row in mine),
                total=sum((row["spend_usd"] or Decimal(0) for row in mine), Decimal(0)),
                currency=currency,
                min_date=min((row["usage_date"] for row in mine), default=None),
                max_date=max((row["usage_date"] for row in mine), default=None),
            )
        )
    totals += [
        SourceTotals(
            source=f"raw/invoices:{header.provider}:{header.invoice_id}",
            rows=1,
            total=header.total,
            currency=header.currency,
            min_date=header.period.start,
            max_date=header.period.last_day,
        )
        for header in invoices
        if month in header.period.months()
    ]
    return tuple(totals)
