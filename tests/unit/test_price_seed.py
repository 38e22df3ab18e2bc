"""The checked-in price list is what the installed genai-prices and the reviewed files give."""

import csv
from importlib.util import find_spec

import pytest

if find_spec("genai_prices") is None:
    pytest.skip("genai-prices is a development package: pip install -e '.[dev]'", allow_module_level=True)

from scripts.price_seed import PRICES, main, seed_files


def test_the_checked_in_files_are_what_the_script_makes(capsys):
    assert main(["--check"]) == 0
    assert "changed: none" in capsys.readouterr().out


def test_the_files_come_out_the_same_every_time_and_stay_readable():
    first = seed_files()
    assert seed_files() == first
    assert {name: len(text.splitlines()) for name, text in first.items()}.keys() == {
        "price_list.csv",
        "model_aliases.csv",
    }
    assert all(len(text.splitlines()) < 3000 for text in first.values())


def test_every_price_says_what_it_stands_on():
    sources = {line["source"].partition(": ")[0] for line in _rows("price_list.csv")}
    assert sources == {
        "genai-prices",
        "genai-prices:start-not-stated",
        "genai-prices:same-as-standard",
        "derived:carried-back",
        "derived:half-of-standard",
        "reviewed",
    }
    derived = [line for line in _rows("price_list.csv") if line["source"].startswith("derived")]
    assert {line["service_tier"] for line in derived} == {"batch"}


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((PRICES / name).open(encoding="utf-8")))
