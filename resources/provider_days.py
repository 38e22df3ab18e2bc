"""What the daily reports and key lists of all providers share: windows of days, one sorted load per UTC day, snapshots.

Belongs here: cutting a range into requests, refusing repeated rows, the canonical order that makes equal content an
equal file, and committing. Does not belong here: requests and fields of a provider (`resources.anthropic`,
`resources.openai`).
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from resources.lake import Lake, LakeTable, LoadOutcome
from resources.source_error import SourceError

Row = dict[str, Any]


def windows(days: Sequence[dt.date], longest: int) -> Iterator[list[dt.date]]:
    """Runs of consecutive days, none longer than `longest`, ascending."""
    run: list[dt.date] = []
    for day in sorted(set(days)):
        if run and (day - run[-1] != dt.timedelta(days=1) or len(run) == longest):
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def span(days: Sequence[dt.date]) -> str:
    """A window in words, both days included."""
    return f"{days[0]} to {days[-1]}" if len(days) > 1 else f"{days[0]}"


@dataclass
class ReportDays:
    """Rows of a report by UTC day; `group` names the columns that no two rows of a day may share.

    A page that the provider sends twice would double its money; the repeated group gives it away.
    """

    table: LakeTable
    group: Sequence[str]
    days: Sequence[dt.date]
    source: str
    rows: dict[dt.date, list[Row]] = field(default_factory=dict)
    _seen: set[tuple[Any, ...]] = field(default_factory=set)

    def cover(self, day: dt.date) -> None:
        """The provider answered for this day, be it with no row."""
        self.rows.setdefault(day, [])

    def add(self, day: dt.date, row: Row) -> None:
        """A row of a day.

        Raises:
            SourceError: the day has a row of the same group already.
        """
        key = (day, *(row[name] for name in self.group))
        if key in self._seen:
            shown = ", ".join(f"{name} {row[name]}" for name in self.group if row[name] is not None)
            message = (
                f"{self.source}: {day}: the same row came twice ({shown or 'no group'}). Fix: run it again; if it "
                "stays, the provider repeats a page: report it with the archived body."
            )
            raise SourceError(message)
        self._seen.add(key)
        self.cover(day)
        self.rows[day].append(row)

    def commit(
        self,
        lake: Lake,
        extracted_at: dt.datetime,
        *,
        known_until: dt.datetime | None = None,
        bodies: Sequence[str] = (),
    ) -> Iterator[tuple[dt.date, LoadOutcome]]:
        """One load a day, in day order; a day that the answer does not cover is an error before anything is written.

        `known_until` is the moment up to which the provider's figures are, where it says so. A day that ends later
        and has no row is not known to be empty: its outcome is `unproven_zero`, says why, and nothing becomes current.
        """
        missing = [day for day in self.days if day not in self.rows]
        if missing:
            message = (
                f"{self.source}: the answer holds no bucket for {', '.join(map(str, missing[:5]))}"
                f"{' and more' if len(missing) > 5 else ''}. Fix: run it again; nothing was kept of it."
            )
            raise SourceError(message)
        # All of them before the first is written: a row that Arrow does not take must not leave half a window.
        batches = {day: record_batch(self.table.schema, self.rows[day]) for day in self.days}
        for day, batch in batches.items():
            end = day + dt.timedelta(days=1)
            is_known = known_until is None or known_until >= dt.datetime.combine(end, dt.time(), dt.UTC)
            with lake.writing(self.table) as writer:
                writer.write(batch)
                outcome = lake.commit(
                    self.table,
                    f"day={day}",
                    writer,
                    extracted_at=extracted_at,
                    known_until=known_until,
                    window=(f"{day} 00:00:00", f"{end} 00:00:00"),
                    zero_is_proven=is_known,
                    bodies=bodies,
                )
            if known_until is not None and outcome.verdict == "unproven_zero":
                reach = (
                    f"the provider's figures reach until {known_until:%Y-%m-%d %H:%M} UTC and hold nothing of this day"
                )
                outcome = replace(outcome, reason=reach)
            yield day, outcome


def commit_snapshot(
    lake: Lake,
    table: LakeTable,
    account: str,
    rows: Sequence[Mapping[str, Any]],
    extracted_at: dt.datetime,
    bodies: Sequence[str] = (),
    *,
    zero_is_proven: bool = True,
) -> LoadOutcome:
    """A list as it is now, as the snapshot of its UTC day; a row holds the table's columns but day and account.

    A list that could not be read has no rows and no proof that there are none (`zero_is_proven` off).
    """
    observed = extracted_at.astimezone(dt.UTC).date()
    whole = [{"observed_date": observed, "account": account, **row} for row in rows]
    with lake.writing(table) as writer:
        writer.write(record_batch(table.schema, whole))
        window = (observed.isoformat(), observed.isoformat())
        return lake.commit(
            table,
            f"observed={observed}",
            writer,
            extracted_at=extracted_at,
            window=window,
            zero_is_proven=zero_is_proven,
            bodies=bodies,
        )


def record_batch(schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows in the one order that their content gives, whatever pages they came in; a row names every column."""
    for row in rows:
        if set(row) != set(schema.names):
            message = f"a row names {sorted(set(row) ^ set(schema.names))} more or less than its table"
            raise ValueError(message)
    ordered = sorted(rows, key=lambda row: [(row[name] is not None, str(row[name])) for name in schema.names])
    return pa.RecordBatch.from_pylist(ordered, schema=schema)
