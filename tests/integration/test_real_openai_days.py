"""Eight real days of an OpenAI organisation, billed against used, from its own answers to the reconciliation.

The 7th, 10th and 11th agree to the last digit; the 8th is billed with 0.5455665 USD and has no usage row; the 5th is
billed above its usage at list price and the 6th below. The export was not grouped: its cost lines name no line item, no
key and no project.
"""

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

import pytest

from assets.reconciliation_inputs import MatchInputs, gather_inputs
from resources.lake import Lake
from resources.tables import Tables
from tests.conftest import REPOSITORY, need_real_data, run_sql_file
from tests.installation import TestHome
from tests.integration.test_openai_source import KEY, recorded
from tests.provider_fixture import scripted_server
from tokengov_pipelines.domain.legs import Legs
from tokengov_pipelines.domain.match_result import Component, ErrorCode
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation
from tokengov_pipelines.jobs import LOAD_DAYS

D = Decimal
FIRST, LAST = dt.date(2025, 10, 5), dt.date(2025, 10, 12)
DAYS = InvoicePeriod.from_printed(FIRST, LAST)
REGISTRY = """provider,account,workspace,provider_key_id,role,owner_cost_center,valid_from,valid_to
openai,acme,proj_example,key_example_1,proxy,,2025-01-01,
openai,acme,proj_example,key_example_2,proxy,,2025-01-01,
"""

BILLED = {
    5: D("0.895874"),
    6: D("0.56177125"),
    7: D("0.569788"),
    8: D("0.5455665"),
    10: D("0.3409"),
    11: D("0.072054"),
}
USED_AT_LIST = {5: D("0.24726"), 6: D("0.81584275"), 7: D("0.569788"), 10: D("0.3409"), 11: D("0.072054")}


@pytest.fixture(scope="module")
def inputs(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> MatchInputs:
    """The days after `tokengov load-providers`, as the match reads them; this organisation had no proxy."""
    need_real_data("openai_admin_recordings")
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    dated = {"log_start": str(FIRST), "books_start": "2025-10", "as_of": "2025-11-20"}
    home = TestHome(tmp_path_factory.mktemp("openai_days"), url, openai={"account": "acme"}, **dated)
    home.write("directory/provider_keys.csv", REGISTRY)
    assert home.run(LOAD_DAYS, str(FIRST), str(LAST)).succeeded  # key registry, price book, and an empty log
    with scripted_server(recorded()) as server:
        access = {"TOKENGOV_OPENAI_ADMIN_KEY": KEY, "TOKENGOV_OPENAI_BASE_URL": f"{server.url}/v1"}
        loaded = home.command("load-providers", str(FIRST), str(LAST), **access)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "line_items_are_mapped_in_stg_openai__costs: failed" in loaded.stdout + loaded.stderr
    installation = home.installation
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    return gather_inputs(installation, lake, Tables(root=str(installation.tables_dir)), DAYS)


def matched(inputs: MatchInputs, legs: Legs) -> Reconciliation:
    return reconcile(BillingMonth(2025, 10), legs, None, registry=inputs.registry, book=inputs.book, so_far=DAYS)


def test_lines_that_name_nothing_are_an_error_item_and_no_rate(inputs: MatchInputs) -> None:
    """Nothing says that an ungrouped amount is for tokens, so it is not taken for it: it stands apart, whole."""
    legs = inputs.legs["openai"]
    assert legs.missing_report_days == frozenset()  # the 9th and the 12th are proven to be empty
    assert {line.day.day: line.amount for line in legs.costs or ()} == BILLED
    match = matched(inputs, legs)
    assert match.components[Component.NON_TOKEN] == sum(BILLED.values()) == D("2.98595375")
    assert match.components[Component.PROVIDER_RATE] == -sum(USED_AT_LIST.values()) == D("-2.04584475")
    (unmapped,) = [error for error in match.errors if error.code is ErrorCode.UNMAPPED_LINE_ITEM]
    assert (unmapped.key, unmapped.amount) == ("no name", D("2.98595375"))
    assert "on 6 days: 2025-10-05, 2025-10-06, 2025-10-07, 2025-10-08, 2025-10-10, ..." in unmapped.what
    assert match.gap == match.states["W7"] == D("2.98595375")


@pytest.fixture
def as_tokens(inputs: MatchInputs) -> Reconciliation:
    """The same days once a reviewer has said what those lines are."""
    legs = inputs.legs["openai"]
    lines = [dataclasses.replace(line, cost_type="tokens") for line in legs.costs or ()]
    return matched(inputs, dataclasses.replace(legs, costs=lines))


def test_the_days_that_agree_have_no_rate_and_the_others_their_exact_difference(as_tokens: Reconciliation) -> None:
    variance: dict[int, Decimal] = defaultdict(Decimal)
    for cell in as_tokens.rate_cells:
        variance[cell.day.day] += cell.variance
    assert variance == {
        5: D("0.648614"),
        6: D("-0.2540715"),
        7: D(0),
        8: D("0.5455665"),
        10: D(0),
        11: D(0),
    }
    assert as_tokens.components[Component.PROVIDER_RATE] == sum(variance.values()) == D("0.940109")


def test_the_day_that_is_billed_without_a_usage_row_is_seen(as_tokens: Reconciliation) -> None:
    (billed,) = [cell for cell in as_tokens.rate_cells if cell.day == dt.date(2025, 10, 8)]
    assert (billed.reported, billed.listed, billed.variance) == (D("0.5455665"), {}, D("0.5455665"))
    assert [cell for cell in as_tokens.cells if cell.day == dt.date(2025, 10, 8)] == []
    used = {cell.day.day for cell in as_tokens.rate_cells if cell.listed}
    assert used == set(USED_AT_LIST)


def test_usage_without_a_log_is_a_missing_extract_and_never_bypass(as_tokens: Reconciliation) -> None:
    assert as_tokens.components[Component.UNPROXIED] == 0
    assert as_tokens.components[Component.VOLUME] == D("2.04584475")
    (missing,) = [error for error in as_tokens.errors if error.code is ErrorCode.MISSING_EXTRACT]
    assert (missing.tokens, missing.amount) == (889_170, D("2.04584475"))
