"""What keeps a match from being trusted, named with its size and its fix (Rules 4.1, 4.5, 4.6).

Belongs here: the error items of a match. Does not belong here: the comparison (`waterfall`), what the close does with
them (`close`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.legs import KeyRegistry, Legs, LoggedUsage, ProviderUsage
from tokengov_pipelines.domain.match_result import CellMatch, ErrorCode, MatchError
from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.pricing import PriceStatus
from tokengov_pipelines.domain.usage_cells import UNMAPPED, CellPrices

UNMAPPED_LINE_ITEM: Final = "unmapped"
"""The cost_type of a reported line of a kind that no seed explains."""

_DAYS_SHOWN: Final = 5
_LEAST_COMPARED: Final = Decimal("1.00")
_FACTOR_100: Final = (50, 200)  # 100, give or take the largest discount or surcharge that a contract has


def match_errors(
    legs: Legs,
    registry: KeyRegistry,
    cells: Sequence[CellMatch],
    prices: CellPrices,
    contradictions: Iterable[LoggedUsage | ProviderUsage],
) -> Iterator[MatchError]:
    """Every error item, completeness first. Several accounts are told by `several_accounts`."""
    yield from _missing_days(legs, cells)
    yield from _empty_log(legs, registry, cells)
    yield from _unmapped_models(legs, cells, prices)
    yield from _missing_prices(legs, cells)
    yield from _unmapped_lines(legs)
    yield from _suspected_units(legs, cells)
    yield from _billed_without_usage(legs, cells)
    yield from _contradictions(contradictions)


def days_in_words(days: Iterable[dt.date]) -> str:
    """'2026-10-03', or '4 days: 2026-10-03, 2026-10-04, ...'."""
    listed = sorted(set(days))
    if len(listed) == 1:
        return str(listed[0])
    shown = ", ".join(map(str, listed[:_DAYS_SHOWN]))
    return f"{len(listed)} days: {shown}{', ...' if len(listed) > _DAYS_SHOWN else ''}"


def _missing_days(legs: Legs, cells: Sequence[CellMatch]) -> Iterator[MatchError]:
    if legs.missing_log_days:
        days = sorted(legs.missing_log_days)
        mine = [cell for cell in cells if cell.day in legs.missing_log_days]
        yield MatchError(
            ErrorCode.MISSING_EXTRACT,
            days_in_words(days),
            f"the proxy's log of {legs.provider} is missing for {days_in_words(days)}; what was used on the proxy's "
            "keys then is quantity variance, not bypass",
            f"tokengov load {days[0]} {days[-1]}",
            tokens=sum(cell.own_tokens for cell in mine),
            amount=exact_sum(cell.quantity_amount for cell in mine),
        )
    if legs.missing_report_days:
        days = sorted(legs.missing_report_days)
        yield MatchError(
            ErrorCode.MISSING_REPORT,
            days_in_words(days),
            f"{legs.provider}'s usage or cost report is missing for {days_in_words(days)}",
            f"tokengov load-providers {days[0]} {days[-1]}",
        )


def _empty_log(legs: Legs, registry: KeyRegistry, cells: Sequence[CellMatch]) -> Iterator[MatchError]:
    """A registered key with usage and not one row in the log: a missing extract of every day (Rule 4.5)."""
    used = sum(cell.own_tokens for cell in cells)
    if legs.usage is None or legs.logged or not used or legs.missing_log_days:
        return
    keys = ", ".join(sorted({key.key_id[-4:] for key in registry.proxy_keys(legs.provider)}))
    yield MatchError(
        ErrorCode.MISSING_EXTRACT,
        "every day",
        f"{legs.provider} metered {used:,} tokens on the proxy's own keys (ending in {keys}) and the proxy "
        "logged nothing",
        "find out which proxy used these keys and load its log; or set their role to other in "
        "directory/provider_keys.csv",
        tokens=used,
        amount=exact_sum(cell.quantity_amount for cell in cells),
    )


def several_accounts(legs: Legs, registry: KeyRegistry) -> Iterator[MatchError]:
    """Own keys in more than one account, in reports of all accounts: the log cannot be split over their invoices."""
    if len({each.account for each in legs.usage or ()}) < 2:
        return
    accounts = sorted({each.account for each in legs.usage or () if registry.is_own(each)})
    if len(accounts) > 1:
        yield MatchError(
            ErrorCode.SEVERAL_ACCOUNTS,
            ", ".join(accounts),
            f"the proxy uses keys of {len(accounts)} {legs.provider} accounts ({', '.join(accounts)}), and its log "
            "does not say which account a call went to",
            "hold the month, or bill the accounts together",
        )


def _unmapped_models(legs: Legs, cells: Sequence[CellMatch], prices: CellPrices) -> Iterator[MatchError]:
    found: dict[str, list[CellMatch]] = defaultdict(list)
    for cell in cells:
        if cell.model.startswith(UNMAPPED):
            found[cell.model[len(UNMAPPED) :]].append(cell)
    billed: dict[str, Decimal] = defaultdict(Decimal)
    for line in legs.costs or ():
        model = prices.model(line.model)
        if line.cost_type == "tokens" and model.startswith(UNMAPPED) and line.model is not None:
            billed[model[len(UNMAPPED) :]] += line.amount
    for model in sorted(found.keys() | billed.keys()):
        mine = found.get(model, [])
        days = {cell.day for cell in mine} or {
            line.day for line in legs.costs or () if prices.model(line.model) == f"{UNMAPPED}{model}"
        }
        yield MatchError(
            ErrorCode.UNMAPPED_MODEL,
            model,
            f"{legs.provider} model {model!r} is in no alias list; it was used on {days_in_words(days)}",
            "add its name to model_aliases.csv of the installation's prices folder, and its prices if they are new "
            "(tokengov prices check)",
            tokens=sum(_most(cell) for cell in mine),
            amount=billed.get(model, Decimal(0)),
        )


def _missing_prices(legs: Legs, cells: Sequence[CellMatch]) -> Iterator[MatchError]:
    found: dict[tuple[str, str, str, str, str], list[CellMatch]] = defaultdict(list)
    for cell in cells:
        if cell.price_status is PriceStatus.MISSING and not cell.model.startswith(UNMAPPED):
            found[cell.model, cell.token_type, cell.tier, cell.geo, cell.speed].append(cell)
    for (model, token_type, tier, geo, speed), mine in sorted(found.items()):
        place = "".join(f", {word}" for word in (geo, speed) if word not in ("global", "standard"))
        yield MatchError(
            ErrorCode.MISSING_PRICE,
            f"{model}/{token_type}/{tier}",
            f"the price book has no price for {legs.provider} {model}, {token_type.replace('_', ' ')} tokens, tier "
            f"{tier}{place} on {days_in_words(cell.day for cell in mine)}",
            "add it to contract_prices.csv of the installation's prices folder (tokengov prices check), approved by "
            "two people",
            tokens=sum(_most(cell) for cell in mine),
        )


def _most(cell: CellMatch) -> int:
    return max(cell.proxy_tokens, cell.own_tokens) + cell.other_tokens


def _unmapped_lines(legs: Legs) -> Iterator[MatchError]:
    found: dict[str, list[tuple[dt.date, Decimal]]] = defaultdict(list)
    for line in legs.costs or ():
        if line.cost_type == UNMAPPED_LINE_ITEM:
            found[line.line_item or "no name"].append((line.day, line.amount))
    for name, lines in sorted(found.items()):
        amount = exact_sum(amount for _, amount in lines)
        yield MatchError(
            ErrorCode.UNMAPPED_LINE_ITEM,
            name,
            f"{legs.provider}'s cost report has the line item {name!r}, of a kind that no list explains, on "
            f"{days_in_words(day for day, _ in lines)}: {amount:f} USD, shown as non_token",
            "report it: the list openai_line_items is part of the product",
            amount=amount,
        )


def _suspected_units(legs: Legs, cells: Sequence[CellMatch]) -> Iterator[MatchError]:
    """Days reported at about 100 times, or a hundredth of, their usage at list: cents read as dollars, or back."""
    if legs.costs is None:
        return
    listed: dict[dt.date, Decimal] = defaultdict(Decimal)
    for cell in cells:
        listed[cell.day] += exact_product(cell.own_tokens + cell.other_tokens, cell.usd_per_token or 0)
    reported: dict[dt.date, Decimal] = defaultdict(Decimal)
    for line in legs.costs:
        if line.cost_type == "tokens":
            reported[line.day] += line.amount
    suspects = [day for day in sorted(listed) if _is_factor_100(listed[day], reported.get(day, Decimal(0)))]
    if suspects:
        there = exact_sum(reported.get(day, Decimal(0)) for day in suspects)
        here = exact_sum(listed[day] for day in suspects)
        yield MatchError(
            ErrorCode.UNIT_SUSPECTED,
            days_in_words(suspects),
            f"{legs.provider} reports {there:f} USD for usage worth {here:f} USD at list on {days_in_words(suspects)}: "
            "about a factor of 100, as when cents are read as dollars",
            "compare one day with the provider's console; the unit stands in the column source_unit of the report",
            amount=exact_sum([there, -here]),
        )


def _billed_without_usage(legs: Legs, cells: Sequence[CellMatch]) -> Iterator[MatchError]:
    """Days billed for tokens, or by lines that name nothing, on which nobody used any; a missing report is its own."""
    if legs.usage is None:
        return
    used = {cell.day for cell in cells if cell.own_tokens or cell.other_tokens} | legs.missing_report_days
    billed: dict[dt.date, Decimal] = defaultdict(Decimal)
    for line in legs.costs or ():
        for_tokens = line.cost_type == "tokens" or (line.cost_type == UNMAPPED_LINE_ITEM and line.line_item is None)
        if for_tokens and line.day not in used:
            billed[line.day] += line.amount
    days = sorted(day for day, amount in billed.items() if amount)
    if days:
        amount = exact_sum(billed[day] for day in days)
        yield MatchError(
            ErrorCode.BILLED_WITHOUT_USAGE,
            days_in_words(days),
            f"{legs.provider} bills {amount:f} USD for tokens on {days_in_words(days)} and reports no usage of any key "
            "then",
            f"tokengov load-providers {days[0]} {days[-1]}; if it stays so, ask the provider what it billed",
            amount=amount,
        )


def _is_factor_100(listed: Decimal, reported: Decimal) -> bool:
    low, high = _FACTOR_100
    if max(listed, reported) < _LEAST_COMPARED or listed <= 0 or reported <= 0:
        return False
    return low * listed <= reported <= high * listed or low * reported <= listed <= high * reported


def _contradictions(usage: Iterable[LoggedUsage | ProviderUsage]) -> Iterator[MatchError]:
    for each in usage:
        if isinstance(each, LoggedUsage):
            counts = ", ".join(
                f"{count:,} {name.replace('_', ' ')}" for name, count in each.tokens.items() if count < 0
            )
            yield MatchError(
                ErrorCode.CONTRADICTORY_USAGE,
                f"{each.day}/{each.model}/log",
                f"the proxy's log has {counts} tokens for {each.provider} {each.model} on {each.day}: a negative count "
                "cannot be; it is left out",
                "find the rows in the log of the day and load it again",
                tokens=min(each.tokens.values()),
            )
            continue
        key = f"key ending in {each.key_id[-4:]}" if each.key_id else "no key"
        yield MatchError(
            ErrorCode.CONTRADICTORY_USAGE,
            f"{each.day}/{each.model}/{each.token_type}",
            f"{each.provider} reports {each.tokens:,} {each.token_type.replace('_', ' ')} tokens for {each.model}, "
            f"{key}, on {each.day}: its counts contradict each other (more cached than input tokens); the row is left "
            "out",
            "load the day again; if it stays so, ask the provider",
            tokens=each.tokens,
        )
