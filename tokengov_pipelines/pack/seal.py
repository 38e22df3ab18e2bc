"""Packs on disk, under the guard: drafts that may be overwritten, and the close that nothing rewrites (rules 2.4, 2.6).

Belongs here: the order of folder, record and commit. Does not belong here: the guard (`ledger.book`), the files
(`content`), the decision to close (`domain.close`, asked here once more while the lock is held).

Folders are `packs/{YYYY-MM}/v{n}`, the draft is v0. The ledger's commit is the commit point: a folder that was moved
into place by a run that died before it is not recorded, and the next run replaces it. A recorded v{n} is never touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tokengov_pipelines.domain.approval import PackSubject, Person
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.close import Blocker, close_blockers
from tokengov_pipelines.domain.close_facts import CloseFacts
from tokengov_pipelines.ledger.adjustments import Adjustment
from tokengov_pipelines.ledger.book import BookPage
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import DRAFT_VERSION
from tokengov_pipelines.pack.close_approvals import close_approvals
from tokengov_pipelines.pack.content import PackContent
from tokengov_pipelines.pack.folders import Placed, place_folder
from tokengov_pipelines.pack.manifest import (
    MANIFEST_JSON,
    NOT_LISTED,
    SIGNOFF_CSV,
    LakePartition,
    ManifestFacts,
    manifest_json,
)
from tokengov_pipelines.pack.signoff_csv import signoff_csv
from tokengov_pipelines.pack.writer import PackError, sha256_of


@dataclass(frozen=True)
class SealResult:
    """What writing a pack came to.

    `path`, `version` and `content_sha256` are those of the pack that is in force afterwards: the one just written, the
    identical one that was there, or the closed one that may not be rewritten; None and 0 where there is none.
    `written` says whether any byte was written, `reason` why or why not, `blockers` what holds a close, `warnings` what
    it rests on all the same (an approval without a key).
    """

    path: Path | None
    version: int
    content_sha256: str | None
    written: bool
    reason: str
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[str, ...] = ()


def pack_path(content: PackContent) -> str:
    """Where the pack stands, relative to the installation's home: packs/2026-09/v1."""
    return f"packs/{content.month}/v{content.version}"


@dataclass(frozen=True)
class SealedBy:
    """What a pack's manifest and sign-off say of the run that made it.

    `preparer` and `approver` are as the close names them; `people` is people.csv, in which signers and their keys are
    looked up. `adjustments_known` is how many adjustments the ledger held when the corrections were computed.
    """

    run_id: str
    code_version: str
    policy_sha256: str
    lake_partitions: Sequence[LakePartition] = ()
    people: Sequence[Person] = ()
    adjustments_known: int | None = None


def write_draft(
    ledger: Ledger,
    home: Path,
    content: PackContent,
    by: SealedBy,
    *,
    actor: str,
    close_content_sha256: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> SealResult:
    """Put the month's draft (v0) in place of the one before it; writes nothing when the bytes are the same.

    `close_content_sha256` is the content hash that a close of the same inputs would have: what people approve. A closed
    month is not an error: nothing is written, and the result says why.
    """
    _require_version(content, DRAFT_VERSION)
    with ledger.closed_book(content.month, "pack", actor, by.run_id) as page:
        on_step("locked")
        if not page.writable:
            return _in_force(page, home, page.reason)
        files = dict(content.files)
        files[MANIFEST_JSON] = _manifest(page, ledger, content, by, "draft")
        placed = place_folder(home / pack_path(content), files, on_step, ignoring=NOT_LISTED)
        known = page.recorded(DRAFT_VERSION)
        before = (known.content_sha256, known.close_content_sha256) if known else None
        if placed is not Placed.UNCHANGED or before != (content.content_sha256, close_content_sha256):
            page.record_draft(
                content_sha256=content.content_sha256,
                pack_path=pack_path(content),
                totals=dict(content.totals),
                close_content_sha256=close_content_sha256,
            )
            on_step("recorded")
    on_step("committed")
    written = placed is not Placed.UNCHANGED
    reason = f"the draft was {placed.value}" if written else "the draft on disk is the same, byte for byte"
    return SealResult(home / pack_path(content), DRAFT_VERSION, content.content_sha256, written, reason)


def seal_close(
    ledger: Ledger,
    home: Path,
    content: PackContent,
    facts: CloseFacts,
    by: SealedBy,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> SealResult:
    """Close the month with this pack, signed by the preparer and the approver that `facts` name.

    The preconditions of rule 2.4 are asked again while the lock is held, with the waivers in force then; a blocker, or
    a month that is closed already (also by a process that was faster), writes nothing and is told in the result. The
    manifest names the newest event of the audit trail, and the close is a later event that names the manifest.
    """
    _require_same_lines(content, facts)
    with ledger.closed_book(content.month, "pack", facts.preparer, by.run_id) as page:
        on_step("locked")
        if not page.writable:
            return _in_force(page, home, page.reason)
        approvals = close_approvals(
            PackSubject(content.month, content.version, content.content_sha256),
            page.approvals(content.content_sha256),
            facts.preparer,
            facts.approver,
            by.people,
            ledger.now(),
        )
        blockers = [*close_blockers(facts, page.waivers())]
        # A missing name, or one person in two roles, is said once.
        if not any(each.code in {"not_signed", "one_person"} for each in blockers):
            blockers += [Blocker(each.code, each.what, each.fix) for each in approvals.problems if each.blocks]
        if blockers:
            words = f"period {content.month} is held by {len(blockers)} open points"
            return _in_force(page, home, words, tuple(blockers))
        _require_version(content, page.version_to_write)
        files = dict(content.files)
        files[MANIFEST_JSON] = _manifest(page, ledger, content, by, "closed")
        manifest_sha256 = sha256_of(files[MANIFEST_JSON])
        files[SIGNOFF_CSV] = signoff_csv(approvals.in_force, manifest_sha256)
        placed = place_folder(home / pack_path(content), files, on_step)
        if placed is Placed.REPLACED:
            page.record_event("pack.unrecorded_replaced", {"pack_path": pack_path(content), "run_id": by.run_id})
        page.record_close(
            version=content.version,
            content_sha256=content.content_sha256,
            pack_path=pack_path(content),
            totals=dict(content.totals),
            lines=content.postings,
            preparer=facts.preparer,
            approver=facts.approver,
            adjustments=[_adjustment(each, facts.approver) for each in content.corrections],
            adjustments_known=by.adjustments_known,
            approvals=approvals.in_force,
            posted_disputes=content.disputes,
            manifest_sha256=manifest_sha256,
        )
        on_step("recorded")
        reason = page.reason
    on_step("committed")
    warnings = tuple(str(each) for each in approvals.problems if not each.blocks)
    return SealResult(
        home / pack_path(content), content.version, content.content_sha256, True, reason, warnings=warnings
    )


def _adjustment(charge: PriorPeriodCharge, approver: str) -> Adjustment:
    return Adjustment(
        original_month=charge.original_month,
        provider=charge.provider,
        invoice_id=charge.invoice_id,
        cost_center=charge.cost_center,
        amount=charge.amount,
        currency=charge.currency,
        reason=charge.reason,
        ref=charge.ref,
        approved_by=approver,
    )


def _manifest(page: BookPage, ledger: Ledger, content: PackContent, by: SealedBy, status: str) -> bytes:
    head, before = page.chain_head(), page.last_manifest()
    facts = ManifestFacts(
        run_id=by.run_id,
        code_version=by.code_version,
        policy_sha256=by.policy_sha256,
        lake_partitions=by.lake_partitions,
        audit_head=(head.seq, head.sha256),
        previous_manifest_sha256=before.manifest_sha256 if before else None,
        created_at=ledger.now(),
        status=status,
    )
    return manifest_json(content.month, content.version, content.files, content.totals, facts)


def _in_force(page: BookPage, home: Path, reason: str, blockers: tuple[Blocker, ...] = ()) -> SealResult:
    known = page.recorded(page.period.version)
    if known is None:
        return SealResult(None, DRAFT_VERSION, None, False, reason, blockers)
    return SealResult(home / known.pack_path, known.version, known.content_sha256, False, reason, blockers)


def _require_version(content: PackContent, version: int) -> None:
    if content.version != version:
        message = (
            f"the pack of {content.month} was made as v{content.version} and would be written as v{version}. "
            f"Fix: make its lines with version {version}."
        )
        raise PackError(message)


def _require_same_lines(content: PackContent, facts: CloseFacts) -> None:
    posted: dict[tuple[str, str], Decimal] = {}
    for posting in (each for each in content.postings if not each.original_month):
        invoice = (posting.provider, posting.invoice_id)
        posted[invoice] = posted.get(invoice, Decimal(0)) + posting.amount
    charged = {(invoice.provider, invoice.invoice_id): invoice.charged for invoice in facts.invoices}
    if content.month != facts.month or posted != charged:
        message = (
            f"the pack of {content.month} posts {posted}, the facts of {facts.month} speak of {charged}. "
            "Fix: gather both from the same run."
        )
        raise PackError(message)
