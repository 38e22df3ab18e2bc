"""suspense.csv: what stands at the suspense cost center, who owns it, when it has to be cleared (Rules 6.3, 11.7).

Belongs here: its columns and key, carrying rows over from the month before, clearing them, its control figures. Does
not belong here: how a call came into suspense (dbt), the lines (`domain.chargeback`), the limit at the close
(`domain.close`), how cells are written (`writer`).

A row comes in with the month that posts it, is carried until prior-period lines have cleared it, and is shown once
more, with zero left, in the month that clears it. No person is in it; a proxy key is twelve characters of its hash.
"""

import csv
import datetime as dt
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.bypass import without_email
from tokengov_pipelines.domain.chargeback import ChargebackLine
from tokengov_pipelines.domain.money import allocate, exact_sum, minor_unit_scale, round_posting, usd
from tokengov_pipelines.domain.open_item import BUCKETS, bucket_name
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.writer import Column, Kind, PackError, csv_bytes, neutralised

SUSPENSE_CSV = "suspense.csv"

PRIMARY_KEY = ("period", "posting_period", "provider", "invoice_id", "charge_type", "team_id", "rung")

COLUMNS = (
    Column("period"),
    Column("posting_period"),
    Column("provider"),
    Column("invoice_id"),
    Column("charge_type"),
    Column("team_id"),
    Column("rung"),
    Column("evidence"),
    Column("keys"),
    Column("opening", Kind.DECIMAL),
    Column("new", Kind.DECIMAL),
    Column("cleared", Kind.DECIMAL),
    Column("amount", Kind.DECIMAL),
    Column("currency"),
    Column("first_seen", Kind.DATE),
    Column("last_seen", Kind.DATE),
    Column("owner"),
    Column("clear_by", Kind.DATE),
    Column("age_days", Kind.INTEGER),
    Column("age_bucket"),
)
"""`period` is the month of the cost, `posting_period` the month in which it came to suspense, from whose end its age
and `clear_by` are counted. opening + new - cleared = amount in every row; `amount` is what is left."""

_PRIOR_PERIOD: Final = "prior_period"
_HASH_SHOWN: Final = 12
_KEYS_SHOWN: Final = 5


@dataclass(frozen=True)
class SuspensePolicy:
    """The suspense cost center, who owns it (a role or a team, no e-mail), and the days after a month to clear it."""

    cost_center: str
    owner: str
    clear_days: int = 30


@dataclass(frozen=True)
class SuspenseCalls:
    """The month's calls in suspense of one provider and team (None without one): why, when, with which proxy keys.

    `evidence` is the class of rule 3.1, such as key_without_owner; `key_hashes` are the proxy's hashes, never keys.
    """

    provider: str
    team_id: str | None
    evidence: str
    first_seen: dt.date
    last_seen: dt.date
    key_hashes: Sequence[str] = ()


@dataclass(frozen=True)
class SuspenseTotals:
    """The control figures of one currency: opening + new - cleared = closing (Rule 11.7)."""

    currency: str
    rows: int
    opening: Decimal
    new: Decimal
    cleared: Decimal
    closing: Decimal


@dataclass
class _Item:
    """A row in the making. `key` is its primary key; `team_id` and the rest are as the file writes them."""

    key: tuple[str, ...]
    currency: str
    evidence: str = ""
    keys: str = ""
    first_seen: dt.date | None = None
    last_seen: dt.date | None = None
    opening: Decimal = field(default_factory=Decimal)
    new: Decimal = field(default_factory=Decimal)
    cleared: Decimal = field(default_factory=Decimal)

    @property
    def left(self) -> Decimal:
        return exact_sum((self.opening, self.new, -self.cleared))

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What a clearing names: the month of the cost, provider, invoice, currency."""
        return self.key[0], self.key[2], self.key[3], self.currency

    @property
    def team_id(self) -> str:
        return self.key[5]


def suspense_csv(
    month: BillingMonth,
    lines: Iterable[ChargebackLine],
    previous: bytes | None,
    policy: SuspensePolicy,
    as_of: dt.date,
    calls: Iterable[SuspenseCalls] = (),
) -> bytes:
    """The file's bytes of a posting month, with ages counted to `as_of` (Rules 6.3, 11.7).

    `lines` are the detail lines of chargeback_detail.csv, those of other cost centers too; `previous` is the file of
    the month before, None at the beginning. A prior-period line below zero clears rows of its month, provider and
    invoice: those of its team, else all, by largest remainder of what is left. What it takes beyond them stands in a
    row of its own below zero, until somebody finds the reason.

    Raises:
        PackError: a line was posted in another month, or `previous` is no suspense.csv of an earlier one.
    """
    mine = [line for line in lines if line.cost_center == policy.cost_center]
    for line in mine:
        if line.posting_period != month:
            message = f"{SUSPENSE_CSV}: a line posted in {line.posting_period} stands among those of {month}."
            raise PackError(message)
    carried = _carried(previous, month)
    known = _by_team(calls)
    new, clearings = _of_month(month, mine, known)
    items = [*carried, *new]
    items += _clear(month, items, clearings)
    shown = [item for item in items if item.opening or item.new or item.cleared]
    return csv_bytes(COLUMNS, [_cells(item, policy, as_of) for item in shown], PRIMARY_KEY)


def suspense_totals(content: bytes) -> list[SuspenseTotals]:
    """The control figures of a file, counted back from its bytes, by currency.

    Raises:
        PackError: a row, and so the file, does not foot.
    """
    rows = _rows(content)
    totals = []
    for currency in sorted({row["currency"] for row in rows}):
        mine = [row for row in rows if row["currency"] == currency]
        opening, new, cleared, closing = (
            exact_sum(usd(row[name]) for row in mine) for name in ("opening", "new", "cleared", "amount")
        )
        totals.append(SuspenseTotals(currency, len(mine), opening, new, cleared, closing))
        if exact_sum((opening, new, -cleared)) != closing:
            message = f"{SUSPENSE_CSV}: {totals[-1]} does not foot. Fix: report it, this is a defect of the product."
            raise PackError(message)
    return totals


def suspense_ties(content: bytes, previous: bytes | None, chargeback: bytes, cost_center: str) -> list[dict[str, str]]:
    """The ties of rule 11.7 as control_totals.json lists them, asserted, two a currency.

    The opening is what the month before left; new - cleared is what chargeback.csv (or its detail) posts to the
    suspense cost center.

    Raises:
        PackError: one of them does not hold.
    """
    before = {} if previous is None else {each.currency: each.closing for each in suspense_totals(previous)}
    posted: defaultdict[str, list[Decimal]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(chargeback.decode("utf-8"), newline="")):
        if row["cost_center"] == neutralised(cost_center):
            posted[row["currency"]].append(usd(row["amount"]))
    found = {each.currency: each for each in suspense_totals(content)}
    ties = []
    for currency in sorted({*before, *found, *posted}):
        zero = Decimal(0)
        each = found.get(currency, SuspenseTotals(currency, 0, zero, zero, zero, zero))
        ties.append(
            {
                "tie": "suspense: opening + new - cleared = closing",
                "currency": currency,
                "opening": f"{each.opening:f}",
                "new": f"{each.new:f}",
                "cleared": f"{each.cleared:f}",
                "closing": f"{each.closing:f}",
            }
        )
        for what, expected, is_there in (
            ("opening = closing of the month before", before.get(currency, zero), each.opening),
            ("new - cleared = its charges", exact_sum(posted[currency]), exact_sum((each.new, -each.cleared))),
        ):
            if expected != is_there:
                message = (
                    f"{SUSPENSE_CSV}: {what}, in {currency}: {expected} and {is_there}. Nothing was written. "
                    "Fix: report it, this is a defect of the product."
                )
                raise PackError(message)
    return ties


def _rows(content: bytes) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    if tuple(reader.fieldnames or ()) != tuple(column.name for column in COLUMNS):
        message = f"{SUSPENSE_CSV}: the columns are not those of this release. Fix: take the file from the sealed pack."
        raise PackError(message)
    return list(reader)


def _carried(previous: bytes | None, month: BillingMonth) -> list[_Item]:
    items = []
    for row in [] if previous is None else _rows(previous):
        if BillingMonth.parse(row["posting_period"]) >= month:
            message = (
                f"{SUSPENSE_CSV}: the file of the month before {month} holds a row that came to suspense in "
                f"{row['posting_period']}. Fix: pass the file of the month before."
            )
            raise PackError(message)
        left = usd(row["amount"])
        if left:
            items.append(
                _Item(
                    tuple(row[name] for name in PRIMARY_KEY),
                    row["currency"],
                    row["evidence"],
                    row["keys"],
                    _date(row["first_seen"]),
                    _date(row["last_seen"]),
                    opening=left,
                )
            )
    return items


def _by_team(calls: Iterable[SuspenseCalls]) -> dict[tuple[str, str], list[SuspenseCalls]]:
    found: defaultdict[tuple[str, str], list[SuspenseCalls]] = defaultdict(list)
    for each in calls:
        found[each.provider, each.team_id or ""].append(each)
    return found


def _of_month(
    month: BillingMonth, lines: Iterable[ChargebackLine], known: Mapping[tuple[str, str], Sequence[SuspenseCalls]]
) -> tuple[list[_Item], dict[tuple[tuple[str, str, str, str], str], Decimal]]:
    """What the month put into suspense, and what its prior-period lines take out, by what they name and team."""
    amounts: defaultdict[tuple[BillingMonth, str, str, str, str, str, str], list[Decimal]] = defaultdict(list)
    for line in lines:
        team = line.team_id or ""
        # A correction speaks of an amount, not of how its calls were attributed.
        rung = "" if line.charge_type == _PRIOR_PERIOD else line.rung
        amounts[
            line.original_period, line.provider, line.invoice_id, line.charge_type, team, rung, line.currency
        ].append(line.amount)
    items: list[_Item] = []
    clearings: dict[tuple[tuple[str, str, str, str], str], Decimal] = {}
    for (period, provider, invoice_id, charge_type, team, rung, currency), parts in amounts.items():
        total = exact_sum(parts)
        if charge_type == _PRIOR_PERIOD and total < 0:
            group = str(period), _text(provider), _text(invoice_id), currency
            clearings[group, _text(team)] = -total
            continue
        seen = known.get((provider, team), ()) if period == month else ()
        key = (str(period), str(month), provider, invoice_id, charge_type, team, rung)
        items.append(_item(tuple(map(_text, key)), currency, total, seen))
    return items, clearings


def _item(key: tuple[str, ...], currency: str, total: Decimal, seen: Sequence[SuspenseCalls]) -> _Item:
    hashes = sorted({_shortened(each) for calls in seen for each in calls.key_hashes})
    more = [f"and {len(hashes) - _KEYS_SHOWN} more"] if len(hashes) > _KEYS_SHOWN else []
    return _Item(
        key,
        currency,
        evidence="; ".join(sorted({_text(each.evidence) for each in seen})),
        keys=" ".join([*hashes[:_KEYS_SHOWN], *more]),
        first_seen=min((each.first_seen for each in seen), default=None),
        last_seen=max((each.last_seen for each in seen), default=None),
        new=total,
    )


def _clear(
    month: BillingMonth,
    items: Iterable[_Item],
    clearings: Mapping[tuple[tuple[str, str, str, str], str], Decimal],
) -> list[_Item]:
    """Take what was cleared from the rows that it names; returns rows for what goes beyond them."""
    groups: defaultdict[tuple[str, str, str, str], list[_Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.key):
        groups[item.group].append(item)
    beyond: list[_Item] = []
    for (group, team), amount in sorted(clearings.items(), key=lambda pair: (pair[0][0], not pair[0][1], pair[0][1])):
        # Lines with a team come first: a line without one takes what they leave.
        rows = [item for item in groups[group] if item.team_id == team] if team else []
        rest = _take(amount, rows or groups[group], minor_unit_scale(group[3]))
        if rest:
            period, provider, invoice_id, currency = group
            key = (period, str(month), provider, invoice_id, _PRIOR_PERIOD, team, "")
            beyond.append(_Item(key, currency, cleared=rest))
    return beyond


def _take(amount: Decimal, rows: Sequence[_Item], scale: int) -> Decimal:
    """Clear `amount` from rows, never below zero; returns what they do not hold.

    Rows of either sign (a credit beside a charge) are cleared together when the amount is what they leave in all.
    """
    if amount == exact_sum(row.left for row in rows):
        for row in rows:
            row.cleared = exact_sum((row.cleared, row.left))
        return Decimal(0)
    positive = [row for row in rows if row.left > 0]
    there = exact_sum(row.left for row in positive)
    taken = min(amount, there)
    if taken:
        weights = {f"{number:09d}": row.left for number, row in enumerate(positive)}
        for row, part in zip(positive, allocate(taken, weights, scale=scale).values(), strict=True):
            row.cleared = exact_sum((row.cleared, part))
    return exact_sum((amount, -taken))


def _cells(item: _Item, policy: SuspensePolicy, as_of: dt.date) -> list[object]:
    scale = minor_unit_scale(item.currency)
    entered = BillingMonth.parse(item.key[1]).last_day
    age = max((as_of - entered).days, 0)
    return [
        *item.key,
        item.evidence,
        item.keys,
        *(round_posting(amount, scale) for amount in (item.opening, item.new, item.cleared, item.left)),
        item.currency,
        item.first_seen,
        item.last_seen,
        without_email(policy.owner),
        entered + dt.timedelta(days=policy.clear_days),
        age,
        next(bucket_name(low, high) for low, high in BUCKETS if high is None or age <= high),
    ]


def _text(text: str) -> str:
    """A name as the file writes it, so that rows of two months are compared in one spelling."""
    return neutralised(without_email(text) or "")


def _shortened(key_hash: str) -> str:
    """The first characters of a hash; a key that stands in its place is refused, not shortened (Rule 12.8)."""
    if key_hash.startswith("sk-"):
        message = (
            f"{SUSPENSE_CSV}: a proxy key stands where its hash belongs; a pack holds no key. "
            "Fix: load the proxy's log again, and revoke the key."
        )
        raise PackError(message)
    return neutralised(key_hash[:_HASH_SHOWN])


def _date(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None
