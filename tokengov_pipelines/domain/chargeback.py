"""Who pays how much of a provider's invoice (rules 6.1, 6.2, 6.9), to the cent.

Belongs here: charge lines of one month from invoices and logged spend. Does not belong here: how a call found its cost
center (dbt), whether the month may close (`close`), the file (`pack.chargeback_csv`).

First cut: every cost center pays its logged spend (`direct`), and what the log does not hold stands in one named line
at the central cost center. Its causes are known (`reconciliation`); allocating each to who bears it replaces that line,
not the meaning of the direct lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.money import MoneyError, allocate, minor_unit_scale, quantize_internal, round_posting
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod

NOT_LOGGED: Final = "invoice less logged spend (its causes: reconciliation.csv)"
"""The name of the one line that holds invoice total - logged spend; it stands in `allocation_method`."""

LARGEST_REMAINDER: Final = "largest_remainder"
"""The `allocation_method` of a line that `allocate()` made (rule 1.4)."""


@dataclass(frozen=True)
class InvoiceHeader:
    """What chargeback needs of an invoice: `total` is the payable amount with credits and tax, in `currency`."""

    provider: str
    invoice_id: str
    total: Decimal
    currency: str
    period: InvoicePeriod


@dataclass(frozen=True)
class LoggedSpend:
    """Accepted calls of one month by (provider, cost center, rung): USD with up to 12 decimals, and all tokens."""

    provider: str
    cost_center: str
    rung: Rung
    logged: Decimal
    tokens: int = 0


@dataclass(frozen=True)
class CostCenter:
    """A cost center as the directory knows it in the month."""

    code: str
    name: str
    legal_entity: str


@dataclass(frozen=True)
class ChargebackPolicy:
    """Where money goes that no one else can bear, how the result is used, and the policy it all comes from."""

    suspense: str
    central: str
    mode: str
    functional_currency: str
    sha256: str


@dataclass(frozen=True)
class ChargebackProblem:
    """Why a provider's month could not be charged. No line of that provider was guessed."""

    code: str
    provider: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


@dataclass(frozen=True)
class ChargebackLine:
    """One row of chargeback.csv at finance grain; the fields are the columns of rule 6.9, in its order.

    `quantity_tokens`, `direct_logged_exact`, `allocation_weight`, `allocation_base` and `rung` are empty on a central
    line. Team, model and use case are empty at this grain.
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
    team_id: None
    team_alias: None
    charge_type: str
    model: None
    use_case: None
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
    """What a line published, as the ledger keeps it so that a later correction can be told from it (rule 2.5)."""

    provider: str
    invoice_id: str
    cost_center: str
    charge_type: str
    amount: Decimal
    currency: str


Outcome = tuple[tuple[ChargebackLine, ...], tuple[ChargebackProblem, ...]]


def charge_month(
    month: BillingMonth,
    invoices: Iterable[InvoiceHeader],
    spend: Iterable[LoggedSpend],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    version: int,
) -> Outcome:
    """Charge every invoice that bills a day of the month over cost centers; returns (lines, problems).

    The lines of an invoice add up to its total to the cent. A provider with a problem has no lines. Invoices of other
    months may be passed and are left alone. Lines come sorted by provider, invoice, cost center and charge type.
    """
    due = [invoice for invoice in invoices if month in invoice.period.months()]
    logged = list(spend)
    lines: list[ChargebackLine] = []
    problems: list[ChargebackProblem] = []
    for provider in sorted({invoice.provider for invoice in due} | {row.provider for row in logged}):
        rows = [row for row in logged if row.provider == provider]
        mine = sorted((invoice for invoice in due if invoice.provider == provider), key=lambda each: each.invoice_id)
        found = _problems_of(provider, month, mine, rows, cost_centers, policy)
        problems.extend(found)
        if not found and mine:
            lines.extend(_charge_invoice(month, mine[0], rows, cost_centers, policy, version))
    lines.sort(key=lambda line: (line.provider, line.invoice_id, line.cost_center, line.charge_type))
    return tuple(lines), tuple(problems)


def postings(lines: Iterable[ChargebackLine]) -> tuple[Posting, ...]:
    """What the lines publish, one posting a line."""
    return tuple(
        Posting(line.provider, line.invoice_id, line.cost_center, line.charge_type, line.amount, line.currency)
        for line in lines
    )


def _problems_of(
    provider: str,
    month: BillingMonth,
    invoices: Sequence[InvoiceHeader],
    rows: Sequence[LoggedSpend],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
) -> list[ChargebackProblem]:
    problems: list[ChargebackProblem] = []

    def problem(code: str, what: str, fix: str) -> None:
        problems.append(ChargebackProblem(code, provider, what, fix))

    total = sum((row.logged for row in rows), Decimal(0))
    if not invoices and total:
        problem(
            "missing_invoice",
            f"{provider} logged {quantize_internal(total)} {policy.functional_currency} in {month} and has no invoice",
            f"tokengov invoice new {provider} {month}",
        )
    if len(invoices) > 1:
        problem(
            "several_invoices",
            f"{provider} has {len(invoices)} invoices for {month} ({', '.join(each.invoice_id for each in invoices)}): "
            "how they share the logged calls is not supported until charges are allocated by cause",
            "enter the provider's month as one invoice, or hold the month",
        )
    for invoice in invoices:
        if invoice.period.days() != month.days():
            problem(
                "invoice_period",
                f"{provider} invoice {invoice.invoice_id} bills {invoice.period.start} to {invoice.period.last_day}, "
                f"not the calendar month {month}: splitting it over months is not supported until charges are "
                "allocated by cause",
                "check period_start and period_last_day with `tokengov invoice check`, or hold the month",
            )
        problems.extend(_problems_of_amount(invoice, policy))
    for row in rows:
        if row.rung is Rung.SUSPENSE and row.cost_center != policy.suspense:
            problem(
                "suspense_elsewhere",
                f"{provider} has calls in suspense at {row.cost_center} in {month}, but policy.yaml names "
                f"{policy.suspense}: the limit on suspense would not see them",
                f"run the attribution of {month} again with today's policy.yaml",
            )
        if row.logged < 0:
            problem(
                "negative_logged_spend",
                f"{provider} has {row.logged} of logged spend at {row.cost_center} (rung {row.rung}) in {month}: "
                "a negative row cannot weigh in a split and belongs in quarantine",
                "find the rows in fct_quarantined_calls and release or correct them",
            )
    if invoices:
        for code in sorted({row.cost_center for row in rows} | {policy.central}):
            if code not in cost_centers:
                problem(
                    "unknown_cost_center",
                    f"{provider} would charge {code} in {month}, which directory/cost_centers.csv does not hold then",
                    "add it to directory/cost_centers.csv, or name another in policy.yaml (attribution)",
                )
    return problems


def _problems_of_amount(invoice: InvoiceHeader, policy: ChargebackPolicy) -> list[ChargebackProblem]:
    named = f"{invoice.provider} invoice {invoice.invoice_id}"
    if invoice.currency != policy.functional_currency:
        what = (
            f"{named} is in {invoice.currency}, logged spend is in {policy.functional_currency}: converting it is not "
            "supported yet, and a rate is never assumed"
        )
        return [ChargebackProblem("invoice_currency", invoice.provider, what, "hold the month")]
    try:
        exact = invoice.total == round_posting(invoice.total, minor_unit_scale(invoice.currency))
    except MoneyError as error:
        fix = "correct the currency with `tokengov invoice check`"
        return [ChargebackProblem("invoice_currency", invoice.provider, f"{named}: {error}", fix)]
    if not exact:
        what = f"{named} has the total {invoice.total}, which is not a whole number of {invoice.currency} minor units"
        fix = "correct the total with `tokengov invoice check`"
        return [ChargebackProblem("invoice_total", invoice.provider, what, fix)]
    return []


def _charge_invoice(
    month: BillingMonth,
    invoice: InvoiceHeader,
    rows: Sequence[LoggedSpend],
    cost_centers: Mapping[str, CostCenter],
    policy: ChargebackPolicy,
    version: int,
) -> list[ChargebackLine]:
    scale = minor_unit_scale(invoice.currency)
    weights: dict[str, Decimal] = {}
    tokens: dict[str, int] = {}
    rungs: dict[str, set[Rung]] = {}
    for row in rows:
        weights[row.cost_center] = weights.get(row.cost_center, Decimal(0)) + row.logged
        tokens[row.cost_center] = tokens.get(row.cost_center, 0) + row.tokens
        rungs.setdefault(row.cost_center, set()).add(row.rung)
    base = sum(weights.values(), Decimal(0))
    pool = round_posting(base, scale)
    # Nothing logged, nothing to split by (rule 6.2, zero_direct_to): the pool is 0 and central bears all.
    parts = allocate(pool, weights, scale=scale) if base else dict.fromkeys(weights, pool)
    central = round_posting(invoice.total, scale) - sum(parts.values(), Decimal(0))

    def line(cost_center: str, charge_type: str, amount: Decimal) -> ChargebackLine:
        direct = charge_type == "direct"
        return ChargebackLine(
            period=month,
            posting_period=month,
            original_period=month,
            provider=invoice.provider,
            invoice_id=invoice.invoice_id,
            version=version,
            mode=policy.mode,
            legal_entity=cost_centers[cost_center].legal_entity,
            cost_center=cost_center,
            cost_center_name=cost_centers[cost_center].name,
            team_id=None,
            team_alias=None,
            charge_type=charge_type,
            model=None,
            use_case=None,
            quantity_tokens=tokens[cost_center] if direct else None,
            direct_logged_exact=quantize_internal(weights[cost_center]) if direct else None,
            amount=amount,
            currency=invoice.currency,
            fx_rate=Decimal(1),
            amount_functional=amount,
            allocation_method=LARGEST_REMAINDER if direct else NOT_LOGGED,
            allocation_weight=quantize_internal(weights[cost_center]) if direct else None,
            allocation_base=quantize_internal(base) if direct else None,
            rung=";".join(rung for rung in Rung if rung in rungs[cost_center]) if direct else "",
            pool_total=pool if direct else amount,
            policy_sha256=policy.sha256,
        )

    charged = [line(cost_center, "direct", amount) for cost_center, amount in parts.items()]
    charged.append(line(policy.central, "central", central))
    total = sum((each.amount for each in charged), Decimal(0))
    if total != invoice.total:
        message = (
            f"the charges of {invoice.provider} invoice {invoice.invoice_id} add up to {total}, not {invoice.total}"
        )
        raise MoneyError(message)
    return charged
