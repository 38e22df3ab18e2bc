"""The trend of the report: what was charged by month, and above it the cost per merged pull request (Rules 9.4, 9.6).

Belongs here: drawing the months. Does not belong here: the figures (`report_figures`).

Two bands, one over the other, each with its own scale: two scales in one picture invite a reading that is not there.
"""

from collections.abc import Sequence
from decimal import Decimal

from tokengov_pipelines.pack.report_figures import HistoryMonth
from tokengov_pipelines.pack.report_svg import (
    DOWN,
    GRID,
    INK,
    PALE,
    QUIET,
    TOTAL,
    WIDTH,
    box,
    dot,
    line,
    scaled,
    svg,
    text,
)
from tokengov_pipelines.pack.report_text import compact, short_month

_LEFT, _RIGHT = 8.0, WIDTH - 8.0
_LINE_TOP, _LINE_LOW = 44.0, 84.0
_BAR_TOP, _BAR_LOW = 40.0, 130.0
_ABOVE = 106.0  # what the line takes above the bars
_WIDEST_BAR = 46.0
_ALL_LABELS = 6
_FOOT = 36.0
_COMPACT_FROM = 1000


def trend_svg(months: Sequence[HistoryMonth], label: str) -> bytes:
    """The months in their order, the last one dark; without a cost per pull request the bars stand alone."""
    has_line = any(each.cost_per_pr is not None for each in months)
    shift = _ABOVE if has_line else 0.0
    step = (_RIGHT - _LEFT) / len(months)
    centers = [_LEFT + step * (number + 0.5) for number in range(len(months))]
    shapes = _bars(months, centers, min(step * 0.62, _WIDEST_BAR), shift)
    shapes += _line(months, centers) if has_line else []
    return svg(_BAR_LOW + shift + _FOOT, label, shapes)


def _bars(months: Sequence[HistoryMonth], centers: Sequence[float], width: float, shift: float) -> list[str]:
    amounts = [each.charged for each in months]
    low, high = min([Decimal(0), *amounts]), max([Decimal(0), *amounts])
    top, bottom = _BAR_TOP + shift, _BAR_LOW + shift
    zero = scaled(Decimal(0), low, high, bottom, top)
    shapes = [text(0, top - 24, "Charged", size=12, colour=QUIET), line([(_LEFT, zero), (_RIGHT, zero)], GRID)]
    for number, (month, center) in enumerate(zip(months, centers, strict=True)):
        is_last = number == len(months) - 1
        end = scaled(month.charged, low, high, bottom, top)
        colour = TOTAL if is_last else PALE
        shapes.append(box(center - width / 2, min(zero, end), width, abs(zero - end), colour))
        if _is_labelled(number, months):
            above = min(zero, end) - 5
            shapes.append(text(center, above, compact(month.charged), size=12, anchor="middle", bold=is_last))
        name_colour = INK if is_last else QUIET
        shapes.append(
            text(
                center,
                bottom + 17,
                short_month(month.month),
                size=12,
                anchor="middle",
                colour=name_colour,
                bold=is_last,
            )
        )
        if number == 0 or month.month.month == 1:
            shapes.append(text(center, bottom + 31, str(month.month.year), size=11, anchor="middle", colour=QUIET))
    return shapes


def _line(months: Sequence[HistoryMonth], centers: Sequence[float]) -> list[str]:
    """The ratio of each month; a month without one interrupts the line."""
    known = [each.cost_per_pr for each in months if each.cost_per_pr is not None]
    low, high = min(known), max(known)
    shapes = [text(0, 14, "Cost per merged pull request", size=12, colour=QUIET)]
    run: list[tuple[float, float]] = []
    for number, (month, center) in enumerate(zip(months, centers, strict=True)):
        if month.cost_per_pr is None:
            run = []
            continue
        point = (center, scaled(month.cost_per_pr, low, high, _LINE_LOW, _LINE_TOP))
        if run:
            shapes.append(line([run[-1], point], DOWN, width=2))
        run.append(point)
        shapes.append(dot(*point, DOWN))
        if _is_labelled(number, months):
            below = any(other > month.cost_per_pr for other in _neighbours(number, months))
            words = compact(month.cost_per_pr) if month.cost_per_pr >= _COMPACT_FROM else f"{month.cost_per_pr:f}"
            y, is_last = point[1] + (17 if below else -8), number == len(months) - 1
            shapes.append(text(center, y, words, size=12, anchor="middle", bold=is_last))
    return shapes


def _neighbours(number: int, months: Sequence[HistoryMonth]) -> list[Decimal]:
    """The ratios beside one: where the line comes from above, the label stands below."""
    beside = [months[at] for at in (number - 1, number + 1) if 0 <= at < len(months)]
    return [each.cost_per_pr for each in beside if each.cost_per_pr is not None]


def _is_labelled(number: int, months: Sequence[HistoryMonth]) -> bool:
    """All of a few months; of many the first and the last, whose labels do not meet."""
    return len(months) <= _ALL_LABELS or number in {0, len(months) - 1}
