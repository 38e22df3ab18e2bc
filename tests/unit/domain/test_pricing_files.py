"""The files of the price book: contract prices over list prices, names that are added, problems that are all told."""

import datetime as dt
import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.price_files import ALIAS_COLUMNS, GEO_COLUMNS, PRICE_COLUMNS, overlay, read_book
from tokengov_pipelines.domain.pricing import (
    ALIAS_FILE,
    CONTRACT_FILE,
    GEO_FILE,
    PRICE_FILE,
    Basis,
    PriceRow,
    PriceStatus,
    price_book,
)

SLUGS = {"openai": "openai"}
FIRST = dt.date(2026, 1, 1)


def file_of(columns: tuple[str, ...], *lines: str) -> bytes:
    return "\n".join([",".join(columns), *lines, ""]).encode()


def shipped(*prices: str, aliases: tuple[str, ...] = ("m,openai,m",)) -> dict[str, bytes]:
    return {
        PRICE_FILE: file_of(PRICE_COLUMNS, *prices),
        ALIAS_FILE: file_of(ALIAS_COLUMNS, *aliases),
        GEO_FILE: file_of(GEO_COLUMNS),
    }


def contract(*lines: str) -> dict[str, bytes]:
    return {CONTRACT_FILE: file_of(PRICE_COLUMNS, *lines)}


def row(
    day: str = "2026-01-01", end: str | None = None, usd: str = "2", band: tuple[str, int] = ("all", 0)
) -> PriceRow:
    valid = Interval(dt.date.fromisoformat(day), dt.date.fromisoformat(end) if end else None)
    return PriceRow("openai", "m", "output", "standard", *band, Decimal(usd), valid, "test", "1")


LIST = (
    "openai,m,output,standard,0-200k,0,10,1900-01-01,,list,1",
    "openai,m,output,standard,200k+,200000,15,1900-01-01,,list,1",
    "openai,m,output,batch,all,0,5,1900-01-01,,list,1",
    "openai,m,uncached_input,standard,all,0,2,1900-01-01,,list,1",
)


def test_a_contract_price_takes_the_place_of_the_list_in_its_period_and_nowhere_else():
    agreed = "openai,m,output,standard,all,0,8,2026-04-01,2026-07-01,contract ACME-7,2026-03-20"
    tables, book, problems = read_book(shipped(*LIST), contract(agreed), SLUGS)
    assert problems == []
    asked = [("2026-03-31", 1), ("2026-04-01", 1), ("2026-06-30", 300_000), ("2026-07-01", 1), ("2026-07-01", 300_000)]
    answers = [book.unit_price("openai", "m", "output", "standard", n, dt.date.fromisoformat(day)) for day, n in asked]
    assert [str(each.row.usd_per_mtok) for each in answers if each.row] == ["10", "8", "8", "10", "15"]
    assert [str(each.row.basis) for each in answers if each.row] == ["list", "contract", "contract", "list", "list"]
    assert [each.row.source for each in answers if each.row][1] == "contract ACME-7"
    spring = dt.date(2026, 5, 1)
    assert book.unit_price("openai", "m", "output", "batch", 1, spring).usd_per_token == Decimal("0.000005")
    assert book.unit_price("openai", "m", "uncached_input", "standard", 1, spring).usd_per_token == Decimal("0.000002")
    assert sum(1 for each in tables.prices if each.basis is Basis.CONTRACT) == 1


def test_a_contract_may_price_what_the_list_does_not_sell():
    agreed = "openai,m,output,scale,all,0,4,2026-04-01,,contract ACME-7,1"
    _, book, problems = read_book(shipped(*LIST), contract(agreed), SLUGS)
    assert problems == []
    assert book.unit_price("openai", "m", "output", "scale", 1, dt.date(2026, 4, 1)).status is PriceStatus.EXACT
    assert book.unit_price("openai", "m", "output", "scale", 1, dt.date(2026, 3, 31)).status is PriceStatus.MISSING


def test_own_names_are_added_and_never_lead_a_known_name_elsewhere():
    prices = (*LIST, "openai,n,output,standard,all,0,1,1900-01-01,,list,1")
    own = {ALIAS_FILE: file_of(ALIAS_COLUMNS, "my-m,openai,m", "m,openai,m", "m-old,openai,gone")}
    tables, book, problems = read_book(shipped(*prices), own, SLUGS)
    assert [str(problem) for problem in problems] == [
        (
            "own model_aliases.csv:4 model: openai gone has no price. Fix: correct the name, or add the model to "
            "price_list.csv or contract_prices.csv."
        )
    ]
    assert (book.model_of("openai", "openai/My-M"), book.model_of("openai", "nobody")) == ("m", None)
    assert [alias.alias for alias in tables.aliases] == ["m", "m-old", "my-m"]
    own = {ALIAS_FILE: file_of(ALIAS_COLUMNS, "m,openai,n")}
    (problem,) = read_book(shipped(*prices), own, SLUGS)[2]
    assert str(problem) == (
        "own model_aliases.csv:2 model: openai m is m in the reviewed list, and n here. Fix: delete the row; an agreed "
        "price of that name belongs in contract_prices.csv, under m."
    )


def test_a_contract_price_that_no_name_leads_to_is_a_problem():
    agreed = "openai,mm,output,standard,all,0,4,2026-04-01,,contract ACME-7,1"
    (problem,) = read_book(shipped(*LIST), contract(agreed), SLUGS)[2]
    assert str(problem) == (
        "contract_prices.csv:2 model: no alias leads to openai mm, so this price would never be used. Fix: correct the "
        "name, or add the names of the model to model_aliases.csv."
    )
    own = contract(agreed) | {ALIAS_FILE: file_of(ALIAS_COLUMNS, "mm,openai,mm")}
    assert read_book(shipped(*LIST), own, SLUGS)[2] == []


def test_every_problem_of_every_file_is_told_at_once():
    own = contract(
        "openai,m,output,standard,all,0,-4,2026-04-01,,contract ACME-7,1",
        "openai,m,output,standard,all,0,4,2026-04-01,2026-05-01,contract ACME-7,1",
        "openai,m,output,standard,all,0,5,2026-04-15,,contract ACME-7,1",
        "openai,m,words,standard,all,0,5,2026-04-15,,contract ACME-7,1",
        "openai,m,output,standard,all,0,9999999999999,2020-01-01,2020-02-01,contract ACME-7,1",
    ) | {ALIAS_FILE: b"name,model\n"}
    problems = read_book(shipped(*LIST), own, SLUGS)[2]
    assert [(problem.file, problem.row, problem.field) for problem in problems] == [
        (CONTRACT_FILE, 2, None),
        (CONTRACT_FILE, 4, "valid_from"),
        (CONTRACT_FILE, 5, None),
        (CONTRACT_FILE, 6, None),
        ("own model_aliases.csv", 1, None),
    ]
    assert all(str(problem).endswith(".") and "Fix: " in str(problem) for problem in problems)


def test_a_secret_in_a_source_is_refused_and_not_repeated():
    agreed = "openai,m,output,standard,all,0,4,2026-04-01,,sk-abcdefghijklmnopqrstuv,1"
    (problem,) = read_book(shipped(*LIST), contract(agreed), SLUGS)[2]
    assert "looks like a secret" in str(problem)
    assert "abcdef" not in str(problem)


def test_an_unmapped_name_has_no_model_and_so_no_price():
    _, book, _ = read_book(shipped(*LIST), {}, SLUGS)
    assert book.model_of("openai", "m-2026-01-01") is None
    assert book.unit_price("openai", "m-2026-01-01", "output", "standard", 1, FIRST).status is PriceStatus.MISSING


def test_prices_laid_on_top_hold_on_their_days_only():
    base = [row("2026-01-01", band=("0-200k", 0)), row("2026-01-01", band=("200k+", 200_000), usd="4")]
    top = row("2026-02-01", "2026-03-01", usd="1.5")
    book, problems = price_book(overlay(base, [top]), [], SLUGS)
    assert problems == []
    asked = [("2026-01-31", 1), ("2026-01-31", 300_000), ("2026-02-01", 300_000), ("2026-03-01", 300_000)]
    answers = [book.unit_price("openai", "m", "output", "standard", n, dt.date.fromisoformat(day)) for day, n in asked]
    assert [str(answer.row.usd_per_mtok) for answer in answers if answer.row] == ["2", "4", "1.5", "4"]


@given(
    cuts=st.sets(st.integers(1, 300), max_size=6),
    on_top=st.tuples(st.integers(0, 300), st.integers(1, 60)),
    asked=st.integers(0, 400),
)
def test_laying_prices_on_top_never_makes_two_prices_or_a_hole(cuts, on_top, asked):
    first = dt.date(2026, 1, 1)
    starts = [0, *sorted(cuts)]
    days = [first + dt.timedelta(days=start) for start in starts]
    ends = [*days[1:], None]
    base = [
        PriceRow("openai", "m", "output", "standard", "all", 0, Decimal(at), Interval(day, end), "s", "1")
        for at, (day, end) in enumerate(zip(days, ends, strict=True))
    ]
    start, length = on_top
    covered = Interval(first + dt.timedelta(days=start), first + dt.timedelta(days=start + length))
    top = PriceRow("openai", "m", "output", "standard", "all", 0, Decimal("99"), covered, "s", "1")
    book, problems = price_book(overlay(base, [top]), [], SLUGS)
    assert problems == []
    day = first + dt.timedelta(days=asked)
    expected = Decimal(99) if covered.valid_on(day) else Decimal(sum(1 for at in starts[1:] if at <= asked))
    answer = book.unit_price("openai", "m", "output", "standard", 1, day)
    assert answer.row is not None
    assert answer.row.usd_per_mtok == expected


@st.composite
def _dated(draw, base: int) -> list[tuple[Interval, int]]:
    """Prices of some stretches of 400 days that do not overlap; gaps between them are days without a price."""
    cuts = sorted(draw(st.sets(st.integers(0, 400), min_size=2, max_size=8)))
    kept = [
        (FIRST + dt.timedelta(days=start), FIRST + dt.timedelta(days=end))
        for start, end in itertools.pairwise(cuts)
        if draw(st.booleans())
    ]
    return [(Interval(start, end), base + at) for at, (start, end) in enumerate(kept)]


@given(listed=_dated(100), agreed=_dated(500), asked=st.integers(0, 420))
def test_the_price_of_any_day_is_the_contracts_where_it_has_one_else_the_lists(listed, agreed, asked):
    def rows(dated: list[tuple[Interval, int]], basis: Basis) -> list[PriceRow]:
        return [
            PriceRow("openai", "m", "output", "standard", "all", 0, Decimal(usd), valid, str(basis), "1", basis=basis)
            for valid, usd in dated
        ]

    day = FIRST + dt.timedelta(days=asked)
    book, problems = price_book(overlay(rows(listed, Basis.LIST), rows(agreed, Basis.CONTRACT)), [], SLUGS)
    assert [problem for problem in problems if "no alias leads to" not in problem.what] == []
    by_contract = next((usd for valid, usd in agreed if valid.valid_on(day)), None)
    by_list = next((usd for valid, usd in listed if valid.valid_on(day)), None)
    answer = book.unit_price("openai", "m", "output", "standard", 1, day)
    if by_contract is None and by_list is None:
        assert answer.status is PriceStatus.MISSING
    else:
        assert answer.row is not None
        assert answer.row.usd_per_mtok == (by_list if by_contract is None else by_contract)
        assert answer.row.basis is (Basis.LIST if by_contract is None else Basis.CONTRACT)


@pytest.mark.parametrize("bands", [(("0-200k", 0),), (("200k+", 200_000),)])
def test_a_contract_that_prices_one_band_only_is_a_problem(bands):
    lines = [f"openai,m,output,standard,{word},{over},4,2026-04-01,,contract,1" for word, over in bands]
    problems = read_book(shipped(*LIST), contract(*lines), SLUGS)[2]
    assert [problem.file for problem in problems] == [CONTRACT_FILE]
