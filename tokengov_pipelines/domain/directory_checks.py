"""The org directory's checks between rows and between files (rules 3.2, 3.3, 3.7).

Belongs here: one answer per key and day, references that lead somewhere, successor chains that end, the policy's own
cost centers. Does not belong here: what a single row looks like (`directory`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokengov_pipelines.domain.cells import did_you_mean, shown
from tokengov_pipelines.domain.csv_rows import CsvRow
from tokengov_pipelines.domain.directory import TABLES, DirectoryTable, Record
from tokengov_pipelines.domain.intervals import Interval, gaps, overlaps, uncovered
from tokengov_pipelines.domain.problem import Findings, Problem

_REFERENCES: Final = (
    ("cost_centers", "successor", "cost_centers", "code"),
    ("teams", "cost_center", "cost_centers", "code"),
    ("service_accounts", "owner_cost_center", "cost_centers", "code"),
    ("provider_keys", "owner_cost_center", "cost_centers", "code"),
    ("users", "team_id", "teams", "team_id"),
)
"""Which column of which table names a row of which other table."""


@dataclass(frozen=True)
class DirectoryPolicy:
    """What the policy file says about the directory (rule book 0.2, attribution)."""

    suspense: str = "CC-900-SUSPENSE"
    central: str = "CC-990-CENTRAL"
    max_successor_chain: int = 5


@dataclass(frozen=True)
class Directory:
    """Every table that could be read: the accepted records, and all rows as written.

    Rows that were not accepted still count as mentioned, so that one bad cell does not make every row that points at
    its row look wrong; and where a key has such a row, nothing is said about the days it does not cover.
    """

    records: Mapping[str, Sequence[Record]]
    rows: Mapping[str, Sequence[CsvRow]]

    def rejected(self, name: str) -> list[CsvRow]:
        """The rows of a table that are not among its records."""
        accepted = {record.row for record in self.records[name]}
        return [row for row in self.rows[name] if row.row not in accepted]


def check_directory(directory: Directory, policy: DirectoryPolicy) -> Findings:
    """Every check that needs more than one row, over the tables that could be read."""
    findings = Findings()
    for name in directory.records:
        findings.extend(check_days(TABLES[name], directory.records[name], directory.rejected(name)))
    for reference in _REFERENCES:
        findings.errors += _unknown_references(directory, *reference)
    if "cost_centers" in directory.records:
        centers = _by_code(directory.records["cost_centers"], "code")
        findings.errors += _check_successors(centers, policy.max_successor_chain)
        findings.errors += _check_policy_codes(directory, centers, policy)
    findings.warnings += _uncovered_references(directory, policy.max_successor_chain)
    return findings


def check_days(table: DirectoryTable, records: Sequence[Record], rejected: Sequence[CsvRow] = ()) -> Findings:
    """A key names one row only on any day, and its rows follow each other without a gap (rules 3.3, 3.7)."""
    findings = Findings()
    if not table.is_dated:
        findings.errors += _repeated(table, records)
        return findings
    reported: set[tuple[int, int]] = set()
    doubtful = {key for row in rejected for key in _keys(table, row.cells)}
    for key, rows in _by_key(table, records).items():
        dated = [(record.interval, record) for record in rows]
        label = " ".join(key)
        for first, second, shared in overlaps(dated):
            if (first.row, second.row) not in reported:
                reported.add((first.row, second.row))
                what = f"{label} is also in row {first.row}: both are valid {shared}"
                findings.errors.append(second.problem("valid_from", what, "end one row where the other begins"))
        for first, second, missing in gaps(dated):
            if (first.row, second.row) not in reported and key not in doubtful:
                reported.add((first.row, second.row))
                _report_gap(table, findings, label, first, second, missing)
    return findings


def _report_gap(
    table: DirectoryTable, findings: Findings, label: str, first: Record, second: Record, missing: Interval
) -> None:
    what = f"{label} is not valid {missing}, between row {first.row} and this row"
    if table.a_gap_is_an_error:
        fix = "close the gap or give the second row another key"
        findings.errors.append(second.problem("valid_from", what, fix))
    else:
        fix = "nothing, if that is so: calls of those days fall to the next rung; otherwise close the gap"
        findings.warnings.append(second.problem("valid_from", what, fix))


def _repeated(table: DirectoryTable, records: Sequence[Record]) -> list[Problem]:
    problems = []
    for key, rows in _by_key(table, records).items():
        first, *others = sorted(rows, key=lambda record: record.row)
        what = f"{' '.join(key)} is already in row {first.row}"
        problems += [other.problem(table.keys[0][-1], what, "delete one of the two rows") for other in others]
    return problems


def _by_key(table: DirectoryTable, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        for key in _keys(table, {column: record.text(column) for column in table.header}):
            groups[key].append(record)
    return groups


def _keys(table: DirectoryTable, values: Mapping[str, str]) -> list[tuple[str, ...]]:
    keys = [tuple(_identity(values.get(column, "")) for column in columns) for columns in table.keys]
    return list(dict.fromkeys(keys))


def _by_code(records: Sequence[Record], column: str) -> dict[str, list[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.text(column)].append(record)
    return groups


def _identity(value: str) -> str:
    """E-mail addresses are one whatever their case; every other key is what is written."""
    return value.lower() if "@" in value else value


def _unknown_references(
    directory: Directory, table: str, column: str, target: str, target_column: str
) -> list[Problem]:
    if target not in directory.rows:
        return []
    known = {row.cells.get(target_column, "") for row in directory.rows[target]}
    problems = []
    fixes: dict[str, str] = {}  # thousands of rows may share one wrong value, and looking for a close one takes time
    for row in directory.rows.get(table, ()):
        value = row.cells.get(column, "")
        if value and value not in known:
            if value not in fixes:
                fixes[value] = f"{did_you_mean(value, known) or 'correct it'}, or add it to {TABLES[target].file}"
            what = f"{shown(value)} is not in {TABLES[target].file}"
            problems.append(Problem(TABLES[table].file, row.row, column, what, fixes[value]))
    return problems


def _uncovered_references(directory: Directory, longest: int) -> list[Problem]:
    """Days on which a row names something that is not valid: those calls fall to the next rung (rules 3.2, 3.3)."""
    problems = []
    for table, column, target, target_column in _REFERENCES:
        if target not in directory.records or column == "successor":
            continue
        targets = _by_code(directory.records[target], target_column)
        doubtful = {row.cells.get(target_column) for row in directory.rejected(target)}
        for record in directory.records.get(table, ()):
            named = record.text(column)
            hops = longest if target == "cost_centers" else 0
            if named not in targets or doubtful.intersection(_chain(named, targets)[: hops + 1]):
                continue
            cover = _cover(named, targets, hops)
            for missing in uncovered(record.interval, cover):
                what = f"{named} is not valid {missing}" + (" and no successor is" if hops else "")
                fix = "date one of the two rows to match, or know that calls of those days fall to the next rung"
                problems.append(record.problem(column, what, fix))
    return problems


def _check_policy_codes(
    directory: Directory, centers: Mapping[str, Sequence[Record]], policy: DirectoryPolicy
) -> list[Problem]:
    problems = []
    known = {row.cells.get("code") for row in directory.rows["cost_centers"]}
    for role, code in (("suspense", policy.suspense), ("central", policy.central)):
        if code not in known:
            what = f"the policy's {role} cost center {code} is not in the file"
            fix = f"add a row for {code} without valid_to, or change attribution.{role} in policy.yaml"
            problems.append(Problem("cost_centers.csv", None, "code", what, fix))
        elif code in centers and (last := _last(centers[code])).interval.valid_to is not None:
            what = f"the policy's {role} cost center {code} ends on {last.interval.valid_to}"
            problems.append(last.problem("valid_to", what, "leave valid_to empty"))
    return problems


def _check_successors(centers: Mapping[str, Sequence[Record]], longest: int) -> list[Problem]:
    problems = []
    in_a_reported_cycle: set[str] = set()
    for code in sorted(centers):
        last = _last(centers[code])
        for record in centers[code]:
            successor = record.text("successor")
            if successor and record is not last:
                what = f"{code} goes on in row {last.row}, so this successor is never asked"
                problems.append(record.problem("successor", what, f"move it to row {last.row} or clear it"))
        chain = _chain(code, centers)
        if len(set(chain)) < len(chain):  # the chain came back to a code that it already holds
            cycle = chain[chain.index(chain[-1]) :]
            if code in cycle and not in_a_reported_cycle.intersection(cycle):
                in_a_reported_cycle.update(cycle)
                what = f"the successors run in a circle: {' -> '.join(cycle)}"
                problems.append(last.problem("successor", what, "clear one of them"))
        elif len(chain) - 1 > longest:
            what = f"the chain of successors has {len(chain) - 1} steps, {longest} are followed: {' -> '.join(chain)}"
            problems.append(last.problem("successor", what, f"name {chain[-1]} directly"))
    return problems


def _chain(code: str, centers: Mapping[str, Sequence[Record]]) -> list[str]:
    """The code, its successor, and so on; ends at the first code that repeats or has no successor."""
    chain = [code]
    while chain[-1] in centers and (successor := _successor(centers[chain[-1]])):
        chain.append(successor)
        if successor in chain[:-1]:
            break
    return chain


def _cover(code: str, targets: Mapping[str, Sequence[Record]], hops: int) -> list[Interval]:
    """The days that the code answers for, itself or, once it has ended, through its successors (rule 3.2)."""
    rows = targets.get(code, ())
    own = [record.interval for record in rows]
    if not rows or not hops or (ended := _last(rows).interval.valid_to) is None or not _successor(rows):
        return own
    inherited = (interval.overlap(Interval(ended)) for interval in _cover(_successor(rows), targets, hops - 1))
    return [*own, *(interval for interval in inherited if interval is not None)]


def _successor(rows: Sequence[Record]) -> str:
    last = _last(rows)
    return last.text("successor") if last.table.name == "cost_centers" else ""


def _last(rows: Sequence[Record]) -> Record:
    return max(rows, key=lambda record: record.interval.valid_from)
