"""`tokengov keys`, `tokengov sign`, `tokengov approvals`: signing keys, and who approved what a close would hold.

Belongs here: arguments, key files, tables, exit codes. Does not belong here: what is signed and who may sign (`domain.
approval`), the arithmetic (`ledger.signing`), the record (`ledger.approvals`), the close (`pack.seal`).
"""

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, complain, fail, opened_ledger, say
from tokengov_pipelines.console import show as show_table
from tokengov_pipelines.domain.approval import (
    Approval,
    ApprovalKind,
    PackSubject,
    Person,
    Role,
    approval_problems,
    asserted,
    fingerprint,
    instant_text,
    signed_bytes,
)
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import Installation

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.ledger import Ledger

keys = typer.Typer(no_args_is_help=True)
app = typer.Typer(help="Sign what a close would hold, and show who has.", no_args_is_help=True)

PASSPHRASE_VARIABLE: Final = "TOKENGOV_SIGNING_PASSPHRASE"  # noqa: S105 - a name, no secret
_SHORTEST_HASH: Final = 12

MonthArgument = Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")]


def _errors() -> tuple[type[Exception], ...]:
    """What these commands refuse in words; reading the directory is what makes them start slowly."""
    from resources.directory import DirectoryError

    return (PeriodError, DirectoryError)


@keys.callback()
def signing_keys() -> None:
    """Make signing keys."""


@keys.command("new")
def new_key(
    out: Annotated[Path, typer.Option(help="The file of the private key; it must not be there yet.")],
) -> None:
    """Make a key pair: the private key goes into a file for you alone, the public one is printed for people.csv."""
    from tokengov_pipelines.ledger.signing import new_private_key, private_key_pem, public_key_of

    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    key = new_private_key()
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{out} is there already, and a key is never overwritten. Fix: name another file.")
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}. Fix: name a file in a folder that is yours.")
    with os.fdopen(handle, "wb") as file:
        file.write(private_key_pem(key, passphrase))
    public = public_key_of(key)
    say(f"private key: {out} ({'encrypted' if passphrase else 'not encrypted'}, mode 0600). Keep it; tell nobody.")
    say(f"fingerprint: {fingerprint(public)}")
    say("Next: the line of directory/people.csv (email,name,role,signing_key,valid_from,valid_to) has as signing_key")
    say(public)
    if not passphrase:
        complain(
            f"The key lies open in its file. To encrypt one, set {PASSPHRASE_VARIABLE} before `tokengov keys new`."
        )


@app.command()
def sign(
    month: MonthArgument,
    role: Annotated[Role, typer.Option(help="What you answer for.")],
    as_: Annotated[str, typer.Option("--as", help="Who signs (the e-mail in people.csv).", metavar="EMAIL")],
    key: Annotated[
        Path | None, typer.Option(help=f"The private key; {PASSPHRASE_VARIABLE} holds its passphrase, if it has one.")
    ] = None,
    content: Annotated[
        str | None, typer.Option(help="The content hash you looked at, or its first 12 characters: sign only that.")
    ] = None,
    exceptions: Annotated[str, typer.Option(help="What your approval leaves out; it is signed and printed.")] = "",
    home: HomeOption = None,
) -> None:
    """Approve what `tokengov close` would seal: with --key as a signature, without as a statement (asserted)."""
    with opened_ledger(home, *_errors()) as (installation, ledger):
        subject = _subject(ledger, BillingMonth.parse(month), content)
        people = _people(installation)
        plain = asserted(subject, role, as_, people, installation.settings.now())
        approval = replace(plain, exceptions=exceptions.strip())
        if key is not None:
            approval = _signed(approval, key)
        ledger.approvals.record(approval, people)
    say(f"{approval.name} ({approval.role}, {approval.kind}): {approval.statement}")
    say(f"content sha256 {subject.content_sha256}")
    if approval.kind is ApprovalKind.ASSERTED:
        say("Asserted: nobody can prove it later. --key FILE signs.")
    say(f"Next: tokengov approvals show {month}; once everybody has signed, tokengov close {month}")


@app.command()
def show(month: MonthArgument, home: HomeOption = None) -> None:
    """Show the approvals of a month, and what they still lack."""
    from tokengov_pipelines.ledger.signing import verifies

    with opened_ledger(home, *_errors()) as (installation, ledger):
        billing_month = BillingMonth.parse(month)
        given = ledger.approvals.all(billing_month)
        period = ledger.period(billing_month)
        subject = None
        if period.content_sha256 is not None:
            subject = PackSubject(billing_month, period.version, period.content_sha256)
        elif (prepared := _prepared(ledger, billing_month)) is not None:
            subject = PackSubject(billing_month, period.version + 1, prepared)
        people = _people(installation)
    if given:
        _print_approvals(month, given, subject)
    else:
        say(f"Nobody has approved {month}.")
    if subject is None:
        say(f"Next: tokengov prepare {month}")
        return
    for problem in approval_problems(subject, given, people, verifies):
        complain(f"{'missing' if problem.blocks else 'note'}: {problem}")


def _subject(ledger: "Ledger", month: BillingMonth, content: str | None) -> PackSubject:
    prepared = _prepared(ledger, month)
    if prepared is None:
        fail(f"{month} has no draft that says what its close would hold. Fix: tokengov prepare {month}")
    if content is not None and (len(content) < _SHORTEST_HASH or not prepared.startswith(content.lower())):
        fail(
            f"the close of {month} would hold content {prepared[:_SHORTEST_HASH]}, not {content[:_SHORTEST_HASH]}. "
            f"Fix: look at the draft again, then --content {prepared[:_SHORTEST_HASH]}"
        )
    return PackSubject(month, ledger.period(month).version + 1, prepared)


def _prepared(ledger: "Ledger", month: BillingMonth) -> str | None:
    """The content hash that a close would have, as the draft says it."""
    drafts = [version for version in ledger.versions(month) if version.status == "draft"]
    return drafts[0].close_content_sha256 if drafts else None


def _people(installation: Installation) -> list[Person]:
    from resources.directory import OrgDirectory

    attribution, directory = installation.policy.attribution, installation.settings.directory
    found = OrgDirectory(
        url=installation.resolve(directory.url),
        schema_version=directory.schema_version,
        suspense=attribution.suspense,
        central=attribution.central,
        max_successor_chain=attribution.max_successor_chain,
    ).load()
    return [Person.of(row) for row in found.tables["people"].to_pylist()]


def _signed(approval: Approval, path: Path) -> Approval:
    from tokengov_pipelines.ledger.signing import public_key_of, read_private_key
    from tokengov_pipelines.ledger.signing import sign as sign_bytes

    try:
        pem, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}. Fix: name the file that `tokengov keys new` made.")
    if os.name == "posix" and mode & 0o077:
        fail(f"{path} can be read by others (mode {mode:04o}): whoever has it signs as you. Fix: chmod 600 {path}")
    private = read_private_key(pem, os.environ.get(PASSPHRASE_VARIABLE), str(path))
    unsigned = replace(approval, public_key=public_key_of(private))
    return replace(unsigned, signature=sign_bytes(private, signed_bytes(unsigned)))


def _print_approvals(month: str, given: list[Approval], subject: PackSubject | None) -> None:
    table = Table(
        "role", "name", "kind", "at", "content", "version", "key", title=f"Approvals of {month}", title_justify="left"
    )
    for each in given:
        current = each.subject == subject
        table.add_row(
            str(each.role),
            Text(each.name),
            Text(str(each.kind), style="green" if each.kind is ApprovalKind.SIGNED else "yellow"),
            instant_text(each.at),
            Text(each.subject.content_sha256[:_SHORTEST_HASH] + ("" if current else " (another content)")),
            f"v{each.subject.version}",
            each.key_fingerprint or "",
        )
    show_table(table)
