"""The Great Expectations suites: what they let pass, what they call broken, and what is only news."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.expectations import KEYS_SUITE, Validator, spend_logs_suite

DAY = dt.date(2026, 10, 5)
GOOD = {
    "started_at": dt.datetime(2026, 10, 5, 23, 59, 59, 999000),
    "key_hash": "k",
    "model": "m",
    "status": "success",
    "cache_hit": "None",
}


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator()


def failures(validator: Validator, folder: Path, *rows: dict[str, object]) -> tuple[list[str], list[str]]:
    path = folder / "load.parquet"
    schema = pa.schema([(name, pa.timestamp("us") if name == "started_at" else pa.string()) for name in GOOD])
    pq.write_table(pa.Table.from_pylist([GOOD, *({**GOOD, **row} for row in rows)], schema=schema), path)
    return validator.failures(spend_logs_suite(DAY), str(path))


def test_a_good_day_passes_with_null_status_of_old_rows(validator: Validator, tmp_path: Path) -> None:
    assert failures(validator, tmp_path, {"status": None, "cache_hit": ""}) == ([], [])


def test_a_row_of_another_day_breaks_the_structure(validator: Validator, tmp_path: Path) -> None:
    structure, news = failures(validator, tmp_path, {"started_at": dt.datetime(2026, 10, 6)})
    assert structure == [
        "litellm_spend_logs.started_at: 1 rows fail expect_column_values_to_be_between, for example 2026-10-06 00:00:00"
    ]
    assert news == []


def test_a_row_without_key_breaks_the_structure_and_a_new_word_is_news(validator: Validator, tmp_path: Path) -> None:
    structure, news = failures(validator, tmp_path, {"key_hash": None}, {"status": "throttled"})
    assert structure == ["litellm_spend_logs.key_hash: 1 rows fail expect_column_values_to_not_be_null"]
    assert news == ["litellm_spend_logs.status: 1 rows fail expect_column_values_to_be_in_set, for example throttled"]


def test_two_keys_with_one_hash_are_not_identified(validator: Validator, tmp_path: Path) -> None:
    path = tmp_path / "keys.parquet"
    pq.write_table(pa.table({"key_hash": ["a", "a", "b"]}), path)
    assert validator.failures(KEYS_SUITE, str(path))[0] == [
        "litellm_keys.key_hash: 2 rows fail expect_column_values_to_be_unique, for example a"
    ]


def test_an_empty_day_has_nothing_to_fail(validator: Validator, tmp_path: Path) -> None:
    schema = pa.schema([(name, pa.timestamp("us") if name == "started_at" else pa.string()) for name in GOOD])
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    assert validator.failures(spend_logs_suite(DAY), str(tmp_path / "empty.parquet")) == ([], [])
