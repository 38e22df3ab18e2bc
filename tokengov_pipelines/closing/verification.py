"""What is wrong with a pack, told from its own files: hashes, ties, re-performance, signatures (Rules 2.6, 11.8).

Belongs here: the checks in their order and their findings. Does not belong here: making a pack again
(`reperformance`), signatures (`pack.signoff_csv`), what the lake holds now (`assets`), printing (`verify_cli`).

Hashes come first, so that nothing parses an input that is not the one that was sealed.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from tokengov_pipelines.closing.input_files import FOLDER
from tokengov_pipelines.closing.reperformance import differing, performed_again
from tokengov_pipelines.domain.approval import PackSubject, Person, in_force
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.pack.charge_ties import charge_ties
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.control_totals import CONTROL_TOTALS_JSON
from tokengov_pipelines.pack.folders import read_folder_files
from tokengov_pipelines.pack.manifest import (
    MANIFEST_JSON,
    NOT_LISTED,
    SIGNOFF_CSV,
    LakePartition,
    ManifestFacts,
    content_sha256,
    manifest_json,
)
from tokengov_pipelines.pack.read_back import rows_of
from tokengov_pipelines.pack.signoff_csv import read_signoff, signoff_csv, signoff_problems
from tokengov_pipelines.pack.writer import PackError, json_bytes, sha256_of

UNREADABLE: Final = (
    PackError,
    ValueError,  # with it bytes that are no UTF-8, amounts that are none, JSON that is none
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    StopIteration,
    csv.Error,
    pa.ArrowException,
)
"""What a file that was changed, and its hash with it, can raise when it is read."""


class Check(StrEnum):
    """The checks, in their order."""

    FILES = "files"
    CONTENT = "content hash"
    TOTALS = "control totals"
    AGAIN = "made again"
    SIGNATURES = "sign-off"
    LEDGER = "ledger"
    LAKE = "lake now"


class State(StrEnum):
    """What a check found. `moved` and `note` are no error of the pack."""

    IDENTICAL = "identical"
    DIFFERS = "differs"
    MOVED = "moved since the close"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One line of the answer; `file` is the path inside the pack, or what else it is about."""

    check: Check
    state: State
    file: str
    what: str


def read_pack(folder: Path) -> dict[str, bytes]:
    """Every file of a pack by its path in it.

    Raises:
        PackError: there is no such folder, no manifest.json in it, or a file that cannot be read.
    """
    if not folder.is_dir():
        message = f"{folder} is no folder. Fix: name the folder of a pack, such as packs/2026-10/v1."
        raise PackError(message)
    try:
        files = read_folder_files(folder)
    except OSError as error:
        message = f"{error.filename} cannot be read: {error.strerror}. Fix: allow reading the pack's files."
        raise PackError(message) from error
    if MANIFEST_JSON not in files:
        message = (
            f"{folder} has no {MANIFEST_JSON}, so it is no pack. Fix: name the folder that holds it, or take the pack "
            "again from where it was delivered from."
        )
        raise PackError(message)
    return files


def read_manifest(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of a pack; raises `PackError` where it is none."""
    try:
        manifest: dict[str, Any] = json.loads(files[MANIFEST_JSON])
        BillingMonth.parse(manifest["period"])
        stated = [(each["name"], int(each["bytes"]), each["sha256"]) for each in manifest["files"]]
        is_whole = {type(manifest["version"]), *map(type, (name for name, _, _ in stated))} <= {int, str}
    except (ValueError, LookupError, TypeError, PeriodError) as error:
        message = f"{MANIFEST_JSON} cannot be read: {error!r}. Fix: take the pack from where it was delivered from."
        raise PackError(message) from error
    if not is_whole or not isinstance(manifest["version"], int):
        message = f"{MANIFEST_JSON} does not say a version. Fix: take the pack from where it was delivered from."
        raise PackError(message)
    return manifest


def verify_pack(files: Mapping[str, bytes], people: Sequence[Person] | None, running_code: str) -> list[Finding]:
    """Every finding of a pack, in the order of the checks (Rules 2.6, 11.8).

    `people` is people.csv where the caller has it; `running_code` is the code version that makes the pack again.

    Raises:
        PackError: the manifest cannot be read.
    """
    manifest = read_manifest(files)
    listed = listed_findings(files, manifest)
    findings = [*listed] or [_same(Check.FILES, "", f"{len(manifest['files'])} files have their bytes and hashes")]
    findings += _content(files, manifest)
    if listed:
        findings.append(_note(Check.TOTALS, "", "not compared: the files are not those of the manifest"))
    else:
        findings += _totals(files, manifest)
    findings += _again(files, manifest, listed, running_code)
    findings += signature_findings(files, manifest, people)
    return findings


def listed_findings(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> list[Finding]:
    """Files that are absent, that differ from their hash, or that the manifest does not list; inputs first."""
    stated = {each["name"]: each for each in manifest["files"]}
    names = {*stated, *(name for name in files if name not in NOT_LISTED)}
    found = []
    for name in sorted(names, key=lambda each: (not each.startswith(FOLDER), each)):
        if name not in files:
            found.append(_differs(Check.FILES, name, "is missing"))
        elif name not in stated:
            found.append(_differs(Check.FILES, name, f"is not listed in {MANIFEST_JSON}"))
        elif len(files[name]) != stated[name]["bytes"]:
            what = f"has {len(files[name])} bytes, {stated[name]['bytes']} were sealed"
            found.append(_differs(Check.FILES, name, what))
        elif sha256_of(files[name]) != stated[name]["sha256"]:
            found.append(_differs(Check.FILES, name, "has the size that was sealed, and other bytes (SHA-256)"))
    return found


def first_difference(name: str, sealed: bytes | None, again: bytes | None) -> str:
    """Where two forms of a file part: row and column of a CSV, line of a text, else the byte (counted from 1)."""
    if sealed is None or again is None:
        return "is only made again, and was not sealed" if sealed is None else "was sealed, and is not made again"
    at = next((i for i, (x, y) in enumerate(zip(sealed, again, strict=False)) if x != y), min(len(sealed), len(again)))
    place = f"byte {at + 1} is the first that differs"
    try:
        one, other = sealed.decode("utf-8"), again.decode("utf-8")
    except UnicodeDecodeError:
        return place
    if not name.endswith(".csv"):
        line = sealed[:at].count(b"\n") + 1
        return f"line {line} is the first that differs"
    return _first_cell(one, other) or place


def _content(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    found = content_sha256(files)
    if found == manifest.get("content_sha256"):
        yield _same(Check.CONTENT, "", found)
    else:
        yield _differs(Check.CONTENT, "", f"is {found}, the manifest says {manifest.get('content_sha256')}")


def _totals(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """The ties that can be read back from the files alone, and the manifest's own figures."""
    problems: list[tuple[str, str]] = []
    try:
        totals = json.loads(files[CONTROL_TOTALS_JSON])
        problems += _untied(files, totals)
    except UNREADABLE as error:
        problems.append((CONTROL_TOTALS_JSON, f"does not tie: {_said(error)}"))
        totals = None
    try:
        problems += _misstated(files, manifest, totals) if totals else ()
    except UNREADABLE as error:
        problems.append((MANIFEST_JSON, f"does not say what a manifest says: {_said(error)}"))
    for name, what in problems:
        yield _differs(Check.TOTALS, name, what)
    if totals and not problems:
        yield _same(Check.TOTALS, "", f"{len(totals['ties'])} ties hold, and the manifest says the same sums")


def _untied(files: Mapping[str, bytes], totals: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in totals["files"]:
        name = each["file"]
        if (each["bytes"], each["sha256"]) != (len(files[name]), sha256_of(files[name])):
            yield name, f"is not the file that {CONTROL_TOTALS_JSON} counted"
    charges = rows_of(files, CHARGEBACK_CSV)
    charge_ties(files, charges, totals["functional_currency"], {})
    own = [row for row in charges if row["original_period"] == row["posting_period"]]
    for tie in totals["ties"]:
        if "invoice" in tie and "chargeback" in tie:
            mine = [row for row in own if row["currency"] == tie["currency"] and _is_of(row, tie)]
            charged = exact_sum(Decimal(row["amount"]) for row in mine)
            if not Decimal(tie["invoice"]) == Decimal(tie["chargeback"]) == charged:
                of = f"{tie.get('provider', 'all')} {tie.get('invoice_id', 'invoices')}"
                yield CHARGEBACK_CSV, f"charges {charged} of {of}, which is {tie['invoice']} {tie['currency']}"


def _is_of(row: Mapping[str, str], tie: Mapping[str, str]) -> bool:
    return all(row[name] == tie[name] for name in ("provider", "invoice_id") if name in tie)


def _misstated(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], totals: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What the manifest says of the files beside their hashes, made again from the files."""
    if json_bytes(dict(manifest)) != files[MANIFEST_JSON]:
        yield MANIFEST_JSON, "has other bytes than its content is written in"
    facts = ManifestFacts(
        run_id=manifest["run_id"],
        code_version=manifest["code_version"],
        policy_sha256=manifest["policy_sha256"],
        lake_partitions=[LakePartition(**each) for each in manifest["lake_partitions"]],
        audit_head=(manifest["audit_head"]["seq"], manifest["audit_head"]["sha256"]),
        previous_manifest_sha256=manifest["previous_manifest_sha256"],
        created_at=dt.datetime.strptime(manifest["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC),
        status=manifest["status"],
    )
    month, version = BillingMonth.parse(totals["period"]), totals["version"]
    again = json.loads(manifest_json(month, version, files, totals, facts))
    wrong = sorted(key for key in {*again, *manifest} if again.get(key) != manifest.get(key))
    if wrong:
        yield MANIFEST_JSON, f"says another {', '.join(wrong)} than the files"
    if manifest["status"] != ("draft" if version == 0 else "closed"):
        yield MANIFEST_JSON, f"calls version {version} {manifest['status']}"
    policies = {row["policy_sha256"] for row in rows_of(files, CHARGEBACK_CSV)}
    if policies - {manifest["policy_sha256"]}:
        yield MANIFEST_JSON, f"says policy {manifest['policy_sha256']}, {CHARGEBACK_CSV} another one"


def _again(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], listed: Sequence[Finding], running_code: str
) -> Iterator[Finding]:
    if running_code != manifest.get("code_version"):
        what = f"sealed by code version {manifest.get('code_version')}, made again by {running_code}"
        yield _note(Check.AGAIN, "", what)
    inputs = [each.file for each in listed if each.file.startswith(FOLDER)]
    if inputs:
        yield _note(Check.AGAIN, "", f"not made again: {', '.join(inputs)} is not what was sealed")
        return
    try:
        again = performed_again(files)
    except UNREADABLE as error:
        yield _differs(Check.AGAIN, FOLDER, f"cannot be made again: {_said(error)}")
        return
    different = differing(files, again)
    for name in different:
        yield _differs(Check.AGAIN, name, first_difference(name, files.get(name), again.get(name)))
    if not different:
        yield _same(Check.AGAIN, "", f"{len(again)} files made again from {FOLDER} have the same bytes")


def signature_findings(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], people: Sequence[Person] | None
) -> Iterator[Finding]:
    """Whether signoff.csv approves this content and this manifest; without `people` by the keys on its lines alone."""
    content = files.get(SIGNOFF_CSV)
    if content is None:
        if manifest.get("status") == "draft":
            yield _note(Check.SIGNATURES, "", "a draft: nobody has signed it, and it may still change")
        else:
            yield _differs(Check.SIGNATURES, SIGNOFF_CSV, "is missing: nothing says who approved the pack")
        return
    manifest_sha256 = sha256_of(files[MANIFEST_JSON])
    subject = PackSubject(BillingMonth.parse(manifest["period"]), manifest["version"], content_sha256(files))
    try:
        given = [approval for approval, _ in read_signoff(content)]
        problems = signoff_problems(content, subject, manifest_sha256, people)
        is_ours = len(in_force(given)) < len(given) or signoff_csv(given, manifest_sha256) == content
    except UNREADABLE as error:
        yield _differs(Check.SIGNATURES, SIGNOFF_CSV, _said(error))
        return
    for problem in problems:
        named = MANIFEST_JSON if problem.code == "other_manifest" else SIGNOFF_CSV
        yield Finding(Check.SIGNATURES, State.DIFFERS if problem.blocks else State.NOTE, named, str(problem))
    if any(problem.blocks for problem in problems):
        return
    if not is_ours:
        yield _differs(Check.SIGNATURES, SIGNOFF_CSV, "has other bytes than its lines are written in")
        return
    signers = ", ".join(f"{each.role} {each.name} ({each.kind})" for each in given)
    yield _same(Check.SIGNATURES, "", signers)


def _first_cell(one: str, other: str) -> str | None:
    try:
        rows, others = (list(csv.reader(io.StringIO(each, newline=""))) for each in (one, other))
    except csv.Error:
        return None
    header = others[0] if others else []
    for number, (row, made) in enumerate(zip(rows, others, strict=False), start=1):
        if row == made:
            continue
        at = next((i for i, (x, y) in enumerate(zip(row, made, strict=False)) if x != y), None)
        if at is None:
            return f"row {number} has {len(row)} columns, made again {len(made)}"
        column = header[at] if at < len(header) else f"column {at + 1}"
        return f"row {number}, {column}: sealed {row[at]!r}, made again {made[at]!r}"
    return None if len(rows) == len(others) else f"has {len(rows)} rows with the header, made again {len(others)}"


def _said(error: BaseException) -> str:
    """What happened, without what whoever seals a pack would do about it."""
    return str(error).partition(" Fix: ")[0] if isinstance(error, PackError) else f"{type(error).__name__}: {error}"


def _same(check: Check, file: str, what: str) -> Finding:
    return Finding(check, State.IDENTICAL, file, what)


def _differs(check: Check, file: str, what: str) -> Finding:
    return Finding(check, State.DIFFERS, file, what)


def _note(check: Check, file: str, what: str) -> Finding:
    return Finding(check, State.NOTE, file, what)
