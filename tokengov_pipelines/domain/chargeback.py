"""Who pays how much of a provider's invoice, as charge lines (Rules 6.1, 6.9), to the cent.

Belongs here: the lines of a month at finance grain from allocated pools, and what a line publishes. Does not belong
here: the pools (`pools`), who pays a pool (`allocation`), the drill table (`charge_detail`), what keeps a provider from
being charged (`charge_problems`), whether the month may close (`close`), the file (`pack.chargeback_csv`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokengov_pipelines.domain.allocation import (
    AllocationBasis,
    AllocationRules,
    ChargeType,
    SharedMethod,
    Split,
    allocate_pools,
)
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.money import (
    MoneyError,
    convert_lines,
    exact_sum,
    minor_unit_scale,
    quantize_internal,
)
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import Pool, Pools


@dataclass(frozen=True)
class InvoiceHeader:
    """What chargeback needs of an invoice: `total` is the payable amount with credits and tax, in `currency`.

    `recoverable_tax` is the part of it that is a claim on the tax office and no cost (Rule 1.7); `fx_rate` what one
    unit of its currency is in the functional one.
    """

    provider: str
    invoice_id: str
    total: Decimal
    currency: str
    period: InvoicePeriod
    account: str = ""
    recoverable_tax: Decimal = Decimal(0)
    fx_rate: Decimal = Decimal(1)


@dataclass(frozen=True)
class CostCenter:
    """A cost center as the directory knows it in the month."""

    code: str
    name: str
    legal_entity: str


@dataclass(frozen=True)
class ChargebackPolicy:
    """Where money goes that no one else can bear, how it is split and used, and the policy it all comes from."""

    suspense: str
    central: str
    mode: str
    functional_currency: str
    sha256: str
    direct_weights: str = "repriced_proxy_spend"
    methods: Mapping[Pool, SharedMethod] = field(default_factory=dict)

    def rules(self) -> AllocationRules:
        """What the allocation needs of it."""
        return AllocationRules(self.central, self.direct_weights, self.methods)


@dataclass(frozen=True)
class BilledMonth:
    """One invoice's part of one month: its pools, what they are split by, and what stands beside a direct charge.

    `basis` is in the invoice's currency; `tokens` and `rungs` are of the proxy's rows by cost center; `fx_rate` is what
    one unit of the invoice's currency is in the functional one (Rule 1.6).
    """

    header: InvoiceHeader
    pools: Pools
    basis: AllocationBasis
    tokens: Mapping[str, int] = field(default_factory=dict)
    rungs: Mapping[str, frozenset[Rung]] = field(default_factory=dict)
    fx_rate: Decimal = Decimal(1)

    @property
    def billed(self) -> Decimal:
        """What the month is charged of the invoice."""
        return exact_sum(self.pools.values())


@dataclass(frozen=True)
class ChargebackLine:
    """One row of chargeback.csv at finance grain; the fields are the columns of rule 6.9, in its order.

    `quantity_tokens`, `direct_logged_exact` and `rung` are of direct lines, `allocation_weight` and `allocation_base`
    of lines that were split by weight. Team, model and use case are empty at this grain and filled in the drill table.
    """

    period: BillingMonth
    posting_period: BillingMonth
    original_period: BillingMonth
    provider: str
    invoice_id: str
    version: int
    mode: str
    legal_entity: str
    cost_center: str
    cost_center_name: str
    team_id: str | None
    team_alias: str | None
    charge_type: str
    model: str | None
    use_case: str | None
    quantity_tokens: int | None
    direct_logged_exact: Decimal | None
    amount: Decimal
    currency: str
    fx_rate: Decimal
    amount_functional: Decimal
    allocation_method: str
    allocation_weight: Decimal | None
    allocation_base: Decimal | None
    rung: str
    pool_total: Decimal
    policy_sha256: str


@dataclass(frozen=True)
class Posting:
    """What a line published, as the ledger keeps it so that a later correction can be told from it (Rule 2.5).

    `original_month` is the month that a correction corrects, as YYYY-MM; empty for the posting month itself.
    """

    provider: str
    invoice_id: str
    cost_center: str
    charge_type: str
    amount: Decimal
    currency: str
    original_month: str = ""


@dataclass(frozen=True)
class PriorPeriodCharge:
    """A correction of a closed month that is posted in an open one (Rule 2.5), in the invoice's currency.

    `reason` is a word of `restatement.CorrectionReason`, `ref` what it rests on.
    """

    original_month: BillingMonth
    provider: str
    invoice_id: str
    cost_center: str
    amount: Decimal
    currency: str
    reason: str
    ref: str = ""
    fx_rate: Decimal = Decimal(1)


def charge_month(
    month: BillingMonth,
    billed: Iterable[BilledMonth],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    version: int,
    corrections: Iterable[PriorPeriodCharge] = (),
) -> tuple[ChargebackLine, ...]:
    """Charge every invoice's part of the month, and post the corrections of earlier months.

    The lines of an invoice add up to its part to the cent. Lines come sorted by provider, invoice, original month, cost
    center and charge type.

    Raises:
        MoneyError: the lines of an invoice do not add up to it, or a weight is negative.
    """
    lines: list[ChargebackLine] = []
    for each in billed:
        lines += _charge_invoice(month, each, cost_centers, policy, version)
    lines += _corrected(month, corrections, cost_centers, policy, version)
    return tuple(sorted(lines, key=line_order))


def line_order(line: ChargebackLine) -> tuple[str, ...]:
    """The order of the file, which is its primary key too."""
    return (
        line.provider,
        line.invoice_id,
        str(line.original_period),
        line.cost_center,
        line.charge_type,
        line.currency,
    )


def postings(lines: Iterable[ChargebackLine]) -> tuple[Posting, ...]:
    """What the lines publish, one posting a line."""
    return tuple(
        Posting(
            line.provider,
            line.invoice_id,
            line.cost_center,
            line.charge_type,
            line.amount,
            line.currency,
            "" if line.original_period == line.posting_period else str(line.original_period),
        )
        for line in lines
    )


def _charge_invoice(
    month: BillingMonth,
    billed: BilledMonth,
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    version: int,
) -> list[ChargebackLine]:
    header = billed.header
    splits = allocate_pools(billed.pools, billed.basis, policy.rules(), scale=minor_unit_scale(header.currency))
    found = _by_cost_center(splits)
    charged = exact_sum(amount for amount, _ in found.values())
    if charged != billed.billed:
        message = (
            f"the charges of {header.provider} invoice {header.invoice_id} add up to {charged}, not to {billed.billed}"
        )
        raise MoneyError(message)
    functional = _functional(found, header, billed.fx_rate, policy.functional_currency)
    lines = []
    for (charge_type, code), (amount, split) in found.items():
        direct = charge_type is ChargeType.DIRECT
        if not amount and not direct and charge_type is not ChargeType.CENTRAL:
            continue
        weights = split.weights
        lines.append(
            ChargebackLine(
                period=month,
                posting_period=month,
                original_period=month,
                provider=header.provider,
                invoice_id=header.invoice_id,
                version=version,
                mode=policy.mode,
                legal_entity=cost_centers[code].legal_entity,
                cost_center=code,
                cost_center_name=cost_centers[code].name,
                team_id=None,
                team_alias=None,
                charge_type=str(charge_type),
                model=None,
                use_case=None,
                quantity_tokens=billed.tokens.get(code, 0) if direct else None,
                direct_logged_exact=quantize_internal(billed.basis.logged[code]) if direct else None,
                amount=amount,
                currency=header.currency,
                fx_rate=billed.fx_rate,
                amount_functional=functional[str(charge_type), code],
                allocation_method=split.method,
                allocation_weight=None if weights is None else quantize_internal(weights.get(code, Decimal(0))),
                allocation_base=None if weights is None else quantize_internal(exact_sum(weights.values())),
                rung=";".join(rung for rung in Rung if rung in billed.rungs.get(code, ())) if direct else "",
                pool_total=exact_sum(each.total for each in splits if each.charge_type is charge_type),
                policy_sha256=policy.sha256,
            )
        )
    return lines


_Found = dict[tuple[ChargeType, str], tuple[Decimal, Split]]


def _by_cost_center(splits: Sequence[Split]) -> _Found:
    """One charge a type and cost center; where two credits meet, the line carries the words of the larger one."""
    found: _Found = {}
    for split in splits:
        for code, amount in split.parts.items():
            key = (split.charge_type, code)
            before = found.get(key)
            if before is None:
                found[key] = (amount, split)
            else:
                larger = split if abs(amount) > abs(before[0]) else before[1]
                found[key] = (exact_sum([before[0], amount]), larger)
    return found


def _functional(
    found: _Found, header: InvoiceHeader, rate: Decimal, functional_currency: str
) -> dict[tuple[str, str], Decimal]:
    amounts = {(str(charge_type), code): amount for (charge_type, code), (amount, _) in found.items()}
    if header.currency == functional_currency:
        return amounts
    return convert_lines(amounts, rate, from_currency=header.currency, to_currency=functional_currency).lines


def _corrected(
    month: BillingMonth,
    corrections: Iterable[PriorPeriodCharge],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    version: int,
) -> list[ChargebackLine]:
    """One line an invoice, original month and cost center; adjustments.csv tells several reasons apart."""
    together: dict[_CorrectionKey, list[PriorPeriodCharge]] = {}
    for each in corrections:
        key = (each.provider, each.invoice_id, each.original_month, each.currency, each.cost_center)
        together.setdefault(key, []).append(each)
    functional = _corrected_functional(together, policy.functional_currency)
    pools: dict[tuple[str, str, BillingMonth, str], Decimal] = {}
    for (provider, invoice_id, original, currency, _), mine in together.items():
        pool = (provider, invoice_id, original, currency)
        pools[pool] = exact_sum([pools.get(pool, Decimal(0)), *(each.amount for each in mine)])
    lines = []
    for (provider, invoice_id, original, currency, code), mine in together.items():
        amount = exact_sum(each.amount for each in mine)
        if not amount:
            continue
        lines.append(
            ChargebackLine(
                period=month,
                posting_period=month,
                original_period=original,
                provider=provider,
                invoice_id=invoice_id,
                version=version,
                mode=policy.mode,
                legal_entity=cost_centers[code].legal_entity,
                cost_center=code,
                cost_center_name=cost_centers[code].name,
                team_id=None,
                team_alias=None,
                charge_type=str(ChargeType.PRIOR_PERIOD),
                model=None,
                use_case=None,
                quantity_tokens=None,
                direct_logged_exact=None,
                amount=amount,
                currency=currency,
                fx_rate=mine[0].fx_rate,
                amount_functional=functional[provider, invoice_id, original, currency, code],
                allocation_method="; ".join(sorted({each.reason for each in mine})),
                allocation_weight=None,
                allocation_base=None,
                rung="",
                pool_total=pools[provider, invoice_id, original, currency],
                policy_sha256=policy.sha256,
            )
        )
    return lines


_CorrectionKey = tuple[str, str, BillingMonth, str, str]
"""Provider, invoice, original month, currency, cost center."""


def _corrected_functional(
    together: Mapping[_CorrectionKey, Sequence[PriorPeriodCharge]], functional_currency: str
) -> dict[_CorrectionKey, Decimal]:
    """The corrections in the functional currency: those of an invoice are converted together (Rule 1.6)."""
    groups: dict[tuple[str, str, BillingMonth, str], dict[str, Sequence[PriorPeriodCharge]]] = {}
    for (provider, invoice_id, original, currency, code), mine in together.items():
        groups.setdefault((provider, invoice_id, original, currency), {})[code] = mine
    found: dict[_CorrectionKey, Decimal] = {}
    for (provider, invoice_id, original, currency), by_code in groups.items():
        amounts = {code: exact_sum(each.amount for each in mine) for code, mine in by_code.items()}
        if currency != functional_currency:
            rates = {each.fx_rate for mine in by_code.values() for each in mine}
            if len(rates) != 1:
                named = ", ".join(sorted(f"{rate}" for rate in rates))
                message = f"the corrections of {provider} invoice {invoice_id} have several rates ({named}); it has one"
                raise MoneyError(message)
            lines = {(str(ChargeType.PRIOR_PERIOD), code): amount for code, amount in amounts.items()}
            converted = convert_lines(lines, rates.pop(), from_currency=currency, to_currency=functional_currency)
            amounts = {code: converted.lines[str(ChargeType.PRIOR_PERIOD), code] for code in amounts}
        found |= {(provider, invoice_id, original, currency, code): amount for code, amount in amounts.items()}
    return found
