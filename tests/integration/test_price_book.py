"""The price book from files to lake to checks: what is stored, what changed, who agreed, what the proxy's map says."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from assets.ledger import open_ledger
from assets.price_book import price_book_assets
from assets.price_checks import price_checks
from resources.home import Home
from resources.lake import Lake
from resources.price_approvals import book_events, price_book_blocker
from resources.price_book import (
    PRICE_BOOK,
    PRICE_BOOK_ALIASES,
    PRICE_BOOK_GEO_FACTORS,
    PRICE_BOOK_SCHEMAS,
    PriceBookError,
    PriceBookFiles,
    price_book_of,
    stored_book,
)
from resources.tables import Tables
from tokengov_pipelines.domain.price_files import ALIAS_COLUMNS, PRICE_COLUMNS
from tokengov_pipelines.domain.price_review import diff_books
from tokengov_pipelines.prices_cli import app
from tokengov_pipelines.settings import load_installation

CONTRACT = "anthropic,claude-sonnet-4-6,output,standard,all,0,12,2026-10-01,2026-11-01,contract ACME-7,2026-09-20"
runner = CliRunner(env={"COLUMNS": "200"})


class PricedHome:
    """A home folder with the parts that the price book touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tokengov.yaml").write_text("as_of: 2026-10-06\nlog_start: 2026-10-01\n", encoding="utf-8")
        self.lake = Lake(root=str(folder / "lake"), cache_dir=str(folder / "cache"))
        self.tables = Tables(root=str(folder / "tables"))
        self.files = PriceBookFiles(url=str(folder / "prices"))

    def write(self, name: str, columns: tuple[str, ...], *lines: str) -> None:
        path = self.folder / "prices" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([",".join(columns), *lines, ""]), encoding="utf-8")

    def load(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(price_book_assets(), resources=self._resources())

    def check(self, name: str) -> dg.AssetCheckEvaluation:
        days = dg.DailyPartitionsDefinition(start_date="2026-10-01", end_date="2026-10-06")
        checks = price_checks(days)
        (wanted,) = [each for each in checks if any(key.name == name for key in each.check_keys)]
        job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(wanted))
        keys = {key.asset_key for each in checks for key in each.check_keys}
        definitions = dg.Definitions(
            assets=[dg.AssetSpec(key) for key in keys], asset_checks=checks, jobs=[job], resources=self._resources()
        )
        done = definitions.resolve_job_def("check").execute_in_process(instance=dg.DagsterInstance.ephemeral())
        (evaluation,) = done.get_asset_check_evaluations()
        return evaluation

    def _resources(self) -> dict[str, object]:
        home = Home(path=str(self.folder))
        return {"home": home, "lake": self.lake, "tables": self.tables, "price_files": self.files}

    def run(self, *arguments: str):
        return runner.invoke(app, [*arguments, "--home", str(self.folder)])


@pytest.fixture
def home(tmp_path: Path) -> PricedHome:
    return PricedHome(tmp_path)


def metadata(result: dg.ExecuteInProcessResult, table: str = PRICE_BOOK) -> dict[str, object]:
    (event,) = [
        event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(["raw", table])
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_shipped_book_is_stored_once_and_opened(home):
    told = metadata(home.load())
    assert told["changes"] == "the first book"
    assert told["dagster/row_count"] > 1800
    stored = stored_book(home.lake)
    assert stored is not None
    assert stored.sha256 == told["book"]
    ledger = open_ledger(load_installation(home.folder))
    assert [(event.kind, event.sha256) for event in book_events(ledger)] == [("price_book.opened", stored.sha256)]
    assert ledger.events(kind="price_book.opened")[0].actor == "dagster"
    assert home.check("price_book_is_approved").passed
    again = metadata(home.load())
    assert (again["load"], again["changes"]) == ("unchanged, byte for byte", "since the last load: nothing changed")
    assert len(book_events(ledger)) == 1


def test_the_tables_have_the_agreed_columns_and_give_the_same_book_back(home):
    loaded = home.files.load()
    assert loaded.tables[PRICE_BOOK].schema.names == [
        *("provider", "model", "token_type", "service_tier", "context_band", "context_over_tokens", "usd_per_mtok"),
        *("valid_from", "valid_to", "source", "source_version", "basis"),
    ]
    assert loaded.tables[PRICE_BOOK].schema.field("usd_per_mtok").type == pa.decimal128(18, 6)
    assert loaded.tables[PRICE_BOOK_ALIASES].schema.names == ["provider", "alias", "model"]
    book = price_book_of(*(loaded.tables[name] for name in PRICE_BOOK_SCHEMAS))
    day = dt.date(2026, 3, 12)
    for cell in loaded.book.prices:
        for tokens in (1, 200_001):
            asked = (*cell, tokens, day)
            assert book.unit_price(*asked).usd_per_token == loaded.book.unit_price(*asked).usd_per_token
    us = book.unit_price("anthropic", "claude-opus-4-8", "output", "standard", 1, day, geo="us")
    assert us.usd_per_token == Decimal("0.0000275")
    assert book.model_of("google", "vertex_ai/gemini-2.5-pro") == "gemini-2.5-pro"


def test_a_changed_book_is_in_use_at_once_and_red_until_two_people_agree(home):
    home.load()
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT)
    told = metadata(home.load())
    assert told["changes"] == (
        "since the last load: 1 changed\nanthropic claude-sonnet-4-6 output standard, from 2026-10-01 to 2026-11-01: "
        "15 -> 12 (contract)"
    )
    evaluation = home.check("price_book_is_approved")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "is not approved by two people" in evaluation.description
    assert "tokengov prices approve --prepared-by A --approved-by B" in evaluation.description
    ledger = open_ledger(load_installation(home.folder))
    blocker = price_book_blocker(ledger, home.lake)
    assert blocker is not None
    assert str(blocker) == evaluation.description

    shown = home.run("diff")
    assert shown.exit_code == 0
    assert "anthropic claude-sonnet-4-6 output standard" in shown.output
    assert "12 (contract)" in shown.output
    alone = home.run("approve", "--prepared-by", "ana", "--approved-by", " ANA", "--reason", "ACME-7")
    assert alone.exit_code == 1
    assert "cannot both prepare and approve" in alone.output
    agreed = home.run("approve", "--prepared-by", "ana", "--approved-by", "bo", "--reason", "ACME-7")
    assert agreed.exit_code == 0, agreed.output
    assert home.check("price_book_is_approved").passed
    assert price_book_blocker(ledger, home.lake) is None
    (event,) = ledger.events(kind="price_book.approved")
    assert (event.actor, event.payload["summary"], event.payload["prepared_by"]) == ("bo", "1 changed", "ana")
    assert event.payload["changes"] == [
        "anthropic claude-sonnet-4-6 output standard, from 2026-10-01 to 2026-11-01: 15 -> 12 (contract)"
    ]
    assert (
        "nothing to approve" in home.run("approve", "--prepared-by", "a", "--approved-by", "b", "--reason", "r").output
    )
    assert "are the book that was agreed last" in home.run("diff").output


def test_an_older_book_is_found_again_for_the_difference(home):
    home.load()
    first = stored_book(home.lake)
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT)
    home.load()
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT.replace(",12,", ",11,"))
    home.load()
    assert first is not None
    old, new = stored_book(home.lake, first.sha256), stored_book(home.lake)
    assert old is not None
    assert new is not None
    assert old.content == first.content
    assert [str(change) for change in diff_books(old.content, new.content)] == [
        "anthropic claude-sonnet-4-6 output standard, from 2026-10-01 to 2026-11-01: 15 -> 11 (contract)"
    ]
    assert "11 (contract)" in home.run("diff").output
    assert stored_book(home.lake, "f" * 64) is None


def test_a_problem_in_any_file_refuses_the_book_and_the_old_one_stays(home):
    home.load()
    before = stored_book(home.lake)
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT, CONTRACT.replace(",12,", ",-1,"))
    home.write("model_aliases.csv", ALIAS_COLUMNS, "claude-sonnet-4-6,anthropic,claude-opus-4-8")
    home.write("contract_price.csv", PRICE_COLUMNS)
    with pytest.raises(PriceBookError) as caught:
        home.files.load()
    lines = str(caught.value).splitlines()
    assert lines[0] == f"2 problems in the price files {home.folder / 'prices'}:"
    assert lines[1].startswith("contract_prices.csv:3: usd_per_mtok -1 is below zero. Fix: ")
    assert lines[2].startswith(
        "own model_aliases.csv:2 model: anthropic claude-sonnet-4-6 is claude-sonnet-4-6 in the "
    )
    refused = home.run("check")
    assert refused.exit_code == 1
    assert "2 problems in the price files" in refused.output
    with pytest.raises(PriceBookError):
        home.load()
    assert stored_book(home.lake) == before


def test_no_folder_is_no_contract_unless_it_was_named(home):
    assert {row.basis for row in home.files.load().content.prices} == {"list"}
    with pytest.raises(PriceBookError, match="there is no such folder"):
        PriceBookFiles(url=home.files.url, may_be_absent=False).load()
    (home.folder / "tokengov.yaml").write_text("prices: {url: agreements}\n", encoding="utf-8")
    refused = home.run("check")
    assert refused.exit_code == 1
    assert "there is no such folder" in refused.output


def test_a_file_that_is_not_read_is_named(home):
    home.write("contract_price.csv", PRICE_COLUMNS, CONTRACT)
    (warning,) = home.files.load().warnings
    assert str(warning) == (
        "contract_price.csv: this is no file of the price book, so it is not read. Fix: rename it to "
        "contract_prices.csv, if that is what it is."
    )
    assert "this is no file of the price book" in home.run("check").output


def test_a_model_is_shown_with_every_price_and_its_source(home):
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT)
    shown = home.run("show", "anthropic", "Anthropic/claude-sonnet-4-6", "--day", "2026-10-05")
    assert shown.exit_code == 0, shown.output
    assert "anthropic claude-sonnet-4-6 on 2026-10-05" in shown.output
    assert "contract ACME-7" in shown.output
    assert "from 2026-10-01 until 2026-10-31" in shown.output
    assert "Geography us: token prices times 1.1" in shown.output
    unknown = home.run("show", "anthropic", "claude-nothing")
    assert unknown.exit_code == 1
    assert "Fix: add the name to prices/model_aliases.csv." in unknown.output


def test_the_check_says_that_a_table_was_never_built(home):
    for name in ("the_proxys_prices_agree_with_the_book", "prices_did_not_change"):
        evaluation = home.check(name)
        assert not evaluation.passed
        assert "Fix: materialize raw/price_book." in evaluation.description


def price_map(day: int, output: str | None, calls: int = 10) -> dict[str, object]:
    return {
        "usage_date": dt.date(2026, 10, day), "provider": "anthropic", "model": "anthropic/claude-sonnet-4-6",
        "service_tier": "standard", "map_model_key": "claude-sonnet-4-6",
        "map_input_usd_per_token": Decimal("0.000003"),
        "map_output_usd_per_token": None if output is None else Decimal(output),
        "map_cache_read_usd_per_token": Decimal("0.0000003"), "map_cache_write_usd_per_token": Decimal("0.00000375"),
        "calls": calls, "tokens": calls * 1000,
    }  # fmt: skip


def usage(day: int, output: int, call_class: str = "call", tier: str = "standard") -> dict[str, object]:
    return {
        "usage_date": dt.date(2026, 10, day), "provider": "anthropic", "model": "anthropic/claude-sonnet-4-6",
        "service_tier": tier, "context_over_tokens": 0, "call_class": call_class, "uncached_input_tokens": 500,
        "cache_read_tokens": 0, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0, "output_tokens": output,
    }  # fmt: skip


def write_days(home: PricedHome, table: str, rows: list[dict[str, object]]) -> None:
    for day in sorted({row["usage_date"] for row in rows}):
        mine = [row for row in rows if row["usage_date"] == day]
        content = pa.Table.from_pylist(mine)
        for at, name in enumerate(content.column_names):
            if name.endswith("_usd_per_token"):  # as dbt declares them
                content = content.set_column(at, name, content[name].cast(pa.decimal128(38, 12)))
        home.tables.write(table, f"usage_date={day}", content)


def test_the_proxys_map_is_compared_with_the_book_and_with_the_day_before(home):
    home.load()
    days = [price_map(1, "0.000015"), price_map(2, "0.00002"), price_map(4, "0.00002"), price_map(5, "0.000015")]
    write_days(home, "fct_proxy_price_map_daily", days)
    write_days(
        home,
        "fct_proxy_usage_daily",
        [usage(2, 600_000), usage(2, 400_000), usage(2, 9_000_000, "failure"), usage(4, 7_000_000, tier="batch")],
    )
    agree = home.check("the_proxys_prices_agree_with_the_book")
    assert (agree.passed, agree.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert agree.description.startswith(
        "2026-10-02 to 2026-10-04: anthropic anthropic/claude-sonnet-4-6 output: the proxy's price map says 20 USD per "
        "million tokens, the price book 15 (list, genai-prices"
    )
    assert "20 calls of 20,000 tokens, logged 5.00 USD more at standard prices" in agree.description
    assert agree.metadata["looked_at"].value == "2026-10-01 to 2026-10-05"
    assert agree.metadata["red"].value == "2026-10-02, 2026-10-04"
    changed = home.check("prices_did_not_change")
    assert changed.severity == dg.AssetCheckSeverity.WARN
    first, second, *_ = changed.description.splitlines()
    assert first.startswith("2026-10-02: anthropic anthropic/claude-sonnet-4-6 output: the proxy's price map says 20 ")
    assert "and said 15 on 2026-10-01; 10 calls" in first
    assert second.startswith("2026-10-05: anthropic anthropic/claude-sonnet-4-6 output: ")
    assert changed.metadata["red"].value == "2026-10-02, 2026-10-05"


def test_a_price_of_the_book_that_begins_in_the_days_is_told(home):
    home.write("contract_prices.csv", PRICE_COLUMNS, CONTRACT.replace("2026-10-01", "2026-10-03"))
    home.load()
    write_days(home, "fct_proxy_price_map_daily", [price_map(2, "0.000015"), price_map(3, "0.000015")])
    changed = home.check("prices_did_not_change")
    assert changed.description.startswith(
        "2026-10-03: anthropic claude-sonnet-4-6 output standard: the price book says 12 USD per million tokens from "
        "this day on, and 15 before (contract ACME-7)"
    )
    agree = home.check("the_proxys_prices_agree_with_the_book")
    assert "the price book 12 (contract, contract ACME-7)" in agree.description
    assert agree.metadata["red"].value == "2026-10-03"


def test_equal_prices_are_green(home):
    home.load()
    write_days(home, "fct_proxy_price_map_daily", [price_map(2, "0.000015"), price_map(3, "0.000015")])
    assert home.check("the_proxys_prices_agree_with_the_book").description == (
        "the proxy's price map agrees with the price book"
    )
    assert home.check("prices_did_not_change").description == "no price changed"
    assert home.check("used_models_are_priced").passed


def test_all_tables_of_a_book_are_stored_together(home):
    result = home.load()
    assert {event.asset_key.path[-1] for event in result.get_asset_materialization_events()} == {
        PRICE_BOOK,
        PRICE_BOOK_ALIASES,
        PRICE_BOOK_GEO_FACTORS,
    }
