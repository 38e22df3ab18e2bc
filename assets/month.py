"""What is known of one billing month, gathered from lake, derived tables and ledger for the rules to decide.

Belongs here: reading, and nothing else. Does not belong here: who is charged (`domain.chargeback`), whether the month
may close (`domain.close`), writing (`assets.finance`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq

from assets.ledger import open_ledger
from assets.month_findings import MonthFindings, gather_findings
from assets.month_reconciliation import match_month
from resources.lake import Lake
from resources.price_approvals import price_book_blocker
from resources.readings import state_at
from resources.tables import Tables
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import (
    ChargebackLine,
    ChargebackPolicy,
    ChargebackProblem,
    CostCenter,
    InvoiceHeader,
    LoggedSpend,
    charge_month,
)
from tokengov_pipelines.domain.close import Blocker, CloseFacts, close_blockers, invoice_facts
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.pack.control_totals import SourceTotals
from tokengov_pipelines.settings import Installation, Policy

PROXY_LOG = "raw/litellm_spend_logs"
USAGE = "marts/fct_usage_daily"


@dataclass(frozen=True)
class MonthView:
    """One month as known now: charge lines, what could not be charged, facts of a close, sources, reconciliations."""

    month: BillingMonth
    lines: tuple[ChargebackLine, ...]
    problems: tuple[ChargebackProblem, ...]
    invoices: tuple[InvoiceHeader, ...]
    facts: CloseFacts
    sources: tuple[SourceTotals, ...]
    findings: MonthFindings

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
    """Read everything that is known of the month `key`, reconcile it, and charge it as version `version`."""
    month, policy = BillingMonth.parse(key), installation.policy
    spend_rows = tables.rows("fct_spend_monthly", [f"billing_month={month}"])
    screening, missing, empty = _screening(lake, tables, month)
    if not any(missing.values()) and not empty and not _same_calls(spend_rows, screening):
        missing[USAGE] = list(month.days())
    match = match_month(installation, lake, tables, month)
    ledger = open_ledger(installation)
    found = gather_findings(installation, lake, tables, ledger, match)
    invoices = [_header(each) for each in match.invoices]
    lines, problems = charge_month(
        month,
        invoices,
        [
            LoggedSpend(
                provider=row["provider"],
                cost_center=row["cost_center"],
                rung=Rung[row["rung"].upper()],
                logged=row["logged_spend_usd"],
                tokens=row["total_tokens"],
            )
            for row in spend_rows
        ],
        cost_centers_of(lake, month),
        ChargebackPolicy(
            suspense=policy.attribution.suspense,
            central=policy.attribution.central,
            mode=policy.chargeback.mode,
            functional_currency=policy.money.functional_currency,
            sha256=policy.sha256(),
        ),
        version,
    )
    due = tuple(invoice for invoice in invoices if month in invoice.period.months())
    quarantined = [row for row in screening if row["disposition"] == "quarantined"]
    logged: dict[str, Decimal] = {}
    for row in spend_rows:
        logged[row["provider"]] = logged.get(row["provider"], Decimal(0)) + row["logged_spend_usd"]
    facts = CloseFacts(
        month=month,
        missing_days=missing,
        shrunk_days=_held_back(lake, month),
        empty_days={PROXY_LOG: empty},
        logged=logged,
        invoices=[
            invoice_facts(
                header, lines, policy.attribution.suspense, found.of_invoice(header.provider, header.invoice_id)
            )
            for header in due
            if _is_charged(header, lines)
        ],
        quarantined_calls=sum(row["calls"] for row in quarantined),
        quarantined_spend=sum((row["spend_usd"] or Decimal(0) for row in quarantined), Decimal(0)),
        max_suspense_pct=policy.attribution.max_suspense_pct,
        preparer=preparer,
        approver=approver,
        problems=problems,
        controllers=controllers_of(lake, month),
        true_up_block_pct=policy.chargeback.true_up_block_pct,
        unapproved_prices=price_book_blocker(ledger, lake),
        prepaid=frozenset(match.prepaid),
    )
    return MonthView(month, lines, problems, due, facts, _sources(month, lake, screening, due, policy), found)


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


def _header(invoice: Invoice) -> InvoiceHeader:
    return InvoiceHeader(
        provider=invoice.provider,
        invoice_id=invoice.invoice_id,
        total=invoice.total,
        currency=invoice.currency,
        period=invoice.period,
    )


def _in_force(rows: Iterable[Mapping[str, Any]], month: BillingMonth) -> list[Mapping[str, Any]]:
    """Rows whose interval touches the month, the later ones last, so that the last one of a key is the newest."""
    first, end = month.first_day, month.next().first_day
    touching = [row for row in rows if row["valid_from"] < end and (row["valid_to"] is None or row["valid_to"] > first)]
    return sorted(touching, key=lambda row: row["valid_from"])


def cost_centers_of(lake: Lake, month: BillingMonth) -> dict[str, CostCenter]:
    """The cost centers that are valid on a day of the month, by code, as they were last in it."""
    return {
        row["code"]: CostCenter(code=row["code"], name=row["name"], legal_entity=row["legal_entity"])
        for row in _in_force(_table(lake, "directory_cost_centers"), month)
    }


def controllers_of(lake: Lake, month: BillingMonth) -> frozenset[str]:
    """Names and e-mails of those who may sign as controller in the month (people.csv)."""
    people = _in_force(_table(lake, "directory_people"), month)
    controllers = [row for row in people if row["role"] == "controller"]
    return frozenset(row[field] for row in controllers for field in ("email", "name"))


def _is_charged(header: InvoiceHeader, lines: Iterable[ChargebackLine]) -> bool:
    return any((line.provider, line.invoice_id) == (header.provider, header.invoice_id) for line in lines)


def _sources(
    month: BillingMonth,
    lake: Lake,
    screening: list[dict[str, Any]],
    invoices: Iterable[InvoiceHeader],
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
    ]
    return tuple(totals)
