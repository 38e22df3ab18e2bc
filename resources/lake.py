"""The lake: immutable Parquet loads, one partition per table and UTC day, with a small pointer to the current load.

Belongs here: how a load is written, named, compared with the one before it and found again, on any fsspec file system.
Does not belong here: what a table's columns mean (the resource that extracts it), SQL over loads (`dbt_project`) and
derived tables (`resources.tables`).

Layout: `<root>/raw/<table>/<partition>/load=<sha256[:16]>.parquet`, beside it `load=<...>.json` (the load record),
`current.json` (which load is current, written last), `last_seen.json` (what the latest extraction found) and, for every
load that took another's place, `history/<when>-<load>.json`.
Evidence never shrinks (architecture 4): a load with fewer rows, a smaller sum or missing identities is kept beside the
current one and the pointer stays.
"""

import datetime as dt
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 20_000
Verdict = Literal["first", "unchanged", "grown", "shrunk", "zero_proven", "unproven_zero"]


class LakeError(RuntimeError):
    """The lake cannot be read or written; the text names the partition and the fix."""


@dataclass(frozen=True)
class LakeTable:
    """A raw table: its declared schema and what must never shrink.

    `identity` names the column that identifies a row; `sums` maps a control total to its DuckDB expression.
    A table without identity (snapshots, directory) is replaced freely: the newest load is the current one. With
    `may_vanish` off (providers' figures may move, but do not go away) an empty load does not take the place of rows.
    """

    name: str
    schema: pa.Schema
    identity: str | None = None
    sums: Mapping[str, str] = field(default_factory=dict)
    may_vanish: bool = True


@dataclass(frozen=True)
class LoadRecord:
    """What is known of one load; times and windows live here, so that equal content means an equal file.

    `known_until` is the moment up to which the source's own figures were, where it is earlier than the extraction.
    `bodies` are the archived answers that the rows were read from (SHA-256).
    """

    table: str
    partition: str
    load: str
    sha256: str
    rows: int
    sums: dict[str, str]
    extracted_at: str
    window: list[str]
    coverage: str = "rows"
    known_until: str = ""
    bodies: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoadOutcome:
    """The result of one extraction: the verdict, the load that is current now, and why."""

    verdict: Verdict
    seen: LoadRecord
    current: LoadRecord | None
    missing_identities: int = 0
    reason: str = ""


class LoadWriter:
    """Collects record batches into one local Parquet file with fixed row groups, so equal rows give equal bytes."""

    def __init__(self, table: LakeTable, path: Path) -> None:
        self._table = table
        self.path = path
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._writer = pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=True)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; the batch must have the table's columns and types."""
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        while self._pending_rows >= ROWS_PER_GROUP:
            pending = pa.Table.from_batches(self._pending, self._table.schema)
            self._writer.write_table(pending.slice(0, ROWS_PER_GROUP).combine_chunks(), row_group_size=ROWS_PER_GROUP)
            rest = pending.slice(ROWS_PER_GROUP)
            self._pending, self._pending_rows = rest.to_batches(), rest.num_rows

    def close(self) -> None:
        """Flush what is left and finish the file."""
        if self._pending_rows:
            rest = pa.Table.from_batches(self._pending, self._table.schema)
            self._writer.write_table(rest.combine_chunks(), row_group_size=ROWS_PER_GROUP)
        self._pending, self._pending_rows = [], 0
        self._writer.close()


class Lake(dg.ConfigurableResource):
    """Raw evidence on a local folder or any fsspec URL (`s3://`, `gs://`, `abfs://`)."""

    root: str
    cache_dir: str

    # --- file system ---------------------------------------------------------------------------------------------

    @property
    def _fs(self) -> tuple[Any, str]:
        fs, base = fsspec.core.url_to_fs(self.root)
        return fs, str(base).rstrip("/")

    def _folder(self, table: str, partition: str) -> str:
        return f"{self._fs[1]}/raw/{table}/{partition}"

    def _read_json(self, path: str) -> dict[str, Any] | None:
        fs, _ = self._fs
        try:
            with fs.open(path, "rb") as handle:
                content: dict[str, Any] = json.load(handle)
        except FileNotFoundError:
            return None
        except json.JSONDecodeError as error:
            message = (
                f"{path} is not JSON ({error}). Fix: restore it from a backup or delete it and reload the partition."
            )
            raise LakeError(message) from error
        return content

    def _put(self, local: Path, path: str) -> None:
        """Place a finished file under its name in one step: rename locally, one PUT on an object store."""
        fs, _ = self._fs
        if "file" in _protocols(fs):
            fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)  # on an object store this would make a bucket
            temporary = Path(f"{path}.{os.getpid()}.tmp")
            shutil.copyfile(local, temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
        else:
            fs.put_file(str(local), path)

    def _write_json(self, path: str, content: Mapping[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "content.json"
            local.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            self._put(local, path)

    # --- reading -------------------------------------------------------------------------------------------------

    def current(self, table: str, partition: str) -> LoadRecord | None:
        """The record of the current load of a partition, or None when it was never loaded."""
        content = self._read_json(f"{self._folder(table, partition)}/current.json")
        return LoadRecord(**content) if content else None

    def last_seen(self, table: str, partition: str) -> dict[str, Any] | None:
        """What the latest extraction of a partition found: verdict, rows, sums, reason."""
        return self._read_json(f"{self._folder(table, partition)}/last_seen.json")

    def known_until(self, table: str, partition: str) -> tuple[dt.datetime, bool] | None:
        """Up to which moment the current load holds what the source had, and whether the latest reading confirmed it.

        A reading that finds the same content again moves the moment without making a new load. None = never loaded.
        """
        record = self.current(table, partition)
        if record is None:
            return None
        seen = self.last_seen(table, partition) or {}
        confirmed = seen.get("load") == record.load and seen.get("verdict") == "unchanged"
        moments = (seen if confirmed else asdict(record)).get
        return dt.datetime.fromisoformat(moments("known_until") or moments("extracted_at") or ""), confirmed

    def changes(self, table: str, partition: str) -> list[dict[str, Any]]:
        """The loads that took another's place, oldest first: load records with the load `before`."""
        fs, _ = self._fs
        folder = f"{self._folder(table, partition)}/history"
        names = sorted(str(path) for path in fs.ls(folder, detail=False)) if fs.exists(folder) else []
        return [content for name in names if (content := self._read_json(name)) is not None]

    def seen_partitions(self, table: str) -> list[str]:
        """Partitions of a table that were ever extracted, ascending."""
        fs, base = self._fs
        folder = f"{base}/raw/{table}"
        if not fs.exists(folder):
            return []
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))

    def partitions(self, table: str) -> list[str]:
        """Partitions of a table that have a current load, ascending."""
        fs, base = self._fs
        return [name for name in self.seen_partitions(table) if fs.exists(f"{base}/raw/{table}/{name}/current.json")]

    def local_path(self, record: LoadRecord) -> str:
        """A local path to a load's Parquet file; remote loads are fetched once (they never change)."""
        fs, _ = self._fs
        path = f"{self._folder(record.table, record.partition)}/load={record.load}.parquet"
        if "file" in _protocols(fs):
            return path
        cached = Path(self.cache_dir) / f"{record.sha256}.parquet"
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            temporary = cached.with_suffix(f".{os.getpid()}.tmp")
            fs.get_file(path, str(temporary))
            temporary.replace(cached)
        return str(cached)

    def current_files(self, table: str, partitions: Iterable[str] | None = None) -> list[str]:
        """Local paths of the current loads of the given partitions (default: all), ascending by partition."""
        wanted = self.partitions(table) if partitions is None else sorted(partitions)
        records = [self.current(table, partition) for partition in wanted]
        return [self.local_path(record) for record in records if record is not None]

    # --- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self, table: LakeTable) -> Iterator[LoadWriter]:
        """A local writer for a new load; pass it to `commit` inside the block. Nothing is left behind on an error."""
        with tempfile.TemporaryDirectory(prefix="tokengov-load-") as folder:
            yield LoadWriter(table, Path(folder) / "load.parquet")

    def commit(
        self,
        table: LakeTable,
        partition: str,
        writer: LoadWriter,
        *,
        extracted_at: dt.datetime,
        window: tuple[str, str],
        zero_is_proven: bool = True,
        known_until: dt.datetime | None = None,
        bodies: Sequence[str] = (),
    ) -> LoadOutcome:
        """Place a load and move the pointer, unless the evidence would shrink.

        An empty load becomes current only where the caller proved that the source covers the window
        (`zero_is_proven`); otherwise the verdict is `unproven_zero` and nothing is current (Rule 4.5).
        """
        writer.close()
        digest = hashlib.sha256(writer.path.read_bytes()).hexdigest()
        rows, sums = _control_totals(table, str(writer.path))
        seen = LoadRecord(
            table=table.name,
            partition=partition,
            load=digest[:16],
            sha256=digest,
            rows=rows,
            sums=sums,
            extracted_at=extracted_at.isoformat(timespec="seconds"),
            window=list(window),
            coverage="rows" if rows else "zero_proven",
            known_until=min(known_until or extracted_at, extracted_at).isoformat(timespec="seconds"),
            bodies=list(bodies),
        )
        current = self.current(table.name, partition)
        verdict, missing, reason = self._compare(table, current, seen, str(writer.path), zero_is_proven)
        folder = self._folder(table.name, partition)
        lost = verdict == "unchanged" and not self._fs[0].exists(f"{folder}/load={seen.load}.parquet")
        if lost or verdict in {"first", "grown", "shrunk", "zero_proven"}:
            self._put(writer.path, f"{folder}/load={seen.load}.parquet")
            self._write_json(f"{folder}/load={seen.load}.json", asdict(seen))
        if verdict in {"first", "grown", "zero_proven"}:
            if current is not None:
                moved = f"{extracted_at.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{seen.load}"
                self._write_json(f"{folder}/history/{moved}.json", {**asdict(seen), "before": current.load})
            self._write_json(f"{folder}/current.json", asdict(seen))
            current = seen
        outcome = LoadOutcome(verdict, seen, current, missing, reason)
        self._write_json(
            f"{folder}/last_seen.json",
            {**asdict(seen), "verdict": verdict, "missing_identities": missing, "reason": reason},
        )
        return outcome

    def replace(self, name: str, content: pa.Table, extracted_at: dt.datetime) -> LoadOutcome:
        """Make a whole small table (directory, invoices) the current load of partition `all`."""
        table = LakeTable(name=name, schema=content.schema)
        with self.writing(table) as writer:
            for batch in content.to_batches():
                writer.write(batch)
            day = extracted_at.date().isoformat()
            return self.commit(table, "all", writer, extracted_at=extracted_at, window=(day, day))

    def _compare(
        self, table: LakeTable, current: LoadRecord | None, seen: LoadRecord, path: str, zero_is_proven: bool
    ) -> tuple[Verdict, int, str]:
        if current is None:
            if seen.rows:
                return "first", 0, ""
            if zero_is_proven:
                return "zero_proven", 0, ""
            return "unproven_zero", 0, "the source returned no rows and does not prove that it covers this day"
        if current.sha256 == seen.sha256:
            return "unchanged", 0, ""
        if table.identity is None:
            if current.rows and not seen.rows and not table.may_vanish:
                return "shrunk", 0, f"{current.rows} rows became 0"
            return "grown", 0, ""
        missing = _missing_identities(table.identity, self.local_path(current), path)
        losses = []
        if seen.rows < current.rows:
            losses.append(f"{current.rows} rows became {seen.rows}")
        losses += [
            f"{name} {before} became {seen.sums[name]}"
            for name, before in current.sums.items()
            if Decimal(seen.sums[name]) < Decimal(before)
        ]
        if missing:
            losses.append(f"{missing} {table.identity}s are gone")
        if losses:
            return "shrunk", missing, "; ".join(losses)
        return "grown", 0, f"{current.rows} rows became {seen.rows}"

    def held_back(self, table: str, partition: str) -> LoadRecord:
        """The load that the latest extraction found and that did not become current, because it holds less.

        Raises:
            LakeError: nothing was held back for this partition.
        """
        seen = self.last_seen(table, partition)
        if seen is None or seen["verdict"] != "shrunk":
            message = f"{table} {partition}: no smaller load was held back. Fix: reload the partition first."
            raise LakeError(message)
        folder = self._folder(table, partition)
        record = self._read_json(f"{folder}/load={seen['load']}.json")
        if record is None:
            message = f"{table} {partition}: load {seen['load']} has no record. Fix: reload the partition."
            raise LakeError(message)
        return LoadRecord(**record)

    def accept(self, table: str, partition: str) -> LoadRecord:
        """Make the load that was held back the current one, although it holds less.

        The caller has recorded who accepts it and why (`tokengov accept-shrink`).
        """
        record = self.held_back(table, partition)
        folder = self._folder(table, partition)
        seen = self.last_seen(table, partition) or {}
        self._write_json(f"{folder}/current.json", asdict(record))
        self._write_json(f"{folder}/last_seen.json", {**seen, "verdict": "accepted"})
        return record


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that counts Parquet files; made once, because making one costs more than a day's count."""
    return duckdb.connect()


def _control_totals(table: LakeTable, path: str) -> tuple[int, dict[str, str]]:
    expressions = ", ".join(["count(*)", *(f"coalesce({sql}, 0)" for sql in table.sums.values())])
    row = _engine().cursor().execute(f"select {expressions} from read_parquet($1)", [path]).fetchone()
    if row is None:
        message = f"{table.name}: the control totals of a load could not be computed. Fix: reload the partition."
        raise LakeError(message)
    return int(row[0]), {name: format(Decimal(value), "f") for name, value in zip(table.sums, row[1:], strict=True)}


def _missing_identities(identity: str, before: str, after: str) -> int:
    query = (
        f"select count(distinct {identity}) from read_parquet($1) where {identity} is not null "
        f"and {identity} not in (select {identity} from read_parquet($2) where {identity} is not null)"
    )
    row = _engine().cursor().execute(query, [before, after]).fetchone()
    return int(row[0]) if row else 0
