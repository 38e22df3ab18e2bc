"""The month's waterfall: all statements of one currency as one bridge from the log to the invoices (Rules 4.2, 11.6).

Belongs here: drawing that bridge. Does not belong here: adding it up (`report_figures`), the picture of one
reconciliation with its hints and axis (`waterfall_chart`).
"""

from dataclasses import dataclass
from decimal import Decimal

from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.pack.report_figures import Bridge
from tokengov_pipelines.pack.report_svg import (
    BAND,
    DOWN,
    GRID,
    INK,
    OPEN,
    QUIET,
    TOTAL,
    UP,
    WIDTH,
    box,
    line,
    scaled,
    svg,
    text,
)
from tokengov_pipelines.pack.report_text import money
from tokengov_pipelines.pack.report_words import CAUSES

_ROW, _BAR = 24.0, 14.0
_LEFT, _RIGHT = 132.0, 316.0
"""Where bars begin and end: names stand to the left, amounts to the right."""

_ROOM = 116.0  # for an amount
_WIDE = 0.66  # of its size is a digit of a wide, bold font
_CUT = Decimal("0.6")
_MARGIN = Decimal("0.32")


@dataclass(frozen=True)
class _Step:
    name: str
    start: Decimal
    end: Decimal
    is_total: bool
    is_open: bool

    @property
    def amount(self) -> Decimal:
        return self.end - self.start


def month_waterfall_svg(bridge: Bridge, label: str) -> bytes:
    """The bridge, one row a cause that is not zero; equal bridges give equal bytes. `label` is read to the blind.

    The axis starts at zero unless all causes are small against the totals; then the totals are drawn with a break.
    """
    steps = _steps(bridge)
    floor, top, is_cut = _limits(steps)
    height = _ROW * len(steps) + 6

    def at(amount: Decimal) -> float:
        return scaled(amount, floor, top, _LEFT, _RIGHT)

    zero = at(floor if is_cut else Decimal(0))
    shapes = [line([(zero, 2), (zero, height - 2)], GRID)]
    for row, step in enumerate(steps):
        y = 3 + row * _ROW
        if step.is_open:
            shapes.append(box(0, y, WIDTH, _ROW - 1, BAND))
        low, high = sorted((zero if step.is_total else at(step.start), at(step.end)))
        if step.is_total or step.amount:
            edge = INK if step.is_open else ""
            shapes.append(box(low, y + (_ROW - _BAR) / 2, high - low, _BAR, _colour(step), edge=edge))
        bold, base = step.is_total or step.is_open, y + _ROW / 2 + 4.5
        amount = money(step.amount, signed=not step.is_total)
        size = min(13.0, _ROOM / (_WIDE * len(amount)))
        shapes.append(text(0, base, step.name, bold=bold, colour=INK if bold else QUIET))
        shapes.append(text(WIDTH, base, amount, bold=bold, anchor="end", size=size))
        if row:
            shapes.append(line([(at(steps[row - 1].end), y - 4), (at(steps[row - 1].end), y + 4)], QUIET))
        if is_cut and step.is_total:
            shapes.append(_break(zero, y))
    return svg(height, label, shapes)


def _steps(bridge: Bridge) -> list[_Step]:
    """Logged, the causes that are not zero, billed. Unexplained is shown at zero too."""
    steps = [_Step("Logged", Decimal(0), bridge.logged, is_total=True, is_open=False)]
    position = bridge.logged
    for cause, amount in bridge.causes:
        if amount or cause is Component.UNEXPLAINED:
            is_open = cause is Component.UNEXPLAINED and bool(amount)
            steps.append(_Step(CAUSES[cause], position, position + amount, is_total=False, is_open=is_open))
            position += amount
    name = "Explained so far" if bridge.open_ended else "Invoices"
    return [*steps, _Step(name, Decimal(0), bridge.billed, is_total=True, is_open=False)]


def _limits(steps: list[_Step]) -> tuple[Decimal, Decimal, bool]:
    """Left and right end of the axis, and whether it is cut."""
    ends = [step.end for step in steps]
    low, high = min(ends), max(ends)
    span = high - low
    if low > 0 and span < _CUT * low:
        return low - _MARGIN * max(span, high / 2500, Decimal("0.1")), high, True
    return min(low, Decimal(0)), max(high, Decimal(0)), False


def _colour(step: _Step) -> str:
    if step.is_total:
        return TOTAL
    return OPEN if step.is_open else UP if step.amount > 0 else DOWN


def _break(x: float, y: float) -> str:
    """Two slanted white strokes near the start of a bar that is not drawn from zero."""
    top, bottom = y + (_ROW - _BAR) / 2 - 1, y + (_ROW + _BAR) / 2 + 1
    return "".join(line([(x + at, bottom), (x + at + 4, top)], "#ffffff", width=2) for at in (5, 10))
