"""chargeback_detail.csv: the drill table, which adds up to chargeback.csv line by line (Rule 6.9).

Belongs here: its key. Does not belong here: its columns, which are those of `chargeback_csv`, and its rows
(`domain.charge_detail`). A user is no column of it (Rule 12.7).
"""

from collections.abc import Iterable

from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.pack.chargeback_csv import COLUMNS, chargeback_cells
from tokengov_pipelines.pack.writer import csv_bytes

CHARGEBACK_DETAIL_CSV = "chargeback_detail.csv"

PRIMARY_KEY = (
    "period",
    "provider",
    "invoice_id",
    "version",
    "original_period",
    "cost_center",
    "charge_type",
    "currency",
    "team_id",
    "model",
    "use_case",
)


def chargeback_detail_csv(lines: Iterable[ChargebackLine]) -> bytes:
    """The file's bytes; without lines it is the header alone."""
    return csv_bytes(COLUMNS, [chargeback_cells(line, is_detail=True) for line in lines], PRIMARY_KEY)
