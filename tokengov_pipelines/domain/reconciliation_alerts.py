"""The alerts of the reconciliation: whom each row of rule 4.7's table goes to, under which key, every day.

Belongs here: severity, owner and key of each condition. Does not belong here: the comparisons and their words
(`gap_verdicts`), opening and telling again (`alert`), keeping (`ledger.alerts`).

Each condition is emitted every time, bad or good, so that an alert closes by itself when its cause is gone.
"""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain import gap_verdicts as verdicts
from tokengov_pipelines.domain.alert import WHOLE, Condition, Severity
from tokengov_pipelines.domain.bypass import (
    BypassFinding,
    FindingKind,
    KeyStatus,
    OwnerBasis,
    UnproxiedKey,
    without_email,
)
from tokengov_pipelines.domain.gap_month import AlertLimits, Gap, MonthFigures
from tokengov_pipelines.domain.gap_verdicts import Verdict
from tokengov_pipelines.domain.money import exact_sum, round_posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation

NEW_KEY: Final = "new_key"
ALL_ACCOUNTS: Final = "all"
"""Stands for the account where a condition is of the provider as a whole."""

_WORD: Final = "recon"
_ONCALL: Final = "platform on-call"
_SECURITY: Final = "security"
_CONTROLLER: Final = "controller + data owner"


@dataclass(frozen=True)
class _Row:
    """One row of the table: its word in keys, how bad, whose, a title without figures, and its comparison."""

    name: str
    severity: Severity
    owner: str
    title: str
    judge: Callable[[Gap], Verdict | None]


_OF_THE_MONTH: Final = (
    _Row("unproxied", Severity.PAGE, "platform lead, security", "unproxied spend above its limit", verdicts.unproxied),
    _Row("unpriced", Severity.HIGH, "platform", "calls logged without a price", verdicts.unpriced),
    _Row(
        "provider_rate",
        Severity.MEDIUM,
        "finance + vendor manager",
        "billed at other prices than the price book",
        verdicts.provider_rate,
    ),
    _Row("quantity", Severity.MEDIUM, "platform", "lost or duplicated logs", verdicts.quantity),
    _Row("coverage", Severity.MEDIUM, "platform", "proxy coverage below its target", verdicts.low_coverage),
    _Row("error_items", Severity.HIGH, "platform + data owner", "the match has errors", verdicts.error_items),
    _Row("missing_extract", Severity.PAGE, _CONTROLLER, "an extract is missing", verdicts.missing_extract),
    _Row("blocked", Severity.PAGE, _CONTROLLER, "the reconciliation is blocked", verdicts.blocked),
    _Row("missing_invoice", Severity.PAGE, _CONTROLLER, "the invoice is missing", verdicts.missing_invoice),
    _Row("new_line_class", Severity.INFO, "finance", "a new kind of invoice line", verdicts.new_line_class),
)
_CREDITS: Final = _Row("credits_expiring", Severity.INFO, "finance", "credits expire soon", verdicts.expiring_credits)
_ITEMS: Final = _Row(
    "overdue_items", Severity.PAGE, "controller", "items open for more than 90 days", verdicts.overdue_items
)


def reconciliation_conditions(
    reconciliations: Sequence[Reconciliation],
    keys: Sequence[UnproxiedKey],
    findings: Sequence[BypassFinding] = (),
    *,
    month: BillingMonth,
    limits_of: Callable[[str], AlertLimits],
    figures: Mapping[tuple[str, str], MonthFigures],
    at: dt.datetime,
    today: dt.date,
    open_keys: Collection[str] = (),
    run_id: str | None = None,
) -> list[Condition]:
    """Every condition of rule 4.7's table for one month, bad or good, in a fixed order.

    Args:
        reconciliations: all of the month of each provider in it; invoices of one account are judged together.
        keys: the unproxied keys of the month (Rule 5.5), with those under an exception.
        findings: those of `bypass_findings`; only leaked keys are read.
        month: which month; it is part of the key, except of what is true of today whatever the month (expiring
            credits, overdue items), which only the running month and the one before look at.
        limits_of: the policy's limits by provider.
        figures: what is read besides, by (provider, account); what is absent is not looked at.
        at: the real clock's time of this look.
        today: the accounting day of the installation.
        open_keys: the keys of the alerts that are open (`AlertBook.open_alerts`): those of the month whose provider key
            is in no list any more (it was registered), or whose account the invoice calls otherwise, close.
        run_id: the run that looked.
    """
    look = _Look(month, at, run_id)
    found: list[Condition] = []
    for gap in _gaps(reconciliations, keys, limits_of, figures, month, today):
        where = f"{gap.provider} ({gap.account or 'no account'})"
        found += [look.condition(row, gap, f"{where} {month}: {row.title}", of_month=True) for row in _OF_THE_MONTH]
        if month >= BillingMonth.of(today).previous():
            read = {_CREDITS: gap.figures.credits, _ITEMS: gap.figures.items}
            of_today = [row for row, figure in read.items() if figure is not None]
            found += [look.condition(row, gap, f"{where}: {row.title}", of_month=False) for row in of_today]
    for provider in sorted({each.provider for each in reconciliations}):
        found.append(look.leaked_key(provider, findings))
    found += [look.new_key(key) for key in keys]
    providers = {each.provider for each in reconciliations}
    return found + look.gone(open_keys, {each.key for each in found}, providers)


def _gaps(
    reconciliations: Sequence[Reconciliation],
    keys: Sequence[UnproxiedKey],
    limits_of: Callable[[str], AlertLimits],
    figures: Mapping[tuple[str, str], MonthFigures],
    month: BillingMonth,
    today: dt.date,
) -> list[Gap]:
    accounts = sorted({(each.provider, each.account) for each in reconciliations})
    gaps = []
    for provider, account in accounts:
        is_alone = [each for each, _ in accounts].count(provider) == 1  # an account's two names are one account
        gap = Gap(
            provider=provider,
            account=account,
            month=month,
            matches=[each for each in reconciliations if (each.provider, each.account) == (provider, account)],
            keys=[key for key in keys if key.provider == provider and (is_alone or key.account == account)],
            today=today,
            limits=limits_of(provider),
            figures=figures.get((provider, account), MonthFigures()),
        )
        gaps.append(gap)
    return gaps


@dataclass(frozen=True)
class _Look:
    """One look at one month: what all its conditions have in common."""

    month: BillingMonth
    at: dt.datetime
    run_id: str | None

    def condition(self, row: _Row, gap: Gap, title: str, *, of_month: bool) -> Condition:
        """One row of the table for one account."""
        month = str(self.month) if of_month else ""
        key = alert_key(row.name, gap.provider, gap.account, month)
        return self._made(key, row.severity, row.owner, title, row.judge(gap))

    def leaked_key(self, provider: str, findings: Sequence[BypassFinding]) -> Condition:
        """The proxy's own key used past the proxy: a security incident (Rule 5.1, E4)."""
        leaked = [each for each in findings if each.kind is FindingKind.LEAKED_KEY and each.raises_alert]
        mine = [each for each in leaked if each.provider == provider]
        verdict = None
        if mine:
            largest = sorted(mine, key=lambda each: -abs(each.amount))
            amount = exact_sum(abs(each.amount) for each in mine)
            text = " ".join(without_email(each.words) or "" for each in largest)
            verdict = Verdict(amount, text, largest[0].next_step)
        key = alert_key(FindingKind.LEAKED_KEY, provider, ALL_ACCOUNTS, str(self.month))
        title = f"{provider} {self.month}: a key of the proxy is used past the proxy"
        return self._made(key, Severity.PAGE, _SECURITY, title, verdict)

    def new_key(self, key: UnproxiedKey) -> Condition:
        """A provider key that is used outside the proxy: bad while it is new and costs something."""
        name = alert_key(NEW_KEY, key.provider, key.account, f"{self.month}:{key.identity.word}")
        owner = _ONCALL if key.owner_basis is OwnerBasis.CENTRAL else f"{_ONCALL} + {key.suggested_owner}"
        title = f"never seen before: {key.key_label} ({self.month})"
        verdict = _of_new_key(key) if key.status is KeyStatus.NEW and key.cost_usd > 0 else None
        return self._made(name, Severity.HIGH, owner, title, verdict)

    def gone(
        self, open_keys: Collection[str], looked_at: Collection[str], providers: Collection[str]
    ) -> list[Condition]:
        """Open alerts of these providers and this month that nothing was said about: what they spoke of is gone."""
        found = []
        for name in sorted(set(open_keys).difference(looked_at)):
            parts = name.split(":", 5)  # a new key's own words may have colons
            if parts[0] == _WORD and parts[2:3] and parts[2] in providers and parts[4:5] == [str(self.month)]:
                found.append(self._made(name, Severity.INFO, "", name, None))
        return found

    def _made(self, key: str, severity: Severity, owner: str, title: str, verdict: Verdict | None) -> Condition:
        return Condition(
            key=key,
            at=self.at,
            severity=severity,
            title=title,
            text=f"{verdict.text} Fix: {verdict.next_step.rstrip('.')}." if verdict else "",
            bad=frozenset({WHOLE}) if verdict else frozenset(),
            run_id=self.run_id,
            owner=owner,
            amount=verdict.amount if verdict else None,
        )


def alert_key(condition: str, provider: str, account: str, of: str) -> str:
    """The key of an alert for ever: 'recon:unproxied:anthropic:default:2026-10'; `of` is empty where no month is meant.

    A colon inside an account's name is written as a dash, so that the parts can be told apart.
    """
    parts = [_WORD, condition, provider, account.replace(":", "-") or "-"]
    return ":".join([*parts, of] if of else parts)


def _of_new_key(key: UnproxiedKey) -> Verdict:
    days = f"on {key.first_seen}" if key.first_seen == key.last_seen else f"from {key.first_seen} to {key.last_seen}"
    made = f" It was made by {without_email(key.created_by)}." if key.created_by else ""
    models = f" Models: {', '.join(key.models[:3])}{', ...' if len(key.models) > 3 else ''}." if key.models else ""
    whose = f"Suggested owner: {key.suggested_owner} (by {key.owner_basis.replace('_', ' ')})."
    text = f"{key.key_label}: {_dollars(key.cost_usd)} USD outside the proxy {days}.{models}{made} {whose}"
    step = (
        f"move it to the proxy or rotate it by {key.due_date}; or have an exception approved: tokengov unproxied "
        f"except {key.provider} {key.identity.word}"
    )
    return Verdict(key.cost_usd, text, step)


def _dollars(amount: Decimal) -> str:
    return f"{round_posting(amount):,}"
