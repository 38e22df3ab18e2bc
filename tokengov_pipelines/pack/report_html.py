"""summary.html: the month on one page, in one file that asks nobody for anything (Rules 11.6, 12.3).

Belongs here: filling the page. Does not belong here: its words (`report_words`) and charts (`report_charts`).

Names of teams and cost centers are text wherever they stand: the template escapes everything but the charts, which
escape their own text, and the page's policy allows no script and no other file.
"""

from importlib import resources
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from tokengov_pipelines.pack.report_charts import ReportCharts
from tokengov_pipelines.pack.report_figures import ReportFigures
from tokengov_pipelines.pack.report_words import report_words

SUMMARY_HTML: Final = "summary.html"

_TEMPLATE: Final = "summary.html.j2"


def summary_html(figures: ReportFigures, charts: ReportCharts) -> bytes:
    """The page as UTF-8; equal figures give equal bytes."""
    page = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(template_text))
    # Only the charts go in as they are: report_svg escapes every word of them.
    waterfall = None if charts.waterfall is None else Markup(charts.waterfall.decode("utf-8"))  # noqa: S704
    trend = Markup(charts.trend.decode("utf-8"))  # noqa: S704
    filled = page.get_template(_TEMPLATE).render(page=report_words(figures), waterfall=waterfall, trend=trend)
    return (filled + "\n").encode("utf-8", "replace")


def template_text(name: str) -> str:
    """A template of the report, as it was installed."""
    return (resources.files("tokengov_pipelines.pack") / "report_templates" / name).read_text(encoding="utf-8")
