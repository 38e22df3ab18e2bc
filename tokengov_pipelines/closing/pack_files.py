"""A closed month as its pack: the rows of every file, from what the rules said (Rule 11.1).

Belongs here: which result goes into which file. Does not belong here: the files (`pack`), the rules
(`closed_month`), where a pack is put (`pack.seal`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tokengov_pipelines.closing.closed_month import ClosedMonth
from tokengov_pipelines.closing.input_files import input_files
from tokengov_pipelines.closing.inputs import USAGE_CELLS
from tokengov_pipelines.closing.match import statements_of
from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.journal import JournalLine
from tokengov_pipelines.domain.money import exact_product, exact_sum, round_posting
from tokengov_pipelines.domain.restatement import CorrectionReason
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.content import PackContent, PackParts, SuspenseList, assemble_pack, content_of_close
from tokengov_pipelines.pack.focus_inputs import FocusInputs, FocusProvider, focus_provider
from tokengov_pipelines.pack.journal_exports import journal_exports
from tokengov_pipelines.pack.journal_formats import JournalFormatError, JournalMap, shipped_maps, with_values
from tokengov_pipelines.pack.suspense_csv import SUSPENSE_CSV, SuspenseCalls, SuspensePolicy
from tokengov_pipelines.policy import JournalPolicy


def pack_of(closed: ClosedMonth, inputs: Mapping[str, bytes] | None = None) -> PackContent:
    """The pack of a month at its version; `inputs` spares writing the files of inputs/ again."""
    files = input_files(closed.inputs) if inputs is None else inputs
    return assemble_pack(closed.month, closed.version, pack_parts(closed, files))


def approved_content(closed: ClosedMonth, inputs: Mapping[str, bytes]) -> str:
    """The content hash of a closed month at its version, without making what is only shown."""
    return content_of_close(closed.month, closed.version, pack_parts(closed, inputs))


def pack_parts(closed: ClosedMonth, inputs: Mapping[str, bytes]) -> PackParts:
    """The rows of every file of the pack."""
    month_inputs, charges, found = closed.inputs, closed.charges, closed.findings
    policy, facts = month_inputs.policy, month_inputs.facts
    previous = facts.previous_files
    maps, refused = fitting_maps(closed.journal, policy.journal)
    corrections = charges.corrections
    return PackParts(
        lines=charges.lines,
        problems=charges.problems,
        invoices=charges.invoices,
        sources=facts.sources,
        detail=charges.detail,
        journal=closed.journal,
        journal_maps=maps,
        notes=refused,
        corrections=corrections,
        listed_corrections=facts.listed_corrections,
        suspense=SuspenseList(
            SuspensePolicy(policy.attribution.suspense, policy.attribution.suspense_owner),
            previous[SUSPENSE_CSV].encode() if SUSPENSE_CSV in previous else None,
            _suspense_calls(closed),
        ),
        focus=FocusInputs(
            month=closed.month,
            lines=charges.detail,
            invoices=tuple(_documents(closed)),
            categories=policy.pack.focus_category_map,
            providers=_focus_providers(closed),
            unproxied=found.keys,
            prepaid=tuple(each for each in statements_of(month_inputs) if each.month == closed.month),
            recoverable_tax={
                (each.header.provider, each.header.invoice_id): each.header.recoverable_tax
                for each in charges.billed
                if each.header.recoverable_tax and each.header.period.months()[-1] == closed.month
            },
        ),
        unit_cost=closed.unit_cost,
        reconciliations=found.reconciliations,
        items=found.items,
        unproxied=found.keys,
        functional_currency=policy.money.functional_currency,
        billed={(each.header.provider, each.header.invoice_id): each.billed for each in charges.billed},
        recoverable_tax=_recoverable(closed),
        inputs=inputs,
        history=facts.history,
        previous=previous[CHARGEBACK_CSV].encode() if CHARGEBACK_CSV in previous else None,
        disputes=sorted(
            {each.dispute_id for each in facts.disputes}
            | {each.ref for each in corrections if each.reason == CorrectionReason.DISPUTE}
        ),
    )


def _focus_providers(closed: ClosedMonth) -> dict[str, FocusProvider]:
    """What FOCUS calls each provider, the account of its lines without an invoice, and whether it is prepaid."""
    policy = closed.inputs.policy
    accounts = {each.provider: each.account for each in closed.findings.reconciliations if each.account}
    return {
        code: focus_provider(
            code,
            accounts.get(code, "default"),
            is_prepaid=policy.of_provider(code).recon.billing_mode == "prepaid",
        )
        for code in sorted({line.provider for line in closed.charges.lines})
    }


def fitting_maps(lines: Iterable[JournalLine], policy: JournalPolicy) -> tuple[tuple[JournalMap, ...], tuple[str, ...]]:
    """The forms that take the month's journal, and why another does not: the report says that its file is missing."""
    journal = list(lines)
    maps, refused = [], []
    for each in _journal_maps(policy):
        try:
            journal_exports(journal, [each])
        except JournalFormatError as error:
            refused.append(f"No journal for {each.format}: {str(error).partition('. Fix')[0]}.")
        else:
            maps.append(each)
    return tuple(maps), tuple(refused)


def _journal_maps(policy: JournalPolicy) -> tuple[JournalMap, ...]:
    """The forms that policy.yaml asks for, with the installation's own values."""
    xero = {"tax_rate": policy.xero_tax_rate, "amount_sign": policy.xero_amount_sign}
    values = {name: dict(policy.values.get(name, {})) for name in policy.formats}
    if "xero" in values:
        values["xero"] = {**xero, **values["xero"]}
    return with_values(shipped_maps(policy.formats), {name: own for name, own in values.items() if own})


def _documents(closed: ClosedMonth) -> list[Invoice]:
    """The printed invoices of the month that were charged, and its credit memos."""
    charged = {(each.header.provider, each.header.invoice_id) for each in closed.charges.billed}
    printed = [each for each in closed.match.invoices if (each.provider, each.invoice_id) in charged]
    posted = {line.invoice_id for line in closed.charges.lines if line.charge_type == ChargeType.PRIOR_PERIOD}
    return [*printed, *(each for each in closed.match.memos if each.invoice_id in posted)]


def _recoverable(closed: ClosedMonth) -> dict[str, Decimal]:
    found: dict[str, list[Decimal]] = defaultdict(list)
    for each in closed.charges.billed:
        if each.header.recoverable_tax:
            found[each.header.provider].append(round_posting(exact_product(each.header.recoverable_tax, each.fx_rate)))
    return {provider: exact_sum(amounts) for provider, amounts in found.items()}


def _suspense_calls(closed: ClosedMonth) -> tuple[SuspenseCalls, ...]:
    """Since when and until when each team's calls are in suspense, without the keys that made them."""
    suspense, month = closed.inputs.policy.attribution.suspense, closed.month
    seen: dict[tuple[str, str | None], list[dt.date]] = defaultdict(list)
    for row in closed.inputs.rows(USAGE_CELLS):
        if row["cost_center"] == suspense and month.contains(row["usage_date"]):
            seen[row["provider"], row["team_id"]].append(row["usage_date"])
    return tuple(
        SuspenseCalls(provider, team, "no owner was found", min(days), max(days))
        for (provider, team), days in sorted(seen.items(), key=str)
    )
