"""A month as known now: its inputs, match and findings, remembered while nothing that they were read from changes.

Belongs here: asking once for what several assets and checks of a run need. Does not belong here: reading
(`assets.month_inputs`), the rules in their order (`tokengov_pipelines.closing`).
"""

import datetime as dt
from dataclasses import dataclass, replace

from assets.bypass_evidence import gather_evidence
from assets.cycle_search import paused_cycle_search
from assets.key_inputs import with_creator_names
from assets.month_inputs import gather_month_inputs, input_stamps
from assets.reconciliation_inputs import whole_days
from assets.restatements import gather_corrections
from resources.lake import Lake
from resources.readings import REPORTS
from resources.tables import Tables
from tokengov_pipelines.closing.findings import MonthFindings, judge, keys_of, month_findings
from tokengov_pipelines.closing.inputs import MonthInputs
from tokengov_pipelines.closing.match import MonthMatch, match_inputs, match_month_inputs, match_rules
from tokengov_pipelines.domain.bypass import BypassFinding, UnproxiedKey
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation


@dataclass(frozen=True)
class KnownMonth:
    """A month's inputs, its match and what it means; `findings` has the evidence that is never sealed."""

    inputs: MonthInputs
    match: MonthMatch
    findings: MonthFindings


_Stamps = tuple[tuple[str, int, int], ...]
_remembered: dict[tuple[str, str], tuple[_Stamps, KnownMonth]] = {}


def known_month(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, month: BillingMonth
) -> KnownMonth:
    """The month as known now; every asset and check of a run that asks again gets the same answer.

    The answer is taken again only while every file and event that it was made from is the same.
    """
    key = (f"{installation.home}:{month}:{installation.settings.today()}", installation.policy.sha256())
    known = _remembered.get(key)
    if known and known[0] == input_stamps(lake, tables, ledger, month, known[1].inputs.facts.days):
        return known[1]
    with paused_cycle_search():
        inputs = gather_month_inputs(installation, lake, tables, ledger, month)
        # Taken before the rules run: what changes meanwhile is seen at the next call.
        stamps = input_stamps(lake, tables, ledger, month, inputs.facts.days)
        inputs = gather_corrections(installation, lake, tables, ledger, inputs)
        match = match_month_inputs(inputs)
        found = judge(inputs, match)
        evidence = tuple(gather_evidence(installation, lake, tables, match))
        keys = with_creator_names(tables, found.keys)
        answer = KnownMonth(inputs, match, replace(found, keys=keys, evidence=evidence))
    _remembered.clear()  # one month at a time: that is what a run asks for
    _remembered[key] = (stamps, answer)
    return answer


@dataclass(frozen=True)
class MonthToDate:
    """A running month without invoices, for the days that every source is known for (Rule 4.7, daily)."""

    match: MonthMatch
    keys: tuple[UnproxiedKey, ...]
    findings: tuple[BypassFinding, ...]


def month_to_date(
    installation: Installation, lake: Lake, tables: Tables, ledger: Ledger, month: BillingMonth
) -> MonthToDate:
    """Match what is known of a month, of every provider that has no invoice of it yet."""
    inputs = gather_month_inputs(installation, lake, tables, ledger, month)
    # What is told today asks for the exceptions of today.
    inputs = replace(inputs, facts=replace(inputs.facts, exceptions_on=installation.settings.today()))
    records = match_inputs(inputs)
    # Of an invoiced provider the month's own run knows more.
    invoiced = {invoice.provider for invoice in records.invoices if month in invoice.period.months()}
    reporting = {name for name in REPORTS if getattr(installation.settings, name) is not None}
    found = []
    for provider, legs in records.legs.items():
        days = whole_days(lake, tables, provider if provider in reporting else None, month.days())
        if provider not in invoiced and days and (legs.logged or legs.usage or legs.costs):
            so_far = InvoicePeriod(days[0], days[-1] + dt.timedelta(days=1))
            rules = match_rules(installation.policy.of_provider(provider))
            found.append(
                reconcile(month, legs, None, registry=records.registry, book=records.book, rules=rules, so_far=so_far)
            )
    match = MonthMatch(month, records, tuple(found))
    keys = with_creator_names(tables, (key for key in keys_of(inputs, match) if key.provider not in invoiced))
    return MonthToDate(match, keys, tuple(month_findings(inputs, match, found, keys)))
