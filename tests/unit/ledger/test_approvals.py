"""An approval is of one content, by somebody who may, before the close, and kept."""

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.unit.ledger.closing import AUGUST, MANIFEST, SHA, close
from tokengov_pipelines.domain.approval import ApprovalKind, PackSubject, Person, Role, asserted, signed_bytes
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.ledger.approvals import ApprovalRefusedError
from tokengov_pipelines.ledger.errors import PageNotWritableError
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.ledger.signing import new_private_key, public_key_of, sign

AT = dt.datetime(2026, 11, 5, 9, 0, tzinfo=dt.UTC)  # what the clock of these tests says
SUBJECT = PackSubject(AUGUST, 1, SHA)
KEY = new_private_key()
ALWAYS = Interval(dt.date(2026, 1, 1))
PEOPLE = [
    Person("ada@example.com", "Ada", "finance", public_key_of(KEY), ALWAYS),
    Person("grace@example.com", "Grace", "controller", None, ALWAYS),
]
APPROVED = asserted(SUBJECT, Role.CONTROLLER, "grace@example.com", PEOPLE, AT)


def signed(**changes):
    unsigned = replace(asserted(SUBJECT, Role.PREPARER, "ada@example.com", PEOPLE, AT), public_key=public_key_of(KEY))
    unsigned = replace(unsigned, **changes)
    return replace(unsigned, signature=sign(KEY, signed_bytes(unsigned)))


def test_approvals_are_found_by_the_hash_they_approve(ledger):
    prepared = ledger.approvals.record(signed(exceptions="INV-19"), PEOPLE)
    ledger.approvals.record(APPROVED, PEOPLE)
    assert ledger.approvals.of(AUGUST, SHA) == ledger.approvals.all(AUGUST) == [prepared, APPROVED]
    assert (prepared.kind, APPROVED.kind) == (ApprovalKind.SIGNED, ApprovalKind.ASSERTED)
    assert ledger.approvals.of(AUGUST, "00" * 32) == []
    first, second = ledger.events(AUGUST, "approval.recorded")
    assert (first.actor, first.payload["name"], first.payload["kind"]) == ("ada@example.com", "Ada", "signed")
    assert first.payload["key_fingerprint"].startswith("SHA256:")
    assert first.payload["signature"] == prepared.signature
    assert (second.payload["role"], second.payload["signature"]) == ("controller", None)


def test_the_same_approval_again_adds_nothing(ledger):
    ledger.approvals.record(signed(), PEOPLE)
    ledger.approvals.record(signed(at=AT + dt.timedelta(minutes=5)), PEOPLE)
    assert len(ledger.approvals.all(AUGUST)) == len(ledger.events()) == 1
    ledger.approvals.record(signed(exceptions="INV-19"), PEOPLE)
    assert len(ledger.approvals.all(AUGUST)) == 2


@pytest.mark.parametrize(
    ("approval", "says"),
    [
        (replace(signed(), signature="ed25519:c2ln"), "is not that of its key over this content"),
        (replace(signed(), exceptions="all"), "is not that of its key over this content"),
        (replace(signed(), email="grace@example.com"), "is not registered for Grace"),
        (replace(APPROVED, email="eve@example.com"), "does not hold this person"),
        (replace(asserted(SUBJECT, Role.CONTROLLER, "ada@example.com", PEOPLE, AT)), "is finance in directory"),
        (signed(subject=replace(SUBJECT, version=2), statement="I saw it."), "other words"),
        (signed(at=AT - dt.timedelta(days=2)), "the approval says 2026-11-03T09:00:00Z, and now it is"),
    ],
)
def test_an_approval_that_is_no_good_is_refused(ledger, approval, says):
    with pytest.raises(ApprovalRefusedError, match=says):
        ledger.approvals.record(approval, PEOPLE)
    assert (ledger.approvals.all(AUGUST), ledger.events()) == ([], [])


def test_only_the_next_version_is_approved_and_only_before_the_close(ledger):
    later = asserted(replace(SUBJECT, version=2), Role.CONTROLLER, "grace@example.com", PEOPLE, AT)
    with pytest.raises(ApprovalRefusedError, match="the next version of 2026-08 is v1, not v2"):
        ledger.approvals.record(later, PEOPLE)
    close(ledger)
    with pytest.raises(ApprovalRefusedError, match="2026-08 was closed at v1"):
        ledger.approvals.record(APPROVED, PEOPLE)


def test_a_close_rests_on_approvals_and_says_which(ledger):
    ledger.approvals.record(signed(), PEOPLE)
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        assert page.approvals(SHA) == [signed()]
    close(ledger, approvals=[signed(), APPROVED], manifest_sha256=MANIFEST)
    assert ledger.approvals.of(AUGUST, SHA) == [signed(), APPROVED]
    assert [event.kind for event in ledger.events()] == ["approval.recorded", "approval.recorded", "period.closed"]
    payload = ledger.events()[-1].payload
    assert [(each["role"], each["name"], each["kind"]) for each in payload["approvals"]] == [
        ("preparer", "Ada", "signed"),
        ("controller", "Grace", "asserted"),
    ]
    assert payload["manifest_sha256"] == ledger.versions(AUGUST)[0].manifest_sha256 == MANIFEST


def test_a_close_takes_no_approval_of_another_content(ledger):
    with pytest.raises(PageNotWritableError, match=r"is of 2026-08 v1 \(abababababab\) and not of 2026-08 v1 \(00000"):
        close(ledger, content_sha256="00" * 32, approvals=[signed()])
    assert ledger.period(AUGUST).state is PeriodState.OPEN


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approvals": [replace(signed(), exceptions="all")]}, "the signature of preparer Ada is not right"),
        ({"preparer": "Eve"}, "Eve is named and has not approved as preparer"),
        ({"approver": "Eve"}, "Eve is named and has not approved as controller"),
    ],
)
def test_a_close_by_others_than_its_approvals_say_is_refused(ledger, changes, says):
    with pytest.raises(PageNotWritableError, match=says):
        close(ledger, **{"approvals": [signed(), APPROVED]} | changes)
    assert (ledger.period(AUGUST).state, ledger.approvals.all(AUGUST)) == (PeriodState.OPEN, [])


def test_a_close_may_name_its_people_by_e_mail(ledger):
    close(ledger, approvals=[signed(), APPROVED], preparer="ada@example.com", approver="GRACE@example.com")
    assert ledger.period(AUGUST).preparer == "ada@example.com"


def test_the_draft_says_what_a_close_would_hold(ledger):
    for close_sha in (None, SHA):
        with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
            page.record_draft(
                content_sha256="11" * 32, pack_path="packs/2026-08/v0", totals={}, close_content_sha256=close_sha
            )
        (draft,) = ledger.versions(AUGUST)
        assert (draft.close_content_sha256, draft.manifest_sha256) == (close_sha, None)


def test_a_manifest_follows_the_one_of_the_last_close(ledger):
    def last():
        with ledger.closed_book(AUGUST.previous(), "pack", "Ada", "run-1") as page:
            found = page.last_manifest()
        return found and (str(found.month), found.version, found.manifest_sha256)

    assert last() is None
    close(ledger, AUGUST.next(), manifest_sha256=MANIFEST)
    close(ledger, AUGUST, manifest_sha256="ef" * 32)
    close(ledger, AUGUST.next().next())
    assert last() == ("2026-08", 1, "ef" * 32)


@pytest.mark.parametrize("statement", ["UPDATE approvals SET name = 'Eve'", "DELETE FROM approvals"])
def test_the_database_itself_refuses_to_rewrite_them(ledger, statement):
    ledger.approvals.record(APPROVED, PEOPLE)
    with pytest.raises(Exception, match="rows of approvals are not rewritten"), ledger._engine.begin() as connection:
        connection.execute(text(statement))
