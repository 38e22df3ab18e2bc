"""The picture: it foots, it is the same everywhere, and no name breaks it."""

import datetime as dt
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests.conftest import REPOSITORY
from tests.reconciliations import reconciled
from tokengov_pipelines.domain.match_result import MatchMode
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.pack.manifest import is_data_file
from tokengov_pipelines.pack.waterfall_chart import waterfall_file, waterfall_png, waterfall_svg

OCTOBER = BillingMonth(2026, 10)
PROGRAM = """
import hashlib
from tests.reconciliations import reconciled
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.waterfall_chart import waterfall_png, waterfall_svg
rec = reconciled("anthropic", "ANT-10", BillingMonth(2026, 10), "8012.33", volume="-230.374", unproxied="600.01",
                 tax="0.01", unexplained="4.25")
print(hashlib.sha256(waterfall_svg(rec)).hexdigest(), hashlib.sha256(waterfall_png(rec)).hexdigest())
"""


def title(svg):
    return ET.fromstring(svg).find(".//{http://purl.org/dc/elements/1.1/}title").text


def width(png):
    return int.from_bytes(png[16:20], "big")


def test_two_processes_draw_the_same_bytes():
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY,
            env={
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONHASHSEED": seed,
                "PATH": "/usr/bin:/bin",
                "HOME": "/nonexistent",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].split()) == 2


def test_the_title_says_from_what_to_what():
    rec = reconciled("anthropic", "ANT-2026-10", OCTOBER, "12345.67", unproxied="354.34")
    svg = waterfall_svg(rec)
    assert title(svg) == "anthropic ANT-2026-10: 12,345.67 logged to 12,700.01 invoiced"
    assert b"<dc:date>" not in svg
    assert b"<text" not in svg  # outlines: no font of the reader's machine
    assert width(waterfall_png(rec)) == 1200


@pytest.mark.parametrize(
    "components",
    [
        {},
        {"volume": "0.01"},
        {"credits_discounts": "-25000", "tax": "1"},
        {"unexplained": "-99999999.99"},
        {"unproxied": "0.004"},
    ],
)
@pytest.mark.parametrize("logged", ["0", "8000", "0.01", "123456789.12"])
def test_any_magnitude_can_be_drawn(logged, components):
    png = waterfall_png(reconciled("openai", "OAI-1", OCTOBER, logged, **components))
    assert png.startswith(b"\x89PNG")


def test_a_month_without_its_invoice_ends_with_what_is_explained():
    whole = reconciled("openai", "x", OCTOBER, "500.00", unproxied="29.97", tax="3")
    rec = replace(
        whole,
        invoice_id=None,
        mode=MatchMode.TWO_WAY,
        period=InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1)),
        states={name: whole.states[name] for name in list(whole.states)[:9]},
        components=dict(list(whole.components.items())[:8]),
    )
    assert title(waterfall_svg(rec)) == "openai, no invoice for 2026-10: 500.00 logged, 529.97 explained so far"
    assert waterfall_file(rec) == "waterfall_openai_no-invoice-acme-prod.svg"


def test_dollar_signs_markup_and_control_characters_are_only_text():
    rec = reconciled("anthropic", r"$\frac{1}{0}$ <b>&\x07" + "\x07x" * 80, OCTOBER, "8.00", tax="1.00")
    svg = waterfall_svg(rec)
    assert title(svg).startswith(r"anthropic $\frac{1}{0}$ <b>&")
    assert "…" in title(svg)


@pytest.mark.parametrize(
    ("invoice", "name"),
    [
        ("ANT-2026-10", "waterfall_anthropic_ANT-2026-10.svg"),
        ("../../etc/passwd", "waterfall_anthropic_etc-passwd-"),
        ("A/1", "waterfall_anthropic_A-1-"),
        ("A 1", "waterfall_anthropic_A-1-"),
        ("請求書", "waterfall_anthropic_"),
        ("x" * 300, "waterfall_anthropic_" + "x" * 60),
    ],
)
def test_the_file_name_is_safe_and_its_own(invoice, name):
    found = waterfall_file(reconciled("anthropic", invoice, OCTOBER, "1", tax="1"))
    assert found.startswith(name)
    assert found.endswith(".svg")
    assert len(found) < 120
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_two_invoices_never_share_a_file():
    names = {
        waterfall_file(reconciled("a", invoice, OCTOBER, "1", tax="1")) for invoice in ("A/1", "A 1", "A-1", "A_1")
    }
    assert len(names) == 4


def test_a_picture_is_no_content_of_a_pack():
    assert not is_data_file("waterfall_anthropic_ANT-2026-10.svg")
