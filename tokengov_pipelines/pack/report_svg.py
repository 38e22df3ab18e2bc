"""SVG by hand for the report's charts: few shapes, escaped text, numbers that print the same everywhere (Rule 11.8).

Belongs here: shapes, colours and scales. Does not belong here: what a chart shows (`month_waterfall`, `trend_chart`)
and the pictures of single reconciliations (`waterfall_chart`), whose text is outlines.

Text is text here: the browser sets it in the reader's font, the PDF in the font that comes with typst. Nothing depends
on how wide a font is; every text has room for a wider one.
"""

from decimal import Decimal
from xml.sax.saxutils import escape, quoteattr

WIDTH = 440
FONT = "'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Libertinus Serif', sans-serif"

INK, QUIET, GRID, BAND = "#1f2933", "#52606d", "#d9dee4", "#fdf6c4"
TOTAL, UP, DOWN, OPEN, PALE = "#52606d", "#d55e00", "#0072b2", "#e0c200", "#b6c2cf"
"""Up, down and open are of Okabe and Ito's palette, which colour-blind readers can tell apart; the sign says it too."""


def svg(height: float, label: str, shapes: list[str]) -> bytes:
    """The document: `WIDTH` wide, with a label for those who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_n(height)}" width="{WIDTH}" '
        f'height="{_n(height)}" role="img" aria-label={quoteattr(label)} font-family="{FONT}">'
    )
    return (head + "".join(shapes) + "</svg>").encode("utf-8", "replace")


def text(
    x: float, y: float, words: str, *, size: float = 13, colour: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    """One line of text; `y` is its baseline."""
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, colour: str, *, edge: str = "") -> str:
    """A filled rectangle, at least one unit wide and high so that a cent stays visible."""
    stroke = f' stroke="{edge}"' if edge else ""
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 1))}" height="{_n(max(height, 1))}" '
        f'fill="{colour}"{stroke}/>'
    )


def line(points: list[tuple[float, float]], colour: str, *, width: float = 1) -> str:
    """A line through the points."""
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{_n(width)}"/>'


def dot(x: float, y: float, colour: str) -> str:
    """A point of a line, round."""
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="3.2" fill="{colour}"/>'


def scaled(amount: Decimal, low: Decimal, high: Decimal, start: float, end: float) -> float:
    """Where an amount stands between `start` (for `low`) and `end` (for `high`); `start` where both are the same."""
    return start if high == low else start + float((amount - low) / (high - low)) * (end - start)


def _n(number: float) -> str:
    """Two decimals are a hundredth of a pixel; fewer where there is nothing to say."""
    shown = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown
