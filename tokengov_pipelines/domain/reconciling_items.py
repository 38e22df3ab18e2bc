"""Which items a reconciliation has: every piece of a gap that somebody has to look at, with its owner (rule 4.8).

Belongs here: from a finished match to its items, and what they are called for ever. Does not belong here: an item's
age (`open_item`), how people settle it (`resolutions`), the figures (`waterfall`, `invoice_match`).

An item's id is a hash of what it is about, never of its amount: a month that is computed again has the same items.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import KeyStatus, UnproxiedKey
from tokengov_pipelines.domain.match_result import (
    Component,
    ErrorCode,
    LineDifference,
    LineOutcome,
    MatchError,
    PricingGap,
)
from tokengov_pipelines.domain.money import exact_sum, quantize_internal, round_posting
from tokengov_pipelines.domain.open_item import QUANTITY, ItemStatus, ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconciliation import Reconciliation

PLATFORM, FINANCE, VENDOR_MANAGER = "platform", "finance", "vendor manager"


_EXPLAINED: Final = (Component.NON_TOKEN, Component.COMMITMENT, Component.CREDITS_DISCOUNTS, Component.TAX)
"""What a statement of the provider explains by itself, and timing, which the neighbouring invoice explains."""

_BY_MONTH: Final = (Component.TIMING, Component.UNPROXIED)
"""Components whose items are of the calendar month and not of the invoice period: keys are listed by month."""

_OWNERS: Final[Mapping[str, str]] = {
    Component.TIMING: FINANCE,
    Component.PROXY_PRICING: PLATFORM,
    QUANTITY: PLATFORM,
    Component.TIER_DISCOUNT: PLATFORM,
    Component.UNPROXIED: PLATFORM,
    Component.PROVIDER_RATE: VENDOR_MANAGER,
    Component.NON_TOKEN: FINANCE,
    Component.COMMITMENT: VENDOR_MANAGER,
    Component.CREDITS_DISCOUNTS: FINANCE,
    Component.TAX: FINANCE,
    Component.UNEXPLAINED: FINANCE,
    ErrorCode.UNMAPPED_LINE_ITEM: FINANCE,
    ErrorCode.MISSING_PRICE: VENDOR_MANAGER,
}
_CLEAR_DAYS: Final[Mapping[str, int]] = {
    Component.TIMING: 31,  # the next invoice bills what this one does not
    Component.PROVIDER_RATE: 60,
    Component.UNEXPLAINED: 30,
}
_ERROR_CLEAR_DAYS: Final = 5  # before the close
_USUAL_CLEAR_DAYS: Final = 30


def reconciling_items(
    rec: Reconciliation,
    *,
    opened_on: dt.date,
    item_min_usd: Decimal,
    unproxied: Sequence[UnproxiedKey] = (),
) -> list[ReconcilingItem]:
    """The items of one reconciliation, all errors first, then by component in waterfall order and by size (rule 4.8).

    Args:
        rec: the reconciliation.
        opened_on: the invoice's date, else the day after the period: never today, so that a later run finds the same.
        item_min_usd: an item is larger than this (P: item_min_usd); errors are items whatever their amount.
        unproxied: the keys that used this provider; those of another provider or account are passed over.
    """
    make = _Maker(rec, opened_on)
    items = [make.error(error) for error in _one_a_key(rec.errors)]
    found = [
        *_whole_components(rec, make, (Component.TIMING,)),
        *_pricing(rec.pricing_gaps, make),
        *_cells(rec, make),
        *(make.key(key) for key in _of_account(rec, unproxied)),
        *_rates(rec, make),
        *_whole_components(rec, make, _EXPLAINED),
        *(make.line(each) for each in rec.line_differences if each.outcome is not LineOutcome.ROUNDING),
    ]
    return items + [item for item in found if abs(item.amount) > item_min_usd]


@dataclass(frozen=True)
class _Maker:
    """Makes items of one reconciliation."""

    rec: Reconciliation
    opened_on: dt.date

    def item(
        self,
        component: str,
        identity: tuple[str, ...],
        amount: Decimal,
        *,
        cell: str,
        what: str,
        link: str,
        starts_as: ItemStatus = ItemStatus.OPEN,
        owner: str | None = None,
        clear_by: dt.date | None = None,
    ) -> ReconcilingItem:
        """An item; `identity` are the words that tell it from the others of its component."""
        rec = self.rec
        # An invoice over two months is reconciled in both, and its items are the same ones.
        month = rec.month if component in _BY_MONTH else BillingMonth.of(rec.period.start)
        explained = starts_as is ItemStatus.EXPLAINED and component != Component.TIMING
        days = _ERROR_CLEAR_DAYS if component in set(ErrorCode) else _CLEAR_DAYS.get(component, _USUAL_CLEAR_DAYS)
        expected = clear_by or (None if explained else self.opened_on + dt.timedelta(days=days))
        return ReconcilingItem(
            item_id=_item_id(rec, month, component, identity),
            billing_month=month,
            provider=rec.provider,
            account=rec.account,
            invoice_id=rec.invoice_id,
            period_start=rec.period.start,
            period_end=rec.period.end,
            component=str(component),
            cell=cell,
            what=what,
            opened_on=self.opened_on,
            amount=quantize_internal(amount),
            currency=rec.currency,
            owner=owner or _OWNERS.get(component, PLATFORM),
            starts_as=starts_as,
            status=starts_as,
            evidence_link=link,
            expected_clear_by=expected,
        )

    def error(self, error: MatchError) -> ReconcilingItem:
        """An error of the match."""
        link = f"marts/fct_reconciliation_daily {self.rec.provider} {error.key}"
        return self.item(error.code, (error.key,), error.amount, cell=error.key, what=str(error), link=link)

    def key(self, key: UnproxiedKey) -> ReconcilingItem:
        """What one key that is not the proxy's used, at list, as the waterfall has it (rule 5.2)."""
        models = ", ".join(key.models)
        return self.item(
            Component.UNPROXIED,
            (key.account, key.workspace_id or "", key.key_id or ""),
            key.list_usd,
            cell=key.key_label,
            what=f"{key.evidence} used {models} on {_count(key.days_active, 'day')}, last on {key.last_seen}; "
            f"{_words(key.action)}",
            link=f"marts/fct_unproxied_keys {key.key_label}",
            starts_as=ItemStatus.EXPLAINED if key.status is KeyStatus.EXCEPTED else ItemStatus.OPEN,
            owner=key.suggested_owner,
            clear_by=key.due_date,
        )

    def line(self, line: LineDifference) -> ReconcilingItem:
        """An invoice line that is not what was reported."""
        is_rate = line.outcome is LineOutcome.PROVIDER_RATE
        numbers = ", ".join(map(str, line.line_numbers))
        where = f"line {numbers}" if numbers else "no line"
        return self.item(
            Component.PROVIDER_RATE if is_rate else Component.UNEXPLAINED,
            (self.rec.invoice_id or "", line.label, numbers),
            line.amount,
            cell=line.label,
            what=f"{_words(line.outcome)}: invoiced {round_posting(line.invoiced):,.2f}, "
            f"reported {round_posting(line.reported):,.2f}",
            link=f"raw/invoices {self.rec.invoice_id} {where}",
        )


def _of_account(rec: Reconciliation, unproxied: Sequence[UnproxiedKey]) -> list[UnproxiedKey]:
    """The keys of the reconciliation's account where the reports name it, else all of its provider."""
    mine = [key for key in unproxied if key.provider == rec.provider]
    return [key for key in mine if key.account == rec.account] or mine


def _whole_components(rec: Reconciliation, make: _Maker, components: Sequence[Component]) -> Iterator[ReconcilingItem]:
    """Components that are one item each, explained by what the provider states."""
    links = {
        Component.TIMING: "marts/fct_midnight_calls_daily",
        Component.NON_TOKEN: f"raw/{rec.provider}_cost",
    }
    reasons = {
        Component.TIMING: f"{_span(rec.period)} is billed, {rec.month} was logged",
        Component.NON_TOKEN: "reported cost that is not of tokens",
        Component.COMMITMENT: "invoice lines that no report carries",
        Component.CREDITS_DISCOUNTS: "credits and discounts of the invoice",
        Component.TAX: "tax of the invoice",
    }
    for component in components:
        if component in rec.components:
            yield make.item(
                component,
                () if component in {Component.TIMING, Component.NON_TOKEN} else (rec.invoice_id or "",),
                rec.components[component],
                cell="whole invoice",
                what=reasons[component],
                link=links.get(component, f"raw/invoices {rec.invoice_id}"),
                starts_as=ItemStatus.EXPLAINED,
            )


def _pricing(gaps: Iterable[PricingGap], make: _Maker) -> Iterator[ReconcilingItem]:
    """By model, tier, band, cause and direction: what was logged too high never cancels what was logged too low."""
    groups: defaultdict[tuple[str, str, int, str, str], list[PricingGap]] = defaultdict(list)
    for gap in gaps:
        if gap.amount:
            direction = "logged too low" if gap.amount > 0 else "logged too high"
            groups[gap.model, gap.tier, gap.over_tokens, gap.cause, direction].append(gap)
    for (model, tier, over, cause, direction), mine in sorted(groups.items()):
        calls, days = sum(gap.calls for gap in mine), len({gap.day for gap in mine})
        band = f" over {over:,} tokens" if over else ""
        yield make.item(
            Component.PROXY_PRICING,
            (model, tier, str(over), cause, direction),
            exact_sum(gap.amount for gap in mine),
            cell=f"{model} {tier}{band}: {_words(cause)}, {direction}",
            what=f"{calls:,} calls on {_count(days, 'day')} logged at "
            f"{round_posting(exact_sum(gap.logged for gap in mine)):,.2f}, worth "
            f"{round_posting(exact_sum(gap.repriced for gap in mine)):,.2f} by the price book",
            link=f"marts/fct_proxy_usage_daily model={model} service_tier={tier} context_over_tokens={over}",
        )


def _cells(rec: Reconciliation, make: _Maker) -> Iterator[ReconcilingItem]:
    """Quantity (volume + mix) by model and token type, and tier_discount by tier too, over the days of the period.

    A tier that the proxy did not know is no loss and no surplus: cells of rule 4.2 have no tier.
    """
    quantities: defaultdict[tuple[str, ...], _Variance] = defaultdict(_Variance)
    tiers: defaultdict[tuple[str, ...], _Variance] = defaultdict(_Variance)
    for cell in rec.cells:
        if cell.own_tokens == cell.proxy_tokens == 0:
            continue
        of_type, of_tier = quantities[cell.model, cell.token_type], tiers[cell.model, cell.token_type, cell.tier]
        for each in (of_type, of_tier):
            each.own += cell.own_tokens
            each.proxy += cell.proxy_tokens
        if cell.own_tokens != cell.proxy_tokens:  # most cells agree, and are worth nothing here
            of_type.amounts.append(cell.quantity_amount)
            of_tier.amounts.append(cell.tier_amount)
    for component, groups in ((QUANTITY, quantities), (Component.TIER_DISCOUNT, tiers)):
        for key, each in sorted(groups.items(), key=lambda item: item[0]):
            model, token_type, *tier = key
            yield make.item(
                component,
                key,
                exact_sum(each.amounts),
                cell=" ".join([model, _words(token_type), *tier]),
                what=f"{each.own:,} tokens reported on the proxy's keys, {each.proxy:,} logged",
                link=f"marts/fct_reconciliation_cells_daily model={model} token_type={token_type}"
                + "".join(f" service_tier={word}" for word in tier),
            )


@dataclass
class _Variance:
    """Tokens of a group of cells, and what those differences come to."""

    own: int = 0
    proxy: int = 0
    amounts: list[Decimal] = field(default_factory=list)


def _rates(rec: Reconciliation, make: _Maker) -> Iterator[ReconcilingItem]:
    groups: defaultdict[tuple[str, str], list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for cell in rec.rate_cells:
        groups[cell.model, cell.token_type].append((cell.reported, cell.variance))
    for (model, token_type), mine in sorted(groups.items()):
        reported, variance = (exact_sum(each[part] for each in mine) for part in (0, 1))
        listed = exact_sum([reported, -variance])
        yield make.item(
            Component.PROVIDER_RATE,
            (model, token_type),
            variance,
            cell=f"{model} {_words(token_type)}",
            what=f"reported {round_posting(reported):,.2f}, at list {round_posting(listed):,.2f}",
            link=f"raw/{rec.provider}_cost model={model} token_type={token_type}",
        )


def _one_a_key(errors: Iterable[MatchError]) -> list[MatchError]:
    """One error a code and key: the first says what, the amounts of the others join it."""
    groups: defaultdict[tuple[ErrorCode, str], list[MatchError]] = defaultdict(list)
    for error in errors:
        groups[error.code, error.key].append(error)
    return [
        MatchError(
            first.code,
            first.key,
            first.what,
            first.fix,
            sum(error.tokens for error in (first, *others)),
            exact_sum(error.amount for error in (first, *others)),
        )
        for first, *others in groups.values()
    ]


def _item_id(rec: Reconciliation, month: BillingMonth, component: str, identity: tuple[str, ...]) -> str:
    """'2026-10-quantity-1f0c...': month and component to read, a hash to be sure.

    The period counts by its first day, so that what the legs show stays the same item when the invoice comes.
    """
    start = "" if component == Component.UNPROXIED else str(rec.period.start)
    words = (rec.provider, rec.account, str(month), start, component, *identity)
    digest = hashlib.sha256("\x1f".join(words).encode("utf-8", "replace")).hexdigest()
    return f"{month}-{component}-{digest[:12]}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _span(period: InvoicePeriod) -> str:
    return f"{period.start} to {period.last_day}"
