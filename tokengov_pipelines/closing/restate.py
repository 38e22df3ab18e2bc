"""A closed month charged again with what is known now, and the corrections that come of it (Rule 2.5).

Belongs here: which of a closed month's inputs may move, and charging it again. Does not belong here: finding sealed and
current inputs (`assets.restatements`), the difference (`domain.restatement`).

The pools of the closed version stay as they are unless a provider's report or an invoice moved: a late call moves who
pays, not what was billed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from tokengov_pipelines.closing.charges import ACCRUAL_PREFIX, chargeback_policy, cost_centers_of
from tokengov_pipelines.closing.closed_month import ClosedMonth, close_month
from tokengov_pipelines.closing.inputs import (
    COST_CENTERS,
    FX_RATES,
    INVOICES,
    PRICE_BOOK,
    PRICE_BOOK_ALIASES,
    PROVIDER_COSTS,
    PROVIDER_USAGE,
    USAGE_CELLS,
    MonthInputs,
)
from tokengov_pipelines.domain.chargeback import BilledMonth, charge_month
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.restatement import CorrectionReason, InvoiceKey, Restatement, restate


@dataclass(frozen=True)
class ChargedAgain:
    """A closed month charged with today's inputs: by invoice and cost center, why it may differ, and its rates."""

    charges: Mapping[tuple[InvoiceKey, str], Decimal]
    reasons: Mapping[InvoiceKey, str]
    fx_rates: Mapping[InvoiceKey, Decimal]
    problems: tuple[str, ...] = ()


def restated_inputs(sealed: MonthInputs, current: MonthInputs) -> MonthInputs:
    """The sealed inputs with what may move after a close: usage, reports, invoices, the names of cost centers.

    Policy, prices and the directory's answers of the close stay; a model that the sealed prices do not know is priced
    by today's book.
    """
    tables = dict(sealed.tables)
    for name in (USAGE_CELLS, PROVIDER_USAGE, PROVIDER_COSTS, INVOICES, COST_CENTERS, FX_RATES):
        if name in current.tables:
            tables[name] = current.tables[name]
    for name in (PRICE_BOOK, PRICE_BOOK_ALIASES):
        tables[name] = _with_new_models(sealed.tables[name], current.tables[name])
    invoiced = {row["provider"] for row in tables[INVOICES].to_pylist()} if INVOICES in tables else set()
    facts = replace(
        sealed.facts,
        corrections=(),
        accruals=tuple(each for each in sealed.facts.accruals if each.provider not in invoiced),
    )
    return replace(sealed, tables=tables, facts=facts)


def charge_again(sealed: MonthInputs, current: MonthInputs, version: int) -> ChargedAgain:
    """Charge the closed month again; `version` is the closed one."""
    closed = close_month(replace(sealed, facts=replace(sealed.facts, corrections=())), version)
    inputs = restated_inputs(sealed, current)
    again = close_month(inputs, version)
    pools = {(each.header.provider, each.header.invoice_id): each for each in closed.charges.billed}
    billed: list[BilledMonth] = []
    reasons: dict[InvoiceKey, str] = {}
    rates: dict[InvoiceKey, Decimal] = {}
    for each in again.charges.billed:
        header = each.header
        before = pools.get((header.provider, header.invoice_id))
        reason = _reason(sealed, inputs, closed, each)
        keeps_pools = before is not None and reason is CorrectionReason.LATE_OR_CORRECTED_USAGE
        billed.append(replace(each, pools=before.pools) if before is not None and keeps_pools else each)
        key = (header.provider, header.invoice_id, header.currency)
        reasons[key], rates[key] = str(reason), each.fx_rate
    for each in closed.charges.billed:
        key = (each.header.provider, each.header.invoice_id, each.header.currency)
        if key not in reasons:  # an accrual whose invoice came, or an invoice that was taken back
            is_accrual = each.header.invoice_id.startswith(ACCRUAL_PREFIX)
            reasons[key] = str(CorrectionReason.ACCRUAL_TRUE_UP if is_accrual else CorrectionReason.CORRECTED_INVOICE)
            rates[key] = each.fx_rate
    lines = charge_month(inputs.month, billed, cost_centers_of(inputs), chargeback_policy(inputs), version)
    charges: dict[tuple[InvoiceKey, str], list[Decimal]] = defaultdict(list)
    for line in lines:
        charges[(line.provider, line.invoice_id, line.currency), line.cost_center].append(line.amount)
    for move in sealed.facts.disputes:
        key = (move.provider, move.invoice_id, move.currency)
        charges[key, move.from_cost_center].append(-move.amount)
        charges[key, move.to_cost_center].append(move.amount)
    return ChargedAgain(
        {key: exact_sum(amounts) for key, amounts in charges.items()},
        reasons,
        rates,
        tuple(str(problem) for problem in again.charges.problems),
    )


def corrections_of(
    sealed: MonthInputs,
    current: MonthInputs,
    version: int,
    *,
    published: Mapping[tuple[InvoiceKey, str], Decimal],
    ref: str,
    min_adjustment: Decimal,
) -> tuple[Restatement, ChargedAgain]:
    """The corrections of a closed month, from its sealed and today's inputs and everything published for it so far."""
    again = charge_again(sealed, current, version)
    known = {invoice for invoice, _ in published}
    reasons = {invoice: str(CorrectionReason.CORRECTED_INVOICE) for invoice in known} | dict(again.reasons)
    restated = restate(
        sealed.month,
        published=published,
        current=again.charges,
        reasons=reasons,
        ref=ref,
        min_adjustment=min_adjustment,
    )
    return restated, again


def _reason(sealed: MonthInputs, inputs: MonthInputs, closed: ClosedMonth, billed: BilledMonth) -> CorrectionReason:
    header = billed.header
    before = [each for each in closed.match.invoices if each.invoice_id == header.invoice_id]
    if not before and not header.invoice_id.startswith(ACCRUAL_PREFIX):
        was_accrued = any(each.provider == header.provider for each in sealed.facts.accruals)
        return CorrectionReason.ACCRUAL_TRUE_UP if was_accrued else CorrectionReason.CORRECTED_INVOICE
    if before and _stated(sealed, header.invoice_id) != _stated(inputs, header.invoice_id):
        return CorrectionReason.CORRECTED_INVOICE
    if any(_moved(sealed, inputs, name, header.provider) for name in (PROVIDER_USAGE, PROVIDER_COSTS)):
        return CorrectionReason.PROVIDER_REPORT
    return CorrectionReason.LATE_OR_CORRECTED_USAGE


def _stated(inputs: MonthInputs, invoice_id: str) -> set[str]:
    return {row["content_sha256"] for row in inputs.rows(INVOICES) if row["invoice_id"] == invoice_id}


def _moved(sealed: MonthInputs, inputs: MonthInputs, name: str, provider: str) -> bool:
    one, other = (_of_provider(each.table(name), provider) for each in (sealed, inputs))
    return not (one is None and other is None) and (one is None or other is None or _rows(one) != _rows(other))


def _of_provider(table: pa.Table | None, provider: str) -> pa.Table | None:
    if table is None or not table.num_rows:
        return None
    mine = table.filter(pc.field("provider") == provider)
    return mine if mine.num_rows else None


def _rows(table: pa.Table) -> list[str]:
    return sorted(map(str, table.to_pylist()))


def _with_new_models(sealed: pa.Table, current: pa.Table) -> pa.Table:
    known = {(row["provider"], row["model"]) for row in sealed.select(["provider", "model"]).to_pylist()}
    rows: Iterable[dict[str, object]] = current.to_pylist()
    new = [row for row in rows if (row["provider"], row["model"]) not in known]
    if not new:
        return sealed
    return pa.concat_tables([sealed, pa.Table.from_pylist(new, schema=current.schema)], promote_options="default")
