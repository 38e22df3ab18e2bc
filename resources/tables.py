"""Derived tables as Parquet: what dbt exported and what the rules computed, one file per partition, as known now.

Belongs here: reading and atomically replacing partitions of `tables/<table>/<partition>.parquet`.
Does not belong here: raw evidence (`resources.lake`), closed books (`tokengov_pipelines.ledger`), what a table means.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq


class MissingTableError(RuntimeError):
    """A partition that should have been built is not there; the text names it and the asset that builds it."""


class Tables(dg.ConfigurableResource):
    """Derived tables under one local folder."""

    root: str

    def path(self, table: str, partition: str) -> Path:
        """Where a partition's file is."""
        return Path(self.root) / table / f"{partition}.parquet"

    def read(self, table: str, partitions: Iterable[str]) -> pa.Table:
        """Rows of the given partitions, in that order.

        Raises:
            MissingTableError: one of them was never built.
        """
        paths = [self.path(table, partition) for partition in partitions]
        missing = [path.stem for path in paths if not path.exists()]
        if missing:
            message = (
                f"table {table} has no partition {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}. "
                f"Fix: materialize marts/{table} for it first."
            )
            raise MissingTableError(message)
        # A column that holds no null on one day and some on another is still one column.
        files = [pq.read_table(path, partitioning=None) for path in paths]
        return pa.concat_tables(files, promote_options="default")

    def rows(self, table: str, partitions: Iterable[str]) -> list[dict[str, Any]]:
        """The same as plain dictionaries with exact decimals."""
        rows: list[dict[str, Any]] = self.read(table, partitions).to_pylist()
        return rows

    def write(self, table: str, partition: str, content: pa.Table) -> Path:
        """Replace one partition in a single step."""
        path = self.path(table, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        pq.write_table(content, temporary, compression="zstd")
        temporary.replace(path)
        return path
