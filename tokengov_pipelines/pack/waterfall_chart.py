"""The picture of a reconciliation: a bridge from what the proxy logged to what the invoice says (rules 4.2, 11.4).

Belongs here: drawing one reconciliation as SVG or PNG, and the name of its file. Does not belong here: the figures,
which are the footed cents of `domain.reconciliation`, so that the picture foots, and the rows of reconciliation.csv.

The bytes depend on the figures alone: no date, a fixed salt for ids, the fonts that matplotlib brings along, text drawn
as outlines. Another version of matplotlib may draw the same figures with other bytes, so a picture is no content of a
pack (rule 11.8), no more than its spreadsheet is.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokengov_pipelines.domain.match_result import Component, MatchMode
from tokengov_pipelines.domain.money import round_posting
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

_WIDTH: Final = 12.0  # inches; at 100 dots an inch the picture is 1200 pixels wide
_DPI: Final = 100
_ROW: Final = 0.52
_HEAD: Final = 1.28
_FOOT: Final = 1.0
_LEFT, _RIGHT = 0.275, 0.975  # where the bars' area begins and ends, as parts of the width

_INK, _QUIET, _GRID, _BAND = "#1f2933", "#616e7c", "#e4e7eb", "#fdf9d8"
_TOTAL, _UP, _DOWN, _OPEN = "#52606d", "#d55e00", "#0072b2", "#f0e442"
"""Up, down and open are of Okabe and Ito's palette, which colour-blind readers can tell apart; the sign says it too."""

_WORDS: Final = {
    Component.TIMING: ("Timing", "the invoice's days, not the calendar month's"),
    Component.PROXY_PRICING: ("Proxy pricing", "the log at price-book prices"),
    Component.VOLUME: ("Volume", "more or fewer tokens than logged"),
    Component.MIX: ("Mix", "other models or token types than logged"),
    Component.TIER_DISCOUNT: ("Tier discount", "batch, flex and priority prices"),
    Component.UNPROXIED: ("Unproxied", "use of keys that are not the proxy's"),
    Component.PROVIDER_RATE: ("Provider rate", "reported cost against the price book"),
    Component.NON_TOKEN: ("Non-token", "web search, code execution"),
    Component.COMMITMENT: ("Commitment", "minimums, Priority Tier, support, seats"),
    Component.CREDITS_DISCOUNTS: ("Credits and discounts", "what the provider gives back"),
    Component.TAX: ("Tax", "as the invoice states it"),
    Component.ROUNDING: ("Rounding", "fractions of a cent per invoice line"),
    Component.UNEXPLAINED: ("Unexplained", "no cause covers it"),
}
_STATUS_WORDS: Final = {
    ReconciliationStatus.MATCHED: "Matched",
    ReconciliationStatus.WITHIN_TOLERANCE: "Within tolerance",
    ReconciliationStatus.INVESTIGATE: "Investigate",
    ReconciliationStatus.BLOCKED: "Blocked",
    ReconciliationStatus.MISSING_INVOICE: "Missing invoice",
}


@dataclass(frozen=True)
class _Step:
    """One row: a bar from `start` to `end` in the reconciliation's currency, in cents."""

    name: str
    hint: str
    start: Decimal
    end: Decimal
    is_total: bool = False
    is_open: bool = False
    """Unexplained, and not nothing."""

    @property
    def amount(self) -> str:
        """What stands beside the bar: a total plain, a component with its sign."""
        step = self.end if self.is_total else self.end - self.start
        return _plain(step, signed=bool(step) and not self.is_total)

    @property
    def colour(self) -> str:
        """Totals grey, up orange, down blue, unexplained yellow."""
        if self.is_total:
            return _TOTAL
        return _OPEN if self.is_open else _UP if self.end > self.start else _DOWN


def waterfall_file(rec: Reconciliation) -> str:
    """The picture's name in a pack, safe on every file system: waterfall_anthropic_ANT-2026-10.svg."""
    invoice = rec.invoice_id or f"no-invoice-{rec.account}".rstrip("-")
    return f"waterfall_{_file_word(rec.provider)}_{_file_word(invoice)}.svg"


def waterfall_svg(rec: Reconciliation) -> bytes:
    """The bridge as SVG, 1200 pixels wide; equal reconciliations give equal bytes."""
    return _render(rec, "svg")


def waterfall_png(rec: Reconciliation) -> bytes:
    """The bridge as PNG, 1200 pixels wide."""
    return _render(rec, "png")


def _render(rec: Reconciliation, form: str) -> bytes:
    # Imported here: matplotlib takes a second, and most commands draw nothing.
    import matplotlib as mpl

    # An invoice number may hold dollar signs: they are not mathematics.
    settings = {"svg.hashsalt": "tokengov", "svg.fonttype": "path", "hatch.linewidth": 1.2, "text.parse_math": False}
    quiet = {"Date": None, "Creator": None, "Title": _title(rec)} if form == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with mpl.rc_context(rc=settings):  # type: ignore[arg-type]
        _figure(rec).savefig(buffer, format=form, dpi=_DPI, facecolor="white", metadata=quiet)
    return buffer.getvalue()


def _figure(rec: Reconciliation) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, left_out = _steps(rec)
    height = _HEAD + _ROW * len(steps) + _FOOT
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_LEFT, _FOOT / height, _RIGHT - _LEFT, _ROW * len(steps) / height))
    low, high, is_cut = _limits(steps)
    axes.set_xlim(low, high)
    axes.set_ylim(len(steps) - 0.45, -0.55)
    _draw_axis(axes)
    for row, step in enumerate(steps):
        _draw_step(axes, row, step, low if is_cut else 0.0)
    for row, step in enumerate(steps[:-1]):
        axes.plot([float(step.end)] * 2, [row + 0.28, row + 0.72], color=_QUIET, linewidth=0.9, zorder=1)
    if is_cut:
        for row in (0, len(steps) - 1):
            _draw_cut(axes, row, low, high)
    _draw_words(figure, rec, height, left_out, low if is_cut else None)
    return figure


def _steps(rec: Reconciliation) -> tuple[list[_Step], list[str]]:
    """The rows of the bridge, and the components that are 0.00 and left out. Unexplained is shown at 0.00 too."""
    footed = rec.footed
    total = rec.total if rec.total is not None else round_posting(rec.states["W7"])
    position = round_posting(total) - sum((amount for _, amount in footed), Decimal(0))
    steps = [_Step("Logged by the proxy", f"calendar month {rec.month}", Decimal(0), position, is_total=True)]
    left_out = []
    for component, amount in footed:
        name, hint = _WORDS[component]
        if not amount and component is not Component.UNEXPLAINED:
            left_out.append(name.lower())
            continue
        is_open = component is Component.UNEXPLAINED and bool(amount)
        steps.append(_Step(name, hint, position, position + amount, is_open=is_open))
        position += amount
    last = ("Invoice", _days(rec)) if rec.total is not None else ("Explained so far", "there is no invoice yet")
    steps.append(_Step(*last, Decimal(0), position, is_total=True))
    return steps, left_out


def _limits(steps: list[_Step]) -> tuple[float, float, bool]:
    """Left and right end of the axis, and whether it is cut: small causes of a large bill have to be seen.

    The axis starts at zero unless everything happens in the upper part of it; then totals are drawn with a break.
    """
    ends = [float(step.end) for step in steps]
    low, high = min(ends), max(ends)
    span = high - low
    room = 0.17  # for the amount beside the longest bar
    if low > 0 and span < 0.6 * low:
        span = max(span, 0.0004 * high, 0.1)
        start = low - 0.32 * span
        return start, high + room * (high - start), True
    start, end = min(0.0, low), max(0.0, high)
    width = (end - start) or 1.0
    return start - (room * width if start < 0 else 0.0), end + room * width, False


def _draw_axis(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    left, right = axes.get_xlim()
    decimals = 0 if right - left >= 20 else 2
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value, decimals)))
    axes.tick_params(axis="x", length=0, pad=7, colors=_QUIET)
    for label in axes.get_xticklabels():
        label.set_fontproperties(_font(9))
    axes.set_yticks([])
    axes.set_facecolor("none")
    axes.grid(axis="x", color=_GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)


def _draw_step(axes: "Axes", row: int, step: _Step, floor: float) -> None:
    first = floor if step.is_total else float(step.start)
    low, high = sorted((first, float(step.end)))
    if step.is_open:
        axes.axhspan(row - 0.5, row + 0.5, color=_BAND, zorder=0, linewidth=0)
    edge = _INK if step.is_open else step.colour
    hatch = "////" if step.is_open else None
    if step.is_total or step.end != step.start:
        bar = axes.barh(
            row, high - low, left=low, height=0.56, color=step.colour, edgecolor=edge, hatch=hatch, zorder=2
        )
        bar[0].set_linewidth(1.4)  # keeps a bar of a cent visible
    is_left = float(step.end) < 0 and step.is_total
    axes.annotate(
        step.amount,
        (low if is_left else high, row),
        xytext=(-7 if is_left else 7, 0),
        textcoords="offset points",
        va="center_baseline",
        ha="right" if is_left else "left",
        color=_INK,
        fontproperties=_font(11, bold=step.is_total or step.is_open),
        zorder=4,
    )
    bold = step.is_total or step.is_open
    lines = ((row - 0.15, step.name, _INK, _font(11, bold=bold)), (row + 0.22, step.hint, _QUIET, _font(8.5)))
    for y, words, colour, font in lines:
        label = axes.text(-0.018, y, words, color=colour, ha="right", va="center", fontproperties=font)
        label.set_transform(axes.get_yaxis_transform())


def _draw_cut(axes: "Axes", row: int, low: float, high: float) -> None:
    """Two slanted white strokes near the start of a total's bar: it is not drawn from zero."""
    width = high - low
    for shift in (0.012, 0.02):
        x = low + shift * width
        axes.plot([x, x + 0.006 * width], [row + 0.36, row - 0.36], color="white", linewidth=2.4, zorder=3)


def _draw_words(figure: "Figure", rec: Reconciliation, height: float, left_out: list[str], cut: float | None) -> None:
    title = _title(rec)
    size = 16.0 if len(title) <= 78 else max(9.0, 16.0 * 78 / len(title))
    figure.text(0.025, 1 - 0.42 / height, title, color=_INK, va="center", fontproperties=_font(size, bold=True))
    figure.text(0.025, 1 - 0.78 / height, _subtitle(rec), color=_QUIET, va="center", fontproperties=_font(11))
    _draw_legend(figure, height)
    notes = []
    if left_out:
        notes.append(f"0.00 and left out: {', '.join(left_out)}.")
    if cut is not None:
        notes.append("The axis does not start at zero; the two totals are drawn with a break.")
    for line, note in enumerate(reversed(notes)):
        figure.text(0.025, (0.2 + 0.2 * line) / height, note, color=_QUIET, va="center", fontproperties=_font(9))


def _draw_legend(figure: "Figure", height: float) -> None:
    """What the colours mean, in the upper right corner."""
    from matplotlib.patches import Rectangle

    middle, side = 1 - 0.78 / height, 0.13
    for x, word, colour in ((0.72, "adds", _UP), (0.783, "reduces", _DOWN), (0.866, "unexplained", _OPEN)):
        box = Rectangle(
            (x, middle - side / 2 / height),
            side / _WIDTH,
            side / height,
            transform=figure.transFigure,
            facecolor=colour,
            edgecolor=_INK if colour == _OPEN else colour,
            hatch="////" if colour == _OPEN else None,
            linewidth=1,
        )
        figure.add_artist(box)
        figure.text(x + 0.018, middle, word, color=_QUIET, va="center", fontproperties=_font(10))


def _title(rec: Reconciliation) -> str:
    steps, _ = _steps(rec)
    logged, last = steps[0].amount, steps[-1].amount
    provider, invoice = _shown(rec.provider), _shown(rec.invoice_id or "")
    if rec.total is None:
        return f"{provider}, no invoice for {rec.month}: {logged} logged, {last} explained so far"
    return f"{provider} {invoice}: {logged} logged to {last} invoiced"


def _subtitle(rec: Reconciliation) -> str:
    status = _STATUS_WORDS[rec.status]
    parts = [f"Status: {status.lower()}"]
    if rec.total is not None:
        parts.append(f"unexplained {_plain(round_posting(rec.unexplained))}, tolerance {_plain(rec.tolerance)}")
    if rec.errors:
        parts.append(f"{len(rec.errors)} error{'s' if len(rec.errors) > 1 else ''} to clear")
    if rec.mode is MatchMode.TWO_WAY:
        parts.append("two-way: no cost report")
    parts.append(rec.currency)
    return "   |   ".join(parts)


def _days(rec: Reconciliation) -> str:
    return f"{rec.period.start} to {rec.period.last_day}"


def _plain(amount: Decimal | float, decimals: int = 2, *, signed: bool = False) -> str:
    """A number as people print it, with a real minus sign."""
    return f"{amount:{'+' if signed else ''},.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _font(size: float, *, bold: bool = False) -> "FontProperties":
    """The font that comes with matplotlib, by its file: no font of the machine takes its place."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return FontProperties(fname=str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size=size)


def _shown(text: str) -> str:
    clean = "".join(each for each in text if each.isprintable())
    return clean if len(clean) <= 48 else f"{clean[:47]}…"


def _file_word(text: str) -> str:
    """The text as part of a file name; what had to be changed gets a hash, so that two names stay two."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text, flags=re.ASCII).strip(".-")[:60]
    return (
        safe
        if safe == text
        else f"{safe}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}".lstrip("-")
    )
