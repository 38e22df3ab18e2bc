"""A month's inputs as known now: read from lake, derived tables and ledger, with nothing of a person in them.

Belongs here: reading, cutting to what the month needs, and leaving people out. Does not belong here: what the inputs
are (`closing.inputs`), what is computed from them (`closing.closed_month`), corrections of closed months
(`assets.restatements`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from assets.key_inputs import UNPROXIED_KEYS, key_creators_table, key_lists_table, known_since
from assets.open_items import ITEMS_TABLE, read_items
from assets.reconciliation_inputs import (
    WORKSPACES,
    MissingPriceBookError,
    log_is_whole,
    missing_reports,
    read_invoices,
)
from assets.unit_cost import gather_pull_requests
from resources.directory import DIRECTORY_SCHEMAS
from resources.invoices import INVOICES_SCHEMA
from resources.lake import Lake
from resources.price_book import PRICE_BOOK_SCHEMAS, provider_slugs
from resources.readings import PROXY_LOG, REPORTS
from resources.tables import Tables
from tokengov_pipelines.closing import inputs as names
from tokengov_pipelines.closing.inputs import (
    TABLE_COLUMNS,
    ApprovedAccrual,
    MidnightSpend,
    MonthFacts,
    MonthInputs,
    PublishedCharge,
)
from tokengov_pipelines.closing.leg_tables import DRILL_GRAIN, LOG_GRAIN, LOG_SUMS, grouped
from tokengov_pipelines.domain.bypass import without_email
from tokengov_pipelines.domain.dispute import Route, dispute_moves, route_of
from tokengov_pipelines.domain.invoice import Invoice, is_credit_memo
from tokengov_pipelines.domain.open_item import aging_day
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.resolutions import Reopening, Resolution
from tokengov_pipelines.domain.restatement import CorrectionReason
from tokengov_pipelines.ledger.accruals import accruals_in_force
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.report_figures import TREND_MONTHS, HistoryMonth, history_month
from tokengov_pipelines.pack.suspense_csv import SUSPENSE_CSV
from tokengov_pipelines.settings import Installation

USAGE: Final = "fct_usage_daily"
_DERIVED: Final = {
    names.PROVIDER_USAGE: "fct_provider_usage_daily",
    names.PROVIDER_COSTS: "fct_provider_cost_daily",
}
_DIRECTORY: Final = {
    names.COST_CENTERS: "directory_cost_centers",
    names.TEAMS: "directory_teams",
    names.PROVIDER_KEYS: "directory_provider_keys",
    names.GL_ACCOUNTS: "directory_gl_accounts",
    names.FX_RATES: "directory_fx_rates",
    names.PREPAID_STATEMENTS: "directory_prepaid_statements",
    names.SEAT_ASSIGNMENTS: "directory_seat_assignments",
}
MIDNIGHT: Final = "fct_midnight_calls_daily"


def gather_month_inputs(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, month: BillingMonth
) -> MonthInputs:
    """Everything that the month is closed from, as known now."""
    calendar = InvoicePeriod(month.first_day, month.next().first_day)
    documents = read_invoices(lake)
    invoices = [
        each
        for each in documents
        if not is_credit_memo(each) and each.period.start < calendar.end and each.period.end > calendar.start
    ]
    memos = _memos_to_post(documents, ledger, month)
    days = InvoicePeriod(
        min([calendar.start, *(each.period.start for each in invoices)]),
        max([calendar.end, *(each.period.end for each in invoices)]),
    )
    usage = _usage_cells(tables, days)
    found = {name: _derived(tables, table, days, TABLE_COLUMNS[name]) for name, table in _DERIVED.items()}
    tables_with_providers = [usage, *found.values()]
    providers = {str(provider) for table in tables_with_providers for provider in table["provider"].to_pylist()}
    providers |= {each.provider for each in invoices}
    content = {
        names.USAGE_CELLS: usage,
        **found,
        names.INVOICES: _invoices(lake, {(each.provider, each.invoice_id) for each in (*invoices, *memos)}),
        **_price_book(lake, providers, days),
        **{name: _directory(lake, name, table, days) for name, table in _DIRECTORY.items()},
        names.WORKSPACES: _workspaces(tables),
        names.KEY_LISTS: key_lists_table(tables),
        names.KEY_CREATORS: key_creators_table(lake, tables),
    }
    return MonthInputs(
        facts=_facts(installation, lake, tables, ledger, month, days, {each.provider for each in invoices}),
        policy=installation.policy,
        tables={name: table for name, table in content.items() if table is not None},
        slugs=provider_slugs(),
    )


def _facts(
    installation: Installation,
    lake: Lake,
    tables: Tables,
    ledger: Ledger,
    month: BillingMonth,
    days: InvoicePeriod,
    invoiced: set[str],
) -> MonthFacts:
    settings = installation.settings
    reporting = sorted(name for name in REPORTS if getattr(settings, name) is not None)
    events = ledger.items.events()
    return MonthFacts(
        month=month,
        days=days,
        as_of=min(settings.today(), month.next().first_day),
        exceptions_on=aging_day(month),  # not today: what people sign may not change with the day they sign on
        reporting=tuple(reporting),
        missing_log_days=tuple(day for day in days.days() if not log_is_whole(lake, tables, day)),
        missing_report_days={provider: missing_reports(lake, tables, provider, days) for provider in reporting},
        over_midnight=_over_midnight(tables, days),
        policy_sha256=installation.policy.sha256(),
        known_since=known_since(tables, month),
        exceptions=tuple(
            replace(each, reason="", requested_by="", approved_by="") for each in ledger.bypass_exceptions.all()
        ),
        resolutions=tuple(
            replace(each, by="", approver="", evidence=without_email(each.evidence) or "")
            for each in events
            if isinstance(each, Resolution)
        ),
        reopenings=tuple(
            replace(each, by="", reason=without_email(each.reason) or "")
            for each in events
            if isinstance(each, Reopening)
        ),
        carried_items=tuple(
            replace(
                each,
                cell=without_email(each.cell) or "",
                what=without_email(each.what) or "",
                owner=without_email(each.owner) or "",
                evidence_link=without_email(each.evidence_link) or "",
            )
            for each in read_items(tables, month.previous())
        ),
        # What is decided after its last day waits for the next open month (Rule 6.8).
        disputes=dispute_moves(
            each
            for each in ledger.disputes.of(month)
            if each.awaits_posting and route_of(each, None) is Route.THIS_CLOSE
        ),
        accruals=tuple(
            ApprovedAccrual(each.provider, each.amount, each.currency, each.method)
            for each in accruals_in_force(ledger.accruals.of(month)).values()
            if each.provider not in invoiced
        ),
        published=_published(lake, ledger, month),
        pull_requests=gather_pull_requests(installation, lake, month),
        history=_history(installation, ledger, month),
        previous_files=_previous_files(installation, ledger, month),
    )


def _closed_packs(installation: Installation, ledger: Ledger, month: BillingMonth) -> list[tuple[BillingMonth, Path]]:
    """The folders of the closed months before, oldest first, as far as the report's trend goes back."""
    closed = [each for each in ledger.periods() if each.state is PeriodState.CLOSED and each.month < month]
    return [
        (each.month, installation.packs_dir / str(each.month) / f"v{each.version}") for each in closed[-TREND_MONTHS:]
    ]


def _history(installation: Installation, ledger: Ledger, month: BillingMonth) -> tuple[HistoryMonth, ...]:
    return tuple(
        history_month(closed, {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))})
        for closed, folder in _closed_packs(installation, ledger, month)
        if folder.exists()
    )


def _previous_files(installation: Installation, ledger: Ledger, month: BillingMonth) -> dict[str, str]:
    """suspense.csv and chargeback.csv of the month before, as they were sealed."""
    packs = dict(_closed_packs(installation, ledger, month))
    folder = packs.get(month.previous())
    if folder is None:
        return {}
    found = [folder / name for name in (SUSPENSE_CSV, CHARGEBACK_CSV)]
    return {path.name: path.read_text(encoding="utf-8") for path in found if path.exists()}


def _usage_cells(tables: Tables, days: InvoicePeriod) -> pa.Table:
    """The proxy's usage without keys and people; days that are not built yet are missing days of the facts."""
    grain = (*LOG_GRAIN, *DRILL_GRAIN)
    built = _built(tables, USAGE, days.days())
    if not built:
        return _empty_usage(grain)
    # Day by day: what a day costs does not depend on how many there are, and no user or key leaves this step.
    parts = [grouped(tables.read(USAGE, [partition]).select([*grain, *LOG_SUMS]), grain) for partition in built]
    return pa.concat_tables(parts, promote_options="default")


def _empty_usage(grain: Sequence[str]) -> pa.Table:
    types: dict[str, pa.DataType] = {"usage_date": pa.date32(), "context_over_tokens": pa.int64()}
    columns = [(name, types.get(name, pa.string())) for name in grain]
    sums = [(name, pa.decimal128(38, 12) if name == "logged_spend_usd" else pa.int64()) for name in LOG_SUMS]
    return pa.schema([*columns, *sums]).empty_table()


def _derived(tables: Tables, table: str, days: InvoicePeriod, columns: Sequence[str]) -> pa.Table:
    built = _built(tables, table, days.days())
    if not built:
        return pa.schema([(name, pa.string()) for name in columns]).empty_table()
    content = tables.read(table, built).select(list(columns))
    return content.sort_by([(name, "ascending") for name in columns if name not in {"quantity", "amount_usd"}])


def _built(tables: Tables, table: str, days: Iterable[dt.date]) -> list[str]:
    return [f"usage_date={day}" for day in days if tables.path(table, f"usage_date={day}").exists()]


def _memos_to_post(documents: Iterable[Invoice], ledger: Ledger, month: BillingMonth) -> list[Invoice]:
    """Credit memos that are there by the month's close and that no close has posted yet (Rule 2.5)."""
    posted = {
        each.ref
        for period in ledger.periods()
        for each in ledger.adjustments_posted_in(period.month)
        if each.reason == CorrectionReason.CREDIT_MEMO
    }
    return [
        each
        for each in documents
        if is_credit_memo(each) and each.invoice_date <= aging_day(month) and each.invoice_id not in posted
    ]


def _invoices(lake: Lake, wanted: set[tuple[str, str]]) -> pa.Table:
    files = lake.current_files("invoices")
    if not files:
        return INVOICES_SCHEMA.empty_table()
    content = pa.concat_tables([pq.read_table(path, partitioning=None) for path in files], promote_options="default")
    rows = [row for row in content.to_pylist() if (row["provider"], row["invoice_id"]) in wanted]
    return pa.Table.from_pylist(
        sorted(rows, key=lambda row: (row["provider"], row["invoice_id"], row["line_no"])), schema=content.schema
    )


def _price_book(lake: Lake, providers: set[str], days: InvoicePeriod) -> dict[str, pa.Table]:
    """The book's rows of the month's providers that hold on a day of it, and every alias."""
    found = {}
    for name in PRICE_BOOK_SCHEMAS:
        record = lake.current(name, "all")
        if record is None:
            message = (
                "the lake holds no price book. Fix: materialize raw/price_book (every load does), then run this again."
            )
            raise MissingPriceBookError(message)
        content = pq.read_table(lake.local_path(record), partitioning=None)
        wanted = [
            at for at, row in enumerate(content.to_pylist()) if row["provider"] in providers and _holds(row, days)
        ]
        found[name] = content.take(pa.array(wanted, pa.int64()))
    return found


def _holds(row: dict[str, Any], days: InvoicePeriod) -> bool:
    """Whether a dated row holds on a day of the period; a row without dates always does."""
    until = row.get("valid_to")
    return "valid_from" not in row or (row["valid_from"] < days.end and (until is None or until > days.start))


def _directory(lake: Lake, name: str, table: str, days: InvoicePeriod) -> pa.Table:
    empty = DIRECTORY_SCHEMAS[table.removeprefix("directory_")].empty_table()
    parts = [pq.read_table(path, partitioning=None) for path in lake.current_files(table)]
    content = pa.concat_tables([empty, *parts], promote_options="default")
    if name == names.FX_RATES:
        earliest = days.start - dt.timedelta(days=62)
        near = [at for at, row in enumerate(content.to_pylist()) if row["rate_date"] >= earliest]
        content = content.take(pa.array(near, pa.int64()))
    columns = TABLE_COLUMNS[name]
    return content.select(list(columns)) if columns else content.drop_columns(
        [each for each in ("source_file",) if each in content.column_names]
    )  # fmt: skip


def _workspaces(tables: Tables) -> pa.Table | None:
    """Names of workspaces, the oldest first; when each was last seen is not kept, as it moves with every load."""
    if not tables.path(WORKSPACES, "all").exists():
        return None
    content = tables.read(WORKSPACES, ["all"])
    ordered = content.sort_by(
        [(name, "ascending") for name in ("provider", "workspace_id", "last_observed_date", "workspace_name")]
    )
    return ordered.select(list(TABLE_COLUMNS[names.WORKSPACES]))


def _over_midnight(tables: Tables, days: InvoicePeriod) -> tuple[MidnightSpend, ...]:
    before = days.start - dt.timedelta(days=1)
    found = []
    for partition in _built(tables, MIDNIGHT, [before, *days.days()]):
        for row in tables.rows(MIDNIGHT, [partition]):
            found.append(MidnightSpend(row["provider"], row["usage_date"], row["logged_spend_usd"]))
    return tuple(sorted(found, key=lambda each: (each.provider, each.day)))


def _published(lake: Lake, ledger: Ledger, month: BillingMonth) -> tuple[PublishedCharge, ...]:
    """What older invoices charged, of those that a document of the month gives something back on."""
    named = {
        (invoice.provider, line.original_invoice_id)
        for invoice in read_invoices(lake)
        for line in invoice.lines
        if line.original_invoice_id
    }
    if not named:
        return ()
    sums: dict[tuple[str, str, str, str], Decimal] = defaultdict(Decimal)
    for period in ledger.periods():
        if period.state is PeriodState.CLOSED and period.month < month:
            for posting in ledger.postings(period.month, period.version):
                if (posting.provider, posting.invoice_id) in named:
                    original = posting.original_month or str(period.month)
                    sums[posting.provider, posting.invoice_id, original, posting.cost_center] += posting.amount
    return tuple(
        PublishedCharge(provider, invoice_id, BillingMonth.parse(original), code, amount)
        for (provider, invoice_id, original, code), amount in sorted(sums.items())
    )


def input_stamps(
    lake: Lake, tables: Tables, ledger: Ledger, month: BillingMonth, days: InvoicePeriod
) -> tuple[tuple[str, int, int], ...]:
    """What tells every file and event of a month's inputs from its successor; a load is told by its path."""
    wanted = [days.start - dt.timedelta(days=1), *days.days()]
    daily = (USAGE, MIDNIGHT, *_DERIVED.values())
    files = [tables.path(name, f"usage_date={day}") for name in daily for day in wanted]
    dimensions = ("dim_provider_workspaces", "dim_provider_keys_dated", "dim_provider_people")
    files += [tables.path(name, "all") for name in dimensions]
    files += [tables.path(name, f"billing_month={month.previous()}") for name in (ITEMS_TABLE, UNPROXIED_KEYS)]
    loaded = ("invoices", *_DIRECTORY.values(), "directory_users", *PRICE_BOOK_SCHEMAS, "github_pull_requests")
    texts = [file for name in loaded for file in lake.current_files(name)]
    sources = [PROXY_LOG, *(table for of in REPORTS.values() for table in of)]
    texts += [f"{source}:{day}:{lake.known_until(source, f'day={day}')}" for source in sources for day in wanted]
    head = ledger.chain_head()
    return (*(_stamp(path) for path in files), *((text, 0, 0) for text in texts), (head.sha256, head.seq, 0))


def _stamp(path: Path) -> tuple[str, int, int]:
    if not path.exists():
        return (str(path), 0, 0)
    found = path.stat()
    return (str(path), found.st_mtime_ns, found.st_size)
