"""Drafts are overwritten, closed packs never, and a killed run leaves nothing that the next one cannot set right."""

import os
import signal
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.charges import CENTRAL
from tests.unit.pack.closing_run import AUGUST, gathered, sealed_by
from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.pack.manifest import MANIFEST_JSON, SIGNOFF_CSV
from tokengov_pipelines.pack.seal import seal_close, write_draft
from tokengov_pipelines.pack.writer import PackError, sha256_of

FILES = {
    "adjustments.csv",
    "chargeback.csv",
    "chargeback_detail.csv",
    "control_totals.json",
    "focus_1_2.csv",
    "inputs",
    "inputs/policy.yaml",
    "journal.csv",
    "journal_netsuite.csv",
    "manifest.json",
    "pack.xlsx",
    "recon_items.csv",
    "reconciliation.csv",
    "summary.html",
    "summary.pdf",
    "suspense.csv",
    "unproxied.csv",
    "waterfall_anthropic_INV-08.svg",
}


def tree(home):
    """Every file and folder under packs/, hidden ones too, with bytes."""
    packs = home / "packs"
    return {
        path.relative_to(packs).as_posix(): path.read_bytes() if path.is_file() else None for path in packs.rglob("*")
    }


def stamps(home):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (home / "packs").rglob("*")}


@pytest.fixture
def draft(ledger, home):
    def write(central="0.00", **hooks):
        content, _ = gathered(0, central)
        return write_draft(ledger, home, content, sealed_by(), actor="service", **hooks)

    return write


@pytest.fixture
def close(ledger, home):
    def seal(central="0.00", **changes):
        content, facts = gathered(1, central)
        return seal_close(ledger, home, content, replace(facts, **changes), sealed_by())

    return seal


def test_a_draft_is_written_recorded_and_told(draft, ledger, home):
    result = draft()
    assert (result.written, result.version, result.reason) == (True, 0, "the draft was new")
    assert result.path == home / "packs/2026-08/v0"
    assert set(tree(home)) == {"2026-08", "2026-08/v0", *(f"2026-08/v0/{name}" for name in FILES)}
    (version,) = ledger.versions(AUGUST)
    assert (version.status, version.content_sha256) == ("draft", result.content_sha256)
    assert version.totals["ties"][0]["invoice"] == "100.00"


def test_the_same_draft_is_not_written_again(draft, ledger, home):
    draft()
    before, events = stamps(home), ledger.events()
    result = draft()
    assert (result.written, result.reason) == (False, "the draft on disk is the same, byte for byte")
    assert stamps(home) == before
    assert ledger.events() == events


def test_another_draft_takes_its_place_whole(draft, ledger, home):
    first = draft()
    second = draft("1.00")
    assert second.written
    assert first.content_sha256 != second.content_sha256
    assert (second.path / "chargeback.csv").read_bytes() == gathered(0, "1.00")[0].files["chargeback.csv"]
    assert [version.content_sha256 for version in ledger.versions(AUGUST)] == [second.content_sha256]
    assert not [name for name in tree(home) if "/." in name]


def test_a_draft_that_someone_edited_is_set_right(draft, home):
    result = draft()
    (result.path / "chargeback.csv").write_text("edited")
    (result.path / "extra.csv").write_text("added")
    assert draft().written
    assert {path.relative_to(result.path).as_posix() for path in result.path.rglob("*")} == FILES


def test_a_close_is_written_recorded_and_told(close, ledger, home):
    result = close()
    assert (result.written, result.version) == (True, 1)
    assert result.reason.startswith("period 2026-08 was closed at v1 on 2026-11-05 09:00 UTC by Ada, approved by Grace")
    assert result.path == home / "packs/2026-08/v1"
    assert ledger.period(AUGUST).content_sha256 == result.content_sha256
    assert [(p.cost_center, p.amount) for p in ledger.postings(AUGUST, 1)] == [
        ("CC-100", Decimal("66.67")),
        ("CC-200", Decimal("33.33")),
        (CENTRAL, Decimal("0.00")),
    ]


def test_a_closed_month_is_not_rewritten_by_draft_or_close(draft, close, ledger, home):
    draft()
    sealed = close()
    before, bytes_before, events = stamps(home), tree(home), ledger.events()
    for again in (draft("0.50"), close("0.50"), close()):
        assert not again.written
        assert (again.path, again.version, again.content_sha256) == (sealed.path, 1, sealed.content_sha256)
        assert "its files are not rewritten; corrections post to the next open period" in again.reason
    assert (stamps(home), tree(home), ledger.events()) == (before, bytes_before, events)


def test_a_held_month_writes_nothing_and_says_what_holds_it(close, ledger, home):
    result = close(quarantined_calls=2, approver="Ada")
    assert (result.written, result.path) == (False, None)
    assert result.reason.startswith("period 2026-08 is held by ")
    assert {blocker.code for blocker in result.blockers} == {"quarantine_not_empty", "one_person"}
    assert ledger.approvals.all(AUGUST) == []
    assert not (home / "packs").exists()
    assert ledger.period(AUGUST).state is PeriodState.OPEN


def test_the_waivers_that_count_are_those_in_force_while_the_lock_is_held(close, ledger):
    signed = {"reason": "seen", "requested_by": "Ada", "approved_by": "Grace"}
    waiver = ledger.grant_waiver(AUGUST, WaiverSubject.QUARANTINE, **signed)
    ledger.revoke_waiver(AUGUST, waiver.id, actor="Grace", reason="wrong month")
    assert [blocker.code for blocker in close(quarantined_calls=2).blockers] == ["quarantine_not_empty"]
    ledger.grant_waiver(AUGUST, WaiverSubject.QUARANTINE, **signed)
    assert close(quarantined_calls=2).written


def test_facts_of_other_lines_are_refused(ledger, home):
    content, _ = gathered(1, "0.00")
    _, facts = gathered(1, "0.50")
    with pytest.raises(PackError, match="gather both from the same run"):
        seal_close(ledger, home, content, facts, sealed_by())


def test_a_pack_is_written_as_the_version_it_was_made_for(ledger, home):
    draft_content, _ = gathered(0, "0.00")
    close_content, facts = gathered(1, "0.00")
    with pytest.raises(PackError, match="was made as v1 and would be written as v0"):
        write_draft(ledger, home, close_content, sealed_by(), actor="service")
    with pytest.raises(PackError, match="was made as v0 and would be written as v1"):
        seal_close(ledger, home, draft_content, facts, sealed_by())
    assert not (home / "packs").exists()


def test_a_folder_left_by_an_unrecorded_close_is_replaced_and_told(close, ledger, home):
    stranger = home / "packs/2026-08/v1"
    stranger.mkdir(parents=True)
    (stranger / "chargeback.csv").write_text("from a run that died")
    result = close()
    assert result.written
    assert set(tree(home)) == {"2026-08", "2026-08/v1", *(f"2026-08/v1/{name}" for name in FILES | {SIGNOFF_CSV})}
    assert len(ledger.events(AUGUST, "pack.unrecorded_replaced")) == 1


def test_a_full_disk_leaves_no_record(draft, ledger, home):
    draft()
    before = tree(home)

    def full(step):
        if step == "written":
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        draft("1.00", on_step=full)
    assert {name: content for name, content in tree(home).items() if ".v0.partial" not in name} == before
    assert ledger.versions(AUGUST)[0].content_sha256 == draft().content_sha256


@pytest.mark.parametrize("deed", ["draft", "close"])
@pytest.mark.parametrize("step", ["locked", "written", "placed", "recorded", "committed"])
def test_a_run_killed_at_any_step_is_finished_by_the_next(step, deed, start_run, home, ledger, closing_run, tmp_path):
    # another draft is there, so that the kill also hits the moment in which one folder takes another's place
    assert start_run("draft", "0.02").finished()[0] == 0
    assert start_run(deed, "0.00", die_at=step).finished() == (-signal.SIGKILL, "")
    known = {version.version: version.content_sha256 for version in ledger.versions(AUGUST)}
    content, _ = gathered(0 if deed == "draft" else 1, "0.00")
    assert (known.get(content.version) == content.content_sha256) == (step == "committed")

    code, said = start_run(deed, "0.00").finished()
    assert code == 0
    assert content.content_sha256 in said

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    for each, run in (("draft", gathered(0, "0.02")), (deed, gathered(content.version, "0.00"))):
        closing_run.run(f"sqlite:///{undisturbed / 'ledger.db'}", undisturbed, each, run)
    assert tree(home) == tree(undisturbed)
    assert ledger.verify_chain().intact
    if deed == "close":
        assert len(ledger.events(AUGUST, "period.closed")) == 1
        assert ledger.period(AUGUST).content_sha256 == content.content_sha256
        manifest = (home / "packs/2026-08/v1" / MANIFEST_JSON).read_bytes()
        (closed,) = [each for each in ledger.versions(AUGUST) if each.version == 1]
        assert closed.manifest_sha256 == sha256_of(manifest)


def test_of_closes_at_the_same_time_one_wins_and_the_others_are_told(start_run, home, ledger):
    runs = {central: start_run("close", central) for central in ("0.01", "0.02", "0.03", "0.04")}
    told = {central: run.finished() for central, run in runs.items()}
    assert [code for code, _ in told.values()] == [0, 0, 0, 0]
    (winner,) = [central for central, (_, said) in told.items() if said.startswith("True")]
    content, _ = gathered(1, winner)
    for central, (_, said) in told.items():
        assert content.content_sha256 in said
        assert ("was closed at v1" in said) or central == winner
    pack = home / "packs/2026-08/v1"
    assert {name: (pack / name).read_bytes() for name in content.files} == dict(content.files)
    assert content.content_sha256 in (pack / SIGNOFF_CSV).read_text()
    assert ledger.period(AUGUST).content_sha256 == content.content_sha256
    assert len(ledger.events(AUGUST, "period.closed")) == 1
    assert len(ledger.approvals.all(AUGUST)) == 2
    assert set(os.listdir(home / "packs/2026-08")) == {"v1"}
