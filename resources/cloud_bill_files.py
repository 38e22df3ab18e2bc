"""One file of a cloud's bill, CSV or Parquet: its charges, and a control total for every row that is none.

Belongs here: SQL over a file, its header, and the sums that prove that nothing was lost. Does not belong here: which
columns and services count (`domain.focus`, `domain.cloud_meters`), several files together (`resources.cloud_bills`).

Every value is read as text; a number of a Parquet file is taken by its shortest decimal text. Rows of AI services are
read one by one; of all others only the distinct amounts are, times how often each occurs, so that sums stay exact
whatever the number of rows.
"""

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tokengov_pipelines.domain.cloud_charge import Charge, Origin, read_charge
from tokengov_pipelines.domain.cloud_meters import AWS, is_ai_service, provider_of
from tokengov_pipelines.domain.focus import (
    COLUMNS,
    BillForm,
    RefusedRow,
    amount_of,
    bill_form,
    currency_of,
    period_of,
)
from tokengov_pipelines.domain.money import exact_product, exact_sum
from tokengov_pipelines.domain.problem import Problem

ENDINGS: Final = (".csv", ".csv.gz", ".parquet")
_KEY: Final = (
    "service_provider",
    "host_provider",
    "issuer",
    "service",
    "service_code",
    "meter",
    "meter_group",
    "description",
)
"""What decides whether a row is of an AI service: asked once for each distinct combination."""

_BATCH: Final = 10_000
_LONGEST_LINE: Final = 20_000_000


class Bucket(StrEnum):
    """Where a row of a bill went."""

    CHARGES = "charges"
    OTHER_SERVICES = "other_services"
    QUARANTINED = "quarantined"
    REFUSED = "refused"


@dataclass(frozen=True)
class ControlTotal:
    """Rows of one file, period, currency and bucket; `amount` is what of their cost could be read, exact.

    `reason` says why rows are quarantined or a file is refused (then there are no rows); `record_no` the first of them.
    """

    billing_period: str | None
    currency: str | None
    bucket: Bucket
    reason: str | None
    rows: int
    amount: Decimal
    record_no: int | None = None


@dataclass(frozen=True)
class BillFile:
    """One file as read. `problem` set: it is refused whole, and neither charges nor totals say anything."""

    name: str
    sha256: str
    form: BillForm | None
    rows: int
    charges: tuple[Charge, ...]
    totals: tuple[ControlTotal, ...]
    problem: Problem | None = None

    @property
    def periods(self) -> frozenset[str]:
        """The billing periods of its rows, read or quarantined."""
        return frozenset(total.billing_period for total in self.totals if total.billing_period)


class _UnreadableError(Exception):
    """A file that cannot be read as a bill."""

    def __init__(self, what: str, fix: str, row: int | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.row = what, fix, row


def read_bill_file(path: Path, name: str, source: str, token_units: Mapping[str, int]) -> BillFile:
    """Read one local file; `name` is what tables and messages call it. A file that is no bill comes back refused."""
    sha256 = _sha256(path)
    try:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            form = _load(connection, path)
            return _read(connection, form, Origin(source, name, sha256, 0), token_units)
    except _UnreadableError as error:
        return BillFile(name, sha256, None, 0, (), (), Problem(name, error.row, None, error.what, error.fix))
    except duckdb.Error as error:
        row, what = _said_by_duckdb(str(error))
        fix = "export it again, and check that it was copied to its end"
        return BillFile(name, sha256, None, 0, (), (), Problem(name, row, None, what, fix))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the file as a table of text -------------------------------------------------------------------------------------


def _load(connection: duckdb.DuckDBPyConnection, path: Path) -> BillForm:
    """Fill the table `bill` with our columns, all text, and `record_no`."""
    is_parquet = path.name.lower().endswith(".parquet")
    header, types = _parquet_header(path) if is_parquet else (_csv_header(path), {})
    form, lacking = bill_form(header)
    if form is None:
        what = (
            f"is neither a FOCUS cost and usage bill nor an AWS Cost and Usage Report: no column {', '.join(lacking)}"
        )
        raise _UnreadableError(what, "export it with these columns, or move it out of the folder")
    if is_parquet:
        reads, place = "read_parquet($1)", {name: _quoted(name) for name in header}
    else:
        place = {name: f"c{number}" for number, name in enumerate(header)}
        columns = ", ".join(f"'{column}': 'VARCHAR'" for column in place.values())
        compression = "gzip" if path.name.lower().endswith(".gz") else "none"
        reads = (
            f"read_csv($1, auto_detect=false, header=true, delim=',', quote='\"', escape='\"', strict_mode=true, "
            f"compression='{compression}', max_line_size={_LONGEST_LINE}, columns={{{columns}}})"
        )
    selected = ", ".join(
        f"{_coalesced([_as_text(theirs, place, types) for theirs in form.columns[ours]])} as {_quoted(ours)}"
        for ours in COLUMNS
    )
    connection.execute(
        f"create temp table bill as select row_number() over () as record_no, {selected} from {reads}", [str(path)]
    )
    return form


def _csv_header(path: Path) -> list[str]:
    is_zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if is_zipped else path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            header = next(csv.reader(text, strict=True), None)
    except UnicodeDecodeError as error:
        what = "is not UTF-8 text"
        raise _UnreadableError(what, "export it again as CSV in UTF-8, or as Parquet") from error
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        what = f"cannot be read as {'zipped CSV' if is_zipped else 'CSV'} ({type(error).__name__})"
        raise _UnreadableError(what, "export it again, and check that it was copied to its end") from error
    if header is None:
        what = "is empty"
        raise _UnreadableError(what, "export it again; a bill has at least its header")
    return _told_apart([name.strip() for name in header])


def _parquet_header(path: Path) -> tuple[list[str], dict[str, pa.DataType]]:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        what = f"cannot be read as Parquet ({type(error).__name__})"
        raise _UnreadableError(what, "export it again, and check that it was copied to its end") from error
    return _told_apart(schema.names), dict(zip(schema.names, schema.types, strict=True))


def _told_apart(header: list[str]) -> list[str]:
    lowered = [name.lower() for name in header]
    twice = sorted({name for name in lowered if lowered.count(name) > 1})
    if twice:
        what = f"has the column {', '.join(twice)} twice"
        raise _UnreadableError(what, "export it again; each column once", 1)
    return header


def _as_text(column: str, place: Mapping[str, str], types: Mapping[str, pa.DataType]) -> str:
    """SQL of one of the bill's columns as text, empty and the word NULL as null."""
    name, bracket, key = column.partition("[")
    sql = place[name]
    if bracket:
        key = key.rstrip("]")
        kind = types.get(name)
        if kind is not None and (pa.types.is_map(kind) or pa.types.is_struct(kind)):
            sql = f"{sql}['{key}']"
        else:
            sql = f"case when json_valid({sql}) then json_extract_string({sql}, '$.{key}') end"
    text = f"trim(({sql})::varchar)"
    return f"case when lower({text}) not in ('', 'null') then {text} end"


def _coalesced(expressions: Sequence[str]) -> str:
    return f"coalesce({', '.join([*expressions, 'null::varchar'])})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _said_by_duckdb(text: str) -> tuple[int | None, str]:
    """The line and the complaint of a CSV error, without the line's content, which a message does not repeat."""
    line = re.search(r"CSV Error on Line: (\d+)", text)
    complaint = re.search(
        r"^(Expected Number of Columns: .*|Invalid unicode|Value with unterminated quote)", text, re.M
    )
    what = f"cannot be read to its end ({complaint[1] if complaint else text.splitlines()[0].partition(':')[0]})"
    return int(line[1]) if line else None, what


# --- rows ------------------------------------------------------------------------------------------------------------


class _Totals:
    """Sums by period, currency, bucket and reason."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str | None, str | None, Bucket, str | None], int] = defaultdict(int)
        self._amounts: dict[tuple[str | None, str | None, Bucket, str | None], list[Decimal]] = defaultdict(list)
        self._first: dict[tuple[str | None, str | None, Bucket, str | None], int] = {}

    def add(
        self, row: Mapping[str, Any], bucket: Bucket, reason: RefusedRow | None, record_no: int, rows: int = 1
    ) -> None:
        """Count rows of one amount; where its period, currency or amount cannot be read, that is the reason."""
        read: dict[str, Any] = {}
        for column, grammar in (("period", period_of), ("currency", currency_of)):
            try:
                read[column] = grammar(row["period_start"] if column == "period" else row["currency"])
            except RefusedRow as error:
                reason = reason or error
        try:
            amount = exact_product(amount_of("billed", row["billed"]), rows)
        except RefusedRow as error:
            reason, amount = reason or error, Decimal(0)
        where = Bucket.QUARANTINED if reason else bucket
        key = (read.get("period"), read.get("currency"), where, f"{reason.reason}: {reason.column}" if reason else None)
        self._rows[key] += rows
        self._amounts[key].append(amount)
        self._first[key] = min(record_no, self._first.get(key, record_no))

    def listed(self) -> tuple[ControlTotal, ...]:
        """All totals, by period, currency, bucket and reason."""
        keys = sorted(self._rows, key=lambda key: tuple(str(part or "") for part in key))
        return tuple(
            ControlTotal(*key, self._rows[key], exact_sum(self._amounts[key]), self._first[key]) for key in keys
        )


def _read(
    connection: duckdb.DuckDBPyConnection, form: BillForm, origin: Origin, token_units: Mapping[str, int]
) -> BillFile:
    columns = ", ".join(_quoted(name) for name in _KEY)
    connection.execute(
        "create temp table kinds as select row_number() over () as kind_no, * "
        f"from (select distinct {columns} from bill)"
    )
    providers = _ai_kinds(connection, form)
    numbers = pa.table({"kind_no": pa.array(list(providers), pa.int64())})
    connection.register("ai_kinds", numbers)
    same = " and ".join(f"bill.{_quoted(name)} is not distinct from kinds.{_quoted(name)}" for name in _KEY)
    joined = f"from bill join kinds on {same}"
    totals, charges = _Totals(), []
    others = connection.execute(
        f"select bill.period_start, bill.currency, bill.billed, count(*) as rows, min(bill.record_no) as record_no "
        f"{joined} anti join ai_kinds on kinds.kind_no = ai_kinds.kind_no group by all"
    )
    for period_start, currency, billed, rows, record_no in others.fetchall():
        row = {"period_start": period_start, "currency": currency, "billed": billed}
        totals.add(row, Bucket.OTHER_SERVICES, None, record_no, rows)
    wanted = ", ".join(f"bill.{_quoted(name)}" for name in COLUMNS)
    found = connection.execute(
        f"select kinds.kind_no, bill.record_no, {wanted} {joined} "
        "semi join ai_kinds on kinds.kind_no = ai_kinds.kind_no order by bill.record_no"
    )
    while batch := found.fetchmany(_BATCH):
        for kind_no, record_no, *values in batch:
            row = dict(zip(COLUMNS, values, strict=True))
            here = Origin(origin.source, origin.source_file, origin.content_sha256, record_no)
            try:
                charges.append(read_charge(row, form, providers[kind_no], here, token_units))
                totals.add(row, Bucket.CHARGES, None, record_no)
            except RefusedRow as error:
                totals.add(row, Bucket.QUARANTINED, error, record_no)
    rows = _one(connection, "select count(*) from bill")
    listed = totals.listed()
    if sum(total.rows for total in listed) != rows:
        message = f"{origin.source_file}: {rows} rows were read and {sum(total.rows for total in listed)} counted"
        raise AssertionError(message)
    return BillFile(origin.source_file, origin.content_sha256, form, rows, tuple(charges), listed)


def _ai_kinds(connection: duckdb.DuckDBPyConnection, form: BillForm) -> dict[int, str]:
    """The cloud of every kind of row that is of an AI service."""
    found: dict[int, str] = {}
    rows = connection.execute(f"select kind_no, {', '.join(map(_quoted, _KEY))} from kinds").fetchall()
    for kind_no, service_provider, host, issuer, service, code, meter, group, description in rows:
        provider = AWS if form.is_cur else provider_of(service_provider, host, issuer)
        words = " ".join(filter(None, (meter, group, description)))
        if provider and is_ai_service(provider, service or "", code or "", words):
            found[kind_no] = provider
    return found


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
