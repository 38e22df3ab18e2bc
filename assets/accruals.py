"""What the books know for accruals: closed months as they were sealed, and ended months that have no invoice yet.

Belongs here: which months are asked, and what was published for them. Does not belong here: the evidence
(`closing.accrual_evidence`), the accrual and the back-test (`domain.accrual`, `domain.accrual_backtest`).
"""

from collections import defaultdict
from decimal import Decimal

from assets.cycle_search import paused_cycle_search
from assets.known_month import known_month
from assets.ledger import open_ledger
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.accrual_evidence import accrual_evidence
from tokengov_pipelines.closing.input_files import FACTS, read_input_files
from tokengov_pipelines.closing.match import match_month_inputs
from tokengov_pipelines.domain.accrual import AccrualEvidence, AccrualMonths, ClosedMonth
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import Period, PeriodState
from tokengov_pipelines.pack.folders import read_folder_files
from tokengov_pipelines.settings import Installation


def gather_accrual_months(installation: Installation) -> AccrualMonths:
    """The closed months of every provider, from their sealed packs, and the ended months without an invoice."""
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    tables = Tables(root=str(installation.tables_dir))
    ledger = open_ledger(installation)
    closed: list[ClosedMonth] = []
    with paused_cycle_search():
        for period in ledger.periods():
            if period.state is PeriodState.CLOSED:
                closed += _closed(installation, ledger, period)
    due: list[AccrualEvidence] = []
    for month in _ended_and_open(installation, ledger):
        known = known_month(installation, lake, tables, ledger, month)
        invoiced = {each.provider for each in known.match.invoices if month in each.period.months()}
        due += [each for each in accrual_evidence(known.inputs, known.match) if each.provider not in invoiced]
    return AccrualMonths(closed, due, installation.policy.attribution.central)


def _closed(installation: Installation, ledger: Ledger, period: Period) -> list[ClosedMonth]:
    """What was known at the close, not now: an accrual could rest on nothing else."""
    folder = installation.packs_dir / str(period.month) / f"v{period.version}"
    if not (folder / FACTS).exists():
        return []
    sealed = read_input_files(read_folder_files(folder))
    published = _published(ledger, period)
    return [
        ClosedMonth(each, published[each.provider])
        for each in accrual_evidence(sealed, match_month_inputs(sealed))
        if each.provider in published
    ]


def _published(ledger: Ledger, period: Period) -> dict[str, dict[str, Decimal]]:
    """By provider and cost center: what the month's close charged, and what later closes corrected of it."""
    amounts: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for posting in ledger.postings(period.month, period.version):
        if posting.original_month in {"", str(period.month)} and not posting.invoice_id.startswith("ACCRUAL-"):
            amounts[posting.provider, posting.cost_center].append(posting.amount)
    for each in ledger.adjustments(period.month):
        if not each.invoice_id.startswith("ACCRUAL-"):
            amounts[each.provider, each.cost_center].append(each.amount)
    found: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for (provider, code), each_amount in amounts.items():
        found[provider][code] = exact_sum(each_amount)
    return dict(found)


def _ended_and_open(installation: Installation, ledger: Ledger) -> list[BillingMonth]:
    """Months of the books that are over and not closed."""
    today = installation.settings.today()
    months, month = [], BillingMonth.parse(installation.settings.books_start)
    while month.last_day < today:
        if ledger.period(month).state is not PeriodState.CLOSED:
            months.append(month)
        month = month.next()
    return months
