"""The pack's own files read back: what is shown to people is taken from the bytes that tie (rule 11.7).

Belongs here: rows of a CSV file of the pack, and what several readers ask of them. Does not belong here: the control
totals (`control_totals`) and what a page or a tab shows (`report_figures`, `workbook`).
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV

Row = Mapping[str, str]

DEFAULT_CURRENCY: Final = "USD"


def rows_of(files: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    """The rows of a file by column; none where the pack lacks it."""
    content = files.get(name)
    return [] if content is None else list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def functional_currency(files: Mapping[str, bytes], totals: Mapping[str, Any]) -> str:
    """The currency of `amount_functional`: what the control totals name, else that of lines that were not converted."""
    named = totals.get("functional_currency")
    if isinstance(named, str):
        return named
    return _unconverted(rows_of(files, CHARGEBACK_CSV)) or DEFAULT_CURRENCY


def _unconverted(rows: Sequence[Row]) -> str | None:
    same = {row["currency"] for row in rows if row["fx_rate"] == "1" and row["amount"] == row["amount_functional"]}
    return same.pop() if len(same) == 1 else None
