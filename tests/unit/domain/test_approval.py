"""Approvals: the bytes that are signed, and what makes an approval no good."""

import datetime as dt
import json
from dataclasses import replace

import pytest

from tokengov_pipelines.domain.approval import (
    Approval,
    ApprovalError,
    ApprovalKind,
    PackSubject,
    Person,
    Role,
    approval_problems,
    asserted,
    fingerprint,
    in_force,
    instant_text,
    key_bytes,
    key_text,
    problems_of,
    signed_bytes,
    statement_of,
)
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth

OCTOBER = BillingMonth(2026, 10)
SUBJECT = PackSubject(OCTOBER, 1, "ab" * 32)
AT = dt.datetime(2026, 11, 5, 9, 30, 0, 250000, tzinfo=dt.UTC)
ADA_KEY, GRACE_KEY = key_text(bytes(range(32))), key_text(bytes(range(1, 33)))
ALWAYS = Interval(dt.date(2026, 1, 1))
PEOPLE = [
    Person("ada@example.com", "Ada Lovelace", "finance", ADA_KEY, ALWAYS),
    Person("grace@example.com", "Grace Hopper", "controller", GRACE_KEY, ALWAYS),
    Person("root@example.com", "Rae Root", "admin", None, ALWAYS),
]


def right(_: Approval) -> bool:
    return True


def by(role: Role, who: str, key: str | None = None, **changes: object) -> Approval:
    made = asserted(SUBJECT, role, who, PEOPLE, AT)
    signature = None if key is None else "ed25519:c2ln"
    return replace(made, **{"public_key": key, "signature": signature, **changes})


PREPARED = by(Role.PREPARER, "ada@example.com", ADA_KEY)
APPROVED = by(Role.CONTROLLER, "grace@example.com", GRACE_KEY)


def codes(*approvals, people=PEOPLE, verifies=right, subject=SUBJECT):
    return [problem.code for problem in approval_problems(subject, approvals, people, verifies)]


def test_the_signed_bytes_are_one_line_of_json_with_everything_that_is_printed():
    approval = replace(PREPARED, name="Ádá ☃", exceptions="INV-19")
    assert (
        signed_bytes(approval)
        == (
            '{"at":"2026-11-05T09:30:00Z","content_sha256":"' + "ab" * 32 + '","exceptions":"INV-19",'
            f'"format":"tokengov-approval-1","key":"{ADA_KEY}","month":"2026-10","name":"Ádá ☃","role":"preparer",'
            '"statement":"I prepared the pack of 2026-10 v1: its charges add up to the invoices and accruals of the '
            'month, and what is open is listed in it.","version":1}'
        ).encode()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": replace(SUBJECT, content_sha256="cd" * 32)},
        {"subject": replace(SUBJECT, version=2)},
        {"subject": replace(SUBJECT, month=OCTOBER.next())},
        {"role": Role.REVIEWER},
        {"name": "Eve"},
        {"at": AT + dt.timedelta(seconds=1)},
        {"statement": "I saw it."},
        {"exceptions": "all of it"},
        {"public_key": GRACE_KEY},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_is_signed(changes):
    assert signed_bytes(replace(PREPARED, **changes)) != signed_bytes(PREPARED)


def test_an_address_is_not_signed_so_that_the_pack_alone_is_enough():
    assert signed_bytes(replace(PREPARED, email="")) == signed_bytes(PREPARED)
    assert "@" not in signed_bytes(PREPARED).decode()
    assert json.loads(signed_bytes(PREPARED))["name"] == "Ada Lovelace"


def test_two_signatures_of_two_people_close_a_month():
    assert codes(PREPARED, APPROVED) == []
    reviewed = by(Role.REVIEWER, "grace@example.com")
    assert codes(PREPARED, APPROVED, reviewed) == ["one_person", "asserted"]


def test_asserted_approvals_pass_with_a_warning():
    problems = approval_problems(
        SUBJECT,
        [by(Role.PREPARER, "ada@example.com"), by(Role.CONTROLLER, "grace@example.com")],
        PEOPLE,
        right,
    )
    assert [(problem.code, problem.blocks) for problem in problems] == [("asserted", False), ("asserted", False)]
    assert str(problems[0]) == (
        "2026-10 v1 (abababababab) as preparer by Ada Lovelace is asserted: no signature proves it. "
        "Fix: tokengov sign 2026-10 --role preparer --as EMAIL --key FILE, with a key registered in "
        "directory/people.csv"
    )


def test_a_missing_approval_blocks_and_one_of_another_content_is_none():
    assert codes(PREPARED) == ["not_approved"]
    (problem,) = approval_problems(replace(SUBJECT, content_sha256="cd" * 32), [PREPARED, APPROVED], PEOPLE, right)[:1]
    assert problem.what == (
        "2026-10 v1 (cdcdcdcdcdcd) has no preparer; Ada Lovelace approved 2026-10 v1 (abababababab), "
        "and the content has changed since"
    )


def test_preparer_and_controller_are_two_people_with_two_keys():
    both = Person("grace@example.com", "Grace Hopper", "controller", GRACE_KEY, ALWAYS)
    assert codes(by(Role.PREPARER, "grace@example.com", GRACE_KEY), APPROVED, people=[both]) == ["one_person"]
    shared = [replace(PEOPLE[0], signing_key=GRACE_KEY), PEOPLE[1]]
    assert codes(by(Role.PREPARER, "ada@example.com", GRACE_KEY), APPROVED, people=shared) == ["one_person"]
    ada = by(Role.PREPARER, "Ada")
    assert codes(ada, by(Role.CONTROLLER, " ADA "), people=[])[0] == "one_person"


def test_the_role_is_held_on_the_day():
    assert codes(by(Role.PREPARER, "root@example.com"), APPROVED) == ["wrong_role", "asserted"]
    assert codes(PREPARED, by(Role.CONTROLLER, "ada@example.com")) == ["wrong_role", "one_person", "asserted"]
    assert codes(by(Role.PREPARER, "eve@example.com"), APPROVED) == ["unknown_person", "asserted"]
    gone = replace(PEOPLE[0], interval=Interval(dt.date(2026, 1, 1), dt.date(2026, 11, 5)))
    assert codes(PREPARED, APPROVED, people=[gone, PEOPLE[1]]) == ["unknown_person"]


def test_a_signature_is_by_a_key_registered_that_day():
    old = replace(PEOPLE[0], interval=Interval(dt.date(2026, 1, 1), dt.date(2026, 11, 5)))
    new = replace(PEOPLE[0], signing_key=key_text(b"n" * 32), interval=Interval(dt.date(2026, 11, 5)))
    assert codes(PREPARED, APPROVED, people=[old, new, PEOPLE[1]]) == ["unregistered_key"]
    day_before = replace(PREPARED, at=AT - dt.timedelta(days=1))
    assert codes(day_before, APPROVED, people=[old, new, PEOPLE[1]]) == []


def test_a_signature_that_is_not_right_blocks():
    assert codes(PREPARED, APPROVED, verifies=lambda approval: approval.role is Role.PREPARER) == ["bad_signature"]
    assert codes(replace(PREPARED, public_key=None), APPROVED) == ["bad_signature"]


def test_without_a_register_a_signature_proves_nobody_and_a_statement_warns():
    found = approval_problems(SUBJECT, [PREPARED, by(Role.CONTROLLER, "grace@example.com")], [], right)
    assert [(problem.code, problem.blocks) for problem in found] == [
        ("no_register", True),
        ("no_register", False),
        ("asserted", False),
    ]


def test_other_words_than_the_roles_own_are_refused():
    assert codes(replace(PREPARED, statement="I saw it."), APPROVED) == ["other_statement"]


@pytest.mark.parametrize("name", ["=cmd()", " Ada", "", "Ada\nLovelace", "ada@example.com", "A" * 501, "Ada\u200b"])
def test_a_name_that_a_table_would_change_is_refused(name):
    assert problems_of(replace(PREPARED, name=name), PEOPLE, right)[0].code == "unprintable_name"


@pytest.mark.parametrize("exceptions", ["-INV-19", "one\ntwo", "x" * 501])
def test_exceptions_that_a_table_would_change_are_refused(exceptions):
    assert codes(replace(PREPARED, exceptions=exceptions), APPROVED) == ["unprintable_exceptions"]


def test_the_last_word_of_each_person_and_role_counts_and_a_signed_one_before_an_asserted():
    later = by(Role.PREPARER, "ada@example.com", at=AT + dt.timedelta(hours=1))
    newest = replace(PREPARED, at=AT + dt.timedelta(hours=2))
    assert in_force([APPROVED, later, PREPARED, newest]) == [newest, APPROVED]


def test_an_unknown_address_is_not_printed_as_a_name():
    assert by(Role.PREPARER, "eve@example.com").name == "eve"
    assert by(Role.PREPARER, "ADA@example.com").name == "Ada Lovelace"
    assert (by(Role.PREPARER, "Ada").name, by(Role.PREPARER, "Ada").email) == ("Ada", "")


def test_a_key_is_32_bytes_and_has_a_fingerprint():
    assert key_bytes(ADA_KEY) == bytes(range(32))
    assert fingerprint(ADA_KEY) == "SHA256:Yw3NKWbEM2aRElRIu7JbT/QSpJxzLbLIq8G4WBvXEN0"
    for wrong in ("", "ed25519:", "ed25519:abc", ADA_KEY.removeprefix("ed25519:"), "ed25519:" + "A" * 86 + "=="):
        with pytest.raises(ApprovalError, match="32 public bytes") as caught:
            key_bytes(wrong)
        assert "A" * 20 not in str(caught.value)


def test_a_person_is_read_from_a_row():
    row = {
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "role": "finance",
        "signing_key": ADA_KEY,
        "valid_from": dt.date(2026, 1, 1),
        "valid_to": None,
    }
    assert Person.of(row) == PEOPLE[0]
    assert Person.of(row | {"signing_key": None}).signing_key is None
    with pytest.raises(ApprovalError, match="no dates"):
        Person.of(row | {"valid_from": "2026-01-01"})


def test_moments_are_whole_seconds_in_utc():
    zone = dt.timezone(dt.timedelta(hours=9))
    assert instant_text(AT.astimezone(zone)) == "2026-11-05T09:30:00Z"
    assert PREPARED.at.microsecond == 0
    with pytest.raises(ApprovalError, match="no time zone"):
        instant_text(AT.replace(tzinfo=None))


def test_kinds_and_statements():
    assert (PREPARED.kind, by(Role.PREPARER, "Ada").kind) == (ApprovalKind.SIGNED, ApprovalKind.ASSERTED)
    assert statement_of(Role.CONTROLLER, OCTOBER, 2) == "I approve the pack of 2026-10 v2 for posting."
