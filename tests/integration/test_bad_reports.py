"""Bad reports and rows through the product's own readers, up to the match: named, held back, and nothing is guessed.

A day of this proxy is one call of gpt-4o: a million tokens in and a hundred thousand out, 2.50 + 1.00 USD at list.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.reconciliation_inputs import MatchInputs, gather_inputs
from resources.invoice_files import InvoiceError
from resources.invoices import InvoiceFolder
from resources.lake import Lake
from resources.tables import Tables
from tests.conftest import REPOSITORY, run_sql_file
from tests.installation import TestHome, insert_call
from tests.integration.test_openai_source import KEY, Organisation, completions, cost
from tests.provider_fixture import ScriptedServer, scripted_server
from tokengov_pipelines.domain.match_result import Component, ErrorCode, MatchError
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus
from tokengov_pipelines.jobs import LOAD_DAYS

D = Decimal
FIRST, LAST = dt.date(2026, 10, 1), dt.date(2026, 10, 5)
DAYS = InvoicePeriod.from_printed(FIRST, LAST)
MODEL, NEW_MODEL = "gpt-4o-2024-08-06", "gpt-9-2026-10-04"
IN_CENTS, CONTRADICTORY, NEW, NEGATIVE = (dt.date(2026, 10, day) for day in (2, 3, 4, 5))
REGISTRY = """provider,account,workspace,provider_key_id,role,owner_cost_center,valid_from,valid_to
openai,acme,proj_1,key_1,proxy,,2026-01-01,
"""


def used(**counts: Any) -> dict[str, Any]:
    return completions(
        **{"model": MODEL, "input_tokens": 1_000_000, "output_tokens": 100_000, "num_model_requests": 1,
           "input_cached_tokens": 0, "input_cache_write_tokens": 0, **counts}
    )  # fmt: skip


def billed(*amounts: str, model: str = MODEL) -> list[dict[str, Any]]:
    return [
        cost(amount, line_item=f"{model}, {kind}") for kind, amount in zip(("input", "output"), amounts, strict=False)
    ]


def organisation(page_size: int = 31, *, expires_once: bool = False) -> Organisation:
    """Five days as the provider reports them, in pages; three of the days are wrong."""
    answers = Organisation(page_size, expires_once=expires_once)
    for day in DAYS.days():
        answers.report("completions", day, used())
        answers.report("costs", day, *billed("2.5", "1"))
    answers.report("costs", IN_CENTS, *billed("250", "100"))  # cents where there were dollars
    # 1,250,000 cached tokens of a million: the uncached ones would be -250,000.
    answers.report("completions", CONTRADICTORY, used(input_cached_tokens=1_250_000))
    answers.report("completions", NEW, used(), used(model=NEW_MODEL, output_tokens=0))
    answers.report("costs", NEW, *billed("2.5", "1"), *billed("7", model=NEW_MODEL))
    return answers


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What loading said, and what the match then reads."""

    said: str
    succeeded: bool
    inputs: MatchInputs

    def match(self) -> Reconciliation:
        legs = self.inputs.legs["openai"]
        return reconcile(
            BillingMonth(2026, 10), legs, None, registry=self.inputs.registry, book=self.inputs.book, so_far=DAYS
        )


def load(home: TestHome, server: ScriptedServer, answers: Organisation) -> Loaded:
    server.play(answers)
    access = {"TOKENGOV_OPENAI_ADMIN_KEY": KEY, "TOKENGOV_OPENAI_BASE_URL": f"{server.url}/v1"}
    done = home.command("load-providers", str(FIRST), str(LAST), **access)
    installation = home.installation
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    read = gather_inputs(installation, lake, Tables(root=str(installation.tables_dir)), DAYS)
    return Loaded(done.stdout + done.stderr, done.returncode == 0, read)


@pytest.fixture(scope="module")
def home(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    """Five days of the log, with one row more whose tokens are below zero."""
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    counts = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "total_tokens": 1_100_000}
    for day in DAYS.days():
        insert_call(url, f"call-{day}", f"{day} 12:00:00", 3.5, model=MODEL, **counts)
    below_zero = {"prompt_tokens": -100, "completion_tokens": 20, "total_tokens": -80}
    insert_call(url, "call-below-zero", f"{NEGATIVE} 13:00:00", 0.5, model=MODEL, **below_zero)
    dated = {"log_start": str(FIRST), "books_start": "2026-10", "as_of": "2026-10-20"}
    home = TestHome(tmp_path_factory.mktemp("bad_reports"), url, openai={"account": "acme"}, **dated)
    home.write("directory/provider_keys.csv", REGISTRY)
    assert home.run(LOAD_DAYS, str(FIRST), str(LAST)).succeeded
    return home


@pytest.fixture(scope="module")
def without_a_page(home: TestHome, server: ScriptedServer) -> Loaded:
    """The cost report ends after its first page of two days, as if there were no more."""
    answers = organisation(page_size=2)

    def ends_early(request: Any) -> Any:
        return answers._report(request, answers.rows["costs"]) | {"has_more": False, "next_page": None}

    answers.instead["costs"] = ends_early
    return load(home, server, answers)


@pytest.fixture(scope="module")
def whole(home: TestHome, server: ScriptedServer, without_a_page: Loaded) -> Loaded:
    """Then everything comes, a day a page, and the first cursor has expired."""
    return load(home, server, organisation(page_size=1, expires_once=True))


def test_a_missing_page_fails_the_load_and_its_days_are_missing_reports(without_a_page: Loaded) -> None:
    assert not without_a_page.succeeded
    lacking = "costs of 2026-10-01 to 2026-10-05, page 1: data holds no bucket for 2026-10-03, 2026-10-04, 2026-10-05."
    assert f"{lacking} Fix: run it again" in without_a_page.said
    legs = without_a_page.inputs.legs["openai"]
    assert legs.missing_report_days == frozenset(DAYS.days())
    assert (legs.usage, legs.costs) == ([], []), "half a window is not half a truth"
    (error,) = without_a_page.match().errors
    assert error.code is ErrorCode.MISSING_REPORT
    assert error.key == "5 days: 2026-10-01, 2026-10-02, 2026-10-03, 2026-10-04, 2026-10-05"
    assert error.fix == "tokengov load-providers 2026-10-01 2026-10-05"


def test_a_cursor_that_expires_half_way_is_begun_again_and_no_row_counts_twice(whole: Loaded) -> None:
    assert whole.succeeded, whole.said
    legs = whole.inputs.legs["openai"]
    assert legs.missing_report_days == frozenset()
    amounts = [(line.day, line.model, line.token_type, line.amount) for line in legs.costs or ()]
    assert len(amounts) == len(set(amounts)) == 11
    assert sum(line.amount for line in legs.costs or () if line.day == FIRST) == D("3.50")


def errors(found: Reconciliation) -> dict[ErrorCode, MatchError]:
    by_code = {error.code: error for error in found.errors}
    assert len(by_code) == len(found.errors)
    return by_code


def test_each_defect_is_named_with_its_day_and_size(home: TestHome, whole: Loaded) -> None:
    found = errors(whole.match())
    assert set(found) == {ErrorCode.UNIT_SUSPECTED, ErrorCode.CONTRADICTORY_USAGE, ErrorCode.UNMAPPED_MODEL}
    unit = found[ErrorCode.UNIT_SUSPECTED]
    assert (unit.key, unit.amount) == (str(IN_CENTS), D("346.50"))
    assert "350.000000000000 USD for usage worth 3.500000000000 USD at list" in unit.what
    contradictory = found[ErrorCode.CONTRADICTORY_USAGE]
    assert (contradictory.key, contradictory.tokens) == (f"{CONTRADICTORY}/{MODEL}/uncached_input", -250_000)
    assert "the row is left out" in contradictory.what
    unmapped = found[ErrorCode.UNMAPPED_MODEL]
    assert (unmapped.key, unmapped.tokens, unmapped.amount) == (NEW_MODEL, 1_000_000, D("7"))
    assert f"it was used on {NEW}" in unmapped.what
    daily = f"{home.folder}/tables/fct_reconciliation_daily/*.parquet"
    days = duckdb.sql(f"select distinct usage_date from '{daily}' where error_items > 0 order by all").fetchall()
    assert [day for (day,) in days] == [IN_CENTS, CONTRADICTORY, NEW]
    # The checks of the load have said the second one before.
    assert "uncached_input_is_not_negative_in_stg_openai__usage: failed" in whole.said


def test_nothing_is_repaired_and_nothing_guessed(whole: Loaded) -> None:
    """Figures by hand: 17.50 logged; the report as it came is 3.50 on three days, 350.00, 3.50 and 7.00."""
    match = whole.match()
    assert (match.logged, match.states["W2"]) == (D("17.50"), D("17.50"))
    assert match.states["W6"] == D("3.50") * 4 + D("350.00") + D("7.00") == D("371.00")
    # The contradictory day: 2.50 of input is not there, 1,250,000 tokens from the cache are 1.5625.
    assert match.states["W4"] == D("17.50") - D("2.50") + D("1.5625")
    assert match.components[Component.PROVIDER_RATE] == D("371.00") - D("16.5625")
    (new,) = [cell for cell in match.cells if cell.day == NEW and cell.model.startswith("?")]
    assert (new.own_tokens, new.usd_per_token, new.proxy_tokens) == (1_000_000, None, 0)
    assert all(cell.own_tokens >= 0 and cell.proxy_tokens >= 0 for cell in match.cells)
    assert sum(match.components.values()) == match.gap == D("353.50")


def test_an_invoice_over_such_days_is_blocked_even_where_it_agrees_with_the_report(
    whole: Loaded, tmp_path: Path
) -> None:
    folder = TestHome(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    folder.invoice("openai", "2026-10", "371.00", "2026-10-31", account="acme")
    (invoice,) = InvoiceFolder(url=str(tmp_path / "invoices")).load().invoices
    inputs = whole.inputs
    found = reconcile(
        BillingMonth(2026, 10), inputs.legs["openai"], invoice, registry=inputs.registry, book=inputs.book
    )
    assert (found.unexplained, found.status) == (D(0), ReconciliationStatus.BLOCKED)


def test_two_invoices_with_one_number_are_refused_with_both_files(tmp_path: Path) -> None:
    folder = TestHome(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    first = folder.invoice("openai", "2026-10", "371.00", "2026-10-31")
    first.rename(first.with_name("first.json"))
    folder.invoice("openai", "2026-10", "24.50", "2026-10-31")
    with pytest.raises(InvoiceError) as refused:
        InvoiceFolder(url=str(tmp_path / "invoices")).load()
    (problem,) = str(refused.value).splitlines()[1:]
    assert "invoice OPENAI-2026-10 of openai is also in first.json with other content" in problem
    assert "Fix: keep the file that says what the provider sent" in problem


def test_a_logged_row_below_zero_is_quarantined_with_its_spend(home: TestHome, whole: Loaded) -> None:
    screened = f"{home.folder}/tables/fct_screening_daily/usage_date={NEGATIVE}.parquet"
    assert duckdb.sql(f"select disposition, reason, calls, spend_usd from '{screened}' order by all").fetchall() == [
        ("accepted", "none", 1, D("3.50")),
        ("quarantined", "negative_tokens", 1, D("0.50")),
    ]
    logged = [row for row in whole.inputs.legs["openai"].logged if row.day == NEGATIVE]
    assert [(row.calls, row.logged) for row in logged] == [(1, D("3.50"))]
