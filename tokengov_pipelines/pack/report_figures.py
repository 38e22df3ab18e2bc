"""The figures of the one-page report, counted from the pack's own files (Rules 9.4, 9.6, 11.6, 11.9).

Belongs here: what the page says, as exact amounts. Does not belong here: how a figure reads (`report_words`), what has
to be said beside the figures (`report_caveats`), the charts, and the page (`report_html`, `report_pdf`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.money import exact_sum, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.unit_cost import FEW, Level
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV
from tokengov_pipelines.pack.read_back import Row, functional_currency, rows_of
from tokengov_pipelines.pack.recon_items_csv import RECON_ITEMS_CSV
from tokengov_pipelines.pack.reconciliation_csv import RECONCILIATION_CSV
from tokengov_pipelines.pack.reconciliation_rows import INVOICE, LOGGED
from tokengov_pipelines.pack.report_caveats import caveats

TREND_MONTHS: Final = 12
ROLLING_MONTHS: Final = 3
MOVERS: Final = 5
ITEMS: Final = 4
_NOT_PROXIED: Final = frozenset({ChargeType.UNPROXIED, ChargeType.CENTRAL})
_NOT_OF_THE_INVOICE: Final = frozenset({ChargeType.SEAT, ChargeType.PRIOR_PERIOD})


@dataclass(frozen=True)
class HistoryMonth:
    """What the report's trend needs of a month, in the functional currency.

    `cost_per_pr` is None without merged pull requests, `proxied_share` (percent) without an invoice. `pr_cost` is the
    cost that stands over the pull requests, for ratios of sums over several months; None where none are read.
    """

    month: BillingMonth
    charged: Decimal
    cost_per_pr: Decimal | None
    merged_prs: int
    proxied_share: Decimal | None
    pr_cost: Decimal | None = None


@dataclass(frozen=True)
class Rolling:
    """Cost per pull request over the last months, as a ratio of sums (Rule 9.4); `moved` is -1, 0 or 1.

    It moves where it differs by more than a tenth from the figure of the months one earlier.
    """

    months: int
    value: Decimal
    before: Decimal | None
    moved: int


@dataclass(frozen=True)
class Bridge:
    """All statements of one currency as one: log + causes = billed, in cents. `open_ended` have no invoice yet."""

    currency: str
    statements: int
    open_ended: int
    logged: Decimal
    causes: tuple[tuple[Component, Decimal], ...]
    billed: Decimal


@dataclass(frozen=True)
class Mover:
    """A cost center's charges this month and in the one before; None where it had none."""

    cost_center: str
    name: str
    before: Decimal | None
    now: Decimal | None

    @property
    def change(self) -> Decimal:
        """This month less the one before."""
        return exact_sum([self.now or Decimal(0), -(self.before or Decimal(0))])


@dataclass(frozen=True)
class OpenBucket:
    """Open items of one age and currency; errors are counted, their dollars are inside other items."""

    currency: str
    age_days: str
    items: int
    errors: int
    net: Decimal
    gross: Decimal


@dataclass(frozen=True)
class OpenItem:
    """One of the largest open items."""

    provider: str
    component: str
    what: str
    owner: str
    age_days: int
    amount: Decimal
    currency: str


@dataclass(frozen=True)
class ReportFigures:
    """Everything the page says. Amounts are in `currency`, the functional one, unless they name theirs.

    `trend` are up to twelve months with this one at its end. `movers` are compared with the month before where
    `is_compared`, else the largest cost centers. `unexplained_gross` adds the sizes of all statements' unexplained
    parts, so that two cannot hide each other. `corrections` are what `charged` holds for other months.
    """

    month: BillingMonth
    version: int
    status: str
    content_sha256: str
    policy_sha256: str
    currency: str
    charged: Decimal
    charged_by_currency: tuple[tuple[str, Decimal], ...]
    corrections: Decimal
    invoices: int
    has_pull_requests: bool
    merged_prs: int
    cost_per_pr: Decimal | None
    rolling: Rolling | None
    governed_share: Decimal | None
    unproxied: Decimal
    unexplained: Decimal
    unexplained_gross: Decimal
    suspense: Decimal
    bridge: Bridge | None
    trend: tuple[HistoryMonth, ...]
    is_compared: bool
    movers: tuple[Mover, ...]
    has_items: bool
    buckets: tuple[OpenBucket, ...]
    items: tuple[OpenItem, ...]
    caveats: tuple[str, ...]

    @property
    def is_few(self) -> bool:
        """Whether the cost per pull request rests on too few of them (Rule 9.3)."""
        return self.merged_prs < FEW

    @property
    def month_before(self) -> HistoryMonth | None:
        """The figures of the month before, where they are known."""
        found = [each for each in self.trend if each.month == self.month.previous()]
        return found[0] if found else None


def report_figures(
    files: Mapping[str, bytes],
    totals: Mapping[str, Any],
    history: Sequence[HistoryMonth],
    *,
    status: str,
    content_sha256: str,
    previous: bytes | None = None,
    notes: Sequence[str] = (),
) -> ReportFigures:
    """The figures of a pack's `files` (by name) and `totals` (control_totals.json), which name month and version.

    `history` are the months before, oldest first, `previous` the bytes of chargeback.csv of the month before. `notes`
    are sentences that the files do not know, such as an approval without a key; they come first among the caveats.
    """
    month = BillingMonth.parse(totals["period"])
    charges = rows_of(files, CHARGEBACK_CSV)
    statement = rows_of(files, RECONCILIATION_CSV)
    currency = functional_currency(files, totals)
    now = history_month(month, files)
    earlier = [each for each in history if each.month < month]
    trend = (*earlier[1 - TREND_MONTHS :], now)
    gaps = [row for row in statement if row["currency"] == currency]
    open_ended = [Decimal(row["amount"]) for row in _component(gaps, Component.UNEXPLAINED)]
    scale = minor_unit_scale(currency)

    def posted(rows: Sequence[Row]) -> Decimal:
        return round_posting(_sum(rows, "amount_functional"), scale)

    items = [row for row in rows_of(files, RECON_ITEMS_CSV) if row["status"] in {"open", "reopened"}]
    return ReportFigures(
        month=month,
        version=int(totals["version"]),
        status=status,
        content_sha256=content_sha256,
        policy_sha256=charges[0]["policy_sha256"] if charges else "",
        currency=currency,
        charged=posted(charges),
        charged_by_currency=tuple(_by_currency(charges)),
        corrections=posted([row for row in charges if row["charge_type"] == ChargeType.PRIOR_PERIOD]),
        invoices=len({(row["provider"], row["invoice_id"]) for row in _of_invoices(charges)}),
        has_pull_requests=COST_PER_PR_CSV in files,
        merged_prs=now.merged_prs,
        cost_per_pr=now.cost_per_pr,
        rolling=_rolling(trend),
        governed_share=now.proxied_share,
        unproxied=round_posting(_unproxied(gaps, charges), scale),
        unexplained=round_posting(exact_sum(open_ended), scale),
        unexplained_gross=round_posting(exact_sum(abs(each) for each in open_ended), scale),
        suspense=posted(_suspended(_of_invoices(charges))),
        bridge=_bridge(gaps, currency),
        trend=trend,
        is_compared=previous is not None,
        movers=_movers(charges, None if previous is None else rows_of({CHARGEBACK_CSV: previous}, CHARGEBACK_CSV)),
        has_items=RECON_ITEMS_CSV in files,
        buckets=tuple(_buckets(items)),
        items=tuple(_largest(items)),
        caveats=tuple(caveats(files, totals, status=status, currency=currency, notes=notes)),
    )


def history_month(month: BillingMonth, files: Mapping[str, bytes]) -> HistoryMonth:
    """A month's part of the trend, from the files of its pack: chargeback.csv, and cost_per_pr.csv where it has one."""
    charges = rows_of(files, CHARGEBACK_CSV)
    org = next((row for row in rows_of(files, COST_PER_PR_CSV) if row["level"] == Level.ORG), None)
    merged = int(org["merged_prs"]) if org else 0
    cost = Decimal(org["cost_usd"]) if org else None
    return HistoryMonth(
        month=month,
        charged=_sum(charges, "amount_functional"),
        cost_per_pr=rounded(cost, merged, 2) if cost is not None and merged else None,
        merged_prs=merged,
        proxied_share=_governed_share(charges),
        pr_cost=cost,
    )


def rounded(part: Decimal, whole: Decimal | int, decimals: int) -> Decimal:
    """part / whole, rounded once from the exact fraction; for people, it decides nothing (Rule 1.3)."""
    scaled = Fraction(part) / Fraction(whole) * 10**decimals
    size = (2 * abs(scaled.numerator) + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(size if scaled >= 0 else -size).scaleb(-decimals)


def _governed_share(charges: Sequence[Row]) -> Decimal | None:
    """Percent of the month's invoices that cost centers bear by calls through the proxy (Rule 9.6), 0 to 100.

    Not in it: unproxied use, what stands at the central and the suspense cost center. Seats and corrections of other
    months are no part of the invoices that it is measured by.
    """
    rows = _of_invoices(charges)
    whole = _sum(rows, "amount_functional")
    if whole <= 0:
        return None
    outside = {row["cost_center"] for row in rows if row["charge_type"] == ChargeType.CENTRAL}
    outside |= {row["cost_center"] for row in _suspended(rows)}
    mine = [row for row in rows if row["cost_center"] not in outside and row["charge_type"] not in _NOT_PROXIED]
    share = rounded(_sum(mine, "amount_functional") * 100, whole, 1)
    return min(max(share, Decimal(0)), Decimal(100))


def _of_invoices(charges: Iterable[Row]) -> list[Row]:
    return [row for row in charges if row["charge_type"] not in _NOT_OF_THE_INVOICE]


def _suspended(charges: Sequence[Row]) -> list[Row]:
    """The lines of the suspense cost center, which is known by the calls on it that no rule placed."""
    codes = {row["cost_center"] for row in charges if Rung.SUSPENSE in row["rung"].split(";")}
    return [row for row in charges if row["cost_center"] in codes]


def _unproxied(statement: Sequence[Row], charges: Sequence[Row]) -> Decimal:
    if statement:
        return _sum(_component(statement, Component.UNPROXIED), "amount")
    return _sum([row for row in charges if row["charge_type"] == ChargeType.UNPROXIED], "amount_functional")


def _bridge(statement: Sequence[Row], currency: str) -> Bridge | None:
    """The statements added up, cause by cause; one without its invoice counts with what is explained so far."""
    if not statement:
        return None
    keys = {tuple(row[name] for name in ("provider", "account", "invoice_id", "period_start")) for row in statement}
    logged = _sum(_component(statement, LOGGED), "amount")
    causes = tuple((cause, _sum(_component(statement, cause), "amount")) for cause in Component)
    billed = exact_sum([logged, *(amount for _, amount in causes)])
    open_ended = len(keys) - len(_component(statement, INVOICE))
    return Bridge(currency, len(keys), open_ended, logged, causes, billed)


def _rolling(trend: Sequence[HistoryMonth]) -> Rolling | None:
    """The ratio of sums over this month and the two before, as far as they are known without a gap."""
    now, before = _window(trend, trend[-1].month), _window(trend, trend[-1].month.previous())
    if now is None:
        return None
    cost, merged, months = now
    if before is None:
        return Rolling(months, rounded(cost, merged, 2), None, 0)
    change = Fraction(cost) / merged - Fraction(before[0]) / before[1]
    moved = 0 if abs(change) * 10 <= abs(Fraction(before[0]) / before[1]) else 1 if change > 0 else -1
    return Rolling(months, rounded(cost, merged, 2), rounded(before[0], before[1], 2), moved)


def _window(trend: Sequence[HistoryMonth], last: BillingMonth) -> tuple[Decimal, int, int] | None:
    """Cost, pull requests and number of the months up to `last`; None without a pull request."""
    known = {each.month: each for each in trend}
    found: list[HistoryMonth] = []
    month = last
    while len(found) < ROLLING_MONTHS and month in known and known[month].pr_cost is not None:
        found.append(known[month])
        month = month.previous()
    merged = sum(each.merged_prs for each in found)
    if not merged:
        return None
    return exact_sum(each.pr_cost for each in found if each.pr_cost is not None), merged, len(found)


def _movers(charges: Sequence[Row], previous: Sequence[Row] | None) -> tuple[Mover, ...]:
    """The cost centers that moved most since the month before, ties by code; without it, the largest ones."""
    now, before = _by_cost_center(charges), _by_cost_center(previous or ())
    names = {row["cost_center"]: row["cost_center_name"] for row in (*(previous or ()), *charges)}
    found = [Mover(code, names[code], before.get(code), now.get(code)) for code in names]
    changed = [each for each in found if each.change]
    return tuple(sorted(changed, key=lambda each: (-abs(each.change), each.cost_center))[:MOVERS])


def _by_cost_center(charges: Iterable[Row]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in charges:
        amount = Decimal(row["amount_functional"])
        sums[row["cost_center"]] = exact_sum([sums.get(row["cost_center"], Decimal(0)), amount])
    return sums


def _by_currency(charges: Sequence[Row]) -> list[tuple[str, Decimal]]:
    currencies = sorted({row["currency"] for row in charges})
    return [(each, _sum([row for row in charges if row["currency"] == each], "amount")) for each in currencies]


def _buckets(items: Sequence[Row]) -> list[OpenBucket]:
    """In the order of their age, the youngest first."""
    keys = {(row["currency"], row["bucket"]) for row in items}
    buckets = []
    for currency, bucket in sorted(keys, key=lambda key: (key[0], key[1].startswith(">"), key[1])):
        mine = [row for row in items if (row["currency"], row["bucket"]) == (currency, bucket)]
        amounts = [Decimal(row["open_exact"]) for row in mine if row["is_error"] == "no"]
        net, gross = exact_sum(amounts), exact_sum(abs(amount) for amount in amounts)
        net, gross = (round_posting(each, minor_unit_scale(currency)) for each in (net, gross))
        buckets.append(OpenBucket(currency, bucket, len(mine), len(mine) - len(amounts), net, gross))
    return buckets


def _largest(items: Sequence[Row]) -> list[OpenItem]:
    """The largest by size, then the oldest: an old small item waits behind a large one, and is in its bucket."""
    ordered = sorted(
        items,
        key=lambda row: (-abs(Decimal(row["open_exact"])), -int(row["age_days"]), row["item_id"], row["provider"]),
    )
    return [
        OpenItem(
            provider=row["provider"],
            component=row["component"],
            what=row["what"],
            owner=row["owner"],
            age_days=int(row["age_days"]),
            amount=round_posting(Decimal(row["open_exact"]), minor_unit_scale(row["currency"])),
            currency=row["currency"],
        )
        for row in ordered[:ITEMS]
    ]


def _component(statement: Iterable[Row], name: str) -> list[Row]:
    return [row for row in statement if row["component"] == name]


def _sum(rows: Iterable[Row], column: str) -> Decimal:
    return exact_sum(Decimal(row[column]) for row in rows)
