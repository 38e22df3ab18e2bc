"""Which files of a cloud's export make up a billing period, and which are unclear.

Belongs here: parts, copies, versions beside one another and exports of the same period, told apart by their content.
Does not belong here: reading a file (`resources.cloud_bill_files`), finding files, the lake (`resources.cloud_bills`).

Nothing is picked by a file's date or name: where two files cannot both be right, a person decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from resources.cloud_bill_files import BillFile, Bucket
from tokengov_pipelines.domain.cloud_charge import Charge
from tokengov_pipelines.domain.problem import Problem, in_reading_order

_NO_SOURCE: Final = "_misplaced"


@dataclass(frozen=True)
class SourceBills:
    """What a source's folder holds: its files, the charges of every period that is clear, and what is wrong."""

    source: str
    files: tuple[BillFile, ...]
    periods: Mapping[str, tuple[Charge, ...]]
    ignored: tuple[str, ...]
    problems: tuple[Problem, ...]


def resolve(source: str, files: Sequence[BillFile]) -> SourceBills:
    """Which files make up which period: parts of a folder together, copies once, two exports of a period not at all."""
    unread = [file for file in files if file.problem is not None]
    problems = [file.problem for file in unread if file.problem is not None]
    kept, ignored = _without_copies([file for file in files if file.problem is None])
    by_folder: dict[str, list[BillFile]] = defaultdict(list)
    for file in kept:
        by_folder[_folder(file.name)].append(file)
    unclear = {folder for folder, parts in by_folder.items() if _mixed(folder, parts, problems)}
    unclear |= {_folder(file.name) for file in unread}
    periods: dict[str, tuple[Charge, ...]] = {}
    for period, folders in sorted(_by_period(by_folder).items()):
        problem = _two_exports(source, period, folders) or _repeated(folders, period)
        if problem is not None:
            problems.append(problem)
        elif not set(folders) & unclear:
            parts = [file for of_folder in folders.values() for file in of_folder]
            periods[period] = tuple(row for file in parts for row in file.charges if row.billing_period == period)
    return SourceBills(source, tuple(files), periods, tuple(ignored), tuple(in_reading_order(problems)))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _without_copies(files: Sequence[BillFile]) -> tuple[list[BillFile], list[str]]:
    """Files of different content, and the names of those that repeat one of them byte for byte."""
    first: dict[str, BillFile] = {}
    ignored = []
    for file in files:
        if file.sha256 in first:
            ignored.append(file.name)
        else:
            first[file.sha256] = file
    return list(first.values()), ignored


def _mixed(folder: str, parts: Sequence[BillFile], problems: list[Problem]) -> bool:
    """Whether a folder holds more than one form of bill or of file, which would be two exports of the same rows."""
    forms = {(file.form.version.partition("-")[0] if file.form else "", _ending(file.name)) for file in parts}
    if len(forms) > 1:
        shown = ", ".join(sorted(f"{form} as {ending}" for form, ending in forms))
        what = f"holds more than one export: {shown}"
        problems.append(Problem(folder, None, None, what, "give each export a folder and a source of its own"))
    return len(forms) > 1


def _ending(name: str) -> str:
    return "parquet" if name.lower().endswith(".parquet") else "csv"


def _by_period(by_folder: Mapping[str, Sequence[BillFile]]) -> dict[str, dict[str, list[BillFile]]]:
    """The files with rows of every period, by folder. Where several have some, those without AI lines do not count."""
    found: dict[str, dict[str, list[BillFile]]] = defaultdict(lambda: defaultdict(list))
    for folder, parts in by_folder.items():
        for file in parts:
            for period in file.periods:
                found[period][folder].append(file)
    for period, folders in found.items():
        with_ai = {folder: parts for folder, parts in folders.items() if any(_has_ai(file, period) for file in parts)}
        if with_ai:
            found[period] = defaultdict(list, with_ai)
    return found


def _has_ai(file: BillFile, period: str) -> bool:
    return any(total.billing_period == period and total.bucket is not Bucket.OTHER_SERVICES for total in file.totals)


def _two_exports(source: str, period: str, folders: Mapping[str, Sequence[BillFile]]) -> Problem | None:
    if len(folders) == 1 or not any(_has_ai(file, period) for parts in folders.values() for file in parts):
        return None
    what = f"{period} is in {len(folders)} folders ({', '.join(sorted(folders))}): exports of a period are not added up"
    fix = "keep the newest export's folder and move the others out, or give each export a source of its own"
    return Problem(source, None, None, what, fix)


def _repeated(folders: Mapping[str, Sequence[BillFile]], period: str) -> Problem | None:
    """Two parts most of whose charges are the same: a later version of a file beside the earlier one."""
    seen: list[tuple[str, set[Charge]]] = []
    for file in (file for parts in folders.values() for file in parts):
        mine = {
            replace(row, source_file="", record_no=0, content_sha256="")
            for row in file.charges
            if row.billing_period == period
        }
        for name, others in seen:
            fewer = min(len(mine), len(others))
            if fewer and 2 * len(mine & others) > fewer:
                what = (
                    f"{len(mine & others)} of {fewer} charges of {period} are in {name} as well: "
                    "it looks like another version of the same bill"
                )
                return Problem(file.name, None, None, what, "keep the newer of the two files")
        seen.append((file.name, mine))
    return None


def misplaced_files(names: Iterable[str]) -> SourceBills:
    """Files that lie in no source's folder, as a source of their own without a name that a folder can have."""
    what = "lies in no source's folder"
    fix = "move it to a folder named for its export, such as aws-bedrock: small letters, digits, - and _"
    return SourceBills(_NO_SOURCE, (), {}, (), tuple(Problem(name, None, None, what, fix) for name in names))


def told_apart(sources: Sequence[SourceBills]) -> list[SourceBills]:
    """The same sources; a file that an earlier source holds byte for byte takes its periods out of the later one."""
    first: dict[str, str] = {}
    told = []
    for bills in sources:
        copies = [file for file in bills.files if file.rows and first.get(file.sha256, bills.source) != bills.source]
        problems = [
            Problem(
                file.name,
                None,
                None,
                f"is byte for byte a file of the source {first[file.sha256]}",
                "keep it in one source: what is in two is charged twice",
            )
            for file in copies
        ]
        twice = {period for file in copies for period in file.periods}
        left = {period: rows for period, rows in bills.periods.items() if period not in twice}
        told.append(replace(bills, periods=left, problems=(*bills.problems, *problems)))
        for file in bills.files:
            first.setdefault(file.sha256, bills.source)
    return told
