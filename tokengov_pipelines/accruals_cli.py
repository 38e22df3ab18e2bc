"""`tokengov accruals`: what months without an invoice cost, who approved it, and how far accruals were off before.

Belongs here: arguments, tables, exit codes. Does not belong here: amounts and errors (`domain.accrual`,
`domain.accrual_backtest`), what the books know (`assets.accruals`), where approvals are kept (`ledger.accruals`).
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, complain, opened_ledger, say
from tokengov_pipelines.console import show as show_table
from tokengov_pipelines.domain.accrual import Accrual, AccrualMonths, AccrualProblem, accruals_due, backtest_months
from tokengov_pipelines.domain.accrual_backtest import Backtest, BacktestMonth, CenterError, as_percent, backtest
from tokengov_pipelines.domain.accrual_documents import is_approved, reversal_of
from tokengov_pipelines.domain.money import MoneyError, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import Installation

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.accruals import AccrualApproval

Gather = Callable[[Installation], AccrualMonths]
"""What the books know: closed months and months without an invoice, of every provider."""

Month = Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")]


def _from_the_books(installation: Installation) -> AccrualMonths:
    from assets.accruals import gather_accrual_months

    return gather_accrual_months(installation)


def accruals_app(gather: Gather = _from_the_books) -> typer.Typer:
    """The commands over what `gather` finds in an installation."""
    app = typer.Typer(help="Accrue months without an invoice; show how far accruals were off.", no_args_is_help=True)

    @app.command("backtest")
    def show_backtest(
        provider: Annotated[str | None, typer.Option(help="Of one provider only.")] = None,
        home: HomeOption = None,
    ) -> None:
        """Show the accrual error of every cost center over the closed months: published less accrued."""
        with opened_ledger(home, PeriodError, MoneyError) as (installation, _):
            months = gather(installation)
            tested, problems = backtest_months(months.closed, months.central)
            mine = [each for each in tested if provider in (None, each.provider)]
            of_provider = f" of {provider}" if provider else ""
            if not mine:
                say(f"No closed month{of_provider} can be tested: close a month first.")
            for currency in sorted({each.currency for each in mine}):
                found = backtest(each for each in mine if each.currency == currency)
                if found is not None:
                    _print_backtest(found, of_provider)
            _print_bases(mine)
        for problem in problems:
            if provider in (None, problem.provider):
                complain(f"not tested: {problem}")

    @app.command("show")
    def show(month: Month, home: HomeOption = None) -> None:
        """Show the accruals of a month: amount, basis, expected error, reversal and approval."""
        with opened_ledger(home, PeriodError, MoneyError) as (installation, ledger):
            wanted = BillingMonth.parse(month)
            accruals, problems = accruals_due(gather(installation), wanted)
            approvals = {each.provider: ledger.accruals.approved(wanted, each.provider) for each in accruals}
        if not accruals and not problems:
            say(f"Nothing is accrued in {month}: every provider has its invoice.")
        for accrual in accruals:
            _print_accrual(accrual, approvals[accrual.provider])
        _fail_for(problems)

    @app.command("approve")
    def approve(
        month: Month,
        provider: Annotated[str, typer.Argument(help="The provider, for example anthropic.")],
        requested_by: Annotated[str, typer.Option(help="Who asks (a name).")],
        approved_by: Annotated[str, typer.Option(help="Who approves; another person (a name).")],
        home: HomeOption = None,
    ) -> None:
        """Approve a provider's accrual as it is now, so that the month may close without the invoice."""
        with opened_ledger(home, PeriodError, MoneyError) as (installation, ledger):
            wanted = BillingMonth.parse(month)
            accruals, problems = accruals_due(gather(installation), wanted)
            accrual = next((each for each in accruals if each.provider == provider), None)
            if accrual is None:
                _fail_for([each for each in problems if each.provider == provider])
                complain(
                    f"{provider} has nothing to accrue in {month}: its invoice is there, or nothing was used. "
                    f"Fix: tokengov accruals show {month} lists the accruals."
                )
                raise typer.Exit(1)
            likely = accrual.expected_error
            ledger.accruals.approve(
                wanted,
                provider,
                amount=accrual.total,
                currency=accrual.currency,
                method=str(accrual.basis),
                expected_error=None if likely is None else likely.amount,
                requested_by=requested_by,
                approved_by=approved_by,
            )
        say(
            f"approved {accrual.document_id}: {accrual.total:,} {accrual.currency}, expected error "
            f"{accrual.expected_error_words}. Another amount needs another approval. Next: tokengov prepare {month}"
        )

    return app


app = accruals_app()


def _print_backtest(found: Backtest, of_provider: str) -> None:
    months = sorted({each.month for each in found.months})
    span = f"{months[0]}" if len(months) == 1 else f"{months[0]} to {months[-1]}"
    table = Table(
        "cost center",
        Column("months", justify="right"),
        Column("published", justify="right", footer=_in(found.currency, found.published)),
        Column("accrued", justify="right", footer=_in(found.currency, found.accrued)),
        Column("error", justify="right", footer=_in(found.currency, found.error)),
        Column("error %", justify="right", footer=as_percent(found.moved_share)),
        Column("mean of months", justify="right"),
        Column("worst month", justify="right"),
        title=f"Accrual error{of_provider}, {span}, in {found.currency}",
        title_justify="left",
        show_footer=True,
    )
    table.columns[0].footer = "all"
    for center in found.centers:
        style = "bold" if found.worst is not None and center.cost_center == found.worst.cost_center else ""
        table.add_row(Text(center.cost_center), *_figures(center, found.currency), style=style)
    show_table(table)
    say(
        f"Of the months' totals, accruals were {as_percent(found.share)} off (mean of the months "
        f"{as_percent(found.mean_share)}). error % adds the size of every month's error, so that months do not cancel."
    )
    if found.worst is not None:
        say(f"Worst: {found.worst.cost_center}, {found.worst.absolute:,} {found.currency} in all.")


def _figures(center: CenterError, currency: str) -> Iterable[str]:
    yield str(center.months)
    yield _in(currency, center.published)
    yield _in(currency, center.accrued)
    yield _in(currency, center.error)
    yield as_percent(center.share)
    yield as_percent(center.mean_share)
    yield f"{center.worst_month}: {_in(currency, center.worst_error)}"


def _in(currency: str, amount: Decimal) -> str:
    return f"{round_posting(amount, minor_unit_scale(currency)):,}"


def _print_bases(months: Sequence[BacktestMonth]) -> None:
    for basis in sorted({each.basis for each in months}):
        mine = [each for each in months if each.basis == basis]
        providers = ", ".join(sorted({each.provider for each in mine}))
        say(
            f"{len(mine)} accruals on {basis} ({providers})."
            if len(mine) > 1
            else f"1 accrual on {basis} ({providers})."
        )


def _print_accrual(accrual: Accrual, approval: "AccrualApproval | None") -> None:
    table = Table(
        "cost center",
        Column(accrual.currency, justify="right", footer=f"{accrual.total:,}"),
        show_footer=True,
    )
    table.columns[0].footer = "total"
    say(f"{accrual.document_id}: {accrual.total:,} {accrual.currency}")
    for code, amount in accrual.charges.items():
        table.add_row(Text(code), f"{amount:,}")
    show_table(table)
    say(f"Days: {accrual.days.start} to {accrual.days.last_day}. Basis: {accrual.basis}.")
    say(f"Expected error: {accrual.expected_error_words}.")
    reversal = reversal_of(accrual)
    say(f"Reversed: {'when the invoice posts' if reversal is None else reversal.on}.")
    say(f"Approval: {_approval_words(accrual, approval)}")


def _approval_words(accrual: Accrual, approval: "AccrualApproval | None") -> str:
    command = f"tokengov accruals approve {accrual.month} {accrual.provider} --requested-by A --approved-by B"
    if approval is None:
        return f"none. Next: {command}"
    who = f"requested by {approval.requested_by}, approved by {approval.approved_by}"
    if is_approved(accrual, amount=approval.amount, currency=approval.currency, method=approval.method):
        return f"{who}."
    return f"lapsed: {who}, for {approval.amount:,} {approval.currency} on {approval.method}. Next: {command}"


def _fail_for(problems: Sequence[AccrualProblem]) -> None:
    for problem in problems:
        complain(str(problem))
    if problems:
        raise typer.Exit(1)
