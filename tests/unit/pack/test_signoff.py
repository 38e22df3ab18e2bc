"""signoff.csv can be checked by anybody, and shows whatever was changed in it."""

import base64
import csv
import datetime as dt
import io
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tokengov_pipelines.domain.approval import PackSubject, Person, Role, asserted, signed_bytes
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.signing import new_private_key, public_key_of, sign
from tokengov_pipelines.pack.manifest import is_data_file
from tokengov_pipelines.pack.signoff_csv import SIGNOFF, read_signoff, signoff_csv, signoff_problems
from tokengov_pipelines.pack.writer import PackError

SUBJECT = PackSubject(BillingMonth(2026, 10), 1, "ab" * 32)
MANIFEST = "cd" * 32
AT = dt.datetime(2026, 11, 5, 9, 30, tzinfo=dt.UTC)
ADA, GRACE = new_private_key(), new_private_key()
ALWAYS = Interval(dt.date(2026, 1, 1))
PEOPLE = [
    Person("ada@example.com", 'Ada "Countess" Lovelace, née Byron', "finance", public_key_of(ADA), ALWAYS),
    Person("grace@example.com", "Grace Hopper", "controller", public_key_of(GRACE), ALWAYS),
]


def signed(role, who, key, **changes):
    unsigned = replace(asserted(SUBJECT, role, who, PEOPLE, AT), public_key=public_key_of(key), **changes)
    return replace(unsigned, signature=sign(key, signed_bytes(unsigned)))


PREPARED = signed(Role.PREPARER, "ada@example.com", ADA, exceptions="INV-19, see FIN-7")
APPROVED = signed(Role.CONTROLLER, "grace@example.com", GRACE)
FILE = signoff_csv([PREPARED, APPROVED], MANIFEST)


def codes(content=FILE, subject=SUBJECT, manifest=MANIFEST, people=PEOPLE):
    return [problem.code for problem in signoff_problems(content, subject, manifest, people)]


def changed(old, new):
    text = FILE.decode()
    assert text.count(old) >= 1
    return text.replace(old, new).encode()


def test_the_file_has_a_line_a_signature_and_no_address():
    lines = FILE.decode().splitlines()
    assert lines[0] == (
        "role,name,at,statement,content_sha256,manifest_sha256,signature,exceptions,kind,key_fingerprint,public_key,"
        "month,version"
    )
    assert lines[1].startswith(
        "controller,Grace Hopper,2026-11-05T09:30:00Z,I approve the pack of 2026-10 v1 for posting.,"
    )
    assert lines[2].startswith('preparer,"Ada ""Countess"" Lovelace, née Byron",')
    assert "@" not in FILE.decode()
    assert not is_data_file(SIGNOFF)


def test_what_is_read_back_is_what_was_signed_without_the_address():
    assert read_signoff(FILE) == [(replace(APPROVED, email=""), MANIFEST), (replace(PREPARED, email=""), MANIFEST)]
    assert codes() == []


def test_the_program_of_the_documentation_checks_it():
    count = 0
    for row in csv.DictReader(io.StringIO(FILE.decode(), newline="")):
        said = {
            name: row[name] for name in ("at", "content_sha256", "exceptions", "month", "name", "role", "statement")
        }
        said |= {"format": "tokengov-approval-1", "key": row["public_key"], "version": int(row["version"])}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        raw = [base64.b64decode(row[name].removeprefix("ed25519:")) for name in ("public_key", "signature")]
        Ed25519PublicKey.from_public_bytes(raw[0]).verify(raw[1], text)
        count += 1
    assert count == 2


def test_without_the_register_the_keys_are_told_to_be_compared():
    found = signoff_problems(FILE, SUBJECT, MANIFEST)
    assert [(problem.code, problem.blocks) for problem in found] == [("register_not_checked", False)] * 2
    assert APPROVED.key_fingerprint in found[0].what


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (changed("Grace Hopper", "Grace Hooper"), ["bad_signature"]),
        (changed("see FIN-7", "see FIN-8"), ["bad_signature"]),
        (changed("T09:30:00Z,I approve", "T09:30:01Z,I approve"), ["bad_signature"]),
        (changed("for posting.", "for nothing."), ["other_statement", "bad_signature"]),
    ],
)
def test_a_changed_word_is_seen_without_the_register(content, problems):
    found = signoff_problems(content, SUBJECT, MANIFEST)
    assert [problem.code for problem in found if problem.blocks] == problems


def test_a_signature_that_was_taken_out_is_seen_by_its_key():
    content = changed(PREPARED.signature, "")
    with pytest.raises(PackError, match=r"signoff\.csv:3: kind or key_fingerprint is not that of the line's key"):
        read_signoff(content)


def test_a_line_of_another_key_is_seen_with_the_register():
    eve = signed(Role.CONTROLLER, "grace@example.com", new_private_key())
    forged = signoff_csv([PREPARED, eve], MANIFEST)
    assert "unknown_person" in codes(forged) or "unregistered_key" in codes(forged)
    assert [problem.blocks for problem in signoff_problems(forged, SUBJECT, MANIFEST)] == [False, False]


def test_a_line_that_is_missing_and_another_content_or_manifest_are_seen():
    assert codes(signoff_csv([PREPARED], MANIFEST)) == ["not_approved"]
    assert codes(subject=replace(SUBJECT, content_sha256="ef" * 32)) == ["not_approved", "not_approved"]
    assert codes(manifest="ef" * 32) == ["other_manifest", "other_manifest"]


def test_asserted_approvals_are_labelled():
    roles = ((Role.PREPARER, "ada@example.com"), (Role.CONTROLLER, "grace@example.com"))
    content = signoff_csv([asserted(SUBJECT, role, who, PEOPLE, AT) for role, who in roles], MANIFEST)
    assert [row["kind"] for row in csv.DictReader(io.StringIO(content.decode()))] == ["asserted", "asserted"]
    assert codes(content) == ["asserted", "asserted"]


def test_each_person_stands_once_for_each_role():
    again = replace(PREPARED, at=AT - dt.timedelta(hours=1))
    assert signoff_csv([again, PREPARED, APPROVED, PREPARED], MANIFEST) == FILE


def test_text_that_a_table_would_change_is_not_written():
    with pytest.raises(PackError, match="a CSV file cannot hold unchanged"):
        signoff_csv([replace(PREPARED, name="=cmd()")], MANIFEST)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff", "cannot be read"),
        (b"a,b\n1,2\n", "has other columns"),
        (changed("2026-11-05T09:30:00Z", "yesterday"), r"signoff\.csv:2: "),
        (changed(",2026-10,1\n", ",2026-10,one\n"), r"signoff\.csv:2: "),
        (changed("preparer,", "president,"), r"signoff\.csv:3: "),
    ],
)
def test_a_file_that_is_none_says_where(content, says):
    with pytest.raises(PackError, match=says):
        read_signoff(content)
