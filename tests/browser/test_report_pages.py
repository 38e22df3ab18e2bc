"""The one-page report in a real browser: wide and narrow, nothing overlaps, nothing is fetched, one page on paper."""

import io
from collections.abc import Iterator

import pypdf
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import need_program
from tests.month_files import SHA, charge, chargeback_file, control, october
from tokengov_pipelines.pack.report_charts import report_charts
from tokengov_pipelines.pack.report_figures import report_figures
from tokengov_pipelines.pack.report_html import summary_html

pytestmark = [pytest.mark.system("chromium"), pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]

OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const texts = [...svg.querySelectorAll("text")].map(each => [each.textContent, each.getBoundingClientRect()]);
    const whole = svg.getBoundingClientRect();
    for (const [words, box] of texts) {
      if (box.left < whole.left - 1 || box.right > whole.right + 1) found.push(words + " leaves the picture");
      for (const [other, next] of texts) {
        const beside = box.right <= next.left || next.right <= box.left;
        const apart = beside || box.bottom <= next.top || next.bottom <= box.top;
        if (words !== other && !apart) found.push(words + " over " + other);
      }
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = need_program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_of_the_month() -> str:
    files = october()
    before = chargeback_file([charge("CC-100", "500.00"), charge("CC-<b>x</b>", "1234567.89")])
    made = report_figures(files, control(files), (), status="closed", content_sha256=SHA, previous=before)
    return summary_html(made, report_charts(made)).decode()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_screen_and_asks_nobody(chromium, page_of_the_month, width, tmp_path):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(page_of_the_month)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERLAPS) == []
    assert page.locator("td", has_text="CC-<b>x</b>").is_visible()
    assert asked == []
    page.screenshot(path=tmp_path / f"report_{width}.png", full_page=True)
    page.close()


def test_the_page_prints_on_one_sheet(chromium, page_of_the_month):
    page = chromium.new_page()
    page.set_content(page_of_the_month)
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(pypdf.PdfReader(io.BytesIO(printed)).pages) == 1
    page.close()
