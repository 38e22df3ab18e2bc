"""The org directory: CSV files that an organisation keeps, read into typed tables or refused with every problem listed.

Belongs here: which files are read, and the Arrow form of the accepted rows. Does not belong here: the rules a row has
to meet (`tokengov_pipelines.domain.directory` and `directory_checks`) and storing the result (`resources.lake`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg
import pyarrow as pa

from resources.drop_folder import FolderError, read_folder, without_password
from tokengov_pipelines.domain import cells
from tokengov_pipelines.domain.csv_rows import CsvRow, read_csv
from tokengov_pipelines.domain.directory import SCHEMA_VERSION, TABLES, DirectoryTable, Record, check_header, read_rows
from tokengov_pipelines.domain.directory_checks import Directory, DirectoryPolicy, check_directory
from tokengov_pipelines.domain.problem import Problem, in_reading_order

DIRECTORY_FILES: Final = tuple(TABLES)
"""The directory's tables by their plain names: `cost_centers` is read from cost_centers.csv."""


def _schema(table: DirectoryTable) -> pa.Schema:
    columns = [(column.name, pa.date32() if column.read is cells.iso_date else pa.string()) for column in table.columns]
    return pa.schema([*columns, ("source_file", pa.string()), ("source_row", pa.int64())])


DIRECTORY_SCHEMAS: Final[Mapping[str, pa.Schema]] = {name: _schema(table) for name, table in TABLES.items()}
"""The Arrow schema of each table by its plain name; the lake's table is `directory_<name>`."""


class DirectoryError(RuntimeError):
    """A directory that cannot be used. The text lists every problem as 'file:row field: what. Fix: ...'."""

    def __init__(self, url: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the org directory {without_password(url)}:", *map(str, problems)]))


@dataclass(frozen=True)
class DirectoryLoad:
    """Every table by its plain name (an absent file is an empty table), and what is worth knowing but stops nothing."""

    tables: dict[str, pa.Table]
    warnings: list[Problem]


class OrgDirectory(dg.ConfigurableResource):
    """The folder with cost_centers.csv, teams.csv, users.csv and the optional files; see docs/directory.md."""

    url: str
    schema_version: int = SCHEMA_VERSION
    suspense: str = "CC-900-SUSPENSE"
    central: str = "CC-990-CENTRAL"
    max_successor_chain: int = 5

    def load(self) -> DirectoryLoad:
        """Read and check the whole directory; rows come ordered by key and `valid_from`.

        Raises:
            DirectoryError: with every problem of every file, not only the first.
        """
        if self.schema_version != SCHEMA_VERSION:
            what = f"schema_version {self.schema_version} is not known; this release reads version {SCHEMA_VERSION}"
            raise DirectoryError(self.url, [Problem("tokengov.yaml", None, "directory", what, "set it to 1")])
        try:
            files = read_folder(self.url, (".csv",))
        except FolderError as error:
            raise DirectoryError(self.url, [Problem(error.place, None, None, error.what, error.fix)]) from error
        policy = DirectoryPolicy(self.suspense, self.central, self.max_successor_chain)
        directory, problems = _read(files)
        findings = check_directory(directory, policy)
        problems += findings.errors
        if problems:
            raise DirectoryError(self.url, in_reading_order(problems))
        tables = {name: _to_arrow(table, directory.records.get(name, ())) for name, table in TABLES.items()}
        return DirectoryLoad(tables, in_reading_order([*findings.warnings, *_unread_files(files)]))


def _read(files: Mapping[str, bytes]) -> tuple[Directory, list[Problem]]:
    records: dict[str, list[Record]] = {}
    rows: dict[str, tuple[CsvRow, ...]] = {}
    problems: list[Problem] = []
    for name, table in TABLES.items():
        if table.file not in files:
            if not table.may_be_absent:
                problems.append(_missing(table, files))
            continue
        content = read_csv(files[table.file], table.file)
        problems += content.problems
        if not content.header:
            continue
        wrong_header = check_header(table, content.header)
        problems += wrong_header
        if wrong_header:
            continue
        records[name], found = read_rows(table, content.rows)
        problems += found
        rows[name] = (*content.rows, *content.ragged)
    return Directory(records, rows), problems


def _missing(table: DirectoryTable, files: Mapping[str, bytes]) -> Problem:
    stems = {name.removesuffix(".csv"): name for name in files}
    close = cells.closest(table.name, stems)
    create = f"create it with the columns {', '.join(table.header)}"
    fix = f"rename {stems[close]}, if that is the one, or {create}" if close else create
    return Problem(table.file, None, None, "the file is missing", fix)


def _unread_files(files: Mapping[str, bytes]) -> list[Problem]:
    known = [table.file for table in TABLES.values()]
    problems = []
    for name in files:
        if name not in known:
            close = cells.closest(name.removesuffix(".csv"), TABLES)
            fix = f"rename it to {TABLES[close].file}, if that is what it is" if close else "move it elsewhere"
            problems.append(Problem(name, None, None, "this is no file of the directory, so it is not read", fix))
    return problems


def _to_arrow(table: DirectoryTable, records: Sequence[Record]) -> pa.Table:
    rows = [{**record.values, "source_file": table.file, "source_row": record.row} for record in records]
    return pa.Table.from_pylist(rows, schema=DIRECTORY_SCHEMAS[table.name])
