"""The one-page report: figures that tie, words that are only text, one page, the same bytes everywhere."""

import datetime as dt
import io
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from decimal import Decimal

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import REPOSITORY
from tests.month_files import OCTOBER, SHA, charge, chargeback_file, control, item, october, pull_request_file
from tests.reconciliations import reconciled
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.month_waterfall import month_waterfall_svg
from tokengov_pipelines.pack.recon_items_csv import recon_items_csv
from tokengov_pipelines.pack.reconciliation_csv import reconciliation_csv
from tokengov_pipelines.pack.report_charts import report_charts
from tokengov_pipelines.pack.report_figures import Bridge, HistoryMonth, history_month, report_figures
from tokengov_pipelines.pack.report_html import summary_html
from tokengov_pipelines.pack.report_pdf import summary_pdf
from tokengov_pipelines.pack.report_text import compact, money
from tokengov_pipelines.pack.report_words import report_words
from tokengov_pipelines.pack.trend_chart import trend_svg

PROGRAM = """
import hashlib
from tests.month_files import SHA, control, october
from tokengov_pipelines.pack.report_charts import report_charts
from tokengov_pipelines.pack.report_figures import report_figures
from tokengov_pipelines.pack.report_html import summary_html
from tokengov_pipelines.pack.report_pdf import summary_pdf
files = october()
made = report_figures(files, control(files), (), status="closed", content_sha256=SHA, previous=files["chargeback.csv"])
charts = report_charts(made)
for page in (summary_html(made, charts), summary_pdf(made, charts)):
    print(hashlib.sha256(page).hexdigest())
"""
AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "#panic(1) [*b*] $x$ @ref <label> \\",
    "{{ 7 * 7 }}{% raw %}",
    "]]>&amp;</svg>",
    "請求書 \u202egnp.exe\u200f",
]


def month(number, charged, cost, merged):
    ratio = (Decimal(cost) / merged).quantize(Decimal("0.01")) if merged else None
    return HistoryMonth(BillingMonth(2026, number), Decimal(charged), ratio, merged, Decimal("90.5"), Decimal(cost))


HISTORY = (month(8, "1210.00", "900", 30), month(9, "1150.00", "1000", 25))


def figures(files=None, history=HISTORY, **given):
    files = october() if files is None else files
    totals = given.pop("totals", None) or control(files)
    return report_figures(files, totals, history, **({"status": "closed", "content_sha256": SHA} | given))


def charged_only(*charges):
    return {"chargeback.csv": chargeback_file(charges)}


def pages(made):
    charts = report_charts(made)
    return summary_html(made, charts), summary_pdf(made, charts)


def page_text(pdf):
    found = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(found.pages) == 1
    return found.pages[0].extract_text()


def tiles(made):
    return {tile["label"]: tile for tile in report_words(made)["tiles"]}


def test_the_four_numbers_come_from_the_packs_files():
    made = figures()
    assert (made.charged, made.invoices) == (Decimal("1428.09"), 2)
    assert (made.cost_per_pr, made.merged_prs) == (Decimal("32.13"), 41)
    # 404.33 + 342.01 + 41.08 + 300.00 + 180.00 of 1,428.09: not the unproxied 60.00, suspense, central, corrections
    assert made.governed_share == Decimal("88.7")
    assert (made.unproxied, made.suspense) == (Decimal("80.50"), Decimal("50.53"))
    assert (made.unexplained, made.unexplained_gross) == (Decimal("1.32"), Decimal("1.32"))


def test_a_tile_without_a_figure_is_left_out():
    assert list(tiles(figures())) == ["Total AI cost", "Cost per merged pull request", "Governed share of the invoices"]
    assert list(tiles(figures(charged_only(charge("CC-1", "5.00"))))) == [
        "Total AI cost",
        "Governed share of the invoices",
    ]


def test_the_trend_of_the_cost_per_pull_request_is_a_ratio_of_sums():
    months = (*HISTORY, month(10, "1300.00", "1100", 20))
    files = charged_only(charge("CC-1", "1100.00")) | {"cost_per_pr.csv": pull_request_file("1100", 20)}
    rolling = figures(files, HISTORY).rolling
    assert (rolling.months, rolling.value, rolling.before) == (3, Decimal("40.00"), Decimal("34.55"))
    assert rolling.moved == 1  # 34.55 to 40.00 is more than a tenth
    assert figures(files, ()).rolling.months == 1
    assert [each.cost_per_pr for each in months] == [Decimal("30.00"), Decimal("40.00"), Decimal("55.00")]


@pytest.mark.parametrize(("cost", "moved"), [("1100", 0), ("1101", 1), ("900", 0), ("899", -1)])
def test_the_arrow_needs_more_than_a_tenth(cost, moved):
    before = HistoryMonth(SEPTEMBER, Decimal(0), None, 0, None, Decimal(0))
    early = HistoryMonth(BillingMonth(2026, 7), Decimal(1000), Decimal(10), 100, None, Decimal(1000))
    august = HistoryMonth(AUGUST, Decimal(0), None, 0, None, Decimal(0))
    files = charged_only(charge("CC-1", "1.00")) | {"cost_per_pr.csv": pull_request_file(cost, 100)}
    assert figures(files, (early, august, before)).rolling.moved == moved


def test_a_month_without_pull_requests_shows_a_dash_and_keeps_its_cost_in_the_rolling_ratio():
    files = charged_only(charge("CC-1", "100.00")) | {"cost_per_pr.csv": pull_request_file("100.00", 0)}
    made = figures(files)
    tile = tiles(made)["Cost per merged pull request"]
    assert (tile["value"], tile["quiet"]) == ("–", True)
    assert made.rolling.value == Decimal("36.36")  # (900 + 1000 + 100) / 55


def test_a_gap_in_the_months_ends_the_rolling_ratio():
    files = charged_only(charge("CC-1", "100.00")) | {"cost_per_pr.csv": pull_request_file("100.00", 10)}
    assert figures(files, HISTORY[:1]).rolling.months == 1
    assert "not closed is left out" in report_words(figures(files, HISTORY[:1]))["trend"]["note"]


def test_history_is_read_from_the_files_of_an_earlier_pack():
    found = history_month(OCTOBER, october())
    assert found == HistoryMonth(OCTOBER, Decimal("1428.09"), Decimal("32.13"), 41, Decimal("88.7"), Decimal("1317.42"))


@pytest.mark.parametrize(
    ("charges", "share"),
    [
        ([charge("CC-1", "0.00")], None),
        ([charge("CC-1", "100.00"), charge("CC-9", "-1.00", "central")], Decimal(100)),
        ([charge("CC-1", "100.00"), charge("CC-1", "20.00", "seat"), charge("CC-1", "-20.00", "credit")], Decimal(100)),
        ([charge("CC-1", "50.00"), charge("CC-1", "50.00", "unproxied")], Decimal(50)),
        (
            [charge("CC-1", "75.00"), charge("CC-9", "25.00", rung="suspense"), charge("CC-9", "0.00", "tax")],
            Decimal(75),
        ),
    ],
)
def test_the_governed_share_is_what_the_proxy_saw_of_the_invoices(charges, share):
    assert figures(charged_only(*charges)).governed_share == share


def test_the_waterfall_adds_up_all_statements_of_the_currency():
    bridge = figures().bridge
    assert (bridge.statements, bridge.open_ended) == (2, 0)
    assert (bridge.logged, bridge.billed) == (Decimal("1349.55"), Decimal("1428.09"))
    causes = dict(bridge.causes)
    assert causes[Component.UNPROXIED] == Decimal("80.50")
    assert sum(causes.values()) + bridge.logged == bridge.billed


def test_two_unexplained_parts_do_not_hide_each_other():
    recs = [reconciled(name, f"{name}-1", OCTOBER, "10", unexplained=part) for name, part in (("a", "5"), ("b", "-5"))]
    made = figures(charged_only(charge("CC-1", "20.00")) | {"reconciliation.csv": reconciliation_csv(recs)})
    assert (made.unexplained, made.unexplained_gross) == (Decimal(0), Decimal("10.00"))
    assert "Unexplained 0.00 net, 10.00 gross" in tiles(made)["Governed share of the invoices"]["notes"]


def test_the_movers_are_the_five_largest_changes():
    before = chargeback_file([charge("CC-100", "500.00"), charge("CC-200", "518.00"), charge("CC-OLD", "9.00")])
    made = figures(previous=before)
    assert [(each.cost_center, each.change) for each in made.movers] == [
        ("CC-100", Decimal("208.44")),
        ("CC-300", Decimal("101.08")),
        ("CC-900", Decimal("50.53")),
        ("CC-990", Decimal("50.14")),
        ("CC-OLD", Decimal("-9.00")),
    ]
    rows = report_words(made)["movers"]["rows"]
    assert [(row["percent"], row["is_big"]) for row in rows] == [
        ("+42%", True),
        ("new", True),
        ("new", True),
        ("new", True),
        ("gone", True),
    ]
    assert report_words(figures())["movers"]["title"] == "Largest cost centers"


def test_open_items_are_counted_by_age_net_and_gross():
    made = figures()
    assert [(each.age_days, each.items, each.errors, each.net, each.gross) for each in made.buckets] == [
        ("0-30", 3, 1, Decimal("61.50"), Decimal("61.50")),
        ("61-90", 1, 0, Decimal("-3.25"), Decimal("3.25")),
    ]
    assert [each.amount for each in made.items] == [
        Decimal("41.50"),
        Decimal("20.00"),
        Decimal("-3.25"),
        Decimal("0.00"),
    ]
    assert report_words(made)["open"]["rows"][3]["who"] == "no owner, 7 days"


def test_the_caveats_say_what_the_figures_are_not():
    recs = [
        reconciled("a", "A-1", OCTOBER, "10", unexplained="2"),
        reconciled("b", "B-1", OCTOBER, "10"),
    ]
    files = charged_only(
        charge("CC-1", "15.00", mode="showback", provider="a"),
        charge("CC-9", "10.00", provider="b", rung="suspense"),
        charge("CC-1", "-2.00", "prior_period", original_period="2026-08", provider="b"),
    )
    files["reconciliation.csv"] = reconciliation_csv(recs).replace(b",matched,", b",matched_two_way,")
    problem = {"provider": "c", "code": "missing_invoice", "what": "c has no invoice", "fix": "enter it"}
    totals = control(files, not_charged=[problem], files=[])
    made = figures(files, totals=totals, status="draft", notes=["Anna's approval carries no signature."])
    assert made.caveats == (
        "Anna's approval carries no signature.",
        "Draft: nobody has approved these figures, and they may change until the month is closed.",
        "c is not charged: c has no invoice.",
        "Unexplained above the tolerance: a.",
        "Matched two-way, usage at price-book prices against the invoice, for want of a cost report: b.",
        "Showback, charges inform and are not posted: a.",
        "Corrections of 2026-08 are in these charges: net -2.00, gross 2.00 USD.",
        "10.00 USD stand in suspense at CC-9: nobody owns them yet.",
    )
    assert report_words(made)["caveats"][-1] == "And 2 more: see the pack's files."
    assert figures(charged_only(charge("CC-1", "1.00"))).caveats == ()


def test_html_asks_nobody_for_anything():
    html = summary_html(figures(), report_charts(figures())).decode()
    assert "<script" not in html
    assert set(re.findall(r"https?://[^\"' <]+", html)) == {"http://www.w3.org/2000/svg"}  # the name of SVG
    assert not re.search(r"\b(src|href|srcset|action)\s*=", html)
    assert "url(" not in html
    assert "@import" not in html
    assert SHA in html


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_only_text(hostile):
    files = charged_only(charge("CC-1", "10.00", cost_center_name=hostile), charge(hostile, "20.00"))
    rows = [item("i", "4.20", dt.date(2026, 10, 9), what=hostile, provider=hostile, owner=hostile, component=hostile)]
    files["recon_items.csv"] = recon_items_csv(rows, dt.date(2026, 11, 6))
    files["reconciliation.csv"] = reconciliation_csv([reconciled(hostile, "I", OCTOBER, "30", unexplained="9")])
    html, pdf = pages(figures(files, notes=[hostile]))
    tree = ET.fromstring(re.sub(r"^.*?<body>", "<body>", html.decode(), flags=re.DOTALL).removesuffix("</html>\n"))
    assert {each.tag.rpartition("}")[2] for each in tree.iter()} <= {
        *("body", "main", "header", "h1", "h2", "span", "div", "small", "p", "section", "figure", "footer", "code"),
        *("table", "thead", "tbody", "tr", "th", "td", "ul", "li", "svg", "text", "rect", "polyline", "circle"),
    }
    assert "49" not in [each.text for each in tree.iter()]
    assert "CC-1" in page_text(pdf)


def crowded():
    """The most that a page may have to hold."""
    long = "A very long name that somebody gave to a team without a thought for the paper " * 4
    charges = [charge(f"CC-{n}-{'9' * 40}", f"{n * 7654321}.11", cost_center_name=long) for n in range(1, 9)]
    causes = {each.value: f"{number}23456.78" for number, each in enumerate(Component, 1)}
    whole = reconciled("anthropic", "ANT", OCTOBER, "99999999.99", **causes)
    ages = [dt.date(2026, 10, 9), dt.date(2026, 9, 9), dt.date(2026, 8, 9), dt.date(2026, 1, 9)]
    rows = [item(f"i{n}{day}", f"{n}999999.12", day, what=long, owner=long) for n in range(1, 5) for day in ages]
    files = charged_only(*charges) | {
        "recon_items.csv": recon_items_csv(rows, dt.date(2026, 11, 6)),
        "reconciliation.csv": reconciliation_csv([whole]),
        "cost_per_pr.csv": pull_request_file("123456789.12", 3),
    }
    months = [BillingMonth(2025, number) for number in range(1, 13)] + [BillingMonth(2026, n) for n in range(1, 10)]
    history = [
        HistoryMonth(each, Decimal(98765432 * n + 1), Decimal(12345 + n), 9, Decimal(50), Decimal(12345 * 9))
        for n, each in enumerate(months, 1)
    ]
    before = chargeback_file([charge(f"CC-{n}-{'9' * 40}", f"{n}.11") for n in range(1, 9)])
    return figures(files, history, totals=control(files, files=[]), status="draft", notes=[long] * 9, previous=before)


def test_the_most_crowded_month_is_one_page():
    made = crowded()
    assert len(made.trend) == 12
    text = page_text(pages(made)[1])
    assert "And 5 more" in text
    assert SHA in text


@pytest.mark.parametrize("files", [{"chargeback.csv": chargeback_file([])}, charged_only(charge("CC-1", "-5.00"))])
def test_an_empty_month_and_a_credit_are_pages_too(files):
    html, pdf = pages(figures(files, (), totals=control(files, ties=[], files=[])))
    assert b"AI cost, October 2026" in html
    assert "AI cost, October 2026" in page_text(pdf)


def test_the_pdf_says_nothing_of_its_making():
    pdf = pages(figures())[1]
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert reader.metadata.creation_date is None
    assert reader.metadata.title == "AI cost, October 2026, version 1"
    fonts = {str(font) for font in re.findall(rb"/FontName /([A-Za-z+-]+)", pdf)}
    assert all("Libertinus" in font or "DejaVuSansMono" in font for font in fonts)


def test_the_bytes_are_the_same_in_any_process_home_zone_locale_and_hash_seed():
    def run(seed, **environment):
        variables = {"PYTHONPATH": str(REPOSITORY), "PATH": os.defpath, "PYTHONHASHSEED": seed, **environment}
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=True).stdout

    here = run("1", HOME="/nonexistent", TZ="UTC")
    assert len(here.split()) == 2
    assert run("2", HOME="/", TZ="Asia/Tokyo", LC_ALL="tr_TR.UTF-8", FONTCONFIG_FILE="/dev/null") == here


CENTS = st.integers(-(10**12), 10**12).map(lambda cents: Decimal(cents).scaleb(-2))


@settings(max_examples=60, deadline=None)
@given(logged=CENTS, causes=st.lists(CENTS, min_size=13, max_size=13))
def test_any_bridge_can_be_drawn_inside_its_picture(logged, causes):
    bridge = Bridge("USD", 1, 0, logged, tuple(zip(Component, causes, strict=True)), logged + sum(causes))
    tree = ET.fromstring(month_waterfall_svg(bridge, "<&>"))
    for each in tree.iter("{http://www.w3.org/2000/svg}rect"):
        x, width = float(each.get("x")), float(each.get("width"))
        assert 0 <= x <= x + width <= 441
    texts = [each.text for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1] == money(logged)
    assert texts[-1] == money(bridge.billed)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(CENTS, st.none() | st.integers(0, 10**9).map(lambda cents: Decimal(cents).scaleb(-2))),
        min_size=1,
        max_size=12,
    )
)
def test_any_trend_can_be_drawn_inside_its_picture(values):
    months = [
        HistoryMonth(BillingMonth(2026, n), charged, ratio, 1, None) for n, (charged, ratio) in enumerate(values, 1)
    ]
    tree = ET.fromstring(trend_svg(months, "trend"))
    height = float(tree.get("height"))
    for each in tree.iter("{http://www.w3.org/2000/svg}rect"):
        assert 0 <= float(each.get("y")) <= float(each.get("y")) + float(each.get("height")) <= height


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0", "0"), ("0.5", "0.50"), ("950", "950"), ("12345.67", "12.3k"), ("-2000000", "−2m"), ("250400", "250k")],
)
def test_compact_amounts(amount, words):
    assert compact(Decimal(amount)) == words
