"""The guard of the closed book: the one place that decides whether a month's files and rows may still be written.

Belongs here: the page that the guard hands to its only three writers (pack, publish, delivery) while it holds the
period's lock, and what they may record on it. Does not belong here: whether the month is fit to close (`domain.close`),
and the book as known now (lake, rollups, `*_current` tables), which any backfill may rewrite.

Everything recorded on a page takes effect when the guard's transaction commits, and not at all when it does not.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from tokengov_pipelines.domain.approval import Approval, ApprovalKind, PackSubject, Role
from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.close import Waiver
from tokengov_pipelines.domain.dispute import Dispute
from tokengov_pipelines.domain.people import same_person
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.accruals import AccrualApproval, accruals_in_force, read_accrual_approvals
from tokengov_pipelines.ledger.adjustments import (
    Adjustment,
    PostedAdjustment,
    adjustments_refusal,
    count_adjustments,
    insert_adjustments,
    lock_adjustments,
    read_adjustments,
)
from tokengov_pipelines.ledger.approvals import approval_payload, insert_approval, read_approvals
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.disputes import mark_posted, read_disputes
from tokengov_pipelines.ledger.errors import PageNotWritableError
from tokengov_pipelines.ledger.events import ChainHead, append_event, chain_head, read_events
from tokengov_pipelines.ledger.periods import (
    DRAFT_VERSION,
    Period,
    PeriodState,
    PeriodVersion,
    insert_postings,
    period_values,
    read_period,
    read_versions,
    version_values,
)
from tokengov_pipelines.ledger.signing import verifies
from tokengov_pipelines.ledger.tables import period_versions, periods
from tokengov_pipelines.ledger.waivers import read_waivers

Writer = Literal["pack", "publish", "delivery"]


class BookPage:
    """One month of the closed book, open before one writer for as long as the guard's block lasts.

    `writable` says whether the writer may write at all, `version_to_write` which version it would be (the pack's next
    close; for publish and delivery the closed version that they have not written yet), `reason` why in words.
    """

    def __init__(
        self,
        connection: Connection,
        period: Period,
        writer: Writer,
        actor: str,
        run_id: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._connection = connection
        self._period = period
        self._writer = writer
        self._actor = actor
        self._run_id = run_id
        self._clock = clock
        self._in_block = True

    @property
    def month(self) -> BillingMonth:
        """The month whose lock is held."""
        return self._period.month

    @property
    def period(self) -> Period:
        """The period as it stands in this transaction."""
        return self._period

    @property
    def writable(self) -> bool:
        """Whether this writer may write this month."""
        if self._writer == "pack":
            return self._period.state is not PeriodState.CLOSED
        return self._period.state is PeriodState.CLOSED and not self._released()

    @property
    def version_to_write(self) -> int:
        """The pack's next closed version; for publish and delivery the last closed version."""
        return self._period.version + 1 if self._writer == "pack" else self._period.version

    @property
    def reason(self) -> str:
        """Why the page is writable or not, fit for a person and for an asset's metadata."""
        period = self._period
        if period.state is not PeriodState.CLOSED:
            if self._writer == "pack":
                return f"period {period.month} is {period.state}: drafts are overwritten until it closes"
            return f"period {period.month} is {period.state}: only a closed version is handed to {self._writer}"
        closed = (
            f"period {period.month} was closed at v{period.version} on {period.closed_at:%Y-%m-%d %H:%M} UTC "
            f"by {period.preparer}, approved by {period.approver}"
        )
        if self._writer == "pack":
            return f"{closed}: its files are not rewritten; corrections post to the next open period"
        if self.writable:
            return f"{closed}: it awaits {self._writer}"
        return f"{closed}: {self._writer} has it and does not get it again; corrections post to the next open period"

    def waivers(self) -> list[Waiver]:
        """The month's waivers as they stand while the lock is held."""
        return read_waivers(self._connection, self.month)

    def approvals(self, content_sha256: str) -> list[Approval]:
        """The approvals of exactly this content, as they stand while the lock is held."""
        return read_approvals(self._connection, self.month, content_sha256)

    def accruals(self) -> dict[str, AccrualApproval]:
        """The accrual of each provider that two people approved for the month."""
        return accruals_in_force(read_accrual_approvals(self._connection, self.month))

    def disputes(self, month: BillingMonth | None = None) -> list[Dispute]:
        """The disputes about a month (None: about every month)."""
        return read_disputes(self._connection, month)

    def adjustments(self, original_month: BillingMonth) -> list[PostedAdjustment]:
        """What closes have posted for an earlier month so far."""
        return read_adjustments(self._connection, original_month=original_month)

    def chain_head(self) -> ChainHead:
        """The newest event of the audit trail: the manifest names it, and the close is a later one (Rule 11.8)."""
        return chain_head(self._connection)

    def last_manifest(self) -> PeriodVersion | None:
        """The version that was closed last, of any month, where its manifest is known: the one a manifest follows."""
        for event in reversed(read_events(self._connection, kind="period.closed")):
            said = event.payload
            if event.month and isinstance(said, dict) and said.get("manifest_sha256"):
                of_month = read_versions(self._connection, BillingMonth.parse(event.month))
                return next((each for each in of_month if each.version == said.get("version")), None)
        return None

    def recorded(self, version: int) -> PeriodVersion | None:
        """A version that the ledger knows, or None."""
        return next((each for each in read_versions(self._connection, self.month) if each.version == version), None)

    def record_event(self, kind: str, payload: Json) -> None:
        """Add an event about this month to the audit trail, in this transaction; allowed on any page."""
        self._require(self._in_block, f"the guard's block of {self.month} has ended")
        self._append(kind, payload)

    def record_draft(
        self, *, content_sha256: str, pack_path: str, totals: Json, close_content_sha256: str | None = None
    ) -> None:
        """Record the draft (v0) that the pack has just put at `pack_path`, over the one before it.

        `close_content_sha256` is the content hash that a close of the same inputs would have: what people approve.
        """
        self._require_pack("record a draft")
        version = self._version(DRAFT_VERSION, "draft", content_sha256, pack_path, totals)
        draft = replace(version, close_content_sha256=close_content_sha256)
        values = version_values(draft)
        dialect = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        keys = [period_versions.c.month, period_versions.c.version]
        self._connection.execute(
            dialect.insert(period_versions).values(values).on_conflict_do_update(index_elements=keys, set_=values)
        )
        payload: dict[str, Json] = {"content_sha256": content_sha256, "run_id": self._run_id}
        if close_content_sha256 is not None:
            payload["close_content_sha256"] = close_content_sha256
        self._append("draft.recorded", payload)

    def record_soft_close(self) -> None:
        """Say that the preview is out and the month is under review; drafts may still be overwritten (rule 2.4)."""
        self._require_pack("soft close the month")
        if self._period.state is PeriodState.OPEN:
            self._change_period(replace(self._period, state=PeriodState.SOFT_CLOSED))
            self._append("period.soft_closed", {"run_id": self._run_id})

    def record_close(
        self,
        *,
        version: int,
        content_sha256: str,
        pack_path: str,
        totals: Json,
        lines: Iterable[Posting],
        preparer: str,
        approver: str,
        adjustments: Sequence[Adjustment] = (),
        adjustments_known: int | None = None,
        approvals: Sequence[Approval] = (),
        posted_disputes: Sequence[str] = (),
        manifest_sha256: str | None = None,
    ) -> None:
        """Close the month at `version` (that is `version_to_write`), with what it published; for good (rule 2.5).

        `adjustments` are the corrections of earlier months among `lines`, and `adjustments_known` how many the ledger
        held when they were computed. `approvals` are those the close rests on: of this content, and recorded here where
        they are not yet. `posted_disputes` are the ids of the disputes whose moves are among `lines`.
        """
        self._require_pack("close the month")
        self._require(version == self.version_to_write, f"the next version is v{self.version_to_write}, not v{version}")
        self._require(bool(preparer.strip() and approver.strip()), "a close names a preparer and an approver")
        self._require(not same_person(preparer, approver), f"{preparer} is preparer and approver; they are two people")
        self._require_approvals(approvals, PackSubject(self.month, version, content_sha256), preparer, approver)
        posted = list(lines)
        self._post_adjustments(version, adjustments, adjustments_known, posted)
        for approval in approvals:
            insert_approval(self._connection, approval, self._clock())
        refused = mark_posted(self._connection, posted_disputes, f"{self.month}/v{version}")
        self._require(not refused, f"of the disputes {', '.join(refused)} none awaits posting")
        made = self._version(version, "closed", content_sha256, pack_path, totals)
        closed = replace(made, preparer=preparer.strip(), approver=approver.strip(), manifest_sha256=manifest_sha256)
        self._connection.execute(insert(period_versions).values(version_values(closed)))
        count = insert_postings(self._connection, self.month, version, posted)
        self._change_period(
            Period(
                month=self.month,
                state=PeriodState.CLOSED,
                version=version,
                content_sha256=content_sha256,
                closed_at=closed.created_at,
                preparer=closed.preparer,
                approver=closed.approver,
            )
        )
        payload: dict[str, Json] = {
            "version": version,
            "content_sha256": content_sha256,
            "manifest_sha256": manifest_sha256,
            "run_id": self._run_id,
            "preparer": closed.preparer,
            "approver": closed.approver,
            "approvals": [approval_payload(each) for each in approvals],
            "postings": count,
            "adjustments": len(adjustments),
            "disputes": list(posted_disputes),
            "totals": totals,
        }
        self._append("period.closed", payload)

    def record_release(self, *, content_sha256: str) -> None:
        """Record that publish or delivery has written the closed version, so that it is not written again."""
        self._require(self._in_block and self._writer != "pack" and self.writable, self.reason)
        payload: dict[str, Json] = {
            "version": self.version_to_write,
            "content_sha256": content_sha256,
            "run_id": self._run_id,
        }
        self._append(f"{self._writer}.recorded", payload)

    def end(self) -> None:
        """Close the page when the guard's block ends: whoever kept it can no longer write through it."""
        self._in_block = False

    def _released(self) -> bool:
        done = read_events(self._connection, str(self.month), f"{self._writer}.recorded")
        return any(isinstance(e.payload, dict) and e.payload.get("version") == self._period.version for e in done)

    def _require_approvals(
        self, approvals: Sequence[Approval], subject: PackSubject, preparer: str, approver: str
    ) -> None:
        """Approvals are of this content, by the people the close names, and what is signed is signed right."""
        for each in approvals:
            self._require(each.subject == subject, f"an approval is of {each.subject} and not of {subject}")
            signed = each.kind is ApprovalKind.SIGNED
            self._require(not signed or verifies(each), f"the signature of {each.role} {each.name} is not right")
        for role, who in ((Role.PREPARER, preparer), (Role.CONTROLLER, approver)):
            mine = [each for each in approvals if each.role is role]
            named = any(same_person(who, name) for each in mine for name in (each.name, each.email))
            self._require(named or not mine, f"{who} is named and has not approved as {role}")

    def _post_adjustments(
        self, version: int, posted: Sequence[Adjustment], known: int | None, lines: Sequence[Posting]
    ) -> None:
        if posted:
            lock_adjustments(self._connection)
            held = count_adjustments(self._connection)
            self._require(
                known in (None, held),
                f"another close has posted adjustments since these were computed ({known}, {held})",
            )
        closed = {
            month: read_period(self._connection, month).state is PeriodState.CLOSED
            for month in {each.original_month for each in posted}
        }
        refusal = adjustments_refusal(self.month, posted, lines, closed)
        self._require(refusal is None, refusal or "")
        insert_adjustments(self._connection, self.month, version, posted)

    def _require_pack(self, deed: str) -> None:
        self._require(self._in_block, f"the guard's block has ended; {deed} inside it")
        self._require(self._writer == "pack", f"the writer {self._writer} cannot {deed}; the pack does")
        self._require(self.writable, self.reason)

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            message = f"{self.month}: nothing was recorded, because {otherwise}."
            raise PageNotWritableError(message)

    def _version(self, version: int, status: str, content_sha256: str, pack_path: str, totals: Json) -> PeriodVersion:
        return PeriodVersion(
            self.month, version, status, content_sha256, pack_path, totals, self._clock(), self._run_id, None, None
        )

    def _change_period(self, period: Period) -> None:
        changed = update(periods).where(periods.c.month == str(period.month)).values(period_values(period))
        self._connection.execute(changed)
        self._period = period

    def _append(self, kind: str, payload: Json) -> None:
        append_event(
            self._connection, at=self._clock(), actor=self._actor, kind=kind, month=str(self.month), payload=payload
        )
