"""The charts of the one-page report (Rule 11.6).

Belongs here: which charts a page has. Does not belong here: how each is drawn (`month_waterfall`, `trend_chart`).
"""

from dataclasses import dataclass

from tokengov_pipelines.pack.month_waterfall import month_waterfall_svg
from tokengov_pipelines.pack.report_figures import ReportFigures
from tokengov_pipelines.pack.report_words import report_words
from tokengov_pipelines.pack.trend_chart import trend_svg


@dataclass(frozen=True)
class ReportCharts:
    """The charts as SVG; no waterfall where nothing was reconciled."""

    waterfall: bytes | None
    trend: bytes


def report_charts(figures: ReportFigures) -> ReportCharts:
    """The charts of the figures, the same for HTML and PDF."""
    words = report_words(figures)
    waterfall = None
    if figures.bridge is not None:
        waterfall = month_waterfall_svg(figures.bridge, words["waterfall"]["alt"])
    return ReportCharts(waterfall, trend_svg(figures.trend, words["trend"]["alt"]))
