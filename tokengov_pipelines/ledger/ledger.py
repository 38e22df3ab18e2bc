"""The ledger's front door: what was closed, who agreed, what happened (architecture 4, rules 2.4 to 2.7).

Belongs here: opening a ledger and the calls that assets, pack and command line make. Does not belong here: the work
behind them (`book`, `periods`, `waivers`, `events`, `alerts`, `schema`) and any decision about accounting (`domain`).
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from sqlalchemy import Connection

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.close import Waiver, WaiverSubject
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger import schema
from tokengov_pipelines.ledger.accruals import AccrualBook
from tokengov_pipelines.ledger.adjustments import PostedAdjustment, count_adjustments, read_adjustments
from tokengov_pipelines.ledger.alerts import AlertBook
from tokengov_pipelines.ledger.approvals import ApprovalBook
from tokengov_pipelines.ledger.book import BookPage, Writer
from tokengov_pipelines.ledger.bypass_exceptions import ExceptionRegister
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.connection import open_engine, shown_url, write_transaction
from tokengov_pipelines.ledger.disputes import DisputeBook
from tokengov_pipelines.ledger.events import (
    ChainHead,
    ChainReport,
    Event,
    append_event,
    chain_head,
    holds_head,
    read_events,
    verify_events,
)
from tokengov_pipelines.ledger.outbox import Outbox
from tokengov_pipelines.ledger.periods import (
    Period,
    PeriodVersion,
    locked_period,
    read_period,
    read_periods,
    read_postings,
    read_versions,
)
from tokengov_pipelines.ledger.resolutions import ItemBook
from tokengov_pipelines.ledger.waivers import insert_waiver, read_waivers, revoke_waiver_row


class Ledger:
    """A ledger at a URL. Nothing is opened before the first call, and no connection is kept between calls.

    `clock` gives aware UTC datetimes and is the only source of time. `lock_seconds` is how long a write waits for
    another process. Every call raises `LedgerError` with what, where and the fix when the database says no.
    """

    def __init__(self, url: str, clock: Callable[[], dt.datetime], *, lock_seconds: float = 30) -> None:
        self._engine = open_engine(url, lock_seconds)
        self._clock = clock
        self._checked = False

    def __repr__(self) -> str:
        return f"Ledger({self.shown_url!r})"

    @property
    def shown_url(self) -> str:
        """Where the ledger is, without the password."""
        return shown_url(self._engine.url)

    def now(self) -> dt.datetime:
        """The present moment (UTC) of the ledger's clock, which is what it records."""
        return self._clock()

    def upgrade(self) -> None:
        """Make or upgrade the tables; safe when several processes start at once, nothing to do when they are there."""
        schema.upgrade(self._engine)
        self._checked = True

    @contextmanager
    def closed_book(self, month: BillingMonth, writer: Writer, actor: str, run_id: str) -> Iterator[BookPage]:
        """The guard: hold the period's lock in one transaction and yield the page that may, or may not, be written.

        Raises nothing because a period is closed: the writer has to look at `page.writable`. What is recorded on the
        page is committed when the block ends, and rolled back when it raises. Inside the block use the page, not the
        ledger, for further writes: on SQLite the ledger would wait for itself.
        """
        self._require_tables()
        with locked_period(self._engine, month) as (connection, period):
            page = BookPage(connection, period, writer, actor, run_id, self._clock)
            try:
                yield page
            finally:
                page.end()

    def period(self, month: BillingMonth) -> Period:
        """The period as it stands; open when the ledger has not heard of it."""
        with self._reading() as connection:
            return read_period(connection, month)

    def periods(self) -> list[Period]:
        """Every period that the ledger has heard of, oldest first."""
        with self._reading() as connection:
            return read_periods(connection)

    def versions(self, month: BillingMonth) -> list[PeriodVersion]:
        """The recorded versions of a period, the draft (0) first."""
        with self._reading() as connection:
            return read_versions(connection, month)

    def postings(self, month: BillingMonth, version: int) -> list[Posting]:
        """What a closed version published."""
        with self._reading() as connection:
            return read_postings(connection, month, version)

    def adjustments(self, original_month: BillingMonth) -> list[PostedAdjustment]:
        """What closes have posted for an earlier month so far: what a new correction of it subtracts (Rule 2.5)."""
        with self._reading() as connection:
            return read_adjustments(connection, original_month=original_month)

    def adjustments_posted_in(self, month: BillingMonth) -> list[PostedAdjustment]:
        """The corrections of earlier months that a close of this month posted."""
        with self._reading() as connection:
            return read_adjustments(connection, posting_month=month)

    def adjustments_known(self) -> int:
        """How many adjustments there are; a close that computes its own now names this number when it posts them."""
        with self._reading() as connection:
            return count_adjustments(connection)

    def waivers(self, month: BillingMonth) -> list[Waiver]:
        """The waivers of a month, revoked ones too."""
        with self._reading() as connection:
            return read_waivers(connection, month)

    def grant_waiver(
        self,
        month: BillingMonth,
        subject: WaiverSubject,
        *,
        provider: str | None = None,
        reason: str,
        requested_by: str,
        approved_by: str,
        limit_amount: Decimal | None = None,
    ) -> Waiver:
        """Record a signed exception; raises `WaiverRefusedError` when it is not by two people, or comes too late."""
        self._require_tables()
        with locked_period(self._engine, month) as (connection, _):
            return insert_waiver(
                connection,
                at=self._clock(),
                month=month,
                subject=subject,
                provider=provider,
                reason=reason,
                requested_by=requested_by,
                approved_by=approved_by,
                limit_amount=limit_amount,
            )

    def revoke_waiver(self, month: BillingMonth, waiver_id: int, *, actor: str, reason: str) -> None:
        """Take a waiver back before the month closes; raises `WaiverRefusedError` when it is too late."""
        self._require_tables()
        with locked_period(self._engine, month) as (connection, _):
            revoke_waiver_row(
                connection, at=self._clock(), month=month, waiver_id=waiver_id, actor=actor, reason=reason
            )

    def record_event(self, kind: str, actor: str, payload: Json, month: BillingMonth | None = None) -> Event:
        """Append to the audit trail. The payload holds text, integers, lists and mappings; amounts are decimal text."""
        self._require_tables()
        with write_transaction(self._engine) as connection:
            text = str(month) if month else None
            return append_event(connection, at=self._clock(), actor=actor, kind=kind, month=text, payload=payload)

    def events(self, month: BillingMonth | None = None, kind: str | None = None) -> list[Event]:
        """The audit trail in order; of one month, of one kind, or whole."""
        with self._reading() as connection:
            return read_events(connection, str(month) if month else None, kind)

    def verify_chain(self) -> ChainReport:
        """Recompute the hash chain of all events."""
        with self._reading() as connection:
            return verify_events(connection)

    def chain_head(self) -> ChainHead:
        """The newest event of the audit trail."""
        with self._reading() as connection:
            return chain_head(connection)

    def holds_head(self, head: ChainHead) -> bool:
        """Whether the audit trail still has the event that a manifest names as its head."""
        with self._reading() as connection:
            return holds_head(connection, head)

    @property
    def approvals(self) -> ApprovalBook:
        """Who approved which content of a pack, append-only (Rule 11.8)."""
        self._require_tables()
        return ApprovalBook(self._engine, self._clock)

    @property
    def disputes(self) -> DisputeBook:
        """Disputes about charges and their decisions (Rule 6.8)."""
        self._require_tables()
        return DisputeBook(self._engine, self._clock)

    @property
    def accruals(self) -> AccrualBook:
        """Accruals that two people approved where an invoice is not there yet, append-only (Rule 2.4)."""
        self._require_tables()
        return AccrualBook(self._engine, self._clock)

    @property
    def deliveries(self) -> Outbox:
        """The outbox of closed packs: what is owed to whom, what was tried, what arrived."""
        self._require_tables()
        return Outbox(self._engine, self._clock)

    @property
    def alerts(self) -> AlertBook:
        """The alerts of operation and their outbox: no accounting evidence, so not in the hash chain."""
        self._require_tables()
        return AlertBook(self._engine)

    @property
    def outbox(self) -> Outbox:
        """What is owed of closed packs to whom, what was tried and what arrived."""
        self._require_tables()
        return Outbox(self._engine, self._clock)

    @property
    def items(self) -> ItemBook:
        """How people settled reconciling items: events of the audit trail (Rule 4.8)."""
        self._require_tables()
        return ItemBook(self._engine, self._clock)

    @property
    def bypass_exceptions(self) -> ExceptionRegister:
        """The register of keys that may bypass the proxy for a while: events of the audit trail (Rule 5.5)."""
        self._require_tables()
        return ExceptionRegister(self._engine, self._clock)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._require_tables()
        with self._engine.connect() as connection:
            yield connection

    def _require_tables(self) -> None:
        if not self._checked:
            schema.require_current(self._engine)
            self._checked = True
