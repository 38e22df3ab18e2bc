"""What a close says of itself: its manifest, the chain of manifests, the approvals and postings that it rests on."""

import csv
import datetime as dt
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.pack.closing_run import AUGUST, SEPTEMBER, clock, gathered, sealed_by
from tokengov_pipelines.domain.approval import PackSubject, Person, Role, asserted, signed_bytes
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.dispute import ConsentKind, Decision, DisputedLine
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.ledger.errors import PageNotWritableError
from tokengov_pipelines.ledger.events import GENESIS_SHA256, ChainHead
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.ledger.signing import new_private_key, public_key_of, sign
from tokengov_pipelines.pack.folders import read_folder_files
from tokengov_pipelines.pack.manifest import (
    MANIFEST_JSON,
    NOT_LISTED,
    SIGNOFF_CSV,
    LakePartition,
    ManifestFacts,
    content_sha256,
    is_data_file,
    manifest_json,
)
from tokengov_pipelines.pack.seal import seal_close, write_draft
from tokengov_pipelines.pack.signoff_csv import read_signoff, signoff_problems
from tokengov_pipelines.pack.writer import sha256_of

D = Decimal
ALWAYS = Interval(dt.date(2026, 1, 1))
KEYS = {"Ada": new_private_key(), "Grace": new_private_key()}
PEOPLE = [
    Person("ada@acme.example", "Ada", "finance", public_key_of(KEYS["Ada"]), ALWAYS),
    Person("grace@acme.example", "Grace", "controller", public_key_of(KEYS["Grace"]), ALWAYS),
]


@pytest.fixture
def close(ledger, home):
    def seal(run=None, by=None, **changes):
        content, facts = run or gathered(1)
        return seal_close(ledger, home, content, replace(facts, **changes), by or sealed_by())

    return seal


def manifest_of(result):
    return json.loads((result.path / MANIFEST_JSON).read_bytes())


def said(result):
    return read_signoff((result.path / SIGNOFF_CSV).read_bytes())


FILES = {
    "chargeback.csv": b'a,b\n1,"x\ny"\n',
    "inputs/policy.yaml": b"money: {}\n",
    "pack.xlsx": b"PK",
    "signoff.csv": b"role\n",
    "manifest.json": b"{}\n",
}


class TestTheFile:
    FACTS = ManifestFacts(
        "run-7",
        "git:abc",
        "cd" * 32,
        [LakePartition("raw/litellm_spend_logs", "2026-08-01", "ab" * 32)],
        (12, "ef" * 32),
        "12" * 32,
        dt.datetime(2026, 11, 5, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        "closed",
    )

    def made(self):
        totals = {"files": [{"file": "chargeback.csv", "sums": {"USD": "928.08"}}, {"file": "pack.xlsx"}]}
        return json.loads(manifest_json(AUGUST, 1, FILES, totals, self.FACTS))

    def test_it_says_what_the_pack_is_made_of(self):
        made = self.made()
        listed = made.pop("files")
        assert made == {
            "period": "2026-08",
            "version": 1,
            "status": "closed",
            "run_id": "run-7",
            "created_at": "2026-11-05T09:00:00Z",
            "code_version": "git:abc",
            "policy_sha256": "cd" * 32,
            "content_sha256": content_sha256(FILES),
            "previous_manifest_sha256": "12" * 32,
            "audit_head": {"seq": 12, "sha256": "ef" * 32},
            "inputs": ["inputs/policy.yaml"],
            "lake_partitions": [{"source": "raw/litellm_spend_logs", "day": "2026-08-01", "sha256": "ab" * 32}],
        }
        assert listed == [
            {
                "name": "chargeback.csv",
                "bytes": 12,
                "rows": 1,
                "sha256": sha256_of(FILES["chargeback.csv"]),
                "control_total": {"USD": "928.08"},
            },
            {
                "name": "inputs/policy.yaml",
                "bytes": 10,
                "rows": None,
                "sha256": sha256_of(FILES["inputs/policy.yaml"]),
                "control_total": None,
            },
            {"name": "pack.xlsx", "bytes": 2, "rows": None, "sha256": sha256_of(b"PK"), "control_total": None},
        ]

    def test_it_lists_neither_itself_nor_the_sign_off(self):
        assert not {each["name"] for each in self.made()["files"]} & NOT_LISTED

    @pytest.mark.parametrize(
        ("name", "is_content"),
        [
            ("chargeback.csv", True),
            ("journal_xero_2.csv", True),
            ("inputs/usage_cells.parquet", True),
            ("signoff.csv", False),
            ("manifest.json", False),
            ("control_totals.json", False),
            ("pack.xlsx", False),
            ("summary.pdf", False),
        ],
    )
    def test_content_is_tables_and_inputs(self, name, is_content):
        assert is_data_file(name) is is_content
        changed = {**FILES, name: b"other"}
        assert (content_sha256(changed) != content_sha256(FILES)) is is_content


class TestTwoRuns:
    """Rule 11.8: byte identity holds for every file but manifest.json and signoff.csv."""

    def close_elsewhere(self, tmp_path, day, run_id):
        home = tmp_path / f"home-{day}"
        home.mkdir()
        ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", lambda: clock() + dt.timedelta(days=day))
        ledger.upgrade()
        content, facts = gathered(1)
        return seal_close(ledger, home, content, facts, sealed_by(run_id))

    def test_they_differ_in_nothing_but_when_and_by_whom(self, tmp_path):
        one, other = (read_folder_files(self.close_elsewhere(tmp_path, day, f"run-{day}").path) for day in (0, 1))
        assert one.keys() == other.keys() == {*gathered(1)[0].files, *NOT_LISTED}
        assert {name for name in one if one[name] != other[name]} == NOT_LISTED
        manifests = [json.loads(each[MANIFEST_JSON]) for each in (one, other)]
        assert {key for key in manifests[0] if manifests[0][key] != manifests[1][key]} == {"run_id", "created_at"}

    def test_a_draft_is_not_written_again_where_only_the_manifest_would_differ(self, ledger, url, home):
        content, _ = gathered(0)
        first = write_draft(ledger, home, content, sealed_by("run-1"), actor="service", close_content_sha256="ab" * 32)
        before, events = (first.path / MANIFEST_JSON).read_bytes(), ledger.events()
        later = Ledger(url, lambda: clock() + dt.timedelta(days=1))
        again = write_draft(later, home, content, sealed_by("run-2"), actor="service", close_content_sha256="ab" * 32)
        assert (again.written, again.reason) == (False, "the draft on disk is the same, byte for byte")
        assert (first.path / MANIFEST_JSON).read_bytes() == before
        assert ledger.events() == events

    def test_what_people_approve_is_recorded_with_the_draft_also_where_the_draft_stays(self, ledger, home):
        content, _ = gathered(0)
        for sha in ("ab" * 32, "cd" * 32):
            result = write_draft(ledger, home, content, sealed_by(), actor="service", close_content_sha256=sha)
            (known,) = ledger.versions(AUGUST)
            assert known.close_content_sha256 == sha
        assert not result.written
        assert manifest_of(result)["status"] == "draft"


class TestTheChain:
    def test_the_head_is_the_newest_event_before_the_close_and_the_close_is_a_later_one(self, close, ledger):
        before = ledger.record_event("note", "Ada", {"text": "seen"}, AUGUST)
        result = close()
        head = manifest_of(result)["audit_head"]
        assert head == {"seq": before.seq, "sha256": before.sha256}
        assert ledger.holds_head(ChainHead(**head))
        (closed,) = ledger.events(AUGUST, "period.closed")
        assert closed.seq > before.seq
        assert closed.payload["manifest_sha256"] == sha256_of((result.path / MANIFEST_JSON).read_bytes())
        assert ledger.verify_chain().intact

    def test_the_first_manifest_follows_nothing(self, close):
        made = manifest_of(close())
        assert made["previous_manifest_sha256"] is None
        assert made["audit_head"] == {"seq": 0, "sha256": GENESIS_SHA256}

    def test_every_manifest_names_the_one_closed_before_it(self, close, ledger, home):
        august = close()
        content, _ = gathered(0, month=SEPTEMBER)
        draft = write_draft(ledger, home, content, sealed_by(), actor="service")
        september = close(gathered(1, month=SEPTEMBER))
        of_august = sha256_of((august.path / MANIFEST_JSON).read_bytes())
        assert [manifest_of(each)["previous_manifest_sha256"] for each in (draft, september)] == [of_august] * 2
        (version,) = [each for each in ledger.versions(AUGUST) if each.version == 1]
        assert version.manifest_sha256 == of_august


def signed(role, person, content):
    subject = PackSubject(AUGUST, 1, content.content_sha256)
    unsigned = replace(asserted(subject, role, person.email, PEOPLE, clock()), public_key=person.signing_key)
    return replace(unsigned, signature=sign(KEYS[person.name], signed_bytes(unsigned)))


class TestApprovals:
    """Rules 2.4 and 11.8: two people, and whether a signature proves it."""

    def test_names_alone_are_asserted_recorded_and_warned_about(self, close, ledger):
        result = close()
        recorded = ledger.approvals.all(AUGUST)
        assert [(each.role, each.name, each.kind) for each in recorded] == [
            ("preparer", "Ada", "asserted"),
            ("controller", "Grace", "asserted"),
        ]
        assert {each.subject for each in recorded} == {PackSubject(AUGUST, 1, result.content_sha256)}
        assert len([words for words in result.warnings if "is asserted: no signature proves it" in words]) == 2
        assert [approval.name for approval, _ in said(result)] == ["Grace", "Ada"]
        (closed,) = ledger.events(AUGUST, "period.closed")
        assert [each["kind"] for each in closed.payload["approvals"]] == ["asserted", "asserted"]
        assert len(ledger.events(AUGUST, "approval.recorded")) == 2

    def test_signatures_over_this_content_take_the_place_of_names(self, close, ledger):
        for role, person in zip((Role.PREPARER, Role.CONTROLLER), PEOPLE, strict=True):
            ledger.approvals.record(signed(role, person, gathered(1)[0]), PEOPLE)
        result = close(by=sealed_by(people=PEOPLE))
        assert (result.written, result.warnings) == (True, ())
        signoff, manifest = ((result.path / name).read_bytes() for name in (SIGNOFF_CSV, MANIFEST_JSON))
        assert b"@" not in signoff
        subject = PackSubject(AUGUST, 1, result.content_sha256)
        assert signoff_problems(signoff, subject, sha256_of(manifest), PEOPLE) == []
        assert [approval.kind for approval, _ in said(result)] == ["signed", "signed"]
        assert len(ledger.approvals.all(AUGUST)) == 2

    def test_a_signature_over_other_content_counts_for_nothing(self, close, ledger):
        ledger.approvals.record(signed(Role.CONTROLLER, PEOPLE[1], gathered(1, "0.04")[0]), PEOPLE)
        people = {"preparer": "ada@acme.example", "approver": "grace@acme.example"}
        result = close(by=sealed_by(people=PEOPLE), **people)
        assert result.written
        assert [(approval.role, approval.kind) for approval, _ in said(result)] == [
            ("controller", "asserted"),
            ("preparer", "asserted"),
        ]

    @pytest.mark.parametrize(
        ("approver", "code"), [("eve@acme.example", "unknown_person"), ("ada2@acme.example", "wrong_role")]
    )
    def test_who_may_not_sign_as_controller_does_not_close(self, close, ledger, approver, code):
        people = [*PEOPLE, Person("ada2@acme.example", "Ada Two", "finance", None, ALWAYS)]
        result = close(by=sealed_by(people=people), preparer="ada@acme.example", approver=approver)
        assert (result.written, [blocker.code for blocker in result.blockers]) == (False, [code])
        assert ledger.period(AUGUST).state is PeriodState.OPEN
        assert ledger.approvals.all(AUGUST) == []


CORRECTIONS = tuple(
    PriorPeriodCharge(AUGUST, "anthropic", "INV-08", code, D(amount), "USD", "late_or_corrected_usage", "v1 abc")
    for code, amount in (("CC-100", "4.11"), ("CC-200", "-4.11"))
)


class TestCorrections:
    """Rule 2.5: what a close posts for a closed month can be read back, and is posted once."""

    def test_adjustments_are_posted_with_the_close_and_read_back(self, close, ledger):
        close()
        result = close(gathered(1, month=SEPTEMBER, corrections=CORRECTIONS), sealed_by(adjustments_known=0))
        posted = ledger.adjustments(AUGUST)
        assert [(each.cost_center, each.amount, each.approved_by, each.ref) for each in posted] == [
            ("CC-100", D("4.11"), "Grace", "v1 abc"),
            ("CC-200", D("-4.11"), "Grace", "v1 abc"),
        ]
        assert {(each.posting_month, each.posting_version) for each in posted} == {(SEPTEMBER, 1)}
        lines = [each for each in ledger.postings(SEPTEMBER, 1) if each.charge_type == "prior_period"]
        assert {each.original_month for each in lines} == {"2026-08"}
        rows = list(csv.DictReader(io.StringIO((result.path / "adjustments.csv").read_text())))
        assert [(row["cost_center"], row["amount"], row["is_posted"]) for row in rows] == [
            ("CC-100", "4.11", "yes"),
            ("CC-200", "-4.11", "yes"),
        ]
        assert ledger.events(SEPTEMBER, "period.closed")[0].payload["adjustments"] == 2

    def test_corrections_that_another_close_was_faster_with_are_not_posted_twice(self, close, ledger):
        close()
        with pytest.raises(PageNotWritableError, match=r"since these were computed \(3, 0\)"):
            close(gathered(1, month=SEPTEMBER, corrections=CORRECTIONS), sealed_by(adjustments_known=3))
        assert ledger.period(SEPTEMBER).state is PeriodState.OPEN
        assert (ledger.adjustments_known(), ledger.versions(SEPTEMBER)) == (0, [])

    def test_a_month_that_is_not_closed_is_not_corrected(self, close, ledger):
        with pytest.raises(PageNotWritableError, match="2026-08 is adjusted and not closed"):
            close(gathered(1, month=SEPTEMBER, corrections=CORRECTIONS), sealed_by(adjustments_known=0))
        assert ledger.period(SEPTEMBER).state is PeriodState.OPEN


class TestDisputes:
    """Rule 6.8: an accepted dispute is posted by one close, which it then names."""

    @pytest.fixture
    def dispute(self, ledger):
        line = DisputedLine("anthropic", "INV-08", "direct", D("5.00"))
        return ledger.disputes.raise_dispute(
            AUGUST,
            "CC-100",
            [line],
            currency="USD",
            reason="not ours",
            claimed_owner="CC-200",
            evidence="ticket 7",
            raised_by="lead@acme.example",
            charged={line.key: D("66.67")},
            days_after_close=90,
        )

    def accept(self, ledger, dispute):
        ledger.disputes.decide(
            dispute.dispute_id,
            Decision.ACCEPTED,
            reason="agreed",
            by="controller@acme.example",
            consent_by="owner@acme.example",
            consent_kind=ConsentKind.RECEIVING_OWNER,
        )

    def test_it_is_marked_as_posted(self, close, ledger, dispute):
        self.accept(ledger, dispute)
        close(gathered(1, disputes=(dispute.dispute_id,)))
        posted = ledger.disputes.get(dispute.dispute_id)
        assert (posted.posting_ref, posted.awaits_posting) == ("2026-08/v1", False)
        assert ledger.events(AUGUST, "period.closed")[0].payload["disputes"] == [dispute.dispute_id]

    def test_one_that_nobody_decided_holds_the_close(self, close, ledger, dispute):
        with pytest.raises(PageNotWritableError, match="none awaits posting"):
            close(gathered(1, disputes=(dispute.dispute_id,)))
        assert ledger.period(AUGUST).state is PeriodState.OPEN
        assert ledger.disputes.get(dispute.dispute_id).posting_ref is None
