"""Who agreed to the price book: its events in the ledger, read and written (rule 12.4).

Belongs here: turning the audit trail into `BookEvent`s, and recording an opening or an approval. Does not belong here:
which book counts as agreed (`domain.price_review`), files and tables (`resources.price_book`).
"""

from collections.abc import Sequence
from typing import Final

from resources.lake import Lake
from resources.price_book import stored_book
from tokengov_pipelines.domain.price_review import (
    APPROVED,
    OPENED,
    BookChange,
    BookEvent,
    UnapprovedBook,
    check_approval,
    summary,
    unapproved,
)
from tokengov_pipelines.ledger.ledger import Ledger

_CHANGES_KEPT: Final = 200
"""Changes that an event lists; the books themselves are in the lake."""


def book_events(ledger: Ledger) -> list[BookEvent]:
    """Every opening and approval of a price book, oldest first."""
    found = [(event, event.payload) for kind in (OPENED, APPROVED) for event in ledger.events(kind=kind)]
    return [
        BookEvent(
            kind=event.kind,
            sha256=str(payload.get("sha256", "")),
            at=event.at,
            prepared_by=str(payload.get("prepared_by", "")),
            approved_by=str(payload.get("approved_by", "")),
            reason=str(payload.get("reason", "")),
        )
        for event, payload in sorted(found, key=lambda pair: pair[0].seq)
        if isinstance(payload, dict)
    ]


def open_first_book(ledger: Ledger, sha256: str, actor: str) -> bool:
    """Record an installation's first book as agreed; False where a book was opened before."""
    if book_events(ledger):
        return False
    ledger.record_event(OPENED, actor, {"sha256": sha256})
    return True


def approve_book(
    ledger: Ledger, sha256: str, changes: Sequence[BookChange], *, prepared_by: str, approved_by: str, reason: str
) -> None:
    """Record that two people agree to a book.

    Raises:
        PriceApprovalError: they are one person, or a name or the reason is missing.
        LedgerError: the ledger cannot be written.
    """
    check_approval(prepared_by, approved_by, reason)
    ledger.record_event(
        APPROVED,
        approved_by.strip(),
        {
            "sha256": sha256,
            "prepared_by": prepared_by.strip(),
            "approved_by": approved_by.strip(),
            "reason": reason.strip(),
            "summary": summary(changes),
            "changes": [str(change) for change in changes[:_CHANGES_KEPT]],
        },
    )


def price_book_blocker(ledger: Ledger, lake: Lake) -> UnapprovedBook | None:
    """Why the month may not close on the prices in use: two people have to agree to them (Rules 2.4, 12.4)."""
    book = stored_book(lake)
    if book is None:
        return UnapprovedBook("the lake holds no price book", "materialize raw/price_book")
    return unapproved(book_events(ledger), book.sha256)
