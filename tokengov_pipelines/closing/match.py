"""A month's match from its inputs: every invoice that bills a day of it, and every provider without one (Rule 4).

Belongs here: legs, invoices, registry and book from the inputs, prepaid roll-forwards, foreign currency, and which
invoices are matched. Does not belong here: the rules (`domain`), reading (`assets.month_inputs`), what a match means
(`findings`), charges (`charges`).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast

from resources.invoices import invoices_of
from resources.price_book import assembled_book, content_of
from tokengov_pipelines.closing.inputs import (
    FX_RATES,
    INVOICES,
    PREPAID_STATEMENTS,
    PRICE_BOOK,
    PRICE_BOOK_ALIASES,
    PRICE_BOOK_GEO_FACTORS,
    PROVIDER_COSTS,
    PROVIDER_KEYS,
    PROVIDER_USAGE,
    USAGE_CELLS,
    WORKSPACES,
    MonthInputs,
)
from tokengov_pipelines.closing.leg_tables import costs_of, logged_of, registry_of, usage_of
from tokengov_pipelines.domain.fx import FxRates, MissingRateError
from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine, is_credit_memo
from tokengov_pipelines.domain.legs import KeyRegistry, Legs
from tokengov_pipelines.domain.money import exact_product, exact_sum, quantize_internal
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.prepaid import (
    PrepaidCode,
    PrepaidProblem,
    PrepaidRollForward,
    PrepaidRow,
    PrepaidStatement,
    as_invoice,
    prepaid_statements,
    roll_forward,
    worse,
)
from tokengov_pipelines.domain.pricing import PriceBook
from tokengov_pipelines.domain.reconcile import MatchRules, reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation, ReconciliationStatus, Tolerances
from tokengov_pipelines.policy import Policy


@dataclass(frozen=True)
class MatchInputs:
    """Legs by provider over the days of `period`, the invoices that bill any of them, key registry and price book."""

    period: InvoicePeriod
    legs: Mapping[str, Legs]
    invoices: tuple[Invoice, ...]
    registry: KeyRegistry
    book: PriceBook


@dataclass(frozen=True)
class MonthMatch:
    """The month's reconciliations, ordered by provider and invoice, and what they were made from.

    `prepaid` are the roll-forwards of prepaid providers. `invoices` are all that are matched, as they were printed,
    with the month's expense of prepaid credits in the form of one; `memos` are credit memos, which are charged and not
    matched; `rates` is the rate of each invoice in another currency (Rule 1.6). A reconciliation is in the functional
    currency.
    """

    month: BillingMonth
    inputs: MatchInputs
    reconciliations: tuple[Reconciliation, ...]
    prepaid: Mapping[str, PrepaidRollForward] = field(default_factory=dict)
    invoices: tuple[Invoice, ...] = ()
    memos: tuple[Invoice, ...] = ()
    rates: Mapping[str, Decimal] = field(default_factory=dict)


def match_month_inputs(inputs: MonthInputs) -> MonthMatch:
    """Match the month; the answer depends on the inputs alone."""
    match = match_inputs(inputs)
    memos = tuple(each for each in match.invoices if is_credit_memo(each))
    printed = tuple(each for each in match.invoices if not is_credit_memo(each))
    rates = _rates(inputs, printed + memos)
    prepaid = roll_forwards(inputs, match.legs)
    expenses = [as_invoice(rolled, _token_usage(match, rolled)) for rolled in prepaid.values()]
    invoices = (*printed, *(each for each in expenses if each is not None))
    found = []
    for each in _reconciliations(inputs, replace(match, invoices=_in_functional(inputs, invoices, rates))):
        rolled = prepaid.get(each.provider)
        found.append(_with_console(each, rolled) if rolled else each)
    return MonthMatch(inputs.month, match, tuple(found), prepaid, invoices, memos, rates)


def match_inputs(inputs: MonthInputs) -> MatchInputs:
    """The records that a match reads, from the tables of the inputs."""
    facts = inputs.facts
    logged = logged_of(inputs.table(USAGE_CELLS))
    usage = usage_of(inputs.table(PROVIDER_USAGE))
    costs = costs_of(inputs.table(PROVIDER_COSTS))
    invoice_table = inputs.table(INVOICES)
    invoices = tuple(invoices_of(invoice_table)) if invoice_table is not None else ()
    midnight: dict[str, dict[dt.date, Decimal]] = {}
    for each in facts.over_midnight:
        midnight.setdefault(each.provider, {})[each.day] = each.logged
    legs = {
        provider: Legs(
            provider=provider,
            logged=logged.get(provider, []),
            usage=usage.get(provider, []) if provider in facts.reporting else None,
            costs=costs.get(provider, []) if provider in facts.reporting else None,
            missing_log_days=frozenset(facts.missing_log_days),
            missing_report_days=frozenset(facts.missing_report_days.get(provider, ())),
            over_midnight=midnight.get(provider, {}),
        )
        for provider in sorted({*logged, *usage, *costs, *(each.provider for each in invoices)})
    }
    registry = registry_of(inputs.tables[PROVIDER_KEYS], inputs.table(WORKSPACES), inputs.policy)
    return MatchInputs(facts.days, legs, invoices, registry, book_of(inputs))


def book_of(inputs: MonthInputs) -> PriceBook:
    """The price book of the inputs."""
    content = content_of(
        inputs.tables[PRICE_BOOK], inputs.tables[PRICE_BOOK_ALIASES], inputs.table(PRICE_BOOK_GEO_FACTORS)
    )
    return assembled_book(content, inputs.slugs)


def match_rules(policy: Policy) -> MatchRules:
    """The rules of a match, from the policy of one provider."""
    return MatchRules(
        tolerances=tolerances_of(policy),
        rounding_tol_per_line=policy.recon.rounding_tol_per_line,
        fallback_tiers=policy.pricing.fallback_tiers,
    )


def tolerances_of(policy: Policy) -> Tolerances:
    """The limits of rule 4.7, from the policy of one provider."""
    recon = policy.recon
    return Tolerances(recon.rounding_abs, recon.abs_floor, recon.rel, recon.cap, recon.block_multiple)


def roll_forwards(inputs: MonthInputs, legs: Mapping[str, Legs]) -> dict[str, PrepaidRollForward]:
    """The roll-forward of every provider whose billing mode is prepaid, by provider (Rule 4.9)."""
    found = {}
    statements = statements_of(inputs)
    for provider, mine in legs.items():
        if inputs.policy.of_provider(provider).recon.billing_mode == "prepaid":
            found[provider] = _roll_forward(inputs, provider, mine, statements)
    return found


def statements_of(inputs: MonthInputs) -> list[PrepaidStatement]:
    """Every statement of prepaid_statements.csv."""
    return prepaid_statements(cast("list[PrepaidRow]", inputs.rows(PREPAID_STATEMENTS)))


def _roll_forward(
    inputs: MonthInputs, provider: str, legs: Legs, statements: list[PrepaidStatement]
) -> PrepaidRollForward:
    month, policy = inputs.month, inputs.policy
    accounts = sorted(
        {each.account for each in statements if each.provider == provider} | {each.account for each in legs.costs or ()}
    )
    is_whole = legs.costs is not None and not any(day in legs.missing_report_days for day in month.days())
    usage = exact_sum(each.amount for each in legs.costs or () if month.contains(each.day)) if is_whole else None
    rolled = roll_forward(
        month,
        provider,
        accounts[0] if accounts else "",
        usage,
        statements,
        tolerances_of(policy.of_provider(provider)),
        currency=policy.money.functional_currency,
    )
    if len(accounts) > 1:
        named = ", ".join(accounts)
        what = f"{provider} {month}: the credits of {len(accounts)} accounts ({named}) are not told apart"
        problem = PrepaidProblem(PrepaidCode.SEVERAL_ACCOUNTS, what, "hold the month, or keep one account prepaid")
        return replace(rolled, status=ReconciliationStatus.BLOCKED, problems=(*rolled.problems, problem))
    return rolled


def _token_usage(match: MatchInputs, rolled: PrepaidRollForward) -> Decimal:
    costs = match.legs[rolled.provider].costs or ()
    return exact_sum(each.amount for each in costs if each.cost_type == "tokens" and rolled.month.contains(each.day))


def _with_console(each: Reconciliation, rolled: PrepaidRollForward) -> Reconciliation:
    """A prepaid month is as good as its roll-forward: the console's balance is what stands for the invoice."""
    words = [str(problem) for problem in rolled.problems]
    if rolled.difference:
        words.append(
            f"the console shows {rolled.console_balance} {rolled.currency} and the roll-forward {rolled.closing}, a "
            f"difference of {rolled.difference}"
        )
    evidence = replace(each.evidence, notes=(*each.evidence.notes, *words))
    return replace(each, status=worse(each.status, rolled.status), evidence=evidence)


def _reconciliations(inputs: MonthInputs, match: MatchInputs) -> Iterator[Reconciliation]:
    month = inputs.month
    for provider, legs in match.legs.items():
        rules = match_rules(inputs.policy.of_provider(provider))
        invoices = [each for each in match.invoices if each.provider == provider and month in each.period.months()]
        for invoice in sorted(invoices, key=lambda each: each.invoice_id):
            yield reconcile(month, legs, invoice, registry=match.registry, book=match.book, rules=rules)
        calendar = legs.cut_to(InvoicePeriod(month.first_day, month.next().first_day))
        if not invoices and (calendar.logged or calendar.usage or calendar.costs):
            yield reconcile(month, legs, None, registry=match.registry, book=match.book, rules=rules)


def _rates(inputs: MonthInputs, invoices: tuple[Invoice, ...]) -> dict[str, Decimal]:
    """The rate of the invoice date of each invoice in another currency; one without a rate is not among them."""
    functional = inputs.policy.money.functional_currency
    rates = FxRates(cast("list[Any]", inputs.rows(FX_RATES)))
    found = {}
    for invoice in invoices:
        if invoice.currency != functional:
            try:
                found[invoice.invoice_id] = rates.rate_on(invoice.currency, functional, invoice.invoice_date).rate
            except MissingRateError:
                continue  # said as a problem of the charge, where it holds the close (Rule 1.6)
    return found


def _in_functional(
    inputs: MonthInputs, invoices: tuple[Invoice, ...], rates: Mapping[str, Decimal]
) -> tuple[Invoice, ...]:
    """The invoices in the currency of the log, each amount exact at its rate; without a rate one cannot be matched."""
    functional = inputs.policy.money.functional_currency
    found = []
    for invoice in invoices:
        if invoice.currency == functional:
            found.append(invoice)
        elif invoice.invoice_id in rates:
            found.append(_converted(invoice, rates[invoice.invoice_id], functional))
    return tuple(found)


def _converted(invoice: Invoice, rate: Decimal, currency: str) -> Invoice:
    def at_rate(amount: Decimal) -> Decimal:
        return quantize_internal(exact_product(amount, rate))

    def line_at_rate(line: InvoiceLine) -> InvoiceLine:
        return replace(line, amount=at_rate(line.amount), unit_price_per_mtok=None)

    return replace(
        invoice,
        currency=currency,
        lines=tuple(line_at_rate(line) for line in invoice.lines),
        lines_total=at_rate(invoice.lines_total),
        credits_total=at_rate(invoice.credits_total),
        tax_total=at_rate(invoice.tax_total),
        total=at_rate(invoice.total),
    )
