"""The report's figures as words, the same for the page in HTML and the page in PDF (Rules 9.6, 11.6).

Belongs here: tiles, tables, captions and notes as plain text in plain dicts and lists, short enough for one page. Does
not belong here: the figures (`report_figures`), the charts, and markup: escaping is the template's.
"""

from itertools import pairwise
from typing import Any, Final

from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.unit_cost import FEW
from tokengov_pipelines.pack.report_figures import Mover, OpenItem, ReportFigures, rounded
from tokengov_pipelines.pack.report_text import NOTHING, money, month_name, plural, shortened

CAUSES: Final = {
    Component.TIMING: "Timing",
    Component.PROXY_PRICING: "Proxy pricing",
    Component.VOLUME: "Volume",
    Component.MIX: "Mix",
    Component.TIER_DISCOUNT: "Tier discount",
    Component.UNPROXIED: "Unproxied",
    Component.PROVIDER_RATE: "Provider rate",
    Component.NON_TOKEN: "Non-token",
    Component.COMMITMENT: "Commitment",
    Component.CREDITS_DISCOUNTS: "Credits, discounts",
    Component.TAX: "Tax",
    Component.ROUNDING: "Rounding",
    Component.UNEXPLAINED: "Unexplained",
}
"""The causes as the picture names them, short enough for its margin."""

_CAVEATS: Final = 6
_CAVEAT_LENGTH: Final = 180
_NAME_LENGTH: Final = 30
_WHAT_LENGTH: Final = 84
_BIG_MOVE: Final = 20  # percent, rule 11.9 (6)
_MOST_PERCENT: Final = 999
_BUCKETS: Final = 6


def report_words(figures: ReportFigures) -> dict[str, Any]:
    """Everything that stands on the page, as text; a part that has no figures is empty or None."""
    return {
        "title": f"AI cost, {month_name(figures.month)}",
        "month": str(figures.month),
        "version": f"version {figures.version}",
        "status": shortened(figures.status, 20),
        "is_closed": figures.status == "closed",
        "tiles": [_charged(figures), *_per_pull_request(figures), _governed(figures)],
        "waterfall": _waterfall(figures),
        "trend": _trend(figures),
        "movers": _movers(figures),
        "open": _open(figures),
        "caveats": _caveats(figures),
        "hashes": [
            {"name": "content_sha256", "value": figures.content_sha256},
            *([{"name": "policy_sha256", "value": figures.policy_sha256}] if figures.policy_sha256 else []),
        ],
    }


def _tile(label: str, value: str, unit: str, *notes: str, quiet: bool = False) -> dict[str, Any]:
    return {"label": label, "value": value, "unit": unit, "notes": [note for note in notes if note], "quiet": quiet}


def _charged(figures: ReportFigures) -> dict[str, Any]:
    tied = f"Ties to {plural(figures.invoices, 'invoice')} to the cent" if figures.invoices else "No invoice is charged"
    if figures.corrections:
        tied += f", with corrections of {money(figures.corrections, signed=True)}"
    if figures.bridge and figures.bridge.open_ended:
        tied = f"{tied}; {plural(figures.bridge.open_ended, 'provider')} without an invoice"
    before = figures.month_before
    against = ""
    if before and before.charged > 0:
        change = rounded((figures.charged - before.charged) * 100, before.charged, 1)
        against = f"{money(change, signed=True)}% against {money(before.charged)} in {before.month}"
    others = [f"{money(amount)} {code}" for code, amount in figures.charged_by_currency if code != figures.currency]
    billed = f"Of it billed as {', '.join(others[:3])}" if others else ""
    return _tile("Total AI cost", money(figures.charged), figures.currency, tied, against, billed)


def _per_pull_request(figures: ReportFigures) -> list[dict[str, Any]]:
    """The tile of rule 9.6 (2); none where pull requests are not read."""
    if not figures.has_pull_requests:
        return []
    few = f"Fewer than {FEW}: read it with care" if 0 < figures.merged_prs < FEW else ""
    count = plural(figures.merged_prs, "merged pull request")
    rolling = ""
    if figures.rolling and figures.rolling.months > 1:
        arrow = {-1: "\N{DOWNWARDS ARROW} ", 0: "", 1: "\N{UPWARDS ARROW} "}[figures.rolling.moved]
        rolling = f"{figures.rolling.months} months: {arrow}{money(figures.rolling.value)}"
        if figures.rolling.before is not None:
            rolling += f", was {money(figures.rolling.before)} a month ago"
    value = money(figures.cost_per_pr) if figures.cost_per_pr is not None else NOTHING
    is_quiet = figures.is_few
    return [_tile("Cost per merged pull request", value, figures.currency, count, rolling, few, quiet=is_quiet)]


def _governed(figures: ReportFigures) -> dict[str, Any]:
    share = figures.governed_share
    gross = figures.unexplained_gross
    unexplained = f"Unexplained {money(figures.unexplained)}"
    if figures.bridge is None:
        unexplained = "Unexplained: no invoice was reconciled"
    elif gross != abs(figures.unexplained):
        unexplained += f" net, {money(gross)} gross"
    return _tile(
        "Governed share of the invoices",
        NOTHING if share is None else money(share),
        "" if share is None else "%",
        "Charged to a cost center by calls through the proxy",
        f"Unproxied {money(figures.unproxied)}, suspense {money(figures.suspense)}",
        unexplained,
    )


def _waterfall(figures: ReportFigures) -> dict[str, str] | None:
    bridge = figures.bridge
    if bridge is None:
        return None
    zero = [CAUSES[cause].lower() for cause, amount in bridge.causes if not amount and cause != Component.UNEXPLAINED]
    note = f"{plural(bridge.statements, 'statement')} added up, {bridge.currency}."
    if zero:
        note += f" 0.00 and left out: {', '.join(zero)}."
    return {
        "title": "From the proxy's log to the invoices",
        "note": note,
        "alt": f"Waterfall from {money(bridge.logged)} logged to {money(bridge.billed)} {bridge.currency} billed",
    }


def _trend(figures: ReportFigures) -> dict[str, str]:
    parts = f"Charged by month, {figures.currency}"
    has_ratio = any(each.cost_per_pr is not None for each in figures.trend)
    gap = "" if _is_gapless(figures) else " A month that is not closed is left out."
    return {
        "title": "The last months",
        "note": f"{parts}{', with the cost per merged pull request above' if has_ratio else ''}.{gap}",
        "alt": f"{parts}: {', '.join(f'{each.month} {money(each.charged)}' for each in figures.trend)}",
    }


def _is_gapless(figures: ReportFigures) -> bool:
    months = [each.month for each in figures.trend]
    return all(earlier.next() == later for earlier, later in pairwise(months))


def _movers(figures: ReportFigures) -> dict[str, Any]:
    title = "Cost centers that moved most" if figures.is_compared else "Largest cost centers"
    return {
        "title": title,
        "is_compared": figures.is_compared,
        "before": str(figures.month.previous()),
        "now": str(figures.month),
        "rows": [_mover(each) for each in figures.movers],
        "none": "No cost center moved." if figures.is_compared else "Nothing is charged.",
    }


def _mover(mover: Mover) -> dict[str, Any]:
    percent, is_big = NOTHING, False
    if mover.before is not None and mover.now is not None and mover.before > 0:
        change = rounded(mover.change * 100, mover.before, 0)
        percent = f"{money(change, signed=True)}%" if abs(change) <= _MOST_PERCENT else f"over {_MOST_PERCENT}%"
        is_big = abs(mover.change) * 100 > mover.before * _BIG_MOVE
    elif mover.before is None:
        percent, is_big = "new", True
    elif mover.now is None:
        percent, is_big = "gone", True
    return {
        "code": shortened(mover.cost_center, 16),
        "name": shortened(mover.name, _NAME_LENGTH),
        "before": NOTHING if mover.before is None else money(mover.before),
        "now": NOTHING if mover.now is None else money(mover.now),
        "change": money(mover.change, signed=True),
        "percent": percent,
        "is_big": is_big,
    }


def _open(figures: ReportFigures) -> dict[str, Any]:
    count = sum(each.items for each in figures.buckets)
    return {
        "title": f"Open items: {count:,}" if figures.has_items else "Open items",
        "buckets": [
            {
                "age": f"{each.age_days} days".replace("-", "\N{EN DASH}"),
                "count": plural(each.items, "item") + (f", {plural(each.errors, 'error')}" if each.errors else ""),
                "net": f"{money(each.net)} {shortened(each.currency, 8)}",
                "gross": f"{money(each.gross)} gross",
            }
            for each in figures.buckets[:_BUCKETS]
        ],
        "rows": [_item(each) for each in figures.items],
        "none": "Nothing is open." if figures.has_items else "This pack has no list of open items.",
    }


def _item(item: OpenItem) -> dict[str, str]:
    return {
        "amount": f"{money(item.amount)} {shortened(item.currency, 8)}",
        "what": shortened(f"{item.provider}, {item.component.replace('_', ' ')}: {item.what}", _WHAT_LENGTH),
        "who": f"{shortened(item.owner, 28) or 'no owner'}, {plural(item.age_days, 'day')}",
    }


def _caveats(figures: ReportFigures) -> list[str]:
    shown = [shortened(each, _CAVEAT_LENGTH) for each in figures.caveats[:_CAVEATS]]
    more = len(figures.caveats) - _CAVEATS
    return [*shown, f"And {more} more: see the pack's files."] if more > 0 else shown
