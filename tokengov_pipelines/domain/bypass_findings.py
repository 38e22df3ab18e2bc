"""What happened, told apart: bypass, lost log rows, mispricing, a leaked proxy key (Rules 4.4, 4.5, 5.1).

Belongs here: from a finished match and its key report to findings with figures and a next step. Does not belong here:
the rule that tells a leaked key from lost rows (`bypass_quantity`), the figures (`waterfall`, `bypass_keys`), who is
told (alerts), open items (`reconciling_items`).

Four questions, each with its own evidence, so that no answer is a guess about another:

- Whose key? Only a key that is not the proxy's is `bypass`. Lost rows are on the proxy's own keys and never are.
- At what price? A row or cell at another price than the book's is `mispricing`, whatever its quantity.
- How many tokens? A surplus on the proxy's own keys is `leaked_key` or `lost_logs`, by the rule of `bypass_quantity`;
  undecided ones are `lost_logs`, in words that say that a leaked key cannot be excluded. A deficit is `over_logged`.
- Was everything there? A day without its extract gives none of these: it is `missing_extract`, an error of the match.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import (
    BypassEvidence,
    BypassFinding,
    EvidenceLevel,
    FindingKind,
    KeyAction,
    KeyStatus,
    UnproxiedKey,
    counted,
    in_usd,
    named,
)
from tokengov_pipelines.domain.bypass_quantity_findings import quantity_findings
from tokengov_pipelines.domain.invoice import Invoice
from tokengov_pipelines.domain.legs import KeyRegistry, Legs
from tokengov_pipelines.domain.match_result import Component, MatchMode, PricingCause, PricingGap, RateCell
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.reconciliation import Reconciliation

_MIRRORED: Final = Decimal("0.9")


def findings(
    reconciliation: Reconciliation,
    keys: Iterable[UnproxiedKey],
    legs: Legs,
    *,
    registry: KeyRegistry,
    book: PriceBook,
    min_usd: Decimal = Decimal("1.00"),
) -> list[BypassFinding]:
    """Everything found in one reconciliation: leaked keys first, then by kind and by size.

    Args:
        reconciliation: the finished match.
        keys: the key report; keys of another provider or account are passed over.
        legs: what was matched, for calls by model and for days without an extract or report.
        registry: the provider's registered keys.
        book: the price book of the match.
        min_usd: smaller differences are left out [P: item_min_usd]; a foreign or leaked key never is.
    """
    legs = legs.cut_to(reconciliation.period)
    mine = _keys_of(reconciliation, keys)
    quantity = quantity_findings(reconciliation.cells, legs, registry, book)
    looks_like_ours = bool(mine) and _looks_like_ours(reconciliation)
    found = [
        *(_bypass(key, looks_like_ours) for key in mine),
        *(each for each in quantity if each.kind is FindingKind.LEAKED_KEY or abs(each.amount) >= min_usd),
        *(each for each in _pricing(reconciliation.pricing_gaps) if abs(each.amount) >= min_usd),
        *(each for each in _rates(reconciliation) if abs(each.amount) >= min_usd),
    ]
    order = [FindingKind.LEAKED_KEY, *FindingKind]
    return sorted(found, key=lambda each: (order.index(each.kind), -abs(each.amount), each.first_day, each.models))


def _keys_of(reconciliation: Reconciliation, keys: Iterable[UnproxiedKey]) -> list[UnproxiedKey]:
    mine = [key for key in keys if key.provider == reconciliation.provider]
    of_account = [key for key in mine if key.account == reconciliation.account]
    return of_account or mine  # an account's two names are one account, as in the match


# --- whose key ---------------------------------------------------------------------------------------------------


def _bypass(key: UnproxiedKey, looks_like_ours: bool) -> BypassFinding:
    tokens = sum(key.tokens.values())
    sure = {
        EvidenceLevel.E1: "it is not registered as the proxy's",
        EvidenceLevel.E2: "it carries no key of the proxy's, as console use does",
    }[key.evidence]
    words = (
        f"{key.key_label}: used outside the proxy on {counted(key.days_active, 'day')}, {tokens:,} tokens of "
        f"{named(key.models)}, {in_usd(key.list_usd)} at list and {in_usd(key.actual_usd)} with the provider's rates. "
        f"Evidence {key.evidence}: {sure}. Owner {key.suggested_owner} (by {key.owner_basis})."
    )
    if key.unpriced_tokens:
        words += f" {key.unpriced_tokens:,} of the tokens have no price yet and are not in these amounts."
    step = _STEPS[key.action](key)
    if looks_like_ours:
        words += " On the same days the proxy logged as much that none of its registered keys shows."
        step = (
            f"check whether key {key.identity.word} is the proxy's own and missing in directory/provider_keys.csv "
            f"(or its dates are wrong); if it is not, {step}"
        )
    if key.status is KeyStatus.EXCEPTED:
        words += f" An exception holds until {key.due_date}: it is charged all the same."
    return BypassFinding(
        kind=FindingKind.BYPASS,
        provider=key.provider,
        first_day=max(key.first_seen, key.last_seen.replace(day=1)),
        last_day=key.last_seen,
        models=key.models,
        keys=(key.key_label,),
        amount=key.list_usd,
        tokens=tokens,
        words=words,
        next_step=step,
        evidence=key.evidence,
        raises_alert=key.raises_alert,
    )


_STEPS: Final[Mapping[KeyAction, Callable[[UnproxiedKey], str]]] = {
    KeyAction.ROTATE: lambda key: (
        f"revoke the key at {key.provider} by {key.due_date} and give its user a key of the proxy"
    ),
    KeyAction.MOVE_TO_PROXY: lambda key: (
        f"move its use to the proxy by {key.due_date}, then revoke it at {key.provider}"
    ),
    KeyAction.REGISTER_EXCEPTION: lambda key: (
        f"stop it by {key.due_date}, or have it approved: tokengov unproxied except {key.provider} {key.identity.word}"
    ),
}


def _looks_like_ours(reconciliation: Reconciliation) -> bool:
    """Whether foreign usage mirrors what the proxy logged and no own key shows: a key that was not registered."""
    cells = [cell for cell in reconciliation.cells if cell.other_tokens]
    foreign = exact_sum(cell.unproxied_amount for cell in cells)
    mirrored = exact_sum(
        min(max(cell.proxy_tokens - cell.own_tokens, 0), cell.other_tokens) * (cell.usd_per_token or Decimal(0))
        for cell in cells
    )
    return foreign > 0 and mirrored >= _MIRRORED * foreign


# --- at what price -----------------------------------------------------------------------------------------------

_CAUSES: Final[Mapping[PricingCause, tuple[str, str]]] = {
    PricingCause.UNPRICED: (
        "logged without any spend, though the provider delivers and bills them",
        "add the model to the proxy's price map (model_info), or upgrade the proxy; the match has priced them already",
    ),
    PricingCause.PRICE_DIFFERS: (
        "logged at another price than the price book's",
        "compare the proxy's price map with the book (price changes are listed by day); correct the one that is wrong",
    ),
    PricingCause.FAILED_SPEND: (
        "failed and logged with spend, which the provider does not bill",
        "nothing to pay; tell the proxy's operator",
    ),
    PricingCause.CACHE_HIT_SPEND: (
        "served from the proxy's own cache and logged with spend; the provider never saw them",
        "nothing to pay; tell the proxy's operator",
    ),
    PricingCause.SUBSCRIPTION: (
        "made with a person's own plan and logged with spend, which no API invoice holds",
        "nothing to pay here; see the seats",
    ),
    PricingCause.NO_TOKENS: (
        "logged with spend and without tokens (tools, guardrails, images)",
        "compare with the lines of the cost report that are no tokens",
    ),
}


def _pricing(gaps: Iterable[PricingGap]) -> list[BypassFinding]:
    """Rows logged too low and rows logged too high, each by cause; never netted (Rule 4.8)."""
    groups: dict[tuple[PricingCause, bool], list[PricingGap]] = defaultdict(list)
    for gap in gaps:
        groups[gap.cause, gap.amount > 0].append(gap)
    found = []
    for (cause, is_low), mine in groups.items():
        what, step = _CAUSES[cause]
        amount = exact_sum(gap.amount for gap in mine)
        models = tuple(sorted({gap.model for gap in mine}))
        words = (
            f"{counted(sum(gap.calls for gap in mine), 'call')} of {mine[0].provider} {named(models)}: {what}. "
            f"Logged {in_usd(exact_sum(gap.logged for gap in mine))}, by the price book "
            f"{in_usd(exact_sum(gap.repriced for gap in mine))}: {in_usd(abs(amount))} too "
            f"{'little' if is_low else 'much'}."
        )
        found.append(
            BypassFinding(
                kind=FindingKind.MISPRICING,
                provider=mine[0].provider,
                first_day=min(gap.day for gap in mine),
                last_day=max(gap.day for gap in mine),
                models=models,
                keys=(),
                amount=amount,
                tokens=sum(gap.tokens for gap in mine),
                words=words,
                next_step=step,
            )
        )
    return found


def _rates(reconciliation: Reconciliation) -> list[BypassFinding]:
    """What the provider bills at another rate than list: dearer and cheaper models apart, and unpriced ones."""
    if reconciliation.mode is MatchMode.TWO_WAY:
        amount = reconciliation.components.get(Component.PROVIDER_RATE, Decimal(0))
        days = reconciliation.period
        words = (
            f"{reconciliation.provider} billed the same quantities {in_usd(abs(amount))} {_dearer(amount)} than list."
        )
        return [_rate(reconciliation.provider, (), days.start, days.last_day, amount, words)] if amount else []
    unpriced = {cell.model for cell in reconciliation.cells if cell.usd_per_token is None}
    by_model: dict[str, list[RateCell]] = defaultdict(list)
    for cell in reconciliation.rate_cells:
        by_model[cell.model].append(cell)
    groups: dict[tuple[bool, bool], list[str]] = defaultdict(list)
    for model, mine in by_model.items():
        variance = exact_sum(cell.variance for cell in mine)
        if variance:
            groups[model in unpriced, variance > 0].append(model)
    found = []
    for (is_unpriced, _), models in groups.items():
        mine = [cell for model in models for cell in by_model[model] if cell.variance]
        amount = exact_sum(cell.variance for cell in mine)
        billed = exact_sum(cell.reported for model in models for cell in by_model[model])
        why = (
            "; the price book has no price for some of these tokens, so the difference is not the provider's"
            if is_unpriced
            else ""
        )
        words = (
            f"{reconciliation.provider} billed {in_usd(billed)} for {named(sorted(models))}, {in_usd(abs(amount))} "
            f"{_dearer(amount)} than list{why}."
        )
        days_of = [cell.day for cell in mine]
        found.append(
            _rate(
                reconciliation.provider, tuple(sorted(models)), min(days_of), max(days_of), amount, words, is_unpriced
            )
        )
    return found


def _rate(
    provider: str,
    models: tuple[str, ...],
    first_day: dt.date,
    last_day: dt.date,
    amount: Decimal,
    words: str,
    is_unpriced: bool = False,
) -> BypassFinding:
    step = (
        "add the price to the book (two people), then match again"
        if is_unpriced
        else "hold it against the contract: agreed prices belong in contract_prices.csv, others are a claim"
    )
    return BypassFinding(FindingKind.MISPRICING, provider, first_day, last_day, models, (), amount, 0, words, step)


def _dearer(amount: Decimal) -> str:
    return "dearer" if amount > 0 else "cheaper"


# --- evidence beside the dollars ---------------------------------------------------------------------------------


def no_proxy_route(invoice: Invoice, registry: KeyRegistry) -> BypassEvidence | None:
    """E4: an invoice of a provider at which the proxy has no key on any of its days (Rule 5.1)."""
    days = invoice.period.days()
    if any(key.valid.valid_on(day) for key in registry.proxy_keys(invoice.provider) for day in days):
        return None
    used = exact_sum(line.amount for line in invoice.lines if line.kind in ("usage", "non_token"))
    if not used:
        return None
    return BypassEvidence(
        level=EvidenceLevel.E4,
        provider=invoice.provider,
        subject=f"invoice {invoice.invoice_id}",
        first_day=invoice.period_start,
        last_day=invoice.period_last_day,
        words=(
            f"{invoice.provider} invoice {invoice.invoice_id} bills {in_usd(used)} of usage, and the proxy has no key "
            "there: all of it went past the proxy."
        ),
        next_step="add a route to the proxy and register its key in directory/provider_keys.csv, or end the contract",
        notional_usd=used,
    )


def ungoverned_seats(invoice: Invoice) -> BypassEvidence | None:
    """E5: seats on an invoice. No API bypass, and nobody's limits (Rule 5.1)."""
    seats = [line for line in invoice.lines if line.kind == "seat"]
    if not seats:
        return None
    billed = exact_sum(line.amount for line in seats)
    return BypassEvidence(
        level=EvidenceLevel.E5,
        provider=invoice.provider,
        subject=f"seats of invoice {invoice.invoice_id}",
        first_day=invoice.period_start,
        last_day=invoice.period_last_day,
        words=(
            f"{invoice.provider} invoice {invoice.invoice_id} bills {in_usd(billed)} of seats in "
            f"{counted(len(seats), 'line')}: their use has no budget and no log here."
        ),
        next_step="compare the seats with the people who need them; use of seats is not part of the coverage",
        notional_usd=billed,
    )
