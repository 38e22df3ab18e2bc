"""summary.pdf: the month on one page of A4, the same bytes on every machine (Rules 11.6, 11.8).

Belongs here: filling the page by typst. Does not belong here: its words (`report_words`) and charts (`report_charts`).

The fonts are those inside typst: no font of the machine is read. Words reach the document as data, never as source, so
that '#' or '[' in a name is only a character. The document has no date: the pack's is in its manifest.
"""

import json
from typing import Final

from tokengov_pipelines.pack.report_charts import ReportCharts
from tokengov_pipelines.pack.report_figures import ReportFigures
from tokengov_pipelines.pack.report_html import template_text
from tokengov_pipelines.pack.report_words import report_words
from tokengov_pipelines.pack.writer import PackError

SUMMARY_PDF: Final = "summary.pdf"

_TEMPLATE: Final = "summary.typ"


def summary_pdf(figures: ReportFigures, charts: ReportCharts) -> bytes:
    """The page as PDF; equal figures give equal bytes."""
    # Imported here: most commands make no page, and the compiler brings its fonts along.
    import typst

    inputs = {"words": json.dumps(report_words(figures)), "trend": charts.trend.decode("utf-8")}
    if charts.waterfall is not None:
        inputs["waterfall"] = charts.waterfall.decode("utf-8")
    made = typst.compile(
        template_text(_TEMPLATE).encode("utf-8"),
        format="pdf",
        sys_inputs=inputs,
        font_paths=typst.Fonts(include_system_fonts=False),
        ignore_system_fonts=True,
        timestamp=0,
    )
    if not isinstance(made, bytes):
        message = "typst made no PDF of the report. Fix: report it, this is a defect of the product."
        raise PackError(message)
    return made
