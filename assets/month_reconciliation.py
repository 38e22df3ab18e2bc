"""A month's reconciliations as known now: every invoice that bills a day of it, and every provider without one.

Belongs here: which providers and invoices are matched, and remembering the answer while nothing that it was read from
changes. Does not belong here: reading (`assets.reconciliation_inputs`), the match (`domain.reconcile`).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from assets.cycle_search import paused_cycle_search
from assets.prepaid import roll_forwards
from assets.reconciliation_inputs import (
    MIDNIGHT_CALLS,
    PROVIDER_COST,
    PROVIDER_USAGE,
    PROXY_USAGE,
    WORKSPACES,
    MatchInputs,
    gather_inputs,
    whole_days,
)
from resources.lake import Lake
from resources.price_book import PRICE_BOOK_SCHEMAS
from resources.readings import PROXY_LOG, REPORTS
from resources.tables import Tables
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.prepaid import PrepaidRollForward, as_invoice, worse
from tokengov_pipelines.domain.reconcile import MatchRules, reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation, Tolerances
from tokengov_pipelines.settings import Installation, Policy

_DAILY: Final = (PROXY_USAGE, MIDNIGHT_CALLS, PROVIDER_USAGE, PROVIDER_COST)
_FROM_LAKE: Final = ("invoices", "directory_provider_keys", "directory_prepaid_statements", *PRICE_BOOK_SCHEMAS)


@dataclass(frozen=True)
class MonthMatch:
    """The month's reconciliations, ordered by provider and invoice, and what they were made from.

    `prepaid` are the roll-forwards of prepaid providers; `invoices` all invoices that were read, and the month's
    expense of prepaid credits in the form of one.
    """

    month: BillingMonth
    inputs: MatchInputs
    reconciliations: tuple[Reconciliation, ...]
    prepaid: Mapping[str, PrepaidRollForward] = field(default_factory=dict)
    invoices: tuple[Invoice, ...] = ()


_Stamp = tuple[str, int, int]
_remembered: dict[tuple[str, str], tuple[tuple[_Stamp, ...], MonthMatch]] = {}


def match_month(installation: Installation, lake: Lake, tables: Tables, month: BillingMonth) -> MonthMatch:
    """Reconcile the month as known now; every asset and check of a run that asks again gets the same answer.

    The answer is taken again only while every file that it was made from is the same.
    """
    key = (f"{installation.home}:{month}", installation.policy.sha256())
    known = _remembered.get(key)
    if known and known[0] == _stamps(lake, tables, known[1].inputs.period):
        return known[1]
    with paused_cycle_search():
        inputs = gather_inputs(installation, lake, tables, InvoicePeriod(month.first_day, month.next().first_day))
        # Taken before the match is made: what changes meanwhile is seen at the next call.
        stamps = _stamps(lake, tables, inputs.period)
        found = _matched(installation, lake, inputs, month)
    _remembered.clear()  # one month at a time: that is what a run asks for
    _remembered[key] = (stamps, found)
    return found


def month_to_date(
    installation: Installation, lake: Lake, tables: Tables, month: BillingMonth
) -> tuple[MatchInputs, list[Reconciliation]]:
    """The same without invoices, for the days of the month that every source is known for (Rule 4.7, daily)."""
    period = InvoicePeriod(month.first_day, month.next().first_day)
    inputs = gather_inputs(installation, lake, tables, period)
    found = []
    for provider, legs in inputs.legs.items():
        days = whole_days(lake, tables, provider if provider in _reporting(installation) else None, month.days())
        if days and (legs.logged or legs.usage or legs.costs):
            so_far = InvoicePeriod(days[0], days[-1] + dt.timedelta(days=1))
            policy = installation.policy.of_provider(provider)
            found.append(
                reconcile(
                    month,
                    legs,
                    None,
                    registry=inputs.registry,
                    book=inputs.book,
                    rules=match_rules(policy),
                    so_far=so_far,
                )
            )
    return inputs, found


def match_rules(policy: Policy) -> MatchRules:
    """The rules of a match, from the policy of one provider."""
    recon = policy.recon
    return MatchRules(
        tolerances=Tolerances(recon.rounding_abs, recon.abs_floor, recon.rel, recon.cap, recon.block_multiple),
        rounding_tol_per_line=recon.rounding_tol_per_line,
        fallback_tiers=policy.pricing.fallback_tiers,
    )


def _reporting(installation: Installation) -> set[str]:
    return {name for name in REPORTS if getattr(installation.settings, name) is not None}


def _matched(installation: Installation, lake: Lake, inputs: MatchInputs, month: BillingMonth) -> MonthMatch:
    prepaid = roll_forwards(installation, lake, inputs.legs, month)
    expenses = [as_invoice(rolled, _token_usage(inputs, rolled)) for rolled in prepaid.values()]
    invoices = (*inputs.invoices, *(each for each in expenses if each is not None))
    found = []
    for each in _reconciliations(installation, replace(inputs, invoices=invoices), month):
        rolled = prepaid.get(each.provider)
        found.append(_with_console(each, rolled) if rolled else each)
    return MonthMatch(month, inputs, tuple(found), prepaid, invoices)


def _token_usage(inputs: MatchInputs, rolled: PrepaidRollForward) -> Decimal:
    costs = inputs.legs[rolled.provider].costs or ()
    return exact_sum(each.amount for each in costs if each.cost_type == "tokens" and rolled.month.contains(each.day))


def _with_console(each: Reconciliation, rolled: PrepaidRollForward) -> Reconciliation:
    """A prepaid month is as good as its roll-forward: the console's balance is what stands for the invoice."""
    words = [str(problem) for problem in rolled.problems]
    if rolled.difference:
        words.append(
            f"the console shows {rolled.console_balance} {rolled.currency} and the roll-forward {rolled.closing}, a "
            f"difference of {rolled.difference}"
        )
    evidence = replace(each.evidence, notes=(*each.evidence.notes, *words))
    return replace(each, status=worse(each.status, rolled.status), evidence=evidence)


def _reconciliations(installation: Installation, inputs: MatchInputs, month: BillingMonth) -> Iterator[Reconciliation]:
    for provider, legs in inputs.legs.items():
        rules = match_rules(installation.policy.of_provider(provider))
        invoices = [each for each in inputs.invoices if each.provider == provider and month in each.period.months()]
        for invoice in sorted(invoices, key=lambda each: each.invoice_id):
            yield reconcile(month, legs, invoice, registry=inputs.registry, book=inputs.book, rules=rules)
        calendar = legs.cut_to(InvoicePeriod(month.first_day, month.next().first_day))
        if not invoices and (calendar.logged or calendar.usage or calendar.costs):
            yield reconcile(month, legs, None, registry=inputs.registry, book=inputs.book, rules=rules)


def _stamps(lake: Lake, tables: Tables, period: InvoicePeriod) -> tuple[_Stamp, ...]:
    """What tells every file of a match from its successor; loads are immutable, so their path does."""
    days = [period.start - dt.timedelta(days=1), *period.days()]
    derived = [tables.path(name, f"usage_date={day}") for name in _DAILY for day in days]
    read = [str(file) for name in _FROM_LAKE for file in lake.current_files(name)]
    sources = [PROXY_LOG, *(table for of in REPORTS.values() for table in of)]
    known = [f"{source}:{day}:{lake.known_until(source, f'day={day}')}" for source in sources for day in days]
    return (
        *(_stamp(path) for path in [*derived, tables.path(WORKSPACES, "all")]),
        *((text, 0, 0) for text in [*read, *known]),
    )


def _stamp(path: Path) -> _Stamp:
    if not path.exists():
        return (str(path), 0, 0)
    found = path.stat()
    return (str(path), found.st_mtime_ns, found.st_size)
