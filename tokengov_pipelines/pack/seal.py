"""Packs on disk, under the guard: drafts that may be overwritten, and the close that nothing rewrites (rules 2.4, 2.6).

Belongs here: the order of folder, record and commit. Does not belong here: the guard (`ledger.book`), the files
(`content`), the decision to close (`domain.close`, asked here once more while the lock is held).

Folders are `packs/{YYYY-MM}/v{n}`, the draft is v0. The ledger's commit is the commit point: a folder that was moved
into place by a run that died before it is not recorded, and the next run replaces it. A recorded v{n} is never touched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tokengov_pipelines.domain.close import Blocker, CloseFacts, close_blockers
from tokengov_pipelines.ledger.book import BookPage
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import DRAFT_VERSION
from tokengov_pipelines.pack.content import PackContent
from tokengov_pipelines.pack.folders import Placed, place_folder
from tokengov_pipelines.pack.writer import PackError


@dataclass(frozen=True)
class SealResult:
    """What writing a pack came to.

    `path`, `version` and `content_sha256` are those of the pack that is in force afterwards: the one just written, the
    identical one that was there, or the closed one that may not be rewritten; None and 0 where there is none.
    `written` says whether any byte was written, `reason` why or why not, `blockers` what holds a close.
    """

    path: Path | None
    version: int
    content_sha256: str | None
    written: bool
    reason: str
    blockers: tuple[Blocker, ...] = ()


def pack_path(content: PackContent) -> str:
    """Where the pack stands, relative to the installation's home: packs/2026-09/v1."""
    return f"packs/{content.month}/v{content.version}"


def write_draft(
    ledger: Ledger,
    home: Path,
    content: PackContent,
    *,
    actor: str,
    run_id: str,
    on_step: Callable[[str], None] = lambda _: None,
) -> SealResult:
    """Put the month's draft (v0) in place of the one before it; writes nothing when the bytes are the same.

    A closed month is not an error: nothing is written, and the result says why.
    """
    _require_version(content, DRAFT_VERSION)
    with ledger.closed_book(content.month, "pack", actor, run_id) as page:
        on_step("locked")
        if not page.writable:
            return _in_force(page, home, page.reason)
        placed = place_folder(home / pack_path(content), content.files, on_step)
        known = page.recorded(DRAFT_VERSION)
        if placed is not Placed.UNCHANGED or known is None or known.content_sha256 != content.content_sha256:
            page.record_draft(
                content_sha256=content.content_sha256, pack_path=pack_path(content), totals=dict(content.totals)
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
    *,
    run_id: str,
    on_step: Callable[[str], None] = lambda _: None,
) -> SealResult:
    """Close the month with this pack, signed by the preparer and the approver that `facts` name.

    The preconditions of rule 2.4 are asked again while the lock is held, with the waivers in force then; a blocker, or
    a month that is closed already (also by a process that was faster), writes nothing and is told in the result.
    """
    _require_same_lines(content, facts)
    with ledger.closed_book(content.month, "pack", facts.preparer, run_id) as page:
        on_step("locked")
        if not page.writable:
            return _in_force(page, home, page.reason)
        blockers = tuple(close_blockers(facts, page.waivers()))
        if blockers:
            return _in_force(page, home, f"period {content.month} is held by {len(blockers)} open points", blockers)
        _require_version(content, page.version_to_write)
        placed = place_folder(home / pack_path(content), content.files, on_step)
        if placed is Placed.REPLACED:
            page.record_event("pack.unrecorded_replaced", {"pack_path": pack_path(content), "run_id": run_id})
        page.record_close(
            version=content.version,
            content_sha256=content.content_sha256,
            pack_path=pack_path(content),
            totals=dict(content.totals),
            lines=content.postings,
            preparer=facts.preparer,
            approver=facts.approver,
        )
        on_step("recorded")
        reason = page.reason
    on_step("committed")
    return SealResult(home / pack_path(content), content.version, content.content_sha256, True, reason)


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
    for posting in content.postings:
        invoice = (posting.provider, posting.invoice_id)
        posted[invoice] = posted.get(invoice, Decimal(0)) + posting.amount
    charged = {(invoice.provider, invoice.invoice_id): invoice.charged for invoice in facts.invoices}
    if content.month != facts.month or posted != charged:
        message = (
            f"the pack of {content.month} posts {posted}, the facts of {facts.month} speak of {charged}. "
            "Fix: gather both from the same run."
        )
        raise PackError(message)
