"""The change between two versions of a month is split by cause, and the causes add up to it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.closing.small_month import PRICES, PROVIDER, USED, pack_files, small_month
from tokengov_pipelines.closing.charges import charge_inputs
from tokengov_pipelines.closing.closed_month import close_month
from tokengov_pipelines.closing.comparison import (
    GROUPS,
    Cause,
    compared,
    exchanged,
    sealed_charges,
    table_changes,
)
from tokengov_pipelines.closing.inputs import TABLE_COLUMNS
from tokengov_pipelines.closing.lake_comparison import ledger_findings, moved_findings
from tokengov_pipelines.closing.verification import State, read_manifest
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.periods import PeriodVersion
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV, chargeback_csv
from tokengov_pipelines.pack.manifest import LakePartition, content_sha256
from tokengov_pipelines.pack.writer import PackError
from tokengov_pipelines.policy import Policy

MORE = [*USED[:1], (*USED[1][:3], 3_000_000, 333_333, "13.499995")]
CORRECTION = PriorPeriodCharge(
    BillingMonth(2026, 9), PROVIDER, "ANT-2026-09", "CC-200", Decimal("-3.25"), "USD", "provider_report", "v1"
)
BY_LOG = Policy.model_validate({"chargeback": {"direct_weights": "logged_proxy_spend"}})
CHANGES = {
    Cause.DATA: {"used": MORE},
    Cause.PRICES: {"prices": {**PRICES, "output": Decimal(30)}},
    Cause.DIRECTORY: {"lab_owner": "CC-100"},
    Cause.POLICY: {"policy": BY_LOG},
    Cause.LEDGER: {"facts": {"corrections": (CORRECTION,)}},
}


def charges_of(inputs):
    """chargeback.csv alone, which is all that a comparison reads of sealed files."""
    closed = close_month(inputs, 1)
    assert charge_inputs(inputs, closed.match, closed.findings, 1).lines == closed.charges.lines
    return {CHARGEBACK_CSV: chargeback_csv(closed.charges.lines)}


def compare(first, second, **sealed):
    before, after = sealed.get("before") or charges_of(first), sealed.get("after") or charges_of(second)
    return compared((before, after), (first, second), 1)


def moved(found):
    """The causes that moved anything."""
    return {cause for parts in found.parts.values() for cause, amount in parts.items() if amount}


def test_the_same_inputs_differ_in_nothing():
    found = compare(small_month(), small_month())
    assert (moved(found), found.tables, found.facts, found.notes) == (set(), (), (), ())
    assert exact_sum(found.before.values()) == Decimal("16.20")


@pytest.mark.parametrize("cause", CHANGES)
def test_each_cause_alone_is_told_as_that_cause(cause):
    found = compare(small_month(), small_month(**CHANGES[cause]))
    assert moved(found) == {cause}
    for code, parts in found.parts.items():
        assert parts[cause] == found.change(code)


def test_the_owner_of_a_key_moves_what_it_cost_with_credit_and_tax():
    found = compare(small_month(), small_month(lab_owner="CC-100"))
    assert found.parts["CC-200"][Cause.DIRECTORY] == -found.parts["CC-100"][Cause.DIRECTORY] == Decimal("-1.15")
    assert found.total(Cause.DIRECTORY) == 0
    assert [(each.table, str(each)) for each in found.tables] == [
        ("provider_keys", "0 rows added, 0 removed, 1 changed")
    ]


def test_a_correction_changes_the_total():
    found = compare(small_month(), small_month(**CHANGES[Cause.LEDGER]))
    assert found.total(Cause.LEDGER) == Decimal("-3.25")
    assert found.facts == ("facts: corrections",)


def test_what_separates_sealed_files_from_their_inputs_is_code():
    month = small_month()
    before = charges_of(month)
    before[CHARGEBACK_CSV] = before[CHARGEBACK_CSV].replace(b",4.50,USD,1,4.50", b",4.47,USD,1,4.47")
    found = compare(month, small_month(lab_owner="CC-100"), before=before)
    assert found.parts["CC-100"] == {
        **dict.fromkeys(Cause, Decimal(0)),
        Cause.DIRECTORY: Decimal("1.15"),
        Cause.CODE: Decimal("0.03"),
    }


def test_the_policys_leaves_are_named():
    assert compare(small_month(), small_month(policy=BY_LOG)).facts == (
        "policy: chargeback.direct_weights repriced_proxy_spend -> logged_proxy_spend",
    )


def test_a_mixture_that_cannot_be_charged_leaves_its_part_to_the_next_cause():
    second = small_month(lab_owner="CC-100")
    tables = {name: table for name, table in second.tables.items() if name != "cost_centers"}
    centers = second.tables["cost_centers"].to_pylist()
    tables["cost_centers"] = second.tables["cost_centers"].from_pylist(
        [row if row["code"] != "CC-100" else {**row, "code": "CC-101"} for row in centers],
        schema=second.tables["cost_centers"].schema,
    )
    found = compare(small_month(), replace(second, tables=tables))
    assert any("anthropic is not charged" in note for note in found.notes)
    assert exact_sum(found.total(cause) for cause in Cause) == exact_sum(
        [*found.after.values(), *(-each for each in found.before.values())]
    )


def test_two_months_are_not_compared():
    first = small_month()
    other = replace(first, facts=replace(first.facts, month=BillingMonth(2026, 9)))
    with pytest.raises(PackError, match="2026-10 and 2026-09 are two months"):
        compared(({}, {}), (first, other), 1)


def test_charges_that_cannot_be_read_are_told():
    with pytest.raises(PackError, match=r"chargeback\.csv cannot be read"):
        sealed_charges({CHARGEBACK_CSV: b"cost_center,amount\nCC-100,1\n"})


def test_every_table_of_inputs_has_a_cause():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(TABLE_COLUMNS)


def test_every_group_exchanged_makes_the_other_inputs():
    known, other = (
        small_month(),
        small_month(**{name: value for each in CHANGES.values() for name, value in each.items()}),
    )
    for cause in list(Cause)[:-1]:
        known = exchanged(known, other, cause)
    assert known == other


def test_rows_are_told_as_added_removed_or_changed():
    first = small_month()
    second = small_month(
        used=[(*USED[0][:5], "4.60"), (*USED[1][:2], "team-shop", *USED[1][3:]), (*USED[1][:1], *USED[0][1:])]
    )
    (changes,) = [each for each in table_changes(first, second) if each.is_different]
    assert (changes.table, changes.added, changes.removed, changes.changed) == ("usage_cells", 2, 1, 1)
    gone = replace(first, tables={name: each for name, each in first.tables.items() if name != "fx_rates"})
    assert [str(each) for each in table_changes(first, gone) if each.is_different] == [
        "0 rows added, 1 removed, 0 changed"
    ]


def test_what_moved_in_the_lake_is_no_error_of_the_pack(sealed):
    manifest = read_manifest(sealed)
    same = [LakePartition(**each) for each in manifest["lake_partitions"]]
    (still,) = moved_findings(manifest, small_month(), same, small_month())
    assert (still.state, still.what) == (
        State.IDENTICAL,
        "1 partitions and every table of inputs/ are what the lake holds now",
    )
    now = [replace(same[0], sha256="00" * 32), LakePartition("raw/invoices", "anthropic:ANT-2026-10", "11" * 32)]
    found = moved_findings(manifest, small_month(), now, small_month(used=MORE))
    assert {each.state for each in found} == {State.MOVED}
    assert [(each.file, each.what) for each in found] == [
        ("marts/fct_usage_daily", "2026-10-05; its correction posts to the next open month"),
        ("raw/invoices", "anthropic:ANT-2026-10; its correction posts to the next open month"),
        ("inputs/usage_cells.parquet", "0 rows added, 0 removed, 1 changed"),
    ]


def test_a_pack_that_the_ledger_does_not_know_as_it_is_differs(sealed):
    manifest = read_manifest(sealed)

    def recorded(version=1, content=None, manifest_sha256=None):
        return PeriodVersion(
            month=BillingMonth(2026, 10),
            version=version,
            status="closed",
            content_sha256=content or content_sha256(sealed),
            pack_path="packs/2026-10/v1",
            totals={},
            created_at=None,
            run_id="run-1",
            preparer=None,
            approver=None,
            manifest_sha256=manifest_sha256,
        )

    def states(*versions, of=manifest):
        return [each.state for each in ledger_findings(sealed, of, versions)]

    assert states(recorded()) == [State.IDENTICAL]
    assert states() == [State.DIFFERS]
    assert states(recorded(content="00" * 32, manifest_sha256="11" * 32)) == [State.DIFFERS, State.DIFFERS]
    assert states(recorded(0, "00" * 32), of={**manifest, "version": 0}) == [State.NOTE]


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(sorted(CHANGES))), st.sets(st.sampled_from(sorted(CHANGES))))
def test_whatever_differs_the_parts_add_up_to_the_change(first, second):
    one, other = (
        small_month(**{name: value for cause in causes for name, value in CHANGES[cause].items()})
        for causes in (first, second)
    )
    found = compare(one, other)
    for code, parts in found.parts.items():
        assert exact_sum(parts.values()) == found.change(code)
    assert moved(found) <= first ^ second
    total = exact_sum([*found.after.values(), *(-each for each in found.before.values())])
    assert exact_sum(found.total(cause) for cause in Cause) == total


def test_two_sealed_packs_are_compared(sealed):
    other = small_month(used=MORE)
    found = compared((sealed, pack_files(other)), (small_month(), other), 1)
    assert moved(found) == {Cause.DATA}
