"""A month's close as a function of its inputs: match, findings, charges, journal, cost per pull request.

Belongs here: the order of the rules for a whole month. Does not belong here: any rule (`domain`), gathering inputs
(`assets.month_inputs`), the files (`pack_files`), whether the month may close (`domain.close`).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from tokengov_pipelines.closing.charges import (
    MonthCharges,
    charge_inputs,
    cost_centers_of,
    reconciliation_of,
    team_names,
)
from tokengov_pipelines.closing.findings import MonthFindings, judge
from tokengov_pipelines.closing.inputs import GL_ACCOUNTS, MonthInputs
from tokengov_pipelines.closing.match import MonthMatch, match_month_inputs
from tokengov_pipelines.domain.chargeback import CostCenter, InvoiceHeader
from tokengov_pipelines.domain.journal import (
    JournalLine,
    JournalProblem,
    RecoverableTax,
    journal_entries,
)
from tokengov_pipelines.domain.journal_accounts import GlAccountRow, GlAccounts, JournalPolicy, account_book
from tokengov_pipelines.domain.money import exact_product, exact_sum, round_posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.domain.unit_cost import UnitCostRow, charges_by_team, unit_cost_rows


@dataclass(frozen=True)
class ClosedMonth:
    """Everything that the rules say of a month, as version `version` (0 is the draft)."""

    inputs: MonthInputs
    version: int
    match: MonthMatch
    findings: MonthFindings
    charges: MonthCharges
    journal: tuple[JournalLine, ...]
    journal_problems: tuple[JournalProblem, ...]
    unit_cost: tuple[UnitCostRow, ...] | None

    @property
    def month(self) -> BillingMonth:
        """The month."""
        return self.inputs.month

    @property
    def corrections_gross(self) -> Decimal:
        """What the corrections of closed months move: the sum of those above zero (Rule 2.5)."""
        return exact_sum(max(each.amount, Decimal(0)) for each in self.charges.corrections)

    def reconciliation_of(self, header: InvoiceHeader) -> Reconciliation | None:
        """The match of an invoice; of an accrual, that of its provider without an invoice."""
        return reconciliation_of(self.findings, header)


def close_month(inputs: MonthInputs, version: int, *, match: MonthMatch | None = None) -> ClosedMonth:
    """Apply every rule to a month's inputs; the same inputs and version give the same answer, anywhere.

    `match` spares matching again what was matched from the same inputs.
    """
    match = match or match_month_inputs(inputs)
    found = judge(inputs, match)
    charges = charge_inputs(inputs, match, found, version)
    journal, problems = journal_entries(charges.lines, _journal_policy(inputs, match), _taxes(inputs, charges, version))
    return ClosedMonth(
        inputs=inputs,
        version=version,
        match=match,
        findings=found,
        charges=charges,
        journal=journal,
        journal_problems=problems,
        unit_cost=_unit_cost(inputs, charges),
    )


def _journal_policy(inputs: MonthInputs, match: MonthMatch) -> JournalPolicy:
    centers = cost_centers_of(inputs)
    central = centers.get(inputs.policy.attribution.central, CostCenter("", "", ""))
    providers = {each.provider for each in match.invoices} | set(match.inputs.legs)
    own = {provider: inputs.policy.of_provider(provider).chargeback.invoiced_entity for provider in sorted(providers)}
    return JournalPolicy(
        functional_currency=inputs.policy.money.functional_currency,
        invoiced_entity=inputs.policy.chargeback.invoiced_entity or central.legal_entity,
        accounts=account_book(
            cast("list[GlAccountRow]", inputs.rows(GL_ACCOUNTS)), inputs.month.last_day, _default_accounts(inputs)
        ),
        invoiced_entities={provider: entity for provider, entity in own.items() if entity},
        prepaid=frozenset(match.prepaid),
    )


def _default_accounts(inputs: MonthInputs) -> GlAccounts:
    policy = inputs.policy.chargeback
    return GlAccounts(
        expense_account=policy.expense_account,
        clearing_account=policy.clearing_account,
        prepaid_account=policy.prepaid_account,
        accrued_account=policy.accrued_account,
        due_from_account=policy.due_from_account,
        due_to_account=policy.due_to_account,
        input_tax_account=policy.input_tax_account,
    )


def _taxes(inputs: MonthInputs, charges: MonthCharges, version: int) -> list[RecoverableTax]:
    """Recoverable tax beside the charges, in the last month that an invoice bills; in the functional currency."""
    taxes = []
    for each in charges.billed:
        header = each.header
        if header.recoverable_tax and header.period.months()[-1] == inputs.month:
            tax = round_posting(exact_product(header.recoverable_tax, each.fx_rate))
            taxes.append(RecoverableTax(inputs.month, header.provider, header.invoice_id, version, tax))
    return taxes


def _unit_cost(inputs: MonthInputs, charges: MonthCharges) -> tuple[UnitCostRow, ...] | None:
    merged = inputs.facts.pull_requests
    if merged is None:
        return None
    costs = charges_by_team(charges.detail)
    return unit_cost_rows(costs, merged.counts, team_names(inputs), is_complete=merged.is_complete)
