"""The partitions of the asset graph: UTC days of the proxy log and calendar months of the books.

Belongs here: partition definitions.
Does not belong here: assets and schedules.
"""

import dagster as dg

from tokengov_pipelines.settings import Settings

MONTH_FORMAT = "%Y-%m"


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Complete UTC days from `log_start` (Rule 2.1), up to a fixed `as_of` where one is set."""
    end = settings.as_of.isoformat() if settings.as_of else None
    return dg.DailyPartitionsDefinition(start_date=settings.log_start.isoformat(), end_date=end)


def monthly_partitions(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Ended calendar months (UTC) from `books_start`; a key is the billing month, for example `2026-10`."""
    end = settings.as_of.strftime(MONTH_FORMAT) if settings.as_of else None
    return dg.MonthlyPartitionsDefinition(start_date=settings.books_start, end_date=end, fmt=MONTH_FORMAT)
