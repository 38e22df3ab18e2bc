"""Great Expectations on raw tables: suites over one partition at a time, with only the columns that a suite reads.

Belongs here: the suites and running one on a Parquet file. Does not belong here: which checks exist and what they
block (`assets.checks`), rules about single calls (quarantine is dbt's).

Great Expectations is imported inside the function: it takes seconds, and most processes never need it.
"""

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

Expectation = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Suite:
    """Expectations by class name. `structure` breaks the day's numbers when it fails; `vocabulary` is news to read."""

    table: str
    structure: tuple[Expectation, ...]
    vocabulary: tuple[Expectation, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns to read, and no others."""
        return sorted({str(arguments["column"]) for _, arguments in (*self.structure, *self.vocabulary)})


def spend_logs_suite(day: dt.date) -> Suite:
    """Rows of one UTC day: timed inside the day and counted; words of LiteLLM 1.106 (facts: `cache_hit` is text)."""
    start = dt.datetime.combine(day, dt.time())
    return Suite(
        table="litellm_spend_logs",
        structure=(
            ("ExpectColumnValuesToNotBeNull", {"column": "started_at"}),
            (
                "ExpectColumnValuesToBeBetween",
                {
                    "column": "started_at",
                    "min_value": start,
                    "max_value": start + dt.timedelta(days=1),
                    "strict_max": True,
                },
            ),
            ("ExpectColumnValuesToNotBeNull", {"column": "key_hash"}),
            ("ExpectColumnValuesToNotBeNull", {"column": "model"}),
        ),
        vocabulary=(
            ("ExpectColumnValuesToBeInSet", {"column": "status", "value_set": ["success", "failure"]}),
            ("ExpectColumnValuesToBeInSet", {"column": "cache_hit", "value_set": ["True", "False", "None", ""]}),
        ),
    )


TEAMS_SUITE = Suite(
    table="litellm_teams",
    structure=(
        ("ExpectColumnValuesToNotBeNull", {"column": "team_id"}),
        ("ExpectColumnValuesToBeUnique", {"column": "team_id"}),
    ),
)
KEYS_SUITE = Suite(
    table="litellm_keys",
    structure=(
        ("ExpectColumnValuesToNotBeNull", {"column": "key_hash"}),
        ("ExpectColumnValuesToBeUnique", {"column": "key_hash"}),
    ),
)


class Validator:
    """One Great Expectations context for a whole check, progress bars and analytics off."""

    def __init__(self) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self._gx = gx
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = self._context.data_sources.add_pandas("lake").add_dataframe_asset("partition")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def failures(self, suite: Suite, path: str) -> tuple[list[str], list[str]]:
        """What a Parquet file does not meet, in words: (structure, vocabulary)."""
        frame = pq.read_table(path, columns=suite.columns, partitioning=None).to_pandas()
        if frame.empty:
            return [], []
        batch = self._batches.get_batch({"dataframe": frame})
        made = [
            getattr(self._gx.expectations, name)(**arguments, meta={"part": part})
            for part, expectations in (("structure", suite.structure), ("vocabulary", suite.vocabulary))
            for name, arguments in expectations
        ]
        result = batch.validate(self._gx.ExpectationSuite(name=suite.table, expectations=made))
        words: dict[str, list[str]] = {"structure": [], "vocabulary": []}
        for outcome in result.results:
            if not outcome.success:
                config = outcome.expectation_config
                words[config.meta["part"]].append(_in_words(suite.table, config.type, config.kwargs, outcome.result))
        return words["structure"], words["vocabulary"]


def _in_words(table: str, expectation: str, arguments: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    listed = result.get("partial_unexpected_list") or []
    unexpected = [value for value in listed if value is not None and value == value]  # NaN stands for null
    examples = sorted({str(value)[:40] for value in unexpected})[:3]
    count = result.get("unexpected_count", "some")
    shown = f", for example {', '.join(examples)}" if examples else ""
    return f"{table}.{arguments['column']}: {count} rows fail {expectation}{shown}"
