"""May a month close? The preconditions of rule 2.4, as blockers with figures and the command that lifts each.

Belongs here: the decision, from facts that someone else gathered. Does not belong here: gathering them (`assets`),
storing periods and waivers (`ledger`), writing the closed pack (`pack.seal`).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tokengov_pipelines.domain.close_facts import CloseFacts, InvoiceFacts
from tokengov_pipelines.domain.match_result import ErrorCode
from tokengov_pipelines.domain.money import exact_product, round_posting, usd
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus

_DAYS_SHOWN = 5


class WaiverSubject(StrEnum):
    """What two people may agree to let pass. A missing day, a blocked status or a wrong sum is never among it."""

    SUSPENSE = "suspense"
    QUARANTINE = "quarantine"
    INVESTIGATE = "investigate"
    TRUE_UP = "true_up"
    SHRINK = "shrink"


@dataclass(frozen=True)
class Waiver:
    """A signed exception of one month, for one provider or (None) for all, up to `limit_amount` where there is one."""

    id: int
    month: BillingMonth
    provider: str | None
    subject: WaiverSubject
    reason: str
    requested_by: str
    approved_by: str
    limit_amount: Decimal | None
    granted_at: dt.datetime
    revoked_at: dt.datetime | None = None

    def covers(self, month: BillingMonth, subject: WaiverSubject, provider: str | None, amount: Decimal) -> bool:
        """Whether it is in force for this month, subject and provider, and its limit is not exceeded by `amount`."""
        return (
            self.revoked_at is None
            and (self.month, self.subject) == (month, subject)
            and (self.provider is None or self.provider == provider)
            and (self.limit_amount is None or abs(amount) <= self.limit_amount)
        )


@dataclass(frozen=True)
class Blocker:
    """One reason why the month stays open: what is wrong with its figures, and the command that lifts it."""

    code: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


def close_blockers(facts: CloseFacts, waivers: Iterable[Waiver]) -> list[Blocker]:
    """Every reason of rule 2.4 why the month may not close now, in the order of the close; empty means that it may."""
    granted = list(waivers)
    blockers = _missing_days(facts)
    blockers += _shrunk_days(facts, granted)
    blockers += _missing_invoices(facts)
    blockers += [Blocker(each.code, each.what, each.fix) for each in facts.problems if each.code != "missing_invoice"]
    for invoice in sorted(facts.invoices, key=lambda each: (each.provider, each.invoice_id)):
        blockers += _wrong_sum(invoice)
        blockers += _errors(facts, invoice)
        blockers += _unexplained(facts, invoice, granted)
        blockers += _large_true_up(facts, invoice, granted)
        blockers += _too_much_suspense(facts, invoice, granted)
    blockers += _quarantined(facts, granted)
    blockers += _prices(facts)
    blockers += _journal(facts)
    blockers += _material_corrections(facts)
    blockers += _one_person(facts)
    return blockers


def waive_command(month: BillingMonth, subject: WaiverSubject, provider: str | None) -> str:
    """The command that grants a waiver, with placeholders for what only people can say."""
    of_provider = f" --provider {provider}" if provider else ""
    return f'tokengov waive {month} {subject}{of_provider} --reason "..." --requested-by A --approved-by B'


def percent(part: Decimal, whole: Decimal) -> str:
    """A share for people, two decimals, half away from zero; the decision itself never divides (rule 1.3)."""
    if whole == 0:
        return "all"
    return f"{(abs(part) * 100 / abs(whole)).quantize(Decimal('0.01'), rounding='ROUND_HALF_UP')} %"


def _missing_days(facts: CloseFacts) -> list[Blocker]:
    blockers = []
    for source in sorted(facts.missing_days):
        days = sorted(facts.missing_days[source])
        if days:
            what = f"{source} has no extract for {_listed(days, facts.month)}"
            blockers.append(Blocker("missing_extract", what, f"tokengov load {days[0]} {days[-1]}"))
    for source in sorted(facts.empty_days):
        days = sorted(facts.empty_days[source])
        if days:
            what = (
                f"{source} was read and is empty for {_listed(days, facts.month)}; nothing proves that it covers them, "
                "so they do not count as zero"
            )
            fix = f"name the database that holds them in TOKENGOV_LITELLM_URL, then tokengov load {days[0]} {days[-1]}"
            blockers.append(Blocker("missing_extract", what, fix))
    return blockers


def _listed(days: Sequence[dt.date], month: BillingMonth) -> str:
    shown = ", ".join(map(str, days[:_DAYS_SHOWN])) + (", ..." if len(days) > _DAYS_SHOWN else "")
    return f"{len(days)} of the {len(month.days())} days of {month}: {shown}"


def _shrunk_days(facts: CloseFacts, waivers: Sequence[Waiver]) -> list[Blocker]:
    """The earlier load stays current, so the figures stand; but someone has to say why the source lost rows."""
    if any(waiver.covers(facts.month, WaiverSubject.SHRINK, None, Decimal(0)) for waiver in waivers):
        return []
    return [
        Blocker(
            "source_shrank",
            f"the latest load of {day} held less than the one before it: {lost}",
            f'tokengov accept-shrink {day} --reason "..." --accepted-by A, or keep the earlier load: '
            + waive_command(facts.month, WaiverSubject.SHRINK, None),
        )
        for day, lost in sorted(facts.shrunk_days.items())
    ]


def _missing_invoices(facts: CloseFacts) -> list[Blocker]:
    invoiced = {invoice.provider for invoice in facts.invoices}
    known = {each.provider for each in facts.problems if each.code != "missing_invoice"}  # has one that is not charged
    return [
        Blocker(
            "missing_invoice",
            f"{provider} logged {usd(logged):f} USD in {facts.month} and has no statement of its credits",
            f"add {facts.month} to directory/prepaid_statements.csv from the provider's console",
        )
        if provider in facts.prepaid
        else Blocker(
            "missing_invoice",
            f"{provider} logged {usd(logged):f} USD in {facts.month} and has no invoice",
            f"tokengov invoice new {provider} {facts.month}",
        )
        for provider, logged in sorted(facts.logged.items())
        if logged and provider not in invoiced | known
    ]


def _wrong_sum(invoice: InvoiceFacts) -> list[Blocker]:
    if invoice.charged == invoice.total:
        return []
    what = (
        f"{_named(invoice)}: the charges add up to {invoice.charged} of {invoice.total} {invoice.currency}, "
        f"a difference of {invoice.total - invoice.charged}"
    )
    return [Blocker("charges_do_not_sum", what, "this is a defect of the product; no waiver lifts it: report it")]


def _errors(facts: CloseFacts, invoice: InvoiceFacts) -> list[Blocker]:
    """Error items of the match; a missing extract that is listed by day already is not said twice."""
    is_listed = any(facts.missing_days.values()) or any(facts.empty_days.values())
    return [
        Blocker("match_error", f"{_named(invoice)}: {error.what}", error.fix)
        for error in invoice.errors
        if not (is_listed and error.code is ErrorCode.MISSING_EXTRACT)
    ]


def _large_true_up(facts: CloseFacts, invoice: InvoiceFacts, waivers: Sequence[Waiver]) -> list[Blocker]:
    """Rule 6.1: three tests, because in a net figure two large errors cancel."""
    if any(error.code in (ErrorCode.MISSING_EXTRACT, ErrorCode.MISSING_REPORT) for error in invoice.errors):
        return []  # what a missing day does to the figures is no difference of price or quantity
    tests = {
        "the true-up": invoice.true_up,
        "volume + mix": invoice.quantity,
        "proxy_pricing": invoice.pricing,
    }
    limit = exact_product(facts.true_up_block_pct, abs(invoice.direct_logged))
    over = {name: amount for name, amount in tests.items() if abs(amount) * 100 > limit}
    largest = max(map(abs, over.values()), default=Decimal(0))
    if not over or any(
        waiver.covers(facts.month, WaiverSubject.TRUE_UP, invoice.provider, largest) for waiver in waivers
    ):
        return []
    figures = ", ".join(
        f"{name} is {round_posting(amount)} ({percent(amount, invoice.direct_logged)})" for name, amount in over.items()
    )
    what = (
        f"{_named(invoice)}: of {round_posting(invoice.direct_logged)} {invoice.currency} logged, {figures}; "
        f"the limit of each is {facts.true_up_block_pct} %"
    )
    fix = f"tokengov recon items {facts.month} lists them; when they are explained: " + waive_command(
        facts.month, WaiverSubject.TRUE_UP, invoice.provider
    )
    return [Blocker("true_up_above_limit", what, fix)]


def _prices(facts: CloseFacts) -> list[Blocker]:
    found = facts.unapproved_prices
    return [Blocker("price_book_not_approved", found.what, found.fix)] if found else []


def _journal(facts: CloseFacts) -> list[Blocker]:
    return [
        Blocker("journal_not_balanced", what, fix or "report it, this is a defect of the product")
        for what, _, fix in (words.partition(". Fix: ") for words in facts.journal_problems)
    ]


def _material_corrections(facts: CloseFacts) -> list[Blocker]:
    if facts.corrections_gross <= facts.materiality:
        return []
    if any(same_person(facts.approver, each) for each in facts.controllers):
        return []
    what = (
        f"{facts.month} corrects closed months by {facts.corrections_gross}, more than {facts.materiality}, and "
        f"{facts.approver or 'nobody'} who approves it is no controller (directory/people.csv)"
    )
    return [Blocker("corrections_need_controller", what, f"a controller approves: tokengov close {facts.month} ...")]


def _unexplained(facts: CloseFacts, invoice: InvoiceFacts, waivers: Sequence[Waiver]) -> list[Blocker]:
    figures = (
        f"{_named(invoice)}: {round_posting(invoice.unexplained)} of {invoice.total} {invoice.currency} is unexplained "
        f"({percent(invoice.unexplained, invoice.total)})" + "".join(f"; {note}" for note in invoice.notes)
    )
    if invoice.errors:  # they are said one by one, and a waiver lifts none of them
        return []
    if invoice.status in (ReconciliationStatus.BLOCKED, ReconciliationStatus.MISSING_INVOICE):
        fix = (
            "tokengov invoice check FILE, then backfill the calls that are missing; no waiver lifts this status, "
            "the difference has to be explained"
        )
        if invoice.provider in facts.prepaid:
            fix = "compare directory/prepaid_statements.csv with the provider's console; no waiver lifts this status"
        return [Blocker("status_blocked", f"{figures}, status {invoice.status}", fix)]
    if invoice.status is not ReconciliationStatus.INVESTIGATE:
        return []
    mine = [
        waiver
        for waiver in waivers
        if waiver.covers(facts.month, WaiverSubject.INVESTIGATE, invoice.provider, invoice.unexplained)
    ]
    if any(same_person(waiver.approved_by, each) for waiver in mine for each in facts.controllers):
        return []
    needs = "needs the controller's waiver"
    if mine:
        needs = f"the waiver approved by {mine[0].approved_by} is not a controller's (directory/people.csv)"
    fix = waive_command(facts.month, WaiverSubject.INVESTIGATE, invoice.provider)
    return [Blocker("status_investigate", f"{figures}, status investigate: {needs}", fix)]


def _too_much_suspense(facts: CloseFacts, invoice: InvoiceFacts, waivers: Sequence[Waiver]) -> list[Blocker]:
    if abs(usd(invoice.suspense)) * 100 <= usd(facts.max_suspense_pct) * abs(usd(invoice.total)):
        return []
    if any(
        waiver.covers(facts.month, WaiverSubject.SUSPENSE, invoice.provider, invoice.suspense) for waiver in waivers
    ):
        return []
    what = (
        f"{_named(invoice)}: suspense holds {invoice.suspense} of {invoice.total} {invoice.currency}, "
        f"{percent(invoice.suspense, invoice.total)}; the limit is {facts.max_suspense_pct} %"
    )
    return [Blocker("suspense_above_limit", what, waive_command(facts.month, WaiverSubject.SUSPENSE, invoice.provider))]


def _quarantined(facts: CloseFacts, waivers: Sequence[Waiver]) -> list[Blocker]:
    spend = usd(facts.quarantined_spend)
    if not facts.quarantined_calls or any(
        waiver.covers(facts.month, WaiverSubject.QUARANTINE, None, spend) for waiver in waivers
    ):
        return []
    what = (
        f"{facts.quarantined_calls} calls of {facts.month} are in quarantine, with {spend:f} USD of readable spend "
        "(fct_quarantined_calls)"
    )
    return [Blocker("quarantine_not_empty", what, waive_command(facts.month, WaiverSubject.QUARANTINE, None))]


def _one_person(facts: CloseFacts) -> list[Blocker]:
    fix = f"tokengov close {facts.month} --preparer A --approver B"
    if not facts.preparer.strip() or not facts.approver.strip():
        return [Blocker("not_signed", f"the close of {facts.month} names no preparer or no approver", fix)]
    if same_person(facts.preparer, facts.approver):
        what = f"{facts.preparer} is preparer and approver of {facts.month}; the two are different people"
        return [Blocker("one_person", what, fix)]
    return []


def _named(invoice: InvoiceFacts) -> str:
    return f"{invoice.provider} invoice {invoice.invoice_id}"
