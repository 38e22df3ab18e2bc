"""The files of a pack with given rows, for tests of what is made of them: the workbook and the report."""

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.open_item import ItemStatus, ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.pack import chargeback_csv, cost_per_pr_csv
from tokengov_pipelines.pack.recon_items_csv import recon_items_csv
from tokengov_pipelines.pack.reconciliation_csv import reconciliation_csv
from tokengov_pipelines.pack.writer import Column, Kind, csv_bytes, sha256_of

OCTOBER = BillingMonth(2026, 10)
SHA = "c0ffee" * 10 + "beef"
POLICY = "0" * 64

Charge = Mapping[str, Any]


def charge(cost_center: str, amount: str, charge_type: str = "direct", **given: Any) -> Charge:
    """A line of chargeback.csv; what is not given is that of an Anthropic invoice in US dollars in October 2026."""
    line = dict.fromkeys((column.name for column in chargeback_csv.COLUMNS), None) | {
        "period": "2026-10",
        "posting_period": "2026-10",
        "original_period": "2026-10",
        "provider": "anthropic",
        "invoice_id": "ANT-2026-10",
        "version": 1,
        "mode": "chargeback",
        "legal_entity": "ACME-US",
        "cost_center": cost_center,
        "cost_center_name": cost_center.title(),
        "charge_type": charge_type,
        "amount": Decimal(amount),
        "currency": "USD",
        "fx_rate": Decimal(1),
        "amount_functional": Decimal(amount),
        "allocation_method": "largest_remainder",
        "rung": "team_metadata" if charge_type == "direct" else "",
        "pool_total": Decimal(amount),
        "policy_sha256": POLICY,
    }
    return line | given


def chargeback_file(charges: Iterable[Charge]) -> bytes:
    """chargeback.csv of the lines."""
    columns = chargeback_csv.COLUMNS
    rows = [[line[column.name] for column in columns] for line in charges]
    return csv_bytes(columns, rows, [*chargeback_csv.PRIMARY_KEY, "original_period", "team_id", "use_case"])


def pull_request_file(
    cost: str, merged: int, month: str = "2026-10", teams: Iterable[tuple[str, str, int]] = ()
) -> bytes:
    """cost_per_pr.csv with the organisation's row, and (team, cost, pull requests) for each team."""
    rows = [[month, "org", "", "", merged, 0, Decimal(cost), _ratio(cost, merged), "ok" if merged else "no_merged_prs"]]
    for team, spent, count in teams:
        status = "ok" if count >= 5 else "few"
        rows.append([month, "team", team, team, count, None, Decimal(spent), _ratio(spent, count), status])
    return csv_bytes(cost_per_pr_csv.COLUMNS, rows, cost_per_pr_csv.PRIMARY_KEY)


def item(item_id: str, amount: str, opened_on: dt.date, **given: Any) -> ReconcilingItem:
    """An open item of the October invoice."""
    values = {
        "item_id": item_id,
        "billing_month": OCTOBER,
        "provider": "anthropic",
        "account": "acme-prod",
        "invoice_id": "ANT-2026-10",
        "period_start": OCTOBER.first_day,
        "period_end": OCTOBER.next().first_day,
        "component": "unproxied",
        "cell": "key ...x1",
        "what": "Use of a key that the proxy does not have",
        "opened_on": opened_on,
        "amount": Decimal(amount),
        "currency": "USD",
        "owner": "platform",
        "starts_as": ItemStatus.OPEN,
        "status": ItemStatus.OPEN,
        "evidence_link": "",
        "expected_clear_by": None,
    }
    return ReconcilingItem(**(values | given))


def statements() -> list[Reconciliation]:
    """Two invoices of October: 928.08 of Anthropic and 500.01 of OpenAI."""
    first = {"timing": "1.2", "volume": "2.766", "unproxied": "60.5", "credits_discounts": "-80", "tax": "72.71"}
    return [
        reconciled("anthropic", "ANT-2026-10", OCTOBER, "869.554", rounding="0.04", unexplained="1.31", **first),
        reconciled("openai", "OAI-2026-10", OCTOBER, "480.00", unproxied="20", unexplained="0.01"),
    ]


def october() -> dict[str, bytes]:
    """A month with everything in it: charges of 1,428.09 USD over two invoices, and corrections of September."""
    openai = {"provider": "openai", "invoice_id": "OAI-2026-10"}
    charges = [
        charge(
            "CC-100", "404.33", cost_center_name="Commerce Engineering", direct_logged_exact=Decimal("404.1234567891")
        ),
        charge("CC-200", "342.01", cost_center_name="Data and Machine Learning"),
        charge("CC-300", "41.08", cost_center_name="Core Platform"),
        charge("CC-300", "60.00", "unproxied", cost_center_name="Core Platform"),
        charge("CC-900", "50.53", cost_center_name="Suspense", rung="suspense"),
        charge("CC-990", "30.13", "central", cost_center_name="Central"),
        charge("CC-100", "300.00", cost_center_name="Commerce Engineering", **openai),
        charge("CC-200", "180.00", cost_center_name="Data and Machine Learning", **openai),
        charge("CC-990", "20.01", "central", cost_center_name="Central", **openai),
        charge("CC-100", "4.11", "prior_period", original_period="2026-09", cost_center_name="Commerce Engineering"),
        charge(
            "CC-200", "-4.11", "prior_period", original_period="2026-09", cost_center_name="Data and Machine Learning"
        ),
    ]
    items = [
        item("2026-10/1", "41.5", dt.date(2026, 10, 31)),
        item("2026-10/2", "-3.25", dt.date(2026, 8, 20), component="quantity", what="Calls that the log lacks"),
        item("2026-10/3", "20", dt.date(2026, 10, 12), provider="openai", owner="data"),
        item("2026-10/4", "0", dt.date(2026, 10, 30), component="missing_price", what="No price for a model", owner=""),
    ]
    teams = [("Payments", "700.00", 20), ("Search", "540.50", 18), ("Apps", "76.92", 3)]
    return {
        "chargeback.csv": chargeback_file(charges),
        "reconciliation.csv": reconciliation_csv(statements(), items),
        "recon_items.csv": recon_items_csv(items, dt.date(2026, 11, 6)),
        "cost_per_pr.csv": pull_request_file("1317.42", 41, teams=teams),
        "journal.csv": journal_file(),
    }


def journal_file() -> bytes:
    """journal.csv of the first invoice: one debit, one credit, and an account that begins with zeros."""
    names, kinds = ("debit", "credit"), {"line_no": Kind.INTEGER, "posting_date": Kind.DATE}
    kinds |= dict.fromkeys(names, Kind.DECIMAL)
    columns = ("external_id", "line_no", "posting_date", "account", *names, "currency", "memo")
    entry, day, amount = "TG-ANTHROPIC-2026-10-V1", dt.date(2026, 10, 31), Decimal("928.08")
    rows = [
        [entry, 1, day, "006100", amount, None, "USD", "AI cost"],
        [entry, 2, day, "2190", None, amount, "USD", "Clearing"],
    ]
    return csv_bytes([Column(name, kinds.get(name, Kind.TEXT)) for name in columns], rows, ["external_id", "line_no"])


def control(files: Mapping[str, bytes], /, **given: Any) -> dict[str, Any]:
    """control_totals.json as far as workbook and report read it, for `october()`."""
    sums = {"chargeback.csv": {"USD": "1428.09"}}
    tie = {"tie": "invoice = sum of its lines", "provider": "anthropic", "invoice_id": "ANT-2026-10", "currency": "USD"}
    suspense = {"tie": "suspense: opening + new - cleared = closing", "currency": "USD"}
    totals = {
        "period": "2026-10",
        "version": 1,
        "sources": [
            {
                "source": "raw/litellm_spend_logs",
                "rows": 4367,
                "sum": "1349.554000000000",
                "currency": "USD",
                "min_date": "2026-10-01",
                "max_date": "2026-10-31",
            }
        ],
        "files": [
            {"file": name, "rows": content.count(b"\n") - 1, "bytes": len(content), "sha256": sha256_of(content)}
            | {"sums": sums.get(name, {})}
            for name, content in files.items()
        ],
        "ties": [
            tie | {"invoice": "928.08", "chargeback": "928.08"},
            suspense | {"opening": "10.00", "new": "50.53", "cleared": "10.00", "closing": "50.53"},
        ],
        "not_charged": [],
    }
    return totals | given


def _ratio(cost: str, merged: int) -> Decimal | None:
    return (Decimal(cost) / merged).quantize(Decimal("0.01")) if merged else None
