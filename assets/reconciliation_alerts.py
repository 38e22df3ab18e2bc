"""Telling people about causes of the gap: the conditions of rule 4.7 from a month's match, to the ledger's alerts.

Belongs here: what the conditions are read from, and recording them. Does not belong here: the table of rule 4.7
(`domain.reconciliation_alerts`), sending (`tokengov_pipelines.alerting`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from assets.known_month import KnownMonth, month_to_date
from assets.ledger import open_ledger
from assets.reconciliation_inputs import read_statements
from resources.lake import Lake
from resources.notifier import Notifier
from resources.readings import PROXY_LOG, REPORTS, state_at
from resources.tables import Tables
from tokengov_pipelines.domain.alert import Step
from tokengov_pipelines.domain.bypass import BypassFinding, UnproxiedKey
from tokengov_pipelines.domain.day_state import DayState
from tokengov_pipelines.domain.gap_month import AlertLimits, ExpiringCredit, MonthFigures, line_classes
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.prepaid import expiring_credits
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.reconciliation_alerts import reconciliation_conditions
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation


def observe_month(
    installation: Installation,
    lake: Lake,
    ledger: Ledger,
    known: KnownMonth,
    notifier: Notifier,
    run_id: str,
) -> int:
    """Open, raise and close the alerts of a month that has its invoices; returns how many of them changed."""
    match, found = known.match, known.findings
    figures = _figures(installation, lake, match.month, found.reconciliations, match.inputs.invoices, found.items)
    return _observe(
        installation, ledger, match.month, found.reconciliations, found.keys, found.findings, figures, notifier, run_id
    )


def observe_day(
    installation: Installation,
    lake: Lake,
    tables: Tables,
    days: Iterable[dt.date],
    notifier: Notifier,
    run_id: str,
) -> int:
    """The same for the last two months of these days, of every provider that has no invoice of the month yet."""
    months = sorted({BillingMonth.of(day) for day in days})[-2:]
    return sum(_observe_to_date(installation, lake, tables, month, notifier, run_id) for month in months)


def _observe_to_date(
    installation: Installation, lake: Lake, tables: Tables, month: BillingMonth, notifier: Notifier, run_id: str
) -> int:
    ledger = open_ledger(installation)
    known = month_to_date(installation, lake, tables, ledger, month)
    match = known.match
    figures = _figures(installation, lake, month, match.reconciliations, match.inputs.invoices, None)
    return _observe(
        installation, ledger, month, match.reconciliations, known.keys, known.findings, figures, notifier, run_id
    )


def _observe(
    installation: Installation,
    ledger: Ledger,
    month: BillingMonth,
    reconciliations: Sequence[Reconciliation],
    keys: Sequence[UnproxiedKey],
    findings: Sequence[BypassFinding],
    figures: Mapping[tuple[str, str], MonthFigures],
    notifier: Notifier,
    run_id: str,
) -> int:
    def limits_of(provider: str) -> AlertLimits:
        policy = installation.policy.of_provider(provider).alerts
        return AlertLimits(
            unproxied_pct=policy.unproxied_pct,
            unproxied_day_usd=policy.unproxied_day_usd,
            unpriced_rows_pct=policy.unpriced_rows_pct,
            unpriced_usd=policy.unpriced_usd,
            provider_rate_pct=policy.provider_rate_pct,
            quantity_pct=policy.quantity_pct,
            credits_expiry_days=policy.credits_expiry_days,
            coverage_target_pct=policy.coverage_target_pct,
        )

    conditions = reconciliation_conditions(
        reconciliations,
        keys,
        findings,
        month=month,
        limits_of=limits_of,
        figures=figures,
        at=dt.datetime.now(dt.UTC),
        today=installation.settings.today(),
        open_keys=[alert.key for alert in ledger.alerts.open_alerts()],
        run_id=run_id,
    )
    steps = ledger.alerts.observe(conditions, notifier.transports)
    return sum(step.step is not Step.REPEATED for step in steps)


def _figures(
    installation: Installation,
    lake: Lake,
    month: BillingMonth,
    reconciliations: Sequence[Reconciliation],
    invoices: Sequence[Invoice],
    items: Sequence[ReconcilingItem] | None,
) -> dict[tuple[str, str], MonthFigures]:
    found = {}
    statements, today = read_statements(lake), installation.settings.today()
    for each in reconciliations:
        days = installation.policy.of_provider(each.provider).alerts.credits_expiry_days
        expiring = expiring_credits(statements, today, days)
        mine = sorted((one for one in invoices if one.provider == each.provider), key=lambda one: one.period_start)
        now = [one for one in mine if month in one.period.months()]
        before = [one for one in mine if one.period.end <= month.first_day]
        found[each.provider, each.account] = MonthFigures(
            settled_days=frozenset(
                day for day in each.period.days() if _is_settled(installation, lake, each.provider, day)
            ),
            line_classes=line_classes(line for one in now for line in one.lines) if now else None,
            previous_line_classes=line_classes(before[-1].lines) if before else None,
            credits=[
                ExpiringCredit(f"credits of {credit.account}", credit.amount, credit.expires_on)
                for credit in expiring
                if credit.provider == each.provider
            ],
            items=None
            if items is None
            else [item for item in items if (item.provider, item.account) == (each.provider, each.account)],
        )
    return found


def _is_settled(installation: Installation, lake: Lake, provider: str, day: dt.date) -> bool:
    watermark = installation.policy.period.late_log_watermark_days
    is_reporting = provider in REPORTS and getattr(installation.settings, provider) is not None
    sources = [PROXY_LOG, *(REPORTS[provider] if is_reporting else ())]
    return all(state_at(lake, source, day, watermark) is DayState.SETTLED for source in sources)
