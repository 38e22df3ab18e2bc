"""Periods and their versions as the ledger holds them, and the lock that every writer of a period takes.

Belongs here: reading periods, versions and postings, their rows, and locking one period. Does not belong here: when
they are written, which is the guard's (`book`), and what a month is (`domain.period`).
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, RowMapping, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.columns import Json
from tokengov_pipelines.ledger.connection import write_transaction
from tokengov_pipelines.ledger.tables import period_versions, periods, postings


class PeriodState(StrEnum):
    """Open -> soft_closed -> closed, and never back (rule 2.4)."""

    OPEN = "open"
    SOFT_CLOSED = "soft_closed"
    CLOSED = "closed"


DRAFT_VERSION = 0
"""The one version that is overwritten (rule 2.6)."""


@dataclass(frozen=True)
class Period:
    """A month in the books; `version` is the last closed one, 0 while there is none."""

    month: BillingMonth
    state: PeriodState = PeriodState.OPEN
    version: int = 0
    content_sha256: str | None = None
    closed_at: dt.datetime | None = None
    preparer: str | None = None
    approver: str | None = None


@dataclass(frozen=True)
class PeriodVersion:
    """One written version: the draft (0) or a closed one. `pack_path` is relative to the installation's home.

    `close_content_sha256`: of a draft, the content hash that a close would have: what people approve.
    `manifest_sha256`: of a closed version, the hash of its manifest.json. None where nobody said.
    """

    month: BillingMonth
    version: int
    status: str
    content_sha256: str
    pack_path: str
    totals: Json
    created_at: dt.datetime
    run_id: str
    preparer: str | None
    approver: str | None
    close_content_sha256: str | None = None
    manifest_sha256: str | None = None


@contextmanager
def locked_period(engine: Engine, month: BillingMonth) -> Iterator[tuple[Connection, Period]]:
    """A writing transaction that holds the period's lock until it ends; the period is made when it is new."""
    with write_transaction(engine) as connection:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        new = dialect.insert(periods).values(month=str(month), state=PeriodState.OPEN.value, version=DRAFT_VERSION)
        connection.execute(new.on_conflict_do_nothing())
        locked = select(periods).where(periods.c.month == str(month)).with_for_update()
        yield connection, _period(connection.execute(locked).mappings().one())


def read_period(connection: Connection, month: BillingMonth) -> Period:
    """The period, open when nobody has written about it yet."""
    row = connection.execute(select(periods).where(periods.c.month == str(month))).mappings().one_or_none()
    return Period(month) if row is None else _period(row)


def read_periods(connection: Connection) -> list[Period]:
    """Every period that somebody has written about, oldest first."""
    return [_period(row) for row in connection.execute(select(periods).order_by(periods.c.month)).mappings()]


def read_versions(connection: Connection, month: BillingMonth) -> list[PeriodVersion]:
    """Every recorded version of the period, the draft first."""
    query = select(period_versions).where(period_versions.c.month == str(month)).order_by(period_versions.c.version)
    return [PeriodVersion(**{**row, "month": month}) for row in connection.execute(query).mappings()]


def read_postings(connection: Connection, month: BillingMonth, version: int) -> list[Posting]:
    """What a closed version published, sorted by its key; the original month is empty where it is the month itself."""
    keys = (
        postings.c.provider,
        postings.c.invoice_id,
        postings.c.cost_center,
        postings.c.charge_type,
        postings.c.original_month,
    )
    query = select(*keys, postings.c.amount, postings.c.currency).where(
        postings.c.month == str(month), postings.c.version == version
    )
    own = str(month)
    rows = [
        Posting(**{**row, "original_month": "" if row["original_month"] == own else row["original_month"]})
        for row in connection.execute(query).mappings()
    ]
    return sorted(
        rows, key=lambda row: (row.provider, row.invoice_id, row.cost_center, row.charge_type, row.original_month)
    )


def insert_postings(connection: Connection, month: BillingMonth, version: int, lines: Iterable[Posting]) -> int:
    """Write what a close publishes, inside its transaction; returns how many postings there are."""
    own = str(month)
    rows = [
        {**vars(line), "month": own, "version": version, "original_month": line.original_month or own} for line in lines
    ]
    if rows:
        connection.execute(insert(postings), rows)
    return len(rows)


def period_values(period: Period) -> dict[str, object]:
    """The period as its row."""
    return {**vars(period), "month": str(period.month), "state": period.state.value}


def version_values(version: PeriodVersion) -> dict[str, object]:
    """The version as its row."""
    return {**vars(version), "month": str(version.month)}


def _period(row: RowMapping) -> Period:
    values = dict(row)
    values["month"] = BillingMonth.parse(values["month"])
    values["state"] = PeriodState(values["state"])
    return Period(**values)
