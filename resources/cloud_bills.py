"""The drop folder of the clouds' bills: one sub-folder a source, in it the export as the cloud writes it.

Belongs here: finding and reading the files of every source, and replacing their billing periods in the lake. Does not
belong here: one file (`resources.cloud_bill_files`), which files belong together (`resources.cloud_bill_periods`), the
tables (`resources.cloud_bill_tables`), what a charge means (`tokengov_pipelines.domain.cloud_charge`).

A billing period of a source is replaced whole and never added to, because the clouds rewrite it until it is final. All
files of one folder are parts of one export. Whatever is unclear (a file that cannot be read, two exports of one period)
refuses the period, and the load before it stays.
"""

import datetime as dt
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from resources.cloud_bill_files import ENDINGS, BillFile, Bucket, read_bill_file
from resources.cloud_bill_periods import SourceBills, misplaced_files, resolve, told_apart
from resources.cloud_bill_tables import CHARGES, CONTROLS, charges_partition, from_rows, to_batch
from resources.drop_folder import FolderError, without_password
from resources.lake import Lake, LoadOutcome
from tokengov_pipelines.domain.cloud_charge import Charge

_SOURCE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)


class CloudBillError(RuntimeError):
    """The folder of bills cannot be read at all; the text names it and the fix."""


@dataclass(frozen=True)
class BillLoad:
    """A source after loading: the outcome of every period's replacement, by period."""

    bills: SourceBills
    outcomes: Mapping[str, LoadOutcome]


class CloudBillFolder(dg.ConfigurableResource):
    """The folder `<url>/<source>/...` with each cloud's export; see docs/cloud-bills.md. An empty url: none is read.

    `token_units` says how many tokens a unit is that does not say so itself, such as Marketplace's 'Units'.
    """

    url: str = ""
    token_units: dict[str, int] = Field(default_factory=dict)

    def read(self) -> list[SourceBills]:
        """Read every source, by name. What is wrong with a file is in `problems`.

        Raises:
            CloudBillError: there is no such folder, or it cannot be read.
        """
        found, misplaced = self._files()
        read = [
            resolve(source, [self._read_file(source, inside) for inside in paths])
            for source, paths in sorted(found.items())
        ]
        return told_apart([*read, *([misplaced_files(misplaced)] if misplaced else [])])

    def load(self, lake: Lake, now: dt.datetime) -> list[BillLoad]:
        """Read every source and replace the periods that it holds; a period that is unclear stays as it was.

        Charges of a source whose folder is gone stay, because clouds let old exports expire; its totals do not.
        """
        loads = [self._load(lake, bills, now) for bills in self.read()]
        here = {f"source={load.bills.source}" for load in loads}
        for gone in set(lake.partitions(CONTROLS.name)) - here:
            _write_controls(lake, gone, [], now)
        return loads

    # --- files -------------------------------------------------------------------------------------------------------

    def _files(self) -> tuple[dict[str, list[str]], list[str]]:
        """Paths below every source's folder, and the files that lie in none."""
        fs, base = _opened(self.url)
        try:
            fs.invalidate_cache()
            if not fs.isdir(base):
                raise FolderError(
                    without_password(self.url), "there is no such folder", "create it, or correct its url"
                )
            paths = sorted(str(path) for path in fs.find(base))
        except FolderError as error:
            raise CloudBillError(str(error)) from error
        except Exception as error:  # each file system raises its own: missing credentials are no OSError on S3
            message = (
                f"{without_password(self.url)}: cannot be read ({type(error).__name__}). "
                "Fix: check its url and its permissions."
            )
            raise CloudBillError(message) from error
        found: dict[str, list[str]] = defaultdict(list)
        misplaced = []
        for path in paths:
            inside = path[len(base.rstrip("/")) + 1 :]
            name = inside.rsplit("/", 1)[-1]
            if not name.lower().endswith(ENDINGS) or name.startswith((".", "~", "_")):
                continue  # manifests, metadata and lock files
            source, slash, _ = inside.partition("/")
            if slash and _SOURCE.fullmatch(source):
                found[source].append(inside)
            else:
                misplaced.append(inside)
        return found, misplaced

    def _read_file(self, source: str, inside: str) -> BillFile:
        with local_copy(f"{self.url.rstrip('/')}/{inside}") as path:
            return read_bill_file(path, inside, source, _lowered(self.token_units))

    # --- lake --------------------------------------------------------------------------------------------------------

    def _load(self, lake: Lake, bills: SourceBills, now: dt.datetime) -> BillLoad:
        outcomes = {period: _replace(lake, bills.source, period, rows, now) for period, rows in bills.periods.items()}
        _write_controls(lake, f"source={bills.source}", _controls(bills), now)
        return BillLoad(bills, outcomes)


def read_charges(lake: Lake, periods: Iterable[str] | None = None) -> list[Charge]:
    """The current charges of billing periods (default: all), by source and period, from the lake."""
    wanted = None if periods is None else set(periods)
    partitions = [
        name for name in lake.partitions(CHARGES.name) if wanted is None or name.rpartition("period=")[2] in wanted
    ]
    files = lake.current_files(CHARGES.name, partitions)
    return [charge for file in files for charge in from_rows(pq.read_table(file, partitioning=None).to_pylist())]


@contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """A file as a local path, fetched for the time being where it is remote.

    Raises:
        CloudBillError: it cannot be fetched.
    """
    fs, path = _opened(url)
    if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="tokengov-bill-") as folder:
        local = Path(folder) / path.rsplit("/", 1)[-1]
        try:
            fs.get_file(path, str(local))
        except Exception as error:  # each file system raises its own
            message = f"{without_password(url)}: cannot be read ({type(error).__name__}). Fix: check its permissions."
            raise CloudBillError(message) from error
        yield local


def _opened(url: str) -> tuple[Any, str]:
    try:
        fs, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        message = f"{without_password(url)}: cannot be opened ({error}). Fix: correct the url."
        raise CloudBillError(message) from error
    return fs, str(base)


def _lowered(units: Mapping[str, int]) -> dict[str, int]:
    return {unit.lower(): tokens for unit, tokens in units.items()}


def _replace(lake: Lake, source: str, period: str, rows: Sequence[Charge], now: dt.datetime) -> LoadOutcome:
    """Put a period's charges in the place of those before them; none are a proven zero, since the bill was read."""
    first = dt.date.fromisoformat(f"{period}-01")
    last = (first.replace(day=28) + dt.timedelta(days=4)).replace(day=1) - dt.timedelta(days=1)
    with lake.writing(CHARGES) as writer:
        writer.write(to_batch(rows))
        window = (first.isoformat(), last.isoformat())
        return lake.commit(CHARGES, charges_partition(source, period), writer, extracted_at=now, window=window)


def _write_controls(lake: Lake, partition: str, rows: list[dict[str, Any]], now: dt.datetime) -> None:
    with lake.writing(CONTROLS) as writer:
        writer.write(pa.RecordBatch.from_pylist(rows, schema=CONTROLS.schema))
        day = now.date().isoformat()
        lake.commit(CONTROLS, partition, writer, extracted_at=now, window=(day, day))


def _controls(bills: SourceBills) -> list[dict[str, Any]]:
    loaded, ignored = set(bills.periods), set(bills.ignored)
    rows: list[dict[str, Any]] = []
    for file in bills.files:
        here = {
            "source": bills.source,
            "source_file": file.name,
            "content_sha256": file.sha256,
            "export_version": file.form.version if file.form else None,
        }
        for total in file.totals if file.name not in ignored else ():
            held = total.bucket is Bucket.CHARGES and total.billing_period not in loaded
            rows.append(
                here
                | {
                    "billing_period": total.billing_period,
                    "currency": total.currency,
                    "bucket": str(Bucket.REFUSED if held else total.bucket),
                    "reason": "the period is refused" if held else total.reason,
                    "rows": total.rows,
                    "amount_text": format(total.amount, "f"),
                }
            )
    for problem in bills.problems:
        empty = dict.fromkeys(CONTROLS.schema.names)
        rows.append(
            empty
            | {
                "source": bills.source,
                "source_file": problem.file,
                "bucket": str(Bucket.REFUSED),
                "reason": str(problem),
                "rows": 0,
                "amount_text": "0",
            }
        )
    return rows
