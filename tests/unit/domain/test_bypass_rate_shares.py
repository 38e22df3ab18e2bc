"""Each key's share of what the provider bills, cell by cell (rule 5.2)."""

import datetime as dt
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.bypass_month import ACCOUNT, CI_KEY, CI_WORKSPACE, PROXY_KEY, PROXY_WORKSPACE, Month, oct_
from tokengov_pipelines.domain.legs import KeyRegistry
from tokengov_pipelines.domain.match_result import KeyOf, RateCell
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.rate_shares import split_cell, split_reported, two_sided

FIRST = oct_(1)
OWN: KeyOf = (ACCOUNT, PROXY_KEY, PROXY_WORKSPACE)
CI: KeyOf = (ACCOUNT, CI_KEY, CI_WORKSPACE)
CONSOLE: KeyOf = (ACCOUNT, None, None)
REGISTRY: KeyRegistry = Month().registry()


def cell(
    reported: str,
    *,
    day: dt.date = FIRST,
    model: str = "claude-sonnet-4-6",
    token_type: str = "output",
    workspace: str | None = None,
    **listed: str,
) -> RateCell:
    keys = {"own": OWN, "ci": CI, "console": CONSOLE}
    amounts = {keys[name]: Decimal(amount) for name, amount in listed.items()}
    return RateCell(day, "anthropic", model, token_type, None, workspace, Decimal(reported), amounts)


def test_a_key_has_its_part_of_the_discount():
    found = split_cell(cell("36.00", own="30.00", ci="15.00"), REGISTRY)
    assert found == {CI: Decimal("12.000000000000"), None: Decimal("24.000000000000")}


def test_a_key_bears_its_part_of_a_surcharge():
    assert split_cell(cell("54.00", own="30.00", ci="15.00"), REGISTRY)[CI] == Decimal(18)


def test_a_cell_billed_at_list_costs_each_key_its_list_value():
    found = split_cell(cell("45.00", own="30.00", ci="14.00", console="1.00"), REGISTRY)
    assert found == {CI: Decimal(14), CONSOLE: Decimal(1), None: Decimal(30)}


def test_thirds_are_rounded_once_and_add_up():
    found = split_cell(cell("1.00", own="1", ci="1", console="1"), REGISTRY)
    assert sorted(found.values()) == [Decimal("0.333333333333")] * 2 + [Decimal("0.333333333334")]
    assert exact_sum(found.values()) == 1


def test_digits_beyond_the_twelfth_stay_with_the_proxys_keys():
    found = split_cell(cell("36.0000000000001", own="30.00", ci="15.00"), REGISTRY)
    assert found == {CI: Decimal("12.000000000000"), None: Decimal("24.0000000000001")}


def test_a_credit_is_shared_like_a_charge():
    assert split_cell(cell("-36.00", own="30.00", ci="15.00"), REGISTRY)[CI] == Decimal(-12)


def test_without_a_list_value_a_single_foreign_key_bears_the_cell():
    assert split_cell(cell("10.00", ci="0"), REGISTRY) == {CI: Decimal("10.00"), None: Decimal(0)}


def test_without_a_list_value_nobody_is_picked_of_several():
    nothing = {CI: Decimal(0), None: Decimal("10.00")}
    assert split_cell(cell("10.00", ci="0", own="0"), REGISTRY) == nothing
    assert split_cell(cell("10.00"), REGISTRY) == {None: Decimal("10.00")}


def test_a_report_without_token_types_still_reaches_its_keys():
    cells = [
        cell("36.00", token_type=""),
        cell("0", token_type="uncached_input", own="20.00", ci="10.00"),
        cell("0", token_type="output", own="10.00", ci="5.00"),
    ]
    assert split_reported(cells, REGISTRY) == {("anthropic", oct_(1), CI): Decimal(12)}


def test_a_report_without_workspaces_still_reaches_its_keys():
    cells = [
        cell("36.00", workspace=None),
        cell("0", workspace=PROXY_WORKSPACE, own="30.00"),
        cell("0", workspace=CI_WORKSPACE, ci="15.00"),
    ]
    assert split_reported(cells, REGISTRY) == {("anthropic", oct_(1), CI): Decimal(12)}


def test_cells_that_both_sides_have_are_left_alone():
    whole = cell("36.00", own="30.00", ci="15.00")
    lonely = [cell("7.00", token_type="cache_read"), cell("0", token_type="cache_write_5m", ci="2.00")]
    assert whole in two_sided([whole, *lonely])
    assert split_reported([whole, *lonely], REGISTRY) == {("anthropic", oct_(1), CI): Decimal(19)}


def test_cells_of_two_models_are_never_put_together():
    cells = [cell("10.00", model="a", token_type=""), cell("0", model="b", ci="5.00")]
    assert split_reported(cells, REGISTRY) == {("anthropic", oct_(1), CI): Decimal(0)}


def test_a_day_that_the_report_says_nothing_of_has_no_rates():
    cells = [cell("0", day=oct_(2), ci="5.00"), cell("4.00", day=oct_(1), ci="5.00")]
    assert split_reported(cells, REGISTRY) == {("anthropic", oct_(1), CI): Decimal(4)}


AMOUNTS = st.decimals(0, 10**7, places=12)


@given(
    st.decimals(-(10**7), 10**7, places=14),
    AMOUNTS,
    st.lists(AMOUNTS, max_size=6),
)
def test_the_shares_always_add_up_to_the_reported_amount(reported, own, others):
    listed: dict[KeyOf, Decimal] = {OWN: own}
    listed |= {(ACCOUNT, f"key-{number}", None): amount for number, amount in enumerate(others)}
    found = split_cell(RateCell(oct_(1), "anthropic", "m", "output", None, None, reported, listed), REGISTRY)
    assert exact_sum(found.values()) == reported
    assert set(found) == {None, *listed} - {OWN}
    whole = exact_sum(listed.values())
    if whole:
        for key, amount in listed.items():
            if key != OWN:
                assert abs(found[key] * whole - reported * amount) <= whole * Decimal("2E-12")


@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from(["a", "b"]), st.sampled_from(["x", ""])), max_size=8)
)
def test_taking_cells_together_moves_no_dollar(rows):
    cells = [
        cell(str(reported), model=model, token_type=kind, own=str(own), ci=str(ci))
        for reported, own, ci, model, kind in rows
    ]
    found = two_sided(cells)
    assert exact_sum(each.reported for each in found) == exact_sum(each.reported for each in cells)
    assert exact_sum(each.listed.get(CI, Decimal(0)) for each in found) == exact_sum(each.listed[CI] for each in cells)
