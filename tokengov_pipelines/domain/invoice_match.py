"""From what the provider reports to what it billed: the states W8 to W12, line by line (Rule 4.2).

Belongs here: which report group an invoice line bills, and what each difference is. Does not belong here: log against
usage (`waterfall`), whether an invoice adds up in itself (`invoice.check_invoice`).

Lines and report are compared at the finest grain that both state. A line that states fewer words (a model without token
types) bills every group that fits and that no line names more closely; lines with the same words are taken together.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.legs import KeyRegistry, ReportedCost
from tokengov_pipelines.domain.match_result import CellMatch, Component, LineDifference, LineOutcome
from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.pricing import PriceBook, normalised_name
from tokengov_pipelines.domain.usage_cells import UNMAPPED, normal_tier

_WORDS: Final = ("model", "token_type", "tier", "workspace")
_PRINTED_TYPES: Final = {"input": "uncached_input", "cached_input": "cache_read"}
_COMMITMENT: Final = frozenset({"commitment", "seat"})

Grain = tuple[str | None, str | None, str | None, str | None]
"""Model, token type, tier, workspace id; None is not stated."""

_Stated = tuple[bool, ...]
"""Of these words, which are stated."""


@dataclass(frozen=True)
class InvoiceMatch:
    """The components from provider_rate (two-way) to unexplained, and every line group with what became of it."""

    components: Mapping[Component, Decimal]
    differences: tuple[LineDifference, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Group:
    """What the report, or usage at list price, holds at one grain."""

    amount: Decimal
    tokens: int


def match_invoice(
    invoice: Invoice,
    costs: Sequence[ReportedCost] | None,
    cells: Sequence[CellMatch],
    *,
    registry: KeyRegistry,
    book: PriceBook,
    rounding_tol_per_line: Decimal,
) -> InvoiceMatch:
    """Compare the invoice's usage and non-token lines with the cost report, or two-way with usage at list price.

    `costs` are the report's lines of the invoice period (None: two-way), `cells` the match of the same days. Two-way, a
    line with the quantity of its group is `provider_rate`, one with another quantity unexplained, and what the invoice
    bills beside tokens is `non_token` on the invoice's word alone.
    """
    usage = [line for line in invoice.lines if line.kind == "usage"]
    groups, notes = _report_groups(invoice, usage, costs, cells, registry, book)
    differences = _usage_differences(
        invoice, usage, groups, registry, book, rounding_tol_per_line, two_way=costs is None
    )
    others = [line for line in invoice.lines if line.kind == "non_token"]
    non_token = Decimal(0)
    if costs is None:
        non_token = _total(others)
    else:
        differences += _non_token_differences(others, costs, rounding_tol_per_line)
    of_outcome: dict[LineOutcome, list[Decimal]] = defaultdict(list)
    for difference in differences:
        of_outcome[difference.outcome].append(difference.amount)
    unexplained = [
        amount
        for outcome in (LineOutcome.UNEXPLAINED, LineOutcome.NOT_REPORTED, LineOutcome.NOT_INVOICED)
        for amount in of_outcome[outcome]
    ]
    components = {
        Component.PROVIDER_RATE: exact_sum(of_outcome[LineOutcome.PROVIDER_RATE]),
        Component.NON_TOKEN: non_token,
        Component.COMMITMENT: _total(line for line in invoice.lines if line.kind in _COMMITMENT),
        Component.CREDITS_DISCOUNTS: _total(line for line in invoice.lines if line.kind == "credit"),
        Component.TAX: _total(line for line in invoice.lines if line.kind == "tax"),
        Component.ROUNDING: exact_sum(of_outcome[LineOutcome.ROUNDING]),
        Component.UNEXPLAINED: exact_sum(unexplained),
    }
    return InvoiceMatch(components, tuple(differences), notes)


def _total(lines: Iterable[InvoiceLine]) -> Decimal:
    return exact_sum(line.amount for line in lines)


def _report_groups(
    invoice: Invoice,
    usage: Sequence[InvoiceLine],
    costs: Sequence[ReportedCost] | None,
    cells: Sequence[CellMatch],
    registry: KeyRegistry,
    book: PriceBook,
) -> tuple[dict[Grain, _Group], tuple[str, ...]]:
    """The report by grain; words that no row of it states, or that the invoice spells unlike it, are left out."""
    amounts: dict[Grain, Decimal] = defaultdict(Decimal)
    tokens: dict[Grain, int] = defaultdict(int)
    if costs is None:
        for cell in cells:
            grain: Grain = (cell.model, cell.token_type, cell.tier, None)
            amounts[grain] += exact_product(cell.own_tokens + cell.other_tokens, cell.usd_per_token or 0)
            tokens[grain] += cell.own_tokens + cell.other_tokens
    else:
        has_tier = any(line.tier for line in costs if line.cost_type == "tokens")
        has_workspace = any(line.workspace_id for line in costs if line.cost_type == "tokens")
        models = {name: _model(invoice.provider, name, book) for name in {line.model for line in costs}}
        for line in costs:
            if line.cost_type == "tokens":
                tier = normal_tier(line.tier) if has_tier else None
                workspace = (line.workspace_id or "") if has_workspace else None
                amounts[models[line.model], line.token_type, tier, workspace] += line.amount
    notes: list[str] = []
    known = {grain[3] for grain in amounts}
    if any(workspace for workspace in known) and any(
        line.workspace is not None and registry.workspace_id(invoice.provider, line.workspace) not in known
        for line in usage
    ):
        notes.append("the invoice names workspaces that the report does not; its lines are compared without them")
        amounts = _without_workspace(amounts)
    return {grain: _Group(amount, tokens.get(grain, 0)) for grain, amount in amounts.items()}, tuple(notes)


def _without_workspace(amounts: Mapping[Grain, Decimal]) -> dict[Grain, Decimal]:
    merged: dict[Grain, Decimal] = defaultdict(Decimal)
    for (model, token_type, tier, _), amount in amounts.items():
        merged[model, token_type, tier, None] += amount
    return merged


def _usage_differences(
    invoice: Invoice,
    usage: Sequence[InvoiceLine],
    groups: Mapping[Grain, _Group],
    registry: KeyRegistry,
    book: PriceBook,
    tol: Decimal,
    *,
    two_way: bool,
) -> list[LineDifference]:
    stated = [any(grain[at] is not None for grain in groups) for at in range(len(_WORDS))]
    lines: dict[Grain, list[InvoiceLine]] = defaultdict(list)
    for line in usage:
        words = (
            _model(invoice.provider, line.model, book) if line.model else None,
            _PRINTED_TYPES.get(line.token_type or "", line.token_type),
            normal_tier(line.service_tier) if line.service_tier else None,
            registry.workspace_id(invoice.provider, line.workspace),
        )
        # A word that the report does not know cannot tell groups apart; without any group every word stays.
        kept = [word if has or not groups else None for word, has in zip(words, stated, strict=True)]
        lines[kept[0], kept[1], kept[2], kept[3]].append(line)
    billed: dict[Grain, list[_Group]] = defaultdict(list)
    not_invoiced: list[tuple[Grain, _Group]] = []
    choices = sorted({_stated(words) for words in lines}, key=lambda each: (sum(each), each), reverse=True)
    for grain, group in sorted(groups.items(), key=lambda item: _order(item[0])):
        fitting = _closest(grain, choices, lines)
        if fitting is None:
            not_invoiced.append((grain, group))
        else:
            billed[fitting].append(group)
    differences = [
        _line_difference(words, mine, billed.get(words, []), tol, two_way=two_way)
        for words, mine in sorted(lines.items(), key=lambda item: _order(item[0]))
    ]
    for grain, group in not_invoiced:
        if group.amount:
            outcome = LineOutcome.ROUNDING if abs(group.amount) <= tol else LineOutcome.NOT_INVOICED
            differences.append(LineDifference(_label(grain), (), Decimal(0), group.amount, outcome))
    return differences


def _line_difference(
    words: Grain, lines: Sequence[InvoiceLine], groups: Sequence[_Group], tol: Decimal, *, two_way: bool
) -> LineDifference:
    invoiced, reported = _total(lines), exact_sum(group.amount for group in groups)
    size = abs(exact_sum([invoiced, -reported]))
    if not groups and size:
        outcome = LineOutcome.NOT_REPORTED
    elif size <= exact_product(tol, len(lines)):
        outcome = LineOutcome.ROUNDING
    elif two_way and _quantity(lines) == sum(group.tokens for group in groups):
        outcome = LineOutcome.PROVIDER_RATE
    else:
        outcome = LineOutcome.UNEXPLAINED
    return LineDifference(_label(words), tuple(line.line_no for line in lines), invoiced, reported, outcome)


def _quantity(lines: Sequence[InvoiceLine]) -> Decimal | None:
    """The tokens that the lines state; None where one of them states none."""
    if any(line.quantity is None or line.unit != "tokens" for line in lines):
        return None
    return exact_sum(line.quantity for line in lines if line.quantity is not None)


def _non_token_differences(
    lines: Sequence[InvoiceLine], costs: Sequence[ReportedCost], tol: Decimal
) -> list[LineDifference]:
    """All that is billed beside tokens against all that is reported beside tokens: lines name no common kind."""
    reported = exact_sum(line.amount for line in costs if line.cost_type != "tokens")
    invoiced = _total(lines)
    if not lines and not reported:
        return []
    size = abs(exact_sum([invoiced, -reported]))
    if size <= exact_product(tol, max(1, len(lines))):
        outcome = LineOutcome.ROUNDING
    elif not lines:
        outcome = LineOutcome.NOT_INVOICED
    else:
        outcome = LineOutcome.UNEXPLAINED if reported else LineOutcome.NOT_REPORTED
    return [LineDifference("beside tokens", tuple(line.line_no for line in lines), invoiced, reported, outcome)]


def _model(provider: str, name: str | None, book: PriceBook) -> str:
    plain = normalised_name(provider, name, book.slugs) if name else "no name"
    return (book.model_of(provider, name) if name else None) or f"{UNMAPPED}{plain}"


def _closest(grain: Grain, choices: Sequence[_Stated], lines: Container[Grain]) -> Grain | None:
    """The line that names a group most closely; `choices` are the words that lines state, the closest first.

    Of the lines that state the same words only one can fit, so each choice is one look-up, not a walk over its lines.
    """
    for stated in choices:
        model, token_type, tier, workspace = (word if has else None for word, has in zip(grain, stated, strict=True))
        words = (model, token_type, tier, workspace)
        if words in lines and _stated(words) == stated:
            return words
    return None


def _stated(words: Grain) -> _Stated:
    """Which words a line states. More of them name a group more closely, the model before the token type, and so on."""
    return tuple(word is not None for word in words)


def _order(grain: Grain) -> tuple[str, ...]:
    return tuple(word or "" for word in grain)


def _label(words: Grain) -> str:
    stated = [word.replace("_", " ") if at == 1 else word for at, word in enumerate(words) if word]
    return ", ".join(stated) or "all usage"
