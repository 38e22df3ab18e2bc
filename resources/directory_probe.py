"""`tokengov doctor` on the files that people keep: the org directory with its gaps, the invoice folder.

Belongs here: reading both folders as a load does, and what is about to go wrong in them. Does not belong here: their
rules (`tokengov_pipelines.domain.directory_checks`, `tokengov_pipelines.domain.invoice`).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from resources.directory import DirectoryError, DirectoryLoad, OrgDirectory
from resources.drop_folder import without_password
from resources.invoice_files import InvoiceError, read_invoice_folder
from resources.invoices import InvoiceFolder
from resources.litellm_probe import ProxySight
from tokengov_pipelines.domain.directory_gaps import DirectoryDays, orphans, uncovered
from tokengov_pipelines.domain.finding import Finding, error, ok, warning
from tokengov_pipelines.domain.problem import Problem

SOURCE: Final = "directory"
INVOICES: Final = "invoices"
ENDING_WITHIN_DAYS: Final = 30
_MOST_PROBLEMS = 20
_MOST_NAMED = 10


def probe_directory(source: OrgDirectory, sight: ProxySight | None, today: dt.date) -> Iterator[Finding]:
    """Whether the directory loads, and whom of the proxy's newest callers it does not answer for.

    `sight` is None where the proxy could not be asked; then only the files are looked at.
    """
    try:
        loaded = source.load()
    except DirectoryError as refused:
        yield from _problems(SOURCE, refused.problems)
        return
    counts = ", ".join(f"{table.num_rows} {name}" for name, table in loaded.tables.items() if table.num_rows)
    yield ok(SOURCE, "files", f"{without_password(source.url)} loads: {counts}.")
    for problem in loaded.warnings[:_MOST_PROBLEMS]:
        yield warning(SOURCE, _place(problem), f"{problem.what}.", f"{problem.fix}.")
    yield from _gaps(loaded, source, sight, today)


def _gaps(loaded: DirectoryLoad, source: OrgDirectory, sight: ProxySight | None, today: dt.date) -> Iterator[Finding]:
    tables = {name: table.to_pylist() for name, table in loaded.tables.items()}
    days = DirectoryDays(tables, source.max_successor_chain)
    ending = [f"{code} on {end}" for code, end in days.ending(today, ENDING_WITHIN_DAYS)]
    if ending:
        text = f"these cost centers end within {ENDING_WITHIN_DAYS} days and name no successor: {_some(ending)}."
        fix = "name a successor in cost_centers.csv, or move their teams: their calls go to suspense from that day on."
        yield warning(SOURCE, "ending cost centers", text, fix)
    else:
        text = f"no cost center without a successor ends within {ENDING_WITHIN_DAYS} days."
        yield ok(SOURCE, "ending cost centers", text)
    if sight is None:
        text = "who calls the proxy is not known, because its database could not be read."
        yield warning(SOURCE, "gaps", text, "repair what is said of LiteLLM, then run this again.")
        return
    missing = [str(caller) for caller in uncovered(days, sight.callers, sight.entities, today)]
    if missing:
        yield warning(
            SOURCE,
            "gaps",
            f"calls since {sight.since} whose payer the directory does not say on {today}: {_some(missing)}.",
            f"add them to teams.csv, users.csv or service_accounts.csv; until then they go to {source.suspense}.",
        )
    else:
        text = f"each of the {len(sight.callers)} callers seen since {sight.since} has a cost center today."
        yield ok(SOURCE, "gaps", text)
    lost = [f"{caller} on {day}" for caller, day in orphans(days, sight.callers, sight.entities, today)]
    if lost:
        yield warning(
            SOURCE,
            "next month's orphans",
            f"callers that have a cost center today and none from a day before the end of next month: {_some(lost)}.",
            f"extend or replace their rows before that day; otherwise their calls go to {source.suspense}.",
        )
    else:
        yield ok(SOURCE, "next month's orphans", "nobody who calls today loses the cost center until next month ends.")


def probe_invoices(folder: InvoiceFolder) -> Iterator[Finding]:
    """Whether the invoice folder can be read, and whether what is in it would load."""
    try:
        files = read_invoice_folder(folder.url)
        loaded = folder.load()
    except InvoiceError as refused:
        yield from _problems(INVOICES, refused.problems)
        return
    if not files:
        yield ok(INVOICES, "files", f"{without_password(folder.url)} may be read; it holds no invoice yet.")
        return
    newest = max(invoice.period.last_day for invoice in loaded.invoices)
    text = f"{len(loaded.invoices)} invoices add up; the newest bills up to {newest}."
    yield ok(INVOICES, "files", text)


def _problems(source: str, problems: Sequence[Problem]) -> Iterator[Finding]:
    for problem in problems[:_MOST_PROBLEMS]:
        yield error(source, _place(problem), f"{problem.what}.", f"{problem.fix}.")
    if len(problems) > _MOST_PROBLEMS:
        text = f"{len(problems) - _MOST_PROBLEMS} more problems are not listed here."
        yield error(source, "files", text, "repair those above first, then run this again.")


def _place(problem: Problem) -> str:
    place = without_password(problem.file) + (f":{problem.row}" if problem.row is not None else "")
    return f"{place} {problem.field}" if problem.field else place


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return f"{', '.join(names[:_MOST_NAMED])}{f' and {more} more' if more > 0 else ''}"
