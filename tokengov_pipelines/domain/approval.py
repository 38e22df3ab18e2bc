"""Approvals of a pack: who says what of which content, the exact bytes that are signed, and what makes one no good.

Belongs here: roles, statements, the signed text, the rules of rules 2.4 and 11.8. Does not belong here: the
arithmetic of Ed25519 (`ledger.signing`), keeping approvals (`ledger.approvals`), signoff.csv (`pack.signoff_csv`).

An approval is of one content hash: a pack whose content changes has none. One with a signature can be checked by
anybody who has the pack and the register of keys. One without is `asserted`: the ledger says so, nobody can prove it.
"""

import base64
import binascii
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth, accounting_day

FORMAT: Final = "tokengov-approval-1"
"""What the signed text calls itself; it changes when the text does, so that old signatures keep their meaning."""

KEY_PREFIX: Final = "ed25519:"
LONGEST_TEXT: Final = 500
"""Characters of a name or of exceptions: signoff.csv may shorten nothing that was signed."""

_KEY_BYTES: Final = 32


class ApprovalError(ValueError):
    """A key or an approval that cannot be; the text says what to write."""


class Role(StrEnum):
    """What a person answers for when signing. A pack needs a preparer and a controller; a reviewer may be added."""

    PREPARER = "preparer"
    REVIEWER = "reviewer"
    CONTROLLER = "controller"


class ApprovalKind(StrEnum):
    """Signed with a registered key, or said to have happened."""

    SIGNED = "signed"
    ASSERTED = "asserted"


REQUIRED: Final = (Role.PREPARER, Role.CONTROLLER)

MAY_SIGN_AS: Final[Mapping[Role, frozenset[str]]] = {
    Role.PREPARER: frozenset({"finance", "controller"}),
    Role.REVIEWER: frozenset({"finance", "controller"}),
    Role.CONTROLLER: frozenset({"controller"}),
}
"""The roles of people.csv that may sign in a role. An admin runs the product and signs nothing."""

_STATEMENTS: Final[Mapping[Role, str]] = {
    Role.PREPARER: (
        "I prepared the pack of {month} v{version}: its charges add up to the invoices and accruals of the month, and "
        "what is open is listed in it."
    ),
    Role.REVIEWER: "I reviewed the pack of {month} v{version}, its reconciliation and its open items.",
    Role.CONTROLLER: "I approve the pack of {month} v{version} for posting.",
}


@dataclass(frozen=True)
class Person:
    """One row of people.csv: who holds which role, with which signing key (Ed25519, 'ed25519:...'), on which days."""

    email: str
    name: str
    role: str
    signing_key: str | None
    interval: Interval

    @classmethod
    def of(cls, row: Mapping[str, object]) -> "Person":
        """The person of a row with the columns of people.csv, typed as the directory reads them."""
        valid_from, valid_to = row["valid_from"], row["valid_to"]
        if not isinstance(valid_from, dt.date) or not (valid_to is None or isinstance(valid_to, dt.date)):
            message = f"people.csv: the dates of {row['name']} are no dates. Fix: load the directory again."
            raise ApprovalError(message)
        key = str(row["signing_key"]).strip() if row["signing_key"] else None
        return cls(str(row["email"]), str(row["name"]), str(row["role"]), key, Interval(valid_from, valid_to))


@dataclass(frozen=True)
class PackSubject:
    """What an approval is of: one version of one month, by the hash of its content (Rule 11.8)."""

    month: BillingMonth
    version: int
    content_sha256: str

    def __str__(self) -> str:
        return f"{self.month} v{self.version} ({self.content_sha256[:12]})"


@dataclass(frozen=True)
class Approval:
    """One approval. `at` is an aware UTC datetime in whole seconds; `exceptions` is what the signer leaves out of it.

    `email` is empty where nobody may know it (signoff.csv). `public_key` and `signature` are 'ed25519:<base64>', both
    or neither.
    """

    subject: PackSubject
    role: Role
    name: str
    email: str
    at: dt.datetime
    statement: str
    exceptions: str = ""
    public_key: str | None = None
    signature: str | None = None

    @property
    def kind(self) -> ApprovalKind:
        """Whether there is a signature to check."""
        return ApprovalKind.ASSERTED if self.signature is None else ApprovalKind.SIGNED

    @property
    def key_fingerprint(self) -> str | None:
        """The short name of the key that signed; None of an asserted one."""
        return None if self.public_key is None else fingerprint(self.public_key)


@dataclass(frozen=True)
class ApprovalProblem:
    """What is wrong with a pack's approvals. `blocks` is false of what may pass with a warning (`asserted`)."""

    code: str
    what: str
    fix: str
    blocks: bool = True

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


def statement_of(role: Role, month: BillingMonth, version: int) -> str:
    """The words that a signer of this role signs; fixed, so that nobody signs less than the role asks for."""
    return _STATEMENTS[role].format(month=month, version=version)


def whole_seconds(at: dt.datetime) -> dt.datetime:
    """An instant as approvals keep it: UTC, without what signoff.csv does not print. Naive ones raise ApprovalError."""
    if at.utcoffset() is None:
        message = f"{at!r} has no time zone. Fix: pass an aware UTC datetime."
        raise ApprovalError(message)
    return at.astimezone(dt.UTC).replace(microsecond=0)


def instant_text(at: dt.datetime) -> str:
    """The instant as it is signed and printed: 2026-11-05T09:30:00Z."""
    return whole_seconds(at).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def signed_bytes(approval: Approval) -> bytes:
    """The exact bytes a signature is made over: one line of JSON, keys sorted, no blanks, UTF-8, no line feed.

    Everything that signoff.csv prints of an approval is in it but the manifest's hash, which comes later. Of an e-mail
    address there is nothing in it, so that the pack alone is enough to check it.
    """
    text = {
        "at": instant_text(approval.at),
        "content_sha256": approval.subject.content_sha256,
        "exceptions": approval.exceptions,
        "format": FORMAT,
        "key": approval.public_key or "",
        "month": str(approval.subject.month),
        "name": approval.name,
        "role": str(approval.role),
        "statement": approval.statement,
        "version": approval.subject.version,
    }
    return json.dumps(text, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def key_bytes(public_key: str) -> bytes:
    """The 32 bytes of 'ed25519:<base64>'.

    Raises:
        ApprovalError: it is written in another form; the text repeats nothing of it, it could be a private key.
    """
    try:
        raw = base64.b64decode(public_key.removeprefix(KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not public_key.startswith(KEY_PREFIX) or len(raw) != _KEY_BYTES:
        message = (
            "a signing key is written ed25519: and the base64 of its 32 public bytes. Fix: copy the line that "
            "`tokengov keys new` printed."
        )
        raise ApprovalError(message)
    return raw


def key_text(raw: bytes) -> str:
    """32 public bytes as people.csv and signoff.csv write them."""
    return KEY_PREFIX + base64.b64encode(raw).decode("ascii")


def fingerprint(public_key: str) -> str:
    """The short name of a public key for people, as ssh writes it: SHA256: and base64 without padding."""
    digest = hashlib.sha256(key_bytes(public_key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def person_on(people: Iterable[Person], email: str, day: dt.date) -> Person | None:
    """The row of people.csv that is valid for an e-mail address on a day, or None."""
    return next((each for each in people if same_person(each.email, email) and each.interval.valid_on(day)), None)


def asserted(subject: PackSubject, role: Role, who: str, people: Sequence[Person], at: dt.datetime) -> Approval:
    """An approval without a signature, of a person named by e-mail or by name.

    Where people.csv does not know the e-mail, the part before the @ is the name: no pack holds an address (Rule 12.7).
    """
    person = person_on(people, who, accounting_day(at))
    name = person.name if person else who.strip().split("@")[0]
    email = person.email if person else who.strip() if "@" in who else ""
    return Approval(subject, role, name, email, whole_seconds(at), statement_of(role, subject.month, subject.version))


def in_force(approvals: Iterable[Approval]) -> list[Approval]:
    """One approval for each role and person: a signed one before an asserted one, then the newest; roles in order."""
    chosen: dict[tuple[Role, str], Approval] = {}
    for each in sorted(approvals, key=lambda each: (each.kind is ApprovalKind.SIGNED, each.at)):
        chosen[each.role, (each.email or each.name).strip().casefold()] = each
    roles = list(Role)
    return sorted(chosen.values(), key=lambda each: (roles.index(each.role), each.at, each.name))


def problems_of(
    approval: Approval, people: Sequence[Person], verifies: Callable[[Approval], bool]
) -> list[ApprovalProblem]:
    """What is wrong with one approval by itself (Rule 2.4).

    `people` is people.csv; without any row of it nobody's role can be held, which is told and blocks nothing of an
    asserted approval. `verifies` says whether the signature is that of `signed_bytes` by the approval's key.
    """
    problems = _misprinted(approval)
    if approval.statement != statement_of(approval.role, approval.subject.month, approval.subject.version):
        what = f"{_said(approval)} has other words than the statement of this role"
        problems.append(ApprovalProblem("other_statement", what, f"{_sign_command(approval)} signs the right words"))
    problems += _of_register(approval, people)
    if approval.kind is ApprovalKind.ASSERTED:
        what = f"{_said(approval)} is asserted: no signature proves it"
        fix = f"{_sign_command(approval)} --key FILE, with a key registered in directory/people.csv"
        problems.append(ApprovalProblem("asserted", what, fix, blocks=False))
    elif approval.public_key is None or not verifies(approval):
        what = f"the signature in {_said(approval)} is not that of its key over this content"
        problems.append(ApprovalProblem("bad_signature", what, f"{_sign_command(approval)} again"))
    return problems


def approval_problems(
    subject: PackSubject,
    approvals: Iterable[Approval],
    people: Sequence[Person],
    verifies: Callable[[Approval], bool],
) -> list[ApprovalProblem]:
    """What is wrong with the approvals of a pack, those that block first (Rules 2.4, 11.8).

    Approvals of another content count for nothing: what was approved is not what would be closed.
    """
    given = in_force(approvals)
    mine = [each for each in given if each.subject == subject]
    problems: list[ApprovalProblem] = []
    for role in REQUIRED:
        if not any(each.role is role for each in mine):
            stale = [each for each in given if each.role is role]
            what = f"{subject} has no {role}"
            if stale:
                what += f"; {stale[-1].name} approved {stale[-1].subject}, and the content has changed since"
            fix = f"tokengov sign {subject.month} --role {role} --as EMAIL --key FILE"
            problems.append(ApprovalProblem("not_approved", what, fix))
    problems += [problem for each in mine for problem in problems_of(each, people, verifies)]
    for one, other in combinations(mine, 2):
        if one.role is not other.role and _one_person(one, other):
            what = f"{one.name} and {other.name} are one person or one key, as {one.role} and as {other.role}"
            fix = f"another person signs: tokengov sign {subject.month} --role {other.role} --as EMAIL --key FILE"
            problems.append(ApprovalProblem("one_person", what, fix))
    return sorted(problems, key=lambda problem: not problem.blocks)


def _misprinted(approval: Approval) -> list[ApprovalProblem]:
    """What signoff.csv could not print as it was signed: a table's cell may neither be run nor cut (Rule 12.3)."""
    name, exceptions = approval.name, approval.exceptions
    if not (name[:1].isalnum() and name.isprintable() and len(name) <= LONGEST_TEXT and "@" not in name):
        what = f"{approval.role}: a signer's name begins with a letter, is on one line and is no e-mail address"
        return [ApprovalProblem("unprintable_name", what, "correct the name in directory/people.csv")]
    if exceptions and not (exceptions[:1].isalnum() and exceptions.isprintable() and len(exceptions) <= LONGEST_TEXT):
        what = f"the exceptions of {approval.role} {name} do not begin with a letter, or are not one line of text"
        return [ApprovalProblem("unprintable_exceptions", what, f"write at most {LONGEST_TEXT} characters on one line")]
    return []


def _of_register(approval: Approval, people: Sequence[Person]) -> list[ApprovalProblem]:
    """Whether people.csv knows the signer, in a role that may sign so, with this key, on the day of the approval."""
    if not people:
        what = (
            f"directory/people.csv has nobody in it: whether {approval.name} may sign as {approval.role} is not known"
        )
        signed = approval.kind is ApprovalKind.SIGNED
        return [ApprovalProblem("no_register", what, "add the people who close, with their roles and keys", signed)]
    day = accounting_day(approval.at)
    person = person_on(people, approval.email, day) if approval.email else _by_name(people, approval, day)
    if person is None:
        what = f"{_said(approval)}: directory/people.csv does not hold this person on {day}"
        return [ApprovalProblem("unknown_person", what, "add the person, or let somebody sign who is in it")]
    problems = []
    if person.role not in MAY_SIGN_AS[approval.role]:
        allowed = " or ".join(sorted(MAY_SIGN_AS[approval.role]))
        what = f"{_said(approval)}: {person.name} is {person.role} in directory/people.csv, not {allowed}"
        problems.append(ApprovalProblem("wrong_role", what, f"somebody signs who is {allowed}"))
    if approval.public_key is not None and approval.public_key != person.signing_key:
        what = f"{_said(approval)}: the key {approval.key_fingerprint} is not registered for {person.name} on {day}"
        fix = "write it into signing_key of directory/people.csv, or sign with the registered key"
        problems.append(ApprovalProblem("unregistered_key", what, fix))
    return problems


def _by_name(people: Sequence[Person], approval: Approval, day: dt.date) -> Person | None:
    """The person of an approval that carries no e-mail: the owner of its key, else the one of this name."""
    valid = [each for each in people if each.interval.valid_on(day)]
    if approval.public_key is not None:
        owner = next((each for each in valid if each.signing_key == approval.public_key), None)
        if owner is not None:
            return owner if same_person(owner.name, approval.name) else None
    return next((each for each in valid if same_person(each.name, approval.name)), None)


def _one_person(one: Approval, other: Approval) -> bool:
    if one.public_key and other.public_key:
        return one.public_key == other.public_key or bool(one.email and same_person(one.email, other.email))
    if one.email and other.email:
        return same_person(one.email, other.email)
    return same_person(one.name, other.name)


def _said(approval: Approval) -> str:
    return f"{approval.subject} as {approval.role} by {approval.name}"


def _sign_command(approval: Approval) -> str:
    return f"tokengov sign {approval.subject.month} --role {approval.role} --as EMAIL"
