"""The approvals that a close rests on: those recorded for exactly its content, and what the close itself asserts (2.4).

Belongs here: putting both together and what is wrong with them. Does not belong here: the rules of an approval
(`domain.approval`), recording (`ledger.approvals`), signoff.csv (`signoff_csv`).

Whoever names a preparer and an approver asserts two approvals. A signed one of the same role and person goes before it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from tokengov_pipelines.domain.approval import (
    Approval,
    ApprovalProblem,
    PackSubject,
    Person,
    Role,
    approval_problems,
    asserted,
    in_force,
)
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.ledger.signing import verifies


@dataclass(frozen=True)
class CloseApprovals:
    """`in_force` are one approval for each role and person."""

    in_force: tuple[Approval, ...]
    problems: tuple[ApprovalProblem, ...]


def close_approvals(
    subject: PackSubject,
    recorded: Sequence[Approval],
    preparer: str,
    approver: str,
    people: Sequence[Person],
    at: dt.datetime,
) -> CloseApprovals:
    """The approvals of a close that names `preparer` and `approver` (e-mail or name), and what is wrong with them."""
    new = []
    for who, role in ((preparer, Role.PREPARER), (approver, Role.CONTROLLER)):
        said = any(each.role is role and _is(each, who) for each in recorded)
        if who.strip() and not said:
            new.append(asserted(subject, role, who, people, at))
    chosen = in_force([*recorded, *new])
    return CloseApprovals(tuple(chosen), tuple(approval_problems(subject, chosen, people, verifies)))


def _is(approval: Approval, who: str) -> bool:
    return same_person(approval.email, who) or same_person(approval.name, who)
