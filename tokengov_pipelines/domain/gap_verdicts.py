"""Whether a component of the gap is somebody's alarm: the comparisons of rule 4.7's table, each with its words.

Belongs here: one function a row of the table. Does not belong here: what they read (`gap_month`), whom a verdict goes
to and under which key (`reconciliation_alerts`), when it is told (`alert`), the match itself.

Every comparison is strict and by cross multiplication (Rule 1.3): 1 % of 100.00 is 1.00, which is quiet; 1.01 is not.
A share of nothing is above every limit as soon as there is something to have a share.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import UnproxiedKey, coverage, without_email
from tokengov_pipelines.domain.close import percent
from tokengov_pipelines.domain.gap_month import Gap, business_day
from tokengov_pipelines.domain.match_result import Component, ErrorCode, LineOutcome, MatchError, PricingCause
from tokengov_pipelines.domain.money import exact_product, exact_sum, ratio_exceeds, round_posting
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus

OVERDUE_DAYS: Final = 90
"""An item that is open for longer goes to the controller (Rule 4.8)."""

INVOICE_BUSINESS_DAY: Final = 3
"""The business day of the following month from which a missing invoice is somebody's alarm (Rule 4.7)."""

_MISSING: Final = frozenset({ErrorCode.MISSING_EXTRACT, ErrorCode.MISSING_REPORT})
_PERCENT: Final = Decimal("0.01")
_SHOWN: Final = 3


@dataclass(frozen=True)
class Verdict:
    """Something is wrong: how large in USD, why, whose keys or models, and the next step."""

    amount: Decimal | None
    text: str
    next_step: str


def unproxied(gap: Gap) -> Verdict | None:
    """Use outside the proxy above its share of provider cost, or above its amount of a day; exceptions are left out."""
    alarming = [key for key in gap.keys if key.raises_alert]
    excepted = exact_sum(key.list_usd for key in gap.keys if not key.raises_alert)
    total = max(exact_sum([gap.component(Component.UNPROXIED), -excepted]), Decimal(0))
    cost, limits = gap.state("W7"), gap.limits
    day, of_day = _largest_day(gap, alarming)
    if not (_above(total, cost, limits.unproxied_pct) or of_day > limits.unproxied_day_usd):
        return None
    worst = f"the largest day{f', {day},' if day else ''} has {_usd(of_day)}"
    words = (
        f"{_usd(total)} bypassed the proxy: {percent(total, cost)} of {_usd(cost)} provider cost; {worst}. Limits: "
        f"{limits.unproxied_pct} %, {_usd(limits.unproxied_day_usd)} a day."
    )
    keys = _top((key.key_label, key.list_usd) for key in alarming)
    return Verdict(
        total,
        f"{words}{_named('Keys', keys)}",
        f"rotate the first key or move it to the proxy; all of them: tokengov unproxied list {gap.month}",
    )


def unpriced(gap: Gap) -> Verdict | None:
    """Calls with tokens that the proxy logged at zero: above their share of all rows, or worth more than the limit."""
    calls = sum(match.evidence.calls for match in gap.matches)
    rows = sum(match.evidence.unpriced_calls for match in gap.matches)
    worth, limits = exact_sum(match.evidence.unpriced_usd for match in gap.matches), gap.limits
    if not (_above(Decimal(rows), Decimal(calls), limits.unpriced_rows_pct) or worth > limits.unpriced_usd):
        return None
    models: dict[str, Decimal] = defaultdict(Decimal)
    for match in gap.matches:
        for each in match.pricing_gaps:
            if each.cause is PricingCause.UNPRICED:
                models[each.model] += each.amount
    words = (
        f"{rows:,} of {calls:,} calls ({percent(Decimal(rows), Decimal(calls))}) were logged with tokens and no spend, "
        f"worth {_usd(worth)} at the price book. Limits: {limits.unpriced_rows_pct} % of the calls, "
        f"{_usd(limits.unpriced_usd)}."
    )
    return Verdict(
        worth,
        f"{words}{_named('Models', _top(models.items()))}",
        "give the proxy prices for these models, and compare its map with the price book: tokengov prices check",
    )


def provider_rate(gap: Gap) -> Verdict | None:
    """The provider's prices differ from the price book by more than their share of list value."""
    rate, listed = gap.component(Component.PROVIDER_RATE), gap.state("W5")
    if not _above(abs(rate), listed, gap.limits.provider_rate_pct):
        return None
    models: dict[str, Decimal] = defaultdict(Decimal)
    for match in gap.matches:
        for cell in match.rate_cells:
            models[cell.model] += cell.variance
        for line in match.line_differences:
            if line.outcome is LineOutcome.PROVIDER_RATE:
                models[line.label] += line.amount
    words = (
        f"{gap.provider} charges {_usd(abs(rate))} {'more' if rate > 0 else 'less'} than list: "
        f"{percent(rate, listed)} of {_usd(listed)}. Limit: {gap.limits.provider_rate_pct} %."
    )
    return Verdict(
        abs(rate),
        f"{words}{_named('Models', _top(models.items()))}",
        "compare the contract with contract_prices.csv "
        "(tokengov prices check); what it does not explain, the vendor manager asks the provider",
    )


def quantity(gap: Gap) -> Verdict | None:
    """The provider metered more or less on the proxy's keys than the proxy logged, on settled days (volume + mix)."""
    net, cost = Decimal(0), Decimal(0)
    models: dict[str, Decimal] = defaultdict(Decimal)
    days: set[dt.date] = set()
    for match in gap.matches:
        if any(error.code is ErrorCode.MISSING_EXTRACT for error in match.errors) and not match.evidence.proxy_tokens:
            continue  # no log at all is a missing extract (Rule 4.5), which is told as such
        for cell in match.cells:
            if cell.day in gap.figures.settled_days:
                net += cell.quantity_amount
                cost += exact_product(cell.own_tokens, cell.usd_per_token or 0)
                models[cell.model] += cell.quantity_amount
                days |= {cell.day} if cell.quantity_amount else set()
    if not _above(abs(net), cost, gap.limits.quantity_pct):
        return None
    cause = "logs are lost, or a key is used past the proxy" if net > 0 else "logs are duplicated, or reports are late"
    words = (
        f"{gap.provider} metered {_usd(abs(net))} {'more' if net > 0 else 'less'} on the proxy's keys than the proxy "
        f"logged on settled days: {percent(net, cost)} of {_usd(cost)}. Limit: {gap.limits.quantity_pct} %. "
        f"Either {cause}."
    )
    fix = f"load the days again and compare: tokengov load {min(days)} {max(days)}"
    return Verdict(abs(net), f"{words}{_named('Models', _top(models.items()))}", fix)


def low_coverage(gap: Gap) -> Verdict | None:
    """Use on the proxy's keys is a smaller share of all use than the target (Rule 5.4); exceptions are in it."""
    found = coverage(gap.state("W4"), gap.state("W5"))
    if found.meets(gap.limits.coverage_target_pct) is not False:
        return None
    words = (
        f"{percent(found.numerator, found.denominator)} of the use at list went through the proxy: "
        f"{_usd(found.numerator)} of {_usd(found.denominator)}. Target: {gap.limits.coverage_target_pct} %."
    )
    keys = _top((key.key_label, key.list_usd) for key in gap.keys)
    outside = exact_sum([found.denominator, -found.numerator])
    return Verdict(
        outside,
        f"{words}{_named('Keys', keys)}",
        f"move the largest keys to the proxy: tokengov unproxied list {gap.month}",
    )


def error_items(gap: Gap) -> Verdict | None:
    """A model, price, line, unit or count that keeps the match from being trusted (Rule 4.1)."""
    return _of_errors([error for error in gap.errors() if error.code not in _MISSING])


def missing_extract(gap: Gap) -> Verdict | None:
    """Days without the proxy's log or the provider's report (Rule 4.5)."""
    return _of_errors([error for error in gap.errors() if error.code in _MISSING])


def blocked(gap: Gap) -> Verdict | None:
    """An invoice with the status blocked, by what is unexplained or by error items; a missing extract is told apart."""
    mine = [match for match in gap.matches if match.status is ReconciliationStatus.BLOCKED]
    mine = [match for match in mine if not match.errors or any(error.code not in _MISSING for error in match.errors)]
    if not mine:
        return None
    invoices = [
        f"invoice {match.invoice_id} of {_usd(match.total or Decimal(0), match.currency)}: "
        f"{_usd(match.unexplained, match.currency)} unexplained, tolerance {_usd(match.tolerance, match.currency)}"
        f"{f', {len(match.errors)} error items' if match.errors else ''}"
        for match in mine
    ]
    amount = exact_sum(abs(match.unexplained) for match in mine)
    fix = f"settle the error items first, then compare the lines: tokengov recon show {gap.month}"
    return Verdict(amount, f"{_few(invoices)}. The month cannot close with it, and no waiver lifts it.", fix)


def missing_invoice(gap: Gap) -> Verdict | None:
    """No invoice from the third business day of the following month on."""
    due = business_day(gap.month.next(), INVOICE_BUSINESS_DAY)
    waiting = [match for match in gap.matches if match.status is ReconciliationStatus.MISSING_INVOICE]
    if gap.today < due or not any(match.logged or match.states["W7"] for match in waiting):
        return None
    cost = exact_sum(match.states["W7"] for match in waiting)
    text = f"There is no invoice for {_usd(cost)} that the reports show. It was due on {due}."
    return Verdict(cost, text, f"get it from the provider's console: tokengov invoice new {gap.provider} {gap.month}")


def new_line_class(gap: Gap) -> Verdict | None:
    """The invoice has a line of a kind and description that the provider's invoice before did not have."""
    now, before = gap.figures.line_classes, gap.figures.previous_line_classes
    if now is None or before is None or not now - before:
        return None
    names = [without_email(name) or name for name in sorted(now - before)]
    text = f"The invoice has lines that the one before did not have: {_few(names)}."
    return Verdict(
        None, text, f"compare them with the contract: tokengov recon show {gap.month} --provider {gap.provider}"
    )


def expiring_credits(gap: Gap) -> Verdict | None:
    """Credits that lapse within the days of the policy; the last of these days counts."""
    last = gap.today + dt.timedelta(days=gap.limits.credits_expiry_days)
    soon = [each for each in gap.figures.credits or () if each.amount > 0 and gap.today <= each.expires_on <= last]
    if not soon:
        return None
    soon.sort(key=lambda each: (each.expires_on, each.label))
    amount = exact_sum(each.amount for each in soon)
    listed = _few([f"{_usd(each.amount)} on {each.expires_on} ({without_email(each.label)})" for each in soon])
    text = f"{_usd(amount)} of credits expire within {gap.limits.credits_expiry_days} days: {listed}."
    return Verdict(amount, text, "use them first, or ask the provider to extend them")


def overdue_items(gap: Gap) -> Verdict | None:
    """Items that are open for more than 90 days (Rule 4.8), gross, so that they cannot hide each other."""
    old = [item for item in gap.figures.items or () if item.is_open and item.age_days(gap.today) > OVERDUE_DAYS]
    if not old:
        return None
    amount = exact_sum(abs(item.open_amount) for item in old if not item.is_error)
    largest = sorted(old, key=lambda item: (-abs(item.open_amount), item.item_id))
    listed = [f"{item.item_id} {_usd(item.open_amount, item.currency)} ({item.component})" for item in largest]
    count = f"{len(old)} items are" if len(old) > 1 else "1 item is"
    text = f"{count} open for more than {OVERDUE_DAYS} days, {_usd(amount)} gross: {_few(listed)}."
    return Verdict(amount, text, f"decide each: tokengov recon items {gap.month}")


def _above(part: Decimal, whole: Decimal, limit_pct: Decimal) -> bool:
    if whole <= 0:
        return part > 0
    return ratio_exceeds(part, whole, exact_product(limit_pct, _PERCENT))


def _largest_day(gap: Gap, alarming: Sequence[UnproxiedKey]) -> tuple[dt.date | None, Decimal]:
    """The day with the most unproxied use; without the daily figures at least what one key used on its largest day."""
    daily: Mapping[dt.date, Decimal] | None = gap.figures.unproxied_by_day
    if daily is None and len(alarming) == len(gap.keys):  # no exception: the cells of the match tell the days
        added: dict[dt.date, Decimal] = defaultdict(Decimal)
        for match in gap.matches:
            for cell in match.cells:
                added[cell.day] += cell.unproxied_amount
        daily = added
    if daily:
        day = min(daily, key=lambda each: (-daily[each], each))
        return day, daily[day]
    return None, max((key.largest_day_usd for key in alarming), default=Decimal(0))


def _of_errors(errors: Sequence[MatchError]) -> Verdict | None:
    if not errors:
        return None
    largest = sorted(errors, key=lambda error: (-abs(error.amount), -error.tokens, error.key))
    amount = exact_sum(abs(error.amount) for error in errors)
    text = ". ".join(error.what for error in largest[:_SHOWN])
    more = f" And {len(errors) - _SHOWN} more." if len(errors) > _SHOWN else ""
    return Verdict(amount or None, f"{text}.{more}", largest[0].fix)


def _usd(amount: Decimal, currency: str = "USD") -> str:
    return f"{round_posting(amount):,} {currency}"


def _top(amounts: Iterable[tuple[str, Decimal]]) -> list[str]:
    named = sorted((each for each in amounts if each[1]), key=lambda each: (-abs(each[1]), each[0]))
    return [f"{name} {_usd(amount)}" for name, amount in named]


def _few(words: Sequence[str]) -> str:
    more = f"; and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more


def _named(what: str, words: Sequence[str]) -> str:
    return f" {what}: {_few(words)}." if words else ""
