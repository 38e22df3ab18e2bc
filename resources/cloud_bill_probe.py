"""`tokengov doctor` on the clouds' bills: read as a load reads them, and what is missing for the match.

Belongs here: what the folder holds now, and what is about to go wrong with it. Does not belong here: reading bills
(`resources.cloud_bills`), their rules (`tokengov_pipelines.domain`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from resources.cloud_bill_files import Bucket
from resources.cloud_bill_periods import SourceBills
from resources.cloud_bills import CloudBillError, CloudBillFolder
from tokengov_pipelines.domain.cloud_charge import Charge
from tokengov_pipelines.domain.cloud_legs import principal_usage
from tokengov_pipelines.domain.cloud_meters import AWS
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.problem import Problem

SOURCE: Final = "cloud bills"
STALE_AFTER_DAYS: Final = 3
"""Clouds write the open month at least daily; AWS says up to 24 hours, Google up to 5 days for a backfill."""

_MOST_PROBLEMS: Final = 20


def probe_cloud_bills(folder: CloudBillFolder, today: dt.date) -> Iterator[Finding]:
    """Whether every bill of the folder would load, how new each source is, and what the match will lack."""
    try:
        sources = folder.read()
    except CloudBillError as refused:
        yield from_error(SOURCE, "folder", str(refused))
        return
    if not any(bills.files or bills.problems for bills in sources):
        yield ok(SOURCE, "files", "the folder may be read; it holds no bill yet.")
    for bills in sources:
        yield from _problems(bills.problems)
        yield from _quarantined(bills)
        charges = [charge for rows in bills.periods.values() for charge in rows]
        if charges:
            yield from _charges(bills.source, charges, today)


def _problems(problems: Sequence[Problem]) -> Iterator[Finding]:
    for problem in problems[:_MOST_PROBLEMS]:
        place = problem.file if problem.row is None else f"{problem.file}:{problem.row}"
        yield error(SOURCE, place, f"{problem.what}.", f"{problem.fix}.")
    if len(problems) > _MOST_PROBLEMS:
        text = f"{len(problems) - _MOST_PROBLEMS} more problems are not listed here."
        yield error(SOURCE, "files", text, "repair those above first, then run this again.")


def _quarantined(bills: SourceBills) -> Iterator[Finding]:
    for file in bills.files:
        rows = sum(total.rows for total in file.totals if total.bucket is Bucket.QUARANTINED)
        if rows:
            fix = f"see which: tokengov cloud-bill check {file.name}; export the bill again when its source is right."
            yield error(SOURCE, file.name, f"{rows} rows cannot be read and are left out.", fix)


def _charges(source: str, charges: Sequence[Charge], today: dt.date) -> Iterator[Finding]:
    newest = max(charge.usage_date for charge in charges)
    found = principal_usage(charges)
    if (today - newest).days > STALE_AFTER_DAYS:
        text = f"the newest usage is of {newest}."
        yield warning(SOURCE, source, text, "look at the export's schedule and at the copy into the folder.")
    else:
        yield ok(SOURCE, source, f"{len(charges)} charges, up to {newest}.")
    unknown = [charge for charge in found.caller_unknown if charge.provider == AWS]
    if unknown:
        text = f"the export does not name callers: bypass of {_usd(unknown)} USD can be told by account alone."
        yield warning(SOURCE, source, text, "switch on IAM principal data in the CUR 2.0 export.")
    if found.without_tokens:
        text = f"{_usd(found.without_tokens)} USD of usage has no token count."
        fix = "see the meters: tokengov cloud-bill check; state the unit in cloud_bills.token_units where you know it."
        yield warning(SOURCE, source, text, fix)


def _usd(charges: Sequence[Charge]) -> Decimal:
    return exact_sum(charge.billed_amount for charge in charges)
