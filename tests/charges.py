"""A month's part of an invoice from what was logged and repriced, for tests of charges and of what is made of them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tokengov_pipelines.domain.allocation import AllocationBasis, DirectedCredit
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.chargeback import (
    BilledMonth,
    ChargebackLine,
    ChargebackPolicy,
    CostCenter,
    InvoiceHeader,
    charge_month,
)
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pools import Pool

OCTOBER = BillingMonth(2026, 10)
SUSPENSE, CENTRAL = "CC-900-SUSPENSE", "CC-990-CENTRAL"
CODES = ("CC-100", "CC-200", "CC-300", SUSPENSE, CENTRAL)
CENTERS = {code: CostCenter(code, f"Name of {code}", "ACME-US") for code in CODES}
POLICY = ChargebackPolicy(SUSPENSE, CENTRAL, "showback", "USD", "0" * 64)

Given = Mapping[str, Decimal | str]


def amounts(given: Given | None) -> dict[str, Decimal]:
    """Amounts by cost center, from text."""
    return {code: Decimal(amount) for code, amount in (given or {}).items()}


def header(total: str | Decimal, month: BillingMonth = OCTOBER, **changes: Any) -> InvoiceHeader:
    """Anthropic's invoice INV-19 over a calendar month, in US dollars."""
    values = {
        "provider": "anthropic",
        "invoice_id": "INV-19",
        "total": Decimal(total),
        "currency": "USD",
        "period": InvoicePeriod(month.first_day, month.next().first_day),
    }
    return InvoiceHeader(**(values | changes))


def pools(direct: str | Decimal, **others: str | Decimal) -> dict[Pool, Decimal]:
    """Pools by their words; those not named are zero."""
    named = {Pool("direct"): direct} | {Pool(word): amount for word, amount in others.items()}
    return {pool: Decimal(named.get(pool, "0.00")) for pool in Pool}


def basis(
    logged: Given,
    repriced: Given | None = None,
    *,
    unproxied: Given | None = None,
    priority_tokens: Given | None = None,
    seats: Given | None = None,
    directed: Sequence[tuple[str, Given]] = (),
) -> AllocationBasis:
    """What pools are split by. Repriced is as logged where it is not given; `directed` are (amount, weights)."""
    return AllocationBasis(
        repriced=amounts(logged if repriced is None else repriced),
        logged=amounts(logged),
        unproxied=amounts(unproxied),
        priority_tokens=amounts(priority_tokens),
        seats=amounts(seats),
        directed_credits=[DirectedCredit(Decimal(amount), amounts(by), "named") for amount, by in directed],
    )


def billed(
    of: InvoiceHeader,
    logged: Given | AllocationBasis,
    *,
    tokens: Mapping[str, int] | None = None,
    rungs: Mapping[str, frozenset[Rung]] | None = None,
    fx_rate: str = "1",
    **others: str,
) -> BilledMonth:
    """The invoice's whole total in one month: `others` are its pools by their words, direct is what is left.

    Without `rungs` every cost center is found by the team's metadata, and suspense by the ladder's last rung.
    """
    by = logged if isinstance(logged, AllocationBasis) else basis(logged)
    left = exact_sum([of.total, -of.recoverable_tax, *(-Decimal(amount) for amount in others.values())])
    found = {code: frozenset({Rung.SUSPENSE if code == SUSPENSE else Rung.TEAM_METADATA}) for code in by.logged}
    return BilledMonth(of, pools(left, **others), by, tokens or {}, found if rungs is None else rungs, Decimal(fx_rate))


def inv_19() -> BilledMonth:
    """The invoice of rules 6.3 and 11.7, 928.08: Usage 935.00, Credit -80.00, Tax 72.71, Adjustment 0.37.

    Use: direct 805.00 (800.00 logged), keys outside the proxy 120.00 (30.00 of them owned by nobody), web search 10.00.
    """
    by = basis(
        {"CC-100": "400", "CC-200": "250", "CC-300": "100", SUSPENSE: "50"}, unproxied={"CC-200": "90", CENTRAL: "30"}
    )
    others = {"unproxied": "120.00", "non_token": "10.00", "credits": "-80.00", "tax": "72.71", "central": "0.37"}
    return billed(header("928.08"), by, **others)


def charged(*parts: BilledMonth, policy: ChargebackPolicy = POLICY, version: int = 1) -> tuple[ChargebackLine, ...]:
    """The lines of October."""
    return charge_month(OCTOBER, parts, CENTERS, policy, version)


def shown(lines: Sequence[ChargebackLine]) -> dict[tuple[str, str], str]:
    """What each cost center pays for what, as text."""
    found = {(line.cost_center, line.charge_type): f"{line.amount:f}" for line in lines}
    assert len(found) == len(lines)
    return found


def totals(lines: Sequence[ChargebackLine]) -> dict[str, str]:
    """What each cost center pays in all, as text."""
    codes = sorted({line.cost_center for line in lines})
    return {code: f"{exact_sum(line.amount for line in lines if line.cost_center == code):f}" for code in codes}
