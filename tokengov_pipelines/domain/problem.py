"""What is wrong with a file that people wrote: where, what, and the fix.

Belongs here: the one shape in which the directory's and the invoices' checks report, so that every door (asset, command
line, documentation) prints the same line. Does not belong here: the checks (`directory`, `invoice`) and the decision to
stop, which is the reader's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """One finding. `row` is the line number in a CSV file (the header is line 1); None where a whole file is meant."""

    file: str
    row: int | None
    field: str | None
    what: str
    fix: str

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}:{self.row}"
        if self.field:
            place = f"{place} {self.field}"
        return f"{place}: {self.what}. Fix: {self.fix}."


@dataclass
class Findings:
    """What a set of checks found: errors stop the load, warnings are shown beside it."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def extend(self, other: "Findings") -> None:
        """Add the findings of another check."""
        self.errors.extend(other.errors)
        self.warnings.extend(other.warnings)


def in_reading_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, by file and row, so that a person can walk through a file from top to bottom."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.row or 0))
