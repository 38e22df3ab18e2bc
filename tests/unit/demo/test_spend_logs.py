"""Rows as LiteLLM writes them: JSON at its real paths, its traps, the same bytes every time."""

import hashlib
import json
from typing import Any

import pytest

from resources.litellm_tables import SPEND_LOGS
from tests.unit.demo.conftest import Run
from tokengov_pipelines.demo.calls import CACHE_HIT, FAILED_SPEND, FAILURE, PARTIAL
from tokengov_pipelines.demo.lake_rows import day_table
from tokengov_pipelines.demo.spend_logs import COLUMNS, copy_lines

_Row = tuple[int, dict[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def october(run: Run) -> list[_Row]:
    """(kind, row, metadata) of every row of October."""
    found = []
    for rows in run.rows():
        if rows.calls.day.month == 10:
            for at, line in zip(rows.at, copy_lines(rows), strict=True):
                row = dict(zip(COLUMNS, line.removesuffix("\n").split("\t"), strict=True))
                found.append((int(rows.calls.kind[at]), row, json.loads(row["metadata"])))
    return found


def test_the_same_bytes_on_every_machine(run: Run) -> None:
    """Known in advance. Where this fails after an intended change of the generator, raise `seed._VERSION` with it."""
    digest = hashlib.sha256()
    for rows in run.rows():
        digest.update("".join(copy_lines(rows)).encode())
    digest.update(run.truth.to_json().encode())
    assert digest.hexdigest()[:16] == "af48e696684591e5"


def test_request_ids_are_unique(october: list[_Row]) -> None:
    assert len({row["request_id"] for _, row, _ in october}) == len(october)
    assert len({row["litellm_call_id"] for _, row, _ in october}) == len(october)


def test_tokens_are_inclusive_even_for_anthropic(october: list[_Row]) -> None:
    for _, row, metadata in october:
        assert int(row["total_tokens"]) == int(row["prompt_tokens"]) + int(row["completion_tokens"])
        usage = metadata["usage_object"]
        if usage and row["custom_llm_provider"] == "anthropic":
            details = usage["prompt_tokens_details"]
            parts = details["text_tokens"] + details["cached_tokens"] + details["cache_creation_tokens"]
            assert parts == int(row["prompt_tokens"])
            created = details["cache_creation_token_details"]
            assert sum(created.values()) == details["cache_creation_tokens"]


def test_the_traps_of_the_log(october: list[_Row]) -> None:
    for kind, row, metadata in october:
        assert row["cache_hit"] in ("True", "False", "None")
        assert row["status"] == ("failure" if kind in (FAILURE, FAILED_SPEND) else "success")
        if kind == CACHE_HIT:
            assert "_cache_hit" in row["request_id"]
            assert (row["cache_hit"], row["spend"]) == ("True", "0.0")
            assert metadata["cost_breakdown"]["total_cost"] > 0  # the avoided cost
        if kind == FAILURE:
            assert row["spend"] == "0.0"
            assert int(row["prompt_tokens"]) > 0  # a local estimate
            assert metadata["usage_object"] is None
        if kind == FAILED_SPEND:
            assert float(row["spend"]) > 0
        if kind == PARTIAL:
            assert metadata["error_information"]["error_code"] == "499"


def test_unpriced_rows_have_tokens_and_no_price(october: list[_Row]) -> None:
    pilot = [(row, metadata) for _, row, metadata in october if row["model"] == "openai/gpt-5.6-terra"]
    unpriced = [(row, metadata) for row, metadata in pilot if row["startTime"] < "2026-10-20"]
    assert unpriced
    for row, metadata in unpriced:
        assert row["spend"] == "0.0"
        assert metadata["model_map_information"]["model_map_value"]["input_cost_per_token"] == 0


def test_stale_rows_carry_the_old_price(october: list[_Row]) -> None:
    prices = {}
    for _, row, metadata in october:
        if row["model"] == "openai/gpt-5.6-sol":
            entry = metadata["model_map_information"]["model_map_value"]
            prices[row["startTime"] >= "2026-10-16"] = entry["output_cost_per_token"]
    assert prices == {False: 20e-06, True: 30e-06}


def test_use_cases_travel_in_both_channels(october: list[_Row]) -> None:
    in_metadata = [m for _, _, m in october if (m["spend_logs_metadata"] or {}).get("use_case")]
    tagged = [row for _, row, _ in october if "use_case:" in row["request_tags"]]
    neither = [row for _, row, m in october if "use_case:" not in row["request_tags"] and not m["spend_logs_metadata"]]
    assert all(len(part) > 0.03 * len(october) for part in (in_metadata, tagged, neither))
    with_agent = [row for _, row, _ in october if row["request_tags"].count("User-Agent:") == 2]
    assert len(with_agent) > 0.9 * len(october)


def test_lake_tables_have_the_schema_and_the_order_of_the_lake(run: Run) -> None:
    for rows in run.rows()[::30]:
        table = day_table(rows)
        assert table.schema == SPEND_LOGS.schema()
        order = list(zip(table["started_at"].to_pylist(), table["request_id"].to_pylist(), strict=True))
        assert order == sorted(order)
        assert table.num_rows == len(rows.at)
