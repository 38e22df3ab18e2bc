"""signoff.csv: who approved the pack, in a form that anybody can check without us (Rule 11.8).

Belongs here: the file's columns, its bytes, and reading and checking it again. Does not belong here: who may sign and
what is signed (`domain.approval`), the arithmetic (`ledger.signing`), when it is written (`seal`: last of all).

A line is enough to build the signed bytes again (`domain.approval.signed_bytes`): nothing that was signed is missing,
nothing is shortened. The signer stands there by name and by the key's fingerprint, never by e-mail address.
"""

import csv
import datetime as dt
import io
from collections.abc import Sequence
from typing import Final

from tokengov_pipelines.domain.approval import (
    Approval,
    ApprovalError,
    ApprovalKind,
    ApprovalProblem,
    PackSubject,
    Person,
    Role,
    approval_problems,
    fingerprint,
    in_force,
    instant_text,
)
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.ledger.signing import verifies
from tokengov_pipelines.pack.writer import Column, Kind, PackError, csv_bytes, neutralised

SIGNOFF: Final = "signoff.csv"

COLUMNS: Final = (
    Column("role"),
    Column("name"),
    Column("at"),
    Column("statement"),
    Column("content_sha256"),
    Column("manifest_sha256"),
    Column("signature"),
    Column("exceptions"),
    Column("kind"),
    Column("key_fingerprint"),
    Column("public_key"),
    Column("month"),
    Column("version", Kind.INTEGER),
)
"""The columns of rule 11.8, then what a check without the ledger needs."""


def signoff_csv(approvals: Sequence[Approval], manifest_sha256: str) -> bytes:
    """The file of a pack: one line for each role and person.

    Raises:
        PackError: an approval has text that a table would change, so that its signature could not be checked again.
    """
    rows = []
    for each in in_force(approvals):
        printed = (each.name, each.statement, each.exceptions)
        if any(neutralised(text) != text for text in printed):
            message = (
                f"the approval of {each.subject} as {each.role} holds text that a CSV file cannot hold unchanged. "
                "Fix: correct the name in directory/people.csv, and sign again."
            )
            raise PackError(message)
        rows.append(
            (
                str(each.role),
                each.name,
                instant_text(each.at),
                each.statement,
                each.subject.content_sha256,
                manifest_sha256,
                each.signature,
                each.exceptions,
                str(each.kind),
                each.key_fingerprint,
                each.public_key,
                str(each.subject.month),
                each.subject.version,
            )
        )
    return csv_bytes(COLUMNS, rows, ("role", "name", "at"))


def read_signoff(content: bytes) -> list[tuple[Approval, str]]:
    """The approvals of a file, each with the manifest hash on its line; e-mail addresses are empty.

    Raises:
        PackError: the file is no signoff.csv, or a cell does not hold what its column says.
    """
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        message = f"{SIGNOFF} cannot be read: {error}. Fix: take the pack from where it was delivered from."
        raise PackError(message) from error
    if list(reader.fieldnames or ()) != [column.name for column in COLUMNS]:
        names = ", ".join(column.name for column in COLUMNS)
        message = (
            f"{SIGNOFF} has other columns than {names}. Fix: take the file from where the pack was delivered from."
        )
        raise PackError(message)
    return [_read_row(line, row) for line, row in enumerate(rows, start=2)]


def signoff_problems(
    content: bytes, subject: PackSubject, manifest_sha256: str, people: Sequence[Person] | None = None
) -> list[ApprovalProblem]:
    """What is wrong with a pack's sign-off, those that block first; `subject` and `manifest_sha256` as found on disk.

    With `people` (people.csv) the names, roles and keys are checked against the register. Without it the signatures
    are checked by the keys on the lines alone, and a warning names the fingerprints to compare with the register.

    Raises:
        PackError: the file cannot be read.
    """
    lines = read_signoff(content)
    problems = [
        ApprovalProblem(
            "other_manifest",
            f"{SIGNOFF}: {approval.role} {approval.name} stands beside manifest {of_manifest[:12]}, the pack has "
            f"{manifest_sha256[:12]}",
            "take manifest.json and signoff.csv from the same delivery",
        )
        for approval, of_manifest in lines
        if of_manifest != manifest_sha256
    ]
    given = [approval for approval, _ in lines]
    found = approval_problems(subject, given, people or [], verifies)
    if people is None:
        found = [each for each in found if each.code != "no_register"]
        found += [_unregistered(each) for each in given if each.kind is ApprovalKind.SIGNED]
    return sorted(problems + found, key=lambda problem: not problem.blocks)


def _unregistered(approval: Approval) -> ApprovalProblem:
    return ApprovalProblem(
        "register_not_checked",
        f"the owner of key {approval.key_fingerprint} ({approval.role} {approval.name}) was not looked up",
        "compare the fingerprint with the organisation's register, or check against directory/people.csv",
        blocks=False,
    )


def _read_row(line: int, row: dict[str, str]) -> tuple[Approval, str]:
    try:
        at = dt.datetime.strptime(row["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
        approval = Approval(
            subject=PackSubject(BillingMonth.parse(row["month"]), int(row["version"]), row["content_sha256"]),
            role=Role(row["role"]),
            name=row["name"],
            email="",
            at=at,
            statement=row["statement"],
            exceptions=row["exceptions"],
            public_key=row["public_key"] or None,
            signature=row["signature"] or None,
        )
        kind = ApprovalKind(row["kind"])
        named = None if approval.public_key is None else fingerprint(approval.public_key)
    except (ValueError, TypeError, PeriodError, ApprovalError) as error:
        message = f"{SIGNOFF}:{line}: {error} Fix: take the file from where the pack was delivered from."
        raise PackError(message) from error
    if kind is not approval.kind or (row["key_fingerprint"] or None) != named:
        message = f"{SIGNOFF}:{line}: kind or key_fingerprint is not that of the line's key. Fix: take the file again."
        raise PackError(message)
    return approval, row["manifest_sha256"]
