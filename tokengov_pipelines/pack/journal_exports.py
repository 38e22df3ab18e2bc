"""journal_xero.csv and its siblings: the journal in the formats that ledgers import (Rules 6.5, 11.1).

Belongs here: files written by a column map: dates, sign, limits, splits. Does not belong here: the maps
(`journal_formats`), the entries (`domain.journal`) and journal.csv itself (`journal_csv`).

Nothing is cut or dropped unless the map says so; what a format does not take is refused by name of the line. Text is
neutralised as in every file of a pack (Rule 12.3). Rows stand in the order of the entries, not by a key of the format.
"""

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from tokengov_pipelines.domain.journal import JournalLine, balance_problems
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.pack.journal_formats import (
    AMOUNTS,
    DIGEST_LENGTH,
    PLACEHOLDER,
    JournalFormatError,
    JournalMap,
    MapColumn,
)
from tokengov_pipelines.pack.writer import neutralised


def journal_exports(lines: Iterable[JournalLine], maps: Iterable[JournalMap]) -> dict[str, bytes]:
    """The files of every format, by file name: journal_xero.csv, or journal_xero_1.csv and so on where it is split.

    Without lines a file is its header alone. Entries come by external id, lines by number.

    Raises:
        JournalFormatError: an entry does not balance, or a line holds what a format does not take.
    """
    ordered = sorted(lines, key=lambda line: (line.external_id, line.line_no))
    unsound = balance_problems(ordered)
    if unsound:
        raise JournalFormatError("\n".join(f"{problem}." for problem in unsound))
    entries: dict[str, list[JournalLine]] = {}
    for line in ordered:
        entries.setdefault(line.external_id, []).append(line)
    files: dict[str, bytes] = {}
    for each in maps:
        parts = list(_split(each, list(entries.values())))
        for number, part in enumerate(parts, start=1):
            name = each.file if len(parts) == 1 else f"journal_{each.format}_{number}.csv"
            files[name] = _file(each, name, part)
    return files


def unmapped_values(lines: Iterable[JournalLine], maps: Iterable[JournalMap]) -> tuple[str, ...]:
    """Values that stand in a file as they are because the map's table lacks them: a ledger may refuse them."""
    rows = list(lines)
    found = []
    for each in maps:
        for column in each.columns:
            if column.table is not None and column.field is not None:
                values = {str(getattr(line, column.field)) for line in rows} - {"", *each.tables[column.table]}
                found += [f"{each.file} {column.name}: {value} is not in {column.table}" for value in sorted(values)]
    return tuple(found)


def _split(own_map: JournalMap, entries: Sequence[list[JournalLine]]) -> Iterator[list[JournalLine]]:
    """The lines of each file: at least one file, at most `lines_per_file` lines, one legal entity where asked."""
    limit = own_map.lines_per_file
    if own_map.one_legal_entity_per_file:
        entries = sorted(entries, key=lambda entry: entry[0].legal_entity)
    whole = [part for entry in entries for part in (_torn(entry, limit) if limit else [entry])]
    current: list[JournalLine] = []
    for entry in whole:
        full = limit is not None and len(current) + len(entry) > limit
        other = own_map.one_legal_entity_per_file and current and current[0].legal_entity != entry[0].legal_entity
        if current and (full or other):
            yield current
            current = []
        current = current + entry
    yield current


def _torn(entry: list[JournalLine], limit: int) -> list[list[JournalLine]]:
    """The entry in balanced parts of at most `limit` lines; one part where it fits.

    A part carries its balance to the next over the account of the entry's last line of the balance sheet (clearing), so
    that over all parts that account holds what the entry says. A part has an external id of its own, ending in -P1.
    """
    if len(entry) <= limit:
        return [entry]
    over = next((line for line in reversed(entry) if not line.cost_center), entry[-1])
    parts: list[list[JournalLine]] = []
    rest, brought = list(entry), Decimal(0)
    while rest:
        opening = [_carried(over, brought, f"carried from part {len(parts)}")] if brought else []
        room = limit - len(opening)
        taken = rest if len(rest) <= room else rest[: room - 1]
        rest = rest[len(taken) :]
        part = [*opening, *taken]
        brought = exact_sum(line.debit - line.credit for line in part)
        if brought:
            part.append(_carried(over, -brought, f"carried to part {len(parts) + 2}"))
        external_id = f"{over.external_id}-P{len(parts) + 1}"
        parts.append([replace(line, external_id=external_id, line_no=n) for n, line in enumerate(part, start=1)])
    return parts


def _carried(over: JournalLine, amount: Decimal, words: str) -> JournalLine:
    zero = amount - amount  # with the decimals of the amount
    return replace(over, debit=max(amount, zero), credit=max(-amount, zero), memo=f"{over.external_id} {words}")


def _file(own_map: JournalMap, name: str, lines: Iterable[JournalLine]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    if own_map.header:
        writer.writerow([column.name for column in own_map.columns])
    digests: dict[str, str] = {}
    for line in lines:
        writer.writerow([_cell(own_map, column, line, name, digests) for column in own_map.columns])
    return buffer.getvalue().encode("utf-8", "replace")


def _cell(own_map: JournalMap, column: MapColumn, line: JournalLine, name: str, digests: dict[str, str]) -> str:
    if column.when is not None and not _plain(own_map, column.when, line):
        return ""
    if column.field in AMOUNTS:
        return _amount(own_map, column, line, name)
    if column.field is not None:
        value = _plain(own_map, column.field, line)
        value = own_map.tables[column.table].get(value, value) if column.table is not None else value
        if not value and column.if_empty is not None:
            value = own_map.settings[column.if_empty]
    elif column.text is not None:
        value = PLACEHOLDER.sub(lambda match: _plain(own_map, match[1], line), column.text)
    else:
        value = column.constant if column.constant is not None else own_map.settings[str(column.setting)]
    value = neutralised(value)
    if column.max_length is None or len(value) <= column.max_length:
        return value
    place = f"{name}: {line.external_id} line {line.line_no}"
    if column.too_long == "refuse":
        message = (
            f"{place}: {column.name} {value!r} has {len(value)} characters, and {own_map.format} takes "
            f"{column.max_length}. Fix: shorten it at its source, or name what stands for it in the format's table; "
            f"without {own_map.format}, take it out of journal.formats in policy.yaml."
        )
        raise JournalFormatError(message)
    if column.too_long == "cut":
        return value[: column.max_length]
    digest = hashlib.sha256(value.encode()).hexdigest()[:DIGEST_LENGTH]
    short = f"{value[: column.max_length - DIGEST_LENGTH - 1]}-{digest}"
    if digests.setdefault(short, value) != value:
        message = (
            f"{place}: {column.name} {value!r} and {digests[short]!r} are both shortened to {short}. Fix: rename one."
        )
        raise JournalFormatError(message)
    return short


def _plain(own_map: JournalMap, field: str, line: JournalLine) -> str:
    if field in AMOUNTS:
        return format(_signed(own_map, field, line), "f")
    value = getattr(line, field)
    if isinstance(value, dt.date):
        form = own_map.date_format
        return form.replace("YYYY", f"{value:%Y}").replace("MM", f"{value:%m}").replace("DD", f"{value:%d}")
    return str(value)


def _signed(own_map: JournalMap, field: str, line: JournalLine) -> Decimal:
    if field == "debit":
        return line.debit
    if field == "credit":
        return line.credit
    return line.debit - line.credit if own_map.amount_sign == "debit_positive" else line.credit - line.debit


def _amount(own_map: JournalMap, column: MapColumn, line: JournalLine, name: str) -> str:
    """A plain number; the side that a line does not stand on is blank, so that one of debit and credit is filled."""
    value = _signed(own_map, str(column.field), line)
    if not value:
        return ""
    text = format(value, "f")
    whole, _, decimals = text.lstrip("-").partition(".")
    place = f"{name}: {line.external_id} line {line.line_no}: {column.name} {text}"
    if own_map.integer_digits is not None and len(whole) > own_map.integer_digits:
        message = (
            f"{place} has {len(whole)} digits before the point, and {own_map.format} takes {own_map.integer_digits}. "
            "Fix: post this entry by hand."
        )
        raise JournalFormatError(message)
    if own_map.decimals is not None and len(decimals) > own_map.decimals:
        message = (
            f"{place} has {len(decimals)} decimals, and {own_map.format} takes {own_map.decimals}. "
            f"Fix: it cannot hold {line.currency}; take {own_map.format} out of journal.formats in policy.yaml."
        )
        raise JournalFormatError(message)
    return text
