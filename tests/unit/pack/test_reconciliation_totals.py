"""A pack with its reconciliation: which files, which totals, and what has to tie before anything is written (11.7)."""

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.reconciliations import reconciled
from tests.unit.pack.test_reconciliation_csv import example
from tests.unit.pack.test_reconciliation_lists import key
from tokengov_pipelines.domain.chargeback import InvoiceHeader
from tokengov_pipelines.domain.match_result import ErrorCode, LineDifference, LineOutcome, MatchError
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.pack.content import PackParts, assemble_pack
from tokengov_pipelines.pack.writer import PackError, sha256_of

D = Decimal
OCTOBER = BillingMonth(2026, 10)
CALENDAR = reconciled("anthropic", "ANT-10", OCTOBER, "84.00", unproxied="16.00", unexplained="0.04")
KEYS = [key("ci-runner", "13.50"), key("workbench", "1.50", key_id=None), key("other", "1.00")]


def header(rec, total=None):
    return InvoiceHeader(rec.provider, rec.invoice_id, D(total) if total else rec.total, "USD", rec.period)


def assembled(recs, *, items=None, unproxied=None, invoices=(), **more):
    """A pack whose invoices could not be charged: what is tested is the reconciliation."""
    rows = {"reconciliations": recs, "items": items, "unproxied": unproxied, **more}
    return assemble_pack(OCTOBER, 0, PackParts(lines=[], problems=[], invoices=invoices, sources=[], **rows))


def items_of(rec, unproxied=()):
    return reconciling_items(rec, opened_on=dt.date(2026, 11, 3), item_min_usd=D("1.00"), unproxied=unproxied)


def test_the_files_are_in_the_pack_and_their_totals_are_read_back():
    content = assembled([CALENDAR], items=items_of(CALENDAR, KEYS), unproxied=KEYS)
    picture = "waterfall_anthropic_ANT-10.svg"
    assert sorted(content.files) == [
        "chargeback.csv",
        "control_totals.json",
        "pack.xlsx",
        "recon_items.csv",
        "reconciliation.csv",
        "summary.html",
        "summary.pdf",
        "unproxied.csv",
        picture,
    ]
    totals = json.loads(content.files["control_totals.json"])
    listed = {entry["file"]: entry for entry in totals["files"]}
    assert (listed["reconciliation.csv"]["rows"], listed["reconciliation.csv"]["sums"]) == (15, {"USD": "16.04"})
    assert (listed["unproxied.csv"]["rows"], listed["unproxied.csv"]["sums"]) == (3, {"USD": "16.000000000000"})
    assert (listed["recon_items.csv"]["rows"], listed["recon_items.csv"]["sums"]) == (2, {"USD": "15.000000000000"})
    assert listed[picture] == {
        "file": picture,
        "bytes": len(content.files[picture]),
        "sha256": sha256_of(content.files[picture]),
    }
    assert [(tie["tie"], tie.get("causes"), tie.get("gap")) for tie in totals["ties"][:2]] == [
        ("sum of the causes = invoice - log (amount_exact)", "16.040000000000", "16.040000000000"),
        ("sum of the causes = invoice - log (amount)", "16.04", "16.04"),
    ]
    assert totals["ties"][2] == {
        "tie": "unproxied.csv at list = component unproxied",
        "provider": "anthropic",
        "unproxied.csv": "16.000000000000",
        "component": "16.000000000000",
    }


def test_open_items_are_totalled_net_and_gross_and_errors_are_not_added():
    lines = tuple(
        LineDifference(name, (1,), D(amount), D(0), LineOutcome.UNEXPLAINED)
        for name, amount in (("a", "40"), ("b", "-39"))
    )
    errors = (MatchError(ErrorCode.MISSING_EXTRACT, "2026-10-03", "w", "f", amount=D(12)),)
    items = items_of(replace(CALENDAR, line_differences=lines, errors=errors))
    assert assembled([CALENDAR], items=items).totals["open_items"] == [
        {
            "as_of": "2026-11-06",
            "currency": "USD",
            "age_days": "0-30",
            "items": 3,
            "errors": 1,
            "net": "1.000000000000",
            "gross": "79.000000000000",
        }
    ]


def test_the_statement_ends_with_the_invoice_that_is_charged():
    rec = example()
    with pytest.raises(PackError, match=r"do not tie, nothing was written.*W12"):
        assembled([rec], invoices=[header(rec, "181.54")])


def test_an_invoice_that_was_not_reconciled_is_named():
    rec = reconciled("openai", "OAI-1", OCTOBER, "1.00")
    zero = replace(header(rec), total=D("0.00"))
    totals = assembled([], invoices=[zero]).totals
    assert totals["not_reconciled"] == [{"provider": "openai", "invoice_id": "OAI-1"}]


def test_a_list_of_keys_that_is_not_the_component_is_a_defect():
    with pytest.raises(PackError, match=r"unproxied\.csv at list = component unproxied"):
        assembled([CALENDAR], unproxied=KEYS[:2])


def test_keys_of_calendar_days_are_not_held_against_another_invoice_period():
    ties = assembled([example()], unproxied=KEYS).totals["ties"]
    assert [tie["tie"] for tie in ties if "unproxied" in tie["tie"]] == []


def test_components_that_do_not_add_up_are_not_written():
    off = replace(CALENDAR, states={**CALENDAR.states, "W12": D("100.05")})
    with pytest.raises(PackError, match="sum of the causes"):
        assembled([off])


def test_names_that_had_to_be_neutralised_still_tie():
    rec = replace(CALENDAR, provider="=a", invoice_id="@1")
    keys = [replace(each, provider="=a") for each in KEYS]
    assert len(assembled([rec], unproxied=keys).totals["ties"]) == 3


def test_equal_months_are_equal_packs_and_the_picture_is_not_in_the_hash():
    one, other = (assembled([CALENDAR], items=items_of(CALENDAR), unproxied=KEYS) for _ in range(2))
    assert dict(one.files) == dict(other.files)
    without = {name: content for name, content in one.files.items() if not name.endswith(".svg")}
    assert replace(one, files=without).content_sha256 == one.content_sha256


def test_without_a_reconciliation_nothing_is_said_of_one():
    content = assembled(None)
    assert not {"reconciliation.csv", "recon_items.csv", "unproxied.csv"} & set(content.files)
    assert "open_items" not in content.totals
