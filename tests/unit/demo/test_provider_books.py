"""The provider side of the demo: what the reports show against the invoices, the answers and the log, exactly."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.unit.demo.conftest import Run, simulate
from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.metering import ROW_CAUSES
from tokengov_pipelines.demo.organisation import BYPASS_KEY, PROVIDER_KEYS
from tokengov_pipelines.demo.prices import TOKEN_TYPES
from tokengov_pipelines.demo.provider_books import REPORTING, build_provider_books
from tokengov_pipelines.demo.providers.books import COUNTS, ProviderBooks
from tokengov_pipelines.demo.providers.books_file import BooksFileError, books_from_json, books_to_json
from tokengov_pipelines.domain.money import exact_sum

SEEDS = (7, 20_261_105)
_OCTOBER_14 = date(2026, 10, 14)


@pytest.fixture(scope="module", params=SEEDS)
def small(request: pytest.FixtureRequest) -> tuple[Run, ProviderBooks]:
    run = simulate(3_000, request.param)
    return run, build_provider_books(run.tally)


@pytest.fixture(scope="module")
def books(run: Run) -> ProviderBooks:
    return build_provider_books(run.tally)


def cost(books: ProviderBooks, month: str, provider: str, cost_type: str | None = None) -> Decimal:
    return exact_sum(
        cell.amount
        for cell in books.costs
        if incidents.month_of(cell.day) == month and cell.provider == provider and cost_type in (None, cell.cost_type)
    )


def test_the_books_are_the_answers_by_month_and_key(small: tuple[Run, ProviderBooks]) -> None:
    """The answers are priced by month, the books by day."""
    run, books = small
    tokens: dict[tuple[str, str | None], dict[str, int]] = defaultdict(lambda: dict.fromkeys(TOKEN_TYPES, 0))
    searches: dict[tuple[str, str | None], int] = defaultdict(int)
    for cell in books.usage:
        key = incidents.month_of(cell.day), cell.key_id
        searches[key] += cell.web_searches
        for name in TOKEN_TYPES:
            tokens[key][name] += getattr(cell, name)
    costs: dict[tuple[str, str | None, str], list[Decimal]] = defaultdict(list)
    for entry in books.costs:
        costs[incidents.month_of(entry.day), entry.key_id, entry.cost_type].append(entry.amount)
    expected = {(month, row["provider_key_id"]): row for month, rows in run.truth.reported.items() for row in rows}
    assert set(tokens) == set(expected)
    assert {month for month, _ in expected} == {"2026-06", "2026-07", "2026-08", "2026-09", "2026-10", "2026-11"}
    for (month, key_id), row in expected.items():
        assert tokens[month, key_id] == row["tokens"]
        assert searches[month, key_id] == row["web_searches"]
        assert exact_sum(costs[month, key_id, "tokens"]) == Decimal(row["token_cost_usd"])
        assert exact_sum(costs[month, key_id, "web_search"]) == Decimal(row["web_search_cost_usd"])


def test_the_reports_are_the_invoices_charges_without_their_rounding(small: tuple[Run, ProviderBooks]) -> None:
    run, books = small
    for month in incidents.INVOICED_MONTHS:
        for billed in run.invoices[month]:
            provider = billed.invoice.provider
            if provider not in REPORTING:
                continue
            assert cost(books, month, provider, "tokens") == billed.amount_of("usage") - billed.rounding
            assert cost(books, month, provider, "web_search") == billed.amount_of("non_token")
            assert cost(books, month, provider) == billed.invoice.lines_total - billed.rounding


def test_every_invoice_line_is_its_reports_rounded_to_cents(run: Run, books: ProviderBooks) -> None:
    names = {workspace.id: workspace.name for workspace in books.workspaces}
    reported: dict[tuple[object, ...], list[Decimal]] = defaultdict(list)
    for cell in books.costs:
        if cell.cost_type == "tokens":
            where = incidents.month_of(cell.day), cell.provider, names[cell.workspace_id or ""]
            reported[(*where, cell.model, cell.service_tier, cell.token_type)].append(cell.amount)
    lines = {
        (month, billed.invoice.provider, line.workspace, line.model, line.service_tier, line.token_type): line.amount
        for month in incidents.INVOICED_MONTHS
        for billed in run.invoices[month]
        if billed.invoice.provider in REPORTING
        for line in billed.invoice.lines
        if line.kind == "usage"
    }
    invoiced = {key: amounts for key, amounts in reported.items() if key[0] in incidents.INVOICED_MONTHS}
    assert set(invoiced) == set(lines)
    assert all(abs(exact_sum(invoiced[key]) - amount) <= Decimal("0.005") for key, amount in lines.items())


def test_log_and_reports_differ_exactly_as_planted(small: tuple[Run, ProviderBooks]) -> None:
    run, books = small
    for month in incidents.INVOICED_MONTHS:
        for provider in REPORTING:
            planted = run.truth.months[month][provider]
            causes = exact_sum(planted.causes[name] for name in ("bypass_key", *ROW_CAUSES, "web_search"))
            assert cost(books, month, provider) - planted.logged_spend == causes
            assert (causes == 0) == (month in incidents.CLEAN_MONTHS)


def test_the_bypass_key_has_a_workspace_and_a_creator_but_no_call_in_the_log(run: Run, books: ProviderBooks) -> None:
    bypass = PROVIDER_KEYS[BYPASS_KEY]
    cells = [cell for cell in books.usage if cell.key_id == bypass.provider_key_id]
    assert {cell.day for cell in cells} <= {day for day in run.tally.meter if day in incidents.BYPASS_DAYS}
    assert sum(cell.requests for cell in cells) == run.truth.incident("bypass_key")["calls"]
    (key,) = [key for key in books.keys if key.id == bypass.provider_key_id]
    (creator,) = [user for user in books.users if user.id == key.created_by]
    assert creator.email == "rohit.kulkarni@example.com"
    (workspace,) = [workspace for workspace in books.workspaces if workspace.id == key.workspace_id]
    assert (workspace.name, {cell.workspace_id for cell in cells}) == (bypass.workspace, {workspace.id})


def test_every_registered_key_that_reports_is_listed_and_every_cell_has_one(books: ProviderBooks) -> None:
    registered = {key.provider_key_id for key in PROVIDER_KEYS if key.provider in REPORTING}
    assert {key.id for key in books.keys} == registered
    assert {cell.key_id for cell in books.usage} == registered
    assert {cell.key_id for cell in books.costs} == registered


def test_the_file_reads_back_and_the_same_run_gives_the_same_bytes(run: Run, books: ProviderBooks) -> None:
    text = books_to_json(books)
    assert books_from_json(text) == books
    again = books_to_json(build_provider_books(simulate(run.truth.calls, run.truth.seed).tally))
    assert again == text
    assert "E-" not in text


def test_a_file_of_another_form_is_refused_with_the_fix() -> None:
    with pytest.raises(BooksFileError, match="make demo-clean"):
        books_from_json('{"form": "tokengov-demo-provider-books/0"}')


def test_revised_books_differ_on_one_day_of_one_provider(books: ProviderBooks) -> None:
    refreshed = datetime(2026, 11, 6, tzinfo=UTC)
    revised = books.revised("anthropic", _OCTOBER_14, factor=3, refreshed_at=refreshed)
    assert revised.refreshed_at == refreshed
    for before, after in zip(books.usage, revised.usage, strict=True):
        moved = (before.provider, before.day) == ("anthropic", _OCTOBER_14)
        counts = {name: getattr(before, name) * (3 if moved else 1) for name in COUNTS}
        assert after == replace(before, **counts)
    for entry, other in zip(books.costs, revised.costs, strict=True):
        factor = 3 if (entry.provider, entry.day) == ("anthropic", _OCTOBER_14) else 1
        assert (other.amount, other.quantity) == (entry.amount * factor, entry.quantity and entry.quantity * factor)


def test_a_factor_of_zero_takes_the_day_away(books: ProviderBooks) -> None:
    revised = books.revised("openai", _OCTOBER_14, factor=0)
    gone = [cell for cell in books.usage if cell not in revised.usage]
    assert {(cell.provider, cell.day) for cell in gone} == {("openai", _OCTOBER_14)}
    assert not [cell for cell in revised.costs if (cell.provider, cell.day) == ("openai", _OCTOBER_14)]
    assert revised.refreshed_at == books.refreshed_at
