"""The month's charges from its match: pools of every invoice, what they are split by, lines, drill table (Rule 6).

Belongs here: putting the rules of section 6 in their order for a month. Does not belong here: the rules (`domain`), the
match (`match`), the journal and the files (`closed_month`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tokengov_pipelines.closing.billed_month import billed_month, charged_by, in_currency, total_of
from tokengov_pipelines.closing.findings import MonthFindings
from tokengov_pipelines.closing.inputs import COST_CENTERS, TEAMS, USAGE_CELLS, MonthInputs
from tokengov_pipelines.closing.match import MonthMatch
from tokengov_pipelines.domain.allocation import SharedMethod, SplitMethod
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_detail import LineKey, UsedBy, detail_lines
from tokengov_pipelines.domain.charge_moves import moved
from tokengov_pipelines.domain.charge_problems import ChargebackProblem, LoggedSpend, charge_problems
from tokengov_pipelines.domain.chargeback import (
    BilledMonth,
    ChargebackLine,
    ChargebackPolicy,
    CostCenter,
    InvoiceHeader,
    PriorPeriodCharge,
    charge_month,
)
from tokengov_pipelines.domain.money import (
    allocate,
    exact_sum,
    minor_unit_scale,
)
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import Pool
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.restatement import CorrectionReason
from tokengov_pipelines.domain.seats import SeatCharges

ACCRUAL_PREFIX = "ACCRUAL-"


@dataclass(frozen=True)
class MonthCharges:
    """The lines at finance grain, the drill table that sums to them, and what could not be charged.

    `billed` are the month's parts of the invoices, `invoices` their headers (with what has a problem too).
    """

    lines: tuple[ChargebackLine, ...]
    detail: tuple[ChargebackLine, ...]
    problems: tuple[ChargebackProblem, ...]
    billed: tuple[BilledMonth, ...]
    invoices: tuple[InvoiceHeader, ...]
    logged: Mapping[str, Decimal]
    corrections: tuple[PriorPeriodCharge, ...] = ()
    seats: tuple[SeatCharges, ...] = ()


def charge_inputs(inputs: MonthInputs, match: MonthMatch, found: MonthFindings, version: int) -> MonthCharges:
    """Charge everything that bills a day of the month, as version `version`."""
    month, policy = inputs.month, chargeback_policy(inputs)
    cost_centers = cost_centers_of(inputs)
    headers = _headers(inputs, match)
    due = [header for header in headers if month in header.period.months()]
    spend = _logged_spend(inputs, due)
    billed: list[BilledMonth] = []
    used: dict[LineKey, list[UsedBy]] = {}
    seats: list[SeatCharges] = []
    for header in due:
        reconciliation = reconciliation_of(found, header)
        if reconciliation is None:
            continue
        part, values, of_seats = billed_month(inputs, match, header, reconciliation)
        billed.append(part)
        seats += of_seats
        for code, rows in values.used.items():
            used[header.provider, header.invoice_id, code] = in_currency(rows, part.fx_rate)
    payers = [(each.header.provider, code) for each in billed for code in _payers(each)]
    problems = [*charge_problems(month, headers, spend, cost_centers, policy, rates=match.rates, payers=payers)]
    problems += [
        ChargebackProblem("seats", each.bill.provider, problem.what, problem.fix)
        for each in seats
        for problem in each.problems
    ]
    problems += _memo_problems(inputs, match)
    held = {problem.provider for problem in problems}
    corrections = [*inputs.facts.corrections, *_memo_corrections(inputs, match)]
    lines = charge_month(
        month,
        [each for each in billed if each.header.provider not in held],
        cost_centers,
        policy,
        version,
        corrections,
    )
    lines = moved(lines, inputs.facts.disputes, cost_centers)
    logged: dict[str, Decimal] = {}
    for row in spend:
        logged[row.provider] = exact_sum([logged.get(row.provider, Decimal(0)), row.logged])
    return MonthCharges(
        lines=lines,
        detail=detail_lines(lines, used, team_names(inputs)),
        problems=tuple(problems),
        billed=tuple(each for each in billed if each.header.provider not in held),
        invoices=tuple(due),
        logged=logged,
        corrections=tuple(corrections),
        seats=tuple(seats),
    )


def chargeback_policy(inputs: MonthInputs) -> ChargebackPolicy:
    """The policy in the words of the rules."""
    policy = inputs.policy
    return ChargebackPolicy(
        suspense=policy.attribution.suspense,
        central=policy.attribution.central,
        mode=policy.chargeback.mode,
        functional_currency=policy.money.functional_currency,
        sha256=inputs.facts.policy_sha256 or policy.sha256(),
        direct_weights=policy.chargeback.direct_weights,
        methods={
            Pool(name): SharedMethod(SplitMethod(each.method), each.shares)
            for name, each in policy.chargeback.shared_pools.items()
        },
    )


def cost_centers_of(inputs: MonthInputs) -> dict[str, CostCenter]:
    """The cost centers that are valid on a day of the month, by code, as they were last in it."""
    return {
        row["code"]: CostCenter(code=row["code"], name=row["name"], legal_entity=row["legal_entity"])
        for row in _in_force(inputs.rows(COST_CENTERS), inputs.month)
    }


def team_names(inputs: MonthInputs) -> dict[str, str]:
    """The names of teams as they are at the month's end, or were last."""
    known = [row for row in inputs.rows(TEAMS) if row["valid_from"] <= inputs.month.last_day]
    return {row["team_id"]: row["team_name"] for row in sorted(known, key=lambda row: row["valid_from"])}


def _in_force(rows: Iterable[dict[str, Any]], month: BillingMonth) -> list[dict[str, Any]]:
    """Rows whose interval touches the month, the later ones last, so that the last one of a key is the newest."""
    first, end = month.first_day, month.next().first_day
    touching = [row for row in rows if row["valid_from"] < end and (row["valid_to"] is None or row["valid_to"] > first)]
    return sorted(touching, key=lambda row: row["valid_from"])


def _headers(inputs: MonthInputs, match: MonthMatch) -> list[InvoiceHeader]:
    headers = []
    for invoice in match.invoices:
        recoverable = inputs.policy.of_provider(invoice.provider).chargeback.tax_recoverable
        headers.append(
            InvoiceHeader(
                provider=invoice.provider,
                invoice_id=invoice.invoice_id,
                total=invoice.total,
                currency=invoice.currency,
                period=invoice.period,
                account=invoice.account,
                recoverable_tax=total_of(invoice.lines, "tax") if recoverable else Decimal(0),
                fx_rate=match.rates.get(invoice.invoice_id, Decimal(1)),
            )
        )
    invoiced = {header.provider for header in headers if inputs.month in header.period.months()}
    calendar = InvoicePeriod(inputs.month.first_day, inputs.month.next().first_day)
    headers += [
        InvoiceHeader(
            provider=each.provider,
            invoice_id=f"{ACCRUAL_PREFIX}{each.provider.upper()}-{inputs.month}",
            total=each.amount,
            currency=each.currency,
            period=calendar,
        )
        for each in inputs.facts.accruals
        if each.provider not in invoiced
    ]
    return sorted(headers, key=lambda each: (each.provider, each.invoice_id))


def reconciliation_of(found: MonthFindings, header: InvoiceHeader) -> Reconciliation | None:
    """The match of an invoice; of an accrual, the one of the provider without an invoice."""
    if header.invoice_id.startswith(ACCRUAL_PREFIX):
        without = (each for each in found.reconciliations if each.provider == header.provider and not each.invoice_id)
        return next(without, None)
    return found.of_invoice(header.provider, header.invoice_id)


def _memo_corrections(inputs: MonthInputs, match: MonthMatch) -> list[PriorPeriodCharge]:
    """Credit memos to invoices of closed months, split by what those invoices charged (Rules 1.7, 2.5)."""
    found = []
    for memo in match.memos:
        original = next(line.original_invoice_id for line in memo.lines if line.original_invoice_id)
        weights = charged_by(inputs, memo.provider, original)
        months = [each.original_month for each in inputs.facts.published if each.invoice_id == original]
        if not weights or not months:
            continue
        scale = minor_unit_scale(memo.currency)
        for code, amount in allocate(memo.total, weights, scale=scale).items():
            found.append(
                PriorPeriodCharge(
                    original_month=min(months),
                    provider=memo.provider,
                    invoice_id=memo.invoice_id,
                    cost_center=code,
                    amount=amount,
                    currency=memo.currency,
                    reason=str(CorrectionReason.CREDIT_MEMO),
                    ref=memo.invoice_id,
                    fx_rate=match.rates.get(memo.invoice_id, Decimal(1)),
                )
            )
    return found


def _memo_problems(inputs: MonthInputs, match: MonthMatch) -> list[ChargebackProblem]:
    """Credit memos that name no invoice of a closed month: who gets them back cannot be told."""
    known = {(each.provider, each.invoice_id) for each in inputs.facts.published}
    found = []
    for memo in match.memos:
        original = next(line.original_invoice_id for line in memo.lines if line.original_invoice_id)
        if (memo.provider, original) not in known:
            what = (
                f"{memo.provider} credit memo {memo.invoice_id} is to invoice {original}, which no closed month charged"
            )
            fix = f"enter it as a credit line of {original}, or correct original_invoice_id"
            found.append(ChargebackProblem("credit_memo", memo.provider, what, fix))
    return found


def _payers(billed: BilledMonth) -> set[str]:
    basis = billed.basis
    directed = {code for credit in basis.directed_credits for code in credit.weights}
    return {*basis.repriced, *basis.logged, *basis.unproxied, *basis.seats, *directed}


def _logged_spend(inputs: MonthInputs, due: Sequence[InvoiceHeader]) -> list[LoggedSpend]:
    """Logged spend of the calendar month, and the part of it on days that no invoice bills."""
    month = inputs.month
    covered = {header.provider: set[dt.date]() for header in due}
    for header in due:
        covered[header.provider].update(header.period.days())
    sums: dict[tuple[str, str, str], list[tuple[Decimal, bool]]] = defaultdict(list)
    for row in inputs.rows(USAGE_CELLS):
        if month.contains(row["usage_date"]):
            is_covered = row["usage_date"] in covered.get(row["provider"], ())
            sums[row["provider"], row["cost_center"], row["rung"]].append((row["logged_spend_usd"], is_covered))
    return [
        LoggedSpend(
            provider=provider,
            cost_center=code,
            rung=Rung[rung.upper()],
            logged=exact_sum(amount for amount, _ in amounts),
            uncovered=exact_sum(amount for amount, is_covered in amounts if not is_covered),
        )
        for (provider, code, rung), amounts in sorted(sums.items())
    ]
