"""The words that dbt writes are the words that Python reads: one list, held equal here."""

import re
from pathlib import Path

import pytest

from tokengov_pipelines.domain.attribution import CallClass, Disposition, Rung, ScreeningReason

VOCABULARY = Path(__file__).parents[3] / "dbt_project" / "macros" / "vocabulary.sql"


def dbt_words(name: str) -> list[str]:
    listed = re.search(rf"'{name}': \[(.*?)\]", VOCABULARY.read_text(encoding="utf-8"), re.DOTALL)
    assert listed, f"{VOCABULARY.name} has no list {name}"
    return re.findall(r"'(\w+)'", listed[1])


@pytest.mark.parametrize(
    ("name", "words"),
    [("rung", Rung), ("call_class", CallClass), ("disposition", Disposition), ("reason", ScreeningReason)],
)
def test_dbt_and_python_use_the_same_words_in_the_same_order(name, words):
    assert dbt_words(name) == [str(word) for word in words]


def test_rungs_are_numbered_as_in_the_rule_book():
    assert [(rung.number, str(rung)) for rung in Rung] == [
        (1, "team_metadata"),
        (2, "directory_team"),
        (3, "service_registry"),
        (4, "directory_user"),
        (5, "suspense"),
    ]
