"""The partitions of the asset graph: UTC days of the proxy log and calendar months of the books.

Belongs here: partition definitions.
Does not belong here: assets and schedules; how far a day is known (`domain.day_state`).
"""

import datetime as dt

import dagster as dg

from tokengov_pipelines.settings import Settings

MONTH_FORMAT = "%Y-%m"


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from `log_start` (Rule 2.1) to the running day, which is partial until it has ended (Rule 2.3).

    A fixed `as_of` ends them; at its midnight no day is running.
    """
    end = None
    if settings.as_of is not None:
        now = settings.now()
        end = (now.date() + dt.timedelta(days=1 if now.time() > dt.time() else 0)).isoformat()
    return dg.DailyPartitionsDefinition(start_date=settings.log_start.isoformat(), end_date=end, end_offset=1)


def monthly_partitions(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Ended calendar months (UTC) from `books_start`; a key is the billing month, for example `2026-10`."""
    end = settings.today().strftime(MONTH_FORMAT) if settings.as_of else None
    return dg.MonthlyPartitionsDefinition(start_date=settings.books_start, end_date=end, fmt=MONTH_FORMAT)
